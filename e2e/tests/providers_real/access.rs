//! An OpenFGA with access control, to which everybody signs in with a token that OpenBao issued to their ServiceAccount: what Steading does
//! there, and what an application of one tenant gets at the store of another.

use std::sync::Arc;

use e2e::ports::LOOPBACK;
use e2e::servers::{OpenBao, OpenFga};
use e2e::{Plane, Tier, show};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, api::PostParams};
use providers::authorization::{
    Application, OpenFga as Adapter, OpenFgaConfig, OpenFgaCredentials, Reach, Role, Server, StoreId, tuples,
};
use providers::{
    Applications, ApplicationsSpec, Class, Identity, Memberships, OpenBaoKeys, StoreSpec, Stores, ensure, ensure_gone,
    reasons,
};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::authorization::{group, members_of, store_of, user};
use crate::keys::config;
use crate::world::{PlaneTokens, identity};

struct World {
    plane: &'static Plane,
    openbao: OpenBao,
    openfga: OpenFga,
    keys: OpenBaoKeys,
}

impl World {
    async fn start() -> Self {
        let plane = Plane::shared(Tier::One).await.unwrap();
        let tokens = PlaneTokens::of(plane).await;
        let openbao = OpenBao::start(plane).await.unwrap();
        openbao.issue_identities().await.unwrap();
        let openfga = OpenFga::start_with_access_control(plane.authority(), LOOPBACK, &openbao).await.unwrap();
        let keys = OpenBaoKeys::new(config(plane, &openbao), tokens).unwrap();
        Self { plane, openbao, openfga, keys }
    }

    /// The server as Steading knows it, by tokens of this role.
    fn by_role(&self, role: &str) -> Server {
        let config = OpenFgaConfig {
            endpoint: self.openfga.endpoint(),
            ca_bundle: Some(self.plane.authority().certificate().to_owned()),
            credentials: OpenFgaCredentials::IdentityToken(Arc::new(self.keys.identity_tokens(role))),
            access_control: Some(StoreId::new(self.openfga.access_control().unwrap()).unwrap()),
        };
        Server::OpenFga(Adapter::new(&config).unwrap())
    }

    fn server(&self) -> Server {
        self.by_role("openfga")
    }

    async fn ensure(&self, want: &StoreSpec) -> StoreId {
        ensure(&Stores(self.server()), want).await.unwrap().id
    }

    /// A new ServiceAccount, as what it is known in access control, and a token of it that OpenFGA takes.
    async fn application(&self) -> (Application, SecretString) {
        let (namespace, client) = (e2e::unique("shop"), self.plane.admin().unwrap());
        let mut made = Namespace::default();
        made.metadata.name = Some(namespace.clone());
        Api::all(client.clone()).create(&PostParams::default(), &made).await.unwrap();
        let mut account = ServiceAccount::default();
        account.metadata.name = Some("billing".to_owned());
        Api::namespaced(client, &namespace).create(&PostParams::default(), &account).await.unwrap();
        let token = self.plane.token_for(&namespace, "billing", &[self.openbao.audience()], 600).await.unwrap();
        let token = self.openbao.identity_token(&token).await.unwrap();
        (Application::new(&namespace, "billing").unwrap(), token)
    }

    async fn call(&self, token: &SecretString, method: Method, path: &str, body: Option<&Value>) -> String {
        let (status, answer) = self.openfga.call_as(token, method, path, body).await.unwrap();
        if status.is_success() { "allowed".to_owned() } else { answer["code"].as_str().unwrap_or("?").to_owned() }
    }

    /// What the holder of a token gets at a store, call by call, and last the list of all stores.
    async fn tried(&self, token: &SecretString, store: &StoreId) -> Vec<(&'static str, String)> {
        let question = json!({ "user": "user:x", "relation": "owner", "object": "tenant:x" });
        let tuple = json!({ "user": "user:x", "relation": "member", "object": "group:x" });
        let path = |action: &str| format!("/{store}{action}");
        let model = self.model(store).await;
        let calls = [
            ("check", Method::POST, path("/check"), json!({ "tuple_key": question })),
            ("read", Method::POST, path("/read"), json!({})),
            (
                "list-objects",
                Method::POST,
                path("/list-objects"),
                json!({ "type": "tenant", "relation": "owner", "user": "user:x" }),
            ),
            (
                "write",
                Method::POST,
                path("/write"),
                json!({ "writes": { "tuple_keys": [tuple], "on_duplicate": "ignore" } }),
            ),
            ("write-model", Method::POST, path("/authorization-models"), model),
            ("delete-store", Method::DELETE, path(""), Value::Null),
            ("list-stores", Method::GET, String::new(), Value::Null),
        ];
        let mut seen = Vec::new();
        for (name, method, path, body) in calls {
            let body = (!body.is_null()).then_some(&body);
            seen.push((name, self.call(token, method, &path, body).await));
        }
        seen
    }

