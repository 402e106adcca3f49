//! A cluster for use by hand. In: `up`, `down` or `build`. Out: a running cluster with Steading in it and a kubeconfig.
//!
//! `up` starts a keeper: this program once more, in the background, which owns all processes of the cluster as a test
//! owns its plane. So `down`, and even the death of the keeper, leaves nothing behind.

#[path = "cluster/folder.rs"]
mod folder;
#[path = "cluster/keeper.rs"]
mod keeper;

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use e2e::Tier;
use e2e::components::{Component, build_all};
use e2e::wait::until;
use folder::Folder;

/// How long `down` waits until everything is gone.
const DOWN_PATIENCE: Duration = Duration::from_mins(1);

/// How often `up` looks for news of the keeper.
const POLL_EVERY: Duration = Duration::from_millis(100);

const EXAMPLE: &str = "\
Example:
  make cluster-up TIER=2
  export KUBECONFIG=target/cluster/kubeconfig
  kubectl apply -f examples/quickstart.yaml
  make cluster-down";

#[derive(Parser)]
#[command(name = "cluster", about = "A Kubernetes cluster from source with Steading in it", after_help = EXAMPLE)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the cluster and leave it running
    Up(Wish),
    /// Stop the cluster and remove everything of it
    Down,
    /// Build all programs beforehand, so that later starts take seconds
    Build {
        /// Also the operator's image, the operator of the commit before and
        /// databases, which tests on real nodes need
        #[arg(long)]
        for_tests: bool,
    },
    /// Keep the cluster alive; this is what `up` starts in the background
    #[command(hide = true)]
    Keep(Wish),
}

/// What kind of cluster is wished for.
#[derive(clap::Args, Clone, Copy)]
struct Wish {
    /// 1: etcd and API server; 2: also controllers, scheduler and fake
    /// nodes; 3: two real nodes (Linux, root)
    #[arg(long, default_value_t = 2, value_name = "1|2|3")]
    tier: u8,
    /// Also CloudNativePG with its plugin for backups; real nodes only
    #[arg(long)]
    databases: bool,
    /// Leave out the operator, to run your own build of it with
    /// target/cluster/operator.kubeconfig
    #[arg(long)]
    without_operator: bool,
}

impl Wish {
    fn tier(self) -> Result<Tier> {
        if self.databases && self.tier != 3 {
            bail!("databases need real nodes: use TIER=3");
        }
        match self.tier {
            1 => Ok(Tier::One),
            2 => Ok(Tier::Two),
            3 => match e2e::plane::why_not() {
                None => Ok(Tier::Three),
                Some(reason) => {
                    bail!("TIER=3 cannot be had here: {reason}; or use TIER=2, which has the same API and fake nodes")
                }
            },
            other => bail!("there is no tier {other}: use TIER=1, 2 or 3"),
        }
    }
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Runtime::new().context("cannot start the async runtime").and_then(|runtime| {
        let outcome = runtime.block_on(act(Arguments::parse().command));
        // A build that was interrupted is not waited for: it ends with this process.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "cluster: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn act(action: Action) -> Result<()> {
    match action {
        Action::Up(wish) => up(wish).await,
        Action::Down => down().await,
        Action::Build { for_tests } => {
            build_all(&Component::ALL).await?;
            match e2e::plane::why_not() {
                None => {
                    build_all(&Component::NODE).await?;
                    if !for_tests {
                        return Ok(());
                    }
                    let nursery = e2e::nursery::Nursery::new("image")?;
                    let archive = nursery.directory().join("operator.tar");
                    tokio::task::spawn_blocking(move || e2e::install::pack(&archive)).await??;
                    e2e::install::Earlier::build().await?;
                    e2e::databases::CloudNativePg::build().await
                }
                Some(reason) => {
                    say(&format!("what real nodes need is not built: {reason}"));
                    Ok(())
                }
            }
        }
        Action::Keep(wish) => keeper::keep(wish).await,
    }
}

async fn up(wish: Wish) -> Result<()> {
    wish.tier()?;
    let folder = Folder::open()?;
    if folder.is_kept()? {
        say(&format!(
            "the cluster is already up (or starting): use KUBECONFIG={}, or end it with `make cluster-down`",
            folder.kubeconfig().display()
        ));
        return Ok(());
    }
    folder.clear()?;
    let mut keeper = start_keeper(wish, &folder)?;
    tokio::select! {
        outcome = follow(&mut keeper, &folder) => outcome,
        _ = tokio::signal::ctrl_c() => {
            say("interrupted: stopping what was started");
            Folder::stop_keeper(keeper.id())?;
            keeper.wait().context("cannot wait for the keeper")?;
            folder.clear()?;
            bail!("interrupted: nothing was left running");
        }
    }
}

/// Starts this program as a keeper in a process group of its own, so that Ctrl-C here does not reach it.
fn start_keeper(wish: Wish, folder: &Folder) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let log = std::fs::File::create(folder.log()).context("cannot create the keeper's log")?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["keep", "--tier", &wish.tier.to_string()]);
    if wish.without_operator {
        command.arg("--without-operator");
    }
    if wish.databases {
        command.arg("--databases");
    }
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the keeper")
}

/// Shows what the keeper says until it says that the cluster is up, or ends.
async fn follow(keeper: &mut Child, folder: &Folder) -> Result<()> {
    let mut shown = 0;
    loop {
        let ended = keeper.try_wait().context("cannot look at the keeper")?;
        let is_up = folder.is_up();
        shown += show_from(folder, shown)?;
        if is_up {
            return Ok(());
        }
        if let Some(status) = ended {
            // Another may have been started meanwhile.
            if !folder.is_kept()? {
                folder.clear_but_log()?;
            }
            bail!("the cluster did not start ({status}); what was said is above and in {}", folder.log().display());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Prints the log from `offset` on and returns how much that was.
fn show_from(folder: &Folder, offset: u64) -> Result<u64> {
    let mut log = std::fs::File::open(folder.log()).context("cannot read the keeper's log")?;
    log.seek(SeekFrom::Start(offset))?;
    let mut news = Vec::new();
    log.read_to_end(&mut news)?;
    let mut output = std::io::stdout();
    output.write_all(&news)?;
    output.flush()?;
    Ok(news.len() as u64)
}

async fn down() -> Result<()> {
    let folder = Folder::open()?;
    if !folder.is_kept()? {
        folder.clear()?;
        say("no cluster is up");
        return Ok(());
    }
    say("stopping the cluster");
    Folder::stop_keeper(folder.keeper()?)?;
    until("the cluster's keeper ends", DOWN_PATIENCE, async || Ok(!folder.is_kept()?)).await?;
    folder.clear()?;
    say("the cluster is down and its data is removed");
    Ok(())
}

/// Prints a line; that nobody reads it any more is no reason to stop.
fn say(line: &str) {
    writeln!(std::io::stdout(), "cluster: {line}").ok();
}
