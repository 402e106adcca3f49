//! Adapters for the servers that a class names.

use std::sync::Arc;

use api::{TenantClass, conditions as names, tenant_class::S3};
use kube::ResourceExt;
use providers::{
    Buckets, Identities, Keys, StsIdentities,
    authorization::{OpenFga, OpenFgaConfig, OpenFgaCredentials, Server, StoreId},
    buckets::{
        kes::KesConfig,
        s3::{S3Buckets, S3Config},
    },
    keys::openbao::{OpenBaoConfig, OpenBaoKeys},
};

use super::{Connections, tokens::OwnTokens};
use crate::engine::fault::Fault;

/// Entries of the Secret of an object store.
const STORE_ENTRIES: [&str; 2] = ["accessKeyID", "secretAccessKey"];
/// Entries of the Secret of an OpenFGA server.
const OPENFGA_ENTRIES: [&str; 1] = ["presharedKey"];
/// Entries of the Secret of a KES server.
const KES_ENTRIES: [&str; 1] = ["apiKey"];

impl Connections {
    pub(super) fn real_keys(&self, class: &TenantClass) -> Result<Keys, Fault> {
        let Some(openbao) = &class.spec.keys.openbao else { return Err(nowhere(class, "keys", "keys.openbao")) };
        let config = OpenBaoConfig {
            address: openbao.address.clone(),
            ca_bundle: openbao.ca_bundle.clone(),
            namespace: openbao.namespace.clone(),
            mount: openbao.mount.clone(),
            auth_mount: openbao.auth.mount.clone(),
            auth_role: openbao.auth.role.clone(),
            auth_audience: openbao.auth.audience.clone(),
        };
        let tokens = OwnTokens {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
        };
        Ok(Keys::OpenBao(OpenBaoKeys::new(config, Arc::new(tokens))?))
    }

    pub(super) async fn real_buckets(&self, class: &TenantClass) -> Result<Buckets, Fault> {
        let Some(s3) = &class.spec.buckets.s3 else { return Err(nowhere(class, "buckets", "buckets.s3")) };
        let config = self.store(s3).await?;
        Ok(Buckets::S3(S3Buckets::new(&config)?))
    }

    pub(super) async fn real_identities(&self, class: &TenantClass) -> Result<Identities, Fault> {
        let Some(s3) = &class.spec.buckets.s3 else { return Err(nowhere(class, "buckets", "buckets.s3")) };
        Ok(Identities::Sts(StsIdentities::new(&self.store(s3).await?)?))
    }

    pub(super) async fn real_authorization(&self, class: &TenantClass) -> Result<Server, Fault> {
        let openfga = class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref());
        let Some(openfga) = openfga else { return Err(nowhere(class, "authorization", "authorization.openfga")) };
        let config = OpenFgaConfig {
            endpoint: openfga.endpoint.clone(),
            ca_bundle: openfga.ca_bundle.clone(),
            credentials: self.at_openfga(class, &openfga.credentials).await?,
            access_control: openfga.access_control.as_ref().map(|access| StoreId::new(&access.store_id)).transpose()?,
        };
        Ok(Server::OpenFga(OpenFga::new(&config)?))
    }

    /// How to sign in at an OpenFGA server.
    async fn at_openfga(
        &self,
        class: &TenantClass,
        credentials: &api::authorization::OpenFgaCredentials,
    ) -> Result<OpenFgaCredentials, Fault> {
        if let Some(secret) = &credentials.secret {
            let [key] = self.secret(secret, OPENFGA_ENTRIES).await?;
            return Ok(OpenFgaCredentials::PresharedKey(key));
        }
        let token = credentials.identity_token.as_ref();
        let token = token.ok_or_else(|| nowhere(class, "its credentials", "authorization.openfga.credentials"))?;
        match self.keys(class)? {
            Keys::OpenBao(openbao) => {
                Ok(OpenFgaCredentials::IdentityToken(Arc::new(openbao.identity_tokens(&token.role))))
            }
            Keys::Memory(_) => Err(nowhere(class, "identity tokens", "keys.openbao")),
        }
    }

    async fn store(&self, s3: &S3) -> Result<S3Config, Fault> {
        let [access_key_id, secret_access_key] = self.secret(&s3.credentials.secret, STORE_ENTRIES).await?;
        let key_server = match s3.key_server.as_ref().and_then(|server| server.kes.as_ref()) {
            None => None,
            Some(kes) => {
                let [api_key] = self.secret(&kes.credentials.secret, KES_ENTRIES).await?;
                Some(KesConfig { endpoint: kes.endpoint.clone(), ca_bundle: kes.ca_bundle.clone(), api_key })
            }
        };
        Ok(S3Config {
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            ca_bundle: s3.ca_bundle.clone(),
            access_key_id: secrecy::ExposeSecret::expose_secret(&access_key_id).to_owned(),
            secret_access_key,
            key_server,
        })
    }
}

fn nowhere(class: &TenantClass, what: &str, field: &str) -> Fault {
    Fault::stalled(
        names::INVALID_SPEC,
        format!("TenantClass {} names no place for {what}: set {field}", class.name_any()),
    )
}
