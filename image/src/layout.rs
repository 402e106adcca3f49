//! An OCI image layout in an archive. In: images, one after the other. Out: their blobs, each once, and the index that leads to them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Image;
use crate::archive::Archive;

/// How the files of an image are packed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    /// As small as can be: for what is sent over networks.
    Small,
    /// As they are: for what is unpacked again on the machine that packed it.
    Plain,
}

/// A layout that grows.
pub(crate) struct Layout<W: Write> {
    archive: Archive<W>,
    blobs: BTreeSet<String>,
    manifests: Vec<Value>,
}

/// A layer: how it is described, and the digest of what it unpacks to.
struct Layer {
    described: Value,
    unpacked: String,
}

impl<W: Write> Layout<W> {
    /// One without images.
    pub(crate) fn begin(out: W) -> Result<Self> {
        let mut archive = Archive::new(out);
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        archive.file("oci-layout", 0o644, version.to_string().as_bytes())?;
        Ok(Self { archive, blobs: BTreeSet::new(), manifests: Vec::new() })
    }

    /// Adds an image. Returns the digest of its manifest.
    pub(crate) fn add(&mut self, image: &Image, packing: Packing) -> Result<String> {
        let mut layers = Vec::new();
        if let Some(base) = &image.base {
            layers.push(self.base(base)?);
        }
        if image.base.is_none() || !image.files.is_empty() || !image.links.is_empty() {
            layers.push(self.files(image, packing)?);
        }
        let unpacked: Vec<_> = layers.iter().map(|layer| &layer.unpacked).collect();
        let configuration = json!({
            "architecture": image.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": image.entrypoint, "User": image.user, "WorkingDir": "/", "Labels": image.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": unpacked },
        });
        let configuration =
            self.blob("application/vnd.oci.image.config.v1+json", configuration.to_string().as_bytes())?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let layers: Vec<_> = layers.into_iter().map(|layer| layer.described).collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": configuration, "layers": layers }).to_string();
        let described = self.blob(kind, manifest.as_bytes())?;
        let digest = digest(manifest.as_bytes());
        let (repository, tag) = image.name.rsplit_once(':').unwrap_or((&image.name, "latest"));
        self.name(described.clone(), &image.name, tag);
        if let Packing::Plain = packing {
            // Whoever pulls an image can ask for it by its digest too. What is imported has the names that it was imported under.
            self.name(described, &format!("{repository}@{digest}"), &digest);
        }
        Ok(digest)
    }

    /// Adds a name of an image to the index.
    fn name(&mut self, mut described: Value, name: &str, reference: &str) {
        if let Some(described) = described.as_object_mut() {
            // The first is the specification's, the second is by what containerd names an image that it imports.
            let names = json!({ "org.opencontainers.image.ref.name": reference, "io.containerd.image.name": name });
            described.insert("annotations".to_owned(), names);
        }
        self.manifests.push(described);
    }

    /// Adds the index, and ends it.
    pub(crate) fn end(mut self) -> Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        });
        self.archive.file("index.json", 0o644, index.to_string().as_bytes())?;
        self.archive.end()?.flush().context("cannot write the image")
    }

    /// The layer of an image's own files.
    fn files(&mut self, image: &Image, packing: Packing) -> Result<Layer> {
        let mut layer = Archive::new(Vec::new());
        for (path, file) in &image.files {
            layer.file(path, file.mode, &file.content)?;
        }
        for (path, target) in &image.links {
            layer.link(path, target)?;
        }
        let layer = layer.end()?;
        let unpacked = digest(&layer);
        let described = match packing {
            Packing::Small => self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &compressed(&layer)?)?,
            Packing::Plain => self.blob(PLAIN_LAYER, &layer)?,
        };
        Ok(Layer { described, unpacked })
    }

    /// The layer that an archive on disk is. It is read twice: its digest is its name, which comes first.
    fn base(&mut self, path: &Path) -> Result<Layer> {
        let failed = || format!("cannot read {}", path.display());
        let mut hash = Hash(Sha256::new());
        io::copy(&mut fs::File::open(path).with_context(failed)?, &mut hash).with_context(failed)?;
        let digest = named(&hash.0.finalize());
        let file = fs::File::open(path).with_context(failed)?;
        let size = file.metadata().with_context(failed)?.len();
        if self.blobs.insert(digest.clone()) {
            self.archive.stream(&path_of(&digest), 0o644, size, file)?;
        }
        let described = json!({ "mediaType": PLAIN_LAYER, "digest": digest, "size": size });
        Ok(Layer { described, unpacked: digest })
    }

    /// Adds a blob unless it is there, and describes it.
    fn blob(&mut self, kind: &str, content: &[u8]) -> Result<Value> {
        let digest = digest(content);
        if self.blobs.insert(digest.clone()) {
            self.archive.file(&path_of(&digest), 0o644, content)?;
        }
        Ok(json!({ "mediaType": kind, "digest": digest, "size": content.len() }))
    }
}

const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where the blob of this digest lies.
fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// A digest that can be written to.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of this content, as it is written everywhere in a layout.
pub(crate) fn digest(content: &[u8]) -> String {
    named(&Sha256::digest(content))
}

fn named(hash: &[u8]) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(hash))
}

fn compressed(content: &[u8]) -> Result<Vec<u8>> {
    // Without a time and a name in its header.
    let mut compressor = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    compressor.write_all(content).and_then(|()| compressor.finish()).context("cannot compress the layer")
}
