//! The whole program but its process: files in, TLS in front, endpoints beside.

use std::{fs, path::PathBuf, sync::Arc};

use clap::Parser;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use secrecy::ExposeSecret;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::stage::{Answer, SOON, basic, send, uid};
use crate::{reason::Reason, run, settings::Settings, token::Signer};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("steading-gateway-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join("next"), text).unwrap();
        fs::rename(self.0.join("next"), self.0.join(file)).unwrap();
    }

    fn policy(&self, state: &str) {
        let of = |number| uid(number).to_string();
        let policy = serde_json::json!({
            "version": 1,
            "pool": { "uid": of(2), "name": "acme/desktops", "tenant": of(3) },
            "allow": ["api.example.com"],
            "sessions": [{ "uid": of(1), "state": state }],
        });
        self.write("pool.json", &policy.to_string());
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn endpoint(http: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).await.unwrap();
    send(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let answer = Answer::read(&mut stream).await;
    (answer.status, answer.body)
}

async fn agent(address: &str, certificate: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("gateway.test".try_into().unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn it_reads_files_serves_over_tls_sees_a_session_end_and_ends_when_asked() {
    let folder = Folder::new();
    let own = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    folder.write("tls.pem", &own.cert.pem());
    folder.write("tls.key", &own.signing_key.serialize_pem());
    let settings =
        ["--policies", "", "--token-keys", "keys.pem", "--tls-certificate", "tls.pem", "--tls-key", "tls.key"];
    let settings =
        settings.iter().map(|text| if text.starts_with("--") { (*text).to_owned() } else { folder.path(text) });
    let settings = ["steading-gateway", "--cluster-ranges", "10.0.0.0/8", "--grace", "0"]
        .map(str::to_owned)
        .into_iter()
        .chain(settings);
    let settings = Settings::try_parse_from(settings).unwrap();
    let (listener, http) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (address, endpoints) = (listener.local_addr().unwrap().to_string(), http.local_addr().unwrap().to_string());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(run::serve(settings, listener, http, async move { drop(stopped.await) }));

    assert_eq!(endpoint(&endpoints, "/healthz").await.0, 200);
    assert_eq!(endpoint(&endpoints, "/readyz").await.0, 503, "there are no keys yet");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    folder.policy("Active");
    folder.write("keys.pem", &pair.public_key_pem());
    let ready = async { while endpoint(&endpoints, "/readyz").await.0 != 200 {} };
    timeout(SOON, ready).await.expect("it is never ready");

    let token =
        Signer::from_pkcs8(&pair.serialize_der()).unwrap().sign(uid(1).into(), uid(2).into(), uid(3).into(), u64::MAX);
    let shows = basic(&uid(1).to_string(), token.expose_secret());
    let mut agent = agent(&address, own.cert.der()).await;
    let mut ask = async || {
        send(&mut agent, &format!("CONNECT evil.example:443 HTTP/1.1\r\n{shows}\r\n\r\n")).await;
        Answer::read(&mut agent).await
    };
    let answer = ask().await;
    assert!(answer.is(Reason::HostNotAllowed), "{answer:?}");
    folder.policy("Ended");
    let seen = async { while !ask().await.is(Reason::SessionEnded) {} };
    timeout(SOON, seen).await.expect("the end is never seen");
    let metrics = endpoint(&endpoints, "/metrics").await.1;
    assert!(metrics.contains("steading_egress_policies_good 1"), "{metrics}");

    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
}
