//! The story of a Tenant: its identity, the ledger of its quota, its key, its store of authorization, and how it goes.
//!
//! In: a Tenant, its class, its Workspaces. Out: a key and a store outside the cluster; in the cluster nothing but status.

mod authorize;
mod cleanup;
mod observe;
mod provision;
mod report;

use std::{sync::Arc, time::Duration};

use api::{
    Identity, Tenant, TenantClass, conditions as names,
    tenant::{KeyStatus, LedgerStatus, StoreStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{
    context::Context,
    engine::{
        conditions::Phase,
        drive::{self, Story},
        fault::Fault,
        known::Known,
        round::Round,
    },
};

pub(crate) use observe::ledger;

/// What the report needs beside the parts; what is `None` stays as it was.
#[derive(Default)]
pub struct Facts {
    /// What everything outside the cluster is named after.
    pub identity: Option<Identity>,
    /// The ledger as settled in this round.
    pub ledger: Option<LedgerStatus>,
    /// The key as seen in this round.
    pub key: Option<KeyStatus>,
    /// The store of authorization as seen in this round.
    pub authorization: Option<StoreStatus>,
    /// Where data rests.
    pub encryption: Option<Vec<api::status::EncryptionPlace>>,
}

/// The controller of Tenants.
pub struct Tenants(pub Arc<Context>);

impl Story for Tenants {
    type Object = Tenant;
    type Facts = Facts;
    const NAME: &'static str = "tenant";

    fn known(&self) -> &Known<Tenant> {
        &self.0.tenants
    }

    fn turn(tenant: &Tenant) -> String {
        tenant.name_any()
    }

    fn api(client: &Client, tenant: &Tenant) -> Api<Tenant> {
        drive::namespaced(client, tenant)
    }

    async fn tell(&self, tenant: &Tenant, round: &mut Round<Facts>) -> Result<(), Fault> {
        if tenant.metadata.deletion_timestamp.is_some() {
            return cleanup::tell(&self.0, tenant, round).await;
        }
        if tenant.spec.paused {
            round.phase = Phase::Paused("spec.paused is true: nothing is changed until it is false".to_owned());
            return Ok(());
        }
        observe::named_like_its_namespace(tenant)?;
        let held = drive::held(self, &self.0.engine.client, tenant).await?;
        let tenant = held.as_ref().unwrap_or(tenant);
        round.facts.identity = Some(self.0.identity_of_tenant(tenant)?);
        let ledger = observe::ledger(&self.0, tenant)?;
        observe::nothing_live_is_dropped(&self.0, tenant, &ledger).await?;
        round.facts.ledger = Some(ledger);
        let class = observe::class(&self.0, tenant)?;
        provision::key(&self.0, tenant, &class, round).await;
        authorize::store(&self.0, tenant, &class, round).await;
        Ok(())
    }

    fn report(tenant: &Tenant, round: &Round<Facts>) -> Value {
        report::status(tenant, &round.facts)
    }

    fn conditions(tenant: &Tenant) -> &[Condition] {
        tenant.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

/// How long to wait for something whose arrival wakes the object anyway.
const WOKEN_ANYWAY: Duration = Duration::from_mins(1);

/// The class is not there: order of apply is free, so this is waited for.
fn class_not_found(tenant: &Tenant) -> Fault {
    let message = format!(
        "TenantClass {} does not exist: apply it, or create the Tenant anew with one of kubectl get tenantclasses",
        tenant.spec.class
    );
    Fault::waiting(WOKEN_ANYWAY, names::CLASS_NOT_FOUND, message)
}

/// What a key's provider needs to know of the class.
type Class = TenantClass;
