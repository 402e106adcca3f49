//! Pointer and keyboard, by the extension that is made for it (XTEST). In: what a person would do with the hands. Out: the X server does as
//! if a person had done it. What is held for a verb is let go when the verb ends, whatever comes of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use x11rb::CURRENT_TIME;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT, KeyButMask,
    MOTION_NOTIFY_EVENT,
};
use x11rb::protocol::xtest::ConnectionExt as _;

use super::{Display, place};
use crate::deadline::Deadline;
use crate::fault::{Done, Fault};
use crate::keys::{CAPS_LOCK, Keysym, SHIFT};
use crate::layout::{Batch, Layout, Spare, Stroke};
use crate::scale::Pair;

/// So long programs get to learn that keys mean something else: they are told by an event, and look when they come to it.
const LEARN: Duration = Duration::from_millis(150);
/// So long they get before that to come to what was pressed when the keys meant what they meant before.
const CATCH_UP: Duration = Duration::from_millis(300);
/// From a press to the release, and to the next press.
const TAP: Duration = Duration::from_millis(10);
/// From one look where the pointer is to the next, and from one movement to the same again.
const ARRIVE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));
/// A pointer that does not come for so long is held by a program.
const HELD: Duration = Duration::from_secs(5);

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
    fn key(&mut self, key: u8, deadline: Deadline) -> Done {
        deadline.left()?;
        self.display.fake(KEY_PRESS_EVENT, key, (0, 0))?;
        self.down.push((KEY_RELEASE_EVENT, key));
        self.display.settle()
    }

    /// Presses a button and holds it.
    ///
    /// # Errors
    /// If the server does not do it, or it is too late.
    pub fn button(&mut self, button: u8, deadline: Deadline) -> Done {
        deadline.left()?;
        self.display.fake(BUTTON_PRESS_EVENT, button, (0, 0))?;
        self.down.push((BUTTON_RELEASE_EVENT, button));
        self.display.settle()
    }
}

/// The key that was on and is off meanwhile.
struct Off<'display> {
    display: &'display Display,
    key: Option<u8>,
}

impl Drop for Off<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // A server that has ended has no keys either.
            let _ended = self.display.tap(Stroke { key, shift: false }, None);
        }
    }
}

impl Display {
    fn fake(&self, kind: u8, detail: u8, (x, y): (i16, i16)) -> Done {
        let cookie = self.connection.xtest_fake_input(kind, detail, CURRENT_TIME, self.root, x, y, 0);
        cookie.map_err(|error| Fault::x("take input", error))?.ignore_error();
        Ok(())
    }

    /// Sends the pointer there, and does not wait until it has come.
    ///
    /// # Errors
    /// If the server does not do it.
    pub fn send_to(&self, (x, y): Pair) -> Done {
        self.fake(MOTION_NOTIFY_EVENT, 0, (place(x), place(y)))?;
        self.settle()
    }

    /// Moves the pointer, and waits until it is there: while the window manager looks at a click the server keeps what comes after it.
    ///
    /// # Errors
    /// If the server does not do it, or a program holds the pointer for too long.
    pub fn move_to(&self, (x, y): Pair, deadline: Deadline) -> Done {
        let to = (place(x), place(y));
        self.send_to((x, y))?;
        let (begun, mut sent) = (Instant::now(), Instant::now());
        while self.pointer()? != to {
            if begun.elapsed() > HELD {
                let message =
                    format!("the pointer does not come to {x},{y}: a program holds it; press Escape, or wait");
                return Err(Fault::failed(message));
            }
            deadline.pause(ARRIVE.0)?;
            if sent.elapsed() > ARRIVE.1 {
                self.send_to((x, y))?;
                sent = Instant::now();
            }
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

    /// Presses a button, which stays pressed, or releases one.
    ///
    /// # Errors
    /// If the server does not do it, or it is too late to press.
    pub fn button(&self, button: u8, down: bool, deadline: Deadline) -> Done {
        if down {
            deadline.left()?;
        }
        self.fake(if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT }, button, (0, 0))?;
        self.settle()
    }

    /// Holds what these keys mean until it is dropped, and whatever is pressed by what is returned.
    ///
    /// # Errors
    /// If no key means that, the server does not do it, or it is too late.
    pub fn hold(&self, keysyms: &[Keysym], deadline: Deadline) -> Done<Held<'_>> {
        let mut held = Held { display: self, down: vec![] };
        if !keysyms.is_empty() {
            let layout = self.layout()?;
            for keysym in keysyms {
                held.key(stroke(&layout, *keysym)?.key, deadline)?;
            }
        }
        Ok(held)
    }

