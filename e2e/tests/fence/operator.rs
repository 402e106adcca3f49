//! `steading-operator`: what the operator's own token can do in the hands of somebody else. Its RBAC rights are widened to everything,
//! so that the fence alone stands in the way.

use serde_json::{Value, json};

use crate::caller::{apply, create, delete, every_change, merge, patch, replace};
use crate::rules::{
    OPERATOR_AGENT_MARKS, OPERATOR_FOREIGN_NAMESPACE, OPERATOR_KIND, OPERATOR_LEASE, OPERATOR_NAMESPACE_LABELS,
    OPERATOR_NAMESPACE_NAME, OPERATOR_OUTSIDE_STACK, OPERATOR_POD_SECURITY, OPERATOR_ROLE, OPERATOR_SPEC,
    OPERATOR_SUBJECT, OPERATOR_TOKEN,
};
use crate::scene::{
    OWN_NAMESPACE, Scene, agent_pool, child_labels, class, facts, namespace_labels, ours, tenant, workspace,
};
use crate::stacks::pod;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

#[tokio::test]
async fn the_operators_token_makes_no_other_kind_anywhere() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let elsewhere = scene.namespace("elsewhere").await;
    let named = json!({ "metadata": { "name": "x" } });
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let role = json!({ "metadata": { "name": "x" }, "rules": rules });
    let admin = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" });
    let subject = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia" }]);
    let binding = json!({ "metadata": { "name": "x" }, "roleRef": admin, "subjects": subject });
    let mut attacks = vec![
        create("/apis/rbac.authorization.k8s.io/v1/clusterroles", role.clone()),
        create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding),
        merge("/apis/rbac.authorization.k8s.io/v1/clusterroles/steading-stack-viewer", json!({ "rules": rules })),
        merge("/apis/rbac.authorization.k8s.io/v1/clusterroles/steading-operator", json!({ "rules": rules })),
        delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tenants.steading.dev"),
        create("/api/v1/nodes", named.clone()),
        create(
            "/api/v1/persistentvolumes",
            json!({ "metadata": { "name": "x" }, "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/" },
            }}),
        ),
    ];
    for namespace in [stack.namespace.as_str(), OWN_NAMESPACE, &elsewhere, "kube-system"] {
        let core = |plural: &str| format!("/api/v1/namespaces/{namespace}/{plural}");
        attacks.extend([
            create(&core("configmaps"), named.clone()),
            create(&core("services"), json!({ "metadata": { "name": "x" }, "spec": { "ports": [{ "port": 80 }] } })),
            create(&format!("/apis/{RBAC}/namespaces/{namespace}/roles"), role.clone()),
        ]);
    }
    operator.may_not_any(&attacks, OPERATOR_KIND).await;
    operator.may_not(&create(&format!("/api/v1/namespaces/{elsewhere}/pods"), pod("x")), OPERATOR_OUTSIDE_STACK).await;
    operator.may_not(&create(&stack.core("pods"), pod("x")), OPERATOR_AGENT_MARKS).await;
}

#[tokio::test]
async fn the_operators_token_reaches_no_pod_and_no_subresource_of_a_namespace() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    scene.break_glass().may(&create(&stack.core("pods"), pod("target"))).await;
    let mut unheld = scene.admin().get(&stack.itself()).await;
    unheld["spec"]["finalizers"] = json!([]);
    let annotated = json!({ "metadata": { "annotations": { "steading.dev/x": "y" } } });
    let more = json!({ "status": { "hard": { "pods": "100000" } } });
    let attacks = [
        create(&stack.core("pods/target/exec?command=sh"), Value::Null),
        create(&stack.core("pods/target/portforward?ports=80"), Value::Null),
        merge(&stack.core("pods/target/status"), json!({ "status": { "reason": "x" } })),
        merge(&stack.core("resourcequotas/steading/status"), more),
        merge(&format!("{}/status", stack.itself()), annotated),
        replace(&format!("{}/finalize", stack.itself()), unheld),
    ];
    operator.may_not_any(&attacks, OPERATOR_KIND).await;
    let attacks = [
        merge(&stack.core("pods/target"), json!({ "metadata": { "labels": { "steading.dev/part": "x" } } })),
        delete(&stack.core("pods/target")),
        delete(&stack.core("pods")),
    ];
    operator.may_not_any(&attacks, OPERATOR_AGENT_MARKS).await;
}

