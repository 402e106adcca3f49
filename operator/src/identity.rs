//! Identity: what everything of an object outside the cluster is named after, and who may hold it.
//!
//! In: an object and its kind's other objects. Out: its identity, or a fault that names the holder. Pure.

use api::{Identity, conditions as reasons};
use kube::{Resource, ResourceExt};

use crate::engine::fault::Fault;

/// What the rule needs to know of an object.
pub trait Identified: ResourceExt {
    /// `spec.identity`.
    fn asked(&self) -> Option<&str>;
    /// `status.identity`.
    fn recorded(&self) -> Option<&str>;
}

impl Identified for api::Tenant {
    fn asked(&self) -> Option<&str> {
        self.spec.identity.as_deref()
    }
    fn recorded(&self) -> Option<&str> {
        self.status.as_ref()?.identity.as_deref()
    }
}

impl Identified for api::Workspace {
    fn asked(&self) -> Option<&str> {
        self.spec.identity.as_deref()
    }
    fn recorded(&self) -> Option<&str> {
        self.status.as_ref()?.identity.as_deref()
    }
}

/// The identity that the object asks for: the one in its spec, or else its UID.
pub fn derived<K: Identified>(object: &K) -> Option<String> {
    object.asked().map(str::to_owned).or_else(|| object.uid())
}

/// Of two that ask for one identity, the one that has it recorded holds it, or else the older.
fn precedence<K: Identified>(object: &K) -> (bool, Option<String>, Option<String>) {
    (object.recorded().is_none(), object.creation_timestamp().map(|time| time.0.to_string()), object.uid())
}

/// The object's identity. `find` looks through the live objects of the kind for one that fits.
pub fn of<K: Identified + Resource<DynamicType = ()>>(
    object: &K,
    find: impl Fn(&dyn Fn(&K) -> bool) -> Option<String>,
) -> Result<Identity, Fault> {
    let text = derived(object).unwrap_or_default();
    let identity: Identity = text.parse()?;
    if let Some(recorded) = object.recorded() {
        if recorded == text {
            return Ok(identity);
        }
        let message = format!(
            "status.identity is {recorded} but this object's identity is {text}: remove the wrong entry from status or restore it to {text}"
        );
        return Err(Fault::stalled(reasons::IDENTITY_CHANGED, message));
    }
    let holder = find(&|other: &K| {
        other.uid() != object.uid()
            && derived(other).as_deref() == Some(text.as_str())
            && precedence(other) < precedence(object)
    });
    match holder {
        None => Ok(identity),
        Some(holder) => {
            let message = format!(
                "identity {text} is held by {} {holder}: delete that one first, or create this one without spec.identity",
                K::kind(&())
            );
            Err(Fault::stalled(reasons::IDENTITY_TAKEN, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use api::{Tenant, TenantSpec, TenantStatus};

    use super::*;

    const IDENTITY: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

    fn tenant(name: &str, uid: &str, asks: Option<&str>, holds: Option<&str>) -> Tenant {
        let spec = serde_json::from_value::<TenantSpec>(serde_json::json!({ "class": "c", "identity": asks })).unwrap();
        let mut tenant = Tenant::new(name, spec);
        tenant.metadata.uid = Some(uid.into());
        tenant.metadata.namespace = Some(name.into());
        tenant.status = Some(TenantStatus { identity: holds.map(str::to_owned), ..TenantStatus::default() });
        tenant
    }

    fn resolve(of_interest: &Tenant, others: &[Tenant]) -> Result<Identity, Fault> {
        of(of_interest, |fits| others.iter().find(|other| fits(other)).map(kube::ResourceExt::name_any))
    }

    #[test]
    fn without_a_wish_the_uid_is_the_identity() {
        assert_eq!(resolve(&tenant("acme", IDENTITY, None, None), &[]).unwrap().to_string(), IDENTITY);
    }

    #[test]
    fn an_identity_that_is_held_is_not_shared() {
        let holder = tenant("holder", IDENTITY, None, Some(IDENTITY));
        let newcomer = tenant("newcomer", "00000000-0000-4000-8000-000000000001", Some(IDENTITY), None);
        let fault = resolve(&newcomer, std::slice::from_ref(&holder)).unwrap_err();
        assert_eq!(fault.reason, reasons::IDENTITY_TAKEN);
        assert!(fault.message.contains("holder"), "{}", fault.message);
        assert!(resolve(&holder, &[newcomer]).is_ok());
    }

    #[test]
    fn of_two_newcomers_exactly_one_gets_it() {
        let one = tenant("one", "00000000-0000-4000-8000-000000000001", Some(IDENTITY), None);
        let two = tenant("two", "00000000-0000-4000-8000-000000000002", Some(IDENTITY), None);
        let winners = [resolve(&one, std::slice::from_ref(&two)), resolve(&two, std::slice::from_ref(&one))]
            .iter()
            .filter(|r| r.is_ok())
            .count();
        assert_eq!(winners, 1);
    }

    #[test]
    fn an_edited_identity_is_not_believed() {
        let edited = tenant("acme", IDENTITY, None, Some("00000000-0000-4000-8000-000000000009"));
        assert_eq!(resolve(&edited, &[]).unwrap_err().reason, reasons::IDENTITY_CHANGED);
    }
}
