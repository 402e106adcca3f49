//! Questions to programs over the bus of assistive technologies. In: a thing, which is a program's name on the bus and a path in it. Out:
//! what the program says of it.

use std::time::Duration;

use agent_protocol::{Element, Label as Text, List, Offset, Place, Text as Bounded, Whole};
use futures::stream::{self, StreamExt as _};
use zbus::wire::DynamicType;
use zbus::{Connection, Message, OwnedObjectPath, OwnedVariant, Type};

/// So many questions are under way at once: each takes a fraction of a millisecond, of which most is waiting.
pub(super) const AT_ONCE: usize = 16;
/// A program that does not answer for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest text that is asked for, in characters.
const LONGEST: i32 = 1024;

const ACCESSIBLE: &str = "org.a11y.atspi.Accessible";
const COMPONENT: &str = "org.a11y.atspi.Component";
const WRITING: &str = "org.a11y.atspi.Text";

/// States by their numbers; only those that say something to whoever looks at a screen.
const STATES: [(u32, &str); 22] = [
    (1, "active"),
    (3, "busy"),
    (4, "checked"),
    (5, "collapsed"),
    (7, "editable"),
    (8, "enabled"),
    (9, "expandable"),
    (10, "expanded"),
    (11, "focusable"),
    (12, "focused"),
    (16, "modal"),
    (17, "multi line"),
    (20, "pressed"),
    (22, "selectable"),
    (23, "selected"),
    (24, "sensitive"),
    (25, "showing"),
    (30, "visible"),
    (32, "indeterminate"),
    (33, "required"),
    (36, "invalid"),
    (41, "checkable"),
];
const EDITABLE: u32 = 7;
const SHOWING: u32 = 25;

/// A thing that a program shows: the program's name on the bus, and a path in it.
pub(super) type Thing = (String, OwnedObjectPath);

/// What a thing is, and what it is called.
pub(super) struct Label {
    pub(super) role: String,
    pub(super) name: String,
}

/// The one in which all programs are.
pub(super) fn root() -> Thing {
    let path = OwnedObjectPath::try_from("/org/a11y/atspi/accessible/root").unwrap_or_default();
    ("org.a11y.atspi.Registry".to_owned(), path)
}

/// Connects to the bus that the bus of the session, which has this address, knows.
pub(super) async fn connect(session: &str) -> zbus::Result<Connection> {
    let session = zbus::connection::Builder::address(session).method_timeout(PATIENCE).build().await?;
    let bus: (&str, &str) = ("org.a11y.Bus", "/org/a11y/bus");
    let reply = session.call_method(Some(bus.0), bus.1, Some(bus.0), "GetAddress", &()).await?;
    let address: String = reply.body().deserialize()?;
    zbus::connection::Builder::address(address.as_str()).method_timeout(PATIENCE).build().await
}

async fn call<B>(
    connection: &Connection,
    thing: &Thing,
    interface: &str,
    method: &str,
    body: &B,
) -> zbus::Result<Message>
where
    B: serde::Serialize + DynamicType,
{
    connection.call_method(Some(thing.0.as_str()), thing.1.as_ref(), Some(interface), method, body).await
}

async fn property(connection: &Connection, thing: &Thing, interface: &str, name: &str) -> zbus::Result<OwnedVariant> {
    let reply = call(connection, thing, "org.freedesktop.DBus.Properties", "Get", &(interface, name)).await?;
    reply.body().deserialize()
}

/// What is in a thing.
pub(super) async fn children(connection: &Connection, thing: &Thing) -> zbus::Result<Vec<Thing>> {
    call(connection, thing, ACCESSIBLE, "GetChildren", &()).await?.body().deserialize()
}

/// What each is and is called, in their order.
pub(super) async fn labels(connection: &Connection, things: Vec<Thing>) -> Vec<Label> {
    stream::iter(things).map(|thing| async move { label(connection, &thing).await }).buffered(AT_ONCE).collect().await
}

/// All about each, in their order.
pub(super) async fn elements(connection: &Connection, things: Vec<Thing>) -> Vec<Element> {
    stream::iter(things).map(|thing| async move { element(connection, &thing).await }).buffered(AT_ONCE).collect().await
}

async fn label(connection: &Connection, thing: &Thing) -> Label {
    let role = async { call(connection, thing, ACCESSIBLE, "GetRoleName", &()).await?.body().deserialize::<String>() };
    let (role, name) = futures::join!(role, property(connection, thing, ACCESSIBLE, "Name"));
    let name = name.ok().and_then(|name| String::try_from(name).ok());
    Label { role: role.unwrap_or_default(), name: name.unwrap_or_default() }
}

async fn element(connection: &Connection, thing: &Thing) -> Element {
    let states = async { call(connection, thing, ACCESSIBLE, "GetState", &()).await?.body().deserialize::<Vec<u32>>() };
    let (Label { role, name }, states) = futures::join!(label(connection, thing), states);
    let states = states.unwrap_or_default();
    let place = async { if has(&states, SHOWING) { place(connection, thing).await } else { None } };
    let value = async { if has(&states, EDITABLE) { writing(connection, thing).await.ok() } else { None } };
    let (place, value) = futures::join!(place, value);
    Element {
        role: Bounded::cut(&role),
        name: Text::cut(&name),
        value: value.map(|value| Text::cut(&value)),
        place,
        states: List::cut(named(&states)),
    }
}

/// Where it is, in pixels of the screen.
async fn place(connection: &Connection, thing: &Thing) -> Option<Place> {
    let reply = call(connection, thing, COMPONENT, "GetExtents", &(0_u32,)).await.ok()?;
    let (x, y, width, height): (i32, i32, i32, i32) = extents(&reply)?;
    let place = Place {
        x: Offset::nearest(x),
        y: Offset::nearest(y),
        width: Whole::nearest(width),
        height: Whole::nearest(height),
    };
    (width > 0 && height > 0).then_some(place)
}

/// One structure of four numbers.
fn extents(reply: &Message) -> Option<(i32, i32, i32, i32)> {
    #[derive(serde::Deserialize, Type)]
    struct Extents((i32, i32, i32, i32));
    let body = reply.body();
    body.deserialize::<((i32, i32, i32, i32),)>()
        .map(|(numbers,)| numbers)
        .or_else(|_| body.deserialize::<Extents>().map(|extents| extents.0))
        .ok()
}

async fn writing(connection: &Connection, thing: &Thing) -> zbus::Result<String> {
    let count = property(connection, thing, WRITING, "CharacterCount").await?;
    let count = i32::try_from(count).unwrap_or_default().clamp(0, LONGEST);
    call(connection, thing, WRITING, "GetText", &(0_i32, count)).await?.body().deserialize()
}

/// Whether this bit is set in words of 32 bits, the lowest first.
fn has(words: &[u32], bit: u32) -> bool {
    let word = usize::try_from(bit / 32).ok().and_then(|at| words.get(at));
    word.is_some_and(|word| word & (1 << (bit % 32)) != 0)
}

fn named(words: &[u32]) -> impl Iterator<Item = Bounded<1, 64>> {
    STATES.into_iter().filter(|(bit, _)| has(words, *bit)).map(|(_, name)| Bounded::cut(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_bits_of_two_words() {
        let names = |words: &[u32]| named(words).map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&[1 << 12 | 1 << 25, 1]), ["focused", "showing", "indeterminate"]);
        assert_eq!(names(&[1 << 7]), ["editable"]);
        assert_eq!(names(&[]), Vec::<String>::new());
    }
}
