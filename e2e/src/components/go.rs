//! The Go toolchain on this machine. In: the directory of a module. Out: a command that builds there, or why not.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// `go` in `directory`, freed from settings of the machine that would change what is built.
pub(super) fn command(directory: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(directory).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env("GOWORK", "off");
    command
}

/// Fails with what to do when Go is missing or older than the `go` line of the module asks for.
pub(super) fn check_version(directory: &Path) -> Result<()> {
    let go_mod = std::fs::read_to_string(directory.join("go.mod"))
        .with_context(|| format!("cannot read go.mod in {}", directory.display()))?;
    let needed = go_mod
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .with_context(|| format!("go.mod in {} has no go line", directory.display()))?
        .trim();
    let output = match command(directory).args(["env", "GOVERSION"]).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "Go is needed to build the cluster's programs and was not found in PATH. \
             Install Go {needed} or newer from https://go.dev/dl/ and try again."
        ),
        Err(error) => return Err(error).context("cannot run `go env GOVERSION`"),
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    judge(answer.trim(), needed)
}

/// Whether a toolchain that calls itself `answer`, such as `go1.26.8`, is at least `needed`, such as `1.26.0`.
fn judge(answer: &str, needed: &str) -> Result<()> {
    let found = answer.trim_start_matches("go");
    match (parse(found), parse(needed)) {
        (Some(have), Some(want)) if have >= want => Ok(()),
        (Some(_), Some(_)) => bail!(
            "Go {needed} or newer is needed to build the cluster's programs, but this machine has Go {found}. \
             Install a newer Go from https://go.dev/dl/, put it first in PATH and try again."
        ),
        _ => bail!(
            "cannot tell the version of Go: `go env GOVERSION` said `{answer}`. Go {needed} or newer is needed; \
             check that `go version` works."
        ),
    }
}

/// Major, minor and patch of a Go version such as `1.26.8`, `1.26` or `1.27rc1` (a candidate counts as its release).
fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let version = version.split_whitespace().next()?;
    let version = version.split("rc").next()?.split("beta").next()?.split('-').next()?;
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let patch = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::{judge, parse};

    #[test]
    fn an_old_toolchain_is_refused_with_what_is_there_what_is_needed_and_what_to_do() {
        let refusal = judge("go1.25.3", "1.26.4").unwrap_err().to_string();
        for part in ["Go 1.26.4 or newer is needed", "this machine has Go 1.25.3", "https://go.dev/dl/"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn the_needed_toolchain_and_newer_ones_are_taken() {
        judge("go1.26.4", "1.26.4").unwrap();
        judge("go1.27.0", "1.26.4").unwrap();
    }

    #[test]
    fn a_toolchain_without_a_version_is_refused() {
        assert!(judge("", "1.26.4").unwrap_err().to_string().contains("cannot tell the version of Go"));
    }

    #[test]
    fn versions_compare_by_number_and_not_by_letter() {
        assert!(parse("1.26.10") > parse("1.26.9"));
        assert!(parse("1.9") < parse("1.26.0"));
        assert_eq!(parse("1.27rc1"), Some((1, 27, 0)));
        assert_eq!(parse("1.26.8 X:nocoverageredesign"), Some((1, 26, 8)));
        assert_eq!(parse("devel"), None);
    }
}
