//! That somebody does not get in, and for which reason. In: a way in, and what may be said. Out: that one of it was said.

use anyhow::{Result, bail, ensure};

use super::database::PATIENCE;
use super::visitor::{Visitor, Way};
use crate::wait::until;

/// What is said where packets do not arrive: it depends on whether the network drops or rejects them.
pub const UNANSWERED: [&str; 3] = ["timeout expired", "Connection refused", "No route to host"];

/// What PostgreSQL says to a certificate with another name than that of the user.
pub const ANOTHER_NAME: [&str; 1] = ["certificate authentication failed for user"];

/// What is said to a certificate of another authority than that of the database.
pub const ANOTHER_AUTHORITY: [&str; 1] = ["unknown ca"];

/// What PostgreSQL says to a role that is locked.
pub const LOCKED: &str = "is not permitted to log in";

/// What may come before the answer on a busy machine or where an instance was just lost, and says nothing.
const LATE: [&str; 3] = ["could not translate host name", "timeout expired", "Network is unreachable"];

/// Whether what was said says nothing of who gets in.
#[must_use]
pub fn is_late(refused: &str) -> bool {
    LATE.iter().any(|reason| refused.contains(reason))
}

/// Waits until it is refused for one of these reasons. Being let in, and any other reason that is not just being late, fails at once.
pub async fn is_refused(what: &str, visitor: &Visitor, way: &Way, statement: &str, reasons: &[&str]) -> Result<()> {
    until(&format!("this is refused for a reason: {what}"), PATIENCE, async || {
        let refused = match visitor.sql(way, statement).await {
            Ok(answer) => bail!("{what}: let in, and told {answer:?}"),
            Err(error) => format!("{error:#}"),
        };
        let is_one_of = |known: &[&str]| known.iter().any(|reason| refused.contains(reason));
        ensure!(is_one_of(reasons) || is_late(&refused), "{what}: refused for another reason: {refused}");
        Ok(is_one_of(reasons))
    })
    .await
}
