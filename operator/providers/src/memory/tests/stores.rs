//! Stores of authorization: one for each tenant, with our module and tuples beside those of applications, whatever fails.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::authorization::{
    MembershipSpec, Memberships, Model, Role, Server, StoreId, StoreSpec, Stores, Subject, Tuple,
};

fn stores(world: &World) -> Stores {
    Stores(Server::Memory(MemoryStores::new(world)))
}

fn user(name: &str) -> Subject {
    Subject::User(name.to_owned())
}

fn store() -> StoreSpec {
    StoreSpec {
        going: false,
        installation: Installation::new("prod").unwrap(),
        tenant: Identity::new(ACME).unwrap(),
        known: None,
        owners: BTreeSet::from([user("anna"), Subject::Group("admins".to_owned())]),
    }
}

async fn members(world: &World, members: &[(Subject, Role)]) -> MembershipSpec {
    let store = ensure(&stores(world), &store()).await.unwrap();
    MembershipSpec {
        store: store.id,
        model: store.model.unwrap().id,
        tenant: Identity::new(ACME).unwrap(),
        workspace: Identity::new(FINANCE).unwrap(),
        members: members.iter().cloned().collect(),
    }
}

fn memberships(world: &World) -> Memberships {
    Memberships(Server::Memory(MemoryStores::new(world)))
}

/// The only store of the world.
fn only(world: &World) -> (String, MemoryStore) {
    let stores = world.stores();
    assert_eq!(stores.len(), 1, "{:?}", stores.keys());
    stores.into_iter().next().unwrap()
}

fn tuples(world: &World) -> Vec<String> {
    let (_, store) = only(world);
    store.tuples.keys().map(|it| format!("{} {} {}", it.user, it.relation, it.object)).collect()
}

/// What an application writes: a type of its own beside ours.
fn application_model(ours: &Value) -> Value {
    let mut model = ours.clone();
    model["type_definitions"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "invoice", "metadata": { "module": "billing" } }));
    model
}

fn add_model(world: &World, id: &str, number: u64, content: Value) {
    world.tamper_store(id, |store| store.models.push(Model { id: format!("01{number:024}"), content }));
}

fn add_tuple(world: &World, id: &str, user: &str, relation: &str, object: &str) {
    let tuple = Tuple { user: user.to_owned(), relation: relation.to_owned(), object: object.to_owned() };
    world.tamper_store(id, |store| store.tuples.extend([(tuple, false)]));
}

/// A store of the same name as ours, as a second leader makes it.
fn twin(world: &World, id: &str) {
    world.tamper_store(id, |twin| (twin.name, twin.deleted) = (store().name(), false));
}

#[tokio::test]
async fn a_store_gets_our_model_and_owners_once_and_is_only_looked_at_afterwards() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let writes = world.writes();
    ensure(&stores(&world), &store()).await.unwrap();
    assert_eq!((writes, world.writes()), (3, 3), "store, model, tuples");
    assert_eq!(only(&world).1.models.len(), 1);
    let tenant = format!("tenant:{ACME}");
    assert_eq!(tuples(&world), [format!("group:admins#member owner {tenant}"), format!("user:anna owner {tenant}")]);
}

#[tokio::test]
async fn owners_that_are_no_longer_wanted_go_and_what_applications_wrote_stays() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, there) = only(&world);
    add_model(&world, &id, 90, application_model(&there.models[0].content));
    add_tuple(&world, &id, "user:mallory", "owner", &format!("tenant:{ACME}"));
    add_tuple(&world, &id, "user:ben", "payer", "invoice:7");
    let want = StoreSpec { owners: BTreeSet::from([user("anna")]), ..store() };
    ensure(&stores(&world), &want).await.unwrap();
    assert_eq!(tuples(&world), [format!("user:anna owner tenant:{ACME}"), "user:ben payer invoice:7".to_owned()]);
    assert_eq!(only(&world).1.models.len(), 2, "their model holds ours, so none was added");
}

#[tokio::test]
async fn a_model_that_lost_our_module_gets_it_back_beside_what_it_has() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, _) = only(&world);
    add_model(&world, &id, 90, json!({ "type_definitions": [{ "type": "invoice" }] }));
    let seen = ensure(&stores(&world), &store()).await.unwrap();
    let content = seen.model.unwrap().content.to_string();
    assert!(content.contains("\"invoice\"") && content.contains("\"workspace\""), "{content}");
}

#[tokio::test]
async fn a_model_that_was_written_between_our_look_and_our_write_is_not_forgotten() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, _) = only(&world);
    add_model(&world, &id, 90, json!({ "type_definitions": [{ "type": "invoice" }] }));
    let seen = stores(&world).observe(&store()).await.unwrap().unwrap();
    add_model(&world, &id, 91, json!({ "type_definitions": [{ "type": "receipt" }] }));
    stores(&world).update(&store(), &seen).await.unwrap();
    let newest = only(&world).1.models.last().unwrap().content.to_string();
    assert!(newest.contains("\"receipt\"") && newest.contains("\"workspace\""), "{newest}");
}

