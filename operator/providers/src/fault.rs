//! What went wrong outside the cluster, classed by what must happen next.
//!
//! In: refusals and failures of servers. Out: a [`Fault`] whose class alone decides whether the caller waits, asks a person to
//! act, or tries again with growing delay. Messages name the object, the endpoint and the next step; they never hold a secret.

use std::{fmt, time::Duration};

/// Reasons as they stand in conditions. The operator checks that each of [`ALL`](reasons::ALL) is documented.
pub mod reasons {
    /// A thing was created and cannot be seen yet.
    pub const CREATING: &str = "Creating";
    /// A change was made and does not show yet.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is being removed and is still there.
    pub const DELETING: &str = "Deleting";
    /// The server asks for fewer requests.
    pub const THROTTLED: &str = "Throttled";
    /// The server refuses the credentials or the operation.
    pub const DENIED: &str = "Denied";
    /// A thing of the expected name is not ours; it is left alone.
    pub const FOREIGN: &str = "Foreign";
    /// A value that was handed in cannot be used.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The server understands the request and finds it wrong, or lacks what it speaks of (a mount, a role, a region).
    pub const PROVIDER_REFUSED: &str = "ProviderRefused";
    /// The server does not answer, or answers with an error of its own.
    pub const PROVIDER_UNAVAILABLE: &str = "ProviderUnavailable";
    /// The key was disabled, deleted or lost by somebody else.
    pub const KEY_DISABLED: &str = "KeyDisabled";
    /// The key has a property that cannot be taken back, such as being exportable.
    pub const KEY_UNFIT: &str = "KeyUnfit";
    /// Only the store's own key could encrypt, and nobody consented to that.
    pub const ENCRYPTION_CONSENT_REQUIRED: &str = "EncryptionConsentRequired";
    /// The store cannot encrypt a bucket by default at all.
    pub const ENCRYPTION_UNSUPPORTED: &str = "EncryptionUnsupported";
    /// The bucket cannot be emptied, for example because objects are locked.
    pub const BUCKET_NOT_EMPTY: &str = "BucketNotEmpty";
    /// The store does not move objects to the class of storage that was asked for.
    pub const STORAGE_CLASS_REFUSED: &str = "StorageClassRefused";
    /// Somebody else's lifecycle rules delete or move what is to be kept.
    pub const LIFECYCLE_CONFLICT: &str = "LifecycleConflict";

    /// Several stores of the tenant's name hold something, and none of them is known to be the right one.
    pub const STORE_AMBIGUOUS: &str = "StoreAmbiguous";
    /// The newest model of the store has a type of the name of one of ours that means something else.
    pub const MODEL_CONFLICT: &str = "ModelConflict";

    /// Every reason that this crate can give.
    pub const ALL: &[&str] = &[
        CREATING,
        PROGRESSING,
        DELETING,
        THROTTLED,
        DENIED,
        FOREIGN,
        INVALID_SPEC,
        PROVIDER_REFUSED,
        PROVIDER_UNAVAILABLE,
        KEY_DISABLED,
        KEY_UNFIT,
        ENCRYPTION_CONSENT_REQUIRED,
        ENCRYPTION_UNSUPPORTED,
        BUCKET_NOT_EMPTY,
        STORAGE_CLASS_REFUSED,
        LIFECYCLE_CONFLICT,
        STORE_AMBIGUOUS,
        MODEL_CONFLICT,
    ];
}

/// What must happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing is wrong: come back after this time.
    Waiting {
        /// Shortest time to wait, 1 second to 10 minutes.
        after: Duration,
    },
    /// A person or another system must act; looked at again now and then.
    Stalled,
    /// A failure that may pass by itself: tried again with growing delay.
    Transient,
}

/// A refusal or failure outside the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    /// What must happen next.
    pub class: Class,
    /// One of [`reasons::ALL`].
    pub reason: &'static str,
    /// What happened, to which object at which endpoint, and the next step.
    pub message: String,
}

impl Fault {
    /// Shortest wait that a server can ask for, so that a broken one cannot make us spin.
    pub const SHORTEST_WAIT: Duration = Duration::from_secs(1);
    /// Longest wait that a server can ask for, so that a broken one cannot put us to sleep.
    pub const LONGEST_WAIT: Duration = Duration::from_mins(10);

    /// Come back after `after` (held between [`Self::SHORTEST_WAIT`] and [`Self::LONGEST_WAIT`]).
    pub fn waiting(reason: &'static str, after: Duration, message: impl Into<String>) -> Self {
        let after = after.clamp(Self::SHORTEST_WAIT, Self::LONGEST_WAIT);
        Self { class: Class::Waiting { after }, reason, message: message.into() }
    }

    /// Somebody must act.
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Stalled, reason, message: message.into() }
    }

    /// Try again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { class: Class::Transient, reason: reasons::PROVIDER_UNAVAILABLE, message: message.into() }
    }

    /// The server asks for fewer requests; without a time of its own, five seconds.
    pub fn throttled(retry_after: Option<Duration>, message: impl Into<String>) -> Self {
        Self::waiting(reasons::THROTTLED, retry_after.unwrap_or(Duration::from_secs(5)), message)
    }

    /// The server refuses the credentials or the operation.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::stalled(reasons::DENIED, message)
    }

    /// The object is somebody else's.
    pub fn foreign(message: impl Into<String>) -> Self {
        Self::stalled(reasons::FOREIGN, message)
    }

    /// What was handed in cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::stalled(reasons::INVALID_SPEC, message)
    }

    /// The server finds the request wrong.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::stalled(reasons::PROVIDER_REFUSED, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.class, self.reason, self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_neither_make_us_spin_nor_put_us_to_sleep() {
        assert_eq!(Fault::throttled(Some(Duration::ZERO), "x").class, Class::Waiting { after: Duration::from_secs(1) });
        assert_eq!(
            Fault::throttled(Some(Duration::from_hours(9)), "x").class,
            Class::Waiting { after: Duration::from_mins(10) }
        );
        assert_eq!(
            Fault::throttled(Some(Duration::from_secs(7)), "x").class,
            Class::Waiting { after: Duration::from_secs(7) }
        );
    }

    #[test]
    fn reasons_are_camel_case_and_told_once() {
        for (index, reason) in reasons::ALL.iter().enumerate() {
            assert!(
                reason.starts_with(|c: char| c.is_ascii_uppercase())
                    && reason.chars().all(|c| c.is_ascii_alphanumeric()),
                "{reason}"
            );
            assert!(!reasons::ALL[index + 1..].contains(reason), "{reason} stands twice");
        }
    }
}
