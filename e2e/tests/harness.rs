//! The harness itself: what it starts answers, what it counts is right, and nothing of it stays behind.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is surprised may panic, in its helpers too"
)]

use e2e::site::{self, Site, SiteOptions};
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Servers, Tier, unique};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams, WatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt as _};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

fn config_map(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object
}

fn namespace(name: &str) -> Namespace {
    let mut object = Namespace::default();
    object.metadata.name = Some(name.to_owned());
    object
}

fn is_alive(id: u32) -> bool {
    std::path::Path::new(&format!("/proc/{id}")).exists()
}

#[tokio::test]
async fn a_plane_stores_what_it_is_given() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let name = unique("stored");
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.admin().unwrap(), "default");
    config_maps.create(&PostParams::default(), &config_map(&name)).await.unwrap();
    assert_eq!(config_maps.get(&name).await.unwrap().name_any(), name);
}

#[tokio::test]
async fn a_user_without_bindings_may_do_nothing() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let client = plane.client_for("ulla", &["painters", "sculptors"]).unwrap();
    let refused = Api::<Namespace>::all(client).list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("User \"ulla\" cannot list resource \"namespaces\""), "{refused}");
}

#[tokio::test]
async fn a_user_is_known_by_name_and_by_both_groups() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let review = k8s_openapi::api::authentication::v1::SelfSubjectReview::default();
    let client = plane.client_for("ulla", &["painters", "sculptors"]).unwrap();
    let answer = Api::all(client).create(&PostParams::default(), &review).await.unwrap();
    let user = answer.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("ulla"));
    assert_eq!(user.groups.unwrap(), ["painters", "sculptors", "system:authenticated"]);
}

#[tokio::test]
async fn the_record_counts_every_call_between_two_moments_and_nothing_else() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let user = unique("counter");
    let client = plane.client_for(&user, &["system:masters"]).unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let (before, counted) = (unique("before"), unique("counted"));
    config_maps.create(&PostParams::default(), &config_map(&before)).await.unwrap();

    let mark = plane.mark().await.unwrap();
    config_maps.create(&PostParams::default(), &config_map(&counted)).await.unwrap();
    config_maps.get(&counted).await.unwrap();
    config_maps.list(&ListParams::default()).await.unwrap();
    config_maps.delete(&counted, &DeleteParams::default()).await.unwrap();
    let calls = plane.calls_since(mark).await.unwrap().by_user(&user);

    assert_eq!(calls.len(), 4, "{calls}");
    assert_eq!(calls.writes().len(), 2, "{calls}");
    assert_eq!(calls.reads().len(), 2, "{calls}");
    assert!(calls.refused().is_empty(), "{calls}");
    let created = calls.verb("create").resource("configmaps").entries()[0].clone();
    assert_eq!(created.object_ref.as_ref().unwrap().name, counted);
    assert_eq!(created.code(), 201);
}

#[tokio::test]
async fn a_refused_call_is_recorded_as_refused() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let user = unique("stranger");
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client_for(&user, &[]).unwrap(), "default");
    let mark = plane.mark().await.unwrap();
    config_maps.create(&PostParams::default(), &config_map("never")).await.unwrap_err();
    let calls = plane.calls_since(mark).await.unwrap().by_user(&user);
    assert_eq!(calls.refused().len(), 1, "{calls}");
    assert_eq!(calls.refused().entries()[0].annotations["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn a_watch_counts_when_it_starts_and_not_when_it_ends() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let user = unique("watcher");
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client_for(&user, &["system:masters"]).unwrap(), "default");
    config_maps.create(&PostParams::default(), &config_map(&unique("watched"))).await.unwrap();

    let before = plane.mark().await.unwrap();
    let mut events = config_maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    events.next().await.unwrap().unwrap();
    let during = plane.mark().await.unwrap();
    drop((events, config_maps));
    let has_ended =
        |line: &str| line.contains(&user) && line.contains("\"verb\":\"watch\"") && line.contains("ResponseComplete");
    let record = plane.directory().join("audit.log");
    until("the watch ends", std::time::Duration::from_secs(30), async || {
        Ok(std::fs::read_to_string(&record)?.lines().any(has_ended))
    })
    .await
    .unwrap();

    let all = plane.calls_since(before).await.unwrap().by_user(&user);
    assert_eq!(all.verb("watch").len(), 1, "{all}");
    let late = plane.calls_since(during).await.unwrap().by_user(&user);
    assert!(late.is_empty(), "{late}");
}

