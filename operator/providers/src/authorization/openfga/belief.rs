//! When a refusal is believed. In: how to ask. Out: the answer, which is a refusal only if it was one each time.
//!
//! A server with access control looks up who may do what before it answers, and where it cannot look in time it refuses like one that knows.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::{fault::Fault, wire::Answer};

/// How a server with access control says that somebody may not do something. By HTTP that is a 401, as if it did not know who it is.
const FORBIDDEN: &str = "forbidden";

/// Whether an answer says that we are known and may not do this. Who is not known gets other codes.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    let said = || serde_json::from_slice::<Value>(&answer.body).ok()?.get("code")?.as_str().map(str::to_owned);
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status) && said().as_deref() == Some(FORBIDDEN)
}

/// Asks, and after a refusal once more after each of these pauses.
pub(super) async fn once_believed<F>(pauses: &[Duration], mut ask: impl FnMut() -> F) -> Result<Answer, Fault>
where
    F: Future<Output = Result<Answer, Fault>>,
{
    let mut answer = ask().await?;
    for pause in pauses {
        if !is_refusal(&answer) {
            break;
        }
        tokio::time::sleep(*pause).await;
        answer = ask().await?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is believed of a server that gives these answers one after the other, and how often it was asked.
    async fn believed(pauses: usize, answers: &[(u16, &str)]) -> (u16, usize) {
        let (mut asked, pauses) = (0, vec![Duration::from_secs(1); pauses]);
        let answer = once_believed(&pauses, || {
            asked += 1;
            let (status, code) = answers[asked - 1];
            let body = format!("{{\"code\": {code:?}, \"message\": \"\"}}");
            std::future::ready(Ok(Answer::of(StatusCode::from_u16(status).unwrap(), &body)))
        });
        let status = answer.await.unwrap().status.as_u16();
        (status, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_believed_only_if_it_lasts() {
        let (no, yes) = ((401, "forbidden"), (200, ""));
        assert_eq!(believed(2, &[no, yes]).await, (200, 2));
        assert_eq!(believed(2, &[no, no, yes]).await, (200, 3));
        assert_eq!(believed(2, &[no, no, no]).await, (401, 3));
        assert_eq!(believed(2, &[yes]).await, (200, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_not_known_and_what_fails_otherwise_is_not_asked_again_here() {
        for told in [(401, "unauthenticated"), (404, "forbidden"), (429, ""), (500, "internal_error"), (503, "")] {
            assert_eq!(believed(2, &[told]).await, (told.0, 1));
        }
        assert_eq!(believed(0, &[(401, "forbidden")]).await, (401, 1), "without access control a refusal is one");
    }
}
