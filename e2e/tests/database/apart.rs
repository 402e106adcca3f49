//! Ways into a database, each tried from where an attacker could stand, each beside a control that succeeds.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use e2e::servers::Minio;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;

use crate::world::{Customer, World};

/// Tries all of them, and says how many.
pub async fn nobody_gets_in(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let by_password = passwords(acme).await?;
    let by_packet = packets(world, acme, globex).await?;
    let by_credential = credentials(world, acme, globex).await?;
    Ok(by_password + by_packet + by_credential)
}

/// CloudNativePG makes a password for its first user. It opens nothing, and there is no other without certificate either.
async fn passwords(acme: &Customer) -> Result<usize> {
    let (secrets, database) = (Api::<Secret>::namespaced(acme.database.client(), &acme.stack), &acme.database);
    let secret = secrets.get("database-app").await?;
    let password = secret.data.and_then(|data| data.get("password").cloned()).context("there is no password")?;
    let password = String::from_utf8(password.0)?;
    ensure!(database.sql("SELECT 1").await? == "1", "the control fails: by the pod's own socket it is let in");
    let ways =
        ["app", "postgres", "streaming_replica"].into_iter().flat_map(|user| [(user, "require"), (user, "disable")]);
    let mut tried = 0;
    for (user, mode) in ways {
        let refused = database.connect(user, &password, mode).await;
        let refused = refused.err().with_context(|| format!("{user} got in by password, sslmode={mode}"))?.to_string();
        let known = ["pg_hba.conf rejects", "no pg_hba.conf entry", "requires a valid client certificate"];
        ensure!(
            known.iter().any(|reason| refused.contains(reason)),
            "{user}, sslmode={mode}: refused for another reason: {refused}"
        );
        tried += 1;
    }
    Ok(tried)
}

/// From an instance of one customer to that of another: what the network lets through, whatever PostgreSQL would say.
async fn packets(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let address = async |customer: &Customer, pod: &str| -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(world.client()?, &customer.stack);
        let pod = pods.get(pod).await?;
        pod.status.and_then(|status| status.pod_ip).context("a pod has no address")
    };
    let primary = acme.database.primary().await?;
    let follower = if primary == "database-1" { "database-2" } else { "database-1" };
    ensure!(
        acme.database.reaches(&address(acme, follower).await?).await?,
        "the control fails: no packet gets to its own follower"
    );
    let theirs = address(globex, &globex.database.primary().await?).await?;
    ensure!(!acme.database.reaches(&theirs).await?, "acme's database reaches globex's at {theirs}");
    let ours = address(acme, &primary).await?;
    ensure!(!globex.database.reaches(&ours).await?, "globex's database reaches acme's at {ours}");
    Ok(2)
}

/// With what lies in one customer's stack, at the buckets of another and at its own data.
async fn credentials(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let secrets: Api<Secret> = Api::namespaced(world.client()?, &acme.stack);
    let data = secrets.get("database-backup").await?.data.unwrap_or_default();
    let entry = |name: &str| -> Result<String> {
        let bytes = data.get(name).with_context(|| format!("the Secret has no {name}"))?;
        Ok(String::from_utf8(bytes.0.clone())?)
    };
    let token = entry("sessionToken")?;
    let credentials = Credentials::new(entry("accessKeyID")?, entry("secretAccessKey")?, Some(token), None, "database");
    let client = Minio::client(world.plane().authority(), &world.servers.minio.endpoint(), credentials)?;
    let own = client.list_objects_v2().bucket(&acme.store.bucket).send().await;
    let own = own.context("the control fails: the credentials do not open the backups that they are for")?;
    let name = own.contents().first().and_then(|object| object.key()).context("there are no backups")?;
    let data_of = |customer: &Customer| {
        let bucket = customer.shown.status.as_ref().and_then(|status| status.bucket.as_ref());
        bucket.map(|bucket| bucket.name.clone()).context("no bucket is shown")
    };
    let strange = [data_of(acme)?, globex.store.bucket.clone(), data_of(globex)?];
    for bucket in &strange {
        let read = client
            .list_objects_v2()
            .bucket(bucket)
            .send()
            .await
            .map(drop)
            .map_err(|error| error.code().map(str::to_owned));
        ensure!(read == Err(Some("AccessDenied".to_owned())), "listing {bucket}: {read:?}");
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"x");
        let written = client.put_object().bucket(bucket).key("x").body(body).send().await;
        let written = written.map(drop).map_err(|error| error.code().map(str::to_owned));
        ensure!(written == Err(Some("AccessDenied".to_owned())), "writing to {bucket}: {written:?}");
    }
    // What was overwritten stays, whoever has the credentials.
    let head = client.head_object().bucket(&acme.store.bucket).key(name).send().await?;
    let version = head.version_id().context("the bucket keeps no versions")?;
    let removed = client.delete_object().bucket(&acme.store.bucket).key(name).version_id(version).send().await;
    let removed = removed.map(drop).map_err(|error| error.code().map(str::to_owned));
    ensure!(removed == Err(Some("AccessDenied".to_owned())), "removing a version: {removed:?}");
    Ok(2 * strange.len() + 1)
}
