//! `steading-stacks`: what is in a stack is Steading's and the cluster's.

use serde_json::{Value, json};

use crate::caller::{Request, apply, changes_through, create, delete, every_change, merge, patch, read, replace};
use crate::kinds;
use crate::rules::{QUOTA_STATUS, STATUS_WITH_METADATA, WAY_INTO_STACK, WRITE_IN_STACK};
use crate::scene::{Scene, Stood};

/// A pod that Pod Security `restricted` and the stack's limits let in.
pub fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "plain" } }, "spec": pod_spec() })
}

fn pod_spec() -> Value {
    json!({
        "automountServiceAccountToken": false,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "main", "image": "local.test/main:1",
            "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "cpu": "100m", "memory": "64Mi" } },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        }],
    })
}

pub fn template() -> Value {
    json!({ "metadata": { "labels": { "app": "x" } }, "spec": pod_spec() })
}

/// One valid object of each kind that can stand in a namespace, by the path of its kind.
pub fn one_of_each(stack: &Stood) -> Vec<(String, Value)> {
    let selector = json!({ "matchLabels": { "app": "x" } });
    let set = json!({ "replicas": 1, "selector": selector, "template": template() });
    let mut job_template = template();
    job_template["spec"]["restartPolicy"] = json!("Never");
    let service = json!({ "selector": { "app": "x" }, "ports": [{ "port": 80 }] });
    let rules = json!([{ "apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"] }]);
    let binding =
        |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    let scaled =
        json!({ "scaleTargetRef": { "kind": "Deployment", "name": "x", "apiVersion": "apps/v1" }, "maxReplicas": 3 });
    let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
    let (core, of) = (|plural: &str| stack.core(plural), |group: &str, plural: &str| stack.of(group, plural));
    vec![
        (core("configmaps"), json!({ "data": { "a": "b" } })),
        (core("secrets"), json!({ "stringData": { "a": "b" } })),
        (core("services"), json!({ "spec": service })),
        (core("endpoints"), json!({ "subsets": [] })),
        (core("serviceaccounts"), json!({})),
        (core("pods"), json!({ "spec": pod_spec() })),
        (core("podtemplates"), json!({ "template": template() })),
        (
            core("replicationcontrollers"),
            json!({ "spec": { "replicas": 1, "selector": { "app": "x" }, "template": template() } }),
        ),
        (core("persistentvolumeclaims"), json!({ "spec": claim })),
        (core("resourcequotas"), json!({ "spec": { "hard": { "pods": "1000" } } })),
        (core("limitranges"), json!({ "spec": { "limits": [] } })),
        (of("apps/v1", "deployments"), json!({ "spec": set })),
        (of("apps/v1", "replicasets"), json!({ "spec": set })),
        (
            of("apps/v1", "statefulsets"),
            json!({ "spec": { "serviceName": "x", "selector": selector, "template": template() } }),
        ),
        (of("apps/v1", "daemonsets"), json!({ "spec": { "selector": selector, "template": template() } })),
        (of("apps/v1", "controllerrevisions"), json!({ "revision": 1, "data": {} })),
        (of("batch/v1", "jobs"), json!({ "spec": { "template": job_template } })),
        (
            of("batch/v1", "cronjobs"),
            json!({ "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": { "template": job_template } } } }),
        ),
        (of("autoscaling/v2", "horizontalpodautoscalers"), json!({ "spec": scaled })),
        (of("policy/v1", "poddisruptionbudgets"), json!({ "spec": { "maxUnavailable": 0, "selector": selector } })),
        (
            of("networking.k8s.io/v1", "networkpolicies"),
            json!({ "spec": { "podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"] } }),
        ),
        (of("networking.k8s.io/v1", "ingresses"), json!({ "spec": { "defaultBackend": backend } })),
        (of("discovery.k8s.io/v1", "endpointslices"), json!({ "addressType": "IPv4", "endpoints": [] })),
        (of("coordination.k8s.io/v1", "leases"), json!({ "spec": {} })),
        (of("rbac.authorization.k8s.io/v1", "roles"), json!({ "rules": rules })),
        (
            of("rbac.authorization.k8s.io/v1", "rolebindings"),
            json!({ "roleRef": binding("ClusterRole", "cluster-admin"), "subjects": [binding("User", "mia")] }),
        ),
        (of("resource.k8s.io/v1", "resourceclaims"), json!({ "spec": {} })),
        (of("resource.k8s.io/v1", "resourceclaimtemplates"), json!({ "spec": { "spec": {} } })),
        (of("storage.k8s.io/v1", "csistoragecapacities"), json!({ "storageClassName": "x" })),
    ]
    .into_iter()
    .chain(kinds::ALL.map(|kind| (of(kind.api, kind.plural), kind.object("x", &json!({})))))
    .collect()
}

