//! Which applications may call the server for a tenant's store, because a workspace says so.
//!
//! In: an [`ApplicationsSpec`]. Out: tuples in the server's access control store. Applications belong to the workspace, and the workspace to
//! the store: so two workspaces that name the same application never take it away from each other, and no application gets to a store but
//! by a workspace of that tenant.

use std::{collections::BTreeSet, fmt};

use super::{
    Server, StoreId, Tuple, TupleSeen,
    access::{self, OF_WORKSPACE},
    server::About,
    tuples::{self, Changes, Of},
};
use crate::{external::External, fault::Fault, owner::Identity};

/// Relations of a workspace in access control; what else stands in them is removed.
pub(super) const RELATIONS: [&str; 2] = ["reader", "writer"];

/// What an application may do in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Ask, and read all that stands there.
    Read,
    /// Also write tuples and models.
    ReadWrite,
}

impl Reach {
    fn relation(self) -> &'static str {
        match self {
            Self::Read => "reader",
            Self::ReadWrite => "writer",
        }
    }
}

/// An application as its tokens name it: the namespace and name of its ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Application(String);

impl fmt::Display for Application {
    /// As access control calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Application {
    /// Checks both names.
    ///
    /// # Errors
    /// Not names as Kubernetes takes them: they could stand for something else.
    pub fn new(namespace: &str, service_account: &str) -> Result<Self, Fault> {
        let fits = |name: &str| {
            let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            (1..=63).contains(&name.len()) && name.bytes().all(is_inside)
        };
        if fits(namespace) && fits(service_account) {
            return Ok(Self(format!("application:{namespace}/{service_account}")));
        }
        let shown: String = format!("{namespace}/{service_account}").chars().take(140).collect();
        Err(Fault::invalid(format!("{shown:?} is not the namespace and name of a ServiceAccount")))
    }
}

/// Which applications shall come to a store by a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationsSpec {
    /// The tenant's store.
    pub store: StoreId,
    /// Its workspace.
    pub workspace: Identity,
    /// The applications, at least one: where none is wanted any more, all of it is to be gone.
    pub applications: BTreeSet<(Application, Reach)>,
}

impl ApplicationsSpec {
    fn object(&self) -> String {
        tuples::workspace(&self.workspace)
    }

    fn tuples(&self) -> BTreeSet<Tuple> {
        let object = self.object();
        let applications =
            self.applications.iter().map(|(application, reach)| Tuple::new(&application.0, reach.relation(), &object));
        let link = Tuple::new(&object, OF_WORKSPACE, access::object(&self.store));
        applications.chain((!self.applications.is_empty()).then_some(link)).collect()
    }
}

/// Applications at one server.
#[derive(Clone, Debug)]
pub struct Applications(pub Server);

impl Applications {
    async fn put(&self, want: &ApplicationsSpec, changes: &Changes) -> Result<(), Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let access = self.0.access_control().ok_or_else(|| {
            Fault::refused(format!(
                "{what}: the server has no access control, so there is nothing that opens one store alone"
            ))
        })?;
        self.0.put_right(&about, access, "", changes).await
    }
}

impl External for Applications {
    type Desired = ApplicationsSpec;
    type Observed = Vec<TupleSeen>;

    fn name(&self, want: &ApplicationsSpec) -> String {
        format!("applications of workspace {} in access control at {}", want.workspace, self.0.address())
    }

    async fn observe(&self, want: &ApplicationsSpec) -> Result<Option<Vec<TupleSeen>>, Fault> {
        let what = self.name(want);
        let about = About { what: &what, identity: want.workspace.as_str() };
        let Some(access) = self.0.access_control() else { return Ok(None) };
        let object = want.object();
        let mut seen = self.0.tuples_of(&about, access, &object, &RELATIONS).await?;
        let links = self.0.tuples(&about, access, Of::Object(&access::object(&want.store), OF_WORKSPACE)).await?;
        seen.extend(links.into_iter().filter(|link| link.tuple.user == object));
        Ok((!seen.is_empty()).then_some(seen))
    }

    async fn create(&self, want: &ApplicationsSpec) -> Result<(), Fault> {
        self.update(want, &Vec::new()).await
    }

    async fn update(&self, want: &ApplicationsSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        self.put(want, &Changes::between(&want.tuples(), have)).await
    }

    /// Nothing: rights end with their workspace, whatever is kept of it.
    async fn release(&self, _want: &ApplicationsSpec, _have: &Vec<TupleSeen>) -> Result<(), Fault> {
        Ok(())
    }

    async fn delete(&self, want: &ApplicationsSpec, have: &Vec<TupleSeen>) -> Result<(), Fault> {
        self.put(want, &Changes::between(&BTreeSet::new(), have)).await
    }

    fn matches(want: &ApplicationsSpec, have: &Vec<TupleSeen>) -> bool {
        Changes::between(&want.tuples(), have).is_empty()
    }

    fn is_released(_have: &Vec<TupleSeen>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_be_read_as_another_application_or_as_all_of_them() {
        for (namespace, name) in
            [("*", "a"), ("shop", "*"), ("shop/billing", "a"), ("", "a"), ("a:b", "c"), ("a", "b#c")]
        {
            assert!(Application::new(namespace, name).is_err(), "{namespace} {name}");
        }
        assert_eq!(Application::new("shop", "billing").unwrap().0, "application:shop/billing");
    }
}
