//! Credentials for the bucket in a consumer's Secret: issued by the store for this one bucket, under a field manager of their own, so that
//! what the Secret says of the database is nobody's business here. Renewed at half their life; those before stay good until their end.

use std::{collections::BTreeMap, time::Duration};

use api::{
    conditions as names,
    consumer::{BucketUse, ConsumerBucketStatus, ConsumerStatus, Revocation},
    labels,
    tenant_class::S3,
};
use desired::{consumer::Consumer, hash};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use providers::{Access, BucketSpec, Identities, IdentitySpec, IssuedCredentials, Purpose};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{
    super::{Facts, WOKEN_ANYWAY, provision},
    Scene,
    secret::Entries,
    sessions,
};
use crate::{
    clock, connections,
    engine::{fault::Fault, round::Round},
};

/// The bucket as a consumer reaches it.
struct Place<'a> {
    spec: BucketSpec,
    s3: &'a S3,
}

/// What became of a session in a round.
pub(super) enum Outcome {
    /// The Secret holds credentials that last.
    Holds(ConsumerBucketStatus),
    /// It is known how they will end. Once status says so, some are issued.
    Begins(ConsumerBucketStatus),
    /// The store takes credentials back otherwise than those of this session: it must end, and another begin.
    Ends,
    /// Another account issued those of this session: it has its time, and another begins.
    Outlives,
}

