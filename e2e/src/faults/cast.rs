//! Who a story is about: a Tenant with one Workspace, and an application that may come to use it. In: a class, and a name that nobody else has.
//! Out: what to apply, and the names of all that comes of it, known beforehand because identities are given.

use std::collections::BTreeMap;

use anyhow::Result;
use api::{Tenant, TenantClass, Workspace, conditions as names, labels};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use providers::memory::{MemoryIdentity, MemoryStore, Operation, World};
use serde_json::json;
use uuid::Uuid;

use super::point::{ISSUE_FOR_BACKUPS, Story};
use crate::databases::{DRILL, objects};
use crate::story::{Manifest, Platform, Told, condition, stack_namespace, tenant, workspace};

/// Objects in a bucket that goes: more than one call removes.
const OBJECTS: u64 = 1_500;

/// Who uses what the Workspace has.
const APPLICATION: &str = "billing";

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
    /// The namespace of the application, if the story has one.
    pub(super) shop: Option<String>,
    pub(super) key: String,
    pub(super) bucket: String,
    /// Where its database's backups go.
    pub(super) backups: String,
    /// Name of the store of authorization, not its id.
    pub(super) store: String,
}

impl Cast {
    /// Of a story without a database it is a Tenant with limits; of one with a database the data stays.
    pub(super) fn new(
        class: &Manifest<TenantClass>,
        installation: &str,
        name: String,
        is_of_database: bool,
    ) -> Result<Self> {
        let [tenant_identity, workspace_identity] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let owner = json!([{ "kind": "User", "name": "olga" }]);
        let tenant = tenant(&name).of_class(class).with("identity", tenant_identity.as_str()).with("owners", owner);
        // What the store issues for backups is told apart by this name alone.
        let of_database = format!("finance-{name}");
        let finance = workspace(if is_of_database { &of_database } else { "finance" })
            .of_tenant(&tenant)
            .with("identity", workspace_identity.as_str())
            .with("members", json!([{ "kind": "User", "name": "vera", "role": "viewer" }]))
            .with("database.disabled", true);
        let (tenant, finance) = if is_of_database {
            (tenant, finance)
        } else {
            let limits = json!({ "workspaces": 3, "cpu": "4", "memory": "4Gi" });
            let tenant = tenant.deleting_data().with("quota", limits);
            (tenant, finance.with("quota", json!({ "cpu": "2", "memory": "2Gi" })))
        };
        let stack = stack_namespace(&finance, &workspace_identity.parse()?)?;
        let installation = providers::Installation::new(installation)?;
        let [of_tenant, of_workspace] = [&tenant_identity, &workspace_identity].map(|it| providers::Identity::new(it));
        let (of_tenant, of_workspace) = (of_tenant?, of_workspace?);
        Ok(Self {
            shop: is_of_database.then(|| format!("{name}-shop")),
            key: providers::owner::transit_key(&installation, &of_tenant),
            bucket: providers::owner::bucket(&installation, &of_workspace),
            backups: providers::owner::backup_bucket(&installation, &of_workspace),
            store: providers::owner::store(&installation, &of_tenant),
            name,
            tenant,
            finance,
            tenant_identity,
            workspace_identity,
            stack,
        })
    }

    /// Whether data is to stay when all goes.
    pub(super) fn keeps_data(&self) -> bool {
        self.shop.is_some()
    }

    /// The Workspace with a database, and with an application that uses all that there is.
    fn equipped(&self) -> Manifest<Workspace> {
        let consumer = json!({
            "namespace": self.shop, "serviceAccount": APPLICATION,
            "database": "readWrite", "bucket": "readWrite", "authorization": "read",
        });
        self.finance.clone().with("database", serde_json::Value::Null).with("consumers", json!([consumer]))
    }

