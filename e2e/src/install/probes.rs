//! The programs that run on nodes beside an operator that runs as a process. In: a plane with real nodes. Out: an image on them that
//! holds the probe, the canary and the relay, under the name that the harness gives to the chart, and the values by which probes run under both
//! kernels.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use image::{File, Image};
use serde_json::{Value, json};

use super::REPOSITORY;
use super::pods::{make, merge};
use crate::nursery::Nursery;
use crate::plane::{GVISOR, OUTSIDE, Plane, Tier};

/// These values of the chart, and on real nodes those by which probes run there, which get the image of the programs.
pub async fn with_probes(plane: &Plane, values: &Value) -> Result<Value> {
    if plane.tier() != Tier::Three {
        return Ok(values.clone());
    }
    import_programs(plane).await?;
    let mut all = probe_values();
    merge(&mut all, values);
    Ok(all)
}

/// Packs the image of the programs and gives it to the nodes, where canaries of databases run from it.
pub async fn import_programs(plane: &Plane) -> Result<()> {
    let nursery = Nursery::new("image")?;
    let archive = nursery.directory().join("programs.tar");
    let target = archive.clone();
    tokio::task::spawn_blocking(move || pack(&target)).await??;
    plane.import_image(&archive).await
}

/// What a class can ask of the network of a plane: where nothing runs nothing can be shown.
pub fn enforcement_of(tier: Tier) -> &'static str {
    match tier {
        Tier::One | Tier::Two => "Assumed",
        Tier::Three => "Required",
    }
}

/// The values of the chart with which probes run as they do for whoever sandboxes pods. On these nodes something stands for the outside.
fn probe_values() -> Value {
    json!({ "probe": {
        "enabled": true, "period": 5, "outside": [format!("{OUTSIDE}:80"), format!("{OUTSIDE}:443")],
        "runtimes": [{ "name": "default" }, { "name": "gvisor", "runtimeClassName": GVISOR }],
    }})
}

/// What runs in pods. Each is the program of its containers by the path in the image.
const PROGRAMS: [&str; 3] = ["probe", "canary", "steading-relay"];

fn pack(archive: &Path) -> Result<()> {
    let folder =
        make(&["programs".to_owned()], "building probe, canary and relay (several minutes on 2 cores the first time)")?;
    let program = |name: &str| {
        let path = Path::new(&folder).join(name);
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok((name.to_owned(), File { mode: 0o755, content }))
    };
    let image = Image {
        name: format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION")),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        files: PROGRAMS.into_iter().map(program).collect::<Result<BTreeMap<_, _>>>()?,
        entrypoint: vec!["/probe".to_owned()],
        user: "65532:65532".to_owned(),
        ..Image::default()
    };
    let out = std::fs::File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    image::write_plain(&[image], std::io::BufWriter::new(out)).map(drop)
}
