//! `spec.paused` stops all changes, and says so.

use anyhow::{Context as _, Result};
use api::conditions as names;
use e2e::story::{Stage, Told as _, class, tenant, workspace};
use e2e::{Tier, unique};
use k8s_openapi::api::core::v1::{LimitRange, Namespace};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{assert_tells, message, status};

const OPERATOR: (&str, &str) = ("steading-system", "steading");

#[test]
fn a_paused_workspace_is_left_as_it_is_until_it_is_resumed() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        platform.until_ready(&finance).await?;
        let stack = platform.stack_of(&finance).await?;
        let bindings: Api<RoleBinding> = Api::namespaced(platform.client.clone(), &stack);
        let viewers = bindings.get("steading-viewers").await?;

        let mark = stage.plane.mark().await?;
        let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
        platform.apply(&finance.clone().with("paused", true).with("members", members.clone())).await?;
        // What somebody breaks meanwhile stays broken as well.
        let limits: Api<LimitRange> = Api::namespaced(stage.break_glass()?, &stack);
        limits.delete("steading", &DeleteParams::default()).await?;
        let paused = platform.until_reason(&finance, names::PAUSED).await?;
        assert_eq!(
            (status(&paused, "Ready"), status(&paused, "Reconciling"), status(&paused, "Stalled")),
            ("Unknown", "absent", "absent")
        );
        assert_tells(&message(&paused), &["spec.paused"]);

        // Another change, so that a round surely ran after the limits were deleted.
        platform.apply(&finance.clone().with("paused", true)).await?;
        let paused_again = platform.until_reason(&finance, names::PAUSED).await?;
        assert!(paused_again.observed_generation() > paused.observed_generation());
        let calls = stage.plane.calls_since(mark).await?.by_service_account(OPERATOR.0, OPERATOR.1).writes();
        let of_ours = calls.filter(|call| {
            call.object_ref
                .as_ref()
                .is_some_and(|at| [acme.name(), &stack].contains(&at.namespace.as_str()) || at.name == stack)
        });
        let said = of_ours.filter(|call| ["workspaces/status", "events"].contains(&call.target().as_str()));
        assert_eq!(of_ours.len(), said.len(), "{of_ours}");
        assert_eq!(bindings.get("steading-viewers").await?.resource_version(), viewers.resource_version());

        platform.apply(&finance.clone().with("members", members)).await?;
        platform.until_ready(&finance).await?;
        limits.get("steading").await.context("the limits were not put back")?;
        let viewers = bindings.get("steading-viewers").await?;
        assert_eq!(viewers.subjects.map(|subjects| subjects.len()), Some(1));
        Ok(())
    })
}

#[test]
fn a_paused_tenant_stops_its_key_and_its_workspaces() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        platform.until_ready(&finance).await?;
        let key = platform.key_of(&acme).await?;

        let still = acme.clone().with("paused", true).annotated(api::labels::ROTATE_REQUESTED_AT, "while-paused");
        platform.apply(&still).await?;
        let paused = platform.until_reason(&acme, names::PAUSED).await?;
        assert_eq!((status(&paused, "Ready"), status(&paused, "KeyReady")), ("Unknown", "True"));
        let paused = platform.until_reason(&finance, names::PAUSED).await?;
        assert_tells(&message(&paused), &["Tenant", acme.name()]);

        // A Workspace that comes now gets nothing, in the cluster or outside.
        let sales = platform.applied(workspace("sales").of_tenant(&acme)).await?;
        platform.until_reason(&sales, names::PAUSED).await?;
        let mine = ListParams::default().labels(&format!("steading.dev/tenant={}", acme.name()));
        let stacks: Api<Namespace> = Api::all(platform.client.clone());
        assert_eq!(stacks.list_metadata(&mine).await?.items.len(), 1);
        assert_eq!(stage.world.keys()[&key].latest_version, 1, "no rotation while paused");
        let asked: Vec<_> = stage.world.log().into_iter().filter(|(_, object)| *object == key).collect();

        // A change of spec that would reach the key is seen, and nobody speaks to the provider.
        platform.apply(&still.with("encryption.rotationPeriod", "31d")).await?;
        platform.until_reason(&acme, names::PAUSED).await?;
        let asked_since: Vec<_> = stage.world.log().into_iter().filter(|(_, object)| *object == key).collect();
        assert_eq!(asked_since, asked);

        platform.apply(&acme.clone().annotated(api::labels::ROTATE_REQUESTED_AT, "while-paused")).await?;
        for workspace in [&finance, &sales] {
            platform.until_ready(workspace).await?;
        }
        let rotated = |acme: &api::Tenant| {
            acme.status.as_ref().and_then(|it| it.key.as_ref()).is_some_and(|key| key.version == 2)
        };
        platform.until(&acme, "has rotated its key", rotated).await?;
        Ok(())
    })
}
