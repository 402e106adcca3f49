//! What is shown of two customers on a cluster of somebody's own. In: the plan, Ready. Out: where all of it is, and checks that need nothing
//! but the API server.

use anyhow::{Context as _, Result};
use api::TenantClass;
use api::conditions::NETWORK_ENFORCED;
use api::labels::STACK;
use api::status::KeyOwner;
use api::tenant_class::Enforcement;
use e2e::story::condition;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::made::said;
use super::plan::{Customer, Plan, look};
use crate::objects::{Stack, stack};
use crate::people::{LOOK, LOOK_AND_LOGS, NOTHING, Person};
use crate::show::Show;
use crate::{apart, people};

/// Shows all of it.
pub(crate) async fn all(show: &Show, cluster: &Cluster, plan: &Plan) -> Result<()> {
    let client = &cluster.client;
    let [one, other] = &plan.customers;
    let first = stack(client, one.tenant.name(), one.workspace.name()).await?;
    let second = stack(client, other.tenant.name(), other.workspace.name()).await?;
    show.step("stands", "What stands: keys, buckets, bindings, as status tells");
    let key = stands(show, client, one, &first).await?;
    let other_key = stands(show, client, other, &second).await?;
    show.check("each customer has a key of its own", key != other_key);
    show.check("each workspace has a bucket of its own", first.bucket != second.bucket);
    if !first.key.is_empty() && !second.key.is_empty() {
        show.check("each bucket has a key of its own", first.key != second.key);
    }
    let class = Api::<TenantClass>::all(client.clone()).get(&cluster.class).await;
    let class = class.with_context(|| format!("cannot read TenantClass {}", cluster.class))?;
    let enforcement = match class.spec.network.enforcement {
        Enforcement::Required => "Required",
        Enforcement::Assumed => "Assumed",
    };
    let two = [(&first, one.asked), (&second, other.asked)];
    apart::objects(show, client, &[&first, &second], two, enforcement).await?;
    rights(show, client, plan, [&first, &second]).await?;
    fence(show, cluster, plan, &first).await?;
    show.step("packets", "Packets between the two customers");
    show.say(
        "None are sent here: they need pods, whose images your cluster may not be able to pull. The probes of the chart try it \
         all the time; the class says:",
    );
    let told = condition(&class, NETWORK_ENFORCED).map(|it| format!("{}/{}: {}", it.status, it.reason, it.message));
    show.say(&told.unwrap_or_else(|| "nothing yet of the network".to_owned()));
    Ok(())
}

/// Shows what a customer has, and returns the name of its key.
async fn stands(show: &Show, client: &Client, customer: &Customer, stack: &Stack) -> Result<String> {
    let lacks = || format!("the status of Tenant {} lacks its key", customer.tenant.name());
    let tenant = look(client, &customer.tenant).await?.and_then(|tenant| tenant.status).with_context(lacks)?;
    let workspace = look(client, &customer.workspace).await?.and_then(|workspace| workspace.status);
    let key = tenant.key.with_context(lacks)?;
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), &stack.namespace).list(&ListParams::default()).await;
    let bindings = bindings.context("cannot list RoleBindings")?;
    let row = |what: &str, it: &str| show.output(&format!("{what:<10} {it}"));
    row("WORKSPACE", &format!("{}/{}", customer.workspace.namespace(), stack.workspace));
    row("stack", &stack.namespace);
    row("bindings", &bindings.iter().map(binding).collect::<Vec<_>>().join("; "));
    row("bucket", &stack.bucket);
    row("key", &format!("{}, version {}, rotates every {}", key.name, key.version, key.rotation_period));
    for place in tenant.encryption.iter().chain(workspace.iter().flat_map(|it| &it.encryption)) {
        let whose = match place.owner {
            KeyOwner::Tenant => format!("the tenant's own key {}", place.key.as_deref().unwrap_or_default()),
            KeyOwner::Provider => "the store's own key, which serves all".to_owned(),
            KeyOwner::Unknown => "a key that nobody named".to_owned(),
        };
        row("encrypted", &format!("{}: under {whose}; {}", place.place, place.proof));
    }
    Ok(key.name)
}

/// Whom it gives what, in a few words.
fn binding(binding: &RoleBinding) -> String {
    let subjects = binding.subjects.iter().flatten().map(|it| format!("{} {}", it.kind, it.name));
    format!("{} to {}", binding.role_ref.name, subjects.collect::<Vec<_>>().join(", "))
}

async fn rights(show: &Show, client: &Client, plan: &Plan, stacks: [&Stack; 2]) -> Result<()> {
    let [one, other] = &plan.customers;
    let user = format!("{}-somebody", plan.run);
    let person = |who, group, allowed| Person { who, user: &user, group, allowed };
    let people = [
        person("finance viewer", &one.viewers, [LOOK, NOTHING]),
        person("owner of a", &one.owners, [LOOK_AND_LOGS, NOTHING]),
        person("sales viewer", &other.viewers, [NOTHING, LOOK]),
        person("owner of b", &other.owners, [NOTHING, LOOK_AND_LOGS]),
        person("stranger", "", [NOTHING, NOTHING]),
    ];
    people::rights(show, client, &people, stacks).await
}

/// Tries what would open a stack, or pass something else off as one, by dry runs.
async fn fence(show: &Show, cluster: &Cluster, plan: &Plan, stack: &Stack) -> Result<()> {
    show.step("fence", "The fence: dry runs of what it refuses, whoever asks");
    let [_, other] = &plan.customers;
    let (create, patch) = (
        PostParams { dry_run: true, ..PostParams::default() },
        PatchParams { dry_run: true, ..PatchParams::default() },
    );
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let judge = |what: &str, answer: Result<(), kube::Error>| {
        show.say(what);
        people::judged(show, &answer.map_err(|error| said(&error)));
    };
    let forged = json!({ "metadata": { "labels": { STACK: stack.identity } } });
    let answer = namespaces.patch(other.tenant.name(), &patch, &Patch::Merge(&forged)).await;
    judge(&format!("label namespace {} as the stack {}", other.tenant.name(), stack.workspace), answer.map(drop));
    let name = format!("{}-forged", plan.run);
    let forged = json!({ "metadata": { "name": name, "labels": { STACK: stack.identity } } });
    let answer = namespaces.create(&create, &serde_json::from_value(forged)?).await;
    judge(&format!("create namespace {name} with that label"), answer.map(drop));
    if cluster.may_break_glass {
        show.say("You are of a group in fence.breakGlassGroups, so what is in a stack is open to you: not tried.");
        return Ok(());
    }
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client.clone(), &stack.namespace);
    let delete = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let answer = policies.delete("deny-all", &delete).await;
    judge(&format!("delete networkpolicy deny-all in {}", stack.namespace), answer.map(drop));
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client.clone(), &stack.namespace);
    let answer = bindings.create(&create, &serde_json::from_value(to_a_stranger())?).await;
    judge(&format!("bind the ClusterRole view to a stranger in {}", stack.namespace), answer.map(drop));
    Ok(())
}

fn to_a_stranger() -> Value {
    json!({
        "metadata": { "name": "stranger" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }],
    })
}
