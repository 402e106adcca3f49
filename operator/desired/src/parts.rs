//! The children of a stack, one file per kind.
//!
//! In: [`crate::workspace::Facts`]. Out: one typed object per function, complete with its labels. Lists that decide about
//! isolation are present even when they are empty: only a field that we apply is ours, and only what is ours is put back.

pub(crate) mod backup;
pub(crate) mod canary_pod;
pub(crate) mod cluster;
pub(crate) mod database_role;
pub(crate) mod deployment;
pub(crate) mod disruption_budget;
pub(crate) mod job;
pub(crate) mod limit_range;
pub(crate) mod namespace;
pub(crate) mod network_policy;
pub(crate) mod object_store;
pub(crate) mod resource_quota;
pub(crate) mod role_binding;
pub(crate) mod scheduled_backup;
pub(crate) mod service_account;

/// Value of the label `steading.dev/part` on the pods of a database.
pub(crate) const DATABASE_PART: &str = "database";
/// On those of one that is restored only to be looked at.
pub(crate) const DRILL_PART: &str = "drill";
/// On those of the canary.
pub(crate) const CANARY_PART: &str = "canary";

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::workspace::Facts;

/// Metadata of a namespaced child: its name, the stack namespace, the labels that pruning and watches go by. No owner
/// reference: the Workspace lives in another namespace, where the garbage collector would not find it.
fn metadata(facts: &Facts, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(facts.namespace().to_string()),
        labels: Some(facts.labels()),
        ..ObjectMeta::default()
    }
}
