//! The access control of a server: which applications may call it for which store.
//!
//! In: stores. Out: tuples in the server's access control store, by the model in `examples/openfga/access-control.json`, which whoever runs
//! the server has written there. A server without access control has nothing to enter, and every call here does nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Server, StoreId, Tuple, TupleSeen, applications,
    server::About,
    tuples::{Changes, Of},
};
use crate::fault::Fault;

/// By it a store is one of the system's: those who administer the system may do everything there, and find it in lists.
const OF_SYSTEM: &str = "system";
/// The only system that a server knows.
const SYSTEM: &str = "system:fga";
/// By it we find the store of a tenant.
const OF_TENANT: &str = "tenant";
/// By it the applications of a workspace come to the store.
pub(crate) const OF_WORKSPACE: &str = "workspace";
/// What the model must know of a store for us to write there.
const NEEDED: [&str; 3] = [OF_SYSTEM, OF_TENANT, OF_WORKSPACE];

/// The type of stores.
const STORE: &str = "store";

/// How access control calls a store.
pub(crate) fn object(store: &StoreId) -> String {
    format!("{STORE}:{store}")
}

/// What is entered of a store.
fn entry(store: &StoreId, tenant: &str) -> BTreeSet<Tuple> {
    let object = object(store);
    BTreeSet::from([Tuple::new(SYSTEM, OF_SYSTEM, &object), Tuple::new(tenant, OF_TENANT, &object)])
}

impl Server {
    /// The stores that are entered for a tenant, also those that are marked as deleted; `None` without access control. A list of all
    /// stores would not do: a server with access control cuts it off, at a thousand by its default and after a few seconds, and what a list
    /// does not show would be made again and again.
    pub(super) async fn entries(&self, about: &About<'_>, tenant: &str) -> Result<Option<Vec<StoreId>>, Fault> {
        let Some(access) = self.access_control() else { return Ok(None) };
        let seen = self.tuples(about, access, Of::User(tenant, OF_TENANT, STORE)).await?;
        let ids = seen.iter().filter_map(|seen| seen.tuple.object.split_once(':').map(|(_, id)| StoreId::new(id)));
        // What is no id is no store.
        Ok(Some(ids.filter_map(Result::ok).collect()))
    }

    /// Whether a store stands where we look for it, and where the server looks when it lists stores.
    pub(super) async fn is_entered(&self, about: &About<'_>, store: &StoreId, tenant: &str) -> Result<bool, Fault> {
        let Some(access) = self.access_control() else { return Ok(true) };
        let seen = self.tuples_of(about, access, &object(store), &[OF_SYSTEM, OF_TENANT]).await?;
        Ok(Changes::between(&entry(store, tenant), &seen).writes.is_empty())
    }

    /// Refuses an access control store in which nothing could be entered: asked before a store is made, which would stay behind, and because
    /// the server answers what its model does not know like what nobody may write.
    pub(super) async fn can_enter(&self, about: &About<'_>) -> Result<(), Fault> {
        let Some(access) = self.access_control() else { return Ok(()) };
        let known = self.relations_of_stores(about, access).await?;
        if NEEDED.iter().all(|needed| known.contains(*needed)) {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "{}: the newest model of access control store {access} has no type `store` with the relations {}: write the model that Steading's documentation names",
            about.what,
            NEEDED.join(", ")
        )))
    }

    /// The relations that a store can have by the newest model.
    async fn relations_of_stores(&self, about: &About<'_>, access: &StoreId) -> Result<BTreeSet<String>, Fault> {
        let newest = self.models(about, access).await?.into_iter().next();
        let types = newest.and_then(|model| model.content.get("type_definitions").cloned()).unwrap_or_default();
        let store = types.as_array().into_iter().flatten().find(|it| it.get("type").is_some_and(|name| name == STORE));
        let relations = store.and_then(|store| store.get("relations")).and_then(Value::as_object);
        Ok(relations.into_iter().flat_map(Map::keys).cloned().collect())
    }

    /// Enters a store among the system's and as that of a tenant.
    pub(super) async fn enter(&self, about: &About<'_>, store: &StoreId, tenant: &str) -> Result<(), Fault> {
        let Some(access) = self.access_control() else { return Ok(()) };
        let writes = entry(store, tenant).into_iter().collect();
        self.write_tuples(about, access, "", &Changes { deletes: Vec::new(), writes }).await
    }

    /// By which workspaces applications come to a store.
    pub(super) async fn links(&self, about: &About<'_>, store: &StoreId) -> Result<Vec<TupleSeen>, Fault> {
        let Some(access) = self.access_control() else { return Ok(Vec::new()) };
        self.tuples(about, access, Of::Object(&object(store), OF_WORKSPACE)).await
    }

    /// Shuts the applications of these workspaces out of a store, and forgets who they were: unless a workspace leads to another store,
    /// as it does where it came back under another tenant. The link goes last, because it is what a leftover is found by.
    pub(super) async fn sever(&self, about: &About<'_>, links: &[TupleSeen]) -> Result<(), Fault> {
        let Some(access) = self.access_control() else { return Ok(()) };
        let none = BTreeSet::new();
        for link in links {
            let Tuple { user: workspace, object: store, .. } = &link.tuple;
            let leads_to = self.tuples(about, access, Of::User(workspace, OF_WORKSPACE, STORE)).await?;
            if leads_to.iter().all(|seen| seen.tuple.object == *store) {
                let of_workspace = self.tuples_of(about, access, workspace, &applications::RELATIONS).await?;
                self.put_right(about, access, "", &Changes::between(&none, &of_workspace)).await?;
            }
            self.put_right(about, access, "", &Changes::between(&none, std::slice::from_ref(link))).await?;
        }
        Ok(())
    }

    /// Shuts everybody out of a store that goes: the applications of workspaces, and whoever else was let in by others.
    pub(super) async fn shut(&self, about: &About<'_>, store: &StoreId) -> Result<(), Fault> {
        self.sever(about, &self.links(about, store).await?).await?;
        self.erase(about, store, |relation| ![OF_SYSTEM, OF_TENANT].contains(&relation)).await
    }

    /// Takes a store that is gone out of all of it. What it is found by goes last.
    pub(super) async fn strike_off(&self, about: &About<'_>, store: &StoreId) -> Result<(), Fault> {
        self.erase(about, store, |relation| relation != OF_TENANT).await?;
        self.erase(about, store, |_| true).await
    }

    /// Deletes what stands of a store in these relations. What stands in one that the model does not know any more means nothing, and
    /// the server lets nobody delete it.
    async fn erase(&self, about: &About<'_>, store: &StoreId, goes: impl Fn(&str) -> bool) -> Result<(), Fault> {
        let Some(access) = self.access_control() else { return Ok(()) };
        let mut seen = self.tuples(about, access, Of::Anyhow(&object(store))).await?;
        if seen.is_empty() {
            return Ok(());
        }
        let known = self.relations_of_stores(about, access).await?;
        seen.retain(|seen| goes(&seen.tuple.relation) && known.contains(&seen.tuple.relation));
        self.put_right(about, access, "", &Changes::between(&BTreeSet::new(), &seen)).await
    }
}
