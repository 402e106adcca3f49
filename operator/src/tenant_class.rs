//! The story of a TenantClass: whether the servers that it names can be used, how many Tenants use it, and that it does not go while
//! any does.
//!
//! In: a TenantClass and the Tenants that name it. Out: status and a finalizer; outside the cluster it only looks.

mod observe;

use std::{sync::Arc, time::Duration};

use api::{TenantClass, conditions as names, tenant_class::TenantClassStatus};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{
    context::Context,
    engine::{
        conditions::Phase,
        drive::{self, Story},
        fault::Fault,
        finalize,
        known::Known,
        round::Round,
    },
};

/// What the report needs.
#[derive(Default)]
pub struct Facts {
    tenants: i32,
    observed_at: Option<Timestamp>,
}

/// The controller of TenantClasses.
pub struct TenantClasses(pub Arc<Context>);

impl TenantClasses {
    fn users(&self, class: &str) -> Vec<String> {
        let mut users: Vec<String> =
            self.0.tenants.all(|tenant| tenant.spec.class == class).iter().map(|tenant| tenant.name_any()).collect();
        users.sort();
        users
    }
}

impl Story for TenantClasses {
    type Object = TenantClass;
    type Facts = Facts;
    const NAME: &'static str = "tenantclass";

    fn known(&self) -> &Known<TenantClass> {
        &self.0.classes
    }

    fn turn(_: &TenantClass) -> String {
        String::new() // classes belong to no tenant and take a turn of their own
    }

    fn api(client: &Client, _: &TenantClass) -> Api<TenantClass> {
        Api::all(client.clone())
    }

    async fn tell(&self, class: &TenantClass, round: &mut Round<Facts>) -> Result<(), Fault> {
        let api = Self::api(&self.0.engine.client, class);
        let users = self.users(&class.name_any());
        round.facts.tenants = i32::try_from(users.len()).unwrap_or(i32::MAX);
        if class.metadata.deletion_timestamp.is_none() {
            let held = drive::held(self, &self.0.engine.client, class).await?;
            let class = held.as_ref().unwrap_or(class);
            observe::network(&self.0, class, round);
            observe::servers(&self.0, class, round).await;
            return Ok(());
        }
        if !finalize::is_held(class) {
            round.over = true;
            return Ok(());
        }
        round.phase = Phase::Deleting;
        if users.is_empty() {
            finalize::release(&api, class).await?;
            round.over = true;
            return Ok(());
        }
        let shown = users.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if users.len() > 5 { " and more" } else { "" };
        let message = format!("still used by Tenants {shown}{more}: delete them, and the class goes by itself");
        Err(Fault::waiting(Duration::from_mins(1), names::TENANTS_REMAIN, message))
    }

    fn report(class: &TenantClass, round: &Round<Facts>) -> Value {
        let before = class.status.as_ref().and_then(|status| status.observed_at.clone());
        let status = TenantClassStatus {
            observed_generation: 0,
            tenants: Some(round.facts.tenants),
            observed_at: round.facts.observed_at.map(Time).or(before),
            conditions: Vec::new(),
        };
        serde_json::to_value(status).unwrap_or_default()
    }

    fn conditions(class: &TenantClass) -> &[Condition] {
        class.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}
