//! Consumers at a server of authorization that knows its callers: who comes to which store, and until when.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::{Tenant, Workspace, conditions as names, labels};
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use e2e::story::{
    Manifest, PATIENCE, Stage, class, condition, openfga, openfga_with_access_control, tenant, workspace,
};
use e2e::{Tier, unique, wait::until};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// The access control store of all classes here.
const ACCESS: &str = "01JZ8Q5W3N8M4T6R2V9X7B1C0D";

/// A Tenant of a class whose server knows its callers.
async fn known(stage: &Stage) -> Result<Manifest<Tenant>> {
    let place = openfga_with_access_control(ACCESS);
    let onprem = stage.platform.applied(class(&unique("onprem")).with("authorization", place)).await?;
    stage.platform.applied(tenant(&unique("acme")).of_class(&onprem)).await
}

fn billing(namespace: &str, authorization: &str) -> Value {
    json!([{ "namespace": namespace, "serviceAccount": "billing", "database": "read", "authorization": authorization }])
}

async fn consents(stage: &Stage, namespace: &str, to: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { labels::CONSUMES: to } } }));
    let namespaces = Api::<Namespace>::all(stage.plane.admin()?);
    namespaces.patch(namespace, &PatchParams::default(), &patch).await.map(drop).context("cannot annotate")
}

/// What access control says of a workspace, and which stores it leads to.
fn standing(stage: &Stage, workspace: &str) -> Vec<String> {
    let store = stage.world.all_stores().remove(ACCESS).unwrap_or_default();
    let is_about = |it: &&providers::authorization::Tuple| it.object == workspace || it.user == workspace;
    store.tuples.keys().filter(is_about).map(|it| format!("{} {} {}", it.user, it.relation, it.object)).collect()
}

/// Whether all of it is so.
async fn becomes(stage: &Stage, workspace: &str, wanted: &[String]) -> Result<()> {
    until("access control has followed", PATIENCE, async || Ok(standing(stage, workspace) == wanted)).await
}

/// What the consumer's Secret says; nothing if there is none.
async fn told(stage: &Stage, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let found = Api::<Secret>::namespaced(stage.plane.admin()?, namespace).get_opt(name).await?;
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    Ok(data.into_iter().map(|(entry, text)| (entry, String::from_utf8_lossy(&text.0).into_owned())).collect())
}

/// Of the entries of its Secret those that begin with this.
async fn entries(stage: &Stage, namespace: &str, name: &str, prefix: &str) -> Result<Vec<String>> {
    let told = told(stage, namespace, name).await?;
    Ok(told.into_keys().filter(|entry| entry.starts_with(prefix)).collect())
}

#[test]
fn its_secret_says_where_a_consumer_asks_and_nothing_of_it_once_it_may_not() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let acme = known(stage).await?;
        let shop = unique("shop");
        platform.control_namespace(&shop).await?;
        consents(stage, &shop, Some(&format!("{}/finance", acme.name()))).await?;
        let using = |uses: Value| {
            let mut consumer = json!({ "namespace": shop, "serviceAccount": "billing" });
            consumer.as_object_mut().unwrap().extend(uses.as_object().unwrap().clone());
            workspace("finance").of_tenant(&acme).with("consumers", json!([consumer]))
        };
        let finance = platform.applied(using(json!({ "authorization": "read" }))).await?;
        let seen = platform.until_ready(&finance).await?;
        let place = seen.status.clone().unwrap().authorization.unwrap();
        let secret = format!("{}.finance.billing", acme.name());
        let says = told(stage, &shop, &secret).await?;
        let wanted = [
            ("authorization-endpoint", "https://openfga.example:8080"),
            ("authorization-object", &place.object),
            ("authorization-store-id", &place.store_id),
        ];
        assert_eq!(says.iter().map(|(entry, text)| (entry.as_str(), text.as_str())).collect::<Vec<_>>(), wanted);
        let of_billing = seen.status.unwrap().consumers.pop().unwrap();
        assert_eq!(of_billing.authorization.and_then(|it| it.store_id), Some(place.store_id));

        platform
            .until_ready(&platform.applied(using(json!({ "authorization": "read", "bucket": "read" }))).await?)
            .await?;
        let counts = async || {
            let of_store = entries(stage, &shop, &secret, "authorization-").await?.len();
            anyhow::Ok((of_store, entries(stage, &shop, &secret, "bucket").await?.len()))
        };
        let (of_store, of_bucket) = counts().await?;
        assert!(of_store == 3 && of_bucket > 3, "{of_store} {of_bucket}");
        platform.until_ready(&platform.applied(using(json!({ "bucket": "read" }))).await?).await?;
        assert_eq!(counts().await?, (0, of_bucket));
        platform.until_ready(&platform.applied(using(json!({ "authorization": "readWrite" }))).await?).await?;
        assert_eq!(counts().await?, (3, 0));
        consents(stage, &shop, None).await?;
        until("the Secret is gone", PATIENCE, async || Ok(told(stage, &shop, &secret).await?.is_empty())).await
    })
}

