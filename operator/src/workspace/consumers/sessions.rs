//! Credentials for the bucket, from before they are issued until they are good for nothing: all that a consumer gets for one purpose is
//! one session, which has a name at the store and is ended by it.
//!
//! In: what a consumer had and may have. Out: the session that it goes on with; those that end, told to the store at once and once more
//! when each node of it must know of what the others issued.

use std::time::Duration;

use api::{
    Identity, TenantClass, Workspace, conditions as names,
    consumer::{BucketUse, ConsumerBucketStatus, ConsumerStatus, EndingCredentials, Revocation},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use providers::identities::{LONGEST_LIFE, LONGEST_REVOCABLE_LIFE, READ_AGAIN};
use serde_json::json;

use super::{super::Facts, super::observe, known};
use crate::{
    clock, connections,
    context::Context,
    engine::{fault::Fault, round::Round},
};

/// How many sessions may be ending before no other begins: twice as many fit into status.
pub const MOST_ENDING: usize = 100;

/// How soon a store is told again that has unlearned to end what it issued.
const TOLD_AGAIN: Duration = Duration::from_mins(1);

/// What came of telling the store of sessions that end.
pub struct Ends {
    /// Those of which something may be left.
    pub left: Vec<EndingCredentials>,
    /// Why the store was not told of all.
    pub failed: Option<Fault>,
    /// Why credentials live on that the store could end when it issued them.
    pub refused: Option<Fault>,
}

/// What the store's answer means for a session that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// Nothing can be left of it.
    Over,
    /// It ends: it is dead where the store was told, or it has its time.
    Ends,
    /// It was to end at once, and the store does not do that any more.
    LivesOn,
}

/// How long credentials live that are taken back like this.
pub fn life(revocation: Revocation) -> Duration {
    match revocation {
        Revocation::Immediate => LONGEST_REVOCABLE_LIFE,
        Revocation::ByExpiry => LONGEST_LIFE,
    }
}

/// What a provider says of itself, as status has it.
pub fn told(revocation: providers::Revocation) -> Revocation {
    match revocation {
        providers::Revocation::Immediate => Revocation::Immediate,
        providers::Revocation::ByExpiry => Revocation::ByExpiry,
    }
}

/// A session that nothing was issued for yet. Its name is that of no other, and nobody can choose it: neither another consumer's nor
/// one that this consumer had before ends with it.
pub fn begun(workspace: &Identity, consumer: &ConsumerStatus, access: BucketUse) -> ConsumerBucketStatus {
    let parts = json!([
        workspace.to_string(),
        consumer.namespace_uid,
        consumer.namespace,
        consumer.service_account,
        rand::random::<u64>(),
    ]);
    let session = desired::hash::of(&parts, None).chars().take(40).collect();
    ConsumerBucketStatus { access, session, revocation: None, expires_at: None, observed_at: None }
}

/// What is left of a session where no more than this may be used: it goes on, also where more may be used by now, or it ends.
pub fn kept(
    had: Option<ConsumerBucketStatus>,
    may: Option<BucketUse>,
) -> Result<Option<ConsumerBucketStatus>, ConsumerBucketStatus> {
    match (had, may) {
        (None, _) => Ok(None),
        (Some(had), Some(BucketUse::ReadWrite)) => Ok(Some(had)),
        (Some(had), Some(BucketUse::Read)) if had.access == BucketUse::Read => Ok(Some(had)),
        (Some(had), _) => Err(had),
    }
}

/// Whether more may be issued for a session with this answer of the store: all of it must end in one way.
pub fn goes_on(session: &ConsumerBucketStatus, revocation: Revocation) -> bool {
    session.revocation.is_none_or(|before| before == revocation)
}

/// Adds a session to those that end, unless it is one of them: each has one entry in status.
pub fn add(ending_already: &mut Vec<EndingCredentials>, consumer: &ConsumerStatus, session: ConsumerBucketStatus) {
    if ending_already.iter().all(|it| it.session != session.session) {
        ending_already.push(ending(consumer, session));
    }
}

