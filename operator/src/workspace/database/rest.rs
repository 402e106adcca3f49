//! How a database ends whose backups stay: it is hibernated first, because an instance that is told to stop brings its last log to the
//! bucket, and one whose namespace vanishes around it does not.

use std::time::Duration;

use api::{Workspace, conditions as names, labels, tenant::DeletionPolicy};
use desired::database::{CLUSTER, HIBERNATION};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    context::Context,
    databases::{Cluster, judge},
    engine::fault::{Class, Fault},
};

/// How long a deletion waits for that at most, from when it is first told: a database that cannot stop must not hold everything else for ever.
const PATIENCE: Duration = Duration::from_mins(10);

/// A change is told by a watch; this is only in case that it is not.
const TOLD_ANYWAY: Duration = Duration::from_secs(15);

/// Lets the database in this stack namespace stop and archive its last log, if its backups are to stay.
///
/// # Errors
/// Waiting, until it has stopped or took too long.
pub async fn rest(context: &Context, workspace: &Workspace, namespace: &str) -> Result<(), Fault> {
    let has_backups = workspace.status.as_ref().is_some_and(|status| status.database.is_some());
    let tenant = context.tenant(&workspace.namespace().unwrap_or_default());
    let stays = tenant.is_some_and(|tenant| tenant.spec.deletion_policy == DeletionPolicy::Retain);
    if !has_backups || !stays {
        return Ok(());
    }
    let ended = stop(context, namespace).await;
    if ended.is_ok() {
        context.databases.rested(namespace);
    } else if context.databases.resting(namespace) > PATIENCE {
        tracing::warn!(namespace, "the database did not stop in time: what it wrote last may not be in its backups");
        context.databases.rested(namespace);
        return Ok(());
    }
    ended
}

/// Tells it to stop, and says whether it has.
async fn stop(context: &Context, namespace: &str) -> Result<(), Fault> {
    match context.databases.usable(&context.engine.client).await {
        Ok(()) => {}
        // Nobody is there who could stop it.
        Err(fault) if fault.class == Class::Stalled => return Ok(()),
        Err(fault) => return Err(fault),
    }
    let Some(cluster) = context.databases.cluster(namespace) else { return context.databases.synced() };
    if judge::hibernates(&cluster) {
        return Ok(());
    }
    let api: Api<Cluster> = Api::namespaced(context.engine.client.clone(), namespace);
    let change = json!({ "metadata": { "annotations": { HIBERNATION: "on" } } });
    let params = PatchParams { field_manager: Some(labels::MANAGER_WORKSPACE.to_owned()), ..PatchParams::default() };
    match api.patch(CLUSTER, &params, &Patch::Merge(change)).await {
        Ok(_) => {
            let message =
                format!("Cluster {namespace}/{CLUSTER} is stopping, so that its last log gets into its backups");
            Err(Fault::waiting(TOLD_ANYWAY, names::DELETING, message))
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Fault::api(&error, &format!("hibernate Cluster {namespace}/{CLUSTER}"))),
    }
}
