//! Whether anything that one customer has opens anything of another. In: two customers with databases, and an application of one. Out: a table
//! of what each identity of the one gets at its own place, which is the control, and at every other place: without the first the second
//! would show nothing.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use e2e::databases::{ANOTHER_AUTHORITY, with_credentials, with_what_was_given};
use e2e::servers::Minio;
use e2e::show;
use e2e::wait::until;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use providers::identities::SHORTEST_LIFE;
use providers::{Access, IdentitySpec, Purpose};
use serde_json::{Value, json};

use crate::consumers::Shop;
use crate::database::PATIENCE;
use crate::world::{Customer, Questions, World};

/// What stands in the table where something is let through, and the store's code where it is not.
const ALLOWED: &str = "allowed";
const DENIED: &str = "AccessDenied";
/// The same of the server of authorization.
const UNKNOWN_THERE: &str = "forbidden";

/// What is written.
const NOTE: &str = "note";

/// A bucket, and an object that is there to be reached for.
struct Place<'a> {
    what: &'static str,
    bucket: &'a str,
    object: String,
}

/// Who tried, where, and what came of it.
type Row = [String; 5];

/// Somebody of the first customer with a certificate for its database.
pub struct Holder {
    pub what: &'static str,
    pub certificate: Secret,
    pub role: String,
}

/// Tries all identities of `acme` at all places, prints what came of it, and says how many ways in there are not.
pub async fn of_one_is_closed_to_another(
    world: &World,
    acme: &Customer,
    globex: &Customer,
    shop: &Shop,
    holders: &[Holder],
) -> Result<usize> {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    at_buckets(world, acme, globex, shop, &mut rows, &mut wrong).await?;
    at_stores(world, acme, globex, shop.asker(), &mut rows, &mut wrong).await?;
    for holder in holders {
        at_databases(holder, acme, globex, &mut rows, &mut wrong).await?;
    }
    show(&table(&rows));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let is_refusal = |cell: &&String| !cell.is_empty() && *cell != ALLOWED;
    Ok(rows.iter().flat_map(|row| row[2..].iter().filter(is_refusal)).count())
}

/// The credentials of backups, an identity for data, and what an application was given, each at the buckets of both customers.
async fn at_buckets(
    world: &World,
    acme: &Customer,
    globex: &Customer,
    shop: &Shop,
    rows: &mut Vec<Row>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(world.client()?, &acme.stack);
    let secret = secrets.get("database-backup").await?;
    let backups = with_credentials(world.plane(), &world.servers.minio, &secret)?;
    let (data, others) = (data_identity(world, acme).await?, data_identity(world, globex).await?);
    let given = with_what_was_given(world.plane(), &world.servers.minio, &shop.given_for_the_bucket().await?)?;
    // Something to reach for must be there.
    for (client, customer) in [(&data, acme), (&others, globex)] {
        let note = client.put_object().bucket(&customer.data).key(NOTE).body(ByteStream::from_static(b"x"));
        note.send().await.context("the control fails: an identity for data writes nothing into its own bucket")?;
    }
    let [ours, _] = acme.store.newest().await?;
    let [theirs, _] = globex.store.newest().await?;
    let place = |what, bucket, object: &str| Place { what, bucket, object: object.to_owned() };
    let places = [
        place("its backups", acme.store.bucket.as_str(), &ours),
        place("its data", &acme.data, NOTE),
        place("the other's backups", &globex.store.bucket, &theirs),
        place("the other's data", &globex.data, NOTE),
    ];
    let identities = [
        ("credentials of backups", &backups, 0),
        ("identity for data", &data, 1),
        ("application's credentials", &given, 1),
    ];
    for (who, client, own) in identities {
        for (index, place) in places.iter().enumerate() {
            let tried = tried(client, place).await?;
            let wanted = if index == own { ALLOWED } else { DENIED };
            if tried.iter().any(|verdict| verdict != wanted) {
                wrong.push(format!("{who} at {}: {tried:?}, not {wanted}", place.what));
            }
            let [list, read, write] = tried;
            rows.push([who.to_owned(), place.what.to_owned(), list, read, write]);
        }
    }
    versions_stay(&backups, &places[0]).await
}

/// An identity for a customer's data, as Steading issues it.
async fn data_identity(world: &World, customer: &Customer) -> Result<Client> {
    let spec = IdentitySpec {
        bucket: customer.data.clone(),
        purpose: Purpose::Data,
        key_name: Some(customer.key_name().to_owned()),
        access: Access::ReadWrite,
        session_name: "test".to_owned(),
        life: SHORTEST_LIFE,
        revocable_as: None,
    };
    let credentials = world.servers.issue(world.plane(), &spec).await?;
    Minio::client(world.plane().authority(), &world.servers.minio.endpoint(), credentials)
}