#[tokio::test]
async fn the_operators_token_changes_and_deletes_no_namespace_that_is_no_stack() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let victim = scene.namespace("victim").await;
    for namespace in [victim.as_str(), "kube-system", "default", OWN_NAMESPACE] {
        let path = format!("/api/v1/namespaces/{namespace}");
        let mut attacks = every_change(&scene.admin(), &path, "/metadata/labels/team", json!("payments")).await;
        attacks.extend(every_change(&scene.admin(), &path, "/metadata/annotations", json!({ "a": "b" })).await);
        let labels =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "labels": { "team": "payments" } } });
        attacks.push(apply(&path, labels));
        // The API server itself keeps these two.
        if !["kube-system", "default"].contains(&namespace) {
            attacks.push(delete(&path));
            attacks.push(delete(&format!("{path}?dryRun=All")));
        }
        operator.may_not_any(&attacks, OPERATOR_FOREIGN_NAMESPACE).await;
    }
}

/// The namespace that the operator would make of these facts, with another name and other labels.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let facts = facts();
    let mut namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": facts.namespace().to_string(), "labels": namespace_labels(&facts) },
    });
    change(&mut namespace["metadata"]);
    namespace
}

#[tokio::test]
async fn the_operators_token_makes_no_namespace_but_a_stack_that_is_named_after_its_labels() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let set = |label: &'static str, value: Value| changed(move |metadata| metadata["labels"][label] = value);
    let drop = |label: &'static str| {
        changed(move |metadata| {
            metadata["labels"].as_object_mut().unwrap().remove(label);
        })
    };
    let name = |name: &str| changed(|metadata| metadata["name"] = json!(name));
    let attempts = [
        drop("steading.dev/stack"),
        drop("steading.dev/owner"),
        drop("steading.dev/tenant"),
        drop("steading.dev/workspace"),
        drop("app.kubernetes.io/managed-by"),
        set("steading.dev/stack", json!("yes")),
        set("steading.dev/stack", json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b")),
        set("steading.dev/owner", json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b")),
        set("steading.dev/tenant", json!("globex")),
        set("steading.dev/workspace", json!("research")),
        set("steading.dev/tenant", json!("")),
        set("app.kubernetes.io/managed-by", json!("hand")),
        name("kube-system-x"),
        name("acme"),
        changed(|metadata| metadata["name"] = json!(format!("{}x", metadata["name"].as_str().unwrap()))),
    ];
    for namespace in attempts {
        let path = format!("/api/v1/namespaces/{}", namespace["metadata"]["name"].as_str().unwrap());
        let both = [create("/api/v1/namespaces", namespace.clone()), apply(&path, namespace)];
        operator.may_not_any(&both, OPERATOR_NAMESPACE_NAME).await;
    }
}

#[tokio::test]
async fn the_operators_token_makes_no_stack_without_pod_security_and_weakens_none() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    for mode in ["enforce", "audit", "warn"] {
        let level = format!("pod-security.kubernetes.io/{mode}");
        let version = format!("{level}-version");
        for (label, values) in [
            (level, [json!("privileged"), json!("baseline"), Value::Null]),
            (version, [json!("v1.20"), json!("v1.30"), Value::Null]),
        ] {
            let pointer = format!("/metadata/labels/{}", label.replace('/', "~1"));
            for value in values {
                let weak = changed(|metadata| match &value {
                    Value::Null => drop(metadata["labels"].as_object_mut().unwrap().remove(&label)),
                    value => metadata["labels"][&label] = value.clone(),
                });
                operator.may_not(&create("/api/v1/namespaces", weak), OPERATOR_POD_SECURITY).await;
                let changes = every_change(&scene.admin(), &stack.itself(), &pointer, value).await;
                operator.may_not_any(&changes, OPERATOR_POD_SECURITY).await;
            }
        }
    }
}

