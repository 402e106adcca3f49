//! Stores at an OpenFGA server, over its HTTP interface.
//!
//! In: an address and a way to sign in. Out: typed answers. The gRPC client crates bring a second HTTP stack and cannot be
//! pointed at a recorded answer; the HTTP interface is the same and documented, so it is spoken like those of OpenBao and KES.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Model, StoreId,
    server::About,
    tuples::{BATCH, Changes, Of, Tuple, TupleSeen},
};
use crate::{
    fault::{Fault, reasons},
    wire::{self, Answer},
};

mod belief;
mod sign_in;

pub use sign_in::OpenFgaCredentials;
use sign_in::SignIn;

/// Most pages that are read of a list: ours are far shorter, and what somebody else made longer is worked off look by look.
const PAGES_MAX: usize = 100;

/// How many of the newest models are looked at.
const MODELS: usize = 10;

/// After what pauses a server with access control that refuses is asked once more, before that is believed.
const ASKED_AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// When a server with access control is asked again whose refusal was believed.
const REFUSED_AGAIN: Duration = Duration::from_secs(20);

/// Where the server is and how to sign in.
#[derive(Clone, Debug)]
pub struct OpenFgaConfig {
    /// Address of its HTTP interface, such as `https://openfga.example:8080`.
    pub endpoint: String,
    /// PEM certificates that are trusted for it; the system's if `None`.
    pub ca_bundle: Option<String>,
    /// How to sign in.
    pub credentials: OpenFgaCredentials,
    /// The store in which the server looks up who may do what, if its access control is on.
    pub access_control: Option<StoreId>,
}

/// An OpenFGA server.
#[derive(Clone)]
pub struct OpenFga {
    endpoint: String,
    base: Url,
    client: Client,
    sign_in: SignIn,
    access_control: Option<StoreId>,
}

impl std::fmt::Debug for OpenFga {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFga").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "stores", alias = "authorization_models", alias = "tuples", default = "Vec::new")]
    items: Vec<T>,
    #[serde(default)]
    continuation_token: String,
}

