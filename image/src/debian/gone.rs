//! What is to be made of packages that could not be had. In: which, and what Debian's archive has now by its signed lists. Out: whether the
//! archive has moved on, which is nobody's fault, or something is wrong.

use super::{Lock, Package};

/// Why packages could not be had, with a line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The archive has dropped them; what it has instead.
    Replaced(Vec<String>),
    /// The archive says that it still has some of them, so they should have come.
    Withheld(Vec<String>),
}

/// Judges it by what the archive would be asked for now.
pub fn judge(missing: &[Package], now: &Lock) -> Gone {
    let (mut replaced, mut withheld) = (Vec::new(), Vec::new());
    for package in missing {
        let Package { name, version, sha256, .. } = package;
        match now.packages.iter().find(|it| it.name == *name) {
            None => replaced.push(format!("{name} {version}, which nothing needs any more")),
            Some(newer) if newer.version != *version => replaced.push(format!("{name} {version} -> {}", newer.version)),
            Some(same) if same.sha256 == *sha256 => withheld.push(format!("{name} {version}")),
            Some(_) => withheld.push(format!("{name} {version}, which has other bytes in the archive's lists")),
        }
    }
    if withheld.is_empty() { Gone::Replaced(replaced) } else { Gone::Withheld(withheld) }
}
