//! The RoleBindings of a stack: who may look into it. The roles are the chart's; none lets anybody change isolation.

use std::collections::BTreeSet;

use api::{
    ConsumerNamespace,
    subject::{Role, SubjectKind},
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};

use super::metadata;
use crate::workspace::Facts;

/// The API group of users, groups and roles.
const RBAC: &str = "rbac.authorization.k8s.io";
/// The chart's ClusterRole for reading without Secrets and logs.
const VIEWER_ROLE: &str = "steading-stack-viewer";
/// The chart's ClusterRole for what a viewer reads, and logs.
const EDITOR_ROLE: &str = "steading-stack-editor";
/// The chart's ClusterRole for writing the Secret of a database.
const OPERATOR_ROLE: &str = "steading-stack-operator";

/// The chart's ClusterRole for making agents and taking them away.
const AGENTS_ROLE: &str = "steading-agents-operator";
/// The chart's ClusterRole for writing the Secret of a consumer.
const CONSUMER_ROLE: &str = "steading-consumer-operator";

/// A user or group once, in the order in which bindings list them.
type Person = (SubjectKind, String);

/// The members who are viewers. Whoever is an editor anyway, as member or as owner, is not listed again.
pub(crate) fn viewers(facts: &Facts) -> RoleBinding {
    let editors = editing(facts);
    let viewers = members(facts, Role::Viewer).filter(|person| !editors.contains(person)).collect();
    binding(facts, "steading-viewers", VIEWER_ROLE, viewers)
}

/// The members who are editors, and the Tenant's owners.
pub(crate) fn editors(facts: &Facts) -> RoleBinding {
    binding(facts, "steading-editors", EDITOR_ROLE, editing(facts))
}

fn editing(facts: &Facts) -> BTreeSet<Person> {
    let owners = facts.owners.iter().map(|owner| (owner.kind, owner.name.clone()));
    owners.chain(members(facts, Role::Editor)).collect()
}

fn members(facts: &Facts, role: Role) -> impl Iterator<Item = Person> {
    facts.members.iter().filter(move |member| member.role == role).map(|member| (member.kind, member.name.clone()))
}

/// Lets Steading's own operator write the one Secret of the stack's database. Only here: it has no right to Secrets in general.
pub(crate) fn of_steading(facts: &Facts, (namespace, account): &(String, String)) -> RoleBinding {
    let binding = binding(facts, "steading-operator", OPERATOR_ROLE, BTreeSet::new());
    RoleBinding { subjects: Some(vec![service_account(namespace, account)]), ..binding }
}

/// Lets it make agents and take them away, here and nowhere else.
pub(crate) fn of_agents(facts: &Facts, (namespace, account): &(String, String)) -> RoleBinding {
    let binding = binding(facts, "steading-agents", AGENTS_ROLE, BTreeSet::new());
    RoleBinding { subjects: Some(vec![service_account(namespace, account)]), ..binding }
}

/// Lets it write Secrets in the namespace of a consumer. Named like the stack, so that every Workspace has one of its own there.
pub(crate) fn in_consumers(
    facts: &Facts,
    consumer: &ConsumerNamespace,
    (namespace, account): &(String, String),
) -> RoleBinding {
    let mut binding = binding(facts, facts.namespace().as_str(), CONSUMER_ROLE, BTreeSet::new());
    binding.metadata.namespace = Some(consumer.to_string());
    RoleBinding { subjects: Some(vec![service_account(namespace, account)]), ..binding }
}

fn service_account(namespace: &str, name: &str) -> Subject {
    Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
    }
}

/// A binding stands even if it binds nobody, with an empty list that is ours: so the last member is removed by the same apply
/// as any other, and a subject that somebody adds is seen and taken out.
fn binding(facts: &Facts, name: &str, role: &str, people: BTreeSet<Person>) -> RoleBinding {
    let subject = |(kind, name): Person| Subject {
        api_group: Some(RBAC.to_owned()),
        kind: kind.as_str().to_owned(),
        name,
        namespace: None,
    };
    RoleBinding {
        metadata: metadata(facts, name),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "ClusterRole".to_owned(), name: role.to_owned() },
        subjects: Some(people.into_iter().map(subject).collect()),
    }
}

