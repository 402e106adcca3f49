//! `steading-requests`: who may ask for a Tenant or Workspace, where, and with what.

use serde_json::{Value, json};

use crate::caller::{Caller, Request, apply, create, every_change};
use crate::rules::{ADOPTION, CLASS_USE, CONTROL_NAMESPACE, RESTORE, RESTORE_EARLIER, TENANT_NAME};
use crate::scene::{OWN_NAMESPACE, Scene, ours, tenant, workspace};

const SOMEBODYS: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

/// Create and apply: the two ways in which an object comes to be.
fn both_ways(path: &str, object: &Value) -> [Request; 2] {
    let name = object["metadata"]["name"].as_str().unwrap();
    [create(path, object.clone()), apply(&format!("{path}/{name}"), object.clone())]
}

/// Somebody with the chart's role `steading-tenant-admin` in a namespace and nothing else.
async fn tenant_admin(scene: &Scene, namespace: &str) -> Caller {
    let user = e2e::unique("tessa");
    let binding = json!({
        "metadata": { "name": "admins" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-tenant-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
    scene.admin().may(&create(&path, binding)).await;
    let caller = Caller::new("a tenant's administrator", scene.plane.client_for(&user, &[]).unwrap());
    in_force(&caller, &ours(namespace, "tenants")).await;
    caller
}

/// Lets somebody have one more verb on kinds of ours, cluster-wide.
async fn also(scene: &Scene, caller_of: &Caller, verb: &str, resource: &str, names: &[&str], probe: &Request) {
    let name = e2e::unique(verb);
    let rule =
        json!({ "apiGroups": ["steading.dev"], "resources": [resource], "resourceNames": names, "verbs": [verb] });
    scene
        .admin()
        .may(&create(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            json!({ "metadata": { "name": name }, "rules": [rule] }),
        ))
        .await;
    let user = whoami(caller_of).await;
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    scene.admin().may(&create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)).await;
    e2e::wait::until("the new right is in force", std::time::Duration::from_secs(30), async || {
        Ok(caller_of.tries(probe).await.is_ok())
    })
    .await
    .unwrap();
}

async fn whoami(caller: &Caller) -> String {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let answer = caller.may(&create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)).await;
    answer["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
}

async fn in_force(caller: &Caller, path: &str) {
    e2e::wait::until("the role is in force", std::time::Duration::from_secs(30), async || {
        Ok(caller.tries(&crate::caller::read(path)).await.is_ok())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_tenant_named_unlike_its_namespace_is_refused() {
    let scene = Scene::set().await;
    let (class, globex) = (scene.class().await, scene.namespace("globex").await);
    let stolen = tenant("acme", &class);
    for caller in scene.outsiders().into_iter().chain([scene.break_glass()]) {
        caller.may_not_any(&both_ways(&ours(&globex, "tenants"), &stolen), TENANT_NAME).await;
    }
}

#[tokio::test]
async fn a_class_is_used_only_by_those_who_have_the_verb_on_it() {
    let scene = Scene::set().await;
    let (class, other) = (scene.class().await, scene.class().await);
    let acme = scene.namespace("acme").await;
    let admin = tenant_admin(&scene, &acme).await;
    let path = ours(&acme, "tenants");
    admin.may_not_any(&both_ways(&path, &tenant(&acme, &class)), CLASS_USE).await;
    // The right on another class is none on this one.
    let dry = format!("{path}?dryRun=All");
    also(&scene, &admin, "use", "tenantclasses", &[&other], &create(&dry, tenant(&acme, &other))).await;
    admin.may_not_any(&both_ways(&path, &tenant(&acme, &class)), CLASS_USE).await;
    admin.may(&create(&path, tenant(&acme, &other))).await;
}

#[tokio::test]
async fn a_class_that_is_not_there_yet_needs_the_verb_as_well() {
    let scene = Scene::set().await;
    let acme = scene.namespace("acme").await;
    let admin = tenant_admin(&scene, &acme).await;
    admin.may_not_any(&both_ways(&ours(&acme, "tenants"), &tenant(&acme, "not-there-yet")), CLASS_USE).await;
}

#[tokio::test]
async fn an_identity_is_taken_up_only_by_those_who_may_adopt() {
    let scene = Scene::set().await;
    let (class, acme) = (scene.class().await, scene.namespace("acme").await);
    let admin = tenant_admin(&scene, &acme).await;
    let (tenants, workspaces) = (ours(&acme, "tenants"), ours(&acme, "workspaces"));
    let mut other = workspace("finance");
    other["spec"]["identity"] = json!(SOMEBODYS);
    admin.may_not_any(&both_ways(&workspaces, &other), ADOPTION).await;

    let probe = create(&format!("{tenants}?dryRun=All"), tenant(&acme, &class));
    also(&scene, &admin, "use", "tenantclasses", &[&class], &probe).await;
    let mut heir = tenant(&acme, &class);
    heir["spec"]["identity"] = json!(SOMEBODYS);
    admin.may_not_any(&both_ways(&tenants, &heir), ADOPTION).await;

    // To adopt a Workspace is not to adopt a Tenant.
    let probe = create(&format!("{workspaces}?dryRun=All"), other.clone());
    also(&scene, &admin, "adopt", "workspaces", &[], &probe).await;
    admin.may_not_any(&both_ways(&tenants, &heir), ADOPTION).await;
    admin.may(&create(&workspaces, other)).await;
}

/// Somebody who may make Workspaces in a namespace and nothing else.
async fn clerk(scene: &Scene, namespace: &str) -> Caller {
    let user = e2e::unique("clara");
    let base = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let rights = json!({
        "apiGroups": ["steading.dev"], "resources": ["workspaces"], "verbs": ["get", "list", "create", "patch"],
    });
    let role = json!({ "metadata": { "name": "clerks" }, "rules": [rights] });
    scene.admin().may(&create(&format!("{base}/roles"), role)).await;
    let binding = json!({
        "metadata": { "name": "clerks" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "clerks" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    scene.admin().may(&create(&format!("{base}/rolebindings"), binding)).await;
    let caller = Caller::new("a clerk", scene.plane.client_for(&user, &[]).unwrap());
    in_force(&caller, &ours(namespace, "workspaces")).await;
    caller
}

fn restored(name: &str, from: &Value) -> Value {
    let mut restored = workspace(name);
    restored["spec"]["database"] = json!({ "restoreFrom": from });
    restored
}

#[tokio::test]
async fn what_another_database_holds_is_read_only_by_those_who_may_restore_it() {
    let scene = Scene::set().await;
    let acme = scene.namespace("acme").await;
    let workspaces = ours(&acme, "workspaces");
    let clerk = clerk(&scene, &acme).await;
    clerk.may(&create(&workspaces, workspace("finance"))).await;
    let of_finance = restored("copy", &json!({ "workspace": "finance" }));
    clerk.may_not_any(&both_ways(&workspaces, &of_finance), RESTORE).await;
    let earlier = restored("heir", &json!({ "identity": SOMEBODYS, "serverName": "database-01234567" }));
    clerk.may_not_any(&both_ways(&workspaces, &earlier), RESTORE_EARLIER).await;

    // Who may restore one may not restore another, nor what is gone.
    let probe = create(&format!("{workspaces}?dryRun=All"), of_finance.clone());
    also(&scene, &clerk, "restore", "workspaces", &["finance"], &probe).await;
    let of_payroll = restored("copy", &json!({ "workspace": "payroll" }));
    clerk.may_not_any(&both_ways(&workspaces, &of_payroll), RESTORE).await;
    clerk.may_not_any(&both_ways(&workspaces, &earlier), RESTORE_EARLIER).await;
    clerk.may(&create(&workspaces, of_finance)).await;

    // Whoever administers the Tenant may change any of its Workspaces anyway.
    let admin = tenant_admin(&scene, &acme).await;
    admin.may(&create(&workspaces, restored("theirs", &json!({ "workspace": "finance" })))).await;
    admin.may_not_any(&both_ways(&workspaces, &earlier), RESTORE_EARLIER).await;
}

#[tokio::test]
async fn an_identity_cannot_be_given_later() {
    let scene = Scene::set().await;
    let acme = scene.namespace("acme").await;
    let path = ours(&acme, "workspaces");
    scene.member().may(&create(&path, workspace("finance"))).await;
    for request in every_change(&scene.admin(), &format!("{path}/finance"), "/spec/identity", json!(SOMEBODYS)).await {
        let refused = scene.member().tries(&request).await.unwrap_err();
        assert!(refused.message.contains("identity can only be given at creation"), "{}", refused.message);
    }
}

#[tokio::test]
async fn namespaces_of_the_cluster_and_of_steading_are_no_control_namespaces() {
    let scene = Scene::set().await;
    let class = scene.class().await;
    for caller in scene.outsiders().into_iter().chain([scene.break_glass()]) {
        for namespace in ["kube-system", "kube-public", OWN_NAMESPACE] {
            let tenant = tenant(namespace, &class);
            caller.may_not_any(&both_ways(&ours(namespace, "tenants"), &tenant), CONTROL_NAMESPACE).await;
            caller.may_not_any(&both_ways(&ours(namespace, "workspaces"), &workspace("x")), CONTROL_NAMESPACE).await;
        }
    }
}

#[tokio::test]
async fn a_stack_is_no_control_namespace() {
    let scene = Scene::set().await;
    let stack = scene.stack().await;
    let path = stack.of("steading.dev/v1alpha1", "workspaces");
    // Whoever may write in a stack may still not ask for a stack there.
    for caller in scene.cluster().into_iter().chain([scene.break_glass()]) {
        caller.may_not_any(&both_ways(&path, &workspace("x")), CONTROL_NAMESPACE).await;
    }
}
