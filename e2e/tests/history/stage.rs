//! Where the history takes place. In: what is to happen. Out: a control plane with controllers, the operator with a world
//! outside that fails on demand, and the recorder.

use std::time::Duration;

use e2e::history::Recorder;
use e2e::history::kstatus::{Status, compute};
use e2e::install::InProcess;
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Tier};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use providers::memory::World;
use serde_json::{Value, json};

pub const TENANT: &str = "acme";
const CLASS: &str = "quickstart";
const BREAK_GLASS: &str = "emergency";
const SOON: Duration = Duration::from_mins(1);

pub struct Stage {
    // In the order in which they end: the record first, so that it does not see the others go.
    pub recorder: Recorder,
    operator: InProcess,
    admin: Client,
    emergency: Client,
    _plane: Plane,
}

/// Something that keeps a stack namespace from going.
pub struct Hold {
    config_maps: Api<DynamicObject>,
}

impl Hold {
    /// Lets the namespace go.
    pub async fn release(self) {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        self.config_maps.patch("hold", &PatchParams::default(), &patch).await.unwrap();
    }
}

impl Stage {
    /// Everything but Tenant, class and Workspaces.
    pub async fn set() -> Self {
        let plane = Plane::start(Tier::Two, PlaneOptions::default()).await.unwrap();
        let values = json!({ "fence": { "breakGlassGroups": [BREAK_GLASS] } });
        let installation = Installation::install(&plane, "history", &values).await.unwrap();
        let operator = InProcess::start_on(&plane, &installation, World::new(), |config| {
            config.break_glass_groups = vec![BREAK_GLASS.to_owned()];
        });
        let operator = operator.await.unwrap();
        let admin = plane.admin().unwrap();
        let emergency = plane.client_for("eve", &["system:masters", BREAK_GLASS]).unwrap();
        let recorder = Recorder::start(&admin, &operator.world).await.unwrap();
        let stage = Self { recorder, operator, admin, emergency, _plane: plane };
        stage.apply_namespace(TENANT).await;
        stage
    }

    pub fn world(&self) -> &World {
        &self.operator.world
    }

    pub async fn apply_namespace(&self, name: &str) {
        self.apply("Namespace", &json!({ "metadata": { "name": name } })).await;
    }

    /// The class of the quickstart; on fake nodes nothing can show that policies are enforced.
    pub async fn apply_class(&self) {
        let text = include_str!("../../../examples/quickstart.yaml");
        let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let class = documents.iter_mut().find(|document| document["kind"] == "TenantClass").unwrap();
        class["spec"]["network"]["enforcement"] = json!("Assumed");
        self.apply("TenantClass", class).await;
    }

    /// The Tenant, with these fields over what it always has.
    pub async fn apply_tenant(&self, fields: Value) {
        let mut spec = json!({ "class": CLASS, "quota": { "workspaces": 9, "cpu": "8", "memory": "8Gi" },
                               "deletionPolicy": "Delete", "paused": false });
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        self.apply("Tenant", &json!({ "metadata": { "name": TENANT }, "spec": spec })).await;
    }

    pub async fn apply_workspace(&self, name: &str, spec: Value) {
        self.apply("Workspace", &json!({ "metadata": { "name": name }, "spec": spec })).await;
    }

    /// Asks for a rotation of the Tenant's key.
    pub async fn rotate(&self) {
        let request = json!({ "metadata": { "annotations": { api::labels::ROTATE_REQUESTED_AT: "now" } } });
        self.merge("Tenant", TENANT, request).await;
    }

