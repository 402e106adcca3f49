//! What can be seen of nodes on this machine. In: `/proc` and `/sys`. Out: [`Traces`]: processes, mounts, namespaces, cgroups,
//! interfaces, files and settings of the kernel, which can be compared.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::plane::MARK;
use e2e::wait::until;

/// Settings that change by themselves.
const RESTLESS: [&str; 10] =
    ["random", "dentry", "file-nr", "inode", "ns_last_pid", "pty/nr", "aio-nr", "conntrack_count", "dirty", "quota"];

/// What is there: kind and thing, each as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces(BTreeSet<(&'static str, String)>);

impl Traces {
    /// All of this machine.
    pub fn of_machine() -> Result<Self> {
        let mut found = BTreeSet::new();
        for line in std::fs::read_to_string("/proc/self/mounts")?.lines() {
            found.insert(("mount", line.to_owned()));
        }
        for entry in std::fs::read_dir("/sys/class/net")? {
            found.insert(("interface", entry?.file_name().to_string_lossy().into_owned()));
        }
        walk(Path::new("/sys/fs/cgroup"), &mut |path, is_folder| {
            if is_folder {
                found.insert(("cgroup", path.display().to_string()));
            }
        });
        walk(Path::new("/proc/sys"), &mut |path, is_folder| {
            let name = path.display().to_string();
            if !is_folder && !RESTLESS.iter().any(|part| name.contains(part)) {
                // Some can only be written.
                let value = std::fs::read(path).unwrap_or_default();
                found.insert(("setting", format!("{name} = {}", String::from_utf8_lossy(&value).trim())));
            }
        });
        for folder in [Path::new("/dev/shm"), &std::env::temp_dir()] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if let Ok(ground) = std::fs::read_to_string(entry.path().join("ground")) {
                    found.insert(("folder", format!("{} {ground}", entry.path().display())));
                }
            }
        }
        for id in process_ids()? {
            // It may have ended meanwhile.
            let read = |file: &str| std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(['\0', '\n'], " ");
            let (environment, cgroup) = (text(read("environ")), text(read("cgroup")));
            let mark = environment.split(' ').find(|it| it.starts_with(MARK)).unwrap_or_default().to_owned();
            let of = format!("{mark} {}", cgroup.split(' ').find(|it| it.contains("/steading")).unwrap_or_default());
            for kind in ["net", "mnt", "pid"] {
                if let Ok(namespace) = std::fs::read_link(format!("/proc/{id}/ns/{kind}")) {
                    found.insert(("namespace", format!("{} {of}", namespace.display())));
                }
            }
            found.insert(("process", format!("{id} {of} {}", text(read("cmdline")))));
        }
        Ok(Self(found))
    }

    /// What is there now that was not before and is of this ground: other tests leave traces too.
    pub fn since(&self, before: &Self, ground: &str) -> Self {
        let interface = ground.split('-').next().unwrap_or(ground);
        let number = interface.trim_start_matches("steading");
        let mark = format!("{MARK}={number} ");
        let is_ours = |(kind, thing): &&(&'static str, String)| match *kind {
            "mount" => true,
            "interface" => thing == interface,
            "setting" => !thing.contains("/steading") || thing.contains(&format!("/{interface}/")),
            _ => thing.contains(ground) || thing.contains(&mark),
        };
        Self(self.0.difference(&before.0).filter(is_ours).cloned().collect())
    }

    /// Waits until nothing is left of the ground; what is left is told.
    pub async fn until_nothing_is_left_of(&self, ground: &str, patience: Duration) -> Result<()> {
        let gone =
            until("nothing is left", patience, async || Ok(Self::of_machine()?.since(self, ground).is_empty())).await;
        gone.with_context(|| {
            Self::of_machine().map_or_else(|error| error.to_string(), |now| now.since(self, ground).to_string())
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many kinds of things are there.
    pub fn kinds(&self) -> usize {
        self.0.iter().map(|(kind, _)| kind).collect::<BTreeSet<_>>().len()
    }
}

impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, thing) in &self.0 {
            writeln!(f, "{kind} {thing}")?;
        }
        Ok(())
    }
}

/// The processes that this one started and that have this word among their arguments.
pub fn children_of(parent: u32, word: &str) -> Result<Vec<u32>> {
    let is_child = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.trim_start_matches("PPid:").trim() == parent.to_string() && line.starts_with("PPid"))
            && arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    };
    Ok(process_ids()?.into_iter().filter(is_child).collect())
}

fn process_ids() -> Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Everything below, with whether it is a folder. What vanishes on the way is passed over.
fn walk(folder: &Path, tell: &mut impl FnMut(&Path, bool)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        tell(&entry.path(), is_folder);
        if is_folder {
            walk(&entry.path(), tell);
        }
    }
}
