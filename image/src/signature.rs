//! Signatures of images that cosign and everything that speaks its format can check without any network. In: a private key (ECDSA on P-256)
//! and the digest of an image. Out: what is signed, the signature, and under which name it is looked for.
//!
//! Format: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>. What is signed names the digest of the image, so a
//! signature says nothing of another image; who checks it needs the public key and nothing else.

use std::fmt;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64;
use serde_json::json;

/// Of which kind the blob with what is signed is.
pub(crate) const KIND: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature of that blob stands, in base64.
pub(crate) const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What stands before the point of a public key on P-256 in the DER form that others read (RFC 5480).
const PUBLIC_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A private key. Nothing of it is ever printed.
pub struct Key(EcdsaKeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

impl Key {
    /// Reads a key from PEM (PKCS #8, not encrypted), as `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
    ///
    /// # Errors
    /// If it is none. What was read is not in the error.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let (head, tail) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let body = pem.split_once(head).and_then(|(_, rest)| rest.split_once(tail)).map(|(body, _)| body);
        let body = body.with_context(|| {
            format!("the key has no line {head:?}: make one by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`")
        })?;
        let body: String = body.split_whitespace().collect();
        let key = BASE64.decode(body.as_bytes()).ok().context("the key is no PEM: its text is no base64")?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key);
        Ok(Self(key.map_err(|_| anyhow!("the key is none of ECDSA on the curve P-256"))?))
    }

    /// The public key in PEM: what those who check signatures are given.
    pub fn public_pem(&self) -> String {
        let whole = [PUBLIC_HEAD.as_slice(), self.0.public_key().as_ref()].concat();
        crate::roots::pem("PUBLIC KEY", &whole)
    }

    /// Signs, and returns the signature (ASN.1) in base64.
    pub(crate) fn sign(&self, content: &[u8]) -> Result<String> {
        let signature = self.0.sign(&SystemRandom::new(), content);
        let signature =
            signature.map_err(|_| anyhow!("the key does not sign; is there a source of random numbers?"))?;
        ensure!(!signature.as_ref().is_empty(), "a signature is empty");
        Ok(BASE64.encode(signature.as_ref()))
    }
}

/// What is signed: that the image with this digest is meant, and where it was to be.
pub(crate) fn payload(repository: &str, digest: &str) -> String {
    let image = json!({ "docker-manifest-digest": digest });
    let critical = json!({ "identity": { "docker-reference": repository }, "image": image, "type": "cosign container image signature" });
    json!({ "critical": critical, "optional": null }).to_string()
}

/// The tag under which the signature of the image with this digest is looked for.
pub(crate) fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

#[cfg(test)]
mod tests;
