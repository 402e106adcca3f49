//! The finalizer: put on before anything outside an object is made for it, taken off when all of that is gone or released.
//!
//! In: an object as it is known. Out: one patch that touches nothing but our entry, refused by the server if the object is another.

use std::fmt::Debug;

use api::labels::{CLEANUP_FINALIZER, MANAGER_FINALIZER};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::fault::Fault;

/// Whether the object carries our finalizer.
pub fn is_held<K: ResourceExt>(object: &K) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == CLEANUP_FINALIZER)
}

/// Puts our finalizer on. Refused with a conflict if the object changed meanwhile.
pub async fn hold<K>(api: &Api<K>, object: &K) -> Result<K, Fault>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let finalizers: Vec<&str> = object.finalizers().iter().map(String::as_str).chain([CLEANUP_FINALIZER]).collect();
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
    patch_metadata(api, object, &Patch::Merge(patch), "add the finalizer to").await
}

/// Takes our finalizer off; the server then lets the object go. An object that is gone already is no fault.
pub async fn release<K>(api: &Api<K>, object: &K) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let finalizers: Vec<&String> =
        object.finalizers().iter().filter(|finalizer| *finalizer != CLEANUP_FINALIZER).collect();
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
    match api
        .patch(
            &object.name_any(),
            &PatchParams { field_manager: Some(MANAGER_FINALIZER.to_owned()), ..PatchParams::default() },
            &Patch::Merge(patch),
        )
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            Err(Fault::api(&error, &format!("remove the finalizer from {} {}", K::kind(&()), object.name_any())))
        }
    }
}

/// Whether the object is still there, by the API server's own word and not by the watch: a process that begins on an outdated copy
/// sees deletions that were over long ago, and by now somebody else may have name and identity. Asked before anything is removed.
pub async fn is_there<K>(api: &Api<K>, object: &K) -> Result<bool, Fault>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = object.name_any();
    // A list of one, since rights to list are there anyway.
    let found = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={name}"))).await;
    let found = found.map_err(|error| Fault::api(&error, &format!("look for {} {name}", K::kind(&()))))?;
    Ok(found.items.iter().any(|found| found.metadata.uid == object.uid()))
}

async fn patch_metadata<K>(api: &Api<K>, object: &K, patch: &Patch<serde_json::Value>, doing: &str) -> Result<K, Fault>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let params = PatchParams { field_manager: Some(MANAGER_FINALIZER.to_owned()), ..PatchParams::default() };
    let name = object.name_any();
    api.patch(&name, &params, patch)
        .await
        .map_err(|error| Fault::api(&error, &format!("{doing} {} {name}", K::kind(&()))))
}
