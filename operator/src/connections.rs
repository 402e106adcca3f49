//! Connections to the world outside the cluster: one for each class, kept while the class stays as it is.
//!
//! In: a TenantClass, the Secrets that it names in our own namespace, tokens of our own ServiceAccount. Out: the providers' adapters,
//! and their faults as the engine knows them. Secrets are read here and nowhere else, and go nowhere but into an adapter.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::{TenantClass, conditions as names, subject::SubjectKind};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use providers::{
    Applications, Buckets, Identities, Keys, Memberships, Stores,
    authorization::{Server, StoreId, Subject},
    memory::{MemoryBuckets, MemoryIdentities, MemoryKeys, MemoryStores},
};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::{config::ProviderSource, engine::fault::Fault, metrics::Metrics};

mod real;
mod tokens;

/// How long credentials are used before their Secret is read again, so that a changed one is taken up.
const CREDENTIALS_AGE: Duration = Duration::from_mins(5);

/// Hands out adapters, class by class.
pub struct Connections {
    source: ProviderSource,
    client: Client,
    namespace: String,
    service_account: String,
    keys: Mutex<HashMap<ClassVersion, Kept<Keys>>>,
    buckets: Mutex<HashMap<ClassVersion, Kept<Buckets>>>,
    authorization: Mutex<HashMap<ClassVersion, Kept<Server>>>,
}

/// A class as it was when an adapter was made of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClassVersion {
    uid: String,
    generation: i64,
}

struct Kept<T> {
    adapter: T,
    since: Instant,
}

impl Connections {
    /// For a source; real ones read Secrets in `namespace` and sign in as `service_account`.
    #[must_use]
    pub fn new(source: ProviderSource, client: Client, namespace: String, service_account: String) -> Self {
        let (keys, buckets, authorization) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { source, client, namespace, service_account, keys, buckets, authorization }
    }

    /// The place for keys that the class names.
    pub fn keys(&self, class: &TenantClass) -> Result<Keys, Fault> {
        if let ProviderSource::Memory(world) = &self.source {
            return Ok(Keys::Memory(MemoryKeys::new(world)));
        }
        if let Some(kept) = fresh(&self.keys, class) {
            return Ok(kept);
        }
        let made = self.real_keys(class)?;
        Ok(keep(&self.keys, class, made))
    }

    /// The place for buckets that the class names.
    pub async fn buckets(&self, class: &TenantClass) -> Result<Buckets, Fault> {
        if let ProviderSource::Memory(world) = &self.source {
            return Ok(Buckets::Memory(MemoryBuckets::new(world)));
        }
        if let Some(kept) = fresh(&self.buckets, class) {
            return Ok(kept);
        }
        let made = self.real_buckets(class).await?;
        Ok(keep(&self.buckets, class, made))
    }

    /// The stores of tenants at the place for authorization that the class names.
    pub async fn stores(&self, class: &TenantClass) -> Result<Stores, Fault> {
        self.authorization(class).await.map(Stores)
    }

    /// The members of workspaces in these stores.
    pub async fn memberships(&self, class: &TenantClass) -> Result<Memberships, Fault> {
        self.authorization(class).await.map(Memberships)
    }

    /// The applications that may call for these stores.
    pub async fn applications(&self, class: &TenantClass) -> Result<Applications, Fault> {
        self.authorization(class).await.map(Applications)
    }

    /// Who issues identities for the buckets that the class names. Not kept: it is asked every few days.
    pub async fn identities(&self, class: &TenantClass) -> Result<Identities, Fault> {
        match &self.source {
            ProviderSource::Memory(world) => Ok(Identities::Memory(MemoryIdentities::new(world))),
            ProviderSource::Real => self.real_identities(class).await,
        }
    }

    async fn authorization(&self, class: &TenantClass) -> Result<Server, Fault> {
        if let ProviderSource::Memory(world) = &self.source {
            let openfga = class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref());
            let access = openfga.and_then(|openfga| openfga.access_control.as_ref());
            let stores = MemoryStores::new(world);
            return Ok(Server::Memory(match access {
                Some(access) => stores.with_access_control(StoreId::new(&access.store_id)?),
                None => stores,
            }));
        }
        if let Some(kept) = fresh(&self.authorization, class) {
            return Ok(kept);
        }
        let made = self.real_authorization(class).await?;
        Ok(keep(&self.authorization, class, made))
    }

    /// A provider's fault as the engine knows it. Refused credentials are read anew the next time; where only what they are for was refused,
    /// and may be allowed by itself, they stay.
    pub fn failed(&self, class: &TenantClass, fault: providers::Fault) -> Fault {
        if fault.reason == providers::reasons::DENIED && fault.class == providers::Class::Stalled {
            let version = version(class);
            self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&version);
            self.buckets.lock().unwrap_or_else(PoisonError::into_inner).remove(&version);
            self.authorization.lock().unwrap_or_else(PoisonError::into_inner).remove(&version);
        }
        Fault::from(fault)
    }

    /// These entries of a Secret in our own namespace.
    async fn secret<const N: usize>(&self, name: &str, entries: [&'static str; N]) -> Result<[SecretString; N], Fault> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let place = format!("Secret {}/{name}", self.namespace);
        let missing = |what: String| Fault::waiting(Duration::from_secs(30), names::CREDENTIALS_NOT_FOUND, what);
        let found = api.get_opt(name).await.map_err(|error| Fault::api(&error, &format!("read {place}")))?;
        let secret = found
            .ok_or_else(|| missing(format!("{place} does not exist: create it with {}", entries.join(" and "))))?;
        let mut data = secret.data.unwrap_or_default();
        let mut take = |entry: &'static str| {
            let text = data.remove(entry).and_then(|bytes| String::from_utf8(bytes.0).ok());
            text.map(|text| SecretString::from(text.trim().to_owned()))
                .ok_or_else(|| missing(format!("{place} has no text under {entry}: add it")))
        };
        let mut found = Vec::with_capacity(N);
        for entry in entries {
            found.push(take(entry)?);
        }
        found.try_into().map_err(|_| missing(format!("{place} lacks an entry")))
    }
}

