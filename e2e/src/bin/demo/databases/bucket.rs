//! An application that has the bucket of a Workspace. In: the example at work. Out: that what it was given opens this bucket and nothing else, and
//! the same as somebody has it who saved it.

use anyhow::{Context as _, Result};
use aws_sdk_s3::Client;
use e2e::databases::{lists, with_what_was_given};

use super::{Customer, PATIENCE, archive};
use crate::objects::{CUSTOMER, Stacks};
use crate::scene::Scene;
use crate::show::{Progress, Show};
use crate::store::{outcome, refused};

/// What somebody saved who had the bucket.
pub(super) struct Archived {
    pub(super) client: Client,
    pub(super) bucket: String,
}

/// Shows that the application stores something, and tries what it was given elsewhere.
pub(super) async fn at_work(
    show: &Show,
    scene: &Scene,
    client: &kube::Client,
    acme: &Customer,
    stacks: &Stacks,
) -> Result<Archived> {
    show.step("archive", "An application with credentials of its own for the bucket of its customer");
    let application = archive();
    let what = format!("archive in namespace {} stores something", application.namespace);
    show.until(&what, PATIENCE, async || {
        let printed = application.printed(client).await?;
        Ok(printed.map_or_else(|| Progress::Still("nothing yet".to_owned()), Progress::Done))
    })
    .await?;
    let told = "-o=jsonpath={range .status.consumers[?(@.bucket)]}{.serviceAccount}: {.bucket.access} until \
                {.bucket.expiresAt}, revocation {.bucket.revocation}{end}";
    scene.kubectl.shown(show, &["get", "workspace", "finance", "-n", CUSTOMER, told]).await?;
    let given = application.given(client).await?.context("the application has no Secret")?;
    let client = with_what_was_given(&scene.plane, &scene.servers.minio, &given)?;
    let bucket = stacks.finance.bucket.clone();
    show.check(&format!("what it was given lists {bucket}"), lists(&client, &bucket).await?);
    let others = [
        (&acme.backup.bucket, "the backups of finance"),
        (&stacks.research.bucket, "research's bucket"),
        (&stacks.sales.bucket, "globex's bucket"),
    ];
    for (other, whose) in others {
        refused(show, &format!("list {whose} with it"), outcome(client.list_objects_v2().bucket(other).send().await));
    }
    Ok(Archived { client, bucket })
}