    /// The newest model of a store, as the operator reads it, to be written again.
    async fn model(&self, store: &StoreId) -> Value {
        let token = self.keys.identity_tokens("openfga").token().await.unwrap();
        let path = format!("/{store}/authorization-models?page_size=1");
        let (_, answer) = self.openfga.call_as(&token, Method::GET, &path, None).await.unwrap();
        let newest = &answer["authorization_models"][0];
        json!({ "schema_version": newest["schema_version"], "type_definitions": newest["type_definitions"] })
    }

    /// All that access control says of a store.
    async fn entries(&self, store: &StoreId) -> Vec<Value> {
        let token = self.keys.identity_tokens("openfga").token().await.unwrap();
        let path = format!("/{}/read", self.openfga.access_control().unwrap());
        let body = json!({ "tuple_key": { "object": format!("store:{store}") } });
        let (status, answer) = self.openfga.call_as(&token, Method::POST, &path, Some(&body)).await.unwrap();
        assert!(status.is_success(), "{answer}");
        answer["tuples"].as_array().unwrap().clone()
    }

    /// Writes or deletes a tuple of access control, as whoever runs the server.
    async fn tamper(&self, what: &str, (user, relation, object): (&str, &str, &str)) {
        let token = self.keys.identity_tokens("openfga").token().await.unwrap();
        let tuple = json!({ "user": user, "relation": relation, "object": object });
        let path = format!("/{}/write", self.openfga.access_control().unwrap());
        let mut body = serde_json::Map::new();
        body.insert(what.to_owned(), json!({ "tuple_keys": [tuple] }));
        let (status, answer) =
            self.openfga.call_as(&token, Method::POST, &path, Some(&Value::Object(body))).await.unwrap();
        assert!(status.is_success(), "{answer}");
    }
}

fn by_workspace(store: &StoreId, workspace: &Identity, applications: &[(&Application, Reach)]) -> ApplicationsSpec {
    let applications = applications.iter().map(|(application, reach)| ((*application).clone(), *reach)).collect();
    ApplicationsSpec { store: store.clone(), workspace: workspace.clone(), applications }
}

const DENIED: &str = "forbidden";

