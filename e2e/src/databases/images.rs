//! The images of databases, made here: no registry. In: the pinned programs and packages of Debian. Out: one archive of them all, kept in
//! the cache.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use image::Image;
use sha2::{Digest as _, Sha256};

use crate::components::{Component, attend, cache_root};
use crate::nursery::Nursery;
use crate::plane;

/// PostgreSQL, as a database's `imageName` has it. Tags of such images begin with the major version.
pub const POSTGRES: &str = "steading.test/postgresql:17-trixie";
/// The operator of databases, which each of their pods runs a copy of.
pub(super) const OPERATOR: &str = "steading.test/cloudnative-pg:1.30.0";
/// The plugin for backups, and what archives from within a database's pod.
pub(super) const PLUGIN: &str = "steading.test/barman-cloud:0.14.0";

/// Packs packages into a layer.
const SCRIPT: &str = include_str!("rootfs.sh");
/// The release of Debian, and of its packages a shell, PostgreSQL and what archives. One layer for the database and the archiver: most of
/// it both need, and nodes unpack it once.
const PACKAGES: [&str; 8] =
    ["trixie", "base-files", "coreutils", "dash", "libc-bin", "postgresql-17", "barman-cli-cloud", "python3-boto3"];
/// What packing needs, and the package that has it: programs, and the keys by which packages are known to be Debian's.
const NEEDS: [(&str, &str); 3] = [
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// The images, packed.
pub(super) struct Packed {
    /// What a node imports.
    pub(super) archive: PathBuf,
    /// [`POSTGRES`] by tag and digest, as an installation that pins its images has it.
    pub(super) postgres: String,
}

/// All images, packed first if the cache does not have them.
pub(super) async fn packed() -> Result<Packed> {
    let operator = Component::CloudNativePg.path().await?;
    let plugin = Component::BarmanCloud.path().await?;
    tokio::task::spawn_blocking(move || cached(&operator, &plugin)).await.context("the task ended early")?
}

fn cached(operator: &Path, plugin: &Path) -> Result<Packed> {
    let mut hash = Sha256::new();
    // Where a program lies says what it was built from.
    let programs = [operator.display().to_string(), plugin.display().to_string()];
    for part in
        [SCRIPT, POSTGRES, OPERATOR, PLUGIN].into_iter().chain(PACKAGES).chain(programs.iter().map(String::as_str))
    {
        hash.update(part);
        hash.update([0]);
    }
    let hash = data_encoding::HEXLOWER.encode(&hash.finalize());
    let directory = cache_root()?.join("images");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let archive = directory.join(format!("databases-{}.tar", hash.get(..16).unwrap_or(&hash)));
    let lock = File::create(archive.with_extension("lock")).context("cannot create a lock beside the images")?;
    lock.lock().context("cannot wait for another process that packs the same images")?;
    let digest = archive.with_extension("digest");
    if !(archive.is_file() && digest.is_file()) {
        let partial = archive.with_extension("partial");
        let of_postgres = pack(operator, plugin, &partial).context("the images of databases cannot be packed")?;
        std::fs::write(&digest, of_postgres).with_context(|| format!("cannot write {}", digest.display()))?;
        std::fs::rename(&partial, &archive).with_context(|| format!("cannot write {}", archive.display()))?;
    }
    let digest = std::fs::read_to_string(&digest).with_context(|| format!("cannot read {}", digest.display()))?;
    Ok(Packed { archive, postgres: format!("{POSTGRES}@{digest}") })
}

/// Packs them, and returns the digest of the first.
fn pack(operator: &Path, plugin: &Path, archive: &Path) -> Result<String> {
    plane::provide(&NEEDS)?;
    let mut nursery = Nursery::on_disk("images")?;
    let base = nursery.directory().join("packages.tar");
    let (script, work) = (nursery.write("rootfs.sh", SCRIPT)?, nursery.subdirectory("work")?);
    let mut command = Command::new("/bin/sh");
    command.arg(script).arg(&base).arg(work).args(PACKAGES);
    let process = nursery.spawn("rootfs", &mut command)?;
    let status = attend(process, "packing PostgreSQL from Debian's packages (about half a minute the first time)")?;
    ensure!(status.success(), "packing Debian's packages failed ({status})\n{}", process.last_lines());
    let out = File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let digests = image::write_plain(&images(operator, plugin, &base)?, BufWriter::new(out))?;
    digests.into_iter().next().context("no image was packed")
}

fn images(operator: &Path, plugin: &Path, base: &Path) -> Result<[Image; 3]> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned();
    let program = |path: &Path| {
        let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(image::File { mode: 0o755, content })
    };
    let postgres = Image {
        name: POSTGRES.to_owned(),
        architecture: architecture.clone(),
        base: Some(base.to_owned()),
        user: "26:26".to_owned(),
        ..Image::default()
    };
    // For other processors there would be others beside it: by these names it finds what to give to pods.
    let manager = format!("operator/manager_{architecture}");
    let operator = Image {
        name: OPERATOR.to_owned(),
        architecture,
        files: BTreeMap::from([(manager.clone(), program(operator)?)]),
        links: BTreeMap::from([("manager".to_owned(), manager)]),
        entrypoint: vec!["/manager".to_owned()],
        user: "10001:10001".to_owned(),
        ..Image::default()
    };
    let plugin = Image {
        name: PLUGIN.to_owned(),
        files: BTreeMap::from([("manager".to_owned(), program(plugin)?)]),
        entrypoint: vec!["/manager".to_owned()],
        ..postgres.clone()
    };
    Ok([postgres, operator, plugin])
}
