//! What consumers of a database get and lose, with CloudNativePG's kinds but nobody who acts on them. In: a plane. Out: nothing without
//! consent, everything with it, nothing left without it.

use anyhow::{Context as _, Result, ensure};
use api::{Tenant, Workspace, conditions as names, labels};
use e2e::databases::{Keeper, install_kinds};
use e2e::secrets::Needle;
use e2e::story::{Manifest, Stage, condition, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::told::{keeper_of, with_databases};

const EARLY: &str = "2027-01-01T00:00:00Z";
const LATE: &str = "2027-06-01T00:00:00Z";

/// A Workspace with a consumer `billing` in a namespace of another team.
struct Shop {
    stage: Stage,
    finance: Manifest<Workspace>,
    keeper: Keeper,
    acme: Manifest<Tenant>,
    /// The namespace of the consumer.
    namespace: String,
}

impl Shop {
    async fn open() -> Result<Self> {
        let stage = Stage::set(Tier::One, |config| config.timings.stalled = std::time::Duration::from_secs(2)).await?;
        install_kinds(&stage.plane).await?;
        let platform = &stage.platform;
        let onprem = platform.applied(with_databases()).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let namespace = unique("shop");
        platform.control_namespace(&namespace).await?;
        let finance = workspace("finance").of_tenant(&acme).with("consumers", consumers(&namespace));
        let finance = platform.applied(finance).await?;
        platform.until_condition(&finance, names::DATABASE_READY, "False", names::PROGRESSING).await?;
        let keeper = keeper_of(&stage, &finance).await?;
        Ok(Self { stage, finance, keeper, acme, namespace })
    }

    async fn consents(&self, to: Option<&str>) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { labels::CONSUMES: to } } }));
        let namespaces = Api::<Namespace>::all(self.stage.plane.admin()?);
        namespaces.patch(&self.namespace, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    fn itself(&self) -> String {
        format!("{}/finance", self.acme.name())
    }

    /// The name of the consumer's `DatabaseRole`.
    fn role(&self) -> String {
        format!("database-consumer-{}.billing", self.namespace)
    }

    fn secret(&self) -> String {
        format!("{}.finance.billing", self.acme.name())
    }

    fn secrets(&self) -> Result<Api<Secret>> {
        Ok(Api::namespaced(self.stage.plane.admin()?, &self.namespace))
    }

    fn roles(&self) -> Api<DynamicObject> {
        self.keeper.roles()
    }

    /// Waits until the role stands, lets CloudNativePG issue a certificate, and returns the Secret that follows from it.
    async fn served(&self, certificate: &str, expires: &str) -> Result<Secret> {
        let signs_in = |role: &DynamicObject| role.data["spec"]["login"] == true;
        self.stage.platform.until_object(self.roles(), &self.role(), "may sign in", signs_in).await?;
        self.keeper.has_role(&self.role(), certificate, expires).await?;
        let is_it = |secret: &Secret| entry(secret, "tls.crt") == certificate;
        self.stage.platform.until_object(self.secrets()?, &self.secret(), "has the certificate", is_it).await
    }

    /// Waits until nothing is left of what the consumer had, with CloudNativePG shutting it out of the database when told.
    async fn taken_back(&self) -> Result<()> {
        let is_out = |role: &DynamicObject| role.data["spec"]["login"] == false;
        let role = self.stage.platform.until_object(self.roles(), &self.role(), "may not sign in", is_out).await?;
        ensure!(role.data["spec"]["inRoles"] == json!([]), "it still belongs to others: {}", role.data["spec"]);
        self.keeper.has_role(&self.role(), "", "").await?;
        self.gone(self.roles(), &self.role()).await?;
        self.gone(self.secrets()?, &self.secret()).await?;
        let bindings = Api::<RoleBinding>::namespaced(self.stage.plane.admin()?, &self.namespace);
        self.gone(bindings, &self.keeper.stack).await?;
        let policies = Api::<NetworkPolicy>::namespaced(self.keeper.client.clone(), &self.keeper.stack);
        self.gone(policies, "allow-database-consumers").await
    }

    async fn gone<K>(&self, api: Api<K>, name: &str) -> Result<()>
    where
        K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
    {
        let is_gone = kube::runtime::wait::await_condition(api, name, |object: Option<&K>| object.is_none());
        let waited = tokio::time::timeout(e2e::story::PATIENCE, is_gone).await;
        waited.with_context(|| format!("{name} is still there")).map(drop)
    }
}

fn consumers(namespace: &str) -> Value {
    json!([{ "namespace": namespace, "serviceAccount": "billing", "database": "readWrite" }])
}

