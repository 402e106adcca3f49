//! What can happen to a watch. In: the events of its answer, one JSON object a line. Out: what the caller gets to see of them, and when.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::Gate;

/// One thing that happens on the caller's side of a watch.
#[derive(Clone, Debug)]
pub enum Step {
    /// It gets this event.
    Send(Value),
    /// It gets nothing for so long.
    Wait(Duration),
    /// It gets nothing until the gate is open.
    Hold(Gate),
    /// The stream ends as it does when its time is over.
    Close,
    /// The connection stays open, and nothing comes any more.
    Silence,
}

/// Decides what becomes of an event.
pub type Filter = Box<dyn FnMut(Value) -> Vec<Step> + Send>;

/// Filters for what goes wrong with watches.
pub mod filters {
    use serde_json::json;

    use super::{Duration, Filter, Gate, Step, Value};

    /// Every event comes twice.
    pub fn doubled() -> Filter {
        Box::new(|event| vec![Step::Send(event.clone()), Step::Send(event)])
    }

    /// Events for which this holds never come.
    pub fn without(mut lost: impl FnMut(&Value) -> bool + Send + 'static) -> Filter {
        Box::new(move |event| if lost(&event) { Vec::new() } else { vec![Step::Send(event)] })
    }

    /// Each event comes so much later.
    pub fn late(by: Duration) -> Filter {
        Box::new(move |event| vec![Step::Wait(by), Step::Send(event)])
    }

    /// From the first event on, all wait for the gate: those of other kinds overtake them.
    pub fn held(gate: Gate) -> Filter {
        Box::new(move |event| vec![Step::Hold(gate.clone()), Step::Send(event)])
    }

    /// The stream ends after so many events.
    pub fn closed_after(events: usize) -> Filter {
        after(events, || vec![Step::Close])
    }

    /// After so many events the server says in the stream that it no longer keeps what comes next.
    pub fn expired_after(events: usize) -> Filter {
        after(events, || {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410 });
            vec![Step::Send(json!({ "type": "ERROR", "object": status })), Step::Close]
        })
    }

    /// After so many events nothing comes any more, and the connection stays open.
    pub fn silent_after(events: usize) -> Filter {
        after(events, || vec![Step::Silence])
    }

    fn after(events: usize, end: impl Fn() -> Vec<Step> + Send + 'static) -> Filter {
        let mut left = events;
        Box::new(move |event| {
            let Some(fewer) = left.checked_sub(1) else { return end() };
            left = fewer;
            if left == 0 { [vec![Step::Send(event)], end()].concat() } else { vec![Step::Send(event)] }
        })
    }
}

/// The body as it is after the filter.
pub(super) fn filtered<B>(
    body: B,
    filter: Filter,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let lines = lines(body);
    stream::unfold(State { lines: lines.boxed(), filter, due: Vec::new().into_iter() }, |mut state| async move {
        loop {
            let Some(step) = state.due.next() else {
                let line = state.lines.next().await?;
                let steps = serde_json::from_slice(&line).map(&mut state.filter).unwrap_or_default();
                state.due = steps.into_iter();
                continue;
            };
            match step {
                Step::Send(event) => {
                    let mut line = event.to_string();
                    line.push('\n');
                    return Some((Ok(Frame::data(Bytes::from(line))), state));
                }
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Hold(gate) => gate.opened().await,
                Step::Close => return None,
                Step::Silence => std::future::pending().await,
            }
        }
    })
}

struct State {
    lines: stream::BoxStream<'static, Bytes>,
    filter: Filter,
    due: std::vec::IntoIter<Step>,
}

/// The lines of a body, without their ends. A body that breaks off ends.
fn lines<B>(body: B) -> impl Stream<Item = Bytes> + Send + 'static
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    stream::unfold((Box::pin(body), BytesMut::new()), |(mut body, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end + 1).freeze();
                return Some((line.slice(..end), (body, buffer)));
            }
            let frame = body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                buffer.extend_from_slice(&data);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use serde_json::json;

    use super::*;

    async fn seen(filter: Filter) -> Vec<Value> {
        let text = [1, 2, 3].map(|number| json!({ "object": number }).to_string()).join("\n") + "\n";
        let frames = filtered(Full::new(Bytes::from(text)), filter);
        let frames: Vec<_> = frames.take_until(tokio::time::sleep(Duration::from_mins(1))).collect().await;
        let event = |frame: Result<Frame<Bytes>, Infallible>| {
            let event: Value = serde_json::from_slice(&frame.unwrap().into_data().unwrap()).unwrap();
            event["object"].clone()
        };
        frames.into_iter().map(event).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_filter_does_what_its_name_says() {
        let started = tokio::time::Instant::now();
        assert_eq!(seen(Box::new(|event| vec![Step::Send(event)])).await, [1, 2, 3]);
        assert_eq!(seen(filters::doubled()).await, [1, 1, 2, 2, 3, 3]);
        assert_eq!(seen(filters::without(|event| event["object"] == 2)).await, [1, 3]);
        assert_eq!(seen(filters::closed_after(2)).await, [1, 2]);
        let expired = seen(filters::expired_after(1)).await;
        assert_eq!((&expired[0], &expired[1]["code"], expired.len()), (&json!(1), &json!(410), 2));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(seen(filters::late(Duration::from_secs(2))).await, [1, 2, 3]);
        assert_eq!(started.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_end() {
        let started = tokio::time::Instant::now();
        assert_eq!(seen(filters::silent_after(2)).await, [1, 2]);
        assert_eq!(started.elapsed(), Duration::from_mins(1), "the stream ended");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_comes_when_the_gate_opens() {
        let gate = Gate::default();
        let opener = gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            opener.open();
        });
        let started = tokio::time::Instant::now();
        assert_eq!(seen(filters::held(gate)).await, [1, 2, 3]);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
    }
}
