//! Answers that an API server gives when it refuses or fails. In: what went wrong, and the request. Out: code, headers and body as the
//! API server writes them, reason and causes included, since clients decide by those.

use http::StatusCode;
use serde_json::{Value, json};

use super::Asked;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409: the object changed meanwhile.
    Conflict,
    /// 409: one of that name exists.
    AlreadyExists,
    /// 422: a field is not as it must be.
    Invalid,
    /// 403: a ResourceQuota is spent.
    OverQuota,
    /// 403: no role allows it.
    Forbidden,
    /// 403: the namespace is on its way out.
    Terminating,
    /// 410: the revision from which a watch is to resume is no longer kept.
    Expired,
    /// 429: come back after so many seconds.
    TooMany(u16),
    /// 500.
    Internal,
    /// 503.
    Unavailable,
    /// 504: the store did not answer in time, and whether it did what was asked is not known.
    GatewayTimeout,
}

/// An answer.
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) retry_after: Option<u16>,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Refusal {
    /// The answer to this request.
    pub(super) fn answer(self, asked: &Asked) -> Answer {
        if let Self::TooMany(seconds) = self {
            // Priority and fairness answer in plain text.
            let body = "Too many requests, please try again later.\n".to_owned();
            let code = StatusCode::TOO_MANY_REQUESTS;
            return Answer { code, retry_after: Some(seconds), kind: "text/plain; charset=utf-8", body };
        }
        let status = self.status(asked);
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Answer { code, retry_after: None, kind: "application/json", body: status.to_string() }
    }

    /// The body of that answer; also what a watch sends as an event of type `ERROR`.
    pub fn status(self, asked: &Asked) -> Value {
        let (resource, name, namespace) = (asked.resource(), asked.name(), asked.namespace());
        let thing = format!("{resource} \"{name}\"");
        let (code, reason, message, causes) = match self {
            Self::Conflict => (
                409,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on {thing}: the object has been modified; please apply your changes to the latest version and try again"
                ),
                json!([]),
            ),
            Self::AlreadyExists => (409, "AlreadyExists", format!("{thing} already exists"), json!([])),
            Self::Invalid => (
                422,
                "Invalid",
                format!("{thing} is invalid: spec: Invalid value: \"wire\": must not be so"),
                json!([{ "reason": "FieldValueInvalid", "field": "spec",
                         "message": "Invalid value: \"wire\": must not be so" }]),
            ),
            Self::OverQuota => (
                403,
                "Forbidden",
                format!(
                    "{thing} is forbidden: exceeded quota: wire, requested: count/{resource}=1, used: count/{resource}=9, limited: count/{resource}=9"
                ),
                json!([]),
            ),
            Self::Forbidden => (
                403,
                "Forbidden",
                format!(
                    "{thing} is forbidden: User \"system:serviceaccount:steading-system:steading\" cannot do that to resource \"{resource}\" in the namespace \"{namespace}\""
                ),
                json!([]),
            ),
            Self::Terminating => {
                let told = format!("namespace {namespace} is being terminated");
                let message = format!(
                    "{thing} is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
                );
                let cause = json!({ "reason": "NamespaceTerminating", "message": told, "field": "metadata.namespace" });
                (403, "Forbidden", message, json!([cause]))
            }
            Self::Expired => (410, "Expired", "too old resource version: 1 (2)".to_owned(), json!([])),
            Self::TooMany(_) => {
                (429, "TooManyRequests", "Too many requests, please try again later.".into(), json!([]))
            }
            Self::Internal => (500, "InternalError", "Internal error occurred: lost on the wire".into(), json!([])),
            Self::Unavailable => (
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request".to_owned(),
                json!([]),
            ),
            Self::GatewayTimeout => (
                504,
                "Timeout",
                "Timeout: request did not complete within the requested timeout - context deadline exceeded".to_owned(),
                json!([]),
            ),
        };
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code, "details": { "name": name, "kind": resource, "causes": causes },
        })
    }
}
