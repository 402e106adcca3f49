//! A store of authorization for each tenant, and who may do what in each workspace.
//!
//! In: a [`StoreSpec`] or a [`MembershipSpec`]. Out: what stands at the server. Applications keep types and tuples of their own in the same
//! store; ours are a module of its model and the tuples in that module's relations, and nothing else is touched.
//!
//! # One store, though names are not unique
//! A server makes a second store of the same name when it is asked twice, as two leaders or an answer that was lost may do. So
//! 1. a look takes the store whose id is in status, else the only one with content, else the oldest (ids grow with time);
//! 2. the others, if nothing of anybody else's stands in them, are deleted;
//! 3. if several have content and status names none of them, a person has to choose.

use std::collections::BTreeSet;

use crate::{
    external::External,
    fault::{Fault, reasons},
    owner::{self, Identity, Installation},
};

mod model;
pub mod openfga;
pub(crate) mod server;
pub mod tuples;

pub use openfga::{OpenFga, OpenFgaConfig};
pub use server::{Model, Server, StoreId};
pub use tuples::{Subject, Tuple, TupleSeen};

use model::{Plan, TENANT_RELATIONS, WORKSPACE_RELATIONS};
use server::About;
use tuples::Changes;

/// The store that a tenant shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// The installation that the store belongs to.
    pub installation: Installation,
    /// The tenant that the store serves, and nobody else.
    pub tenant: Identity,
    /// The id that status names, if it does.
    pub known: Option<StoreId>,
    /// Who owns the tenant.
    pub owners: BTreeSet<Subject>,
}

impl StoreSpec {
    /// Name of the store at its server.
    pub fn name(&self) -> String {
        owner::store(&self.installation, &self.tenant)
    }

    fn tuples(&self) -> Result<BTreeSet<Tuple>, Fault> {
        let object = tuples::tenant(&self.tenant);
        self.owners.iter().map(|owner| Ok(Tuple::new(owner.in_tuple()?, "owner", &object))).collect()
    }
}

/// A tenant's store as its server shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreObserved {
    /// Its id.
    pub id: StoreId,
    /// The newest model, if there is one.
    pub model: Option<Model>,
    /// Stores of the same name in which nothing stands but what we write ourselves.
    pub twins: Vec<StoreId>,
    /// Who owns the tenant, as it stands there.
    pub owners: Vec<TupleSeen>,
    /// How all this is known.
    pub evidence: String,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes.
    Editor,
}

impl Role {
    fn relation(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
        }
    }
}

/// Who shall be a member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipSpec {
    /// The tenant's store.
    pub store: StoreId,
    /// The model by which tuples are checked; one with our module.
    pub model: String,
    /// The tenant.
    pub tenant: Identity,
    /// Its workspace.
    pub workspace: Identity,
    /// The members.
    pub members: BTreeSet<(Subject, Role)>,
}

impl MembershipSpec {
    fn object(&self) -> String {
        tuples::workspace(&self.workspace)
    }

    fn tuples(&self) -> Result<BTreeSet<Tuple>, Fault> {
        let object = self.object();
        let members =
            self.members.iter().map(|(subject, role)| Ok(Tuple::new(subject.in_tuple()?, role.relation(), &object)));
        let tenant = Tuple::new(tuples::tenant(&self.tenant), "tenant", &object);
        members.chain([Ok(tenant)]).collect()
    }
}

/// Stores of tenants at one server.
#[derive(Clone, Debug)]
pub struct Stores(pub Server);

/// Members of workspaces in the stores at one server.
#[derive(Clone, Debug)]
pub struct Memberships(pub Server);

impl Stores {
    /// The store among those of its name, and its twins.
    async fn choose(&self, want: &StoreSpec, about: &About<'_>) -> Result<Option<(StoreId, Vec<StoreId>)>, Fault> {
        let listed = self.0.stores(about, &want.name()).await?;
        let [only] = listed.as_slice() else {
            return match listed.first() {
                None => Ok(None),
                Some(oldest) => self.choose_among(want, about, &listed, oldest).await.map(Some),
            };
        };
        Ok(Some((only.clone(), Vec::new())))
    }