    /// Gives the Workspace another member, so that it is looked at at once and not after minutes.
    pub async fn touch(&self, workspace: &str) {
        let member = json!({ "kind": "User", "name": e2e::unique("user"), "role": "viewer" });
        self.merge("Workspace", workspace, json!({ "spec": { "members": [member] } })).await;
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Deletes a namespace that is not a stack, and waits until it is gone.
    pub async fn delete_namespace(&self, name: &str) {
        self.delete("Namespace", name).await;
        self.is_gone("Namespace", name).await;
    }

    /// Puts something with a finalizer of somebody else into a stack, as only break-glass may.
    pub async fn hold_stack_of(&self, workspace: &str) -> Hold {
        let found = self.get("Workspace", workspace).await.unwrap();
        let stack = found["status"]["namespace"]["name"].as_str().unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        let config_maps: Api<DynamicObject> = Api::namespaced_with(self.emergency.clone(), stack, &resource);
        let hold = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                           "metadata": { "name": "hold", "finalizers": ["example.com/hold"] } });
        config_maps.patch("hold", &PatchParams::apply("eve").force(), &Patch::Apply(hold)).await.unwrap();
        Hold { config_maps }
    }

    /// Waits until kstatus says this of the object and Ready has this reason, and until the record has come so far.
    pub async fn reaches(&self, kind: &str, name: &str, status: Status, reason: &str) {
        self.comes_to(&format!("{kind} {name} is {status:?} for {reason}"), kind, name, |object| {
            let conditions = object["status"]["conditions"].as_array();
            let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
            let is_observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            is_observed && compute(object) == status && ready.is_some_and(|ready| ready["reason"] == reason)
        })
        .await;
    }

    /// Waits until the Tenant's key has this version and the Tenant is Ready.
    pub async fn reaches_version(&self, version: i64) {
        self.comes_to(&format!("the key has version {version}"), "Tenant", TENANT, |object| {
            object["status"]["key"]["version"] == version && compute(object) == Status::Current
        })
        .await;
    }

    pub async fn is_gone(&self, kind: &str, name: &str) {
        let outcome =
            until(&format!("{kind} {name} is gone"), SOON, async || Ok(self.get(kind, name).await.is_none())).await;
        if let Err(error) = outcome {
            panic!("{error}: {:#}", self.get(kind, name).await.unwrap_or_default()["status"]);
        }
    }

    async fn comes_to(&self, what: &str, kind: &str, name: &str, is_there: impl Fn(&Value) -> bool) {
        let outcome =
            until(what, SOON, async || Ok(self.get(kind, name).await.is_some_and(|object| is_there(&object)))).await;
        let object = self.get(kind, name).await.unwrap_or_default();
        if let Err(error) = outcome {
            panic!("{error}: {:#}", object["status"]);
        }
        let revision = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        self.recorder.catch_up(kind, revision).await.unwrap();
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.unwrap().map(|object| serde_json::to_value(object).unwrap())
    }

    async fn merge(&self, kind: &str, name: &str, patch: Value) {
        // What is just going needs no touch any more.
        let outcome = self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        assert!(!matches!(&outcome, Err(error) if !error.to_string().contains("not found")), "{outcome:?}");
    }

    async fn apply(&self, kind: &str, object: &Value) {
        let mut object = object.clone();
        let resource = resource(kind);
        object["apiVersion"] = json!(resource.api_version);
        object["kind"] = json!(kind);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let params = PatchParams::apply("platform").force();
        let outcome = self.api(kind).patch(&name, &params, &Patch::Apply(&object)).await;
        outcome.unwrap_or_else(|error| panic!("cannot apply {kind} {name}: {error}"));
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        match kind {
            "Tenant" | "Workspace" => Api::namespaced_with(self.admin.clone(), TENANT, &resource(kind)),
            _ => Api::all_with(self.admin.clone(), &resource(kind)),
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    let kind = match kind {
        "Namespace" => GroupVersionKind::gvk("", "v1", kind),
        _ => GroupVersionKind::gvk(api::GROUP, api::VERSION, kind),
    };
    match kind.kind.as_str() {
        "TenantClass" => ApiResource::from_gvk_with_plural(&kind, "tenantclasses"),
        _ => ApiResource::from_gvk(&kind),
    }
}
