//! Stacks that are left over: they stand, and their Workspace is gone.
//!
//! In: what is known of namespaces and Workspaces, from time to time. Out: such a stack is deleted if nothing is in it, and counted
//! if something is.
//!
//! Nobody is left to wake for such a stack, so it is looked for. One comes to stand when the API server carries out a request so late
//! that another leader has meanwhile let the Workspace go, or when a person takes the finalizer off by hand. Data outlives such an
//! accident: an absent Workspace may yet be restored from a backup, and only people can tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{Identity, StackNamespace, Workspace, labels};
use desired::{fields::Kind, workspace::Content};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::{Api, ResourceExt};

use crate::{
    context::Context,
    engine::{children::Child, fault::Fault},
    identity,
    workspace::isolate,
};

/// What was found out about a stack without a Workspace.
enum Verdict {
    /// It is no such stack, or not any more, or its Tenant is paused.
    Settled,
    /// Nothing is in it.
    Empty,
    /// It is left alone, and why.
    Kept(String),
}

/// Looks every `pause` for as long as this process leads. A stack counts as left over only if two looks in a row found it so: in between
/// the watches catch up.
pub async fn sweep(context: Arc<Context>, pause: Duration) {
    context.engine.health.all_synced().await;
    let (mut before, mut told) = (BTreeMap::new(), BTreeSet::new());
    loop {
        tokio::time::sleep(pause).await;
        if !context.engine.leadership.leads() {
            (before, told) = Default::default();
            context.engine.metrics.orphaned_stacks(0);
            context.engine.leadership.until_leader().await;
            continue;
        }
        let now = without_workspace(&context);
        let mut kept = BTreeSet::new();
        for (name, child) in now.iter().filter(|(name, child)| before.get(*name) == Some(&child.uid)) {
            match settle(&context, name, child).await {
                Ok(Some(why)) => {
                    if !told.contains(name) {
                        tracing::warn!(namespace = %name, "its Workspace is gone, and it is left alone: {why}");
                    }
                    kept.insert(name.clone());
                }
                Ok(None) => {}
                Err(fault) => tracing::info!(namespace = %name, %fault, "its Workspace seems to be gone"),
            }
        }
        context.engine.metrics.orphaned_stacks(kept.len());
        told = kept;
        before = now.into_iter().map(|(name, child)| (name, child.uid.clone())).collect();
    }
}

/// The stack namespaces for which no Workspace is known. Asks nobody.
fn without_workspace(context: &Context) -> BTreeMap<String, Arc<Child>> {
    let workspaces = context.workspaces.all(|_| true);
    let wanted: BTreeSet<String> = workspaces.iter().filter_map(|workspace| identity::derived(&**workspace)).collect();
    let all = context.children.of_kind(Kind::Namespace).into_iter();
    all.filter(|(_, child)| !child.deleting && child.owner.as_ref().is_some_and(|owner| !wanted.contains(owner)))
        .map(|(key, child)| (key.name, child))
        .collect()
}

/// Deletes it if that loses nothing. Why it is kept, if it is.
async fn settle(context: &Context, name: &str, child: &Child) -> Result<Option<String>, Fault> {
    match judge(context, name, child).await? {
        Verdict::Settled => Ok(None),
        Verdict::Kept(why) => Ok(Some(why)),
        Verdict::Empty => {
            tracing::info!(namespace = %name, "deleting an empty stack whose Workspace is gone");
            let applier = isolate::applier(context, child.owner.as_deref().unwrap_or_default());
            applier.delete(&isolate::namespace_key(name), &child.uid).await?;
            Ok(None)
        }
    }
}

/// By the API server's own word: the watches may be behind.
async fn judge(context: &Context, name: &str, child: &Child) -> Result<Verdict, Fault> {
    let client = &context.engine.client;
    let Some((identity, parent)) = child.owner.as_deref().zip(child.parent.as_ref()) else {
        return Ok(Verdict::Kept("its labels do not say whose it was".to_owned()));
    };
    let (identity, tenant, workspace): (Identity, _, _) =
        (identity.parse()?, parent.tenant.parse()?, parent.workspace.parse()?);
    if StackNamespace::of(&tenant, &workspace, &identity).as_str() != name {
        return Ok(Verdict::Kept("its labels do not fit its name".to_owned()));
    }
    if context.tenant(&parent.tenant).is_some_and(|tenant| tenant.spec.paused) {
        return Ok(Verdict::Settled); // nothing is changed until it goes on
    }
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), &parent.tenant);
    let doing = format!("read Workspace {}/{}", parent.tenant, parent.workspace);
    let heir = workspaces.get_opt(&parent.workspace).await.map_err(|error| Fault::api(&error, &doing))?;
    if heir.is_some_and(|heir| identity::derived(&heir).as_deref() == child.owner.as_deref()) {
        return Ok(Verdict::Settled);
    }
    let found = Api::<Namespace>::all(client.clone()).get_opt(name).await;
    let found = found.map_err(|error| Fault::api(&error, &format!("read namespace {name}")))?;
    let stands = found.filter(|found| found.uid().as_ref() == Some(&child.uid));
    let Some(namespace) = stands.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
        return Ok(Verdict::Settled);
    };
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), name);
    let quota = quotas.get_opt(desired::workspace::QUOTA).await;
    let quota = quota.map_err(|error| Fault::api(&error, &format!("read ResourceQuota {name}/steading")))?;
    Ok(match quota.as_ref().map(desired::workspace::content) {
        Some(Content::Nothing) => Verdict::Empty,
        Some(Content::Something(what)) => Verdict::Kept(format!(
            "it holds {what}; apply Workspace {} in namespace {} with spec.identity: {identity} to take it back, or delete the namespace as a member of a break-glass group",
            parent.workspace, parent.tenant
        )),
        Some(Content::NotCounted) => Verdict::Kept("what is in it was not counted yet".to_owned()),
        // Nobody gets rights in a stack before its quota stands, so nobody but an administrator can have put anything there.
        None if is_ours_alone(&namespace) => Verdict::Empty,
        None => Verdict::Kept("it has no quota, and others wrote to it: see what is in it, and delete it as a member of a break-glass group".to_owned()),
    })
}

