//! Whether the servers that a class names can be used, and whether the network is as it says.
//!
//! In: a class, what probes show. Out: a part for each place, and one for the network. A look for something that nobody has: it needs
//! the server, our sign-in and the rights to look, and changes nothing.

use api::{TenantClass, conditions as names};
use providers::{
    External as _,
    keys::{KeySpec, SHORTEST_ROTATION_PERIOD},
};

use super::{Facts, TenantClasses};
use crate::{
    clock, connections,
    context::Context,
    enforcement::Before,
    engine::{
        conditions::{self, Part, State},
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
    let settled = [names::KEYS_REACHABLE, names::BUCKETS_REACHABLE]
        .iter()
        .all(|name| conditions::holding(before, name, generation).is_some());
    let rest = context.until_next_look(observed);
    if settled && !rest.is_zero() {
        round.look_again(rest);
        return;
    }
    let looks = [
        (names::KEYS_REACHABLE, "keys", keys(context, class).await),
        (names::BUCKETS_REACHABLE, "buckets", buckets(context, class).await),
    ];
    if looks.iter().all(|(_, _, look)| look.is_ok()) {
        round.facts.observed_at = Some(clock::now());
        round.look_again(context.evidence / 2);
    }
    for (name, what, look) in looks {
        let part = match look {
            Ok(()) => Part::good(name, names::AVAILABLE, format!("the place for {what} answers and knows Steading")),
            Err(fault) => {
                let counts = context.is_valid(observed);
                let state = conditions::after_failed_look(name, before, generation, counts, fault.clone());
                if matches!(state, State::Good { .. }) {
                    round.look_failed(&fault);
                }
                Part { name, state }
            }
        };
        round.parts.push(part);
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
    let nobodys = bucket_spec(context, class, &NOBODY.parse()?, &NOBODY.parse()?)?;
    let seen = context.connections.buckets(class).await?.observe(&nobodys).await;
    connections::count(&context.engine.metrics, "buckets", "observe", &seen);
    seen.map(|_| ()).map_err(|fault| spreading(context.connections.failed(class, fault)))
}

/// Rights that were just given take a moment to spread at most providers, as they do in the cluster: a refusal stalls only if it lasts.
fn spreading(fault: Fault) -> Fault {
    if fault.reason == names::DENIED { Fault { class: Class::Forbidden, ..fault } } else { fault }
}
