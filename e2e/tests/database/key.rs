//! The tenant's key decides. In: customers with backups, and a key that is taken away and given back, byte for byte. Out: that meanwhile nobody
//! reads backups that lie under it, that nothing is restored from them, that a log which the store refuses for it is told and is archived
//! once the store takes it, and that the other customer notices nothing.

use anyhow::{Context as _, Result, ensure};
use api::{Workspace, conditions as names};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use e2e::databases::{Read, read, with_credentials};
use e2e::story::{Manifest, condition};
use e2e::wait::until;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt as _};

use crate::database::{Database, PATIENCE};
use crate::outage;
use crate::restored;
use crate::world::{Customer, World};

/// What the store says to whoever reads or writes under a key that is not there.
const NO_KEY: &str = "kms:KeyNotFound";

/// What the plugin says of backups that it cannot read: it lists those that it can, and that is none.
const NONE_LEFT: &str = "no target backup found";

/// Pods that bring a backup back, as CloudNativePG labels them.
const RESTORING: &str = "cnpg.io/jobRole=full-recovery";

/// The newest full backup and the newest file of the log of a customer, with what its own database uses to reach them.
struct Backups<'a> {
    customer: &'a Customer,
    client: Client,
    newest: [String; 2],
}

impl<'a> Backups<'a> {
    async fn of(world: &World, customer: &'a Customer) -> Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(world.client()?, &customer.stack);
        let secret = secrets.get("database-backup").await?;
        let client = with_credentials(world.plane(), &world.servers.minio, &secret)?;
        Ok(Self { customer, client, newest: customer.store.newest().await? })
    }

    /// What is read of both, in their order, by the database's own credentials and by the store's administrator.
    async fn read(&self) -> Result<Vec<Read>> {
        let mut seen = Vec::new();
        for name in &self.newest {
            seen.push(read(&self.client, &self.customer.store.bucket, name).await?);
            seen.push(self.customer.store.read(name).await?);
        }
        Ok(seen)
    }

    /// The code with which the store refuses to write another object.
    async fn refused_to_write(&self) -> Result<Option<String>> {
        let put = self.client.put_object().bucket(&self.customer.store.bucket).key("written-without-key");
        let Err(error) = put.body(ByteStream::from_static(b"x")).send().await else { return Ok(None) };
        Ok(Some(error.code().context("no answer")?.to_owned()))
    }
}

/// Takes the key of `one` away, reads what its database wrote last and waits until its log is stuck, then gives the key back and waits until
/// all of it is archived. `other` notices nothing.
pub async fn decides_who_reads_and_writes(world: &World, one: &Customer, other: &Customer) -> Result<()> {
    let (ours, theirs) = (Backups::of(world, one).await?, Backups::of(world, other).await?);
    let (before, others) = (ours.read().await?, theirs.read().await?);
    let is_whole = |seen: &[Read]| seen.iter().all(|it| matches!(it, Read::Whole(_)));
    ensure!(is_whole(&before) && is_whole(&others), "the control fails: {:?}: {before:?}, {others:?}", ours.newest);

    let key = world.servers.kes.take_away(one.key_name()).await?;
    let refused = Read::Refused(NO_KEY.to_owned());
    let without = ours.read().await?;
    ensure!(without.iter().all(|it| *it == refused), "without the key: {:?}: {without:?}", ours.newest);
    ensure!(ours.refused_to_write().await?.as_deref() == Some(NO_KEY), "something is written without the key");
    is_stuck(world, one).await?;
    ensure!(theirs.read().await? == others, "the other customer's backups depend on this key");
    let told = world.platform().get(&other.workspace).await?;
    ensure!(is_true(&told, names::BACKUP_FRESH), "the other customer's backups are stuck too: {:?}", told.status);

    world.servers.kes.give_back(&key)?;
    ensure!(ours.read().await? == before, "with the key given back, something else is read than before");
    // By itself: nobody tells PostgreSQL or CloudNativePG to try again.
    outage::archives(one).await?;
    world.platform().until_condition(&one.workspace, names::BACKUP_FRESH, "True", names::AVAILABLE).await.map(drop)
}

