//! How a runtime is told to run a desktop: as a pod of the restricted kind would be. In: files, a folder for the socket of the live view, and
//! an address. Out: a bundle of the OCI runtime specification.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Where a pod has volumes: all that can be written.
pub const VOLUMES: [&str; 3] = agent_image::WRITABLE;
/// Where the test has its own.
const VIEW: &str = "/run/view";
/// What the agent is called there, and the socket at which it takes requests.
pub(super) const AGENT: &str = "steading-agent";
pub(super) const SOCKET: &str = "agent";

/// Writes it.
pub(super) fn write(bundle: &Path, root: &Path, view: &Path, agent: bool, address: &str) -> Result<()> {
    // As volumes of pods are: anybody's.
    std::fs::set_permissions(view, std::fs::Permissions::from_mode(0o777))?;
    let (user, group) = agent_image::USER.split_once(':').context("the user of the image is none")?;
    let (user, group): (u32, u32) = (user.parse()?, group.parse()?);
    let image = agent_image::started();
    let variables = image.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let variables: Vec<_> =
        variables.chain([format!("DESKTOP_VIEW={VIEW}/view"), format!("AGENT_SOCKET={VIEW}/{SOCKET}")]).collect();
    let driven = [format!("{VIEW}/{AGENT}"), "run".to_owned()];
    let program = if agent { driven.as_slice() } else { image.entrypoint.as_slice() };
    let arguments: Vec<_> = program.iter().map(String::as_str).chain([address]).collect();
    let none = json!({ "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] });
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({ "type": kind }));
    let configuration = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": user, "gid": group },
            "args": arguments,
            "env": variables,
            "cwd": "/",
            "capabilities": none,
            "noNewPrivileges": true,
        },
        "root": { "path": root, "readonly": true },
        "hostname": "desktop",
        "mounts": mounts(view),
        "linux": { "namespaces": namespaces, "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"] },
    });
    std::fs::write(bundle.join("config.json"), configuration.to_string()).context("cannot write the bundle")
}

fn mounts(view: &Path) -> Vec<Value> {
    let mount = |kind: &str, at: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("proc", "/proc", &[]),
        mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]),
    ];
    mounts.extend(VOLUMES.map(|at| mount("tmpfs", at, &["nosuid", "nodev", "mode=0777", "size=512m"])));
    mounts.push(json!({ "destination": VIEW, "type": "bind", "source": view, "options": ["rbind", "rw"] }));
    mounts
}
