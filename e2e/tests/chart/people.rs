//! Roles for people: what each lets them do, and that RBAC alone already keeps them from everything else.

use std::time::Duration;

use e2e::{Plane, Tier, unique};
use kube::Client;
use serde_json::{Value, json};

use crate::helm::{one, render, with};
use crate::server::{Refusal, Stack, ask, get, has_right, installed};

/// Each resource of a role with its group and the verbs on it.
async fn granted(role: &str) -> Vec<(String, String, Vec<String>)> {
    let objects = render("steading", &with(json!({}))).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut granted = Vec::new();
    for rule in one(&objects, "ClusterRole", role)["rules"].as_array().unwrap() {
        let verbs: Vec<String> = rule["verbs"].as_array().unwrap().iter().map(text).collect();
        for resource in rule["resources"].as_array().unwrap() {
            granted.push((text(&rule["apiGroups"][0]), text(resource), verbs.clone()));
        }
    }
    granted
}

fn root(group: &str) -> String {
    match group {
        "" => "/api/v1".into(),
        "autoscaling" => "/apis/autoscaling/v2".into(),
        "steading.dev" => "/apis/steading.dev/v1alpha1".into(),
        group => format!("/apis/{group}/v1"),
    }
}

fn refused_by_rbac(answer: Result<Value, Refusal>, what: &str) {
    let refusal = answer.expect_err(what);
    assert!(refusal.is_by_rbac(), "{what} was not refused by RBAC: {refusal:?}");
}

