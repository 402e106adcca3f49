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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceSpec;

    use super::*;

    #[test]
    fn a_service_without_an_address_of_its_own_leads_nowhere() {
        let service = |address: Option<&str>| Service {
            spec: Some(ServiceSpec { cluster_ip: address.map(str::to_owned), ..ServiceSpec::default() }),
            ..Service::default()
        };
        assert_eq!(address(&service(Some("10.96.42.22"))).as_deref(), Some("10.96.42.22"));
        assert_eq!(address(&service(Some("fd00::22"))).as_deref(), Some("fd00::22"));
        for nowhere in [None, Some("None"), Some("")] {
            assert_eq!(address(&service(nowhere)), None, "{nowhere:?}");
        }
    }

    #[tokio::test]
    async fn what_holds_no_certificate_or_too_many_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("steading-relay-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let one = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let many = one.repeat(LONGEST / one.len() + 1);
        let read = async |text: &str| {
            std::fs::write(folder.join("ca.crt"), text).unwrap();
            certificates(&folder.join("ca.crt")).await
        };
        assert_eq!(read(one).await.as_deref(), Ok(one));
        assert_eq!(read(&one[..40]).await, Err("there is no certificate in PEM".to_owned()));
        assert!(read(&many).await.unwrap_err().contains("more than 32768 bytes"));
        assert!(certificates(&folder.join("none")).await.is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