impl Scene<'_> {
    /// Sees to it that the Secret holds credentials that last. `known` is what status remembers of the consumer, its session included.
    pub(super) async fn bucket(
        &self,
        consumer: &Consumer,
        known: &ConsumerStatus,
        session: &ConsumerBucketStatus,
        round: &mut Round<Facts>,
    ) -> Result<Outcome, Fault> {
        let left = until_renewal(session);
        let look = self.context.until_next_look(session.observed_at.as_ref().map(|time| time.0));
        if !left.is_zero() && !look.is_zero() {
            round.look_again(left.min(look));
            return Ok(Outcome::Holds(session.clone()));
        }
        let place = self.place(round)?;
        let identities = self.context.connections.identities(self.plan.class).await?;
        let issuer = sessions::issuer(self.plan.class, &identities);
        let is_ours = !sessions::is_of_another(session.issuer.as_deref(), &issuer);
        let is_there = is_ours && !left.is_zero() && self.holds(consumer, &place.digest(session)).await?;
        let seen = if is_there {
            session.clone()
        } else {
            let revocation = identities.revocation().await;
            let revocation = revocation.map_err(|fault| self.context.connections.failed(self.plan.class, fault))?;
            match sessions::goes_on(session, sessions::told(revocation), &issuer) {
                None if !is_ours => return Ok(Outcome::Outlives),
                None => return Ok(Outcome::Ends),
                // Or what we issue and cannot note could live for longer than status says.
                Some(named) if named != *session => {
                    round.look_again(Duration::ZERO);
                    return Ok(Outcome::Begins(named));
                }
                Some(named) => self.issue(&identities, consumer, known, named, &place).await?,
            }
        };
        let seen = ConsumerBucketStatus { observed_at: Some(Time(clock::now())), ..seen };
        round.look_again(until_renewal(&seen).min(self.context.evidence / 2));
        Ok(Outcome::Holds(seen))
    }

    /// The bucket, once it is made.
    fn place(&self, round: &Round<Facts>) -> Result<Place<'_>, Fault> {
        let before = self.workspace.status.as_ref().and_then(|status| status.bucket.as_ref());
        let is_made = round.facts.bucket.as_ref().or(before).is_some_and(|bucket| bucket.observed_at.is_some());
        if !is_made {
            let message = "the bucket is not made yet: see the condition BucketReady";
            return Err(Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message));
        }
        let owner = self.plan.tenant.status.as_ref().and_then(|status| status.identity.clone()).unwrap_or_default();
        let class = self.plan.class;
        let spec = provision::spec(self.context, class, &owner.parse()?, &self.facts.identity, Purpose::Data)?;
        let s3 = class.spec.buckets.s3.as_ref();
        let s3 = s3.ok_or_else(|| Fault::stalled(names::INVALID_SPEC, "the class names no place for buckets"))?;
        Ok(Place { spec, s3 })
    }

    /// Whether the Secret is there with what was issued for it last. A patch that changes nothing tells: we may not read there. Only what
    /// it is marked with comes back.
    async fn holds(&self, consumer: &Consumer, digest: &str) -> Result<bool, Fault> {
        let (namespace, name) = (consumer.namespace.as_str(), consumer.secret(self.facts));
        let api: Api<Secret> = Api::namespaced(self.context.engine.client.clone(), namespace);
        let params =
            PatchParams { field_manager: Some(labels::MANAGER_CONSUMER_BUCKET.to_owned()), ..Default::default() };
        match api.patch_metadata(&name, &params, &Patch::Merge(json!({}))).await {
            Ok(found) => Ok(found.annotations().get(labels::DESIRED_HASH).is_some_and(|it| it == digest)),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(Fault::api(&error, &format!("look at Secret {namespace}/{name}"))),
        }
    }

    /// Issues credentials and writes them. If we die in between, the next round issues others; all of them end with their session.
    async fn issue(
        &self,
        identities: &Identities,
        consumer: &Consumer,
        known: &ConsumerStatus,
        session: ConsumerBucketStatus,
        place: &Place<'_>,
    ) -> Result<ConsumerBucketStatus, Fault> {
        let (context, class) = (self.context, self.plan.class);
        let asked = place.asked(known, &session, &self.facts.workspace.to_string());
        let issued = identities.issue(&asked).await;
        connections::count(&context.engine.metrics, "identities", "issue", &issued);
        let issued = issued.map_err(|fault| context.connections.failed(class, fault))?;
        lasts(&issued, asked.life, &place.s3.endpoint)?;
        let issued_for = ConsumerBucketStatus { expires_at: Some(Time(whole(issued.expires_at))), ..session };
        let data = place.content(&issued, &issued_for);
        self.write(Entries::BUCKET, consumer, data, Some(place.digest(&issued_for))).await?;
        tracing::info!(
            namespace = known.namespace,
            service_account = known.service_account,
            bucket = asked.bucket,
            until = %issued.expires_at,
            "credentials for a bucket were issued to a consumer"
        );
        Ok(issued_for)
    }

    /// Takes what the Secret says of the bucket out of it, where something else stays.
    pub(super) async fn without_bucket(&self, consumer: &Consumer) -> Result<(), Fault> {
        self.write(Entries::BUCKET, consumer, BTreeMap::new(), None).await
    }
}

impl Place<'_> {
    /// A digest of what the Secret says that is no secret, and of which credentials it holds.
    fn digest(&self, session: &ConsumerBucketStatus) -> String {
        let s3 = self.s3;
        let end = session.expires_at.as_ref().map(|end| end.0.to_string());
        let parts =
            json!([self.spec.name(), s3.endpoint, s3.region, s3.ca_bundle, session.session, session.access, end]);
        hash::of(&parts, None)
    }

    fn asked(&self, known: &ConsumerStatus, session: &ConsumerBucketStatus, workspace: &str) -> IdentitySpec {
        let revocation = session.revocation.unwrap_or(Revocation::ByExpiry);
        // For the store's log only.
        let session_name = format!("{}@{workspace}.{}", known.service_account, known.namespace);
        IdentitySpec {
            bucket: self.spec.name(),
            purpose: self.spec.purpose,
            key_name: self.spec.key_name(),
            access: match session.access {
                BucketUse::Read => Access::Read,
                BucketUse::ReadWrite => Access::ReadWrite,
            },
            session_name: session_name.chars().take(64).collect(),
            life: sessions::life(revocation),
            revocable_as: (revocation == Revocation::Immediate).then(|| session.session.clone()),
        }
    }

    /// What the Secret says of the bucket.
    fn content(&self, issued: &IssuedCredentials, session: &ConsumerBucketStatus) -> BTreeMap<String, ByteString> {
        let end = session.expires_at.as_ref().map(|end| end.0.to_string()).unwrap_or_default();
        let mut content = BTreeMap::from([
            ("bucket", self.spec.name()),
            ("bucket-endpoint", self.s3.endpoint.clone()),
            ("bucket-region", self.s3.region.clone()),
            ("bucket-access-key-id", issued.access_key_id.clone()),
            ("bucket-secret-access-key", issued.secret_access_key.expose_secret().to_owned()),
            ("bucket-session-token", issued.session_token.expose_secret().to_owned()),
            ("bucket-expires-at", end),
        ]);
        if let Some(bundle) = &self.s3.ca_bundle {
            content.insert("bucket-ca.crt", bundle.clone());
        }
        content.into_iter().map(|(entry, text)| (entry.to_owned(), ByteString(text.into_bytes()))).collect()
    }
}

