//! The isolated pod: tries what its policies forbid, round by round. In: where it is, and the Services before the controls. Out: its
//! verdict, in a file for the kubelet and, when it changes, as a line of the log.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use tokio::time::Instant;

use crate::{
    ALLOWED_PORT, DENIED_PORT, Finding, Route, State, Surroundings, Verdict,
    control::{self, Answer},
    first_moment, reach, renewal,
    surroundings::kubelet,
};

/// How often a control on another node is looked for in one round. Which one answers behind a Service is chance.
const SEARCHES: usize = 5;

/// How many rounds in which nothing is shown in a row leave the verdict as it was.
const DOUBTS: u32 = 2;

/// Flags of the isolated pod.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    surroundings: Surroundings,
    /// Address of the Service before the control of this node
    #[arg(long, env = "STEADING_PROBE_LOCAL_SERVICE_HOST", value_name = "ADDRESS")]
    local: IpAddr,
    /// Address of the Service before all controls
    #[arg(long, env = "STEADING_PROBE_SERVICE_HOST", value_name = "ADDRESS")]
    anywhere: IpAddr,
    /// Seconds within which the pod's containers are made anew: 30 to 86400
    #[arg(long, env = "STEADING_PROBE_RENEWAL", value_name = "SECONDS", default_value = "3600", value_parser = clap::value_parser!(u64).range(30..=86400))]
    renewal: u64,
    #[command(flatten)]
    kept: Kept,
}

/// Flags that say where the verdict is, and how old it may be.
#[derive(Args, Clone, Debug)]
pub struct Kept {
    /// Folder in which the verdict is kept for as long as the pod lives
    #[arg(long, env = "STEADING_PROBE_FOLDER", value_name = "FOLDER", default_value = "/run/probe")]
    folder: PathBuf,
    /// Seconds between two rounds: 1 to 3600
    #[arg(long, env = "STEADING_PROBE_PERIOD", value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    period: u64,
}

impl Kept {
    /// The last verdict.
    pub fn verdict(&self) -> Result<Verdict> {
        // A round takes a while, too.
        Verdict::read(&self.folder.join("verdict"), self.period() * 3 + Duration::from_mins(2))
    }

    fn period(&self) -> Duration {
        Duration::from_secs(self.period)
    }
}

/// Tries until the process ends.
pub async fn run(settings: Settings) -> Result<()> {
    for port in [DENIED_PORT, ALLOWED_PORT] {
        tokio::spawn(control::greet(control::listen(port).await?));
    }
    let mut forbidden = settings.surroundings.targets();
    forbidden.push((Route::Service, SocketAddr::new(settings.anywhere, DENIED_PORT)));
    let kept = &settings.kept;
    let first_moment_file = kept.folder.join("first-moment");
    let first_moment = first_moment::of(&first_moment_file, &forbidden).await?;

    let life = renewal::due(Duration::from_secs(settings.renewal), &settings.surroundings.node);
    let mut end = Instant::now() + life;
    let (mut told, mut doubts, mut elsewhere) = (None, 0, None);
    loop {
        let verdict = round(&settings, &forbidden, &first_moment, &mut elsewhere).await;
        doubts = if verdict.state() == State::Unknown { doubts + 1 } else { 0 };
        // On a busy node nothing may be shown now and then; what was shown a moment before still counts.
        let verdict = if (1..=DOUBTS).contains(&doubts) { told.clone().unwrap_or(verdict) } else { verdict };
        verdict.write(&kept.folder.join("verdict"))?;
        if told.as_ref() != Some(&verdict) {
            println!("{}", serde_json::to_string(&verdict)?);
            told = Some(verdict);
        }
        if Instant::now() >= end {
            end += life;
            // What is tried in the network that is there stays true.
            if let Err(error) = renewal::renew(&first_moment_file) {
                eprintln!("not renewed: {error:#}");
            }
        }
        tokio::time::sleep(kept.period()).await;
    }
}

/// Tries everything once. Remembers the control on another node in `elsewhere`.
async fn round(
    settings: &Settings,
    forbidden: &[(Route, SocketAddr)],
    first_moment: &[Route],
    elsewhere: &mut Option<IpAddr>,
) -> Verdict {
    let node = &settings.surroundings.node;
    let here = control::ask(settings.local).await.filter(|answer| answer.node == *node);
    let there = find(settings.anywhere, node, *elsewhere).await;
    *elsewhere = there.as_ref().map(|answer| answer.address);
    let tries = tries(forbidden, here.as_ref(), there.as_ref());
    let passed = reach::each(tries.iter().map(|it| it.target)).await;

    let mut verdict = Verdict::new(node, first_moment);
    for (it, passed) in tries.iter().zip(passed) {
        verdict.add(it.route, Finding::of(passed, it.control));
    }
    for (route, answer) in [(Route::FromPodOnSameNode, here), (Route::FromPodOnOtherNode, there)] {
        if let Some(answer) = answer {
            verdict.add(route, Finding::of(answer.passes_to_caller, answer.reaches_caller));
        }
    }
    verdict
}

