//! Promise: a TenantClass, a Tenant and its Workspaces are what their specs say, whatever is applied first, changed, paused or
//! failing outside; and where they are not, their conditions say what is missing and who must do what.
//!
//! The stories share one control plane and one operator, and keep apart by names. Those that stop the operator have their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod applications;
mod authorization;
mod class;
mod evidence;
mod faults;
mod identity;
mod order;
mod pause;
mod rotation;
mod shown;
mod spec;

use e2e::story::{Told, condition};

/// The message of the condition Ready.
fn message<K: Told>(object: &K) -> String {
    condition(object, api::conditions::READY).map(|ready| ready.message.clone()).unwrap_or_default()
}

/// Fails unless the text holds each of these.
#[track_caller]
fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Status of the condition; `absent` if it is not there.
fn status<'a, K: Told>(object: &'a K, kind: &str) -> &'a str {
    condition(object, kind).map_or("absent", |condition| condition.status.as_str())
}
