//! The whole way of an application to its tenant's store of authorization: the operator with the chart's rights, OpenBao, OpenFGA with access
//! control, and the token of a ServiceAccount. In: what people apply. Out: what the application is answered, with nothing but its own token
//! and what its Secret says, and what it is refused at the store of another tenant all the while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use api::{Tenant, TenantClass, Workspace, labels};
use e2e::servers::Servers;
use e2e::story::{Manifest, Platform, Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Tier, show, unique};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use operator::config::ProviderSource;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::documents::{Documents, PEOPLE};

/// Longest wait for what takes several calls at servers that have just started.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// How long access outlives the consent to it.
const PROMISED: Duration = Duration::from_mins(1);

/// What the application's Secret says.
const ENTRIES: [&str; 4] =
    ["authorization-endpoint", "authorization-store-id", "authorization-object", "authorization-ca.crt"];

struct World {
    stage: Stage,
    servers: Servers,
    class: Manifest<TenantClass>,
    /// The namespace of the application.
    shop: String,
}

/// A tenant with a Workspace.
struct Customer {
    tenant: Manifest<Tenant>,
    store: String,
    object: String,
}

/// What the application does at a store.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Check,
    Write,
}

/// A Workspace that has nothing but its place in the store.
fn finance(tenant: &Manifest<Tenant>) -> Manifest<Workspace> {
    workspace("finance").of_tenant(tenant).with("bucket.disabled", true)
}

impl World {
    async fn begin() -> Result<Self> {
        let stage = Stage::set(Tier::One, |config| config.providers = ProviderSource::Real).await?;
        let servers = Servers::start_with_access_control(&stage.plane).await?;
        let spec = servers.class_spec(&stage.plane, "Assumed");
        let class = ["residency", "keys", "buckets", "authorization", "network"]
            .into_iter()
            .fold(class("onprem"), |class, field| class.with(field, spec[field].clone()));
        stage.platform.apply(&class).await?;
        let shop = unique("shop");
        stage.platform.control_namespace(&shop).await?;
        let mut account = ServiceAccount::default();
        account.metadata.name = Some("billing".to_owned());
        Api::namespaced(stage.plane.admin()?, &shop).create(&PostParams::default(), &account).await?;
        Ok(Self { stage, servers, class, shop })
    }

    fn platform(&self) -> Platform {
        self.stage.platform.patient(PATIENCE)
    }

    /// A tenant that anna owns, with a Workspace that has no consumers yet.
    async fn customer(&self, name: &str) -> Result<Customer> {
        let anna = json!([{ "kind": "User", "name": "anna" }]);
        let tenant = self.platform().applied(tenant(&unique(name)).of_class(&self.class).with("owners", anna)).await?;
        let finance = self.platform().applied(finance(&tenant)).await?;
        let place = self.platform().until_ready(&finance).await?.status.and_then(|status| status.authorization);
        let place = place.context("status does not name the store")?;
        Ok(Customer { tenant, store: place.store_id, object: place.object })
    }

    /// Makes the application a consumer of the customer's Workspace, and waits until status says that it is let in.
    async fn lets_in(&self, customer: &Customer, authorization: &str) -> Result<()> {
        let billing = json!([{ "namespace": self.shop, "serviceAccount": "billing", "authorization": authorization }]);
        let finance = finance(&customer.tenant).with("consumers", billing);
        self.platform().apply(&finance).await?;
        let is_in = |seen: &Workspace| {
            let told = seen.status.as_ref().and_then(|status| status.authorization.as_ref());
            told.is_some_and(|told| told.applications.iter().any(|it| json!(it.authorization) == authorization))
        };
        self.platform().until_ready(&finance).await?;
        self.platform().until(&finance, "lets the application in", is_in).await.map(drop)
    }

