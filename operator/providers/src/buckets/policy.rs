//! The policy of a bucket: TLS only, and no object under another key than the tenant's.
//!
//! In: a [`BucketSpec`]. Out: a policy document made by serde, so that no text can break out of its place, and a form of such
//! documents in which two that mean the same are equal.
//!
//! Every statement is a Deny: it takes away and grants nothing. A negated operator also holds where the header is absent, and
//! an object without header gets the bucket's default, so each of these conditions also demands that the header is there
//! (`Null: false`).

use serde::Serialize;
use serde_json::{Value, json};

use super::BucketSpec;

/// Header by which a writer names a key.
const KEY_HEADER: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
/// Header by which a writer names a kind of encryption.
const ENCRYPTION_HEADER: &str = "s3:x-amz-server-side-encryption";
/// Header by which a writer brings a key of its own.
const OWN_KEY_HEADER: &str = "s3:x-amz-server-side-encryption-customer-algorithm";

/// A policy document in the language that S3 and STS share.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    /// Version of the language.
    pub version: &'static str,
    /// The statements; order has no meaning.
    pub statement: Vec<Statement>,
}

/// One statement of a [`Document`].
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Name of the statement; letters and digits.
    pub sid: &'static str,
    /// `Allow` or `Deny`.
    pub effect: Effect,
    /// Whom it is about; absent in the policy of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<&'static str>,
    /// What it is about.
    pub action: Vec<&'static str>,
    /// Which buckets and objects it is about.
    pub resource: Vec<String>,
    /// When it applies; all must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

/// Whether a statement grants or takes away.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Takes away, whatever else is granted.
    Deny,
}

impl Document {
    /// A document of these statements.
    pub fn of(statement: Vec<Statement>) -> Self {
        Self { version: "2012-10-17", statement }
    }

    /// The document as it is sent.
    pub fn to_json(&self) -> Value {
        // Serialising strings, lists and values into a `Value` cannot fail.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// The Deny statements that keep writers to TLS and, if there is one, to the tenant's key. Shared by the policy of the bucket and
/// by the policies of the sessions that may use it.
pub fn denials(bucket: &str, key_name: Option<&str>, principal: Option<&'static str>) -> Vec<Statement> {
    let deny = |sid, action, resource, condition| Statement {
        sid,
        effect: Effect::Deny,
        principal,
        action: vec![action],
        resource,
        condition: Some(condition),
    };
    let objects = || vec![objects_of(bucket)];
    let mut statements = vec![
        deny(
            "TlsOnly",
            "s3:*",
            vec![arn_of(bucket), objects_of(bucket)],
            json!({"Bool": {"aws:SecureTransport": "false"}}),
        ),
        deny("NoKeyOfTheWriter", "s3:PutObject", objects(), json!({"Null": {OWN_KEY_HEADER: "false"}})),
    ];
    if let Some(key) = key_name {
        statements.push(deny(
            "NoOtherKey",
            "s3:PutObject",
            objects(),
            json!({"StringNotEquals": {KEY_HEADER: key}, "Null": {KEY_HEADER: "false"}}),
        ));
        statements.push(deny(
            "NoOtherEncryption",
            "s3:PutObject",
            objects(),
            json!({"StringNotEquals": {ENCRYPTION_HEADER: "aws:kms"}, "Null": {ENCRYPTION_HEADER: "false"}}),
        ));
    }
    statements
}

/// The policy that the bucket shall have.
pub fn for_bucket(want: &BucketSpec) -> Value {
    Document::of(denials(&want.name(), want.key_name().as_deref(), Some("*"))).to_json()
}

/// The bucket itself as policies name it.
pub fn arn_of(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// All objects of the bucket as policies name them.
pub fn objects_of(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}/*")
}

/// A form in which policies that mean the same are equal: single values as lists, lists sorted, `{"AWS": "*"}` as `*`, no version,
/// id or statement names. `None` if the document has no statement.
pub fn comparable(policy: &Value) -> Option<Value> {
    let statements = match policy.get("Statement")? {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    let mut normal: Vec<Value> = statements.iter().map(comparable_statement).collect();
    normal.sort_by_cached_key(Value::to_string);
    (!normal.is_empty()).then_some(Value::Array(normal))
}

fn comparable_statement(statement: &Value) -> Value {
    let Value::Object(fields) = statement else { return statement.clone() };
    let normal = fields.iter().filter(|(key, _)| *key != "Sid").map(|(key, value)| {
        let value = match key.as_str() {
            "Principal" => sorted(value.get("AWS").unwrap_or(value)),
            "Action" | "NotAction" | "Resource" | "NotResource" => sorted(value),
            "Condition" => comparable_condition(value),
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    Value::Object(normal.collect())
}

/// Operator by operator, key by key; values as sorted lists of text.
fn comparable_condition(condition: &Value) -> Value {
    let Value::Object(operators) = condition else { return condition.clone() };
    let normal = operators.iter().map(|(operator, keys)| {
        let keys = match keys {
            Value::Object(keys) => {
                Value::Object(keys.iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            other => other.clone(),
        };
        (operator.clone(), keys)
    });
    Value::Object(normal.collect())
}

fn sorted(value: &Value) -> Value {
    let texts = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut all: Vec<String> = match value {
        Value::Array(values) => values.iter().map(texts).collect(),
        one => vec![texts(one)],
    };
    all.sort();
    json!(all)
}

#[cfg(test)]
mod tests;
