//! Packs the operator into an image. In: static programs. Out: an archive of an OCI image layout, and its digest on standard output;
//! or what is in the image as a folder, for an engine to pack.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use image::operator::Programs;

/// Packs the operator into an OCI image, without an engine: the same programs always give the same digest.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  operator-image --programs target/x86_64-unknown-linux-musl/release \\\n    --name localhost/steading/operator:0.1.0 --output steading-operator.tar\n  skopeo copy oci-archive:steading-operator.tar docker://registry.example/steading/operator:0.1.0"
)]
struct Arguments {
    /// The folder with the programs `operator`, `probe`, `canary` and `steading-relay`, linked statically.
    #[arg(long)]
    programs: PathBuf,
    /// Name with tag.
    #[arg(long, requires = "output", default_value = "localhost/steading/operator:latest")]
    name: String,
    /// Where the archive is written; what was there is replaced.
    #[arg(long, required_unless_present = "root")]
    output: Option<PathBuf>,
    /// A folder that is made, into which the files of the image are written.
    #[arg(long, conflicts_with = "output")]
    root: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { programs, name, output, root } = Arguments::parse();
    let read = |program: &str| {
        let path = programs.join(program);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let contents = Programs {
        operator: read("operator")?,
        probe: read("probe")?,
        canary: read("canary")?,
        relay: read("steading-relay")?,
    };
    let image = image::operator::image(&name, contents).with_context(|| programs.display().to_string())?;
    if let Some(root) = root {
        return image.write_files(&root);
    }
    let output = output.context("neither --output nor --root")?;
    let partial = output.with_extension("partial");
    let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let digest = image.write(BufWriter::new(file))?;
    fs::rename(&partial, &output).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{digest}");
    Ok(())
}
