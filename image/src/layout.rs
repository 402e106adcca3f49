//! An OCI image layout in an archive. In: images, one after the other. Out: their blobs, each once, and the index that leads to them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use crate::archive::Archive;
use crate::signature::{self, Key};
use crate::{Image, Sum, digest};

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
            layers.push(self.base(base, packing)?);
        }
        if image.base.is_none() || !image.files.is_empty() || !image.links.is_empty() {
            layers.push(self.files(image, packing)?);
        }
        let unpacked: Vec<_> = layers.iter().map(|layer| &layer.unpacked).collect();
        let mut started = json!({
            "Entrypoint": image.entrypoint, "User": image.user, "WorkingDir": "/", "Labels": image.labels,
        });
        if let (Some(started), false) = (started.as_object_mut(), image.environment.is_empty()) {
            let variables = image.environment.iter().map(|(name, value)| format!("{name}={value}").into());
            started.insert("Env".to_owned(), Value::Array(variables.collect()));
        }
        let configuration = json!({
            "architecture": image.architecture,
            "os": "linux",
            "config": started,
            "rootfs": { "type": "layers", "diff_ids": unpacked },
        });
        let configuration =
            self.blob("application/vnd.oci.image.config.v1+json", configuration.to_string().as_bytes())?;
        let layers: Vec<_> = layers.into_iter().map(|layer| layer.described).collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": layers }).to_string();
        let described = self.blob(MANIFEST, manifest.as_bytes())?;
        let digest = digest(manifest.as_bytes());
        let (repository, tag) = image.name.rsplit_once(':').unwrap_or((&image.name, "latest"));
        self.name(described.clone(), &image.name, tag, IMAGE);
        if let Packing::Plain = packing {
            // Whoever pulls an image can ask for it by its digest too. What is imported has the names that it was imported under.
            self.name(described, &format!("{repository}@{digest}"), &digest, IMAGE);
        }
        Ok(digest)
    }

    /// Adds a name of an image to the index.
    fn name(&mut self, mut described: Value, name: &str, reference: &str, kind: &str) {
        if let Some(described) = described.as_object_mut() {
            // The first is the specification's, the second is by what containerd names an image that it imports. By the third cosign
            // tells images in a folder from their signatures.
            let names = json!({
                "org.opencontainers.image.ref.name": reference, "io.containerd.image.name": name, "kind": kind,
            });
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
            Packing::Small => self.blob(SMALL_LAYER, &compressed(&layer)?)?,
            Packing::Plain => self.blob(PLAIN_LAYER, &layer)?,
        };
        Ok(Layer { described, unpacked })
    }

    /// The layer that an archive on disk is. It is read twice: its digest is its name, which comes first.
    fn base(&mut self, path: &Path, packing: Packing) -> Result<Layer> {
        let unpacked = digest_of_file(path)?;
        let described = match packing {
            Packing::Plain => self.blob_of_file(PLAIN_LAYER, path, &unpacked)?,
            Packing::Small => {
                let small = path.with_extension("tar.gz.partial");
                let packed = compress(path, &small)
                    .and_then(|()| self.blob_of_file(SMALL_LAYER, &small, &digest_of_file(&small)?));
                fs::remove_file(&small).with_context(|| format!("cannot remove {}", small.display()))?;
                packed?
            }
        };
        Ok(Layer { described, unpacked })
    }

    /// Adds the blob that a file is, unless it is there, and describes it.
    fn blob_of_file(&mut self, kind: &str, path: &Path, digest: &str) -> Result<Value> {
        let failed = || format!("cannot read {}", path.display());
        let file = fs::File::open(path).with_context(failed)?;
        let size = file.metadata().with_context(failed)?.len();
        if self.blobs.insert(digest.to_owned()) {
            self.archive.stream(&path_of(digest), 0o644, size, file)?;
        }
        Ok(json!({ "mediaType": kind, "digest": digest, "size": size }))
    }

    /// Adds a signature of the image with this name and digest, where verifiers look for it: under a name made of the digest.
    pub(crate) fn sign(&mut self, name: &str, digest: &str, key: &Key) -> Result<()> {
        let (repository, _) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let payload = signature::payload(repository, digest);
        let mut layer = self.blob(signature::KIND, payload.as_bytes())?;
        if let Some(layer) = layer.as_object_mut() {
            let signed = json!({ signature::ANNOTATION: key.sign(payload.as_bytes())? });
            layer.insert("annotations".to_owned(), signed);
        }
        let unpacked = layer.get("digest").cloned();
        let configuration = json!({
            "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": [unpacked] },
        });
        let configuration =
            self.blob("application/vnd.oci.image.config.v1+json", configuration.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": [layer],
        });
        let described = self.blob(MANIFEST, manifest.to_string().as_bytes())?;
        let tag = signature::tag(digest);
        self.name(described, &format!("{repository}:{tag}"), &tag, SIGNATURES);
        Ok(())
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

const IMAGE: &str = "dev.cosignproject.cosign/image";
const SIGNATURES: &str = "dev.cosignproject.cosign/sigs";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const SMALL_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where the blob of this digest lies.
fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest_of_file(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut sum = Sum::default();
    io::copy(&mut fs::File::open(path).with_context(failed)?, &mut sum).with_context(failed)?;
    Ok(format!("sha256:{}", sum.hex()))
}

/// Compresses a file that is too large for memory.
fn compress(path: &Path, small: &Path) -> Result<()> {
    let failed = || format!("cannot compress {}", path.display());
    let mut file = fs::File::open(path).with_context(failed)?;
    let out = BufWriter::new(fs::File::create(small).with_context(failed)?);
    // The default level: the best takes three times as long for a fiftieth.
    let mut compressor = GzBuilder::new().mtime(0).write(out, Compression::default());
    io::copy(&mut file, &mut compressor).with_context(failed)?;
    compressor.finish().and_then(|mut out| out.flush()).with_context(failed)
}

fn compressed(content: &[u8]) -> Result<Vec<u8>> {
    // Without a time and a name in its header.
    let mut compressor = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    compressor.write_all(content).and_then(|()| compressor.finish()).context("cannot compress the layer")
}
