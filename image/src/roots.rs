//! The certificate authorities that an image trusts where nobody names others: Mozilla's, as the lock file pins them, and not those of
//! whatever machine builds the image.

use data_encoding::BASE64;

/// All of them as one PEM file.
pub fn bundle() -> String {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

/// One thing in PEM.
pub(crate) fn pem(label: &str, content: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines(content))
}

/// Lines of 64 characters, as PEM wants them (RFC 7468).
fn lines(content: &[u8]) -> String {
    // 48 bytes make 64 characters.
    content.chunks(48).fold(String::new(), |text, line| text + &BASE64.encode(line) + "\n")
}
