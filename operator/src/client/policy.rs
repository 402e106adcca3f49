//! Whether a request is sent again. Pure. In: the request's method and shape, what came back, how much was tried. Out: how long
//! to pause before the next attempt, or that there is none.
//!
//! The question is always: could the first attempt have done something? Where that is possible and doing it twice would not
//! be the same as once, the caller gets the failure and looks at what is there before it goes on. kube's own policy repeats a
//! POST after 504, and then reports `AlreadyExists` for what it just created itself.

use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, header};

/// Attempts for one request at most.
pub(super) const ATTEMPTS: u32 = 3;
/// All pauses of one request together: longer waits are the business of a reconcile's backoff, which holds no worker.
pub(super) const PAUSES: Duration = Duration::from_secs(5);
/// Pause before the second attempt where the server named none; doubles after.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Content type of server-side apply.
const APPLY: &str = "application/apply-patch+yaml";

/// What is known of a request before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its answer has no end.
    pub watch: bool,
    /// It changes something that only a leader may change.
    pub write: bool,
    /// When it may be sent again.
    pub repeat: Repeat,
}

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whoever sends it has a pace of its own: watches and everything about Leases.
    Never,
    /// Only if it was turned away unread (429): POST, PUT, DELETE and patches that are not apply.
    IfTurnedAway,
    /// Doing it twice is doing it once: reads, and server-side apply of the same content.
    Always,
}

impl Shape {
    pub fn of<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method(), request.uri().path());
        let read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")));
        let lease = path.starts_with("/apis/coordination.k8s.io/");
        let apply = *method == Method::PATCH
            && request
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(APPLY.as_bytes()));
        let repeat = match () {
            () if watch || lease => Repeat::Never,
            () if read || apply => Repeat::Always,
            // For an eviction 429 is not "come back later" but "the budget does not allow it".
            () if path.ends_with("/eviction") => Repeat::Never,
            () => Repeat::IfTurnedAway,
        };
        Self { watch, write: !read && !lease, repeat }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// An answer, with the seconds of `Retry-After` if it has them.
    Answer(StatusCode, Option<Duration>),
    /// Nothing: the connection failed, or time ran out.
    Nothing,
}

/// How long to pause before the next attempt. `random` is from 0 to 1.
pub(super) fn pause(repeat: Repeat, came: Came, attempts: u32, paused: Duration, random: f64) -> Option<Duration> {
    let turned_away = matches!(came, Came::Answer(StatusCode::TOO_MANY_REQUESTS, _));
    let unsure = match came {
        Came::Nothing => true,
        Came::Answer(code, _) => {
            matches!(code, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
        }
    };
    let worth_it = match repeat {
        Repeat::Never => false,
        Repeat::IfTurnedAway => turned_away,
        Repeat::Always => turned_away || unsure,
    };
    if !worth_it || attempts >= ATTEMPTS {
        return None;
    }
    let least = match came {
        Came::Answer(_, Some(asked_for)) => asked_for,
        _ => FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1)),
    };
    // Never shorter than what the server asked for; longer by chance, so that those turned away together come back apart.
    let pause = least.mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0);
    (paused + pause <= PAUSES).then_some(pause)
}

/// Seconds of a `Retry-After`. The API server sends no dates.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/api/v1/namespaces/farm/pods/cow";

    fn shape(method: &str, uri: &str, content_type: &str) -> Shape {
        let request =
            Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type).body(()).unwrap();
        Shape::of(&request)
    }

    #[test]
    fn only_what_may_be_done_twice_is_sent_twice() {
        let json = "application/json";
        let cases = [
            ("GET", POD, json, Repeat::Always),
            ("PATCH", POD, "application/apply-patch+yaml", Repeat::Always),
            ("PATCH", POD, "application/merge-patch+json", Repeat::IfTurnedAway),
            ("PATCH", POD, "application/json-patch+json", Repeat::IfTurnedAway),
            ("POST", "/api/v1/namespaces/farm/pods", json, Repeat::IfTurnedAway),
            ("PUT", POD, json, Repeat::IfTurnedAway),
            ("DELETE", POD, json, Repeat::IfTurnedAway),
            ("POST", "/api/v1/namespaces/farm/pods/cow/eviction", json, Repeat::Never),
            ("GET", "/api/v1/pods?watch=true&resourceVersion=3", json, Repeat::Never),
            ("GET", "/api/v1/pods?resourceVersion=3&watch=1", json, Repeat::Never),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/farm/leases/x", json, Repeat::Never),
        ];
        for (method, uri, content_type, repeat) in cases {
            assert_eq!(shape(method, uri, content_type).repeat, repeat, "{method} {uri} {content_type}");
        }
    }

    #[test]
    fn all_but_reads_and_leases_are_for_leaders() {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            assert!(shape(method, POD, "x").write, "{method}");
            assert!(!shape(method, "/apis/coordination.k8s.io/v1/namespaces/farm/leases/x", "x").write, "{method}");
        }
        assert!(!shape("GET", POD, "x").write);
    }

    fn next(repeat: Repeat, code: u16) -> Option<Duration> {
        pause(repeat, Came::Answer(StatusCode::from_u16(code).unwrap(), None), 1, Duration::ZERO, 0.0)
    }

    #[test]
    fn an_answer_that_may_have_been_too_late_repeats_reads_and_apply_only() {
        for code in [502, 503, 504] {
            assert!(next(Repeat::Always, code).is_some(), "{code}");
            assert_eq!(next(Repeat::IfTurnedAway, code), None, "{code}");
        }
        assert!(pause(Repeat::Always, Came::Nothing, 1, Duration::ZERO, 0.0).is_some());
        assert_eq!(pause(Repeat::IfTurnedAway, Came::Nothing, 1, Duration::ZERO, 0.0), None);
    }

    #[test]
    fn what_was_turned_away_unread_is_sent_again() {
        assert!(next(Repeat::Always, 429).is_some());
        assert!(next(Repeat::IfTurnedAway, 429).is_some());
        assert_eq!(next(Repeat::Never, 429), None);
    }

    #[test]
    fn a_verdict_is_final() {
        for code in [200, 201, 400, 401, 403, 404, 409, 410, 422, 500] {
            assert_eq!(next(Repeat::Always, code), None, "{code}");
        }
    }

    #[test]
    fn the_server_is_never_asked_sooner_than_it_wished() {
        let wished = Came::Answer(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(2)));
        assert_eq!(pause(Repeat::Always, wished, 1, Duration::ZERO, 0.0), Some(Duration::from_secs(2)));
        assert_eq!(pause(Repeat::Always, wished, 1, Duration::ZERO, 1.0), Some(Duration::from_secs(3)));
        let long = Came::Answer(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_mins(1)));
        assert_eq!(pause(Repeat::Always, long, 1, Duration::ZERO, 0.0), None, "a worker does not sleep for a minute");
    }

    #[test]
    fn attempts_and_pauses_are_bounded() {
        let unavailable = Came::Answer(StatusCode::SERVICE_UNAVAILABLE, None);
        assert_eq!(pause(Repeat::Always, unavailable, 2, Duration::ZERO, 0.0), Some(FIRST_PAUSE * 2));
        assert_eq!(pause(Repeat::Always, unavailable, 3, Duration::ZERO, 0.0), None);
        assert_eq!(pause(Repeat::Always, unavailable, 1, PAUSES, 0.0), None);
    }

    #[test]
    fn retry_after_is_seconds() {
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(read("300"), Some(Duration::from_mins(5)));
        assert_eq!(read("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(read("99999999999999"), None);
    }
}
