//! What the session of an identity may do.
//!
//! In: an [`IdentitySpec`]. Out: a policy document made by serde. The session can do what its issuer can *and* this policy allows:
//! so everything that is not named here is refused, other buckets above all.

use serde_json::Value;

use super::{Access, IdentitySpec};
use crate::buckets::policy::{Document, Effect, Statement, arn_of, denials, objects_of};

/// The policy of the session.
pub fn for_session(spec: &IdentitySpec) -> Value {
    let allow = |sid, action: &[&'static str], resource| Statement {
        sid,
        effect: Effect::Allow,
        principal: None,
        action: action.to_vec(),
        resource: vec![resource],
        condition: None,
    };
    let mut statements = vec![
        allow(
            "SeeTheBucket",
            &["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"],
            arn_of(&spec.bucket),
        ),
        allow("ReadObjects", &["s3:GetObject", "s3:GetObjectVersion"], objects_of(&spec.bucket)),
    ];
    if spec.access == Access::ReadWrite {
        statements.push(allow("SeeUploads", &["s3:ListBucketMultipartUploads"], arn_of(&spec.bucket)));
        statements.push(allow(
            "WriteObjects",
            &["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            objects_of(&spec.bucket),
        ));
    }
    statements.extend(denials(&spec.bucket, spec.key_name.as_deref(), None));
    Document::of(statements).to_json()
}

#[cfg(test)]
mod tests;