    /// Presses and releases a key that is on every keyboard.
    ///
    /// # Errors
    /// If it is not on this one, or the server does not do it.
    pub fn tap_key(&self, keysym: Keysym) -> Done {
        self.tap(stroke(&self.layout()?, keysym)?, None)
    }

    /// Presses keys one after the other, with so much time between them.
    ///
    /// # Errors
    /// If a character cannot be typed, the server does not do it, or it takes too long. What was typed until then stays typed.
    pub fn type_keys(&self, keysyms: &[Keysym], pause: Duration, deadline: Deadline) -> Done {
        let mut layout = self.layout()?;
        let shift = layout.stroke(SHIFT).map(|stroke| stroke.key);
        let _off = self.without_capitals(&layout)?;
        let mut rest = keysyms;
        while !rest.is_empty() {
            let batch = self.lend(&mut layout, rest, deadline)?;
            for stroke in &batch.strokes {
                deadline.left()?;
                self.tap(*stroke, shift)?;
                deadline.pause(pause)?;
            }
            rest = rest.get(batch.strokes.len()..).unwrap_or_default();
        }
        Ok(())
    }

    /// Presses keys together, holds them so long, and releases them; so often.
    ///
    /// # Errors
    /// If no key has what is asked for, the server does not do it, or it takes too long.
    pub fn chord(&self, keysyms: &[Keysym], count: i64, hold: Duration, deadline: Deadline) -> Done {
        let mut layout = self.layout()?;
        let batch = self.lend(&mut layout, keysyms, deadline)?;
        if batch.strokes.len() != keysyms.len() {
            return Err(Fault::failed("the keyboard has too few keys to spare for all of the chord at once"));
        }
        for _ in 0..count {
            let pressed = self.press(&batch.strokes, &layout, deadline)?;
            deadline.pause(hold)?;
            drop(pressed);
            deadline.pause(TAP)?;
        }
        Ok(())
    }

    /// Presses and releases a key, with the shift key where it needs it. All of it at once: between the two nothing can come that makes the
    /// server think that it is held, and repeat it.
    fn tap(&self, stroke: Stroke, shift: Option<u8>) -> Done {
        let shift = shift.filter(|_| stroke.shift);
        for key in shift.into_iter().chain([stroke.key]) {
            self.fake(KEY_PRESS_EVENT, key, (0, 0))?;
        }
        for key in [stroke.key].into_iter().chain(shift) {
            self.fake(KEY_RELEASE_EVENT, key, (0, 0))?;
        }
        self.settle()
    }

    /// Presses all of these, the shift key before the first that needs it.
    fn press(&self, strokes: &[Stroke], layout: &Layout, deadline: Deadline) -> Done<Held<'_>> {
        let mut held = Held { display: self, down: vec![] };
        let shift = layout.stroke(SHIFT).map(|stroke| stroke.key);
        for stroke in strokes {
            if let Some(shift) = shift.filter(|shift| stroke.shift && !held.down.iter().any(|(_, key)| key == shift)) {
                held.key(shift, deadline)?;
            }
            if !held.down.iter().any(|(_, key)| *key == stroke.key) {
                held.key(stroke.key, deadline)?;
            }
        }
        Ok(held)
    }

    /// Somebody may have left Caps Lock on, with which all letters are the others.
    fn without_capitals(&self, layout: &Layout) -> Done<Off<'_>> {
        const WHAT: &str = "say whether Caps Lock is on";
        let cookie = self.connection.query_pointer(self.root).map_err(|error| Fault::x(WHAT, error))?;
        let mask = cookie.reply().map_err(|error| Fault::x(WHAT, error))?.mask;
        let mut off = Off { display: self, key: None };
        if u16::from(mask) & u16::from(KeyButMask::LOCK) != 0 {
            let stroke = stroke(layout, CAPS_LOCK)?;
            self.tap(stroke, None)?;
            off.key = Some(stroke.key);
        }
        Ok(off)
    }

    /// Lends characters to spare keys, as many as the next batch of these needs.
    fn lend(&self, layout: &mut Layout, keysyms: &[Keysym], deadline: Deadline) -> Done<Batch> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spare.get_or_insert_with(|| Spare::of(layout));
        let before = layout.clone();
        let batch = layout.plan(spare, keysyms)?;
        if batch.lent.is_empty() {
            return Ok(batch);
        }
        if batch.lent.keys().any(|key| before.means(*key)) {
            deadline.pause(CATCH_UP)?;
        }
        for (key, keysym) in &batch.lent {
            self.mean(*key, *keysym)?;
        }
        self.settle()?;
        deadline.pause(LEARN)?;
        Ok(batch)
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

fn stroke(layout: &Layout, keysym: Keysym) -> Done<Stroke> {
    layout.stroke(keysym).ok_or_else(|| Fault::failed(format!("the keyboard has no key for {keysym:#x}")))
}
