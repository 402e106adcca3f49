//! What the document says of packages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

const IN_FORM: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 1999 A. Farmer\n";

fn lock(names: &[&str]) -> Lock {
    let package = |name: &&str| Package {
        name: (*name).to_owned(),
        version: "1:2~rc+deb13u1".to_owned(),
        architecture: "all".to_owned(),
        size: 1,
        sha256: crate::hex(name.as_bytes()),
        path: format!("debian/pool/main/{name}_2_all.deb"),
    };
    let packages = names.iter().map(package).collect();
    Lock { request: crate::hex(b""), release: "trixie".to_owned(), seen: "20261123T155501Z".to_owned(), packages }
}

/// A folder in which these packages have these notices.
fn notices(name: &str, notices: &[(&str, &str)]) -> PathBuf {
    let root = std::env::temp_dir().join(format!("steading-sbom-{name}-{}", std::process::id()));
    for (package, notice) in notices {
        let folder = root.join("usr/share/doc").join(package);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("copyright"), notice).unwrap();
    }
    root
}

fn document(lock: &Lock, root: &Path) -> Value {
    serde_json::from_str(&spdx("farm", lock, root).unwrap()).unwrap()
}

#[test]
fn each_package_of_the_lock_is_there_by_version_checksum_and_address() {
    let lock = lock(&["cow", "libfence++6", "libfencexx6"]);
    let document = document(&lock, Path::new("/nonexistent"));
    let packages = document["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 4, "and the image itself");
    let (image, cow, fence) = (&packages[0], &packages[1], &packages[2]);
    assert_eq!(image["primaryPackagePurpose"], "CONTAINER");
    assert_eq!((&cow["name"], &cow["versionInfo"]), (&json!("cow"), &json!("1:2~rc+deb13u1")));
    assert_eq!(cow["checksums"], json!([{ "algorithm": "SHA256", "checksumValue": crate::hex(b"cow") }]));
    let purl = "pkg:deb/debian/libfence%2B%2B6@1%3A2~rc%2Bdeb13u1?arch=all&distro=trixie";
    assert_eq!(fence["externalRefs"][0]["referenceLocator"], purl);
    let ids: BTreeSet<_> = packages.iter().map(|package| package["SPDXID"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(document["relationships"].as_array().unwrap().len(), 4);
    assert_eq!(document["creationInfo"]["created"], "2026-11-23T15:55:01Z");
    assert_eq!(spdx("farm", &lock, Path::new("/")).unwrap().len(), spdx("farm", &lock, Path::new("/")).unwrap().len());
}

#[test]
fn licences_are_told_by_their_names_in_spdx_where_the_notice_names_them() {
    let cases = [
        ("License: Expat\n ...\nLicense: GPL-2+\n", "GPL-2.0-or-later AND MIT"),
        ("License: LGPL-2.1 or MPL-1.1\n", "(LGPL-2.1-only OR MPL-1.1)"),
        ("License: GPL-3 and BSD-3-clause\n", "(GPL-3.0-only AND BSD-3-Clause)"),
        ("License: bsd-3-CLAUSE\n", "BSD-3-Clause"),
        ("License: Farmers' own\n", "LicenseRef-Debian-Farmers--own"),
        ("License: GPL-2+, with exception\n", "LicenseRef-Debian-GPL-2---with-exception"),
        ("License:\n", "NOASSERTION"),
    ];
    for (lines, expected) in cases {
        let root = notices("names", &[("cow", &format!("{IN_FORM}{lines}"))]);
        let document = document(&lock(&["cow"]), &root);
        assert_eq!(document["packages"][1]["licenseDeclared"], expected, "{lines}");
        let explained = document["hasExtractedLicensingInfos"].as_array().unwrap();
        let needed = expected.contains("LicenseRef");
        assert_eq!(explained.iter().any(|it| it["licenseId"] == expected), needed, "{lines}");
        fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn nothing_is_claimed_where_the_notice_is_for_people_or_missing() {
    let root = notices("people", &[("cow", "This is free.\nLicense: MIT\nSee /usr/share/common-licenses/GPL-2.\n")]);
    let document = document(&lock(&["bull", "cow"]), &root);
    let (bull, cow) = (&document["packages"][1], &document["packages"][2]);
    assert_eq!((&bull["licenseDeclared"], &cow["licenseDeclared"]), (&json!("NOASSERTION"), &json!("NOASSERTION")));
    assert!(bull["licenseComments"].as_str().unwrap().contains("no notice"));
    assert!(cow["licenseComments"].as_str().unwrap().ends_with("for people; it points at the text of GPL-2."));
    fs::remove_dir_all(root).unwrap();
}
