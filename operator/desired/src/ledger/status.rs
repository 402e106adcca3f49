//! The ledger as a Tenant's status holds it.

use api::{
    Amounts, InvalidAmount, InvalidName, Workspace,
    amounts::ResourceText,
    tenant::{LedgerStatus, LedgerUse, Reservation, ResourceTextStatus, WORKSPACES_MAX},
};

use super::{Claim, Entry, Ledger, Reason, Refusal};

/// A ledger in a status that was not written by this code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "status.quota.reservations[uid={uid}]: {problem}; remove status.quota, and it is made anew from what is in force"
)]
pub struct InvalidEntry {
    /// UID in the entry, shortened to 36 characters.
    pub uid: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A Workspace whose claim cannot be read. Settle nothing as long as there is one: left out, what it holds would be given away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Workspace {workspace:?}: {field}: {problem}")]
pub struct InvalidClaim {
    /// Name of the Workspace, shortened to 80 characters.
    pub workspace: String,
    /// The field that cannot be read.
    pub field: &'static str,
    /// What is wrong with it, and what to write instead.
    pub problem: String,
}

impl Claim {
    /// The claim of a Workspace as it was read from the server.
    pub fn of(workspace: &Workspace) -> Result<Self, InvalidClaim> {
        let metadata = &workspace.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let invalid = |field, problem| InvalidClaim { workspace: name.chars().take(80).collect(), field, problem };
        let missing = |field| invalid(field, "is missing: read the object from the server".to_owned());
        let status = workspace.status.as_ref();
        let quota = status.and_then(|status| status.quota.as_ref());
        Ok(Self {
            workspace: name.parse().map_err(|error: InvalidName| invalid("metadata.name", error.to_string()))?,
            uid: metadata.uid.clone().ok_or_else(|| missing("metadata.uid"))?,
            created: metadata
                .creation_timestamp
                .as_ref()
                .ok_or_else(|| missing("metadata.creationTimestamp"))?
                .0
                .to_string(),
            wanted: Amounts::parse(&workspace.spec.quota.clone().unwrap_or_default())
                .map_err(|error| invalid("spec.quota", error.to_string()))?,
            in_force: quota.map(parse).transpose().map_err(|error| invalid("status.quota", error.to_string()))?,
            revision: status.and_then(|status| status.quota_revision),
            deleting: metadata.deletion_timestamp.is_some(),
        })
    }
}

/// What the ledger says to one Workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet.
    Pending,
    /// Nothing was granted: there is to be no stack yet.
    Refused(Refusal),
    /// The stack's ResourceQuota is to be set to `amounts`, and `revision` reported once it is.
    Granted {
        /// What the stack may use; a resource that is `None` is not limited.
        amounts: Amounts,
        /// Number of the grant.
        revision: i64,
        /// Why this is less than what the Workspace asks for, if it is.
        refused: Option<Refusal>,
    },
}

impl Standing {
    /// The standing of the Workspace of this UID.
    pub fn of(ledger: &LedgerStatus, uid: &str) -> Result<Self, InvalidEntry> {
        let Some(reservation) = ledger.reservations.iter().find(|reservation| reservation.uid == uid) else {
            let full = usize::try_from(WORKSPACES_MAX).is_ok_and(|most| ledger.reservations.len() >= most);
            return Ok(if full { Self::Refused(Refusal::no_more_workspaces(WORKSPACES_MAX)) } else { Self::Pending });
        };
        let Entry { granted, revision, refused, .. } = entry(reservation)?;
        Ok(match (granted, refused) {
            (Some(amounts), refused) => Self::Granted { amounts, revision, refused },
            (None, Some(refusal)) => Self::Refused(refusal),
            (None, None) => Self::Pending,
        })
    }
}

/// The entries of a ledger in a status.
pub fn read(ledger: &LedgerStatus) -> Result<Vec<Entry>, InvalidEntry> {
    ledger.reservations.iter().map(entry).collect()
}

impl Ledger {
    /// The ledger as the status holds it. Equal ledgers have equal text.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        let ResourceTextStatus { cpu, memory, storage, agents } = to_status(self.used);
        LedgerStatus {
            used: LedgerUse { workspaces: self.workspaces, cpu, memory, storage, agents },
            reservations: self.entries.iter().map(reservation).collect(),
        }
    }
}

fn reservation(entry: &Entry) -> Reservation {
    Reservation {
        workspace: entry.workspace.to_string(),
        uid: entry.uid.clone(),
        revision: entry.revision,
        granted: entry.granted.map(to_status),
        held: to_status(entry.held),
        reason: entry.refused.as_ref().map(|refusal| refusal.reason.as_str().to_owned()),
        refused: entry.refused.as_ref().map(|refusal| refusal.message.clone()),
    }
}

fn entry(reservation: &Reservation) -> Result<Entry, InvalidEntry> {
    let invalid = |problem: String| InvalidEntry { uid: reservation.uid.chars().take(36).collect(), problem };
    let amounts = |text: &ResourceTextStatus| parse(text).map_err(|error| invalid(error.to_string()));
    Ok(Entry {
        workspace: reservation.workspace.parse().map_err(|error: InvalidName| invalid(error.to_string()))?,
        uid: reservation.uid.clone(),
        revision: reservation.revision,
        granted: reservation.granted.as_ref().map(amounts).transpose()?,
        held: amounts(&reservation.held)?,
        refused: match (&reservation.reason, &reservation.refused) {
            (None, None) => None,
            (reason, message) => Some(Refusal {
                reason: reason
                    .as_deref()
                    .and_then(Reason::named)
                    .ok_or_else(|| invalid("reason is none that a ledger gives".to_owned()))?,
                message: message.clone().unwrap_or_default(),
            }),
        },
    })
}

/// Amounts as a status holds them.
#[must_use]
pub fn to_status(amounts: Amounts) -> ResourceTextStatus {
    let ResourceText { cpu, memory, storage, agents } = amounts.to_text();
    ResourceTextStatus { cpu, memory, storage, agents }
}

/// The amounts of a status: of a reservation, or what a Workspace says is in force.
fn parse(text: &ResourceTextStatus) -> Result<Amounts, InvalidAmount> {
    let ResourceTextStatus { cpu, memory, storage, agents } = text.clone();
    Amounts::parse(&ResourceText { cpu, memory, storage, agents })
}

#[cfg(test)]
mod tests;
