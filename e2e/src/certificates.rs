//! The certificate authority of one cluster. In: names. Out: certificates and keys as PEM.
//!
//! One authority signs the API server, the clients, OpenBao, KES, MinIO and OpenFGA; it lives and dies with its cluster.

use anyhow::{Context as _, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use secrecy::SecretString;

/// Object identifier of `organizationName`, the certificate field in which Kubernetes looks for groups.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// A certificate authority.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its private key, both as PEM.
#[derive(Clone)]
pub struct KeyedCertificate {
    /// The certificate, as PEM.
    pub certificate: String,
    /// The private key, as PEM in PKCS #8.
    pub key: SecretString,
}

impl Authority {
    /// A new authority that calls itself `name`.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("cannot make a key for the certificate authority")?;
        let certificate = params.self_signed(&key).context("cannot sign the certificate authority")?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { certificate, key: key_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate as PEM: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's private key as PEM, for the controller that signs certificate requests.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A certificate for a server reached under `names`: DNS names or IP addresses.
    pub fn server(&self, common_name: &str, names: &[&str]) -> Result<KeyedCertificate> {
        self.serves(common_name, names, vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// The same for one of several servers, which shows it to the others, too.
    pub fn peer(&self, common_name: &str, names: &[&str]) -> Result<KeyedCertificate> {
        let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.serves(common_name, names, both)
    }

    fn serves(
        &self,
        common_name: &str,
        names: &[&str],
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<KeyedCertificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).context("a server name is no DNS name or IP address")?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = usages;
        self.sign(params)
    }

    /// A certificate by which the API server knows its bearer as `user`, a member of `groups`.
    ///
    /// At most two groups: the library keeps one value for each way to write the field, and there are two ways.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<KeyedCertificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        let ways = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())];
        if groups.len() > ways.len() {
            bail!("a client certificate carries at most {} groups, but {user} has {groups:?}", ways.len());
        }
        for (way, group) in ways.into_iter().zip(groups) {
            params.distinguished_name.push(way, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<KeyedCertificate> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?;
        Ok(KeyedCertificate { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }
}

/// Chooses the TLS provider of this process. Everything that opens a connection calls it first; it may be called often.
pub fn install_tls_provider() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}