/// A session that ends. Credentials that were issued and forgotten last as long as if they had been issued now.
fn ending(consumer: &ConsumerStatus, session: ConsumerBucketStatus) -> EndingCredentials {
    let revocation = session.revocation;
    let forgotten = clock::now() + life(revocation.unwrap_or(Revocation::Immediate));
    let last = session.expires_at.map_or(forgotten, |end| end.0.max(forgotten));
    EndingCredentials {
        namespace: consumer.namespace.clone(),
        service_account: consumer.service_account.clone(),
        session: session.session,
        revocation,
        ends_at: Time(last),
        revoked_at: None,
    }
}

/// How long until the store must be told of it; `None` if never.
fn until_told(ending: &EndingCredentials, now: Timestamp) -> Option<Duration> {
    match (ending.revocation, &ending.revoked_at) {
        (Some(Revocation::ByExpiry), _) => None,
        (_, None) => Some(Duration::ZERO),
        (_, Some(first)) => Some(until(first.0 + READ_AGAIN, now)),
    }
}

/// Notes what the store answered. That it cannot end anything counts only for what was never known to be ended by it: whatever shuts its
/// administration off says the same, and credentials that live for a day would be forgotten.
fn note(session: &mut EndingCredentials, answer: Revocation, now: Timestamp) -> Answered {
    match (answer, session.revocation) {
        (Revocation::Immediate, _) if session.revoked_at.is_some() => return Answered::Over,
        (Revocation::Immediate, _) => session.revoked_at = Some(Time(now)),
        (Revocation::ByExpiry, Some(Revocation::Immediate)) => return Answered::LivesOn,
        (Revocation::ByExpiry, _) => {}
    }
    session.revocation = Some(answer);
    Answered::Ends
}

fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// Tells the store of sessions that end, and forgets those of which nothing can be left. What the store does not take now is tried again.
pub async fn end(
    context: &Context,
    class: &TenantClass,
    all: Vec<EndingCredentials>,
    round: &mut Round<Facts>,
) -> Ends {
    let (mut left, mut failed, mut refused) = (Vec::new(), None, None);
    for mut session in all.into_iter().filter(|session| session.ends_at.0 > clock::now()) {
        if failed.is_none() && until_told(&session, clock::now()) == Some(Duration::ZERO) {
            match revoke(context, class, &session).await {
                Ok(answer) => match note(&mut session, answer, clock::now()) {
                    Answered::Over => continue,
                    Answered::Ends => {}
                    Answered::LivesOn => {
                        refused = refused.or_else(|| Some(lives_on(class, &session)));
                        round.look_again(TOLD_AGAIN);
                    }
                },
                Err(fault) => failed = Some(fault),
            }
        }
        let now = clock::now();
        let again = until_told(&session, now).filter(|left| !left.is_zero());
        round.look_again(again.unwrap_or_else(|| until(session.ends_at.0, now)));
        left.push(session);
    }
    Ends { left, failed, refused }
}

/// Why a session lives on, and how it can be ended.
fn lives_on(class: &TenantClass, session: &EndingCredentials) -> Fault {
    let store = class.spec.buckets.s3.as_ref().map_or("of the class", |s3| s3.endpoint.as_str());
    let EndingCredentials { namespace, service_account, .. } = session;
    let message = format!(
        "the store {store} does not revoke any more: what {namespace}/{service_account} had for the bucket lives on, until the time in status.endingCredentials at the latest; let Steading reach /minio/admin/v3/revoke-tokens/ and /minio/admin/v3/list-service-accounts there again"
    );
    Fault::waiting(TOLD_AGAIN, names::PROGRESSING, message)
}

