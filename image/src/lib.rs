//! Container images without an engine and without a registry.
//!
//! In: files and how to start them. Out: an archive of an OCI image layout, which every engine and registry takes. The same files
//! always give the same bytes: no time, no name of a user or machine, and no order of a file system gets in.
//!
//! Formats: <https://github.com/opencontainers/image-spec> (layout, index, manifest, configuration, layer). They are written as plain
//! JSON: the usual types keep annotations in maps without order, which would make two archives out of one image.

mod archive;
pub mod operator;
mod roots;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use archive::Archive;

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its permissions, such as `0o755`. It belongs to root.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

/// An image of one layer, for Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name with tag, such as `localhost/steading/operator:0.1.0`.
    pub name: String,
    /// For which processor, as Go calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// Its files by path, without leading slash. Directories come by themselves.
    pub files: BTreeMap<String, File>,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// As whom it runs, such as `65532:65532`.
    pub user: String,
    /// What is told of it, by the keys of the image specification.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// Writes its files into a new folder, as an engine copies them.
    ///
    /// # Errors
    /// If the folder is there already, or a file cannot be written.
    pub fn write_files(&self, root: &Path) -> Result<()> {
        fs::create_dir(root).with_context(|| format!("cannot create {}", root.display()))?;
        for (path, file) in &self.files {
            let path = root.join(path);
            let failed = || format!("cannot write {}", path.display());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(failed)?;
            }
            fs::write(&path, &file.content).with_context(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).with_context(failed)?;
        }
        Ok(())
    }

    /// Writes the archive of a layout with this image. Returns the digest of the manifest, by which the image is pulled.
    ///
    /// # Errors
    /// If `out` cannot be written, or a path of a file does not fit into an archive.
    pub fn write(&self, out: impl Write) -> Result<String> {
        let mut layer = Archive::new(Vec::new());
        for (path, file) in &self.files {
            layer.file(path, file.mode, &file.content)?;
        }
        let layer = layer.end()?;
        let unpacked = digest(&layer);
        let mut layout = Archive::new(out);
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        layout.file("oci-layout", 0o644, version.to_string().as_bytes())?;

        let layer = blob(&mut layout, "application/vnd.oci.image.layer.v1.tar+gzip", &compressed(&layer)?)?;
        let configuration = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/", "Labels": self.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [unpacked] },
        });
        let configuration =
            blob(&mut layout, "application/vnd.oci.image.config.v1+json", configuration.to_string().as_bytes())?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": configuration, "layers": [layer] }).to_string();
        let digest = digest(manifest.as_bytes());
        let mut manifest = blob(&mut layout, kind, manifest.as_bytes())?;
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        if let Some(described) = manifest.as_object_mut() {
            // The first is the specification's, the second is by what containerd names an image that it imports.
            let names = json!({ "org.opencontainers.image.ref.name": tag, "io.containerd.image.name": self.name });
            described.insert("annotations".to_owned(), names);
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
        });
        layout.file("index.json", 0o644, index.to_string().as_bytes())?;
        layout.end()?.flush().context("cannot write the image")?;
        Ok(digest)
    }
}

/// Adds a blob to the layout and describes it.
fn blob(layout: &mut Archive<impl Write>, kind: &str, content: &[u8]) -> Result<Value> {
    let digest = digest(content);
    let (_, hexadecimal) = digest.split_once(':').unwrap_or_default();
    layout.file(&format!("blobs/sha256/{hexadecimal}"), 0o644, content)?;
    Ok(json!({ "mediaType": kind, "digest": digest, "size": content.len() }))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(content)))
}

fn compressed(content: &[u8]) -> Result<Vec<u8>> {
    // Without a time and a name in its header.
    let mut compressor = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    compressor.write_all(content).and_then(|()| compressor.finish()).context("cannot compress the layer")
}

#[cfg(test)]
mod tests;
