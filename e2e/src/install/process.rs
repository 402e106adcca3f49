//! The operator as a process of its own. In: a plane with the chart installed. Out: a running operator that signs in
//! with a token of its ServiceAccount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::OnceCell;

use super::Installation;
use crate::components::attend;
use crate::nursery::Nursery;
use crate::plane::Plane;
use crate::ports::Port;
use crate::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};

/// A running operator. Dropping it kills it.
pub struct OperatorProcess {
    nursery: Nursery,
    port: Port,
}

impl OperatorProcess {
    /// Builds the operator of this checkout, once in each process, and returns the program. It is good to do so before a
    /// plane waits for it.
    pub async fn build() -> Result<PathBuf> {
        static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
        let built = async || tokio::task::spawn_blocking(build).await.context("building the operator ended early")?;
        PROGRAM.get_or_try_init(built).await.cloned()
    }

    /// Builds the operator if need be, starts it for `installation` and waits until it is ready.
    pub async fn start(plane: &Plane, installation: &Installation) -> Result<Self> {
        Self::start_with(plane, installation, []).await
    }

    /// The same with these environment variables.
    pub async fn start_with(
        plane: &Plane,
        installation: &Installation,
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self> {
        Self::start_program(&Self::build().await?, plane, installation, environment).await
    }

    /// The same with another program, such as that of an earlier version.
    pub async fn start_program(
        program: &Path,
        plane: &Plane,
        installation: &Installation,
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self> {
        let mut nursery = Nursery::new("operator")?;
        let port = Port::reserve()?;
        let kubeconfig = nursery.directory().join("operator.kubeconfig");
        plane.write_kubeconfig(&installation.operator_identity(plane).await?, &kubeconfig)?;
        let mut command = Command::new(program);
        command
            .args(["--installation", installation.name(), "--namespace", OPERATOR_NAMESPACE])
            .args(["--service-account", OPERATOR_ACCOUNT, "--http-address", &port.address(), "--log-format", "text"])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .envs(environment);
        let url = format!("http://{}/readyz", port.address());
        crate::certificates::install_tls_provider();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).tls_certs_only([]).build()?;
        nursery
            .spawn("operator", &mut command)?
            .until_ready(Duration::from_mins(1), async || {
                let answer = client.get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await?;
        Ok(Self { nursery, port })
    }

    /// `http://127.0.0.1:<port>`, where `/healthz`, `/readyz` and `/metrics` are.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// The file with its log.
    pub fn log(&self) -> PathBuf {
        self.nursery.directory().join("operator.log")
    }

    /// The ids of its processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.nursery.process_ids()
    }
}

/// Builds the operator of this checkout with Cargo and returns the path of the program.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        // Together with this crate, so that Cargo chooses the same features as for the tests and builds nothing twice.
        .args(["build", "--package", "e2e", "--package", "operator", "--bin", "operator"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // In a nursery, so that the compiler does not outlive whoever asked for it.
    let mut nursery = Nursery::new("build")?;
    let process = nursery.spawn("cargo", &mut command).context("cannot build the operator: is Rust installed?")?;
    let status = attend(process, "building the operator")?;
    let said = std::fs::read(process.log()).context("cannot read what cargo said")?;
    let said = String::from_utf8_lossy(&said);
    // What is no JSON is for people.
    let (messages, words): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with('{'));
    if !status.success() {
        bail!("the operator could not be built ({status}):\n{}", words.join("\n"));
    }
    let program = messages.into_iter().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    program.context("cargo built the operator but did not say where")
}
