//! Looking for what Secrets hold where none of it may be. In: Secrets, and texts. Out: which of their entries stand in which text, in the
//! clear or as base64. Entries that everybody may know are left out, by name: all others count, so a new one counts too.

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

/// Entries that are no secret: certificates, and where and as whom to connect.
const PUBLIC: [&str; 24] = [
    "accessKeyID",
    "authorization-ca.crt",
    "authorization-endpoint",
    "authorization-object",
    "authorization-store-id",
    "bucket",
    "bucket-ca.crt",
    "bucket-endpoint",
    "bucket-expires-at",
    "bucket-region",
    "ca.crt",
    "database",
    "dbname",
    "host",
    "host-ro",
    "namespace",
    "port",
    "provider",
    "region",
    "sslmode",
    "tls.crt",
    "type",
    "user",
    "username",
];

/// Shorter values are in many texts without having come there.
const SHORTEST: usize = 8;

/// How much of a long value is looked for.
const EXCERPT: usize = 48;

/// An entry of a Secret, to be looked for.
pub struct Needle {
    /// Namespace, name and entry.
    pub entry: String,
    forms: Vec<String>,
}

impl Needle {
    /// All entries of a Secret that nobody else may know.
    pub fn all_of(secret: &Secret) -> Vec<Self> {
        let place = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
        let entries = secret.data.iter().flatten().filter(|(name, _)| !PUBLIC.contains(&name.as_str()));
        entries.filter_map(|(name, value)| Self::of(format!("{place}: {name}"), &value.0)).collect()
    }

    fn of(entry: String, value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).unwrap_or_default().trim();
        let mut forms = vec![excerpt(&BASE64.encode(value)).to_owned()];
        if text.starts_with("-----BEGIN ") {
            // Its first line is much the same in all keys.
            let body: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
            forms.push((*body.get(body.len() / 2)?).to_owned());
        } else if !text.is_empty() {
            forms.push(excerpt(text).to_owned());
        }
        (value.len() >= SHORTEST).then_some(Self { entry, forms })
    }

    /// Whether it stands in this text.
    pub fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

/// The middle of what is long: where a text breaks lines, or escapes them, the whole would not be found.
fn excerpt(text: &str) -> &str {
    let begin = text.len().saturating_sub(EXCERPT) / 2;
    text.get(begin..text.len().min(begin + EXCERPT)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAAAAAAAAAAAAAAA\nsecretmiddlelineofthekey\nlast==\n-----END EC PRIVATE KEY-----\n";

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries.iter().map(|(name, value)| ((*name).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect::<BTreeMap<_, _>>()), ..Secret::default() }
    }

    fn found(entries: &[(&str, &str)], text: &str) -> Vec<String> {
        let needles = Needle::all_of(&secret(entries));
        needles.into_iter().filter(|needle| needle.is_in(text)).map(|needle| needle.entry).collect()
    }

    #[test]
    fn a_value_is_found_in_the_clear_as_base64_and_with_its_lines_escaped() {
        for text in [
            "password=correct horse battery".to_owned(),
            format!("{{\"data\":\"{}\"}}", BASE64.encode(b"correct horse battery")),
        ] {
            assert_eq!(found(&[("password", "correct horse battery")], &text), ["/: password"], "{text}");
        }
        let escaped = KEY.replace('\n', "\\n");
        for text in [KEY, escaped.as_str(), BASE64.encode(KEY.as_bytes()).as_str()] {
            assert_eq!(found(&[("tls.key", KEY)], text), ["/: tls.key"], "{text}");
        }
    }

    #[test]
    fn what_everybody_may_know_and_what_another_key_begins_with_does_not_count() {
        assert!(
            found(&[("tls.crt", KEY), ("host", "database-rw.acme")], &format!("{KEY} database-rw.acme")).is_empty()
        );
        assert!(found(&[("tls.key", KEY)], "MHcCAQEEIAAAAAAAAAAAAAAA").is_empty());
        assert!(found(&[("pin", "1234")], "1234").is_empty());
    }
}
