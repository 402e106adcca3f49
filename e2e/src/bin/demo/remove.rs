//! One Workspace goes. In: the stacks. Out: that its namespace and bucket are gone and everything else is there as before.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::Workspace;
use api::conditions::READY;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client as Store;
use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use e2e::servers::Minio;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;

use crate::objects::{self, CUSTOMER, Stack, Stacks};
use crate::scene::Scene;
use crate::show::{Progress, Show};
use crate::store::Notes;

/// Longest wait until the Workspace is gone.
const PATIENCE: Duration = Duration::from_mins(3);

/// Deletes the workspace `research` and looks at what is left.
pub(crate) async fn research(show: &Show, scene: &Scene, stacks: &Stacks, notes: &Notes) -> Result<()> {
    show.step("delete", "Delete the workspace research: it goes, and only it");
    let client = scene.plane.admin()?;
    let store = as_root(scene)?;
    let tenant = objects::tenant(&client, CUSTOMER).await?;
    let policy = tenant.spec.deletion_policy;
    show.say(&format!("deletionPolicy of the customer: {policy:?}. Its bucket is emptied and removed."));
    let before = Remaining::see(&client, stacks).await?;
    anyhow::ensure!(has_bucket(&store, &stacks.research.bucket).await?, "the bucket of research is not there");
    scene.kubectl.shown(show, &["delete", "workspace", "research", "-n", CUSTOMER, "--wait=false"]).await?;
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), CUSTOMER);
    show.until("research is gone", PATIENCE, async || {
        let Some(workspace) = workspaces.get_opt("research").await? else { return Ok(Progress::Done(())) };
        let conditions = workspace.status.map(|status| status.conditions).unwrap_or_default();
        let going = conditions.into_iter().find(|it| it.type_ == READY && it.status == "False");
        Ok(Progress::Still(
            going.map_or_else(|| "not yet seen".to_owned(), |it| format!("{}: {}", it.reason, it.message)),
        ))
    })
    .await?;
    gone(show, &client, &store, &stacks.research).await?;
    let after = Remaining::see(&client, stacks).await?;
    show.check(
        &format!("{} objects of finance and globex are as before: UID and version, of quotas the spec", before.0.len()),
        !before.0.is_empty() && before == after,
    );
    for stack in [&stacks.finance, &stacks.sales] {
        let is_there = has_bucket(&store, &stack.bucket).await?;
        show.check(&format!("the bucket of {} is there", stack.workspace), is_there);
    }
    show.check("the object of finance reads as it was written", notes.finance.is_readable().await?);
    show.check("the object of globex reads as it was written", notes.sales.is_readable().await?);
    customer(show, &client).await
}

async fn gone(show: &Show, client: &Client, store: &Store, stack: &Stack) -> Result<()> {
    let namespace = Api::<Namespace>::all(client.clone()).get_opt(&stack.namespace).await?;
    show.check(&format!("its namespace {} is gone", stack.namespace), namespace.is_none());
    show.check(&format!("its bucket {} is gone", stack.bucket), !has_bucket(store, &stack.bucket).await?);
    Ok(())
}

/// The customer itself is as before, and its quota is free again.
async fn customer(show: &Show, client: &Client) -> Result<()> {
    let used = show
        .until("the quota of research is free again", PATIENCE, async || {
            let status = objects::tenant(client, CUSTOMER).await?.status;
            let used = status.and_then(|status| status.quota).map(|quota| quota.used);
            Ok(match used {
                Some(used) if used.workspaces == 1 => Progress::Done(used),
                other => {
                    Progress::Still(format!("{} workspaces in the ledger", other.map_or(0, |used| used.workspaces)))
                }
            })
        })
        .await?;
    show.check(
        "the customer's ledger holds what finance asks for: 4 cores",
        used.cpu.as_deref() == Some("4") && used.memory.as_deref() == Some("16Gi"),
    );
    let unready: Vec<String> =
        objects::all(client).await?.iter().filter(|it| !it.is_ready()).map(objects::Seen::explained).collect();
    let told = if unready.is_empty() { String::new() } else { format!(" (not: {})", unready.join("; ")) };
    show.check(&format!("all that is left is Ready{told}"), unready.is_empty());
    Ok(())
}

/// What must not change: for each object of the stacks that stay its UID and version. The version changes with every write; that of a
/// quota also when something is counted, so there it is the spec.
#[derive(PartialEq, Eq)]
struct Remaining(BTreeMap<String, (String, String)>);

impl Remaining {
    async fn see(client: &Client, stacks: &Stacks) -> Result<Self> {
        let mut all = BTreeMap::new();
        for stack in [&stacks.finance, &stacks.sales] {
            let namespace: Namespace = Api::all(client.clone()).get(&stack.namespace).await?;
            anyhow::ensure!(
                namespace.uid().as_deref() == Some(stack.namespace_uid.as_str()),
                "namespace {} is not the one that status names",
                stack.namespace
            );
            add(&mut all, "Namespace", &namespace, version(&namespace));
            for policy in list::<NetworkPolicy>(client, &stack.namespace).await? {
                add(&mut all, "NetworkPolicy", &policy, version(&policy));
            }
            for binding in list::<RoleBinding>(client, &stack.namespace).await? {
                add(&mut all, "RoleBinding", &binding, version(&binding));
            }
            for quota in list::<ResourceQuota>(client, &stack.namespace).await? {
                add(&mut all, "ResourceQuota", &quota, format!("{:?}", quota.spec));
            }
        }
        Ok(Self(all))
    }
}

async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let listed = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
    Ok(listed.with_context(|| format!("cannot list {}s in {namespace}", K::kind(&())))?.items)
}

fn version(object: &impl ResourceExt) -> String {
    object.resource_version().unwrap_or_default()
}

fn add(all: &mut BTreeMap<String, (String, String)>, kind: &str, object: &impl ResourceExt, version: String) {
    let name = format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any());
    all.insert(name, (object.uid().unwrap_or_default(), version));
}

/// The store as its administrator sees it: nothing is hidden from that account.
fn as_root(scene: &Scene) -> Result<Store> {
    let account = scene.servers.minio.root_account();
    let (access, secret) = (account.access_key.expose_secret(), account.secret_key.expose_secret());
    let credentials = Credentials::new(access, secret, None, None, "demo");
    Minio::client(scene.plane.authority(), &scene.servers.minio.endpoint(), credentials)
}

async fn has_bucket(store: &Store, bucket: &str) -> Result<bool> {
    match store.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(HeadBucketError::is_not_found) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look for bucket {bucket}")),
    }
}
