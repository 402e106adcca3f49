//! Bounds: for each one the smallest input that breaks it and the largest that does not. In: a [`Constraint`].
//! Out: the objects to send and the message to expect.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::objects::{answered, at, full, set};
use crate::schema::{Constraint, Demand, constraints};
use crate::server::{Server, refuses};
use crate::tables::BOUNDS;

/// What one bound does with its nearest inputs.
struct Trial {
    /// Just outside.
    refused: Value,
    /// Just inside, where there is such a thing.
    allowed: Option<Value>,
    /// The field that the answer names.
    field: String,
    /// What the answer says.
    message: String,
}

fn bounds() -> Vec<Constraint> {
    constraints().into_iter().filter(|constraint| !matches!(constraint.demand, Demand::Rule(_))).collect()
}

fn trial(bound: &Constraint) -> Trial {
    let with = |value: Value| {
        let mut object = full(&bound.kind);
        set(&mut object, &bound.path, value);
        object
    };
    let field = answered(&bound.path);
    let text = |size: usize| json!("a".repeat(size));
    let items = |count: usize| with(distinct_items(&at(&mut full(&bound.kind), &bound.path)[0], count));
    let trial = |refused, allowed, message| Trial { refused, allowed, field: field.clone(), message };
    match &bound.demand {
        Demand::Required(name) => {
            let path = if bound.path.is_empty() { name.clone() } else { format!("{}.{name}", bound.path) };
            let mut refused = full(&bound.kind);
            set(&mut refused, &path, Value::Null);
            Trial { refused, allowed: None, field: answered(&path), message: "Required value".into() }
        }
        Demand::MinLength(least) => {
            trial(with(text(least - 1)), Some(with(text(*least))), format!("should be at least {least} chars long"))
        }
        Demand::MaxLength(most) => {
            trial(with(text(most + 1)), Some(with(text(*most))), format!("Too long: may not be more than {most} bytes"))
        }
        Demand::MinItems(least) => {
            trial(items(least - 1), Some(items(*least)), format!("should have at least {least} items"))
        }
        Demand::MaxItems(most) => trial(
            items(most + 1),
            Some(items(*most)),
            format!("Too many: {}: must have at most {most} items", most + 1),
        ),
        Demand::Minimum(least) => trial(
            with(json!(least - 1)),
            Some(with(json!(least))),
            format!("should be greater than or equal to {least}"),
        ),
        Demand::Maximum(most) => {
            trial(with(json!(most + 1)), Some(with(json!(most))), format!("should be less than or equal to {most}"))
        }
        Demand::Enum(values) => trial(with(json!("Surprise")), None, {
            let listed: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            format!("Unsupported value: \"Surprise\": supported values: {}", listed.join(", "))
        }),
        Demand::Unique(_) => {
            let item = at(&mut full(&bound.kind), &bound.path)[0].clone();
            Trial {
                refused: with(json!([item, item])),
                allowed: Some(items(2)),
                field: format!("{field}[1]"),
                message: "Duplicate value".into(),
            }
        }
        Demand::Rule(_) => unreachable!("rules have inputs of their own"),
    }
}

/// So many items like this one, no two alike.
fn distinct_items(item: &Value, count: usize) -> Value {
    let distinct = |index: usize| {
        let mut item = item.clone();
        match &mut item {
            Value::String(text) if text.contains('/') => *text = format!("10.0.{index}.0/24"),
            Value::String(text) => *text = format!("{text}{index}"),
            Value::Object(fields) => {
                let name = if fields.contains_key("serviceAccount") { "serviceAccount" } else { "name" };
                fields.insert(name.into(), json!(format!("name-{index}")));
            }
            other => panic!("no way is known to make items like {other} distinct"),
        }
        item
    };
    (0..count).map(distinct).collect()
}

#[test]
fn the_bounds_are_those_of_the_table() {
    let mut present: Vec<String> = bounds().iter().map(ToString::to_string).collect();
    let mut pinned: Vec<&str> = BOUNDS.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    present.sort_unstable();
    pinned.sort_unstable();
    let missing: Vec<_> = present.iter().filter(|line| !pinned.contains(&line.as_str())).collect();
    let gone: Vec<_> = pinned.iter().filter(|line| !present.iter().any(|other| other == *line)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table:\n{missing:#?}\nonly in the table:\n{gone:#?}");
}

#[tokio::test]
async fn every_bound_refuses_the_first_value_outside_it_and_no_value_inside_it() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    let bounds = bounds();
    for bound in &bounds {
        let Trial { refused, allowed, field, message } = trial(bound);
        if let Err(error) = refuses(&server.try_create(&refused).await, &field, &message) {
            wrong.push(format!("{bound}: {error}"));
        }
        if let Some(allowed) = allowed
            && refuses(&server.try_create(&allowed).await, &field, &message).is_ok()
        {
            wrong.push(format!("{bound}: refuses a value inside it"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} bounds:\n{}", wrong.len(), bounds.len(), wrong.join("\n"));
    writeln!(std::io::stderr(), "admission: bounds={} each refused one step outside", bounds.len()).unwrap();
}

#[tokio::test]
async fn absurd_sizes_are_refused_by_the_bound_and_not_by_a_crash() {
    let server = Server::start().await;
    for (kind, path, value, message) in [
        ("Tenant", "spec.class", json!("a".repeat(100_000)), "Too long: may not be more than 40 bytes"),
        ("Tenant", "spec.owners[].name", json!("a".repeat(100_000)), "Too long: may not be more than 253 bytes"),
        ("Tenant", "spec.quota.workspaces", json!(i64::MAX), "should be less than or equal to 500"),
        ("Tenant", "spec.quota.workspaces", json!(i64::MIN), "should be greater than or equal to 0"),
        ("Tenant", "spec.quota.workspaces", json!(1e30), "must be of type int"),
        ("Tenant", "spec.quota.workspaces", json!(1.5), "must be of type int"),
        ("Tenant", "spec.quota.cpu", json!(64), "must be of type string"),
        ("Tenant", "spec.quota.cpu", json!("9".repeat(253)), "Too long: may not be more than 8 bytes"),
        (
            "TenantClass",
            "spec.keys.openbao.caBundle",
            json!("-".repeat(200_000)),
            "Too long: may not be more than 65536",
        ),
        ("Workspace", "spec.bucket.disabled", json!("true"), "must be of type boolean"),
    ] {
        let mut object = full(kind);
        set(&mut object, path, value);
        let outcome = refuses(&server.try_create(&object).await, &answered(path), message);
        outcome.unwrap_or_else(|error| panic!("{kind} {path}: {error}"));
    }
}
