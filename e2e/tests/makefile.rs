//! The Makefile, which is the first thing that anybody meets. In: `make` with tools that lie about their version.
//! Out: that it says what is missing and how to get it.

// Everything here is a test: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with programs that only print what they are told to.
struct Tools(PathBuf);

impl Tools {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(e2e::unique("steading-tools"));
        std::fs::create_dir(&folder).unwrap();
        Self(folder).saying("cargo", "cargo 1.99.0").saying("go", "go1.99.0").saying("cc", "12")
    }

    /// The program prints this line, whatever it is asked.
    fn saying(self, program: &str, line: &str) -> Self {
        self.script(program, &format!("echo '{line}'"))
    }

    /// The program behaves as if it was not there.
    fn without(self, program: &str) -> Self {
        self.script(program, "exit 127")
    }

    fn script(self, program: &str, body: &str) -> Self {
        let file = self.0.join(program);
        std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs make with these tools first in PATH, and returns whether it succeeded and all that it said.
fn make(tools: &Tools, arguments: &[&str]) -> (bool, String) {
    let path = format!("{}:{}", tools.0.display(), std::env::var("PATH").unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("make")
        .args(arguments)
        .current_dir(root)
        .env("PATH", path)
        .env_remove("REQUIRE_TIER")
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), said)
}

fn refuses(tools: &Tools, arguments: &[&str], expected: &[&str]) {
    let (succeeded, said) = make(tools, arguments);
    assert!(!succeeded, "make {arguments:?} went on:\n{said}");
    for text in expected {
        assert!(said.contains(text), "make {arguments:?} does not say {text:?}:\n{said}");
    }
}

#[test]
fn new_enough_tools_are_taken() {
    let (succeeded, said) = make(&Tools::new(), &["tools"]);
    assert!(succeeded, "{said}");
}

#[test]
fn an_old_cargo_is_refused_with_what_was_found_and_what_to_do() {
    let tools = Tools::new().saying("cargo", "cargo 1.9.3 (0123abc 2020-01-01)");
    refuses(&tools, &["tools"], &["cargo 1.95 or newer is needed", "has cargo 1.9.3", "rustup update"]);
}

#[test]
fn an_old_go_is_refused_with_what_was_found_and_what_to_do() {
    let tools = Tools::new().saying("go", "go1.9.7 X:something");
    refuses(&tools, &["tools"], &["go 1.26.0 or newer is needed", "has go 1.9.7", "https://go.dev/dl"]);
}

#[test]
fn a_missing_tool_is_named_with_how_to_get_it() {
    refuses(&Tools::new().without("go"), &["tools"], &["go 1.26.0 or newer is needed and none was found", "go.dev/dl"]);
    refuses(
        &Tools::new().without("cc"),
        &["tools"],
        &["cc 0 or newer is needed and none was found", "apt-get install"],
    );
    refuses(
        &Tools::new().without("cargo"),
        &["tools"],
        &["cargo 1.95 or newer is needed and none was found", "rustup.rs"],
    );
}

#[test]
fn a_tier_that_does_not_exist_is_never_skipped_in_silence() {
    let tools = Tools::new();
    refuses(&tools, &["test", "REQUIRE_TIER=4"], &["REQUIRE_TIER=4 is not a tier", "set it to 1, 2 or 3"]);
    refuses(&tools, &["test", "REQUIRE_TIER=all"], &["REQUIRE_TIER=all is not a tier"]);
}

#[test]
fn a_cluster_for_the_demo_that_cannot_be_meant_is_refused_before_anything_is_built() {
    let tools = Tools::new().script("cargo", "case $1 in build|run) exit 99;; *) echo 'cargo 1.99.0';; esac");
    refuses(&tools, &["demo", "CLUSTER=prod"], &["CLUSTER=prod is not known", "set it to current"]);
}

#[test]
fn the_demo_on_a_cluster_of_ones_own_needs_no_go_and_gets_names_as_they_are() {
    let script = "case $1 in build|run) printf '<%s>' \"$@\";; *) echo 'cargo 1.99.0';; esac";
    let tools = Tools::new().without("go").script("cargo", script);
    let (succeeded, said) = make(&tools, &["demo", "CLUSTER=current", "CLASS=a'; touch b \"c\"", "YES=no"]);
    assert!(succeeded && said.contains("<--cluster=current><--class=a'; touch b \"c\">"), "{said}");
    assert!(!said.contains("<operator>") && !said.contains("<--yes>"), "{said}");
    let (succeeded, said) = make(&tools, &["demo", "CLUSTER=current", "YES=1"]);
    assert!(succeeded && said.contains("<--cluster=current><--yes>"), "{said}");
}

#[test]
fn help_lists_every_target_within_80_columns() {
    let (succeeded, said) = make(&Tools::new(), &["help"]);
    assert!(succeeded, "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let makefile = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Makefile")).unwrap();
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: help")).unwrap();
    for target in phony.split_whitespace() {
        assert!(
            said.lines().any(|line| line.trim_start().starts_with(&format!("{target} "))),
            "{target} is not in:\n{said}"
        );
    }
}