#[tokio::test]
async fn a_type_that_is_somebody_elses_is_named_and_left_alone_but_does_not_keep_a_tenant_from_going() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, _) = only(&world);
    add_model(&world, &id, 90, json!({ "type_definitions": [{ "type": "workspace" }] }));
    let fault = ensure(&stores(&world), &store()).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::MODEL_CONFLICT));
    assert!(fault.message.contains("type `workspace`") && fault.message.contains(&store().name()), "{fault}");
    assert_eq!(only(&world).1.models.len(), 2);
    let going = StoreSpec { going: true, ..store() };
    ensure_gone(&stores(&world), &going).await.unwrap();
    assert!(world.stores().is_empty());
}

#[tokio::test]
async fn a_store_that_goes_is_emptied_first_in_bounded_steps_and_so_is_each_of_its_name() {
    let world = World::new();
    let [one, two] = ["01000000000000000000000071", "01000000000000000000000072"];
    for (id, tuples) in [(one, 7_000), (two, 10)] {
        twin(&world, id);
        for number in 0..tuples {
            add_tuple(&world, id, &format!("user:{number}"), "payer", "invoice:7");
        }
    }
    let going = StoreSpec { going: true, known: Some(StoreId::new(two).unwrap()), ..store() };
    let fault = ensure_gone(&stores(&world), &going).await.unwrap_err();
    assert_eq!(fault.reason, reasons::DELETING);
    persist(async || ensure_gone(&stores(&world), &going).await).await;
    assert!(world.stores().is_empty());
    assert!(world.all_stores().values().all(|store| store.tuples.is_empty()), "a deleted store still answers");
}

#[tokio::test]
async fn a_released_store_keeps_what_applications_wrote_and_no_owner() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, _) = only(&world);
    add_tuple(&world, &id, "user:ben", "payer", "invoice:7");
    ensure_released(&stores(&world), &StoreSpec { going: true, ..store() }).await.unwrap();
    assert_eq!(tuples(&world), ["user:ben payer invoice:7"]);
}

#[tokio::test]
async fn nothing_that_cannot_be_written_keeps_anybody_in() {
    let world = World::new();
    ensure(&stores(&world), &store()).await.unwrap();
    let (id, there) = only(&world);
    let too_long = StoreSpec { owners: BTreeSet::from([user(&"ü".repeat(200)), user("carl")]), ..store() };
    assert_eq!(ensure(&stores(&world), &too_long).await.unwrap_err().reason, reasons::INVALID_SPEC);
    assert_eq!(tuples(&world), [format!("user:carl owner tenant:{ACME}")]);
    add_model(&world, &id, 90, json!({ "type_definitions": [{ "type": "workspace" }] }));
    let nobody = StoreSpec { owners: BTreeSet::new(), ..store() };
    assert_eq!(ensure(&stores(&world), &nobody).await.unwrap_err().reason, reasons::MODEL_CONFLICT);
    assert!(tuples(&world).is_empty(), "{:?}", there.tuples);
}

#[tokio::test]
async fn of_two_that_were_made_at_once_the_oldest_stays() {
    let world = World::new();
    for id in ["01000000000000000000000072", "01000000000000000000000071"] {
        twin(&world, id);
    }
    world.tamper_store("01000000000000000000000005", |stranger| stranger.name = "another".to_owned());
    ensure(&stores(&world), &store()).await.unwrap();
    let left: Vec<String> = world.stores().into_keys().collect();
    assert_eq!(left, ["01000000000000000000000005", "01000000000000000000000071"]);
}

#[tokio::test]
async fn a_twin_with_our_owners_in_it_is_emptied_before_it_is_deleted_because_it_still_answers() {
    let world = World::new();
    let [known, twin_of_it] = ["01000000000000000000000071", "01000000000000000000000072"];
    twin(&world, known);
    twin(&world, twin_of_it);
    add_tuple(&world, twin_of_it, "user:mallory", "owner", &format!("tenant:{ACME}"));
    let want = StoreSpec { known: Some(StoreId::new(known).unwrap()), ..store() };
    ensure(&stores(&world), &want).await.unwrap();
    assert!(world.all_stores()[twin_of_it].deleted && world.all_stores()[twin_of_it].tuples.is_empty());
}

#[tokio::test]
async fn the_store_that_status_names_stays_and_a_twin_that_holds_something_is_not_deleted() {
    let world = World::new();
    let [older, known] = ["01000000000000000000000071", "01000000000000000000000072"];
    twin(&world, older);
    twin(&world, known);
    let want = StoreSpec { known: Some(StoreId::new(known).unwrap()), ..store() };
    add_tuple(&world, older, "user:ben", "payer", "invoice:7");
    assert_eq!(ensure(&stores(&world), &want).await.unwrap().id.as_str(), known);
    assert_eq!(world.stores().len(), 2);
    world.tamper_store(older, |store| store.tuples.clear());
    assert_eq!(ensure(&stores(&world), &want).await.unwrap().id.as_str(), known);
    assert_eq!(only(&world).0, known);
}

