//! The published rules of kstatus for kinds that it does not know by name, as Flux and Helm 4 use them. In: an object as the
//! API server shows it. Out: what these tools think of it.

use serde_json::Value;

/// What kstatus can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Work on it goes on.
    InProgress,
    /// It will not come about by itself.
    Failed,
    /// It is as it should be.
    Current,
    /// It is going.
    Terminating,
}

/// The verdict on an object. The first rule that applies decides.
pub fn compute(object: &Value) -> Status {
    if object["metadata"]["deletionTimestamp"].as_str().is_some_and(|time| !time.is_empty()) {
        return Status::Terminating;
    }
    let generation = object["metadata"]["generation"].as_i64();
    let observed = object["status"]["observedGeneration"].as_i64();
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return Status::InProgress;
    }
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return Status::InProgress,
            Some("Stalled") => return Status::Failed,
            _ => {}
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready").and_then(|ready| ready["status"].as_str()) {
        Some("False" | "Unknown") => Status::InProgress,
        // Without any sign of the contrary, kstatus takes an object for done.
        _ => Status::Current,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(status: &Value) -> Value {
        json!({ "metadata": { "generation": 2 }, "status": status })
    }

    fn condition(kind: &str, status: &str) -> Value {
        json!({ "type": kind, "status": status })
    }

    #[test]
    fn the_published_rules_hold_in_their_order() {
        let with = |conditions: Value| object(&json!({ "observedGeneration": 2, "conditions": conditions }));
        let (ready, stalled) = (condition("Ready", "True"), condition("Stalled", "True"));
        let reconciling = condition("Reconciling", "True");
        assert_eq!(compute(&json!({ "metadata": { "generation": 1 } })), Status::Current);
        assert_eq!(compute(&object(&json!({ "observedGeneration": -1 }))), Status::InProgress);
        assert_eq!(compute(&object(&json!({ "observedGeneration": 1, "conditions": [ready] }))), Status::InProgress);
        assert_eq!(compute(&with(json!([ready]))), Status::Current);
        assert_eq!(compute(&with(json!([ready, stalled]))), Status::Failed);
        assert_eq!(compute(&with(json!([ready, reconciling, stalled]))), Status::InProgress);
        assert_eq!(compute(&with(json!([condition("Ready", "False")]))), Status::InProgress);
        assert_eq!(compute(&with(json!([condition("Ready", "Unknown")]))), Status::InProgress);
        let mut going = with(json!([ready]));
        going["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        assert_eq!(compute(&going), Status::Terminating);
    }
}
