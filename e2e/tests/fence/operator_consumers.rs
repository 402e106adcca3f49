//! `steading-operator`: what a thief of the operator's token could do outside of stacks, where consumers of databases are.

use std::collections::BTreeMap;
use std::time::Duration;

use api::labels;
use desired::workspace::Facts;
use serde_json::{Value, json};

use crate::caller::{Request, apply, create, delete, every_change, merge, replace};
use crate::rules::{
    OPERATOR_CONSENT, OPERATOR_DATABASE_METADATA, OPERATOR_OUTSIDE_STACK, OPERATOR_ROLE, OPERATOR_SECRET_OWNER,
    OPERATOR_SECRET_TYPE, OPERATOR_SUBJECT,
};
use crate::scene::{OWN_NAMESPACE, Scene, child_labels, facts};

const RBAC: &str = "rbac.authorization.k8s.io";
const ROLE: &str = "steading-consumer-operator";
const STRANGER: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

/// The namespace of consumers of a Workspace.
struct Shop {
    namespace: String,
    facts: Facts,
}

impl Shop {
    /// A new one that consents, if at all, to what this makes of `tenant/workspace`.
    async fn new(scene: &Scene, consents: impl FnOnce(&str) -> Option<String>) -> Self {
        let (namespace, facts) = (e2e::unique("shop"), facts());
        let consent = consents(&format!("{}/{}", facts.tenant, facts.workspace));
        let annotations = consent.map_or_else(|| json!({}), |text| json!({ "steading.dev/consumes": text }));
        let body = json!({ "metadata": { "name": namespace, "annotations": annotations } });
        scene.admin().may(&create("/api/v1/namespaces", body)).await;
        Self { namespace, facts }
    }

    /// A new one that consents.
    async fn consenting(scene: &Scene) -> Self {
        Self::new(scene, |workspace| Some(workspace.to_owned())).await
    }

    fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    fn bindings(&self) -> String {
        format!("/apis/{RBAC}/v1/namespaces/{}/rolebindings", self.namespace)
    }

    /// Name of the Secret of a consumer.
    fn consumer(&self) -> String {
        format!("{}.{}.billing", self.facts.tenant, self.facts.workspace)
    }

    /// The Secret of a consumer.
    fn secret(&self) -> Value {
        secret(&self.consumer(), &child_labels(&self.facts))
    }

    /// The binding by which it is written, named like the stack.
    fn binding(&self) -> Value {
        binding(self.facts.namespace().as_str(), &child_labels(&self.facts))
    }

    /// Every way to make both.
    fn ways_of_both(&self) -> Vec<Request> {
        [ways(&self.secrets(), &self.secret()), ways(&self.bindings(), &self.binding())].concat()
    }
}

fn secret(name: &str, labels: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": name, "labels": labels, "annotations": { "steading.dev/desired-hash": "x" } },
        "stringData": { "username": "consumer_shop_billing" },
    })
}

fn itself() -> Value {
    json!({ "kind": "ServiceAccount", "name": "steading", "namespace": OWN_NAMESPACE })
}

fn binding(name: &str, labels: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": { "name": name, "labels": labels },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE }, "subjects": [itself()],
    })
}

/// Every way to have an object: to make it, and to apply it.
fn ways(path: &str, object: &Value) -> Vec<Request> {
    let name = object["metadata"]["name"].as_str().unwrap();
    vec![create(path, object.clone()), apply(&format!("{path}/{name}"), object.clone())]
}

#[tokio::test]
async fn the_operators_token_gives_consumers_their_secret_where_the_namespace_consents() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let lists: [fn(&str) -> String; 5] = [
        str::to_owned,
        |workspace| format!(" {workspace} "),
        |workspace| format!("globex/research,{workspace}"),
        |workspace| format!("{workspace} , globex/research"),
        |workspace| format!("globex/research,\n {workspace},"),
    ];
    for list in lists {
        let shop = Shop::new(&scene, |workspace| Some(list(workspace))).await;
        for request in shop.ways_of_both() {
            operator.may(&request).await;
        }
        let item = format!("{}/{}", shop.secrets(), shop.consumer());
        operator.may(&merge(&item, json!({ "stringData": { "tls.key": "k" } }))).await;
        operator.may(&delete(&item)).await;
        operator.may(&delete(&format!("{}/{}", shop.bindings(), shop.facts.namespace()))).await;
    }
}