fn entry(secret: &Secret, name: &str) -> String {
    let content = secret.data.as_ref().and_then(|data| data.get(name)).map(|content| content.0.clone());
    String::from_utf8(content.unwrap_or_default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_its_secret_by_consent_keeps_it_current_and_loses_everything_without_consent() -> Result<()> {
    let shop = Shop::open().await?;
    let platform = &shop.stage.platform;

    // Nothing without consent, and none that speaks of somebody else.
    shop.consents(Some("globex/finance")).await?;
    let refused =
        platform.until_condition(&shop.finance, names::CONSUMERS_READY, "False", names::CONSENT_MISSING).await?;
    let message = condition(&refused, names::CONSUMERS_READY).context("no condition")?.message.clone();
    let command = format!("kubectl annotate namespace {} steading.dev/consumes={}", shop.namespace, shop.itself());
    ensure!(message.contains(&command), "{message}");
    let roles = shop.roles().list(&ListParams::default()).await?;
    let made: Vec<String> = roles.items.iter().map(kube::ResourceExt::name_any).collect();
    // The canary's is there as soon as its database is.
    ensure!(made.iter().all(|name| name == "database-canary"), "a role was made without consent: {made:?}");

    shop.consents(Some(&format!("globex/finance, {}", shop.itself()))).await?;
    let secret = shop.served("first", EARLY).await?;
    platform.until_condition(&shop.finance, names::CONSUMERS_READY, "True", names::AVAILABLE).await?;
    says_how_to_connect(&shop, &secret)?;
    packets_may_come_from(&shop).await?;
    no_key_is_told(&shop, &secret).await?;

    // CloudNativePG renews the certificate.
    shop.served("second", LATE).await?;

    shop.consents(None).await?;
    shop.taken_back().await?;
    platform.until_condition(&shop.finance, names::CONSUMERS_READY, "False", names::CONSENT_MISSING).await?;

    // With consent again it comes back, and goes with its entry.
    shop.consents(Some(&shop.itself())).await?;
    shop.served("third", EARLY).await?;
    let alone = workspace("finance").of_tenant(&shop.acme).with("consumers", json!([]));
    platform.apply(&alone).await?;
    shop.taken_back().await?;
    let is_clear = |told: &Workspace| told.status.as_ref().is_some_and(|status| status.consumers.is_empty());
    platform.until(&shop.finance, "remembers no consumer", is_clear).await?;
    Ok(())
}

fn says_how_to_connect(shop: &Shop, secret: &Secret) -> Result<()> {
    let role = format!("consumer_{}_billing", shop.namespace);
    let host = format!("database-rw.{}.svc", shop.keeper.stack);
    for (name, expected) in [
        ("type", "postgresql"),
        ("host", host.as_str()),
        ("port", "5432"),
        ("database", "app"),
        ("username", role.as_str()),
        ("sslmode", "verify-full"),
        ("ca.crt", "the authority"),
        ("tls.key", "key of first"),
    ] {
        ensure!(entry(secret, name) == expected, "{name} is {:?}, not {expected}", entry(secret, name));
    }
    ensure!(!format!("{:?}", secret.data).contains("ca.key"), "the authority's own key left the stack");
    ensure!(
        secret.labels().get(labels::TENANT).is_some_and(|tenant| tenant == shop.acme.name()),
        "{:?}",
        secret.labels()
    );
    Ok(())
}

async fn packets_may_come_from(shop: &Shop) -> Result<()> {
    let policies = Api::<NetworkPolicy>::namespaced(shop.keeper.client.clone(), &shop.keeper.stack);
    let policy = serde_json::to_value(policies.get("allow-database-consumers").await?)?;
    let named = policy.pointer("/spec/ingress/0/from/0/namespaceSelector/matchExpressions/0/values");
    ensure!(named == Some(&json!([shop.namespace])), "{policy:#}");
    Ok(())
}

/// Its key is in its Secret and in CloudNativePG's, and nowhere else.
async fn no_key_is_told(shop: &Shop, secret: &Secret) -> Result<()> {
    let secrets = Needle::all_of(secret);
    ensure!(secrets.len() == 1, "the Secret has not just one entry that is secret");
    let mut told = serde_json::to_string(&shop.stage.platform.get(&shop.finance).await?)?;
    for event in Api::<Event>::all(shop.stage.plane.admin()?).list(&ListParams::default()).await?.items {
        told.push_str(&serde_json::to_string(&event)?);
    }
    told.push_str(&serde_json::to_string(&shop.roles().get(&shop.role()).await?)?);
    ensure!(secrets.iter().all(|secret| !secret.is_in(&told)), "a key is told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_goes_leaves_nothing_with_its_consumers() -> Result<()> {
    let shop = Shop::open().await?;
    shop.consents(Some(&shop.itself())).await?;
    shop.served("first", EARLY).await?;
    // Also if the namespace has changed its mind, and CloudNativePG does not act any more.
    shop.consents(None).await?;
    let is_out = |role: &DynamicObject| role.data["spec"]["login"] == false;
    shop.stage.platform.until_object(shop.roles(), &shop.role(), "may not sign in", is_out).await?;
    shop.stage.platform.delete(&shop.finance).await?;
    shop.gone(shop.secrets()?, &shop.secret()).await?;
    let bindings = Api::<RoleBinding>::namespaced(shop.stage.plane.admin()?, &shop.namespace);
    shop.gone(bindings, &shop.keeper.stack).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_secret_of_the_same_name_is_left_alone() -> Result<()> {
    let shop = Shop::open().await?;
    let strangers = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": shop.secret() }, "stringData": { "own": "theirs" },
    });
    let params = PatchParams::apply("stranger");
    shop.secrets()?.patch(&shop.secret(), &params, &Patch::Apply(strangers)).await?;
    shop.consents(Some(&shop.itself())).await?;
    let signs_in = |role: &DynamicObject| role.data["spec"]["login"] == true;
    shop.stage.platform.until_object(shop.roles(), &shop.role(), "may sign in", signs_in).await?;
    shop.keeper.has_role(&shop.role(), "first", EARLY).await?;
    let tells =
        |told: &Workspace| condition(told, names::CONSUMERS_READY).is_some_and(|it| it.reason == names::FORBIDDEN);
    let seen = shop.stage.platform.until(&shop.finance, "says whose Secret it is", tells).await?;
    let message = condition(&seen, names::CONSUMERS_READY).context("no condition")?.message.clone();
    ensure!(message.contains(&shop.secret()), "{message}");
    let stands = shop.secrets()?.get(&shop.secret()).await?;
    ensure!(entry(&stands, "own") == "theirs" && entry(&stands, "tls.key").is_empty(), "it was written into");
    Ok(())
}