#[derive(Deserialize)]
struct StoreAnswer {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct TupleAnswer {
    key: KeyAnswer,
}

#[derive(Deserialize)]
struct KeyAnswer {
    user: String,
    relation: String,
    object: String,
    #[serde(default)]
    condition: Option<Value>,
}

#[derive(Deserialize)]
struct WrittenModel {
    authorization_model_id: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl OpenFga {
    /// Checks the configuration; nothing is called yet.
    ///
    /// # Errors
    /// An address, a bundle or a key that cannot be used.
    pub fn new(config: &OpenFgaConfig) -> Result<Self, Fault> {
        let base = wire::endpoint(&config.endpoint)?;
        let client = wire::client(config.ca_bundle.as_deref(), None)?;
        let sign_in = SignIn::new(&config.credentials)?;
        let (endpoint, access_control) = (config.endpoint.clone(), config.access_control.clone());
        Ok(Self { endpoint, base, client, sign_in, access_control })
    }

    pub(super) fn access_control(&self) -> Option<&StoreId> {
        self.access_control.as_ref()
    }

    pub(super) fn address(&self) -> &str {
        &self.endpoint
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<RequestBuilder, Fault> {
        let mut url = wire::address(&self.base, std::iter::once("stores").chain(path.iter().copied()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        Ok(if let Some(body) = body { request.json(body) } else { request })
    }

    async fn send(&self, request: RequestBuilder, about: &About<'_>) -> Result<Answer, Fault> {
        let authorization = self.sign_in.header().await?;
        let request = request.header("authorization", authorization);
        let pauses: &[Duration] = if self.access_control.is_some() { &ASKED_AGAIN } else { &[] };
        // Whoever is refused has changed nothing, so what writes is repeated as well.
        belief::once_believed(pauses, || {
            let request = request.try_clone();
            async move {
                let again = || format!("{}: the request could not be copied to be sent; it is tried again", about.what);
                wire::send(request.ok_or_else(|| Fault::transient(again()))?, about.what).await
            }
        })
        .await
    }

    /// Sends what changes something.
    async fn write(
        &self,
        about: &About<'_>,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let answer = self.send(self.request(method, path, &[], body)?, about).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer, about)) }
    }

    /// The items of so many pages at most.
    async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        about: &About<'_>,
        most: usize,
        page: impl Fn(&str) -> Result<RequestBuilder, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..most {
            let answer = self.send(page(&token)?, about).await?;
            if !answer.status.is_success() {
                return Err(self.refused(&answer, about));
            }
            let found: Page<T> = answer.json(about.what)?;
            all.extend(found.items);
            token = found.continuation_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    pub(super) async fn stores(&self, about: &About<'_>, name: &str) -> Result<Vec<StoreId>, Fault> {
        let list = |token: &str| {
            let query = [("name", name), ("page_size", "100"), ("continuation_token", token)];
            self.request(Method::GET, &[], &query, None)
        };
        let found: Vec<StoreAnswer> = self.pages(about, PAGES_MAX, list).await?;
        let mut ids: Vec<StoreId> = found
            .iter()
            .filter(|store| store.name == name)
            .map(|store| StoreId::new(&store.id))
            .collect::<Result<_, _>>()?;
        ids.sort();
        Ok(ids)
    }

    pub(super) async fn create_store(&self, about: &About<'_>, name: &str) -> Result<StoreId, Fault> {
        let answer = self.write(about, Method::POST, &[], Some(&json!({ "name": name }))).await?;
        StoreId::new(&answer.json::<StoreAnswer>(about.what)?.id)
    }

    pub(super) async fn delete_store(&self, about: &About<'_>, id: &StoreId) -> Result<(), Fault> {
        let answer = self.send(self.request(Method::DELETE, &[id.as_str()], &[], None)?, about).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(self.refused(&answer, about))
    }

    /// The name of a store that is not marked as deleted.
    pub(super) async fn name_of(&self, about: &About<'_>, id: &StoreId) -> Result<Option<String>, Fault> {
        let answer = self.send(self.request(Method::GET, &[id.as_str()], &[], None)?, about).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer.json::<StoreAnswer>(about.what)?.name)),
            _ => Err(self.refused(&answer, about)),
        }
    }

    pub(super) async fn models(&self, about: &About<'_>, id: &StoreId) -> Result<Vec<Model>, Fault> {
        let size = MODELS.to_string();
        let path = [id.as_str(), "authorization-models"];
        let list = |_: &str| self.request(Method::GET, &path, &[("page_size", &size)], None);
        let found: Vec<Value> = self.pages(about, 1, list).await?;
        let model = |content: Value| Model {
            id: content.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            content,
        };
        Ok(found.into_iter().map(model).collect())
    }

    pub(super) async fn write_model(&self, about: &About<'_>, id: &StoreId, model: &Value) -> Result<String, Fault> {
        let path = [id.as_str(), "authorization-models"];
        let answer = self.write(about, Method::POST, &path, Some(model)).await?;
        Ok(answer.json::<WrittenModel>(about.what)?.authorization_model_id)
    }

    pub(super) async fn tuples(&self, about: &About<'_>, id: &StoreId, of: Of<'_>) -> Result<Vec<TupleSeen>, Fault> {
        let meant = match of {
            Of::Store => None,
            Of::Anyhow(object) => Some(json!({ "object": object })),
            Of::Object(object, relation) => Some(json!({ "object": object, "relation": relation })),
            Of::User(user, relation, kind) => {
                Some(json!({ "user": user, "relation": relation, "object": format!("{kind}:") }))
            }
        };
        let list = |token: &str| {
            let mut body = Map::new();
            body.insert("page_size".into(), json!(BATCH));
            body.insert("consistency".into(), json!("HIGHER_CONSISTENCY"));
            body.insert("continuation_token".into(), json!(token));
            if let Some(meant) = &meant {
                body.insert("tuple_key".into(), meant.clone());
            }
            let body = Value::Object(body);
            self.request(Method::POST, &[id.as_str(), "read"], &[], Some(&body))
        };
        let most = if meant.is_some() { PAGES_MAX } else { 1 };
        let found: Vec<TupleAnswer> = self.pages(about, most, list).await?;
        let seen = |TupleAnswer { key }: TupleAnswer| TupleSeen {
            tuple: Tuple { user: key.user, relation: key.relation, object: key.object },
            conditional: key.condition.is_some_and(|condition| !condition.is_null()),
        };
        Ok(found.into_iter().map(seen).collect())
    }

    pub(super) async fn write_tuples(
        &self,
        about: &About<'_>,
        id: &StoreId,
        model: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        let keys = |tuples: &[Tuple]| {
            let key = |it: &Tuple| json!({ "user": it.user, "relation": it.relation, "object": it.object });
            tuples.iter().map(key).collect::<Vec<_>>()
        };
        let mut body = Map::new();
        if !changes.deletes.is_empty() {
            body.insert("deletes".into(), json!({ "tuple_keys": keys(&changes.deletes), "on_missing": "ignore" }));
        }
        if !changes.writes.is_empty() {
            if !model.is_empty() {
                body.insert("authorization_model_id".into(), json!(model));
            }
            body.insert("writes".into(), json!({ "tuple_keys": keys(&changes.writes), "on_duplicate": "ignore" }));
        }
        let body = Value::Object(body);
        self.write(about, Method::POST, &[id.as_str(), "write"], Some(&body)).await.map(drop)
    }
}

fn refusal(answer: &Answer) -> Refusal {
    serde_json::from_slice(&answer.body).unwrap_or(Refusal { code: String::new(), message: String::new() })
}

impl OpenFga {
    fn refused(&self, answer: &Answer, about: &About<'_>) -> Fault {
        let Refusal { code, message } = refusal(answer);
        let remedy = match answer.status.as_u16() {
            401 | 403 => self.sign_in.remedy(),
            404 | 405 => "check that this is the address of an OpenFGA server, 1.10 or newer",
            400..=499 => "correct what the server names; its own limits may be in the way",
            _ => "see the health of that server",
        };
        let fault = answer.fault(about.what, format!("{code} {message}").trim(), remedy);
        // Access control says the same where it could not look in time: that heals by itself. Who is not known at all must sign in anew.
        if self.access_control.is_some() && belief::is_refusal(answer) {
            return Fault::waiting(reasons::DENIED, REFUSED_AGAIN, fault.message);
        }
        fault
    }
}