#[cfg(test)]
mod tests {
    use api::subject::{Member, Owner};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{acme_finance, json_of};

    fn member(kind: SubjectKind, name: &str, role: Role) -> Member {
        Member { kind, name: name.to_owned(), role }
    }

    fn owner(kind: SubjectKind, name: &str) -> Owner {
        Owner { kind, name: name.to_owned() }
    }

    fn people(binding: &RoleBinding) -> Vec<(String, String)> {
        binding.subjects.iter().flatten().map(|subject| (subject.kind.clone(), subject.name.clone())).collect()
    }

    fn named(kind: &str, name: &str) -> (String, String) {
        (kind.to_owned(), name.to_owned())
    }

    #[test]
    fn viewers_and_editors_are_bound_to_their_own_roles() {
        let roles = [viewers, editors].map(|build| {
            let binding = build(&acme_finance());
            (binding.metadata.name.unwrap(), binding.role_ref)
        });
        let role = |name: &str| RoleRef { api_group: RBAC.into(), kind: "ClusterRole".into(), name: name.into() };
        assert_eq!(
            roles,
            [
                ("steading-viewers".into(), role("steading-stack-viewer")),
                ("steading-editors".into(), role("steading-stack-editor")),
            ]
        );
    }

    #[test]
    fn owners_are_editors_and_members_have_the_role_they_were_given() {
        let facts = Facts {
            owners: vec![owner(SubjectKind::Group, "acme-admins")],
            members: vec![
                member(SubjectKind::Group, "acme-auditors", Role::Viewer),
                member(SubjectKind::User, "paula@acme.example", Role::Editor),
            ],
            ..acme_finance()
        };
        assert_eq!(people(&viewers(&facts)), [named("Group", "acme-auditors")]);
        assert_eq!(people(&editors(&facts)), [named("User", "paula@acme.example"), named("Group", "acme-admins")]);
    }

    #[test]
    fn an_owner_who_is_also_a_member_appears_once_and_as_an_editor() {
        for role in [Role::Viewer, Role::Editor] {
            let facts = Facts {
                owners: vec![owner(SubjectKind::Group, "acme-admins")],
                members: vec![member(SubjectKind::Group, "acme-admins", role)],
                ..acme_finance()
            };
            assert_eq!(people(&editors(&facts)), [named("Group", "acme-admins")], "{role:?}");
            assert_eq!(people(&viewers(&facts)), [], "{role:?}");
        }
    }

    #[test]
    fn a_user_and_a_group_of_the_same_name_are_two() {
        let facts = Facts {
            owners: vec![owner(SubjectKind::Group, "night-shift")],
            members: vec![member(SubjectKind::User, "night-shift", Role::Viewer)],
            ..acme_finance()
        };
        assert_eq!(people(&viewers(&facts)), [named("User", "night-shift")]);
        assert_eq!(people(&editors(&facts)), [named("Group", "night-shift")]);
    }

    #[test]
    fn the_order_in_the_spec_does_not_matter() {
        let members =
            vec![member(SubjectKind::User, "zoe", Role::Viewer), member(SubjectKind::User, "ada", Role::Viewer)];
        let reversed = members.iter().rev().cloned().collect();
        let build = |members| viewers(&Facts { members, ..acme_finance() });
        assert_eq!(build(members), build(reversed));
    }

    #[test]
    fn a_binding_without_anybody_still_owns_its_empty_list() {
        let facts = Facts { owners: Vec::new(), members: Vec::new(), ..acme_finance() };
        for build in [viewers, editors] {
            assert_eq!(json_of(&build(&facts)).get("subjects"), Some(&json!([])));
        }
    }

    #[test]
    fn subjects_name_their_api_group_and_no_namespace() {
        let facts = Facts { members: vec![member(SubjectKind::User, "ada", Role::Viewer)], ..acme_finance() };
        assert_eq!(
            json_of(&viewers(&facts)).get("subjects"),
            Some(&json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada"}]))
        );
    }
}
