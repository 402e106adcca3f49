//! What a story about tenants is told with. In: names. Out: [`Manifest`]s to apply, a [`Platform`] team that applies and waits, and a
//! [`Stage`] on which the operator runs.
//!
//! ```no_run
//! use e2e::story::{Stage, class, tenant, workspace};
//!
//! #[test]
//! fn a_workspace_becomes_ready() {
//!     Stage::shared(e2e::Tier::One, async |stage| {
//!         let class = stage.platform.applied(class(&e2e::unique("onprem"))).await?;
//!         let tenant = stage.platform.applied(tenant(&e2e::unique("acme")).of_class(&class)).await?;
//!         let finance = stage.platform.applied(workspace("finance").of_tenant(&tenant)).await?;
//!         stage.platform.until_ready(&finance).await?;
//!         anyhow::Ok(())
//!     })
//!     .unwrap();
//! }
//! ```

mod manifest;
mod platform;
mod stage;

pub use manifest::{
    Manifest, Told, agent_pool, class, condition, openfga, openfga_with_access_control, stack_namespace, tenant,
    workspace,
};
pub use platform::{PATIENCE, Platform};
pub use stage::{BREAK_GLASS, Stage};
