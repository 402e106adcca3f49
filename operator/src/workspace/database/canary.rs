//! The canary of a database: a role that may do nothing but write its own rows, and one pod that signs in as it.

use desired::{
    canary::{self, CANARY},
    database::Database,
    fields::Kind,
};
use serde_json::Value;

use super::{super::Facts, Scene};
use crate::{
    databases::Role,
    engine::{children::Key, fault::Fault, round::Round},
};

impl Scene<'_> {
    /// Makes the canary stand. Its pod comes once it can sign in: before, the kubelet would look for its certificate ever more seldom.
    pub(super) async fn canary(&self, wanted: &Database, round: &Round<Facts>) -> Result<(), Fault> {
        self.stand(canary::role(self.facts), round).await?;
        let namespace = Some(self.facts.namespace().to_string());
        let key = Key { kind: Kind::Deployment, namespace, name: CANARY.to_owned() };
        // One that stands is kept as it must be in any case: it may be suspended before its role was seen to.
        if self.can_sign_in(CANARY) || self.context.children.get(&key).is_some() {
            self.stand(canary::deployment(self.facts, wanted, &self.context.image), round).await?;
        }
        Ok(())
    }

    /// Makes one object be as it should.
    pub(super) async fn stand(&self, (kind, object): (Kind, Value), round: &Round<Facts>) -> Result<(), Fault> {
        self.applier(round).apply(kind, &object, None).await.map(drop)
    }

    /// Whether the role of this `DatabaseRole` is in its database and has a certificate.
    pub(super) fn can_sign_in(&self, role: &str) -> bool {
        let role = self.context.databases.role(self.facts.namespace().as_str(), role);
        role.is_some_and(|role: Role| {
            let certificate = role.status.client_certificate.as_ref();
            role.is_applied() && certificate.is_some_and(|issued| issued.expiration.is_some())
        })
    }
}
