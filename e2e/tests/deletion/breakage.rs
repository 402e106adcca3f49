//! A stack that somebody deletes under a living Workspace.

use anyhow::Result;
use api::conditions as names;
use e2e::Tier;
use e2e::story::Stage;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};

use super::{Customer, Hold, OBJECTS, assert_tells, message, namespaces};

#[test]
fn a_stack_that_an_administrator_deletes_is_made_anew_when_it_is_gone() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let platform = &stage.platform;
        let customer = Customer::of_policy(stage, "Delete").await?;
        let Customer { finance, stack, bucket, .. } = &customer;
        let before = namespaces(stage).get(stack).await?;
        let hold = Hold::of(stage, stack).await?;
        let mark = stage.plane.mark().await?;
        Api::<Namespace>::all(stage.break_glass()?).delete(stack, &DeleteParams::default()).await?;
        let waiting = platform.until_reason(finance, names::NAMESPACE_TERMINATING).await?;
        assert_tells(&message(&waiting), &[stack, "deleted by somebody", "lost"]);

        hold.release().await?;
        let anew = |finance: &api::Workspace| {
            let shown = finance.status.as_ref().and_then(|status| status.namespace.as_ref());
            shown.is_some_and(|namespace| Some(&namespace.uid) != before.uid().as_ref())
        };
        platform.until(finance, "has another namespace", anew).await?;
        platform.until_ready(finance).await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(platform.client.clone(), stack);
        assert_eq!(policies.list_metadata(&kube::api::ListParams::default()).await?.items.len(), 4);
        assert_eq!(stage.world.buckets()[bucket].objects, OBJECTS, "the data outside is as it was");

        // One attempt for each time there was something new to see, not one after the other.
        let calls = stage.plane.calls_since(mark).await?.by_service_account("steading-system", "steading");
        let into = calls
            .writes()
            .filter(|call| call.object_ref.as_ref().is_some_and(|at| at.namespace == *stack) && call.code() == 403);
        assert!(into.len() <= 5, "{into}");
        Ok(())
    })
}
