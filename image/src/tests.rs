//! What is in an archive that was written, read with other eyes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read as _;

use serde_json::{Value, json};

use super::*;

fn image() -> Image {
    let file = |mode, content: &str| File { mode, content: content.as_bytes().to_vec() };
    Image {
        name: "localhost/farm/cow:1.2".to_owned(),
        architecture: "amd64".to_owned(),
        files: BTreeMap::from([
            ("usr/bin/cow".to_owned(), file(0o755, "moo")),
            ("etc/farm/fence".to_owned(), file(0o644, "high")),
        ]),
        entrypoint: vec!["/usr/bin/cow".to_owned()],
        user: "65532:65532".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]),
        ..Image::default()
    }
}

fn written(image: &Image) -> (String, Vec<u8>) {
    let mut out = Vec::new();
    (image.write(&mut out).unwrap(), out)
}

/// Every entry of an archive: path, mode, and what is in it.
fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let entry = |mut entry: tar::Entry<'_, &[u8]>| {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        (entry.path().unwrap().display().to_string(), header.mode().unwrap(), content)
    };
    archive.entries().unwrap().map(|found| entry(found.unwrap())).collect()
}

fn blob_of(layout: &[(String, u32, Vec<u8>)], descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let path = format!("blobs/{}", digest.replace(':', "/"));
    let content = layout.iter().find(|(name, ..)| *name == path).unwrap().2.clone();
    assert_eq!(super::digest(&content), digest, "a blob is named after what is in it");
    assert_eq!(descriptor["size"], content.len());
    content
}

fn json_of(layout: &[(String, u32, Vec<u8>)], descriptor: &Value) -> Value {
    serde_json::from_slice(&blob_of(layout, descriptor)).unwrap()
}

#[test]
fn the_same_files_give_the_same_bytes_and_others_give_others() {
    assert_eq!(written(&image()), written(&image()));
    let mut other = image();
    other.files.get_mut("etc/farm/fence").unwrap().mode = 0o600;
    assert_ne!(written(&other).0, written(&image()).0);
}

/// What the index leads to, by the name of the image: its manifest.
fn by_name(layout: &[(String, u32, Vec<u8>)]) -> BTreeMap<String, Value> {
    let index: Value =
        serde_json::from_slice(&layout.iter().find(|(name, ..)| name == "index.json").unwrap().2).unwrap();
    let described = index["manifests"].as_array().unwrap().iter();
    let name = |it: &Value| it["annotations"]["io.containerd.image.name"].as_str().unwrap().to_owned();
    described.map(|it| (name(it), json_of(layout, it))).collect()
}

#[test]
fn images_on_the_same_base_share_it_and_are_known_by_digest_too() {
    let base = std::env::temp_dir().join(format!("steading-base-{}.tar", std::process::id()));
    std::fs::write(&base, "meadow").unwrap();
    let plain = Image { name: "farm/meadow:1".to_owned(), files: BTreeMap::new(), base: Some(base.clone()), ..image() };
    let links = BTreeMap::from([("cow".to_owned(), "usr/bin/cow".to_owned())]);
    let full = Image { base: Some(base.clone()), links, ..image() };
    let mut archive = Vec::new();
    let digests = write_plain(&[plain, full], &mut archive).unwrap();
    std::fs::remove_file(base).unwrap();

    let layout = entries(&archive);
    let manifests = by_name(&layout);
    assert_eq!(manifests["farm/meadow:1"], manifests[&format!("farm/meadow@{}", digests[0])]);
    let (plain, full) = (&manifests["farm/meadow:1"]["layers"], &manifests["localhost/farm/cow:1.2"]["layers"]);
    assert_eq!(blob_of(&layout, &plain[0]), b"meadow");
    assert_eq!((plain.as_array().unwrap().len(), &plain[0]), (1, &full[0]));
    assert_eq!(layout.iter().filter(|(.., content)| content == b"meadow").count(), 1);
    let own = blob_of(&layout, &full[1]);
    let mut own = tar::Archive::new(own.as_slice());
    let link = own.entries().unwrap().map(|entry| entry.unwrap()).last().unwrap();
    assert_eq!(link.path().unwrap().to_str(), Some("cow"));
    assert_eq!(link.link_name().unwrap().unwrap().to_str(), Some("usr/bin/cow"));
    let configuration = json_of(&layout, &manifests["localhost/farm/cow:1.2"]["config"]);
    assert_eq!(configuration["rootfs"]["diff_ids"][1], full[1]["digest"], "what is not packed has one digest");
}

#[test]
fn from_the_index_one_comes_to_every_file() {
    let (digest, archive) = written(&image());
    let layout = entries(&archive);
    assert_eq!(layout[0].0, "oci-layout");
    let index: Value =
        serde_json::from_slice(&layout.iter().find(|(name, ..)| name == "index.json").unwrap().2).unwrap();
    let described = &index["manifests"][0];
    assert_eq!(described["digest"], digest.as_str());
    assert_eq!(described["annotations"]["io.containerd.image.name"], "localhost/farm/cow:1.2");
    assert_eq!(described["annotations"]["org.opencontainers.image.ref.name"], "1.2");
    let manifest = json_of(&layout, described);
    let configuration = json_of(&layout, &manifest["config"]);
    assert_eq!(configuration["config"]["Entrypoint"], json!(["/usr/bin/cow"]));
    assert_eq!(configuration["config"]["User"], "65532:65532");

    let mut layer = Vec::new();
    let packed = blob_of(&layout, &manifest["layers"][0]);
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut layer).unwrap();
    assert_eq!(configuration["rootfs"]["diff_ids"], json!([super::digest(&layer)]));
    let files: Vec<(String, u32)> = entries(&layer).into_iter().map(|(name, mode, _)| (name, mode)).collect();
    let expected =
        [("etc/", 0o755), ("etc/farm/", 0o755), ("etc/farm/fence", 0o644), ("usr/", 0o755), ("usr/bin/", 0o755)];
    let expected = expected.into_iter().chain([("usr/bin/cow", 0o755)]);
    assert_eq!(files, expected.map(|(name, mode)| (name.to_owned(), mode)).collect::<Vec<_>>());
}
