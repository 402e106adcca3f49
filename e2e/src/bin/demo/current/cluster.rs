//! The cluster of somebody's own. In: the kubeconfig. Out: a client for its current context, what is installed there, the class to use; or
//! what is missing, and the way to it. Nothing is written.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use api::TenantClass;
use api::names::ClassName;
use e2e::install::LEASE;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};

use super::made::said;
use crate::objects::Seen;
use crate::people::{Question, may_i};
use crate::show::{Progress, Show};

/// Longest wait for an answer of the API server.
const PATIENCE: Duration = Duration::from_secs(30);
/// A leader renews its Lease at least as often.
const RENEWED: Duration = Duration::from_secs(20);

const INSTALL: &str = "\
Install the chart, from this checkout; docs/quickstart.md says how to get an image:
  helm install steading charts/steading \\
    --namespace steading-system --create-namespace \\
    --set installation=my-cluster \\
    --set image.repository=registry.example/steading/operator";

const NO_CLASS: &str = "\
there is no TenantClass. Describe where keys and buckets are made: put your addresses into the first document \
of examples/quickstart.yaml and apply it. docs/quickstart.md tells it step by step.";

/// What this demo does there, and whoever runs it must be allowed to.
const NEEDED: [Question<'_>; 10] = [
    Question::of("create", "", "namespaces"),
    Question::of("delete", "", "namespaces"),
    Question::of("patch", "", "namespaces"),
    Question::of("create", "steading.dev", "tenants"),
    Question::of("delete", "steading.dev", "tenants"),
    Question::of("create", "steading.dev", "workspaces"),
    Question::of("delete", "steading.dev", "workspaces"),
    Question::of("delete", "networking.k8s.io", "networkpolicies"),
    Question::of("create", "rbac.authorization.k8s.io", "rolebindings"),
    Question::of("create", "authorization.k8s.io", "subjectaccessreviews"),
];

/// A cluster on which Steading works.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) context: String,
    /// Its address.
    pub(crate) server: String,
    /// Who we are there.
    pub(crate) user: String,
    /// Whether we are of a group that may change what is in stacks.
    pub(crate) may_break_glass: bool,
    pub(crate) class: String,
}

impl Cluster {
    /// Looks whether all is there that the demo needs.
    pub(crate) async fn look(show: &Show, wanted: Option<&ClassName>) -> Result<Self> {
        let kubeconfig = Kubeconfig::read().context("cannot read the kubeconfig ($KUBECONFIG, else ~/.kube/config)")?;
        let context = kubeconfig.current_context.clone().filter(|it| !it.is_empty());
        let context = context.context("the kubeconfig has no current context: `kubectl config use-context` sets it")?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.with_context(|| format!("context {context} of the kubeconfig cannot be used"))?;
        (config.connect_timeout, config.read_timeout) = (Some(PATIENCE), Some(PATIENCE));
        // Whoever thinks about the answer for longer than that must not find the connection spent.
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).with_context(|| format!("context {context} cannot be used"))?;
        let version = client.apiserver_version().await;
        let version = version.with_context(|| format!("{server} of context {context} does not answer"))?;
        show.say(&format!("Kubernetes {} at {server}, context {context}", version.git_version));
        kinds(&client, &context).await?;
        let operator = operator(show, &client).await?;
        let class = class(&client, wanted).await?;
        rights(&client, &class).await?;
        let (user, groups) = who_am_i(&client).await?;
        let may_break_glass = break_glass(&operator).any(|group| groups.iter().any(|mine| mine == group));
        Ok(Self { client, context, server, user, may_break_glass, class })
    }
}

async fn kinds(client: &Client, context: &str) -> Result<()> {
    let served = match client.list_api_group_resources("steading.dev/v1alpha1").await {
        Ok(served) => served.resources,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => bail!("cannot ask for the kinds of Steading: {}", said(&error)),
    };
    for kind in ["TenantClass", "Tenant", "Workspace"] {
        let is_served = served.iter().any(|it| it.kind == kind);
        ensure!(is_served, "the cluster of context {context} does not know the kind {kind} of Steading.\n{INSTALL}");
    }
    Ok(())
}

