//! Who gets in.

use std::time::SystemTime;

use agent_protocol::relay::AUDIENCE;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use e2e::relays::{CONNECTIONS, Caller, Raw, log};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::world::{AGENT, PodObject, Stack, World, world};

fn payload(token: &SecretString) -> Value {
    let payload = token.expose_secret().split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// The pod's token with another end, signed by the cluster's own key: there is no other way to one that ends soon.
pub async fn ending(world: &World, stack: &Stack, pod: &PodObject, exp: u64) -> SecretString {
    let mut claims = payload(&stack.token(pod).await);
    claims["exp"] = json!(exp);
    let pem = std::fs::read(world.plane.directory().join("tokens.key")).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).unwrap();
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let said = format!("{}.{}", encode(&json!({ "alg": "ES256", "typ": "JWT" })), encode(&claims));
    let signature = key.sign(&SystemRandom::new(), said.as_bytes()).unwrap();
    format!("{said}.{}", BASE64URL_NOPAD.encode(signature.as_ref())).into()
}

#[tokio::test]
async fn a_pod_with_its_own_token_is_let_in_and_stands_in_the_audit() {
    let world = world().await;
    let stack = world.stack().await;
    let (uid, pod) = world.signed_in(&stack).await;
    assert_eq!(pod.complaints(), [""; 0]);
    let log = log();
    let line = log.lines().find(|line| line.contains(&uid.to_string()) && line.contains("audit")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["decision"], &line["tenant"]), (&json!("allowed"), &json!(stack.tenant)), "{line}");
    assert!(!log.contains("eyJ"), "no token and no JWT is written anywhere");
    assert!(!world.relay.log().unwrap().contains("eyJ"));
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_or_with_nonsense() {
    let world = world().await;
    world.refuses(None, "TokenMissing").await;
    world.refuses(Some(&"open sesame".to_owned().into()), "TokenMalformed").await;
}

#[tokio::test]
async fn a_token_for_somebody_else_or_for_others_too_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    world.refuses(Some(&stack.token_for(&pod, &["steading-claim"]).await), "OtherAudience").await;
    world.refuses(Some(&stack.token_for(&pod, &[]).await), "OtherAudience").await;
    world.refuses(Some(&stack.token_for(&pod, &[AUDIENCE, "steading-claim"]).await), "OtherAudience").await;
}

#[tokio::test]
async fn a_token_with_another_word_in_it_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    let (pod, other) = (stack.pod().await, stack.pod().await);
    let token = stack.token(&pod).await;
    let mut claims = payload(&token);
    claims["kubernetes.io"]["pod"]["uid"] = json!(other.uid.to_string());
    let claims = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let parts: Vec<&str> = token.expose_secret().split('.').collect();
    world.refuses(Some(&format!("{}.{claims}.{}", parts[0], parts[2]).into()), "TokenRejected").await;
}

#[tokio::test]
async fn a_token_that_has_ended_is_refused_though_the_cluster_signed_it() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    world.refuses(Some(&ending(world, &stack, &pod, now() - 1).await), "TokenExpired").await;
}

#[tokio::test]
async fn a_connection_is_cut_when_the_token_ends_that_opened_it() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    let token = ending(world, &stack, &pod, now() + 6).await;
    let caller = world.admitted(&token).await;
    caller.hears_complaint("authentication expired").await.unwrap();
    assert!(now() >= payload(&token)["exp"].as_u64().unwrap());
    world.refuses(Some(&token), "TokenExpired").await;
}

#[tokio::test]
async fn the_token_of_a_pod_that_is_gone_opens_nothing() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    let token = stack.token(&pod).await;
    drop(world.admitted(&token).await);
    stack.delete(&pod).await;
    // The API server remembers for some seconds what it found out about a token.
    stack.is_forgotten(&token).await;
    world.refuses(Some(&token), "TokenRejected").await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_no_pod_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    world.refuses(Some(&stack.unbound().await), "NotAPod").await;
}

#[tokio::test]
async fn a_pod_that_is_no_agent_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    stack.account("database").await;
    let pod = stack.pod_as("database").await;
    world.refuses(Some(&stack.token(&pod).await), "OtherServiceAccount").await;
}

#[tokio::test]
async fn a_pod_outside_of_stacks_is_refused() {
    let world = world().await;
    let stack = world.stack().await;
    let outside = stack.outside();
    outside.account(AGENT).await;
    let pod = outside.pod().await;
    world.refuses(Some(&outside.token(&pod).await), "NotAStack").await;
}

#[tokio::test]
async fn a_pod_that_signs_in_again_and_again_has_to_wait_and_its_neighbour_has_not() {
    let world = world().await;
    let stack = world.stack().await;
    let pod = stack.pod().await;
    let token = stack.token(&pod).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(world.admitted(&token).await);
    }
    world.refuses(Some(&token), "TooOften").await;
    world.signed_in(&stack).await;
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_and_another_tenant_its_own() {
    let world = world().await;
    let (stack, other) = (world.stack().await, world.stack().await);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(world.signed_in(&stack).await);
    }
    let pod = stack.pod().await;
    let refused = Caller::with_token(&world.relay, Some(&stack.token(&pod).await)).await;
    let refusal = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(refusal.contains("maximum account active connections"), "{refusal}");
    world.signed_in(&other).await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_nothing() {
    let world = world().await;
    let mut raw = Raw::plain(&world.relay).await.unwrap();
    raw.send(b"CONNECT {}\r\nPING\r\n").await.unwrap();
    let rest = raw.rest().await.unwrap();
    // At most a message of TLS itself, which says that it is none.
    assert!(rest.len() < 16 && !rest.starts_with(b"INFO"), "{rest:?}");
}

#[tokio::test]
async fn who_trusts_another_authority_does_not_speak_to_the_relay() {
    let world = world().await;
    let other = e2e::certificates::Authority::new("somebody else").unwrap();
    let refused = Raw::tls_trusting(&world.relay, world.plane.host(), other.certificate()).await;
    let refusal = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
}
