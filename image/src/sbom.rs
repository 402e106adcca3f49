//! What an image is made of, for those who look for licences and known faults. In: a lock, and the folder into which its packages were
//! unpacked. Out: a document of SPDX 2.3 in JSON, the same each time.
//!
//! Format: <https://spdx.github.io/spdx-spec/v2.3>; names of packages: <https://github.com/package-url/purl-spec>.

mod licence;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::debian::{Lock, Package};
use licence::Licence;

/// Writes the document for an image that is called this.
///
/// # Errors
/// If the time in the lock is none.
pub fn spdx(name: &str, lock: &Lock, root: &Path) -> Result<String> {
    let mut others = BTreeMap::new();
    let mut packages = vec![image(name, lock)];
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": IMAGE,
    })];
    for package in &lock.packages {
        // Some packages have their notice in the folder of the one that they are made with.
        let notice = fs::read(root.join(format!("usr/share/doc/{}/copyright", package.name))).ok();
        let licence = licence::of_notice(notice.as_deref());
        packages.push(described(package, lock, &licence));
        others.extend(licence.others);
        relations.push(json!({
            "spdxElementId": IMAGE, "relationshipType": "CONTAINS", "relatedSpdxElement": id(package),
        }));
    }
    let others: Vec<_> = others
        .into_iter()
        .map(|(id, name)| json!({ "licenseId": id, "name": name, "extractedText": format!("{name}{IN_NOTICES}") }))
        .collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://steading.dev/spdx/{name}-{}", crate::hex(lock.to_string().as_bytes())),
        "creationInfo": { "created": licence::time(&lock.seen)?, "creators": ["Organization: Steading"] },
        "packages": packages,
        "relationships": relations,
        "hasExtractedLicensingInfos": others,
    });
    Ok(format!("{document:#}\n"))
}

const IMAGE: &str = "SPDXRef-Image";
/// What is said of a licence that SPDX has no name for.
const IN_NOTICES: &str = ": as Debian calls it. Its text is in the image, in the file /usr/share/doc/PACKAGE/copyright of each package \
    under it.";

fn image(name: &str, lock: &Lock) -> Value {
    json!({
        "SPDXID": IMAGE,
        "name": name,
        "versionInfo": env!("CARGO_PKG_VERSION"),
        "comment": format!("Packages of Debian {} as its archive had them at {}, and files of Steading.", lock.release, lock.seen),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
    })
}

fn described(package: &Package, lock: &Lock, licence: &Licence) -> Value {
    let Package { name, version, architecture, sha256, path, .. } = package;
    let (name, version) = (encoded(name), encoded(version));
    let purl = format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={}", lock.release);
    json!({
        "SPDXID": id(package),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": "Organization: Debian",
        "downloadLocation": format!("{}/{path}", crate::debian::resolve::ARCHIVE),
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": sha256 }],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence.expression,
        "licenseComments": licence.comment,
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            { "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl },
        ],
    })
}

/// Letters, digits, dots and dashes are all that such a name may have.
fn id(package: &Package) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    let name: String = package.name.chars().map(|letter| if allowed(letter) { letter } else { '-' }).collect();
    format!("SPDXRef-Package-{}{name}", "x".repeat(package.name.matches('+').count()))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests;
