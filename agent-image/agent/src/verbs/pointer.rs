//! What is done with the pointer. In: points, buttons and a wheel. Out: the X server does as if a person had done it.

use std::time::Duration;

use agent_protocol::{Button, Click, Direction, Drag, Hold, Modifier, Point, Scroll};

use super::milliseconds;
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
    let _held = display.hold(&keysyms(click.modifiers.as_slice()))?;
    display.begin_click(deadline)?;
    press(display, number(click.button), click.count.get(), TAP, deadline)?;
    display.end_click()
}

pub(super) fn scroll(display: &Display, scroll: &Scroll, deadline: Deadline) -> Done {
    go(display, scroll.at, deadline)?;
    let _held = display.hold(&keysyms(scroll.modifiers.as_slice()))?;
    press(display, wheel(scroll.direction), scroll.notches.get(), STEP, deadline)
}

fn press(display: &Display, button: u8, count: i64, time: Duration, deadline: Deadline) -> Done {
    for _ in 0..count {
        let mut held = display.hold(&[])?;
        held.button(button)?;
        deadline.pause(time)?;
        drop(held);
        deadline.pause(time)?;
    }
    Ok(())
}

pub(super) fn hold(display: &Display, hold: Hold, down: bool, deadline: Deadline) -> Done {
    if let Some(point) = hold.at {
        display.move_to(scale::on_screen(point, display.size())?, deadline)?;
    }
    display.button(number(hold.button), down)
}

pub(super) fn drag(display: &Display, drag: &Drag, deadline: Deadline) -> Done {
    let points = drag.path.as_slice().iter().map(|point| scale::on_screen(*point, display.size()));
    let points = points.collect::<Done<Vec<_>>>()?;
    let (first, rest) = points.split_first().ok_or_else(|| Fault::failed("the path has no points"))?;
    display.move_to(*first, deadline)?;
    deadline.pause(TAP)?;
    let mut held = display.hold(&keysyms(drag.modifiers.as_slice()))?;
    held.button(number(drag.button))?;
    deadline.pause(TAP)?;
    let legs = u32::try_from(rest.len()).unwrap_or(1).max(1);
    let steps = u32::try_from(milliseconds(drag.milliseconds).as_millis() / STEP.as_millis()).unwrap_or(0) / legs;
    let mut from = *first;
    for to in rest {
        for at in between(from, *to, steps) {
            display.move_to(at, deadline)?;
            deadline.pause(STEP)?;
        }
        from = *to;
    }
    deadline.pause(TAP)
}

/// So many points on the way from one to the other; the last is the other, and there is always that one.
fn between(from: Pair, to: Pair, steps: u32) -> impl Iterator<Item = Pair> {
    let steps = i64::from(steps.max(1));
    let part = move |from: u32, to: u32, step: i64| {
        let way = (i64::from(to) - i64::from(from)) * step / steps;
        u32::try_from(i64::from(from) + way).unwrap_or(to)
    };
    (1..=steps).map(move |step| (part(from.0, to.0, step), part(from.1, to.1, step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_ends_where_it_should_and_does_not_jump() {
        assert_eq!(between((0, 10), (10, 0), 5).collect::<Vec<_>>(), [(2, 8), (4, 6), (6, 4), (8, 2), (10, 0)]);
        assert_eq!(between((3, 3), (9, 9), 0).collect::<Vec<_>>(), [(9, 9)]);
        assert_eq!(between((7, 7), (0, 0), 3).last(), Some((0, 0)));
    }
}
