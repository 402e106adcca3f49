//! The rules of the fence as the tests know them. In: nothing. Out: one constant per rule, by which an attack says which rule
//! must refuse it.

/// A rule: the policy in which it stands, and words of its message that no other rule has.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub policy: &'static str,
    pub says: &'static str,
}

const fn rule(policy: &'static str, says: &'static str) -> Rule {
    Rule { policy, says }
}

/// Labels of Steading on a new namespace.
pub const STACK_LABELS_AT_CREATION: Rule =
    rule("steading-namespaces", "only Steading makes a namespace with labels of");
/// Labels of Steading on any namespace, later.
pub const STACK_LABELS_STAY: Rule =
    rule("steading-namespaces", "labels of steading.dev/ on a namespace are fixed when");
/// A change of a stack namespace.
pub const STACK_CHANGED: Rule = rule("steading-namespaces", "a stack namespace is changed only by Steading");
/// A change of a stack namespace that no controller of the cluster has reason to make.
pub const STACK_CHANGED_BY_CLUSTER: Rule =
    rule("steading-namespaces", "the cluster's own controllers change only status");
/// The end of a stack namespace.
pub const STACK_DELETED: Rule = rule("steading-namespaces", "a stack namespace is deleted only by Steading");

/// A write in a stack.
pub const WRITE_IN_STACK: Rule = rule("steading-stacks", "only Steading writes ");
/// A session into a stack.
pub const WAY_INTO_STACK: Rule = rule("steading-stacks", "opens a way into a stack");
/// The numbers against which admission counts.
pub const QUOTA_STATUS: Rule = rule("steading-stacks", "the status of a stack's ResourceQuota is written only by");
/// Metadata smuggled in with a status.
pub const STATUS_WITH_METADATA: Rule = rule("steading-stacks", "a status write in a stack namespace may not touch");
/// What CloudNativePG has nothing to do with.
pub const KEEPER_NAME: Rule = rule("steading-stacks", "writes in a stack only what bears the name of its Cluster");
/// Labels of Steading on what CloudNativePG makes.
pub const KEEPER_LABELS: Rule = rule("steading-stacks", "of Steading's labels CloudNativePG gives only");
/// A Cluster turned into another.
pub const KEEPER_CLUSTER: Rule = rule("steading-stacks", "changes nothing that Steading said of a Cluster");
/// A role of a consumer turned into another.
pub const KEEPER_ROLE: Rule = rule("steading-stacks", "CloudNativePG changes nothing of a DatabaseRole but");
/// A binding of others than the instances.
pub const KEEPER_BINDING: Rule = rule("steading-stacks", "CloudNativePG binds in a stack only the Role of");
/// A pod, or a token, of another ServiceAccount.
pub const KEEPER_ACCOUNT: Rule = rule("steading-stacks", "runs pods in a stack only as the ServiceAccount");
/// A Service that leads elsewhere.
pub const KEEPER_SERVICE: Rule = rule("steading-stacks", "a Service that CloudNativePG makes in a stack leads to");

/// A kind that the operator has nothing to do with.
pub const OPERATOR_KIND: Rule = rule("steading-operator", "the operator has no business with ");
/// Children outside of stacks.
pub const OPERATOR_OUTSIDE_STACK: Rule = rule("steading-operator", "only in stack namespaces, and ");
/// Something for a consumer whose namespace wants none of it.
pub const OPERATOR_CONSENT: Rule = rule("steading-operator", " does not consent to ");
/// Namespaces that are no stacks.
pub const OPERATOR_FOREIGN_NAMESPACE: Rule =
    rule("steading-operator", "changes and deletes only stack namespaces, and ");
/// A namespace that is not what it should be called.
pub const OPERATOR_NAMESPACE_NAME: Rule =
    rule("steading-operator", "the operator makes only stack namespaces: with labels");
/// A stack namespace without Pod Security.
pub const OPERATOR_POD_SECURITY: Rule =
    rule("steading-operator", "a stack namespace always has Pod Security restricted");
/// Labels that give reach.
pub const OPERATOR_NAMESPACE_LABELS: Rule =
    rule("steading-operator", "gives namespaces no labels and annotations but its");
/// A role other than those of the place.
pub const OPERATOR_ROLE: Rule = rule("steading-operator", "the operator binds only the ClusterRoles");
/// A subject that is no person.
pub const OPERATOR_SUBJECT: Rule = rule("steading-operator", "the operator binds only users and groups");
/// Another object of the kinds that a database takes.
pub const OPERATOR_DATABASE_NAME: Rule =
    rule("steading-operator", "of what CloudNativePG reads the operator writes in a stack only");
