//! The CEL rules that several fields share: an expression and the message that says what to write instead.
//!
//! In: nothing. Out: one function per rule, used as `#[x_kube(validation = rules::…())]`. Formats are rules rather than
//! `pattern`s because a schema failure would hide every CEL message of the object.

use kube::core::Rule;

/// Longest Tenant or Workspace name: two of them, two dashes and six characters of hash fit a 63-character label.
pub const NAME_MAX: usize = 27;
/// Longest TenantClass name.
pub const CLASS_NAME_MAX: usize = 40;

/// `metadata.name` of a Tenant or Workspace.
pub fn object_name() -> Rule {
    Rule::new("self.metadata.name.size() <= 27 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must be a DNS label of at most 27 characters: lower-case letters, digits and dashes, such as acme-finance (no dots)",
    )
}

/// `metadata.name` of a TenantClass.
pub fn class_name() -> Rule {
    Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must be a DNS label of at most 40 characters: lower-case letters, digits and dashes, such as on-premises (no dots)",
    )
}

/// The id of a store at an OpenFGA server.
pub fn store_id() -> Rule {
    Rule::new("self.matches('^[0-7][0-9A-HJKMNP-TV-Z]{25}$')").message(
        "must be the id of a store: 26 digits and capitals without I, L, O and U, such as 01JZ8Q5W3N8M4T6R2V9X7B1C0D",
    )
}

/// A reference to a TenantClass by name.
pub fn class_reference() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "must be the name of a TenantClass: lower-case letters, digits and dashes; see kubectl get tenantclasses",
    )
}

/// A field that cannot change once it was set. Presence is guarded by the parent where the field is optional.
pub fn immutable(what: &'static str) -> Rule {
    Rule::new("self == oldSelf").message(format!("{what} is immutable: create a new object to use another").as_str())
}

/// An identity in canonical form.
pub fn identity() -> Rule {
    Rule::new("self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')")
        .message("identity must be a lower-case UUID, such as 3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b; leave it out to get a new one")
}

/// `spec.identity` of Tenant and Workspace: given at creation or never.
pub fn identity_is_immutable() -> Rule {
    Rule::new("has(self.identity) == has(oldSelf.identity) && (!has(self.identity) || self.identity == oldSelf.identity)")
        .message("identity can only be given at creation: delete the object (deletionPolicy Retain keeps its data) and create it anew with the identity")
}

/// A [`crate::Duration`].
pub fn duration() -> Rule {
    Rule::new("self.matches('^[1-9][0-9]{0,4}(m|h|d)$')")
        .message("must be a whole number of minutes, hours or days with its unit, such as 90m, 12h or 90d")
}

/// Cores.
pub fn cpu() -> Rule {
    Rule::new("self.matches('^[1-9][0-9]{0,6}m?$')")
        .message("cpu must be whole cores or millicores above zero, such as 16 or 500m")
}

/// Bytes of memory or storage.
pub fn bytes() -> Rule {
    Rule::new("self.matches('^[1-9][0-9]{0,5}(Mi|Gi|Ti)$')")
        .message("must be a whole number above zero with the unit Mi, Gi or Ti, such as 64Gi")
}

/// A region name as providers write them.
pub fn region() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("must be a region name of lower-case letters, digits and dashes, such as eu-central-1 or site-a")
}

/// The address of a service: https, a host, nothing else. `isURL` alone lets quotes, `;` and `$()` stand in a host.
pub fn endpoint() -> Rule {
    Rule::new("self.matches('^https://([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\\\\[[0-9a-f:.]+\\\\])(:[1-9][0-9]{0,4})?/?$') && isURL(self) && (url(self).getPort() == '' || int(url(self).getPort()) <= 65535)")
        .message("must be an https address in lower case with nothing but host and port, such as https://bao.example:8200 (no user, path or query)")
}

/// Certificates that are trusted for one endpoint.
pub fn ca_bundle() -> Rule {
    Rule::new("self.startsWith('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')")
        .message("caBundle must be PEM text that begins with -----BEGIN CERTIFICATE----- and holds certificates only, never a private key")
}

/// A mount or namespace path of OpenBao.
pub fn path() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$')")
        .message("must be a path of letters, digits, dashes and underscores without leading or trailing slash, such as transit or teams/platform")
}

/// A plain identifier: role names, audiences.
pub fn identifier() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$')")
        .message("must be letters, digits and . _ : / - , beginning and ending with a letter or digit")
}

