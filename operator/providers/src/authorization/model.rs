//! Our module of a store's authorization model, and how it gets into a model that applications write as well.
//!
//! In: the newest model of a store. Out: whether our module stands in it as we want it, or the model to write, which is theirs with our
//! module put right. Pure. Models are never changed on the server, only followed by a newer one, so writing what is there already would
//! add one each time.

use serde_json::{Map, Value, json};

/// The module's name in the model.
const MODULE: &str = "steading";

/// Version of the module; goes up with each change of it.
const VERSION: u32 = 1;

/// The schema whose types can belong to modules.
const SCHEMA: &str = "1.2";

/// Relations whose tuples are ours alone: what else stands in them is removed.
pub(crate) const TENANT_RELATIONS: [&str; 1] = ["owner"];
/// The same for workspaces.
pub(crate) const WORKSPACE_RELATIONS: [&str; 3] = ["tenant", "editor", "viewer"];

/// What has to happen to a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// Our module stands in it, in our version or a newer one.
    Current,
    /// This is to be written.
    Write(Value),
    /// A type of that name is somebody else's and means something else.
    Conflict(&'static str),
}

/// A type of ours.
struct Type {
    name: &'static str,
    /// Whether applications may bring their own type of this name: users and groups are what every model begins with.
    is_shared: bool,
    relations: Value,
    /// Which types stand directly in which relation.
    direct: Value,
}

fn types() -> [Type; 4] {
    let people = json!([{ "type": "user" }, { "type": "group", "relation": "member" }]);
    let this = json!({ "this": {} });
    let from_tenant = json!({ "tupleToUserset": { "tupleset": { "relation": "tenant" }, "computedUserset": { "relation": "owner" } } });
    let or = |other: Value| json!({ "union": { "child": [{ "this": {} }, other] } });
    [
        Type { name: "user", is_shared: true, relations: json!({}), direct: json!({}) },
        Type {
            name: "group",
            is_shared: true,
            relations: json!({ "member": this }),
            direct: json!({ "member": people }),
        },
        Type {
            name: "tenant",
            is_shared: false,
            relations: json!({ "owner": this }),
            direct: json!({ "owner": people }),
        },
        Type {
            name: "workspace",
            is_shared: false,
            relations: json!({
                "tenant": this,
                "editor": or(from_tenant),
                "viewer": or(json!({ "computedUserset": { "relation": "editor" } })),
            }),
            direct: json!({ "tenant": [{ "type": "tenant" }], "editor": people, "viewer": people }),
        },
    ]
}

impl Type {
    fn definition(&self) -> Value {
        let mut definition = json!({
            "type": self.name,
            "metadata": { "module": MODULE, "source_info": { "file": format!("{MODULE}/{VERSION}.fga") } },
        });
        for relation in self.relation_names() {
            self.put(&mut definition, relation);
        }
        definition
    }

    fn relation_names(&self) -> impl Iterator<Item = &String> {
        self.relations.as_object().into_iter().flat_map(Map::keys)
    }

    /// Writes one of our relations into a definition.
    fn put(&self, definition: &mut Value, relation: &str) {
        let direct = json!({ "directly_related_user_types": at(&self.direct, &[relation]) });
        set(definition, &["relations", relation], at(&self.relations, &[relation]).clone());
        set(definition, &["metadata", "relations", relation], direct);
    }

    /// Whether one of our relations means in a definition what it means here.
    fn stands(&self, definition: &Value, relation: &str) -> bool {
        let direct = at(definition, &["metadata", "relations", relation, "directly_related_user_types"]);
        plain(at(definition, &["relations", relation])) == plain(at(&self.relations, &[relation]))
            && sorted(direct) == sorted(at(&self.direct, &[relation]))
    }