    /// All namespaces in which anything is written for it.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &String> {
        [&self.name, &self.stack].into_iter().chain(&self.shop)
    }

    /// The stores that bear the name of the Tenant's, by id.
    pub(super) fn stores(&self, world: &World) -> BTreeMap<String, MemoryStore> {
        world.stores().into_iter().filter(|(_, store)| store.name == self.store).collect()
    }

    /// What was issued for its buckets.
    pub(super) fn identities(&self, world: &World) -> Vec<MemoryIdentity> {
        let is_its_own = |it: &MemoryIdentity| [&self.bucket, &self.backups].contains(&&it.bucket);
        world.identities().into_values().filter(is_its_own).collect()
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
                self.go(platform).await?;
            }
            Story::Equip => {
                self.consents(true, platform).await?;
                platform.apply(&self.tenant).await?;
                platform.apply(&self.equipped()).await?;
            }
            Story::Withdraw => {
                self.consents(false, platform).await?;
                platform.apply(&self.equipped().with("suspended", true)).await?;
            }
            Story::Leave => platform.delete(&self.finance).await?,
        }
        Ok(())
    }

    /// Has all go, whatever is still there of it.
    pub(super) async fn go(&self, platform: &Platform) -> Result<()> {
        let params = DeleteParams::default();
        for gone in [
            self.finance.api(&platform.client).delete(self.finance.name(), &params).await.map(drop),
            self.tenant.api(&platform.client).delete(self.tenant.name(), &params).await.map(drop),
        ] {
            match gone {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                gone => gone?,
            }
        }
        Ok(())
    }

    /// The namespace of the application goes too.
    pub(super) async fn close_shop(&self, platform: &Platform) -> Result<()> {
        let Some(shop) = &self.shop else { return Ok(()) };
        let namespaces: Api<Namespace> = Api::all(platform.client.clone());
        namespaces.delete(shop, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The namespace of the application is there, and consents or not.
    async fn consents(&self, does: bool, platform: &Platform) -> Result<()> {
        let Some(shop) = &self.shop else { return Ok(()) };
        platform.control_namespace(shop).await?;
        let to = does.then(|| format!("{}/{}", self.name, self.finance.name()));
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { labels::CONSUMES: to } } }));
        let namespaces: Api<Namespace> = Api::all(platform.client.clone());
        namespaces.patch(shop, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Whether it is told to its end.
    pub(super) async fn is_told(&self, story: Story, client: &Client) -> Result<bool> {
        let tenant = self.tenant.api(client).get_opt(self.tenant.name()).await?;
        let finance = self.finance.api(client).get_opt(self.finance.name()).await?;
        match story {
            Story::Delete => return Ok(tenant.is_none() && finance.is_none()),
            Story::Leave => {
                return Ok(finance.is_none() && tenant.is_some_and(|it| is_settled(&it) && reserves_nothing(&it)));
            }
            _ => {}
        }
        let (Some(tenant), Some(finance)) = (tenant, finance) else { return Ok(false) };
        Ok(is_settled(&tenant)
            && match story {
                Story::Equip => is_settled(&finance) && is_proven(&finance) && self.drill_is_over(client).await?,
                Story::Withdraw => is_at_rest(&finance),
                _ => is_settled(&finance),
            })
    }

    /// What was restored beside the database is gone, which is the last to go of what a drill makes.
    async fn drill_is_over(&self, client: &Client) -> Result<bool> {
        let clusters = objects(client, &self.stack, "postgresql.cnpg.io", "Cluster");
        Ok(clusters.get_opt(DRILL).await?.is_none())
    }

    /// What both say of themselves, for a story that does not come to its end.
    pub(super) async fn seen(&self, client: &Client) -> String {
        let (tenant, finance): (Api<Tenant>, Api<Workspace>) = (self.tenant.api(client), self.finance.api(client));
        let tenant = tenant.get_opt(self.tenant.name()).await.map(|it| it.map(|it| it.conditions().to_vec()));
        let finance = finance.get_opt(self.finance.name()).await.map(|it| it.map(|it| it.conditions().to_vec()));
        format!("Tenant {}\nWorkspace {}", text(&tenant), text(&finance))
    }

    /// By whom the world knows the caller of this operation.
    pub(super) fn identity_of(&self, operation: Operation, name: &str, world: &World) -> String {
        match operation {
            Operation::IssueIdentity if name == ISSUE_FOR_BACKUPS => format!("backup@{}", self.finance.name()),
            Operation::IssueIdentity => {
                let shop = self.shop.as_deref().unwrap_or_default();
                format!("{APPLICATION}@{}.{shop}", self.finance.name())
            }
            Operation::RevokeIdentities => {
                self.identities(world).into_iter().find_map(|it| it.revocable_as).unwrap_or_default()
            }
            _ if is_of_tenant(operation) => self.tenant_identity.clone(),
            _ => self.workspace_identity.clone(),
        }
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

fn is_current<K: Told>(object: &K) -> bool {
    Some(object.observed_generation()) == object.meta().generation
}

fn is_settled<K: Told>(object: &K) -> bool {
    is_current(object) && is(object, names::READY, "True", None) && condition(object, "Reconciling").is_none()
}

fn is<K: Told>(object: &K, kind: &str, status: &str, reason: Option<&str>) -> bool {
    let found = condition(object, kind);
    found.is_some_and(|it| it.status == status && reason.is_none_or(|reason| it.reason == reason))
}

/// Nothing of the Tenant's quota is kept for a Workspace.
fn reserves_nothing(tenant: &Tenant) -> bool {
    let quota = tenant.status.as_ref().and_then(|status| status.quota.as_ref());
    quota.is_none_or(|quota| quota.reservations.is_empty())
}

/// A drill has shown that its backups are good, the application has all that it uses, and nobody else is let in any more.
fn is_proven(finance: &Workspace) -> bool {
    let serves = |status: &api::workspace::WorkspaceStatus| {
        let has_all = |it: &api::consumer::ConsumerStatus| {
            it.observed_at.is_some() && it.bucket.as_ref().is_some_and(|bucket| bucket.observed_at.is_some())
        };
        let comes = status.authorization.as_ref().is_some_and(|it| !it.applications.is_empty());
        comes && !status.consumers.is_empty() && status.consumers.iter().all(has_all)
    };
    is(finance, names::RESTORE_PROVEN, "True", None) && finance.status.as_ref().is_some_and(serves)
}

/// Nothing of its database runs, and of its application nothing is left.
fn is_at_rest(finance: &Workspace) -> bool {
    let forgotten = |status: &api::workspace::WorkspaceStatus| {
        let comes = status.authorization.as_ref().is_some_and(|it| !it.applications.is_empty());
        let ended = status.ending_credentials.iter().all(|it| it.revoked_at.is_some());
        !comes && ended && status.consumers.is_empty()
    };
    is_current(finance)
        && is(finance, names::READY, "False", Some(names::CONSENT_MISSING))
        && is(finance, names::DATABASE_READY, "True", Some(names::SUSPENDED))
        && finance.status.as_ref().is_some_and(forgotten)
}

fn text<T: serde::Serialize>(found: &kube::Result<T>) -> String {
    match found {
        Ok(found) => serde_json::to_string_pretty(found).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}
