//! The world outside the cluster: a key server, an object store and an authorization server. In: a plane. Out: running servers whose
//! certificates are the plane's, and the TenantClass that leads to them.

mod identity;
mod kes;
mod minio;
mod openbao;
mod openfga;
mod s3;
mod zip;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::components::{Component, build_all};
use crate::plane::Plane;

pub use kes::{Kes, TakenKey};
pub use minio::{Minio, StoreAccount};
pub use openbao::OpenBao;
pub use openfga::OpenFga;

/// The namespace that the operator runs in.
pub const OPERATOR_NAMESPACE: &str = "steading-system";

/// The operator's ServiceAccount.
pub const OPERATOR_ACCOUNT: &str = "steading";

/// The region that all servers of the harness claim to be in.
pub const REGION: &str = "site-a";

/// Field manager under which the harness writes.
const MANAGER: &str = "steading-e2e";

/// Secret with the operator's account at MinIO.
const STORE_SECRET: &str = "local-s3";

/// Secret with the operator's account at KES.
const KEY_SERVER_SECRET: &str = "local-kes";

/// Secret with the operator's key at OpenFGA.
const AUTHORIZATION_SECRET: &str = "local-openfga";

/// A key server, an object store with a key server of its own and an authorization server, all new and empty.
pub struct Servers {
    /// Holds the tenants' keys.
    pub openbao: OpenBao,
    /// Holds the keys of [`Servers::minio`].
    pub kes: Kes,
    /// Holds the buckets.
    pub minio: Minio,
    /// Holds the stores of authorization.
    pub openfga: OpenFga,
}

impl Servers {
    /// Starts all and lets the operator of `plane` in: OpenBao knows its ServiceAccount, and its accounts at the others lie as Secrets in
    /// its namespace.
    pub async fn start(plane: &Plane) -> Result<Self> {
        build_all(&[Component::OpenBao, Component::Kes, Component::Minio, Component::OpenFga]).await?;
        let openfga = OpenFga::start(plane.authority(), plane.host());
        let (openbao, store, openfga) = tokio::try_join!(OpenBao::start(plane), store(plane), openfga)?;
        Self::opened(plane, openbao, store, openfga).await
    }

    /// The same with an authorization server that knows its callers, by identities that the key server issues.
    pub async fn start_with_access_control(plane: &Plane) -> Result<Self> {
        build_all(&[Component::OpenBao, Component::Kes, Component::Minio, Component::OpenFga]).await?;
        let (openbao, store) = tokio::try_join!(OpenBao::start(plane), store(plane))?;
        openbao.issue_identities().await?;
        let openfga = OpenFga::start_with_access_control(plane.authority(), plane.host(), &openbao).await?;
        Self::opened(plane, openbao, store, openfga).await
    }

    async fn opened(plane: &Plane, openbao: OpenBao, (kes, minio): (Kes, Minio), openfga: OpenFga) -> Result<Self> {
        let servers = Self { openbao, kes, minio, openfga };
        servers.write_secrets(plane, [STORE_SECRET, KEY_SERVER_SECRET, AUTHORIZATION_SECRET]).await?;
        Ok(servers)
    }

    /// The spec of a TenantClass that leads to these servers.
    ///
    /// `enforcement` is `Assumed` where no network enforces policies, as on all T1 and T2 planes, else `Required`.
    pub fn class_spec(&self, plane: &Plane, enforcement: &str) -> Value {
        let mut spec = json!({
            "residency": { "regions": [REGION] },
            "keys": { "openbao": {
                "region": REGION,
                "mount": openbao::TRANSIT_MOUNT,
                "auth": {
                    "mount": openbao::AUTH_MOUNT,
                    "role": openbao::OPERATOR_ROLE,
                    "audience": openbao::AUDIENCE,
                },
                "rotationPeriod": { "default": "90d", "min": "1h", "max": "365d" },
            }},
            "buckets": { "s3": {
                "region": REGION,
                "credentials": { "secret": STORE_SECRET },
                "keyServer": { "kes": { "credentials": { "secret": KEY_SERVER_SECRET } } },
            }},
            "authorization": { "openfga": self.authorization() },
            "network": { "enforcement": enforcement },
        });
        self.direct_here(plane, &mut spec);
        spec
    }

