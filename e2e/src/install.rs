//! Steading on a plane. In: a plane. Out: the chart installed as a platform engineer would, and an operator that runs
//! with the rights the chart gave it and no others.

mod earlier;
mod in_process;
mod pods;
mod probes;
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::components::Component;
use crate::nursery::Nursery;
use crate::plane::{Identity, Plane};
use crate::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use crate::wait::until;

pub use earlier::Earlier;
pub use in_process::InProcess;
pub(crate) use pods::make;
pub use pods::merge;
pub use pods::{LEASE, OperatorPods, pack};
pub use probes::{enforcement_of, import_programs, with_probes};
pub use process::OperatorProcess;

/// Longest wait for what was installed to take effect.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the operator's token lives: longer than a cluster by hand is left running.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

/// Where the chart is told to find its image, which no registry has.
const REPOSITORY: &str = "localhost/steading/operator";

/// The chart, installed.
pub struct Installation {
    name: String,
    nursery: Nursery,
}

impl Installation {
    /// Installs `charts/steading` into `steading-system` by `helm install`, with `values` over those of the harness,
    /// and returns once its kinds are served and its admission policies and roles are in force.
    ///
    /// The Deployment is scaled to zero: fake nodes would say that it runs when nothing does. The operator is started
    /// apart, as a process.
    pub async fn install(plane: &Plane, name: &str, values: &Value) -> Result<Self> {
        Self::install_chart(plane, name, values, &chart_directory()).await
    }

    /// The same with another chart, such as that of an earlier version.
    pub async fn install_chart(plane: &Plane, name: &str, values: &Value, chart: &Path) -> Result<Self> {
        let nursery = Nursery::new("install")?;
        let installation = Self { name: name.to_owned(), nursery };
        let ours = json!({
            "installation": name,
            "image": { "repository": REPOSITORY },
            "replicas": 0,
        });
        installation.nursery.write(OURS, ours.to_string())?;
        installation.nursery.write(THEIRS, values.to_string())?;
        installation.apply_chart(plane, &["install", "--create-namespace"], chart).await?;
        Ok(installation)
    }

    /// Replaces the chart by another version of it, with the same values, as `helm upgrade` does.
    pub async fn upgrade(&self, plane: &Plane, chart: &Path) -> Result<()> {
        self.apply_chart(plane, &["upgrade"], chart).await
    }

    /// Gives the chart other values, as `helm upgrade --values` does.
    pub async fn reconfigure(&self, plane: &Plane, values: &Value) -> Result<()> {
        self.nursery.write(THEIRS, values.to_string())?;
        self.apply_chart(plane, &["upgrade"], &chart_directory()).await
    }

    async fn apply_chart(&self, plane: &Plane, action: &[&str], chart: &Path) -> Result<()> {
        let values = [OURS, THEIRS].map(|file| format!("--values={}", self.nursery.directory().join(file).display()));
        let mut arguments: Vec<String> = action.iter().map(|it| (*it).to_owned()).collect();
        arguments.extend(["steading".to_owned(), chart.display().to_string()]);
        arguments.extend(values);
        self.helm(plane, &arguments).await?;
        self.settle(plane).await
    }

    /// The installation id, as `--installation` wants it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.nursery.directory()
    }

    /// Runs Helm as the cluster's administrator in the operator's namespace, and returns what it prints.
    pub async fn helm(&self, plane: &Plane, arguments: &[String]) -> Result<String> {
        let kubeconfig = self.nursery.directory().join("admin.kubeconfig");
        plane.write_kubeconfig(plane.admin_identity(), &kubeconfig)?;
        let mut command = Command::new(Component::Helm.path().await?);
        let home = self.nursery.directory().join("helm");
        command
            .args(arguments)
            .arg(format!("--namespace={OPERATOR_NAMESPACE}"))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run helm")?;
        if !output.status.success() {
            bail!("`helm {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The operator's own identity: a token of the ServiceAccount that the chart made.
    pub async fn operator_identity(&self, plane: &Plane) -> Result<Identity> {
        let token = plane.token_for(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[], TOKEN_SECONDS).await?;
        Ok(Identity::Token(token))
    }

    /// A client with the operator's rights, to try what the operator may not do.
    pub async fn operator_client(&self, plane: &Plane) -> Result<Client> {
        plane.client(&self.operator_identity(plane).await?)
    }

    /// Waits until kinds, policies and roles are in force; all three reach the API server's caches with a delay.
    async fn settle(&self, plane: &Plane) -> Result<()> {
        kinds_are_served(plane).await?;
        policies_are_in_force(&plane.admin()?).await?;
        let operator = self.operator_client(plane).await?;
        until("the operator may list tenants", PATIENCE, async || {
            let review = json!({ "spec": { "resourceAttributes": {
                "group": "steading.dev", "resource": "tenants", "verb": "list",
            }}});
            let review: SelfSubjectAccessReview = serde_json::from_value(review)?;
            let answer = Api::all(operator.clone()).create(&PostParams::default(), &review).await?;
            Ok(answer.status.is_some_and(|status| status.allowed))
        })
        .await
    }
}

/// Files with the values of the harness, and with those that a test gives.
const OURS: &str = "harness.json";
const THEIRS: &str = "values.json";

/// The chart in this checkout.
pub fn chart_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("charts").join("steading")
}

async fn kinds_are_served(plane: &Plane) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.admin()?);
    until("the kinds of steading.dev are served", PATIENCE, async || {
        let ours = definitions.list(&ListParams::default()).await?;
        let ours: Vec<_> = ours.items.iter().filter(|it| it.spec.group == "steading.dev").collect();
        let is_served = |it: &&CustomResourceDefinition| {
            let conditions = it.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|it| it.type_ == "Established" && it.status == "True")
        };
        Ok(!ours.is_empty() && ours.iter().all(is_served))
    })
    .await
}

/// Waits until every ValidatingAdmissionPolicy that exists now is in force.
///
/// The API server learns of policies through a watch and compiles them all about once a second. A last policy of our
/// own comes after all others in that watch: once it refuses what it is there to refuse, the others do too.
pub async fn policies_are_in_force(client: &Client) -> Result<()> {
    let name = crate::unique("steading-e2e-sentinel");
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
                "resourceNames": [name],
            }]},
            "validations": [{ "expression": "false", "message": name }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"] },
    });
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await.context("cannot make a policy")?;
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await.context("cannot bind a policy")?;
    let probe: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let outcome = until("admission policies are in force", PATIENCE, async || {
        Ok(config_maps.create(&dry_run, &probe).await.is_err_and(|error| error.to_string().contains(&name)))
    })
    .await;
    bindings.delete(&name, &DeleteParams::default()).await.ok();
    policies.delete(&name, &DeleteParams::default()).await.ok();
    outcome
}
