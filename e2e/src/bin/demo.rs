//! The demo. In: a machine with Rust and Go. Out: a customer's two stacks come up on a real control plane, shown to be apart, changed, and
//! one of them gone; on real nodes also packets and databases; nothing is left behind.
//!
//! Everything that it claims it checks. The exit code is 0 if all held, 1 if something did not, 130 if it was interrupted.

#[path = "demo/apart.rs"]
mod apart;
#[path = "demo/apply.rs"]
mod apply;
#[path = "demo/authorization.rs"]
mod authorization;
#[path = "demo/current.rs"]
mod current;
#[path = "demo/databases.rs"]
mod databases;
#[path = "demo/desktops.rs"]
mod desktops;
#[path = "demo/kubectl.rs"]
mod kubectl;
#[path = "demo/objects.rs"]
mod objects;
#[path = "demo/packets.rs"]
mod packets;
#[path = "demo/people.rs"]
mod people;
#[path = "demo/remove.rs"]
mod remove;
#[path = "demo/rotate.rs"]
mod rotate;
#[path = "demo/scene.rs"]
mod scene;
#[path = "demo/show.rs"]
mod show;
#[path = "demo/store.rs"]
mod store;
#[path = "demo/text.rs"]
mod text;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::install::enforcement_of;
use scene::Scene;
use show::Show;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a program that a signal ended.
const INTERRUPTED: u8 = 130;

const EXAMPLE: &str = "\
Examples:
  make demo
  make demo KEEP=1     # cargo run -p e2e --bin demo -- --keep
  make demo CLUSTER=current CLASS=aws-frankfurt
         # cargo run -p e2e --bin demo -- --cluster current --class aws-frankfurt

With --cluster current it starts nothing: it needs a cluster on which the chart
is installed, and a TenantClass. It says what it will make there, asks, and
removes it at the end, also on Ctrl-C. Whatever is not a yes ends it with code
0, and nothing was written; without a terminal it wants --yes and ends with 1.

As root on Linux it has two real nodes (T3), on which packets are sent and
databases run; elsewhere fake ones (T2). The first run builds Kubernetes,
OpenBao, MinIO, KES, OpenFGA, Helm and what nodes and databases need from
source: about half an hour on two cores, 45 minutes for T3. Later runs take
about a minute, five to six for T3.
Programs are kept in $STEADING_CACHE (default ~/.cache/steading), nothing else.";

#[derive(Parser)]
#[command(
    name = "demo",
    about = "Shows two isolated stacks of one customer come up, change and go",
    after_help = EXAMPLE,
    max_term_width = 80
)]
struct Arguments {
    /// Keep the cluster until Ctrl-C when all is shown, and say how to reach it
    #[arg(long)]
    keep: bool,
    /// Show it on a cluster of yours, that of the kubeconfig's current context,
    /// with your own TenantClass; asks before it writes
    #[arg(long, value_enum, conflicts_with = "keep")]
    cluster: Option<Cluster>,
    #[command(flatten)]
    wish: current::Wish,
}

/// On which cluster it is shown, if not on one of its own.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Cluster {
    /// That of the kubeconfig's current context
    Current,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(act(&arguments));
            // A build that was interrupted is not waited for: it ends with this process.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            writeln!(std::io::stderr(), "demo: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn act(arguments: &Arguments) -> Result<ExitCode> {
    let show = Show::new();
    let mut signals = Signals::new()?;
    if let Some(Cluster::Current) = arguments.cluster {
        return Ok(current::act(&show, &mut signals, &arguments.wish).await);
    }
    let outcome = tokio::select! {
        outcome = play(&show) => outcome,
        () = signals.any() => {
            // What was started went with the play that was cut off; a build ends as soon as this process does.
            show.clear_live_line();
            writeln!(std::io::stderr(), "\ndemo: interrupted; nothing stays behind").ok();
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    show.clear_live_line();
    let scene = outcome?;
    if arguments.keep {
        scene.tell_how_to_reach(&show);
        signals.any().await;
    }
    scene.leave(&show).await?;
    Ok(if show.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that is shown but the end. If it fails, what was started is ended before the error is told.
async fn play(show: &Show) -> Result<Scene> {
    let scene = Scene::start(show).await?;
    match acts(show, &scene).await {
        Ok(()) => Ok(scene),
        Err(error) => {
            let log = scene.last_lines_of_the_operator();
            drop(scene);
            Err(error.context(format!("the demo cannot go on\n\nLast lines of the operator's log:\n{log}\n\nbecause")))
        }
    }
}

/// All chapters. What databases need is installed while others are shown.
async fn acts(show: &Show, scene: &Scene) -> Result<()> {
    tokio::select! {
        outcome = Box::pin(chapters(show, scene)) => outcome,
        never = Box::pin(scene.prepare_databases()) => match never {},
    }
}

async fn chapters(show: &Show, scene: &Scene) -> Result<()> {
    apply::quickstart(show, scene).await?;
    let stacks = apply::until_ready(show, scene).await?;
    apply::look(show, scene, &stacks).await?;
    let client = scene.plane.admin()?;
    let two = [(&stacks.finance, apart::FINANCE), (&stacks.research, apart::RESEARCH)];
    apart::objects(show, &client, &stacks.all(), two, enforcement_of(scene.plane.tier())).await?;
    people::rights(show, &client, &people::PEOPLE, stacks.all()).await?;
    authorization::answers(show, scene, &stacks).await?;
    people::fence(show, scene, &stacks).await?;
    let notes = store::one_bucket(show, scene, &stacks).await?;
    rotate::key(show, scene, &stacks).await?;
    remove::research(show, scene, &stacks, &notes).await?;
    databases::offer(show, scene).await?;
    packets::verdicts(show, scene, &stacks).await?;
    Box::pin(databases::shown(show, scene, &stacks)).await?;
    Box::pin(desktops::shown(show, scene, &stacks)).await
}

/// The signals that end the demo.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// Waits for any of them.
    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
