//! What the controllers of the cluster do: they empty namespaces on their way out, and count what quotas bound.

use desired::fields::Kind;
use model::Resource;

use super::world::World;

impl World {
    /// Namespaces that can go a step further.
    pub(super) fn terminating(&self) -> Vec<String> {
        let goes = |object: &serde_json::Value| !object["metadata"]["deletionTimestamp"].is_null();
        let waits = |name: &str| {
            let all = Resource::ALL.into_iter().flat_map(|resource| self.server.all(resource));
            let mut content = all.filter(|(key, _)| key.namespace.as_deref() == Some(name)).peekable();
            content.peek().is_some() && content.all(|(_, object)| goes(object))
        };
        let all = self.server.all(Resource::NAMESPACE).filter(|(_, object)| goes(object));
        all.map(|(key, _)| key.name.clone()).filter(|name| !waits(name)).collect()
    }

    /// A namespace on its way out goes a step further.
    pub(super) fn empty(&mut self, name: &str) -> Result<(), String> {
        let before = self.server.changes().len();
        self.server.empty_namespace(name);
        self.note(|| format!("namespace {name} is emptied"));
        self.look_at_changes(before, None)
    }

    /// The cluster's controller counts anew what is in stacks whose quota changed.
    pub(super) fn count_quotas(&mut self, from: usize) -> Result<(), String> {
        let changed = self.server.changes().get(from..).unwrap_or_default().iter();
        let quotas = changed.filter(|change| change.key.resource == Resource::Child(Kind::ResourceQuota));
        let namespaces: Vec<String> = quotas.filter_map(|change| change.key.namespace.clone()).collect();
        let before = self.server.changes().len();
        for namespace in namespaces {
            self.server.count_quotas(&namespace);
        }
        self.look_at_changes(before, None)
    }
}
