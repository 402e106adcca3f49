//! Fields that no schema knows. In: an unknown field at every place where one can stand. Out: refusals by server-side
//! apply and by strict clients, and the proof that plain clients have them dropped, not stored.

use serde_json::{Value, json};

use crate::objects::{KINDS, at, full};
use crate::schema::object_paths;
use crate::server::Server;

const UNKNOWN: &str = "surprise";

/// The full object with an unknown field at this place, and the name under which the API server speaks of it.
fn with_unknown(kind: &str, path: &str) -> (Value, String) {
    let mut object = full(kind);
    at(&mut object, path)[UNKNOWN] = json!(1);
    let dot = if path.is_empty() { "" } else { "." };
    (object, format!("{}{dot}{UNKNOWN}", path.replace("[]", "[0]")))
}

#[tokio::test]
async fn strict_clients_are_told_of_unknown_fields_wherever_they_stand() {
    let server = Server::start().await;
    let mut places = 0;
    for kind in KINDS {
        for path in object_paths(kind) {
            let (object, field) = with_unknown(kind, &path);
            let url = format!("{}?dryRun=All&fieldValidation=Strict", server.collection(&object));
            let refusal = server.call("POST", &url, &object).await.expect_err(&field);
            let expected = format!("unknown field \"{field}\"");
            assert!(refusal.message.contains(&expected), "{kind}: {expected}, but: {}", refusal.message);
            places += 1;
        }
    }
    println!("places={places}");
}

#[tokio::test]
async fn server_side_apply_refuses_unknown_fields_wherever_they_stand() {
    let server = Server::start().await;
    for kind in KINDS {
        for path in object_paths(kind) {
            let (object, field) = with_unknown(kind, &path);
            let url = format!("{}?dryRun=All&fieldManager=someone", server.item(&object));
            let refusal = server.call("APPLY", &url, &object).await.expect_err(&field);
            assert!(refusal.message.contains("field not declared in schema"), "{kind} {field}: {}", refusal.message);
            assert!(refusal.message.contains(UNKNOWN), "{kind} {field}: {}", refusal.message);
        }
    }
}

#[tokio::test]
async fn plain_clients_have_unknown_fields_dropped_and_never_stored() {
    let server = Server::start().await;
    for kind in KINDS {
        for path in object_paths(kind) {
            let (object, field) = with_unknown(kind, &path);
            let created =
                server.try_create(&object).await.unwrap_or_else(|status| panic!("{field}: {}", status.message));
            assert!(!created.to_string().contains(UNKNOWN), "{kind} {field} was stored: {created}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_field_is_not_taken_for_another() {
    let server = Server::start().await;
    for (kind, right, wrong) in
        [("Tenant", "owners", "Owners"), ("Tenant", "paused", "pause"), ("Workspace", "members", "member")]
    {
        let mut object = full(kind);
        let value = object["spec"].as_object_mut().unwrap().remove(right).unwrap();
        object["spec"][wrong] = value;
        let url = format!("{}?dryRun=All&fieldManager=someone", server.item(&object));
        let refusal = server.call("APPLY", &url, &object).await.expect_err(wrong);
        assert!(
            refusal.message.contains(&format!(".spec.{wrong}: field not declared in schema")),
            "{}",
            refusal.message
        );
    }
}