/// Whether nobody else ever wrote to it, as whoever restores a backup would have.
fn is_ours_alone(namespace: &Namespace) -> bool {
    let managers = namespace.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    let mut managers = managers.filter_map(|entry| entry.manager.as_deref()).peekable();
    managers.peek().is_some() && managers.all(|manager| manager == labels::MANAGER_WORKSPACE)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use api::Tenant;
    use http::{Method, Request, Response};
    use kube::{client::Body, core::DeserializeGuard, runtime::watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::{
        client,
        config::Config,
        engine::{lease::Leadership, watches::Mirror},
        fence::Fence,
        http::Health,
        metrics::Metrics,
        run::{self, Assembled},
    };

    fn namespace(managers: &[&str]) -> Namespace {
        let entries: Vec<_> = managers.iter().map(|manager| json!({ "manager": manager })).collect();
        serde_json::from_value(json!({ "metadata": { "name": "acme-finance-ab12cd", "managedFields": entries } }))
            .unwrap()
    }

    #[test]
    fn a_namespace_to_which_others_wrote_is_not_ours_alone() {
        assert!(is_ours_alone(&namespace(&[labels::MANAGER_WORKSPACE, labels::MANAGER_WORKSPACE])));
        assert!(!is_ours_alone(&namespace(&[labels::MANAGER_WORKSPACE, "velero-server"])));
        assert!(!is_ours_alone(&namespace(&[])), "nobody knows who wrote to it");
    }

    /// The stack of a Workspace of `acme`: nothing is in it, and nobody else wrote to it.
    fn left_over() -> Namespace {
        let identity = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";
        let name = StackNamespace::of(
            &"acme".parse().unwrap(),
            &"finance".parse().unwrap(),
            &identity.parse::<Identity>().unwrap(),
        );
        let mut stack = namespace(&[labels::MANAGER_WORKSPACE]);
        stack.metadata.name = Some(name.to_string());
        stack.metadata.uid = Some("u1".to_owned());
        let told = [(labels::OWNER, identity), (labels::TENANT, "acme"), (labels::WORKSPACE, "finance")];
        stack.metadata.labels = Some(told.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        stack
    }

    /// Acme as the watch tells of it.
    fn acme(paused: bool) -> Event<DeserializeGuard<Tenant>> {
        let metadata = json!({ "name": "acme", "namespace": "acme" });
        let spec = json!({ "class": "onprem", "paused": paused });
        Event::Apply(DeserializeGuard(Ok(
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
        )))
    }

    /// A leader before an API server that has this namespace and nothing else, and what that is asked.
    fn before_a_server_with(stack: &Namespace) -> (Assembled, Arc<Mutex<Vec<Method>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (asking, name, stack) = (Arc::clone(&asked), stack.name_any(), json!(stack));
        let service = tower::service_fn(move |request: Request<Body>| {
            asking.lock().unwrap().push(request.method().clone());
            let (code, answer) = if request.uri().path() == format!("/api/v1/namespaces/{name}") {
                (200, stack.clone())
            } else {
                (404, json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound" }))
            };
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            async move { Ok::<_, kube::Error>(Response::builder().status(code).body(body).unwrap()) }
        });
        let (metrics, leadership) = (Metrics::new().unwrap(), Leadership::always());
        let client = client::over(service, &metrics, &leadership);
        let health = Health::new(Duration::from_mins(1));
        let config = Config::of("test".parse().unwrap());
        (run::assemble(&config, &client, &leadership, &metrics, &health, Fence::standing(client.clone())), asked)
    }

    #[tokio::test]
    async fn the_left_over_stack_of_a_paused_tenant_is_left_alone_until_the_tenant_goes_on() {
        let stack = left_over();
        let (Assembled { context, mut mirrors, .. }, asked) = before_a_server_with(&stack);
        let (name, child) = (stack.name_any(), Child::of(&stack));
        mirrors.tenants.absorb(acme(true));
        assert_eq!(settle(&context, &name, &child).await.unwrap(), None, "there is nothing to say of it");
        assert!(!asked.lock().unwrap().contains(&Method::DELETE), "it was deleted");
        mirrors.tenants.absorb(acme(false));
        assert_eq!(settle(&context, &name, &child).await.unwrap(), None);
        assert!(asked.lock().unwrap().contains(&Method::DELETE), "it stands for ever");
    }
}
