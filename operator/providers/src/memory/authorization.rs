//! Authorization in memory, with the rules of an OpenFGA server.
//!
//! In: the calls of [`Server`](crate::authorization::Server). Out: what the server would answer: names of stores are not unique, models are
//! only ever added, tuples are checked against a model.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Operation, World};
use crate::{
    authorization::{
        Model, StoreId, Tuple, TupleSeen,
        server::About,
        tuples::{Changes, Of},
    },
    fault::Fault,
};

/// A store as the world holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStore {
    /// Its name; several stores can have the same.
    pub name: String,
    /// Its models, oldest first.
    pub models: Vec<Model>,
    /// Its tuples, and whether each holds under a condition only.
    pub tuples: BTreeMap<Tuple, bool>,
    /// For how many looks it stays invisible.
    pub hidden: u32,
    /// Whether it is marked as deleted: then it is listed no more, and that is all.
    pub deleted: bool,
}

/// Stores in memory.
#[derive(Clone, Debug)]
pub struct MemoryStores {
    world: World,
    access_control: Option<StoreId>,
}

/// The model of access control, as users get it.
const ACCESS_CONTROL: &str = include_str!("../../../../examples/openfga/access-control.json");

/// An id as a server makes it: later ones are higher.
fn id(number: u64) -> String {
    format!("01{number:024}")
}

impl MemoryStores {
    /// Stores in this world.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), access_control: None }
    }

    /// The same at a server whose access control looks into this store, which is made if it is not there.
    #[must_use]
    pub fn with_access_control(self, store: StoreId) -> Self {
        let content = serde_json::from_str(ACCESS_CONTROL).unwrap_or_default();
        let made = MemoryStore {
            name: "access-control".to_owned(),
            models: vec![Model { id: id(0), content }],
            ..MemoryStore::default()
        };
        self.world.lock().stores.entry(store.to_string()).or_insert(made);
        Self { access_control: Some(store), ..self }
    }

    #[allow(clippy::unused_self)] // the same call as at a server
    pub(crate) fn address(&self) -> &'static str {
        "memory"
    }

    pub(crate) async fn stores(&self, about: &About<'_>, name: &str) -> Result<Vec<StoreId>, Fault> {
        let look = |state: &mut super::State| {
            let mut found = Vec::new();
            for (id, store) in state.stores.iter_mut().filter(|(_, store)| store.name == name && !store.deleted) {
                if store.hidden > 0 {
                    store.hidden -= 1;
                } else {
                    found.push(StoreId::new(id)?);
                }
            }
            Ok(found)
        };
        self.world.call(Operation::ListStores, about.identity, name, Vec::new(), look).await
    }

    pub(crate) fn access_control(&self) -> Option<&StoreId> {
        self.access_control.as_ref()
    }

    pub(crate) async fn name_of(&self, about: &About<'_>, id: &StoreId) -> Result<Option<String>, Fault> {
        let look = |state: &mut super::State| {
            let store = state.stores.get(id.as_str()).filter(|store| !store.deleted);
            Ok(store.map(|store| store.name.clone()))
        };
        self.world.call(Operation::ListStores, about.identity, id.as_str(), Vec::new(), look).await
    }

    pub(crate) async fn create_store(&self, about: &About<'_>, name: &str) -> Result<StoreId, Fault> {
        let make = |state: &mut super::State| {
            state.issued += 1;
            let store = MemoryStore { name: name.to_owned(), hidden: state.lag, ..MemoryStore::default() };
            let made = id(state.issued);
            state.stores.insert(made.clone(), store);
            StoreId::new(&made)
        };
        self.world.call(Operation::CreateStore, about.identity, name, Vec::new(), make).await
    }

    pub(crate) async fn delete_store(&self, about: &About<'_>, id: &StoreId) -> Result<(), Fault> {
        let remove = |state: &mut super::State| {
            state.stores.entry(id.to_string()).and_modify(|store| store.deleted = true);
            Ok(())
        };
        self.world.call(Operation::DeleteStore, about.identity, id.as_str(), Vec::new(), remove).await
    }

    pub(crate) async fn models(&self, about: &About<'_>, id: &StoreId) -> Result<Vec<Model>, Fault> {
        let look = |state: &mut super::State| {
            let store = state.stores.get(id.as_str());
            Ok(store.map_or_else(Vec::new, |store| store.models.iter().rev().take(10).cloned().collect()))
        };
        self.world.call(Operation::ReadModels, about.identity, id.as_str(), Vec::new(), look).await
    }

    pub(crate) async fn write_model(&self, about: &About<'_>, store: &StoreId, model: &Value) -> Result<String, Fault> {
        let add = |state: &mut super::State| {
            state.issued += 1;
            let model = Model { id: id(state.issued), content: model.clone() };
            let added = model.id.clone();
            state.store(store)?.models.push(model);
            Ok(added)
        };
        self.world.call(Operation::WriteModel, about.identity, store.as_str(), Vec::new(), add).await
    }

    pub(crate) async fn tuples(&self, about: &About<'_>, id: &StoreId, of: Of<'_>) -> Result<Vec<TupleSeen>, Fault> {
        let look = |state: &mut super::State| {
            let fits = |tuple: &Tuple| match of {
                Of::Store => true,
                Of::Anyhow(object) => tuple.object == object,
                Of::Object(object, relation) => (tuple.object.as_str(), tuple.relation.as_str()) == (object, relation),
                Of::User(user, relation, kind) => {
                    let is_of_kind = tuple.object.split_once(':').is_some_and(|(its, _)| its == kind);
                    is_of_kind && (tuple.user.as_str(), tuple.relation.as_str()) == (user, relation)
                }
            };
            let most = if of == Of::Store { 100 } else { usize::MAX };
            let all = state.stores.get(id.as_str()).into_iter().flat_map(|store| &store.tuples);
            let seen = all.filter(|(tuple, _)| fits(tuple)).take(most);
            Ok(seen.map(|(tuple, conditional)| TupleSeen { tuple: tuple.clone(), conditional: *conditional }).collect())
        };
        self.world.call(Operation::ReadTuples, about.identity, id.as_str(), Vec::new(), look).await
    }

    pub(crate) async fn write_tuples(
        &self,
        about: &About<'_>,
        id: &StoreId,
        model: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        let write = |state: &mut super::State| {
            let store = state.store(id)?;
            let known = store.models.iter().rev().find(|known| known.id == model || model.is_empty());
            let types = known.and_then(|known| known.content.get("type_definitions").cloned()).unwrap_or_default();
            for tuple in &changes.writes {
                let kind = tuple.object.split(':').next().unwrap_or_default();
                let is_known = types.as_array().into_iter().flatten().any(|definition| {
                    let relations = definition.get("relations");
                    let has_relation = relations.is_some_and(|all| all.get(&tuple.relation).is_some());
                    definition.get("type").is_some_and(|name| name == kind) && has_relation
                });
                if !is_known {
                    return Err(Fault::refused(format!("in memory: model {model} has no {kind}#{}", tuple.relation)));
                }
            }
            changes.deletes.iter().for_each(|tuple| _ = store.tuples.remove(tuple));
            store.tuples.extend(changes.writes.iter().map(|tuple| (tuple.clone(), false)));
            Ok(())
        };
        self.world.call(Operation::WriteTuples, about.identity, id.as_str(), Vec::new(), write).await
    }
}

impl super::State {
    fn store(&mut self, id: &StoreId) -> Result<&mut MemoryStore, Fault> {
        let missing = || Fault::refused(format!("in memory: there is no store {id}"));
        self.stores.get_mut(id.as_str()).ok_or_else(missing)
    }
}