/// A full backup that goes elsewhere.
pub const OPERATOR_BACKUP: Rule = rule("steading-operator", "a Backup that the operator asks for is one of");
/// A Secret into which the cluster would write a token.
pub const OPERATOR_SECRET_TYPE: Rule = rule("steading-operator", "a Secret that the operator writes is of type Opaque");
/// Somebody else's Secret.
pub const OPERATOR_SECRET_OWNER: Rule = rule("steading-operator", "does not bear the label steading.dev/owner of");
/// A consumer who could do more than consume.
pub const OPERATOR_CONSUMER_ROLE: Rule =
    rule("steading-operator", "the role of a consumer is one of the Cluster database");
/// A canary that could read a customer's database.
pub const OPERATOR_CANARY_ROLE: Rule = rule("steading-operator", "the role of the canary is steading_canary");
/// A role that needs nobody's membership.
pub const OPERATOR_ROLE_RIGHTS: Rule =
    rule("steading-operator", "a DatabaseRole that the operator writes has no password");
/// A Cluster that opens a way.
pub const OPERATOR_CLUSTER: Rule = rule("steading-operator", "a stack's Cluster has no superuser access");
/// A drill that outlives its purpose.
pub const OPERATOR_DRILL_CLUSTER: Rule = rule("steading-operator", "the Cluster database-drill has one instance");
/// Orders to CloudNativePG.
pub const OPERATOR_DATABASE_METADATA: Rule =
    rule("steading-operator", "gives what CloudNativePG or a consumer reads no labels and");
/// Something else that runs.
pub const OPERATOR_CANARY_NAME: Rule = rule("steading-operator", "the operator runs in a stack only the Deployment");
/// Something that runs and could ask the API server.
pub const OPERATOR_CANARY_ACCOUNT: Rule = rule("steading-operator", " get no token (automountServiceAccountToken");
/// Something that runs beside it, or reads what it should not.
pub const OPERATOR_CANARY_CONTAINER: Rule = rule("steading-operator", " have one container, and its environment is ");
/// Keys and whatever else can be mounted.
pub const OPERATOR_CANARY_VOLUMES: Rule = rule("steading-operator", " are empty at first, or hold tls.crt and ");
/// Something that runs and looks like an instance.
pub const OPERATOR_CANARY_METADATA: Rule =
    rule("steading-operator", " and its pods bear no labels and annotations but");
/// A pod that is no agent, or is made one.
pub const OPERATOR_AGENT_MARKS: Rule =
    rule("steading-operator", " in a stack the operator writes only what bears the labels that it gives to ");
/// Another account, or a budget for others.
pub const OPERATOR_AGENT_ACCOUNT: Rule =
    rule("steading-operator", "the operator writes in a stack only the ServiceAccount agent");
/// An agent outside of a sandbox, or with a token.
pub const OPERATOR_AGENT_SANDBOX: Rule = rule("steading-operator", "an agent runs in a sandbox (runtimeClassName)");
/// An agent with something beside it, or that reads what it should not.
pub const OPERATOR_AGENT_CONTENT: Rule = rule("steading-operator", "an agent has one container, of an image pinned");
/// Tokens and files for agents.
pub const OPERATOR_AGENT_PROJECTED: Rule = rule("steading-operator", "what is projected into an agent is a token");
/// Orders to sandboxes and networks.
pub const OPERATOR_AGENT_METADATA: Rule = rule("steading-operator", "the operator gives agents no labels and");
/// A deny-all that does not.
pub const OPERATOR_DENY_ALL: Rule =
    rule("steading-operator", "the network policy deny-all of a stack selects every pod");
/// An allow policy that selects too much.
pub const OPERATOR_ALLOW_SELECTS: Rule = rule("steading-operator", "a network policy that allows something names one");
/// A way out for agents.
pub const OPERATOR_AGENT_EGRESS: Rule = rule("steading-operator", "agents reach the relay in Steading's own namespace");
/// An allow policy without peers.
pub const OPERATOR_ALLOW_WORLD: Rule =
    rule("steading-operator", "every rule of a stack's network policies names its peers");
/// An allow policy with peers outside.
pub const OPERATOR_ALLOW_PEERS: Rule =
    rule("steading-operator", "let through only pods of the same stack and, outwards");
/// Consumers who are not named.
pub const OPERATOR_CONSUMER_PEERS: Rule =
    rule("steading-operator", "the consumers of a database are let in, and nobody out");
/// A policy of a database for any port.
pub const OPERATOR_DATABASE_PORTS: Rule =
    rule("steading-operator", "every rule of a database's network policies names its ports");
/// A policy of a database for half the world.
pub const OPERATOR_DATABASE_RANGES: Rule =
    rule("steading-operator", "a database reaches single addresses of the API server");
