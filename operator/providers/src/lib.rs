//! The world outside Kubernetes, behind one small protocol.
//!
//! In: what a tenant or workspace shall have there, as plain checked values. Out: what is there, or a [`Fault`] whose class says
//! what must happen next. This crate knows nothing of Kubernetes.
//!
//! | For | Wanted | Seen | Adapters |
//! |---|---|---|---|
//! | a tenant's key | [`KeySpec`] | [`KeyObserved`] | [`Keys`] |
//! | a workspace's bucket and the tenant's key under it | [`BucketSpec`] | [`BucketObserved`] | [`Buckets`] |
//! | a tenant's store of authorization | [`StoreSpec`] | [`StoreObserved`] | [`Stores`] |
//! | who may do what in a workspace | [`MembershipSpec`] | [`TupleSeen`]s | [`Memberships`] |
//! | which applications may call for a store | [`ApplicationsSpec`] | [`TupleSeen`]s | [`Applications`] |
//! | use of one bucket for a while | [`IdentitySpec`] | [`IssuedCredentials`] | [`Identities`] |
//!
//! All but the last go through [`ensure`] (make it so), [`ensure_released`] (keep it, marked as nobody's where it can be) and [`ensure_gone`]
//! (take it away; keys are disabled, never destroyed). Each may be called again at any time, whatever happened before: nothing is
//! remembered in between, and a thing that bears another owner's marks is never written to.
//!
//! ```
//! # async fn show() -> Result<(), providers::Fault> {
//! use std::time::Duration;
//! use providers::{Identity, Installation, KeySpec, Keys, ensure, memory::{MemoryKeys, World}};
//!
//! let keys = Keys::Memory(MemoryKeys::new(&World::new()));
//! let want = KeySpec {
//!     installation: Installation::new("prod-eu")?,
//!     tenant: Identity::new("11111111-1111-4111-8111-111111111111")?,
//!     rotation_period: Duration::from_hours(24 * 90),
//!     rotate: None,
//! };
//! assert_eq!(ensure(&keys, &want).await?.latest_version, 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(show()).unwrap();
//! ```

pub mod authorization;
mod aws;
pub mod buckets;
pub mod capabilities;
pub mod external;
pub mod fault;
pub mod identities;
pub mod keys;
pub mod memory;
pub mod owner;
mod wire;

pub use authorization::{
    Applications, ApplicationsSpec, MembershipSpec, Memberships, StoreObserved, StoreSpec, Stores, TupleSeen,
};
pub use buckets::{
    BucketObserved, BucketSpec, Buckets, DefaultEncryption, KesConfig, Purpose, S3Buckets, S3Config, WantedEncryption,
};
pub use external::{External, ensure, ensure_gone, ensure_released};
pub use fault::{Class, Fault, reasons};
pub use identities::{Access, Identities, IdentitySpec, IssuedCredentials, Revocation, StsIdentities};
pub use keys::{IdentityTokens, KeyObserved, KeySpec, Keys, OpenBaoConfig, OpenBaoKeys, RotateOnce, TokenSource};
pub use owner::{Identity, Installation};
