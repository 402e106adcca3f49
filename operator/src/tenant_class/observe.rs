//! Whether the servers that a class names can be used, and whether the network is as it says.
//!
//! In: a class, what probes show. Out: a part for each place, and one for the network. A look for something that nobody has: it needs
//! the server, our sign-in and the rights to look, and changes nothing.

use std::collections::BTreeSet;

use api::{TenantClass, conditions as names};
use providers::{
    External as _, Purpose, StoreSpec,
    keys::{KeySpec, SHORTEST_ROTATION_PERIOD},
};

use super::{Facts, TenantClasses};
use crate::{
    clock, connections,
    context::Context,
    enforcement::Before,
    engine::{
        conditions::{self, Part},
        drive::Story as _,
        fault::{Class, Fault},
        round::Round,
    },
    workspace::bucket_spec,
};

/// An identity that no object has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Says what is known of the network.
pub fn network(context: &Context, class: &TenantClass, round: &mut Round<Facts>) {
    let before = Before { conditions: TenantClasses::conditions(class), generation: class.metadata.generation };
    let stands = "every stack has its NetworkPolicies";
    round.parts.push(context.enforcement.part(class, names::NETWORK_ENFORCED, stands, &before));
}

/// Looks at each server, if it is time to.
pub async fn servers(context: &Context, class: &TenantClass, round: &mut Round<Facts>) {
    let observed = class.status.as_ref().and_then(|status| status.observed_at.as_ref()).map(|time| time.0);
    let (before, generation) = (TenantClasses::conditions(class), class.metadata.generation);
    let wanted = [names::KEYS_REACHABLE, names::BUCKETS_REACHABLE]
        .into_iter()
        .chain(class.spec.authorization.as_ref().map(|_| names::AUTHORIZATION_REACHABLE))
        .chain(class.spec.database.as_ref().map(|_| names::DATABASES_REACHABLE));
    let settled = wanted.into_iter().all(|name| conditions::holding(before, name, generation).is_some());
    let rest = context.until_next_look(observed);
    if settled && !rest.is_zero() {
        round.look_again(rest);
        return;
    }
    let mut looks = vec![
        (names::KEYS_REACHABLE, "keys", keys(context, class).await),
        (names::BUCKETS_REACHABLE, "buckets", buckets(context, class).await),
    ];
    if class.spec.authorization.is_some() {
        looks.push((names::AUTHORIZATION_REACHABLE, "authorization", authorization(context, class).await));
    }
    if class.spec.database.is_some() {
        looks.push((names::DATABASES_REACHABLE, "databases", context.databases.look(&context.engine.client).await));
    }
    if looks.iter().all(|(_, _, look)| look.is_ok()) {
        round.facts.observed_at = Some(clock::now());
        round.look_again(context.evidence / 2);
    }
    for (name, what, look) in looks {
        match look {
            Ok(()) => {
                let message = match name {
                    names::DATABASES_REACHABLE => "CloudNativePG and its backup plugin are installed".to_owned(),
                    _ => format!("the place for {what} answers and knows Steading"),
                };
                round.parts.push(Part::good(name, names::AVAILABLE, message));
            }
            Err(fault) => context.look_failed::<TenantClasses>(class, round, name, observed, &fault),
        }
    }
}

async fn keys(context: &Context, class: &TenantClass) -> Result<(), Fault> {
    let nobodys = KeySpec {
        installation: connections::installation(&context.installation)?,
        tenant: providers::Identity::new(NOBODY)?,
        rotation_period: SHORTEST_ROTATION_PERIOD,
        rotate: None,
    };
    let seen = context.connections.keys(class)?.observe(&nobodys).await;
    connections::count(&context.engine.metrics, "keys", "observe", &seen);
    seen.map(|_| ()).map_err(|fault| spreading(context.connections.failed(class, fault)))
}

async fn buckets(context: &Context, class: &TenantClass) -> Result<(), Fault> {
    let nobodys = bucket_spec(context, class, &NOBODY.parse()?, &NOBODY.parse()?, Purpose::Data)?;
    let seen = context.connections.buckets(class).await?.observe(&nobodys).await;
    connections::count(&context.engine.metrics, "buckets", "observe", &seen);
    seen.map(|_| ()).map_err(|fault| spreading(context.connections.failed(class, fault)))
}

async fn authorization(context: &Context, class: &TenantClass) -> Result<(), Fault> {
    let nobodys = StoreSpec {
        installation: connections::installation(&context.installation)?,
        tenant: providers::Identity::new(NOBODY)?,
        known: None,
        owners: BTreeSet::new(),
        going: false,
    };
    let seen = context.connections.stores(class).await?.observe(&nobodys).await;
    connections::count(&context.engine.metrics, "authorization", "observe", &seen);
    seen.map(|_| ()).map_err(|fault| spreading(context.connections.failed(class, fault)))
}

/// Rights that were just given take a moment to spread at most providers, as they do in the cluster: a refusal stalls only if it lasts.
fn spreading(fault: Fault) -> Fault {
    if fault.reason == names::DENIED { Fault { class: Class::Forbidden, ..fault } } else { fault }
}
