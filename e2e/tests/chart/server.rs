//! A real API server with the chart on it. In: nothing. Out: everybody's clients, a stack, and requests with their answers.

use api::subject::{Member, Owner, Role, SubjectKind};
use desired::workspace::Facts;
use e2e::{Installation, Plane, Tier, unique};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the chart is installed.
pub const OWN_NAMESPACE: &str = "steading-system";

/// A refusal, or any other answer that is no success.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

impl Refusal {
    /// Whether RBAC refused, and not a policy or anything else.
    pub fn is_by_rbac(&self) -> bool {
        let says = self.message.contains("\" cannot ") || self.message.contains("attempting to grant RBAC permissions");
        self.code == 403 && says && !self.message.contains("ValidatingAdmissionPolicy")
    }
}

/// One request. `APPLY` is a PATCH with the body as an apply configuration, `MERGE` one with a merge patch.
pub async fn ask(client: &Client, verb: &str, path: &str, body: Value) -> Result<Value, Refusal> {
    let (method, content) = match verb {
        "APPLY" => ("PATCH", "application/apply-patch+yaml"),
        "MERGE" => ("PATCH", "application/merge-patch+json"),
        other => (other, "application/json"),
    };
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
    match client.request_text(request).await {
        Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
        Err(kube::Error::Api(status)) => Err(Refusal { code: status.code, message: status.message.clone() }),
        Err(error) => panic!("{verb} {path} got no answer: {error}"),
    }
}

/// Reads.
pub async fn get(client: &Client, path: &str) -> Result<Value, Refusal> {
    ask(client, "GET", path, Value::Null).await
}

/// Whether RBAC lets the client do this, by its own review.
pub async fn has_right(client: &Client, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    });
    let answer = ask(client, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await.unwrap();
    answer["status"]["allowed"] == true
}

/// The control plane of this tier with the chart on it, shared by the tests of this binary.
pub async fn installed(tier: Tier) -> (&'static Plane, &'static Installation) {
    static ONE: OnceCell<Installation> = OnceCell::const_new();
    static TWO: OnceCell<Installation> = OnceCell::const_new();
    let plane = Plane::shared(tier).await.unwrap();
    let cell = if tier == Tier::One { &ONE } else { &TWO };
    let installation = cell.get_or_init(|| async { Installation::install(plane, "chart", &json!({})).await.unwrap() });
    (plane, installation.await)
}

/// A stack, made by the operator with the rights that the chart gives it.
pub struct Stack {
    pub namespace: String,
    /// A group whose members are viewers there.
    pub viewers: String,
    /// A group whose members are editors there.
    pub editors: String,
    /// A group that owns the tenant.
    pub owners: String,
}

impl Stack {
    /// Makes one of its own for a test.
    pub async fn stand(plane: &Plane, installation: &Installation) -> Self {
        let (viewers, editors, owners) = (unique("viewers"), unique("editors"), unique("owners"));
        let member = |name: &str, role| Member { kind: SubjectKind::Group, name: name.to_owned(), role };
        let facts = Facts {
            tenant: unique("acme").parse().unwrap(),
            workspace: "finance".parse().unwrap(),
            identity: uuid::Uuid::new_v4().to_string().parse().unwrap(),
            owners: vec![Owner { kind: SubjectKind::Group, name: owners.clone() }],
            members: vec![member(&viewers, Role::Viewer), member(&editors, Role::Editor)],
            granted: api::Amounts::default(),
            database: None,
            agents: None,
        };
        let operator = installation.operator_client(plane).await.unwrap();
        let stack = Self { namespace: facts.namespace().to_string(), viewers, editors, owners };
        let bare = serde_json::to_value(desired::workspace::stack(&facts).namespace).unwrap();
        ask(&operator, "POST", "/api/v1/namespaces", bare).await.unwrap();
        for (path, object) in stack.children(&facts) {
            ask(&operator, "APPLY", &format!("{path}?fieldManager=chart-test&force=true"), object).await.unwrap();
        }
        for group in [&stack.viewers, &stack.editors, &stack.owners] {
            let client = plane.client_for("waiting", &[group]).unwrap();
            e2e::wait::until("the binding is in force", std::time::Duration::from_secs(30), async || {
                Ok(has_right(&client, "list", "", "pods", &stack.namespace).await)
            })
            .await
            .unwrap();
        }
        stack
    }

    fn children(&self, facts: &Facts) -> Vec<(String, Value)> {
        let made = desired::workspace::stack(facts);
        let json = |object: Result<Value, serde_json::Error>| object.unwrap();
        let (network, rbac) = ("/apis/networking.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1");
        let objects = [
            (network, "networkpolicies", json(serde_json::to_value(&made.deny_all))),
            (network, "networkpolicies", json(serde_json::to_value(&made.allow_parts_ingress))),
            (network, "networkpolicies", json(serde_json::to_value(&made.allow_parts_egress))),
            (network, "networkpolicies", json(serde_json::to_value(&made.allow_dns))),
            ("/api/v1", "resourcequotas", json(serde_json::to_value(&made.quota))),
            ("/api/v1", "limitranges", json(serde_json::to_value(&made.limits))),
            (rbac, "rolebindings", json(serde_json::to_value(&made.viewers))),
            (rbac, "rolebindings", json(serde_json::to_value(&made.editors))),
        ];
        let path = |root: &str, plural: &str, object: &Value| {
            format!("{root}/namespaces/{}/{plural}/{}", self.namespace, object["metadata"]["name"].as_str().unwrap())
        };
        objects.into_iter().map(|(root, plural, object)| (path(root, plural, &object), object)).collect()
    }

    /// The path of a kind of the core group in this stack.
    pub fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// The objects that isolate the stack.
    pub fn isolation(&self) -> Vec<String> {
        let of = |group: &str, rest: &str| format!("/apis/{group}/v1/namespaces/{}/{rest}", self.namespace);
        let mut paths: Vec<String> = ["deny-all", "allow-parts-ingress", "allow-parts-egress", "allow-dns"]
            .iter()
            .map(|name| of("networking.k8s.io", &format!("networkpolicies/{name}")))
            .collect();
        paths.extend([self.core("resourcequotas/steading"), self.core("limitranges/steading")]);
        paths.extend(
            ["viewers", "editors"].map(|who| of("rbac.authorization.k8s.io", &format!("rolebindings/steading-{who}"))),
        );
        paths
    }
}
