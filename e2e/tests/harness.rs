//! The harness itself: what it starts answers, what it counts is right, and nothing of it stays behind.

use e2e::{Plane, PlaneOptions, Tier, unique};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt as _};

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
async fn a_watch_counts_once_and_when_it_starts() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let user = unique("watcher");
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client_for(&user, &["system:masters"]).unwrap(), "default");
    let name = unique("watched");
    let mark = plane.mark().await.unwrap();
    let (created, seen) = tokio::join!(
        async {
            let admin: Api<ConfigMap> = Api::namespaced(plane.admin().unwrap(), "default");
            admin.create(&PostParams::default(), &config_map(&name)).await
        },
        await_condition(config_maps, &name, |object: Option<&ConfigMap>| object.is_some()),
    );
    created.unwrap();
    seen.unwrap();
    let calls = plane.calls_since(mark).await.unwrap().by_user(&user);
    assert!(calls.verb("watch").len() <= 1, "{calls}");
    assert_eq!(calls.verb("list").len(), 1, "{calls}");
}

#[tokio::test]
async fn a_service_account_is_itself_and_nobody_else() {
    use k8s_openapi::api::core::v1::ServiceAccount;
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
