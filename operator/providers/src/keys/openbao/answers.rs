//! What the server answers.
//!
//! In: JSON bodies. Out: the fields that we use, and what they say about a key. The `vaultrs` crate has types for these too, but
//! its key lacks `auto_rotate_period`, `latest_version` and `soft_deleted`, without which drift and rotation cannot be seen.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    fault::{Fault, reasons},
    keys::KeyObserved,
    wire::Answer,
};

/// The only kind of key that we make: AES-256 in Galois/Counter mode.
pub(super) const KEY_TYPE: &str = "aes256-gcm96";

/// The wrapping of every answer.
#[derive(Deserialize)]
pub(super) struct Wrapped<T> {
    pub(super) data: T,
}

/// A key as the engine shows it.
#[allow(clippy::struct_excessive_bools)] // the server's answer, field by field
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeyData {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) latest_version: u64,
    #[serde(default)]
    pub(super) min_available_version: u64,
    #[serde(default)]
    pub(super) min_decryption_version: u64,
    #[serde(default)]
    pub(super) auto_rotate_period: u64,
    pub(super) deletion_allowed: bool,
    pub(super) exportable: bool,
    pub(super) allow_plaintext_backup: bool,
    #[serde(default)]
    pub(super) derived: bool,
    /// Absent where there is no soft delete (Vault).
    #[serde(default)]
    pub(super) soft_deleted: Option<bool>,
    /// Version to when it was made, in seconds since 1970; other kinds of keys have objects here.
    #[serde(default)]
    pub(super) keys: BTreeMap<String, Value>,
}

impl KeyData {
    /// Refuses a key with a property that cannot be taken back.
    pub(super) fn check_fit(&self, what: &str) -> Result<(), Fault> {
        let flaw = if self.kind != KEY_TYPE || self.derived {
            format!(
                "is of type `{}`{} instead of `{KEY_TYPE}`",
                self.kind,
                if self.derived { " (derived)" } else { "" }
            )
        } else if self.exportable {
            "is exportable".to_owned()
        } else if self.allow_plaintext_backup {
            "allows plaintext backups".to_owned()
        } else {
            return Ok(());
        };
        Err(Fault::stalled(
            reasons::KEY_UNFIT,
            format!(
                "{what} {flaw}, which cannot be taken back: re-encrypt what it protects, remove it, and a new one is made"
            ),
        ))
    }

    /// Whether all older versions are withheld because there is no soft delete.
    pub(super) fn is_withheld(&self) -> bool {
        self.soft_deleted.is_none()
            && self.auto_rotate_period == 0
            && self.latest_version > 1
            && self.min_decryption_version == self.latest_version
    }

    /// The key in our words.
    pub(super) fn observed(&self, evidence: String) -> KeyObserved {
        let made = |version: u64| {
            let seconds = self.keys.get(&version.to_string())?.as_i64()?;
            Timestamp::from_second(seconds).ok()
        };
        let oldest = self.keys.keys().filter_map(|version| version.parse().ok()).min();
        KeyObserved {
            name: self.name.clone(),
            latest_version: self.latest_version,
            rotation_period: (self.auto_rotate_period > 0).then(|| Duration::from_secs(self.auto_rotate_period)),
            created: oldest.and_then(made),
            last_rotated: if self.latest_version > 1 { made(self.latest_version) } else { None },
            enabled: self.soft_deleted != Some(true) && !self.is_withheld(),
            released: self.auto_rotate_period == 0,
            deletion_allowed: self.deletion_allowed,
            evidence,
        }
    }
}

/// A session as it is issued.
#[derive(Deserialize)]
pub(super) struct LoginAnswer {
    pub(super) auth: LoginAuth,
}

