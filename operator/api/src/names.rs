//! Names that are safe wherever they are used, made of text that was checked once.
//!
//! In: names as users wrote them, UIDs. Out: newtypes that cannot hold anything else, and the names derived from them.
//! Whatever holds a value of these types may put it into labels, paths, policies and arguments without a second look.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::rules;

/// The text is not a name of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {expected}")]
pub struct InvalidName {
    /// What it should have been, with article.
    pub what: &'static str,
    /// The text.
    pub text: String,
    /// What to write instead.
    pub expected: &'static str,
}

/// Whether `text` is a DNS label (RFC 1123) of at most `max` characters.
fn is_dns_label(text: &str, max: usize) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=max).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

macro_rules! dns_label {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_dns_label(text, $max) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName {
                        what: $what,
                        text: text.chars().take(80).collect(),
                        expected: "write lower-case letters, digits and dashes, beginning and ending with a letter or digit",
                    })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

dns_label!(
    /// Name of a Tenant and of its control namespace: a DNS label of at most 27 characters.
    TenantName, "the name of a Tenant", rules::NAME_MAX
);
dns_label!(
    /// Name of a Workspace: a DNS label of at most 27 characters.
    WorkspaceName, "the name of a Workspace", rules::NAME_MAX
);
dns_label!(
    /// Name of a TenantClass: a DNS label of at most 40 characters.
    ClassName, "the name of a TenantClass", rules::CLASS_NAME_MAX
);
dns_label!(
    /// The installation id: marks everything outside the cluster as this installation's. A DNS label of at most 40 characters.
    Installation, "an installation id", 40
);
dns_label!(
    /// The namespace of a consumer: a DNS label of at most 63 characters.
    ConsumerNamespace, "a namespace", 63
);

/// Name of a ServiceAccount: DNS labels with dots between them, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccountName(String);

impl FromStr for ServiceAccountName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= 63 && text.split('.').all(|label| is_dns_label(label, 63)) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName {
            what: "the name of a ServiceAccount",
            text: text.chars().take(80).collect(),
            expected: "write lower-case letters, digits, dashes and dots",
        })
    }
}

impl fmt::Display for ServiceAccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What everything of a Tenant or Workspace outside the cluster derives from: a UUID, never a name that somebody could reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Uuid);

impl FromStr for Identity {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let canonical = Uuid::try_parse(text).ok().filter(|uuid| uuid.hyphenated().to_string() == text);
        canonical.map(Self).ok_or_else(|| InvalidName {
            what: "an identity",
            text: text.chars().take(80).collect(),
            expected: "write a lower-case UUID with dashes",
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Name of a stack namespace: `<tenant>-<workspace>-<6 characters of base32(SHA-256(identity))>`, at most 62 characters.
///
/// The hash keeps `a-b`/`c` and `a`/`b-c` apart, and a re-created Workspace from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackNamespace(String);

impl StackNamespace {
    /// The name for the Workspace of this identity.
    #[must_use]
    pub fn of(tenant: &TenantName, workspace: &WorkspaceName, identity: &Identity) -> Self {
        let hash = data_encoding::BASE32_NOPAD.encode(&Sha256::digest(identity.to_string().as_bytes())).to_lowercase();
        Self(format!("{tenant}-{workspace}-{}", hash.chars().take(6).collect::<String>()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";
    const OTHER: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5c";

    fn stack(tenant: &str, workspace: &str, identity: &str) -> String {
        StackNamespace::of(&tenant.parse().unwrap(), &workspace.parse().unwrap(), &identity.parse().unwrap())
            .to_string()
    }

    #[test]
    fn dashes_in_names_do_not_make_two_workspaces_one() {
        assert_ne!(stack("a-b", "c", IDENTITY), stack("a", "b-c", OTHER));
    }

    #[test]
    fn a_recreated_workspace_gets_another_namespace() {
        assert_ne!(stack("acme", "finance", IDENTITY), stack("acme", "finance", OTHER));
    }

    #[test]
    fn the_longest_names_fit_a_label() {
        let longest = "x".repeat(27);
        assert_eq!(stack(&longest, &longest, IDENTITY).len(), 62);
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a b",
            "a/b",
            "a\n",
            "ä",
            "a\u{202e}b",
            "a'b",
            "$(id)",
            "{{x}}",
            &"x".repeat(28),
        ] {
            assert!(text.parse::<TenantName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn an_identity_has_one_spelling() {
        assert!(IDENTITY.parse::<Identity>().is_ok());
        for text in [
            "3F0A4C8E-2B1D-4E5F-8A9B-0C1D2E3F4A5B",
            "3f0a4c8e2b1d4e5f8a9b0c1d2e3f4a5b",
            "{3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b}",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