    async fn choose_among(
        &self,
        want: &StoreSpec,
        about: &About<'_>,
        listed: &[StoreId],
        oldest: &StoreId,
    ) -> Result<(StoreId, Vec<StoreId>), Fault> {
        let mut filled = Vec::new();
        for id in listed {
            if !self.is_blank(want, about, id).await? {
                filled.push(id.clone());
            }
        }
        let known = want.known.as_ref().filter(|known| listed.contains(known));
        let chosen = match (known, filled.as_slice()) {
            (Some(known), _) => known,
            (None, []) => oldest,
            (None, [only]) => only,
            (None, several) => return Err(ambiguous(about, several)),
        };
        let twins = listed.iter().filter(|id| *id != chosen && !filled.contains(id));
        Ok((chosen.clone(), twins.cloned().collect()))
    }

    /// Whether nothing stands in it but what we write ourselves: neither a model with others' types nor others' tuples.
    async fn is_blank(&self, want: &StoreSpec, about: &About<'_>, id: &StoreId) -> Result<bool, Fault> {
        let models = self.0.models(about, id).await?.unwrap_or_default();
        if !models.iter().all(|model| model::is_only_ours(&model.content)) {
            return Ok(false);
        }
        let ours = tuples::tenant(&want.tenant);
        let there = self.0.tuples(about, id, None).await?.unwrap_or_default();
        Ok(there
            .iter()
            .all(|seen| seen.tuple.object == ours && TENANT_RELATIONS.contains(&seen.tuple.relation.as_str())))
    }

    /// Writes our module into the model. A server takes any number of models and the newest counts, so whoever wrote one between our look
    /// and our write would be forgotten: then his is taken as the base, and ours written again.
    async fn write_module(
        &self,
        about: &About<'_>,
        id: &StoreId,
        base: Option<&Model>,
        model: &serde_json::Value,
    ) -> Result<(), Fault> {
        let (mut base, mut model) = (base.map(|base| base.id.clone()), model.clone());
        for _ in 0..crate::external::ROUNDS {
            let written = self.0.write_model(about, id, &model).await?;
            let newest = self.0.models(about, id).await?.unwrap_or_default();
            let before = newest.iter().skip_while(|newer| newer.id != written).nth(1);
            let Some(overtaken) = before.filter(|before| Some(&before.id) != base.as_ref()) else { return Ok(()) };
            match model::plan(Some(&overtaken.content)) {
                Plan::Write(merged) => (base, model) = (Some(written), merged),
                Plan::Current => (base, model) = (Some(written), overtaken.bare()),
                Plan::Conflict(name) => return Err(conflict(about, name)),
            }
        }
        Err(Fault::transient(format!("{}: others write models all the time; it is tried again", about.what)))
    }
}

fn ambiguous(about: &About<'_>, several: &[StoreId]) -> Fault {
    let ids: Vec<&str> = several.iter().take(5).map(StoreId::as_str).collect();
    Fault::stalled(
        reasons::STORE_AMBIGUOUS,
        format!(
            "{}: {} stores of that name hold something: delete all but one of {}",
            about.what,
            several.len(),
            ids.join(", ")
        ),
    )
}

fn conflict(about: &About<'_>, name: &str) -> Fault {
    Fault::stalled(
        reasons::MODEL_CONFLICT,
        format!(
            "{}: its newest model has a type `{name}` that is not Steading's: write a model in which it has another name, or is Steading's \
             with relations added",
            about.what
        ),
    )
}

/// Writes what is missing and deletes what is not wanted.
async fn put_right(
    server: &Server,
    about: &About<'_>,
    store: &StoreId,
    model: &str,
    changes: Changes,
) -> Result<(), Fault> {
    for batch in changes.batches() {
        server.write_tuples(about, store, model, &batch).await?;
    }
    Ok(())
}

impl External for Stores {
    type Desired = StoreSpec;
    type Observed = StoreObserved;

    fn name(&self, want: &StoreSpec) -> String {
        format!("store `{}` at {}", want.name(), self.0.address())
    }