/// Objects in a stack that others than Steading made, for attacks on them: by break-glass, as nobody else can.
async fn furnish(scene: &Scene, stack: &Stood) {
    let glass = scene.break_glass();
    glass.may(&create(&stack.core("pods"), pod("target"))).await;
    let service = json!({ "metadata": { "name": "target" }, "spec": { "selector": { "app": "plain" }, "ports": [{ "port": 80 }] } });
    glass.may(&create(&stack.core("services"), service)).await;
    let deployment = json!({
        "metadata": { "name": "target" },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "x" } }, "template": template() },
    });
    glass.may(&create(&stack.of("apps/v1", "deployments"), deployment)).await;
}

#[tokio::test]
async fn outsiders_create_nothing_in_a_stack_of_whatever_kind() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    for caller in scene.outsiders() {
        for (path, mut object) in one_of_each(&stack) {
            object["metadata"] = json!({ "name": "x" });
            caller.may_not(&create(&path, object), WRITE_IN_STACK).await;
        }
    }
}

#[tokio::test]
async fn one_of_each_is_one_of_every_kind_that_the_cluster_knows() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let tried: Vec<String> = one_of_each(&stack).into_iter().map(|(path, _)| path).collect();
    let admin = scene.admin();
    let groups = admin.get("/apis").await;
    let preferred = |group: &Value| group["preferredVersion"]["groupVersion"].as_str().unwrap().to_owned();
    let mut versions: Vec<String> = groups["groups"].as_array().unwrap().iter().map(preferred).collect();
    versions.push("v1".into());
    let mut untried = Vec::new();
    for version in versions {
        let root = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
        for resource in admin.get(&root).await["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let verbs = resource["verbs"].as_array().unwrap();
            let storable = resource["namespaced"] == json!(true)
                && !name.contains('/')
                && verbs.contains(&json!("create"))
                && verbs.contains(&json!("delete"));
            let path = format!("{root}/namespaces/{}/{name}", stack.namespace);
            if storable && !tried.contains(&path) {
                untried.push(path.replace(&stack.namespace, "…"));
            }
        }
    }
    // Events are open to whoever has the right. Our own kinds and that of another test have attacks of their own. The last one is
    // written by kubelets only, with a proof that they hold a key.
    let apart =
        ["/events", "/tenants", "/workspaces", "/agentpools", "/agentsets", "/openings", "/podcertificaterequests"];
    let unknown: Vec<&String> = untried.iter().filter(|path| !apart.iter().any(|kind| path.ends_with(kind))).collect();
    assert!(unknown.is_empty(), "kinds that no attack tries: {unknown:?}");
}

#[tokio::test]
async fn a_kind_that_the_cluster_learns_tomorrow_is_fenced_too() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let admin = scene.admin();
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({
        "metadata": { "name": "openings.fence-test.example" },
        "spec": {
            "group": "fence-test.example", "scope": "Namespaced",
            "names": { "kind": "Opening", "plural": "openings", "singular": "opening" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    });
    admin.may(&create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)).await;
    let path = stack.of("fence-test.example/v1", "openings");
    e2e::wait::until("the new kind is served", std::time::Duration::from_secs(30), async || {
        Ok(admin.tries(&read(&path)).await.is_ok())
    })
    .await
    .unwrap();
    let opening = json!({
        "apiVersion": "fence-test.example/v1", "kind": "Opening", "metadata": { "name": "x" }, "spec": { "allow": "world" },
    });
    for caller in scene.outsiders() {
        let attacks = [create(&path, opening.clone()), apply(&format!("{path}/x"), opening.clone())];
        caller.may_not_any(&attacks, WRITE_IN_STACK).await;
    }
}

