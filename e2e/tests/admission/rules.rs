//! CEL rules: for each one inputs that it refuses, with its message, and neighbours that it lets through. In: the cases
//! of the kinds. Out: proof that each rule of the CRDs has a case and that each case is refused by its rule.

use std::io::Write as _;

use serde_json::Value;

use crate::objects::{answered, full, set};
use crate::schema::{Demand, constraints};
use crate::server::{Server, refuses};
use crate::{agents, classes, databases, tenants, workspaces};

/// Inputs for one rule.
pub struct Case {
    pub kind: &'static str,
    /// The field on which the rule stands; empty for the object itself.
    pub path: &'static str,
    /// The whole message of the rule.
    pub message: &'static str,
    pub inputs: Vec<Input>,
}

/// One input.
pub struct Input {
    /// The field that is set; that of the rule unless said otherwise.
    path: Option<&'static str>,
    /// What stood there before, if the rule is about changes.
    before: Option<Value>,
    value: Value,
    refused: bool,
}

impl Case {
    pub fn of(kind: &'static str, path: &'static str, message: &'static str) -> Self {
        Self { kind, path, message, inputs: Vec::new() }
    }

    /// The rule refuses this value.
    pub fn refuses(self, value: impl Into<Value>) -> Self {
        self.with(Input { path: None, before: None, value: value.into(), refused: true })
    }

    /// The rule refuses each of these values.
    pub fn refuses_all<const N: usize>(self, values: [&str; N]) -> Self {
        values.into_iter().fold(self, Self::refuses)
    }

    /// The API server takes an object with this value.
    pub fn takes(self, value: impl Into<Value>) -> Self {
        self.with(Input { path: None, before: None, value: value.into(), refused: false })
    }

    /// The API server takes each of these values.
    pub fn takes_all<const N: usize>(self, values: [&str; N]) -> Self {
        values.into_iter().fold(self, Self::takes)
    }

    /// The rule refuses a change from one value to another. Null is an absent field.
    pub fn refuses_change(self, before: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.with(Input { path: None, before: Some(before.into()), value: value.into(), refused: true })
    }

    /// The API server takes a change from one value to another.
    pub fn takes_change(self, before: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.with(Input { path: None, before: Some(before.into()), value: value.into(), refused: false })
    }

    /// The last input sets this field instead of the one on which the rule stands.
    pub fn at(mut self, path: &'static str) -> Self {
        self.inputs.last_mut().expect("an input was given").path = Some(path);
        self
    }

    fn with(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Sends every input and says what went otherwise than it should.
    async fn run(&self, server: &Server) -> Vec<String> {
        let mut wrong = Vec::new();
        for input in &self.inputs {
            let answer = input.send(self, server).await;
            let outcome = if input.refused {
                refuses(&answer, &answered(self.path), self.message).map_err(|error| error.to_string())
            } else {
                answer.map(drop).map_err(|status| format!("it should be accepted, but: {}", status.message))
            };
            if let Err(error) = outcome {
                wrong.push(format!("{} {} with {}: {error}", self.kind, self.path, shortened(&input.value)));
            }
        }
        wrong
    }
}

impl Input {
    async fn send(&self, case: &Case, server: &Server) -> Result<Value, kube::core::Status> {
        let path = self.path.unwrap_or(case.path);
        let mut object = full(case.kind);
        if let Some(before) = &self.before {
            set(&mut object, path, before.clone());
            let mut stored = server.create(&object).await;
            set(&mut stored, path, self.value.clone());
            return server.try_replace(&stored).await;
        }
        set(&mut object, path, self.value.clone());
        server.try_create(&object).await
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

fn cases() -> Vec<Case> {
    let all = [agents::cases(), classes::cases(), databases::cases(), tenants::cases(), workspaces::cases()];
    all.into_iter().flatten().collect()
}

#[test]
fn every_rule_has_a_refused_input() {
    let rules: Vec<_> = constraints()
        .into_iter()
        .filter_map(|constraint| match constraint.demand {
            Demand::Rule(message) => Some((constraint.kind, constraint.path, message)),
            _ => None,
        })
        .collect();
    let cases = cases();
    let is_about = |case: &Case, rule: &(String, String, String)| {
        (case.kind, case.path, case.message) == (rule.0.as_str(), rule.1.as_str(), rule.2.as_str())
    };
    let untested: Vec<_> = rules
        .iter()
        .filter(|rule| !cases.iter().any(|case| is_about(case, rule) && case.inputs.iter().any(|input| input.refused)))
        .collect();
    let stray: Vec<_> = cases
        .iter()
        .filter(|case| !rules.iter().any(|rule| is_about(case, rule)))
        .map(|case| (case.kind, case.path, case.message))
        .collect();
    assert!(untested.is_empty() && stray.is_empty(), "without a case:\n{untested:#?}\nwithout a rule:\n{stray:#?}");
    let inputs = cases.iter().flat_map(|case| &case.inputs);
    let refused = inputs.filter(|input| input.refused).count();
    // Past the capture of the test runner.
    writeln!(std::io::stderr(), "admission: rules={} refused inputs={refused}", rules.len()).unwrap();
}

#[test]
fn no_two_rules_of_one_field_share_a_message() {
    let mut seen = Vec::new();
    for constraint in constraints() {
        let line = constraint.to_string();
        assert!(!seen.contains(&line), "{line} stands twice");
        seen.push(line);
    }
}

async fn run_all(kind: &str) {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.kind == kind) {
        wrong.extend(case.run(&server).await);
    }
    assert!(wrong.is_empty(), "{} inputs:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_rule_of_a_tenant_class_refuses_what_it_should_and_nothing_else() {
    run_all("TenantClass").await;
}

#[tokio::test]
async fn every_rule_of_a_tenant_refuses_what_it_should_and_nothing_else() {
    run_all("Tenant").await;
}

#[tokio::test]
async fn every_rule_of_a_workspace_refuses_what_it_should_and_nothing_else() {
    run_all("Workspace").await;
}

#[tokio::test]
async fn every_rule_of_an_agent_pool_refuses_what_it_should_and_nothing_else() {
    run_all("AgentPool").await;
}

#[tokio::test]
async fn the_full_object_of_each_kind_is_accepted() {
    let server = Server::start().await;
    for kind in crate::objects::KINDS {
        let answer = server.try_create(&full(kind)).await;
        answer.unwrap_or_else(|status| panic!("{kind}: {}", status.message));
    }
}

/// Text that is meant to break out of whatever it is put into. No name or reference may hold any of it.
pub const HOSTILE: [&str; 16] = [
    "a\"b",
    "a'b",
    "a;b",
    "a`id`",
    "a$(id)",
    "a{{b}}",
    "a\nb",
    "a\n",
    "a\u{0}b",
    "a\u{202e}b",
    "\u{430}cme", // a Cyrillic letter that looks like a Latin one
    "a\u{200b}b",
    "a b",
    "a\\b",
    "../a",
    "a%2fb",
];
