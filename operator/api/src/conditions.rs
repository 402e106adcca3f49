//! Condition types and the reasons that they can have, with what each means and what to do.
//!
//! In: nothing. Out: constants for the code, [`REASONS`] for the generated reference and the troubleshooting page. A reason that
//! is not in the table does not exist: tests compare what was seen with it.

/// Everything that the spec asks for was observed at this generation, each part within its validity.
pub const READY: &str = "Ready";
/// Present only while work is under way.
pub const RECONCILING: &str = "Reconciling";
/// Present only while a person or another system must act.
pub const STALLED: &str = "Stalled";
/// The tenant's key exists, is enabled and rotates as asked.
pub const KEY_READY: &str = "KeyReady";
/// Namespace, policies, quota, limits and role bindings of the stack stand.
pub const ISOLATED: &str = "Isolated";
/// The Tenant's ledger holds what the Workspace asks for.
pub const QUOTA_RESERVED: &str = "QuotaReserved";
/// The bucket exists with its owner marks, key, versioning and policy.
pub const BUCKET_READY: &str = "BucketReady";
/// The database runs with all its instances, and one of them writes.
pub const DATABASE_READY: &str = "DatabaseReady";
/// The last full backup is young enough and the log is being archived, so that what the class promises could be restored.
pub const BACKUP_FRESH: &str = "BackupFresh";
/// The last restore drill brought the database back from its backups, within the rpo and the rto of the class. Before the first one nobody
/// knows, and Ready does not wait for it.
pub const RESTORE_PROVEN: &str = "RestoreProven";
/// Each consumer has its role and certificate in the database, its credentials for the bucket, and a Secret that says so in its namespace.
pub const CONSUMERS_READY: &str = "ConsumersReady";
/// The tenant's store of authorization exists and says who owns the Tenant, or who may do what in the Workspace.
pub const AUTHORIZATION_READY: &str = "AuthorizationReady";

/// The place for keys that a class names answers, knows us, and lets us look.
pub const KEYS_REACHABLE: &str = "KeysReachable";
/// The place for buckets that a class names answers, knows us, and lets us look.
pub const BUCKETS_REACHABLE: &str = "BucketsReachable";
/// The place for stores of authorization that a class names answers, knows us, and lets us look.
pub const AUTHORIZATION_REACHABLE: &str = "AuthorizationReachable";
/// CloudNativePG and its backup plugin are installed, in versions that can be used.
pub const DATABASES_REACHABLE: &str = "DatabasesReachable";
/// No packet passes that NetworkPolicies forbid, on any node.
pub const NETWORK_ENFORCED: &str = "NetworkEnforced";

/// The sandbox in which agents run is there, and network policies are shown to hold in it.
pub const SANDBOX_READY: &str = "SandboxReady";
/// It is known where the relay is to which agents dial out. That it answers is not looked at.
pub const RELAY_FOUND: &str = "RelayFound";
/// As many desktops as asked for stand ready, but for those that may be missing, and all of them are as the spec says now.
pub const AGENTS_READY: &str = "AgentsReady";

/// The order in which conditions stand in status, whichever was looked at last.
pub const ORDER: &[&str] = &[
    READY,
    QUOTA_RESERVED,
    ISOLATED,
    KEY_READY,
    BUCKET_READY,
    DATABASE_READY,
    BACKUP_FRESH,
    RESTORE_PROVEN,
    CONSUMERS_READY,
    NETWORK_ENFORCED,
    SANDBOX_READY,
    RELAY_FOUND,
    AGENTS_READY,
    KEYS_REACHABLE,
    BUCKETS_REACHABLE,
    DATABASES_REACHABLE,
    AUTHORIZATION_READY,
    AUTHORIZATION_REACHABLE,
    RECONCILING,
    STALLED,
];

/// Which consequence a reason has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The condition is True.
    Good,
    /// Steading comes back by itself: `Reconciling`.
    Waiting,
    /// A person or another system must act: `Stalled`. It is looked at again every five minutes and on any change.
    Stalled,
    /// A failure that is retried with growing delay: `Reconciling`.
    Transient,
}

