//! Walks through points. In: which. Out: [`Tally`], with what failed and how to do it again. Several scenes are walked beside each
//! other, because a point waits more than it computes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::{join_all, try_join_all};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::Value;

use super::cast::Cast;
use super::oracles::{self, Findings};
use super::point::{Point, STORIES, Story, WriteName};
use super::points::{self, Learned};
use super::scene::Scene;
use super::tell::{Told, tell};

/// Errors concern one tenant, so many tenants meet theirs on one scene at once; the end of a process concerns all.
const AT_ONCE: usize = 8;
/// Pairs of faults in a whole walk.
const PAIRS: usize = 600;
/// How long nothing at all may be written after everything was told.
const SILENCE: Duration = Duration::from_secs(10);
/// How many casts stand at once before they go: enough to see that they are left alone, and not so many that each new operator has
/// more to do with them than with its own.
const STANDING: usize = 16;
/// How often a fault-free run of each story is looked at.
const LESSONS: usize = 3;

/// Which points are walked.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All of them, and pairs drawn with this seed.
    All {
        /// Of the pairs.
        seed: u64,
    },
    /// So many drawn with this seed, of each sort; none is begun after `limit`.
    Spread {
        /// Of what is drawn.
        seed: u64,
        /// Errors, crashes and pairs.
        counts: [usize; 3],
        /// From the first point on: on a busy machine it takes a while to learn where they are.
        limit: Duration,
    },
    /// All of one story, and its share of the pairs.
    Story(Story),
    /// This one.
    One(Point),
}

/// How a walk ended.
#[derive(Debug, Default)]
pub struct Tally {
    /// Points that were told.
    pub points: usize,
    /// Blows that found no write to fall on.
    pub missed: usize,
    /// Points for which there was no time.
    pub left: usize,
    /// Over all points.
    pub findings: Findings,
    /// Each point that failed, with why.
    pub failed: Vec<(Point, Vec<String>)>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { leftovers, duplicates, disagreements, differences, complaints } = &self.findings;
        write!(f, "points={} leftovers={} duplicates={} ", self.points, leftovers.len(), duplicates.len())?;
        write!(f, "disagreements={} differences={} ", disagreements.len(), differences.len())?;
        write!(f, "complaints={} missed={} left={}", complaints.len(), self.missed, self.left)
    }
}

/// What all lanes share.
struct Course {
    errors: Mutex<VecDeque<Point>>,
    crashes: Mutex<VecDeque<Point>>,
    expected: BTreeMap<Story, Value>,
    tally: Mutex<Tally>,
    number: AtomicUsize,
    until: Option<Instant>,
    total: usize,
    say: fn(&str),
}

/// Walks the points of the scope on so many scenes; `say` is told of progress.
pub async fn walk(scope: &Scope, lanes: usize, say: fn(&str)) -> Result<Tally> {
    let scenes = try_join_all((0..lanes).map(|_| Scene::set())).await?;
    let Some(first) = scenes.first() else { return Ok(Tally::default()) };
    let (learned, expected) = learn(first, scope, say).await?;
    let (errors, crashes, until) = plan(scope, &learned);
    let total = errors.len() + crashes.len();
    say(&format!("{total} points on {lanes} planes"));
    let course = Course {
        errors: Mutex::new(errors.into()),
        crashes: Mutex::new(crashes.into()),
        expected,
        tally: Mutex::default(),
        number: AtomicUsize::new(0),
        until,
        total,
        say,
    };
    join_all(scenes.iter().map(|scene| course.lane(scene))).await;
    for scene in scenes {
        scene.strike().await?;
    }
    let left = lock(&course.errors).len() + lock(&course.crashes).len();
    let mut tally = course.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.left = left;
    Ok(tally)
}

/// Tells each story of the scope without faults, and again, and says which writes it has and what it leaves behind. The stories are told
/// beside each other.
async fn learn(scene: &Scene, scope: &Scope, say: fn(&str)) -> Result<(Learned, BTreeMap<Story, Value>)> {
    let is_told = |story: Story| match scope {
        Scope::Story(only) | Scope::One(Point { story: only, .. }) => *only == story,
        Scope::Spread { .. } | Scope::All { .. } => true,
    };
    let stories = STORIES.into_iter().filter(|(story, _)| is_told(*story));
    let lessons = stories.map(async |(story, name)| anyhow::Ok((story, name, lessons(scene, story, name).await?)));
    let (mut learned, mut expected) = (Learned::new(), BTreeMap::new());
    for (story, name, (writes, end)) in try_join_all(lessons).await? {
        let outside = writes.iter().filter(|write| write.operation().is_some()).count();
        say(&format!("{name}: {} writes at the API server, {outside} outside", writes.len() - outside));
        learned.insert(story, writes);
        expected.insert(story, end);
    }
    Ok((learned, expected))
}