    fn authorization(&self) -> Value {
        match self.openfga.access_control() {
            None => json!({ "region": REGION, "credentials": { "secret": AUTHORIZATION_SECRET } }),
            Some(store) => json!({
                "region": REGION,
                "credentials": { "identityToken": { "role": openbao::OPENFGA } },
                "accessControl": { "storeID": store },
            }),
        }
    }

    /// Puts the addresses and certificates of these servers into the spec of a TenantClass, such as that of an example;
    /// the rest of the spec stays. Its Secrets are written by [`Servers::write_secrets`].
    pub fn direct_here(&self, plane: &Plane, class_spec: &mut Value) {
        let authority = plane.authority().certificate();
        let targets = [
            ("/keys/openbao", "address", self.openbao.address()),
            ("/buckets/s3", "endpoint", self.minio.endpoint()),
            ("/buckets/s3/keyServer/kes", "endpoint", self.kes.endpoint()),
            ("/authorization/openfga", "endpoint", self.openfga.endpoint()),
        ];
        for (pointer, field, address) in targets {
            if let Some(Value::Object(server)) = class_spec.pointer_mut(pointer) {
                server.insert(field.to_owned(), json!(address));
                server.insert("caBundle".to_owned(), json!(authority));
            }
        }
    }

    /// Makes or changes the TenantClass `name` so that it leads to these servers. The kinds must be installed.
    pub async fn apply_class(&self, plane: &Plane, name: &str, enforcement: &str) -> Result<()> {
        let kind = GroupVersionKind::gvk("steading.dev", "v1alpha1", "TenantClass");
        let resource = ApiResource::from_gvk_with_plural(&kind, "tenantclasses");
        let classes: Api<DynamicObject> = Api::all_with(plane.admin()?, &resource);
        let class = json!({
            "apiVersion": "steading.dev/v1alpha1",
            "kind": "TenantClass",
            "metadata": { "name": name },
            "spec": self.class_spec(plane, enforcement),
        });
        classes
            .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(class))
            .await
            .with_context(|| format!("cannot apply TenantClass {name}"))?;
        Ok(())
    }

    /// Writes the operator's accounts at MinIO, KES and OpenFGA as Secrets of these names into its namespace, which is made if it is
    /// missing.
    pub async fn write_secrets(&self, plane: &Plane, [store, key_server, authorization]: [&str; 3]) -> Result<()> {
        ensure_namespace(plane, OPERATOR_NAMESPACE).await?;
        let account = self.minio.operator_account();
        let data = [("accessKeyID", &account.access_key), ("secretAccessKey", &account.secret_key)];
        write_secret(plane, store, &data).await?;
        write_secret(plane, key_server, &[("apiKey", self.kes.operator_key())]).await?;
        write_secret(plane, authorization, &[("presharedKey", self.openfga.operator_key())]).await
    }
}

/// An object store with a key server of its own.
async fn store(plane: &Plane) -> Result<(Kes, Minio)> {
    let kes = Kes::start(plane.authority(), plane.host()).await?;
    let minio = Minio::start(plane.authority(), plane.host(), &kes).await?;
    Ok((kes, minio))
}

async fn write_secret(plane: &Plane, name: &str, data: &[(&str, &SecretString)]) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(plane.admin()?, OPERATOR_NAMESPACE);
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(value.expose_secret()))).collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "stringData": data,
    });
    secrets
        .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(secret))
        .await
        .with_context(|| format!("cannot write Secret {OPERATOR_NAMESPACE}/{name}"))?;
    Ok(())
}

/// Makes a namespace unless it is there.
pub(crate) async fn ensure_namespace(plane: &Plane, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(plane.admin()?);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    namespaces
        .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(namespace))
        .await
        .with_context(|| format!("cannot make namespace {name}"))?;
    Ok(())
}

/// An HTTPS client that trusts the plane's authority and nobody else.
fn https_client(authority: &str) -> Result<reqwest::Client> {
    crate::certificates::install_tls_provider();
    let certificate = reqwest::Certificate::from_pem(authority.as_bytes()).context("the authority is not PEM")?;
    reqwest::Client::builder()
        .tls_certs_only([certificate])
        .https_only(true)
        .timeout(std::time::Duration::from_secs(30))
        .build()
        .context("cannot make an HTTPS client")
}
