//! Promise: what is not ours is never touched, whatever its name; what is ours is known again, whatever somebody did to its labels,
//! and also if the answer to its making got lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result};
use api::{TenantClass, Workspace, conditions as names, labels};
use desired::fields::Kind;
use e2e::story::{Manifest, PATIENCE, Platform, Stage, Told, class, condition, stack_namespace, tenant, workspace};
use e2e::wire::Verdict;
use e2e::{Tier, unique, wait::until};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use uuid::Uuid;

/// The children of a stack, its namespace aside.
const CHILDREN: [(Kind, &str); 8] = [
    (Kind::NetworkPolicy, "deny-all"),
    (Kind::NetworkPolicy, "allow-parts-ingress"),
    (Kind::NetworkPolicy, "allow-parts-egress"),
    (Kind::NetworkPolicy, "allow-dns"),
    (Kind::ResourceQuota, "steading"),
    (Kind::LimitRange, "steading"),
    (Kind::RoleBinding, "steading-viewers"),
    (Kind::RoleBinding, "steading-editors"),
];

fn children(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.name());
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk_with_plural(&gvk, kind.plural()))
}

fn assert_stalled<K: Told>(object: &K, part: &str, told: &[&str]) {
    let find =
        |kind: &str| condition(object, kind).unwrap_or_else(|| panic!("no {kind} in {:#?}", object.conditions()));
    assert_eq!((find(names::READY).status.as_str(), find(part).status.as_str()), ("False", "False"));
    assert_eq!(find(names::STALLED).status, "True");
    for part in told {
        assert!(find(names::READY).message.contains(part), "`{part}` is not in: {}", find(names::READY).message);
    }
}

/// A Workspace of a Tenant of its own, with an identity that is known beforehand.
async fn finance_of(platform: &Platform, class: &Manifest<TenantClass>) -> Result<(Manifest<Workspace>, String)> {
    let identity = Uuid::new_v4().to_string();
    let acme = platform.applied(tenant(&unique("acme")).of_class(class)).await?;
    Ok((workspace("finance").of_tenant(&acme).with("identity", identity.as_str()), identity))
}

#[test]
fn a_namespace_with_the_stacks_name_that_is_not_ours_is_named_and_left_alone() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let (finance, identity) = finance_of(platform, &onprem).await?;
        let stack = stack_namespace(&finance, &identity.parse()?)?;
        platform.control_namespace(&stack).await?;
        let config_maps: Api<ConfigMap> = Api::namespaced(platform.client.clone(), &stack);
        let theirs: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "theirs" } }))?;
        config_maps.create(&PostParams::default(), &theirs).await?;
        let namespaces: Api<Namespace> = Api::all(platform.client.clone());
        let before = namespaces.get(&stack).await?;

        platform.apply(&finance).await?;
        let stalled = platform.until_reason(&finance, names::NAMESPACE_TAKEN).await?;
        assert_stalled(&stalled, names::ISOLATED, &[&stack]);
        assert_eq!(stalled.status.as_ref().and_then(|status| status.namespace.clone()), None);
        assert_eq!(stalled.status.as_ref().and_then(|status| status.bucket.clone()), None, "isolation comes first");

        // Nor when the Workspace goes.
        platform.delete(&finance).await?;
        platform.until_gone(&finance, &stalled).await?;
        let after = namespaces.get(&stack).await?;
        assert_eq!((after.resource_version(), after.metadata.deletion_timestamp), (before.resource_version(), None));
        for (kind, _) in CHILDREN {
            assert_eq!(children(&platform.client, kind, &stack).list(&ListParams::default()).await?.items.len(), 0);
        }
        config_maps.get("theirs").await?;
        Ok(())
    })
}

/// A stranger's object of the same kind and name, harmless and without a label.
fn theirs(kind: Kind, name: &str) -> Value {
    let body = match kind {
        Kind::NetworkPolicy => json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }),
        Kind::ResourceQuota => json!({ "spec": { "hard": { "pods": "1" } } }),
        Kind::LimitRange => json!({ "spec": { "limits": [] } }),
        _ => json!({ "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none" } }),
    };
    let mut object = body;
    object["apiVersion"] = match kind.group() {
        "" => kind.version().into(),
        group => format!("{group}/{}", kind.version()).into(),
    };
    object["kind"] = kind.name().into();
    object["metadata"] = json!({ "name": name });
    object
}

