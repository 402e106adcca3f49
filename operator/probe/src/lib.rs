//! The enforcement probe: whether the network of a node does what NetworkPolicies say, for pods of one runtime.
//!
//! In: on each node a pod that policies shut off (`isolated`), one for each runtime, and a pod that they do not (`control`). Out: a
//! [`Verdict`], which the isolated pod's readiness shows and its log tells.
//!
//! The isolated pod tries what its policies forbid; the control tries the same, and what it cannot reach either is absent and proves
//! nothing. The one path that is allowed between them shows that the isolated pod has a network at all, and carries what the control
//! found. From time to time the isolated pod becomes a new one to the network: what holds for pods that are there says nothing of those
//! to come.

pub mod control;
mod first_moment;
pub mod isolated;
mod reach;
mod renewal;
pub mod route;
pub mod surroundings;
pub mod verdict;

pub use route::Route;
pub use surroundings::Surroundings;
pub use verdict::{Finding, State, Verdict};

/// Where both listen, and nobody may reach the isolated pod.
pub const DENIED_PORT: u16 = 8080;

/// Where both listen, and each may reach the other.
pub const ALLOWED_PORT: u16 = 8081;

/// The port of kubelets.
const KUBELET_PORT: u16 = 10250;
