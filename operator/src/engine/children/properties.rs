//! A mirror of children under watches that lag, double and are listed anew, beside answers to our own writes that may come before
//! or after what the watch tells of them: in the end it holds what the server holds, and on the way it never goes back.

use std::collections::{BTreeMap, VecDeque};

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::core::ObjectMeta;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

type Object = PartialObjectMeta<ResourceQuota>;

struct World {
    random: StdRng,
    version: u64,
    uids: u64,
    stored: BTreeMap<&'static str, Object>,
    /// What the watch has still to tell.
    events: VecDeque<Event<Object>>,
    /// Answers to our own writes that are still under way.
    answers: Vec<(Object, Before)>,
    mirror: ChildMirror<ResourceQuota>,
    children: Children,
}

fn key(name: &str) -> Key {
    Key { kind: Kind::ResourceQuota, namespace: Some("stack".to_owned()), name: name.to_owned() }
}

impl World {
    fn of(seed: u64) -> Self {
        let children = Children::default();
        Self {
            random: StdRng::seed_from_u64(seed),
            version: 0,
            uids: 0,
            stored: BTreeMap::new(),
            events: VecDeque::new(),
            answers: Vec::new(),
            mirror: ChildMirror::new(Kind::ResourceQuota, children.clone()),
            children,
        }
    }

    fn write(&mut self, name: &'static str, ours: bool) {
        self.version += 1;
        let uid = self.stored.get(name).and_then(ResourceExt::uid).unwrap_or_else(|| {
            self.uids += 1;
            format!("uid-{}", self.uids)
        });
        let object = PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("stack".to_owned()),
                uid: Some(uid),
                resource_version: Some(self.version.to_string()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        };
        self.stored.insert(name, object.clone());
        self.events.push_back(Event::Apply(object.clone()));
        if ours {
            self.answers.push((object, self.children.before()));
        }
    }

    fn delete(&mut self, name: &'static str) {
        if let Some(mut object) = self.stored.remove(name) {
            self.version += 1;
            object.metadata.resource_version = Some(self.version.to_string());
            self.events.push_back(Event::Delete(object));
        }
    }

    fn list(&mut self) {
        self.events.clear();
        self.mirror.absorb(Event::Init);
        for object in self.stored.values() {
            self.mirror.absorb(Event::InitApply(object.clone()));
        }
        self.mirror.absorb(Event::InitDone);
    }

    fn step(&mut self) {
        let name = ["a", "b"][self.random.random_range(0..2)];
        match self.random.random_range(0..12) {
            0..3 => {
                let ours = self.random.random_bool(0.5);
                self.write(name, ours);
            }
            3 => self.delete(name),
            4 => self.list(),
            5..8 if !self.answers.is_empty() => self.hear_answer(),
            _ => self.hear(),
        }
    }

    fn hear_answer(&mut self) {
        let (answer, before) = self.answers.remove(self.random.random_range(0..self.answers.len()));
        self.children.wrote(key(&answer.name_any()), Child::of(&answer), before);
    }

    fn hear(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        if self.random.random_bool(0.2) {
            self.mirror.absorb(event.clone());
        }
        self.mirror.absorb(event);
    }
}

#[test]
fn in_the_end_the_mirror_holds_what_the_server_holds() {
    for seed in 0..3_000 {
        let mut world = World::of(seed);
        for _ in 0..40 {
            world.step();
        }
        while !world.events.is_empty() || !world.answers.is_empty() {
            if world.answers.is_empty() || (!world.events.is_empty() && world.random.random_bool(0.5)) {
                world.hear();
            } else {
                world.hear_answer();
            }
        }
        for name in ["a", "b"] {
            let version = |object: &Object| version_of(object.metadata.resource_version.as_deref());
            let (held, stored) = (world.children.get(&key(name)), world.stored.get(name));
            assert_eq!(held.map(|child| child.version), stored.map(version), "seed {seed}, child {name}");
        }
    }
}