#[test]
fn an_object_of_somebody_else_with_a_childs_name_is_named_and_left_alone() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let glass = stage.break_glass()?;
        let tell = async |(kind, name): (Kind, &str)| {
            let (finance, _) = finance_of(platform, &onprem).await?;
            platform.apply(&finance).await?;
            platform.until_ready(&finance).await?;
            let stack = platform.stack_of(&finance).await?;
            platform.apply(&finance.clone().with("paused", true)).await?;
            platform.until_reason(&finance, names::PAUSED).await?;
            let api = children(&glass, kind, &stack);
            api.delete(name, &DeleteParams::default()).await?;
            let made = api.create(&PostParams::default(), &serde_json::from_value(theirs(kind, name))?).await?;

            platform.apply(&finance).await?;
            let stalled = platform.until_reason(&finance, names::OBJECT_TAKEN).await?;
            assert_stalled(&stalled, names::ISOLATED, &[kind.name(), &stack, name]);
            assert_eq!(api.get(name).await?.resource_version(), made.resource_version(), "{} {name}", kind.name());

            // The way out that the message names.
            api.delete(name, &DeleteParams::default()).await?;
            let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
            platform.apply(&finance.clone().with("members", members)).await?;
            platform.until_ready(&finance).await?;
            let ours = api.get(name).await?;
            assert!(ours.labels().contains_key(labels::OWNER), "{} {name}", kind.name());
            anyhow::Ok(())
        };
        try_join_all(CHILDREN.into_iter().map(tell)).await?;
        Ok(())
    })
}

#[test]
fn a_bucket_or_key_that_is_not_as_ours_are_is_named_and_left_alone() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let installation = providers::Installation::new(stage.installation.name())?;

        let (finance, identity) = finance_of(platform, &onprem).await?;
        let bucket = providers::owner::bucket(&installation, &providers::Identity::new(&identity)?);
        stage.world.tamper_bucket(&bucket, |bucket| {
            bucket.tags = BTreeMap::from([("steading.dev/installation".to_owned(), "another".to_owned())]);
            bucket.objects = 3;
        });
        let theirs = stage.world.buckets()[&bucket].clone();
        platform.apply(&finance).await?;
        let stalled = platform.until_reason(&finance, names::FOREIGN).await?;
        assert_stalled(&stalled, names::BUCKET_READY, &[&bucket]);
        assert_eq!(stage.world.buckets()[&bucket], theirs);

        // The name of a key is all the mark that it has; one that can be read out is none of ours.
        let identity = Uuid::new_v4().to_string();
        let key = providers::owner::transit_key(&installation, &providers::Identity::new(&identity)?);
        stage.world.tamper_key(&key, |key| key.exportable = true);
        let theirs = stage.world.keys()[&key].clone();
        let globex = tenant(&unique("globex")).of_class(&onprem).with("identity", identity.as_str());
        platform.apply(&globex).await?;
        let stalled = platform.until_reason(&globex, names::KEY_UNFIT).await?;
        assert_stalled(&stalled, names::KEY_READY, &[&key]);
        assert_eq!(stage.world.keys()[&key], theirs);

        // Nobody else is concerned.
        let (sales, _) = finance_of(platform, &onprem).await?;
        platform.apply(&sales).await?;
        platform.until_ready(&sales).await?;
        Ok(())
    })
}

