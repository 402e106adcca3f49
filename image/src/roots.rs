//! The certificate authorities that an image trusts where nobody names others: Mozilla's, as the lock file pins them, and not those of
//! whatever machine builds the image.

use data_encoding::BASE64;

/// All of them as one PEM file.
pub fn bundle() -> String {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().fold(String::new(), |bundle, certificate| {
        bundle + "-----BEGIN CERTIFICATE-----\n" + &lines(certificate) + "-----END CERTIFICATE-----\n"
    })
}

/// Lines of 64 characters, as PEM wants them (RFC 7468).
fn lines(content: &[u8]) -> String {
    // 48 bytes make 64 characters.
    content.chunks(48).fold(String::new(), |text, line| text + &BASE64.encode(line) + "\n")
}
