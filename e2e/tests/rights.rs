//! The operator's rights are what it uses: every rule of the chart is used in the life of a tenant, and nothing that the operator
//! or the cluster asks for is refused. Proved by the API server's own record.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::databases::{CANARY, DRILL, Keeper, install_kinds, objects};
use e2e::install::InProcess;
use e2e::plane::{Calls, Entry};
use e2e::relays::point_out;
use e2e::site::{CLASS, Site, SiteOptions};
use e2e::story::{BREAK_GLASS, Manifest, Platform, agent_pool, class, condition, tenant, workspace};
use e2e::wait::until;
use e2e::{Plane, Tier};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use operator::config::ProviderSource;
use providers::memory::World;
use serde_json::{Value, json};

/// What one rule allows on one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    group: String,
    resource: String,
    /// Empty where the rule names no objects.
    name: String,
}

/// Every right that the chart gives the operator, cluster-wide and in its own namespace.
async fn granted(site: &Site) -> Result<BTreeSet<Right>> {
    let manifest = site.installation.helm(&site.plane, &["get", "manifest", "steading"].map(str::to_owned)).await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifest)?;
    let ours = |object: &&Value| {
        let roles = [
            "steading-operator",
            "steading-stack-operator",
            "steading-agents-operator",
            "steading-consumer-operator",
            "steading-api-server",
        ];
        object["metadata"]["name"].as_str().is_some_and(|name| roles.contains(&name))
            && (object["kind"] == "ClusterRole" || object["kind"] == "Role")
    };
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in objects.iter().filter(ours).flat_map(|role| role["rules"].as_array().unwrap()) {
        let mut names = texts(rule, "resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    for name in &names {
                        let (group, resource, name) = (group.clone(), resource.clone(), name.clone());
                        rights.insert(Right { verb: verb.clone(), group, resource, name });
                    }
                }
            }
        }
    }
    Ok(rights)
}

/// Whether a call used this right and was answered; for a log, which fake nodes have none of, that it was not refused. An apply that makes an object is recorded as a patch, but needs both.
fn uses(entry: &Entry, right: &Right) -> bool {
    let Some(object) = &entry.object_ref else { return false };
    let verb = entry.verb == right.verb || (right.verb == "create" && entry.verb == "patch" && entry.code() == 201);
    verb && object.api_group == right.group
        && entry.target() == right.resource
        && (right.name.is_empty() || object.name == right.name)
        && (entry.code() < 400 || entry.code() == 404 || (right.resource == "pods/log" && entry.code() >= 500))
        && !entry.is_dry_run()
}

/// An object that bears the marks of a Workspace's children but is none that it should have.
fn left_over(kind: &str, owner: &Value, body: Value) -> Value {
    let mut object = body;
    object["kind"] = json!(kind);
    object["apiVersion"] = json!(match kind {
        "NetworkPolicy" => "networking.k8s.io/v1",
        "RoleBinding" => "rbac.authorization.k8s.io/v1",
        "PodDisruptionBudget" => "policy/v1",
        _ => "v1",
    });
    object["metadata"] = json!({ "name": "left-over", "labels": owner });
    object
}

/// One child of each kind, by kind and name.
const CHILDREN: [(&str, &str, &str); 6] = [
    ("", "ServiceAccount", "agent"),
    ("policy", "PodDisruptionBudget", "agents"),
    ("networking.k8s.io", "NetworkPolicy", "deny-all"),
    ("", "ResourceQuota", "steading"),
    ("", "LimitRange", "steading"),
    ("rbac.authorization.k8s.io", "RoleBinding", "steading-viewers"),
];

/// Somebody of a break-glass group takes one child of each kind away and leaves another there in Steading's name. Returns when
/// Steading has put that right.
async fn vandalise(client: &Client, stack: &str) -> Result<()> {
    let viewer =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-viewer" });
    for (group, kind, name) in CHILDREN {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), stack, &resource);
        let labels = serde_json::to_value(api.get(name).await?.metadata.labels)?;
        let body = match kind {
            "NetworkPolicy" => json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }),
            "RoleBinding" => json!({ "roleRef": viewer }),
            "LimitRange" => json!({ "spec": { "limits": [] } }),
            "ServiceAccount" => json!({}),
            _ => json!({ "spec": {} }),
        };
        let left_over: DynamicObject = serde_json::from_value(left_over(kind, &labels, body))?;
        api.create(&PostParams::default(), &left_over).await?;
        api.delete(name, &DeleteParams::default()).await?;
        until(&format!("{kind} {name} is back and no other is left"), e2e::story::PATIENCE, async || {
            Ok(api.get_opt(name).await?.is_some() && api.get_opt("left-over").await?.is_none())
        })
        .await?;
    }
    Ok(())
}