#[tokio::test]
async fn the_operators_token_gives_consumers_nothing_without_consent() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let lists: [fn(&str) -> Option<String>; 9] = [
        |_| None,
        |_| Some(String::new()),
        |_| Some("globex/research".to_owned()),
        |workspace| Some(format!("{workspace}s")),
        |workspace| Some(format!("x{workspace}")),
        |workspace| Some(format!("{workspace}; globex/research")),
        |workspace| Some(workspace.replace('/', " / ")),
        |workspace| Some(format!("{}/*", workspace.split_once('/').unwrap().0)),
        |_| Some("*".to_owned()),
    ];
    for list in lists {
        let shop = Shop::new(&scene, list).await;
        operator.may_not_any(&shop.ways_of_both(), OPERATOR_CONSENT).await;
    }
    // For another Workspace than the one that has the consent.
    let (shop, other) = (Shop::consenting(&scene).await, facts());
    let foreign = secret(&format!("{}.{}.billing", other.tenant, other.workspace), &child_labels(&other));
    operator.may_not_any(&ways(&shop.secrets(), &foreign), OPERATOR_CONSENT).await;
    let foreign = binding(other.namespace().as_str(), &child_labels(&other));
    operator.may_not_any(&ways(&shop.bindings(), &foreign), OPERATOR_CONSENT).await;
}

#[tokio::test]
async fn what_consumers_were_given_is_taken_back_when_consent_is_gone_and_not_written_any_more() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let shop = Shop::consenting(&scene).await;
    for request in shop.ways_of_both() {
        operator.may(&request).await;
    }
    let withdrawn = json!({ "metadata": { "annotations": { "steading.dev/consumes": null } } });
    scene.admin().may(&merge(&format!("/api/v1/namespaces/{}", shop.namespace), withdrawn)).await;
    let item = format!("{}/{}", shop.secrets(), shop.consumer());
    let harmless = merge(&item, json!({}));
    // What the API server knows of a namespace may lag behind. Without the rule this ends as well, and what follows says so.
    let refused = async || Ok(operator.tries(&harmless).await.is_err());
    drop(e2e::wait::until("the API server knows of it", Duration::from_secs(30), refused).await);
    let bound = format!("{}/{}", shop.bindings(), shop.facts.namespace());
    let mut attacks = vec![harmless, ways(&shop.secrets(), &shop.secret())[1].clone()];
    attacks.extend(every_change(&scene.admin(), &item, "/data", json!({ "a": "Yg==" })).await);
    attacks.push(ways(&shop.bindings(), &shop.binding())[1].clone());
    operator.may_not_any(&attacks, OPERATOR_CONSENT).await;
    operator.may(&delete(&item)).await;
    operator.may(&delete(&bound)).await;
}

#[tokio::test]
async fn no_consent_opens_namespaces_of_the_cluster_or_steadings_own() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let admin = scene.admin();
    for namespace in ["kube-system", "kube-public", OWN_NAMESPACE] {
        let shop = Shop { namespace: namespace.to_owned(), facts: facts() };
        let consent = json!({ "steading.dev/consumes": format!("{}/{}", shop.facts.tenant, shop.facts.workspace) });
        let annotated = json!({ "metadata": { "annotations": consent } });
        admin.may(&merge(&format!("/api/v1/namespaces/{namespace}"), annotated)).await;
        operator.may_not_any(&shop.ways_of_both(), OPERATOR_OUTSIDE_STACK).await;
        admin.may(&create(&shop.secrets(), shop.secret())).await;
        operator.may_not(&delete(&format!("{}/{}", shop.secrets(), shop.consumer())), OPERATOR_OUTSIDE_STACK).await;
    }
}

