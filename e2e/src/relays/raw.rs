//! A client that keeps to no rule but its own. In: lines. Out: lines.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Relay;
use crate::plane::Plane;

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(15);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection of bytes.
pub struct Raw(BufReader<Box<dyn Stream>>);

impl Raw {
    /// Without TLS.
    pub async fn plain(relay: &Relay) -> Result<Self> {
        Ok(Self(BufReader::new(Box::new(TcpStream::connect(relay.socket()).await?))))
    }

    /// With TLS, trusting what `plane` trusts.
    pub async fn tls(relay: &Relay, plane: &Plane) -> Result<Self> {
        Self::tls_trusting(relay, plane.host(), plane.authority().certificate()).await
    }

    /// With TLS, trusting these certificates.
    pub async fn tls_trusting(relay: &Relay, host: &str, authority: &str) -> Result<Self> {
        crate::certificates::install_tls_provider();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(relay.socket()).await?;
        let stream = connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// With TLS and signed in with this token.
    pub async fn signed_in(relay: &Relay, plane: &Plane, token: &SecretString) -> Result<Self> {
        let mut raw = Self::tls(relay, plane).await?;
        let info = raw.line().await?;
        anyhow::ensure!(info.starts_with("INFO "), "{info}");
        let connect =
            json!({ "auth_token": token.expose_secret(), "verbose": false, "pedantic": false, "protocol": 1 });
        raw.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
        raw.line_with("PONG").await?;
        Ok(raw)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await?;
        Ok(self.0.flush().await?)
    }

    /// The next line; empty at the end.
    pub async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.context("no line came")??;
        Ok(line.trim_end().to_owned())
    }

    /// The next line that begins so; an error at the end.
    pub async fn line_with(&mut self, beginning: &str) -> Result<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with(beginning) {
                return Ok(line);
            }
            anyhow::ensure!(!line.is_empty(), "the connection ended without {beginning}");
        }
    }

    /// Whatever comes until the server closes the connection.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.context("the connection stays open")?;
        Ok(rest)
    }
}
