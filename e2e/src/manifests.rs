//! Manifests as other projects ship them: many objects of any kind in one text. In: YAML. Out: objects, and the same on an API server.

use anyhow::{Context as _, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};

/// Field manager under which the harness writes.
const MANAGER: &str = "steading-e2e";

/// The objects in a text of several YAML documents, in its order. `what` names the text in an error.
pub(crate) fn parse(what: &str, text: &str) -> Result<Vec<DynamicObject>> {
    serde_saphyr::from_multiple(text).with_context(|| format!("{what} cannot be read"))
}

/// The kind of an object, or nothing if it does not say.
pub(crate) fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

/// Makes or changes an object so that it is as it says. A namespaced one must say its namespace.
pub(crate) async fn apply(client: &Client, object: &DynamicObject) -> Result<()> {
    let name = object.name_any();
    let types = object.types.as_ref().with_context(|| format!("{name} has no kind"))?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply(MANAGER).force();
    api.patch(&name, &parameters, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot apply {} {name}", types.kind))?;
    Ok(())
}
