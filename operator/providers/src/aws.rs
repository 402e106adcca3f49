//! What the S3 and STS clients share.
//!
//! In: trusted certificates, and errors of the SDK. Out: an HTTPS client on aws-lc-rs that speaks TLS only, and a [`Fault`] for
//! every error.

use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::SharedHttpClient, orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::{error::metadata::ProvideErrorMetadata, retry::RetryConfig, timeout::TimeoutConfig};

use crate::{
    fault::Fault,
    wire::{CALL_TIMEOUT, CONNECT_TIMEOUT, causes, quoted, roots, seconds},
};

/// An HTTPS client that trusts the bundle and nothing else, or the system's certificates if there is no bundle.
pub(crate) fn https(ca_bundle: Option<&str>) -> Result<SharedHttpClient, Fault> {
    // The client reports a bad bundle only at its first call, so it is read here already.
    roots(ca_bundle)?;
    let store = match ca_bundle {
        Some(bundle) => TrustStore::empty().with_pem_certificate(bundle.as_bytes()),
        None => TrustStore::default(),
    };
    let context = TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|error| Fault::invalid(format!("TLS cannot be set up: {error}")))?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}

pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build()
}

pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig::disabled()
}

/// The error's code, such as `NoSuchBucket`; `""` if the server gave none.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(|service| service.meta().code()).unwrap_or_default()
}

/// The HTTP status, 0 if there was no answer.
pub(crate) fn status<E>(error: &SdkError<E, HttpResponse>) -> u16 {
    error.raw_response().map_or(0, |response| response.status().as_u16())
}

/// What the server answered, for a message.
pub(crate) fn said<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    let message = error.as_service_error().and_then(|service| service.meta().message()).unwrap_or_default();
    format!("{} {} {}", status(error), code(error), quoted(message))
}

/// Whether the store says that it has no such operation.
pub(crate) fn is_unsupported<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(status(error), 405 | 501)
        || matches!(code(error), "NotImplemented" | "MethodNotAllowed" | "UnsupportedOperation")
}

/// What the error means. `what` names the object and the address, `right` what our account needs for the call.
pub(crate) fn fault<E>(error: &SdkError<E, HttpResponse>, what: &str, right: &str) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        // Without an answer the error tells of the connection only; it holds neither headers nor body.
        return Fault::transient(format!("{what}: no answer{}; see the health of that server", causes(error)));
    };
    let status = response.status().as_u16();
    let code = code(error);
    let told = format!("{what}: {}", said(error));
    match (status, code) {
        (
            _,
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "TooManyRequests",
        )
        | (429, _) => Fault::throttled(
            response.headers().get("retry-after").and_then(seconds),
            format!("{told}; the store asks for fewer requests"),
        ),
        (401 | 403, _) => {
            Fault::denied(format!("{told}; check the class's credentials and give their account {right}"))
        }
        (301 | 302 | 307 | 308, _) | (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            Fault::refused(format!("{told}; check endpoint and region of the class"))
        }
        (400..=499, _) if !matches!(status, 408 | 409 | 412 | 425) => {
            Fault::refused(format!("{told} (a call that needs {right})"))
        }
        _ => Fault::transient(format!("{told} (a call that needs {right}); it is tried again")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::operation::create_bucket::CreateBucketError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;
    use crate::fault::{Class, reasons};

    fn answered(status: u16, code: &str, retry_after: Option<&'static str>) -> Fault {
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds);
        }
        let service = CreateBucketError::generic(ErrorMetadata::builder().code(code).message("said").build());
        fault(&SdkError::service_error(service, response), "bucket `x` at https://s3.example", "s3:CreateBucket")
    }

    #[test]
    fn the_answer_decides_the_class() {
        for (status, code, class, reason) in [
            (403, "AccessDenied", Class::Stalled, reasons::DENIED),
            (401, "", Class::Stalled, reasons::DENIED),
            (301, "PermanentRedirect", Class::Stalled, reasons::PROVIDER_REFUSED),
            (400, "AuthorizationHeaderMalformed", Class::Stalled, reasons::PROVIDER_REFUSED),
            (400, "InvalidArgument", Class::Stalled, reasons::PROVIDER_REFUSED),
            (409, "OperationAborted", Class::Transient, reasons::PROVIDER_UNAVAILABLE),
            (500, "InternalError", Class::Transient, reasons::PROVIDER_UNAVAILABLE),
            (503, "SlowDown", Class::Waiting { after: Duration::from_secs(5) }, reasons::THROTTLED),
            (503, "ServiceUnavailable", Class::Transient, reasons::PROVIDER_UNAVAILABLE),
            (429, "", Class::Waiting { after: Duration::from_secs(5) }, reasons::THROTTLED),
        ] {
            let fault = answered(status, code, None);
            assert_eq!((fault.class, fault.reason), (class, reason), "{status} {code}");
            assert!(fault.message.starts_with("bucket `x` at https://s3.example"), "{fault}");
        }
        assert_eq!(answered(503, "SlowDown", Some("9")).class, Class::Waiting { after: Duration::from_secs(9) });
    }

    #[test]
    fn a_denial_names_the_right_that_is_missing() {
        assert!(answered(403, "AccessDenied", None).message.contains("s3:CreateBucket"));
    }

    #[test]
    fn no_answer_is_tried_again() {
        let error: SdkError<CreateBucketError, HttpResponse> =
            SdkError::dispatch_failure(ConnectorError::timeout("slow".into()));
        assert_eq!(fault(&error, "bucket `x`", "s3:CreateBucket").class, Class::Transient);
    }

    #[test]
    fn only_a_missing_operation_counts_as_unsupported() {
        let unsupported = |status: u16, code: &str| {
            let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            let service = CreateBucketError::generic(ErrorMetadata::builder().code(code).build());
            is_unsupported(&SdkError::service_error(service, response))
        };
        assert!(unsupported(501, "") && unsupported(405, "") && unsupported(400, "NotImplemented"));
        assert!(
            !unsupported(403, "AccessDenied")
                && !unsupported(500, "InternalError")
                && !unsupported(404, "NoSuchBucket")
        );
    }
}