    /// Puts the type right in a definition of its name; whether anything changed, or that it cannot be.
    fn settle(&self, definition: &mut Value) -> Result<bool, Plan> {
        if self.is_shared {
            let missing: Vec<&String> =
                self.relation_names().filter(|name| at(definition, &["relations", name]).is_null()).collect();
            for name in &missing {
                self.put(definition, name);
            }
            return Ok(!missing.is_empty());
        }
        let is_ours = at(definition, &["metadata", "module"]) == MODULE;
        if is_ours && version(definition).is_some_and(|version| version > VERSION) {
            return Ok(false);
        }
        let wrong: Vec<&String> = self.relation_names().filter(|name| !self.stands(definition, name)).collect();
        // A copy without the mark, as tools make that know no modules, is as good.
        if !is_ours && !wrong.is_empty() {
            return Err(Plan::Conflict(self.name));
        }
        for name in &wrong {
            self.put(definition, name);
        }
        if is_ours && !wrong.is_empty() {
            set(definition, &["metadata", "source_info", "file"], json!(format!("{MODULE}/{VERSION}.fga")));
        }
        Ok(!wrong.is_empty())
    }
}

/// The version that a definition of ours says it has.
fn version(definition: &Value) -> Option<u32> {
    let file = at(definition, &["metadata", "source_info", "file"]).as_str()?;
    file.strip_prefix(MODULE)?.strip_prefix('/')?.strip_suffix(".fga")?.parse().ok()
}

/// What has to happen to the newest model of a store, if it has one.
pub(crate) fn plan(newest: Option<&Value>) -> Plan {
    let Some(newest) = newest else {
        let types: Vec<Value> = types().iter().map(Type::definition).collect();
        return Plan::Write(json!({ "schema_version": SCHEMA, "type_definitions": types }));
    };
    let mut definitions = at(newest, &["type_definitions"]).as_array().cloned().unwrap_or_default();
    let mut is_changed = false;
    for ours in types() {
        match definitions.iter_mut().find(|definition| at(definition, &["type"]) == ours.name) {
            None => {
                definitions.push(ours.definition());
                is_changed = true;
            }
            Some(definition) => match ours.settle(definition) {
                Ok(changed) => is_changed |= changed,
                Err(conflict) => return conflict,
            },
        }
    }
    if !is_changed {
        return Plan::Current;
    }
    let conditions = newest.get("conditions").cloned().unwrap_or_else(|| json!({}));
    Plan::Write(json!({ "schema_version": SCHEMA, "type_definitions": definitions, "conditions": conditions }))
}

/// Whether nothing but our module stands in a model, without types, relations or conditions of anybody else's.
pub(crate) fn is_only_ours(model: &Value) -> bool {
    let is_ours = |definition: &Value| {
        let ours = types().into_iter().find(|ours| at(definition, &["type"]) == ours.name);
        let names = at(definition, &["relations"]).as_object().into_iter().flat_map(Map::keys);
        at(definition, &["metadata", "module"]) == MODULE
            && ours.is_some_and(|ours| names.into_iter().all(|name| ours.relation_names().any(|known| known == name)))
    };
    at(model, &["type_definitions"]).as_array().is_none_or(|all| all.iter().all(is_ours))
        && at(model, &["conditions"]).as_object().is_none_or(Map::is_empty)
}

/// What stands at a path; null if nothing does.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(value, |here, name| here.get(name)).unwrap_or(&Value::Null)
}

/// Puts something at a path, whatever is in the way: a model can hold anything.
fn set(value: &mut Value, path: &[&str], new: Value) {
    let mut here = value;
    for name in path {
        if !here.is_object() {
            *here = json!({});
        }
        let Some(fields) = here.as_object_mut() else { return };
        here = fields.entry(*name).or_insert(Value::Null);
    }
    *here = new;
}

/// Without what says nothing: servers fill in fields that were left out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !value.is_null() && *value != "");
            said.map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// A list whose order says nothing.
fn sorted(list: &Value) -> Vec<String> {
    let mut texts: Vec<String> = list.as_array().into_iter().flatten().map(|item| plain(item).to_string()).collect();
    texts.sort();
    texts
}

#[cfg(test)]
mod tests;