#[tokio::test]
async fn the_operators_token_writes_outside_of_stacks_only_what_is_named_after_its_labels() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let shop = Shop::consenting(&scene).await;
    let (tenant, workspace) = (shop.facts.tenant.to_string(), shop.facts.workspace.to_string());
    let marks = child_labels(&shop.facts);
    let name = shop.consumer();
    let mut attacks = Vec::new();
    for other in [
        "billing".to_owned(),
        "database-backup".to_owned(),
        format!("{tenant}.billing"),
        format!("{tenant}.{workspace}"),
        format!("{tenant}.{workspace}s.billing"),
        format!("x{tenant}.{workspace}.billing"),
        format!("{tenant}-{workspace}.billing"),
    ] {
        attacks.extend(ways(&shop.secrets(), &secret(&other, &marks)));
    }
    for other in ["steading-operator".to_owned(), tenant.clone(), format!("{tenant}-{workspace}"), format!("x{name}")] {
        attacks.extend(ways(&shop.bindings(), &binding(&other, &marks)));
    }
    let mut nameless = marks.clone();
    nameless.insert(labels::WORKSPACE.to_owned(), String::new());
    attacks.extend(ways(&shop.bindings(), &binding(&format!("{tenant}--x"), &nameless)));
    for key in [labels::MANAGED_BY, labels::TENANT, labels::WORKSPACE] {
        let (mut without, mut other) = (marks.clone(), marks.clone());
        without.remove(key);
        other.insert(key.to_owned(), "other".to_owned());
        for marks in [without, other] {
            attacks.extend(ways(&shop.secrets(), &secret(&name, &marks)));
            attacks.extend(ways(&shop.bindings(), &binding(shop.facts.namespace().as_str(), &marks)));
        }
    }
    operator.may_not_any(&attacks, OPERATOR_OUTSIDE_STACK).await;
}

#[tokio::test]
async fn the_operators_token_binds_outside_of_stacks_only_itself_and_only_to_write_secrets_of_consumers() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (shop, stack) = (Shop::consenting(&scene).await, scene.stack().await);
    let path = shop.bindings();
    let mia = json!({ "apiGroup": RBAC, "kind": "User", "name": "mia" });
    let roles = [
        ("ClusterRole", "cluster-admin"),
        ("ClusterRole", "view"),
        ("ClusterRole", "steading-operator"),
        ("ClusterRole", "steading-stack-viewer"),
        ("ClusterRole", "steading-stack-editor"),
        ("ClusterRole", "steading-stack-operator"),
        ("Role", ROLE),
    ];
    for (kind, role) in roles {
        for subject in [itself(), mia.clone()] {
            let mut bad = shop.binding();
            bad["roleRef"] = json!({ "apiGroup": RBAC, "kind": kind, "name": role });
            bad["subjects"] = json!([subject]);
            operator.may_not_any(&ways(&path, &bad), OPERATOR_ROLE).await;
        }
    }
    // In a stack it has another role, by which it writes one Secret.
    let marks = child_labels(&stack.facts);
    for name in ["x", "steading-operator", stack.namespace.as_str()] {
        let inside = ways(&stack.of("rbac.authorization.k8s.io/v1", "rolebindings"), &binding(name, &marks));
        operator.may_not_any(&inside, OPERATOR_ROLE).await;
    }
    let account =
        |name: &str, namespace: &str| json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace });
    let others = [
        json!([]),
        json!([mia]),
        json!([itself(), mia]),
        json!([account("steading", "acme")]),
        json!([account("billing", &shop.namespace)]),
        json!([account("default", OWN_NAMESPACE)]),
    ];
    for subjects in &others {
        let mut bad = shop.binding();
        bad["subjects"] = subjects.clone();
        operator.may_not_any(&ways(&path, &bad), OPERATOR_SUBJECT).await;
    }
    operator.may(&create(&path, shop.binding())).await;
    for subjects in others {
        let item = format!("{path}/{}", shop.facts.namespace());
        let changes = every_change(&scene.admin(), &item, "/subjects", subjects).await;
        operator.may_not_any(&changes, OPERATOR_SUBJECT).await;
    }
}

