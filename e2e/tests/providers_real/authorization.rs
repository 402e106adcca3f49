//! Stores of authorization in a real OpenFGA.

use std::collections::BTreeSet;

use e2e::certificates::Authority;
use e2e::ports::LOOPBACK;
use e2e::servers::OpenFga;
use providers::authorization::{
    OpenFga as Adapter, OpenFgaConfig, OpenFgaCredentials, Role, Server, StoreObserved, Subject, tuples,
};
use providers::{Class, Identity, MembershipSpec, Memberships, StoreSpec, Stores, ensure, ensure_gone, reasons};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::world::{identity, installation};

struct World {
    authority: Authority,
    openfga: OpenFga,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new("authorization").unwrap();
        let openfga = OpenFga::start(&authority, LOOPBACK).await.unwrap();
        Self { authority, openfga }
    }

    fn server_with(&self, preshared_key: &SecretString) -> Server {
        let config = OpenFgaConfig {
            endpoint: self.openfga.endpoint(),
            ca_bundle: Some(self.authority.certificate().to_owned()),
            credentials: OpenFgaCredentials::PresharedKey(preshared_key.clone()),
            access_control: None,
        };
        Server::OpenFga(Adapter::new(&config).unwrap())
    }

    fn server(&self) -> Server {
        self.server_with(self.openfga.operator_key())
    }

    async fn ensure(&self, want: &StoreSpec) -> StoreObserved {
        ensure(&Stores(self.server()), want).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.openfga.call(Method::GET, path, None).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.openfga.call(Method::POST, path, Some(&body)).await.unwrap()
    }

    /// Every change of tuples and every model that the store ever saw.
    async fn history(&self, store: &str) -> (usize, usize) {
        let changes = self.get(&format!("/{store}/changes?page_size=100")).await;
        let models = self.get(&format!("/{store}/authorization-models?page_size=50")).await;
        (changes["changes"].as_array().unwrap().len(), models["authorization_models"].as_array().unwrap().len())
    }
}

pub fn user(name: &str) -> Subject {
    Subject::User(name.to_owned())
}

pub fn group(name: &str) -> Subject {
    Subject::Group(name.to_owned())
}

pub fn store_of(tenant: &Identity, owners: &[Subject]) -> StoreSpec {
    let owners = owners.iter().cloned().collect();
    StoreSpec { installation: installation(), tenant: tenant.clone(), known: None, owners, going: false }
}

pub fn members_of(tenant: &Identity, store: &StoreObserved, members: &[(Subject, Role)]) -> MembershipSpec {
    MembershipSpec {
        store: store.id.clone(),
        model: store.model.clone().unwrap().id,
        tenant: tenant.clone(),
        workspace: identity(),
        members: members.iter().cloned().collect(),
    }
}

/// An application's own types beside ours: whoever edits a workspace approves its invoices.
fn with_invoices(ours: &Value) -> Value {
    let mut types = ours["type_definitions"].as_array().cloned().unwrap_or_default();
    types.push(json!({
        "type": "invoice",
        "relations": {
            "workspace": { "this": {} },
            "approver": { "tupleToUserset": { "tupleset": { "relation": "workspace" }, "computedUserset": { "relation": "editor" } } },
        },
        "metadata": { "module": "billing", "source_info": { "file": "billing.fga" },
            "relations": { "workspace": { "directly_related_user_types": [{ "type": "workspace" }] } } },
    }));
    json!({ "schema_version": "1.2", "type_definitions": types })
}

#[tokio::test]
async fn each_tenant_gets_one_store_and_a_second_look_writes_nothing() {
    let world = World::start().await;
    let tenant = identity();
    let want = store_of(&tenant, &[user("anna"), group("admins")]);
    let store = world.ensure(&want).await;
    let members = members_of(&tenant, &store, &[(user("ben"), Role::Viewer)]);
    ensure(&Memberships(world.server()), &members).await.unwrap();
    let before = world.history(store.id.as_str()).await;
    assert_eq!(before, (4, 1), "two owners, a member and whose workspace it is; one model");
    assert_eq!(world.ensure(&want).await.id, store.id);
    ensure(&Memberships(world.server()), &members).await.unwrap();
    assert_eq!(world.history(store.id.as_str()).await, before);
}

