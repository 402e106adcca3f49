//! A consumer's one Secret. In: what its entries about one thing are to say. Out: that they say this. All others stay, because what is about
//! one thing has a field manager of its own.

use std::collections::BTreeMap;

use api::labels;
use desired::consumer::Consumer;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::Scene;
use crate::engine::fault::Fault;

/// What some of its entries are about, by their field manager.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries(&'static str);

impl Entries {
    pub(super) const DATABASE: Self = Self(labels::MANAGER_WORKSPACE);
    pub(super) const BUCKET: Self = Self(labels::MANAGER_CONSUMER_BUCKET);
    pub(super) const AUTHORIZATION: Self = Self(labels::MANAGER_CONSUMER_AUTHORIZATION);
}

impl Scene<'_> {
    /// Has these entries say this and nothing else. A digest stands beside it where what is there is compared by that.
    pub(super) async fn write(
        &self,
        entries: Entries,
        consumer: &Consumer,
        data: BTreeMap<String, ByteString>,
        digest: Option<String>,
    ) -> Result<(), Fault> {
        let (namespace, name) = (consumer.namespace.as_str(), consumer.secret(self.facts));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.facts.labels()),
            annotations: digest.map(|digest| BTreeMap::from([(labels::DESIRED_HASH.to_owned(), digest)])),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
        let api: Api<Secret> = Api::namespaced(self.context.engine.client.clone(), namespace);
        let written = api.patch(&name, &PatchParams::apply(entries.0).force(), &Patch::Apply(secret)).await;
        written.map(drop).map_err(|error| Fault::api(&error, &format!("apply Secret {namespace}/{name}")))
    }
}
