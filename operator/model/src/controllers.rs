//! What controllers of the cluster do, one step at a time. In: a namespace. Out: changes, as requests make them.

use serde_json::{Map, Value, json};

use crate::{
    Key, Resource, Server,
    request::{Call, Verb},
    verbs::is_deleting,
};

impl Server {
    /// One step of the controller that empties namespaces on their way out. Whether anything changed.
    pub fn empty_namespace(&mut self, name: &str) -> bool {
        let key = Key::cluster(Resource::NAMESPACE, name);
        let Some(live) = self.get(&key).cloned().filter(|live| is_deleting(live)) else { return false };
        let before = self.version();
        let content: Vec<Key> =
            self.objects.keys().filter(|key| key.namespace.as_deref() == Some(name)).cloned().collect();
        for key in &content {
            let options = Value::Null;
            let call = Call {
                verb: Verb::Delete,
                key: key.clone(),
                status: false,
                manager: "kube-controller-manager".to_owned(),
                limit: 0,
                metadata_only: false,
            };
            self.delete(&call, &options);
        }
        let left = self.objects.keys().filter(|key| key.namespace.as_deref() == Some(name)).count();
        let mut object = live.as_ref().clone();
        if left > 0 {
            object["status"]["conditions"] = json!([{
                "type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain",
                "message": format!("Some content in the namespace has finalizers remaining: {left} resource instances"),
                "lastTransitionTime": object["metadata"]["deletionTimestamp"],
            }]);
        } else {
            object["spec"] = json!({});
        }
        self.keep_or_let_go(&key, object);
        self.version() != before
    }

    /// One step of the controller that counts what quotas bound. Nothing lives in namespaces here that a quota counts.
    pub fn count_quotas(&mut self, namespace: &str) {
        let quotas = self
            .objects
            .iter()
            .filter(|(key, _)| key.resource.kind() == "ResourceQuota" && key.namespace.as_deref() == Some(namespace));
        let quotas: Vec<_> = quotas.map(|(key, quota)| (key.clone(), quota.as_ref().clone())).collect();
        for (key, mut quota) in quotas {
            let hard = quota["spec"]["hard"].clone();
            let used: Map<String, Value> =
                hard.as_object().into_iter().flatten().map(|(resource, _)| (resource.clone(), "0".into())).collect();
            quota["status"] = json!({ "hard": hard, "used": used });
            self.put(&key, quota);
        }
    }
}
