//! Shows that each rule of the fence is tested. In: the rules of the chart and the tests of the fence. Out: a table with the tests that
//! noticed, one row per rule; a failure if a rule was missed by nobody.
//!
//! For each rule in turn the tests run on a control plane of their own on which that rule is always true. Only a test that says
//! that the fence let something through has noticed; any other failure is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::process::Command;

/// Runs at once. Each has a control plane and keeps about a core busy.
const AT_ONCE: usize = 2;
/// What a test prints when a request passed that a rule should have refused.
const LET_THROUGH: &str = "THE FENCE LET THROUGH";
/// What it adds when another rule or another layer refused the request all the same.
const ELSE_REFUSED: &str = "and something else refused it";

/// One validation of one policy.
#[derive(Debug, Clone)]
struct Rule {
    policy: String,
    index: usize,
    message: String,
}

/// What a run of the tests said.
#[derive(Debug, Default)]
struct Outcome {
    passed: usize,
    /// Failed tests with what they printed.
    failed: BTreeMap<String, String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let started = Instant::now();
    let rules = rules()?;
    let tests = build().await?;
    eprintln!("fence-negate: the tests with every rule in force");
    let whole = run(&tests, None).await?;
    ensure!(whole.failed.is_empty(), "the tests of the fence fail as they are: {:?}", whole.failed.keys());
    let outcomes: Vec<(Rule, Outcome)> = stream::iter(rules)
        .map(async |rule| {
            let outcome = run(&tests, Some(&rule)).await?;
            eprintln!("fence-negate: {}/{} made always true, {} failed", rule.policy, rule.index, outcome.failed.len());
            anyhow::Ok((rule, outcome))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let missed = outcomes.iter().filter(|(rule, outcome)| !report(rule, outcome)).count();
    println!(
        "\n{} rules, {} noticed, {missed} missed; {} tests pass with every rule in force; {} s",
        outcomes.len(),
        outcomes.len() - missed,
        whole.passed,
        started.elapsed().as_secs()
    );
    ensure!(missed == 0, "{missed} rules can go without a test noticing: see the table above");
    Ok(())
}

/// Prints the row of a rule; whether a test noticed.
fn report(rule: &Rule, outcome: &Outcome) -> bool {
    println!("\n{}/{}  {}", rule.policy, rule.index, rule.message);
    let mut noticed = false;
    for (test, printed) in &outcome.failed {
        let told = match (printed.contains(LET_THROUGH), printed.contains(ELSE_REFUSED)) {
            (true, false) => "an attack got through",
            (true, true) => "not refused by it, stopped by something else",
            (false, _) => "FAILED FOR ANOTHER REASON",
        };
        noticed |= printed.contains(LET_THROUGH);
        println!("    {told}: {test}");
    }
    if !noticed {
        println!("    NOBODY NOTICED");
    }
    noticed && outcome.failed.values().all(|printed| printed.contains(LET_THROUGH))
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rules in the order of the file.
fn rules() -> Result<Vec<Rule>> {
    let path = checkout().join("charts/steading/files/fence.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let policies: Vec<Value> = serde_saphyr::from_multiple(&text).context("fence.yaml is no YAML")?;
    let mut rules = Vec::new();
    for policy in policies {
        let name = policy.pointer("/metadata/name").and_then(Value::as_str).context("a policy has no name")?;
        let validations = policy.pointer("/spec/validations").and_then(Value::as_array).context("no validations")?;
        for (index, validation) in validations.iter().enumerate() {
            let message = validation.get("message").or_else(|| validation.get("messageExpression"));
            let message = message.and_then(Value::as_str).context("a validation has no message")?;
            let message: String = message.replace("' + '", "").chars().take(100).collect();
            rules.push(Rule { policy: name.to_owned(), index, message });
        }
    }
    Ok(rules)
}

/// Builds the tests and returns their program.
async fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--package", "e2e", "--test", "fence", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(checkout())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cannot run cargo: is Rust installed?")?;
    ensure!(output.status.success(), "the tests of the fence do not compile; what the compiler said is above");
    let program = String::from_utf8_lossy(&output.stdout).lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_ours = message.pointer("/target/name").and_then(Value::as_str) == Some("fence");
        let path = message.get("executable").and_then(Value::as_str)?;
        is_ours.then(|| PathBuf::from(path))
    });
    program.context("cargo built the tests of the fence but did not say where")
}

/// Runs the tests: all of them, or with one rule always true those of its policy.
async fn run(program: &Path, rule: Option<&Rule>) -> Result<Outcome> {
    let mut command = Command::new(program);
    command.args(["--test-threads", "8"]).env("RUST_BACKTRACE", "0").env_remove("STEADING_FENCE_NEGATE");
    if let Some(rule) = rule {
        // The tests of a policy are in the module of its name.
        command.arg(rule.policy.trim_start_matches("steading-"));
        command.env("STEADING_FENCE_NEGATE", format!("{}/{}", rule.policy, rule.index));
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run the tests")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = read(&printed);
    if outcome.passed == 0 || output.status.success() != outcome.failed.is_empty() {
        bail!(
            "the tests of the fence did not run as tests do:\n{printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(outcome)
}

/// Reads what a Rust test program prints.
fn read(printed: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut section: Option<String> = None;
    for line in printed.lines() {
        if line.starts_with("test ") && line.ends_with(" ... ok") {
            outcome.passed += 1;
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            outcome.failed.entry(name.to_owned()).or_default();
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            section = Some(name.to_owned());
        } else if line == "failures:" {
            section = None;
        } else if let Some(name) = &section {
            let text = outcome.failed.entry(name.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_read_with_what_it_printed() {
        let printed = "running 2 tests\ntest a::stands ... ok\ntest b::falls ... FAILED\n\nfailures:\n\n\
            ---- b::falls stdout ----\nTHE FENCE LET THROUGH\n  x\n\nfailures:\n    b::falls\n\ntest result: FAILED.\n";
        let outcome = read(printed);
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.failed.keys().collect::<Vec<_>>(), ["b::falls"]);
        assert!(outcome.failed["b::falls"].contains(LET_THROUGH));
    }

    #[test]
    fn every_rule_of_the_chart_is_read() {
        let rules = rules().unwrap();
        assert!(rules.len() > 30, "{rules:?}");
        assert!(rules.iter().all(|rule| rule.message.contains("steading: ")), "{rules:?}");
    }
}
