//! Requests of the operator that the fence must refuse. In: the operator's own namespace, an answer. Out: requests that change
//! nothing whatever happens (`dryRun=All`), and what the answer proves.

use http::{Method, Request, header};
use serde_json::{Value, json};

/// The policy that refuses them all.
const POLICY: &str = "ValidatingAdmissionPolicy 'steading-operator'";
/// Name of what is not there and must not get there.
const NAME: &str = "steading-fence-probe";

/// One request that must be refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    /// What it tries, for messages.
    pub tries: String,
    method: Method,
    path: String,
    content_type: &'static str,
    body: Value,
    /// Part of the message by which the fence refuses it.
    says: &'static str,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As it should be.
    Stands,
    /// Not as it should be.
    Down(String),
    /// Nothing: the API server gave no verdict.
    Unknown(String),
}

/// All probes, for an operator in `namespace`.
pub(super) fn all(namespace: &str) -> Vec<Probe> {
    let create = |what: &str, path: String, body: Value, says| Probe {
        tries: format!("create {what} {NAME}"),
        method: Method::POST,
        path,
        content_type: "application/json",
        body,
        says,
    };
    let metadata = json!({ "name": NAME, "namespace": namespace });
    let there = |resource: &str, api: &str, body: Value, says| {
        create(resource, format!("/{api}/namespaces/{namespace}/{resource}"), body, says)
    };
    let only_stacks = "only in stack namespaces";
    let viewer =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "steading-stack-viewer" });
    vec![
        create(
            "namespace",
            "/api/v1/namespaces".to_owned(),
            json!({ "metadata": { "name": NAME } }),
            "the operator makes only stack namespaces",
        ),
        Probe {
            tries: format!("annotate namespace {namespace}"),
            method: Method::PATCH,
            path: format!("/api/v1/namespaces/{namespace}"),
            content_type: "application/merge-patch+json",
            body: json!({ "metadata": { "annotations": { "steading.dev/probe": "" } } }),
            says: "changes and deletes only stack namespaces",
        },
        there(
            "networkpolicies",
            "apis/networking.k8s.io/v1",
            json!({ "metadata": metadata, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }),
            only_stacks,
        ),
        there("resourcequotas", "api/v1", json!({ "metadata": metadata, "spec": {} }), only_stacks),
        there("limitranges", "api/v1", json!({ "metadata": metadata, "spec": { "limits": [] } }), only_stacks),
        there(
            "rolebindings",
            "apis/rbac.authorization.k8s.io/v1",
            json!({ "metadata": metadata, "roleRef": viewer }),
            only_stacks,
        ),
        there(
            "leases",
            "apis/coordination.k8s.io/v1",
            json!({ "metadata": metadata, "spec": {} }),
            "the operator has one Lease",
        ),
    ]
}

impl Probe {
    /// The request. Whatever is wrong with the fence, it leaves nothing behind.
    pub fn request(&self) -> Result<Request<Vec<u8>>, http::Error> {
        Request::builder()
            .method(self.method.clone())
            .uri(format!("{}?dryRun=All", self.path))
            .header(header::CONTENT_TYPE, self.content_type)
            .body(self.body.to_string().into_bytes())
    }

    /// What its answer proves. Only a refusal in the fence's own words counts: RBAC refuses as well, and proves nothing.
    pub fn judge(&self, answer: Result<Value, kube::Error>) -> Found {
        let tries = &self.tries;
        match answer {
            Ok(_) => Found::Down(format!("the operator could {tries}: the fence did not refuse it")),
            Err(kube::Error::Api(status)) if status.code == 429 || status.code >= 500 => {
                Found::Unknown(format!("no verdict on: {tries} (answer {})", status.code))
            }
            Err(kube::Error::Api(status)) => {
                let said = &status.message;
                if said.contains(POLICY) && said.contains("steading: ") && said.contains(self.says) {
                    Found::Stands
                } else {
                    let said: String = said.chars().take(200).collect();
                    Found::Down(format!("{tries}: refused ({}), but not by the fence: {said}", status.code))
                }
            }
            Err(error) => Found::Unknown(format!("no verdict on: {tries} ({error})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{Status, response::StatusSummary};

    use super::*;
    use crate::config::CloudNativePg;

    fn refused(code: u16, message: &str) -> Result<Value, kube::Error> {
        Err(kube::Error::Api(Box::new(Status {
            status: Some(StatusSummary::Failure),
            code,
            message: message.to_owned(),
            metadata: None,
            reason: String::new(),
            details: None,
        })))
    }

    #[test]
    fn only_a_refusal_in_the_words_of_the_fence_proves_anything() {
        let probe = &all("farm")[0];
        let ours = "… ValidatingAdmissionPolicy 'steading-operator' with binding … denied request: steading: the operator makes only stack namespaces; …";
        assert_eq!(probe.judge(refused(403, ours)), Found::Stands);
        let other_rule = ours.replace("makes only stack namespaces", "has one Lease");
        let other_policy = ours.replace("steading-operator", "somebody-elses");
        for message in [other_rule.as_str(), other_policy.as_str(), "namespaces is forbidden: User \"x\" cannot create"]
        {
            assert!(matches!(probe.judge(refused(403, message)), Found::Down(_)), "{message}");
        }
        assert!(matches!(probe.judge(Ok(json!({}))), Found::Down(why) if why.contains("could create namespace")));
    }

    #[test]
    fn no_verdict_is_neither_good_nor_bad() {
        let probe = &all("farm")[0];
        for code in [429, 500, 503, 504] {
            assert!(matches!(probe.judge(refused(code, "later")), Found::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn every_probe_is_a_dry_run() {
        for probe in all("farm") {
            assert_eq!(probe.request().unwrap().uri().query(), Some("dryRun=All"), "{}", probe.tries);
        }
    }

    #[test]
    fn the_fence_has_a_rule_with_the_words_of_each_probe() {
        let policies = super::super::expected::policies("farm", &[], &CloudNativePg::default()).unwrap();
        let operator = policies.iter().find(|policy| POLICY.contains(&format!("'{}'", policy.name))).unwrap();
        let rules = operator.spec["validations"].as_array().unwrap();
        for probe in all("farm") {
            let has = |rule: &Value, field: &str| rule[field].as_str().is_some_and(|text| text.contains(probe.says));
            let said = |rule: &Value| has(rule, "message") || has(rule, "messageExpression");
            assert!(rules.iter().any(said), "no rule says {:?}", probe.says);
        }
    }
}
