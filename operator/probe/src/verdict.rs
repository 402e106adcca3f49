//! What a probe found. In: findings for each route. Out: a verdict that is kept in a file for the kubelet, and told in the log.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::Route;

/// What became of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// The control takes it, the isolated pod does not.
    Holds,
    /// The isolated pod takes it.
    Leaks,
    /// The control cannot take it either, which proves nothing.
    Absent,
}

impl Finding {
    /// From whether the isolated pod got through, and whether the control did.
    #[must_use]
    pub fn of(isolated: bool, control: bool) -> Self {
        match (isolated, control) {
            (true, _) => Self::Leaks,
            (false, true) => Self::Holds,
            (false, false) => Self::Absent,
        }
    }

    /// Of two targets on one route: a leak is one whatever the other says, and so is what holds beside what is absent.
    #[must_use]
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Leaks, _) | (_, Self::Leaks) => Self::Leaks,
            (Self::Holds, _) | (_, Self::Holds) => Self::Holds,
            (Self::Absent, Self::Absent) => Self::Absent,
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing passes that must not.
    Holds,
    /// Something does.
    Leaks,
    /// Nothing passes, but neither does what must: the network may not work at all.
    Unknown,
}

/// What a probe found in one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The node.
    pub node: String,
    /// For each route that was tried.
    pub findings: BTreeMap<Route, Finding>,
    /// What got through in the first second of the pod.
    pub first_moment: Vec<Route>,
}

impl Verdict {
    /// Nothing was tried yet.
    #[must_use]
    pub fn new(node: &str, first_moment: &[Route]) -> Self {
        Self { node: node.to_owned(), findings: BTreeMap::new(), first_moment: first_moment.to_vec() }
    }

    /// Adds what one target of a route shows.
    pub fn add(&mut self, route: Route, finding: Finding) {
        self.findings.entry(route).and_modify(|known| *known = known.and(finding)).or_insert(finding);
    }

    /// What it comes to.
    #[must_use]
    pub fn state(&self) -> State {
        let of = |wanted: Finding| self.findings.iter().filter(move |(_, finding)| **finding == wanted);
        if !self.first_moment.is_empty() || of(Finding::Leaks).next().is_some() {
            State::Leaks
        } else if of(Finding::Holds).filter(|(route, _)| route.is_essential()).count() == 2 {
            State::Holds
        } else {
            State::Unknown
        }
    }

    /// What passes, without the node: `packets pass to the API server; in a pod's first second also to Services`.
    #[must_use]
    pub fn leaks(&self) -> String {
        let always: Vec<_> = self.routes(Finding::Leaks).collect();
        let at_first: Vec<_> = self.first_moment.iter().map(|route| route.told()).collect();
        match (always.is_empty(), at_first.is_empty()) {
            (false, true) => format!("packets pass {}", always.join(", ")),
            (true, false) => format!("in a pod's first second packets pass {}", at_first.join(", ")),
            (false, false) => {
                format!("packets pass {}; in a pod's first second {}", always.join(", "), at_first.join(", "))
            }
            (true, true) => "no packets pass".to_owned(),
        }
    }

    fn routes(&self, wanted: Finding) -> impl Iterator<Item = &'static str> {
        self.findings.iter().filter(move |(_, finding)| **finding == wanted).map(|(route, _)| route.told())
    }

    /// Keeps it, whole or not at all.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?).with_context(|| format!("cannot write {}", new.display()))?;
        std::fs::rename(&new, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Reads what was kept at most `age` ago.
    pub fn read(file: &Path, age: Duration) -> Result<Self> {
        let written = std::fs::metadata(file).and_then(|it| it.modified()).context("there is no verdict yet")?;
        // What a clock that was put back since has written is new.
        let old = SystemTime::now().duration_since(written).unwrap_or_default();
        ensure!(old <= age, "the last verdict is {} s old: the probe hangs", old.as_secs());
        serde_json::from_slice(&std::fs::read(file)?).context("the verdict cannot be read")
    }
}

