//! Container images without an engine and without a registry.
//!
//! In: files and how to start them. Out: an archive of an OCI image layout, which every engine and registry takes. The same files
//! always give the same bytes: no time, no name of a user or machine, and no order of a file system gets in.
//!
//! Formats: <https://github.com/opencontainers/image-spec> (layout, index, manifest, configuration, layer). They are written as plain
//! JSON: the usual types keep annotations in maps without order, which would make two archives out of one image.

mod archive;
pub mod debian;
mod layout;
pub mod operator;
mod roots;
pub mod sbom;
pub mod signature;
mod sum;
pub mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use layout::{Layout, Packing};
pub use roots::bundle as authorities;
use signature::Key;
pub use sum::{Sum, digest, hex};

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its permissions, such as `0o755`. It belongs to root.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

/// An image for Linux: one layer of files, and perhaps one beneath it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name with tag, such as `localhost/steading/operator:0.1.0`.
    pub name: String,
    /// For which processor, as Go calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// What lies beneath its files: an archive (tar, not compressed), which becomes a layer as it is.
    pub base: Option<PathBuf>,
    /// Its files by path, without leading slash. Directories come by themselves.
    pub files: BTreeMap<String, File>,
    /// Its symbolic links by path, each with where it leads.
    pub links: BTreeMap<String, String>,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// Variables of its environment, by name.
    pub environment: BTreeMap<String, String>,
    /// As whom it runs, such as `65532:65532`.
    pub user: String,
    /// What is told of it, by the keys of the image specification.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// Writes its own files and links into a new folder, as an engine copies them.
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
        for (path, target) in &self.links {
            let path = root.join(path);
            let failed = || format!("cannot write {}", path.display());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(failed)?;
            }
            symlink(target, &path).with_context(failed)?;
        }
        Ok(())
    }

    /// Writes the archive of a layout with this image. Returns the digest of the manifest, by which the image is pulled.
    ///
    /// # Errors
    /// If `out` cannot be written, or a path of a file does not fit into an archive.
    pub fn write(&self, out: impl Write) -> Result<String> {
        self.write_signed(out, None)
    }

    /// Writes the same, and a signature of it if there is a key: an image of its own beside it, named `sha256-….sig` after the digest, as
    /// cosign has it. Signatures differ each time; the image and its digest do not.
    ///
    /// # Errors
    /// As [`Image::write`], or if the key cannot sign.
    pub fn write_signed(&self, out: impl Write, key: Option<&Key>) -> Result<String> {
        let mut layout = Layout::begin(out)?;
        let digest = layout.add(self, Packing::Small)?;
        if let Some(key) = key {
            layout.sign(&self.name, &digest, key)?;
        }
        layout.end()?;
        Ok(digest)
    }
}

/// Writes the archive of a layout with all these images, none of it compressed: for the machine that packs them. Layers that they share
/// are in it once. Each can be had by its name, or by its repository and its digest; the digests are returned.
///
/// # Errors
/// If `out` cannot be written, a base cannot be read, or a path of a file does not fit into an archive.
pub fn write_plain(images: &[Image], out: impl Write) -> Result<Vec<String>> {
    let mut layout = Layout::begin(out)?;
    let digests = images.iter().map(|image| layout.add(image, Packing::Plain)).collect::<Result<_>>()?;
    layout.end()?;
    Ok(digests)
}

#[cfg(test)]
mod tests;