/// The name of a Secret.
pub fn secret_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("must be the name of a Secret in Steading's own namespace: lower-case letters, digits and dashes")
}

/// The name of a user or group as the API server authenticates it.
pub fn subject_name() -> Rule {
    Rule::new("!self.startsWith('system:')").message("subjects that begin with system: belong to the cluster and cannot be owners or members; name a user or group of your identity provider")
}

/// The characters of a subject's name. Line and paragraph separators are spaces to Unicode, but break lines.
pub fn subject_characters() -> Rule {
    Rule::new("self.matches('^[^\\\\p{C}\\\\p{Z}]([^\\\\p{C}\\\\p{Zl}\\\\p{Zp}]*[^\\\\p{C}\\\\p{Z}])?$')").message(
        "subject names must have no control or invisible characters, no line breaks and no space at either end",
    )
}

/// A reference to a Workspace by name.
pub fn workspace_reference() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "must be the name of a Workspace of the same Tenant: lower-case letters, digits and dashes; see kubectl get workspaces",
    )
}

/// What a database calls itself in its backups.
pub fn server_name() -> Rule {
    Rule::new("self.matches('^database-[0-9a-f]{8}$')")
        .message("serverName must be as status.database.backup.serverName said it, such as database-1f0c93aa")
}

/// A moment, to the second or finer, in UTC.
pub fn moment() -> Rule {
    Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$')")
        .message("must be a moment in UTC, such as 2026-11-23T10:15:00Z")
}

/// `database.restoreFrom`: given at creation or never.
pub fn restore_is_immutable() -> Rule {
    let given = |object: &str| format!("(has({object}.database) && has({object}.database.restoreFrom))");
    let (now, before) = (given("self"), given("oldSelf"));
    let rule = format!("{now} == {before} && (!{now} || self.database.restoreFrom == oldSelf.database.restoreFrom)");
    Rule::new(rule).message(
        "database.restoreFrom can only be given at creation, because it says what the database begins with: create another Workspace to restore into",
    )
}

/// The namespace of a consumer.
pub fn consumer_namespace() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && !self.startsWith('kube-')")
        .message("must be the name of a namespace of an application, such as shop: lower-case letters, digits and dashes, not beginning with kube-")
}

/// The name of a ServiceAccount.
pub fn service_account() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
        .message("must be the name of a ServiceAccount: lower-case letters, digits, dashes and dots, such as billing")
}

/// The name of a StorageClass.
pub fn storage_class() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("must be the name of a StorageClass: lower-case letters, digits, dashes and dots")
}

/// The name of a RuntimeClass.
pub fn runtime_class() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("must be the name of a RuntimeClass: lower-case letters, digits, dashes and dots; see kubectl get runtimeclasses")
}

/// An image that is the same for ever.
pub fn pinned_image() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?@sha256:[0-9a-f]{64}$')").message(
        "image must be host/path@sha256: and 64 digits, with or without a tag before the @: a tag alone can become another image",
    )
}

/// An image of PostgreSQL. CloudNativePG reads the major version off the tag.
pub fn database_image() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[1-9][0-9]([._-][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$')").message(
        "database.image must be host/path:tag whose tag begins with the major version, such as registry.example/postgresql:18.4, with or without @sha256: and 64 digits",
    )
}

/// The major version of a database's image.
pub fn major_version_stays() -> Rule {
    let tag = "find(':[1-9][0-9]([._-][A-Za-z0-9._-]*)?(@|$)').find(':[1-9][0-9]')";
    Rule::new(format!("self.{tag} == oldSelf.{tag}")).message(
        "database.image cannot change its major version, because every database of the class would be converted at once: create a new TenantClass for it",
    )
}

/// Address ranges. Wider ones would be no boundary.
pub fn address_ranges() -> Rule {
    Rule::new("self.all(r, isCIDR(r) && cidr(r) == cidr(r).masked() && cidr(r).prefixLength() >= (cidr(r).ip().family() == 4 ? 8 : 16) && !cidr('169.254.0.0/16').containsIP(cidr(r).ip()) && !cidr('fe80::/10').containsIP(cidr(r).ip()) && !cidr(r).containsIP('169.254.169.254') && !cidr(r).containsIP('fd00:ec2::254'))")
        .message("each must be an address range of at least /8 (IPv6: /16), such as 10.20.0.0/24 or 10.20.0.7/32, with no bit set beyond its length, and hold no link-local or metadata addresses")
}