/// Tells one story without faults, and again. Returns the writes that come each time, and what it leaves behind.
async fn lessons(scene: &Scene, story: Story, name: &str) -> Result<(Vec<WriteName>, Value)> {
    let mut known: Option<(Vec<WriteName>, Value)> = None;
    for lesson in 0..LESSONS {
        let point = Point { story, blows: Vec::new() };
        let expected = known.as_ref().map(|(_, end)| end);
        let told = tell(scene, &point, &format!("{name}-{lesson}"), expected).await?;
        let found = told.findings.all();
        ensure!(found.is_empty(), "the story {name} fails without any fault:\n{}", found.join("\n"));
        let writes = match &known {
            None => told.writes,
            Some((before, _)) => points::common(before, &told.writes),
        };
        known = Some((writes, told.end));
        scene.watchman.begin(&told.cast, false);
        told.cast.go(&scene.platform).await?;
        scene.settle(&told.cast, Story::Delete, None).await?;
        told.cast.close_shop(&scene.platform).await?;
    }
    Ok(known.unwrap_or_default())
}

/// What is walked: errors, then crashes, then until when.
fn plan(scope: &Scope, learned: &Learned) -> (Vec<Point>, Vec<Point>, Option<Instant>) {
    let (mut errors, mut crashes) = (points::errors(learned), points::crashes(learned));
    let (seed, pairs, until) = match scope {
        Scope::One(point) => {
            let alone = vec![point.clone()];
            return if point.has_crash() { (Vec::new(), alone, None) } else { (alone, Vec::new(), None) };
        }
        Scope::All { seed } => (*seed, PAIRS, None),
        Scope::Story(_) => (rand::random(), PAIRS / STORIES.len(), None),
        Scope::Spread { seed, counts: [_, _, pairs], limit } => (*seed, *pairs, Some(Instant::now() + *limit)),
    };
    let mut random = StdRng::seed_from_u64(seed);
    if let Scope::Spread { counts: [most_errors, most_crashes, _], .. } = scope {
        errors.shuffle(&mut random);
        crashes.shuffle(&mut random);
        errors.truncate(*most_errors);
        crashes.truncate(*most_crashes);
    }
    let pairs = points::pairs(learned, pairs, &mut random);
    let (with_crash, without): (Vec<_>, Vec<_>) = pairs.into_iter().partition(Point::has_crash);
    errors.extend(without);
    crashes.extend(with_crash);
    (errors, crashes, until)
}

impl Course {
    /// Walks on one scene until there are no points left, and then looks at what is left of all of it.
    async fn lane(&self, scene: &Scene) {
        let casts = Mutex::new(Vec::new());
        join_all((0..AT_ONCE).map(|_| self.follow(scene, &self.errors, &casts))).await;
        self.follow(scene, &self.crashes, &casts).await;
        // Nothing is written while nothing changes.
        tokio::time::sleep(SILENCE).await;
        self.clear(scene, &casts.into_inner().unwrap_or_else(PoisonError::into_inner)).await;
    }

    async fn follow(&self, scene: &Scene, points: &Mutex<VecDeque<Point>>, casts: &Mutex<Vec<(Point, Cast)>>) {
        loop {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let Some(point) = lock(points).pop_front() else { return };
            let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
            let told = tell(scene, &point, &format!("p{number}"), self.expected.get(&point.story)).await;
            match told {
                Ok(told) => {
                    let cast = told.cast.clone();
                    self.note(point.clone(), told);
                    let full = {
                        let mut casts = lock(casts);
                        casts.push((point, cast));
                        if casts.len() > STANDING { std::mem::take(&mut *casts) } else { Vec::new() }
                    };
                    self.clear(scene, &full).await;
                }
                Err(error) => {
                    let complaints = vec![format!("{error:#}")];
                    self.fail(point, Findings { complaints, ..Findings::default() });
                }
            }
        }
    }

    fn note(&self, point: Point, told: Told) {
        let mut tally = lock(&self.tally);
        tally.points += 1;
        tally.missed += told.missed.len();
        let (points, total) = (tally.points, self.total);
        drop(tally);
        if points % 25 == 0 {
            (self.say)(&format!("{points} of {total} points"));
        }
        if point.blows.len() == 1 && !told.missed.is_empty() {
            (self.say)(&format!("nothing was written on which {point} could fall"));
        }
        if !told.findings.all().is_empty() {
            self.fail(point, told.findings);
        }
    }

    fn fail(&self, point: Point, findings: Findings) {
        let found = findings.all();
        (self.say)(&format!("FAILED {point}\n  {}\n  again: make faults SEED={point}", found.join("\n  ")));
        let mut tally = lock(&self.tally);
        tally.findings.extend(findings);
        tally.failed.push((point, found));
    }

    /// All these casts go, and nothing of any of them is left.
    async fn clear(&self, scene: &Scene, casts: &[(Point, Cast)]) {
        for some in casts.chunks(AT_ONCE) {
            join_all(some.iter().map(|(point, cast)| self.remove(scene, point, cast))).await;
        }
    }

    async fn remove(&self, scene: &Scene, point: &Point, cast: &Cast) {
        let removed = async {
            scene.watchman.begin(cast, false);
            if point.story != Story::Delete {
                cast.go(&scene.platform).await?;
                scene.settle(cast, Story::Delete, None).await?;
            }
            let leftovers = oracles::leftovers(scene, cast).await?;
            cast.close_shop(&scene.platform).await?;
            anyhow::Ok(leftovers)
        };
        let findings = match removed.await {
            Ok(leftovers) => Findings { leftovers, complaints: scene.watchman.complaints(cast), ..Findings::default() },
            Err(error) => Findings { complaints: vec![format!("it does not go: {error:#}")], ..Findings::default() },
        };
        if !findings.all().is_empty() {
            self.fail(point.clone(), findings);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