    async fn observe(&self, want: &StoreSpec) -> Result<Option<StoreObserved>, Fault> {
        let (what, identity) = (self.name(want), want.tenant.as_str());
        let about = About { what: &what, identity };
        let Some((id, twins)) = self.choose(want, &about).await? else { return Ok(None) };
        // It may go between two calls.
        let Some(models) = self.0.models(&about, &id).await? else { return Ok(None) };
        let object = tuples::tenant(&want.tenant);
        let Some(owners) = self.0.tuples(&about, &id, Some(&object)).await? else { return Ok(None) };
        let evidence = format!("read from store {id} at {}", self.0.address());
        Ok(Some(StoreObserved { id, model: models.into_iter().next(), twins, owners, evidence }))
    }

    async fn create(&self, want: &StoreSpec) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        if self.0.stores(&about, &want.name()).await?.is_empty() {
            self.0.create_store(&about, &want.name()).await?;
        }
        Ok(())
    }

    async fn update(&self, want: &StoreSpec, have: &StoreObserved) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        for twin in &have.twins {
            self.0.delete_store(&about, twin).await?;
        }
        match model::plan(have.model.as_ref().map(|model| &model.content)) {
            Plan::Conflict(name) => return Err(conflict(&about, name)),
            Plan::Write(model) => return self.write_module(&about, &have.id, have.model.as_ref(), &model).await,
            Plan::Current => {}
        }
        let Some(model) = &have.model else { return Ok(()) };
        let changes = Changes::between(&want.tuples()?, &have.owners, &TENANT_RELATIONS);
        put_right(&self.0, &about, &have.id, &model.id, changes).await
    }

    /// Nothing: a store has nothing to bear a mark, and holds what applications wrote.
    async fn release(&self, _want: &StoreSpec, _have: &StoreObserved) -> Result<(), Fault> {
        Ok(())
    }

    async fn delete(&self, want: &StoreSpec, have: &StoreObserved) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        self.0.delete_store(&about, &have.id).await
    }

    fn matches(want: &StoreSpec, have: &StoreObserved) -> bool {
        have.twins.is_empty()
            && have.model.as_ref().is_some_and(|model| model::plan(Some(&model.content)) == Plan::Current)
            // Whose names cannot be written is told by the update.
            && want.tuples().is_ok_and(|wanted| Changes::between(&wanted, &have.owners, &TENANT_RELATIONS).is_empty())
    }

    fn is_released(_have: &StoreObserved) -> bool {
        true
    }
}

impl External for Memberships {
    type Desired = MembershipSpec;
    type Observed = Vec<TupleSeen>;

    fn name(&self, want: &MembershipSpec) -> String {
        format!("members of workspace {} in store {} at {}", want.workspace, want.store, self.0.address())
    }

    async fn observe(&self, want: &MembershipSpec) -> Result<Option<Vec<TupleSeen>>, Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let seen = self.0.tuples(&about, &want.store, Some(&want.object())).await?.unwrap_or_default();
        let ours: Vec<TupleSeen> =
            seen.into_iter().filter(|seen| WORKSPACE_RELATIONS.contains(&seen.tuple.relation.as_str())).collect();
        Ok((!ours.is_empty()).then_some(ours))
    }

    async fn create(&self, want: &MembershipSpec) -> Result<(), Fault> {
        self.update(want, &Vec::new()).await
    }

    async fn update(&self, want: &MembershipSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let changes = Changes::between(&want.tuples()?, have, &WORKSPACE_RELATIONS);
        put_right(&self.0, &about, &want.store, &want.model, changes).await
    }

    /// Nothing: rights end with their workspace, whatever is kept of it.
    async fn release(&self, _want: &MembershipSpec, _have: &Vec<TupleSeen>) -> Result<(), Fault> {
        Ok(())
    }

    async fn delete(&self, want: &MembershipSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let changes = Changes::between(&BTreeSet::new(), have, &WORKSPACE_RELATIONS);
        put_right(&self.0, &about, &want.store, &want.model, changes).await
    }

    fn matches(want: &MembershipSpec, have: &Vec<TupleSeen>) -> bool {
        want.tuples().is_ok_and(|wanted| Changes::between(&wanted, have, &WORKSPACE_RELATIONS).is_empty())
    }

    fn is_released(_have: &Vec<TupleSeen>) -> bool {
        true
    }
}
