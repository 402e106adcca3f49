//! Applying: one server-side apply for each child that is not known to be right, none for those that are.
//!
//! In: objects of crate `desired`, what is known of the children. Out: writes, and the UIDs of what stands. A child is right if its
//! hash annotation is that of the desired object and our managedFields entry covers exactly the desired paths: then nobody has
//! changed a field of ours, and nothing is read or written.

use api::{conditions as reasons, labels};
use desired::{fields, fields::Kind, hash};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, ValidationDirective},
    core::{ApiResource, GroupVersionKind},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    children::{Child, Children, Key},
    contest::{Contest, Contests, Leave},
    fault::Fault,
};
use crate::metrics::Metrics;

/// Writes children for one owner.
pub struct Applier<'a> {
    /// Of the operator.
    pub client: &'a Client,
    /// What is known.
    pub children: &'a Children,
    /// What others fight over.
    pub contests: &'a Contests,
    /// Where corrections of drift are counted.
    pub metrics: &'a Metrics,
    /// Identity of the owner; children that bear another are left alone.
    pub owner: String,
    /// UID of the namespace in which they lie: what lay in another of this name counts for nothing.
    pub namespace: String,
    /// The namespace was made in this very round, so nothing foreign can stand in it.
    pub fresh_namespace: bool,
}

/// What became of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was known to be right.
    Untouched,
    /// It was written.
    Written,
}