/// The same thing twice makes one event with a count.
async fn pause_twice(platform: &Platform, plain: &Manifest<api::Workspace>) -> Result<()> {
    for _ in 0..2 {
        platform.apply(&plain.clone().with("paused", true)).await?;
        platform.until_reason(plain, "Paused").await?;
        platform.apply(&plain.clone().with("paused", false)).await?;
        platform.until_ready(plain).await?;
    }
    Ok(())
}

/// The class offers databases; their kinds are there, and nobody who acts on them. Must be done before the operator looks at it.
async fn offer_databases(site: &Site) -> Result<()> {
    install_kinds(&site.plane).await?;
    let offered = json!({
        "image": "registry.example/postgresql:18.4", "instances": 1, "storage": { "size": "1Gi" },
        "resources": { "cpu": "1", "memory": "1Gi" }, "rpo": "15m", "rto": "1h",
        "backup": { "fullEvery": "2h", "retention": "30d" },
    });
    let classes: Api<api::TenantClass> = Api::all(site.plane.admin()?);
    let agents = json!({ "runtimeClass": "gvisor" });
    let patch = Patch::Merge(json!({ "spec": { "database": offered, "agents": agents } }));
    classes.patch(CLASS, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// A pool comes, one of its desktops is claimed, and all of it goes.
async fn a_pool_comes_and_goes(platform: &Platform, glass: &Client, finance: &Manifest<api::Workspace>) -> Result<()> {
    let runtime = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "gvisor" }, "handler": "runsc",
    });
    let runtimes = Api::<k8s_openapi::api::node::v1::RuntimeClass>::all(platform.client.clone());
    runtimes.patch("gvisor", &PatchParams::apply("test"), &Patch::Apply(runtime)).await?;
    point_out(&platform.client).await?;
    let pool = platform.applied(agent_pool("desktops").of_workspace(finance)).await?;
    platform.until_ready(&pool).await?;
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(glass.clone(), &platform.stack_of(finance).await?);
    let claim = Patch::Merge(json!({ "metadata": { "annotations": { "steading.dev/session-uid": "s" } } }));
    pods.patch("agent-desktops-0", &PatchParams::default(), &claim).await?;
    until("it is protected", e2e::story::PATIENCE, async || {
        let pod = pods.get("agent-desktops-0").await?;
        Ok(pod.metadata.labels.is_some_and(|labels| labels.contains_key("steading.dev/protected")))
    })
    .await?;
    let fewer = platform.applied(pool.with("replicas", 1)).await?;
    platform.until(&fewer, "has one", |it| it.status.as_ref().is_some_and(|it| it.replicas == Some(1))).await?;
    let going = platform.get(&fewer).await?;
    platform.delete(&fewer).await?;
    platform.until_gone(&fewer, &going).await
}

/// The plugin says that a full backup failed. Returns when another is asked for.
async fn a_full_backup_fails(platform: &Platform, glass: &Client, shop: &Manifest<api::Workspace>) -> Result<()> {
    let backup = platform.get(shop).await?.status.and_then(|it| it.database?.backup).unwrap();
    let stack = platform.stack_of(shop).await?;
    let of = |group: &str, kind: &str| -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        Api::namespaced_with(glass.clone(), &stack, &resource)
    };
    let said = json!({ "lastFailedBackupTime": Timestamp::now() });
    let said = json!({ "status": { "serverRecoveryWindow": { backup.server_name: said } } });
    let stores = of("barmancloud.cnpg.io", "ObjectStore");
    stores.patch_status("database-backup", &PatchParams::default(), &Patch::Merge(said)).await?;
    let runs = Patch::Merge(json!({ "status": { "readyInstances": 1 } }));
    of("postgresql.cnpg.io", "Cluster").patch_status("database", &PatchParams::default(), &runs).await?;
    until("a full backup is asked for again", e2e::story::PATIENCE, async || {
        let asked = of("postgresql.cnpg.io", "Backup").list(&ListParams::default()).await?;
        Ok(!asked.items.is_empty())
    })
    .await
}

