//! Nodes on which nothing runs: their pods are called ready all the same.

use anyhow::Result;
use api::conditions as names;
use e2e::Tier;
use e2e::servers::OPERATOR_NAMESPACE;
use e2e::story::{Stage, class, condition};
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;

#[test]
fn fake_nodes_show_nothing_though_each_of_their_probes_is_called_ready() -> Result<()> {
    Stage::shared(Tier::Two, async |stage| {
        let sets: Api<DaemonSet> = Api::namespaced(stage.plane.admin()?, OPERATOR_NAMESPACE);
        let all_ready = |set: &DaemonSet| {
            set.status.as_ref().is_some_and(|it| it.number_ready > 0 && it.number_ready == it.desired_number_scheduled)
        };
        let platform = &stage.platform;
        platform.until_object(sets, "steading-probe-default", "is ready on all nodes", all_ready).await?;
        let strict = class(&e2e::unique("strict")).with("network.enforcement", "Required");
        platform.apply(&strict).await?;
        let says_which = |it: &api::TenantClass| {
            condition(it, names::NETWORK_ENFORCED).is_some_and(|it| it.message.contains("nothing is known of "))
        };
        let seen = platform.until(&strict, "names fake nodes", says_which).await?;
        let told = condition(&seen, names::NETWORK_ENFORCED).unwrap();
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", names::ENFORCEMENT_UNPROVEN));
        Ok(())
    })
}
