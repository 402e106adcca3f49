//! The format, held by a file: whoever changes a message changes the file, and sees which drivers no longer understand it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "everything here is a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use agent_protocol::{Answer, Code, Outcome, Request, Verb, split};
use serde_json::Value;

const REQUESTS: &str = include_str!("golden/requests.json");
const ANSWERS: &str = include_str!("golden/answers.json");
const GUIDE: &str = include_str!("../../../docs/agent-protocol.md");

/// Whoever adds a verb is told here that the file and the guide lack it: the number is that of all verbs.
const VERBS: usize = 21;
const CODES: [Code; 11] = [
    Code::Malformed,
    Code::Version,
    Code::NotReady,
    Code::Busy,
    Code::OffScreen,
    Code::NotFound,
    Code::NoSuchKey,
    Code::Refused,
    Code::TooLarge,
    Code::TimedOut,
    Code::Failed,
];
const OUTCOMES: usize = 10;

/// Which verb of how many it is. One that is new has no number yet: give it the next, and raise `VERBS`.
fn number(verb: &Verb) -> usize {
    match verb {
        Verb::Status(_) => 0,
        Verb::Screenshot(_) => 1,
        Verb::Click(_) => 2,
        Verb::Press(_) => 3,
        Verb::Release(_) => 4,
        Verb::Drag(_) => 5,
        Verb::Move(_) => 6,
        Verb::Scroll(_) => 7,
        Verb::Type(_) => 8,
        Verb::Key(_) => 9,
        Verb::Wait(_) => 10,
        Verb::CursorPosition(_) => 11,
        Verb::GetClipboard(_) => 12,
        Verb::SetClipboard(_) => 13,
        Verb::Windows(_) => 14,
        Verb::FocusWindow(_) => 15,
        Verb::CloseWindow(_) => 16,
        Verb::Launch(_) => 17,
        Verb::Tree(_) => 18,
        Verb::Find(_) => 19,
        Verb::ReadText(_) => 20,
    }
}

/// The same for outcomes, and `OUTCOMES`.
fn number_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Done(_) => 0,
        Outcome::Status(_) => 1,
        Outcome::Picture(_) => 2,
        Outcome::Position(_) => 3,
        Outcome::Clipboard(_) => 4,
        Outcome::Windows(_) => 5,
        Outcome::Tree(_) => 6,
        Outcome::Elements(_) => 7,
        Outcome::Words(_) => 8,
        Outcome::Error(_) => 9,
    }
}

/// The same for codes, and `CODES`.
fn number_of_code(code: Code) -> usize {
    match code {
        Code::Malformed => 0,
        Code::Version => 1,
        Code::NotReady => 2,
        Code::Busy => 3,
        Code::OffScreen => 4,
        Code::NotFound => 5,
        Code::NoSuchKey => 6,
        Code::Refused => 7,
        Code::TooLarge => 8,
        Code::TimedOut => 9,
        Code::Failed => 10,
    }
}

/// How long a verb of the guide may take, as its row says.
fn limit(verb: &Verb) -> Duration {
    let row = GUIDE.lines().find(|line| line.starts_with(&format!("| `{}` |", verb.name())));
    let row = row.unwrap_or_else(|| panic!("docs/agent-protocol.md has no row for {}", verb.name()));
    let said = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
    let (first, rest) = said.split_once(" s").unwrap_or_else(|| panic!("{}: {said}", verb.name()));
    let seconds = Duration::from_secs(first.parse().unwrap());
    let each = |count: usize, time: Duration, beside: u64| {
        (time + Duration::from_millis(beside)) * u32::try_from(count).unwrap()
    };
    seconds
        + match (rest, verb) {
            ("", _) => Duration::ZERO,
            (" more than it waits", Verb::Wait(it)) => it.milliseconds.time(),
            (" more than it is patient", Verb::Find(it)) => it.patience.time(),
            (" more than it is patient", Verb::ReadText(it)) => it.patience.time(),
            (", and for each character 100 ms more than its pause", Verb::Type(it)) => {
                each(it.text.as_str().chars().count(), it.pause.time(), 100)
            }
            (", and for each time 20 ms more than they are held", Verb::Key(it)) => {
                each(it.count.get().try_into().unwrap(), it.hold.time(), 20)
            }
            _ => panic!("{}: {said:?} is not understood here", verb.name()),
        }
}

fn list(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn message(json: &Value, attachment: &[u8]) -> Vec<u8> {
    let json = json.to_string();
    [&u32::try_from(json.len()).unwrap().to_be_bytes(), json.as_bytes(), attachment].concat()
}

fn written(message: &[u8]) -> Value {
    serde_json::from_slice(split(message).unwrap().0).unwrap()
}

#[test]
fn every_request_of_the_file_is_understood_and_written_again_just_so() {
    for json in list(REQUESTS) {
        let request = Request::read(&message(&json, &[])).unwrap_or_else(|refusal| panic!("{json}: {refusal:?}"));
        assert_eq!(written(&request.write().unwrap()), json);
    }
}

#[test]
fn every_answer_of_the_file_is_understood_and_written_again_just_so() {
    for json in list(ANSWERS) {
        let bytes = json.pointer("/outcome/picture/bytes").and_then(Value::as_u64).unwrap_or_default();
        let attachment = vec![0; usize::try_from(bytes).unwrap()];
        let whole = message(&json, &attachment);
        let (answer, _) = Answer::read(&whole).unwrap_or_else(|broken| panic!("{json}: {broken}"));
        assert_eq!(written(&answer.write(&attachment).unwrap()), json);
    }
}

#[test]
fn the_files_have_every_verb_outcome_and_code() {
    let verbs: BTreeSet<_> =
        list(REQUESTS).iter().map(|json| number(&Request::read(&message(json, &[])).unwrap().verb)).collect();
    assert_eq!(verbs, (0..VERBS).collect());
    let answers: Vec<Answer> = list(ANSWERS).into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    let outcomes: BTreeSet<_> = answers.iter().map(|answer| number_of(&answer.outcome)).collect();
    assert_eq!(outcomes, (0..OUTCOMES).collect());
    let codes = answers.iter().filter_map(|answer| match &answer.outcome {
        Outcome::Error(problem) => Some(number_of_code(problem.code)),
        _ => None,
    });
    assert_eq!(codes.collect::<BTreeSet<_>>(), CODES.into_iter().map(number_of_code).collect());
    assert_eq!(CODES.map(number_of_code).to_vec(), (0..CODES.len()).collect::<Vec<_>>());
}

#[test]
fn a_request_of_the_file_has_the_name_and_limit_of_its_verb_in_the_guide() {
    for json in list(REQUESTS) {
        let verb = Request::read(&message(&json, &[])).unwrap().verb;
        assert!(json.pointer("/verb").unwrap().get(verb.name()).is_some(), "{json}");
        assert_eq!(verb.limit(), limit(&verb), "{}", verb.name());
    }
    for code in CODES {
        let code = serde_json::to_value(code).unwrap();
        let code = code.as_str().unwrap();
        assert!(GUIDE.contains(&format!("| `{code}` |")), "docs/agent-protocol.md has no row for {code}");
    }
}

#[test]
fn the_examples_of_the_guide_are_understood() {
    let mut examples = 0;
    for block in GUIDE.split("```json\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            if json.get("verb").is_some() {
                Request::read(&message(&json, &[])).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}"));
            } else {
                let answer: Answer = serde_json::from_value(json).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert!(!matches!(answer.outcome, Outcome::Done(_)) || answer.id.is_some(), "{line}");
            }
            examples += 1;
        }
    }
    assert!(examples >= 6, "{examples} examples");
}
