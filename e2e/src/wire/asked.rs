//! A request as the wire sees it. In: its head and its body. Out: what it asks for, of what.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
    target: Target,
}

/// What a path is about; what does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl Asked {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        let target = Target::of(head.uri.path());
        Self { method: head.method.clone(), uri: head.uri.clone(), headers: head.headers.clone(), body, target }
    }

    /// Plural name of the resource; empty for paths such as `/version`.
    pub fn resource(&self) -> &str {
        &self.target.resource
    }

    /// Namespace of the object, or the name of the namespace that it is about.
    pub fn namespace(&self) -> &str {
        &self.target.namespace
    }

    /// Name of the object, also where only the body tells it; empty for lists and watches.
    pub fn name(&self) -> String {
        if self.method == Method::POST && self.target.name.is_empty() {
            let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
            return body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        }
        self.target.name.clone()
    }

    /// Such as `status`.
    pub fn subresource(&self) -> &str {
        &self.target.subresource
    }

    /// Whether it is about Leases.
    pub fn is_of_leadership(&self) -> bool {
        self.target.resource == "leases"
    }

    /// Whether it asks for a change that is to be kept, of anything but Leases and events.
    pub fn is_write(&self) -> bool {
        let reviews = ["leases", "events", "selfsubjectaccessreviews", "selfsubjectreviews"];
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && !self.is_trial()
            && !reviews.contains(&self.resource())
            && self.subresource() != "token"
    }

    /// Whether nothing is to be kept of it: a deletion says so in its body.
    fn is_trial(&self) -> bool {
        let asked = || serde_json::from_slice::<Value>(&self.body).ok()?.get("dryRun")?.as_array().map(Vec::is_empty);
        self.query().contains("dryRun") || (self.method == Method::DELETE && asked() == Some(false))
    }

    /// Whether its answer is a stream of events.
    pub fn is_watch(&self) -> bool {
        self.method == Method::GET && self.query().split('&').any(|part| part == "watch=true" || part == "watch=1")
    }

    /// Whether it asks for many objects at once.
    pub fn is_list(&self) -> bool {
        self.method == Method::GET && !self.is_watch() && !self.resource().is_empty() && self.target.name.is_empty()
    }

    /// The token by which the caller is known.
    pub fn token(&self) -> Option<&str> {
        self.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
    }

    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

impl Target {
    fn of(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let versions = match parts.next() {
            Some("api") => 1,
            Some("apis") => 2,
            _ => return Self::default(),
        };
        let mut parts = parts.skip(versions).map(str::to_owned);
        let mut target = Self { resource: parts.next().unwrap_or_default(), ..Self::default() };
        target.name = parts.next().unwrap_or_default();
        let next = parts.next();
        if target.resource != "namespaces" {
            target.subresource = next.unwrap_or_default();
            return target;
        }
        target.namespace.clone_from(&target.name);
        match next.as_deref() {
            None => {}
            Some("status" | "finalize") => target.subresource = next.unwrap_or_default(),
            Some(_) => {
                target.resource = next.unwrap_or_default();
                target.name = parts.next().unwrap_or_default();
                target.subresource = parts.next().unwrap_or_default();
            }
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str, body: &'static str) -> Asked {
        let (head, ()) = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        Asked::new(&head, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_path_tells_what_it_is_about() {
        for (path, resource, namespace, name, subresource) in [
            ("/api/v1/namespaces", "namespaces", "", "", ""),
            ("/api/v1/namespaces/acme", "namespaces", "acme", "acme", ""),
            ("/api/v1/namespaces/acme/finalize", "namespaces", "acme", "acme", "finalize"),
            ("/apis/steading.dev/v1alpha1/namespaces/acme/tenants/acme/status", "tenants", "acme", "acme", "status"),
            ("/apis/steading.dev/v1alpha1/tenantclasses/onprem/status", "tenantclasses", "", "onprem", "status"),
            ("/apis/networking.k8s.io/v1/networkpolicies?watch=true", "networkpolicies", "", "", ""),
            ("/version", "", "", "", ""),
        ] {
            let asked = asked("PATCH", path, "");
            let found = (asked.resource(), asked.namespace(), asked.name(), asked.subresource());
            assert_eq!(found, (resource, namespace, name.to_owned(), subresource), "{path}");
        }
    }

    #[test]
    fn a_creation_is_named_by_its_body() {
        let create = asked("POST", "/api/v1/namespaces", r#"{"metadata":{"name":"acme"}}"#);
        assert_eq!((create.resource(), create.name().as_str()), ("namespaces", "acme"));
    }

    #[test]
    fn leases_events_reviews_and_dry_runs_change_nothing_that_is_kept() {
        assert!(asked("PATCH", "/api/v1/namespaces/a", "").is_write());
        assert!(asked("DELETE", "/api/v1/namespaces/a", "").is_write());
        for (method, path) in [
            ("GET", "/api/v1/namespaces/a"),
            ("PATCH", "/api/v1/namespaces/a?dryRun=All"),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"),
            ("POST", "/apis/events.k8s.io/v1/namespaces/a/events"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ] {
            assert!(!asked(method, path, "").is_write(), "{method} {path}");
        }
        assert!(!asked("DELETE", "/api/v1/namespaces/a", r#"{"dryRun":["All"]}"#).is_write());
        assert!(asked("DELETE", "/api/v1/namespaces/a", r#"{"dryRun":[]}"#).is_write());
    }

    #[test]
    fn watches_and_lists_are_told_apart() {
        let watch = asked("GET", "/api/v1/namespaces?limit=5&watch=true", "");
        assert!(watch.is_watch() && !watch.is_list());
        assert!(asked("GET", "/api/v1/namespaces?limit=5", "").is_list());
        assert!(!asked("GET", "/api/v1/namespaces/a", "").is_list());
    }
}
