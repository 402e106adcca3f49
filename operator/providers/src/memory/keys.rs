//! Keys in memory, with the rules of a transit engine.
//!
//! In: the calls of [`External`]. Out: what the engine would answer. A key is released by turning its rotation off, and disabled
//! rather than destroyed, as in the real adapter.

use std::time::Duration;

use jiff::Timestamp;

use super::{Operation, World};
use crate::{
    external::External,
    fault::{Fault, reasons},
    keys::{KeyObserved, KeySpec, SHORTEST_ROTATION_PERIOD, matches},
};

/// A key as the world holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryKey {
    /// The newest version, from 1.
    pub latest_version: u64,
    /// How often it rotates by itself; `None` marks it as released.
    pub rotation_period: Option<Duration>,
    /// When it was made.
    pub created: Timestamp,
    /// When the newest version was made.
    pub last_rotated: Timestamp,
    /// Whether it can be used.
    pub enabled: bool,
    /// Whether anybody may destroy it.
    pub deletion_allowed: bool,
    /// Whether its material can be read out, which cannot be taken back.
    pub exportable: bool,
    /// For how many looks it stays invisible.
    pub hidden: u32,
}

impl MemoryKey {
    pub(super) fn new(now: Timestamp, rotation_period: Option<Duration>) -> Self {
        Self {
            latest_version: 1,
            rotation_period,
            created: now,
            last_rotated: now,
            enabled: true,
            deletion_allowed: false,
            exportable: false,
            hidden: 0,
        }
    }

    pub(super) fn rotate(&mut self, now: Timestamp) {
        self.latest_version += 1;
        self.last_rotated = now;
    }

    pub(super) fn rotate_when_due(&mut self, now: Timestamp) {
        if let Some(period) = self.rotation_period
            && self.enabled
            && self.last_rotated + period <= now
        {
            self.rotate(now);
        }
    }
}

/// Keys in memory.
#[derive(Clone, Debug)]
pub struct MemoryKeys {
    world: World,
}

impl MemoryKeys {
    /// Keys in this world.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone() }
    }
}

impl External for MemoryKeys {
    type Desired = KeySpec;
    type Observed = KeyObserved;

    fn name(&self, want: &KeySpec) -> String {
        format!("key `{}` in memory", want.name())
    }

    async fn observe(&self, want: &KeySpec) -> Result<Option<KeyObserved>, Fault> {
        let name = want.name();
        self.world
            .call(Operation::ObserveKey, want.tenant.as_str(), &name, Vec::new(), |state| {
                let Some(key) = state.keys.get_mut(&name) else { return Ok(None) };
                if key.hidden > 0 {
                    key.hidden -= 1;
                    return Ok(None);
                }
                if key.exportable {
                    return Err(Fault::stalled(
                        reasons::KEY_UNFIT,
                        format!("key `{name}` in memory is exportable, which cannot be taken back: remove it and let a new one be made"),
                    ));
                }
                Ok(Some(KeyObserved {
                    name: name.clone(),
                    latest_version: key.latest_version,
                    rotation_period: key.rotation_period,
                    created: Some(key.created),
                    last_rotated: (key.latest_version > 1).then_some(key.last_rotated),
                    enabled: key.enabled,
                    released: key.rotation_period.is_none(),
                    deletion_allowed: key.deletion_allowed,
                    evidence: format!("in memory: `{name}`"),
                }))
            })
            .await
    }

    async fn create(&self, want: &KeySpec) -> Result<(), Fault> {
        if want.rotation_period < SHORTEST_ROTATION_PERIOD {
            return Err(Fault::invalid("a key rotates at most once an hour: choose a longer rotation period"));
        }
        let name = want.name();
        self.world
            .call(Operation::CreateKey, want.tenant.as_str(), &name, Vec::new(), |state| {
                let fresh = MemoryKey { hidden: state.lag, ..MemoryKey::new(state.now, Some(want.rotation_period)) };
                state.keys.entry(name.clone()).or_insert(fresh);
                Ok(())
            })
            .await
    }

    async fn update(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        if !have.enabled && !have.released {
            return Err(Fault::stalled(
                reasons::KEY_DISABLED,
                format!(
                    "key `{}` in memory was disabled by somebody else: restore it there if that was a mistake",
                    have.name
                ),
            ));
        }
        self.world
            .call(Operation::UpdateKey, want.tenant.as_str(), &have.name, Vec::new(), |state| {
                let now = state.now;
                let Some(key) = state.keys.get_mut(&have.name) else {
                    return Err(Fault::transient(format!(
                        "key `{}` in memory vanished; it is looked at again",
                        have.name
                    )));
                };
                key.enabled = true;
                key.deletion_allowed = false;
                key.rotation_period = Some(want.rotation_period);
                if want.rotate.as_ref().is_some_and(|order| key.latest_version <= order.version_before) {
                    key.rotate(now);
                }
                Ok(())
            })
            .await
    }

    async fn release(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        self.world
            .call(Operation::ReleaseKey, want.tenant.as_str(), &have.name, Vec::new(), |state| {
                if let Some(key) = state.keys.get_mut(&have.name) {
                    key.rotation_period = None;
                }
                Ok(())
            })
            .await
    }

    async fn delete(&self, want: &KeySpec, have: &KeyObserved) -> Result<(), Fault> {
        let released: super::Step<'_> = Box::new(|state| {
            if let Some(key) = state.keys.get_mut(&have.name) {
                key.rotation_period = None;
            }
            Ok(())
        });
        let disabled: super::Step<'_> = Box::new(|state| {
            if let Some(key) = state.keys.get_mut(&have.name) {
                key.enabled = false;
            }
            Ok(())
        });
        self.world
            .call(Operation::DeleteKey, want.tenant.as_str(), &have.name, vec![released, disabled], |_| Ok(()))
            .await
    }

    fn matches(want: &KeySpec, have: &KeyObserved) -> bool {
        matches(want, have)
    }

    fn is_released(have: &KeyObserved) -> bool {
        have.released
    }

    fn is_gone(have: &KeyObserved) -> bool {
        !have.enabled && have.released
    }
}
