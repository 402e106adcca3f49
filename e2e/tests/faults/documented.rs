//! What `docs/reliability.md` says is shown, is: each test that it names exists, and what is pending is what `make faults` prints.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::faults::PENDING;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn page() -> String {
    fs::read_to_string(tests().join("../../docs/reliability.md")).unwrap()
}

/// The file of a test such as `deletion::order::…`: a folder with modules, or one file.
fn file_of(path: &[&str]) -> PathBuf {
    match path {
        [file] => tests().join(format!("{file}.rs")),
        [folder, file] => tests().join(folder).join(format!("{file}.rs")),
        other => panic!("{other:?} is no file of tests"),
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = page();
    let named: Vec<&str> = page.split('`').filter(|text| text.contains("::")).collect();
    assert!(named.len() >= 25, "only {} tests are named", named.len());
    for name in named {
        let (path, test) = name.rsplit_once("::").unwrap();
        let file = file_of(&path.split("::").collect::<Vec<_>>());
        let code = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {}: {error}", file.display()));
        assert!(code.contains(&format!("fn {test}(")), "{name} is not in {}", file.display());
    }
}

#[test]
fn what_is_pending_is_the_same_on_the_page_and_in_the_output() {
    let page = page();
    let (_, pending) = page.split_once("\n## Pending\n").unwrap();
    let told: Vec<&str> = pending.lines().filter_map(|line| line.strip_prefix("- ")).collect();
    assert_eq!(told.len(), PENDING.len());
    for case in PENDING {
        assert!(told.iter().any(|line| line.starts_with(case)), "{case}");
    }
}
