//! Tests of sessions: how they begin, go on, end and are told of.

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
fn all_of_a_session_is_taken_back_in_one_way_and_by_one_account() {
    let (immediate, by_expiry) = (Revocation::Immediate, Revocation::ByExpiry);
    for (before, issuer, now, goes) in [
        (None, None, immediate, true),
        (None, None, by_expiry, true),
        (Some(immediate), Some("ours"), immediate, true),
        (Some(by_expiry), Some("ours"), by_expiry, true),
        // From before that was noted.
        (Some(immediate), None, immediate, true),
        (Some(immediate), Some("ours"), by_expiry, false),
        (Some(by_expiry), Some("ours"), immediate, false),
        (Some(immediate), Some("another"), immediate, false),
    ] {
        let session =
            ConsumerBucketStatus { revocation: before, issuer: issuer.map(str::to_owned), ..session(BucketUse::Read) };
        let named = ConsumerBucketStatus { revocation: Some(now), issuer: Some("ours".to_owned()), ..session.clone() };
        assert_eq!(goes_on(&session, now, "ours"), goes.then_some(named), "{before:?} {issuer:?} {now:?}");
    }
}

#[test]
fn what_gives_way_to_another_account_has_its_time_and_nobody_is_told_of_it() {
    let mut all = Vec::new();
    let known = ConsumerBucketStatus { revocation: Some(Revocation::Immediate), ..session(BucketUse::Read) };
    outlive(&mut all, &consumer(), known);
    assert_eq!(all.iter().map(|it| until_told(it, clock::now())).collect::<Vec<_>>(), [None]);
    assert!(
        until(all[0].ends_at.0, clock::now()) > LONGEST_REVOCABLE_LIFE / 2,
        "it lives as long as it was issued for"
    );
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
