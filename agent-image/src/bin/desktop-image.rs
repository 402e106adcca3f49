//! Packs the desktop that agents drive into an image, and chooses its packages. In: the lock, or Debian's archive. Out: an archive of an
//! OCI image layout with its digest on standard output; a folder for an engine to pack; or a new lock.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use agent_image::{Cache, Expected, LAYER, Layer};
use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use image::debian::Lock;
use image::signature::Key;

/// Packs the desktop that agents drive into an OCI image, without an engine: the same lock always gives the same digest.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  desktop-image pack --name localhost/steading/desktop:0.1.0 --output steading-desktop.tar --key cosign.pem\n  skopeo copy oci-archive:steading-desktop.tar:0.1.0 docker://registry.example/steading/desktop:0.1.0"
)]
struct Arguments {
    /// Where packages and layers are kept.
    #[arg(long, env = "STEADING_CACHE")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Packs the image.
    Pack {
        /// Name with tag.
        #[arg(long, default_value = "localhost/steading/desktop:latest")]
        name: String,
        /// Where the archive is written; what was there is replaced. What it is made of is written beside it, as *.spdx.json.
        #[arg(long, required_unless_present = "root")]
        output: Option<PathBuf>,
        /// A private key (PKCS #8, PEM, ECDSA on P-256): signs the image as cosign does, and writes the public key beside the archive.
        #[arg(long, requires = "output")]
        key: Option<PathBuf>,
        /// A folder that is made, into which the files of the image are written.
        #[arg(long, conflicts_with = "output")]
        root: Option<PathBuf>,
    },
    /// Asks Debian's archive for packages, and writes packages.lock and layer.sha256 anew.
    Lock {
        /// The folder in which these two are.
        #[arg(long, default_value = "agent-image")]
        folder: PathBuf,
        /// Writes nothing; fails if the archive has other packages by now, and says which.
        #[arg(long, conflicts_with = "same")]
        check: bool,
        /// Keeps the packages, and writes what has become of them.
        #[arg(long)]
        same: bool,
    },
}

fn main() -> Result<()> {
    let Arguments { cache, task } = Arguments::parse();
    let home = || std::env::home_dir().map(|home| home.join(".cache").join("steading"));
    let cache =
        cache.or_else(home).context("no home directory is known: give --cache a folder that may grow by 2 GB")?;
    let cache = Cache::of(&cache);
    match task {
        Task::Pack { name, output, key, root } => {
            let layer = Layer::of(&agent_image::lock()?, &cache, Expected::Sum(LAYER), say)?;
            match (output, root) {
                (Some(output), _) => pack(&name, &layer, &output, key.as_deref()),
                (_, Some(root)) => agent_image::write_root(&name, &layer, &root),
                (None, None) => bail!("neither --output nor --root"),
            }
        }
        Task::Lock { folder, check: true, .. } => check(&cache, &folder),
        Task::Lock { folder, same: true, .. } => measure(&agent_image::lock()?, &cache, &folder),
        Task::Lock { folder, .. } => {
            let lock = resolve(&cache)?;
            tell(&lock);
            write(&folder.join("packages.lock"), &lock.to_string())?;
            measure(&lock, &cache, &folder)
        }
    }
}

fn say(text: &str) {
    // Who does not listen does not miss it.
    writeln!(std::io::stderr(), "steading: {text}").ok();
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn pack(name: &str, layer: &Layer, output: &Path, key: Option<&Path>) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let pem = |path| read(path).and_then(|pem| Key::from_pem(&pem)).with_context(|| format!("{}", path.display()));
    let key = key.map(pem).transpose()?;
    let image = agent_image::image(name, layer)?;
    say("compressing the image (about a minute)");
    let partial = output.with_extension("partial");
    let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let digest = image.write_signed(BufWriter::new(file), key.as_ref())?;
    fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))?;
    write(&output.with_extension("spdx.json"), &layer.sbom()?)?;
    if let Some(key) = key {
        write(&output.with_extension("pub"), &key.public_pem())?;
    }
    println!("{digest}");
    Ok(())
}

/// Asks the archive. What the request leaves out has a reason to be in it.
fn resolve(cache: &Cache) -> Result<Lock> {
    let now = agent_image::resolve(&cache.layers)?;
    ensure!(
        now.idle.is_empty(),
        "agent-image/packages: these are left out, but nothing would bring them; remove them there: {}",
        now.idle.join(" ")
    );
    Ok(now.lock)
}

/// Says what is new in a lock.
fn tell(newer: &Lock) -> Vec<String> {
    let older = Lock::parse(agent_image::LOCK);
    let differences = older.map(|older| older.differences(newer)).unwrap_or_default();
    for line in &differences {
        say(line);
    }
    differences
}

fn check(cache: &Cache, folder: &Path) -> Result<()> {
    agent_image::lock()?;
    let differences = tell(&resolve(cache)?);
    if !differences.is_empty() {
        bail!(
            "Debian has {} packages that {} does not say: run `make agent-image-lock`",
            differences.len(),
            folder.display()
        );
    }
    Ok(())
}

/// Makes the layer and writes down what it is.
fn measure(lock: &Lock, cache: &Cache, folder: &Path) -> Result<()> {
    let layer = Layer::of(lock, cache, Expected::Anything, say)?;
    write(&folder.join("layer.sha256"), &format!("{}\n", layer.sum()?))
}
