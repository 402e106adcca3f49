//! What people see: events and columns.

use anyhow::{Context as _, Result};
use api::conditions as names;
use e2e::story::{Manifest, PATIENCE, Stage, Told, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Tier, unique};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

/// Reasons of all events about the object, each with how often it was told.
async fn told<K: Told>(stage: &Stage, of: &Manifest<K>) -> Result<Vec<(String, i32)>> {
    let events: Api<Event> = Api::namespaced(stage.platform.client.clone(), of.namespace());
    let mut events = events.list(&ListParams::default()).await?.items;
    events.retain(|event| {
        event.regarding.as_ref().is_some_and(|it| {
            it.kind.as_deref() == Some(K::kind(&()).as_ref()) && it.name.as_deref() == Some(of.name())
        })
    });
    events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    let count = |event: &Event| event.series.as_ref().map_or(1, |series| series.count);
    Ok(events.iter().map(|event| (event.reason.clone().unwrap_or_default(), count(event))).collect())
}

#[test]
fn events_tell_of_transitions_and_of_nothing_else() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = class(&unique("onprem"));
        let acme = tenant(&unique("acme")).of_class(&onprem);
        let finance = workspace("finance").of_tenant(&acme);
        platform.apply(&finance).await?;
        platform.until_reason(&finance, names::TENANT_NOT_FOUND).await?;
        platform.apply(&acme).await?;
        platform.until_reason(&finance, names::CLASS_NOT_FOUND).await?;
        platform.until_reason(&acme, names::CLASS_NOT_FOUND).await?;
        platform.apply(&onprem).await?;
        platform.until_ready(&finance).await?;
        platform.until_ready(&acme).await?;
        // Rounds in which Ready stays what it is.
        for name in ["vera", "viktor"] {
            let members = json!([{ "kind": "User", "name": name, "role": "viewer" }]);
            platform.apply(&finance.clone().with("members", members)).await?;
            platform.until_ready(&finance).await?;
            platform.apply(&acme.clone().with("owners", json!([{ "kind": "User", "name": name }]))).await?;
            platform.until_ready(&acme).await?;
        }
        platform.apply(&finance.clone().with("paused", true)).await?;
        platform.until_reason(&finance, names::PAUSED).await?;
        // An event follows the status of which it tells.
        until("the last transition is told", PATIENCE, async || {
            Ok(told(stage, &finance).await?.iter().any(|(reason, _)| reason == names::PAUSED))
        })
        .await?;

        let once = |reasons: &[&str]| reasons.iter().map(|reason| ((*reason).to_owned(), 1)).collect::<Vec<_>>();
        let transitions = told(stage, &finance).await?;
        let passing = [names::TENANT_NOT_READY, names::QUOTA_PENDING];
        let lasting: Vec<_> =
            transitions.into_iter().filter(|(reason, _)| !passing.contains(&reason.as_str())).collect();
        assert_eq!(lasting, once(&[names::TENANT_NOT_FOUND, names::CLASS_NOT_FOUND, names::ASSUMED, names::PAUSED]));
        assert_eq!(told(stage, &acme).await?, once(&[names::CLASS_NOT_FOUND, names::AVAILABLE]));
        Ok(())
    })
}

/// What `kubectl get -o wide` shows: the columns with the cells of the object.
async fn columns<K: Told>(stage: &Stage, of: &Manifest<K>) -> Result<Vec<(String, Value)>> {
    let request = http::Request::get(format!("{}/{}", of.api(&stage.platform.client).resource_url(), of.name()))
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = stage.platform.client.request(request.body(Vec::new())?).await?;
    let titles = table["columnDefinitions"].as_array().context("no columns")?;
    let cells = table["rows"][0]["cells"].as_array().context("no row")?;
    Ok(titles
        .iter()
        .map(|title| title["name"].as_str().unwrap_or_default().to_owned())
        .zip(cells.iter().cloned())
        .collect())
}

#[test]
fn every_column_of_kubectl_get_is_filled() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let amounts = json!({ "cpu": "4", "memory": "2Gi", "storage": "10Gi" });
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = tenant(&unique("acme")).of_class(&onprem).with("quota", amounts.clone());
        platform.apply(&acme).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme).with("quota", amounts)).await?;
        platform.until_ready(&finance).await?;
        let booked = |acme: &api::Tenant| {
            acme.status.as_ref().and_then(|it| it.quota.as_ref()).is_some_and(|it| it.used.workspaces == 1)
        };
        platform.until(&acme, "has one Workspace in its books", booked).await?;
        platform.until_ready(&acme).await?;
        let counted = |class: &api::TenantClass| class.status.as_ref().and_then(|it| it.tenants) == Some(1);
        platform.until(&onprem, "counts its Tenant", counted).await?;

        let all = [columns(stage, &onprem).await?, columns(stage, &acme).await?, columns(stage, &finance).await?];
        // Of a class without databases there are none to show.
        let of_databases = ["Database", "Last Backup"];
        for (title, cell) in all.iter().flatten().filter(|(title, _)| !of_databases.contains(&title.as_str())) {
            let shown = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
            assert!(!["", "null", "<none>", "<unknown>"].contains(&shown.as_str()), "{title} is empty in {all:#?}");
        }
        for columns in &all {
            let find = |title: &str| columns.iter().find(|(name, _)| name == title).map(|(_, cell)| cell.clone());
            assert_eq!(find("Ready"), Some("True".into()), "{columns:?}");
        }
        Ok(())
    })
}
