//! kubectl, built from source like the rest. In: arguments. Out: what it prints, as the administrator of the demo's cluster.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use e2e::Plane;
use e2e::components::Component;
use e2e::nursery::Nursery;
use tokio::process::Command;

use crate::show::Show;

/// kubectl with a kubeconfig and a home of its own, so that it neither reads nor leaves anything in ours.
pub(crate) struct Kubectl {
    program: PathBuf,
    nursery: Nursery,
}

impl Kubectl {
    pub(crate) async fn new(plane: &Plane) -> Result<Self> {
        let kubectl = Self { program: Component::Kubectl.path().await?, nursery: Nursery::new("demo")? };
        plane.write_kubeconfig(plane.admin_identity(), &kubectl.kubeconfig())?;
        Ok(kubectl)
    }

    pub(crate) fn program(&self) -> &std::path::Path {
        &self.program
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.nursery.directory().join("kubeconfig")
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.nursery.directory().to_owned()
    }

    /// Writes a file for kubectl to read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        self.nursery.write(name, content)
    }

    /// Runs it; the answer is what it prints, or why it failed as it said itself.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Result<String, String>> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.nursery.directory())
            .env("KUBECACHEDIR", self.nursery.directory().join("kubectl"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run kubectl")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }

    /// Shows the command and what it prints; that it fails is an error.
    pub(crate) async fn shown(&self, show: &Show, arguments: &[&str]) -> Result<()> {
        show.say(&format!("$ kubectl {}", arguments.join(" ")));
        match self.run(arguments).await? {
            Ok(printed) => show.output(&printed),
            Err(said) => bail!("`kubectl {}` failed: {said}", arguments.join(" ")),
        }
        Ok(())
    }
}
