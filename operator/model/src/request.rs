//! Requests, taken apart: which verb, on what, by whom.

use serde_json::Value;

use crate::{Key, Resource};

/// One HTTP request, as far as the model looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The header `Accept`.
    pub accept: String,
    /// The body; null if there is none.
    pub body: Value,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Create,
    Replace,
    Merge,
    Apply,
    Delete,
}

/// A request that was understood.
pub(crate) struct Call {
    pub verb: Verb,
    /// Of a list or a create, the name is empty.
    pub key: Key,
    pub status: bool,
    pub manager: String,
    pub limit: usize,
    pub metadata_only: bool,
}

impl Request {
    /// Whether it can change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }

    /// What it is about, if it is about something that the model knows.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(self.call()?.key)
    }

    pub(crate) fn call(&self) -> Option<Call> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // `namespaces/x` is that namespace itself unless something comes after it that is no subresource.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, status) = match rest {
            [plural] => (*plural, "", false),
            [plural, name] => (*plural, *name, false),
            [plural, name, "status"] => (*plural, *name, true),
            _ => return None,
        };
        let known = |resource: &Resource| {
            resource.plural() == plural && resource.group() == group && resource.version() == version
        };
        let resource = Resource::ALL.into_iter().find(known)?;
        let verb = match (self.method.as_str(), name.is_empty()) {
            ("GET", true) => Verb::List,
            ("GET", false) => Verb::Get,
            ("POST", true) => Verb::Create,
            ("PUT", false) => Verb::Replace,
            ("DELETE", false) => Verb::Delete,
            ("PATCH", false) if self.content_type.starts_with("application/merge-patch+json") => Verb::Merge,
            ("PATCH", false) if self.content_type.starts_with("application/apply-patch+yaml") => Verb::Apply,
            _ => return None,
        };
        let asked = |parameter: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == parameter).map(|(_, value)| value.replace("%2F", "/")).next()
        };
        Some(Call {
            verb,
            key: Key { resource, namespace, name: name.to_owned() },
            status,
            manager: asked("fieldManager").unwrap_or_else(|| "unknown".to_owned()),
            limit: asked("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX),
            metadata_only: self.accept.contains("as=PartialObjectMetadata"),
        })
    }
}