/// The operator's Deployment, once it is seen that somebody works: a leader renews its Lease, wherever it runs.
async fn operator(show: &Show, client: &Client) -> Result<Deployment> {
    let ours = ListParams::default().labels("app.kubernetes.io/name=steading");
    let listed = Api::<Deployment>::all(client.clone()).list(&ours).await;
    let listed = listed.map_err(|error| anyhow::anyhow!("cannot look for the operator: {}", said(&error)))?;
    let operator = listed.items.into_iter().next();
    let operator = operator.with_context(|| format!("the kinds of Steading are there but no operator.\n{INSTALL}"))?;
    let (namespace, name) = (operator.namespace().unwrap_or_default(), operator.name_any());
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let renewed = async || {
        let lease = leases.get_opt(LEASE).await.context("cannot read the operator's Lease")?;
        Ok::<_, anyhow::Error>(lease.and_then(|lease| lease.spec).and_then(|spec| spec.renew_time))
    };
    let before = renewed().await?;
    let what = format!("the operator in {namespace} renews its Lease");
    let works = show.until(&what, RENEWED, async || {
        let now = renewed().await?;
        let is_new = now.is_some() && now != before;
        Ok(if is_new { Progress::Done(()) } else { Progress::Still(format!("Lease {namespace}/{LEASE} is as before")) })
    });
    if let Err(error) = works.await {
        let ready = operator.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let wanted = operator.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        bail!(
            "no operator works: {error:#}. Deployment {namespace}/{name} has {ready} of {wanted} pods ready. See:\n  \
             kubectl -n {namespace} get pods\n  kubectl -n {namespace} logs deployment/{name}\n\
             If none is wanted:\n  kubectl -n {namespace} scale deployment/{name} --replicas=2"
        );
    }
    Ok(operator)
}

/// The groups that the chart exempts from the fence.
fn break_glass(operator: &Deployment) -> impl Iterator<Item = &str> {
    let pods = operator.spec.iter().flat_map(|spec| &spec.template.spec);
    let variables = pods.flat_map(|pods| &pods.containers).flat_map(|it| it.env.iter().flatten());
    let groups = variables.filter(|it| it.name == "STEADING_BREAK_GLASS_GROUPS").filter_map(|it| it.value.as_deref());
    groups.flat_map(|groups| groups.split(','))
}

/// The class that is wished for, or the only one; it must be Ready, or no tenant of it would ever be.
async fn class(client: &Client, wanted: Option<&ClassName>) -> Result<String> {
    let listed = Api::<TenantClass>::all(client.clone()).list(&ListParams::default()).await;
    let classes = listed.map_err(|error| anyhow::anyhow!("cannot list TenantClasses: {}", said(&error)))?.items;
    let all = classes.iter().map(|it| format!("  {}", Seen::of(it).state())).collect::<Vec<_>>().join("\n");
    let choose = "Choose one, such as: make demo CLUSTER=current CLASS=NAME";
    let class = match (wanted, classes.as_slice()) {
        (_, []) => bail!(NO_CLASS),
        (None, [only]) => only,
        (None, _) => bail!("there are {} TenantClasses:\n{all}\n{choose}", classes.len()),
        (Some(name), _) => {
            let found = classes.iter().find(|it| it.name_any() == name.as_str());
            found.with_context(|| format!("there is no TenantClass {name}. There is:\n{all}\n{choose}"))?
        }
    };
    let seen = Seen::of(class);
    ensure!(seen.is_ready(), "a class must be Ready before it is used.\n{}", seen.explained());
    Ok(class.name_any())
}

async fn rights(client: &Client, class: &str) -> Result<()> {
    let mut lacking = Vec::new();
    let of_class = [Question::of("use", "steading.dev", "tenantclasses").named(class)];
    for question in NEEDED.iter().chain(&of_class) {
        if !may_i(client, question).await? {
            lacking.push(format!("  {question}"));
        }
    }
    let lacking = lacking.join("\n");
    ensure!(lacking.is_empty(), "you may not do what the demo does:\n{lacking}\nUse a context of an administrator.");
    Ok(())
}

async fn who_am_i(client: &Client) -> Result<(String, Vec<String>)> {
    let answer = Api::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let me = answer.context("the API server does not say who you are")?.status.and_then(|status| status.user_info);
    let me = me.context("the API server says nothing about who you are")?;
    Ok((me.username.unwrap_or_default(), me.groups.unwrap_or_default()))
}
