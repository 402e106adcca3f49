//! Credentials for a bucket in a Secret of the stack: issued by the store, written for CloudNativePG to use, renewed at half their life, so
//! that backups go on for days without Steading.

use std::{collections::BTreeMap, time::Duration};

use api::{conditions as names, labels, tenant_class::S3};
use desired::{
    database::{ACCESS_KEY_ID, BACKUP, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN, STORE_CA},
    hash,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use providers::{Access, BucketSpec, IdentitySpec, IssuedCredentials, identities::LONGEST_BACKUP_LIFE};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{super::Facts, Scene};
use crate::{
    clock, connections,
    databases::judge,
    engine::{fault::Fault, round::Round},
};

/// How much clocks may differ, and a call may take.
const ALLOWANCE: Duration = Duration::from_hours(1);

/// How long credentials are used while the log is stuck.
const STUCK: Duration = Duration::from_mins(10);

/// Which Secret is to let the database do what with which bucket.
pub struct Wanted<'a> {
    /// Name of the Secret.
    pub secret: &'static str,
    /// The bucket.
    pub spec: &'a BucketSpec,
    /// What it lets the database do.
    pub access: Access,
    /// Where the store is.
    pub s3: &'a S3,
}

/// What became of it.
pub enum Outcome {
    /// The Secret stands, and what is in it lasts.
    Stands,
    /// It was written anew; when what is in it ends.
    Issued(Timestamp),
    /// It stands, and could not be renewed.
    Troubled(Fault),
}

