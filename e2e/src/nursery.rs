//! Processes that cannot outlive their owner. In: commands. Out: running children in a directory of their own; when
//! the [`Nursery`] is dropped, or this process ends in whatever way, they are killed and the directory is removed.
//!
//! How: each nursery has a *janitor*, a tiny shell in a process group of its own that reads the ids of the children's
//! process groups from a pipe held by us. When we close the pipe, or panic, or are killed by Ctrl-C or SIGKILL, the
//! kernel closes it for us: the janitor reads the end of file, kills every group and removes the directory. A
//! parent-death signal would not do: it is sent when the *thread* that started the child ends, needs Linux, and leaves
//! the directory behind.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What the janitor runs. `+ID` and `-ID` lines add and forget a process group, `/NAME` adds a cgroup; the end of input means clean
/// up. Removing is tried again because a killed process may still be closing its files.
const JANITOR: &str = r#"
trap '' INT TERM HUP QUIT
groups=' '
cgroups=
while read -r line; do
  case $line in
    +*) groups="$groups${line#+} " ;;
    /*) cgroups="$cgroups ${line#/}" ;;
    -*) id=${line#-}; case $groups in *" $id "*) groups="${groups%%" $id "*} ${groups#*" $id "}" ;; esac ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for name in $cgroups; do
  for cgroup in "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name"; do
    tries=0
    while [ -d "$cgroup" ] && [ $tries -lt 200 ]; do
      find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
      tries=$((tries + 1))
    done
  done
done
tries=0
while [ -e "$1" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$1" 2>/dev/null || sleep 0.05
  tries=$((tries + 1))
done
"#;

/// How often a condition on a process is looked at.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(25);

/// A directory, the processes that work in it, and the janitor that ends both.
#[derive(Debug)]
pub struct Nursery {
    directory: PathBuf,
    janitor: Child,
    pipe: Option<ChildStdin>,
    processes: Vec<Process>,
    mark: Option<(&'static str, String)>,
}

impl Nursery {
    /// A new empty directory called after `purpose`, in memory if the machine has a usable `/dev/shm`.
    pub fn new(purpose: &str) -> Result<Self> {
        Self::below(&storage_root(), purpose)
    }

    /// The same on disk: for what is too big for memory.
    pub fn on_disk(purpose: &str) -> Result<Self> {
        Self::below(&std::env::temp_dir(), purpose)
    }

    fn below(root: &Path, purpose: &str) -> Result<Self> {
        let directory = root.join(format!("steading-{purpose}-{}", uuid::Uuid::new_v4().simple()));
        create_private(&directory)?;
        let mut janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&directory)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start /bin/sh to clean up after the cluster")?;
        let pipe = janitor.stdin.take();
        Ok(Self { directory, janitor, pipe, processes: Vec::new(), mark: None })
    }

    /// The directory that lives as long as this nursery.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Creates a directory below the nursery's own, readable by us alone, and returns its path.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        create_private(&path)?;
        Ok(path)
    }

    /// Writes a file below the nursery's directory, readable by us alone, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.directory.join(name);
        write_private(&path, content.as_ref())?;
        Ok(path)
    }

    /// From here on every process gets this variable, and with it all that come of it: by it they are found if neither we nor the
    /// janitor are left to end them.
    pub(crate) fn mark(&mut self, name: &'static str, value: String) {
        self.mark = Some((name, value));
    }

    /// Starts `command` in a process group of its own; what it prints goes to `<name>.log` in the directory.
    pub fn spawn(&mut self, name: &str, command: &mut Command) -> Result<&mut Process> {
        let log = self.directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .envs(self.mark.clone())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let process = Process { name: name.to_owned(), child, log };
        self.tell(&format!("+{}", process.id()))?;
        self.processes.push(process);
        self.processes.last_mut().context("a process was just added")
    }

    /// Removes the cgroups called `name`, in every hierarchy, once all processes have ended.
    pub(crate) fn remove_at_end(&mut self, name: &str) -> Result<()> {
        self.tell(&format!("/{name}"))
    }

    /// Kills the process called `name` with its whole group, and waits for its end; its files stay.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let position = self.processes.iter().position(|process| process.name == name);
        let mut process = self.processes.swap_remove(position.with_context(|| format!("no process is called {name}"))?);
        let id = process.id();
        signal_group("KILL", id)?;
        process.child.wait().with_context(|| format!("cannot wait for {name}"))?;
        self.tell(&format!("-{id}"))
    }

    /// The process called `name`.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        let process = self.processes.iter_mut().find(|process| process.name == name);
        process.with_context(|| format!("no process is called {name}"))
    }

    /// The ids of the processes that it started and has not killed.
    pub fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the janitor is gone")?;
        writeln!(pipe, "{line}").and_then(|()| pipe.flush()).context("the janitor no longer listens")
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        drop(self.pipe.take());
        self.janitor.wait().ok();
        for process in &mut self.processes {
            // The janitor has done so already; should it have failed, waiting must not hang for ever.
            process.child.kill().ok();
            process.child.wait().ok();
        }
    }
}

/// A child of a [`Nursery`], which ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// The process id, which is also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look at {}", self.name))
    }

    /// Asks `ready` again and again until it says yes; fails at once if the process ends before, or at the deadline.
    pub async fn until_ready<F, T>(&mut self, deadline: Duration, mut ready: F) -> Result<T>
    where
        F: AsyncFnMut() -> Option<T>,
    {
        let started = Instant::now();
        loop {
            if let Some(answer) = ready().await {
                return Ok(answer);
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended with {status} before it was ready.\n{}", self.name, self.last_lines());
            }
            if started.elapsed() >= deadline {
                bail!("{} was not ready after {} s.\n{}", self.name, deadline.as_secs(), self.last_lines());
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// The end of its log, for error messages.
    pub(crate) fn last_lines(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n");
        format!("Last lines of {}:\n{last}", self.log.display())
    }
}

/// Sends a signal to a whole process group; that the group is gone already is not an error.
pub(crate) fn signal_group(signal: &str, group: u32) -> Result<()> {
    Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" -- \"-$2\" 2>/dev/null || true", "kill", signal, &group.to_string()])
        .status()
        .context("cannot run /bin/sh to send a signal")?;
    Ok(())
}

/// Free space that memory must offer to be used: several planes and servers live there at once.
const ENOUGH_KILOBYTES: u64 = 2_000_000;

/// Memory if there is enough to write files to, else the directory for temporary files. Etcd is several times faster in
/// memory; in containers `/dev/shm` often has 64 MB, which is what etcd sets aside for its log alone.
fn storage_root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let probe = memory.join(format!("steading-probe-{}", uuid::Uuid::new_v4().simple()));
    let is_writable = std::fs::write(&probe, "").is_ok();
    std::fs::remove_file(&probe).ok();
    if is_writable && free_kilobytes(memory).is_some_and(|free| free >= ENOUGH_KILOBYTES) {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// Free space of the file system of `path`, as POSIX `df` tells it.
fn free_kilobytes(path: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(path).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

/// Writes a file that nobody else may read: keys and tokens lie in such files.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(id: u32) -> bool {
        let script = "kill -0 \"$1\" 2>/dev/null";
        Command::new("/bin/sh").args(["-c", script, "alive", &id.to_string()]).status().unwrap().success()
    }

    #[test]
    fn a_dropped_nursery_leaves_neither_process_nor_directory() {
        let mut nursery = Nursery::new("test").unwrap();
        let directory = nursery.directory().to_owned();
        let sleeper = nursery.spawn("sleeper", Command::new("sleep").arg("600")).unwrap().id();
        assert!(is_alive(sleeper));
        drop(nursery);
        assert!(!is_alive(sleeper));
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn a_grandchild_is_ended_with_its_group() {
        let mut nursery = Nursery::new("test").unwrap();
        let told = nursery.directory().join("grandchild");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", told.display());
        let parent = nursery.spawn("parent", Command::new("/bin/sh").args(["-c", &script])).unwrap();
        let told = parent.until_ready(Duration::from_secs(10), async || std::fs::read_to_string(&told).ok()).await;
        let grandchild = told.unwrap().trim().parse().unwrap();
        assert!(is_alive(grandchild));
        drop(nursery);
        assert_ends(grandchild);
    }

    /// Set for the copy of this test program that plays the owner.
    const OWNER: &str = "STEADING_TEST_OWNER_OF_A_NURSERY";

    /// The owner is killed as hard as can be; the janitor must see it and clean up all the same.
    #[test]
    fn a_killed_owner_leaves_neither_process_nor_directory() {
        if std::env::var_os(OWNER).is_some() {
            return own_a_nursery_until_killed();
        }
        let mut owner = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nursery::tests::a_killed_owner_leaves_neither_process_nor_directory", "--nocapture"])
            .env(OWNER, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(owner.stdout.take().unwrap());
        let told = |line: String| line.split_once("nursery: ").map(|(_, rest)| rest.to_owned());
        let line = std::io::BufRead::lines(output).map_while(Result::ok).find_map(told).unwrap();
        let (sleeper, directory) = line.split_once(' ').unwrap();
        let (sleeper, directory) = (sleeper.parse().unwrap(), PathBuf::from(directory));
        assert!(is_alive(sleeper) && directory.exists());
        owner.kill().unwrap();
        owner.wait().unwrap();
        assert_ends(sleeper);
        let deadline = Instant::now() + Duration::from_secs(10);
        while directory.exists() {
            assert!(Instant::now() < deadline, "{} is still there", directory.display());
            std::thread::sleep(POLL_EVERY);
        }
    }

    fn own_a_nursery_until_killed() {
        let mut nursery = Nursery::new("test").unwrap();
        let sleeper = nursery.spawn("sleeper", Command::new("sleep").arg("600")).unwrap();
        println!("nursery: {} {}", sleeper.id(), sleeper.log().parent().unwrap().display());
        sleeper.child.wait().unwrap();
    }

    #[test]
    fn a_killed_process_is_forgotten_while_its_siblings_stay() {
        let mut nursery = Nursery::new("test").unwrap();
        let first = nursery.spawn("first", Command::new("sleep").arg("600")).unwrap().id();
        let second = nursery.spawn("second", Command::new("sleep").arg("600")).unwrap().id();
        nursery.kill("first").unwrap();
        assert!(!is_alive(first));
        assert!(is_alive(second));
        assert_eq!(nursery.process_ids(), [second]);
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_is_ready_is_reported_with_its_last_words() {
        let mut nursery = Nursery::new("test").unwrap();
        let script = "echo no such flag; exit 3";
        let process = nursery.spawn("failing", Command::new("/bin/sh").args(["-c", script])).unwrap();
        let error = process.until_ready(Duration::from_secs(30), async || None::<()>).await.unwrap_err().to_string();
        assert!(error.contains("failing ended with exit status: 3"), "{error}");
        assert!(error.contains("no such flag"), "{error}");
    }

    /// Waits for the end of an orphan; one that is dead but not yet reaped by its new parent counts as ended.
    fn assert_ends(id: u32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_zombie = || std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        while is_alive(id) && !is_zombie() {
            assert!(Instant::now() < deadline, "process {id} still runs");
            std::thread::sleep(POLL_EVERY);
        }
    }
}
