//! What went wrong, classed by consequence: the class alone decides requeue, condition and event.
//!
//! In: errors of the API server and of providers. Out: [`Fault`], with a documented reason and a message that names the object and
//! the way out. Messages hold nothing that differs from try to try, or status would be written for ever.

use std::time::Duration;

use api::conditions as reasons;

/// What a fault means for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// There is a reason to come back after this delay; status says for what.
    Waiting(Duration),
    /// A person or another system must act. Looked at again every five minutes ± 20 % and on any change.
    Stalled,
    /// Tried again with growing delay.
    Transient,
    /// The API server refuses it: waits half a minute for fresh role bindings, then stalls.
    Forbidden,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Fault {
    /// What it means.
    pub class: Class,
    /// One of [`api::conditions::REASONS`].
    pub reason: &'static str,
    /// Which object, what is wrong, what to do.
    pub message: String,
}

impl Fault {
    /// Comes back after `after`.
    pub fn waiting(after: Duration, reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Waiting(after), reason, message: message.into() }
    }

    /// Needs somebody to act.
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Stalled, reason, message: message.into() }
    }

    /// Is tried again.
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Transient, reason, message: message.into() }
    }

    /// Whether it says that there was no look or no answer, and nothing of what was asked about.
    #[must_use]
    pub fn tells_nothing(&self) -> bool {
        self.class == Class::Transient
            || [reasons::THROTTLED, reasons::FENCE_DOWN, reasons::ENFORCEMENT_UNPROVEN].contains(&self.reason)
    }

    /// A request to the API server failed. `doing` names verb and object: `apply NetworkPolicy acme-finance-ab12cd/deny-all`.
    pub fn api(error: &kube::Error, doing: &str) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::transient(
                reasons::API_UNAVAILABLE,
                format!("cannot {doing}: the API server does not answer ({})", kind_of(error)),
            );
        };
        let said = shorten(&status.message);
        match status.code {
            403 if is_terminating(status) => Self::waiting(
                Duration::from_secs(2),
                reasons::NAMESPACE_TERMINATING,
                format!("cannot {doing}: its namespace is being deleted"),
            ),
            403 => {
                Self { class: Class::Forbidden, reason: reasons::FORBIDDEN, message: format!("cannot {doing}: {said}") }
            }
            404 => Self::transient(reasons::CONFLICT, format!("cannot {doing}: it or its namespace is gone")),
            409 => Self::transient(reasons::CONFLICT, format!("cannot {doing}: it was changed at the same time")),
            429 => match status.details.as_ref().map_or(0, |details| details.retry_after_seconds) {
                0 => Self::transient(
                    reasons::API_UNAVAILABLE,
                    format!("cannot {doing}: the API server has too much to do"),
                ),
                seconds => Self::waiting(
                    Duration::from_secs(seconds.into()),
                    reasons::THROTTLED,
                    format!("cannot {doing}: the API server asks for fewer requests"),
                ),
            },
            422 if is_another(status) => {
                Self::transient(reasons::CONFLICT, format!("cannot {doing}: another object has its name by now"))
            }
            400 | 405 | 406 | 413 | 415 | 422 => Self::stalled(reasons::REJECTED, format!("cannot {doing}: {said}")),
            code => Self::transient(reasons::API_UNAVAILABLE, format!("cannot {doing}: the API server answers {code}")),
        }
    }
}

/// Whether a 403 says that the namespace is on its way out, which is no question of rights.
fn is_terminating(status: &kube::core::Status) -> bool {
    let by_cause = status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"));
    by_cause || status.message.contains("because it is being terminated")
}

/// Whether a 422 says that the object is not the one that was meant: its UID is another, which is nobody's fault and passes.
fn is_another(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.field == "metadata.uid"))
}

/// The sort of failure without addresses and numbers, which differ from try to try.
fn kind_of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::HyperError(_) | kube::Error::Service(_) => "the connection failed",
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "the answer is not what was expected",
        kube::Error::Auth(_) => "Steading cannot sign in",
        _ => "the request failed",
    }
}

/// At most 600 characters, so that a condition stays readable.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 600 { text.to_owned() } else { text.chars().take(600).chain("…".chars()).collect() }
}

impl From<api::InvalidName> for Fault {
    fn from(error: api::InvalidName) -> Self {
        Self::stalled(reasons::INVALID_SPEC, error.to_string())
    }
}

impl From<api::InvalidAmount> for Fault {
    fn from(error: api::InvalidAmount) -> Self {
        Self::stalled(reasons::INVALID_SPEC, error.to_string())
    }
}

