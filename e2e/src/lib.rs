//! The end-to-end harness: real control planes and real servers, built from source. In: what a test wants to run.
//! Out: handles to it, and nothing left behind when they are dropped, when a test panics, or on Ctrl-C.
//!
//! # Writing a test
//!
//! A test is a file in `e2e/tests/`, or in `tests/` of any crate that has `e2e` among its dev-dependencies:
//!
//! ```no_run
//! use e2e::{Plane, PlaneOptions, Tier, unique};
//!
//! #[tokio::test]
//! async fn an_owner_may_not_delete_the_deny_all_policy() {
//!     // One plane for all tests of this binary; keep apart from them by names of your own.
//!     let plane = Plane::shared(Tier::One).await.unwrap();
//!     let tenant = unique("acme");
//!
//!     // Everybody is who they are: no impersonation, so admission policies and the audit log see the real user.
//!     let admin = plane.admin().unwrap();
//!     let owner = plane.client_for("olga", &["acme-owners"]).unwrap();
//!
//!     // What the API server was asked, by its own record.
//!     let mark = plane.mark().await.unwrap();
//!     // … act …
//!     let calls = plane.calls_since(mark).await.unwrap().by_user("olga");
//!     assert_eq!(calls.writes().len(), 0, "{calls}");
//! }
//! ```
//!
//! - [`Tier::One`] is ready in 3 to 4 s and only stores, validates and admits. [`Tier::Two`] also acts: namespaces go
//!   away, quotas count, pods run on fake nodes. [`Tier::Three`] has real nodes: see [`packets`], and begin such a test with
//!   [`lacks_real_nodes`]; [`databases`] gives them databases.
//! - [`relays`] starts NATS with the relay's doorkeeper before it, on any plane.
//! - [`desktops`] runs the image of agents' desktops without a cluster, under either kernel.
//! - Take [`Plane::start`] instead of [`Plane::shared`] when you count calls of the operator, inject faults, or change
//!   what is cluster-wide (policies, CRDs). At most four own and four shared planes live at once on a machine
//!   (`STEADING_PLANES`); the rest wait for their turn.
//! - [`Servers::start`] adds OpenBao, KES, MinIO and OpenFGA; [`Installation::install`] the chart; [`install::OperatorProcess`]
//!   runs the operator as a process and [`install::InProcess`] within the test, both with the rights of the chart's
//!   ServiceAccount and never as administrator. [`Site::start`] is all of it in one call.
//! - A client dies with the async runtime it was made in, so make one in each test, never in a static.
//! - The first use of a program builds it (`$STEADING_CACHE`, default `~/.cache/steading`), with progress on standard
//!   error. `cluster build` builds all of them beforehand.
//! - Wait with `kube::runtime::wait::await_condition` or [`wait::until`]; never sleep.

pub mod agents;
pub mod certificates;
pub mod components;
pub mod databases;
pub mod desktops;
pub mod faults;
pub mod history;
pub mod install;
mod manifests;
pub mod nursery;
pub mod packets;
pub mod plane;
pub mod ports;
pub mod relays;
pub mod secrets;
pub mod servers;
pub mod site;
mod slots;
pub mod story;
pub mod wait;
pub mod wire;

pub use install::Installation;
pub use plane::{Plane, PlaneOptions, Tier};
pub use servers::Servers;
pub use site::Site;

/// A name no other test uses: `purpose`, a dash and six random letters or digits.
pub fn unique(purpose: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{purpose}-{}", id.get(..6).unwrap_or(&id))
}

/// Whether the test that asks must be skipped because real nodes cannot be had here, which is said aloud and counted by `e2e/run`;
/// an error instead if `REQUIRE_TIER=3` forbids that. The first line of a test on real nodes.
pub fn lacks_real_nodes() -> anyhow::Result<bool> {
    plane::why_not().map_or(Ok(false), |reason| skip(&reason).map(|()| true))
}

/// Says something past the capture of the test runner, which people want to see of tests that pass too.
pub fn show(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Says aloud that a test on real nodes is skipped, and why; an error if `REQUIRE_TIER=3` forbids that.
pub fn skip(reason: &str) -> anyhow::Result<()> {
    anyhow::ensure!(std::env::var("REQUIRE_TIER").as_deref() != Ok("3"), "REQUIRE_TIER=3 cannot be met: {reason}");
    let thread = std::thread::current();
    show(&format!("e2e: skipped {}: {reason}", thread.name().unwrap_or("a test")));
    Ok(())
}
