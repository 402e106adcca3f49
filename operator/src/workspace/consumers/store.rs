//! What a consumer's Secret says of the Tenant's store of authorization: where it is, which it is, and as what the Workspace is known there.
//! None of it is secret and none of it lets anybody in, but an application cannot ask without it.

use std::collections::BTreeMap;

use api::{
    authorization::OpenFga,
    conditions as names,
    consumer::{ConsumerAuthorizationStatus, ConsumerStatus},
    workspace::MembershipStatus,
};
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};

use super::{
    super::{Facts, WOKEN_ANYWAY},
    Ledger, Scene, Served,
    secret::Entries,
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
            self.write(Entries::AUTHORIZATION, &served.consumer, BTreeMap::new(), None).await?;
            return Ok(None);
        }
        let (openfga, members) = self.known_store(round)?;
        let store_id = Some(members.store_id.clone());
        let left = self.context.until_next_look(before.observed_at.as_ref().map(|time| time.0));
        if before.store_id == store_id && !left.is_zero() {
            round.look_again(left);
            return Ok(Some(before.clone()));
        }
        self.write(Entries::AUTHORIZATION, &served.consumer, content(openfga, &members), None).await?;
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
}

/// What the Secret says of the store.
fn content(server: &OpenFga, members: &MembershipStatus) -> BTreeMap<String, ByteString> {
    let content = [
        ("authorization-endpoint", Some(&server.endpoint)),
        ("authorization-store-id", Some(&members.store_id)),
        ("authorization-object", Some(&members.object)),
        ("authorization-ca.crt", server.ca_bundle.as_ref()),
    ];
    let said = content.into_iter().filter_map(|(entry, text)| Some((entry, text?)));
    said.map(|(entry, text)| (entry.to_owned(), ByteString(text.clone().into_bytes()))).collect()
}
