//! A store for each tenant. In: a [`StoreSpec`]. Out: the store with our module in its model and the tenant's owners in its tuples.
//!
//! # One store, though names are not unique
//! A server makes a second store of the same name when it is asked twice, as two leaders or an answer that was lost may do. So
//! 1. a look takes the store whose id is in status, else the only one with content, else the oldest (ids grow with time);
//! 2. the others, if nothing of anybody else's stands in them, are deleted;
//! 3. if several have content and status names none of them, a person has to choose.
//!
//! A server with access control lists only stores that its access control store names, and of those not all. So each of ours is entered there,
//! as one of the system's and as that of its tenant, and found by that. If we are cut off between making and entering a store, it stays
//! behind: empty, in no list, and open to nobody else. One that cannot be entered is deleted again, or each round would leave another.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    Model, Server, StoreId, Subject, Tuple, TupleSeen,
    model::{self, Plan, TENANT_RELATIONS},
    server::About,
    tuples::{self, Changes, Of, is_all_there, writable},
};
use crate::{
    external::{External, ROUNDS},
    fault::{Fault, reasons},
    owner::{self, Identity, Installation},
};

/// So many times a hundred tuples go in one call that empties a store.
const BATCHES_PER_CALL: usize = 20;

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
    /// Whether the tenant goes: then every store of its name is meant, one after the other, the known one first.
    pub going: bool,
}

impl StoreSpec {
    /// Name of the store at its server.
    pub fn name(&self) -> String {
        owner::store(&self.installation, &self.tenant)
    }

    /// What is to stand in the store, and what cannot be written. Whose name cannot be is told, and keeps nobody else in or out.
    fn tuples(&self) -> (BTreeSet<Tuple>, Option<Fault>) {
        let object = tuples::tenant(&self.tenant);
        writable(self.owners.iter().map(|owner| Ok(Tuple::new(owner.in_tuple()?, "owner", &object))))
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
    /// Whether the server's access control, if it has one, knows the store as one of the system's.
    pub entered: bool,
    /// By which workspaces applications come to it.
    pub links: Vec<TupleSeen>,
}

impl StoreObserved {
    /// The workspaces by which applications come to it, as objects.
    pub fn linked(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| link.tuple.user.as_str())
    }
}

/// Stores of tenants at one server.
#[derive(Clone, Debug)]
pub struct Stores(pub Server);