#[tokio::test]
async fn owners_editors_and_viewers_may_what_they_should_and_nobody_anything_of_another_tenant() {
    let world = World::start().await;
    let [acme, globex] = [identity(), identity()];
    let acme_store = world.ensure(&store_of(&acme, &[user("acme-owner@acme.example"), group("acme:admins")])).await;
    let globex_store = world.ensure(&store_of(&globex, &[user("globex-owner")])).await;
    let roles = [(user("acme-editor"), Role::Editor), (group("acme viewers"), Role::Viewer), (user("*"), Role::Viewer)];
    let finance = members_of(&acme, &acme_store, &roles);
    let sales = members_of(&globex, &globex_store, &[(user("globex-editor"), Role::Editor)]);
    for members in [&finance, &sales] {
        ensure(&Memberships(world.server()), members).await.unwrap();
    }
    // Who is in a group is the application's to say.
    let people = [("ada", "acme%3Aadmins"), ("vera", "acme%20viewers")].map(|(user, group)| {
        json!({ "user": format!("user:{user}"), "relation": "member", "object": format!("group:{group}") })
    });
    world.post(&format!("/{}/write", acme_store.id), json!({ "writes": { "tuple_keys": people } })).await;

    let all = ["acme-owner@acme.example", "ada", "acme-editor", "vera", "globex-owner", "globex-editor", "stranger"];
    let mut table = Vec::new();
    for (store, workspace) in [(&acme_store, &finance), (&globex_store, &sales)] {
        let object = tuples::workspace(&workspace.workspace);
        for name in all {
            let ask = async |relation| {
                world.openfga.check(store.id.as_str(), (&format!("user:{name}"), &[]), relation, &object).await.unwrap()
            };
            table.push((name, ask("editor").await, ask("viewer").await));
        }
        // No workspace of another tenant is known in the store.
        let other = if workspace.workspace == finance.workspace { &sales } else { &finance };
        let object = tuples::workspace(&other.workspace);
        for name in all {
            let seen = world
                .openfga
                .check(store.id.as_str(), (&format!("user:{name}"), &[]), "viewer", &object)
                .await
                .unwrap();
            assert!(!seen, "{name} in the wrong store");
        }
    }
    let wanted = [
        ("acme-owner@acme.example", true, true),
        ("ada", true, true),
        ("acme-editor", true, true),
        ("vera", false, true),
        ("globex-owner", false, false),
        ("globex-editor", false, false),
        ("stranger", false, false),
        ("acme-owner@acme.example", false, false),
        ("ada", false, false),
        ("acme-editor", false, false),
        ("vera", false, false),
        ("globex-owner", true, true),
        ("globex-editor", true, true),
        ("stranger", false, false),
    ];
    assert_eq!(table, wanted, "(who, editor, viewer) of acme's workspace, then of globex's");
}

