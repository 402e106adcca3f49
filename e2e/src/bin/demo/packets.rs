//! What passes between two customers. In: a stack of each. Out: every pair of pods tried by packets, under runc and gVisor, on one node
//! and across two, as a table that is compared with what the policies say.

use anyhow::Result;
use api::labels::PART;
use e2e::Tier;
use e2e::packets::{Crowd, Labels, Runtime, Spot, Surroundings, predicted};
use e2e::servers::OPERATOR_NAMESPACE;

use crate::objects::Stacks;
use crate::scene::{BREAK_GLASS, Scene};
use crate::show::Show;

/// Shows who reaches whom, if there are nodes on which pods run.
pub(crate) async fn verdicts(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("packets", "Packets between two customers");
    if scene.plane.tier() != Tier::Three {
        show.say("Not shown: this is T2, whose nodes are fake. As root on Linux, `make demo` has real ones.");
        return Ok(());
    }
    show.say("What the probe of a node says, which tries all the time what policies forbid:");
    let probe = ["exec", "-n", OPERATOR_NAMESPACE, "daemonset/steading-probe-gvisor", "--", "/probe", "verdict"];
    scene.kubectl.shown(show, &probe).await?;
    // Nobody else may make pods in stacks.
    let client = scene.plane.client_for("demo", &["system:masters", BREAK_GLASS])?;
    let part = Labels::from([(PART.to_owned(), "demo".to_owned())]);
    let mut spots = Spot::everywhere("acme", &stacks.finance.namespace, &part);
    spots.extend(Spot::everywhere("globex", &stacks.sales.namespace, &part));
    // It calls itself what it is not, and gains nothing by it.
    spots.push(Spot::new("no customer", "default", &part, Runtime::Runc, 1));
    let crowd = show.during("9 pods on two nodes, under runc and gVisor", Crowd::place(&client, spots)).await?;
    let surroundings = Surroundings::of(&scene.plane).await?;
    let mut goals = crowd.goals();
    goals.extend(surroundings.goals);
    let wanted = predicted(&scene.plane.admin()?, &crowd, &goals, &[surroundings.dns]).await?;
    let what = format!("each tries {} ports of the others and of what is around them", goals.len());
    let seen = show.during(&what, crowd.until_as_predicted(&goals, &wanted)).await?;
    for line in seen.to_string().lines() {
        show.verbatim(line);
    }
    let between = |from: &str, to: &str| {
        let of = |name: &str, who: &str| name.starts_with(&format!("{who} "));
        seen.arrived().filter(|(one, other)| of(one, from) && of(other, to)).count()
    };
    let crossed = between("acme", "globex") + between("globex", "acme");
    show.check(&format!("of {} packets none crossed from a customer to the other", seen.tries()), crossed == 0);
    let within = between("acme", "acme") > 0 && between("globex", "globex") > 0;
    show.check("within a stack, across nodes and kernels, they arrive", within);
    show.check(
        "who has neither reaches neither",
        between("no customer", "acme") + between("no customer", "globex") == 0,
    );
    show.check("what arrived is what the policies say, packet by packet", seen == wanted);
    show.say("This was T3: real nodes, real pods, real packets.");
    Ok(())
}
