//! The `ScheduledBackup` of a database: full backups, by the plugin, at times of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::cluster::{BARMAN, Named};
use super::metadata;
use crate::database::{BACKUP, CLUSTER, Database, spread};
use crate::workspace::Facts;

/// `postgresql.cnpg.io/v1`, as far as it is applied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduledBackup {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cluster: Named,
    schedule: String,
    suspend: bool,
    immediate: bool,
    backup_owner_reference: &'static str,
    method: &'static str,
    plugin_configuration: Named,
    target: &'static str,
}

/// Full backups as often as the class says, the first at once. An instance that only follows is read, so that writers are not slowed.
pub(crate) fn scheduled_backup(facts: &Facts, database: &Database) -> ScheduledBackup {
    ScheduledBackup {
        api_version: "postgresql.cnpg.io/v1",
        kind: "ScheduledBackup",
        metadata: metadata(facts, BACKUP),
        spec: Spec {
            cluster: Named { name: CLUSTER },
            schedule: schedule(spread(&facts.identity, 24 * 3600), database.full_every),
            // It goes on with the one that it has missed.
            suspend: database.suspended,
            immediate: true,
            backup_owner_reference: "cluster",
            method: "plugin",
            plugin_configuration: Named { name: BARMAN },
            target: "prefer-standby",
        },
    }
}

/// Seconds, minutes and hours first, as CloudNativePG wants it. `moment` is a second of the day.
fn schedule(moment: u32, every: u64) -> String {
    let (second, minute, hour) = (moment % 60, moment / 60 % 60, moment / 3600 % 24);
    let hours = match every {
        1 => "*".to_owned(),
        24 => hour.to_string(),
        every => format!("{}-23/{every}", u64::from(hour) % every),
    };
    format!("{second} {minute} {hours} * * *")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_has_times_of_its_own_within_the_day() {
        let moment = 3600 * 5 + 60 * 7 + 9;
        for (every, expected) in
            [(1, "9 7 * * * *"), (2, "9 7 1-23/2 * * *"), (12, "9 7 5-23/12 * * *"), (24, "9 7 5 * * *")]
        {
            assert_eq!(schedule(moment, every), expected);
        }
        assert_eq!(schedule(0, 8), "0 0 0-23/8 * * *");
    }
}