/// The control that answered before, or any that is on another node than this.
async fn find(anywhere: IpAddr, node: &str, before: Option<IpAddr>) -> Option<Answer> {
    if let Some(before) = before
        && let Some(answer) = control::ask(before).await.filter(|answer| answer.node != node)
    {
        return Some(answer);
    }
    for _ in 0..SEARCHES {
        match control::ask(anywhere).await {
            Some(answer) if answer.node != node => return Some(answer),
            _ => {}
        }
    }
    None
}

/// Something to try, and whether the control reaches it.
struct Try {
    route: Route,
    target: SocketAddr,
    control: bool,
}

fn tries(forbidden: &[(Route, SocketAddr)], here: Option<&Answer>, there: Option<&Answer>) -> Vec<Try> {
    let answers = || [here, there].into_iter().flatten();
    let is_reached = |route| match route {
        // That one of them answered shows that Services work.
        Route::Service => answers().next().is_some(),
        _ => here.is_some_and(|answer| answer.reaches.contains(&route)),
    };
    let mut tries: Vec<Try> = forbidden
        .iter()
        .map(|(route, target)| Try { route: *route, target: *target, control: is_reached(*route) })
        .collect();
    for (route, answer) in [(Route::PodOnSameNode, here), (Route::PodOnOtherNode, there)] {
        tries.extend(answer.map(|answer| Try {
            route,
            target: SocketAddr::new(answer.address, DENIED_PORT),
            control: true,
        }));
    }
    tries.extend(there.map(|answer| Try {
        route: Route::NodeAddress,
        target: kubelet(answer.node_address),
        control: answer.reaches.contains(&Route::NodeAddress),
    }));
    tries.extend(answers().flat_map(|answer| &answer.isolated).map(|address| Try {
        route: Route::IsolatedPod,
        target: SocketAddr::new(*address, DENIED_PORT),
        control: true,
    }));
    tries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(node: &str, address: &str, reaches: &[Route], isolated: &[&str]) -> Answer {
        Answer {
            node: node.to_owned(),
            address: address.parse().unwrap(),
            node_address: "192.0.2.1".parse().unwrap(),
            reaches: reaches.to_vec(),
            reaches_caller: true,
            passes_to_caller: false,
            isolated: isolated.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    fn told(tries: &[Try]) -> Vec<(Route, String, bool)> {
        tries.iter().map(|it| (it.route, it.target.to_string(), it.control)).collect()
    }

    fn forbidden() -> Vec<(Route, SocketAddr)> {
        [(Route::ApiServer, "10.96.0.1:443"), (Route::Outside, "203.0.113.10:80"), (Route::Service, "10.96.0.7:8080")]
            .map(|(route, target)| (route, target.parse().unwrap()))
            .to_vec()
    }

    #[test]
    fn what_only_the_control_of_the_same_node_reaches_counts_as_there() {
        let here = answer("node-1", "10.1.0.2", &[Route::ApiServer], &[]);
        let there = answer("node-2", "10.2.0.2", &[Route::Outside, Route::NodeAddress], &[]);
        let of = |route, target: &str, control| (route, target.to_owned(), control);
        assert_eq!(
            told(&tries(&forbidden(), Some(&here), Some(&there))),
            [
                of(Route::ApiServer, "10.96.0.1:443", true),
                of(Route::Outside, "203.0.113.10:80", false),
                of(Route::Service, "10.96.0.7:8080", true),
                of(Route::PodOnSameNode, "10.1.0.2:8080", true),
                of(Route::PodOnOtherNode, "10.2.0.2:8080", true),
                of(Route::NodeAddress, "192.0.2.1:10250", true),
            ]
        );
    }

    #[test]
    fn without_a_control_everything_is_tried_and_nothing_is_shown() {
        let tries = tries(&forbidden(), None, None);
        assert_eq!(tries.len(), 3);
        assert!(tries.iter().all(|it| !it.control), "{:?}", told(&tries));
    }

    #[test]
    fn whoever_the_controls_have_heard_of_is_tried_on_the_denied_port() {
        let here = answer("node-1", "10.1.0.2", &[], &["10.1.0.9"]);
        let tries = tries(&[], Some(&here), None);
        assert_eq!(told(&tries).last(), Some(&(Route::IsolatedPod, "10.1.0.9:8080".to_owned(), true)));
    }
}
