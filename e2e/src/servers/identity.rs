//! Identities at the store, issued by Steading's own code with the operator's account. In: what each may use. Out: credentials.

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use providers::{IdentitySpec, S3Config, StsIdentities};
use secrecy::ExposeSecret as _;

use super::{REGION, Servers};
use crate::plane::Plane;

impl Servers {
    /// A new identity, as the operator would issue it.
    pub async fn issue(&self, plane: &Plane, spec: &IdentitySpec) -> Result<Credentials> {
        let account = self.minio.operator_account();
        let sts = StsIdentities::new(&S3Config {
            endpoint: self.minio.endpoint(),
            region: REGION.to_owned(),
            ca_bundle: Some(plane.authority().certificate().to_owned()),
            access_key_id: account.access_key.expose_secret().to_owned(),
            secret_access_key: account.secret_key.clone(),
            key_server: None,
        });
        let issued = match sts {
            Ok(sts) => sts.issue(spec).await,
            Err(fault) => Err(fault),
        };
        let issued = issued.with_context(|| format!("no identity for bucket {} was issued", spec.bucket))?;
        let secret = issued.secret_access_key.expose_secret().to_owned();
        let session = issued.session_token.expose_secret().to_owned();
        Ok(Credentials::new(issued.access_key_id, secret, Some(session), None, "e2e"))
    }
}
