//! Licences of Debian's packages by their names in SPDX. In: the notice that comes with a package. Out: an expression over all licences
//! that it names, or that it cannot be told.
//!
//! Format of notices: <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>. A notice in another form is for people:
//! then the document says where it is, and claims nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

/// What a notice says.
pub(super) struct Licence {
    /// Such as `MIT AND GPL-2.0-or-later`, or `NOASSERTION`.
    pub(super) expression: String,
    /// For readers.
    pub(super) comment: String,
    /// Licences that SPDX has no name for: what they are called in the expression, and what Debian calls them.
    pub(super) others: BTreeMap<String, String>,
}

/// Reads a notice.
pub(super) fn of_notice(notice: Option<&[u8]>) -> Licence {
    let text = notice.map(String::from_utf8_lossy).unwrap_or_default();
    let in_form = text.lines().next().is_some_and(|line| line.contains("copyright-format"));
    let mut others = BTreeMap::new();
    let named: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(str::trim)
        .filter(|words| in_form && !words.is_empty())
        .map(|words| expression(words, &mut others))
        .collect();
    let comment = match (notice, named.is_empty()) {
        (None, _) => "The package has no notice of its own.".to_owned(),
        (_, true) => format!("The notice in /usr/share/doc is written for people{}.", pointed_at(&text)),
        _ => "All licences that the notice in /usr/share/doc names for parts of the source.".to_owned(),
    };
    let parts: Vec<_> =
        named.iter().map(|part| if part.contains(' ') { format!("({part})") } else { part.clone() }).collect();
    let expression = if parts.is_empty() { "NOASSERTION".to_owned() } else { parts.join(" AND ") };
    Licence { expression, comment, others }
}

/// Which of the texts that Debian keeps for all packages a notice for people points at.
fn pointed_at(text: &str) -> String {
    let names: BTreeSet<_> = text
        .split("/usr/share/common-licenses/")
        .skip(1)
        .filter_map(|rest| rest.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-.".contains(letter))).next())
        .map(|name| name.trim_end_matches('.'))
        .filter(|name| !name.is_empty())
        .collect();
    let names: Vec<_> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("; it points at the text of {}", names.join(", ")) }
}

/// One line of a notice, such as `GPL-2+ or Artistic-2.0`. What is more intricate, with commas or with `and` beside `or`, becomes a name of
/// its own: better a name that nobody knows than an expression that says something else.
fn expression(words: &str, others: &mut BTreeMap<String, String>) -> String {
    let words: Vec<_> = words.split_whitespace().collect();
    let simple = words.iter().filter(|word| matches!(**word, "and" | "or")).count();
    let alternating = words.len() == 2 * simple + 1;
    let same = !(words.contains(&"and") && words.contains(&"or"));
    if !alternating || !same || words.iter().any(|word| word.contains(',')) {
        return one(&words.join(" "), others);
    }
    let parts: Vec<_> = words
        .iter()
        .map(|word| match *word {
            "and" => "AND".to_owned(),
            "or" => "OR".to_owned(),
            name => one(name, others),
        })
        .collect();
    parts.join(" ")
}

/// One licence. Names that are the same in SPDX but for their case are known by it.
fn one(name: &str, others: &mut BTreeMap<String, String>) -> String {
    let version = |family: &str, rest: &str| {
        let (number, suffix) = rest.strip_suffix('+').map_or((rest, "only"), |number| (number, "or-later"));
        let number = if number.contains('.') { number.to_owned() } else { format!("{number}.0") };
        let known = matches!(number.as_str(), "1.0" | "1.1" | "1.2" | "1.3" | "2.0" | "2.1" | "3.0");
        known.then(|| format!("{family}-{number}-{suffix}"))
    };
    for family in ["LGPL", "AGPL", "GPL", "GFDL"] {
        if let Some(found) =
            name.strip_prefix(family).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| version(family, rest))
        {
            return found;
        }
    }
    let known = KNOWN.iter().find(|(debian, _)| debian.eq_ignore_ascii_case(name)).map(|(_, spdx)| (*spdx).to_owned());
    known.unwrap_or_else(|| {
        let allowed = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
        let id = format!("LicenseRef-Debian-{}", name.chars().map(allowed).collect::<String>());
        others.insert(id.clone(), name.to_owned());
        id
    })
}

/// What Debian calls a licence, and what SPDX calls it.
const KNOWN: [(&str, &str); 22] = [
    ("Expat", "MIT"),
    ("MIT", "MIT"),
    ("X11", "X11"),
    ("ISC", "ISC"),
    ("Zlib", "Zlib"),
    ("Apache-2.0", "Apache-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-4-clause", "BSD-4-Clause"),
    ("BSL-1.0", "BSL-1.0"),
    ("CC0-1.0", "CC0-1.0"),
    ("CC-BY-3.0", "CC-BY-3.0"),
    ("CC-BY-4.0", "CC-BY-4.0"),
    ("CC-BY-SA-3.0", "CC-BY-SA-3.0"),
    ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
    ("Artistic-2.0", "Artistic-2.0"),
    ("MPL-1.1", "MPL-1.1"),
    ("MPL-2.0", "MPL-2.0"),
    ("FTL", "FTL"),
    ("SIL-1.1", "OFL-1.1"),
    ("OFL-1.1", "OFL-1.1"),
    ("Unicode-3.0", "Unicode-3.0"),
];

/// A time as the archive's snapshots are named, as SPDX has it.
pub(super) fn time(seen: &str) -> Result<String> {
    let part =
        |from: usize, to: usize| seen.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let parts = || Some((part(0, 4)?, part(4, 6)?, part(6, 8)?, part(9, 11)?, part(11, 13)?, part(13, 15)?));
    let (year, month, day, hour, minute, second) =
        parts().with_context(|| format!("the lock was seen at {seen:?}, which is no time; write it anew"))?;
    Ok(format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}
