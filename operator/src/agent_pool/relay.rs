//! Where desktops dial out to. In: the Service of the relay, a file of certificates. Out: what desktops are told, or what is missing.

use std::path::Path;

use api::{agent_set::AgentRelay, conditions as names};
use k8s_openapi::api::core::v1::Service;
use kube::runtime::reflector::ObjectRef;

use super::WOKEN_ANYWAY;
use crate::{
    context::Context,
    engine::{conditions::Part, fault::Fault},
};

/// No bundle of certificates is longer; it becomes an annotation of each desktop.
const LONGEST: usize = 32 * 1024;

/// What desktops are told, and what there is to say of it.
pub async fn relay(context: &Context) -> (Part, Option<AgentRelay>) {
    match found(context).await {
        Ok(relay) => {
            let message = format!("desktops dial out to {} at {}", relay.name, relay.address);
            (Part::good(names::RELAY_FOUND, names::AVAILABLE, message), Some(relay))
        }
        Err(fault) => (Part::faulty(names::RELAY_FOUND, fault), None),
    }
}

async fn found(context: &Context) -> Result<AgentRelay, Fault> {
    let Some(relay) = &context.relay else {
        let message = "Steading was installed without a relay, so nobody could drive a desktop: set relay.enabled in the values of the chart";
        return Err(Fault::stalled(names::RELAY_NOT_CONFIGURED, message));
    };
    let (namespace, name) = (&context.account.0, &relay.service);
    let service = context.services.get(&ObjectRef::new(name).within(namespace));
    let address = service.as_deref().and_then(address).ok_or_else(|| {
        missing(format!("Service {namespace}/{name} of the relay is not there, or has no address of its own: install the chart with relay.enabled"))
    })?;
    let authority = certificates(&relay.authority).await.map_err(|why| {
        missing(format!("the certificates by which desktops know the relay cannot be read ({why}): make the Secret that relay.certificate names in {namespace}, with ca.crt"))
    })?;
    Ok(AgentRelay { name: format!("{name}.{namespace}.svc"), address, authority })
}

fn missing(message: String) -> Fault {
    Fault::waiting(WOKEN_ANYWAY, names::RELAY_MISSING, message)
}

/// The one address that stands for all servers of the relay. A headless Service has none.
fn address(service: &Service) -> Option<String> {
    let address = service.spec.as_ref()?.cluster_ip.clone()?;
    address.parse::<std::net::IpAddr>().is_ok().then_some(address)
}

async fn certificates(file: &Path) -> Result<String, String> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| error.kind().to_string())?;
    let is_whole = text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----");
    match text.len() {
        0..=LONGEST if is_whole => Ok(text),
        0..=LONGEST => Err("there is no certificate in PEM".to_owned()),
        _ => Err(format!("there are more than {LONGEST} bytes")),
    }
}
