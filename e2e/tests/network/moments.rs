//! Moments at which isolation could be late or gone too early: a pod's first second, policies that come to pods that run, a stack that
//! goes.

use anyhow::{Result, ensure};
use e2e::packets::{Crowd, Goal, Protocol, Spot, Surroundings, Verdict, at_first, predicted};
use e2e::story::{PATIENCE, Stage, class, tenant, workspace};
use e2e::wait::until;
use e2e::{Tier, lacks_real_nodes, show, unique};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{ListParams, PostParams};

use super::town::{labelled, open_namespace, two_new_stacks};

#[test]
fn a_fresh_pod_reaches_nobody_but_its_own_in_its_first_moment() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    Stage::shared(Tier::Three, async |stage| {
        let [acme, globex] = two_new_stacks(stage).await?;
        let client = stage.break_glass()?;
        let part = labelled(&[(api::labels::PART, "database")]);
        let there = Crowd::place(&client, Spot::everywhere("globex", &globex, &part)).await?;
        let mut goals = there.goals();
        goals.extend(
            Surroundings::of(&stage.plane).await?.goals.into_iter().filter(|goal| !goal.name.starts_with("DNS")),
        );
        let seen = at_first(&client, &Spot::everywhere("acme, fresh", &acme, &part), &goals).await?;
        let arrived: Vec<_> = seen.arrived().collect();
        ensure!(arrived.is_empty(), "{} of {} packets arrived: {arrived:?}", arrived.len(), seen.tries());
        ensure!(seen.tries() >= 80, "only {} packets were sent", seen.tries());
        Ok(())
    })
}

#[test]
fn pods_that_run_in_the_open_are_shut_off_once_the_policies_of_a_stack_come() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    Stage::shared(Tier::Three, async |stage| {
        let [acme, _] = two_new_stacks(stage).await?;
        let admin = stage.plane.admin()?;
        let (here, there) = (open_namespace(&admin, "here").await?, open_namespace(&admin, "there").await?);
        let part = labelled(&[(api::labels::PART, "database")]);
        let spots = [Spot::everywhere("here", &here, &part), Spot::everywhere("there", &there, &part)].concat();
        let crowd = Crowd::place(&admin, spots).await?;
        let surroundings = Surroundings::of(&stage.plane).await?;
        let mut goals = crowd.goals();
        goals.extend(surroundings.goals);
        let others = [surroundings.dns];
        let open = predicted(&admin, &crowd, &goals, &others).await?;
        crowd.until_as_predicted(&goals, &open).await?;

        let theirs = Api::<NetworkPolicy>::namespaced(admin.clone(), &acme).list(&ListParams::default()).await?;
        for mut policy in theirs {
            policy.metadata = kube::core::ObjectMeta { name: policy.metadata.name, ..Default::default() };
            Api::namespaced(admin.clone(), &here).create(&PostParams::default(), &policy).await?;
        }
        let shut = predicted(&admin, &crowd, &goals, &others).await?;
        ensure!(!open.leaks(&shut).is_empty(), "the policies forbid nothing");
        until("the policies are enforced", PATIENCE, async || Ok(crowd.try_all(&goals).await?.leaks(&shut).is_empty()))
            .await?;
        crowd.until_as_predicted(&goals, &shut).await?;
        show(&format!("network: before the policies\n{open}\nafter them\n{shut}"));
        Ok(())
    })
}

/// Its pods do not go when they are asked to, and try and are tried until they are killed.
#[test]
fn a_stack_stays_shut_off_to_its_last_packet_while_it_is_deleted() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    Stage::shared(Tier::Three, async |stage| {
        let class = stage.platform.applied(class(&unique("onprem"))).await?;
        let tenant = stage.platform.applied(tenant(&unique("acme")).of_class(&class).deleting_data()).await?;
        let finance = workspace("finance").of_tenant(&tenant);
        let seen_workspace = stage.platform.apply(&finance).await?;
        stage.platform.until_ready(&finance).await?;
        let stack = stage.platform.stack_of(&finance).await?;
        let client = stage.break_glass()?;
        let part = labelled(&[(api::labels::PART, "database")]);
        let mut going = Spot::everywhere("going", &stack, &part);
        for spot in &mut going {
            spot.grace = 15;
        }
        let going = Crowd::place(&client, going).await?;
        let nobody = open_namespace(&stage.plane.admin()?, "nobody").await?;
        let staying = Crowd::place(&client, Spot::everywhere("staying", &nobody, &labelled(&[]))).await?;
        // Nothing else than the policies may hold them back: each reaches its own before.
        for crowd in [&going, &staying] {
            let own = predicted(&client, crowd, &crowd.goals(), &[]).await?;
            crowd.until_as_predicted(&crowd.goals(), &own).await?;
        }
        let (inward, outward) = (tcp_only(going.goals()), tcp_only(staying.goals()));

        stage.platform.delete(&finance).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &stack);
        let (mut rounds, mut tried_in, mut tried_out) = (0, 0, 0);
        while pods.list(&ListParams::default()).await?.iter().any(is_alive) {
            let inward = staying.try_all(&inward).await?;
            tried_in += inward.tries();
            ensure!(inward.arrived().next().is_none(), "into a stack that goes:\n{inward}");
            // They end while they are asked.
            for member in going.members() {
                if let Ok(verdicts) = going.try_from(member, &outward).await {
                    tried_out += verdicts.len();
                    let open = verdicts.contains(&Verdict::Open);
                    ensure!(!open, "{} reaches others while its stack goes: {verdicts:?}", member.spot.name());
                }
            }
            rounds += 1;
        }
        show(&format!(
            "network: {tried_in} packets into a stack with four stubborn pods that went, {tried_out} out of it, none arrived"
        ));
        ensure!(rounds >= 2, "the stack went too fast to be looked at");
        ensure!(tried_out >= outward.len(), "hardly anything was tried from the stack: {tried_out} packets");
        stage.platform.until_gone(&finance, &seen_workspace).await
    })
}

fn is_alive(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn tcp_only(goals: Vec<Goal>) -> Vec<Goal> {
    goals.into_iter().filter(|goal| goal.protocol == Protocol::Tcp).collect()
}
