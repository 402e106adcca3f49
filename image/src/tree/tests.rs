//! What a folder becomes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("steading-tree-{name}-{}", std::process::id()));
        fs::remove_dir_all(&root).ok();
        for folder in ["tmp", "usr/bin", "var/empty"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self(root).with("usr/bin/cow", 0o750, "moo").with("usr/fence", 0o666, "high")
    }

    fn with(self, path: &str, mode: u32, content: &str) -> Self {
        let path = self.0.join(path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn packed(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        pack(&self.0, &["tmp"], &mut out).map(|()| out)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn only_what_is_named_can_be_written_and_empty_folders_stay() {
    let folder = Folder::new("modes");
    fs::set_permissions(folder.0.join("var/empty"), fs::Permissions::from_mode(0o2777)).unwrap();
    symlink("cow", folder.0.join("usr/bin/bull")).unwrap();
    let packed = folder.packed().unwrap();
    let mut archive = tar::Archive::new(packed.as_slice());
    let entries: BTreeMap<String, u32> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            (entry.path().unwrap().to_str().unwrap().to_owned(), header.mode().unwrap())
        })
        .collect();
    let expected = [
        ("tmp/", 0o1777),
        ("usr/", 0o755),
        ("usr/bin/", 0o755),
        ("usr/bin/bull", 0o777),
        ("usr/bin/cow", 0o755),
        ("usr/fence", 0o644),
        ("var/", 0o755),
        ("var/empty/", 0o755),
    ];
    assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)).into());
}

#[test]
fn the_same_folder_gives_the_same_bytes_whatever_its_times_and_order() {
    let (one, other) = (Folder::new("one"), Folder::new("other"));
    fs::remove_file(other.0.join("usr/bin/cow")).unwrap();
    let other = other.with("usr/bin/cow", 0o777, "moo");
    let old = fs::File::options().write(true).open(other.0.join("usr/fence")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(one.packed().unwrap(), other.packed().unwrap());
}

#[test]
fn a_program_that_lends_rights_is_refused_by_name() {
    for mode in [0o4755, 0o2755] {
        let folder = Folder::new(&format!("{mode:o}")).with("usr/bin/bull", mode, "moo");
        let refusal = format!("{:#}", folder.packed().unwrap_err());
        assert!(refusal.starts_with("/usr/bin/bull runs with the rights of its owner"), "{refusal}");
    }
}

#[test]
fn what_is_neither_file_nor_folder_nor_link_is_refused() {
    let folder = Folder::new("socket");
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("gate")).unwrap();
    let refusal = folder.packed().unwrap_err().to_string();
    assert!(refusal.starts_with("/gate is a pipe or socket"), "{refusal}");
}

#[test]
fn a_folder_that_is_to_be_writable_must_be_there() {
    let folder = Folder::new("missing");
    let refusal = pack(&folder.0, &["run"], Vec::new()).unwrap_err().to_string();
    assert_eq!(refusal, "/run is to be writable, but there is no such folder");
}
