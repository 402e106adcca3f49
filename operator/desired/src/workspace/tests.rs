use std::{collections::BTreeSet, path::Path};

use api::{
    amounts::ResourceText,
    subject::{Role, SubjectKind},
    tenant::TenantSpec,
    workspace::WorkspaceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    database::NAMES,
    fields::{self, Kind},
    fixtures::{IDENTITY, acme_finance, acme_finance_with_agents, acme_finance_with_database, amounts},
};

/// Every child with its kind, in the order of application.
fn children(facts: &Facts) -> Vec<(Kind, Value)> {
    stack(facts).children()
}

/// Facts with as much and as little as they can hold.
fn varied() -> Vec<Facts> {
    let bare = Facts { owners: Vec::new(), members: Vec::new(), granted: Amounts::default(), ..acme_finance() };
    let tiny = Facts { granted: amounts("1m", "1Mi", "1Mi"), ..bare.clone() };
    vec![acme_finance(), bare, tiny, acme_finance_with_database(), acme_finance_with_agents()]
}

#[test]
fn each_child_has_the_name_that_the_stack_gives_it() {
    let names: Vec<_> = children(&acme_finance())
        .into_iter()
        .map(|(kind, child)| (kind, child["metadata"]["name"].as_str().unwrap().to_owned()))
        .collect();
    let namespace = acme_finance().namespace().to_string();
    let expected = [
        (Kind::Namespace, namespace.as_str()),
        (Kind::NetworkPolicy, "deny-all"),
        (Kind::NetworkPolicy, "allow-parts-ingress"),
        (Kind::NetworkPolicy, "allow-parts-egress"),
        (Kind::NetworkPolicy, "allow-dns"),
        (Kind::ResourceQuota, "steading"),
        (Kind::LimitRange, "steading"),
        (Kind::RoleBinding, "steading-viewers"),
        (Kind::RoleBinding, "steading-editors"),
    ];
    assert_eq!(names, expected.map(|(kind, name)| (kind, name.to_owned())));
    let with_database = children(&acme_finance_with_database());
    let added = with_database.iter().skip(names.len());
    let added: Vec<_> = added.map(|(kind, child)| (*kind, child["metadata"]["name"].as_str().unwrap())).collect();
    assert_eq!(added, NAMES[4..], "what a database adds is known by name, so that it is never pruned");
}

#[test]
fn each_child_says_what_kind_it_is() {
    for (kind, child) in children(&acme_finance()) {
        assert_eq!(
            (child["apiVersion"].as_str(), child["kind"].as_str()),
            (Some(kind.api_version().as_str()), Some(kind.name()))
        );
    }
}

#[test]
fn each_child_carries_the_marks_of_its_workspace() {
    for (kind, child) in children(&acme_finance()) {
        let labels = child["metadata"]["labels"].as_object().unwrap();
        for (key, value) in [
            ("app.kubernetes.io/managed-by", "steading"),
            ("steading.dev/tenant", "acme"),
            ("steading.dev/workspace", "finance"),
            ("steading.dev/owner", IDENTITY),
        ] {
            assert_eq!(labels.get(key), Some(&json!(value)), "{kind:?}");
        }
        assert_eq!(
            labels.contains_key("steading.dev/stack"),
            kind == Kind::Namespace,
            "the fenced label is on namespaces only"
        );
    }
}

#[test]
fn each_namespaced_child_lies_in_the_stack_namespace_and_has_no_owner_elsewhere() {
    for (kind, child) in children(&acme_finance()) {
        let metadata = child["metadata"].as_object().unwrap();
        let expected = kind.is_namespaced().then(|| json!(acme_finance().namespace().as_str()));
        assert_eq!(metadata.get("namespace"), expected.as_ref(), "{kind:?}");
        assert!(
            !metadata.contains_key("ownerReferences"),
            "{kind:?}: the garbage collector would look in the wrong namespace"
        );
    }
}

