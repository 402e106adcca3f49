//! Identities in memory: they differ, and end as those of a store do.

use std::time::Duration;

use super::super::*;
use crate::{
    buckets::Purpose,
    identities::{Access, Identities, IdentitySpec, Revocation},
};

#[tokio::test]
async fn identities_differ_and_show_no_secret() {
    let world = World::new();
    let identities = Identities::Memory(MemoryIdentities::new(&world));
    let spec = IdentitySpec {
        bucket: "steading-x".to_owned(),
        purpose: Purpose::Data,
        key_name: None,
        access: Access::Read,
        session_name: "finance".to_owned(),
        life: Duration::from_hours(1),
        revocable_as: None,
    };
    let (first, second) = (identities.issue(&spec).await.unwrap(), identities.issue(&spec).await.unwrap());
    assert_ne!(first.access_key_id, second.access_key_id);
    assert!(!format!("{first:?}").contains("memory-secret"));
}

#[tokio::test]
async fn what_is_revoked_in_memory_is_what_has_that_name_and_only_where_that_can_be_done() {
    let world = World::new();
    let identities = Identities::Memory(MemoryIdentities::new(&world));
    let issue = async |name: Option<&str>| {
        let spec = IdentitySpec {
            bucket: "steading-x".to_owned(),
            purpose: Purpose::Data,
            key_name: None,
            access: Access::Read,
            session_name: "finance".to_owned(),
            life: Duration::from_hours(1),
            revocable_as: name.map(str::to_owned),
        };
        identities.issue(&spec).await.unwrap().access_key_id
    };
    let (one, other, backup) = (issue(Some("one")).await, issue(Some("other")).await, issue(None).await);
    let revoked = || {
        let all = world.identities();
        [&one, &other, &backup].map(|key| all[key].is_revoked)
    };
    world.revokes(Revocation::ByExpiry);
    assert_eq!(identities.revoke("one").await.unwrap(), Revocation::ByExpiry);
    assert_eq!(revoked(), [false; 3]);
    world.revokes(Revocation::Immediate);
    world.signs_in_as("another");
    assert_eq!(identities.revoke("one").await.unwrap(), Revocation::Immediate);
    assert_eq!(revoked(), [false; 3], "another account issued them");
    world.signs_in_as("steading");
    assert_eq!(identities.revoke("one").await.unwrap(), Revocation::Immediate);
    assert_eq!(revoked(), [true, false, false]);
}
