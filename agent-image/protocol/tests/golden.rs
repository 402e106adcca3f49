//! The format, held by a file: whoever changes a message changes the file, and sees which drivers no longer understand it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "everything here is a test")]

use std::collections::BTreeSet;

use agent_protocol::{Answer, Outcome, Request, split};
use serde_json::Value;

const REQUESTS: &str = include_str!("golden/requests.json");
const ANSWERS: &str = include_str!("golden/answers.json");
const GUIDE: &str = include_str!("../../../docs/agent-protocol.md");

const VERBS: [&str; 21] = [
    "status",
    "screenshot",
    "click",
    "press",
    "release",
    "drag",
    "move",
    "scroll",
    "type",
    "key",
    "wait",
    "cursor_position",
    "get_clipboard",
    "set_clipboard",
    "windows",
    "focus_window",
    "close_window",
    "launch",
    "tree",
    "find",
    "read_text",
];
const CODES: [&str; 11] = [
    "malformed",
    "version",
    "not_ready",
    "busy",
    "off_screen",
    "not_found",
    "no_such_key",
    "refused",
    "too_large",
    "timed_out",
    "failed",
];
const OUTCOMES: [&str; 10] =
    ["done", "status", "picture", "position", "clipboard", "windows", "tree", "elements", "words", "error"];

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
    let keys = |values: &[Value], at: &str| -> BTreeSet<String> {
        values.iter().flat_map(|value| value.pointer(at).unwrap().as_object().unwrap().keys().cloned()).collect()
    };
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(keys(&list(REQUESTS), "/verb"), all(&VERBS));
    assert_eq!(keys(&list(ANSWERS), "/outcome"), all(&OUTCOMES));
    let codes = list(ANSWERS)
        .iter()
        .filter_map(|answer| answer.pointer("/outcome/error/code")?.as_str().map(str::to_owned))
        .collect::<BTreeSet<_>>();
    assert_eq!(codes, all(&CODES));
}

#[test]
fn a_request_of_the_file_has_the_name_and_limit_of_its_verb_in_the_guide() {
    for json in list(REQUESTS) {
        let request = Request::read(&message(&json, &[])).unwrap();
        let name = request.verb.name();
        assert!(json.pointer("/verb").unwrap().get(name).is_some(), "{json}");
        assert!(GUIDE.contains(&format!("| `{name}` |")), "docs/agent-protocol.md has no row for {name}");
    }
    for code in CODES {
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
