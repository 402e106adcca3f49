//! A real API server with our CRDs. In: requests. Out: answers, with the causes that the API server gives for a refusal.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::{Plane, Tier, unique};
use kube::Client;
use kube::core::Status;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::objects::plural;

const GROUP: &str = "/apis/steading.dev/v1alpha1";

/// One test's way to the API server: a client and a namespace of its own.
pub struct Server {
    pub client: Client,
    pub namespace: String,
}

impl Server {
    /// Starts the API server and installs the CRDs unless another test of this file did.
    pub async fn start() -> Self {
        static CRDS: OnceCell<()> = OnceCell::const_new();
        let client = Plane::shared(Tier::One).await.unwrap().admin().unwrap();
        CRDS.get_or_try_init(|| install(&client)).await.unwrap();
        let namespace = unique("admission");
        let server = Self { client, namespace };
        let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": server.namespace } });
        server.call("POST", "/api/v1/namespaces", &own).await.unwrap();
        server
    }

    /// Asks whether the object could be created, as a plain client does. Nothing is stored.
    pub async fn try_create(&self, object: &Value) -> Result<Value, Status> {
        self.call("POST", &format!("{}?dryRun=All", self.collection(object)), object).await
    }

    /// Creates the object under a name of its own and returns it as it was stored.
    pub async fn create(&self, object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"]["name"] = json!(unique("changed"));
        let created = self.call("POST", &self.collection(&object), &object).await;
        created.unwrap_or_else(|status| panic!("cannot create what is to be changed: {}", status.message))
    }

    /// Asks whether a stored object could be replaced by this one.
    pub async fn try_replace(&self, object: &Value) -> Result<Value, Status> {
        self.call("PUT", &format!("{}?dryRun=All", self.item(object)), object).await
    }

    /// The URL of all objects of a kind.
    pub fn collection(&self, object: &Value) -> String {
        match object["kind"].as_str().unwrap() {
            "TenantClass" => format!("{GROUP}/{}", plural("TenantClass")),
            kind => format!("{GROUP}/namespaces/{}/{}", self.namespace, plural(kind)),
        }
    }

    /// The URL of this object.
    pub fn item(&self, object: &Value) -> String {
        format!("{}/{}", self.collection(object), object["metadata"]["name"].as_str().unwrap())
    }

    /// One request. `APPLY` is a PATCH with the body as an apply configuration.
    pub async fn call(&self, verb: &str, url: &str, body: &Value) -> Result<Value, Status> {
        call(&self.client, verb, url, body).await
    }
}

async fn call(client: &Client, verb: &str, url: &str, body: &Value) -> Result<Value, Status> {
    let (method, content) = match verb {
        "APPLY" => ("PATCH", "application/apply-patch+yaml"),
        other => (other, "application/json"),
    };
    let request = http::Request::builder().method(method).uri(url).header("content-type", content);
    let request = request.body(serde_json::to_vec(body).unwrap()).unwrap();
    match client.request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{verb} {url} got no answer: {error}"),
    }
}

/// Whether the API server refused for this reason: a cause at this field whose message contains this text.
pub fn refuses(answer: &Result<Value, Status>, field: &str, message: &str) -> Result<()> {
    let Err(status) = answer else { bail!("it was accepted, but {field} should be refused with: {message}") };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let at_field = |cause: &&kube::core::response::StatusCause| {
        cause.field == field || (field.is_empty() && cause.field == "<nil>")
    };
    if causes.iter().filter(at_field).any(|cause| cause.message.contains(message)) {
        return Ok(());
    }
    bail!("{field} should be refused with:\n  {message}\nbut the answer is {}:\n  {}", status.code, status.message)
}

async fn install(client: &Client) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    for crd in api::crds::crds()? {
        let name = crd.metadata.name.clone().context("a CRD has a name")?;
        let url =
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager=admission&force=true");
        let mut body = serde_json::to_value(&crd)?;
        body["apiVersion"] = json!("apiextensions.k8s.io/v1");
        body["kind"] = json!("CustomResourceDefinition");
        if let Err(status) = call(client, "APPLY", &url, &body).await {
            bail!("the API server refuses the CRD {name}: {}", status.message);
        }
        let served = format!("{GROUP}/{}?limit=1", crd.spec.names.plural);
        while let Err(status) = call(client, "GET", &served, &Value::Null).await {
            if Instant::now() > deadline {
                bail!("{name} is not served: {}", status.message);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
