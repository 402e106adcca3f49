//! The chart's health check for Argo CD, run by a real Lua 5.1 with no more libraries than Argo CD gives it. In: an object.
//! Out: what Argo CD shows.

use anyhow::{Context as _, Result, anyhow};
use mlua::serde::SerializeOptions;
use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib, Table};
use serde_json::Value;

const HEALTH: &str = include_str!("../../../charts/steading/files/health.lua");

/// Runs the check and returns status and message.
pub fn health(object: &Value) -> Result<(String, String)> {
    run(object).map_err(|error| anyhow!("{error}")).with_context(|| format!("health.lua fails on {object}"))
}

fn run(object: &Value) -> mlua::Result<(String, String)> {
    let lua = Lua::new_with(StdLib::TABLE | StdLib::PACKAGE, LuaOptions::default())?;
    let options = SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, options)?)?;
    let verdict: Table = lua.load(HEALTH).eval()?;
    Ok((verdict.get("status")?, verdict.get("message")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(spec: &Value, observed: i64, conditions: &Value) -> Value {
        json!({ "metadata": { "generation": 2 }, "spec": spec,
                "status": { "observedGeneration": observed, "conditions": conditions } })
    }

    #[test]
    fn every_state_has_the_health_that_the_docs_promise() {
        let condition =
            |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "Why", "message": kind });
        let ready = condition("Ready", "True");
        let expect = |object: &Value, status: &str| assert_eq!(health(object).unwrap().0, status, "{object}");
        expect(&json!({ "metadata": { "generation": 1 }, "spec": {} }), "Progressing");
        expect(&json!({ "metadata": { "generation": 1 }, "spec": {}, "status": {} }), "Progressing");
        expect(
            &json!({ "metadata": { "generation": 1 }, "spec": {}, "status": { "observedGeneration": -1 } }),
            "Progressing",
        );
        expect(&with(&json!({}), 2, &json!([])), "Progressing");
        expect(&with(&json!({}), 1, &json!([ready])), "Progressing");
        expect(&with(&json!({}), 2, &json!([ready])), "Healthy");
        expect(
            &with(&json!({}), 2, &json!([condition("Ready", "False"), condition("Reconciling", "True")])),
            "Progressing",
        );
        expect(&with(&json!({}), 2, &json!([condition("Ready", "False"), condition("Stalled", "True")])), "Degraded");
        expect(&with(&json!({ "paused": true }), 2, &json!([condition("Ready", "Unknown")])), "Suspended");
        let paused = json!([{ "type": "Ready", "status": "Unknown", "reason": "Paused", "message": "" }]);
        expect(&with(&json!({}), 2, &paused), "Suspended");
        assert_eq!(health(&with(&json!({}), 2, &json!([condition("Stalled", "True")]))).unwrap().1, "Stalled");
    }

    #[test]
    fn the_check_needs_no_library_that_argo_cd_does_not_load() {
        for library in ["string", "os", "io", "math", "require "] {
            assert!(!HEALTH.contains(&format!("{library}.")), "{library}");
        }
    }
}