#[tokio::test]
async fn who_is_no_longer_wanted_loses_access_and_what_the_application_wrote_stays() {
    let world = World::start().await;
    let tenant = identity();
    let store = world.ensure(&store_of(&tenant, &[user("anna")])).await;
    let id = store.id.as_str();
    let mut members = members_of(&tenant, &store, &[(user("ben"), Role::Editor), (user("carl"), Role::Viewer)]);
    ensure(&Memberships(world.server()), &members).await.unwrap();
    world.post(&format!("/{id}/authorization-models"), with_invoices(&store.model.unwrap().content)).await;
    let workspace = tuples::workspace(&members.workspace);
    let theirs = json!([
        { "user": workspace, "relation": "workspace", "object": "invoice:7" },
        { "user": "user:mallory", "relation": "editor", "object": workspace },
    ]);
    world.post(&format!("/{id}/write"), json!({ "writes": { "tuple_keys": theirs } })).await;
    let approves = async |name: &str| {
        world.openfga.check(id, (&format!("user:{name}"), &[]), "approver", "invoice:7").await.unwrap()
    };
    assert!(approves("ben").await && approves("mallory").await);

    members.members = BTreeSet::from([(user("carl"), Role::Editor)]);
    ensure(&Memberships(world.server()), &members).await.unwrap();
    assert_eq!((approves("ben").await, approves("mallory").await, approves("carl").await), (false, false, true));
    assert_eq!(world.ensure(&store_of(&tenant, &[user("anna")])).await.id.as_str(), id);
    assert_eq!(world.history(id).await.1, 2, "their model holds our module, so none was added");

    ensure_gone(&Memberships(world.server()), &members).await.unwrap();
    assert!(!approves("carl").await && !approves("anna").await);
    let left = world.post(&format!("/{id}/read"), json!({ "tuple_key": { "object": "invoice:7" } })).await;
    assert_eq!(left["tuples"].as_array().unwrap().len(), 1, "their tuple");
}

#[tokio::test]
async fn a_model_without_our_module_gets_it_back_and_a_stranger_of_its_name_is_told() {
    let world = World::start().await;
    let tenant = identity();
    let want = store_of(&tenant, &[user("anna")]);
    let id = world.ensure(&want).await.id;
    let theirs = json!({ "schema_version": "1.1", "type_definitions": [
        { "type": "user" },
        { "type": "receipt", "relations": { "reader": { "this": {} } },
          "metadata": { "relations": { "reader": { "directly_related_user_types": [{ "type": "user" }] } } } },
    ]});
    world.post(&format!("/{id}/authorization-models"), theirs).await;
    let merged = world.ensure(&want).await.model.unwrap().content.to_string();
    assert!(merged.contains("\"receipt\"") && merged.contains("\"workspace\""), "{merged}");

    let stranger = json!({ "schema_version": "1.1", "type_definitions": [{ "type": "tenant" }] });
    world.post(&format!("/{id}/authorization-models"), stranger).await;
    let fault = ensure(&Stores(world.server()), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::MODEL_CONFLICT), "{fault}");
}

#[tokio::test]
async fn of_two_stores_of_one_name_the_empty_one_goes() {
    let world = World::start().await;
    let want = store_of(&identity(), &[user("anna")]);
    let first = world.ensure(&want).await.id;
    world.post("", json!({ "name": want.name() })).await;
    world.post("", json!({ "name": "another" })).await;
    assert_eq!(world.ensure(&want).await.id, first);
    let listed = world.get("?page_size=50").await;
    let names: Vec<&str> = listed["stores"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, [want.name().as_str(), "another"]);
}

#[tokio::test]
async fn more_tuples_than_one_request_takes_are_written_and_removed() {
    let world = World::start().await;
    let many: Vec<Subject> = (0..230).map(|number| user(&format!("owner-{number:03}"))).collect();
    let tenant = identity();
    let store = world.ensure(&store_of(&tenant, &many)).await;
    let object = tuples::tenant(&tenant);
    assert!(world.openfga.check(store.id.as_str(), ("user:owner-229", &[]), "owner", &object).await.unwrap());
    world.ensure(&store_of(&tenant, &many[..1])).await;
    assert!(!world.openfga.check(store.id.as_str(), ("user:owner-229", &[]), "owner", &object).await.unwrap());
}

