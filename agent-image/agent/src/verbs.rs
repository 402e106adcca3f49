//! The verbs. In: one of them, a desktop, and a deadline. Out: it is done, and what came of it.

mod launch;
mod pointer;

use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{
    Code, Coordinate, Extent, Find, Key, List, Nothing, Offset, Outcome, Picture, PictureFormat, Position, ReadText,
    Region, Screenshot, Type, Verb, Whole, Windows, Words,
};

use crate::deadline::Deadline;
use crate::desktop::{Desktop, bounded};
use crate::fault::{Done, Fault};
use crate::serve::Result;
use crate::{keys, layout, scale, text};

/// From one look to the next, where something may appear.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const DONE: Outcome = Outcome::Done(Nothing {});

/// Does it.
///
/// # Errors
/// Why it was not done, or not to its end.
pub async fn perform(desktop: &Arc<Desktop>, verb: Verb, deadline: Deadline) -> Result {
    let outcome = match verb {
        Verb::Screenshot(wanted) => return apart(desktop, move |desktop| screenshot(desktop, wanted)).await,
        Verb::Wait(wait) => {
            tokio::time::sleep(milliseconds(wait.milliseconds)).await;
            DONE
        }
        Verb::Tree(wanted) => Outcome::Tree(desktop.bus.tree(wanted).await?),
        Verb::Find(wanted) => find(desktop, &wanted).await?,
        Verb::ReadText(wanted) => read_text(desktop, &wanted).await?,
        Verb::Launch(wanted) => {
            launch::launch(desktop, &wanted).await?;
            DONE
        }
        by_hand => apart(desktop, move |desktop| hands(desktop, by_hand, deadline)).await?,
    };
    Ok((outcome, vec![]))
}

/// What waits for the X server does so on a thread of its own.
async fn apart<T: Send + 'static>(
    desktop: &Arc<Desktop>,
    work: impl FnOnce(&Desktop) -> Done<T> + Send + 'static,
) -> Done<T> {
    let desktop = Arc::clone(desktop);
    let done = tokio::task::spawn_blocking(move || work(&desktop)).await;
    done.unwrap_or_else(|error| Err(Fault::failed(format!("the agent has a fault: {error}; please report it"))))
}

/// What hands and eyes do.
fn hands(desktop: &Desktop, verb: Verb, deadline: Deadline) -> Done<Outcome> {
    let display = desktop.display()?;
    let clipboard = || Ok(desktop.clipboard()?.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    match verb {
        Verb::Click(click) => pointer::click(display, &click, deadline)?,
        Verb::Press(hold) => pointer::hold(display, hold, true, deadline)?,
        Verb::Release(hold) => pointer::hold(display, hold, false, deadline)?,
        Verb::Drag(drag) => pointer::drag(display, &drag, deadline)?,
        Verb::Move(to) => display.move_to(scale::on_screen(to.to, display.size())?, deadline)?,
        Verb::Scroll(scroll) => pointer::scroll(display, &scroll, deadline)?,
        Verb::Type(Type { text, pause }) => {
            display.type_keys(&layout::keysyms(text.as_str())?, milliseconds(pause), deadline)?;
        }
        Verb::Key(Key { chord, count, hold }) => {
            display.chord(&keys::chord(chord.as_str())?, count.get(), milliseconds(hold), deadline)?;
        }
        Verb::CursorPosition(_) => {
            let (x, y) = display.pointer()?;
            let screen = bounded(display.size());
            return Ok(Outcome::Position(Position { x: Offset::nearest(x), y: Offset::nearest(y), screen }));
        }
        Verb::GetClipboard(_) => return Ok(Outcome::Clipboard(clipboard()?.get(deadline)?)),
        Verb::SetClipboard(wanted) => clipboard()?.set(&wanted.text)?,
        Verb::Windows(_) => return Ok(Outcome::Windows(Windows { windows: List::cut(display.windows()?) })),
        Verb::FocusWindow(window) => display.focus(window.window, deadline)?,
        Verb::CloseWindow(window) => display.close(window.window, deadline)?,
        Verb::Status(_)
        | Verb::Screenshot(_)
        | Verb::Wait(_)
        | Verb::Launch(_)
        | Verb::Tree(_)
        | Verb::Find(_)
        | Verb::ReadText(_) => return Err(Fault::failed("the agent has a fault: this is not done by hand")),
    }
    Ok(DONE)
}

fn screenshot(desktop: &Desktop, wanted: Screenshot) -> Result {
    let display = desktop.display()?;
    let part = scale::region(wanted.region, display.size())?;
    let picture = display.picture(part)?;
    let target = scale::target(picture.size, wanted.scale);
    let picture = picture.shrink(target);
    let png = picture.png().map_err(|error| Fault::failed(format!("the picture cannot be encoded: {error}")))?;
    let bytes = Whole::try_from(i64::try_from(png.len()).unwrap_or(i64::MAX)).map_err(|_| {
        let message = format!("the picture has {} bytes as PNG: ask for a region, or for a smaller size", png.len());
        Fault::new(Code::TooLarge, message)
    })?;
    let told = Picture {
        format: PictureFormat::Png,
        bytes,
        size: bounded(picture.size),
        region: region(part),
        screen: bounded(display.size()),
    };
    Ok((Outcome::Picture(told), png))
}

/// A part of the screen as answers have it.
pub(crate) fn region([x, y, width, height]: [u32; 4]) -> Region {
    Region {
        x: Coordinate::nearest(x),
        y: Coordinate::nearest(y),
        width: Extent::nearest(width),
        height: Extent::nearest(height),
    }
}

async fn find(desktop: &Desktop, wanted: &Find) -> Done<Outcome> {
    patiently(milliseconds(wanted.patience), || desktop.bus.find(wanted)).await.map(Outcome::Elements)
}

async fn read_text(desktop: &Arc<Desktop>, wanted: &ReadText) -> Done<Outcome> {
    patiently(milliseconds(wanted.patience), || read_once(desktop, wanted)).await.map(Outcome::Words)
}

async fn read_once(desktop: &Arc<Desktop>, wanted: &ReadText) -> Done<Words> {
    let part = wanted.region;
    let seen = apart(desktop, move |desktop| {
        let display = desktop.display()?;
        let [x, y, width, height] = scale::region(part, display.size())?;
        Ok((display.picture([x, y, width, height])?, (x, y)))
    });
    let (picture, corner) = seen.await?;
    let containing = wanted.containing.as_ref().map(agent_protocol::Text::as_str);
    let words = text::read(picture, corner, containing).await?;
    match containing {
        Some(part) if words.words.as_slice().is_empty() => Err(Fault::new(
            Code::NotFound,
            format!("no word that was read contains {part:?}: look at the screenshot, or be patient for longer"),
        )),
        _ => Ok(words),
    }
}

/// Looks until it is found, or so much time has passed.
async fn patiently<T, F: Future<Output = Done<T>>>(patience: Duration, look: impl Fn() -> F) -> Done<T> {
    let end = tokio::time::Instant::now() + patience;
    loop {
        match look().await {
            Err(fault) if fault.code == Code::NotFound && tokio::time::Instant::now() < end => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            done => return done,
        }
    }
}

pub(crate) fn milliseconds<const MIN: i64, const MAX: i64>(time: Whole<MIN, MAX>) -> Duration {
    Duration::from_millis(time.get().try_into().unwrap_or_default())
}