    async fn consents(&self, to: Option<&Customer>) -> Result<()> {
        let to = to.map(|customer| format!("{}/finance", customer.tenant.name()));
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { labels::CONSUMES: to } } }));
        let namespaces = Api::<Namespace>::all(self.stage.plane.admin()?);
        namespaces.patch(&self.shop, &PatchParams::default(), &patch).await.map(drop).context("cannot annotate")
    }

    /// An entry of the application's Secret; `None` without the Secret.
    async fn told(&self, customer: &Customer, entry: &str) -> Result<Option<String>> {
        let name = format!("{}.finance.billing", customer.tenant.name());
        let secrets = Api::<Secret>::namespaced(self.stage.plane.admin()?, &self.shop);
        let Some(secret) = secrets.get_opt(&name).await? else { return Ok(None) };
        let data = secret.data.unwrap_or_default();
        let told = data.get(entry).with_context(|| format!("no {entry} in {name}"))?;
        Ok(Some(String::from_utf8(told.0.clone())?))
    }

    /// A token of its ServiceAccount, as it is mounted.
    async fn own_token(&self) -> Result<SecretString> {
        self.stage.plane.token_for(&self.shop, "billing", &[self.servers.openbao.audience()], 600).await
    }

    /// A token that the application gets by itself: its own, exchanged at OpenBao.
    async fn token(&self) -> Result<SecretString> {
        self.servers.openbao.identity_token(&self.own_token().await?).await
    }

    /// The example, with all that the application's Secret says and this token.
    async fn example(&self, customer: &Customer, token: &SecretString) -> Result<Option<Documents>> {
        let mut said = BTreeMap::new();
        for entry in ENTRIES {
            said.insert(entry, self.told(customer, entry).await?.context("no Secret")?);
        }
        Documents::start(&self.servers.openbao, &said, token)
    }

    /// What it is answered at a store when it asks whether anna owns what is hers, or writes.
    async fn asks(&self, doing: Doing, store: &str, object: &str) -> Result<(StatusCode, Value)> {
        let question = json!({ "user": "user:anna", "relation": "editor", "object": object });
        let tuple = json!({ "user": "user:x", "relation": "member", "object": "group:x" });
        let (action, body) = match doing {
            Doing::Check => ("check", json!({ "tuple_key": question })),
            Doing::Write => ("write", json!({ "writes": { "tuple_keys": [tuple], "on_duplicate": "ignore" } })),
        };
        self.servers
            .openfga
            .call_as(&self.token().await?, Method::POST, &format!("/{store}/{action}"), Some(&body))
            .await
    }

    /// Waits until it may. OpenFGA refuses also where it is too busy to look.
    async fn may(&self, doing: Doing, customer: &Customer) -> Result<Value> {
        let seen = std::sync::Mutex::new(Value::Null);
        until(&format!("the application may {doing:?}"), PATIENCE, async || {
            let (status, answer) = self.asks(doing, &customer.store, &customer.object).await?;
            seen.lock().map(|mut seen| *seen = answer).ok();
            Ok(status == StatusCode::OK)
        })
        .await?;
        Ok(seen.into_inner().unwrap_or_default())
    }

    async fn is_refused(&self, doing: Doing, customer: &Customer) -> Result<bool> {
        let (status, answer) = self.asks(doing, &customer.store, &customer.object).await?;
        Ok(!status.is_success() && answer["code"] == "forbidden")
    }

    async fn is_refused_all(&self, customer: &Customer, when: &str) -> Result<()> {
        for doing in [Doing::Check, Doing::Write] {
            ensure!(self.is_refused(doing, customer).await?, "{doing:?} at the other tenant's store, {when}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_comes_to_the_store_of_its_tenant_by_its_own_token_and_for_as_long_as_both_sides_say()
-> Result<()> {
    let world = World::begin().await?;
    let (acme, globex) = tokio::try_join!(world.customer("acme"), world.customer("globex"))?;
    world.is_refused_all(&acme, "before anybody let it in").await?;
    world.is_refused_all(&globex, "before anybody let it in").await?;

    world.consents(Some(&acme)).await?;
    world.lets_in(&acme, "read").await?;
    let told = async |entry| world.told(&acme, entry).await?.context("no Secret");
    assert_eq!(told("authorization-endpoint").await?, world.servers.openfga.endpoint());
    assert_eq!(told("authorization-ca.crt").await?, world.stage.plane.authority().certificate());
    assert_eq!(
        (told("authorization-store-id").await?, told("authorization-object").await?),
        (acme.store.clone(), acme.object.clone())
    );
    assert_eq!(world.may(Doing::Check, &acme).await?["allowed"], true);
    ensure!(world.is_refused(Doing::Write, &acme).await?, "who may read writes");
    world.is_refused_all(&globex, "while it reads").await?;

    world.lets_in(&acme, "readWrite").await?;
    world.may(Doing::Write, &acme).await?;
    world.is_refused_all(&globex, "while it writes").await?;

    // With a token that has ended, until the kubelet renews it.
    let (ended, own) = (SecretString::from("one-that-has-ended".to_owned()), world.own_token().await?);
    let mut example = world.example(&acme, &ended).await?;
    let refuses = |address: String, how: &str| [format!("{} answers {how}", address.trim_start_matches("https://"))];
    if let Some(example) = &mut example {
        example.prints(&refuses(world.servers.openbao.address(), "")).await?;
        example.renew(&own)?;
        let [anna, ben] = PEOPLE;
        example.prints(&[format!("{anna} allowed"), format!("{ben} denied")]).await?;
    }

    let since = Instant::now();
    world.consents(None).await?;
    until("the application is refused", PROMISED, async || {
        Ok(world.is_refused(Doing::Check, &acme).await? && world.is_refused(Doing::Write, &acme).await?)
    })
    .await?;
    show(&format!("access ended {} ms after the consent to it", since.elapsed().as_millis()));
    if let Some(example) = &mut example {
        example.prints(&refuses(world.servers.openfga.endpoint(), "401")).await?;
        example.told_nothing_of(&[&ended, &own])?;
    }
    until("its Secret is gone", PATIENCE, async || Ok(world.told(&acme, "authorization-endpoint").await?.is_none()))
        .await?;
    ensure!(world.is_refused(Doing::Check, &acme).await?, "it came back");
    world.is_refused_all(&globex, "in the end").await?;
    world.stage.operator.stop().await
}
