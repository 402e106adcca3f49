//! The database of a Workspace: what it is to be, what it may reach, and its objects.
//!
//! In: a TenantClass and a Workspace as read, and what only the cluster knows (addresses, the bucket). Out: [`Database`], which can hold
//! nothing that admission would have refused, what it takes of the quota, and the objects by which CloudNativePG runs it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use api::{
    Amounts, Identity, TenantClass, Workspace,
    amounts::{InvalidAmount, ResourceText},
    database::ClassDatabase,
    duration::InvalidDuration,
    tenant_class::S3,
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fields::Kind;
use crate::hash::hexadecimal;
use crate::parts::{backup, cluster, object_store, scheduled_backup};
use crate::workspace::Facts;

/// Name of the `Cluster`, of the ServiceAccount of its instances, and the beginning of the names of all that CloudNativePG makes for it.
pub const CLUSTER: &str = "database";
/// The annotation by which CloudNativePG is asked for hibernation, and the condition in which it says how that goes.
pub const HIBERNATION: &str = "cnpg.io/hibernation";
/// Name of the `ObjectStore`, the `ScheduledBackup`, and the Secret by which they use the backup bucket.
pub const BACKUP: &str = "database-backup";
/// How the names of full backups begin that are asked for out of turn.
pub const AGAIN: &str = "database-backup-again-";
/// Name of the `ObjectStore` of the backups with which a database begins, and of the Secret by which they are read.
pub const ORIGIN: &str = "database-origin";
/// The Service at which the instance answers that writes.
pub const WRITING_SERVICE: &str = "database-rw";
/// The Service at which instances answer that follow.
pub const READING_SERVICE: &str = "database-ro";
/// Entry of the Secret: names the credentials.
pub const ACCESS_KEY_ID: &str = "accessKeyID";
/// Entry of the Secret: signs requests.
pub const SECRET_ACCESS_KEY: &str = "secretAccessKey";
/// Entry of the Secret: goes with every request.
pub const SESSION_TOKEN: &str = "sessionToken";
/// Entry of the Secret: the region of the store.
pub const REGION: &str = "region";
/// Entry of the Secret: the certificates that are trusted for the store, if the class names any.
pub const STORE_CA: &str = "ca.crt";

/// What the plugin's container beside each instance may use: it compresses and sends backups. With 256 MiB full backups were seen
/// killed for want of memory.
pub(crate) const SIDECAR: (u64, u64) = (500, 512 << 20);

/// What the canary may use, in millicores and bytes, and what looks at a restored database.
pub(crate) const CANARY_AMOUNTS: (u64, u64) = (50, 64 << 20);

/// Time between two restore drills where the class says nothing.
const DRILL_EVERY: Duration = Duration::from_hours(7 * 24);

/// A database as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Image of PostgreSQL.
    pub image: String,
    /// How many instances, 1 to 9.
    pub instances: u32,
    /// Bytes of each volume.
    pub storage: u64,
    /// Their StorageClass, if it is not the cluster's default.
    pub storage_class: Option<String>,
    /// Millicores of each instance.
    pub cpu: u64,
    /// Bytes of memory of each instance.
    pub memory: u64,
    /// How much may be lost with all instances.
    pub rpo: Duration,
    /// Hours between two full backups: a divisor of 24.
    pub full_every: u64,
    /// Days that can be gone back.
    pub retention: u64,
    /// How long it may take until it is there again from its backups.
    pub rto: Duration,
    /// Time between two restore drills.
    pub drill_every: Duration,
    /// Whether no instance is to run.
    pub suspended: bool,
}

/// Where the backups of a database go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPlace {
    /// The bucket.
    pub bucket: String,
    /// Below which it writes there.
    pub server: String,
    /// Address of the store.
    pub endpoint: String,
    /// Whether [`STORE_CA`] is to be trusted for it, and not what the system trusts.
    pub has_ca: bool,
}

/// The backups with which a database begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where they are.
    pub place: BackupPlace,
    /// The moment that is gone back to; the last one if there is none.
    pub time: Option<Timestamp>,
}

