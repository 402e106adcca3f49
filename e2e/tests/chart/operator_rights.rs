//! The operator's rights as the chart gives them: enough, and no more. What RBAC must leave open, the fence closes.

use e2e::Tier;
use serde_json::{Value, json};

use crate::server::{OWN_NAMESPACE, Stack, ask, get, installed};

#[tokio::test]
async fn rbac_alone_keeps_the_operator_from_what_it_has_no_business_with() {
    let (plane, installation) = installed(Tier::One).await;
    let stack = Stack::stand(plane, installation).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let own = |rest: &str| format!("/api/v1/namespaces/{OWN_NAMESPACE}/{rest}");
    let refused = [
        ("GET", "/api/v1/secrets".to_owned()),
        ("GET", own("secrets")),
        ("GET", stack.core("secrets")),
        ("GET", stack.core("secrets/x")),
        ("GET", "/api/v1/namespaces/kube-system/secrets/x".into()),
        ("POST", own("secrets")),
        ("DELETE", own("secrets/x")),
        ("GET", stack.core("pods/x")),
        ("DELETE", stack.core("pods")),
        ("GET", "/apis/steading.dev/v1alpha1/namespaces/acme/agentpools/x".into()),
        ("POST", "/apis/steading.dev/v1alpha1/namespaces/acme/agentpools".into()),
        ("GET", "/apis/node.k8s.io/v1/runtimeclasses/x".into()),
        ("POST", stack.core("serviceaccounts/agent/token")),
        ("POST", own("pods")),
        ("POST", stack.core("pods")),
        ("POST", stack.core("pods/x/exec")),
        ("GET", "/api/v1/configmaps".into()),
        ("GET", "/api/v1/nodes".into()),
        ("POST", own("serviceaccounts/default/token")),
        ("POST", "/api/v1/namespaces/kube-system/serviceaccounts/steading/token".into()),
        ("PUT", format!("/api/v1/namespaces/{}", stack.namespace)),
        ("MERGE", format!("/api/v1/namespaces/{}/status", stack.namespace)),
        ("PUT", format!("/api/v1/namespaces/{}/finalize", stack.namespace)),
        ("MERGE", stack.core("resourcequotas/steading/status")),
        ("DELETE", stack.core("resourcequotas")),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles".into()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles".into()),
        ("MERGE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/steading-stack-viewer".into()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".into()),
        ("POST", format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles", stack.namespace)),
        ("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies".into()),
        ("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/other".into()),
        ("MERGE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/steading-stacks".into()),
        ("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/steading-stacks".into()),
        ("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".into()),
        ("POST", "/apis/steading.dev/v1alpha1/tenantclasses".into()),
        ("POST", "/apis/steading.dev/v1alpha1/namespaces/acme/tenants".into()),
        ("POST", "/apis/steading.dev/v1alpha1/namespaces/acme/workspaces".into()),
        ("DELETE", "/apis/steading.dev/v1alpha1/namespaces/acme/tenants/acme".into()),
        ("PUT", "/apis/steading.dev/v1alpha1/namespaces/acme/workspaces/x".into()),
        ("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases".into()),
        ("GET", format!("/apis/coordination.k8s.io/v1/namespaces/{OWN_NAMESPACE}/leases/other")),
        ("DELETE", format!("/apis/coordination.k8s.io/v1/namespaces/{OWN_NAMESPACE}/leases/steading-operator")),
        ("GET", "/apis/discovery.k8s.io/v1/endpointslices".into()),
        ("GET", "/api/v1/namespaces/default/secrets/x".into()),
        ("POST", stack.core("secrets")),
        ("MERGE", format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters/database/status", stack.namespace)),
        ("POST", format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/backups", stack.namespace)),
        ("DELETE", format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters/database", stack.namespace)),
        ("DELETE", format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters/database-drill", stack.namespace)),
        ("POST", format!("/apis/apps/v1/namespaces/{}/deployments", stack.namespace)),
        ("MERGE", format!("/apis/apps/v1/namespaces/{OWN_NAMESPACE}/deployments/steading")),
        ("POST", format!("/apis/batch/v1/namespaces/{}/jobs", stack.namespace)),
        ("GET", "/apis/apps/v1/replicasets".into()),
    ];
    for (verb, path) in refused {
        let body = if verb == "GET" { Value::Null } else { json!({}) };
        let refusal = ask(&operator, verb, &path, body).await.expect_err(&path);
        assert!(refusal.is_by_rbac(), "{verb} {path} was not refused by RBAC: {refusal:?}");
    }
}

#[tokio::test]
async fn the_operator_cannot_bind_a_role_that_it_does_not_hold() {
    let (plane, installation) = installed(Tier::One).await;
    let stack = Stack::stand(plane, installation).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", stack.namespace);
    for role in ["cluster-admin", "steading-tenant-admin"] {
        let binding = json!({
            "metadata": { "name": "x" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia" }],
        });
        let refusal = ask(&operator, "POST", &path, binding).await.unwrap_err();
        assert!(refusal.is_by_rbac(), "{role}: {refusal:?}");
    }
}

/// What RBAC and the fence together leave of Secrets in stacks.
#[tokio::test]
async fn the_operator_writes_one_secret_where_it_binds_itself_and_none_elsewhere() {
    let (plane, installation) = installed(Tier::One).await;
    let (stack, other) = (Stack::stand(plane, installation).await, Stack::stand(plane, installation).await);
    let operator = installation.operator_client(plane).await.unwrap();
    let binding = json!({
        "metadata": { "name": "steading-operator" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-operator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "steading", "namespace": OWN_NAMESPACE }],
    });
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", stack.namespace);
    ask(&operator, "POST", &path, binding).await.unwrap();
    let secret =
        |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": "Opaque" });
    e2e::wait::until("the binding is in force", std::time::Duration::from_secs(30), async || {
        Ok(ask(&operator, "POST", &stack.core("secrets"), secret("database-backup")).await.is_ok())
    })
    .await
    .unwrap();
    let one = stack.core("secrets/database-backup");
    ask(&operator, "APPLY", &format!("{one}?fieldManager=x&force=true"), secret("database-backup")).await.unwrap();
    get(&operator, &one).await.unwrap();
    let by_fence = ask(&operator, "POST", &stack.core("secrets"), secret("database-app")).await.unwrap_err();
    assert!(by_fence.message.contains("steading: of what CloudNativePG reads"), "{by_fence:?}");
    for (verb, path) in [
        ("GET", stack.core("secrets")),
        ("MERGE", stack.core("secrets/database-app")),
        ("DELETE", stack.core("secrets/database-app")),
        ("DELETE", one.clone()),
        ("GET", other.core("secrets/database-backup")),
        ("POST", other.core("secrets")),
    ] {
        let refusal = ask(&operator, verb, &path, json!({})).await.expect_err(&path);
        assert!(refusal.is_by_rbac(), "{verb} {path}: {refusal:?}");
    }
    // Certificates are called after the consumers, so every name may be asked for.
    let absent = get(&operator, &stack.core("secrets/database-consumer-shop.billing-client-cert")).await.unwrap_err();
    assert_eq!(absent.code, 404, "{absent:?}");
}

fn workload(kind: &str, api: &str, name: &str) -> Value {
    let labels = json!({ "steading.dev/part": "canary", "app.kubernetes.io/name": "steading-canary" });
    let pod = json!({
        "automountServiceAccountToken": false, "restartPolicy": if kind == "Job" { "Never" } else { "Always" },
        "containers": [{ "name": "canary", "image": "local.test/steading:1" }],
    });
    let mut spec = json!({ "template": { "metadata": { "labels": labels }, "spec": pod } });
    if kind == "Deployment" {
        spec["selector"] = json!({ "matchLabels": labels });
    }
    json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// What RBAC and the fence together leave of what runs in stacks.
#[tokio::test]
async fn the_operator_runs_a_canary_and_a_drill_where_it_binds_itself_and_nothing_else() {
    let (plane, installation) = installed(Tier::One).await;
    let (stack, other) = (Stack::stand(plane, installation).await, Stack::stand(plane, installation).await);
    let operator = installation.operator_client(plane).await.unwrap();
    let binding = json!({
        "metadata": { "name": "steading-operator" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-operator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "steading", "namespace": OWN_NAMESPACE }],
    });
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", stack.namespace);
    ask(&operator, "POST", &bindings, binding).await.unwrap();
    e2e::wait::until("the binding is in force", std::time::Duration::from_secs(30), async || {
        Ok(get(&operator, &stack.core("secrets/x")).await.is_err_and(|no| no.code == 404))
    })
    .await
    .unwrap();
    for (kind, api, plural, name) in
        [("Deployment", "apps/v1", "deployments", "database-canary"), ("Job", "batch/v1", "jobs", "database-drill")]
    {
        let path = |stack: &Stack| format!("/apis/{api}/namespaces/{}/{plural}", stack.namespace);
        let apply = |name: &str| format!("{}/{name}?fieldManager=x&force=true", path(&stack));
        // By apply, which makes what is not there yet.
        ask(&operator, "APPLY", &apply(name), workload(kind, api, name)).await.unwrap();
        ask(&operator, "APPLY", &apply(name), workload(kind, api, name)).await.unwrap();
        let elsewhere = format!("{}/{name}?fieldManager=x", path(&other));
        for (verb, path, body) in [
            ("APPLY", apply("agent"), workload(kind, api, "agent")),
            ("DELETE", format!("{}/agent", path(&stack)), json!({})),
            ("DELETE", path(&stack), json!({})),
            ("GET", format!("{}/agent", path(&stack)), Value::Null),
            ("APPLY", elsewhere, workload(kind, api, name)),
            ("POST", path(&other), workload(kind, api, name)),
        ] {
            let refusal = ask(&operator, verb, &path, body).await.expect_err(&path);
            assert!(refusal.is_by_rbac(), "{verb} {path}: {refusal:?}");
        }
        let by_fence = ask(&operator, "POST", &path(&stack), workload(kind, api, "agent")).await.unwrap_err();
        assert!(by_fence.message.contains("steading: the operator runs in a stack only"), "{by_fence:?}");
        // The canary stays for as long as its stack; a drill goes.
        let removed = ask(&operator, "DELETE", &format!("{}/{name}", path(&stack)), json!({})).await;
        assert_eq!(removed.is_ok(), kind == "Job", "{removed:?}");
        // It sees its own of all stacks at once.
        get(&operator, &format!("/apis/{api}/{plural}?labelSelector=app.kubernetes.io/managed-by%3Dsteading"))
            .await
            .unwrap();
    }
    let path = stack.core("pods/x");
    assert!(get(&operator, &path).await.expect_err(&path).is_by_rbac(), "{path}");
    let clusters = |name: &str| format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters/{name}", stack.namespace);
    // CloudNativePG is not installed here, so nothing is there; but RBAC has been asked before.
    assert_eq!(ask(&operator, "DELETE", &clusters("database-drill"), json!({})).await.unwrap_err().code, 404);
    assert!(ask(&operator, "DELETE", &clusters("database"), json!({})).await.unwrap_err().is_by_rbac());
}

/// What RBAC and the fence together leave of the namespace of a consumer.
#[tokio::test]
async fn the_operator_writes_secrets_of_consumers_where_a_namespace_consents_and_reads_none_there() {
    let (plane, installation) = installed(Tier::One).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let (admin, shop) = (plane.admin().unwrap(), e2e::unique("shop"));
    let annotations = json!({ "steading.dev/consumes": "acme/finance" });
    let namespace = json!({ "metadata": { "name": shop, "annotations": annotations } });
    ask(&admin, "POST", "/api/v1/namespaces", namespace).await.unwrap();
    let path = |rest: &str| format!("/api/v1/namespaces/{shop}/{rest}");
    ask(&admin, "POST", &path("secrets"), json!({ "metadata": { "name": "theirs" } })).await.unwrap();
    let labels = json!({
        "app.kubernetes.io/managed-by": "steading", "steading.dev/tenant": "acme", "steading.dev/workspace": "finance",
        "steading.dev/owner": "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b",
    });
    let binding = json!({
        "metadata": { "name": "acme-finance-k3v9qd", "labels": labels },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-consumer-operator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "steading", "namespace": OWN_NAMESPACE }],
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "acme.finance.billing", "labels": labels },
    });
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{shop}/rolebindings");
    ask(&operator, "POST", &bindings, binding).await.unwrap();
    let one = path("secrets/acme.finance.billing");
    e2e::wait::until("the binding is in force", std::time::Duration::from_secs(30), async || {
        Ok(ask(&operator, "APPLY", &format!("{one}?fieldManager=x&force=true"), secret.clone()).await.is_ok())
    })
    .await
    .unwrap();
    for (verb, path) in
        [("GET", one.clone()), ("GET", path("secrets")), ("PUT", one.clone()), ("GET", path("secrets/theirs"))]
    {
        let body = if verb == "GET" { Value::Null } else { secret.clone() };
        let refusal = ask(&operator, verb, &path, body).await.expect_err(&path);
        assert!(refusal.is_by_rbac(), "{verb} {path}: {refusal:?}");
    }
    // By the answer to a patch, even to one that says nothing, a Secret could be read.
    for (verb, path) in
        [("MERGE", path("secrets/theirs")), ("DELETE", path("secrets/theirs")), ("POST", path("secrets"))]
    {
        let refusal = ask(&operator, verb, &path, json!({ "metadata": { "name": "theirs" } })).await.expect_err(&path);
        assert!(
            refusal.message.contains("ValidatingAdmissionPolicy 'steading-operator'"),
            "{verb} {path}: {refusal:?}"
        );
    }
    ask(&operator, "DELETE", &one, json!({})).await.unwrap();
    ask(&operator, "DELETE", &format!("{bindings}/acme-finance-k3v9qd"), json!({})).await.unwrap();
}

#[tokio::test]
async fn the_operator_sees_where_the_api_server_is() {
    let (plane, installation) = installed(Tier::One).await;
    let operator = installation.operator_client(plane).await.unwrap();
    get(&operator, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").await.unwrap();
}

#[tokio::test]
async fn the_operator_reads_a_secret_of_its_own_namespace_by_name() {
    let (plane, installation) = installed(Tier::One).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let path = format!("/api/v1/namespaces/{OWN_NAMESPACE}/secrets");
    let secret = json!({ "metadata": { "name": "credentials" }, "stringData": { "apiKey": "k" } });
    ask(&plane.admin().unwrap(), "POST", &path, secret).await.unwrap();
    get(&operator, &format!("{path}/credentials")).await.unwrap();
}

#[tokio::test]
async fn the_operator_reads_every_policy_and_binding_of_the_fence() {
    let (plane, installation) = installed(Tier::One).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let file = include_str!("../../../charts/steading/files/fence.yaml");
    let policies: Vec<Value> = serde_saphyr::from_multiple(file).unwrap();
    assert_eq!(policies.len(), 6);
    for policy in policies {
        let name = policy["metadata"]["name"].as_str().unwrap();
        let group = "/apis/admissionregistration.k8s.io/v1";
        let found = get(&operator, &format!("{group}/validatingadmissionpolicies/{name}")).await.unwrap();
        // As the canary compares it: nothing is defaulted, nothing is dropped.
        let expected = policy["spec"]
            .to_string()
            .replace("__OPERATOR_NAMESPACE__", OWN_NAMESPACE)
            .replace("__BREAK_GLASS_GROUPS__", "[]")
            .replace("__CNPG_NAMESPACE__", "cnpg-system")
            .replace("__CNPG_OPERATOR__", "cnpg-manager")
            .replace("__CNPG_PLUGIN__", "plugin-barman-cloud");
        assert_eq!(found["spec"], serde_json::from_str::<Value>(&expected).unwrap(), "{name}");
        let binding = get(&operator, &format!("{group}/validatingadmissionpolicybindings/{name}")).await.unwrap();
        assert_eq!(binding["spec"], json!({ "policyName": name, "validationActions": ["Deny"] }));
    }
}

/// The requests of the canary, as `charts/steading/FENCE.md` lists them: RBAC lets them pass, the fence does not.
#[tokio::test]
async fn what_rbac_must_leave_open_to_the_operator_the_fence_closes() {
    let (plane, installation) = installed(Tier::One).await;
    let operator = installation.operator_client(plane).await.unwrap();
    let own = format!("namespaces/{OWN_NAMESPACE}");
    let name = json!({ "name": "steading-fence-probe" });
    let viewer =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-viewer" });
    let elsewhere = "only in stack namespaces";
    let probes = [
        (
            "POST",
            "/api/v1/namespaces".to_owned(),
            json!({ "metadata": name }),
            "the operator makes only stack namespaces",
        ),
        (
            "MERGE",
            format!("/api/v1/{own}"),
            json!({ "metadata": { "annotations": { "steading.dev/probe": "1" } } }),
            "changes and deletes only stack namespaces",
        ),
        ("DELETE", format!("/api/v1/{own}"), json!({}), "changes and deletes only stack namespaces"),
        (
            "POST",
            format!("/apis/networking.k8s.io/v1/{own}/networkpolicies"),
            json!({ "metadata": name, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }),
            elsewhere,
        ),
        ("POST", format!("/api/v1/{own}/resourcequotas"), json!({ "metadata": name, "spec": {} }), elsewhere),
        (
            "POST",
            format!("/api/v1/{own}/limitranges"),
            json!({ "metadata": name, "spec": { "limits": [] } }),
            elsewhere,
        ),
        (
            "POST",
            format!("/apis/rbac.authorization.k8s.io/v1/{own}/rolebindings"),
            json!({ "metadata": name, "roleRef": viewer }),
            elsewhere,
        ),
        (
            "POST",
            format!("/apis/coordination.k8s.io/v1/{own}/leases"),
            json!({ "metadata": name, "spec": {} }),
            "the operator has one Lease",
        ),
    ];
    for (verb, path, body, says) in probes {
        let refusal = ask(&operator, verb, &format!("{path}?dryRun=All"), body).await.expect_err(&path);
        let by =
            "ValidatingAdmissionPolicy 'steading-operator' with binding 'steading-operator' denied request: steading: ";
        assert!(refusal.message.contains(by) && refusal.message.contains(says), "{verb} {path}: {refusal:?}");
    }
}
