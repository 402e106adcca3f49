//! The pod of a desktop: sandboxed, nobody's user, without capabilities, token, port or anything that can be written but its volumes.

use std::collections::BTreeMap;

use crate::hash;
use api::{AgentSet, agent_set::AgentTemplate, labels};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, ExecAction, Pod, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

/// The ServiceAccount of all desktops of a stack. It has no right and hands out no token.
pub const ACCOUNT: &str = "agent";
/// The container of a desktop.
pub const CONTAINER: &str = "desktop";
/// Nobody that a distribution knows; the same as in the image.
const USER: i64 = 65_532;
/// Most that what is written to `/tmp` may take.
const TMP: &str = "512Mi";
/// Most that sockets may take; they lie in memory.
const RUN: &str = "64Mi";

/// The pod of this name. Its owner is the set.
#[must_use]
pub fn pod(set: &AgentSet, name: &str) -> Pod {
    let owner = OwnerReference {
        api_version: format!("{}/{}", api::GROUP, api::VERSION),
        kind: "AgentSet".to_owned(),
        name: set.metadata.name.clone().unwrap_or_default(),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let kept = |key: &str| key.starts_with("steading.dev/") || key == labels::MANAGED_BY;
    let marks = set.metadata.labels.clone().unwrap_or_default().into_iter().filter(|(key, _)| kept(key)).collect();
    let revision = (labels::REVISION.to_owned(), revision(&set.spec.template));
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.metadata.namespace.clone(),
            labels: Some(marks),
            annotations: Some([revision].into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(&set.spec.template)),
        status: None,
    }
}

/// Ten characters that are others for every other pod that would be made. A new version of Steading that makes other pods changes them, too.
#[must_use]
pub fn revision(template: &AgentTemplate) -> String {
    let spec = serde_json::to_value(spec(template)).unwrap_or_default();
    hash::of(&spec, None).chars().take(10).collect()
}

fn spec(template: &AgentTemplate) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(template)],
        enable_service_links: Some(false),
        // One desktop serves one session: one that has ended is replaced and never started again.
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: Some(template.runtime_class.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(ACCOUNT.to_owned()),
        termination_grace_period_seconds: Some(5),
        volumes: Some(vec![
            volume("tmp", None, TMP),
            volume("home", None, &template.home),
            volume("run", Some("Memory"), RUN),
        ]),
        ..PodSpec::default()
    }
}

fn container(template: &AgentTemplate) -> Container {
    let amounts = BTreeMap::from([
        ("cpu".to_owned(), Quantity(template.cpu.clone())),
        ("memory".to_owned(), Quantity(template.memory.clone())),
    ]);
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(template.image.clone()),
        env: Some(vec![EnvVar {
            name: "DESKTOP_SIZE".to_owned(),
            value: Some(format!("{}x{}", template.width, template.height)),
            value_from: None,
        }]),
        // A screenshot that can be used, and not a port: there is none.
        readiness_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(["steading-agent", "ready"].map(str::to_owned).into()) }),
            period_seconds: Some(5),
            timeout_seconds: Some(5),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        resources: Some(ResourceRequirements {
            requests: Some(amounts.clone()),
            limits: Some(amounts),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![mount("tmp", "/tmp"), mount("home", "/home/agent"), mount("run", "/run/agent")]),
        ..Container::default()
    }
}

fn volume(name: &str, medium: Option<&str>, most: &str) -> Volume {
    let empty = EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: Some(Quantity(most.to_owned())) };
    Volume { name: name.to_owned(), empty_dir: Some(empty), ..Volume::default() }
}
