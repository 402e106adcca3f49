//! Starts the desktop and stays with it. In: settings. Out: a desktop that shows a screenshot that can be used, and an error that names the
//! part as soon as one ends without which it is no desktop. A browser that ends is started again.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::desktop::Desktop;
use crate::parts::{self, Part};
use crate::settings::Settings;
use crate::usable;

/// Longest wait for a part to be there. It takes a tenth of a second, and much longer where others have all processors.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From one screenshot to the next, until one can be used.
const JUDGE_EVERY: Duration = Duration::from_millis(200);
/// The browser is started again after such a pause, which grows while it does not stay.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A browser that ran so long had come up.
const STAYED: Duration = Duration::from_mins(1);

/// A part that ended, and how.
type Ended = (&'static str, String);

/// Runs the desktop until a part of it ends.
///
/// # Errors
/// Always: which part ended, or which did not come up.
pub async fn run(settings: &Settings, desktop: &Arc<Desktop>) -> Result<Infallible> {
    let (tell, mut ended) = mpsc::channel(8);
    tokio::select! {
        Some((part, how)) = ended.recv() => bail!("{part} ended ({how}): without it there is no desktop"),
        failed = bring_up(settings, desktop, &tell) => failed,
    }
}

async fn bring_up(settings: &Settings, desktop: &Arc<Desktop>, tell: &mpsc::Sender<Ended>) -> Result<Infallible> {
    let begun = Instant::now();
    start(parts::screen(settings), tell)?;
    start(parts::bus(settings), tell)?;
    desktop.waits_for("the X server");
    listens(&settings.x(), "the X server").await?;
    start(parts::manager(), tell)?;
    desktop.waits_for("the bus of programs");
    listens(&settings.bus_socket()?, "the bus of programs").await?;
    start(parts::accessibility(), tell)?;
    let connected = Arc::clone(desktop);
    let socket = settings.x();
    tokio::task::spawn_blocking(move || connected.connect(&socket)).await??;
    desktop.waits_for("the window manager");
    // A window that opens while the window manager starts may get lost.
    until("the window manager", || async { desktop.display()?.is_managed() }).await?;
    tokio::try_join!(keep_browser(&settings.addresses, desktop), judge(desktop, settings, begun))
        .map(|(never, ())| never)
}

/// Starts a part, and tells when it ends.
fn start(mut part: Part, tell: &mpsc::Sender<Ended>) -> Result<()> {
    let mut child = part.command.spawn().with_context(|| format!("cannot start {}", part.name))?;
    let tell = tell.clone();
    tokio::spawn(async move {
        let how = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        // Nobody listens any more if another part ended before.
        let _late = tell.send((part.name, how)).await;
    });
    Ok(())
}

async fn listens(socket: &Path, what: &str) -> Result<()> {
    until(what, || async { UnixStream::connect(socket).await.map(|_| true).or(Ok::<_, anyhow::Error>(false)) }).await
}

async fn until<E: Into<anyhow::Error>, F: Future<Output = Result<bool, E>>>(
    what: &str,
    is: impl Fn() -> F,
) -> Result<()> {
    let begun = Instant::now();
    while !is().await.map_err(Into::into)? {
        if begun.elapsed() > PATIENCE {
            bail!("{what} did not come up in {} s: look at what it said above", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Starts the browser, again and again.
async fn keep_browser(addresses: &[String], desktop: &Desktop) -> Result<Infallible> {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        let mut browser =
            parts::browser(addresses).spawn().with_context(|| format!("cannot start {}", parts::BROWSER))?;
        desktop.browser_runs(true);
        let ended = browser.wait().await;
        desktop.browser_runs(false);
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        pause = next_pause(pause, begun.elapsed());
        eprintln!("desktop: {} ended ({how}) and is started again in {} s", parts::BROWSER, pause.as_secs());
        tokio::time::sleep(pause).await;
    }
}

fn next_pause(pause: Duration, lived: Duration) -> Duration {
    if lived >= STAYED { PAUSES.0 } else { (pause * 2).min(PAUSES.1) }
}

/// Looks at the screen until it can be used, and says so.
async fn judge(desktop: &Arc<Desktop>, settings: &Settings, begun: Instant) -> Result<()> {
    let expected = settings.size.0;
    let mut before = None;
    loop {
        let looking = Arc::clone(desktop);
        let look = move || {
            let display = looking.display()?;
            let (width, height) = display.size();
            anyhow::Ok((display.picture([0, 0, width, height])?, display.windows()?.is_empty()))
        };
        let (picture, empty) = tokio::task::spawn_blocking(look).await.map_err(|error| anyhow!(error))??;
        match usable::missing(before.as_ref(), &picture, expected) {
            _ if empty => desktop.waits_for("a window of the browser"),
            Some(missing) => desktop.waits_for(&missing.to_string()),
            None => break,
        }
        before = Some(picture);
        tokio::time::sleep(JUDGE_EVERY).await;
    }
    let took = begun.elapsed().as_secs_f32();
    eprintln!("desktop: a screenshot could be used {took:.1} s after the start");
    desktop.is_ready(&format!("a screenshot could be used {took:.1} s after the start"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_does_not_stay_is_started_again_ever_later_and_one_that_stayed_soon() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        assert_eq!(next_pause(second, second), second * 2);
        assert_eq!(next_pause(second * 16, second), second * 30);
        assert_eq!(next_pause(second * 30, second), second * 30);
        assert_eq!(next_pause(second * 30, minute), second);
    }
}
