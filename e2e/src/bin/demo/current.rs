//! The demo on a cluster of somebody's own. In: the kubeconfig's current context, a TenantClass, consent. Out: two customers with a stack
//! each come up there, are shown to be apart, and go.
//!
//! Nothing is written before the answer. What is made has names that nobody else has, and is removed whatever happens in between.

#[path = "current/cluster.rs"]
mod cluster;
#[path = "current/made.rs"]
mod made;
#[path = "current/plan.rs"]
mod plan;
#[path = "current/shown.rs"]
mod shown;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use api::names::ClassName;

use crate::show::Show;
use crate::{INTERRUPTED, Signals, objects};
use cluster::Cluster;
use made::Made;
use plan::Plan;

/// What can be chosen about it.
#[derive(clap::Args)]
pub(crate) struct Wish {
    /// The TenantClass to use there; left out, the only one
    #[arg(long, value_name = "NAME", requires = "cluster")]
    class: Option<ClassName>,
    /// Go on without a question; needed where there is no terminal
    #[arg(long, requires = "cluster")]
    yes: bool,
    /// Longest wait until all is Ready there
    #[arg(long, value_name = "SECONDS", requires = "cluster", default_value_t = 180,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
}

impl Wish {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Asks, shows and removes; tells itself what went wrong.
pub(crate) async fn act(show: &Show, signals: &mut Signals, wish: &Wish) -> ExitCode {
    let agreed = tokio::select! {
        agreed = agree(show, wish) => agreed,
        () = signals.any() => {
            show.complain("\ndemo: interrupted; nothing was written");
            return ExitCode::from(INTERRUPTED);
        }
    };
    match agreed {
        Ok(Some((cluster, plan))) => go_on(show, signals, wish, &cluster, &plan).await,
        Ok(None) => {
            show.say("Nothing was written.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            show.complain(&format!("demo: {error:#}\nNothing was written."));
            ExitCode::FAILURE
        }
    }
}

/// Looks at the cluster and says what would be made. `None` if somebody does not want it.
async fn agree(show: &Show, wish: &Wish) -> Result<Option<(Cluster, Plan)>> {
    show.step("look", "Look at the cluster of the kubeconfig's current context");
    let cluster = Cluster::look(show, wish.class.as_ref()).await?;
    let plan = Plan::of_class(&cluster.class);
    show.step("plan", "What this demo would do there");
    plan.tell(show, &cluster);
    Ok(plan::is_wanted(show, wish.yes).await?.then_some((cluster, plan)))
}

async fn go_on(show: &Show, signals: &mut Signals, wish: &Wish, cluster: &Cluster, plan: &Plan) -> ExitCode {
    show.step("make", "Make two customers");
    let mut made = Made::default();
    // Not cut off, so that it is known what there is to remove: a signal of now is heard right after.
    let outcome = match made.make(show, &cluster.client, plan).await {
        Ok(()) => tokio::select! {
            outcome = acts(show, cluster, plan, wish.patience()) => outcome.map(|()| true),
            () = signals.any() => Ok(false),
        },
        Err(error) => Err(error),
    };
    match &outcome {
        Ok(true) => {}
        Ok(false) => show.complain("\ndemo: interrupted; what was made is removed first"),
        Err(error) => show.complain(&format!("\ndemo: {error:#}")),
    }
    if let Err(error) = remove(show, signals, cluster, &made).await {
        let commands = made.by_hand(&cluster.context).join("\n");
        show.complain(&format!(
            "demo: not all of it could be removed: {error:#}\nRemove it by hand:\n{commands}\n\
             An empty stack namespace whose Workspace is gone Steading itself removes within ten minutes."
        ));
        return ExitCode::FAILURE;
    }
    match outcome {
        Ok(true) if show.finish() => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INTERRUPTED),
        Ok(true) | Err(_) => ExitCode::FAILURE,
    }
}

async fn acts(show: &Show, cluster: &Cluster, plan: &Plan, patience: Duration) -> Result<()> {
    show.step("ready", "Wait until all are Ready");
    let client = &cluster.client;
    objects::until_ready(show, patience, 4, async || plan.seen(client).await).await?;
    shown::all(show, cluster, plan).await
}

/// Removes what was made, unless somebody has no time for that.
async fn remove(show: &Show, signals: &mut Signals, cluster: &Cluster, made: &Made<'_>) -> Result<()> {
    show.step("delete", "Delete what was made");
    tokio::select! {
        removed = made.remove(show, &cluster.client) => removed,
        () = signals.any() => bail!("interrupted once more"),
    }
}
