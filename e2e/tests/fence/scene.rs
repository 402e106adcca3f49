//! Where the fence is attacked. In: nothing. Out: a control plane with the chart installed, everybody who may try, and stacks as
//! Steading makes them.
//!
//! Everybody has every right that RBAC can give: whatever is refused here, the fence refused.

use std::collections::BTreeMap;

use api::amounts::ResourceText;
use api::subject::{Member, Owner, Role, SubjectKind};
use api::{Amounts, labels};
use desired::fields::Kind;
use desired::workspace::{Facts, stack};
use e2e::{Installation, Plane, Tier, install, unique};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::caller::{Caller, Request, apply, create, merge};

/// The group that the chart is told may break the glass.
pub const BREAK_GLASS: &str = "steading-break-glass";
/// The group that RBAC lets do everything.
const ALMIGHTY: &str = "fence-almighty";
/// Where Steading runs.
pub const OWN_NAMESPACE: &str = "steading-system";
/// Names a rule that is to be made always true, such as `steading-stacks/0`: so `fence-negate` sees who notices.
const NEGATE: &str = "STEADING_FENCE_NEGATE";

/// The control plane of this test binary with the chart on it.
pub struct Scene {
    pub plane: &'static Plane,
}

/// A stack as Steading makes it.
pub struct Stood {
    /// Its namespace.
    pub namespace: String,
    /// Of what it was made.
    pub facts: Facts,
}

impl Scene {
    /// The scene; set up by the first test that asks.
    pub async fn set() -> Self {
        static SET: OnceCell<()> = OnceCell::const_new();
        let plane = Plane::shared(Tier::One).await.unwrap();
        SET.get_or_init(|| set_up(plane)).await;
        Self { plane }
    }

    fn caller(&self, name: &'static str, user: &str, groups: &[&str]) -> Caller {
        Caller::new(name, self.plane.client_for(user, groups).unwrap())
    }

    /// The operator's own token, with far more rights than the chart gives.
    pub async fn operator(&self) -> Caller {
        Caller::new("the operator", self.plane.service_account_client(OWN_NAMESPACE, "steading").await.unwrap())
    }

    /// `system:masters`, to set things up outside of stacks.
    pub fn admin(&self) -> Caller {
        Caller::new("the cluster administrator", self.plane.admin().unwrap())
    }

    /// Everybody whom the fence keeps out of stacks.
    pub fn outsiders(&self) -> Vec<Caller> {
        vec![
            self.caller("a member of the tenant", "mia", &["acme-finance", ALMIGHTY]),
            self.caller("another tenant's owner", "otto", &["globex-admins", ALMIGHTY]),
            self.caller("an editor of the control namespace", "edith", &["acme-developers", ALMIGHTY]),
            self.admin(),
            self.caller(
                "a ServiceAccount of Steading's namespace",
                "system:serviceaccount:steading-system:default",
                &["system:serviceaccounts:steading-system", ALMIGHTY],
            ),
            self.caller(
                "a namesake of the operator",
                "system:serviceaccount:acme:steading",
                &["system:serviceaccounts:acme", ALMIGHTY],
            ),
        ]
    }

    /// One of the outsiders, where who it is makes no difference any more.
    pub fn member(&self) -> Caller {
        self.caller("a member of the tenant", "mia", &["acme-finance", ALMIGHTY])
    }

    /// Somebody of a break-glass group.
    pub fn break_glass(&self) -> Caller {
        self.caller("somebody who broke the glass", "grace", &[BREAK_GLASS, ALMIGHTY])
    }

    /// CloudNativePG's operator.
    pub fn cnpg(&self) -> Caller {
        self.caller(
            "CloudNativePG's operator",
            "system:serviceaccount:cnpg-system:cnpg-manager",
            &["system:serviceaccounts:cnpg-system", ALMIGHTY],
        )
    }

    /// The operator of its plugin for backups.
    pub fn plugin(&self) -> Caller {
        self.caller(
            "the plugin's operator",
            "system:serviceaccount:cnpg-system:plugin-barman-cloud",
            &["system:serviceaccounts:cnpg-system", ALMIGHTY],
        )
    }

    /// An instance of the database of a stack, or of whatever calls itself so elsewhere.
    pub fn instance(&self, namespace: &str) -> Caller {
        let group = format!("system:serviceaccounts:{namespace}");
        self.caller("an instance", &format!("system:serviceaccount:{namespace}:database"), &[&group, ALMIGHTY])
    }