/// What the pods of a database may reach beside each other and the cluster's DNS, and who may reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The namespace of CloudNativePG, which looks after the instances.
    pub operator_namespace: String,
    /// The namespace and the name of the ServiceAccount of Steading's own operator, which writes one Secret.
    pub steading: (String, String),
    /// The API server, which instances read their orders from. Never empty.
    pub api_server: BTreeSet<SocketAddr>,
    /// Address ranges of the store. Never empty.
    pub store: BTreeSet<String>,
    /// Port of the store.
    pub store_port: u16,
}

/// A class or Workspace holds what admission should have refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabase {
    /// An amount.
    #[error("database: {0}")]
    Amount(#[from] InvalidAmount),
    /// A span of time.
    #[error("database: {0}")]
    Duration(#[from] InvalidDuration),
    /// Another field.
    #[error("database.{field} is {found}: write {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What stood there.
        found: String,
        /// What to write instead.
        expected: &'static str,
    },
    /// Volumes only grow.
    #[error(
        "database.storage.size is {wanted}, but the volumes have {have} already and cannot shrink: write at least {have}"
    )]
    Shrinks {
        /// What is asked for.
        wanted: String,
        /// What was asked for before.
        have: String,
    },
}

impl Database {
    /// The database of a Workspace of a class that offers `offered`. `have` is the size that its volumes were last given.
    ///
    /// # Errors
    /// If a field holds what admission should have refused, or the volumes would have to shrink.
    pub fn of(offered: &ClassDatabase, workspace: &Workspace, have: Option<&str>) -> Result<Self, InvalidDatabase> {
        let asked = workspace.spec.database.clone().unwrap_or_default();
        let resources = asked.resources.unwrap_or_else(|| offered.resources.clone());
        let size = asked.storage.map_or_else(|| offered.storage.size.clone(), |storage| storage.size);
        let text = ResourceText {
            cpu: Some(resources.cpu),
            memory: Some(resources.memory),
            storage: Some(size.clone()),
            agents: None,
        };
        let Amounts { cpu, memory, storage, .. } = Amounts::parse(&text)?;
        let before = ResourceText { storage: have.map(str::to_owned), ..ResourceText::default() };
        if let Some(have) = have.filter(|_| Amounts::parse(&before).is_ok_and(|before| before.storage > storage)) {
            return Err(InvalidDatabase::Shrinks { wanted: size, have: have.to_owned() });
        }
        let instances = asked.instances.unwrap_or(offered.instances);
        let field = |field, found: String, expected| InvalidDatabase::Field { field, found, expected };
        let full_every = offered.backup.full_every.to_std()?.as_secs() / 3600;
        if full_every == 0 || !24_u64.is_multiple_of(full_every) {
            let found = offered.backup.full_every.to_string();
            return Err(field("backup.fullEvery", found, "hours that divide a day, such as 2h"));
        }
        Ok(Self {
            image: offered.image.clone(),
            instances: u32::try_from(instances)
                .ok()
                .filter(|instances| (1..=9).contains(instances))
                .ok_or_else(|| field("instances", instances.to_string(), "1 to 9"))?,
            storage: storage.unwrap_or_default(),
            storage_class: offered.storage.storage_class.clone(),
            cpu: cpu.unwrap_or_default(),
            memory: memory.unwrap_or_default(),
            rpo: offered.rpo.to_std()?,
            full_every,
            retention: offered.backup.retention.to_std()?.as_secs() / (24 * 3600),
            rto: offered.rto.to_std()?,
            drill_every: match &offered.restore_drill {
                Some(drill) => drill.every.to_std()?,
                None => DRILL_EVERY,
            },
            suspended: workspace.spec.suspended,
        })
    }

    /// All that it takes of the Workspace's quota: its instances, another one while it is restored beside them, the canary, and what looks at
    /// what came back.
    #[must_use]
    pub fn needs(&self) -> Amounts {
        let times = |amount: u64| amount.saturating_mul(u64::from(self.instances) + 1);
        let (cpu, memory) = SIDECAR;
        let (canary_cpu, canary_memory) = CANARY_AMOUNTS;
        Amounts {
            cpu: Some(times(self.cpu + cpu).saturating_add(2 * canary_cpu)),
            memory: Some(times(self.memory + memory).saturating_add(2 * canary_memory)),
            storage: Some(times(self.storage)),
            agents: None,
        }
    }