/// Isolation taken away while the stack stands.
pub const OPERATOR_UNPROTECTS: Rule = rule("steading-operator", "stands as long as its stack namespace");
/// What belongs to those who ask.
pub const OPERATOR_SPEC: Rule = rule("steading-operator", "changes nothing of a TenantClass, Tenant or Workspace but");
/// A Lease that is not its own.
pub const OPERATOR_LEASE: Rule = rule("steading-operator", "the operator has one Lease");
/// Somebody else's token.
pub const OPERATOR_TOKEN: Rule = rule("steading-operator", "asks for tokens of its own ServiceAccount only");

/// Labels of Steading where it made nothing.
pub const FORGED_LABELS: Rule = rule("steading-labels", "mark what Steading made; leave them out");

/// A Tenant named like another's namespace.
pub const TENANT_NAME: Rule = rule("steading-requests", "a Tenant is named like its namespace");
/// A class that the creator may not use.
pub const CLASS_USE: Rule = rule("steading-requests", "needs the verb use on tenantclasses.steading.dev");
/// Somebody's data.
pub const ADOPTION: Rule = rule("steading-requests", "needs the verb adopt on");
/// What another database holds.
pub const RESTORE: Rule = rule("steading-requests", "database.restoreFrom reads what Workspace");
/// What an earlier database held.
pub const RESTORE_EARLIER: Rule = rule("steading-requests", "database.restoreFrom.identity reads what");
/// A place that cannot be a control namespace.
pub const CONTROL_NAMESPACE: Rule = rule("steading-requests", "cannot be a control namespace");

/// A status that Steading did not write.
pub const STATUS_FORGED: Rule = rule("steading-status", "is written only by Steading, because it says what");
/// An identity that is another's.
pub const STATUS_IDENTITY: Rule = rule("steading-status", "status.identity is spec.identity or else the UID");
/// An identity that vanishes.
pub const STATUS_IDENTITY_STAYS: Rule = rule("steading-status", "status.identity stays once it is written");
/// The finalizer taken off before its time.
pub const FINALIZER: Rule = rule("steading-status", "only Steading removes the finalizer");

/// All of them.
pub const ALL: [Rule; 69] = [
    STACK_LABELS_AT_CREATION,
    STACK_LABELS_STAY,
    STACK_CHANGED,
    STACK_CHANGED_BY_CLUSTER,
    STACK_DELETED,
    WRITE_IN_STACK,
    WAY_INTO_STACK,
    QUOTA_STATUS,
    STATUS_WITH_METADATA,
    KEEPER_NAME,
    KEEPER_LABELS,
    KEEPER_CLUSTER,
    KEEPER_ROLE,
    KEEPER_BINDING,
    KEEPER_ACCOUNT,
    KEEPER_SERVICE,
    OPERATOR_KIND,
    OPERATOR_OUTSIDE_STACK,
    OPERATOR_CONSENT,
    OPERATOR_FOREIGN_NAMESPACE,
    OPERATOR_NAMESPACE_NAME,
    OPERATOR_POD_SECURITY,
    OPERATOR_NAMESPACE_LABELS,
    OPERATOR_ROLE,
    OPERATOR_SUBJECT,
    OPERATOR_DATABASE_NAME,
    OPERATOR_BACKUP,
    OPERATOR_SECRET_TYPE,
    OPERATOR_SECRET_OWNER,
    OPERATOR_CONSUMER_ROLE,
    OPERATOR_CANARY_ROLE,
    OPERATOR_ROLE_RIGHTS,
    OPERATOR_CLUSTER,
    OPERATOR_DRILL_CLUSTER,
    OPERATOR_DATABASE_METADATA,
    OPERATOR_CANARY_NAME,
    OPERATOR_CANARY_ACCOUNT,
    OPERATOR_CANARY_CONTAINER,
    OPERATOR_CANARY_VOLUMES,
    OPERATOR_CANARY_METADATA,
    OPERATOR_AGENT_MARKS,
    OPERATOR_AGENT_ACCOUNT,
    OPERATOR_AGENT_SANDBOX,
    OPERATOR_AGENT_CONTENT,
    OPERATOR_AGENT_PROJECTED,
    OPERATOR_AGENT_METADATA,
    OPERATOR_DENY_ALL,
    OPERATOR_ALLOW_SELECTS,
    OPERATOR_AGENT_EGRESS,
    OPERATOR_ALLOW_WORLD,
    OPERATOR_ALLOW_PEERS,
    OPERATOR_CONSUMER_PEERS,
    OPERATOR_DATABASE_PORTS,
    OPERATOR_DATABASE_RANGES,
    OPERATOR_UNPROTECTS,
    OPERATOR_SPEC,
    OPERATOR_LEASE,
    OPERATOR_TOKEN,
    FORGED_LABELS,
    TENANT_NAME,
    CLASS_USE,
    ADOPTION,
    RESTORE,
    RESTORE_EARLIER,
    CONTROL_NAMESPACE,
    STATUS_FORGED,
    STATUS_IDENTITY,
    STATUS_IDENTITY_STAYS,
    FINALIZER,
];
