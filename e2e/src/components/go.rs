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
    let found = answer.trim().trim_start_matches("go");
    match (parse(found), parse(needed)) {
        (Some(have), Some(want)) if have >= want => Ok(()),
        (Some(_), Some(_)) => bail!(
            "Go {needed} or newer is needed to build the cluster's programs, but this machine has Go {found}. \
             Install a newer Go from https://go.dev/dl/, put it first in PATH and try again."
        ),
        _ => bail!(
            "cannot tell the version of Go: `go env GOVERSION` said `{}` {}. Go {needed} or newer is needed; \
             check that `go version` works.",
            answer.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
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
    use super::parse;

    #[test]
    fn versions_compare_by_number_and_not_by_letter() {
        assert!(parse("1.26.10") > parse("1.26.9"));
        assert!(parse("1.9") < parse("1.26.0"));
        assert_eq!(parse("1.27rc1"), Some((1, 27, 0)));
        assert_eq!(parse("1.26.8 X:nocoverageredesign"), Some((1, 26, 8)));
        assert_eq!(parse("devel"), None);
    }
}