/// The part of a session that we use.
#[derive(Deserialize)]
pub(super) struct LoginAuth {
    pub(super) client_token: SecretString,
    /// Seconds that the token lives; 0 means that it does not end.
    pub(super) lease_duration: u64,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// The server's own words for what is wrong; empty if it has none.
pub(super) fn errors_of(answer: &Answer) -> String {
    serde_json::from_slice::<Errors>(&answer.body).map(|body| body.errors.join("; ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(change: impl FnOnce(&mut Value)) -> KeyData {
        let mut body = json!({
            "name": "steading-prod-x", "type": "aes256-gcm96", "derived": false, "deletion_allowed": false, "exportable": false,
            "allow_plaintext_backup": false, "latest_version": 3, "min_available_version": 0, "min_decryption_version": 1,
            "auto_rotate_period": 7_776_000, "soft_deleted": false, "keys": {"1": 1_750_000_000, "2": 1_750_000_100, "3": 1_750_000_200}
        });
        change(&mut body);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_key_is_told_with_its_period_versions_and_times() {
        let seen = key(|_| ()).observed("e".to_owned());
        assert_eq!(seen.rotation_period, Some(Duration::from_hours(24 * 90)));
        assert_eq!(seen.latest_version, 3);
        assert_eq!(seen.created, Timestamp::from_second(1_750_000_000).ok());
        assert_eq!(seen.last_rotated, Timestamp::from_second(1_750_000_200).ok());
        assert!(seen.enabled && !seen.released && !seen.deletion_allowed);
    }

    #[test]
    fn the_tenth_version_is_newer_than_the_ninth() {
        let seen = key(|body| {
            body["latest_version"] = json!(10);
            body["keys"] = json!({"9": 100, "10": 200});
        });
        let seen = seen.observed(String::new());
        assert_eq!(
            (seen.created, seen.last_rotated),
            (Timestamp::from_second(100).ok(), Timestamp::from_second(200).ok())
        );
    }

    #[test]
    fn a_key_that_never_rotated_has_no_last_rotation() {
        let seen = key(|body| {
            body["latest_version"] = json!(1);
            body["keys"] = json!({"1": 100});
        });
        assert_eq!(seen.observed(String::new()).last_rotated, None);
    }

    #[test]
    fn a_key_without_period_is_released() {
        assert!(key(|body| body["auto_rotate_period"] = json!(0)).observed(String::new()).released);
    }

    #[test]
    fn a_soft_deleted_key_is_not_enabled() {
        assert!(!key(|body| body["soft_deleted"] = json!(true)).observed(String::new()).enabled);
    }

    #[test]
    fn without_soft_delete_a_key_is_disabled_once_all_older_versions_are_withheld() {
        let vault = |period: u64, oldest: u64| {
            key(move |body| {
                body.as_object_mut().unwrap().remove("soft_deleted");
                body["auto_rotate_period"] = json!(period);
                body["min_decryption_version"] = json!(oldest);
            })
        };
        assert!(!vault(0, 3).observed(String::new()).enabled);
        assert!(vault(0, 2).observed(String::new()).enabled, "an older version still decrypts");
        assert!(vault(3600, 3).observed(String::new()).enabled, "a raised minimum alone is the platform's own choice");
        assert!(
            key(|body| {
                body["auto_rotate_period"] = json!(0);
                body["min_decryption_version"] = json!(3);
            })
            .observed(String::new())
            .enabled,
            "OpenBao says itself whether it is deleted"
        );
    }

    #[test]
    fn what_cannot_be_taken_back_makes_a_key_unfit() {
        let unfit = |change: fn(&mut Value)| key(change).check_fit("key `x`").unwrap_err();
        for (fault, word) in [
            (unfit(|body| body["exportable"] = json!(true)), "exportable"),
            (unfit(|body| body["allow_plaintext_backup"] = json!(true)), "plaintext"),
            (unfit(|body| body["type"] = json!("rsa-2048")), "rsa-2048"),
            (unfit(|body| body["derived"] = json!(true)), "derived"),
        ] {
            assert_eq!(fault.reason, reasons::KEY_UNFIT);
            assert!(fault.message.starts_with("key `x`") && fault.message.contains(word), "{fault}");
        }
        assert!(key(|_| ()).check_fit("x").is_ok());
    }
}
