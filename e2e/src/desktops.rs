//! Desktops of agents, as pods run them but without a cluster: read-only, as nobody, without a right or a network. In: a runtime and what
//! the browser shows. Out: a desktop that can be looked at and asked; nothing is left of it when it is dropped.

mod agent;
mod bundle;
mod view;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_image::{Cache, Expected, LAYER, Layer, Replaced};
use anyhow::{Context as _, Result, bail, ensure};
use image::debian::Lock;

use crate::components::{Component, cache_root};
use crate::nursery::{Nursery, POLL_EVERY};
use crate::packets::Runtime;
use crate::plane;
use view::View;

pub use agent::{Driver, middle, program};
pub use bundle::VOLUMES;
pub use view::Picture;

/// What unpacking needs, and the package that has it.
const NEEDS: [(&str, &str); 7] = [
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
    ("runc", "runc"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("/usr/lib/apt/apt-helper", "apt"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];
/// Longest wait for a desktop to appear. It takes seconds, and minutes where others have both cores.
const PATIENCE: Duration = Duration::from_mins(3);
/// What the container is called, by its runtime.
const NAME: &str = "desktop";

/// The layer of packages that a test looks at, and the lock that it was made of.
pub struct Made {
    /// The layer.
    pub layer: Layer,
    /// Its lock.
    pub lock: Lock,
    /// If the lock is not the one that is checked in: where the layer lies until this is dropped.
    fresh: Option<Nursery>,
}

impl Made {
    /// By the lock that is checked in, or, if Debian has replaced packages of it since, by one that is chosen now; which is said aloud. The
    /// age of the lock is nobody's fault, so a test must not fail of it. All else that goes wrong is an error.
    pub async fn of_debian() -> Result<Self> {
        tokio::task::spawn_blocking(|| {
            plane::provide(&NEEDS)?;
            let (lock, cache) = (agent_image::lock()?, Cache::of(&cache_root()?));
            match Layer::of(&lock, &cache, Expected::Sum(LAYER), say) {
                Ok(layer) => Ok(Self { layer, lock, fresh: None }),
                Err(error) => Self::fresh(error.downcast()?, &cache),
            }
        })
        .await
        .context("the task ended early")?
    }

    fn fresh(replaced: Replaced, cache: &Cache) -> Result<Self> {
        say(&format!(
            "WARNING: the desktop that is tested is not the one of agent-image/packages.lock, and layer.sha256 is not checked. {replaced}"
        ));
        let Replaced { now, .. } = replaced;
        if !now.idle.is_empty() {
            say(&format!("agent-image/packages leaves out what nothing would bring any more: {}", now.idle.join(" ")));
        }
        let nursery = Nursery::on_disk("desktop-layer")?;
        let cache = Cache { layers: nursery.directory().to_owned(), ..cache.clone() };
        let layer = Layer::of(&now.lock, &cache, Expected::Anything, say)?;
        Ok(Self { layer, lock: now.lock, fresh: Some(nursery) })
    }

    /// Compares with what was made of the same packages at another time: with what is checked in, or, if there is no such, by making it
    /// once more.
    pub fn made_again(&self) -> Result<[String; 2]> {
        let first = self.layer.sum()?;
        if self.fresh.is_none() {
            return Ok([first, LAYER.trim_end().to_owned()]);
        }
        let nursery = Nursery::on_disk("desktop-layer-again")?;
        let cache = Cache { layers: nursery.directory().to_owned(), ..Cache::of(&cache_root()?) };
        let second = Layer::of(&self.lock, &cache, Expected::Anything, say)?;
        Ok([first, second.sum()?])
    }
}

fn say(text: &str) {
    crate::show(&format!("e2e: {text}"));
}

/// The files of an image, unpacked.
pub struct Root(Nursery);

impl Root {
    /// Unpacks them.
    pub fn unpack(layer: &Layer) -> Result<Self> {
        let nursery = Nursery::on_disk("desktop-root")?;
        agent_image::write_root("steading.test/desktop:1", layer, &nursery.directory().join("root"))?;
        Ok(Self(nursery))
    }

    /// Where they are.
    pub fn path(&self) -> PathBuf {
        self.0.directory().join("root")
    }
}

/// A desktop that runs.
pub struct Desktop {
    nursery: Nursery,
    runtime: Command,
    started: Instant,
    view: PathBuf,
}

impl Desktop {
    /// Starts one, whose browser opens this address.
    pub async fn start(runtime: Runtime, root: &Root, address: &str) -> Result<Self> {
        Self::start_with(runtime, root, None, address).await
    }

    /// The same with an agent, which is this program.
    pub async fn driven(runtime: Runtime, root: &Root, program: &Path, address: &str) -> Result<Self> {
        Self::start_with(runtime, root, Some(program), address).await
    }

    async fn start_with(runtime: Runtime, root: &Root, agent: Option<&Path>, address: &str) -> Result<Self> {
        let mut nursery = Nursery::new("desktop")?;
        let folders = ["bundle", "state", "view"].map(|name| nursery.subdirectory(name));
        let [bundle, state, view] = folders;
        let (bundle, state, view) = (bundle?, state?, view?);
        if let Some(program) = agent {
            std::fs::copy(program, view.join(bundle::AGENT)).context("cannot copy the agent")?;
        }
        bundle::write(&bundle, &root.path(), &view, agent.is_some(), address)?;
        let mut command = match runtime {
            Runtime::Runc => Command::new("runc"),
            Runtime::Gvisor => {
                let mut runsc = Command::new(Component::Runsc.path().await?);
                // Its socket is on a volume that this test looks into; no pod has such a one.
                runsc.args(["--host-uds=create", "--network=none", "--ignore-cgroups", "--platform=systrap"]);
                runsc
            }
        };
        command.arg("--root").arg(&state);
        // In a process namespace of its own, so that all of it ends with what started it.
        let mut start = Command::new("unshare");
        start.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        start
            .arg(command.get_program())
            .args(command.get_args())
            .arg("run")
            .arg("--bundle")
            .arg(&bundle)
            .arg(name_of(&nursery));
        nursery.remove_at_end(&name_of(&nursery))?;
        let started = Instant::now();
        nursery.spawn(NAME, &mut start)?;
        Ok(Self { nursery, runtime: command, started, view: view.join("view") })
    }

    /// Waits for a picture that this is true of. Returns it, and how long after the start it came.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Picture) -> bool) -> Result<(Picture, Duration)> {
        let mut view = loop {
            match View::open(&self.view) {
                Ok(view) => break view,
                Err(error) => self.still(what, &error)?,
            }
        };
        loop {
            let picture = view.picture()?;
            if is(&picture) {
                return Ok((picture, self.started.elapsed()));
            }
            self.still(what, &anyhow::anyhow!("it shows something else"))?;
        }
    }

    /// Waits until its agent says that it can be used. Returns whoever drives it, and how long after the start that was.
    pub fn driver(&mut self) -> Result<(Driver, Duration)> {
        let socket = self.view.with_file_name(bundle::SOCKET);
        let mut driver = loop {
            match Driver::open(&socket) {
                Ok(driver) => break driver,
                Err(error) => self.still("the agent takes requests", &error)?,
            }
        };
        while let Err(error) = driver.is_ready() {
            self.still("the agent is ready", &error)?;
        }
        Ok((driver, self.started.elapsed()))
    }

    /// Waits a moment, unless the desktop has ended or that took too long.
    fn still(&mut self, what: &str, error: &anyhow::Error) -> Result<()> {
        let process = self.nursery.process(NAME)?;
        if let Some(status) = process.ended()? {
            bail!("the desktop ended ({status})\n{}", process.last_lines());
        }
        if self.started.elapsed() > PATIENCE {
            bail!("waited {} s in vain until {what}: {error:#}\n{}", PATIENCE.as_secs(), process.last_lines());
        }
        std::thread::sleep(POLL_EVERY);
        Ok(())
    }

    /// Waits until it has ended, and returns what it said last.
    pub fn end(&mut self) -> Result<String> {
        while self.nursery.process(NAME)?.ended()?.is_none() {
            ensure!(self.started.elapsed() < PATIENCE * 2, "the desktop does not end");
            std::thread::sleep(POLL_EVERY);
        }
        Ok(self.nursery.process(NAME)?.last_lines())
    }

    /// Runs a program in it, as whom the desktop runs, with this on its standard input. Returns what it said and whether it succeeded.
    pub fn run(&mut self, program: &[&str], input: &[u8]) -> Result<(String, bool)> {
        let group = self.nursery.process(NAME)?.id();
        let children = std::fs::read_to_string(format!("/proc/{group}/task/{group}/children"))?;
        let first = children.split_whitespace().next().context("the desktop has no process")?;
        let file = self.nursery.write("input", input)?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", first, "--pid", "--mount"])
            .arg(self.runtime.get_program())
            .args(self.runtime.get_args());
        command.arg("exec").arg(name_of(&self.nursery)).args(program);
        let output = command.stdin(Stdio::from(std::fs::File::open(file)?)).output().context("cannot start nsenter")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
    }

    /// The same with a shell's script, which must succeed.
    pub fn shell(&mut self, script: &str) -> Result<String> {
        let (said, succeeded) = self.run(&["/bin/sh", "-c", script], b"")?;
        ensure!(succeeded, "in the desktop this failed: {script}\n{said}");
        Ok(said)
    }
}

/// What a runtime calls the container: as the folder is called, which is like no other.
fn name_of(nursery: &Nursery) -> String {
    nursery.directory().file_name().map_or_else(|| NAME.to_owned(), |name| Path::new(name).display().to_string())
}