#[tokio::test]
async fn a_service_account_is_itself_and_nobody_else() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let name = unique("account");
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.admin().unwrap(), "default");
    let mut account = ServiceAccount::default();
    account.metadata.name = Some(name.clone());
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let client = plane.service_account_client("default", &name).await.unwrap();
    let refused = Api::<Node>::all(client).list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("system:serviceaccount:default:{name}")), "{refused}");
}

#[tokio::test]
async fn nothing_of_a_stopped_plane_stays_behind() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    let (directory, processes) = (plane.directory().to_owned(), plane.process_ids());
    assert_eq!(processes.len(), 2);
    assert!(processes.iter().copied().all(is_alive) && directory.exists());
    plane.stop().await.unwrap();
    assert!(!processes.iter().copied().any(is_alive));
    assert!(!directory.exists());
}

#[tokio::test]
async fn all_nodes_of_a_second_tier_plane_are_ready() {
    let plane = Plane::shared(Tier::Two).await.unwrap();
    let nodes = Api::<Node>::all(plane.admin().unwrap()).list(&ListParams::default()).await.unwrap();
    assert_eq!(nodes.items.len(), PlaneOptions::default().nodes);
    for node in nodes {
        let ready = node.status.as_ref().unwrap().conditions.iter().flatten().find(|it| it.type_ == "Ready");
        assert_eq!(ready.unwrap().status, "True", "{}", node.name_any());
    }
}

#[tokio::test]
async fn a_deleted_namespace_goes_away_on_the_second_tier() {
    let plane = Plane::shared(Tier::Two).await.unwrap();
    let name = unique("deleted");
    let namespaces: Api<Namespace> = Api::all(plane.admin().unwrap());
    let created = namespaces.create(&PostParams::default(), &namespace(&name)).await.unwrap();
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let uid = created.uid().unwrap();
    let gone = await_condition(namespaces, &name, conditions::is_deleted(&uid));
    tokio::time::timeout(std::time::Duration::from_mins(1), gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_was_asked_for_lets_in_the_operator_and_nobody_else() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    let servers = Servers::start(&plane).await.unwrap();
    openbao_takes_only_the_operators_token(&plane, &servers).await;
    the_operator_may_retire_a_key_but_not_destroy_it(&plane, &servers).await;
    two_keys_of_the_store_are_apart(&plane, &servers).await;
    the_class_leads_to_the_servers(&plane, &servers).await;
    let processes = [servers.openbao.process_ids(), servers.kes.process_ids(), servers.minio.process_ids()];
    let processes = [processes.concat(), servers.openfga.process_ids()].concat();
    assert_eq!(processes.len(), 4);
    drop(servers);
    assert!(!processes.into_iter().any(is_alive));
}

async fn account_token(plane: &Plane, namespace_name: &str, audience: &str) -> SecretString {
    let client = plane.admin().unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace_name);
    Api::<Namespace>::all(client).create(&PostParams::default(), &namespace(namespace_name)).await.ok();
    let mut account = ServiceAccount::default();
    account.metadata.name = Some("steading".to_owned());
    accounts.create(&PostParams::default(), &account).await.ok();
    plane.token_for(namespace_name, "steading", &[audience], 600).await.unwrap()
}

async fn openbao_takes_only_the_operators_token(plane: &Plane, servers: &Servers) {
    let openbao = &servers.openbao;
    let right = account_token(plane, "steading-system", openbao.audience()).await;
    openbao.sign_in(&right).await.unwrap();
    let wrong_namespace = account_token(plane, "elsewhere", openbao.audience()).await;
    let refused = openbao.sign_in(&wrong_namespace).await.unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("namespace not authorized"), "{refused}");
    let wrong_audience = account_token(plane, "steading-system", "https://elsewhere").await;
    let refused = openbao.sign_in(&wrong_audience).await.unwrap_err().to_string();
    assert!(refused.contains("audience"), "{refused}");
}

