//! CloudNativePG's own manifests, changed where they would need what the harness has not: a registry, cert-manager, admission webhooks. In:
//! the modules of the programs. Out: objects to apply.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{NAMESPACE, images, kept_node};
use crate::certificates::Authority;
use crate::components::Component;
use crate::manifests::{kind_of, parse};

/// The operator and its plugin.
pub(super) const DEPLOYMENTS: [&str; 2] = ["cnpg-controller-manager", "barman-cloud"];

const KIND_OF_KINDS: &str = "CustomResourceDefinition";

/// Both manifests.
pub(super) struct Upstream {
    objects: Vec<DynamicObject>,
}

impl Upstream {
    /// Reads them.
    pub(super) async fn read() -> Result<Self> {
        let operator = Component::CloudNativePg.sources().await?.join("releases").join("cnpg-1.30.0.yaml");
        let plugin = Component::BarmanCloud.sources().await?.join("manifest.yaml");
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            parse(&path.display().to_string(), &text)
        };
        let mut objects = read(&operator)?;
        objects.extend(read(&plugin)?);
        Ok(Self { objects })
    }

    /// The definitions of their kinds, as they are.
    pub(super) fn kinds(&self) -> Result<Vec<DynamicObject>> {
        let kinds: Vec<_> = self.objects.iter().filter(|it| kind_of(it) == KIND_OF_KINDS).cloned().collect();
        anyhow::ensure!(kinds.len() > 2, "CloudNativePG defines hardly any kinds: {}", kinds.len());
        Ok(kinds)
    }

    /// All the rest, so that it runs on nodes that have the images.
    pub(super) fn operators(&self, authority: &Authority) -> Result<Vec<DynamicObject>> {
        let is_wanted = |it: &&DynamicObject| {
            let kind = kind_of(it);
            let of_cert_manager =
                it.types.as_ref().is_some_and(|types| types.api_version.starts_with("cert-manager.io/"));
            // The operator itself checks what no webhook has checked.
            kind != KIND_OF_KINDS && !kind.ends_with("WebhookConfiguration") && !of_cert_manager
        };
        let mut objects: Vec<_> = self.objects.iter().filter(is_wanted).cloned().collect();
        for object in &mut objects {
            let name = object.name_any();
            match (kind_of(object), name.as_str()) {
                ("Deployment", _) => adjust(&name, &mut object.data).with_context(|| format!("{name} has changed"))?,
                ("Secret", _) if object.data.pointer("/data/SIDECAR_IMAGE").is_some() => {
                    object.data = json!({ "stringData": { "SIDECAR_IMAGE": images::PLUGIN } });
                }
                _ => {}
            }
        }
        // Each of both trusts what is in the other's file, and shows no certificate of whose signer is not there.
        let server = authority.server("barman-cloud", &["barman-cloud"])?;
        let client = authority.client("barman-cloud-client", &[])?;
        for (name, certificate) in [("barman-cloud-server-tls", server), ("barman-cloud-client-tls", client)] {
            let chain = certificate.certificate + authority.certificate();
            objects.push(secret(name, &json!({ "tls.crt": chain, "tls.key": certificate.key.expose_secret() }))?);
        }
        let server = authority.server("cnpg-webhook-service", &["cnpg-webhook-service"])?;
        let names = json!({ "apiserver.crt": server.certificate, "apiserver.key": server.key.expose_secret() });
        objects.push(secret("cnpg-webhook-cert", &names)?);
        Ok(objects)
    }
}

/// Gives a Deployment the images that were made here, the settings that go with them, as much of a processor as is free, and a node that no
/// test loses.
fn adjust(name: &str, deployment: &mut Value) -> Result<()> {
    let pod = deployment.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut).context("it has no pod")?;
    pod.insert("nodeSelector".to_owned(), kept_node());
    let container = deployment.pointer_mut("/spec/template/spec/containers/0").context("it has no container")?;
    let container = container.as_object_mut().context("its container is no object")?;
    let [operator, _] = DEPLOYMENTS;
    let image = if name == operator { images::OPERATOR } else { images::PLUGIN };
    container.insert("image".to_owned(), json!(image));
    container.insert("imagePullPolicy".to_owned(), json!("Never"));
    container.insert("resources".to_owned(), json!({ "requests": { "cpu": "10m", "memory": "64Mi" } }));
    let probe =
        container.get_mut("readinessProbe").and_then(Value::as_object_mut).context("nobody asks if it is ready")?;
    probe.insert("periodSeconds".to_owned(), json!(1));
    probe.remove("initialDelaySeconds");
    // Until a startup probe has succeeded there is no readiness.
    if let Some(probe) = container.get_mut("startupProbe").and_then(Value::as_object_mut) {
        probe.insert("periodSeconds".to_owned(), json!(1));
        probe.insert("failureThreshold".to_owned(), json!(60));
    }
    if name == operator {
        let ours = [
            ("OPERATOR_IMAGE_NAME", images::OPERATOR),
            ("POSTGRES_IMAGE_NAME", images::POSTGRES),
            // If it made the certificate of its webhooks itself, it would wait a minute until that reaches its pod.
            ("WEBHOOK_CERT_DIR", "/run/secrets/cnpg.io/webhook"),
        ];
        let variables = container.get_mut("env").and_then(Value::as_array_mut).context("it has no settings")?;
        variables.retain(|it| !ours.iter().any(|(name, _)| it.get("name").is_some_and(|it| it == name)));
        variables.extend(ours.map(|(name, value)| json!({ "name": name, "value": value })));
    }
    Ok(())
}

/// A Secret beside the operator.
fn secret(name: &str, data: &Value) -> Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": NAMESPACE }, "stringData": data,
    }))?)
}