#[tokio::test]
async fn the_operators_token_gives_no_stack_a_label_or_annotation_that_could_give_reach() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let reach = changed(|metadata| metadata["labels"]["team"] = json!("payments"));
    operator.may_not(&create("/api/v1/namespaces", reach), OPERATOR_NAMESPACE_LABELS).await;
    let pinned =
        changed(|metadata| metadata["annotations"] = json!({ "scheduler.alpha.kubernetes.io/node-selector": "a=b" }));
    operator.may_not(&create("/api/v1/namespaces", pinned), OPERATOR_NAMESPACE_LABELS).await;
    let labels = every_change(&scene.admin(), &stack.itself(), "/metadata/labels/team", json!("payments")).await;
    operator.may_not_any(&labels, OPERATOR_NAMESPACE_LABELS).await;
    let pin = json!({ "scheduler.alpha.kubernetes.io/node-selector": "a=b" });
    let annotations = every_change(&scene.admin(), &stack.itself(), "/metadata/annotations", pin).await;
    operator.may_not_any(&annotations, OPERATOR_NAMESPACE_LABELS).await;
}

#[tokio::test]
async fn a_label_that_break_glass_left_on_a_stack_does_not_stop_the_operator() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let left = json!({ "metadata": { "labels": {
        "incident": "4711", "pod-security.kubernetes.io/enforce": "privileged",
    }, "annotations": { "incident": "4711" } } });
    scene.break_glass().may(&merge(&stack.itself(), left)).await;
    let repair = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    operator.may(&merge(&stack.itself(), repair)).await;
}

fn binding(role: &Value, subjects: &Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": { "name": "x", "labels": child_labels(&facts()) },
        "roleRef": role, "subjects": subjects,
    })
}

fn role(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

#[tokio::test]
async fn the_operators_token_binds_no_role_but_the_two() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(RBAC, "rolebindings");
    let mia = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia" }]);
    let roles = [
        role("ClusterRole", "cluster-admin"),
        role("ClusterRole", "view"),
        role("ClusterRole", "steading-operator"),
        role("ClusterRole", "steading-tenant-admin"),
        role("ClusterRole", "steading-stack-operator"),
        // A namesake that somebody made in the stack is not the chart's.
        role("Role", "steading-stack-viewer"),
    ];
    for role in roles {
        let bad = binding(&role, &mia);
        operator.may_not_any(&[create(&path, bad.clone()), apply(&format!("{path}/x"), bad)], OPERATOR_ROLE).await;
    }
}

#[tokio::test]
async fn the_operators_token_binds_nobody_of_the_cluster() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let stack = scene.stack().await;
    let path = stack.of(RBAC, "rolebindings");
    let group = "rbac.authorization.k8s.io";
    let subjects = [
        json!({ "apiGroup": group, "kind": "Group", "name": "system:authenticated" }),
        json!({ "apiGroup": group, "kind": "Group", "name": "system:unauthenticated" }),
        json!({ "apiGroup": group, "kind": "Group", "name": "system:serviceaccounts" }),
        json!({ "apiGroup": group, "kind": "User", "name": "system:anonymous" }),
        json!({ "apiGroup": group, "kind": "User", "name": "system:serviceaccount:acme:builder" }),
        json!({ "kind": "ServiceAccount", "namespace": "acme", "name": "builder" }),
    ];
    let honest = json!({ "apiGroup": group, "kind": "User", "name": "mia" });
    for subject in subjects {
        let bad = binding(&role("ClusterRole", "steading-stack-viewer"), &json!([honest, subject]));
        let existing = format!("{path}/steading-viewers");
        let mut attacks = every_change(&scene.admin(), &existing, "/subjects", json!([honest, subject])).await;
        attacks.extend([create(&path, bad.clone()), apply(&format!("{path}/x"), bad)]);
        operator.may_not_any(&attacks, OPERATOR_SUBJECT).await;
    }
}