#[tokio::test]
async fn outsiders_change_and_remove_nothing_that_isolates_a_stack() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    for caller in scene.outsiders() {
        for path in stack.isolation() {
            caller.may_not_any(&attacks_on(&scene, &path).await, WRITE_IN_STACK).await;
        }
    }
    for path in stack.isolation() {
        assert!(scene.admin().get(&path).await["metadata"]["deletionTimestamp"].is_null(), "{path}");
    }
}

/// Every way to weaken or remove one of the objects that isolate a stack.
pub async fn attacks_on(scene: &Scene, path: &str) -> Vec<Request> {
    let current = scene.admin().get(path).await;
    let (pointer, weak) = match current["kind"].as_str().unwrap() {
        "NetworkPolicy" => ("/spec/ingress", json!([{}])),
        "ResourceQuota" => ("/spec/hard", json!({ "pods": "100000" })),
        "LimitRange" => ("/spec/limits", json!([])),
        _ => ("/subjects", json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia" }])),
    };
    let mut attacks = every_change(&scene.admin(), path, pointer, weak.clone()).await;
    let owner = json!("3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b");
    attacks.extend(every_change(&scene.admin(), path, "/metadata/labels/steading.dev~1owner", owner).await);
    attacks.extend(every_change(&scene.admin(), path, "/metadata/finalizers", json!(["example.com/pinned"])).await);
    let mut applied = json!({ "apiVersion": current["apiVersion"], "kind": current["kind"], "metadata": {} });
    applied[if pointer == "/subjects" { "subjects" } else { "spec" }] = match pointer {
        "/spec/ingress" => json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": weak }),
        "/spec/hard" => json!({ "hard": weak }),
        "/spec/limits" => json!({ "limits": weak }),
        _ => weak,
    };
    if pointer == "/subjects" {
        applied["roleRef"] = current["roleRef"].clone();
    }
    attacks.push(apply(path, applied));
    attacks.push(delete(path));
    attacks.push(delete(path.rsplit_once('/').unwrap().0));
    attacks
}

#[tokio::test]
async fn outsiders_get_no_token_and_bind_extend_resize_or_scale_nothing_in_a_stack() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let token =
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "target" }, "target": { "kind": "Node", "name": "mine" } });
    let restricted = pod_spec()["containers"][0]["securityContext"].clone();
    let debugger = json!([{ "name": "debugger", "image": "local.test/debugger:1", "securityContext": restricted }]);
    let larger = json!([{ "op": "replace", "path": "/spec/containers/0/resources/limits/cpu", "value": "4" }]);
    let target = stack.core("pods/target");
    let attacks = [
        create(&stack.core("serviceaccounts/default/token"), token),
        create(&stack.core("pods/target/binding"), binding.clone()),
        create(&stack.core("bindings"), binding),
        merge(&format!("{target}/ephemeralcontainers"), json!({ "spec": { "ephemeralContainers": debugger } })),
        patch(&format!("{target}/resize"), larger),
        merge(&stack.of("apps/v1", "deployments/target/scale"), json!({ "spec": { "replicas": 3 } })),
        merge(&target, json!({ "metadata": { "labels": { "steading.dev/part": "database" } } })),
        delete(&target),
        delete(&stack.core("pods")),
    ];
    for caller in scene.outsiders() {
        caller.may_not_any(&attacks, WRITE_IN_STACK).await;
    }
}

#[tokio::test]
async fn outsiders_open_no_way_into_a_stack() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let ways = [
        "pods/target/exec?command=sh&stdout=true",
        "pods/target/attach?stdout=true",
        "pods/target/portforward?ports=80",
        "pods/target/proxy",
        "pods/target/proxy/admin",
        "services/target/proxy",
        "services/target/proxy/admin",
    ];
    for caller in scene.outsiders() {
        for way in ways {
            let path = stack.core(way);
            caller.may_not(&read(&path), WAY_INTO_STACK).await;
            caller.may_not(&create(&path, Value::Null), WAY_INTO_STACK).await;
        }
    }
}

#[tokio::test]
async fn outsiders_do_not_write_the_status_that_a_quota_is_counted_by() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let path = stack.core("resourcequotas/steading");
    for caller in scene.outsiders() {
        let more = json!({ "pods": "100000" });
        let attacks = changes_through(&scene.admin(), &path, "/status", "/status", json!({ "hard": more })).await;
        caller.may_not_any(&attacks, QUOTA_STATUS).await;
        let applied =
            json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {}, "status": { "hard": more } });
        caller.may_not(&apply(&format!("{path}/status"), applied), QUOTA_STATUS).await;
    }
}

