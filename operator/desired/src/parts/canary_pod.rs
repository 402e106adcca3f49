//! The pods of the canary and of what looks at a restored database: one program, no token, no right but a certificate.

use std::collections::BTreeMap;

use api::{
    amounts::{format_bytes, format_cpu},
    labels,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, KeyToPath, PodSecurityContext, PodSpec, PodTemplateSpec,
        ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext, Volume,
        VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::CANARY_PART;
use crate::canary::CERTIFICATE;
use crate::database::CANARY_AMOUNTS;

/// Nobody that a distribution knows; the same as in the image.
const USER: i64 = 65_532;
/// Label of its pods beside the part.
const NAME: (&str, &str) = ("app.kubernetes.io/name", "steading-canary");

/// What distinguishes one such pod from another.
pub(crate) struct CanaryPod<'a> {
    /// The image that has the program.
    pub(crate) image: &'a str,
    /// What the program is to do.
    pub(crate) command: &'static str,
    /// Its settings.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// The Secret with its certificate.
    pub(crate) certificate: String,
    /// The Secret whose `ca.crt` has signed the certificate of the database.
    pub(crate) authority: String,
}

/// The labels of the pods.
pub(crate) fn labels() -> BTreeMap<String, String> {
    [(labels::PART, CANARY_PART), NAME].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

impl CanaryPod<'_> {
    /// The pod, with one container that can be added to.
    pub(crate) fn template(self) -> PodTemplateSpec {
        let volumes = vec![self.certificates()];
        PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                automount_service_account_token: Some(false),
                containers: vec![self.container()],
                enable_service_links: Some(false),
                security_context: Some(PodSecurityContext {
                    run_as_non_root: Some(true),
                    run_as_user: Some(USER),
                    run_as_group: Some(USER),
                    fs_group: Some(USER),
                    seccomp_profile: Some(SeccompProfile {
                        type_: "RuntimeDefault".to_owned(),
                        ..SeccompProfile::default()
                    }),
                    ..PodSecurityContext::default()
                }),
                termination_grace_period_seconds: Some(5),
                volumes: Some(volumes),
                ..PodSpec::default()
            }),
        }
    }

    fn container(self) -> Container {
        let setting =
            |(name, value): (&str, String)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
        let (cpu, memory) = CANARY_AMOUNTS;
        let amounts = BTreeMap::from([
            ("cpu".to_owned(), Quantity(format_cpu(cpu))),
            ("memory".to_owned(), Quantity(format_bytes(memory))),
        ]);
        Container {
            name: "canary".to_owned(),
            image: Some(self.image.to_owned()),
            command: Some(vec!["/canary".to_owned(), self.command.to_owned()]),
            env: Some(self.settings.into_iter().map(setting).collect()),
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
            volume_mounts: Some(vec![VolumeMount {
                name: "certificates".to_owned(),
                mount_path: "/run/canary/certificates".to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }
    }

    /// Who it is, and whom it believes. Of the authority's Secret only the certificate: the key beside it could sign anybody's.
    fn certificates(&self) -> Volume {
        let from = |secret: &str, entries: &[&str]| VolumeProjection {
            secret: Some(SecretProjection {
                name: secret.to_owned(),
                items: Some(entries.iter().map(|entry| same(entry)).collect()),
                optional: None,
            }),
            ..VolumeProjection::default()
        };
        Volume {
            name: "certificates".to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(0o440),
                sources: Some(vec![from(&self.certificate, &CERTIFICATE), from(&self.authority, &["ca.crt"])]),
            }),
            ..Volume::default()
        }
    }
}

fn same(entry: &str) -> KeyToPath {
    KeyToPath { key: entry.to_owned(), path: entry.to_owned(), mode: None }
}

/// A folder in memory.
pub(crate) fn scratch(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("1Mi".to_owned())),
        }),
        ..Volume::default()
    }
}
