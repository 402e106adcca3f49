//! Starts the desktop and stays with it. In: settings. Out: a desktop that shows a screenshot that can be used, and an error that names the
//! part as soon as one ends without which it is no desktop. A browser that ends is started again.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::desktop::Desktop;
use crate::parts::{self, Part};
use crate::settings::Settings;
use crate::usable::{self, Missing};

/// Longest wait for a part to be there. It takes a tenth of a second, and much longer where others have all processors.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From one screenshot to the next, until one can be used.
const JUDGE_EVERY: Duration = Duration::from_millis(200);
/// A page that moves for so long moves for ever, and can be used as it is.
const RESTLESS: Duration = Duration::from_secs(30);
/// From one look whether the X server answers to the next, and longest wait for its answer.
const PULSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
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
    until("the window manager", || apart(desktop, |desktop| Ok(desktop.display()?.is_managed()?))).await?;
    let watch = async {
        judge(desktop, settings, begun).await?;
        feel_pulse(desktop).await
    };
    tokio::try_join!(keep_browser(settings, desktop), watch).map(|(never, _)| never)
}

/// What waits for the X server does so on a thread of its own: one that hangs must not keep anybody from being told.
async fn apart<T: Send + 'static>(
    desktop: &Arc<Desktop>,
    work: impl FnOnce(&Desktop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let desktop = Arc::clone(desktop);
    tokio::task::spawn_blocking(move || work(&desktop)).await?
}

/// Says for ever whether the X server answers.
async fn feel_pulse(desktop: &Arc<Desktop>) -> Result<Infallible> {
    loop {
        let mut settled = pin!(apart(desktop, |desktop| Ok(desktop.display()?.settle()?)));
        let answer = if let Ok(answer) = timeout(PULSE.1, &mut settled).await {
            answer
        } else {
            eprintln!("desktop: the X server does not answer");
            desktop.x_answers(false);
            // Asked once: what does not answer the first question does not answer a second either.
            settled.await
        };
        if answer.is_err() {
            // If it has ended, whoever waits for that says so, and how.
            sleep(PULSE.0).await;
            answer?;
        }
        desktop.x_answers(true);
        sleep(PULSE.0).await;
    }
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
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Starts the browser, again and again.
async fn keep_browser(settings: &Settings, desktop: &Desktop) -> Result<Infallible> {
    let mut pause = PAUSES.0;
    let socket = parts::browser_socket(settings);
    loop {
        let begun = Instant::now();
        let mut browser =
            parts::browser(&settings.addresses).spawn().with_context(|| format!("cannot start {}", parts::BROWSER))?;
        // Until then another one that is to tell it an address would become the browser itself.
        let listens = async {
            while UnixStream::connect(&socket).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
            desktop.browser_runs(true);
            pending().await
        };
        let ended = tokio::select! {
            ended = browser.wait() => ended,
            ended = listens => ended,
        };
        desktop.browser_runs(false);
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        pause = next_pause(pause, begun.elapsed());
        eprintln!("desktop: {} ended ({how}) and is started again in {} s", parts::BROWSER, pause.as_secs());
        sleep(pause).await;
    }
}

fn next_pause(pause: Duration, lived: Duration) -> Duration {
    if lived >= STAYED { PAUSES.0 } else { (pause * 2).min(PAUSES.1) }
}

/// Looks at the screen until it can be used, and says so.
async fn judge(desktop: &Arc<Desktop>, settings: &Settings, begun: Instant) -> Result<()> {
    let (expected, looking) = (settings.size.0, Instant::now());
    let mut before = None;
    loop {
        let look = |desktop: &Desktop| {
            let display = desktop.display()?;
            let (width, height) = display.size();
            Ok((display.picture([0, 0, width, height])?, display.windows()?.is_empty()))
        };
        let (picture, empty) = apart(desktop, look).await?;
        let missing = usable::missing(before.as_ref(), &picture, expected);
        match verdict(missing, empty, looking.elapsed()) {
            Verdict::Usable => break,
            Verdict::Wait(what) => desktop.waits_for(&what),
            Verdict::Hopeless => {
                bail!("{} showed no window in {} s: look at what it said above", parts::BROWSER, PATIENCE.as_secs())
            }
        }
        before = Some(picture);
        sleep(JUDGE_EVERY).await;
    }
    let took = begun.elapsed().as_secs_f32();
    eprintln!("desktop: a screenshot could be used {took:.1} s after the start");
    desktop.is_ready(&format!("a screenshot could be used {took:.1} s after the start"));
    Ok(())
}

/// What comes of a look at the screen.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Usable,
    /// For this.
    Wait(String),
    Hopeless,
}

/// By what the picture lacks, whether there is no window, and how long it has been looked.
fn verdict(missing: Option<Missing>, empty: bool, looked: Duration) -> Verdict {
    match missing {
        _ if empty && looked > PATIENCE => Verdict::Hopeless,
        _ if empty => Verdict::Wait("a window of the browser".to_owned()),
        None => Verdict::Usable,
        Some(Missing::Rest) if looked > RESTLESS => Verdict::Usable,
        Some(missing) => Verdict::Wait(missing.to_string()),
    }
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
    #[test]
    fn a_page_that_moves_for_ever_can_be_used_and_a_browser_without_a_window_is_given_up() {
        let second = Duration::from_secs(1);
        assert_eq!(verdict(None, false, second), Verdict::Usable);
        assert_eq!(verdict(None, true, second), Verdict::Wait("a window of the browser".to_owned()));
        assert_eq!(verdict(None, true, PATIENCE + second), Verdict::Hopeless);
        assert_eq!(verdict(Some(Missing::Rest), false, second), Verdict::Wait("the screen still changes".to_owned()));
        assert_eq!(verdict(Some(Missing::Rest), false, RESTLESS + second), Verdict::Usable);
        assert!(matches!(verdict(Some(Missing::Content), false, PATIENCE * 2), Verdict::Wait(_)));
    }
}