/// For people, one line for each kind of finding.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            State::Holds => write!(f, "{}: no packets pass that policies forbid", self.node)?,
            State::Leaks => write!(f, "{}: {}", self.node, self.leaks())?,
            State::Unknown => {
                write!(
                    f,
                    "{}: nothing is shown: pods that policies let talk on this node do not reach each other",
                    self.node
                )?;
            }
        }
        for (what, finding) in [("tried in vain", Finding::Holds), ("not there", Finding::Absent)] {
            let routes: Vec<_> = self.routes(finding).collect();
            if !routes.is_empty() {
                write!(f, "\n{what}: {}", routes.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(findings: &[(Route, Finding)], first_moment: &[Route]) -> Verdict {
        let mut verdict = Verdict::new("node-1", first_moment);
        for (route, finding) in findings {
            verdict.add(*route, *finding);
        }
        verdict
    }

    const HOLDS: [(Route, Finding); 2] =
        [(Route::PodOnSameNode, Finding::Holds), (Route::FromPodOnSameNode, Finding::Holds)];

    #[test]
    fn it_holds_only_where_both_directions_on_the_node_are_shown_with_a_control() {
        assert_eq!(verdict(&HOLDS, &[]).state(), State::Holds);
        assert_eq!(verdict(&[], &[]).state(), State::Unknown);
        for missing in 0..2 {
            let mut findings = HOLDS;
            findings[missing].1 = Finding::Absent;
            assert_eq!(verdict(&findings, &[]).state(), State::Unknown);
            assert_eq!(verdict(&findings[missing..=missing], &[]).state(), State::Unknown);
        }
    }

    #[test]
    fn one_leak_is_one_whatever_else_holds_and_also_where_nothing_else_is_known() {
        let leak = (Route::MetadataV6, Finding::Leaks);
        assert_eq!(verdict(&[HOLDS[0], HOLDS[1], leak], &[]).state(), State::Leaks);
        assert_eq!(verdict(&[leak], &[]).state(), State::Leaks);
        assert_eq!(verdict(&HOLDS, &[Route::ApiServer]).state(), State::Leaks);
    }

    #[test]
    fn what_neither_reaches_is_absent_and_no_failure() {
        let absent = (Route::MetadataV4, Finding::of(false, false));
        assert_eq!(verdict(&[HOLDS[0], HOLDS[1], absent], &[]).state(), State::Holds);
        assert_eq!(absent.1, Finding::Absent);
        assert_eq!(Finding::of(true, false), Finding::Leaks);
        assert_eq!(Finding::of(true, true), Finding::Leaks);
        assert_eq!(Finding::of(false, true), Finding::Holds);
    }

    #[test]
    fn of_several_targets_on_a_route_the_worst_counts() {
        use Finding::{Absent, Holds, Leaks};
        for (targets, expected) in
            [([Holds, Leaks], Leaks), ([Leaks, Absent], Leaks), ([Absent, Holds], Holds), ([Absent, Absent], Absent)]
        {
            let both = targets.map(|finding| (Route::NodeAddress, finding));
            assert_eq!(verdict(&both, &[]).findings[&Route::NodeAddress], expected, "{targets:?}");
        }
    }

    #[test]
    fn it_says_what_passes() {
        let leak = (Route::ApiServer, Finding::Leaks);
        let told = verdict(&[HOLDS[0], leak, (Route::Outside, Finding::Absent)], &[Route::Service]).to_string();
        assert_eq!(
            told,
            "node-1: packets pass to the API server; in a pod's first second to Services\n\
             tried in vain: to pods on the same node\nnot there: to the outside"
        );
    }

    #[test]
    fn what_was_kept_is_read_back_unless_it_is_too_old() {
        let folder = std::env::temp_dir().join(format!("steading-verdict-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("verdict");
        assert!(Verdict::read(&file, Duration::from_mins(1)).is_err());
        let kept = verdict(&HOLDS, &[Route::Service]);
        kept.write(&file).unwrap();
        assert_eq!(Verdict::read(&file, Duration::from_mins(1)).unwrap(), kept);
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        let refused = Verdict::read(&file, Duration::from_mins(1)).unwrap_err().to_string();
        assert!(refused.contains("the probe hangs"), "{refused}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
