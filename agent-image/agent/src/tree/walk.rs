//! Which things of the tree are looked at. In: what each says is in it, and bounds. Out: the things, those nearer to the root first, each
//! after the one that it is in; and whether there are more.

use agent_protocol::Find;
use futures::stream::{self, StreamExt as _};
use zbus::Connection;

use super::ask::{AT_ONCE, Thing, children, root};

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
    let mut all: Vec<Found> = vec![];
    let mut level = vec![(None, children(connection, &root()).await?)];
    for _ in 0..bounds.depth {
        let begin = all.len();
        let more = take(&mut all, level, bounds.nodes);
        if more || all.len() == begin {
            return Ok((all, more));
        }
        let asked: Vec<_> = all.iter().enumerate().skip(begin).map(|(at, found)| (at, found.thing.clone())).collect();
        let ask = |(at, thing): (usize, Thing)| async move {
            // What has gone meanwhile has nothing in it.
            (Some(at), children(connection, &thing).await.unwrap_or_default())
        };
        level = stream::iter(asked).map(ask).buffered(AT_ONCE).collect().await;
    }
    Ok((all, level.iter().any(|(_, things)| !things.is_empty())))
}

/// Adds what is in these things, as long as there is room. Says whether there was more. A thing that is in two others, or in itself, is
/// taken once.
fn take<T: PartialEq>(all: &mut Vec<Found<T>>, level: Vec<(Option<usize>, Vec<T>)>, room: usize) -> bool {
    for (parent, things) in level {
        for thing in things {
            if all.iter().any(|found| found.thing == thing) {
                continue;
            }
            if all.len() >= room {
                return true;
            }
            all.push(Found { parent, thing });
        }
    }
    false
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

    fn taken(
        level: Vec<(Option<usize>, Vec<&'static str>)>,
        room: usize,
    ) -> (Vec<(Option<usize>, &'static str)>, bool) {
        let mut all = vec![Found { parent: None, thing: "browser" }];
        let more = take(&mut all, level, room);
        (all.into_iter().map(|found| (found.parent, found.thing)).collect(), more)
    }

    #[test]
    fn each_thing_knows_what_it_is_in() {
        let (all, more) = taken(vec![(Some(0), vec!["window", "menu"])], 10);
        assert_eq!(all, [(None, "browser"), (Some(0), "window"), (Some(0), "menu")]);
        assert!(!more);
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_said() {
        let (all, more) = taken(vec![(Some(0), vec!["window", "menu"])], 2);
        assert_eq!((all.len(), more), (2, true));
        assert_eq!(taken(vec![(Some(0), vec!["window"])], 2).1, false);
    }

    #[test]
    fn a_thing_that_says_it_is_in_itself_is_taken_once() {
        let (all, more) = taken(vec![(Some(0), vec!["browser", "window", "window"])], 10);
        assert_eq!((all.len(), more), (2, false));
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
