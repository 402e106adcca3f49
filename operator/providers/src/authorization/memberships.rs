//! Who may do what in a workspace. In: a [`MembershipSpec`]. Out: its members in the tuples of the tenant's store.

use std::collections::BTreeSet;

use super::{
    Server, StoreId, Subject, Tuple, TupleSeen,
    model::WORKSPACE_RELATIONS,
    server::About,
    tuples::{self, Changes, is_all_there, writable},
};
use crate::{external::External, fault::Fault, owner::Identity};

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

    fn tuples(&self) -> (BTreeSet<Tuple>, Option<Fault>) {
        let object = self.object();
        let members =
            self.members.iter().map(|(subject, role)| Ok(Tuple::new(subject.in_tuple()?, role.relation(), &object)));
        let tenant = Tuple::new(tuples::tenant(&self.tenant), "tenant", &object);
        writable(members.chain([Ok(tenant)]))
    }
}

/// Members of workspaces in the stores at one server.
#[derive(Clone, Debug)]
pub struct Memberships(pub Server);

impl External for Memberships {
    type Desired = MembershipSpec;
    type Observed = Vec<TupleSeen>;

    fn name(&self, want: &MembershipSpec) -> String {
        format!("members of workspace {} in store {} at {}", want.workspace, want.store, self.0.address())
    }

    async fn observe(&self, want: &MembershipSpec) -> Result<Option<Vec<TupleSeen>>, Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let seen = self.0.tuples_of(&about, &want.store, &want.object(), &WORKSPACE_RELATIONS).await?;
        Ok((!seen.is_empty()).then_some(seen))
    }

    async fn create(&self, want: &MembershipSpec) -> Result<(), Fault> {
        self.update(want, &Vec::new()).await
    }

    async fn update(&self, want: &MembershipSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let (wanted, unwritable) = want.tuples();
        self.0.put_right(&about, &want.store, &want.model, &Changes::between(&wanted, have)).await?;
        unwritable.map_or(Ok(()), Err)
    }

    /// Nothing: rights end with their workspace, whatever is kept of it.
    async fn release(&self, _want: &MembershipSpec, _have: &Vec<TupleSeen>) -> Result<(), Fault> {
        Ok(())
    }

    async fn delete(&self, want: &MembershipSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        self.0.put_right(&about, &want.store, "", &Changes::between(&BTreeSet::new(), have)).await
    }

    fn matches(want: &MembershipSpec, have: &Vec<TupleSeen>) -> bool {
        is_all_there(want.tuples(), have)
    }

    fn is_released(_have: &Vec<TupleSeen>) -> bool {
        true
    }
}
