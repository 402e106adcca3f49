//! What the store does with what grows old in a backup bucket: from the class to the provider, and from there into status.

use api::{
    Duration, TenantClass, conditions as names,
    database::{ClassBackup, LifecycleStatus},
};
use providers::buckets::{Archive, Lifecycle};

use crate::engine::fault::Fault;

const SECONDS_OF_A_DAY: u64 = 24 * 3600;

/// What the class asks for; nothing if it offers no databases.
pub fn wanted(class: &TenantClass) -> Result<Option<Lifecycle>, Fault> {
    class.spec.database.as_ref().map(|database| of(&database.backup)).transpose()
}

fn of(backup: &ClassBackup) -> Result<Lifecycle, Fault> {
    let keep_deleted = backup.keep_deleted.as_ref().map_or(Ok(ClassBackup::KEEP_DELETED), days)?;
    let archive = backup.archive.as_ref().map(|archive| {
        Ok::<_, Fault>(Archive { after: days(&archive.after)?, storage_class: archive.storage_class.clone() })
    });
    Ok(Lifecycle { keep_deleted, archive: archive.transpose()? })
}

fn days(duration: &Duration) -> Result<u16, Fault> {
    let days = duration.to_std()?.as_secs() / SECONDS_OF_A_DAY;
    u16::try_from(days).map_err(|_| Fault::stalled(names::INVALID_SPEC, format!("{duration} is too long")))
}

/// It in status, once the bucket was seen to have it. `kept_without_end` is whether the store lacks rules that remove older versions.
pub fn status(wanted: &Lifecycle, kept_without_end: bool) -> Result<LifecycleStatus, Fault> {
    let text = |days: u16| Ok::<Duration, Fault>(format!("{days}d").parse()?);
    let archive = wanted.archive.as_ref();
    Ok(LifecycleStatus {
        keep_deleted: text(wanted.keep_deleted)?,
        kept_without_end,
        archive_after: archive.map(|archive| text(archive.after)).transpose()?,
        archive_storage_class: archive.map(|archive| archive.storage_class.clone()),
    })
}

/// Whether status tells that the bucket was seen to have it: a class that changed is acted on at once, not when evidence is too old.
pub fn is_told(wanted: Option<&Lifecycle>, told: Option<&LifecycleStatus>) -> bool {
    let Some(wanted) = wanted else { return true };
    told.is_some_and(|told| status(wanted, told.kept_without_end).is_ok_and(|status| status == *told))
}
