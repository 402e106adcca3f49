//! The first message of TLS, by which a client says which server it wants. In: a stream, the host that CONNECT named. Out: the bytes that
//! were read, to be passed on as they are, or a [`Reason`]. Nothing is decrypted, and nothing is answered.
//!
//! The outer ClientHello counts. Where an encrypted one is inside, its outer name is that of whoever runs the server, so it matches only
//! where that name itself was asked for.

use std::io;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    host::{Host, Name},
    reason::Reason,
};

/// Larger than any ClientHello of a browser, with room for the keys of the next years.
pub const BYTES: usize = 32 * 1024;

/// A fatal alert `unrecognized_name`, so that the client's error names what was wrong.
pub const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Reads until the ClientHello is whole and names `host`.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), host: &Host) -> Result<Vec<u8>, Reason> {
    let mut acceptor = Acceptor::default();
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Err(Reason::NotTls),
            Ok(count) => count,
        };
        let chunk = chunk.get(..count).unwrap_or_default();
        read.extend_from_slice(chunk);
        if let Some(hello) = feed(&mut acceptor, chunk)? {
            return agrees(host, hello.name.as_deref()).map(|()| read);
        }
        if read.len() > BYTES {
            return Err(Reason::HelloTooLarge);
        }
    }
}

/// A ClientHello that is whole.
struct Hello {
    /// The name that the client sent.
    name: Option<String>,
}

/// Gives the acceptor what was read. The message, once it is whole.
fn feed(acceptor: &mut Acceptor, mut chunk: &[u8]) -> Result<Option<Hello>, Reason> {
    while !chunk.is_empty() {
        let taken = acceptor.read_tls(&mut chunk).map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::OutOfMemory => Reason::HelloTooLarge,
            _ => Reason::NotTls,
        })?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Ok(Some(Hello { name: accepted.client_hello().server_name().map(str::to_owned) }));
            }
            Ok(None) if taken == 0 => return Err(Reason::HelloTooLarge),
            Ok(None) => {}
            Err(_) => return Err(Reason::NotTls),
        }
    }
    Ok(None)
}

/// Whether TLS names what CONNECT named. A client that asks for an address has no name to send.
fn agrees(host: &Host, name: Option<&str>) -> Result<(), Reason> {
    match (host, name) {
        (Host::Name(asked), Some(sent)) if Name::parse(sent).as_ref() == Ok(asked) => Ok(()),
        (Host::Address(_), None) => Ok(()),
        (Host::Name(_), None) => Err(Reason::SniMissing),
        _ => Err(Reason::SniMismatch),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};

    use super::*;

    /// What a client of TLS sends first, with `name` or without.
    pub(crate) fn hello(name: &'static str, sends_name: bool) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.enable_sni = sends_name;
        let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    async fn judged(bytes: &[u8], host: &str) -> Result<Vec<u8>, Reason> {
        let mut stream = tokio_test_stream(bytes);
        read(&mut stream, &Host::parse(host).unwrap()).await
    }

    /// Gives one byte after the other, as a slow client would.
    fn tokio_test_stream(bytes: &[u8]) -> impl AsyncRead + Unpin + use<> {
        let (mut write, read) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await });
        read
    }

    #[tokio::test]
    async fn a_hello_that_names_the_host_is_given_back_as_it_was() {
        let bytes = hello("api.example.com", true);
        assert_eq!(judged(&bytes, "api.example.com").await, Ok(bytes.clone()));
        assert_eq!(judged(&bytes, "API.example.com.").await, Ok(bytes));
    }

    #[tokio::test]
    async fn another_name_or_none_is_refused() {
        let bytes = hello("api.example.com", true);
        assert_eq!(judged(&bytes, "www.example.com").await, Err(Reason::SniMismatch));
        assert_eq!(judged(&bytes, "93.184.215.14").await, Err(Reason::SniMismatch));
        let bytes = hello("api.example.com", false);
        assert_eq!(judged(&bytes, "api.example.com").await, Err(Reason::SniMissing));
        assert_eq!(judged(&bytes, "93.184.215.14").await, Ok(bytes));
    }

    #[tokio::test]
    async fn whatever_is_not_tls_is_refused_at_its_first_bytes() {
        for bytes in
            [&b"SSH-2.0-OpenSSH\r\n"[..], b"GET / HTTP/1.1\r\n", b"\x16\x02\x00", b"", b"\x16", b"\x80\x2e\x01\x03\x01"]
        {
            assert_eq!(judged(bytes, "api.example.com").await, Err(Reason::NotTls), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_hello_without_end_is_not_read_without_end() {
        // Records of a handshake message that says it has 16 MiB.
        let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        bytes.resize(5 + 0x4000, 0);
        let record = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
        for _ in 0..4 {
            bytes.extend_from_slice(&record);
        }
        let refused = judged(&bytes, "api.example.com").await.unwrap_err();
        assert!(matches!(refused, Reason::HelloTooLarge | Reason::NotTls), "{refused}");
    }

    #[test]
    fn the_alert_is_one_that_clients_know() {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("a.example").unwrap()).unwrap();
        client.read_tls(&mut &ALERT[..]).unwrap();
        let error = client.process_new_packets().unwrap_err();
        assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
    }

    proptest! {
        #[test]
        fn a_changed_hello_never_passes_as_another_host(place in 0_usize..600, byte in any::<u8>()) {
            let mut bytes = hello("api.example.com", true);
            let place = place % bytes.len();
            bytes[place] = byte;
            let mut acceptor = Acceptor::default();
            if let Ok(Some(hello)) = feed(&mut acceptor, &bytes) {
                let other = Host::parse("www.example.com").unwrap();
                prop_assert!(agrees(&other, hello.name.as_deref()).is_err());
            }
        }
    }
}
