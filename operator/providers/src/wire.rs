//! HTTPS to servers that answer JSON, and what their refusals mean.
//!
//! In: an address, the certificates that are trusted for it, and requests. Out: a client that speaks TLS only, follows no
//! redirect (it would carry our credentials to wherever it points) and gives up in time; answers as typed values; everything else
//! as a [`Fault`] that names the address. Nothing of a request's headers or body gets into a message.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode, Url, header::RETRY_AFTER, redirect::Policy};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// Longest time to reach a server.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of one call, answer included; well below the deadline of a reconcile.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest text of a server that is repeated in a message, in characters.
const LONGEST_QUOTE: usize = 300;
/// Numbers of so many digits are not repeated.
const LONG_NUMBER: usize = 6;

/// Checks an address: `https`, a host, and nothing that could carry a secret or change a path.
pub(crate) fn endpoint(text: &str) -> Result<Url, Fault> {
    let url = Url::parse(text).map_err(|error| Fault::invalid(format!("{text:?} is not an address: {error}")))?;
    let plain = url.scheme() == "https"
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain {
        Ok(url)
    } else {
        // The text may hold a password here, so it is not repeated.
        Err(Fault::invalid("an address of a provider must be like https://host:port, without user, query or fragment"))
    }
}

/// The address with these segments behind its path. Segments are escaped; empty ones and dots are refused.
pub(crate) fn address<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, Fault> {
    let mut url = base.clone();
    {
        let mut path = url.path_segments_mut().map_err(|()| Fault::invalid(format!("{base} cannot have a path")))?;
        path.pop_if_empty();
        for segment in segments {
            if matches!(segment, "" | "." | "..") {
                return Err(Fault::invalid(format!("{segment:?} cannot be part of a path at {base}")));
            }
            path.push(segment);
        }
    }
    Ok(url)
}

/// The certificates that are trusted: those of the bundle and no others, or the system's if there is no bundle.
pub(crate) fn roots(ca_bundle: Option<&str>) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    match ca_bundle {
        Some(bundle) => {
            for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
                let certificate =
                    certificate.map_err(|error| Fault::invalid(format!("caBundle is not PEM: {error}")))?;
                store
                    .add(certificate)
                    .map_err(|error| Fault::invalid(format!("a certificate of caBundle cannot be trusted: {error}")))?;
            }
            if store.is_empty() {
                return Err(Fault::invalid(
                    "caBundle holds no certificate: write it as PEM, beginning with -----BEGIN CERTIFICATE-----",
                ));
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

/// A certificate by which we show who we are.
pub(crate) struct ClientIdentity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A client for one server.
pub(crate) fn client(ca_bundle: Option<&str>, identity: Option<ClientIdentity>) -> Result<Client, Fault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::invalid(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots(ca_bundle)?);
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { certificate, key }) => builder
            .with_client_auth_cert(vec![certificate], key)
            .map_err(|error| Fault::invalid(format!("the client certificate cannot be used: {error}")))?,
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .build()
        .map_err(|error| Fault::invalid(format!("the HTTPS client cannot be set up: {error}")))
}

/// An answer of a server, of whatever status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Sends a request. `what` names the object and the address, such as ``key `x` at https://bao.example``.
pub(crate) async fn send(request: RequestBuilder, what: &str) -> Result<Answer, Fault> {
    let unreachable =
        |error: &reqwest::Error| Fault::transient(format!("{what}: {}; see the health of that server", told(error)));
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(seconds);
    let body = response.bytes().await.map_err(|error| unreachable(&error))?.to_vec();
    Ok(Answer { status, retry_after, body })
}

/// What kept an answer from coming, without the address (which `what` names already).
fn told(error: &reqwest::Error) -> String {
    let missing = if error.is_timeout() { "no answer in time" } else { "no answer" };
    format!("{missing}{}", causes(error))
}

/// The causes of an error, each after a colon.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    quoted(&text)
}

/// Seconds of a `Retry-After` header; a date is not understood and counts as absent.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Foreign text for a message: bounded, on one line, and the same from try to try (long numbers are times or ids of a request, and a
/// message that changes with each try would be written into the status each time).
pub(crate) fn quoted(text: &str) -> String {
    let mut told = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        if digits >= LONG_NUMBER {
            told.push('…');
            told.extend(word.chars().skip(digits));
        } else {
            told.push_str(word);
        }
    }
    told.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_QUOTE).collect()
}

