//! The quota ledger of a Tenant: what each Workspace may use, and what counts against the Tenant until that is in force.
//!
//! In: the Tenant's limit, the ledger as last written, and a claim of each Workspace that exists. Out: the ledger as it should be.
//! Only the Tenant's controller writes it; a Workspace sets its ResourceQuota to exactly what it was granted, never to its own
//! wish, and then repeats the grant's number. So two facts hold at every moment, whatever is delayed or repeated:
//!
//! * what is in force in a stack is never more than what its entry holds;
//! * what all entries hold together exceeds a limit only by what was held already when the limit was lowered.
//!
//! How each is kept: growing is granted only if it fits beside all that the others hold. Shrinking takes effect in `granted` at
//! once, but `held` keeps the most that could still be in force, until the Workspace reports the number of the newest grant: a
//! Workspace that is slow to act on an older, larger grant is covered all that time. Comparing amounts instead of numbers would
//! not do, because grants of 4, 8 and again 4 look the same from outside as one grant of 4. (A second writer of the
//! ResourceQuota, such as a former leader whose last request is still under way, is outside of this; leadership bounds it.)

mod refusal;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use api::{Amounts, InvalidAmount, TenantSpec, WorkspaceName, tenant::WORKSPACES_MAX};

pub use refusal::{Reason, Refusal};
pub use status::{InvalidClaim, InvalidEntry, Standing, read, to_status};

/// What a Tenant's Workspaces may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Most Workspaces; `None` leaves it at 500, the most that the ledger can hold.
    pub workspaces: Option<i32>,
    /// Most of each resource; `None` means not limited.
    pub amounts: Amounts,
}

impl Limit {
    /// The limit that a Tenant's spec sets.
    pub fn of(tenant: &TenantSpec) -> Result<Self, InvalidAmount> {
        let Some(quota) = &tenant.quota else { return Ok(Self::default()) };
        Ok(Self { workspaces: quota.workspaces, amounts: quota.amounts()? })
    }
}

/// What a Workspace wants and what it has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub workspace: WorkspaceName,
    /// Its UID: what tells it from a namesake that came before or after.
    pub uid: String,
    /// When it was created, as the API server writes it (RFC 3339 in UTC, whole seconds: text order is time order).
    pub created: String,
    /// What its spec asks for; a resource that is `None` is not named.
    pub wanted: Amounts,
    /// What its ResourceQuota was last set to, as its status says; `None` before the first time.
    pub in_force: Option<Amounts>,
    /// Number of the grant that its ResourceQuota was last set to, as its status says.
    pub revision: Option<i64>,
    /// Whether it is being deleted: it keeps what it holds until it is gone, and asks for nothing more.
    pub deleting: bool,
}

/// What the ledger says of one Workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub workspace: WorkspaceName,
    /// Its UID.
    pub uid: String,
    /// Number of the grant: one more whenever `granted` changes.
    pub revision: i64,
    /// What its ResourceQuota is to be set to; a resource that is `None` is not limited. `None` altogether if nothing was ever
    /// granted: then the Workspace holds nothing and does not count.
    pub granted: Option<Amounts>,
    /// What counts against the Tenant: the most that can be in force.
    pub held: Amounts,
    /// Why less was granted than the Workspace asks for.
    pub refused: Option<Refusal>,
}

/// The ledger of a Tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One entry for each Workspace that was answered, by name: all that hold something, and of those that were refused as many
    /// as fit into 500.
    pub entries: Vec<Entry>,
    /// How many Workspaces hold something.
    pub workspaces: i32,
    /// Sum of what they hold; a resource that none of them names is `None`.
    pub used: Amounts,
}

/// The ledger as it should be.
///
/// Entries of Workspaces that have no claim any more are dropped. What holds something comes first and is never evicted; then the
/// others are served in the order in which they were created. A claim that does not fit is refused by itself, it does not hold up
/// smaller ones behind it. Settling what is settled changes nothing.
#[must_use]
pub fn settle(limit: &Limit, before: &[Entry], claims: &[Claim]) -> Ledger {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_by(|a, b| (&a.created, &a.uid).cmp(&(&b.created, &b.uid)));
    let mut seen = BTreeSet::new();
    claims.retain(|claim| seen.insert(&claim.uid));

    let known: BTreeMap<&str, &Entry> = before.iter().map(|entry| (entry.uid.as_str(), entry)).collect();
    let mut rows: Vec<_> =
        claims.into_iter().map(|claim| (claim, carried(known.get(claim.uid.as_str()).copied(), claim))).collect();
    rows.retain(|(claim, entry)| entry.granted.is_some() || !claim.deleting);
    rows.sort_by_key(|(_, entry)| entry.granted.is_none());

    // First all that gives something back, so that growth in the same round finds it.
    for (claim, entry) in &mut rows {
        shrink(claim, entry);
    }
    let mut book = Book::of(limit, rows.iter().map(|(_, entry)| entry));
    // The second time nothing more is granted, because nothing was given back. But refusals then say what is possible beside
    // all that was granted, as they will the next time: so that settling what is settled changes nothing.
    for _ in 0..2 {
        for (claim, entry) in rows.iter_mut().filter(|(claim, _)| !claim.deleting) {
            entry.refused = book.serve(claim, entry).err();
        }
    }
    let (workspaces, used) = (book.workspaces, book.used);
    let (holding, refused): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|(_, entry)| entry).partition(|entry| entry.granted.is_some());
    let room = usize::try_from(WORKSPACES_MAX).unwrap_or(0).saturating_sub(holding.len());
    let mut entries: Vec<_> = holding.into_iter().chain(refused.into_iter().take(room)).collect();
    entries.sort_by(|a, b| (&a.workspace, &a.uid).cmp(&(&b.workspace, &b.uid)));
    Ledger { entries, workspaces, used }
}

