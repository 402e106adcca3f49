//! Letting a consumer in: a role in the database, and what it needs to connect in a Secret of its own namespace. Written anew when
//! CloudNativePG has renewed the certificate, and from time to time, because nobody may watch Secrets there.

use std::{collections::BTreeMap, time::Duration};

use api::{conditions as names, consumer::ConsumerStatus, labels};
use desired::{
    consumer::{Consumer, DATABASE_CA, Standing},
    fields::Kind,
};
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
    super::{Facts, WOKEN_ANYWAY, isolate},
    Scene,
};
use crate::{
    clock,
    engine::{
        apply::{Applied, Applier},
        fault::Fault,
        round::Round,
    },
};

/// How long a RoleBinding takes to be known to every API server, nearly always.
const BINDING_TAKES: Duration = Duration::from_secs(1);

impl Scene<'_> {
    /// Makes all that the consumer needs stand. `known` is what status remembers of it.
    pub(super) async fn grant(
        &self,
        consumer: &Consumer,
        standing: Standing,
        uid: &str,
        known: &ConsumerStatus,
        round: &mut Round<Facts>,
    ) -> Result<ConsumerStatus, Fault> {
        let role = consumer.database_role_object(self.facts, standing);
        self.applier(&self.stack_uid).apply(Kind::DatabaseRole, &role, None).await?;
        let binding = consumer.binding(self.facts, &self.context.account);
        if self.applier(uid).apply(Kind::RoleBinding, &binding, None).await? == Applied::Written {
            let message = format!("the right to write Secrets in namespace {} was just given", consumer.namespace);
            return Err(Fault::waiting(BINDING_TAKES, names::PROGRESSING, message));
        }
        let expires = self.certificate(consumer)?;
        let left = self.context.until_next_look(known.observed_at.as_ref().map(|time| time.0));
        let is_current = known.certificate_expires_at.as_ref() == Some(&expires);
        if is_current && !left.is_zero() {
            round.look_again(left);
            return Ok(known.clone());
        }
        self.write(consumer).await?;
        round.look_again(self.context.evidence / 2);
        Ok(ConsumerStatus {
            certificate_expires_at: Some(expires),
            observed_at: Some(Time(clock::now())),
            ..known.clone()
        })
    }

    /// Writes into the namespace with this UID.
    pub(super) fn applier(&self, uid: &str) -> Applier<'_> {
        let mut applier = isolate::applier(self.context, &self.facts.identity.to_string());
        uid.clone_into(&mut applier.namespace);
        applier
    }

    /// When the certificate ends that CloudNativePG has issued.
    fn certificate(&self, consumer: &Consumer) -> Result<Time, Fault> {
        let (namespace, name) = (self.facts.namespace().to_string(), consumer.database_role());
        let waiting = |said: &str| {
            let message = format!("DatabaseRole {namespace}/{name}: {said}");
            Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message)
        };
        let role = self.context.databases.role(&namespace, &name);
        let role = role.ok_or_else(|| waiting("CloudNativePG has said nothing of it yet"))?;
        if !role.login || !role.is_applied() {
            let said = role.status.message.unwrap_or_default();
            let said: String = said.chars().take(200).collect();
            return Err(waiting(&format!("the database does not have it yet; CloudNativePG says {said:?}")));
        }
        let issued = role.status.client_certificate.unwrap_or_default();
        issued.expiration.ok_or_else(|| {
            let why = issued.message.unwrap_or_default().chars().take(200).collect::<String>();
            waiting(&format!("its certificate is not issued yet {why}"))
        })
    }

    /// Brings the certificates from the stack into the consumer's own Secret.
    async fn write(&self, consumer: &Consumer) -> Result<(), Fault> {
        let mut data: BTreeMap<String, ByteString> = self
            .entries(&consumer.certificate_secret(), &["tls.crt", "tls.key"])
            .await?
            .into_iter()
            .chain(self.entries(DATABASE_CA, &["ca.crt"]).await?)
            .collect();
        let connection = consumer.connection(self.facts).into_iter();
        data.extend(connection.map(|(entry, text)| (entry.to_owned(), ByteString(text.into_bytes()))));
        let (namespace, name) = (consumer.namespace.as_str(), consumer.secret(self.facts));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.facts.labels()),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
        let api: Api<Secret> = Api::namespaced(self.context.engine.client.clone(), namespace);
        let params = PatchParams::apply(labels::MANAGER_WORKSPACE).force();
        let written = api.patch(&name, &params, &Patch::Apply(secret)).await;
        written.map(drop).map_err(|error| Fault::api(&error, &format!("apply Secret {namespace}/{name}")))
    }

    /// These entries of a Secret that CloudNativePG made in the stack.
    async fn entries(&self, name: &str, wanted: &[&str]) -> Result<Vec<(String, ByteString)>, Fault> {
        let namespace = self.facts.namespace().to_string();
        let api: Api<Secret> = Api::namespaced(self.context.engine.client.clone(), &namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| Fault::api(&error, &format!("read Secret {namespace}/{name}")))?;
        let mut data = found.and_then(|secret| secret.data).unwrap_or_default();
        wanted
            .iter()
            .map(|entry| {
                let found = data.remove(*entry).map(|content| ((*entry).to_owned(), content));
                let message = format!("Secret {namespace}/{name} has no entry {entry} yet; CloudNativePG makes it");
                found.ok_or_else(|| Fault::waiting(BINDING_TAKES * 5, names::PROGRESSING, message))
            })
            .collect()
    }
}
