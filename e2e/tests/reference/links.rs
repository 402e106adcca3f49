//! Links between the pages. In: every Markdown file of the repository. Out: that each relative link leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::docs;

fn pages() -> Vec<PathBuf> {
    let root = docs().join("..");
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].into_iter().map(|name| root.join(name));
    top.chain(markdown(&docs())).collect()
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let notes = |path: &PathBuf| path.parent().is_some_and(|parent| parent.ends_with("notes"));
    let files =
        files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md") && !notes(path));
    files.chain(folders.iter().flat_map(|folder| markdown(folder))).collect()
}

/// The anchors of a page, made of its headings as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

/// The targets of all Markdown links in a text.
fn targets(text: &str) -> Vec<String> {
    let parts = text.split("](").skip(1);
    parts.filter_map(|part| part.split_once(')').map(|(target, _)| target.to_owned())).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for target in targets(&text).into_iter().filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {target}, which is not there", page.display());
            let found = anchor.is_empty() || anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor);
            assert!(found, "{} links to {target}, but no heading makes #{anchor}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}
