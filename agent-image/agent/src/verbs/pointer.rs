//! What is done with the pointer. In: points, buttons and a wheel. Out: the X server does as if a person had done it.

use std::time::{Duration, Instant};

use agent_protocol::{Button, Click, Direction, Drag, Hold, Modifier, Point, Scroll};

use crate::deadline::Deadline;
use crate::display::Display;
use crate::fault::{Done, Fault};
use crate::keys::{self, Keysym};
use crate::scale::{self, Pair};

/// From a movement to what is done there, and from a press to the release: programs look at where the pointer is first.
const TAP: Duration = Duration::from_millis(20);
/// From one point of a path to the next.
const STEP: Duration = Duration::from_millis(10);

fn number(button: Button) -> u8 {
    match button {
        Button::Left => 1,
        Button::Middle => 2,
        Button::Right => 3,
    }
}

/// A notch of the wheel is a click with a button that no mouse has.
fn wheel(direction: Direction) -> u8 {
    match direction {
        Direction::Up => 4,
        Direction::Down => 5,
        Direction::Left => 6,
        Direction::Right => 7,
    }
}

fn keysyms(modifiers: &[Modifier]) -> Vec<Keysym> {
    let one = |modifier: &Modifier| match modifier {
        Modifier::Shift => keys::SHIFT,
        Modifier::Ctrl => keys::CTRL,
        Modifier::Alt => keys::ALT,
        Modifier::Super => keys::SUPER,
    };
    modifiers.iter().map(one).collect()
}

fn go(display: &Display, to: Option<Point>, deadline: Deadline) -> Done {
    if let Some(point) = to {
        display.move_to(scale::on_screen(point, display.size())?, deadline)?;
        deadline.pause(TAP)?;
    }
    Ok(())
}

pub(super) fn click(display: &Display, click: &Click, deadline: Deadline) -> Done {
    go(display, click.at, deadline)?;
    let _held = display.hold(&keysyms(click.modifiers.as_slice()), deadline)?;
    display.begin_click(deadline)?;
    press(display, number(click.button), click.count.get(), TAP, deadline)?;
    display.end_click()
}

pub(super) fn scroll(display: &Display, scroll: &Scroll, deadline: Deadline) -> Done {
    go(display, scroll.at, deadline)?;
    let _held = display.hold(&keysyms(scroll.modifiers.as_slice()), deadline)?;
    press(display, wheel(scroll.direction), scroll.notches.get(), STEP, deadline)
}

fn press(display: &Display, button: u8, count: i64, time: Duration, deadline: Deadline) -> Done {
    for _ in 0..count {
        let mut held = display.hold(&[], deadline)?;
        held.button(button, deadline)?;
        deadline.pause(time)?;
        drop(held);
        deadline.pause(time)?;
    }
    Ok(())
}

pub(super) fn hold(display: &Display, hold: Hold, down: bool, deadline: Deadline) -> Done {
    go(display, hold.at, deadline)?;
    display.button(number(hold.button), down, deadline)
}

pub(super) fn drag(display: &Display, drag: &Drag, deadline: Deadline) -> Done {
    let points = drag.path.as_slice().iter().map(|point| scale::on_screen(*point, display.size()));
    let points = points.collect::<Done<Vec<_>>>()?;
    let (first, rest) = points.split_first().ok_or_else(|| Fault::failed("the path has no points"))?;
    display.move_to(*first, deadline)?;
    deadline.pause(TAP)?;
    let mut held = display.hold(&keysyms(drag.modifiers.as_slice()), deadline)?;
    held.button(number(drag.button), deadline)?;
    deadline.pause(TAP)?;
    let went = follow(display, (*first, rest), drag.milliseconds.time(), deadline);
    if went.is_err() {
        // What is dragged must not be dropped where it happens to be.
        let _ended = display.tap_key(keys::ESCAPE);
    }
    went
}

/// From corner to corner, each leg in the same time, by the clock: how long the server takes for a movement does not matter.
fn follow(display: &Display, (first, rest): (Pair, &[Pair]), time: Duration, deadline: Deadline) -> Done {
    let begun = Instant::now();
    let leg = time / u32::try_from(rest.len()).unwrap_or(1).max(1);
    let mut from = (first, Duration::ZERO);
    for to in rest {
        loop {
            let gone = begun.elapsed().saturating_sub(from.1);
            if gone >= leg {
                break;
            }
            display.send_to(between(from.0, *to, gone, leg))?;
            deadline.pause(STEP.min(leg.saturating_sub(gone)))?;
        }
        display.move_to(*to, deadline)?;
        from = (*to, from.1 + leg);
    }
    deadline.pause(TAP)
}

/// Where one is on the way from one to the other after a part of the time.
fn between(from: Pair, to: Pair, gone: Duration, of: Duration) -> Pair {
    let (gone, of) = (gone.min(of).as_micros(), of.as_micros().max(1));
    let part = |from: u32, to: u32| {
        let way = u128::from(from.abs_diff(to)) * gone / of;
        let way = u32::try_from(way).unwrap_or_default();
        if from < to { from + way } else { from - way }
    };
    (part(from.0, to.0), part(from.1, to.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_way_one_is_as_far_as_time_has_gone_and_never_further() {
        let at = |gone| between((0, 10), (10, 0), Duration::from_millis(gone), Duration::from_millis(50));
        assert_eq!([0, 10, 25, 50, 70].map(at), [(0, 10), (2, 8), (5, 5), (10, 0), (10, 0)]);
        assert_eq!(between((3, 3), (9, 9), Duration::ZERO, Duration::ZERO), (3, 3));
    }
}
