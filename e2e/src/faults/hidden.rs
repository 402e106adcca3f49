//! What Secrets hide. In: the bodies of writes of Secrets. Out: whether one of their entries stands in another text, in the clear or as base64.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::Value;

/// Entries that nobody else may know.
const ENTRIES: [&str; 5] =
    ["secretAccessKey", "sessionToken", "tls.key", "bucket-secret-access-key", "bucket-session-token"];

/// See the module.
#[derive(Default)]
pub(super) struct Hidden(BTreeMap<String, &'static str>);

impl Hidden {
    /// Keeps in mind what this Secret hides.
    pub(super) fn learn(&mut self, secret: &Value) {
        for entry in ENTRIES {
            let Some(encoded) = secret["data"][entry].as_str() else { continue };
            let clear = BASE64.decode(encoded.as_bytes()).ok().and_then(|clear| String::from_utf8(clear).ok());
            for form in clear.into_iter().chain([encoded.to_owned()]).filter(|form| !form.is_empty()) {
                self.0.insert(form, entry);
            }
        }
    }

    /// Which entry of a Secret stands in this text, if one does.
    pub(super) fn is_in(&self, text: &str) -> Option<&'static str> {
        self.0.iter().find(|(form, _)| text.contains(form.as_str())).map(|(_, entry)| *entry)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_secret_hides_is_found_in_both_forms_and_what_it_tells_is_not() {
        let mut hidden = Hidden::default();
        let data = json!({ "tls.key": BASE64.encode(b"a-private-key"), "tls.crt": BASE64.encode(b"a-certificate") });
        hidden.learn(&json!({ "data": data }));
        for text in ["it is a-private-key", &format!("it is {}", BASE64.encode(b"a-private-key"))] {
            assert_eq!(hidden.is_in(text), Some("tls.key"), "{text}");
        }
        assert_eq!(hidden.is_in("a-certificate"), None);
    }
}
