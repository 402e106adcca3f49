//! Promise: whatever befalls a request, a watch or the process, nothing is lost and nothing is made twice; what fails for ever costs
//! little; and what concerns one tenant, or one kind, concerns nobody else.
//!
//! `spread` and `outside` are spreads of what `make faults` walks in full.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod apart;
mod documented;
mod outside;
mod rates;
mod spread;
mod stale;
mod watches;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use api::{Tenant, TenantClass, Workspace};
use e2e::story::{Manifest, Platform, tenant, workspace};
use e2e::wire::Asked;

/// Past the capture of the test runner: these figures are what the walks are for.
fn say(text: &str) {
    writeln!(std::io::stderr(), "faults: {text}").ok();
}

/// A Tenant with one Workspace.
#[derive(Clone)]
struct Customer {
    tenant: Manifest<Tenant>,
    finance: Manifest<Workspace>,
}

impl Customer {
    fn new(name: &str, class: &Manifest<TenantClass>) -> Self {
        let tenant = tenant(name).of_class(class).with("quota.cpu", "8");
        let finance = workspace("finance").of_tenant(&tenant).with("quota.cpu", "2");
        Self { tenant, finance }
    }

    async fn apply(&self, platform: &Platform) -> Result<()> {
        platform.apply(&self.tenant).await?;
        platform.apply(&self.finance).await?;
        Ok(())
    }

    async fn until_ready(&self, platform: &Platform) -> Result<()> {
        platform.until_ready(&self.tenant).await?;
        platform.until_ready(&self.finance).await?;
        Ok(())
    }
}

/// Whether a request is about the Tenant of this name, or about what was stamped out for its Workspace.
fn is_about(asked: &Asked, tenant: &str) -> bool {
    let place = if asked.namespace().is_empty() { asked.name() } else { asked.namespace().to_owned() };
    place == tenant || place.strip_prefix(tenant).is_some_and(|rest| rest.starts_with("-finance-"))
}

/// Counts by name. Clones are the same.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<BTreeMap<String, usize>>>);

impl Counter {
    /// Counts one more, and returns how many there are now.
    fn count(&self, name: impl Into<String>) -> usize {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(name.into()).or_default();
        *count += 1;
        *count
    }

    fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    fn all(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().clone()
    }
}
