//! What fails outside shows in the right condition, concerns nobody else, and heals.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Tenant, TenantClass, Workspace, conditions as names};
use e2e::story::{Manifest, Stage, class, condition, tenant, workspace};
use e2e::{Tier, unique};
use providers::memory::{Injection, Operation};
use serde_json::json;
use uuid::Uuid;

use super::{assert_tells, message, status};

/// A Tenant whose identity, and with it the names of what it has outside, is known beforehand.
struct Cast {
    tenant: Manifest<Tenant>,
    tenant_identity: String,
    workspace: Manifest<Workspace>,
    workspace_identity: String,
}

impl Cast {
    fn of_class(class: &Manifest<TenantClass>) -> Self {
        let [tenant_identity, workspace_identity] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let tenant = tenant(&unique("acme")).of_class(class).with("identity", tenant_identity.as_str());
        let workspace = workspace("finance").of_tenant(&tenant).with("identity", workspace_identity.as_str());
        Self { tenant, tenant_identity, workspace, workspace_identity }
    }

    async fn apply(&self, stage: &Stage) -> Result<()> {
        stage.platform.apply(&self.tenant).await?;
        stage.platform.apply(&self.workspace).await?;
        Ok(())
    }

    async fn until_ready(&self, stage: &Stage) -> Result<()> {
        stage.platform.until_ready(&self.tenant).await?;
        stage.platform.until_ready(&self.workspace).await?;
        Ok(())
    }

    fn key(&self, stage: &Stage) -> Result<String> {
        let installation = providers::Installation::new(stage.installation.name())?;
        Ok(providers::owner::transit_key(&installation, &providers::Identity::new(&self.tenant_identity)?))
    }

    fn bucket(&self, stage: &Stage) -> Result<String> {
        let installation = providers::Installation::new(stage.installation.name())?;
        Ok(providers::owner::bucket(&installation, &providers::Identity::new(&self.workspace_identity)?))
    }
}

/// How a thing outside fails, and what is to be read then.
struct Case {
    fault: Injection,
    reason: &'static str,
    stalled: bool,
}

fn cases(operation: Operation) -> [Case; 3] {
    let fault = || Injection::on(operation);
    [
        Case { fault: fault().denied(), reason: names::DENIED, stalled: true },
        Case { fault: fault(), reason: names::PROVIDER_UNAVAILABLE, stalled: false },
        Case { fault: fault().throttled(Duration::from_secs(1)), reason: names::THROTTLED, stalled: false },
    ]
}

#[test]
fn a_failing_key_shows_in_its_tenant_alone_and_heals() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
        let tell = async |case: Case| {
            let (stricken, bystander) = (Cast::of_class(&onprem), Cast::of_class(&onprem));
            stage.world.inject(case.fault.identity(&stricken.tenant_identity));
            stricken.apply(stage).await?;
            let seen = stage.platform.until_condition(&stricken.tenant, names::KEY_READY, "False", case.reason).await?;
            let ready = condition(&seen, names::READY).context("no Ready")?;
            assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", case.reason));
            let abnormal = if case.stalled { ("absent", "True") } else { ("True", "absent") };
            assert_eq!((status(&seen, names::RECONCILING), status(&seen, names::STALLED)), abnormal, "{}", case.reason);
            assert_tells(&message(&seen), &[&stricken.key(stage)?]);

            bystander.apply(stage).await?;
            bystander.until_ready(stage).await?;

            stage.world.heal_only(&stricken.tenant_identity);
            if case.stalled {
                // It would come back by itself within six minutes; any change of its spec is sooner.
                let owners = json!([{ "kind": "User", "name": "olga" }]);
                stage.platform.apply(&stricken.tenant.clone().with("owners", owners)).await?;
            }
            stricken.until_ready(stage).await?;
            anyhow::Ok(())
        };
        let [denied, unavailable, throttled] = cases(Operation::CreateKey);
        tokio::try_join!(tell(denied), tell(unavailable), tell(throttled))?;
        Ok(())
    })
}

