//! What MinIO's administration does for identities: it ends them before their time.
//!
//! In: the name that they were made revocable as. Out: whether that is done, or cannot be done at this store. Our account may end
//! what it issued itself without any right of administration, so it needs none.
//!
//! A node of the store answers for itself: it ends what it knows of, at once. What another node issued lately, it may not know yet; all have
//! read the same after [`READ_AGAIN`]. Whoever must be sure asks a second time then.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use reqwest::{Client, Method, StatusCode, Url};

use super::{Revocation, check_revocable};
use crate::{
    buckets::s3::S3Config,
    fault::Fault,
    wire::{self, Answer},
};

/// How long it takes at most until every node of a store has read again what it knows of identities: MinIO's draw a time between 5 and 15
/// minutes each.
pub const READ_AGAIN: Duration = Duration::from_mins(16);

/// How stores say that they do not know who asks.
const STRANGER: [&str; 3] = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"];

/// The administration of a store, if it has one that is like MinIO's.
pub(super) struct Administration {
    endpoint: String,
    region: String,
    base: Url,
    credentials: Credentials,
    client: Client,
}

impl Administration {
    pub(super) fn new(config: &S3Config) -> Result<Self, Fault> {
        Ok(Self {
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            base: wire::endpoint(&config.endpoint)?,
            credentials: config.credentials(),
            client: wire::client(config.ca_bundle.as_deref(), None)?,
        })
    }

    /// Ends all identities of ours that are revocable as `name`.
    pub(super) async fn revoke(&self, name: &str) -> Result<Revocation, Fault> {
        check_revocable(name)?;
        // A store that has just begun to serve takes the order before it has read which identities there are, and forgets it. This list
        // is answered only when they are read.
        let listed = self.call(Method::GET, "list-service-accounts", None, &[]).await?;
        if let Some(answer) = self.judge(&listed, StatusCode::OK)? {
            return Ok(answer);
        }
        let ended = self.call(Method::POST, "revoke-tokens", Some("builtin"), &[("tokenRevokeType", name)]).await?;
        Ok(self.judge(&ended, StatusCode::NO_CONTENT)?.unwrap_or(Revocation::Immediate))
    }

    fn what(&self) -> String {
        format!("ending identities at {}", self.endpoint)
    }

    /// `None` if the store did it. A store without such an administration has no such address, or takes it for an object that we may not
    /// write; whatever guards the address of one that has it says the same. A store that does not know who asks has said nothing.
    fn judge(&self, answer: &Answer, done: StatusCode) -> Result<Option<Revocation>, Fault> {
        let status = answer.status;
        if status == done {
            return Ok(None);
        }
        let is_stranger = STRANGER.iter().any(|code| String::from_utf8_lossy(&answer.body).contains(code));
        if is_stranger {
            return Err(answer.fault(
                &self.what(),
                "",
                "the store does not know us: check the class's credentials and both clocks",
            ));
        }
        let comes_to_pass = matches!(status.as_u16(), 408 | 409 | 425 | 429 | 500 | 502..=599);
        if comes_to_pass || status.is_redirection() {
            return Err(answer.fault(&self.what(), "", "see the health of that server; it is asked again"));
        }
        Ok(Some(Revocation::ByExpiry))
    }

    async fn call(
        &self,
        method: Method,
        action: &str,
        of: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Answer, Fault> {
        let segments = ["minio", "admin", "v3", action].into_iter().chain(of);
        let mut url = wire::address(&self.base, segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method.clone(), url.clone());
        for (header, value) in self.signature(&method, &url)? {
            request = request.header(header, value);
        }
        wire::send(request, &self.what()).await
    }

    /// The headers by which the store knows who asks. It takes the signatures of S3.
    fn signature(&self, method: &Method, url: &Url) -> Result<Vec<(String, String)>, Fault> {
        let cannot = |why: &dyn std::fmt::Display| Fault::invalid(format!("{}: cannot be signed: {why}", self.what()));
        let identity = self.credentials.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| cannot(&error))?
            .into();
        let request = SignableRequest::new(method.as_str(), url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))
            .map_err(|error| cannot(&error))?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| cannot(&error))?.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::Class, fault::reasons};

    fn administration() -> Administration {
        Administration::new(&S3Config {
            endpoint: "https://s3.example:9000".into(),
            region: "eu-central-1".into(),
            ca_bundle: None,
            access_key_id: "steading".into(),
            secret_access_key: "hidden".to_owned().into(),
            key_server: None,
        })
        .unwrap()
    }

    fn judged(status: u16, body: &str) -> Result<Option<Revocation>, Fault> {
        let answer = Answer::of(StatusCode::from_u16(status).unwrap(), body);
        administration().judge(&answer, StatusCode::NO_CONTENT)
    }

    #[test]
    fn only_a_store_that_answers_as_minio_does_revokes_at_once() {
        assert_eq!(judged(204, ""), Ok(None));
        for (status, body) in
            [(404, "<Code>NoSuchBucket</Code>"), (405, ""), (403, "AccessDenied"), (501, ""), (200, "<html>")]
        {
            assert_eq!(judged(status, body), Ok(Some(Revocation::ByExpiry)), "{status}");
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_asked_again() {
        for status in [500, 502, 503, 429, 408, 307] {
            let fault = judged(status, "").unwrap_err();
            assert!(
                !matches!(fault.class, Class::Stalled) && fault.message.contains("https://s3.example:9000"),
                "{fault}"
            );
        }
        let fault = judged(403, r#"{"Code":"InvalidAccessKeyId"}"#).unwrap_err();
        assert_eq!(fault.reason, reasons::DENIED);
    }

    #[test]
    fn what_goes_over_the_wire_is_signed_and_holds_no_secret() {
        let url = Url::parse("https://s3.example:9000/minio/admin/v3/revoke-tokens/builtin?tokenRevokeType=a").unwrap();
        let headers = administration().signature(&Method::POST, &url).unwrap();
        let of = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        assert!(of("authorization").unwrap().contains("/eu-central-1/s3/aws4_request"), "{headers:?}");
        assert!(of("x-amz-content-sha256").is_some() && !format!("{headers:?}").contains("hidden"), "{headers:?}");
    }
}