/// What is allowed of the calls, in their order.
fn allowed(tried: &[(&'static str, String)]) -> Vec<&'static str> {
    assert!(tried.iter().all(|(_, came)| came == "allowed" || came == DENIED), "{tried:?}");
    tried.iter().filter(|(_, came)| came == "allowed").map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn an_application_of_one_tenant_is_refused_every_call_at_the_store_of_another() {
    let world = World::start().await;
    let [acme, globex] = [identity(), identity()];
    let acme_store = world.ensure(&store_of(&acme, &[user("anna")])).await;
    let globex_store = world.ensure(&store_of(&globex, &[user("ben")])).await;
    let [(reader, of_reader), (author, of_author), (_, stranger), (theirs, of_theirs)] =
        [world.application().await, world.application().await, world.application().await, world.application().await];
    let at_acme = by_workspace(&acme_store, &identity(), &[(&reader, Reach::Read), (&author, Reach::ReadWrite)]);
    let at_globex = by_workspace(&globex_store, &identity(), &[(&theirs, Reach::ReadWrite)]);
    for spec in [&at_acme, &at_globex] {
        ensure(&Applications(world.server()), spec).await.unwrap();
    }
    let access = StoreId::new(world.openfga.access_control().unwrap()).unwrap();
    let mut table = Vec::new();
    let mut refused = 0;
    let asking = ["check", "read", "list-objects"];
    let all = ["check", "read", "list-objects", "write", "write-model"];
    for (who, token, own, wanted) in [
        ("acme's reader", &of_reader, Some(&acme_store), &asking[..]),
        ("acme's writer", &of_author, Some(&acme_store), &all[..]),
        ("globex's writer", &of_theirs, Some(&globex_store), &all[..]),
        ("a stranger", &stranger, None, &[]),
    ] {
        for (place, store) in [("acme", &acme_store), ("globex", &globex_store), ("access control", &access)] {
            let tried = world.tried(token, store).await;
            let wanted = if own == Some(store) { wanted } else { &[] };
            assert_eq!(allowed(&tried), wanted, "{who} at {place}");
            refused += tried.len() - wanted.len();
            let cells: Vec<String> = tried.iter().map(|(name, came)| format!("{name} {came}")).collect();
            table.push(format!("{who:<16}at {place:<15}{}", cells.join(", ")));
        }
    }
    show(&format!("OpenFGA with access control: {refused} calls refused\n{}", table.join("\n")));
}

#[tokio::test]
async fn an_application_that_is_wanted_no_more_is_refused_at_the_next_call() {
    let world = World::start().await;
    let store = world.ensure(&store_of(&identity(), &[user("anna")])).await;
    let (application, token) = world.application().await;
    let [one, other] = [identity(), identity()];
    let by = |workspace: &Identity, reach| by_workspace(&store, workspace, &[(&application, reach)]);
    let applications = Applications(world.server());
    for spec in [by(&one, Reach::ReadWrite), by(&other, Reach::Read)] {
        ensure(&applications, &spec).await.unwrap();
    }
    let may = async || allowed(&world.tried(&token, &store).await);
    assert!(may().await.contains(&"write"));
    ensure_gone(&applications, &by(&one, Reach::ReadWrite)).await.unwrap();
    assert_eq!(may().await, ["check", "read", "list-objects"], "the other workspace still names it");
    ensure_gone(&applications, &by(&other, Reach::Read)).await.unwrap();
    assert_eq!(may().await, [""; 0]);

    ensure(&applications, &by(&other, Reach::ReadWrite)).await.unwrap();
    world.tamper("writes", ("application:mallory/app", "writer", &tuples::workspace(&other))).await;
    ensure(&applications, &by(&other, Reach::Read)).await.unwrap();
    assert_eq!(may().await, ["check", "read", "list-objects"]);
    let seen = providers::External::observe(&applications, &by(&other, Reach::Read)).await.unwrap().unwrap();
    assert_eq!(seen.len(), 2, "one application and the way to the store: {seen:?}");
}

#[tokio::test]
async fn steading_does_there_all_that_it_does_with_a_preshared_key() {
    let world = World::start().await;
    let tenant = identity();
    let want = store_of(&tenant, &[user("anna"), group("admins")]);
    let seen = ensure(&Stores(world.server()), &want).await.unwrap();
    assert!(seen.entered);
    assert_eq!(world.ensure(&want).await, seen.id, "found by its name");
    let members = members_of(&tenant, &seen, &[(user("ben"), Role::Viewer)]);
    ensure(&Memberships(world.server()), &members).await.unwrap();

    // As after a change from a preshared key: access control knows nothing of the store.
    let (object, known) = (format!("store:{}", seen.id), StoreSpec { known: Some(seen.id.clone()), ..want.clone() });
    world.tamper("deletes", ("system:fga", "system", &object)).await;
    world.tamper("deletes", (&tuples::tenant(&tenant), "tenant", &object)).await;
    let other = world.ensure(&store_of(&identity(), &[])).await;
    assert_eq!(world.ensure(&known).await, seen.id, "no second one is made");
    assert_eq!(world.ensure(&want).await, seen.id, "it is entered again");
    assert_ne!(other, seen.id);

    let (application, token) = world.application().await;
    let spec = by_workspace(&seen.id, &identity(), &[(&application, Reach::ReadWrite)]);
    ensure(&Applications(world.server()), &spec).await.unwrap();
    assert!(allowed(&world.tried(&token, &seen.id).await).contains(&"write"));
    ensure_gone(&Memberships(world.server()), &members).await.unwrap();
    let going = StoreSpec { going: true, ..known };
    ensure_gone(&Stores(world.server()), &going).await.unwrap();
    let question =
        json!({ "tuple_key": { "user": "user:anna", "relation": "owner", "object": tuples::tenant(&tenant) } });
    let asked = world.call(&token, Method::POST, &format!("/{}/check", seen.id), Some(&question)).await;
    assert_eq!(asked, DENIED, "a deleted store answers nobody's application any more");
}

#[tokio::test]
async fn a_tenant_has_one_store_however_many_others_have_and_however_few_the_server_lists() {
    let world = World::start().await;
    let wanted: Vec<StoreSpec> = (0..4).map(|_| store_of(&identity(), &[user("anna")])).collect();
    let mut made = Vec::new();
    for want in &wanted {
        made.push(world.ensure(want).await);
    }
    for (want, id) in wanted.iter().zip(&made) {
        assert_eq!(world.ensure(want).await, *id, "found though status knows nothing of it");
    }
    let token = world.keys.identity_tokens("openfga").token().await.unwrap();
    let (_, listed) = world.openfga.call_as(&token, Method::GET, "?page_size=50", None).await.unwrap();
    assert_eq!(listed["stores"].as_array().map(Vec::len), Some(1), "the server lists no more: {listed}");

    // As two leaders may do: the one that nobody knows goes.
    let name = json!({ "name": wanted[0].name() });
    let (_, twin) = world.openfga.call_as(&token, Method::POST, "", Some(&name)).await.unwrap();
    let twin = StoreId::new(twin["id"].as_str().unwrap()).unwrap();
    let object = format!("store:{twin}");
    world.tamper("writes", (&tuples::tenant(&wanted[0].tenant), "tenant", &object)).await;
    let known = StoreSpec { known: Some(made[0].clone()), ..wanted[0].clone() };
    let seen = ensure(&Stores(world.server()), &known).await.unwrap();
    assert_eq!((seen.id, seen.twins), (made[0].clone(), vec![]));
    let (status, _) = world.openfga.call_as(&token, Method::GET, &format!("/{twin}"), None).await.unwrap();
    assert_eq!(status, reqwest::StatusCode::NOT_FOUND, "the twin is deleted");
}

#[tokio::test]
async fn of_a_store_that_is_deleted_access_control_says_nothing_more_whoever_wrote_it() {
    let world = World::start().await;
    let [left, other] = [store_of(&identity(), &[user("anna")]), store_of(&identity(), &[])];
    let (store, others) = (world.ensure(&left).await, world.ensure(&other).await);
    let (consumer, _) = world.application().await;
    let spec = by_workspace(&store, &identity(), &[(&consumer, Reach::ReadWrite)]);
    ensure(&Applications(world.server()), &spec).await.unwrap();
    let (stranger, token) = world.application().await;
    let known_as = stranger.to_string();
    for id in [&store, &others] {
        world.tamper("writes", (&known_as, "reader", &format!("store:{id}"))).await;
    }
    assert_eq!((world.entries(&store).await.len(), world.entries(&others).await.len()), (4, 3));
    assert!(allowed(&world.tried(&token, &store).await).contains(&"check"));

    let going = StoreSpec { going: true, ..left };
    ensure_gone(&Stores(world.server()), &going).await.unwrap();
    assert_eq!(world.entries(&store).await, [""; 0]);
    let seen = providers::External::observe(&Applications(world.server()), &spec).await.unwrap();
    assert_eq!(seen, None, "nor of the workspace that led to it");
    assert_eq!(world.entries(&others).await.len(), 3, "another store's were taken");

    // As where Steading was cut off right after the store was marked as deleted.
    let operator = world.keys.identity_tokens("openfga").token().await.unwrap();
    assert_eq!(world.call(&operator, Method::DELETE, &format!("/{others}"), None).await, "allowed");
    ensure_gone(&Stores(world.server()), &StoreSpec { going: true, ..other }).await.unwrap();
    assert_eq!(world.entries(&others).await, [""; 0]);
}

#[tokio::test]
async fn a_role_that_is_missing_and_a_model_that_cannot_be_written_to_are_told_and_no_store_is_left_behind() {
    let world = World::start().await;
    let want = store_of(&identity(), &[user("anna")]);
    let fault = ensure(&Stores(world.by_role("nobodys")), &want).await.unwrap_err();
    assert!(fault.message.contains("identity engine") && fault.message.contains("nobodys"), "{fault}");

    let access = StoreId::new(world.openfga.access_control().unwrap()).unwrap();
    let token = world.keys.identity_tokens("openfga").token().await.unwrap();
    let foreign = json!({ "schema_version": "1.1", "type_definitions": [{ "type": "application" }] });
    world.call(&token, Method::POST, &format!("/{access}/authorization-models"), Some(&foreign)).await;
    let fault = ensure(&Stores(world.server()), &want).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::PROVIDER_REFUSED), "{fault}");
    assert!(fault.message.contains("type `store`"), "{fault}");
    let (_, listed) = world.openfga.call_as(&token, Method::GET, "?page_size=50", None).await.unwrap();
    let names = listed.to_string();
    assert!(!names.contains(&want.name()), "{names}");
}

#[tokio::test]
async fn whoever_is_refused_is_told_what_to_enter_and_asks_again_soon() {
    let world = World::start().await;
    world.tamper("deletes", ("application:steading-system/steading", "admin", "system:fga")).await;
    let fault = ensure(&Stores(world.server()), &store_of(&identity(), &[])).await.unwrap_err();
    assert!(matches!(fault.class, Class::Waiting { .. }), "{fault}");
    assert!(fault.reason == reasons::DENIED && fault.message.contains("`admin` of `system:fga`"), "{fault}");
}
