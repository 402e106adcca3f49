//! The Deployment of the canary: one pod that writes to the database for as long as it is there.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{ExecAction, Probe, VolumeMount},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{
    canary_pod::{self, CanaryPod, scratch},
    metadata,
};
use crate::canary::CANARY;
use crate::consumer::DATABASE_CA;
use crate::database::{Database, WRITING_SERVICE};
use crate::workspace::Facts;

/// Writes a row every third of the rpo, and is ready while it does.
pub(crate) fn canary(facts: &Facts, database: &Database, image: &str) -> Deployment {
    let mut template = CanaryPod {
        image,
        command: "write",
        settings: vec![
            ("STEADING_CANARY_HOST", WRITING_SERVICE.to_owned()),
            ("STEADING_CANARY_PERIOD", format!("{}s", (database.rpo.as_secs() / 3).max(1))),
        ],
        certificate: format!("{CANARY}-client-cert"),
        authority: DATABASE_CA.to_owned(),
    }
    .template();
    if let Some(pod) = &mut template.spec {
        pod.volumes.get_or_insert_default().push(scratch("state"));
        for container in &mut pod.containers {
            container.readiness_probe = Some(readiness());
            container.volume_mounts.get_or_insert_default().push(VolumeMount {
                name: "state".to_owned(),
                mount_path: "/run/canary/state".to_owned(),
                ..VolumeMount::default()
            });
        }
    }
    // Two that write would be in each other's way.
    let strategy = DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    let selector = LabelSelector { match_labels: Some(canary_pod::labels()), match_expressions: None };
    let replicas = i32::from(!database.suspended);
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        selector,
        strategy: Some(strategy),
        template,
        ..DeploymentSpec::default()
    };
    Deployment { metadata: metadata(facts, CANARY), spec: Some(spec), status: None }
}

fn readiness() -> Probe {
    let command = ["/canary", "ready"].map(str::to_owned).to_vec();
    Probe {
        exec: Some(ExecAction { command: Some(command) }),
        period_seconds: Some(5),
        timeout_seconds: Some(5),
        failure_threshold: Some(1),
        ..Probe::default()
    }
}