#[tokio::test]
async fn outsiders_smuggle_no_metadata_into_a_stack_with_a_status() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let path = stack.core("pods/target");
    for (pointer, value) in [
        ("/metadata/labels/steading.dev~1part", json!("database")),
        ("/metadata/labels", json!({ "app": "other" })),
        ("/metadata/annotations", json!({ "a": "b" })),
        ("/metadata/finalizers", json!(["example.com/pinned"])),
    ] {
        let writes = changes_through(&scene.admin(), &path, "/status", pointer, value).await;
        for caller in scene.outsiders() {
            caller.may_not_any(&writes, STATUS_WITH_METADATA).await;
        }
    }
}

#[tokio::test]
async fn break_glass_writes_in_a_stack_and_the_audit_log_says_so() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let glass = scene.break_glass();
    let mark = scene.plane.mark().await.unwrap();
    glass.may(&create(&stack.core("configmaps"), json!({ "metadata": { "name": "note" } }))).await;
    let path = stack.of("networking.k8s.io/v1", "networkpolicies/deny-all");
    glass.may(&merge(&path, json!({ "metadata": { "annotations": { "why": "incident" } } }))).await;
    glass.may(&delete(&path)).await;
    glass.may(&merge(&stack.itself(), json!({ "metadata": { "annotations": { "why": "incident" } } }))).await;
    let calls = scene.plane.calls_since(mark).await.unwrap().by_user("grace").writes();
    let ours =
        calls.filter(|entry| entry.object_ref.as_ref().is_some_and(|object| object.namespace == stack.namespace));
    assert_eq!(ours.len(), 4, "{ours}");
    for entry in ours.entries() {
        let told = ["steading-stacks/break-glass", "steading-namespaces/break-glass"]
            .iter()
            .find_map(|key| entry.annotations.get(*key));
        assert!(told.is_some_and(|text| text.starts_with("grace used break-glass rights on ")), "{entry:?}");
    }
}

#[tokio::test]
async fn a_write_without_break_glass_leaves_no_such_note() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let mark = scene.plane.mark().await.unwrap();
    scene
        .controller()
        .may(&create(&stack.core("configmaps"), json!({ "metadata": { "name": "kube-root-ca.crt" } })))
        .await;
    let calls = scene.plane.calls_since(mark).await.unwrap();
    let ours =
        calls.filter(|entry| entry.object_ref.as_ref().is_some_and(|object| object.namespace == stack.namespace));
    assert_eq!(ours.writes().len(), 1, "{ours}");
    assert!(ours.entries().iter().all(|entry| entry.annotations.keys().all(|key| !key.contains("break-glass"))));
}

#[tokio::test]
async fn whoever_may_by_rbac_writes_events_and_plain_status_and_evicts() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    furnish(&scene, &stack).await;
    let path = stack.core("pods/target");
    let regarding = json!({ "kind": "Pod", "name": "target", "namespace": stack.namespace });
    let member = scene.member();
    let event =
        json!({ "metadata": { "name": "seen" }, "involvedObject": regarding, "reason": "Seen", "type": "Normal" });
    member.may(&create(&stack.core("events"), event)).await;
    let reason = changes_through(&scene.admin(), &path, "/status", "/status/reason", json!("Looked")).await;
    member.may(&reason[1]).await;
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "target" } });
    member.may(&create(&format!("{path}/eviction?dryRun=All"), eviction)).await;
}

#[tokio::test]
async fn the_cluster_writes_in_a_stack_what_it_must() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    for (index, caller) in scene.cluster().into_iter().enumerate() {
        let name = format!("made-{index}");
        caller.may(&create(&stack.core("configmaps"), json!({ "metadata": { "name": name } }))).await;
        caller.may(&delete(&stack.core(&format!("configmaps/{name}")))).await;
        let mut quota = caller.get(&stack.core("resourcequotas/steading")).await;
        quota["status"] = json!({ "hard": { "pods": "200" }, "used": { "pods": "0" } });
        caller.may(&replace(&stack.core("resourcequotas/steading/status"), quota)).await;
    }
}
