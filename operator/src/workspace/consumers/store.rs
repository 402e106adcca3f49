//! What a consumer's Secret says of the Tenant's store of authorization: where it is, which it is, and as what the Workspace is known there.
//! None of it is secret and none of it lets anybody in, but an application cannot ask without it. Under a field manager of its own, as what
//! the Secret says of the bucket.

use std::collections::BTreeMap;

use api::{
    authorization::OpenFga,
    conditions as names,
    consumer::{ConsumerAuthorizationStatus, ConsumerStatus},
    labels,
    workspace::MembershipStatus,
};
use desired::consumer::Consumer;
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::{
    super::{Facts, WOKEN_ANYWAY},
    Ledger, Scene, Served,
};
use crate::{
    clock,
    engine::{fault::Fault, round::Round},
};

impl Scene<'_> {
    /// Has the Secrets of those who come to the store say where it is, and those of the others say nothing of it.
    pub(super) async fn stores<'a>(
        &self,
        served: Vec<(&'a Served, ConsumerStatus)>,
        ledger: &mut Ledger,
        round: &mut Round<Facts>,
    ) -> Vec<(&'a Served, ConsumerStatus)> {
        let mut all = Vec::new();
        for (served, known) in served {
            let told = match &known.authorization {
                Some(before) => self.store(served, before, round).await,
                None => Ok(None),
            };
            let authorization = told.unwrap_or_else(|fault| {
                ledger.faults.push(fault);
                known.authorization.clone()
            });
            all.push((served, ConsumerStatus { authorization, ..known }));
        }
        all
    }

    async fn store(
        &self,
        served: &Served,
        before: &ConsumerAuthorizationStatus,
        round: &mut Round<Facts>,
    ) -> Result<Option<ConsumerAuthorizationStatus>, Fault> {
        if !served.uses.authorization {
            self.write_store(&served.consumer, BTreeMap::new()).await?;
            return Ok(None);
        }
        let (openfga, members) = self.known_store(round)?;
        let store_id = Some(members.store_id.clone());
        let left = self.context.until_next_look(before.observed_at.as_ref().map(|time| time.0));
        if before.store_id == store_id && !left.is_zero() {
            round.look_again(left);
            return Ok(Some(before.clone()));
        }
        self.write_store(&served.consumer, content(openfga, &members)).await?;
        round.look_again(self.context.evidence / 2);
        Ok(Some(ConsumerAuthorizationStatus { store_id, observed_at: Some(Time(clock::now())) }))
    }

    /// The store, once the Workspace stands in it.
    fn known_store(&self, round: &Round<Facts>) -> Result<(&OpenFga, MembershipStatus), Fault> {
        let before = self.workspace.status.as_ref().and_then(|status| status.authorization.as_ref());
        let members = round.facts.authorization.as_ref().or(before).filter(|members| members.observed_at.is_some());
        let server = self.plan.class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref());
        server.zip(members.cloned()).ok_or_else(|| {
            let message =
                "the Workspace is not in the store of authorization yet: see the condition AuthorizationReady";
            Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
        })
    }

    async fn write_store(&self, consumer: &Consumer, data: BTreeMap<&str, String>) -> Result<(), Fault> {
        let (namespace, name) = (consumer.namespace.as_str(), consumer.secret(self.facts));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.facts.labels()),
            ..ObjectMeta::default()
        };
        let data = data.into_iter().map(|(entry, text)| (entry.to_owned(), ByteString(text.into_bytes())));
        let secret =
            Secret { metadata, data: Some(data.collect()), type_: Some("Opaque".to_owned()), ..Secret::default() };
        let api: Api<Secret> = Api::namespaced(self.context.engine.client.clone(), namespace);
        let params = PatchParams::apply(labels::MANAGER_CONSUMER_AUTHORIZATION).force();
        let written = api.patch(&name, &params, &Patch::Apply(secret)).await;
        written.map(drop).map_err(|error| Fault::api(&error, &format!("apply Secret {namespace}/{name}")))
    }
}

/// What the Secret says of the store.
fn content(server: &OpenFga, members: &MembershipStatus) -> BTreeMap<&'static str, String> {
    let mut content = BTreeMap::from([
        ("authorization-endpoint", server.endpoint.clone()),
        ("authorization-store-id", members.store_id.clone()),
        ("authorization-object", members.object.clone()),
    ]);
    if let Some(bundle) = &server.ca_bundle {
        content.insert("authorization-ca.crt", bundle.clone());
    }
    content
}
