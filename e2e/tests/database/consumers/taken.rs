//! Consent that is taken back, and a Workspace that goes. In: an application at work. Out: nothing of what it was given works any more, and
//! others notice nothing.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use api::conditions as names;
use e2e::databases::{CONSENT, Consumer, LOCKED, PATIENCE, ROWS, Way, lists, with_what_was_given};
use e2e::show;
use e2e::story::condition;
use e2e::wait::until;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Mutex;

use super::Shop;
use crate::world::{Customer, World};

/// The condition that tells of consumers, and its reason where a namespace does not consent.
const CONSUMERS_READY: &str = "ConsumersReady";
const CONSENT_MISSING: &str = "ConsentMissing";

impl Shop {
    /// The shop takes its consent back: each thing that it was given stops working, and the one who reads goes on.
    ///
    /// The open session acts as itself. One that has become another role by `SET ROLE` stays so until it ends: PostgreSQL asks for the right to it
    /// at that moment only.
    pub async fn is_taken_back(&self, world: &World, acme: &Customer) -> Result<()> {
        let (writes, reads) = (self.way_of(&self.billing), self.way_of(&self.reports));
        // From the desk, packets arrive also afterwards: there PostgreSQL itself has to refuse.
        self.from_reports.is_let_in(&writes).await.context("the control fails: a saved certificate")?;
        let session = Mutex::new(self.from_billing.session(&writes).await?);
        for _ in 0..2 {
            ensure!(session.lock().await.still_reads().await?, "the control fails: the open session");
        }
        let store = with_what_was_given(world.plane(), &world.servers.minio, &self.given_for_the_bucket().await?)?;
        let bucket = self.ready.status.as_ref().and_then(|it| it.bucket.as_ref()).context("no bucket is shown")?;
        let opens = async || lists(&store, &bucket.name).await;
        ensure!(opens().await?, "the control fails: saved credentials for the bucket");

        let asked = json!({ "tuple_key": { "user": "user:x", "relation": "editor", "object": acme.questions.object } });
        let question = format!("/{}/check", acme.questions.store);
        let answered = async || anyhow::Ok(world.asks_as(self.asker(), &question, &asked).await?.0.is_success());
        until("the control: the store of authorization answers", PATIENCE, answered).await?;

        self.withdraw_consent().await?;
        let begun = Instant::now();
        let measured = tokio::try_join!(
            time(begun, "no Secret", async || Ok(!self.has_secret(&self.billing).await?)),
            time(begun, "no RoleBinding", async || Ok(!self.has_binding(&self.billing).await?)),
            time(begun, "no packet", async || self.from_billing.gets_no_packet_by(&writes).await),
            time(begun, "no login", async || self.is_locked(&writes).await),
            time(begun, "no row in an open session", async || Ok(!session.lock().await.still_reads().await?)),
            time(begun, "no DatabaseRole", async || Ok(!self.has_role(&self.billing).await?)),
            time(begun, "no Secret for the bucket", async || Ok(!self.has_secret(&self.archive).await?)),
            time(begun, "no object by saved credentials", async || Ok(!opens().await?)),
            time(begun, "no answer of the store of authorization", async || Ok(!answered().await?)),
        )?;
        let (secret, binding, packet, login, row, role, no_more, object, answer) = measured;
        let told = [secret, binding, packet, login, row, role, no_more, object, answer].join(", ");
        show(&format!("database: consent taken back: {told}"));

        self.all_else_is_as_before().await?;
        ensure!(self.is_locked(&writes).await?, "the role was unlocked when its DatabaseRole went");
        self.from_reports.is_let_in(&reads).await.context("the other consumer was shut out too")?;
        self.from_reports.sql(&reads, ROWS).await.context("the other consumer reads no more")?;
        ensure!(self.has_secret(&self.reports).await?, "the other consumer's Secret went too");
        Ok(())
    }

    /// Nothing is left at any consumer once the Workspace is gone.
    pub async fn is_forgotten(&self) -> Result<()> {
        for consumer in [&self.billing, &self.reports, &self.archive] {
            let left = (self.has_secret(consumer).await?, self.has_binding(consumer).await?);
            ensure!(left == (false, false), "{}: Secret and RoleBinding are left: {left:?}", consumer.namespace);
        }
        Ok(())
    }

    async fn withdraw_consent(&self) -> Result<()> {
        let without = Patch::Merge(json!({ "metadata": { "annotations": { CONSENT: null } } }));
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        namespaces.patch(&self.billing.namespace, &PatchParams::default(), &without).await.map(drop)?;
        Ok(())
    }

    /// The Workspace says who does not consent, and all that was well before is well.
    async fn all_else_is_as_before(&self) -> Result<()> {
        let platform = &self.platform;
        platform.until_condition(&self.workspace, CONSUMERS_READY, "False", CONSENT_MISSING).await?;
        let before = self.ready.status.as_ref().context("no status")?;
        let about_others = |kind: &str| ![names::READY, names::RECONCILING, CONSUMERS_READY].contains(&kind);
        let well = before.conditions.iter().filter(|it| it.status == "True" && about_others(&it.type_));
        let well: Vec<&str> = well.map(|it| it.type_.as_str()).collect();
        ensure!(well.contains(&names::DATABASE_READY), "{well:?}");
        let as_before = |told: &api::Workspace| {
            well.iter().all(|kind| condition(told, kind).is_some_and(|condition| condition.status == "True"))
        };
        platform.until(&self.workspace, "says that all else is well", as_before).await.map(drop)
    }

    async fn has_secret(&self, consumer: &Consumer) -> Result<bool> {
        Ok(consumer.given(&self.admin).await?.is_some())
    }

    /// Whether Steading may still write there.
    async fn has_binding(&self, consumer: &Consumer) -> Result<bool> {
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), &consumer.namespace);
        Ok(bindings.get_opt(&self.stack).await?.is_some())
    }

    async fn has_role(&self, consumer: &Consumer) -> Result<bool> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "DatabaseRole"));
        let roles: Api<DynamicObject> = Api::namespaced_with(self.stacks.clone(), &self.stack, &resource);
        let name = format!("database-consumer-{}.{}", consumer.namespace, consumer.account);
        Ok(roles.get_opt(&name).await?.is_some())
    }

    /// Whether PostgreSQL itself refuses, asked from where packets arrive.
    async fn is_locked(&self, way: &Way) -> Result<bool> {
        Ok(self.from_reports.sql(way, "SELECT 1").await.is_err_and(|error| format!("{error:#}").contains(LOCKED)))
    }
}

/// Waits until it is so, and says when it was.
async fn time(begun: Instant, what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<String> {
    until(&format!("there is {what} for whom consent was taken back"), PATIENCE, is_so).await?;
    Ok(format!("{what} after {:.1} s", begun.elapsed().as_secs_f32()))
}