impl Answer {
    /// An answer as a test would have it.
    #[cfg(test)]
    pub(crate) fn of(status: StatusCode, body: &str) -> Self {
        Self { status, retry_after: None, body: body.as_bytes().to_vec() }
    }

    /// The body as a typed value.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, Fault> {
        // serde's message can repeat a value of the body, so only its place is told.
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::transient(format!(
                "{what}: the answer cannot be read (line {}, column {}); check that this is the address of the right server",
                error.line(),
                error.column()
            ))
        })
    }

    /// What an answer that is no success means. `said` is the server's own text, `remedy` what to grant or correct.
    pub(crate) fn fault(&self, what: &str, said: &str, remedy: &str) -> Fault {
        let status = self.status.as_u16();
        let message = format!("{what}: {status} {}; {remedy}", quoted(said));
        match status {
            401 | 403 => Fault::denied(message),
            429 => Fault::throttled(self.retry_after, message),
            503 if self.retry_after.is_some() => Fault::throttled(self.retry_after, message),
            300..=399 | 408 | 409 | 412 | 425 | 500.. => Fault::transient(message),
            _ => Fault::refused(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Class, reasons};

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
            body: Vec::new(),
        }
    }

    #[test]
    fn only_plain_https_addresses_are_taken_and_passwords_are_not_repeated() {
        for hostile in [
            "http://bao.example",
            "https://user:hunter2@bao.example",
            "https://:hunter2@bao.example",
            "https://bao.example?x=hunter2",
            "https://bao.example#hunter2",
        ] {
            let fault = endpoint(hostile).unwrap_err();
            assert_eq!(fault.reason, reasons::INVALID_SPEC, "{hostile}");
            assert!(!fault.message.contains("hunter2"), "{fault}");
        }
        assert!(endpoint("bao.example").is_err());
        assert!(endpoint("https://bao.example:8200/prefix").is_ok());
    }

    #[test]
    fn segments_stay_segments() {
        let base = endpoint("https://bao.example:8200/prefix/").unwrap();
        assert_eq!(
            address(&base, ["v1", "a b?#%/c"]).unwrap().as_str(),
            "https://bao.example:8200/prefix/v1/a%20b%3F%23%25%2Fc"
        );
        for hostile in ["", ".", ".."] {
            assert!(address(&base, [hostile]).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn the_status_alone_decides_the_class() {
        let class = |status, retry_after| answer(status, retry_after).fault("x", "said", "remedy").class;
        for (status, wanted) in [
            (400, Class::Stalled),
            (404, Class::Stalled),
            (403, Class::Stalled),
            (307, Class::Transient),
            (500, Class::Transient),
            (503, Class::Transient),
        ] {
            assert_eq!(class(status, None), wanted, "{status}");
        }
        assert_eq!(class(429, Some(9)), Class::Waiting { after: Duration::from_secs(9) });
        assert_eq!(class(503, Some(4)), Class::Waiting { after: Duration::from_secs(4) });
        assert_eq!(answer(403, None).fault("x", "", "").reason, reasons::DENIED);
    }

    #[test]
    fn a_server_cannot_flood_or_break_a_message() {
        let fault = answer(400, None).fault("key `x`", &"line\nline\r".repeat(1000), "remedy");
        assert!(fault.message.len() < 400 && !fault.message.contains(['\n', '\r']), "{}", fault.message);
        assert!(fault.message.starts_with("key `x`") && fault.message.ends_with("remedy"));
    }

    #[test]
    fn a_message_is_the_same_from_try_to_try() {
        let at = |time: u64| {
            quoted(&format!("certificate expired: verification time {time} (UNIX), but it is not valid after 12345"))
        };
        assert_eq!(at(1_763_795_445), at(1_763_795_999));
        assert_eq!(at(1), "certificate expired: verification time 1 (UNIX), but it is not valid after 12345");
        assert_eq!(quoted("1763795445"), "…");
        assert_eq!(quoted("os error 111, port 65535"), "os error 111, port 65535");
    }

    #[test]
    fn a_bundle_without_certificate_is_refused() {
        assert_eq!(roots(Some("hello")).unwrap_err().reason, reasons::INVALID_SPEC);
        assert_eq!(
            roots(Some("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----")).unwrap_err().reason,
            reasons::INVALID_SPEC
        );
    }
}
