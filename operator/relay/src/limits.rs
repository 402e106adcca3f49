//! How much a Tenant may use of the relay. In: settings. Out: the limits of its account and of its stream of events.
//!
//! NATS holds each connection to the size of a message and the number of subscriptions of its *account*: what a user's own JWT says about
//! them is not looked at where a callout let him in (seen in nats-server 2.14). So these stand here, for the account.

use std::time::Duration;

use agent_protocol::ANSWER_BYTES;
use serde_json::{Value, json};

/// Room for the header of a message beside the largest answer.
const HEADERS: usize = 64 * 1024;
/// The largest message: an answer with its picture.
pub const MESSAGE: usize = ANSWER_BYTES + HEADERS;
/// The largest event. Pictures do not go into events, only that they were taken.
pub const EVENT: u32 = 32 * 1024;
/// So many events of each kind are kept of one pod.
pub const EVENTS_OF_POD: u32 = 256;
/// The most bytes that events of one pod take, but for what NATS adds to each.
pub const BYTES_OF_POD: u64 = 3 * 256 * 32 * 1024;
/// The name of the stream, which is the same in each account.
pub const STREAM: &str = "EVENTS";

/// What one Tenant may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Subscriptions of each connection.
    pub subscriptions: u32,
    /// Bytes of events that are kept.
    pub events: u64,
    /// How long they are kept.
    pub age: Duration,
    /// Servers on which they are kept.
    pub copies: u8,
}

impl Limits {
    /// As NATS writes those of an account.
    pub fn of_account(&self) -> Value {
        json!({
            "subs": self.subscriptions, "data": -1, "payload": MESSAGE,
            "imports": 0, "exports": 0, "wildcards": false,
            "conn": self.connections, "leaf": 0,
            "mem_storage": 0, "disk_storage": self.stored(), "streams": 1, "consumer": 64,
            "disk_max_stream_bytes": self.events, "max_bytes_required": true,
        })
    }

    /// NATS counts each copy.
    fn stored(&self) -> u64 {
        self.events.saturating_mul(self.copies.into())
    }

    /// As NATS writes the stream. When it is full the oldest events go; of each pod and kind it keeps so few that one pod does not push
    /// out those of the others. Nobody gets an acknowledgement: the place for it is whatever the pod names, and the relay would write
    /// there in its stead.
    pub fn stream(&self) -> Value {
        json!({
            "name": STREAM, "subjects": agent_protocol::relay::events_of_all(),
            "description": "What agents of this tenant tell: pictures taken, what was denied, lines of logs.",
            "retention": "limits", "storage": "file", "discard": "old", "num_replicas": self.copies,
            "max_age": i64::try_from(self.age.as_nanos()).unwrap_or(i64::MAX), "max_bytes": self.events, "max_msg_size": EVENT,
            "max_msgs": -1, "max_msgs_per_subject": EVENTS_OF_POD, "max_consumers": 64, "no_ack": true,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn limits() -> Limits {
        let (events, age) = (256 << 20, Duration::from_hours(72));
        Limits { connections: 512, subscriptions: 256, events, age, copies: 1 }
    }

    #[test]
    fn an_account_has_room_for_its_stream_and_for_no_other() {
        let account = Limits { copies: 3, ..limits() }.of_account();
        assert_eq!(account["disk_storage"], 3 * limits().events);
        assert_eq!(account["streams"], 1);
        assert_eq!(limits().stream()["max_bytes"], account["disk_max_stream_bytes"]);
    }

    #[test]
    fn the_stream_answers_nobody_and_keeps_the_newest() {
        let stream = limits().stream();
        assert_eq!((&stream["no_ack"], &stream["discard"]), (&json!(true), &json!("old")));
        assert_eq!(stream["max_age"], 72_i64 * 3600 * 1_000_000_000);
    }

    #[test]
    fn one_pod_cannot_fill_the_stream() {
        let kinds = u64::try_from(agent_protocol::relay::Event::ALL.len()).unwrap();
        assert_eq!(BYTES_OF_POD, kinds * u64::from(EVENTS_OF_POD) * u64::from(EVENT));
        assert!(BYTES_OF_POD * 2 < limits().events, "{BYTES_OF_POD}");
    }
}