#[tokio::test]
async fn the_operators_token_writes_no_secret_of_others_and_reads_none_by_writing() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let shop = Shop::consenting(&scene).await;
    let path = shop.secrets();
    let item = format!("{path}/{}", shop.consumer());
    let marks = child_labels(&shop.facts);
    // A Secret without the mark of a Workspace is not made either.
    for owner in [None, Some("me"), Some("3F0A4C8E-2B1D-4E5F-8A9B-0C1D2E3F4A5B")] {
        let mut marks = marks.clone();
        marks.remove(labels::OWNER);
        marks.extend(owner.map(|owner| (labels::OWNER.to_owned(), owner.to_owned())));
        operator.may_not_any(&ways(&path, &secret(&shop.consumer(), &marks)), OPERATOR_SECRET_OWNER).await;
    }
    let (mut unowned, mut foreign) = (marks.clone(), marks.clone());
    unowned.remove(labels::OWNER);
    foreign.insert(labels::OWNER.to_owned(), STRANGER.to_owned());
    for theirs in [BTreeMap::new(), unowned, foreign] {
        scene.admin().may(&create(&path, secret(&shop.consumer(), &theirs))).await;
        // To claim it by labels, and with them what is in it.
        let mut whole = scene.admin().get(&item).await;
        whole["metadata"]["labels"] = json!(marks);
        let claim = json!({ "metadata": { "labels": marks } });
        let mut attacks = vec![replace(&item, whole), merge(&item, claim), apply(&item, shop.secret())];
        attacks.extend(every_change(&scene.admin(), &item, "/metadata/labels", json!(marks)).await);
        operator.may_not_any(&attacks, OPERATOR_SECRET_OWNER).await;
        scene.admin().may(&delete(&item)).await;
    }
    // Without even labels it is none of its business, whatever the name.
    for name in [shop.consumer(), "theirs".to_owned()] {
        let item = format!("{path}/{name}");
        scene.admin().may(&create(&path, secret(&name, &BTreeMap::new()))).await;
        let mut attacks = every_change(&scene.admin(), &item, "/data", json!({ "a": "Yg==" })).await;
        attacks.extend([merge(&item, json!({})), delete(&item), delete(&path)]);
        operator.may_not_any(&attacks, OPERATOR_OUTSIDE_STACK).await;
    }
}

#[tokio::test]
async fn the_operators_token_deletes_outside_of_stacks_only_what_steading_made() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let shop = Shop::new(&scene, |_| None).await;
    let (secrets, bindings) = (shop.secrets(), shop.bindings());
    let marks = child_labels(&shop.facts);
    let mut unmanaged = marks.clone();
    unmanaged.insert(labels::MANAGED_BY.to_owned(), "Helm".to_owned());
    let stack = shop.facts.namespace().to_string();
    for (path, object) in [
        (&secrets, secret("theirs", &marks)),
        (&secrets, secret(&shop.consumer(), &unmanaged)),
        (&bindings, binding(&stack, &BTreeMap::new())),
    ] {
        let item = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
        scene.admin().may(&create(path, object)).await;
        operator.may_not_any(&[delete(&item), delete(path)], OPERATOR_OUTSIDE_STACK).await;
        scene.admin().may(&delete(&item)).await;
    }
    scene.admin().may(&create(&secrets, shop.secret())).await;
    operator.may(&delete(&format!("{secrets}/{}", shop.consumer()))).await;
}

#[tokio::test]
async fn the_operators_token_makes_a_secret_of_a_consumer_mean_nothing_to_others() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let shop = Shop::consenting(&scene).await;
    let path = shop.secrets();
    for (kind, data) in
        [("kubernetes.io/service-account-token", json!({})), ("kubernetes.io/basic-auth", json!({ "username": "a" }))]
    {
        let mut token = shop.secret();
        token["type"] = json!(kind);
        token["stringData"] = data;
        token["metadata"]["annotations"] = json!({ "kubernetes.io/service-account.name": "default" });
        operator.may_not_any(&ways(&path, &token), OPERATOR_SECRET_TYPE).await;
    }
    operator.may(&create(&path, shop.secret())).await;
    let item = format!("{path}/{}", shop.consumer());
    for (pointer, key) in [
        ("/metadata/annotations", "reflector.example/reflects"),
        ("/metadata/labels", "argocd.argoproj.io/secret-type"),
        ("/metadata/labels", "cnpg.io/reload"),
    ] {
        let mut ordered = shop.secret();
        ordered.pointer_mut(pointer).unwrap()[key] = json!("x");
        let pointer = format!("{pointer}/{}", key.replace('/', "~1"));
        let mut attacks = ways(&path, &ordered);
        attacks.extend(every_change(&scene.admin(), &item, &pointer, json!("x")).await);
        operator.may_not_any(&attacks, OPERATOR_DATABASE_METADATA).await;
    }
}