/// The entry as it stood, with what the Workspace has reported since: freed if it reports the newest grant.
fn carried(before: Option<&Entry>, claim: &Claim) -> Entry {
    let mut entry = before.cloned().unwrap_or_else(|| Entry {
        workspace: claim.workspace.clone(),
        uid: claim.uid.clone(),
        revision: claim.revision.unwrap_or(0),
        granted: None,
        held: Amounts::default(),
        refused: None,
    });
    // Refusals are judged anew each time.
    entry.refused = None;
    // A ledger that was lost is taken up again from what is in force.
    entry.granted = entry.granted.or(claim.in_force);
    let possible = entry.granted.unwrap_or_default().max(claim.in_force.unwrap_or_default());
    let newest_is_in_force = claim.in_force.is_some() && claim.revision == Some(entry.revision);
    entry.held = match entry.granted {
        None => Amounts::default(),
        Some(_) if newest_is_in_force => possible,
        Some(_) => entry.held.max(possible),
    };
    entry
}

/// Takes back at once what the Workspace no longer asks for. It stays held until the Workspace reports the new grant.
fn shrink(claim: &Claim, entry: &mut Entry) {
    let Some(granted) = entry.granted.filter(|_| !claim.deleting) else { return };
    let less = granted.zip(claim.wanted, |granted, wanted| match (granted, wanted) {
        (Some(granted), Some(wanted)) => Some(granted.min(wanted)),
        // To name no amount any more is to ask for all, and that is growth.
        (granted, _) => granted,
    });
    regrant(entry, less);
}

/// Sets what is granted. A changed grant gets the next number.
fn regrant(entry: &mut Entry, granted: Amounts) {
    if entry.granted != Some(granted) {
        entry.granted = Some(granted);
        entry.revision = entry.revision.saturating_add(1);
    }
    entry.held = entry.held.max(granted);
}

/// What is held so far, while claims are gone through.
struct Book {
    limit: Limit,
    workspaces: i32,
    used: Amounts,
}

impl Book {
    fn of<'a>(limit: &Limit, entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut book = Self { limit: *limit, workspaces: 0, used: Amounts::default() };
        for entry in entries.filter(|entry| entry.granted.is_some()) {
            book.workspaces = book.workspaces.saturating_add(1);
            book.used = book.used.plus(entry.held);
        }
        book
    }

    /// Grants what is asked for if there is room for it; for a Workspace that has nothing yet, also room for one more.
    fn serve(&mut self, claim: &Claim, entry: &mut Entry) -> Result<(), Refusal> {
        let first = entry.granted.is_none();
        let most = self.limit.workspaces.unwrap_or(WORKSPACES_MAX).clamp(0, WORKSPACES_MAX);
        if first && self.workspaces >= most {
            return Err(Refusal::no_more_workspaces(most));
        }
        self.grow(claim, entry)?;
        self.workspaces = self.workspaces.saturating_add(i32::from(first));
        Ok(())
    }

    /// Grants all that the Workspace asks for, or nothing of it. Only what would grow must fit: a limit that was lowered below
    /// what is held is no reason to refuse another resource.
    fn grow(&mut self, claim: &Claim, entry: &mut Entry) -> Result<(), Refusal> {
        let others = self.used.zip(entry.held, |used, held| used.map(|used| used.saturating_sub(held.unwrap_or(0))));
        let granted = entry.granted.unwrap_or_default();
        let resources: Vec<_> = resources(self.limit.amounts, others, granted, claim.wanted).collect();

        let unnamed: Vec<_> =
            resources.iter().filter(|resource| resource.wanted.is_none()).map(|resource| resource.name).collect();
        if !unnamed.is_empty() {
            return Err(Refusal::required(&unnamed));
        }
        let too_much: Vec<_> = resources.into_iter().filter(|resource| resource.grows() && !resource.fits()).collect();
        if !too_much.is_empty() {
            return Err(Refusal::exceeded(&too_much));
        }
        regrant(entry, claim.wanted);
        self.used = others.plus(entry.held);
        Ok(())
    }
}

/// One resource that the Tenant limits, as one claim meets it.
struct Limited {
    name: &'static str,
    limit: u64,
    others: u64,
    granted: Option<u64>,
    wanted: Option<u64>,
}

impl Limited {
    /// Whether the claim asks for more of it than was granted. A first bound on what was not limited counts as growth from
    /// nothing, because nothing was reserved for it.
    fn grows(&self) -> bool {
        self.wanted > self.granted
    }

    /// The most that the claim could be granted.
    fn possible(&self) -> u64 {
        self.limit.saturating_sub(self.others)
    }

    fn fits(&self) -> bool {
        self.wanted.unwrap_or(0) <= self.possible()
    }
}

/// The resources that the Tenant limits.
fn resources(limit: Amounts, others: Amounts, granted: Amounts, wanted: Amounts) -> impl Iterator<Item = Limited> {
    let rows = limit.named().into_iter().zip(others.named()).zip(granted.named()).zip(wanted.named());
    rows.filter_map(|((((name, limit), (_, others)), (_, granted)), (_, wanted))| {
        Some(Limited { name, limit: limit?, others: others.unwrap_or(0), granted, wanted })
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
