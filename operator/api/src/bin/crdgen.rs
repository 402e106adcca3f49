//! Writes `crds/<plural>.yaml` into the folder given as the only argument. `make generate` calls it.

use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: crdgen FOLDER, for example: crdgen crds")?);
    for crd in api::crds::crds()? {
        let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::write(&file, api::crds::to_yaml(&crd)?)?;
        println!("wrote {}", file.display());
    }
    Ok(())
}
