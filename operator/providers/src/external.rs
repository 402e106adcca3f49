//! The protocol that every thing outside the cluster goes through.
//!
//! In: what is wanted, and an adapter that can look and write. Out: what is there once it is as wanted, or a [`Fault`].
//! [`ensure`] looks, makes one write and looks again at once, at most [`ROUNDS`] times; what still does not show is waited for.
//! Nothing is remembered between calls: a crash at any point is healed by calling again.

use std::{future::Future, time::Duration};

use crate::fault::{Fault, reasons};

/// How often one call looks and writes before it gives the turn back.
pub const ROUNDS: usize = 3;

/// How long the caller should wait before it looks again for what does not show yet.
const NEXT_LOOK: Duration = Duration::from_secs(2);

/// One kind of thing outside the cluster. Every call may be repeated, also after a crash half-way through it.
///
/// Writing calls check the owner themselves, right before they write: what was seen earlier may be outdated.
pub trait External: Send + Sync {
    /// What is wanted; free of secrets, so that it may be logged.
    type Desired: Sync;
    /// What is there.
    type Observed: Send + Sync;

    /// Name and place of the thing for messages, such as ``bucket `x` at https://s3.example``.
    fn name(&self, want: &Self::Desired) -> String;
    /// Looks; `None` means that nothing of that name is there. A foreign thing of that name is a fault.
    fn observe(&self, want: &Self::Desired) -> impl Future<Output = Result<Option<Self::Observed>, Fault>> + Send;
    /// Makes it; succeeds if it is there already and ours.
    fn create(&self, want: &Self::Desired) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Changes what differs.
    fn update(&self, want: &Self::Desired, have: &Self::Observed) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Marks it as no longer wanted by anybody, and leaves it and its content as they are.
    fn release(&self, want: &Self::Desired, have: &Self::Observed) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Takes it away, or one bounded step of the way there.
    fn delete(&self, want: &Self::Desired, have: &Self::Observed) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Pure: is what is there what is wanted?
    fn matches(want: &Self::Desired, have: &Self::Observed) -> bool;
    /// Pure: does what is there carry the mark of [`Self::release`]?
    fn is_released(have: &Self::Observed) -> bool;
    /// Pure: does what is there count as gone, such as a key that was disabled because keys are never destroyed?
    fn is_gone(_have: &Self::Observed) -> bool {
        false
    }
}

/// Makes the thing be as wanted, and returns it.
pub async fn ensure<E: External>(external: &E, want: &E::Desired) -> Result<E::Observed, Fault> {
    let mut created = false;
    for _ in 0..ROUNDS {
        match external.observe(want).await? {
            // A second create in one call could make a twin where names are not unique; what lags is waited for instead.
            None if created => return Err(creating(external, want)),
            None => {
                external.create(want).await?;
                created = true;
            }
            Some(have) if E::matches(want, &have) => return Ok(have),
            Some(have) => external.update(want, &have).await?,
        }
    }
    match external.observe(want).await? {
        Some(have) if E::matches(want, &have) => Ok(have),
        Some(_) => Err(later(
            reasons::PROGRESSING,
            format!("{} was changed and does not show it yet; it is looked at again", external.name(want)),
        )),
        None => Err(later(
            reasons::CREATING,
            format!("{} was created and is not visible yet; it is looked at again", external.name(want)),
        )),
    }
}

/// Makes the thing be gone; done only once it was seen gone.
pub async fn ensure_gone<E: External>(external: &E, want: &E::Desired) -> Result<(), Fault> {
    for _ in 0..ROUNDS {
        match external.observe(want).await? {
            Some(have) if !E::is_gone(&have) => external.delete(want, &have).await?,
            _ => return Ok(()),
        }
    }
    match external.observe(want).await? {
        Some(have) if !E::is_gone(&have) => {
            Err(later(reasons::DELETING, format!("{} is being removed; it goes on by itself", external.name(want))))
        }
        _ => Ok(()),
    }
}

/// Makes the thing bear the mark of being released, and returns it; `None` if there is nothing to release.
pub async fn ensure_released<E: External>(external: &E, want: &E::Desired) -> Result<Option<E::Observed>, Fault> {
    for _ in 0..ROUNDS {
        match external.observe(want).await? {
            Some(have) if !E::is_released(&have) => external.release(want, &have).await?,
            other => return Ok(other),
        }
    }
    Err(later(
        reasons::PROGRESSING,
        format!("{} was released and does not show it yet; it is looked at again", external.name(want)),
    ))
}

fn creating<E: External>(external: &E, want: &E::Desired) -> Fault {
    later(
        reasons::CREATING,
        format!("{} was created and is not visible yet; it is looked at again", external.name(want)),
    )
}

fn later(reason: &'static str, message: String) -> Fault {
    Fault::waiting(reason, NEXT_LOOK, message)
}
