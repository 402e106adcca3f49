//! Signatures as others see them: keys, digests and signatures are made and checked by the program `openssl`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::{File, Image};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("steading-signature-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn new_key(curve: &str) -> String {
    let (made, pem) = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
    assert!(made);
    pem
}

/// The files of a layout with a signed image: by path.
fn signed(key: &Key) -> (String, BTreeMap<String, Vec<u8>>) {
    let files = BTreeMap::from([("cow".to_owned(), File { mode: 0o755, content: b"moo".to_vec() })]);
    let image = Image { name: "farm.example:5000/cow:1.2".to_owned(), files, ..Image::default() };
    let mut out = Vec::new();
    let digest = image.write_signed(&mut out, Some(key)).unwrap();
    assert_eq!(image.write(&mut Vec::new()).unwrap(), digest, "a signature changes nothing in the image");
    let mut archive = tar::Archive::new(out.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    });
    (digest, entries.collect())
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, described: &Value) -> Value {
    serde_json::from_slice(blob(files, described)).unwrap()
}

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, described: &Value) -> &'a [u8] {
    &files[&format!("blobs/{}", described["digest"].as_str().unwrap().replace(':', "/"))]
}

fn verified(folder: &Folder, public: &Path, signature: &[u8], content: &[u8]) -> bool {
    let (signature, content) = (folder.write("signature", signature), folder.write("content", content));
    let paths = [public, &signature, &content].map(|path| path.to_str().unwrap());
    openssl(&["dgst", "-sha256", "-verify", paths[0], "-signature", paths[1], paths[2]]).0
}

#[test]
fn openssl_verifies_the_signature_and_neither_another_key_nor_a_flipped_byte_passes() {
    let folder = Folder::new("flipped");
    let pem = new_key("P-256");
    let key = Key::from_pem(&pem).unwrap();
    let public = folder.write("public.pem", key.public_pem());
    let private = folder.write("private.pem", &pem);
    let (_, expected) = openssl(&["pkey", "-in", private.to_str().unwrap(), "-pubout"]);
    assert_eq!(key.public_pem(), expected);

    let (digest, files) = signed(&key);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let described = &index["manifests"][1];
    let tag = format!("sha256-{}.sig", digest.strip_prefix("sha256:").unwrap());
    assert_eq!(described["annotations"]["org.opencontainers.image.ref.name"], tag);
    assert_eq!(described["annotations"]["kind"], "dev.cosignproject.cosign/sigs");
    let layer = &json_of(&files, described)["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    let signature = BASE64.decode(signature.as_bytes()).unwrap();
    let content = blob(&files, layer);
    let critical = &serde_json::from_slice::<Value>(content).unwrap()["critical"];
    assert_eq!(critical["image"]["docker-manifest-digest"], digest.as_str());
    assert_eq!(critical["identity"]["docker-reference"], "farm.example:5000/cow");
    assert_eq!(critical["type"], "cosign container image signature");

    assert!(verified(&folder, &public, &signature, content));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    assert!(!verified(&folder, &public, &signature, &flipped(content, 40)));
    let last = signature.len() - 1;
    assert!(!verified(&folder, &public, &flipped(&signature, last), content));
    let other = folder.write("other.pem", Key::from_pem(&new_key("P-256")).unwrap().public_pem());
    assert!(!verified(&folder, &other, &signature, content));
}

#[test]
fn a_key_that_cannot_sign_is_refused_with_how_to_make_one_and_is_not_repeated() {
    let other_curve = new_key("P-384");
    let cases = [
        ("secret text", "openssl genpkey"),
        ("-----BEGIN PRIVATE KEY-----\nsecret text!\n-----END PRIVATE KEY-----\n", "no base64"),
        (&other_curve, "P-256"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nc2VjcmV0\n", "openssl genpkey"),
    ];
    for (pem, expected) in cases {
        let refusal = format!("{:#}", Key::from_pem(pem).unwrap_err());
        assert!(refusal.contains(expected), "{refusal}");
        assert!(!refusal.contains("secret text") && !refusal.contains("c2VjcmV0"), "{refusal}");
    }
    assert_eq!(format!("{:?}", Key::from_pem(&new_key("P-256")).unwrap()), "Key");
}
