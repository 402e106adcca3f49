//! Consent that is taken back. In: an application at work, and somebody with a copy of its certificate. Out: that nothing of it works any more,
//! after how many seconds, and that the other customer's application goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::databases::{CONSENT, LOCKED, lists};
use e2e::wait::until;
use tokio::sync::Mutex;

use super::applications::{Visitors, way};
use super::bucket::Archived;
use super::{Customer, PATIENCE};
use crate::scene::Scene;
use crate::show::{Show, seconds};

/// Takes it back as the owner of the namespace would, and tries what the application could.
pub(super) async fn taken_back(
    show: &Show,
    scene: &Scene,
    acme: &Customer,
    globex: &Customer,
    visitors: &Visitors,
    archived: &Archived,
) -> Result<()> {
    show.step("consent", "The shop takes its consent back: its application can do nothing any more");
    let (client, Visitors { shop, market, certificate, .. }) = (scene.plane.admin()?, visitors);
    let (application, to_acme) = (&acme.application, way(acme));
    let session = Mutex::new(shop.session(&to_acme).await?);
    // Twice: it has to stay open in between.
    for _ in 0..2 {
        ensure!(session.lock().await.still_reads().await?, "the open session reads nothing before");
    }
    let role = application.role();
    acme.database.present(certificate, &role).await.context("a copy of the certificate opens nothing before")?;
    let consents = format!("{CONSENT}-");
    scene.kubectl.shown(show, &["annotate", "namespace", &application.namespace, &consents]).await?;
    let begun = Instant::now();
    let measured = async {
        Ok(tokio::join!(
            time(begun, async || Ok(application.given(&client).await?.is_none())),
            time(begun, async || shop.gets_no_packet_by(&to_acme).await),
            time(begun, async || {
                let answer = acme.database.present(certificate, &role).await;
                Ok(answer.is_err_and(|error| format!("{error:#}").contains(LOCKED)))
            }),
            time(begun, async || Ok(!session.lock().await.still_reads().await?)),
            time(begun, async || Ok(!lists(&archived.client, &archived.bucket).await?)),
        ))
    };
    let (secret, packet, login, row, object) =
        Box::pin(show.during("what the application has is tried until it fails", measured)).await?;
    told(show, "its Secret is gone", secret);
    told(show, "no packet gets from its namespace to the database", packet);
    told(show, "a copy of its certificate opens nothing, where packets arrive too", login);
    told(show, "a session that was open reads no row any more", row);
    told(show, "credentials for the bucket that were saved open nothing", object);
    let others =
        show.during("the other customer's application is let in as before", market.is_let_in(&way(globex))).await;
    show.check("the other customer's application notices nothing", others.is_ok());
    Ok(())
}

/// Waits until it is so, and says when it was.
async fn time(begun: Instant, is_so: impl AsyncFn() -> Result<bool>) -> Result<Duration> {
    until("consent that was taken back has this effect", PATIENCE, is_so).await?;
    Ok(begun.elapsed())
}

fn told(show: &Show, claim: &str, after: Result<Duration>) {
    match after {
        Ok(after) => show.check(&format!("{claim}, after {}", seconds(after)), true),
        Err(error) => show.check(&format!("{claim}: {error:#}"), false),
    }
}
