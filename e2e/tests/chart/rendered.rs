//! What the charts render, without a cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{chart, of_kind, one, render, with};

/// Each rule of each role with the role's kind and name.
fn rules(objects: &[Value]) -> Vec<(String, String, Value)> {
    let mut rules = Vec::new();
    for kind in ["ClusterRole", "Role"] {
        for role in of_kind(objects, kind) {
            for rule in role["rules"].as_array().unwrap() {
                rules.push((kind.to_owned(), role["metadata"]["name"].as_str().unwrap().to_owned(), rule.clone()));
            }
        }
    }
    assert!(rules.len() > 10, "{rules:?}");
    rules
}

fn texts(rule: &Value, key: &str) -> Vec<String> {
    rule[key].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn no_rule_has_a_wildcard_or_a_path() {
    for (kind, role, rule) in rules(&render("steading", &with(json!({}))).await) {
        for key in ["apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"] {
            assert!(texts(&rule, key).iter().all(|text| !text.contains('*')), "{kind} {role}: {rule}");
        }
        assert!(rule["nonResourceURLs"].is_null(), "{kind} {role}: {rule}");
    }
}

#[tokio::test]
async fn no_verb_on_secrets_is_bound_cluster_wide() {
    let objects = render("steading", &with(json!({}))).await;
    let on_secrets: Vec<_> = rules(&objects)
        .into_iter()
        .filter(|(_, _, rule)| texts(rule, "resources").iter().any(|it| it.starts_with("secrets")))
        .collect();
    let of = |wanted: &str| -> Vec<(Vec<String>, Vec<String>)> {
        let rules = on_secrets.iter().filter(|(_, role, _)| role == wanted);
        rules.map(|(_, _, rule)| (texts(rule, "verbs"), texts(rule, "resourceNames"))).collect()
    };
    let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
    assert_eq!(of("steading-operator"), [(owned(&["get"]), owned(&[]))]);
    assert_eq!(one(&objects, "Role", "steading-operator")["metadata"]["namespace"], "steading-system");
    // The operator binds these in stacks and in namespaces of consumers, and the chart nowhere. Only what it writes in a stack has a name.
    let any = |verbs: &[&str]| (owned(verbs), owned(&[]));
    let named = (owned(&["patch"]), owned(&["database-backup", "database-origin"]));
    assert_eq!(of("steading-stack-operator"), [any(&["create"]), any(&["get"]), named]);
    assert_eq!(of("steading-consumer-operator"), [any(&["create", "patch", "delete"])]);
    assert_eq!(on_secrets.len(), 5, "{on_secrets:?}");
    for binding in [of_kind(&objects, "ClusterRoleBinding"), of_kind(&objects, "RoleBinding")].concat() {
        let role = binding["roleRef"]["name"].as_str().unwrap();
        let bound_by_itself = ["steading-stack-operator", "steading-agents-operator", "steading-consumer-operator"];
        assert!(!bound_by_itself.contains(&role), "{binding}");
    }
}

#[tokio::test]
async fn what_runs_in_stacks_is_watched_everywhere_and_written_by_name_where_the_operator_binds_itself() {
    let objects = render("steading", &with(json!({}))).await;
    let plain = |group: &str, resource: &str, verbs: &[&str]| -> Value {
        json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs })
    };
    let named = |group: &str, resource: &str, verbs: &[&str], name: &str| {
        let mut right = plain(group, resource, verbs);
        right["resourceNames"] = json!([name]);
        right
    };
    let of = |wanted: &str, resources: &[&str]| -> Vec<Value> {
        let role = one(&objects, "ClusterRole", wanted)["rules"].as_array().unwrap();
        let is_of = |rule: &&Value| texts(rule, "resources").iter().any(|it| resources.contains(&it.as_str()));
        role.iter().filter(is_of).cloned().collect()
    };
    let runs = ["deployments", "jobs", "pods"];
    let watches = ["list", "watch"];
    assert_eq!(
        of("steading-operator", &runs),
        [plain("", "pods", &watches), plain("apps", "deployments", &watches), plain("batch", "jobs", &watches)]
    );
    assert_eq!(of("steading-agents-operator", &runs), [plain("", "pods", &["create", "patch", "delete"])]);
    assert_eq!(
        of("steading-stack-operator", &["deployments", "jobs", "pods", "clusters"]),
        [
            plain("apps", "deployments", &["create"]),
            named("apps", "deployments", &["get", "patch"], "database-canary"),
            plain("batch", "jobs", &["create"]),
            named("batch", "jobs", &["get", "patch", "delete"], "database-drill"),
            plain("", "pods", &["list"]),
            named("postgresql.cnpg.io", "clusters", &["delete"], "database-drill"),
        ]
    );
    assert!(of("steading-consumer-operator", &runs).is_empty());
    // Nobody else has a verb on Clusters that takes one away.
    for (kind, role, rule) in rules(&objects) {
        let deletes = texts(&rule, "resources").contains(&"clusters".to_owned())
            && texts(&rule, "verbs").contains(&"delete".to_owned());
        assert!(!deletes || role == "steading-stack-operator", "{kind} {role}: {rule}");
    }
}