/// Listing, reading and writing, in this order.
async fn tried(client: &Client, place: &Place<'_>) -> Result<[String; 3]> {
    let list = client.list_objects_v2().bucket(place.bucket).send().await;
    let read = client.get_object().bucket(place.bucket).key(&place.object).send().await;
    let body = ByteStream::from_static(b"x");
    let write = client.put_object().bucket(place.bucket).key("written").body(body).send().await;
    Ok([verdict(list)?, verdict(read)?, verdict(write)?])
}

fn verdict<T, E>(answer: Result<T, SdkError<E>>) -> Result<String>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Err(error) = answer else { return Ok(ALLOWED.to_owned()) };
    match error.code() {
        Some(code) => Ok(code.to_owned()),
        None => Err(anyhow::Error::new(error).context("the store gave no answer")),
    }
}

/// What was overwritten stays, whoever has the credentials.
async fn versions_stay(client: &Client, own: &Place<'_>) -> Result<()> {
    let head = client.head_object().bucket(own.bucket).key(&own.object).send().await?;
    let version = head.version_id().context("the bucket keeps no versions")?;
    let removed = client.delete_object().bucket(own.bucket).key(&own.object).version_id(version).send().await;
    let removed = verdict(removed)?;
    ensure!(removed == DENIED, "removing a version: {removed}");
    Ok(())
}

/// The token of an application at both tenants' stores of authorization.
async fn at_stores(
    world: &World,
    acme: &Customer,
    globex: &Customer,
    asker: (&str, &str),
    rows: &mut Vec<Row>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    for (what, customer, wanted) in [("its store", acme, ALLOWED), ("the other's store", globex, UNKNOWN_THERE)] {
        let Questions { store, object } = &customer.questions;
        let question = json!({ "tuple_key": { "user": customer.owner, "relation": "editor", "object": object } });
        let tuple = json!({ "user": "user:x", "relation": "member", "object": "group:x" });
        let written = json!({ "writes": { "tuple_keys": [tuple], "on_duplicate": "ignore" } });
        let tried = async |action: &str, body: &Value| {
            let (status, answer) = world.asks_as(asker, &format!("/{store}/{action}"), body).await?;
            let code = answer["code"].as_str().map_or_else(|| status.to_string(), str::to_owned);
            anyhow::Ok(if status.is_success() { ALLOWED.to_owned() } else { code })
        };
        if wanted == ALLOWED {
            // OpenFGA refuses also where it is too busy to look.
            let may =
                async || Ok(tried("check", &question).await? == ALLOWED && tried("write", &written).await? == ALLOWED);
            until("the application may ask its store", PATIENCE, may).await?;
        }
        let (read, write) = (tried("check", &question).await?, tried("write", &written).await?);
        if read != wanted || write != wanted {
            wrong.push(format!("the application's token at {what}: {read}, {write}, not {wanted}"));
        }
        rows.push(["application's token".to_owned(), what.to_owned(), String::new(), read, write]);
    }
    Ok(())
}

/// A certificate at both databases, tried from where no packet is stopped: PostgreSQL itself has to refuse.
async fn at_databases(
    holder: &Holder,
    acme: &Customer,
    globex: &Customer,
    rows: &mut Vec<Row>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    for (what, customer, is_own) in [("its database", acme, true), ("the other's database", globex, false)] {
        let verdict = match customer.database.present(&holder.certificate, &holder.role).await {
            Ok(_) => ALLOWED.to_owned(),
            Err(error) => {
                let said = format!("{error:#}");
                let known = ANOTHER_AUTHORITY.into_iter().find(|reason| said.contains(reason));
                known.map_or(said, str::to_owned)
            }
        };
        let is_right = if is_own { verdict == ALLOWED } else { ANOTHER_AUTHORITY.contains(&verdict.as_str()) };
        if !is_right {
            wrong.push(format!("{} at {what}: {verdict}", holder.what));
        }
        rows.push([holder.what.to_owned(), what.to_owned(), verdict, String::new(), String::new()]);
    }
    Ok(())
}

/// The rows below each other.
fn table(rows: &[Row]) -> String {
    let heading = ["WHAT ONE CUSTOMER HAS", "AT", "LIST, OR SIGN IN", "READ", "WRITE"].map(str::to_owned);
    let rows: Vec<&Row> = std::iter::once(&heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let line = |row: &&Row| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
        format!("database:   {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
