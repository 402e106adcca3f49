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
use providers::{
    Identities,
    identities::{LONGEST_LIFE, LONGEST_REVOCABLE_LIFE, READ_AGAIN},
};
use serde_json::json;

use super::{super::Facts, super::observe, bucket::whole, known};
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
    /// Why credentials live on that another account issued than the class names now.
    pub astray: Option<Fault>,
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
    ConsumerBucketStatus { access, session, revocation: None, issuer: None, expires_at: None, observed_at: None }
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

/// Who issues for a class, as status has it.
pub fn issuer(class: &TenantClass, identities: &Identities) -> String {
    let endpoint = class.spec.buckets.s3.as_ref().map(|s3| &s3.endpoint);
    desired::hash::of(&json!([endpoint, identities.account()]), None).chars().take(16).collect()
}

/// The session as more may be issued for it with this answer of the store, by this account; `None` if it must end, because all of it ends in
/// one way.
pub fn goes_on(session: &ConsumerBucketStatus, revocation: Revocation, issuer: &str) -> Option<ConsumerBucketStatus> {
    let is_one_way = session.revocation.is_none_or(|before| before == revocation)
        && !is_of_another(session.issuer.as_deref(), issuer);
    is_one_way.then(|| ConsumerBucketStatus {
        revocation: Some(revocation),
        issuer: Some(issuer.to_owned()),
        ..session.clone()
    })
}

/// Whether somebody else than this account issued it, as far as is known.
pub fn is_of_another(before: Option<&str>, issuer: &str) -> bool {
    before.is_some_and(|before| before != issuer)
}

/// Adds a session that gives way to one of another account. Nobody took it back, so it has its time, as what is renewed has; and the account that
/// the class names now could not end it.
pub fn outlive(ending: &mut Vec<EndingCredentials>, consumer: &ConsumerStatus, session: ConsumerBucketStatus) {
    let name = session.session.clone();
    add(ending, consumer, session);
    for it in ending.iter_mut().filter(|it| it.session == name) {
        it.revocation = Some(Revocation::ByExpiry);
    }
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
        issuer: session.issuer,
        ends_at: Time(whole(last)),
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
    let (mut left, mut failed, mut refused, mut astray) = (Vec::new(), None, None, None);
    for mut session in all.into_iter().filter(|session| session.ends_at.0 > clock::now()) {
        if failed.is_none() && until_told(&session, clock::now()) == Some(Duration::ZERO) {
            match revoke(context, class, &session).await {
                Ok(Some(answer)) => match note(&mut session, answer, clock::now()) {
                    Answered::Over => continue,
                    Answered::Ends => {}
                    Answered::LivesOn => {
                        refused = refused.or_else(|| Some(lives_on(class, &session)));
                        round.look_again(TOLD_AGAIN);
                    }
                },
                // The one before had told at least one node of the store.
                Ok(None) if session.revoked_at.is_some() => {}
                Ok(None) => {
                    astray = astray.or_else(|| Some(went_astray(class, &session)));
                    round.look_again(TOLD_AGAIN);
                }
                Err(fault) => failed = Some(fault),
            }
        }
        let now = clock::now();
        let again = until_told(&session, now).filter(|left| !left.is_zero());
        round.look_again(again.unwrap_or_else(|| until(session.ends_at.0, now)));
        left.push(session);
    }
    Ends { left, failed, refused, astray }
}

/// Why a session lives on, and how it can be ended.
fn lives_on(class: &TenantClass, session: &EndingCredentials) -> Fault {
    let store = class.spec.buckets.s3.as_ref().map_or("of the class", |s3| s3.endpoint.as_str());
    let EndingCredentials { namespace, service_account, ends_at, .. } = session;
    let message = format!(
        "the store {store} does not revoke any more: what {namespace}/{service_account} had for the bucket lives on, until {} at the latest; let Steading reach /minio/admin/v3/revoke-tokens/ and /minio/admin/v3/list-service-accounts there again",
        ends_at.0
    );
    Fault::waiting(TOLD_AGAIN, names::PROGRESSING, message)
}

/// Why a session lives on that the account of the class cannot end.
fn went_astray(class: &TenantClass, session: &EndingCredentials) -> Fault {
    let EndingCredentials { namespace, service_account, ends_at, .. } = session;
    let message = format!(
        "what {namespace}/{service_account} had for the bucket was issued by another account than TenantClass {} names now, or at another store, and lives on until {} at the latest: disable that account there, or name it in the class again",
        class.name_any(),
        ends_at.0
    );
    Fault::waiting(TOLD_AGAIN, names::PROGRESSING, message)
}

/// Tells the store of one session; `None` if another account issued it, whose sessions ours cannot end.
async fn revoke(
    context: &Context,
    class: &TenantClass,
    session: &EndingCredentials,
) -> Result<Option<Revocation>, Fault> {
    let identities = context.connections.identities(class).await?;
    if is_of_another(session.issuer.as_deref(), &issuer(class, &identities)) {
        return Ok(None);
    }
    let answer = identities.revoke(&session.session).await;
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
    Ok(Some(told(answer)))
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
    let latest = ends.left.iter().filter(|it| it.revoked_at.is_none()).map(|it| it.ends_at.0).max();
    round.facts.ending_credentials = Some(ends.left);
    if let Some(fault) = ends.astray {
        // Whoever changed the account can end it, and nobody else: waiting would not.
        tracing::warn!(workspace = %workspace.name_any(), message = fault.message, "credentials for its bucket outlive it");
    }
    ends.failed.or(ends.refused).map_or(Ok(()), |fault| Err(waits_until(latest, fault)))
}

/// Until when a Workspace that goes waits for a store that does not revoke.
fn waits_until(latest: Option<Timestamp>, fault: Fault) -> Fault {
    let Some(latest) = latest else { return fault };
    let message = format!("{}; it ends by itself, and the Workspace goes on without it, at {latest}", fault.message);
    Fault { message, ..fault }
}

/// Why a consumer waits for credentials whose session began under another answer of the store.
pub fn otherwise(consumer: &ConsumerStatus) -> Fault {
    let message = format!(
        "the store takes credentials back otherwise than when those of {}/{} were issued, or another account issues them now: others are issued",
        consumer.namespace, consumer.service_account
    );
    Fault::waiting(Duration::from_secs(1), names::PROGRESSING, message)
}

/// Why a consumer has no credentials yet.
pub fn begins(consumer: &ConsumerStatus) -> Fault {
    let message =
        format!("credentials for the bucket are being issued to {}/{}", consumer.namespace, consumer.service_account);
    Fault::waiting(Duration::ZERO, names::PROGRESSING, message)
}

/// Why nothing begins for the bucket.
pub fn too_many() -> Fault {
    let message = format!(
        "more than {MOST_ENDING} credentials for the bucket were taken back lately: no others are issued before some of them have ended"
    );
    Fault::waiting(Duration::from_mins(5), names::PROGRESSING, message)
}

#[cfg(test)]
mod tests;