async fn the_operator_may_retire_a_key_but_not_destroy_it(plane: &Plane, servers: &Servers) {
    let openbao = &servers.openbao;
    let token = account_token(plane, "steading-system", openbao.audience()).await;
    let token = openbao.sign_in(&token).await.unwrap();
    let call = async |method: Method, path: &str, body: Value| {
        openbao.send(method, &format!("transit/keys/steading-a{path}"), &token, Some(&body)).await.unwrap().0.as_u16()
    };
    assert_eq!(call(Method::POST, "", json!({ "auto_rotate_period": "2h" })).await, 200);
    assert_eq!(call(Method::POST, "/rotate", json!({})).await, 200);
    assert_eq!(call(Method::POST, "/config", json!({ "deletion_allowed": true })).await, 403);
    assert_eq!(
        call(Method::POST, "/config", json!({ "deletion_allowed": false, "auto_rotate_period": "0s" })).await,
        200
    );
    assert_eq!(call(Method::DELETE, "", json!({})).await, 403);
    assert_eq!(call(Method::DELETE, "/soft-delete", json!({})).await, 200);
    assert_eq!(call(Method::POST, "/soft-delete-restore", json!({})).await, 200);
    let (status, _) = openbao
        .send(Method::POST, "transit/encrypt/steading-a", &token, Some(&json!({ "plaintext": "" })))
        .await
        .unwrap();
    assert_eq!(status.as_u16(), 403);
    let key = openbao.read("transit/keys/steading-a").await.unwrap().unwrap();
    assert_eq!(key["data"]["latest_version"], 2);
}

async fn two_keys_of_the_store_are_apart(plane: &Plane, servers: &Servers) {
    let operator = servers.kes.operator_key();
    servers.kes.run_as(operator, &["key", "create", "s-blue"]).await.unwrap();
    servers.kes.run_as(operator, &["key", "create", "s-green"]).await.unwrap();
    let refused = servers.kes.run_as(operator, &["key", "rm", "s-blue"]).await.unwrap_err().to_string();
    assert!(refused.contains("not authorized"), "{refused}");

    let store = store_client(plane, servers);
    for (bucket, key) in [("steading-blue", "s-blue"), ("steading-green", "s-green")] {
        store.create_bucket().bucket(bucket).send().await.unwrap();
        store
            .put_bucket_encryption()
            .bucket(bucket)
            .server_side_encryption_configuration(under(key))
            .send()
            .await
            .unwrap();
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"content");
        let written = store.put_object().bucket(bucket).key("it").body(body).send().await.unwrap();
        assert!(written.ssekms_key_id().unwrap().ends_with(key), "{written:?}");
    }
    let refused = store.create_bucket().bucket("not-ours").send().await.unwrap_err();
    assert_eq!(refused.into_service_error().meta().code(), Some("AccessDenied"));

    servers.kes.run_as_admin(&["key", "rm", "s-blue"]).await.unwrap();
    let read = async |bucket: &str| store.get_object().bucket(bucket).key("it").send().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let shredded = loop {
        match read("steading-blue").await {
            Err(error) => break error.into_service_error(),
            Ok(_) => assert!(std::time::Instant::now() < deadline, "still readable without its key"),
        }
    };
    assert_eq!(shredded.meta().code(), Some("kms:KeyNotFound"), "{shredded:?}");
    read("steading-green").await.unwrap();
}

async fn the_class_leads_to_the_servers(plane: &Plane, servers: &Servers) {
    let class = servers.class_spec(plane, "Assumed");
    assert_eq!(class["keys"]["openbao"]["address"], servers.openbao.address());
    let secrets: Api<Secret> = Api::namespaced(plane.admin().unwrap(), "steading-system");
    let name = class["buckets"]["s3"]["credentials"]["secret"].as_str().unwrap();
    let data = secrets.get(name).await.unwrap().data.unwrap();
    let access_key = servers.minio.operator_account().access_key.expose_secret();
    assert_eq!(data["accessKeyID"].0, access_key.as_bytes());
    let name = class["buckets"]["s3"]["keyServer"]["kes"]["credentials"]["secret"].as_str().unwrap();
    assert!(secrets.get(name).await.unwrap().data.unwrap()["apiKey"].0.starts_with(b"kes:v1:"));
    let name = class["authorization"]["openfga"]["credentials"]["secret"].as_str().unwrap();
    let key = servers.openfga.operator_key().expose_secret();
    assert_eq!(secrets.get(name).await.unwrap().data.unwrap()["presharedKey"].0, key.as_bytes());
}