/// Refuses credentials that would have to be renewed at once, again and again.
fn lasts(issued: &IssuedCredentials, life: Duration, endpoint: &str) -> Result<(), Fault> {
    let granted = Duration::try_from(issued.expires_at.duration_since(clock::now())).unwrap_or_default();
    if granted >= life * 3 / 4 {
        return Ok(());
    }
    let message = format!(
        "the STS at {endpoint} issues credentials for less than {} hours: allow sessions as long as that there, and check the clocks",
        life.as_secs() / 3600
    );
    Err(Fault::stalled(names::PROVIDER_REFUSED, message))
}

/// How long what was issued last is good enough; zero if nothing was.
fn until_renewal(session: &ConsumerBucketStatus) -> Duration {
    let (Some(end), Some(revocation)) = (&session.expires_at, session.revocation) else { return Duration::ZERO };
    let left = Duration::try_from(end.0.duration_since(clock::now())).unwrap_or_default();
    left.saturating_sub(sessions::life(revocation) / 2)
}

/// As status keeps it, so that what is read back is what was meant.
pub(super) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_in(left: Duration, revocation: Option<Revocation>) -> ConsumerBucketStatus {
        ConsumerBucketStatus {
            access: BucketUse::Read,
            session: "a".into(),
            revocation,
            issuer: None,
            expires_at: Some(Time(clock::now() + left)),
            observed_at: None,
        }
    }

    #[test]
    fn credentials_are_renewed_at_half_their_life_however_they_are_taken_back() {
        let minute = Duration::from_mins(1);
        for (revocation, half) in
            [(Revocation::Immediate, Duration::from_hours(12)), (Revocation::ByExpiry, Duration::from_mins(30))]
        {
            let left = |left| until_renewal(&ends_in(left, Some(revocation)));
            assert!(left(half.saturating_sub(minute)).is_zero(), "{revocation:?}");
            assert!(!left(half + minute).is_zero() && left(half + minute) <= minute, "{revocation:?}");
        }
        assert!(until_renewal(&ends_in(Duration::from_hours(24), None)).is_zero(), "nothing was issued");
    }

    #[test]
    fn a_store_that_issues_for_too_short_is_named() {
        let issued = |hours| IssuedCredentials {
            access_key_id: "key".into(),
            secret_access_key: "hidden".into(),
            session_token: "hidden".into(),
            expires_at: clock::now() + Duration::from_hours(hours),
        };
        let day = Duration::from_hours(24);
        assert!(lasts(&issued(24), day, "https://s3.example").is_ok());
        let fault = lasts(&issued(12), day, "https://s3.example").unwrap_err();
        assert!(fault.message.contains("https://s3.example") && fault.message.contains("24 hours"), "{fault}");
        let another = lasts(&issued(11), day, "https://s3.example").unwrap_err();
        assert_eq!(fault, another, "status would be written at each try");
    }
}
