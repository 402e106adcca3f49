//! Tenants with pods, and one relay for all of them. In: a name. Out: pods that can sign in.

use std::time::Duration;

use agent_protocol::relay::{AUDIENCE, PodUid};
use api::Tenant;
use api::labels::{STACK, TENANT};
use api::names::Identity;
use e2e::relays::{Caller, Relay, admit_doorkeeper, log};
use e2e::wait::until;
use e2e::{Plane, Tier, unique};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec, TokenReview};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::OnceCell;

/// As whom agents run.
pub const AGENT: &str = "agent";

/// The plane and the relay before it.
pub struct World {
    pub plane: &'static Plane,
    pub relay: Relay,
}

/// The one of all tests but those that break it.
pub async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(new_world).await
}

/// One of one's own, on the same plane.
pub async fn new_world() -> World {
    world_of_several(1).await
}

/// The same with so many servers of NATS.
pub async fn world_of_several(servers: usize) -> World {
    static READY: OnceCell<()> = OnceCell::const_new();
    let plane = Plane::shared(Tier::One).await.unwrap();
    READY.get_or_init(|| prepare(plane)).await;
    World { plane, relay: Relay::start_several(plane, servers).await.unwrap() }
}

async fn prepare(plane: &Plane) {
    let client = plane.admin().unwrap();
    let crds = Api::all(client.clone());
    for crd in api::crds::crds().unwrap() {
        let name = crd.metadata.name.clone().unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap();
        await_condition(crds.clone(), &name, is_crd_established()).await.unwrap();
    }
    admit_doorkeeper(plane).await.unwrap();
}

/// A Tenant with a stack.
pub struct Stack {
    client: Client,
    pub namespace: String,
    pub tenant: String,
    pub identity: Identity,
}

impl World {
    /// A Tenant with an identity, and a stack in which agents can run.
    pub async fn stack(&self) -> Stack {
        let client = self.plane.admin().unwrap();
        let (tenant, namespace) = (unique("acme"), unique("acme-finance"));
        make_namespace(&client, &tenant, &json!({})).await;
        let stack = uuid::Uuid::new_v4().to_string();
        make_namespace(&client, &namespace, &json!({ STACK: stack, TENANT: tenant })).await;
        make_account(&client, &namespace, AGENT).await;
        let tenants: Api<Tenant> = Api::namespaced(client.clone(), &tenant);
        let object = json!({
            "apiVersion": "steading.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": tenant },
            "spec": { "class": "any", "deletionPolicy": "Retain" },
        });
        tenants.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let identity = uuid::Uuid::new_v4().to_string();
        let status = json!({ "status": { "observedGeneration": 1, "identity": identity } });
        tenants.patch_status(&tenant, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        Stack { client, namespace, tenant, identity: identity.parse().unwrap() }
    }

    /// A pod that is signed in.
    pub async fn signed_in(&self, stack: &Stack) -> (PodUid, Caller) {
        let pod = stack.pod().await;
        let token = stack.token(&pod).await;
        (pod.uid.clone(), self.admitted(&token).await)
    }

    /// Somebody whose token must be good.
    pub async fn admitted(&self, token: &SecretString) -> Caller {
        match Caller::with_token(&self.relay, Some(token)).await {
            Ok(caller) => caller,
            Err(error) => panic!("{error:#}\n{}", log()),
        }
    }

    /// That nobody is let in with this, for this reason.
    pub async fn refuses(&self, token: Option<&SecretString>, reason: &str) {
        let before = self.refusals(reason).await;
        match Caller::with_token(&self.relay, token).await {
            Ok(_) => panic!("somebody is let in who should not be: {reason}"),
            Err(error) => assert!(format!("{error:#}").contains("authorization violation"), "{error:#}"),
        }
        let after = self.refusals(reason).await;
        assert!(after > before, "{reason}:\n{}", log());
    }

    async fn refusals(&self, reason: &str) -> u64 {
        let label = format!(r#"steading_relay_sign_ins_total{{decision="denied",reason="{reason}"}} "#);
        let text = self.relay.metrics().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(&label)).map_or(0, |count| count.parse().unwrap())
    }
}

/// A pod without a node.
pub struct PodObject {
    pub name: String,
    pub uid: PodUid,
    pub account: String,
}

impl Stack {
    /// A new pod of agents.
    pub async fn pod(&self) -> PodObject {
        self.pod_as(AGENT).await
    }

    /// The Tenant's control namespace, which is no stack.
    pub fn outside(self) -> Self {
        Self { namespace: self.tenant.clone(), ..self }
    }

    /// A new pod that runs as somebody.
    pub async fn pod_as(&self, account: &str) -> PodObject {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = unique("desktop");
        let pod = json!({
            "metadata": { "name": name },
            "spec": {
                "serviceAccountName": account, "automountServiceAccountToken": false,
                "containers": [{ "name": "desktop", "image": "localhost/none" }],
            },
        });
        let made = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        PodObject { name, uid: made.metadata.uid.unwrap().parse().unwrap(), account: account.to_owned() }
    }

    /// Another ServiceAccount of the stack.
    pub async fn account(&self, name: &str) {
        make_account(&self.client, &self.namespace, name).await;
    }

    /// A token for the relay, bound to the pod.
    pub async fn token(&self, pod: &PodObject) -> SecretString {
        self.token_for(pod, &[AUDIENCE]).await
    }

    /// A token for these, bound to the pod.
    pub async fn token_for(&self, pod: &PodObject, audiences: &[&str]) -> SecretString {
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.to_string()),
        };
        self.request(&pod.account, audiences, Some(bound)).await
    }

    /// A token for the relay that is bound to nothing.
    pub async fn unbound(&self) -> SecretString {
        self.request(AGENT, &[AUDIENCE], None).await
    }

    async fn request(&self, account: &str, audiences: &[&str], bound: Option<BoundObjectReference>) -> SecretString {
        let spec = TokenRequestSpec {
            audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
            expiration_seconds: Some(600),
            bound_object_ref: bound,
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token.into()
    }

    /// Waits until the API server says no more whose token it is.
    pub async fn is_forgotten(&self, token: &SecretString) {
        let review = json!({ "metadata": {}, "spec": { "token": token.expose_secret(), "audiences": [AUDIENCE] } });
        let review: TokenReview = serde_json::from_value(review).unwrap();
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let forgotten = async || {
            let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
            Ok(status.authenticated != Some(true))
        };
        until("the token is refused", Duration::from_secs(40), forgotten).await.unwrap();
    }

    /// Deletes a pod; it is gone when this returns.
    pub async fn delete(&self, pod: &PodObject) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.delete(&pod.name, &DeleteParams::default().grace_period(0)).await.unwrap();
        let gone = async || Ok(pods.get_opt(&pod.name).await?.is_none());
        until("the pod is gone", Duration::from_secs(20), gone).await.unwrap();
    }
}

async fn make_namespace(client: &Client, name: &str, labels: &serde_json::Value) {
    let object = json!({ "metadata": { "name": name, "labels": labels } });
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn make_account(client: &Client, namespace: &str, name: &str) {
    let object = json!({ "metadata": { "name": name } });
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    accounts.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}