#[test]
fn every_network_policy_but_deny_all_has_exactly_one_policy_type() {
    for facts in varied() {
        for (_, policy) in children(&facts).into_iter().filter(|(kind, _)| *kind == Kind::NetworkPolicy) {
            let (name, spec) = (policy["metadata"]["name"].as_str().unwrap(), policy["spec"].as_object().unwrap());
            let types: Vec<_> =
                spec["policyTypes"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect();
            let rules = |direction: &str| spec.get(direction).and_then(Value::as_array).map_or(0, Vec::len);
            if name == "deny-all" {
                assert_eq!((types, rules("ingress"), rules("egress")), (vec!["Ingress", "Egress"], 0, 0));
            } else {
                let [only] = types[..] else { panic!("{name} names {types:?}") };
                let (own, other) = if only == "Ingress" { ("ingress", "egress") } else { ("egress", "ingress") };
                // Nobody reaches agents.
                let many = usize::from(name != "agents-ingress");
                assert!(rules(own) == many && spec.contains_key(own) && !spec.contains_key(other), "{name}");
            }
        }
    }
}

#[test]
fn nothing_is_sent_that_says_nothing() {
    // What decides about isolation is ours even where it is empty.
    const EMPTY_ON_PURPOSE: [&str; 5] =
        ["/spec/podSelector", "/spec/ingress", "/spec/egress", "/spec/scopeSelector", "/subjects"];
    fn walk(path: &str, value: &Value, found: &mut Vec<String>) {
        let empty = value.is_null()
            || value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        if empty && !EMPTY_ON_PURPOSE.contains(&path) {
            found.push(path.to_owned());
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            walk(&format!("{path}/{key}"), value, found);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            walk(&format!("{path}/{index}"), value, found);
        }
    }
    for facts in varied() {
        for (kind, child) in children(&facts) {
            let mut found = Vec::new();
            walk("", &child, &mut found);
            assert!(found.is_empty(), "{kind:?}: {found:?}");
            assert!(
                child.get("status").is_none() && child.pointer("/metadata/creationTimestamp").is_none(),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn the_field_tables_know_every_field_that_is_stamped_out() {
    for facts in varied() {
        for (kind, child) in children(&facts) {
            let owned = fields::owned(kind, &child);
            for (section, value) in child.as_object().unwrap() {
                let known: Vec<_> = match section.as_str() {
                    "apiVersion" | "kind" => continue,
                    "roleRef" | "subjects" | "automountServiceAccountToken" => {
                        assert_eq!(owned.get(format!("f:{section}")), Some(&json!({})), "{kind:?}");
                        continue;
                    }
                    "metadata" => value
                        .as_object()
                        .unwrap()
                        .keys()
                        .filter(|key| !["name", "namespace"].contains(&key.as_str()))
                        .collect(),
                    _ => value.as_object().unwrap().keys().collect(),
                };
                for field in known {
                    assert!(
                        owned[format!("f:{section}")].get(format!("f:{field}")).is_some(),
                        "{kind:?}: {section}.{field}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_stack_is_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workspace/acme-finance.json");
    let now: Vec<_> = children(&acme_finance()).into_iter().map(|(_, child)| child).collect();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{:#}\n", Value::Array(now.clone()))).unwrap();
    }
    let reviewed: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (now, reviewed) in now.iter().zip(&reviewed) {
        assert_eq!(now, reviewed, "if this is meant, run the test with UPDATE_SNAPSHOTS=1 and review the difference");
    }
    assert_eq!(now.len(), reviewed.len());
}

#[test]
fn what_agents_add_to_the_stack_is_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workspace/acme-finance-agents.json");
    let without = children(&acme_finance()).len();
    let now: Vec<_> = children(&acme_finance_with_agents()).into_iter().skip(without).map(|(_, child)| child).collect();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{:#}\n", Value::Array(now.clone()))).unwrap();
    }
    let reviewed: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(now, reviewed, "if this is meant, run the test with UPDATE_SNAPSHOTS=1 and review the difference");
}

#[test]
fn agents_are_selected_by_no_policy_that_lets_anything_through_but_to_the_relay() {
    for (kind, policy) in children(&acme_finance_with_agents()) {
        let rules = |direction: &str| policy["spec"][direction].as_array().map_or(0, Vec::len);
        if policy["metadata"]["name"] == "agents-egress" {
            let relay = json!({ "app.kubernetes.io/name": "steading-relay", "app.kubernetes.io/component": "nats" });
            let steading = json!({ "kubernetes.io/metadata.name": "steading-system" });
            let peer = json!({
                "namespaceSelector": { "matchLabels": steading }, "podSelector": { "matchLabels": relay },
            });
            let only = json!([{ "to": [peer], "ports": [{ "protocol": "TCP", "port": 4222 }] }]);
            assert_eq!(policy["spec"]["egress"], only);
        } else if kind == Kind::NetworkPolicy && rules("ingress") + rules("egress") > 0 {
            let selector = policy["spec"]["podSelector"].to_string();
            assert!(selector.contains("steading.dev/part") && !selector.contains("steading.dev/pool"), "{selector}");
        }
    }
}

fn tenant(owners: Vec<Owner>) -> Tenant {
    Tenant {
        metadata: ObjectMeta { name: Some("acme".into()), ..ObjectMeta::default() },
        spec: TenantSpec {
            identity: None,
            class: "on-premises".into(),
            owners,
            encryption: None,
            quota: None,
            deletion_policy: api::tenant::DeletionPolicy::Retain,
            paused: false,
        },
        status: None,
    }
}

fn workspace(members: Vec<Member>) -> Workspace {
    Workspace {
        metadata: ObjectMeta { name: Some("finance".into()), ..ObjectMeta::default() },
        spec: WorkspaceSpec {
            identity: None,
            quota: Some(ResourceText::default()),
            members,
            bucket: None,
            database: None,
            consumers: Vec::new(),
            suspended: false,
            paused: false,
        },
        status: None,
    }
}

fn facts_of(owner: &str, member: &str) -> Result<Facts, InvalidFacts> {
    let owners = vec![Owner { kind: SubjectKind::Group, name: owner.into() }];
    let members = vec![Member { kind: SubjectKind::User, name: member.into(), role: Role::Viewer }];
    Facts::of(&tenant(owners), &workspace(members), IDENTITY.parse().unwrap(), amounts("16", "64Gi", "500Gi"))
}

#[test]
fn facts_are_read_off_tenant_and_workspace() {
    let facts = facts_of("acme-admins", "ada").unwrap();
    assert_eq!(
        facts,
        Facts {
            owners: vec![Owner { kind: SubjectKind::Group, name: "acme-admins".into() }],
            members: vec![Member { kind: SubjectKind::User, name: "ada".into(), role: Role::Viewer }],
            ..acme_finance()
        }
    );
}

#[test]
fn a_subject_of_the_cluster_never_gets_into_the_facts() {
    for (owner, member, field) in [
        ("system:authenticated", "ada", "spec.owners"),
        ("acme-admins", "system:serviceaccount:shop:default", "spec.members"),
    ] {
        let message = facts_of(owner, member).unwrap_err().to_string();
        assert!(message.starts_with(field) && message.contains("system:"), "{message}");
    }
}

#[test]
fn a_hostile_name_never_gets_into_the_facts() {
    let mut hostile = workspace(Vec::new());
    hostile.metadata.name = Some("finance/../../kube-system".into());
    let refused = Facts::of(&tenant(Vec::new()), &hostile, IDENTITY.parse().unwrap(), Amounts::default());
    assert!(matches!(refused, Err(InvalidFacts::Name(_))), "{refused:?}");
}

fn any_name() -> impl Strategy<Value = String> {
    // Few letters and many dashes, so that clashes would be found.
    "[ab]([ab-]{0,4}[ab])?|[a-z0-9]([a-z0-9-]{0,25}[a-z0-9])?"
}

fn any_identity() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
}

fn facts(tenant: &str, workspace: &str, identity: &str) -> Facts {
    Facts {
        tenant: tenant.parse().unwrap(),
        workspace: workspace.parse().unwrap(),
        identity: identity.parse().unwrap(),
        ..acme_finance()
    }
}

fn is_label_value(text: &str) -> bool {
    let inner = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let ends = text
        .bytes()
        .next()
        .zip(text.bytes().last())
        .is_some_and(|(a, z)| a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric());
    (1..=63).contains(&text.len()) && inner && ends
}

proptest! {
    #[test]
    fn names_and_labels_are_legal_whatever_tenant_and_workspace_are_called(tenant in any_name(), workspace in any_name(), identity in any_identity()) {
        let facts = facts(&tenant, &workspace, &identity);
        for (_, child) in children(&facts) {
            let name = child["metadata"]["name"].as_str().unwrap();
            let dns_label = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            prop_assert!(dns_label && is_label_value(name), "{}", name);
            for (key, value) in child["metadata"]["labels"].as_object().unwrap() {
                let (prefix, name) = key.split_once('/').unwrap();
                prop_assert!(prefix.contains('.') && is_label_value(name) && is_label_value(value.as_str().unwrap()), "{}={}", key, value);
            }
        }
    }

    #[test]
    fn two_workspaces_never_share_a_namespace(
        first in (any_name(), any_name(), any_identity()),
        second in (any_name(), any_name(), any_identity()),
    ) {
        // Two live Workspaces never have one identity: the operator refuses the second.
        prop_assume!(first.2 != second.2);
        let name = |(tenant, workspace, identity): &(String, String, String)| facts(tenant, workspace, identity).namespace();
        prop_assert_ne!(name(&first), name(&second));
    }

    #[test]
    fn the_same_facts_give_the_same_stack_whatever_the_order_of_people(seed in any::<u64>()) {
        let member = |number: u64| Member {
            kind: if number.is_multiple_of(2) { SubjectKind::User } else { SubjectKind::Group },
            name: format!("person-{}", number % 7),
            role: if number.is_multiple_of(3) { Role::Editor } else { Role::Viewer },
        };
        let members: Vec<_> = (0..10).map(|step| member(seed.rotate_left(step * 6) % 100)).collect();
        let reversed = members.iter().rev().cloned().collect();
        let build = |members| stack(&Facts { members, ..acme_finance() });
        prop_assert_eq!(build(members), build(reversed));
    }
}

#[test]
fn no_two_children_have_one_kind_and_name() {
    let mut seen = BTreeSet::new();
    for (kind, child) in children(&acme_finance()) {
        let name = child["metadata"]["name"].to_string();
        assert!(seen.insert((kind, name.clone())), "{kind:?} {name}");
    }
}
