//! Requests and who makes them. In: a client. Out: what the API server answered, and assertions that name the attack.

use kube::Client;
use serde_json::{Value, json};

use crate::rules::Rule;

/// One request to the API server.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    content: &'static str,
    path: String,
    body: Value,
}

fn request(method: &'static str, content: &'static str, path: &str, body: Value) -> Request {
    Request { method, content, path: path.to_owned(), body }
}

/// GET.
pub fn read(path: &str) -> Request {
    request("GET", "application/json", path, Value::Null)
}

/// POST to a collection or a subresource.
pub fn create(path: &str, body: Value) -> Request {
    request("POST", "application/json", path, body)
}

/// PUT.
pub fn replace(path: &str, body: Value) -> Request {
    request("PUT", "application/json", path, body)
}

/// JSON merge patch.
pub fn merge(path: &str, body: Value) -> Request {
    request("PATCH", "application/merge-patch+json", path, body)
}

/// JSON patch.
pub fn patch(path: &str, operations: Value) -> Request {
    request("PATCH", "application/json-patch+json", path, operations)
}

/// Server-side apply with force.
pub fn apply(path: &str, body: Value) -> Request {
    let path = format!("{path}?fieldManager=fence-test&force=true");
    request("PATCH", "application/apply-patch+yaml", &path, body)
}

/// DELETE of one object, or of a whole collection.
pub fn delete(path: &str) -> Request {
    request("DELETE", "application/json", path, json!({}))
}

/// Every way to change one field of an object: replace, merge patch, JSON patch. `pointer` is a JSON pointer whose parent exists.
pub async fn every_change(reader: &Caller, path: &str, pointer: &str, value: Value) -> Vec<Request> {
    changes_through(reader, path, "", pointer, value).await
}

/// [`every_change`], sent to a subresource such as `/status`.
pub async fn changes_through(
    reader: &Caller,
    path: &str,
    subresource: &str,
    pointer: &str,
    value: Value,
) -> Vec<Request> {
    let current = reader.get(path).await;
    let mut whole = current.clone();
    put(&mut whole, pointer, value.clone());
    if value.is_null() {
        drop_at(&mut whole, pointer);
    }
    let mut part = json!({});
    put(&mut part, pointer, value.clone());
    let target = format!("{path}{subresource}");
    let operation = if value.is_null() { "remove" } else { "add" };
    vec![
        replace(&target, whole),
        merge(&target, part),
        patch(&target, json!([{ "op": operation, "path": pointer, "value": value }])),
    ]
}

/// Sets what a JSON pointer names, making what is on the way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = json!({});
        }
        place = place.as_object_mut().expect("a pointer leads through objects").entry(key).or_insert(Value::Null);
    }
    *place = value;
}

/// Removes what a JSON pointer names.
fn drop_at(object: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    parent.remove(&key.replace("~1", "/").replace("~0", "~"));
}

/// A refusal.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

/// Somebody with a client.
pub struct Caller {
    pub name: &'static str,
    client: Client,
}

impl Caller {
    pub fn new(name: &'static str, client: Client) -> Self {
        Self { name, client }
    }

    /// Sends a request.
    pub async fn tries(&self, request: &Request) -> Result<Value, Refusal> {
        let body = if request.body.is_null() { Vec::new() } else { serde_json::to_vec(&request.body).unwrap() };
        let sent = http::Request::builder()
            .method(request.method)
            .uri(&request.path)
            .header("content-type", request.content)
            .body(body)
            .unwrap();
        match self.client.request_text(sent).await {
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
            Err(kube::Error::Api(status)) => Err(Refusal { code: status.code, message: status.message.clone() }),
            Err(error) => panic!("{} got no answer to {request:?}: {error}", self.name),
        }
    }

    /// Reads an object that must be there.
    pub async fn get(&self, path: &str) -> Value {
        self.may(&read(path)).await
    }

    /// Sends a request that must be allowed.
    pub async fn may(&self, request: &Request) -> Value {
        match self.tries(request).await {
            Ok(answer) => answer,
            Err(refusal) => panic!(
                "{} should have been allowed\n  {} {}\nbut was refused:\n  {}",
                self.name, request.method, request.path, refusal.message
            ),
        }
    }

    /// Sends a request that this rule of the fence must refuse, and no other.
    pub async fn may_not(&self, request: &Request, rule: Rule) {
        let prefix = format!(
            "ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: steading: ",
            policy = rule.policy
        );
        let attack = format!("{}: {} {} {}", self.name, request.method, request.path, request.body);
        match self.tries(request).await {
            Ok(_) => panic!("THE FENCE LET THROUGH\n  {attack}\nwhich this rule refuses:\n  {rule:?}"),
            Err(refusal) => {
                let by_rule = refusal.message.contains(&prefix) && refusal.message.contains(rule.says);
                assert!(
                    by_rule,
                    "THE FENCE LET THROUGH\n  {attack}\nwhich this rule refuses:\n  {rule:?}\nand something else refused it:\n  {}",
                    refusal.message
                );
            }
        }
    }

    /// Sends requests that this rule must refuse, one after the other.
    pub async fn may_not_any(&self, requests: &[Request], rule: Rule) {
        assert!(!requests.is_empty(), "no attack, no proof");
        for request in requests {
            self.may_not(request, rule).await;
        }
    }
}
