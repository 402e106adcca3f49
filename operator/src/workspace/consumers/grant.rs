//! Letting a consumer in, as far as the cluster goes: the right to write its Secret, a role in the database, and what it needs to connect.
//! Written anew when CloudNativePG has renewed the certificate, and from time to time, because nobody may watch Secrets there.

use std::{collections::BTreeMap, time::Duration};

use api::{
    conditions as names,
    consumer::{ConsumerStatus, EndingCredentials},
};
use desired::{
    consumer::{Consumer, DATABASE_CA, Standing},
    fields::Kind,
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::Api;

use super::{
    super::{Facts, isolate},
    Scene, find,
    plan::Served,
    secret::Entries,
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

/// What kept a consumer from being let in.
pub(super) struct Failed {
    /// What it was.
    pub(super) fault: Fault,
    /// Whether it has to do with the database alone.
    pub(super) is_of_database: bool,
}

impl Failed {
    fn of_all(fault: Fault) -> Self {
        Self { fault, is_of_database: false }
    }

    fn of_database(fault: Fault) -> Self {
        Self { fault, is_of_database: true }
    }
}

impl Scene<'_> {
    /// Makes all stand in the cluster that the consumer needs, but for what the store gives. `known` is what status remembers of it.
    pub(super) async fn grant(
        &self,
        served: &Served,
        known: &ConsumerStatus,
        round: &mut Round<Facts>,
    ) -> Result<ConsumerStatus, Failed> {
        self.bind(served).await.map_err(Failed::of_all)?;
        if served.uses.bucket.is_none() && self.had_bucket(served) {
            self.without_bucket(&served.consumer).await.map_err(Failed::of_all)?;
        }
        let now = match served.uses.database {
            Some(standing) => self.database(&served.consumer, standing, known, round).await,
            None if known.role.is_some() => self.without_database(&served.consumer, known).await,
            None => Ok(known.clone()),
        };
        now.map_err(Failed::of_database)
    }

    /// Whether its Secret may still say something of the bucket: status remembers what was taken back for longer than that takes.
    fn had_bucket(&self, served: &Served) -> bool {
        let Some(known) = find(self.workspace, &served.consumer) else { return false };
        let ending = self.workspace.status.iter().flat_map(|status| &status.ending_credentials);
        let is_its_own =
            |it: &EndingCredentials| (&it.namespace, &it.service_account) == (&known.namespace, &known.service_account);
        known.bucket.is_some() || ending.into_iter().any(is_its_own)
    }

    /// The right to write its Secret.
    async fn bind(&self, served: &Served) -> Result<(), Fault> {
        let binding = served.consumer.binding(self.facts, &self.context.account);
        if self.applier(&served.uid).apply(Kind::RoleBinding, &binding, None).await? == Applied::Written {
            let message =
                format!("the right to write Secrets in namespace {} was just given", served.consumer.namespace);
            return Err(Fault::waiting(BINDING_TAKES, names::PROGRESSING, message));
        }
        Ok(())
    }

    /// Its role, and what its Secret says of the database.
    async fn database(
        &self,
        consumer: &Consumer,
        standing: Standing,
        known: &ConsumerStatus,
        round: &mut Round<Facts>,
    ) -> Result<ConsumerStatus, Fault> {
        self.context.databases.synced()?;
        let role = consumer.database_role_object(self.facts, standing);
        self.applier(&self.stack_uid).apply(Kind::DatabaseRole, &role, None).await?;
        let expires = self.certificate(consumer)?;
        let left = self.context.until_next_look(known.observed_at.as_ref().map(|time| time.0));
        let is_current = known.certificate_expires_at.as_ref() == Some(&expires);
        if is_current && !left.is_zero() {
            round.look_again(left);
            return Ok(known.clone());
        }
        self.write(Entries::DATABASE, consumer, self.connection(consumer).await?, None).await?;
        round.look_again(self.context.evidence / 2);
        Ok(ConsumerStatus {
            certificate_expires_at: Some(expires),
            observed_at: Some(Time(clock::now())),
            ..known.clone()
        })
    }

    /// Takes the database back from a consumer that goes on using the bucket.
    async fn without_database(&self, consumer: &Consumer, known: &ConsumerStatus) -> Result<ConsumerStatus, Fault> {
        let shut_out = self.shut_out(consumer).await;
        self.write(Entries::DATABASE, consumer, BTreeMap::new(), None).await?;
        shut_out?;
        Ok(ConsumerStatus { role: None, certificate_expires_at: None, observed_at: None, ..known.clone() })
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
        let waiting = |said: &str| self.inside(&format!("DatabaseRole {namespace}/{name}: {said}"));
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

    /// Where the database is, and the certificates from the stack.
    async fn connection(&self, consumer: &Consumer) -> Result<BTreeMap<String, ByteString>, Fault> {
        let mut data: BTreeMap<String, ByteString> = self
            .entries(&consumer.certificate_secret(), &["tls.crt", "tls.key"])
            .await?
            .into_iter()
            .chain(self.entries(DATABASE_CA, &["ca.crt"]).await?)
            .collect();
        let connection = consumer.connection(self.facts).into_iter();
        data.extend(connection.map(|(entry, text)| (entry.to_owned(), ByteString(text.into_bytes()))));
        Ok(data)
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
