//! What `desired::fields` computes is what a real API server records, for every child of a stack: otherwise drift would be
//! missed, or a child would be written again and again.

// Helpers of tests are tests: clippy.toml lets only functions marked as tests unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use api::{
    Amounts,
    subject::{Member, Owner, Role, SubjectKind},
};
use desired::{
    fields::{self, Kind},
    hash,
    workspace::{Facts, stack},
};
use e2e::{Plane, Tier, unique};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

const MANAGER: &str = api::labels::MANAGER_WORKSPACE;

/// Facts of a Workspace of its own, with as much in them as there can be.
fn full(tenant: &str) -> Facts {
    Facts {
        tenant: tenant.parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: uuid::Uuid::new_v4().to_string().parse().unwrap(),
        owners: vec![Owner { kind: SubjectKind::Group, name: "acme-admins".into() }],
        members: vec![
            Member { kind: SubjectKind::Group, name: "acme-readers".into(), role: Role::Viewer },
            Member { kind: SubjectKind::User, name: "erin@acme.example".into(), role: Role::Editor },
        ],
        granted: Amounts { cpu: Some(16_000), memory: Some(64 << 30), storage: Some(500 << 30), agents: None },
        database: None,
        agents: Some(("steading-system".into(), "steading".into())),
    }
}

/// As little as there can be: nobody is bound, nothing is limited.
fn empty(tenant: &str) -> Facts {
    Facts { owners: Vec::new(), members: Vec::new(), granted: Amounts::default(), ..full(tenant) }
}

/// The smallest amounts that a spec can name.
fn smallest(tenant: &str) -> Facts {
    Facts {
        granted: Amounts { cpu: Some(1), memory: Some(1 << 20), storage: Some(1 << 20), agents: None },
        ..full(tenant)
    }
}

/// Every child as it is sent.
fn children(facts: &Facts) -> Vec<(Kind, Value)> {
    stack(facts).children().into_iter().map(|(kind, object)| (kind, hash::stamp(object, None))).collect()
}

fn api_of(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.name());
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
    if kind.is_namespaced() {
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap()
}

/// Our entry in the managedFields of what the server answered.
fn entry_of(object: &DynamicObject) -> Value {
    let entries = object.metadata.managed_fields.iter().flatten();
    let ours = entries
        .filter(|entry| entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply"));
    let fields: Vec<_> = ours.map(|entry| entry.fields_v1.as_ref().unwrap().0.clone()).collect();
    let [fields] = &fields[..] else { panic!("one entry of ours, not {fields:?}") };
    fields.clone()
}

async fn apply(client: &Client, kind: Kind, namespace: &str, object: &Value) -> DynamicObject {
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply(MANAGER).force()
    };
    api_of(client, kind, namespace).patch(name_of(object), &parameters, &Patch::Apply(object)).await.unwrap()
}

/// A stack that stands, in the order in which the operator makes it: the namespace is first created bare.
async fn stand(client: &Client, facts: &Facts) -> Vec<(Kind, Value, DynamicObject)> {
    let bare = serde_json::from_value(json!(stack(facts).namespace)).unwrap();
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let created = api_of(client, Kind::Namespace, "").create(&parameters, &bare).await.unwrap();
    let namespace = facts.namespace().to_string();
    let mut applied = Vec::new();
    for (kind, mut object) in children(facts) {
        if kind == Kind::Namespace {
            object["metadata"]["uid"] = json!(created.metadata.uid);
        }
        let answer = apply(client, kind, &namespace, &object).await;
        applied.push((kind, object, answer));
    }
    applied
}

/// Somebody else changes an object by a plain patch, as `kubectl edit` would.
async fn edit(client: &Client, kind: Kind, namespace: &str, name: &str, change: Value) -> DynamicObject {
    let parameters = PatchParams { field_manager: Some("mallory".into()), ..PatchParams::default() };
    api_of(client, kind, namespace).patch(name, &parameters, &Patch::Merge(change)).await.unwrap()
}

