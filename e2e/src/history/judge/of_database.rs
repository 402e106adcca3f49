//! What a Workspace that is called done lacks of its database and of what its consumers are to have. In: a write of it, what there was. Out: each
//! in words. The record must be one of these kinds too: see [`super::super::record::OF_DATABASES`].

use serde_json::Value;

use super::Write;

/// What was missing in a stack when the Workspace was written.
pub(super) fn missing<'a>(
    write: &Write,
    stack: &str,
    get: &impl Fn(&str, &str, &str) -> Option<&'a Value>,
) -> Vec<String> {
    let (spec, status) = (&write.object["spec"], &write.object["status"]);
    let mut missing = Vec::new();
    let told = &status["database"];
    if told.is_object() && spec["database"]["disabled"] != true {
        missing.extend(of_database(write, stack, get));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for consumer in spec["consumers"].as_array().into_iter().flatten() {
        let (namespace, account) = (text(&consumer["namespace"]), text(&consumer["serviceAccount"]));
        let is_it = |it: &&Value| it["namespace"] == *namespace && it["serviceAccount"] == *account;
        let known = status["consumers"].as_array().into_iter().flatten().find(is_it);
        let Some(known) = known else {
            missing.push(format!("what it gives to {namespace}/{account}"));
            continue;
        };
        let secret = text(&known["secret"]);
        let data = get("Secret", &namespace, &secret).map_or(&Value::Null, |secret| &secret["data"]);
        let wanted = [("database", "tls.key"), ("bucket", "bucket-session-token")];
        let wanted = wanted.iter().filter(|(what, entry)| consumer[what].is_string() && data[entry].is_null());
        missing.extend(wanted.map(|(_, entry)| format!("{entry} in Secret {namespace}/{secret}")));
        let role = format!("database-consumer-{namespace}.{account}");
        let signs_in = get("DatabaseRole", stack, &role).is_some_and(|role| role["spec"]["login"] == true);
        if consumer["database"].is_string() && !signs_in {
            missing.push(format!("a role {role} that signs in"));
        }
    }
    missing
}

fn of_database<'a>(write: &Write, stack: &str, get: &impl Fn(&str, &str, &str) -> Option<&'a Value>) -> Vec<String> {
    let mut missing = Vec::new();
    let is_suspended = write.object["spec"]["suspended"] == true;
    match get("Cluster", stack, "database") {
        None => missing.push("its database".to_owned()),
        Some(cluster) => {
            let rests = cluster["metadata"]["annotations"]["cnpg.io/hibernation"] == "on";
            if rests != is_suspended {
                missing.push(format!("its wish: suspended is {is_suspended}, and its database hibernates: {rests}"));
            }
        }
    }
    let bucket = write.object["status"]["database"]["backup"]["bucket"].as_str().unwrap_or_default();
    if !write.outside.contains(bucket) {
        missing.push(format!("the bucket of its backups {bucket:?}"));
    }
    if get("Secret", stack, "database-backup").is_none() {
        missing.push("credentials for its backups".to_owned());
    }
    let drill = &write.object["status"]["database"]["restoreDrill"];
    if drill["lastSuccess"].is_object() && get("Deployment", stack, "database-canary").is_none() {
        missing.push("the canary of its database".to_owned());
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    type Present = BTreeMap<(&'static str, &'static str, String), Value>;

    /// A Workspace that has what it is to have, and all that there is then.
    fn served() -> (Write, Present) {
        let consumer =
            json!({ "namespace": "shop", "serviceAccount": "billing", "database": "read", "bucket": "read" });
        let object = json!({
            "spec": { "consumers": [consumer] },
            "status": {
                "database": { "backup": { "bucket": "backups" }, "restoreDrill": { "lastSuccess": {} } },
                "consumers": [{ "namespace": "shop", "serviceAccount": "billing", "secret": "acme.finance.billing" }],
            },
        });
        let write = Write {
            revision: 1,
            kind: "Workspace".to_owned(),
            is_gone: false,
            object,
            outside: ["backups".to_owned()].into(),
        };
        let data = json!({ "data": { "tls.key": "a", "bucket-session-token": "b" } });
        let present = [
            ("Cluster", "stack", "database", json!({ "metadata": {} })),
            ("Secret", "stack", "database-backup", json!({})),
            ("Deployment", "stack", "database-canary", json!({})),
            ("Secret", "shop", "acme.finance.billing", data),
            ("DatabaseRole", "stack", "database-consumer-shop.billing", json!({ "spec": { "login": true } })),
        ];
        let present = present.into_iter().map(|(kind, place, name, it)| ((kind, place, name.to_owned()), it));
        (write, present.collect())
    }

    fn found(write: &Write, present: &Present) -> Vec<String> {
        let get = |kind: &str, place: &str, name: &str| {
            present.iter().find(|((a, b, c), _)| (*a, *b, c.as_str()) == (kind, place, name)).map(|(_, it)| it)
        };
        missing(write, "stack", &get)
    }

    #[test]
    fn whatever_a_database_or_a_consumer_lacks_is_seen() {
        let (write, present) = served();
        assert_eq!(found(&write, &present), Vec::<String>::new());
        for key in present.keys() {
            let mut less = present.clone();
            less.remove(key);
            assert!(!found(&write, &less).is_empty(), "{key:?}");
        }
        let without = |change: fn(&mut Write)| {
            let (mut write, present) = served();
            change(&mut write);
            found(&write, &present)
        };
        assert!(!without(|it| it.outside.clear()).is_empty());
        assert!(!without(|it| it.object["status"]["consumers"] = json!([])).is_empty());
        assert!(!without(|it| it.object["spec"]["suspended"] = json!(true)).is_empty(), "it runs on");
    }
}