/// What the documentation says about deletion: nobody gets a yes any more, and the history stays in the database.
#[tokio::test]
async fn a_deleted_store_says_no_to_everybody_but_its_history_stays_in_the_database() {
    let world = World::start().await;
    let tenant = identity();
    let want = store_of(&tenant, &[user("canary-of-deletion")]);
    let store = world.ensure(&want).await;
    let id = store.id.as_str();
    world.post(&format!("/{id}/authorization-models"), with_invoices(&store.model.clone().unwrap().content)).await;
    let theirs: Vec<Value> = (0..90)
        .map(|number| json!({ "user": "workspace:x", "relation": "workspace", "object": format!("invoice:{number}") }))
        .collect();
    world.post(&format!("/{id}/write"), json!({ "writes": { "tuple_keys": theirs } })).await;
    let owns = async || {
        let owner = ("user:canary-of-deletion", &[][..]);
        world.openfga.check(id, owner, "owner", &tuples::tenant(&tenant)).await.unwrap()
    };
    assert!(owns().await);
    // A server goes on answering for a store that it has deleted.
    world.openfga.call(Method::DELETE, &format!("/{id}"), None).await.unwrap();
    assert!(owns().await, "OpenFGA forgets by now: say so in the documentation");

    let again = world.ensure(&want).await;
    let going = StoreSpec { going: true, ..want };
    assert_ne!(again.id, store.id);
    ensure_gone(&Stores(world.server()), &going).await.unwrap();
    ensure_gone(&Stores(world.server()), &going).await.unwrap();
    let owner = ("user:canary-of-deletion", &[][..]);
    let left = world.openfga.check(again.id.as_str(), owner, "owner", &tuples::tenant(&tenant)).await.unwrap();
    assert!(!left, "a store that Steading deleted was emptied first");
    let rows: Vec<u8> = ["data.db", "data.db-wal"]
        .iter()
        .flat_map(|file| std::fs::read(world.openfga.directory().join(file)).unwrap_or_default())
        .collect();
    let canary = b"canary-of-deletion";
    assert!(rows.windows(canary.len()).any(|window| window == canary), "OpenFGA forgets: say so in the documentation");
}

#[tokio::test]
async fn a_key_that_is_refused_and_a_server_that_is_away_are_told_apart_and_no_message_holds_the_key() {
    let mut world = World::start().await;
    let want = store_of(&identity(), &[user("anna")]);
    let wrong = SecretString::from("wrong-key-canary".to_owned());
    let fault = ensure(&Stores(world.server_with(&wrong)), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::DENIED));
    assert!(fault.message.contains("preshared keys") && !fault.message.contains("wrong-key-canary"), "{fault}");
    assert!(!format!("{:?}", world.server_with(&wrong)).contains("wrong-key-canary"));

    let server = world.server();
    world.openfga.interrupt().unwrap();
    let fault = ensure(&Stores(server.clone()), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Transient, reasons::PROVIDER_UNAVAILABLE), "{fault}");
    world.openfga.resume().await.unwrap();
    ensure(&Stores(server), &want).await.unwrap();
}

/// The requests and answers of the page for application developers, sent and compared.
#[tokio::test]
async fn the_examples_of_the_documentation_answer_as_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/authorization.md")).unwrap();
    let world = World::start().await;
    let owner = identity();
    let store = world.ensure(&store_of(&owner, &[group("acme-admins")])).await;
    let members = [(user("ada@acme.example"), Role::Viewer), (group("acme-finance"), Role::Editor)];
    let store_id = store.id.to_string();
    let finance = members_of(&owner, &store, &members);
    ensure(&Memberships(world.server()), &finance).await.unwrap();
    let filled = page.replace("{store}", &store_id).replace("{finance}", finance.workspace.as_str());
    let blocks: Vec<&str> = filled.split("```").skip(1).step_by(2).collect();
    let mut asked = 0;
    for pair in blocks.windows(2) {
        let request = pair[0].strip_prefix("http\nPOST /stores");
        let (Some(request), Some(answer)) = (request, pair[1].strip_prefix("json\n")) else { continue };
        let (path, body) = request.split_once('\n').unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let said = world.post(path, body).await;
        let wanted: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        for (field, value) in wanted.as_object().unwrap() {
            // Ids are made by the server.
            assert!(said[field] == *value || (value == "…" && said[field].is_string()), "{path}: {said}, not {wanted}");
        }
        asked += 1;
    }
    assert_eq!(asked, 6, "examples with an answer");
}
