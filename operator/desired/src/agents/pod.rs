//! The pod of a desktop: sandboxed, nobody's user, without capabilities, port or anything that can be written but its volumes. Its one
//! token opens the relay and nothing else.

use std::collections::BTreeMap;

use crate::hash;
use api::{
    AgentSet,
    agent_set::{AgentRelay, AgentTemplate},
    labels,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource, EnvVar,
        EnvVarSource, ExecAction, HostAlias, ObjectFieldSelector, Pod, PodSecurityContext, PodSpec, Probe,
        ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccountTokenProjection,
        Volume, VolumeMount, VolumeProjection,
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
/// The port of the relay, as the chart has it.
pub const RELAY_PORT: u16 = 4222;
/// For whom its token is.
const AUDIENCE: &str = "steading-relay";
/// How long a token lasts; the kubelet renews it before. No shorter one is given out.
const TOKEN_SECONDS: i64 = 600;
/// Where token and certificates of the relay are in the desktop.
const RELAY: &str = "/var/run/secrets/steading/relay";
/// The file with its certificates there. The token lies beside it as `token`, where the agent looks for it.
const AUTHORITY: &str = "authority.pem";

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
    let template = &set.spec.template;
    let mut notes = BTreeMap::from([(labels::REVISION.to_owned(), revision(template))]);
    if let Some(relay) = &template.relay {
        notes.insert(labels::RELAY_AUTHORITY.to_owned(), relay.authority.clone());
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.metadata.namespace.clone(),
            labels: Some(marks),
            annotations: Some(notes),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(template)),
        status: None,
    }
}

/// Ten characters that are others for every other pod that would be made. A new version of Steading that makes other pods changes them, too.
#[must_use]
pub fn revision(template: &AgentTemplate) -> String {
    let authority = template.relay.as_ref().map(|relay| &relay.authority);
    let made = serde_json::to_value((spec(template), authority)).unwrap_or_default();
    hash::of(&made, None).chars().take(10).collect()
}

fn spec(template: &AgentTemplate) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(template)],
        enable_service_links: Some(false),
        host_aliases: template
            .relay
            .as_ref()
            .map(|relay| vec![HostAlias { ip: relay.address.clone(), hostnames: Some(vec![relay.name.clone()]) }]),
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
        volumes: Some(
            [volume("tmp", None, TMP), volume("home", None, &template.home), volume("run", Some("Memory"), RUN)]
                .into_iter()
                .chain(template.relay.as_ref().map(|_| relay_volume()))
                .collect(),
        ),
        ..PodSpec::default()
    }
}

fn container(template: &AgentTemplate) -> Container {
    let amounts = BTreeMap::from([
        ("cpu".to_owned(), Quantity(template.cpu.clone())),
        ("memory".to_owned(), Quantity(template.memory.clone())),
    ]);
    let mut mounts = vec![mount("tmp", "/tmp"), mount("home", "/home/agent"), mount("run", "/run/agent")];
    mounts.extend(template.relay.as_ref().map(|_| VolumeMount { read_only: Some(true), ..mount("relay", RELAY) }));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(template.image.clone()),
        env: Some(variables(template)),
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
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn variables(template: &AgentTemplate) -> Vec<EnvVar> {
    let told = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let mut variables = vec![told("DESKTOP_SIZE", format!("{}x{}", template.width, template.height))];
    if let Some(AgentRelay { name, .. }) = &template.relay {
        variables.push(told("AGENT_RELAY", format!("tls://{name}:{RELAY_PORT}")));
        variables.push(told("AGENT_RELAY_AUTHORITY", format!("{RELAY}/{AUTHORITY}")));
        let uid = EnvVarSource { field_ref: Some(field("metadata.uid".to_owned())), ..EnvVarSource::default() };
        variables.push(EnvVar { name: "AGENT_POD".to_owned(), value: None, value_from: Some(uid) });
    }
    variables
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// What the desktop signs in to the relay with, and by what it knows the relay.
fn relay_volume() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    let authority = DownwardAPIVolumeFile {
        field_ref: Some(field(format!("metadata.annotations['{}']", labels::RELAY_AUTHORITY))),
        path: AUTHORITY.to_owned(),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![authority]) }),
            ..VolumeProjection::default()
        },
    ];
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: None };
    Volume { name: "relay".to_owned(), projected: Some(projected), ..Volume::default() }
}

fn field(path: String) -> ObjectFieldSelector {
    ObjectFieldSelector { field_path: path, api_version: None }
}

fn volume(name: &str, medium: Option<&str>, most: &str) -> Volume {
    let empty = EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: Some(Quantity(most.to_owned())) };
    Volume { name: name.to_owned(), empty_dir: Some(empty), ..Volume::default() }
}
