//! Building one component. In: its recipe. Out: its executable in the cache, put there whole or not at all.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Component, go};
use crate::nursery::{Nursery, Process};

/// Time between two progress lines.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How often a running build and a held lock are looked at.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Builds `component` into the cache unless another process does so first.
pub(super) fn build(component: Component) -> Result<()> {
    let directory = component.cache_directory()?;
    let target = component.cached_path()?;
    std::fs::create_dir_all(&directory).with_context(|| {
        format!("cannot create {}: set STEADING_CACHE to a directory that can be written", directory.display())
    })?;
    let _lock = lock(&directory, component)?;
    if target.is_file() {
        return Ok(());
    }
    go::check_version(&component.module_directory())?;
    let partial = target.with_extension("partial");
    compile(component, &partial)?;
    std::fs::rename(&partial, &target).with_context(|| format!("cannot move the build to {}", target.display()))?;
    say(&format!("built {}", component.executable()));
    Ok(())
}

/// Takes the lock of this component, telling from time to time that somebody else is building it.
fn lock(directory: &Path, component: Component) -> Result<File> {
    let path = directory.join(format!("{}.lock", component.executable()));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut next_line = Instant::now() + PROGRESS_EVERY;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        if Instant::now() >= next_line {
            say(&format!("waiting for another process that is building {}", component.executable()));
            next_line += PROGRESS_EVERY;
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// Runs `go build` with a progress line every few seconds; on failure the error carries the compiler's last lines.
fn compile(component: Component, output: &Path) -> Result<()> {
    let recipe = component.recipe();
    let name = component.executable();
    let estimate = recipe.cold_seconds.div_ceil(60);
    say(&format!("building {name} from source (about {estimate} min on 2 cores the first time)"));
    // In a nursery, so that neither the compiler nor its temporary files outlive an interrupted test.
    let mut nursery = Nursery::on_disk("build")?;
    let mut command = go::command(&component.module_directory());
    command
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", recipe.linker_flags, "-o"])
        .arg(output)
        .arg(recipe.package)
        .env("GOTMPDIR", nursery.directory());
    let process = nursery.spawn("go", &mut command)?;
    let status = attend(process, &format!("building {name} (about {estimate} min on 2 cores the first time)"))?;
    if !status.success() {
        bail!(
            "building {name} failed ({status}). Check that the Go module proxy can be reached (`go env GOPROXY`) and \
             that the disk has 5 GB free, then try again.\n{}",
            process.last_lines()
        );
    }
    Ok(())
}

/// Waits for the end of a process, telling every few seconds that it is still at `what`.
pub(crate) fn attend(process: &mut Process, what: &str) -> Result<ExitStatus> {
    let started = Instant::now();
    let mut next_line = started + PROGRESS_EVERY;
    loop {
        if let Some(status) = process.ended()? {
            return Ok(status);
        }
        if Instant::now() >= next_line {
            say(&format!("{what}… {} s", started.elapsed().as_secs()));
            next_line += PROGRESS_EVERY;
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// Where the sources of the module lie that `component` is built from.
pub(super) fn sources(component: Component) -> Result<PathBuf> {
    let recipe = component.recipe();
    let module = recipe.package.split("/cmd/").next().unwrap_or(recipe.package);
    let directory = component.module_directory();
    go::check_version(&directory)?;
    let output = go::command(&directory)
        .args(["mod", "download", "-json", module])
        .output()
        .with_context(|| format!("cannot run `go mod download` for {module}"))?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("`go mod download` gave no JSON for {module}: {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    let lies_at = answer.get("Dir").and_then(serde_json::Value::as_str);
    Ok(lies_at.with_context(|| format!("{module} has no directory: {answer}"))?.into())
}

/// Joins the stages of kwok's module that make nodes and pods healthy into one file of YAML documents.
pub(super) fn kwok_stages(target: &Path) -> Result<()> {
    let module = sources(Component::Kwok)?;
    let mut joined = String::new();
    for stage in ["node/fast", "node/heartbeat-with-lease", "pod/fast"] {
        let folder = module.join("kustomize").join("stage").join(stage);
        let mut files = std::fs::read_dir(&folder)
            .with_context(|| format!("kwok's module lacks {}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        files.sort();
        for file in files {
            let is_stage = file.extension().is_some_and(|extension| extension == "yaml")
                && file.file_name().is_some_and(|name| name != "kustomization.yaml");
            if is_stage {
                joined.push_str("---\n");
                joined.push_str(&std::fs::read_to_string(&file)?);
                joined.push('\n');
            }
        }
    }
    let partial = target.with_extension(format!("partial-{}", std::process::id()));
    std::fs::write(&partial, joined).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(())
}

/// Writes a progress line, past the capture of the test runner: a silent wait of five minutes looks like a hang.
fn say(line: &str) {
    writeln!(std::io::stderr(), "e2e: {line}").ok();
}