    /// How old the last full backup may be: one that was missed is made up for before that.
    #[must_use]
    pub fn full_within(&self) -> Duration {
        Duration::from_hours(self.full_every.saturating_mul(2))
    }

    /// Whether as much was granted; what was granted without limit is always enough.
    #[must_use]
    pub fn fits(&self, granted: Amounts) -> bool {
        let needs = self.needs().named();
        let fits = |(need, granted): (Option<u64>, Option<u64>)| granted.is_none_or(|granted| need <= Some(granted));
        needs.into_iter().zip(granted.named()).map(|((_, need), (_, granted))| (need, granted)).all(fits)
    }
}

impl Reach {
    /// What a database of this class may reach. `None` while nobody knows the API server's addresses, or the store's.
    #[must_use]
    pub fn of(
        class: &TenantClass,
        operator_namespace: &str,
        steading: (String, String),
        api_server: BTreeSet<SocketAddr>,
    ) -> Option<Self> {
        let (store, store_port) = store_addresses(class.spec.buckets.s3.as_ref()?)?;
        let operator_namespace = operator_namespace.to_owned();
        let reach = Self { operator_namespace, steading, api_server, store, store_port };
        (!reach.api_server.is_empty() && !reach.store.is_empty()).then_some(reach)
    }
}

/// Where packets to the store go: the ranges that the class names, or the address that its endpoint is.
fn store_addresses(s3: &S3) -> Option<(BTreeSet<String>, u16)> {
    let authority = s3.endpoint.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    let ranges = if let Some(ranges) = &s3.cidrs {
        ranges.iter().cloned().collect()
    } else {
        let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
        BTreeSet::from([range_of(address)])
    };
    Some((ranges, port))
}

/// The range of one address.
pub(crate) fn range_of(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// What the database of a stack namespace with this UID calls itself in its backups: `database-` and eight characters. A stack that is
/// made anew writes beside what was there before; CloudNativePG archives nothing where another database has.
#[must_use]
pub fn server(namespace_uid: &str) -> String {
    let short: String = hexadecimal(&Sha256::digest(namespace_uid.as_bytes()).into()).chars().take(8).collect();
    format!("{CLUSTER}-{short}")
}

/// The objects of the database, in the order in which they are applied: it can read what it begins with, and archive from its first
/// moment.
#[must_use]
pub fn objects(facts: &Facts, database: &Database, place: &BackupPlace, origin: Option<&Origin>) -> Vec<(Kind, Value)> {
    let read = origin.map(|origin| (Kind::ObjectStore, json!(object_store::origin(facts, &origin.place))));
    let mut objects: Vec<_> = read.into_iter().collect();
    objects.extend([
        (Kind::ObjectStore, json!(object_store::object_store(facts, database, place))),
        (Kind::Cluster, json!(cluster::cluster(facts, database, place, origin))),
        (Kind::ScheduledBackup, json!(scheduled_backup::scheduled_backup(facts, database))),
    ]);
    objects
}

/// A full backup out of turn, of a name that begins with [`AGAIN`].
#[must_use]
pub fn another_backup(facts: &Facts, name: &str) -> Value {
    json!(backup::backup(facts, name))
}

/// Kinds and names of the objects of any database, and of the policies and the binding that only stacks with one have.
pub const NAMES: [(Kind, &str); 8] = [
    (Kind::ObjectStore, ORIGIN),
    (Kind::ObjectStore, BACKUP),
    (Kind::Cluster, CLUSTER),
    (Kind::ScheduledBackup, BACKUP),
    (Kind::NetworkPolicy, "allow-database-operator"),
    (Kind::NetworkPolicy, "allow-database-api-server"),
    (Kind::NetworkPolicy, "allow-database-store"),
    (Kind::RoleBinding, "steading-operator"),
];

/// A number that is always the same for an identity, so that what all tenants do periodically is spread over the period.
pub(crate) fn spread(identity: &Identity, below: u32) -> u32 {
    let digest: [u8; 32] = Sha256::digest(identity.to_string().as_bytes()).into();
    let number = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    number % below.max(1)
}

#[cfg(test)]
mod tests;
