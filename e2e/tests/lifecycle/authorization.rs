//! Who may do what, in the tenant's store of authorization: with its Tenant and Workspaces it comes, changes and goes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use api::{Tenant, TenantClass, Workspace, conditions as names};
use e2e::story::{Manifest, PATIENCE, Stage, class, condition, openfga, tenant, workspace};
use e2e::{Tier, unique, wait::until};
use providers::memory::{Injection, MemoryStore, Operation, World};
use serde_json::json;

use super::{assert_tells, status};

/// The class, and a Tenant of it that anna owns.
async fn owned_by_anna(stage: &Stage) -> Result<(Manifest<TenantClass>, Manifest<Tenant>)> {
    let onprem = stage.platform.applied(class(&unique("onprem")).with("authorization", openfga())).await?;
    let anna = json!([{ "kind": "User", "name": "anna" }]);
    let acme = stage.platform.applied(tenant(&unique("acme")).of_class(&onprem).with("owners", anna)).await?;
    Ok((onprem, acme))
}

fn member(kind: &str, name: &str, role: &str) -> serde_json::Value {
    json!([{ "kind": kind, "name": name, "role": role }])
}

async fn identity(stage: &Stage, of: &Manifest<Tenant>) -> Result<String> {
    let seen = stage.platform.get(of).await?;
    seen.status.and_then(|status| status.identity).context("no identity")
}

/// The stores that bear the name of the Tenant's.
fn stores(world: &World, stage: &Stage, identity: &str) -> Result<BTreeMap<String, MemoryStore>> {
    let installation = providers::Installation::new(stage.installation.name())?;
    let name = providers::owner::store(&installation, &providers::Identity::new(identity)?);
    Ok(world.stores().into_iter().filter(|(_, store)| store.name == name).collect())
}

fn tuples(store: &MemoryStore) -> Vec<String> {
    store.tuples.keys().map(|it| format!("{} {} {}", it.user, it.relation, it.object)).collect()
}

#[test]
fn the_store_knows_owners_and_members_and_status_says_how_to_ask_it() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let (onprem, acme) = owned_by_anna(stage).await?;
        let finance = workspace("finance").of_tenant(&acme).with("members", member("Group", "accounting", "viewer"));
        let finance = platform.applied(finance).await?;
        let reachable = platform.until_ready(&onprem).await?;
        assert_eq!(status(&reachable, names::AUTHORIZATION_REACHABLE), "True");
        let (seen_acme, seen) = (platform.until_ready(&acme).await?, platform.until_ready(&finance).await?);
        assert_eq!(
            (status(&seen_acme, names::AUTHORIZATION_READY), status(&seen, names::AUTHORIZATION_READY)),
            ("True", "True")
        );

        let of_acme = seen_acme.status.unwrap();
        let places: Vec<&str> = of_acme.encryption.iter().map(|it| it.place.as_str()).collect();
        assert_eq!(places, ["envelope", "etcd", "authorization"], "names of people rest there too");
        let (owner, told) = (of_acme.identity.unwrap(), of_acme.authorization.unwrap());
        let all = stores(&stage.world, stage, &owner)?;
        let (id, store) = all.first_key_value().context("no store")?;
        assert_eq!((all.len(), told.store_id.as_ref()), (1, Some(id)));
        assert_eq!(told.model_id.as_deref(), store.models.last().map(|model| model.id.as_str()));
        assert_eq!((told.endpoint.as_str(), told.object), ("https://openfga.example:8080", format!("tenant:{owner}")));
        let of_finance = seen.status.unwrap();
        let object = of_finance.authorization.unwrap().object;
        assert_eq!(object, format!("workspace:{}", of_finance.identity.unwrap()));
        let mut wanted = [
            format!("group:accounting#member viewer {object}"),
            format!("tenant:{owner} tenant {object}"),
            format!("user:anna owner tenant:{owner}"),
        ];
        wanted.sort();
        assert_eq!(tuples(store), wanted);
        Ok(())
    })
}

#[test]
fn who_is_taken_off_the_lists_is_taken_out_of_the_store() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let (_, acme) = owned_by_anna(stage).await?;
        let finance = workspace("finance").of_tenant(&acme).with("members", member("User", "ben", "editor"));
        platform.apply(&finance).await?;
        platform.until_ready(&acme).await?;
        platform.until_ready(&finance).await?;
        let owner = identity(stage, &acme).await?;
        platform.apply(&acme.clone().with("owners", json!([{ "kind": "User", "name": "carl" }]))).await?;
        platform.apply(&finance.clone().with("members", member("User", "ben", "viewer"))).await?;
        let holds = |wanted: &[&str]| {
            let text = stores(&stage.world, stage, &owner)?.values().flat_map(tuples).collect::<Vec<_>>().join("\n");
            anyhow::Ok(wanted.iter().all(|it| text.contains(it)) && !text.contains("anna") && !text.contains("editor"))
        };
        until("the store has followed", PATIENCE, async || holds(&["user:carl owner", "user:ben viewer"])).await
    })
}