async fn revoke(context: &Context, class: &TenantClass, session: &EndingCredentials) -> Result<Revocation, Fault> {
    let answer = context.connections.identities(class).await?.revoke(&session.session).await;
    connections::count(&context.engine.metrics, "identities", "revoke", &answer);
    let answer = answer.map_err(|fault| {
        let whose = format!("{}/{}", session.namespace, session.service_account);
        let fault = context.connections.failed(class, fault);
        let message = format!("what {whose} had for the bucket is not ended yet: {}", fault.message);
        Fault { message, ..fault }
    })?;
    tracing::info!(
        namespace = session.namespace,
        service_account = session.service_account,
        session = session.session,
        how = ?answer,
        "the store was told to end credentials for a bucket"
    );
    Ok(told(answer))
}

/// Ends all sessions of a Workspace that goes. Told once: where its bucket stays, what another node of the store issued in the last
/// minutes can live on until its end.
pub async fn end_all(context: &Context, workspace: &Workspace, round: &mut Round<Facts>) -> Result<(), Fault> {
    let mut all = workspace.status.as_ref().map(|status| status.ending_credentials.clone()).unwrap_or_default();
    for consumer in known(workspace) {
        if let Some(session) = consumer.bucket.clone() {
            add(&mut all, consumer, session);
        }
    }
    if all.iter().all(|session| session.revoked_at.is_some()) {
        return Ok(());
    }
    // Status names them whatever comes in between: consumers forget theirs in this round.
    round.facts.ending_credentials = Some(all.clone());
    let Some(tenant) = context.tenant(&workspace.namespace().unwrap_or_default()) else {
        tracing::warn!(workspace = %workspace.name_any(), "its Tenant is gone, so credentials for its bucket end at their time");
        return Ok(());
    };
    let class = observe::class(context, &tenant)?;
    let ends = end(context, &class, all, round).await;
    round.facts.ending_credentials = Some(ends.left);
    ends.failed.or(ends.refused).map_or(Ok(()), Err)
}

/// Why a consumer waits for credentials whose session began under another answer of the store.
pub fn otherwise(consumer: &ConsumerStatus) -> Fault {
    let message = format!(
        "the store takes credentials back otherwise than when those of {}/{} were issued: these end, and others are issued",
        consumer.namespace, consumer.service_account
    );
    Fault::waiting(Duration::from_secs(1), names::PROGRESSING, message)
}