/// Another Workspace begins with what a database held, by credentials of its own.
async fn a_database_is_restored(
    platform: &Platform,
    glass: &Client,
    acme: &Manifest<api::Tenant>,
    shop: &Manifest<api::Workspace>,
) -> Result<()> {
    let keeper = Keeper::new(glass.clone(), platform.stack_of(shop).await?);
    keeper.runs(1, "True").await?;
    let backup = platform.get(shop).await?.status.and_then(|it| it.database?.backup).unwrap();
    keeper.backed_up(&backup.server_name, Timestamp::now() - Duration::from_hours(1)).await?;
    let copy = workspace("copy").of_tenant(acme).with("database.restoreFrom", json!({ "workspace": shop.name() }));
    let copy = platform.applied(copy).await?;
    let waits = |copy: &api::Workspace| condition(copy, "BackupFresh").is_some_and(|it| it.reason == "BackupPending");
    platform.until(&copy, "has a database", waits).await?;
    let going = platform.get(&copy).await?;
    platform.delete(&copy).await?;
    platform.until_gone(&copy, &going).await
}

/// A namespace consents, its consumer is let in, its certificate renewed, and all of it taken back.
async fn a_consumer_comes_and_goes(
    site: &Site,
    platform: &Platform,
    glass: &Client,
    shop: &Manifest<api::Workspace>,
) -> Result<()> {
    let market = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "market", "annotations": { "steading.dev/consumes": "acme/shop" } },
    });
    let namespaces = Api::<Namespace>::all(site.plane.admin()?);
    namespaces.patch("market", &PatchParams::apply("market"), &Patch::Apply(market)).await?;
    let billing = json!([{ "namespace": "market", "serviceAccount": "billing", "database": "read" }]);
    platform.apply(&shop.clone().with("consumers", billing)).await?;
    let stack = platform.stack_of(shop).await?;
    let keeper = Keeper::new(glass.clone(), stack);
    let secrets = Api::<Secret>::namespaced(site.plane.admin()?, "market");
    let role = "database-consumer-market.billing";
    for (certificate, expires) in [("first", "2027-01-01T00:00:00Z"), ("second", "2027-06-01T00:00:00Z")] {
        until("a role is asked for", e2e::story::PATIENCE, async || Ok(keeper.roles().get_opt(role).await?.is_some()))
            .await?;
        keeper.has_role(role, certificate, expires).await?;
        until("the consumer has its certificate", e2e::story::PATIENCE, async || {
            let secret = secrets.get_opt("acme.shop.billing").await?.and_then(|secret| secret.data);
            Ok(secret.is_some_and(|data| data.get("tls.crt").is_some_and(|it| it.0 == certificate.as_bytes())))
        })
        .await?;
    }
    platform.apply(shop).await?;
    until("the role is shut out", e2e::story::PATIENCE, async || {
        Ok(keeper.roles().get_opt(role).await?.is_some_and(|role| role.data["spec"]["login"] == false))
    })
    .await?;
    keeper.has_role(role, "", "").await?;
    until("nothing is left", e2e::story::PATIENCE, async || {
        Ok(keeper.roles().get_opt(role).await?.is_none() && secrets.get_opt("acme.shop.billing").await?.is_none())
    })
    .await
}

/// The backups of a database are restored beside it, and what was made for that is removed.
async fn a_database_is_drilled(platform: &Platform, glass: &Client, shop: &Manifest<api::Workspace>) -> Result<()> {
    let stack = platform.stack_of(shop).await?;
    let keeper = Keeper::new(glass.clone(), stack.clone());
    let expires = "2027-01-01T00:00:00Z";
    until("the canary's role stands", e2e::story::PATIENCE, async || {
        Ok(keeper.roles().get_opt(CANARY).await?.is_some())
    })
    .await?;
    keeper.has_role(CANARY, "the canary's", expires).await?;
    let deployments = Api::<Deployment>::namespaced(glass.clone(), &stack);
    until("the canary runs", e2e::story::PATIENCE, async || {
        let status = deployments.get_opt(CANARY).await?.and_then(|it| it.status);
        Ok(status.is_some_and(|it| it.available_replicas == Some(1)))
    })
    .await?;
    let backup = platform.get(shop).await?.status.and_then(|it| it.database?.backup).unwrap();
    keeper.backed_up(&backup.server_name, Timestamp::now() + Duration::from_secs(2)).await?;
    let clusters = objects(glass, &stack, "postgresql.cnpg.io", "Cluster");
    until("a drill begins", e2e::story::PATIENCE, async || Ok(clusters.get_opt(DRILL).await?.is_some())).await?;
    keeper.restored().await?;
    until("its role stands", e2e::story::PATIENCE, async || Ok(keeper.roles().get_opt(DRILL).await?.is_some())).await?;
    keeper.has_role(DRILL, "the drill's", expires).await?;
    // Nothing runs on these nodes, so the pod of its Job ends at once and has told nothing.
    let is_over =
        |shop: &api::Workspace| condition(shop, "RestoreProven").is_some_and(|it| it.message.contains("told nothing"));
    platform.until(shop, "tells of the drill", is_over).await?;
    let first = clusters.get_opt(DRILL).await?.and_then(|it| it.metadata.uid);
    until("nothing is left of it", e2e::story::PATIENCE, async || {
        let now = clusters.get_opt(DRILL).await?.and_then(|it| it.metadata.uid);
        Ok(now.is_none() || now != first)
    })
    .await
}

