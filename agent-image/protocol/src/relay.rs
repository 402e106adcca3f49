//! Where messages of a pod lie in the relay. In: the UID of a pod. Out: the subjects of its requests, answers and events.
//!
//! What a pod may hear lies below `pod.<uid>.in`, what it may say below `pod.<uid>.out`, and nothing is in both. So it can send nothing
//! to itself that names somebody else's subject as the place for an answer, and the rights of a pod are fixed subjects: none follow from
//! what it was asked.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Whom the tokens are for by which pods sign in to the relay. They are worth nothing at the API server.
pub const AUDIENCE: &str = "steading-relay";
/// Where the hyphens of a UID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UID.
const LENGTH: usize = 36;

/// The text is no UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a pod's UID is written like 0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10")]
pub struct NotUid;

/// UID of a pod, in the one form that Kubernetes writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(String);

impl FromStr for PodUid {
    type Err = NotUid;

    fn from_str(text: &str) -> Result<Self, NotUid> {
        let fits = |(place, byte): (usize, u8)| match byte {
            b'-' => HYPHENS.contains(&place),
            byte => !HYPHENS.contains(&place) && matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        let whole = text.len() == LENGTH && text.bytes().enumerate().all(fits);
        if whole { Ok(Self(text.to_owned())) } else { Err(NotUid) }
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a pod tells of itself without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A picture of the screen was taken.
    Screenshot,
    /// Something could not be reached.
    Denied,
    /// A line of the log.
    Log,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Screenshot, Self::Denied, Self::Log];

    /// Its part of the subject.
    pub fn name(self) -> &'static str {
        match self {
            Self::Screenshot => "screenshot",
            Self::Denied => "denied",
            Self::Log => "log",
        }
    }
}

impl PodUid {
    /// Everything that the pod may hear.
    pub fn hears(&self) -> String {
        format!("pod.{self}.in.>")
    }

    /// Where drivers send requests to the pod; each of them is a message of its own.
    pub fn requests(&self) -> String {
        format!("pod.{self}.in.request")
    }

    /// Below which drivers want answers of this pod: a driver adds a part that nobody guesses.
    pub fn replies(&self) -> String {
        format!("pod.{self}.out.reply")
    }

    /// Whether an answer of this pod can go there. The relay lets it go nowhere else.
    pub fn may_answer_at(&self, subject: &str) -> bool {
        let part = subject.strip_prefix(&self.replies()).and_then(|rest| rest.strip_prefix('.'));
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// Where the pod tells of this.
    pub fn event(&self, event: Event) -> String {
        format!("pod.{self}.out.event.{}", event.name())
    }

    /// Everything that the pod may say.
    pub fn says(&self) -> Vec<String> {
        let events = Event::ALL.into_iter().map(|event| self.event(event));
        std::iter::once(format!("{}.*", self.replies())).chain(events).collect()
    }
}

/// The events of all pods of an account.
pub fn events_of_all() -> Vec<String> {
    Event::ALL.into_iter().map(|event| format!("pod.*.out.event.{}", event.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10";

    #[test]
    fn only_the_form_that_kubernetes_writes_is_a_uid() {
        assert_eq!(UID.parse::<PodUid>().unwrap().to_string(), UID);
        for text in
            ["", "*", ">", "0d6f1f0e", "0D6F1F0E-5C1B-4A57-9D3C-2F0A6F4F7A10", "0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a1>"]
        {
            assert_eq!(text.parse::<PodUid>(), Err(NotUid), "{text}");
        }
        for other in [UID.replace('-', "."), UID.replace('0', "*"), format!("{UID}0"), UID.replace("0d", "ä")] {
            assert_eq!(other.parse::<PodUid>(), Err(NotUid), "{other}");
        }
    }

    #[test]
    fn what_a_pod_says_is_nothing_that_it_hears() {
        let pod: PodUid = UID.parse().unwrap();
        let heard = pod.hears().trim_end_matches('>').to_owned();
        assert!(pod.requests().starts_with(&heard));
        assert!(pod.says().iter().all(|said| !said.starts_with(&heard)), "{:?}", pod.says());
    }

    #[test]
    fn answers_go_below_the_pods_own_replies_and_one_part_further() {
        let pod: PodUid = UID.parse().unwrap();
        assert!(pod.may_answer_at(&format!("pod.{UID}.out.reply.a1B2")));
        for subject in ["", "_INBOX.x", "pod.other.out.reply.a", "x"] {
            assert!(!pod.may_answer_at(subject), "{subject}");
        }
        for rest in ["reply", "reply.", "reply.a.b", "reply.*", "reply.>", "replya", "event.log"] {
            assert!(!pod.may_answer_at(&format!("pod.{UID}.out.{rest}")), "{rest}");
        }
    }
}