fn under(key: &str) -> aws_sdk_s3::types::ServerSideEncryptionConfiguration {
    use aws_sdk_s3::types::{
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule,
    };
    let default =
        ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).kms_master_key_id(key);
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default.build().unwrap());
    ServerSideEncryptionConfiguration::builder().rules(rule.build()).build().unwrap()
}

/// A client with the operator's account.
fn store_client(plane: &Plane, servers: &Servers) -> aws_sdk_s3::Client {
    use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
    let trust = TrustStore::empty().with_pem_certificate(plane.authority().certificate());
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(trust).build().unwrap())
        .build_https();
    let account = servers.minio.operator_account();
    let (access, secret) = (account.access_key.expose_secret(), account.secret_key.expose_secret());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new(e2e::servers::REGION))
        .endpoint_url(servers.minio.endpoint())
        .credentials_provider(aws_sdk_s3::config::Credentials::new(access, secret, None, None, "e2e"))
        .force_path_style(true)
        .http_client(http)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

#[tokio::test]
async fn an_installed_chart_is_in_force_and_its_account_is_no_administrator() {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await.unwrap();
    let installation = Installation::install(&plane, "harness", &json!({})).await.unwrap();
    let forged = json!({ "metadata": { "name": "forged", "labels": { "steading.dev/stack": "0" } } });
    let forged: Namespace = serde_json::from_value(forged).unwrap();
    let refused = Api::all(plane.admin().unwrap()).create(&PostParams::default(), &forged).await.unwrap_err();
    assert!(refused.to_string().contains("steading: only Steading makes a namespace"), "{refused}");
    let operator = installation.operator_client(&plane).await.unwrap();
    let refused = Api::<Secret>::all(operator).list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("system:serviceaccount:steading-system:steading"), "{refused}");
}

#[tokio::test]
async fn a_tenant_of_a_site_gets_its_key_from_the_sites_own_server() {
    let site = Site::start(Tier::One, SiteOptions::default(), |_| {}).await.unwrap();
    let admin = site.plane.admin().unwrap();
    Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &namespace("blue")).await.unwrap();
    let tenants: Api<api::Tenant> = Api::namespaced(admin, "blue");
    let tenant = json!({
        "apiVersion": "steading.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "blue" },
        "spec": { "class": site::CLASS, "owners": [{ "kind": "User", "name": "bea" }] },
    });
    tenants.create(&PostParams::default(), &serde_json::from_value(tenant).unwrap()).await.unwrap();
    let is_ready = |tenant: Option<&api::Tenant>| {
        let status = tenant.and_then(|tenant| tenant.status.as_ref());
        status.is_some_and(|status| status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
    };
    let ready = await_condition(tenants.clone(), "blue", is_ready);
    tokio::time::timeout(std::time::Duration::from_mins(1), ready).await.unwrap().unwrap();
    let status = serde_json::to_value(tenants.get("blue").await.unwrap().status).unwrap();
    let key = status["encryption"][0]["key"].as_str().unwrap().to_owned();
    assert!(site.servers.openbao.read(&format!("transit/keys/{key}")).await.unwrap().is_some(), "{status}");
    let operator = site.operator.as_ref().unwrap().process_ids();
    site.stop().await.unwrap();
    assert!(!operator.into_iter().any(is_alive));
}

#[test]
fn a_tier_that_does_not_exist_is_refused_in_one_line_that_says_what_to_use() {
    let program = env!("CARGO_BIN_EXE_cluster");
    let output = std::process::Command::new(program).args(["up", "--tier", "4"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("there is no tier 4: use TIER=1, 2 or 3"), "{said}");
}
