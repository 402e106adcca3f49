//! Images of real nodes, made here and imported: no registry. In: programs. Out: archives, kept beside the programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use image::{File, Image};

use crate::components::Component;

/// What holds the namespaces of a pod.
pub(super) const PAUSE: &str = "steading.test/pause:1";
/// Server and client by which packets are judged: see `e2e/modules/packets`.
pub const PACKETS: &str = "steading.test/packets:1";
/// The cluster's DNS.
pub(super) const DNS: &str = "steading.test/coredns:1";

/// The archives of all images that every node has.
pub(super) async fn all() -> Result<Vec<PathBuf>> {
    Ok(vec![
        packed(Component::Packets, PAUSE, &["pause"]).await?,
        packed(Component::Packets, PACKETS, &[]).await?,
        packed(Component::CoreDns, DNS, &[]).await?,
    ])
}

/// An image of nothing but a static program.
async fn packed(component: Component, name: &'static str, arguments: &'static [&str]) -> Result<PathBuf> {
    let program = component.path().await?;
    let file = name.rsplit_once('/').map_or(name, |(_, last)| last).replace(':', "-");
    let archive = program.with_file_name(format!("{file}.image.tar"));
    if !archive.is_file() {
        let target = archive.clone();
        tokio::task::spawn_blocking(move || write(&program, name, arguments, &target)).await??;
    }
    Ok(archive)
}

fn write(program: &Path, name: &str, arguments: &[&str], archive: &Path) -> Result<()> {
    let executable = program.file_name().and_then(std::ffi::OsStr::to_str).context("a program has a name")?;
    let content = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let entrypoint = [format!("/{executable}")].into_iter().chain(arguments.iter().map(|it| (*it).to_owned()));
    let image = Image {
        name: name.to_owned(),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        files: BTreeMap::from([(executable.to_owned(), File { mode: 0o755, content })]),
        entrypoint: entrypoint.collect(),
        user: "65532:65532".to_owned(),
        ..Image::default()
    };
    let partial = archive.with_extension(format!("partial-{}", uuid::Uuid::new_v4().simple()));
    let out = std::fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    image::write_plain(&[image], std::io::BufWriter::new(out))?;
    std::fs::rename(&partial, archive).with_context(|| format!("cannot write {}", archive.display()))
}