impl Wanted<'_> {
    /// Sees to it that the Secret stands with credentials that last; `end` is when those in it end. Fails only if there are none.
    pub async fn see_to(
        &self,
        scene: &Scene<'_>,
        round: &mut Round<Facts>,
        end: Option<&Time>,
    ) -> Result<Outcome, Fault> {
        let cluster = scene.context.databases.cluster(&scene.facts.namespace().to_string());
        let left = until_renewal(end, cluster.is_some_and(|cluster| judge::stuck(&cluster).is_some()));
        let digest = self.open_part(scene, round);
        // Read first, so that nothing is issued before it is known that it can be written.
        let stands = self.is_as_written(scene, &digest).await?;
        if stands && !left.is_zero() {
            round.look_again(left);
            return Ok(Outcome::Stands);
        }
        match self.issue(scene, &digest).await {
            Ok(end) => Ok(Outcome::Issued(end)),
            Err(fault) if stands => Ok(Outcome::Troubled(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the Secret stands with what of it is no secret. Read once, and then remembered: nobody but us may write it.
    async fn is_as_written(&self, scene: &Scene<'_>, digest: &str) -> Result<bool, Fault> {
        let namespace = scene.facts.namespace().to_string();
        let databases = &scene.context.databases;
        if let Some(written) = databases.written(&namespace, self.secret) {
            return Ok(written == digest);
        }
        let api: Api<Secret> = Api::namespaced(scene.context.engine.client.clone(), &namespace);
        let doing = format!("read Secret {namespace}/{}", self.secret);
        let found = api.get_metadata_opt(self.secret).await.map_err(|error| Fault::api(&error, &doing))?;
        let is_right =
            found.is_some_and(|found| found.annotations().get(labels::DESIRED_HASH).is_some_and(|hash| hash == digest));
        if is_right {
            databases.wrote(&namespace, self.secret, digest.to_owned());
        }
        Ok(is_right)
    }

    /// A digest of what of the Secret is no secret, and of the very namespace that it is for: one that is made anew has none yet.
    fn open_part(&self, scene: &Scene<'_>, round: &Round<Facts>) -> String {
        let s3 = self.s3;
        let part = json!([
            scene.facts.labels(),
            self.spec.name(),
            s3.region,
            s3.endpoint,
            s3.ca_bundle,
            s3.credentials.secret
        ]);
        hash::of(&part, round.facts.namespace.as_ref().map(|namespace| namespace.uid.as_str()))
    }

    /// How the store's log calls who uses it.
    fn purpose(&self) -> &'static str {
        if self.secret == BACKUP { "backup" } else { "restore" }
    }

    /// Issues credentials and writes them into the stack. Returns when they end. If we die in between, the next round issues others, and
    /// these end by themselves.
    async fn issue(&self, scene: &Scene<'_>, digest: &str) -> Result<Timestamp, Fault> {
        let (context, class, spec) = (scene.context, scene.class, self.spec);
        let asked = IdentitySpec {
            bucket: spec.name(),
            purpose: spec.purpose,
            key_name: spec.key_name(),
            access: self.access,
            session_name: format!("{}@{}", self.purpose(), scene.facts.workspace),
            life: LONGEST_BACKUP_LIFE,
            // Known by nothing, so that they end with no consumer's.
            revocable_as: None,
        };
        let issued = context.connections.identities(class).await?.issue(&asked).await;
        connections::count(&context.engine.metrics, "identities", "issue", &issued);
        let issued = issued.map_err(|fault| context.connections.failed(class, fault))?;
        let granted = Duration::try_from(issued.expires_at.duration_since(clock::now())).unwrap_or_default();
        if granted + ALLOWANCE < LONGEST_BACKUP_LIFE {
            let message = format!(
                "the STS at {} issues credentials for less than 7 days (until {}): allow sessions of 7 days there",
                self.s3.endpoint, issued.expires_at
            );
            return Err(Fault::stalled(names::PROVIDER_REFUSED, message));
        }
        let namespace = scene.facts.namespace().to_string();
        let api: Api<Secret> = Api::namespaced(context.engine.client.clone(), &namespace);
        let params = PatchParams::apply(labels::MANAGER_WORKSPACE).force();
        let written =
            api.patch(self.secret, &params, &Patch::Apply(self.content(scene, &namespace, digest, &issued))).await;
        written.map_err(|error| Fault::api(&error, &format!("apply Secret {namespace}/{}", self.secret)))?;
        context.databases.wrote(&namespace, self.secret, digest.to_owned());
        tracing::info!(workspace = scene.name(), bucket = spec.name(), until = %issued.expires_at, "credentials for a bucket of backups were issued");
        Ok(issued.expires_at)
    }

    /// The Secret with them.
    fn content(&self, scene: &Scene<'_>, namespace: &str, digest: &str, issued: &IssuedCredentials) -> Secret {
        let s3 = self.s3;
        let bytes = |secret: &SecretString| ByteString(secret.expose_secret().as_bytes().to_vec());
        let mut data = BTreeMap::from([
            (ACCESS_KEY_ID.to_owned(), ByteString(issued.access_key_id.as_bytes().to_vec())),
            (SECRET_ACCESS_KEY.to_owned(), bytes(&issued.secret_access_key)),
            (SESSION_TOKEN.to_owned(), bytes(&issued.session_token)),
            (REGION.to_owned(), ByteString(s3.region.as_bytes().to_vec())),
        ]);
        if let Some(bundle) = &s3.ca_bundle {
            data.insert(STORE_CA.to_owned(), ByteString(bundle.as_bytes().to_vec()));
        }
        let metadata = ObjectMeta {
            name: Some(self.secret.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(scene.facts.labels()),
            annotations: Some(BTreeMap::from([(labels::DESIRED_HASH.to_owned(), digest.to_owned())])),
            ..ObjectMeta::default()
        };
        Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() }
    }
}

/// How long credentials that end then are good enough; zero if there are none. Where the log is stuck it may be for them: whoever changes
/// the store's account ends what was issued by it.
fn until_renewal(end: Option<&Time>, is_stuck: bool) -> Duration {
    let left = end.and_then(|end| Duration::try_from(end.0.duration_since(clock::now())).ok()).unwrap_or_default();
    let used = if is_stuck { STUCK } else { LONGEST_BACKUP_LIFE / 2 };
    left.saturating_sub(LONGEST_BACKUP_LIFE.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_at_half_their_life_and_every_ten_minutes_while_the_log_is_stuck() {
        let (life, minute) = (LONGEST_BACKUP_LIFE, Duration::from_mins(1));
        let ends_in = |left: Duration| Time(clock::now() + left);
        assert!(until_renewal(None, false).is_zero() && until_renewal(None, true).is_zero());
        assert!(until_renewal(Some(&ends_in(life)), false) > (life / 2).saturating_sub(minute));
        assert!(until_renewal(Some(&ends_in((life / 2).saturating_sub(minute))), false).is_zero());
        assert!(!until_renewal(Some(&ends_in(life.saturating_sub(9 * minute))), true).is_zero());
        assert!(until_renewal(Some(&ends_in(life.saturating_sub(11 * minute))), true).is_zero());
        assert!(!until_renewal(Some(&ends_in(life.saturating_sub(11 * minute))), false).is_zero());
    }
}