fn version(class: &TenantClass) -> ClassVersion {
    ClassVersion { uid: class.uid().unwrap_or_default(), generation: class.metadata.generation.unwrap_or_default() }
}

fn fresh<T: Clone>(kept: &Mutex<HashMap<ClassVersion, Kept<T>>>, class: &TenantClass) -> Option<T> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(&version(class)).filter(|kept| kept.since.elapsed() < CREDENTIALS_AGE).map(|kept| kept.adapter.clone())
}

fn keep<T: Clone>(kept: &Mutex<HashMap<ClassVersion, Kept<T>>>, class: &TenantClass, adapter: T) -> T {
    let version = version(class);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|other, _| other.uid != version.uid);
    kept.insert(version, Kept { adapter: adapter.clone(), since: Instant::now() });
    adapter
}

impl From<providers::Fault> for Fault {
    fn from(fault: providers::Fault) -> Self {
        match fault.class {
            providers::Class::Waiting { after } => Self::waiting(after, fault.reason, fault.message),
            providers::Class::Stalled => Self::stalled(fault.reason, fault.message),
            providers::Class::Transient => Self::transient(fault.reason, fault.message),
        }
    }
}

/// The installation id as providers take it.
pub fn installation(installation: &api::Installation) -> Result<providers::Installation, Fault> {
    Ok(providers::Installation::new(installation.as_str())?)
}

/// An identity as providers take it.
pub fn identity(identity: &api::Identity) -> Result<providers::Identity, Fault> {
    Ok(providers::Identity::new(&identity.to_string())?)
}

/// A user or group as authorization takes it.
pub fn subject(kind: SubjectKind, name: &str) -> Subject {
    match kind {
        SubjectKind::User => Subject::User(name.to_owned()),
        SubjectKind::Group => Subject::Group(name.to_owned()),
    }
}

/// Counts one call by the class of its outcome.
pub fn count<T>(metrics: &Metrics, provider: &str, operation: &str, outcome: &Result<T, providers::Fault>) {
    let result = match outcome.as_ref().map_err(|fault| fault.class) {
        Ok(_) => "ok",
        Err(providers::Class::Waiting { .. }) => "waiting",
        Err(providers::Class::Stalled) => "stalled",
        Err(providers::Class::Transient) => "transient",
    };
    metrics.external_call(provider, operation, result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_refused_credentials_are_read_anew() {
        let service = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Ok::<_, kube::Error>(http::Response::new(kube::client::Body::empty()))
        });
        let client = Client::new(service, "default");
        let connections = Connections::new(ProviderSource::Real, client, "steading-system".into(), "steading".into());
        let spec = serde_json::json!({ "spec": {
            "residency": { "regions": ["site-a"] },
            "keys": { "openbao": {
                "region": "site-a", "address": "https://bao.example:8200", "mount": "transit",
                "auth": { "mount": "kubernetes", "role": "steading", "audience": "openbao" },
                "rotationPeriod": { "default": "90d", "min": "30d", "max": "365d" },
            }},
            "buckets": { "s3": {
                "region": "site-a", "endpoint": "https://s3.example:9000", "credentials": { "secret": "store" },
            }},
            "network": { "enforcement": "Assumed" },
        }, "metadata": { "name": "onprem", "uid": "u1", "generation": 1 } });
        let class: TenantClass = serde_json::from_value(spec).unwrap();
        connections.keys(&class).unwrap();
        let are_kept = || fresh(&connections.keys, &class).is_some();

        let busy = providers::Fault::waiting(names::DENIED, Duration::from_secs(20), "could not look in time");
        connections.failed(&class, busy);
        assert!(are_kept(), "a refusal that may heal by itself costs nobody a new session");
        connections.failed(&class, providers::Fault::denied("unknown"));
        assert!(!are_kept(), "refused credentials were kept");
    }

    #[test]
    fn every_reason_of_a_provider_is_documented() {
        for reason in providers::reasons::ALL {
            assert!(names::reason(reason).is_some(), "{reason} is not in api::conditions::REASONS");
        }
    }
}
