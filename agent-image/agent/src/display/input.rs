//! Pointer and keyboard, by the extension that is made for it (XTEST). In: what a person would do with the hands. Out: the X server does as
//! if a person had done it. What is held for a verb is let go when the verb ends, whatever comes of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use x11rb::CURRENT_TIME;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT,
};
use x11rb::protocol::xtest::ConnectionExt as _;

use super::{Display, place};
use crate::deadline::Deadline;
use crate::fault::{Done, Fault};
use crate::keys::{Keysym, SHIFT};
use crate::layout::{Batch, Layout, Stroke};
use crate::scale::Pair;

/// So long programs get to learn that keys mean something else: they are told by an event, and look when they come to it.
const LEARN: Duration = Duration::from_millis(150);
/// From a press to the release, and to the next press.
const TAP: Duration = Duration::from_millis(10);
/// From one look where the pointer is to the next.
const ARRIVE: Duration = Duration::from_millis(5);

/// Programs take clicks for one, double or triple, that are at most so long and so many pixels apart.
const TOGETHER: Duration = Duration::from_millis(550);
const NEAR: u16 = 8;

/// What is held down.
pub struct Held<'display> {
    display: &'display Display,
    /// The kind of event that lets it go, and its number.
    down: Vec<(u8, u8)>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for (release, number) in self.down.drain(..).rev() {
            // A server that has ended holds nothing either.
            let _ended = self.display.fake(release, number, (0, 0));
        }
        let _ended = self.display.settle();
    }
}

impl Held<'_> {
    /// Presses a key and holds it.
    fn key(&mut self, key: u8) -> Done {
        self.display.fake(KEY_PRESS_EVENT, key, (0, 0))?;
        self.down.push((KEY_RELEASE_EVENT, key));
        self.display.settle()
    }

    /// Presses a button and holds it.
    ///
    /// # Errors
    /// If the server does not do it.
    pub fn button(&mut self, button: u8) -> Done {
        self.display.button(button, true)?;
        self.down.push((BUTTON_RELEASE_EVENT, button));
        Ok(())
    }
}

/// Characters that are lent to keys which had none.
struct Lent<'display> {
    display: &'display Display,
    keys: Vec<u8>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            let _ended = self.display.mean(*key, 0);
        }
        let _ended = self.display.settle();
    }
}

impl Display {
    fn fake(&self, kind: u8, detail: u8, (x, y): (i16, i16)) -> Done {
        let cookie = self.connection.xtest_fake_input(kind, detail, CURRENT_TIME, self.root, x, y, 0);
        cookie.map_err(|error| Fault::x("take input", error))?.ignore_error();
        Ok(())
    }

    /// Moves the pointer, and waits until it is there: while the window manager looks at a click the server keeps what comes after it.
    ///
    /// # Errors
    /// If the server does not do it, or a program holds the pointer for too long.
    pub fn move_to(&self, (x, y): Pair, deadline: Deadline) -> Done {
        let to = (place(x), place(y));
        self.fake(MOTION_NOTIFY_EVENT, 0, to)?;
        self.settle()?;
        while self.pointer()? != to {
            deadline.pause(ARRIVE)?;
        }
        Ok(())
    }

    /// Waits so long that programs do not take a click here for the second half of the one before.
    ///
    /// # Errors
    /// If the server does not say where the pointer is, or there is not so much time left.
    pub fn begin_click(&self, deadline: Deadline) -> Done {
        let last = *self.clicked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((ended, place)) = last else { return Ok(()) };
        let here = self.pointer()?;
        let near = here.0.abs_diff(place.0) <= NEAR && here.1.abs_diff(place.1) <= NEAR;
        let left = TOGETHER.saturating_sub(ended.elapsed());
        if near && !left.is_zero() { deadline.pause(left) } else { Ok(()) }
    }