    /// The instance into which the backups of a stack's database are restored for a drill, or whatever calls itself so elsewhere.
    pub fn drill_instance(&self, namespace: &str) -> Caller {
        let group = format!("system:serviceaccounts:{namespace}");
        let user = format!("system:serviceaccount:{namespace}:database-drill");
        self.caller("the instance of a drill", &user, &[&group, ALMIGHTY])
    }

    /// Those who are called like the keepers of databases and are none.
    pub fn namesakes(&self) -> Vec<Caller> {
        let account = |user: &str| self.caller("a namesake", &format!("system:serviceaccount:{user}"), &[ALMIGHTY]);
        [
            "acme:cnpg-manager",
            "acme:plugin-barman-cloud",
            "cnpg-system:default",
            "cnpg-system:database",
            "acme:database",
            "acme:database-drill",
        ]
        .map(account)
        .into()
    }

    /// A controller of the cluster.
    pub fn controller(&self) -> Caller {
        self.caller(
            "a controller in kube-system",
            "system:serviceaccount:kube-system:some-controller",
            &["system:serviceaccounts:kube-system", ALMIGHTY],
        )
    }

    /// All whom the fence takes for the cluster itself.
    pub fn cluster(&self) -> Vec<Caller> {
        vec![
            self.controller(),
            self.caller("the controller manager", "system:kube-controller-manager", &[ALMIGHTY]),
            self.caller("the scheduler", "system:kube-scheduler", &[ALMIGHTY]),
            self.caller("a kubelet", "fake-kubelet", &["system:nodes", ALMIGHTY]),
        ]
    }

    /// A new namespace that is nobody's.
    pub async fn namespace(&self, purpose: &str) -> String {
        let name = unique(purpose);
        let body = json!({ "metadata": { "name": name } });
        self.admin().may(&create("/api/v1/namespaces", body)).await;
        self.default_account(&name).await;
        name
    }

    /// A new class that everybody here may use, by RBAC.
    pub async fn class(&self) -> String {
        let name = unique("class");
        self.admin().may(&create("/apis/steading.dev/v1alpha1/tenantclasses", class(&name))).await;
        name
    }

    /// A new stack: made by the operator, exactly of what `desired` says.
    pub async fn stack(&self) -> Stood {
        let facts = facts();
        let stood = Stood { namespace: facts.namespace().to_string(), facts };
        let operator = self.operator().await;
        for request in requests_for(&stood.facts) {
            operator.may(&request).await;
        }
        self.default_account(&stood.namespace).await;
        stood
    }

    /// What the controller for ServiceAccounts would make; this control plane has none.
    async fn default_account(&self, namespace: &str) {
        let account = json!({ "metadata": { "name": "default" } });
        self.controller().may(&create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account)).await;
    }
}

impl Stood {
    /// The path of a kind of the core group in this stack.
    pub fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// The path of a kind of another group, such as `networking.k8s.io/v1`, in this stack.
    pub fn of(&self, group_version: &str, plural: &str) -> String {
        format!("/apis/{group_version}/namespaces/{}/{plural}", self.namespace)
    }

    /// The path of the namespace itself.
    pub fn itself(&self) -> String {
        format!("/api/v1/namespaces/{}", self.namespace)
    }

    /// The objects that isolate the stack, by path.
    pub fn isolation(&self) -> Vec<String> {
        children(&self.facts).into_iter().map(|(path, _)| path).collect()
    }
}

/// The objects that isolate a stack, by path, in the order in which the operator sends them.
fn children(facts: &Facts) -> Vec<(String, Value)> {
    let path = |kind: Kind, object: &Value| {
        let version = object["apiVersion"].as_str().unwrap();
        let root = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
        format!(
            "{root}/namespaces/{}/{}/{}",
            facts.namespace(),
            kind.plural(),
            object["metadata"]["name"].as_str().unwrap()
        )
    };
    let children = stack(facts).children().into_iter().filter(|(kind, _)| kind.is_namespaced());
    children.map(|(kind, object)| (path(kind, &object), object)).collect()
}

/// What the operator sends for a stack, in its order.
pub fn requests_for(facts: &Facts) -> Vec<Request> {
    let namespace = json(&stack(facts).namespace);
    let whole = apply(&format!("/api/v1/namespaces/{}", facts.namespace()), namespace.clone());
    let mut requests = vec![create("/api/v1/namespaces", namespace), whole];
    requests.extend(children(facts).into_iter().map(|(path, body)| apply(&path, body)));
    requests
}

