use serde_json::json;

use super::*;

#[test]
fn labels_and_annotations_are_owned_one_by_one() {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "acme-finance-abcdef", "uid": "u", "labels": {"a": "1", "b/c": "2"}, "annotations": {"n": "x"}},
    });
    assert_eq!(
        owned(Kind::Namespace, &object),
        json!({"f:metadata": {"f:annotations": {"f:n": {}}, "f:labels": {"f:a": {}, "f:b/c": {}}}})
    );
}

#[test]
fn identity_is_nobodys() {
    let metadata = json!({
        "name": "n", "namespace": "s", "uid": "u", "resourceVersion": "1", "creationTimestamp": "t", "generation": 1,
    });
    assert_eq!(owned(Kind::NetworkPolicy, &json!({"apiVersion": "v", "kind": "k", "metadata": metadata})), json!({}));
}

#[test]
fn the_rules_of_a_policy_are_one_field_however_many_they_are() {
    let object = |ingress| json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"], "ingress": ingress}});
    let expected = json!({"f:spec": {"f:ingress": {}, "f:podSelector": {}, "f:policyTypes": {}}});
    for ingress in [json!([]), json!([{}]), json!([{"from": []}, {"ports": []}])] {
        assert_eq!(owned(Kind::NetworkPolicy, &object(ingress)), expected);
    }
}

#[test]
fn an_empty_selector_is_owned() {
    assert_eq!(
        owned(Kind::NetworkPolicy, &json!({"spec": {"podSelector": {}}})),
        json!({"f:spec": {"f:podSelector": {}}})
    );
}

#[test]
fn the_bounds_of_a_quota_are_owned_one_by_one() {
    assert_eq!(
        owned(Kind::ResourceQuota, &json!({"spec": {"hard": {"pods": "200", "count/jobs.batch": "5"}, "scopes": []}})),
        json!({"f:spec": {"f:hard": {"f:count/jobs.batch": {}, "f:pods": {}}, "f:scopes": {}}})
    );
}

#[test]
fn the_limits_of_a_limit_range_are_one_field() {
    assert_eq!(
        owned(Kind::LimitRange, &json!({"spec": {"limits": [{"type": "Container"}]}})),
        json!({"f:spec": {"f:limits": {}}})
    );
}

#[test]
fn subjects_are_one_field_even_if_there_are_none() {
    let object = json!({"roleRef": {"apiGroup": "g", "kind": "ClusterRole", "name": "n"}, "subjects": []});
    assert_eq!(owned(Kind::RoleBinding, &object), json!({"f:roleRef": {}, "f:subjects": {}}));
}

#[test]
fn a_custom_object_is_owned_field_by_field_and_its_lists_as_a_whole() {
    let spec = json!({"instances": 3, "postgresql": {"parameters": {"a.b": "1"}, "pg_hba": ["x", "y"]}, "plugins": [{"name": "n"}]});
    assert_eq!(
        owned(Kind::Cluster, &json!({"spec": spec})),
        json!({"f:spec": {
            "f:instances": {}, "f:plugins": {},
            "f:postgresql": {"f:parameters": {"f:a.b": {}}, "f:pg_hba": {}},
        }})
    );
}

#[test]
fn what_is_told_apart_by_key_or_value_is_named_by_it() {
    let metadata = json!({
        "finalizers": ["steading.dev/cleanup", "a\"b"],
        "ownerReferences": [{"uid": "u-1", "name": "n", "kind": "k", "apiVersion": "v"}],
    });
    assert_eq!(
        owned(Kind::Namespace, &json!({"metadata": metadata})),
        json!({"f:metadata": {
            "f:finalizers": {r#"v:"steading.dev/cleanup""#: {}, r#"v:"a\"b""#: {}},
            "f:ownerReferences": {r#"k:{"uid":"u-1"}"#: {}},
        }})
    );
}

#[test]
fn empty_maps_are_owned_as_themselves_and_empty_lists_of_items_not_at_all() {
    let metadata = json!({"labels": {}, "finalizers": []});
    assert_eq!(owned(Kind::Namespace, &json!({"metadata": metadata})), json!({"f:metadata": {"f:labels": {}}}));
}

#[test]
fn kinds_are_found_under_their_group_and_plural() {
    let paths = Kind::ALL.map(|kind| format!("{} {} {}", kind.api_version(), kind.plural(), kind.name()));
    assert_eq!(
        paths,
        [
            "v1 namespaces Namespace",
            "networking.k8s.io/v1 networkpolicies NetworkPolicy",
            "v1 resourcequotas ResourceQuota",
            "v1 limitranges LimitRange",
            "rbac.authorization.k8s.io/v1 rolebindings RoleBinding",
            "postgresql.cnpg.io/v1 clusters Cluster",
            "postgresql.cnpg.io/v1 scheduledbackups ScheduledBackup",
            "barmancloud.cnpg.io/v1 objectstores ObjectStore",
            "postgresql.cnpg.io/v1 databaseroles DatabaseRole",
            "apps/v1 deployments Deployment",
            "batch/v1 jobs Job",
            "v1 serviceaccounts ServiceAccount",
            "policy/v1 poddisruptionbudgets PodDisruptionBudget",
        ]
    );
}