/// One documented reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// As it stands in a condition or event.
    pub name: &'static str,
    /// Which consequence it has.
    pub consequence: Consequence,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($constant:ident = $name:literal, $consequence:ident, $meaning:literal, $remedy:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $constant: &str = $name;
        )+

        /// Every reason there is.
        pub const REASONS: &[Reason] = &[
            $(Reason { name: $name, consequence: Consequence::$consequence, meaning: $meaning, remedy: $remedy },)+
        ];
    };
}

reasons! {
    AVAILABLE = "Available", Good, "What the condition speaks of was observed as asked for.", "Nothing.";
    ASSUMED = "Assumed", Good, "Isolation objects stand; that the network enforces them is taken on trust, as the class says.", "Set network.enforcement: Required in a class whose cluster can show enforcement.";
    RESERVED = "Reserved", Good, "The Tenant's ledger holds what the Workspace asks for.", "Nothing.";
    NOT_LIMITED = "NotLimited", Good, "The Workspace asks for no amounts and its Tenant limits none.", "Nothing; set spec.quota on the Tenant to limit it.";
    DISABLED = "Disabled", Good, "The part is turned off in the spec.", "Nothing; set the part's disabled: false to turn it on.";
    SUSPENDED = "Suspended", Good, "spec.suspended is true, and nothing of the part runs; what it holds is kept.", "Nothing; set spec.suspended: false to bring it back.";
    PAUSED = "Paused", Waiting, "spec.paused is true on the object or on its Tenant: nothing is changed.", "Set spec.paused: false when changes may go on.";
    PROGRESSING = "Progressing", Waiting, "Work is under way; the message says on what.", "Wait; the message changes as it goes on.";
    DELETING = "Deleting", Waiting, "The object is being deleted; the message says what is being removed.", "Wait.";
    WORKSPACES_REMAIN = "WorkspacesRemain", Waiting, "The Tenant is being deleted but still has Workspaces.", "Delete the Workspaces that the message names.";
    TENANTS_REMAIN = "TenantsRemain", Waiting, "The TenantClass is being deleted but Tenants still use it.", "Delete the Tenants that the message names, or keep the class.";
    NAMESPACE_TERMINATING = "NamespaceTerminating", Waiting, "A namespace of ours is still being deleted; the message names what holds it.", "Wait; if it lasts, remove the finalizer or object that the message names.";
    TENANT_NOT_FOUND = "TenantNotFound", Waiting, "No Tenant stands in the control namespace of the Workspace.", "Apply a Tenant named like the namespace.";
    CLASS_NOT_FOUND = "ClassNotFound", Waiting, "The TenantClass that the Tenant names does not exist.", "Apply the TenantClass, or create the Tenant anew with an existing one.";
    TENANT_NOT_READY = "TenantNotReady", Waiting, "The Workspace waits for its Tenant's identity or key.", "See the conditions of the Tenant.";
    QUOTA_PENDING = "QuotaPending", Waiting, "The Tenant's ledger has not yet answered the Workspace.", "Wait; it takes a moment.";
    CREDENTIALS_NOT_FOUND = "CredentialsNotFound", Waiting, "A Secret that the class names does not exist in Steading's namespace, or lacks a key.", "Create the Secret with the keys that the message names.";
    CREATING = "Creating", Waiting, "A thing outside the cluster was created and is not yet visible.", "Wait.";
    FENCE_DOWN = "FenceDown", Waiting, "The admission policies that fence Steading in are missing or changed, so nothing new is created.", "Install the chart's policies again (helm upgrade); see the canary's message.";
    QUOTA_REQUIRED = "QuotaRequired", Stalled, "The Tenant limits a resource that the Workspace does not name.", "Name the resource in the Workspace's spec.quota.";
    QUOTA_EXCEEDED = "QuotaExceeded", Stalled, "The Tenant's quota has no room for what the Workspace asks for.", "Raise the Tenant's quota, lower this Workspace's, or delete another.";
    NAMESPACE_TAKEN = "NamespaceTaken", Stalled, "A namespace with the stack's name exists and is not ours; it is left alone.", "Delete or rename the namespace that the message names.";
    CONTESTED = "Contested", Waiting, "Somebody changes or deletes a child each time that it is put back; the message names it and who wrote to it last. Until it stays as it should for half a minute, it is put back only each half minute.", "Make whoever the message names leave the object alone: find where it runs, and take its rights in stack namespaces.";
    OBJECT_TAKEN = "ObjectTaken", Stalled, "An object with a child's name exists and is not ours; it is left alone.", "Delete or rename the object that the message names.";
    IDENTITY_TAKEN = "IdentityTaken", Stalled, "Another live object holds the identity that the spec asks for.", "Delete the other object, or create this one without spec.identity.";
    IDENTITY_CHANGED = "IdentityChanged", Stalled, "status.identity does not match the object: it was edited or restored from elsewhere.", "Restore status.identity to the value that the message names.";
    NAME_MISMATCH = "NameMismatch", Stalled, "The Tenant is not named like its namespace.", "Create it in a namespace of its own name.";
    ROTATION_OUT_OF_BOUNDS = "RotationOutOfBounds", Stalled, "The rotation period is outside the bounds of the class.", "Set encryption.rotationPeriod within the bounds that the message names.";
    ENFORCEMENT_UNPROVEN = "EnforcementUnproven", Waiting, "The class requires that enforcement of NetworkPolicies is shown, and not every node shows it.", "See the probes that the message names; or use a class with network.enforcement: Assumed if you vouch for the network yourself.";
    NOT_ENFORCED = "NotEnforced", Stalled, "Packets pass that NetworkPolicies forbid, always or in a pod's first second, on the nodes that the message names.", "Mend the network plugin of these nodes, then delete the probe's pods there, so that new ones try again.";
    INVALID_SPEC = "InvalidSpec", Stalled, "A field holds what admission should have refused.", "Correct the field that the message names; check that the CRDs are those of this version.";
    FORBIDDEN = "Forbidden", Stalled, "The API server refuses Steading a request for longer than fresh role bindings need.", "Grant the verb and resource that the message names (helm upgrade restores the chart's rights).";
    REJECTED = "Rejected", Stalled, "The API server finds a request of Steading's invalid.", "Check that the CRDs and policies are those of this version; report it with the message.";
    DENIED = "Denied", Stalled, "A provider refuses Steading's credentials or the operation.", "Grant what the message names at the provider.";
    FOREIGN = "Foreign", Stalled, "A key or bucket of the expected name carries the marks of another owner; it is left alone.", "Remove or rename what the message names, or check that the installation id is right.";
    ENCRYPTION_CONSENT_REQUIRED = "EncryptionConsentRequired", Stalled, "The store can only encrypt under a key of its own, and the class does not consent to that.", "Set up a key server, or set allowProviderManagedEncryption in a new class.";
    KEY_DISABLED = "KeyDisabled", Stalled, "The tenant's key was disabled or deleted outside Steading.", "Enable or restore it at the provider.";
    BUCKET_NOT_EMPTY = "BucketNotEmpty", Stalled, "The bucket cannot be emptied, for example because objects are locked.", "Release the locks that the message names, or set deletionPolicy: Retain.";
    STORAGE_CLASS_REFUSED = "StorageClassRefused", Stalled, "The store does not move backups to the storage class that the class names under database.backup.archive. Backups go on, and stay where they are written.", "Set that storage class up at the store (in MinIO: a tier of that name), or change or remove database.backup.archive in the TenantClass.";
    LIFECYCLE_CONFLICT = "LifecycleConflict", Stalled, "Lifecycle rules in the backup bucket that are not Steading's delete or move backups before their time, so the retention cannot be relied on. They are left alone.", "Remove the rules that the message names at the store, and let a restore drill show that the backups are whole.";
    PROVIDER_REFUSED = "ProviderRefused", Stalled, "A provider understands a request and finds it wrong, or lacks what it speaks of (a mount, a role, a region).", "Set up at the provider what the message names, or correct the class.";
    KEY_UNFIT = "KeyUnfit", Stalled, "The key has a property that cannot be taken back, such as being exportable.", "Ask whoever made the key; a new Tenant gets a new key.";
    ENCRYPTION_UNSUPPORTED = "EncryptionUnsupported", Stalled, "The store cannot encrypt a bucket by default at all.", "Use a store that can, in a new class.";
    STORE_AMBIGUOUS = "StoreAmbiguous", Stalled, "Several stores of authorization with the tenant's name hold something, and none is known to be the right one.", "Find out which one applications use, and delete the others at the server.";
    MODEL_CONFLICT = "ModelConflict", Stalled, "The newest model of the tenant's store has a type of the name of one of Steading's that means something else.", "Write a model in which that type has another name, or is Steading's with relations added.";
    DATABASE_OPERATOR_MISSING = "DatabaseOperatorMissing", Stalled, "The cluster lacks CloudNativePG or its Barman Cloud plugin, which the class's databases need.", "Install what the message names; Steading goes on by itself.";
    DATABASE_OPERATOR_OUTDATED = "DatabaseOperatorOutdated", Stalled, "CloudNativePG is older than 1.30, in which the owner of one database can become superuser (CVE-2026-55769, CVE-2026-44477, CVE-2026-55765) and anybody who reaches a pod controls it (GHSA-7qwx-x8ff-3px9).", "Upgrade CloudNativePG to 1.30 or newer, with its CRDs.";
    DATABASE_TOO_LARGE = "DatabaseTooLarge", Stalled, "The database needs more than the Workspace's quota grants, so its pods could not be made.", "Raise the Workspace's quota to what the message names, or make the database smaller.";
    DATABASE_FAILING = "DatabaseFailing", Waiting, "CloudNativePG says that the database cannot go on by itself; the message says why.", "See kubectl describe of the Cluster that the message names, and the pods of its namespace.";
    DATABASE_VOLUME_FULL = "DatabaseVolumeFull", Waiting, "The volume of an instance has no room for more of the database's log, so PostgreSQL has stopped there, and CloudNativePG changes nothing of the database until there is room.", "Enlarge the PersistentVolumeClaims of the database in the namespace that the message names, then set the Workspace's database.storage.size to the same.";
    BACKUP_PENDING = "BackupPending", Waiting, "No full backup is complete yet.", "Wait; the first one begins as soon as the database runs.";
    BACKUP_OVERDUE = "BackupOverdue", Waiting, "The last full backup is older than two of its periods.", "See the Backups in the stack namespace that the message names, and whether the store answers.";
    LOG_NOT_ARCHIVED = "LogNotArchived", Waiting, "The database cannot bring its write-ahead log to the backup bucket, so what was written since could be lost with it, and its volume fills up.", "See the message of CloudNativePG, and whether the store answers.";
    RESTORE_PENDING = "RestorePending", Waiting, "No restore drill has shown yet that the database can be brought back; the message says when the first one begins or what it is at.", "Wait; the first one begins by itself, and Ready does not wait for it.";
    RESTORE_FAILED = "RestoreFailed", Stalled, "The last restore drill did not bring the database back; the message says what failed. It is tried again.", "See what the message says, and the events of the namespace that it names. Until a drill succeeds, do not count on the backups.";
    OBJECTIVE_MISSED = "ObjectiveMissed", Stalled, "The last restore drill brought the database back, but took longer than the rto, or what came back was older than the rpo. The message says when the next one begins: soon at first, then ever more seldom.", "Give the database faster storage or more cpu, make it smaller, or promise less in a new TenantClass.";
    CANARY_NOT_WRITING = "CanaryNotWriting", Waiting, "The canary has not written to the database for longer than the rpo, so how much could be lost is not measured.", "See the pods of the Deployment that the message names.";
    CONSENT_MISSING = "ConsentMissing", Waiting, "A namespace that spec.consumers names does not exist or does not consent, so nothing was made for its consumers, and what they had was taken back.", "Have whoever owns the namespace annotate it as the message says, or take the consumer off the list.";
    NOTHING_TO_CONSUME = "NothingToConsume", Stalled, "spec.consumers names users of a database, a bucket or a store of authorization that the Workspace does not have; the message says which.", "Take the consumers off the list, or use a TenantClass that offers it; for a bucket, set spec.bucket.disabled to false.";
    ORIGIN_NOT_FOUND = "OriginNotFound", Waiting, "What database.restoreFrom names is not there, or has no backups; the message says which.", "Correct it in a new Workspace, or wait for what the message names.";
    WORKSPACE_NOT_FOUND = "WorkspaceNotFound", Waiting, "The Workspace that the AgentPool names does not exist in its namespace, or is being deleted.", "Apply the Workspace, or create the AgentPool anew with an existing one.";
    WORKSPACE_NOT_READY = "WorkspaceNotReady", Waiting, "The stack of the AgentPool's Workspace is not isolated yet, or not any more: no desktop is made there.", "See the conditions of the Workspace that the message names.";
    AGENTS_NOT_OFFERED = "AgentsNotOffered", Stalled, "The TenantClass offers no agents.", "Add agents to the TenantClass, or create the Tenant anew with one that has them.";
    RUNTIME_CLASS_MISSING = "RuntimeClassMissing", Waiting, "The RuntimeClass of the sandbox, which the TenantClass names, does not exist in the cluster.", "Install the sandbox on the nodes and create its RuntimeClass, or name another under agents.runtimeClass of the TenantClass.";
    RELAY_NOT_CONFIGURED = "RelayNotConfigured", Stalled, "Steading was installed without the relay to which desktops dial out, so nobody could drive one.", "Set relay.enabled in the values of the chart, with the two Secrets that docs/relay.md names.";
    RELAY_MISSING = "RelayMissing", Waiting, "The Service of the relay, or the certificates by which desktops know it, is not there; the message says which.", "Make what the message names, as docs/relay.md says.";
    AGENTS_EXCEEDED = "AgentsExceeded", Waiting, "The Workspace's quota has no room for another desktop: of desktops, of cpu or of memory, the overhead of the sandbox included. What stands stays.", "Raise spec.quota of the Workspace, or lower replicas of its pools.";
    UNSCHEDULABLE = "Unschedulable", Waiting, "No node has room for a desktop, or none has the sandbox; no more are made until those that wait have found one.", "Add nodes, or lower what a desktop asks for; see kubectl describe of the pod that the message names.";
    IMAGE_NOT_PULLED = "ImageNotPulled", Waiting, "A node cannot pull the image of a desktop; no more are made until it can.", "Check spec.desktop.image and whether nodes reach its registry; see kubectl describe of the pod that the message names.";
    DESKTOP_NOT_READY = "DesktopNotReady", Waiting, "Desktops start and end by themselves, or cannot be used after five minutes. Each is replaced later than the one before, up to five minutes.", "See the log and the events of the pod that the message names: steading-agent says what the desktop waits for.";
    API_UNAVAILABLE = "ApiUnavailable", Transient, "The API server does not answer or answers with an error of its own.", "See the health of the API server.";
    CONFLICT = "Conflict", Transient, "Something else changed the object at the same time.", "Nothing; it is tried again.";
    PROVIDER_UNAVAILABLE = "ProviderUnavailable", Transient, "A provider does not answer or answers with an error of its own.", "See the health of the server that the message names.";
    THROTTLED = "Throttled", Waiting, "A provider or the API server asks for fewer requests.", "Wait; raise the limit at the server that the message names if it lasts.";
    DEADLINE = "Deadline", Transient, "One round took longer than its deadline and was cut off; what was done stays done.", "See which call was slow in the message.";
}

/// The documented reason of this name.
#[must_use]
pub fn reason(name: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_camel_case_and_told_once() {
        for (index, reason) in REASONS.iter().enumerate() {
            let camel = reason.name.starts_with(|c: char| c.is_ascii_uppercase())
                && reason.name.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(camel, "{}", reason.name);
            assert!(
                REASONS.iter().skip(index + 1).all(|other| other.name != reason.name),
                "{} stands twice",
                reason.name
            );
        }
    }

    #[test]
    fn every_reason_says_what_to_do() {
        for reason in REASONS {
            assert!(reason.meaning.ends_with('.') && reason.remedy.ends_with('.'), "{}", reason.name);
        }
    }
}
