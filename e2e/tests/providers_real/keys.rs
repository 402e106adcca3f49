//! Keys in a real OpenBao.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::{Plane, Tier, servers::OpenBao};
use providers::{
    Class, External as _, Identity, KeySpec, OpenBaoConfig, OpenBaoKeys, RotateOnce, TokenSource, ensure, ensure_gone,
    ensure_released, reasons,
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::world::{PlaneTokens, eventually, identity, installation};

struct World {
    plane: &'static Plane,
    openbao: OpenBao,
    tokens: Arc<dyn TokenSource>,
    keys: OpenBaoKeys,
    started: Instant,
}

impl World {
    async fn start() -> Self {
        let plane = Plane::shared(Tier::One).await.unwrap();
        let tokens = PlaneTokens::of(plane).await;
        let openbao = OpenBao::start(plane).await.unwrap();
        let keys = OpenBaoKeys::new(config(plane, &openbao), tokens.clone()).unwrap();
        Self { plane, openbao, tokens, keys, started: Instant::now() }
    }

    fn other_keys(&self, change: impl FnOnce(&mut OpenBaoConfig)) -> OpenBaoKeys {
        let mut config = config(self.plane, &self.openbao);
        change(&mut config);
        OpenBaoKeys::new(config, self.tokens.clone()).unwrap()
    }

    /// The key as root sees it.
    async fn key(&self, want: &KeySpec) -> Value {
        self.openbao.read(&format!("transit/keys/{}", want.name())).await.unwrap().unwrap()["data"].clone()
    }

    /// Changes the key as root.
    async fn tamper(&self, want: &KeySpec, action: &str, body: &Value) {
        self.openbao.write(&format!("transit/keys/{}{action}", want.name()), body).await.unwrap();
    }

    async fn encrypt(&self, want: &KeySpec) -> String {
        let answer = self
            .openbao
            .write(&format!("transit/encrypt/{}", want.name()), &json!({"plaintext": "c3RlYWRpbmc="}))
            .await
            .unwrap();
        answer["data"]["ciphertext"].as_str().unwrap().to_owned()
    }

    async fn decrypt(&self, want: &KeySpec, ciphertext: &str) -> anyhow::Result<Value> {
        self.openbao.write(&format!("transit/decrypt/{}", want.name()), &json!({"ciphertext": ciphertext})).await
    }
}

pub fn config(plane: &Plane, openbao: &OpenBao) -> OpenBaoConfig {
    OpenBaoConfig {
        address: openbao.address(),
        ca_bundle: Some(plane.authority().certificate().to_owned()),
        namespace: None,
        mount: "transit".to_owned(),
        auth_mount: "kubernetes".to_owned(),
        auth_role: "steading".to_owned(),
        auth_audience: openbao.audience().to_owned(),
    }
}

fn key_of(tenant: &Identity) -> KeySpec {
    KeySpec {
        installation: installation(),
        tenant: tenant.clone(),
        rotation_period: Duration::from_hours(24 * 90),
        rotate: None,
    }
}

#[tokio::test]
async fn keys_in_openbao_are_as_the_adapter_says() {
    let mut world = World::start().await;
    a_key_is_made_once_and_cannot_be_read_out(&world).await;
    two_tenants_have_two_keys(&world).await;
    what_a_stranger_changes_is_put_back(&world).await;
    an_exportable_key_is_never_ours_to_use(&world).await;
    a_request_rotates_once_and_old_ciphertext_stays_readable(&world).await;
    a_key_that_somebody_else_disabled_stays_disabled(&world).await;
    a_released_key_stays_usable_and_can_be_taken_up_again(&world).await;
    a_deleted_key_refuses_its_data_until_it_is_wanted_again(&world).await;
    a_server_without_our_rights_says_which_are_missing(&world).await;
    a_mount_that_is_missing_does_not_pass_for_a_key_that_is_gone(&world).await;
    a_token_that_the_server_forgot_is_replaced(&world).await;
    an_outage_passes(&mut world).await;
}

async fn a_key_is_made_once_and_cannot_be_read_out(world: &World) {
    let want = key_of(&identity());
    assert!(world.keys.observe(&want).await.unwrap().is_none());
    let made = ensure(&world.keys, &want).await.unwrap();
    assert_eq!(made, ensure(&world.keys, &want).await.unwrap(), "a second time changes nothing");
    assert_eq!(
        (made.latest_version, made.rotation_period, made.enabled),
        (1, Some(Duration::from_hours(24 * 90)), true)
    );
    assert!(made.created.is_some() && made.last_rotated.is_none());
    assert!(made.evidence.contains("transit/keys/steading-e2e-"), "{}", made.evidence);
    let key = world.key(&want).await;
    for (field, wanted) in [
        ("type", json!("aes256-gcm96")),
        ("exportable", json!(false)),
        ("allow_plaintext_backup", json!(false)),
        ("deletion_allowed", json!(false)),
        ("auto_rotate_period", json!(7_776_000)),
    ] {
        assert_eq!(key[field], wanted, "{field}");
    }
}

async fn two_tenants_have_two_keys(world: &World) {
    let (blue, green) = (key_of(&identity()), key_of(&identity()));
    ensure(&world.keys, &blue).await.unwrap();
    ensure(&world.keys, &green).await.unwrap();
    let secret = world.encrypt(&blue).await;
    world.decrypt(&blue, &secret).await.unwrap();
    assert!(world.decrypt(&green, &secret).await.is_err(), "green's key read blue's data");
}

async fn what_a_stranger_changes_is_put_back(world: &World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    for change in
        [json!({"auto_rotate_period": "2h"}), json!({"auto_rotate_period": "0s"}), json!({"deletion_allowed": true})]
    {
        world.tamper(&want, "/config", &change).await;
        let seen = world.keys.observe(&want).await.unwrap().unwrap();
        assert!(!OpenBaoKeys::matches(&want, &seen), "{change} was not seen");
        ensure(&world.keys, &want).await.unwrap();
        let key = world.key(&want).await;
        assert_eq!(
            (&key["auto_rotate_period"], &key["deletion_allowed"]),
            (&json!(7_776_000), &json!(false)),
            "{change} stayed"
        );
    }
}

async fn an_exportable_key_is_never_ours_to_use(world: &World) {
    let want = key_of(&identity());
    world.tamper(&want, "", &json!({"exportable": true})).await;
    let fault = ensure(&world.keys, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::KEY_UNFIT);
    assert!(fault.message.contains(&want.name()), "{fault}");
    assert_eq!(world.key(&want).await["auto_rotate_period"], 0, "it was written to");
}

async fn a_request_rotates_once_and_old_ciphertext_stays_readable(world: &World) {
    let mut want = key_of(&identity());
    let before = ensure(&world.keys, &want).await.unwrap().latest_version;
    let old = world.encrypt(&want).await;
    want.rotate = Some(RotateOnce { request: "first".to_owned(), version_before: before });
    for _ in 0..3 {
        let after = ensure(&world.keys, &want).await.unwrap();
        assert_eq!(after.latest_version, 2);
        assert!(after.last_rotated.is_some());
    }
    want.rotate = Some(RotateOnce { request: "second".to_owned(), version_before: 2 });
    assert_eq!(ensure(&world.keys, &want).await.unwrap().latest_version, 3);
    assert!(world.encrypt(&want).await.starts_with("vault:v3:"));
    world.decrypt(&want, &old).await.unwrap();
}

async fn a_key_that_somebody_else_disabled_stays_disabled(world: &World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    soft_delete(world, &want).await;
    let fault = ensure(&world.keys, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::KEY_DISABLED);
    assert_eq!(world.key(&want).await["soft_deleted"], true, "it was restored");
    ensure_gone(&world.keys, &want).await.unwrap();
}

async fn soft_delete(world: &World, want: &KeySpec) {
    let path = format!("transit/keys/{}/soft-delete", want.name());
    let (status, body) =
        world.openbao.send(reqwest::Method::DELETE, &path, world.openbao.root_token(), None).await.unwrap();
    assert!(status.is_success(), "{status} {body}");
}

async fn a_released_key_stays_usable_and_can_be_taken_up_again(world: &World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    let secret = world.encrypt(&want).await;
    let released = ensure_released(&world.keys, &want).await.unwrap().unwrap();
    assert!(released.released && released.enabled);
    world.decrypt(&want, &secret).await.unwrap();
    assert!(!ensure(&world.keys, &want).await.unwrap().released);
    assert!(
        ensure_released(&world.keys, &key_of(&identity())).await.unwrap().is_none(),
        "there was nothing to release"
    );
}

async fn a_deleted_key_refuses_its_data_until_it_is_wanted_again(world: &World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    let secret = world.encrypt(&want).await;
    ensure_gone(&world.keys, &want).await.unwrap();
    ensure_gone(&world.keys, &want).await.unwrap();
    assert_eq!(world.key(&want).await["soft_deleted"], true, "it is put out of use, not destroyed");
    assert!(world.decrypt(&want, &secret).await.is_err());
    let again = ensure(&world.keys, &want).await.unwrap();
    assert_eq!((again.enabled, again.latest_version), (true, 1));
    world.decrypt(&want, &secret).await.unwrap();
}

async fn a_server_without_our_rights_says_which_are_missing(world: &World) {
    let want = key_of(&identity());
    let stranger = world.other_keys(|config| "nobody".clone_into(&mut config.auth_role));
    let fault = ensure(&stranger, &want).await.unwrap_err();
    assert!(fault.message.contains("role `nobody`"), "{fault}");
    let mistrusting = world.other_keys(|config| {
        config.ca_bundle = Some(e2e::certificates::Authority::new("another").unwrap().certificate().to_owned());
    });
    let fault = ensure(&mistrusting, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::PROVIDER_UNAVAILABLE);
    assert!(fault.message.contains("certificate"), "{fault}");
}

async fn a_mount_that_is_missing_does_not_pass_for_a_key_that_is_gone(world: &World) {
    let want = key_of(&identity());
    let astray = world.other_keys(|config| "elsewhere".clone_into(&mut config.mount));
    for fault in [ensure(&astray, &want).await.unwrap_err(), ensure_gone(&astray, &want).await.unwrap_err()] {
        assert!(fault.message.contains("elsewhere"), "{fault}");
    }
    // With every right the server answers differently: it does not know the mount.
    let policy = json!({"policy": "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }"});
    world.openbao.write("sys/policies/acl/steading", &policy).await.unwrap();
    let fault = ensure_gone(&astray, &want).await.unwrap_err();
    assert_eq!(fault.reason, reasons::PROVIDER_REFUSED, "{fault}");
}

async fn a_token_that_the_server_forgot_is_replaced(world: &World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    world.openbao.write("sys/leases/revoke-prefix/auth/kubernetes/login", &json!({})).await.unwrap();
    // A token is not replaced within a second of its issue.
    eventually(async || (world.started.elapsed() > Duration::from_secs(2)).then_some(())).await;
    ensure(&world.keys, &want).await.unwrap();
}

async fn an_outage_passes(world: &mut World) {
    let want = key_of(&identity());
    ensure(&world.keys, &want).await.unwrap();
    world.openbao.interrupt().unwrap();
    for fault in [ensure(&world.keys, &want).await.unwrap_err(), ensure_gone(&world.keys, &want).await.unwrap_err()] {
        assert_eq!((fault.class, fault.reason), (Class::Transient, reasons::PROVIDER_UNAVAILABLE), "{fault}");
    }
    world.openbao.resume().await.unwrap();
    ensure(&world.keys, &want).await.unwrap();
}

/// A source whose token no server takes.
struct Forged(SecretString);

#[async_trait::async_trait]
impl TokenSource for Forged {
    async fn token(&self, _audience: &str) -> Result<SecretString, providers::Fault> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_refused_sign_in_is_denied_without_telling_the_token() {
    let plane = Plane::shared(Tier::One).await.unwrap();
    let openbao = OpenBao::start(plane).await.unwrap();
    // The header and claims of a token, signed by nobody.
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canary";
    let keys = OpenBaoKeys::new(config(plane, &openbao), Arc::new(Forged(token.to_owned().into()))).unwrap();
    let fault = ensure(&keys, &key_of(&identity())).await.unwrap_err();
    assert_eq!(fault.reason, reasons::DENIED, "{fault}");
    for told in [fault.message.clone(), format!("{fault:?}"), format!("{keys:?}")] {
        assert!(!told.contains("canary"), "{told}");
    }
}