#[tokio::test]
async fn what_holds_something_is_taken_before_what_is_older_and_of_several_a_person_chooses() {
    let world = World::new();
    let [blank, filled] = ["01000000000000000000000071", "01000000000000000000000072"];
    twin(&world, blank);
    twin(&world, filled);
    add_tuple(&world, filled, "user:ben", "payer", "invoice:7");
    assert_eq!(ensure(&stores(&world), &store()).await.unwrap().id.as_str(), filled);
    twin(&world, blank);
    add_model(&world, blank, 91, json!({ "type_definitions": [{ "type": "receipt" }] }));
    let fault = ensure(&stores(&world), &store()).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Stalled, reasons::STORE_AMBIGUOUS));
    assert!(fault.message.contains(blank) && fault.message.contains(filled), "{fault}");
    assert_eq!(world.stores().len(), 2);
}

#[tokio::test]
async fn members_come_change_and_go_and_relations_of_applications_stay() {
    let world = World::new();
    let mut want = members(&world, &[(user("ben"), Role::Viewer), (user("carl"), Role::Editor)]).await;
    ensure(&memberships(&world), &want).await.unwrap();
    let (id, workspace) = (only(&world).0, format!("workspace:{FINANCE}"));
    add_tuple(&world, &id, "user:dora", "approver", &workspace);
    add_tuple(&world, &id, "user:mallory", "editor", &workspace);
    want.members = BTreeSet::from([(user("ben"), Role::Editor)]);
    ensure(&memberships(&world), &want).await.unwrap();
    let of_workspace = |world: &World| {
        tuples(world)
            .into_iter()
            .filter_map(|it| it.strip_suffix(&format!(" {workspace}")).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of_workspace(&world),
        [format!("tenant:{ACME} tenant"), "user:ben editor".to_owned(), "user:dora approver".to_owned()]
    );
    let writes = world.writes();
    ensure(&memberships(&world), &want).await.unwrap();
    assert_eq!(world.writes(), writes);
    ensure_gone(&memberships(&world), &want).await.unwrap();
    assert_eq!(of_workspace(&world), ["user:dora approver"]);
}

#[tokio::test]
async fn members_of_a_deleted_store_are_taken_out_because_it_still_answers() {
    let world = World::new();
    let want = members(&world, &[(user("ben"), Role::Viewer)]).await;
    ensure(&memberships(&world), &want).await.unwrap();
    world.lose(want.store.as_str());
    ensure_gone(&memberships(&world), &want).await.unwrap();
    let of_workspace = |it: &&Tuple| it.object == format!("workspace:{FINANCE}");
    assert_eq!(world.all_stores()[want.store.as_str()].tuples.keys().filter(of_workspace).count(), 0);
}

/// A life of a store with members, beside a store of somebody else's.
async fn live_through(world: &World) {
    world.tamper_store("01000000000000000000000999", |stranger| stranger.name = "another".to_owned());
    let seen = persist(async || ensure(&stores(world), &store()).await).await;
    let want = MembershipSpec {
        store: seen.id.clone(),
        model: seen.model.unwrap().id,
        tenant: Identity::new(ACME).unwrap(),
        workspace: Identity::new(FINANCE).unwrap(),
        members: BTreeSet::from([(user("ben"), Role::Viewer)]),
    };
    persist(async || ensure(&memberships(world), &want).await).await;
    let known = StoreSpec { known: Some(seen.id), ..store() };
    persist(async || ensure(&stores(world), &known).await).await;
    let going = StoreSpec { going: true, ..known.clone() };
    let ours: Vec<MemoryStore> = world.stores().into_values().filter(|it| it.name == store().name()).collect();
    assert_eq!(ours.iter().map(|it| (it.models.len(), it.tuples.len())).collect::<Vec<_>>(), [(1, 4)]);
    persist(async || ensure_gone(&memberships(world), &want).await).await;
    assert!(persist(async || ensure_released(&stores(world), &going).await).await.unwrap().owners.is_empty());
    persist(async || ensure(&stores(world), &known).await).await;
    persist(async || ensure_gone(&stores(world), &going).await).await;
    assert_eq!(only(world).1.name, "another", "only ours went");
    let left: usize = world.all_stores().values().map(|store| store.tuples.len()).sum();
    assert_eq!(left, 0, "a deleted store still answers");
}

#[tokio::test]
async fn cut_off_at_any_call_it_ends_with_exactly_one_store_one_model_and_its_tuples() {
    use Operation::{CreateStore, DeleteStore, ListStores, ReadModels, ReadTuples, WriteModel, WriteTuples};
    for operation in [ListStores, CreateStore, DeleteStore, ReadModels, WriteModel, ReadTuples, WriteTuples] {
        for nth in 1..=4 {
            for cut in [Injection::on(operation).nth(nth), Injection::on(operation).nth(nth).after_commit()] {
                for lag in 0..4 {
                    let world = World::new();
                    world.lag(lag);
                    world.inject(cut.clone());
                    tokio::spawn(async move { live_through(&world).await })
                        .await
                        .unwrap_or_else(|_| panic!("{cut:?} {lag}"));
                }
            }
        }
    }
}
