//! Who a story is about: a Tenant with one Workspace. In: a class, and a name that nobody else has. Out: what to apply, and the names
//! of all that comes of it, known beforehand because identities are given.

use std::collections::BTreeMap;

use anyhow::Result;
use api::{Tenant, TenantClass, Workspace, labels};
use kube::{Api, Client};
use providers::memory::{MemoryStore, Operation, World};
use serde_json::json;
use uuid::Uuid;

use super::point::Story;
use crate::story::{Manifest, Platform, Told, condition, stack_namespace, tenant, workspace};

/// Objects in a bucket that goes: more than one call removes.
const OBJECTS: u64 = 1_500;

/// A Tenant and its Workspace.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// Also the name of the control namespace.
    pub(super) name: String,
    pub(super) tenant: Manifest<Tenant>,
    pub(super) finance: Manifest<Workspace>,
    pub(super) tenant_identity: String,
    pub(super) workspace_identity: String,
    pub(super) stack: String,
    pub(super) key: String,
    pub(super) bucket: String,
    /// Name of the store of authorization, not its id.
    pub(super) store: String,
}

impl Cast {
    pub(super) fn new(class: &Manifest<TenantClass>, installation: &str, name: String) -> Result<Self> {
        let [tenant_identity, workspace_identity] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let tenant = tenant(&name)
            .of_class(class)
            .deleting_data()
            .with("identity", tenant_identity.as_str())
            .with("owners", json!([{ "kind": "User", "name": "olga" }]))
            .with("quota", json!({ "workspaces": 3, "cpu": "4", "memory": "4Gi" }));
        let finance = workspace("finance")
            .of_tenant(&tenant)
            .with("identity", workspace_identity.as_str())
            .with("quota", json!({ "cpu": "2", "memory": "2Gi" }))
            .with("members", json!([{ "kind": "User", "name": "vera", "role": "viewer" }]));
        let stack = stack_namespace(&finance, &workspace_identity.parse()?)?;
        let installation = providers::Installation::new(installation)?;
        let key = providers::owner::transit_key(&installation, &providers::Identity::new(&tenant_identity)?);
        let bucket = providers::owner::bucket(&installation, &providers::Identity::new(&workspace_identity)?);
        let store = providers::owner::store(&installation, &providers::Identity::new(&tenant_identity)?);
        Ok(Self { name, tenant, finance, tenant_identity, workspace_identity, stack, key, bucket, store })
    }

    /// The stores that bear the name of the Tenant's, by id.
    pub(super) fn stores(&self, world: &World) -> BTreeMap<String, MemoryStore> {
        world.stores().into_iter().filter(|(_, store)| store.name == self.store).collect()
    }

    /// Lets the story begin.
    pub(super) async fn act(&self, story: Story, platform: &Platform, world: &World) -> Result<()> {
        match story {
            Story::Create => {
                platform.apply(&self.tenant).await?;
                platform.apply(&self.finance).await?;
            }
            Story::Change => {
                let tenant = self.tenant.clone().with("quota.cpu", "8").with("encryption.rotationPeriod", "60d");
                platform.apply(&tenant.annotated(labels::ROTATE_REQUESTED_AT, "now")).await?;
                let members = json!([{ "kind": "User", "name": "edda", "role": "editor" }]);
                platform.apply(&self.finance.clone().with("quota.cpu", "6").with("members", members)).await?;
            }
            Story::Delete => {
                world.tamper_bucket(&self.bucket, |bucket| bucket.objects = OBJECTS);
                platform.delete(&self.finance).await?;
                platform.delete(&self.tenant).await?;
            }
        }
        Ok(())
    }

    /// Whether it is told to its end.
    pub(super) async fn is_told(&self, story: Story, client: &Client) -> Result<bool> {
        let tenant = self.tenant.api(client).get_opt(self.tenant.name()).await?;
        let finance = self.finance.api(client).get_opt(self.finance.name()).await?;
        if story == Story::Delete {
            return Ok(tenant.is_none() && finance.is_none());
        }
        Ok(tenant.is_some_and(|tenant| is_settled(&tenant)) && finance.is_some_and(|finance| is_settled(&finance)))
    }

    /// What both say of themselves, for a story that does not come to its end.
    pub(super) async fn seen(&self, client: &Client) -> String {
        let (tenant, finance): (Api<Tenant>, Api<Workspace>) = (self.tenant.api(client), self.finance.api(client));
        let tenant = tenant.get_opt(self.tenant.name()).await.map(|it| it.map(|it| it.conditions().to_vec()));
        let finance = finance.get_opt(self.finance.name()).await.map(|it| it.map(|it| it.conditions().to_vec()));
        format!("Tenant {}\nWorkspace {}", text(&tenant), text(&finance))
    }

    /// By whom the world knows the caller of this operation.
    pub(super) fn identity_of(&self, operation: Operation) -> &str {
        if is_of_tenant(operation) { &self.tenant_identity } else { &self.workspace_identity }
    }
}

/// Tuples are written for both: here those of the members count, which come, change and go.
fn is_of_tenant(operation: Operation) -> bool {
    use Operation::{
        CreateKey, CreateStore, DeleteKey, DeleteStore, ListStores, ObserveKey, ReadModels, ReleaseKey, UpdateKey,
        WriteModel,
    };
    let of_key = matches!(operation, CreateKey | DeleteKey | ObserveKey | ReleaseKey | UpdateKey);
    of_key || matches!(operation, ListStores | CreateStore | DeleteStore | ReadModels | WriteModel)
}

fn is_settled<K: Told>(object: &K) -> bool {
    Some(object.observed_generation()) == object.meta().generation
        && condition(object, "Ready").is_some_and(|ready| ready.status == "True")
        && condition(object, "Reconciling").is_none()
}

fn text<T: serde::Serialize>(found: &kube::Result<T>) -> String {
    match found {
        Ok(found) => serde_json::to_string_pretty(found).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}
