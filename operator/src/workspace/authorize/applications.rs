//! Which consumers may call the server of authorization for the tenant's store.
//!
//! In: the Workspace's consumers, and what their namespaces consent to. Out: their applications in the server's access control, by this
//! Workspace; and none of them once it goes.

use api::{TenantClass, Workspace, conditions as names, consumer::AuthorizationUse, workspace::ApplicationStatus};
use desired::consumer::Consumer;
use kube::ResourceExt;
use providers::{
    ApplicationsSpec, MembershipSpec,
    authorization::{Application, Reach},
    external,
};

use super::super::WOKEN_ANYWAY;
use crate::{connections, consents::Answer, context::Context, engine::fault::Fault};

/// Those who are to come to the store. A name that admission should have refused is nobody's; of the others the part `ConsumersReady` tells.
pub fn wanted(context: &Context, workspace: &Workspace, class: &TenantClass) -> Result<Vec<ApplicationStatus>, Fault> {
    let names = (workspace.namespace().unwrap_or_default().parse(), workspace.name_any().parse());
    let (Ok(tenant), Ok(name)) = names else { return Ok(Vec::new()) };
    let asking = workspace.spec.consumers.iter().filter_map(|asked| Some((asked, asked.authorization?)));
    let mut wanted = Vec::new();
    for (asked, authorization) in asking {
        if !knows_callers(class) {
            let message = format!(
                "spec.consumers lets {}/{} into the store of authorization, and the TenantClass names no server that knows its callers: take `authorization` off the entry, or use a class with authorization.openfga.accessControl",
                asked.namespace, asked.service_account
            );
            return Err(Fault::stalled(names::INVALID_SPEC, message));
        }
        let Ok(consumer) = Consumer::parse(asked) else { continue };
        if consumer.namespace.as_str() == context.account.0 || consumer.namespace.as_str().starts_with("kube-") {
            continue;
        }
        match context.consents.of(&consumer.namespace, &tenant, &name) {
            Answer::Yes { .. } => wanted.push(ApplicationStatus {
                namespace: consumer.namespace.to_string(),
                service_account: consumer.service_account.to_string(),
                authorization,
            }),
            Answer::No => {}
            Answer::Unknown => {
                let message =
                    "namespaces were not listed yet, so nobody knows which applications may come to the store";
                return Err(Fault::waiting(WOKEN_ANYWAY, names::PROGRESSING, message));
            }
        }
    }
    wanted.sort();
    Ok(wanted)
}

/// Whether the server of the class lets in whom it knows, and nobody else.
pub fn knows_callers(class: &TenantClass) -> bool {
    let openfga = class.spec.authorization.as_ref().and_then(|place| place.openfga.as_ref());
    openfga.is_some_and(|openfga| openfga.access_control.is_some())
}

/// Lets these in, and nobody else by this Workspace.
pub async fn ensure(
    context: &Context,
    class: &TenantClass,
    members: &MembershipSpec,
    wanted: &[ApplicationStatus],
) -> Result<(), Fault> {
    if !knows_callers(class) {
        return Ok(());
    }
    let reach = |asked: AuthorizationUse| match asked {
        AuthorizationUse::Read => Reach::Read,
        AuthorizationUse::ReadWrite => Reach::ReadWrite,
    };
    let applications = wanted.iter().map(|it| {
        let application = Application::new(&it.namespace, &it.service_account)?;
        Ok((application, reach(it.authorization)))
    });
    let spec = ApplicationsSpec {
        store: members.store.clone(),
        workspace: members.workspace.clone(),
        applications: applications.collect::<Result<_, providers::Fault>>()?,
    };
    let server = context.connections.applications(class).await?;
    let done = if spec.applications.is_empty() {
        external::ensure_gone(&server, &spec).await
    } else {
        external::ensure(&server, &spec).await.map(drop)
    };
    connections::count(&context.engine.metrics, "authorization", "ensure", &done);
    done.map_err(|fault| context.connections.failed(class, fault))
}
