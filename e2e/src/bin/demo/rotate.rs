//! The tenant's key gets a new version. In: an annotation. Out: the version before and after, at OpenBao itself too.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use api::labels::ROTATE_REQUESTED_AT;
use e2e::servers::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use kube::Client;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::objects::{self, CUSTOMER, Stacks};
use crate::scene::Scene;
use crate::show::{Progress, Show};

/// What is encrypted before the rotation.
const SECRET: &str = "encrypted before the rotation";
/// Longest wait for the new version.
const PATIENCE: Duration = Duration::from_mins(2);
/// Shortest life of a token.
const TOKEN_SECONDS: i64 = 600;

/// Rotates the customer's key and tries what was encrypted before.
pub(crate) async fn key(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("rotate", "Rotate the customer's key by an annotation");
    let client = scene.plane.admin()?;
    let status = objects::tenant(&client, CUSTOMER).await?.status;
    let before = status.and_then(|status| status.key).context("the status of Tenant acme lacks its key")?;
    let key = &before.name;
    show.say(&format!("Key {key}, version {} (at OpenBao: {})", before.version, latest(scene, key).await?));
    let old = encrypted(scene, key).await?;
    rotated(show, scene, &client, before.version).await?;
    let at_openbao = latest(scene, key).await?;
    show.check(
        &format!("version {} before, {at_openbao} after, by OpenBao's own word", before.version),
        at_openbao == before.version + 1,
    );
    let new = encrypted(scene, key).await?;
    let version = |text: &str| text.split(':').nth(1).map(str::to_owned).unwrap_or_default();
    show.check(
        &format!("what was encrypted before ({}) decrypts still", version(&old)),
        decrypted(scene, key, &old).await? == SECRET,
    );
    show.check(
        &format!("what is encrypted now ({}) is under the new version", version(&new)),
        version(&new) == format!("v{at_openbao}"),
    );
    let other = objects::tenant(&client, objects::OTHER_CUSTOMER).await?.status.and_then(|status| status.key);
    show.check("the key of globex was not rotated", other.is_some_and(|other| other.version == before.version));
    not_for_the_operator(show, scene, key, &old).await?;
    show.say(&format!(
        "The bucket's key {} is another one, at the store's key server, which cannot rotate. So says status, too: see \
         encryption in what kubectl described.",
        stacks.finance.key
    ));
    Ok(())
}

/// Asks for a rotation as anybody would, and waits until status shows it.
async fn rotated(show: &Show, scene: &Scene, client: &Client, before: i64) -> Result<()> {
    let request = "first";
    let annotation = format!("{ROTATE_REQUESTED_AT}={request}");
    scene.kubectl.shown(show, &["annotate", "tenant", CUSTOMER, &annotation, "-n", CUSTOMER]).await?;
    show.until("status shows the new version", PATIENCE, async || {
        let status = objects::tenant(client, CUSTOMER).await?.status;
        let Some(key) = status.and_then(|status| status.key) else { bail!("the status of Tenant acme lost its key") };
        let is_done = key.version > before && key.rotation.is_some_and(|rotation| rotation.requested == request);
        let version = key.version;
        Ok(if is_done { Progress::Done(()) } else { Progress::Still(format!("version {version}")) })
    })
    .await
}

/// The newest version, as OpenBao says.
async fn latest(scene: &Scene, key: &str) -> Result<i64> {
    let answer = scene.servers.openbao.read(&format!("transit/keys/{key}")).await?;
    let answer = answer.with_context(|| format!("OpenBao has no key {key}"))?;
    answer.pointer("/data/latest_version").and_then(Value::as_i64).context("OpenBao's answer lacks the version")
}

async fn encrypted(scene: &Scene, key: &str) -> Result<String> {
    let body = json!({ "plaintext": data_encoding::BASE64.encode(SECRET.as_bytes()) });
    let answer = scene.servers.openbao.write(&format!("transit/encrypt/{key}"), &body).await?;
    let text = answer.pointer("/data/ciphertext").and_then(Value::as_str);
    Ok(text.context("OpenBao's answer lacks the ciphertext")?.to_owned())
}

async fn decrypted(scene: &Scene, key: &str, ciphertext: &str) -> Result<String> {
    let body = json!({ "ciphertext": ciphertext });
    let answer = scene.servers.openbao.write(&format!("transit/decrypt/{key}"), &body).await?;
    let text = answer.pointer("/data/plaintext").and_then(Value::as_str);
    let bytes = data_encoding::BASE64.decode(text.context("OpenBao's answer lacks the plaintext")?.as_bytes())?;
    Ok(String::from_utf8(bytes)?)
}

/// The operator keeps keys but never uses one.
async fn not_for_the_operator(show: &Show, scene: &Scene, key: &str, ciphertext: &str) -> Result<()> {
    let openbao = &scene.servers.openbao;
    let audiences = [openbao.audience()];
    let token = scene.plane.token_for(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &audiences, TOKEN_SECONDS).await?;
    let operator = openbao.sign_in(&token).await?;
    // That it is let in shows that the refusal is about this and not about the token.
    let (may_look, _) = openbao.send(Method::GET, &format!("transit/keys/{key}"), &operator, None).await?;
    ensure!(may_look.is_success(), "OpenBao does not let the operator look at its key: {may_look}");
    let body = json!({ "ciphertext": ciphertext });
    let (status, _) = openbao.send(Method::POST, &format!("transit/decrypt/{key}"), &operator, Some(&body)).await?;
    show.check("the operator's own token may not decrypt with it", status == StatusCode::FORBIDDEN);
    Ok(())
}
