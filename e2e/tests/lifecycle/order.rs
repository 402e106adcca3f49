//! What is applied first does not matter.

use anyhow::Result;
use api::conditions as names;
use e2e::story::{Stage, class, tenant, workspace};
use e2e::{Tier, unique};

use super::{assert_tells, message, status};

#[test]
fn each_waits_for_what_it_names_and_becomes_ready_when_that_comes() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = class(&unique("onprem"));
        let acme = tenant(&unique("acme")).of_class(&onprem);
        let finance = workspace("finance").of_tenant(&acme);

        platform.apply(&finance).await?;
        let waiting = platform.until_reason(&finance, names::TENANT_NOT_FOUND).await?;
        assert_tells(&message(&waiting), &["Tenant", acme.name(), "apply"]);
        assert_eq!((status(&waiting, "Reconciling"), status(&waiting, "Stalled")), ("True", "absent"));

        platform.apply(&acme).await?;
        let waiting = platform.until_reason(&acme, names::CLASS_NOT_FOUND).await?;
        assert_tells(&message(&waiting), &["TenantClass", onprem.name(), "apply"]);
        assert_eq!((status(&waiting, "Reconciling"), status(&waiting, "Stalled")), ("True", "absent"));
        let waiting = platform.until_reason(&finance, names::CLASS_NOT_FOUND).await?;
        assert_tells(&message(&waiting), &["TenantClass", onprem.name(), "Tenant", acme.name()]);

        platform.apply(&onprem).await?;
        platform.until_ready(&onprem).await?;
        platform.until_ready(&acme).await?;
        let ready = platform.until_ready(&finance).await?;
        assert_eq!((status(&ready, "Reconciling"), status(&ready, "Stalled")), ("absent", "absent"));
        for part in ["Isolated", "QuotaReserved", "BucketReady"] {
            assert_eq!(status(&ready, part), "True", "{part}");
        }
        Ok(())
    })
}

#[test]
fn the_usual_order_needs_no_other_look() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let platform = &stage.platform;
        let onprem = platform.applied(class(&unique("onprem"))).await?;
        let acme = platform.applied(tenant(&unique("acme")).of_class(&onprem)).await?;
        let finance = platform.applied(workspace("finance").of_tenant(&acme)).await?;
        let sales = platform.applied(workspace("sales").of_tenant(&acme)).await?;
        for ready in [platform.until_ready(&finance).await?, platform.until_ready(&sales).await?] {
            assert_eq!(status(&ready, "Isolated"), "True");
        }
        assert_ne!(platform.stack_of(&finance).await?, platform.stack_of(&sales).await?);
        assert_ne!(platform.bucket_of(&finance).await?, platform.bucket_of(&sales).await?);
        let buckets = stage.world.buckets();
        assert!(buckets.contains_key(&platform.bucket_of(&finance).await?));
        assert!(stage.world.keys().contains_key(&platform.key_of(&acme).await?));
        Ok(())
    })
}