#[tokio::test]
async fn the_server_records_exactly_the_fields_that_we_compute() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    for facts in [full, empty, smallest].map(|facts| facts(&unique("acme"))) {
        for (kind, object, answer) in stand(&client, &facts).await {
            let (recorded, computed) = (entry_of(&answer), fields::owned(kind, &object));
            assert_eq!(recorded, computed, "{kind:?} {}", name_of(&object));
            assert_eq!(hash::of_fields(&recorded), hash::of_fields(&computed));
        }
    }
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    let facts = full(&unique("acme"));
    for (kind, object, first) in stand(&client, &facts).await {
        let second = apply(&client, kind, facts.namespace().as_str(), &object).await;
        assert_eq!((&second.data, entry_of(&second)), (&first.data, entry_of(&first)), "{kind:?} {}", name_of(&object));
        // The server stores no empty list, sees one in what is applied, and takes that for a change that it writes down.
        let rewritten = ["deny-all", "agents-ingress"].contains(&name_of(&object));
        let (before, after) = (&first.metadata.resource_version, &second.metadata.resource_version);
        assert_eq!(before != after, rewritten, "{kind:?} {}", name_of(&object));
    }
}

#[tokio::test]
async fn the_stamp_on_the_server_is_the_hash_of_what_was_sent() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    for (kind, mut object, answer) in stand(&client, &full(&unique("acme"))).await {
        // The UID is added to a stamped namespace, so that it is no part of the hash.
        object["metadata"].as_object_mut().unwrap().remove("uid");
        let stamp = answer.metadata.annotations.unwrap().remove(api::labels::DESIRED_HASH).unwrap();
        assert_eq!(stamp, hash::of(&object, None), "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_added_to_a_list_that_we_left_empty_on_purpose_takes_it_from_us() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    let facts = empty(&unique("acme"));
    stand(&client, &facts).await;
    let namespace = facts.namespace().to_string();
    let mallory = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}]);
    for (kind, name, change, lost) in [
        (Kind::NetworkPolicy, "deny-all", json!({"spec": {"ingress": [{}]}}), "/f:spec/f:ingress"),
        (Kind::NetworkPolicy, "deny-all", json!({"spec": {"egress": [{}]}}), "/f:spec/f:egress"),
        (
            Kind::NetworkPolicy,
            "deny-all",
            json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
            "/f:spec/f:podSelector",
        ),
        // No scope goes with a count of Services, so whoever wants one takes that out in the same edit.
        (
            Kind::ResourceQuota,
            "steading",
            json!({"spec": {"hard": null, "scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "Exists"}]}}}),
            "/f:spec/f:scopeSelector",
        ),
        (Kind::RoleBinding, "steading-viewers", json!({"subjects": mallory}), "/f:subjects"),
        (Kind::RoleBinding, "steading-editors", json!({"subjects": mallory}), "/f:subjects"),
    ] {
        let before = entry_of(&api_of(&client, kind, &namespace).get(name).await.unwrap());
        let after = entry_of(&edit(&client, kind, &namespace, name, change).await);
        assert!(before.pointer(lost).is_some() && after.pointer(lost).is_none(), "{name}: {lost} in {after}");
        let (_, object) =
            children(&facts).into_iter().find(|(other, object)| *other == kind && name_of(object) == name).unwrap();
        let restored = apply(&client, kind, &namespace, &object).await;
        assert_eq!(entry_of(&restored), before, "{name}");
        assert!(!restored.data.to_string().contains("mallory"), "{name}: {}", restored.data);
        assert!(!restored.data.to_string().contains("BestEffort"), "{name}: {}", restored.data);
    }
}

#[tokio::test]
async fn the_scope_of_a_quota_cannot_be_narrowed() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    let facts = full(&unique("acme"));
    stand(&client, &facts).await;
    let quotas = api_of(&client, Kind::ResourceQuota, facts.namespace().as_str());
    let narrowed = json!({"spec": {"scopes": ["BestEffort"]}});
    let refused = quotas.patch("steading", &PatchParams::default(), &Patch::Merge(narrowed)).await.unwrap_err();
    assert!(refused.to_string().contains("spec.scopes"), "{refused}");
}

#[tokio::test]
async fn a_field_that_is_not_ours_changes_nothing_in_our_entry() {
    let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
    let facts = empty(&unique("acme"));
    for (kind, object, before) in stand(&client, &facts).await {
        let change =
            json!({"metadata": {"labels": {"example.com/colour": "green"}, "annotations": {"example.com/note": "x"}}});
        let after = edit(&client, kind, facts.namespace().as_str(), name_of(&object), change).await;
        assert_eq!(entry_of(&after), entry_of(&before), "{kind:?} {}", name_of(&object));
    }
}
