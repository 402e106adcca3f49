use super::*;

fn ours() -> Value {
    match plan(None) {
        Plan::Write(model) => model,
        other => panic!("{other:?}"),
    }
}

fn written(newest: &Value) -> Value {
    match plan(Some(newest)) {
        Plan::Write(model) => model,
        other => panic!("{other:?}"),
    }
}

/// The definition of a type in a model.
fn of<'a>(model: &'a Value, name: &str) -> &'a Value {
    model["type_definitions"].as_array().unwrap().iter().find(|it| it["type"] == name).unwrap()
}

fn of_mut<'a>(model: &'a mut Value, name: &str) -> &'a mut Value {
    model["type_definitions"].as_array_mut().unwrap().iter_mut().find(|it| it["type"] == name).unwrap()
}

/// As a server gives it back: with all that was left out.
fn as_answered(mut model: Value) -> Value {
    model["id"] = json!("01JXYZ0000000000000000000X");
    for definition in model["type_definitions"].as_array_mut().unwrap() {
        let metadata = &mut definition["metadata"];
        if let Some(relations) = metadata["relations"].as_object_mut() {
            for relation in relations.values_mut() {
                relation["module"] = json!("");
                relation["source_info"] = Value::Null;
                for direct in relation["directly_related_user_types"].as_array_mut().unwrap() {
                    direct["condition"] = json!("");
                }
                relation["directly_related_user_types"].as_array_mut().unwrap().reverse();
            }
        }
    }
    let owner = &mut of_mut(&mut model, "workspace")["relations"]["editor"]["union"]["child"][1]["tupleToUserset"];
    owner["tupleset"]["object"] = json!("");
    owner["computedUserset"]["object"] = json!("");
    model
}

fn invoices(mut model: Value) -> Value {
    model["type_definitions"].as_array_mut().unwrap().push(json!({
        "type": "invoice", "relations": { "workspace": { "this": {} } },
        "metadata": { "module": "billing", "relations": { "workspace": { "directly_related_user_types": [{ "type": "workspace" }] } } },
    }));
    model["conditions"] = json!({ "in_office": { "name": "in_office", "expression": "true" } });
    model
}

#[test]
fn what_a_server_gives_back_is_not_written_again() {
    assert_eq!(plan(Some(&as_answered(ours()))), Plan::Current);
    assert_eq!(plan(Some(&invoices(as_answered(ours())))), Plan::Current);
}

#[test]
fn a_model_without_us_keeps_all_that_it_has_and_gets_our_module() {
    let theirs = invoices(json!({
        "schema_version": "1.1",
        "type_definitions": [{ "type": "user", "relations": { "manager": { "this": {} } }, "metadata": null }],
    }));
    let model = written(&theirs);
    assert_eq!(of(&model, "user"), of(&theirs, "user"), "their user is ours");
    assert_eq!(of(&model, "invoice"), of(&theirs, "invoice"));
    assert_eq!(model["conditions"], theirs["conditions"]);
    assert_eq!(of(&model, "workspace"), of(&ours(), "workspace"));
    assert_eq!(model["schema_version"], "1.2");
    assert_eq!(plan(Some(&model)), Plan::Current);
}