impl Stores {
    /// Shuts the applications of workspaces that are no more out of a store. Such links are left where a workspace vanished without its
    /// story, as when somebody takes its finalizer off by hand.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn sweep(&self, want: &StoreSpec, have: &StoreObserved, dead: &BTreeSet<String>) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        let links: Vec<TupleSeen> = have.links.iter().filter(|link| dead.contains(&link.tuple.user)).cloned().collect();
        self.0.sever(&about, &links).await
    }

    /// The store among those of its name, and its twins.
    async fn choose(&self, want: &StoreSpec, about: &About<'_>) -> Result<Option<(StoreId, Vec<StoreId>)>, Fault> {
        let listed = self.listed(want, about).await?;
        let Some(oldest) = listed.first() else { return Ok(None) };
        if listed.len() > 1 && !want.going {
            return self.choose_among(want, about, &listed, oldest).await.map(Some);
        }
        let known = want.known.as_ref().filter(|known| listed.contains(known));
        Ok(Some((known.unwrap_or(oldest).clone(), Vec::new())))
    }

    /// The stores of its name, oldest first. At a server with access control those that are entered for the tenant, and the known one, which
    /// may not be entered yet. One that goes is there until it is struck off, also if it is marked as deleted.
    async fn listed(&self, want: &StoreSpec, about: &About<'_>) -> Result<Vec<StoreId>, Fault> {
        let Some(entered) = self.0.entries(about, &tuples::tenant(&want.tenant)).await? else {
            return self.0.stores(about, &want.name()).await;
        };
        let mut listed = Vec::new();
        for id in entered.iter().chain(&want.known).collect::<BTreeSet<_>>() {
            let is_there = match self.0.name_of(about, id).await? {
                Some(name) => name == want.name(),
                None => want.going && entered.contains(id),
            };
            if is_there {
                listed.push(id.clone());
            }
        }
        Ok(listed)
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
        let models = self.0.models(about, id).await?;
        if !models.iter().all(|model| model::is_only_ours(&model.content)) {
            return Ok(false);
        }
        let ours = tuples::tenant(&want.tenant);
        let there = self.0.tuples(about, id, Of::Store).await?;
        Ok(there
            .iter()
            .all(|seen| seen.tuple.object == ours && TENANT_RELATIONS.contains(&seen.tuple.relation.as_str())))
    }

    /// Empties a store, as far as it goes in one call, and deletes it once it is empty: a deleted store still answers whoever has its id.
    async fn empty_and_delete(&self, about: &About<'_>, id: &StoreId) -> Result<(), Fault> {
        self.0.shut(about, id).await?;
        for _ in 0..BATCHES_PER_CALL {
            let there = self.0.tuples(about, id, Of::Store).await?;
            if there.is_empty() {
                self.0.delete_store(about, id).await?;
                return self.0.strike_off(about, id).await;
            }
            self.0.put_right(about, id, "", &Changes::between(&BTreeSet::new(), &there)).await?;
        }
        Ok(())
    }

    /// Writes our module into the model. A server takes any number of models and the newest counts, so whoever wrote one between our look
    /// and our write would be forgotten: then theirs is taken as the base, and ours written again. Only what is written in the very moment
    /// in which we are cut off stays behind; it is there, but not the newest.
    async fn write_module(
        &self,
        about: &About<'_>,
        id: &StoreId,
        base: Option<&Model>,
        model: &Value,
    ) -> Result<(), Fault> {
        let (mut base, mut model) = (base.map(|base| base.id.clone()), model.clone());
        for _ in 0..ROUNDS {
            let written = self.0.write_model(about, id, &model).await?;
            let newest = self.0.models(about, id).await?;
            let mut from_ours = newest.iter().skip_while(|newer| newer.id != written);
            if from_ours.next().is_none() {
                // A copy of the database that lags: what it does not show yet must not be written again.
                let message =
                    format!("{}: the model that was written does not show yet; it is looked at again", about.what);
                return Err(Fault::waiting(reasons::PROGRESSING, Duration::from_secs(2), message));
            }
            let overtaken = from_ours.next().filter(|before| base.as_ref().is_none_or(|base| before.id > *base));
            let Some(overtaken) = overtaken else { return Ok(()) };
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
        let models = self.0.models(&about, &id).await?;
        let owners = self.0.tuples_of(&about, &id, &tuples::tenant(&want.tenant), &TENANT_RELATIONS).await?;
        let entered = self.0.is_entered(&about, &id, &tuples::tenant(&want.tenant)).await?;
        let links = self.0.links(&about, &id).await?;
        Ok(Some(StoreObserved { id, model: models.into_iter().next(), twins, owners, entered, links }))
    }

    async fn create(&self, want: &StoreSpec) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        if self.listed(want, &about).await?.is_empty() {
            self.0.can_enter(&about).await?;
            let made = self.0.create_store(&about, &want.name()).await?;
            if let Err(fault) = self.0.enter(&about, &made, &tuples::tenant(&want.tenant)).await {
                // If this fails too, an empty store stays behind.
                self.0.delete_store(&about, &made).await.ok();
                return Err(fault);
            }
        }
        Ok(())
    }

    async fn update(&self, want: &StoreSpec, have: &StoreObserved) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        for twin in &have.twins {
            // Somebody may have begun to use it since.
            if self.is_blank(want, &about, twin).await? {
                self.empty_and_delete(&about, twin).await?;
            }
        }
        if !have.entered {
            self.0.can_enter(&about).await?;
            self.0.enter(&about, &have.id, &tuples::tenant(&want.tenant)).await?;
        }
        let (wanted, unwritable) = want.tuples();
        let Changes { deletes, writes } = Changes::between(&wanted, &have.owners);
        // Who is no longer wanted goes first: that needs no model and waits for nothing.
        self.0.put_right(&about, &have.id, "", &Changes { deletes, writes: Vec::new() }).await?;
        match model::plan(have.model.as_ref().map(|model| &model.content)) {
            Plan::Conflict(name) => return Err(conflict(&about, name)),
            Plan::Write(model) => return self.write_module(&about, &have.id, have.model.as_ref(), &model).await,
            Plan::Current => {}
        }
        let Some(model) = &have.model else { return Ok(()) };
        self.0.put_right(&about, &have.id, &model.id, &Changes { deletes: Vec::new(), writes }).await?;
        unwritable.map_or(Ok(()), Err)
    }

    /// Takes the owners out, and shuts out whoever came by a workspace: it is gone by now. The store itself has nothing to bear a mark, and
    /// holds what applications wrote.
    async fn release(&self, want: &StoreSpec, have: &StoreObserved) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        self.0.sever(&about, &have.links).await?;
        self.0.put_right(&about, &have.id, "", &Changes::between(&BTreeSet::new(), &have.owners)).await
    }

    async fn delete(&self, want: &StoreSpec, have: &StoreObserved) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.tenant.as_str() };
        self.empty_and_delete(&about, &have.id).await
    }

    fn matches(want: &StoreSpec, have: &StoreObserved) -> bool {
        have.twins.is_empty()
            && have.entered
            && have.model.as_ref().is_some_and(|model| model::plan(Some(&model.content)) == Plan::Current)
            && is_all_there(want.tuples(), &have.owners)
    }

    fn is_released(have: &StoreObserved) -> bool {
        have.owners.is_empty() && have.links.is_empty()
    }
}