impl From<api::duration::InvalidDuration> for Fault {
    fn from(error: api::duration::InvalidDuration) -> Self {
        Self::stalled(reasons::INVALID_SPEC, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{Status, response::StatusSummary};
    use serde_json::json;

    use super::*;

    fn answer(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            status: Some(StatusSummary::Failure),
            code,
            message: message.to_owned(),
            metadata: None,
            reason: String::new(),
            details: None,
        }))
    }

    #[test]
    fn each_answer_has_its_consequence() {
        for (code, class) in [
            (403, Class::Forbidden),
            (404, Class::Transient),
            (409, Class::Transient),
            (422, Class::Stalled),
            (429, Class::Transient),
            (500, Class::Transient),
        ] {
            assert_eq!(Fault::api(&answer(code, "no"), "apply X").class, class, "{code}");
        }
    }

    #[test]
    fn the_api_server_is_asked_again_when_it_wished() {
        let status = json!({ "status": "Failure", "code": 429, "details": { "retryAfterSeconds": 60 } });
        let status: Status = serde_json::from_value(status).unwrap();
        let fault = Fault::api(&kube::Error::Api(Box::new(status)), "apply X");
        assert_eq!((fault.class, fault.reason), (Class::Waiting(Duration::from_mins(1)), reasons::THROTTLED));
        assert!(fault.tells_nothing());
    }

    /// A refusal with this cause.
    fn because(code: u16, cause: &serde_json::Value) -> kube::Error {
        let status = json!({ "status": "Failure", "code": code, "message": "no", "details": { "causes": [cause] } });
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn a_namespace_on_its_way_out_is_no_question_of_rights() {
        let told = "x is forbidden: unable to create new content in namespace n because it is being terminated";
        let cause = |reason: &str| because(403, &json!({ "reason": reason, "message": "x" }));
        for error in [answer(403, told), cause("NamespaceTerminating")] {
            assert_eq!(Fault::api(&error, "apply X").reason, reasons::NAMESPACE_TERMINATING);
        }
        assert_eq!(Fault::api(&cause("Other"), "apply X").reason, reasons::FORBIDDEN);
    }

    #[test]
    fn without_an_answer_the_message_says_what_failed_and_nothing_that_differs_from_try_to_try() {
        let connection = kube::Error::Service("connect to 192.0.2.7:6443 from port 51723".into());
        let answer = kube::Error::SerdeError(serde_json::from_str::<u8>("{").unwrap_err());
        for (error, said) in [
            (connection, "the connection failed"),
            (answer, "the answer is not what was expected"),
            (kube::Error::Auth(kube::client::AuthError::MissingCommand), "Steading cannot sign in"),
            (kube::Error::LinesCodecMaxLineLengthExceeded, "the request failed"),
        ] {
            let fault = Fault::api(&error, "apply X");
            assert_eq!(fault.message, format!("cannot apply X: the API server does not answer ({said})"));
            assert_eq!((fault.class, fault.reason), (Class::Transient, reasons::API_UNAVAILABLE));
        }
    }

    #[test]
    fn a_fence_that_is_down_says_nothing_of_what_it_kept_from_being_looked_at() {
        let down = Fault::waiting(Duration::from_secs(30), reasons::FENCE_DOWN, "d");
        assert!(down.tells_nothing());
        assert!(!Fault::stalled(reasons::DENIED, "d").tells_nothing());
    }

    #[test]
    fn an_object_that_was_replaced_meanwhile_is_no_bad_request() {
        let cause =
            |field: &str| because(422, &json!({ "reason": "FieldValueInvalid", "field": field, "message": "x" }));
        let fault = Fault::api(&cause("metadata.uid"), "apply X");
        assert_eq!((fault.class, fault.reason), (Class::Transient, reasons::CONFLICT));
        assert_eq!(Fault::api(&cause("spec.hard"), "apply X").class, Class::Stalled);
    }

    #[test]
    fn what_was_said_is_repeated_as_far_as_a_condition_stays_readable() {
        let (longest, longer) = ("é".repeat(600), "é".repeat(601));
        assert_eq!(shorten(&longest), longest);
        assert_eq!(shorten(&longer), longest + "…");
    }

    #[test]
    fn messages_name_what_was_tried_and_what_was_said() {
        let fault = Fault::api(&answer(403, "no such right"), "apply NetworkPolicy n/deny-all");
        assert!(fault.message.contains("NetworkPolicy n/deny-all") && fault.message.contains("no such right"));
    }
}
