//! Backups. In: customers with databases. Out: what CloudNativePG lists, and under which keys the objects lie, by the store's own word.

use anyhow::{Context as _, Result};
use e2e::databases::objects;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::Customer;
use crate::show::Show;

/// Lists the backups and looks at every object of their buckets.
pub(super) async fn under_the_key(show: &Show, both: [&Customer; 2]) -> Result<()> {
    show.step("backups", "Backups: listed, and encrypted under the customer's key");
    listed(show, both).await?;
    let mut rows = vec![["CUSTOMER", "OBJECTS", "OF FULL BACKUPS", "OF THE LOG"].map(str::to_owned).to_vec()];
    let mut outcomes = Vec::new();
    for Customer { name, backup, key, bucket, .. } in both {
        let objects =
            show.during(&format!("each object of {name} is looked at (HeadObject)"), bucket.objects()).await?;
        let of = |part: &str| objects.iter().filter(|(object, _)| object.contains(part)).count();
        let (full, log) = (of("/base/"), of("/wals/"));
        rows.push(vec![(*name).to_owned(), objects.len().to_string(), full.to_string(), log.to_string()]);
        // The store names its keys like those of AWS.
        let wanted = format!("arn:aws:kms:{key}");
        let is_encrypted = objects.iter().all(|(_, found)| found.as_deref() == Some(&wanted));
        outcomes.push((format!("{name}: all of it lies under {key}"), full > 0 && log > 0 && is_encrypted));
        if let Some(since) = &backup.recoverable_since {
            show.say(&format!("{name} can go back to any moment since {}.", since.0));
        }
    }
    show.table(&rows);
    for (claim, holds) in outcomes {
        show.check(&claim, holds);
    }
    Ok(())
}

/// Shows the Backup objects of the stacks.
async fn listed(show: &Show, both: [&Customer; 2]) -> Result<()> {
    let mut rows = vec![["CUSTOMER", "BACKUP", "PHASE", "ENDED"].map(str::to_owned).to_vec()];
    let mut outcomes = Vec::new();
    for Customer { name, stack, database, .. } in both {
        let api = objects(&database.client(), stack, "postgresql.cnpg.io", "Backup");
        let backups = api.list(&ListParams::default()).await.context("cannot list Backups")?.items;
        let told = |pointer: &str| {
            let texts = backups.iter().map(move |backup| backup.data.pointer(pointer).and_then(|it| it.as_str()));
            texts.map(|text| text.unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let (phases, ends) = (told("/status/phase"), told("/status/stoppedAt"));
        outcomes.push((*name, phases.iter().any(|phase| phase == "completed")));
        for (backup, (phase, ended)) in backups.iter().zip(phases.into_iter().zip(ends)) {
            rows.push(vec![(*name).to_owned(), backup.name_any(), phase, ended]);
        }
    }
    show.table(&rows);
    for (name, is_completed) in outcomes {
        show.check(&format!("{name}: a full backup is listed as completed"), is_completed);
    }
    Ok(())
}
