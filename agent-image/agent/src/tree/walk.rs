//! Which things of the tree are looked at. In: what each says is in it, and bounds. Out: the things, those nearer to the root first, each
//! after the one that it is in; and whether there are more.

use std::collections::HashSet;
use std::hash::Hash;

use agent_protocol::Find;
use futures::stream::{self, StreamExt as _};
use zbus::Connection;

use super::ask::{AT_ONCE, CHILDREN, Thing, children, root};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Levels below the root.
    pub(super) depth: usize,
    /// Things in all.
    pub(super) nodes: usize,
}

/// A thing of the tree, and the place in the list of the one that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<T = Thing> {
    pub(super) parent: Option<usize>,
    pub(super) thing: T,
}

/// Goes through the tree level by level, and asks many things of a level at once.
pub(super) async fn walk(connection: &Connection, bounds: Bounds) -> zbus::Result<(Vec<Found>, bool)> {
    let mut taken = Taken::new(bounds.nodes);
    taken.add(None, children(connection, &root()).await?);
    let mut level = 0..taken.all.len();
    for depth in 1..=bounds.depth {
        if taken.more || level.is_empty() {
            break;
        }
        let asked: Vec<_> = level.clone().zip(taken.all.get(level.clone()).into_iter().flatten().cloned()).collect();
        level.start = level.end;
        let mut told = stream::iter(asked)
            .map(|(at, found)| async move {
                // What has gone meanwhile has nothing in it.
                (at, children(connection, &found.thing).await.unwrap_or_default())
            })
            .buffered(AT_ONCE);
        // One by one, so that no more of them is kept than there is room for.
        while let Some((at, things)) = told.next().await {
            if depth == bounds.depth {
                taken.more |= !things.is_empty();
            } else {
                taken.add(Some(at), things);
            }
            if taken.more {
                return Ok((taken.all, true));
            }
        }
        level.end = taken.all.len();
    }
    Ok((taken.all, taken.more))
}

/// What was taken of the tree. A thing that is in two others, or in itself, is taken once.
struct Taken<T = Thing> {
    all: Vec<Found<T>>,
    seen: HashSet<T>,
    room: usize,
    /// Whether there was more than there is room for.
    more: bool,
}

impl<T: Clone + Eq + Hash> Taken<T> {
    fn new(room: usize) -> Self {
        Self { all: vec![], seen: HashSet::new(), room, more: false }
    }

    /// Adds what is in a thing, as long as there is room.
    fn add(&mut self, parent: Option<usize>, things: Vec<T>) {
        // As many as are asked for of one thing; there may be more of them.
        self.more |= things.len() > CHILDREN;
        for thing in things {
            if self.seen.contains(&thing) {
                continue;
            }
            if self.all.len() >= self.room {
                self.more = true;
                return;
            }
            self.seen.insert(thing.clone());
            self.all.push(Found { parent, thing });
        }
    }
}

/// Whether a thing is what is looked for.
pub(super) fn is(wanted: &Find, role: &str, name: &str) -> bool {
    let same_role = wanted.role.as_ref().is_none_or(|wanted| wanted.as_str().eq_ignore_ascii_case(role));
    let same_name = wanted.name.as_ref().is_none_or(|wanted| {
        let wanted = wanted.as_str();
        if wanted.is_empty() || name == wanted {
            return true;
        }
        !name.is_empty() && name.to_lowercase().contains(&wanted.to_lowercase())
    });
    let exact = !wanted.exact || wanted.name.as_ref().is_none_or(|wanted| wanted.as_str() == name);
    same_role && same_name && exact
}

#[cfg(test)]
mod tests {
    use agent_protocol::Whole;

    use super::*;

    fn find(role: Option<&str>, name: Option<&str>, exact: bool) -> Find {
        let role = role.map(|role| role.try_into().unwrap());
        let name = name.map(|name| name.try_into().unwrap());
        Find { role, name, exact, limit: Whole::of::<1>(), patience: Whole::of::<0>() }
    }

    fn taken(things: Vec<&'static str>, room: usize) -> (Vec<(Option<usize>, &'static str)>, bool) {
        let mut taken = Taken::new(room);
        taken.add(None, vec!["browser"]);
        taken.add(Some(0), things);
        (taken.all.into_iter().map(|found| (found.parent, found.thing)).collect(), taken.more)
    }

    #[test]
    fn each_thing_knows_what_it_is_in() {
        let (all, more) = taken(vec!["window", "menu"], 10);
        assert_eq!(all, [(None, "browser"), (Some(0), "window"), (Some(0), "menu")]);
        assert!(!more);
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_said() {
        let (all, more) = taken(vec!["window", "menu"], 2);
        assert_eq!((all.len(), more), (2, true));
        assert!(!taken(vec!["window"], 2).1);
    }

    #[test]
    fn a_thing_that_says_it_is_in_itself_is_taken_once() {
        let (all, more) = taken(vec!["browser", "window", "window"], 10);
        assert_eq!((all.len(), more), (2, false));
    }

    #[test]
    fn a_thing_in_which_is_more_than_is_asked_for_is_not_all_looked_at() {
        let mut taken = Taken::new(CHILDREN * 2);
        taken.add(None, (0..=CHILDREN).collect());
        assert!(taken.more);
    }

    #[test]
    fn a_thing_is_found_by_its_role_and_a_part_of_its_name() {
        assert!(is(&find(Some("Entry"), Some("kund"), false), "entry", "Kunde"));
        assert!(is(&find(None, Some("GRÜSSE"), false), "label", "grüsse"));
        assert!(is(&find(Some("entry"), None, false), "entry", ""));
        assert!(!is(&find(Some("entry"), None, false), "push button", ""));
        assert!(!is(&find(None, Some("kund"), false), "entry", ""));
    }

    #[test]
    fn an_exact_name_is_just_that() {
        assert!(is(&find(None, Some("Send"), true), "push button", "Send"));
        assert!(!is(&find(None, Some("Send"), true), "push button", "send"));
        assert!(!is(&find(None, Some("Send"), true), "push button", "Send it"));
    }
}