fn json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Facts of a stack that is no other test's.
pub fn facts() -> Facts {
    let amounts =
        ResourceText { cpu: Some("4".into()), memory: Some("8Gi".into()), storage: Some("20Gi".into()), agents: None };
    Facts {
        tenant: unique("acme").parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: uuid::Uuid::new_v4().to_string().parse().unwrap(),
        owners: vec![Owner { kind: SubjectKind::Group, name: "acme-admins".into() }],
        members: vec![Member { kind: SubjectKind::Group, name: "acme-finance".into(), role: Role::Viewer }],
        granted: Amounts::parse(&amounts).unwrap(),
        database: None,
        agents: None,
    }
}

/// The labels with which the operator makes the namespace of these facts.
pub fn namespace_labels(facts: &Facts) -> BTreeMap<String, String> {
    stack(facts).namespace.metadata.labels.unwrap()
}

/// A TenantClass without servers: nobody here calls them.
pub fn class(name: &str) -> Value {
    json!({
        "apiVersion": "steading.dev/v1alpha1",
        "kind": "TenantClass",
        "metadata": { "name": name },
        "spec": {
            "residency": { "regions": ["site-a"] },
            "keys": { "openbao": {
                "region": "site-a",
                "address": "https://openbao.example:8200",
                "mount": "transit",
                "auth": { "mount": "kubernetes", "role": "steading", "audience": "openbao" },
                "rotationPeriod": { "default": "90d", "min": "1d", "max": "365d" },
            }},
            "buckets": { "s3": {
                "region": "site-a",
                "endpoint": "https://s3.example:9000",
                "credentials": { "secret": "s3" },
                "allowProviderManagedEncryption": true,
            }},
            "network": { "enforcement": "Assumed" },
        },
    })
}

/// A Tenant.
pub fn tenant(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "steading.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": name },
        "spec": { "class": class },
    })
}

/// A Workspace.
pub fn workspace(name: &str) -> Value {
    json!({
        "apiVersion": "steading.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": { "name": name },
        "spec": {},
    })
}

/// An AgentPool.
pub fn agent_pool(name: &str) -> Value {
    let image = format!("registry.example/desktop@sha256:{}", "0".repeat(64));
    let desktop = json!({ "image": image, "resources": { "cpu": "1", "memory": "1Gi" } });
    json!({
        "apiVersion": "steading.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": { "name": name },
        "spec": { "workspace": "finance", "replicas": 1, "desktop": desktop },
    })
}

/// The path of Tenants, Workspaces or AgentPools in a namespace.
pub fn ours(namespace: &str, plural: &str) -> String {
    format!("/apis/steading.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

async fn set_up(plane: &'static Plane) {
    let admin = Caller::new("the cluster administrator", plane.admin().unwrap());
    // The chart comes first: it must not need these kinds.
    install_chart(plane).await;
    crate::kinds::define(&admin).await;
    let everything = json!({
        "metadata": { "name": ALMIGHTY },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [
            { "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": ALMIGHTY },
            { "kind": "ServiceAccount", "namespace": OWN_NAMESPACE, "name": "steading" },
        ],
    });
    admin.may(&create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", everything)).await;
    if let Ok(rule) = std::env::var(NEGATE) {
        negate(&admin, &rule).await;
    }
    install::policies_are_in_force(&plane.admin().unwrap()).await.unwrap();
    rights_are_in_force(plane).await;
}

async fn install_chart(plane: &Plane) {
    let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
    Installation::install(plane, "fence", &values).await.unwrap();
}

/// Makes one rule always true.
async fn negate(admin: &Caller, rule: &str) {
    let (policy, index) = rule.split_once('/').expect("a rule is written as policy/index");
    let index: usize = index.parse().expect("a rule is written as policy/index");
    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}");
    let mut validations = admin.get(&path).await["spec"]["validations"].clone();
    validations[index]["expression"] = json!("true");
    admin.may(&merge(&path, json!({ "spec": { "validations": validations } }))).await;
}

/// Waits until the binding to `cluster-admin` has reached the authorizer.
async fn rights_are_in_force(plane: &Plane) {
    let everybody = Caller::new("somebody of the almighty group", plane.client_for("mia", &[ALMIGHTY]).unwrap());
    let operator = Caller::new("the operator", plane.service_account_client(OWN_NAMESPACE, "steading").await.unwrap());
    for caller in [everybody, operator] {
        e2e::wait::until("everybody may do everything", std::time::Duration::from_secs(30), async || {
            Ok(caller.tries(&crate::caller::read("/api/v1/nodes")).await.is_ok())
        })
        .await
        .unwrap();
    }
}

/// The labels that mark a child of these facts.
pub fn child_labels(facts: &Facts) -> BTreeMap<String, String> {
    labels::of_workspace(&facts.tenant, &facts.workspace, &facts.identity)
}