#[test]
fn a_store_that_somebody_deleted_is_made_anew_and_the_old_one_forgets_the_members() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let (_, acme) = owned_by_anna(stage).await?;
        let finance = workspace("finance").of_tenant(&acme).with("members", member("User", "ben", "editor"));
        let finance = platform.applied(finance).await?;
        platform.until_ready(&acme).await?;
        platform.until_ready(&finance).await?;
        let owner = identity(stage, &acme).await?;
        let (lost, _) = stores(&stage.world, stage, &owner)?.pop_first().context("no store")?;
        stage.world.lose(&lost);
        // A change of the Tenant is looked at at once; without one the next look finds it.
        platform.apply(&acme.clone().with("owners", json!([{ "kind": "User", "name": "carl" }]))).await?;
        let moved = |seen: &Workspace| {
            let store = seen.status.as_ref().and_then(|status| status.authorization.as_ref());
            store.is_some_and(|store| store.store_id != lost && store.observed_at.is_some())
        };
        platform.until(&finance, "its members are in the new store", moved).await?;
        let still = |id: &str| stage.world.all_stores()[id].tuples.keys().any(|it| it.object.starts_with("workspace:"));
        let (new, _) = stores(&stage.world, stage, &owner)?.pop_first().context("no new store")?;
        assert_eq!((still(&lost), still(&new)), (false, true));
        Ok(())
    })
}

#[test]
fn a_store_is_kept_or_deleted_with_its_tenant_as_the_deletion_policy_says() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let (onprem, kept) = owned_by_anna(stage).await?;
        let gone = platform.applied(tenant(&unique("globex")).of_class(&onprem).deleting_data()).await?;
        let [seen_kept, seen_gone] = [platform.until_ready(&kept).await?, platform.until_ready(&gone).await?];
        let [of_kept, of_gone] = [identity(stage, &kept).await?, identity(stage, &gone).await?];
        assert_eq!(stores(&stage.world, stage, &of_gone)?.len(), 1);
        platform.delete(&kept).await?;
        platform.delete(&gone).await?;
        platform.until_gone(&kept, &seen_kept).await?;
        platform.until_gone(&gone, &seen_gone).await?;
        let left = [&of_kept, &of_gone].map(|identity| stores(&stage.world, stage, identity).unwrap().len());
        assert_eq!(left, [1, 0]);
        Ok(())
    })
}

#[test]
fn what_the_server_refuses_keeps_only_the_authorization_from_being_ready_and_heals() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem")).with("authorization", openfga())).await?;
        let owner = uuid::Uuid::new_v4().to_string();
        stage.world.inject(Injection::on(Operation::WriteModel).identity(&owner));
        let acme = tenant(&unique("acme")).of_class(&onprem).with("identity", owner.as_str());
        platform.apply(&acme).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let reason = names::PROVIDER_UNAVAILABLE;
        let broken = platform.until_condition(&acme, names::AUTHORIZATION_READY, "False", reason).await?;
        assert_eq!(status(&broken, names::KEY_READY), "True");
        let waits =
            platform.until_condition(&finance, names::AUTHORIZATION_READY, "False", names::TENANT_NOT_READY).await?;
        assert_tells(
            &condition(&waits, names::AUTHORIZATION_READY).unwrap().message,
            &[acme.name(), "AuthorizationReady"],
        );
        assert_eq!((status(&waits, names::ISOLATED), status(&waits, names::BUCKET_READY)), ("True", "True"));
        stage.world.heal_only(&owner);
        platform.until_ready(&acme).await?;
        platform.until_ready(&finance).await?;
        let stores = stores(&stage.world, stage, &owner)?;
        ensure!(stores.len() == 1, "{stores:?}");
        Ok(())
    })
}

#[test]
fn a_class_gets_authorization_later_and_its_tenants_get_stores_but_it_cannot_lose_it() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let plain = class(&unique("onprem"));
        platform.apply(&plain).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&plain)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let before = platform.until_ready(&finance).await?;
        assert!(condition(&before, names::AUTHORIZATION_READY).is_none());
        platform.apply(&plain.clone().with("authorization", openfga())).await?;
        let told = |seen: &Workspace| condition(seen, names::AUTHORIZATION_READY).is_some_and(|it| it.status == "True");
        platform.until(&finance, "its members are in a store", told).await?;
        let names_it = |seen: &Tenant| {
            let places = seen.status.as_ref().map(|status| &status.encryption);
            places.is_some_and(|places| places.iter().any(|it| it.place == "authorization"))
        };
        platform.until(&acme, "says that names of people rest there", names_it).await?;
        let refused = platform.apply(&plain).await.unwrap_err();
        assert_tells(&format!("{refused:#}"), &["authorization cannot be removed"]);
        Ok(())
    })
}