#[tokio::test]
async fn nobody_can_widen_rights_but_by_binding_the_stack_roles() {
    for (kind, role, rule) in rules(&render("steading", &with(json!({}))).await) {
        let verbs = texts(&rule, "verbs");
        assert!(!verbs.iter().any(|verb| verb == "escalate" || verb == "impersonate"), "{kind} {role}: {rule}");
        if verbs.iter().any(|verb| verb == "bind") {
            assert_eq!(texts(&rule, "resources"), ["clusterroles"]);
            let bound = [
                "steading-stack-viewer",
                "steading-stack-editor",
                "steading-stack-operator",
                "steading-agents-operator",
                "steading-consumer-operator",
            ];
            assert_eq!(texts(&rule, "resourceNames"), bound);
            assert_eq!(role, "steading-operator");
        }
        let reach = [
            "pods/exec",
            "pods/attach",
            "pods/portforward",
            "pods/proxy",
            "services/proxy",
            "pods/ephemeralcontainers",
            "nodes/proxy",
        ];
        assert!(!texts(&rule, "resources").iter().any(|it| reach.contains(&it.as_str())), "{kind} {role}: {rule}");
        if texts(&rule, "resources").iter().any(|it| it == "serviceaccounts/token") {
            assert_eq!((kind.as_str(), texts(&rule, "resourceNames")), ("Role", vec!["steading".to_owned()]));
        }
    }
}

#[tokio::test]
async fn the_stack_roles_only_read_and_no_role_collects_or_feeds_another() {
    let objects = render("steading", &with(json!({}))).await;
    for (_, role, rule) in rules(&objects) {
        if role.starts_with("steading-stack-") && role != "steading-stack-operator" {
            let reads = texts(&rule, "verbs").iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
            assert!(reads, "{role}: {rule}");
        }
    }
    for role in of_kind(&objects, "ClusterRole") {
        assert!(role["aggregationRule"].is_null(), "{role}");
        let labels = role["metadata"]["labels"].as_object().unwrap();
        assert!(labels.keys().all(|label| !label.starts_with("rbac.authorization.k8s.io/aggregate-to-")), "{role}");
    }
}

#[tokio::test]
async fn only_the_operator_is_bound_by_the_chart() {
    let objects = render("steading", &with(json!({}))).await;
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in of_kind(&objects, kind) {
            let subjects = json!([{ "kind": "ServiceAccount", "name": "steading", "namespace": "steading-system" }]);
            assert_eq!(binding["subjects"], subjects);
            let role = binding["roleRef"]["name"].as_str().unwrap();
            assert!(role == "steading-operator" || (role == "steading-api-server" && kind == "RoleBinding"), "{role}");
        }
    }
}

#[tokio::test]
async fn in_the_namespace_default_the_operator_sees_addresses_and_nothing_else() {
    let objects = render("steading", &with(json!({}))).await;
    let role = one(&objects, "Role", "steading-api-server");
    assert_eq!(role["metadata"]["namespace"], "default");
    let addresses =
        json!({ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] });
    assert_eq!(role["rules"], json!([addresses]));
    assert_eq!(one(&objects, "RoleBinding", "steading-api-server")["metadata"]["namespace"], "default");
}