    /// Remembers where a click ended.
    ///
    /// # Errors
    /// If the server does not say where the pointer is.
    pub fn end_click(&self) -> Done {
        let here = self.pointer()?;
        *self.clicked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), here));
        Ok(())
    }

    /// Presses or releases a button.
    ///
    /// # Errors
    /// If the server does not do it.
    pub fn button(&self, button: u8, down: bool) -> Done {
        self.fake(if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT }, button, (0, 0))?;
        self.settle()
    }

    /// Holds what these keys mean until it is dropped.
    ///
    /// # Errors
    /// If no key means that, or the server does not do it.
    pub fn hold(&self, keysyms: &[Keysym]) -> Done<Held<'_>> {
        let layout = self.layout()?;
        let mut held = Held { display: self, down: vec![] };
        for keysym in keysyms {
            let no_key = || Fault::failed(format!("the keyboard has no key for {keysym:#x}"));
            held.key(layout.stroke(*keysym).ok_or_else(no_key)?.key)?;
        }
        Ok(held)
    }

    /// Presses keys one after the other, with so much time between them.
    ///
    /// # Errors
    /// If a character cannot be typed, the server does not do it, or it takes too long. What was typed until then stays typed.
    pub fn type_keys(&self, keysyms: &[Keysym], pause: Duration, deadline: Deadline) -> Done {
        let layout = self.layout()?;
        for batch in layout.plan(keysyms)? {
            let _lent = self.lend(&batch, deadline)?;
            for stroke in &batch.strokes {
                drop(self.press(&[*stroke], &layout)?);
                deadline.pause(pause)?;
            }
            let_programs_catch_up(&batch, deadline)?;
        }
        Ok(())
    }

    /// Presses keys together, holds them so long, and releases them; so often.
    ///
    /// # Errors
    /// If no key has what is asked for, the server does not do it, or it takes too long.
    pub fn chord(&self, keysyms: &[Keysym], count: i64, hold: Duration, deadline: Deadline) -> Done {
        let layout = self.layout()?;
        let Ok([batch]) = <[Batch; 1]>::try_from(layout.plan(keysyms)?) else {
            return Err(Fault::failed("the keyboard has too few keys to spare for all of the chord at once"));
        };
        let _lent = self.lend(&batch, deadline)?;
        for _ in 0..count {
            let pressed = self.press(&batch.strokes, &layout)?;
            deadline.pause(hold)?;
            drop(pressed);
            deadline.pause(TAP)?;
        }
        let_programs_catch_up(&batch, deadline)
    }

    /// Presses all of these, the shift key before the first that needs it.
    fn press(&self, strokes: &[Stroke], layout: &Layout) -> Done<Held<'_>> {
        let mut held = Held { display: self, down: vec![] };
        let shift = layout.stroke(SHIFT).map(|stroke| stroke.key);
        for stroke in strokes {
            if let Some(shift) = shift.filter(|shift| stroke.shift && !held.down.iter().any(|(_, key)| key == shift)) {
                held.key(shift)?;
            }
            if !held.down.iter().any(|(_, key)| *key == stroke.key) {
                held.key(stroke.key)?;
            }
        }
        Ok(held)
    }

    fn lend(&self, batch: &Batch, deadline: Deadline) -> Done<Lent<'_>> {
        let mut lent = Lent { display: self, keys: vec![] };
        for (key, keysym) in &batch.lent {
            lent.keys.push(*key);
            self.mean(*key, *keysym)?;
        }
        self.settle()?;
        let_programs_catch_up(batch, deadline)?;
        Ok(lent)
    }

    /// Makes a key mean this, with the shift key and without.
    fn mean(&self, key: u8, keysym: Keysym) -> Done {
        let cookie = self.connection.change_keyboard_mapping(1, key, 2, &[keysym, keysym]);
        cookie.map_err(|error| Fault::x("lend a character to a key", error))?.ignore_error();
        Ok(())
    }

    fn layout(&self) -> Done<Layout> {
        const WHAT: &str = "say what the keys mean";
        let (first, count) = self.keys;
        let cookie = self.connection.get_keyboard_mapping(first, count).map_err(|error| Fault::x(WHAT, error))?;
        let mapping = cookie.reply().map_err(|error| Fault::x(WHAT, error))?;
        Ok(Layout::new(first, mapping.keysyms_per_keycode, &mapping.keysyms))
    }
}

fn let_programs_catch_up(batch: &Batch, deadline: Deadline) -> Done {
    if batch.lent.is_empty() { Ok(()) } else { deadline.pause(LEARN) }
}