async fn life_of_a_tenant(site: &Site, operator: InProcess) -> Result<InProcess> {
    let platform = Platform::new(site.plane.admin()?);
    let glass = site.plane.client_for("bettina", &["system:masters", BREAK_GLASS])?;
    let acme = tenant("acme").of_class(&class(CLASS)).deleting_data();
    let finance = workspace("finance").of_tenant(&acme).with("database.disabled", true);
    platform.apply(&acme).await?;
    platform.apply(&finance).await?;
    platform.until_ready(&acme).await?;
    platform.until_ready(&finance).await?;

    let stack = platform.stack_of(&finance).await?;
    vandalise(&glass, &stack).await?;
    pause_twice(&platform, &finance).await?;
    a_pool_comes_and_goes(&platform, &glass, &finance).await?;

    let shop = platform.applied(workspace("shop").of_tenant(&acme)).await?;
    let waits = |shop: &api::Workspace| condition(shop, "BackupFresh").is_some_and(|it| it.reason == "BackupPending");
    platform.until(&shop, "has a database", waits).await?;
    // Whoever comes new looks whether the credentials that were written are still there.
    operator.stop().await?;
    let operator = operator_on(&site.plane, site).await?;
    a_full_backup_fails(&platform, &glass, &shop).await?;
    a_consumer_comes_and_goes(site, &platform, &glass, &shop).await?;
    a_database_is_restored(&platform, &glass, &acme, &shop).await?;
    a_database_is_drilled(&platform, &glass, &shop).await?;
    let going = platform.get(&shop).await?;
    platform.delete(&shop).await?;
    platform.until_gone(&shop, &going).await?;

    let going = platform.get(&finance).await?;
    platform.delete(&finance).await?;
    platform.until_gone(&finance, &going).await?;
    let going = platform.get(&acme).await?;
    platform.delete(&acme).await?;
    platform.until_gone(&acme, &going).await?;
    Ok(operator)
}

/// Refusals by RBAC or by the fence that no probe of the canary asked for.
fn unwanted_refusals(calls: &Calls) -> Calls {
    calls.refused().filter(|entry| {
        let answer = entry.response_status.clone().unwrap_or_default();
        let by_fence = answer.message.contains("denied request: steading: ");
        let of_operator = entry.user.username == "system:serviceaccount:steading-system:steading";
        let probe = of_operator && by_fence && entry.is_dry_run();
        (of_operator || by_fence) && !probe
    })
}

async fn operator_on(plane: &Plane, site: &Site) -> Result<InProcess> {
    InProcess::start_on(plane, &site.installation, World::new(), |config| {
        config.providers = ProviderSource::Real;
        config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
        config.timings.stalled = Duration::from_secs(2);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_tenant_uses_every_right_of_the_operator_and_meets_no_refusal() -> Result<()> {
    let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    let options = SiteOptions { values, with_operator: false, ..SiteOptions::default() };
    let site = Site::start(Tier::Two, options, |_| {}).await?;
    offer_databases(&site).await?;
    let operator = operator_on(&site.plane, &site).await?;
    let operator = Box::pin(life_of_a_tenant(&site, operator)).await?;
    // Events are written beside the work, so the last may come late.
    let events: Api<Event> = Api::namespaced(site.plane.admin()?, "acme");
    until("events were written", e2e::story::PATIENCE, async || {
        Ok(!events.list(&ListParams::default()).await?.items.is_empty())
    })
    .await?;
    operator.stop().await?;

    let calls = site.plane.calls().await?;
    let used = calls.by_service_account("steading-system", "steading");
    // `bind` is no call of its own: a RoleBinding to a role that one does not hold cannot be made without it.
    let unused: Vec<Right> = granted(&site)
        .await?
        .into_iter()
        .filter(|right| right.verb != "bind")
        .filter(|right| !used.entries().iter().any(|entry| uses(entry, right)))
        .collect();
    ensure!(unused.is_empty(), "the chart gives rights that nothing uses: {unused:#?}");
    let refused = unwanted_refusals(&calls);
    let told: Vec<_> = refused.entries().iter().map(|entry| (&entry.request_uri, &entry.response_status)).collect();
    ensure!(refused.is_empty(), "refused, though it should not be:\n{refused}{told:#?}");
    ensure!(!calls.refused().filter(Entry::is_dry_run).is_empty(), "the record holds no probe of the canary");
    site.stop().await
}
