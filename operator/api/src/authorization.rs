//! Where a TenantClass has stores of authorization made, and how Steading signs in there.
//!
//! In: what the platform team writes. Out: its schema and rules. Two ways of signing in: with one of the server's preshared keys, which opens
//! all stores to whoever has it; or with a token that says who one is, at a server that asks a store of its own who may do what.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Where stores of authorization come from: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.openfga)").message("authorization must name where stores are made: set authorization.openfga"))]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// An OpenFGA server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openfga: Option<OpenFga>,
}

/// Stores at an OpenFGA server, version 1.10 or newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.accessControl) == has(self.credentials.identityToken)")
    .message("authorization.openfga.accessControl goes with credentials.identityToken: a server with access control takes no preshared key, and one without it lets every identity into every store"),
    validation = Rule::new("!has(oldSelf.accessControl) || (has(self.accessControl) && self.accessControl.storeID == oldSelf.accessControl.storeID)")
        .message("authorization.openfga.accessControl can be added later, but not be removed or changed: what was entered there would stay and count again; create a new TenantClass"))]
#[serde(rename_all = "camelCase")]
pub struct OpenFga {
    /// The region in which the server keeps its data; one of residency.regions. Immutable.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = rules::region(), validation = rules::immutable("authorization.openfga.region"))]
    pub region: String,
    /// Address of the server's HTTP interface, such as `https://openfga.example:8080`. Immutable.
    #[schemars(length(min = 9, max = 253))]
    #[x_kube(validation = rules::endpoint(), validation = rules::immutable("authorization.openfga.endpoint"))]
    pub endpoint: String,
    /// PEM certificates that are trusted for this address; the system's are used if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 27, max = 65536))]
    #[x_kube(validation = rules::ca_bundle())]
    pub ca_bundle: Option<String>,
    /// How Steading signs in: exactly one way.
    pub credentials: OpenFgaCredentials,
    /// The server's own access control, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_control: Option<AccessControl>,
}

/// How Steading signs in at an OpenFGA server: exactly one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.secret) != has(self.identityToken)")
    .message("authorization.openfga.credentials needs exactly one of secret (a preshared key) and identityToken (a token that OpenBao issues)"))]
#[serde(rename_all = "camelCase")]
pub struct OpenFgaCredentials {
    /// Name of a Secret in Steading's own namespace with `presharedKey`, one of the server's preshared keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::secret_name())]
    pub secret: Option<String>,
    /// A token that the server of `keys.openbao` issues to whoever signed in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_token: Option<IdentityToken>,
}

/// A token of the identity engine of OpenBao or Vault. Steading signs in there as it does for keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityToken {
    /// Role of the identity engine (`identity/oidc/role/…`) whose tokens the OpenFGA server takes.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::identifier())]
    pub role: String,
}

/// The access control of an OpenFGA server, which upstream calls experimental.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessControl {
    /// Id of the store in which the server looks up who may do what.
    #[serde(rename = "storeID")]
    #[schemars(length(min = 26, max = 26))]
    #[x_kube(validation = rules::store_id())]
    pub store_id: String,
}
