//! Every pair, by packets, laid beside what the policies say.

use anyhow::Result;
use e2e::packets::predicted;
use e2e::story::Stage;
use e2e::{Tier, lacks_real_nodes, show};

use super::town::{Town, two_new_stacks};

#[test]
fn who_reaches_whom_is_what_the_policies_say_under_both_kernels_and_across_nodes() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    Stage::shared(Tier::Three, async |stage| {
        let town = Town::build(&stage.plane, &stage.break_glass()?, two_new_stacks(stage).await?).await?;
        let others = std::slice::from_ref(&town.surroundings.dns);
        let wanted = predicted(&stage.plane.admin()?, &town.crowd, &town.goals, others).await?;
        let seen = town.crowd.until_as_predicted(&town.goals, &wanted).await?;
        show(&format!("network: {} packets\n{seen}", seen.tries()));
        Ok(())
    })
}