#[tokio::test]
async fn the_operators_pod_can_do_nothing_on_its_node() {
    let objects = render("steading", &with(json!({}))).await;
    let spec = &one(&objects, "Deployment", "steading")["spec"]["template"]["spec"];
    for host in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert!(spec[host].is_null(), "{host}: {spec}");
    }
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &spec["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["privileged"], false);
    assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({ "path": "/healthz", "port": "http" }));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({ "path": "/readyz", "port": "http" }));
    assert!(
        container["resources"]["limits"]["memory"].is_string() && container["resources"]["requests"]["cpu"].is_string()
    );
}

fn environment(objects: &[Value]) -> Vec<(String, Value)> {
    let container = &one(objects, "Deployment", "steading")["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap().iter();
    variables.map(|it| (it["name"].as_str().unwrap().to_owned(), it["value"].clone())).collect()
}

#[tokio::test]
async fn the_operator_is_told_what_the_chart_was_told() {
    let values = json!({
        "installation": "acme-test", "fence": { "breakGlassGroups": ["fire brigade", "vets"] }, "log": { "format": "text" },
        "cloudNativePG": { "namespace": "wells", "operatorServiceAccount": "keeper", "pluginServiceAccount": "digger" },
    });
    let told = environment(&render("steading", &with(values)).await);
    for (name, value) in [
        ("STEADING_INSTALLATION", "acme-test"),
        ("STEADING_BREAK_GLASS_GROUPS", "fire brigade,vets"),
        ("STEADING_LOG_FORMAT", "text"),
        ("STEADING_CNPG_NAMESPACE", "wells"),
        ("STEADING_CNPG_SERVICE_ACCOUNT", "keeper"),
        ("STEADING_CNPG_PLUGIN_SERVICE_ACCOUNT", "digger"),
        ("STEADING_HTTP_ADDRESS", "0.0.0.0:8080"),
    ] {
        assert!(told.contains(&(name.to_owned(), json!(value))), "{name} in {told:?}");
    }
}

#[tokio::test]
async fn a_digest_wins_over_a_tag_and_a_tag_over_the_charts_version() {
    let image = async |values: Value| {
        let objects = render("steading", &with(json!({ "image": values }))).await;
        let spec = &one(&objects, "Deployment", "steading")["spec"]["template"]["spec"];
        let image = spec["containers"][0]["image"].as_str().unwrap().to_owned();
        // What it runs in stacks is of the same image.
        assert!(environment(&objects).contains(&("STEADING_IMAGE".to_owned(), json!(image))), "{image}");
        image
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let repository = "registry.example/steading/operator";
    assert_eq!(image(json!({})).await, format!("{repository}:0.1.0"));
    assert_eq!(image(json!({ "tag": "1.2.3" })).await, format!("{repository}:1.2.3"));
    assert_eq!(image(json!({ "tag": "1.2.3", "digest": digest })).await, format!("{repository}@{digest}"));
}

#[tokio::test]
async fn the_break_glass_groups_stand_in_the_policies_as_text_and_nothing_else() {
    let groups = json!({ "fence": { "breakGlassGroups": ["fire brigade", "system:masters"] } });
    let objects = render("steading", &with(groups)).await;
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    let mut seen = 0;
    for variable in policies.iter().flat_map(|policy| policy["spec"]["variables"].as_array().unwrap()) {
        if variable["name"] == "breakGlass" {
            let expected = "request.userInfo.groups.exists(group, group in ['fire brigade', 'system:masters'])";
            assert_eq!(variable["expression"], expected);
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn the_keepers_of_databases_stand_in_the_policies_and_are_by_default_those_that_the_operator_knows() {
    let known = operator::config::CloudNativePg::default();
    let given = json!({ "namespace": "wells", "operatorServiceAccount": "keeper", "pluginServiceAccount": "digger" });
    for (values, namespace, accounts) in [
        (json!({}), known.namespace.as_str(), [&known.operator_service_account, &known.plugin_service_account]),
        // What an upgrade reuses of a version that did not have these values.
        (
            json!({ "cloudNativePG": null }),
            known.namespace.as_str(),
            [&known.operator_service_account, &known.plugin_service_account],
        ),
        (json!({ "cloudNativePG": given }), "wells", [&"keeper".to_owned(), &"digger".to_owned()]),
    ] {
        let objects = render("steading", &with(values)).await;
        let stacks = one(&objects, "ValidatingAdmissionPolicy", "steading-stacks");
        for account in accounts {
            let user = format!("request.userInfo.username == 'system:serviceaccount:{namespace}:{account}'");
            let variables = stacks["spec"]["variables"].as_array().unwrap();
            assert!(variables.iter().any(|it| it["expression"] == json!(user)), "{user} in {variables:#?}");
        }
        let operator = one(&objects, "ValidatingAdmissionPolicy", "steading-operator").to_string();
        assert!(operator.contains(&format!("'kubernetes.io/metadata.name'].orValue('') == '{namespace}'")));
    }
}

#[tokio::test]
async fn every_policy_fails_closed_and_is_bound_to_deny() {
    let objects = render("steading", &with(json!({}))).await;
    let names = |kind: &str| -> BTreeSet<String> {
        of_kind(&objects, kind).iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("ValidatingAdmissionPolicy").len(), 6);
    assert_eq!(names("ValidatingAdmissionPolicy"), names("ValidatingAdmissionPolicyBinding"));
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        assert!(!policy.to_string().contains("__"), "a placeholder was left in {policy}");
    }
    for binding in of_kind(&objects, "ValidatingAdmissionPolicyBinding") {
        let spec = json!({ "policyName": binding["metadata"]["name"], "validationActions": ["Deny"] });
        assert_eq!(binding["spec"], spec);
    }
    // The canary may read exactly these.
    let operator = one(&objects, "ClusterRole", "steading-operator");
    let watched =
        operator["rules"].as_array().unwrap().iter().find(|rule| rule["resources"][0] == "validatingadmissionpolicies");
    assert_eq!(
        texts(watched.unwrap(), "resourceNames").into_iter().collect::<BTreeSet<_>>(),
        names("ValidatingAdmissionPolicy")
    );
}

/// Helm writes 500 where the types write 500.0; to the API server they are one.
fn numbers_alike(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_alike).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), numbers_alike(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn both_charts_hold_the_definitions_that_the_types_make() {
    let made: Vec<Value> = api::crds::crds().unwrap().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    for (name, values) in [("steading", with(json!({}))), ("steading-crds", json!({}))] {
        let objects = render(name, &values).await;
        let found = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(found.len(), made.len());
        for crd in &made {
            let installed = one(&objects, "CustomResourceDefinition", crd["metadata"]["name"].as_str().unwrap());
            assert_eq!(numbers_alike(&installed["spec"]), numbers_alike(&crd["spec"]), "run `make generate`");
            assert_eq!(installed["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
            assert_eq!(installed["metadata"]["annotations"]["argocd.argoproj.io/sync-options"], "ServerSideApply=true");
        }
        for crd in api::crds::crds().unwrap() {
            let file = chart(name).join("files/crds").join(format!("{}.yaml", crd.spec.names.plural));
            let copy = std::fs::read_to_string(&file).unwrap();
            assert_eq!(copy, api::crds::to_yaml(&crd).unwrap(), "{} has drifted: run `make generate`", file.display());
        }
    }
}

#[tokio::test]
async fn definitions_can_be_left_out_let_go_and_annotated() {
    let without = render("steading", &with(json!({ "crds": { "enabled": false } }))).await;
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
    let annotated = json!({ "keep": false, "annotations": { "team": "platform" } });
    for (name, values) in [("steading", with(json!({ "crds": annotated }))), ("steading-crds", annotated.clone())] {
        for crd in of_kind(&render(name, &values).await, "CustomResourceDefinition") {
            let annotations = &crd["metadata"]["annotations"];
            assert!(annotations["helm.sh/resource-policy"].is_null(), "{annotations}");
            assert_eq!(annotations["team"], "platform");
        }
    }
}

#[tokio::test]
async fn the_health_checks_are_there_for_each_kind_if_asked_for() {
    let plain = render("steading", &with(json!({}))).await;
    assert!(of_kind(&plain, "ConfigMap").is_empty());
    let asked = render("steading", &with(json!({ "argocd": { "healthConfigMap": { "create": true } } }))).await;
    let map = one(&asked, "ConfigMap", "steading-argocd-health");
    let lua = std::fs::read_to_string(chart("steading").join("files/health.lua")).unwrap();
    let keys: Vec<&String> = map["data"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["AgentPool", "Tenant", "TenantClass", "Workspace"]
            .map(|kind| format!("resource.customizations.health.steading.dev_{kind}"))
            .each_ref()
    );
    assert!(map["data"].as_object().unwrap().values().all(|text| text.as_str().unwrap().trim() == lua.trim()));
}