#[test]
fn a_consumer_comes_to_the_store_of_its_tenant_while_both_sides_say_so() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let acme = known(stage).await?;
        let shop = unique("shop");
        platform.control_namespace(&shop).await?;
        let finance = workspace("finance").of_tenant(&acme).with("consumers", billing(&shop, "readWrite"));
        platform.apply(&finance).await?;
        let knows_store =
            |seen: &Workspace| condition(seen, names::AUTHORIZATION_READY).is_some_and(|it| it.status == "True");
        let seen = platform.until(&finance, "it is in the store", knows_store).await?;
        let told = seen.status.unwrap().authorization.unwrap();
        assert_eq!(standing(stage, &told.object), [""; 0], "its namespace has not consented");

        let itself = format!("{}/finance", acme.name());
        consents(stage, &shop, Some(&itself)).await?;
        let (object, store) = (told.object.clone(), format!("store:{}", told.store_id));
        let lets = |relation: &str| {
            let mut wanted =
                vec![format!("application:{shop}/billing {relation} {object}"), format!("{object} workspace {store}")];
            wanted.sort();
            wanted
        };
        becomes(stage, &object, &lets("writer")).await?;
        let has_one = |seen: &Workspace| {
            let told = seen.status.as_ref().and_then(|status| status.authorization.as_ref());
            told.is_some_and(|told| told.applications.iter().any(|it| it.namespace == shop))
        };
        platform.until(&finance, "status names it", has_one).await?;
        let of_system =
            stage.world.all_stores()[ACCESS].tuples.keys().any(|it| it.object == store && it.user == "system:fga");
        assert!(of_system, "Steading finds the store in lists");

        platform.apply(&finance.clone().with("consumers", billing(&shop, "read"))).await?;
        becomes(stage, &object, &lets("reader")).await?;
        consents(stage, &shop, None).await?;
        becomes(stage, &object, &[]).await?;
        consents(stage, &shop, Some(&itself)).await?;
        becomes(stage, &object, &lets("reader")).await?;
        platform.delete(&finance).await?;
        becomes(stage, &object, &[]).await
    })
}

#[test]
fn a_workspace_that_vanished_leads_nobody_to_the_store_any_more_and_those_beside_it_still_do() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let acme = known(stage).await?;
        let shop = unique("shop");
        platform.control_namespace(&shop).await?;
        consents(stage, &shop, Some(&format!("{0}/finance,{0}/sales", acme.name()))).await?;
        let of_acme = |name: &str| workspace(name).of_tenant(&acme).with("consumers", billing(&shop, "read"));
        let (finance, sales) = (platform.applied(of_acme("finance")).await?, platform.applied(of_acme("sales")).await?);
        let has_one = |seen: &Workspace| {
            let told = seen.status.as_ref().and_then(|status| status.authorization.as_ref());
            told.is_some_and(|told| !told.applications.is_empty())
        };
        let object = async |of: &Manifest<Workspace>| {
            let seen = platform.until(of, "lets its consumer in", has_one).await?;
            anyhow::Ok(seen.status.and_then(|status| status.authorization).context("no store")?.object)
        };
        let (vanishing, staying) = (object(&finance).await?, object(&sales).await?);
        let of_sales = standing(stage, &staying);
        assert_eq!((standing(stage, &vanishing).len(), of_sales.len()), (2, 2));

        // Somebody takes the finalizer off by hand, while deletion waits.
        platform.apply(&finance.clone().with("paused", true)).await?;
        platform.until_reason(&finance, names::PAUSED).await?;
        let seen = platform.get(&finance).await?;
        platform.delete(&finance).await?;
        let bare = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        finance.api(&stage.break_glass()?).patch(finance.name(), &PatchParams::default(), &bare).await?;
        platform.until_gone(&finance, &seen).await?;
        becomes(stage, &vanishing, &[]).await?;
        assert_eq!(standing(stage, &staying), of_sales);
        Ok(())
    })
}

#[test]
fn a_workspace_that_has_lost_its_status_takes_its_members_and_consumers_along_all_the_same() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let acme = known(stage).await?;
        let shop = unique("shop");
        platform.control_namespace(&shop).await?;
        consents(stage, &shop, Some(&format!("{}/finance", acme.name()))).await?;
        let ben = json!([{ "kind": "User", "name": "ben", "role": "editor" }]);
        let finance = workspace("finance").of_tenant(&acme).with("members", ben);
        let finance = platform.applied(finance.with("consumers", billing(&shop, "read"))).await?;
        let place = |seen: &Workspace| seen.status.as_ref().and_then(|status| status.authorization.clone());
        let lets_in = |seen: &Workspace| place(seen).is_some_and(|place| !place.applications.is_empty());
        let seen = platform.until(&finance, "lets its consumer in", lets_in).await?;
        let place_before = place(&seen).context("no store")?;
        let members = || {
            let store = stage.world.all_stores().remove(&place_before.store_id).unwrap_or_default();
            store.tuples.keys().filter(|it| it.object == place_before.object).count()
        };
        assert_eq!((members(), standing(stage, &place_before.object).len()), (2, 2));

        // As after a restore of the cluster, which brings no status back.
        platform.apply(&finance.clone().with("paused", true)).await?;
        platform.until_reason(&finance, names::PAUSED).await?;
        let bare = Patch::Merge(json!({ "status": { "authorization": null } }));
        let api = finance.api(&stage.plane.service_account_client(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await?);
        api.patch_status(finance.name(), &PatchParams::default(), &bare).await?;
        platform.until(&finance, "has lost it", |seen| place(seen).is_none()).await?;
        platform.delete(&finance).await?;
        platform.apply(&finance).await?;
        until("nobody is led to the store any more", PATIENCE, async || {
            Ok((members(), standing(stage, &place_before.object).len()) == (0, 0))
        })
        .await
    })
}

#[test]
fn a_server_that_does_not_know_its_callers_opens_its_stores_to_no_consumer_alone_and_that_is_told() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem")).with("authorization", openfga())).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let finance = workspace("finance").of_tenant(&acme).with("consumers", billing("shop", "read"));
        let finance = platform.applied(finance).await?;
        platform.until_condition(&finance, names::AUTHORIZATION_READY, "False", names::INVALID_SPEC).await.map(drop)
    })
}