#[test]
fn labels_that_somebody_removes_or_turns_into_those_of_another_come_back_and_nothing_is_made_twice() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let (victim, _) = finance_of(platform, &onprem).await?;
        let (other, other_identity) = finance_of(platform, &onprem).await?;
        platform.apply(&victim).await?;
        platform.apply(&other).await?;
        platform.until_ready(&victim).await?;
        platform.until_ready(&other).await?;
        let glass = stage.break_glass()?;
        let stack = platform.stack_of(&victim).await?;

        let none = json!(null);
        let of_another = json!({ labels::OWNER: other_identity, labels::TENANT: other.namespace(), labels::WORKSPACE: other.name() });
        let unmanaged = json!({ labels::MANAGED_BY: "helm" });
        let tell = async |(kind, name): (Kind, &str)| {
            let api = children(&glass, kind, &stack);
            let ours = api.get(name).await?;
            for stomped in [&none, &of_another, &unmanaged] {
                let patch = Patch::Merge(json!({ "metadata": { "labels": stomped } }));
                api.patch(name, &PatchParams::default(), &patch).await?;
                until(&format!("{} {name} has its labels back after {stomped}", kind.name()), PATIENCE, async || {
                    Ok(api.get_opt(name).await?.is_some_and(|now| now.labels() == ours.labels()))
                })
                .await?;
                assert_eq!(api.get(name).await?.uid(), ours.uid(), "{} {name} after {stomped}", kind.name());
            }
            anyhow::Ok(())
        };
        try_join_all(CHILDREN.into_iter().map(tell)).await?;
        for (kind, most) in
            [(Kind::NetworkPolicy, 4), (Kind::ResourceQuota, 1), (Kind::LimitRange, 1), (Kind::RoleBinding, 2)]
        {
            let all = children(&glass, kind, &stack).list(&ListParams::default()).await?;
            assert_eq!(all.items.len(), most, "{}", kind.name());
        }

        // Those of the namespace itself are fixed, for everybody; but for the one by which it is watched.
        let namespaces: Api<Namespace> = Api::all(glass.clone());
        let ours = namespaces.get(&stack).await?;
        let foreign = Patch::Merge(json!({ "metadata": { "labels": { labels::STACK: other_identity } } }));
        let refused = namespaces.patch(&stack, &PatchParams::default(), &foreign).await.unwrap_err();
        assert!(
            refused.to_string().contains("steading: labels of steading.dev/ on a namespace are fixed"),
            "{refused}"
        );
        let unmanaged = Patch::Merge(json!({ "metadata": { "labels": { labels::MANAGED_BY: null } } }));
        namespaces.patch(&stack, &PatchParams::default(), &unmanaged).await?;
        until("the namespace has its labels back", PATIENCE, async || {
            let now = namespaces.get(&stack).await?;
            Ok(now.labels() == ours.labels() && now.uid() == ours.uid())
        })
        .await?;
        platform.until_ready(&victim).await?;
        platform.until_ready(&other).await?;
        Ok(())
    })
}

#[test]
fn names_that_read_the_same_when_joined_are_two_stacks() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let short = unique("a");
        let one = platform.applied(tenant(&format!("{short}-b")).of_class(&onprem)).await?;
        let two = platform.applied(tenant(&short).of_class(&onprem)).await?;
        let first = platform.applied(workspace("c").of_tenant(&one)).await?;
        let second = platform.applied(workspace("b-c").of_tenant(&two)).await?;
        // As long as names can be.
        let longest = format!("{}-{}", unique("longest"), "x".repeat(12));
        let three = platform.applied(tenant(&longest).of_class(&onprem)).await?;
        let third = platform.applied(workspace(&"w".repeat(27)).of_tenant(&three)).await?;
        let mut stacks = HashSet::new();
        for workspace in [&first, &second, &third] {
            platform.until_ready(workspace).await?;
            stacks.insert(platform.stack_of(workspace).await?);
        }
        assert_eq!(stacks.len(), 3, "{stacks:?}");
        assert_eq!(longest.len(), 27);
        assert!(stacks.iter().all(|stack| stack.len() <= 63), "{stacks:?}");
        Ok(())
    })
}

#[tokio::test]
async fn what_was_made_though_the_answer_got_lost_is_ours_and_is_made_once() -> Result<()> {
    let (stage, wire) = Stage::wired(Tier::One, |_| {}, |_| Verdict::Pass).await?;
    // Each write is carried out, and its answer is lost the first time.
    let mut lost = HashSet::new();
    wire.judge(move |request| {
        let first = request.is_write() && lost.insert((request.method.clone(), request.uri.path().to_owned()));
        if first { Verdict::answer_lost() } else { Verdict::Pass }
    });
    let platform = &stage.platform;
    let onprem = platform.applied(class("onprem")).await?;
    let acme = platform.applied(tenant("acme").of_class(&onprem)).await?;
    let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
    platform.until_ready(&finance).await?;
    platform.until_ready(&acme).await?;

    let stack = platform.stack_of(&finance).await?;
    let ours = ListParams::default().labels(labels::STACK);
    let stacks = Api::<Namespace>::all(platform.client.clone()).list_metadata(&ours).await?;
    assert_eq!(
        stacks.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>().as_slice(),
        std::slice::from_ref(&stack)
    );
    for (kind, name) in CHILDREN {
        children(&platform.client, kind, &stack).get(name).await.with_context(|| format!("{} {name}", kind.name()))?;
    }
    let calls = stage.plane.calls().await?.by_service_account("steading-system", "steading");
    let made = calls.filter(|call| call.verb == "create" && call.target() == "namespaces" && call.code() == 201);
    assert_eq!(made.len(), 1, "{made}");
    assert_eq!(stage.world.buckets().len(), 1);
    Ok(())
}