#[tokio::test]
async fn the_operators_token_asks_for_nothing_and_changes_no_spec() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let (of_class, acme) = (scene.class().await, scene.namespace("acme").await);
    let (tenants, workspaces) = (ours(&acme, "tenants"), ours(&acme, "workspaces"));
    let classes = "/apis/steading.dev/v1alpha1/tenantclasses";
    let attacks = [
        create(classes, class("x")),
        create(&tenants, tenant(&acme, &of_class)),
        create(&workspaces, workspace("x")),
        create(&ours(&acme, "agentpools"), agent_pool("x")),
        delete(&format!("{classes}/{of_class}")),
    ];
    operator.may_not_any(&attacks, OPERATOR_SPEC).await;

    scene.member().may(&create(&tenants, tenant(&acme, &of_class))).await;
    scene.member().may(&create(&workspaces, workspace("finance"))).await;
    scene.member().may(&create(&ours(&acme, "agentpools"), agent_pool("desktops"))).await;
    let bounds = ("/spec/keys/openbao/auth/role", json!("mine"));
    let owners = json!([{ "kind": "Group", "name": "globex-admins" }]);
    let members = json!([{ "kind": "Group", "name": "globex-admins", "role": "editor" }]);
    let specs = [
        (format!("{classes}/{of_class}"), bounds.0, bounds.1),
        (format!("{tenants}/{acme}"), "/spec/owners", owners),
        (format!("{workspaces}/finance"), "/spec/members", members),
        (ours(&acme, "agentpools/desktops"), "/spec/replicas", json!(200)),
    ];
    for (path, pointer, value) in specs {
        let mut attacks = every_change(&scene.admin(), &path, pointer, value).await;
        for (pointer, value) in [
            ("/metadata/labels", json!({ "a": "b" })),
            ("/metadata/annotations", json!({ "steading.dev/rotate-requested-at": "now" })),
            ("/metadata/finalizers", json!(["example.com/pinned"])),
            (
                "/metadata/ownerReferences",
                json!([{ "apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "u" }]),
            ),
        ] {
            attacks.extend(every_change(&scene.admin(), &path, pointer, value).await);
        }
        attacks.push(delete(&path));
        operator.may_not_any(&attacks, OPERATOR_SPEC).await;
        let held = json!([{ "op": "add", "path": "/metadata/finalizers", "value": ["steading.dev/cleanup"] }]);
        operator.may(&patch(&path, held)).await;
        operator.may(&merge(&path, json!({ "metadata": { "finalizers": null } }))).await;
    }
}

#[tokio::test]
async fn the_operators_token_holds_one_lease_and_no_other() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let leases = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let lease = |name: &str| json!({ "metadata": { "name": name }, "spec": {} });
    let stack = scene.stack().await;
    let foreign = scene.namespace("foreign").await;
    let others = format!("{}/others", leases(OWN_NAMESPACE));
    scene.admin().may(&create(&leases(OWN_NAMESPACE), lease("others"))).await;
    let mut attacks = vec![
        create(&leases("kube-system"), lease("kube-scheduler")),
        create(&leases("kube-system"), lease("steading-operator")),
        create(&leases(&stack.namespace), lease("steading-operator")),
        create(&leases(&foreign), lease("steading-operator")),
        create(&leases(OWN_NAMESPACE), lease("x")),
        delete(&others),
        delete(&leases(OWN_NAMESPACE)),
    ];
    attacks.extend(every_change(&scene.admin(), &others, "/spec/holderIdentity", json!("me")).await);
    operator.may_not_any(&attacks, OPERATOR_LEASE).await;
    operator.may(&create(&leases(OWN_NAMESPACE), lease("steading-operator"))).await;
}

#[tokio::test]
async fn the_operators_token_gets_no_token_but_its_own() {
    let scene = Scene::set().await;
    let operator = scene.operator().await;
    let foreign = scene.namespace("foreign").await;
    let accounts = |namespace: &str| format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    for (namespace, name) in [(foreign.as_str(), "steading"), (OWN_NAMESPACE, "other"), ("kube-system", "other")] {
        scene.admin().may(&create(&accounts(namespace), json!({ "metadata": { "name": name } }))).await;
        let request =
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": ["x"] } });
        let path = format!("{}/{name}/token", accounts(namespace));
        operator.may_not(&create(&path, request), OPERATOR_TOKEN).await;
    }
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": ["openbao"] } });
    operator.may(&create(&format!("{}/steading/token", accounts(OWN_NAMESPACE)), request)).await;
}