#[test]
fn relations_that_others_added_to_our_types_stay_when_ours_are_put_right() {
    let mut theirs = as_answered(ours());
    let workspace = of_mut(&mut theirs, "workspace");
    workspace["relations"]["approver"] = json!({ "this": {} });
    workspace["metadata"]["relations"]["approver"] =
        json!({ "module": "billing", "directly_related_user_types": [{ "type": "user" }] });
    assert_eq!(plan(Some(&theirs)), Plan::Current);
    // Everybody is a viewer.
    of_mut(&mut theirs, "workspace")["metadata"]["relations"]["viewer"]["directly_related_user_types"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user", "wildcard": {} }));
    let model = written(&theirs);
    assert_eq!(of(&model, "workspace")["relations"]["approver"], json!({ "this": {} }));
    assert_eq!(of(&model, "workspace")["metadata"]["relations"]["approver"]["module"], "billing");
    assert_eq!(plan(Some(&model)), Plan::Current);
}

#[test]
fn each_of_our_relations_is_put_right_alone() {
    for (name, relation) in
        [("tenant", "owner"), ("workspace", "tenant"), ("workspace", "editor"), ("workspace", "viewer")]
    {
        let mut theirs = as_answered(ours());
        of_mut(&mut theirs, name)["relations"][relation] = json!({ "computedUserset": { "relation": "other" } });
        assert_eq!(plan(Some(&written(&theirs))), Plan::Current, "{name}#{relation}");
        of_mut(&mut theirs, name)["relations"].as_object_mut().unwrap().remove(relation);
        assert_eq!(plan(Some(&written(&theirs))), Plan::Current, "{name}#{relation}");
    }
}

#[test]
fn a_newer_version_of_our_module_is_left_as_it_is() {
    let mut newer = as_answered(ours());
    for name in ["tenant", "workspace"] {
        of_mut(&mut newer, name)["metadata"]["source_info"]["file"] = json!("steading/2.fga");
        of_mut(&mut newer, name)["relations"] = json!({ "owner": { "this": {} } });
    }
    assert_eq!(plan(Some(&newer)), Plan::Current);
    of_mut(&mut newer, "workspace")["metadata"]["source_info"]["file"] = json!("steading/0.fga");
    let raised = written(&newer);
    assert_eq!(of(&raised, "workspace")["metadata"]["source_info"]["file"], "steading/1.fga");
}

#[test]
fn a_stranger_of_our_types_name_is_left_alone_and_named() {
    let mut theirs = json!({ "schema_version": "1.1", "type_definitions": [{ "type": "workspace", "relations": { "seat": { "this": {} } } }] });
    assert_eq!(plan(Some(&theirs)), Plan::Conflict("workspace"));
    theirs["type_definitions"][0] = json!({ "type": "tenant" });
    assert_eq!(plan(Some(&theirs)), Plan::Conflict("tenant"));
}

#[test]
fn a_copy_of_ours_without_the_mark_is_as_good() {
    let mut copy = as_answered(ours());
    for name in ["user", "group", "tenant", "workspace"] {
        let metadata = of_mut(&mut copy, name)["metadata"].as_object_mut().unwrap();
        metadata.remove("module");
        metadata.remove("source_info");
    }
    assert_eq!(plan(Some(&copy)), Plan::Current);
}

#[test]
fn only_a_model_without_types_of_others_is_ours_alone() {
    assert!(is_only_ours(&as_answered(ours())));
    assert!(!is_only_ours(&invoices(ours())));
    let mut extended = as_answered(ours());
    of_mut(&mut extended, "workspace")["relations"]["approver"] = json!({ "this": {} });
    assert!(!is_only_ours(&extended));
    let mut conditional = as_answered(ours());
    conditional["conditions"] = json!({ "in_office": {} });
    assert!(!is_only_ours(&conditional));
}

#[test]
fn a_model_that_holds_anything_at_all_is_put_right_without_a_panic() {
    for odd in [json!("text"), json!(7), json!([]), Value::Null] {
        let mut theirs = as_answered(ours());
        of_mut(&mut theirs, "workspace")["relations"] = odd.clone();
        assert_eq!(plan(Some(&written(&theirs))), Plan::Current, "{odd}");
        of_mut(&mut theirs, "group")["metadata"] = odd.clone();
        of_mut(&mut theirs, "group")["relations"] = odd.clone();
        assert_eq!(plan(Some(&written(&theirs))), Plan::Current, "{odd}");
        assert!(matches!(plan(Some(&json!({ "type_definitions": odd }))), Plan::Write(_)), "{odd}");
    }
}