/// Why nothing begins for the bucket.
pub fn too_many() -> Fault {
    let message = format!(
        "more than {MOST_ENDING} credentials for the bucket were taken back lately: no others are issued before some of them have ended"
    );
    Fault::waiting(Duration::from_mins(5), names::PROGRESSING, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer() -> ConsumerStatus {
        ConsumerStatus {
            namespace: "shop".into(),
            namespace_uid: "uid".into(),
            service_account: "billing".into(),
            role: None,
            secret: "acme.finance.billing".into(),
            certificate_expires_at: None,
            observed_at: None,
            bucket: None,
            authorization: None,
        }
    }

    fn session(access: BucketUse) -> ConsumerBucketStatus {
        begun(&"11111111-1111-4111-8111-111111111111".parse().unwrap(), &consumer(), access)
    }

    #[test]
    fn a_session_goes_on_unless_less_may_be_used() {
        let (read, write) = (session(BucketUse::Read), session(BucketUse::ReadWrite));
        assert_eq!(kept(Some(read.clone()), Some(BucketUse::Read)), Ok(Some(read.clone())));
        assert_eq!(kept(Some(read.clone()), Some(BucketUse::ReadWrite)), Ok(Some(read.clone())));
        assert_eq!(kept(Some(write.clone()), Some(BucketUse::ReadWrite)), Ok(Some(write.clone())));
        assert_eq!(kept(Some(write.clone()), Some(BucketUse::Read)), Err(write.clone()));
        assert_eq!(kept(Some(write.clone()), None), Err(write));
        assert_eq!(kept(Some(read.clone()), None), Err(read));
        assert_eq!(kept(None, Some(BucketUse::ReadWrite)), Ok(None));
    }

    #[test]
    fn no_two_sessions_have_a_name_in_common_and_each_name_is_one_that_a_store_takes() {
        let (one, other) = (session(BucketUse::Read).session, session(BucketUse::Read).session);
        assert_ne!(one, other);
        assert!(one.len() == 40 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }

    #[test]
    fn the_store_is_told_at_once_and_again_when_all_of_it_knows() {
        let now = clock::now();
        let mut ends = ending(&consumer(), session(BucketUse::Read));
        assert_eq!(until_told(&ends, now), Some(Duration::ZERO));
        ends.revoked_at = Some(Time(now));
        assert_eq!(until_told(&ends, now), Some(READ_AGAIN));
        assert_eq!(until_told(&ends, now + READ_AGAIN), Some(Duration::ZERO));
        ends.revocation = Some(Revocation::ByExpiry);
        assert_eq!(until_told(&ends, now), None);
    }

    /// One that ends and was known to end like this.
    fn known_to_end(revocation: Option<Revocation>) -> EndingCredentials {
        ending(&consumer(), ConsumerBucketStatus { revocation, ..session(BucketUse::Read) })
    }

    #[test]
    fn what_a_store_could_end_is_not_forgotten_when_something_says_that_it_cannot() {
        let now = clock::now();
        let mut ends = known_to_end(Some(Revocation::Immediate));
        let before = ends.clone();
        assert_eq!(note(&mut ends, Revocation::ByExpiry, now), Answered::LivesOn);
        assert_eq!(ends, before);
        assert_eq!(until_told(&ends, now), Some(Duration::ZERO));
        assert_eq!(note(&mut ends, Revocation::Immediate, now), Answered::Ends);
        assert_eq!(ends.revoked_at, Some(Time(now)));
        assert_eq!(note(&mut ends, Revocation::ByExpiry, now), Answered::LivesOn);
        assert_eq!(note(&mut ends, Revocation::Immediate, now), Answered::Over);
    }

    #[test]
    fn of_what_nobody_knows_how_it_ends_the_store_says_it() {
        let now = clock::now();
        for answer in [Revocation::Immediate, Revocation::ByExpiry] {
            let mut ends = known_to_end(None);
            assert_eq!(note(&mut ends, answer, now), Answered::Ends);
            assert_eq!(ends.revocation, Some(answer));
            assert_eq!(ends.revoked_at.is_some(), answer == Revocation::Immediate);
        }
    }

    #[test]
    fn all_of_a_session_is_taken_back_in_one_way() {
        let (immediate, by_expiry) = (Revocation::Immediate, Revocation::ByExpiry);
        for (before, now, goes) in [
            (None, immediate, true),
            (None, by_expiry, true),
            (Some(immediate), immediate, true),
            (Some(by_expiry), by_expiry, true),
            (Some(immediate), by_expiry, false),
            (Some(by_expiry), immediate, false),
        ] {
            let session = ConsumerBucketStatus { revocation: before, ..session(BucketUse::Read) };
            assert_eq!(goes_on(&session, now), goes, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_session_ends_once_however_often_it_is_said() {
        let (one, other) = (session(BucketUse::Read), session(BucketUse::Read));
        let mut all = Vec::new();
        for session in [&one, &other, &one] {
            add(&mut all, &consumer(), session.clone());
        }
        assert_eq!(all.iter().map(|it| &it.session).collect::<Vec<_>>(), [&one.session, &other.session]);
    }

    #[test]
    fn what_was_issued_and_forgotten_counts_as_issued_now() {
        let begun = session(BucketUse::Read);
        let soon = Time(clock::now() + Duration::from_mins(5));
        let of = |revocation| {
            let known = ConsumerBucketStatus { revocation, expires_at: Some(soon.clone()), ..begun.clone() };
            until(ending(&consumer(), known).ends_at.0, clock::now())
        };
        assert!(of(Some(Revocation::ByExpiry)) > LONGEST_LIFE / 2);
        assert!(of(Some(Revocation::Immediate)) > LONGEST_REVOCABLE_LIFE / 2);
        assert!(of(None) > LONGEST_REVOCABLE_LIFE / 2);
    }
}