#[test]
fn a_failing_bucket_shows_in_its_workspace_alone_and_heals() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
        let tell = async |case: Case| {
            let stricken = Cast::of_class(&onprem);
            let sister = workspace("sister").of_tenant(&stricken.tenant);
            stage.world.inject(case.fault.identity(&stricken.workspace_identity));
            stricken.apply(stage).await?;
            let seen =
                stage.platform.until_condition(&stricken.workspace, names::BUCKET_READY, "False", case.reason).await?;
            assert_eq!((status(&seen, names::READY), status(&seen, names::ISOLATED)), ("False", "True"));
            let abnormal = if case.stalled { ("absent", "True") } else { ("True", "absent") };
            assert_eq!((status(&seen, names::RECONCILING), status(&seen, names::STALLED)), abnormal, "{}", case.reason);
            assert_tells(&message(&seen), &[&stricken.bucket(stage)?]);

            stage.platform.apply(&sister).await?;
            stage.platform.until_ready(&sister).await?;
            stage.platform.until_ready(&stricken.tenant).await?;

            stage.world.heal_only(&stricken.workspace_identity);
            if case.stalled {
                let members = json!([{ "kind": "User", "name": "vera", "role": "viewer" }]);
                stage.platform.apply(&stricken.workspace.clone().with("members", members)).await?;
            }
            stricken.until_ready(stage).await?;
            anyhow::Ok(())
        };
        let [denied, unavailable, throttled] = cases(Operation::CreateBucket);
        tokio::try_join!(tell(denied), tell(unavailable), tell(throttled))?;
        Ok(())
    })
}

/// More looks than a test can cause.
const LONG: u32 = 1_000_000;

#[test]
fn what_was_made_and_does_not_show_yet_is_waited_for_and_not_made_twice() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
        let cast = Cast::of_class(&onprem);
        let (key, bucket) = (cast.key(stage)?, cast.bucket(stage)?);
        // As they stand right after an earlier life of the operator made them. They show once it was seen that they are waited for.
        stage.world.tamper_key(&key, |key| key.hidden = LONG);
        stage.world.tamper_bucket(&bucket, |bucket| bucket.hidden = LONG);
        cast.apply(stage).await?;
        let waiting = stage.platform.until_condition(&cast.tenant, names::KEY_READY, "False", names::CREATING).await?;
        assert_tells(&message(&waiting), &[&key]);
        assert_eq!(status(&waiting, names::RECONCILING), "True");
        stage.world.tamper_key(&key, |key| key.hidden = 0);
        let waiting =
            stage.platform.until_condition(&cast.workspace, names::BUCKET_READY, "False", names::CREATING).await?;
        assert_tells(&message(&waiting), &[&bucket]);
        stage.world.tamper_bucket(&bucket, |bucket| bucket.hidden = 0);
        cast.until_ready(stage).await?;
        assert_eq!(stage.platform.bucket_of(&cast.workspace).await?, bucket);
        assert_eq!(stage.world.keys()[&key].latest_version, 1);
        Ok(())
    })
}

#[test]
fn an_answer_that_is_lost_after_the_thing_was_made_leaves_one_thing() -> Result<()> {
    Stage::shared(Tier::One, async |stage| {
        let onprem = stage.platform.applied(class(&unique("onprem"))).await?;
        let cast = Cast::of_class(&onprem);
        for (operation, identity) in [
            (Operation::CreateKey, &cast.tenant_identity),
            (Operation::CreateBucket, &cast.workspace_identity),
            (Operation::UpdateBucket, &cast.workspace_identity),
        ] {
            stage.world.inject(Injection::on(operation).identity(identity).nth(1).after_commit());
        }
        cast.apply(stage).await?;
        cast.until_ready(stage).await?;
        assert_eq!(stage.platform.key_of(&cast.tenant).await?, cast.key(stage)?);
        let made = |operation, object: &str| {
            stage.world.log().iter().filter(|(done, on)| *done == operation && on == object).count()
        };
        assert_eq!(made(Operation::CreateKey, &cast.key(stage)?), 1);
        assert_eq!(made(Operation::CreateBucket, &cast.bucket(stage)?), 1);
        Ok(())
    })
}