/// The log goes nowhere, and status says so; the database runs all the same.
async fn is_stuck(world: &World, customer: &Customer) -> Result<()> {
    customer.database.sql("SELECT pg_switch_wal()").await?;
    let platform = world.platform();
    let told =
        platform.until_condition(&customer.workspace, names::BACKUP_FRESH, "False", names::LOG_NOT_ARCHIVED).await?;
    ensure!(is_true(&told, names::DATABASE_READY), "the database ended with the store: {:?}", told.status);
    customer.database.sql("SELECT 1").await.map(drop)
}

fn is_true(told: &Workspace, kind: &str) -> bool {
    condition(told, kind).is_some_and(|it| it.status == "True")
}

/// Two Workspaces begin with a customer's backups, as they were at a moment and as they were last, while its key is away. Neither gets
/// anywhere until it is back.
pub async fn decides_what_is_restored(world: &World, acme: &Customer, moment: &str) -> Result<[Database; 2]> {
    let (then, last) = tokio::try_join!(
        restored::begun(world, acme, "then", Some(moment)),
        restored::begun(world, acme, "last", None)
    )?;
    for workspace in [&then, &last] {
        // Before that it would find out that the key is missing, and make no bucket of its own.
        world.platform().until(workspace, "knows what it begins with", has_begun).await?;
    }
    let key = world.servers.kes.take_away(acme.key_name()).await?;
    let [full, _] = acme.store.newest().await?;
    let read = acme.store.read(&full).await?;
    ensure!(read == Read::Refused(NO_KEY.to_owned()), "{full} is there, and without the key: {read:?}");
    tokio::try_join!(fails_for_want_of_the_key(world, &then), fails_for_want_of_the_key(world, &last))?;
    world.servers.kes.give_back(&key)?;
    let (then, last) = tokio::try_join!(restored::done(world, acme, &then), restored::done(world, acme, &last))?;
    Ok([then, last])
}

/// Its own buckets are there, and what it begins with is settled.
fn has_begun(workspace: &Workspace) -> bool {
    let database = workspace.status.as_ref().and_then(|status| status.database.as_ref());
    database.is_some_and(|database| database.restored_from.is_some())
        && condition(workspace, names::BUCKET_READY).is_some_and(|bucket| bucket.status == "True")
}

/// Waits until what brings the backup back has failed, and says that it was for the key.
async fn fails_for_want_of_the_key(world: &World, workspace: &Manifest<Workspace>) -> Result<()> {
    let stack = world.platform().stack_of(workspace).await?;
    let pods: Api<Pod> = Api::namespaced(world.client()?, &stack);
    let has_failed = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed"));
    until(&format!("the restore in {stack} fails without the key"), PATIENCE, async || {
        let restoring = pods.list(&ListParams::default().labels(RESTORING)).await?.items;
        let Some(failed) = restoring.into_iter().find(has_failed) else { return Ok(false) };
        let said = said_in(&pods, &failed).await?;
        ensure!(said.contains(NONE_LEFT), "the restore failed for another reason:\n{said}");
        Ok(true)
    })
    .await?;
    let told = world.platform().get(workspace).await?;
    ensure!(condition(&told, names::READY).is_some_and(|ready| ready.status != "True"), "Ready without its data");
    Ok(())
}

/// The end of what each container of a pod said.
async fn said_in(pods: &Api<Pod>, pod: &Pod) -> Result<String> {
    let spec = pod.spec.as_ref().context("the pod has no spec")?;
    let mut said = String::new();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let parameters =
            LogParams { container: Some(container.name.clone()), tail_lines: Some(60), ..LogParams::default() };
        said.push_str(&pods.logs(&pod.name_any(), &parameters).await.unwrap_or_default());
    }
    Ok(said)
}