impl Applier<'_> {
    /// Makes the child what `object` says. `uid` is the object it must be, if it is known which.
    pub async fn apply(&self, kind: Kind, object: &impl Serialize, uid: Option<&str>) -> Result<Applied, Fault> {
        let object = as_json(kind, object)?;
        let key = key_of(kind, &object);
        let within = key.namespace.as_ref().map(|_| self.namespace.as_str());
        let mut object = hash::stamp(object, within);
        let wanted = Wanted { hash: hash::of(&object, within), entry: hash::of_fields(&fields::owned(kind, &object)) };
        // In a namespace that was made just now nothing stands yet: what is known of its contents is that of a namesake which
        // went, and the watch has not yet told.
        let known = self.children.get(&key).filter(|_| key.namespace.is_none() || !self.fresh_namespace);
        if known.as_ref().is_some_and(|child| wanted.is_met_by(child) && uid.is_none_or(|uid| uid == child.uid)) {
            return match self.contests.still(&key) {
                None => Ok(Applied::Untouched),
                Some(contest) => Err(contested(&key, contest)),
            };
        }
        let fought_over = match self.contests.ask(&key, known.as_ref().and_then(|child| child.rival.as_deref())) {
            Leave::Given => None,
            Leave::Now(contest) => Some(contest),
            Leave::Later(contest) => return Err(contested(&key, contest)),
        };
        match &known {
            Some(child) => self.refuse_foreign(&key, child)?,
            None if !self.fresh_namespace && uid.is_none() => {
                // A list that was older than our own write may have hidden from us what stands and is right.
                let before = self.children.before();
                if let Some(found) = self.look_before(&key).await?.filter(|found| wanted.is_met_by(found)) {
                    self.children.wrote(key.clone(), found, before);
                    return fought_over.map_or(Ok(Applied::Untouched), |contest| Err(contested(&key, contest)));
                }
            }
            None => {}
        }
        if let (Some(uid), Some(metadata)) = (uid, object.pointer_mut("/metadata").and_then(Value::as_object_mut)) {
            metadata.insert("uid".into(), uid.into());
        }
        let before = self.children.before();
        let answer = self.write(&key, &object).await?;
        let written = Child::of(&answer);
        if known.as_ref().is_some_and(|child| child.hash.as_deref() == Some(&wanted.hash)) {
            self.metrics.drift_corrected(kind.name());
            tracing::info!(
                kind = kind.name(),
                namespace = key.namespace,
                name = key.name,
                "put back what somebody else had changed"
            );
        }
        if written.entry.as_ref() != Some(&wanted.entry) {
            // Not harmful: the object is right now. But each round would write it again, so it must be loud.
            tracing::error!(kind = kind.name(), name = key.name, "the server recorded other fields than were computed");
        }
        self.children.wrote(key.clone(), written, before);
        fought_over.map_or(Ok(Applied::Written), |contest| Err(contested(&key, contest)))
    }

    /// Creates an object that nobody may have made before us. `None` if one of that name exists.
    pub async fn create(&self, kind: Kind, object: &impl Serialize) -> Result<Option<DynamicObject>, Fault> {
        let object = as_json(kind, object)?;
        let key = key_of(kind, &object);
        let params = PostParams { field_manager: Some(labels::MANAGER_WORKSPACE.to_owned()), ..PostParams::default() };
        let typed: DynamicObject = serde_json::from_value(object).map_err(|error| broken(kind, &error))?;
        let before = self.children.before();
        match self.api(&key).create(&params, &typed).await {
            Ok(made) => {
                self.children.wrote(key, Child::of(&made), before);
                Ok(Some(made))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(Fault::api(&error, &format!("create {}", told(&key)))),
        }
    }

    /// Reads one object.
    pub async fn read(&self, key: &Key) -> Result<Option<DynamicObject>, Fault> {
        self.api(key).get_opt(&key.name).await.map_err(|error| Fault::api(&error, &format!("read {}", told(key))))
    }

    /// Deletes exactly this object. One that is gone is no fault. One whose name another has by now may be, if what is known here is late: whoever
    /// forgot it then would leave that other for ever, so it is looked at anew.
    pub async fn delete(&self, key: &Key, uid: &str) -> Result<(), Fault> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match self.api(key).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Fault::api(&error, &format!("delete {}", told(key)))),
        }
    }

    /// Deletes what bears the owner's identity in this namespace and is not wanted any more. Only to be called when all wanted
    /// children stand. Elsewhere a label proves nothing: somebody may have put it on what is another owner's. A database is never removed
    /// in passing: it goes with its stack.
    pub async fn prune(&self, namespace: &str, wanted: &[Key]) -> Result<(), Fault> {
        for (key, child) in self.children.of_owner(&self.owner) {
            let is_ours_to_remove = key.namespace.as_deref() == Some(namespace) && !Kind::DATABASE.contains(&key.kind);
            if is_ours_to_remove && !wanted.contains(&key) && !child.deleting {
                self.delete(&key, &child.uid).await?;
            }
        }
        Ok(())
    }

    /// A child that no watch knows may still be there under a foreign flag: look before writing over it.
    async fn look_before(&self, key: &Key) -> Result<Option<Child>, Fault> {
        let found = self.read(key).await?.map(|found| Child::of(&found));
        found.iter().try_for_each(|found| self.refuse_foreign(key, found))?;
        Ok(found)
    }

    /// Ours is what bears our owner's identity, or, if somebody stomped its labels, what still holds fields that we applied.
    fn refuse_foreign(&self, key: &Key, child: &Child) -> Result<(), Fault> {
        if child.owner.as_deref() == Some(self.owner.as_str()) || child.entry.is_some() {
            return Ok(());
        }
        let message = format!("{} exists and is not ours, so it is left alone: delete or rename it", told(key));
        Err(Fault::stalled(reasons::OBJECT_TAKEN, message))
    }

    async fn write(&self, key: &Key, object: &Value) -> Result<DynamicObject, Fault> {
        let params = PatchParams {
            force: true,
            field_manager: Some(labels::MANAGER_WORKSPACE.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            dry_run: false,
        };
        let answer = self.api(key).patch(&key.name, &params, &Patch::Apply(object)).await;
        answer.map_err(|error| Fault::api(&error, &format!("apply {}", told(key))))
    }

    fn api(&self, key: &Key) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(key.kind.group(), key.kind.version(), key.kind.name());
        let resource = ApiResource::from_gvk_with_plural(&kind, key.kind.plural());
        match &key.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

struct Wanted {
    hash: String,
    entry: hash::Digest,
}

impl Wanted {
    fn is_met_by(&self, child: &Child) -> bool {
        child.hash.as_deref() == Some(&self.hash) && child.entry.as_ref() == Some(&self.entry) && !child.deleting
    }
}

/// Names the child and, if it is known, who changes it.
fn contested(key: &Key, contest: Contest) -> Fault {
    let who = contest.by.map_or_else(
        || "somebody changes or deletes it".to_owned(),
        |rival| format!("field manager {rival} changes it"),
    );
    let message = format!("{}: {who} each time that it is put back; make whoever it is leave it alone", told(key));
    Fault::waiting(contest.again, reasons::CONTESTED, message)
}

/// The key of an object about to be written.
#[must_use]
pub fn key_of(kind: Kind, object: &Value) -> Key {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Key { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name").unwrap_or_default() }
}

/// The object as it is sent: with apiVersion and kind, which typed objects leave out.
fn as_json(kind: Kind, object: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(object).map_err(|error| broken(kind, &error))
}

fn broken(kind: Kind, error: &serde_json::Error) -> Fault {
    Fault::stalled(reasons::REJECTED, format!("{} cannot be written as JSON: {error}", kind.name()))
}

/// `NetworkPolicy acme-finance-ab12cd/deny-all`.
fn told(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{} {namespace}/{}", key.kind.name(), key.name),
        None => format!("{} {}", key.kind.name(), key.name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::{client, engine::lease::Leadership};

    const OWNER: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

    fn deny_all() -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "deny-all", "namespace": "stack", "labels": { labels::OWNER: OWNER } },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [] },
        })
    }

    /// The object as the server has it after our apply.
    fn stored() -> Value {
        let mut object = hash::stamp(deny_all(), Some("namespace-uid"));
        let entry = json!({
            "manager": labels::MANAGER_WORKSPACE, "operation": "Apply", "fieldsType": "FieldsV1",
            "fieldsV1": fields::owned(Kind::NetworkPolicy, &object),
        });
        object["metadata"]["managedFields"] = json!([entry]);
        object["metadata"]["uid"] = json!("uid");
        object["metadata"]["resourceVersion"] = json!("7");
        object
    }

    /// What becomes of the object, of which nothing is known, before a server that has this; and what that is asked.
    async fn applied_before(stored: Value, children: &Children) -> (Applied, Vec<Method>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asking = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            asking.lock().unwrap().push(request.method().clone());
            let answer = if request.method() == Method::GET { stored.clone() } else { super::tests::stored() };
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            async move { Ok::<_, kube::Error>(Response::new(body)) }
        });
        let metrics = Metrics::new().unwrap();
        let applier = Applier {
            client: &client::over(service, &metrics, &Leadership::always()),
            children,
            contests: &Contests::default(),
            metrics: &metrics,
            owner: OWNER.to_owned(),
            namespace: "namespace-uid".to_owned(),
            fresh_namespace: false,
        };
        let became = applier.apply(Kind::NetworkPolicy, &deny_all(), None).await.unwrap();
        let asked = asked.lock().unwrap().clone();
        (became, asked)
    }

    #[tokio::test]
    async fn what_stands_and_is_right_is_not_written_again_though_no_watch_has_told_of_it() {
        let children = Children::default();
        let (became, asked) = applied_before(stored(), &children).await;
        assert_eq!((became, asked), (Applied::Untouched, vec![Method::GET]));
        assert!(children.get(&key_of(Kind::NetworkPolicy, &deny_all())).is_some(), "it is looked at each time");
    }

    #[tokio::test]
    async fn what_stands_and_was_changed_is_put_right_though_no_watch_has_told_of_it() {
        let mut changed = stored();
        changed["metadata"]["managedFields"] = json!([]);
        let (became, asked) = applied_before(changed, &Children::default()).await;
        assert_eq!((became, asked), (Applied::Written, vec![Method::GET, Method::PATCH]));
    }
}
