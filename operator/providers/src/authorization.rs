//! A store of authorization for each tenant, and who may do what in each workspace.
//!
//! In: a [`StoreSpec`] or a [`MembershipSpec`]. Out: what stands at the server. Applications keep types and tuples of their own in the same
//! store; ours are a module of its model and the tuples in that module's relations, and nothing else is touched.

mod access;
mod applications;
mod memberships;
mod model;
pub mod openfga;
pub(crate) mod server;
mod stores;
pub mod tuples;

pub use applications::{Application, Applications, ApplicationsSpec, Reach};
pub use memberships::{MembershipSpec, Memberships, Role};
pub use openfga::{OpenFga, OpenFgaConfig, OpenFgaCredentials};
pub use server::{Model, Server, StoreId};
pub use stores::{StoreObserved, StoreSpec, Stores};
pub use tuples::{Subject, Tuple, TupleSeen};
