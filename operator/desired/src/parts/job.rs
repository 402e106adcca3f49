//! The Job of a drill: one pod that looks at what was restored, once, and says what it saw in its termination message.

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{canary_pod::CanaryPod, metadata};
use crate::canary::{DRILL, PATIENCE};
use crate::database::Database;
use crate::workspace::Facts;

/// Looks at what was restored. It is not tried again: the drill is.
pub(crate) fn drill(facts: &Facts, database: &Database, image: &str) -> Job {
    let deadline = (database.rto * PATIENCE).as_secs();
    let mut template = CanaryPod {
        image,
        command: "drill",
        settings: vec![
            ("STEADING_CANARY_HOST", format!("{DRILL}-rw")),
            ("STEADING_CANARY_DEADLINE", format!("{deadline}s")),
        ],
        certificate: format!("{DRILL}-client-cert"),
        authority: format!("{DRILL}-ca"),
    }
    .template();
    if let Some(pod) = &mut template.spec {
        pod.restart_policy = Some("Never".to_owned());
    }
    let spec = JobSpec {
        active_deadline_seconds: i64::try_from(deadline).ok(),
        backoff_limit: Some(0),
        template,
        ..JobSpec::default()
    };
    Job { metadata: metadata(facts, DRILL), spec: Some(spec), status: None }
}