#[tokio::test]
async fn members_read_every_kind_in_their_stack_and_nothing_in_another() {
    let (plane, installation) = installed(Tier::One).await;
    let (stack, other) = (Stack::stand(plane, installation).await, Stack::stand(plane, installation).await);
    for (role, groups) in [
        ("steading-stack-viewer", vec![&stack.viewers]),
        ("steading-stack-editor", vec![&stack.editors, &stack.owners]),
    ] {
        for group in groups {
            let person = plane.client_for("mia", &[group]).unwrap();
            for (api, resource, verbs) in granted(role).await {
                if resource == "namespaces" {
                    get(&person, &format!("/api/v1/namespaces/{}", stack.namespace)).await.unwrap();
                    refused_by_rbac(
                        get(&person, &format!("/api/v1/namespaces/{}", other.namespace)).await,
                        "another stack",
                    );
                } else if resource != "pods/log" {
                    let path = |namespace: &str| format!("{}/namespaces/{namespace}/{resource}", root(&api));
                    let read = get(&person, &path(&stack.namespace)).await;
                    // Databases have kinds that are not installed here; then nobody is refused, but there is nothing.
                    let is_absent = |no: &Refusal| api.ends_with("cnpg.io") && no.code == 404;
                    assert!(read.as_ref().err().is_none_or(is_absent), "{role} {resource}: {read:?}");
                    refused_by_rbac(get(&person, &path(&other.namespace)).await, &resource);
                    refused_by_rbac(get(&person, &format!("{}/{resource}", root(&api))).await, &resource);
                }
                for verb in verbs {
                    assert!(
                        has_right(&person, &verb, &api, &resource, &stack.namespace).await,
                        "{role} {verb} {resource}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn only_editors_read_logs_and_nobody_reads_secrets() {
    let (plane, installation) = installed(Tier::One).await;
    let stack = Stack::stand(plane, installation).await;
    for group in [&stack.viewers, &stack.editors, &stack.owners] {
        let person = plane.client_for("mia", &[group]).unwrap();
        for path in [stack.core("secrets"), stack.core("secrets/x"), "/api/v1/secrets".to_owned()] {
            refused_by_rbac(get(&person, &path).await, &path);
        }
        let log = get(&person, &stack.core("pods/x/log")).await.unwrap_err();
        if group == &stack.viewers {
            assert!(log.is_by_rbac(), "{log:?}");
        } else {
            // There is no such pod, but the question was allowed.
            assert_eq!(log.code, 404, "{log:?}");
        }
    }
}

/// Every way to change or remove an object.
fn attacks(path: &str) -> Vec<(&'static str, String)> {
    let collection = path.rsplit_once('/').unwrap().0.to_owned();
    let mut attacks = vec![
        ("POST", collection.clone()),
        ("PUT", path.to_owned()),
        ("MERGE", path.to_owned()),
        ("APPLY", format!("{path}?fieldManager=x&force=true")),
        ("DELETE", path.to_owned()),
        ("DELETE", collection),
    ];
    if path.contains("resourcequotas") {
        attacks.extend([("PUT", format!("{path}/status")), ("MERGE", format!("{path}/status"))]);
    }
    attacks
}

#[tokio::test]
async fn rbac_alone_keeps_everybody_from_what_isolates_a_stack() {
    let (plane, installation) = installed(Tier::One).await;
    let stack = Stack::stand(plane, installation).await;
    let foreign_owner = admin_of(plane, "steading-tenant-admin", "globex").await.0;
    let mut people: Vec<(&str, Client)> = vec![("another tenant's owner", foreign_owner)];
    for (who, group) in [("a viewer", &stack.viewers), ("an editor", &stack.editors), ("an owner", &stack.owners)] {
        people.push((who, plane.client_for("mia", &[group]).unwrap()));
    }
    for (who, person) in &people {
        for path in stack.isolation() {
            for (verb, path) in attacks(&path) {
                refused_by_rbac(ask(person, verb, &path, json!({})).await, &format!("{who}: {verb} {path}"));
            }
        }
        let namespace = format!("/api/v1/namespaces/{}", stack.namespace);
        for (verb, path) in [
            ("PUT", namespace.clone()),
            ("MERGE", namespace.clone()),
            ("DELETE", namespace.clone()),
            ("MERGE", format!("{namespace}/status")),
            ("PUT", format!("{namespace}/finalize")),
            ("POST", stack.core("pods")),
            ("POST", stack.core("pods/x/exec?command=sh")),
            ("GET", stack.core("pods/x/exec?command=sh")),
            ("POST", stack.core("pods/x/attach")),
            ("POST", stack.core("pods/x/portforward")),
            ("GET", stack.core("pods/x/proxy")),
            ("GET", stack.core("services/x/proxy")),
            ("MERGE", stack.core("pods/x/ephemeralcontainers")),
            ("POST", stack.core("pods/x/eviction")),
            ("POST", stack.core("serviceaccounts/default/token")),
            ("POST", stack.core("serviceaccounts")),
            ("POST", stack.core("secrets")),
            ("POST", stack.core("configmaps")),
            ("POST", format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles", stack.namespace)),
        ] {
            refused_by_rbac(ask(person, verb, &path, json!({})).await, &format!("{who}: {verb} {path}"));
        }
    }
}

/// Somebody with one of the chart's roles in a new control namespace, and nothing else.
async fn admin_of(plane: &Plane, role: &str, purpose: &str) -> (Client, String) {
    let admin = plane.admin().unwrap();
    let (namespace, user) = (unique(purpose), unique("user"));
    ask(&admin, "POST", "/api/v1/namespaces", json!({ "metadata": { "name": namespace } })).await.unwrap();
    let client = bound(plane, role, &user, Some(&namespace)).await;
    (client, namespace)
}

/// Binds a role to a user in a namespace, or cluster-wide.
async fn bound(plane: &Plane, role: &str, user: &str, namespace: Option<&str>) -> Client {
    let binding = json!({
        "metadata": { "name": user },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let path = match namespace {
        Some(namespace) => format!("{group}/namespaces/{namespace}/rolebindings"),
        None => format!("{group}/clusterrolebindings"),
    };
    ask(&plane.admin().unwrap(), "POST", &path, binding).await.unwrap();
    let client = plane.client_for(user, &[]).unwrap();
    let (verb, api, resource) = if role == "edit" { ("list", "", "pods") } else { ("list", "steading.dev", "tenants") };
    e2e::wait::until("the binding is in force", Duration::from_secs(30), async || {
        Ok(has_right(&client, verb, api, resource, namespace.unwrap_or_default()).await)
    })
    .await
    .unwrap();
    client
}

fn ours(namespace: &str, plural: &str) -> String {
    format!("/apis/steading.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

fn workspace(name: &str) -> Value {
    json!({ "apiVersion": "steading.dev/v1alpha1", "kind": "Workspace", "metadata": { "name": name }, "spec": {} })
}

fn agent_pool(name: &str) -> Value {
    let image = format!("registry.example/desktop@sha256:{}", "0".repeat(64));
    let desktop = json!({ "image": image, "resources": { "cpu": "1", "memory": "1Gi" } });
    let spec = json!({ "workspace": "finance", "replicas": 1, "desktop": desktop });
    json!({ "apiVersion": "steading.dev/v1alpha1", "kind": "AgentPool", "metadata": { "name": name }, "spec": spec })
}

fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "steading.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name }, "spec": { "class": "quickstart" },
    })
}

/// Creates, reads, changes in every way and removes an object; fails unless all of it is allowed.
async fn lives_and_dies(client: &Client, collection: &str, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("{collection}/{name}");
    ask(client, "POST", collection, object).await.unwrap();
    get(client, collection).await.unwrap();
    let stored = get(client, &path).await.unwrap();
    ask(client, "PUT", &path, stored).await.unwrap();
    ask(client, "MERGE", &path, json!({ "metadata": { "labels": { "team": "a" } } })).await.unwrap();
    ask(client, "DELETE", &path, json!({})).await.unwrap();
}

#[tokio::test]
async fn a_workspace_admin_writes_workspaces_and_reads_the_tenant() {
    let (plane, _) = installed(Tier::One).await;
    let (person, acme) = admin_of(plane, "steading-workspace-admin", "acme").await;
    lives_and_dies(&person, &ours(&acme, "workspaces"), workspace("finance")).await;
    lives_and_dies(&person, &ours(&acme, "agentpools"), agent_pool("desktops")).await;
    assert!(has_right(&person, "patch", "steading.dev", "agentpools/scale", &acme).await);
    get(&person, &ours(&acme, "tenants")).await.unwrap();
    for verb in ["create", "update", "patch", "delete"] {
        assert!(!has_right(&person, verb, "steading.dev", "tenants", &acme).await, "{verb}");
    }
    let refused = ask(&person, "POST", &ours(&acme, "tenants"), tenant(&acme)).await;
    refused_by_rbac(refused, "a workspace admin makes a Tenant");
    refused_by_rbac(
        ask(&person, "MERGE", &format!("{}/status", ours(&acme, "workspaces/x")), json!({})).await,
        "status",
    );
    refused_by_rbac(get(&person, &ours("elsewhere", "workspaces")).await, "another namespace");
}

#[tokio::test]
async fn a_tenant_viewer_only_reads() {
    let (plane, _) = installed(Tier::One).await;
    let (person, acme) = admin_of(plane, "steading-tenant-viewer", "acme").await;
    for plural in ["tenants", "workspaces", "agentpools"] {
        get(&person, &ours(&acme, plural)).await.unwrap();
        for verb in ["get", "list", "watch"] {
            assert!(has_right(&person, verb, "steading.dev", plural, &acme).await, "{verb} {plural}");
        }
        for verb in ["create", "update", "patch", "delete", "deletecollection", "adopt"] {
            assert!(!has_right(&person, verb, "steading.dev", plural, &acme).await, "{verb} {plural}");
        }
    }
}

#[tokio::test]
async fn a_tenant_admin_writes_all_kinds_but_uses_no_class_and_adopts_nothing() {
    let (plane, _) = installed(Tier::One).await;
    let (person, acme) = admin_of(plane, "steading-tenant-admin", "acme").await;
    lives_and_dies(&person, &ours(&acme, "workspaces"), workspace("finance")).await;
    lives_and_dies(&person, &ours(&acme, "agentpools"), agent_pool("desktops")).await;
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        assert!(has_right(&person, verb, "steading.dev", "tenants", &acme).await, "{verb}");
    }
    let refused = ask(&person, "POST", &ours(&acme, "tenants"), tenant(&acme)).await.unwrap_err();
    assert!(
        refused.message.contains("steading: creating a Tenant of class quickstart needs the verb use"),
        "{refused:?}"
    );
    for (verb, resource) in
        [("use", "tenantclasses"), ("adopt", "tenants"), ("adopt", "workspaces"), ("patch", "tenants/status")]
    {
        assert!(!has_right(&person, verb, "steading.dev", resource, &acme).await, "{verb} {resource}");
    }
}

#[tokio::test]
async fn a_platform_admin_runs_the_whole_of_it_but_no_status_and_no_stack() {
    let (plane, installation) = installed(Tier::One).await;
    let stack = Stack::stand(plane, installation).await;
    let person = bound(plane, "steading-platform-admin", &unique("petra"), None).await;
    let acme = unique("acme");
    ask(&plane.admin().unwrap(), "POST", "/api/v1/namespaces", json!({ "metadata": { "name": acme } })).await.unwrap();
    lives_and_dies(&person, &ours(&acme, "tenants"), tenant(&acme)).await;
    let mut heir = workspace("heir");
    heir["spec"]["identity"] = json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b");
    lives_and_dies(&person, &ours(&acme, "workspaces"), heir).await;
    lives_and_dies(&person, "/apis/steading.dev/v1alpha1/tenantclasses", class(&unique("class"))).await;
    for (api, resource, verbs) in granted("steading-platform-admin").await {
        for verb in verbs {
            assert!(has_right(&person, &verb, &api, &resource, "").await, "{verb} {resource}");
        }
    }
    for path in ["/api/v1/secrets".to_owned(), stack.core("pods"), stack.core("secrets")] {
        refused_by_rbac(get(&person, &path).await, &path);
    }
    assert!(!has_right(&person, "patch", "steading.dev", "tenants/status", &acme).await);
}

fn class(name: &str) -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut class = documents.into_iter().find(|document| document["kind"] == "TenantClass").unwrap();
    class["metadata"] = json!({ "name": name });
    class
}

#[tokio::test]
async fn an_editor_of_a_control_namespace_asks_for_nothing_and_reaches_no_stack() {
    // The built-in role `edit` collects others, which takes a controller.
    let (plane, installation) = installed(Tier::Two).await;
    let stack = Stack::stand(plane, installation).await;
    let (person, acme) = admin_of(plane, "edit", "acme").await;
    ask(&person, "POST", &format!("/api/v1/namespaces/{acme}/configmaps"), json!({ "metadata": { "name": "mine" } }))
        .await
        .unwrap();
    for plural in ["tenants", "workspaces"] {
        let object = if plural == "tenants" { tenant(&acme) } else { workspace("finance") };
        refused_by_rbac(ask(&person, "POST", &ours(&acme, plural), object).await, plural);
        refused_by_rbac(get(&person, &ours(&acme, plural)).await, plural);
        let status = format!("{}/x/status", ours(&acme, plural));
        refused_by_rbac(ask(&person, "MERGE", &status, json!({})).await, plural);
    }
    for path in stack.isolation() {
        for (verb, path) in attacks(&path) {
            refused_by_rbac(ask(&person, verb, &path, json!({})).await, &format!("an editor: {verb} {path}"));
        }
    }
    let pod = stack.core("pods");
    refused_by_rbac(ask(&person, "POST", &pod, json!({})).await, "a pod in a stack");
    // In its own namespace an editor may write Kubernetes' own kinds, but not in Steading's name.
    let forged = json!({
        "metadata": { "name": "forged", "labels": { "app.kubernetes.io/managed-by": "steading", "steading.dev/owner": "x" } },
        "spec": { "podSelector": {} },
    });
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{acme}/networkpolicies");
    let refused = ask(&person, "POST", &policies, forged).await.unwrap_err();
    assert!(refused.message.contains("steading: labels of steading.dev/"), "{refused:?}");
}
