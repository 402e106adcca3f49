//! Random histories of a Tenant: specs change, the limit changes, Workspaces come, go and come again, and each reads, applies and
//! reports its grant whenever it gets to it. At every step the two facts of the ledger must hold.

use proptest::prelude::*;

use super::*;

/// One step of a history. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Create {
        name: usize,
        wanted: Amounts,
    },
    Want {
        which: usize,
        wanted: Amounts,
    },
    Delete {
        which: usize,
    },
    /// The stack is gone, and with it the Workspace.
    Gone {
        which: usize,
    },
    Limit(Limit),
    /// The Tenant's controller settles. It may see Workspaces as they were a while ago.
    Settle {
        stale: bool,
    },
    /// The Workspace reads its grant, perhaps to act on it much later.
    Read {
        which: usize,
    },
    /// The Workspace sets its ResourceQuota to what it read.
    Apply {
        which: usize,
    },
    /// The Workspace says in its status what it has set.
    Report {
        which: usize,
    },
}

/// A Workspace as it really is.
#[derive(Clone, Debug)]
struct Actual {
    claim: Claim,
    /// Read and not yet applied.
    reading: Option<(Amounts, i64)>,
    /// In force and not yet reported.
    unreported: Option<(Amounts, i64)>,
    /// What its ResourceQuota is set to.
    in_force: Option<Amounts>,
}

#[derive(Default)]
struct World {
    limit: Limit,
    ledger: Ledger,
    workspaces: Vec<Actual>,
    /// The claims at some moment in the past, for a controller that sees late.
    earlier: Vec<Claim>,
    created: u32,
}

impl World {
    fn claims(&self) -> Vec<Claim> {
        self.workspaces.iter().map(|workspace| workspace.claim.clone()).collect()
    }

    fn entry(&self, uid: &str) -> Option<&Entry> {
        self.ledger.entries.iter().find(|entry| entry.uid == uid)
    }

    fn pick(&mut self, which: usize) -> Option<&mut Actual> {
        let count = self.workspaces.len();
        if count == 0 { None } else { self.workspaces.get_mut(which % count) }
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Create { name, wanted } => self.create(*name, *wanted),
            Step::Want { which, wanted } => {
                if let Some(workspace) = self.pick(*which) {
                    workspace.claim.wanted = *wanted;
                }
            }
            Step::Delete { which } => {
                if let Some(workspace) = self.pick(*which) {
                    workspace.claim.deleting = true;
                }
            }
            Step::Gone { which } => {
                let gone = self
                    .pick(*which)
                    .filter(|workspace| workspace.claim.deleting)
                    .map(|workspace| workspace.claim.uid.clone());
                self.workspaces.retain(|workspace| Some(&workspace.claim.uid) != gone.as_ref());
            }
            Step::Limit(limit) => self.limit = *limit,
            Step::Settle { stale } => return self.settle(*stale),
            Step::Read { which } => self.read(*which),
            Step::Apply { which } => self.apply(*which),
            Step::Report { which } => self.report(*which),
        }
        self.check()
    }

    /// A name can be used again once its former holder is gone.
    fn create(&mut self, name: usize, wanted: Amounts) {
        let workspace: WorkspaceName = format!("w-{}", name % 3).parse().unwrap();
        if self.workspaces.iter().all(|other| other.claim.workspace != workspace) {
            self.created += 1;
            let claim = Claim {
                workspace,
                uid: format!("uid-{:04}", self.created),
                created: format!("2025-01-01T00:{:02}:{:02}Z", self.created / 60, self.created % 60),
                wanted,
                in_force: None,
                revision: None,
                deleting: false,
            };
            self.workspaces.push(Actual { claim, reading: None, unreported: None, in_force: None });
        }
    }

    fn read(&mut self, which: usize) {
        let grants: BTreeMap<_, _> = self
            .ledger
            .entries
            .iter()
            .filter_map(|entry| Some((entry.uid.clone(), (entry.granted?, entry.revision))))
            .collect();
        // One thing at a time: what it read it applies, and what it applied it reports, before it reads again.
        let Some(workspace) = self.pick(which).filter(|w| w.reading.is_none() && w.unreported.is_none()) else {
            return;
        };
        workspace.reading = grants.get(&workspace.claim.uid).copied();
    }

    fn apply(&mut self, which: usize) {
        let Some(workspace) = self.pick(which) else { return };
        if let Some((amounts, revision)) = workspace.reading.take() {
            workspace.in_force = Some(amounts);
            workspace.unreported = Some((amounts, revision));
        }
    }

    fn report(&mut self, which: usize) {
        let Some(workspace) = self.pick(which) else { return };
        if let Some((amounts, revision)) = workspace.unreported.take() {
            workspace.claim.in_force = Some(amounts);
            workspace.claim.revision = Some(revision);
        }
    }

    fn settle(&mut self, stale: bool) -> Result<(), TestCaseError> {
        let claims = if stale { self.earlier.clone() } else { self.claims() };
        if !stale {
            self.earlier = self.claims();
        }
        let before = std::mem::take(&mut self.ledger);
        self.ledger = settle(&self.limit, &before.entries, &claims);
        check_step(&self.limit, &before.entries, &claims, &self.ledger)?;
        self.check()
    }

    /// What is in force is never more than what is held, whatever is delayed.
    fn check(&self) -> Result<(), TestCaseError> {
        for workspace in &self.workspaces {
            let Some(in_force) = workspace.in_force else { continue };
            let held = self.entry(&workspace.claim.uid).map(|entry| entry.held).unwrap_or_default();
            for ((name, in_force), (_, held)) in in_force.named().into_iter().zip(held.named()) {
                prop_assert!(
                    in_force <= held,
                    "{} of {:?}: {:?} in force, {:?} held",
                    name,
                    workspace.claim,
                    in_force,
                    held
                );
            }
        }
        Ok(())
    }

    /// Everybody acts on what was granted until nothing changes any more.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..12 {
            self.settle(false)?;
            for which in 0..self.workspaces.len() {
                self.apply(which);
                self.report(which);
                self.read(which);
                self.apply(which);
                self.report(which);
                self.check()?;
            }
        }
        Ok(())
    }
}

fn held_of(entries: &[Entry], keep: impl Fn(&Entry) -> bool) -> Amounts {
    entries.iter().filter(|entry| keep(entry)).fold(Amounts::default(), |sum, entry| sum.plus(entry.held))
}

/// What one settling may and may not do.
fn check_step(limit: &Limit, before: &[Entry], claims: &[Claim], after: &Ledger) -> Result<(), TestCaseError> {
    let known = |uid: &str| before.iter().find(|entry| entry.uid == uid);
    let claimed = |entry: &Entry| claims.iter().any(|claim| claim.uid == entry.uid);

    prop_assert_eq!(after.used, held_of(&after.entries, |_| true), "the sum is the sum");
    let former = held_of(before, claimed);
    for (((name, limit), (_, now)), (_, former)) in
        limit.amounts.named().into_iter().zip(after.used.named()).zip(former.named())
    {
        if let Some(limit) = limit {
            prop_assert!(now <= Some(limit).max(former), "{}: {:?} held of {}, {:?} before", name, now, limit, former);
        }
    }
    let (counted, former) = (
        after.entries.iter().filter(|e| e.granted.is_some()).count(),
        before.iter().filter(|e| e.granted.is_some() && claimed(e)).count(),
    );
    let most = usize::try_from(limit.workspaces.unwrap_or(500)).unwrap();
    prop_assert!(usize::try_from(after.workspaces).unwrap() == counted && counted <= most.max(former));

    for claim in claims {
        let now = after.entries.iter().find(|entry| entry.uid == claim.uid);
        let Some(granted) = known(&claim.uid).and_then(|entry| entry.granted) else {
            prop_assert!(now.is_some() || claim.deleting, "{:?} was not answered", claim);
            continue;
        };
        let still = now.and_then(|entry| entry.granted);
        prop_assert!(still.is_some(), "{:?} was evicted", claim);
        for (((name, was), (_, wanted)), (_, is)) in
            granted.named().into_iter().zip(claim.wanted.named()).zip(still.unwrap_or_default().named())
        {
            let kept = is.is_none() || is >= was.min(wanted.or(was));
            prop_assert!(kept || was.is_none(), "{} of {:?}: {:?} became {:?}", name, claim, was, is);
        }
    }
    for entry in &after.entries {
        prop_assert!(claimed(entry), "{:?} has no claim", entry);
        for ((_, limit), (name, granted)) in
            limit.amounts.named().into_iter().zip(entry.granted.unwrap_or_default().named())
        {
            let unlimited_before = known(&entry.uid)
                .and_then(|entry| entry.granted)
                .is_some_and(|before| before.named().contains(&(name, None)));
            let newly_unlimited = entry.granted.is_some() && granted.is_none() && !unlimited_before;
            prop_assert!(limit.is_none() || !newly_unlimited, "{} of {:?} was granted without limit", name, entry);
        }
    }
    prop_assert_eq!(&settle(limit, &after.entries, claims), after, "settling twice changes something");
    prop_assert_eq!(&read(&after.status()).unwrap(), &after.entries, "the status holds all of it");
    Ok(())
}

/// At rest everybody has what it asks for, or is refused and really could not have it.
fn check_rest(world: &World) -> Result<(), TestCaseError> {
    for workspace in world.workspaces.iter().filter(|workspace| !workspace.claim.deleting) {
        let entry = world.entry(&workspace.claim.uid).unwrap();
        prop_assert_eq!(entry.granted, workspace.in_force);
        prop_assert_eq!(entry.held, entry.granted.unwrap_or_default(), "nothing is held that is not in force");
        let wanted = workspace.claim.wanted;
        match &entry.refused {
            None => prop_assert_eq!(entry.granted, Some(wanted)),
            Some(Refusal { reason: Reason::Required, .. }) => {
                let unnamed = world
                    .limit
                    .amounts
                    .named()
                    .into_iter()
                    .zip(wanted.named())
                    .any(|((_, limit), (_, wanted))| limit.is_some() && wanted.is_none());
                prop_assert!(unnamed, "{:?}", entry);
            }
            Some(Refusal { reason: Reason::Exceeded, .. }) => {
                let others = held_of(&world.ledger.entries, |other| other.uid != entry.uid).plus(wanted);
                let too_much = world
                    .limit
                    .amounts
                    .named()
                    .into_iter()
                    .zip(others.named())
                    .any(|((_, limit), (_, sum))| limit.is_some() && sum > limit);
                let too_many = entry.granted.is_none() && Some(world.ledger.workspaces) >= world.limit.workspaces;
                prop_assert!(too_much || (too_many && world.limit.workspaces.is_some()), "{:?} would fit", entry);
            }
        }
    }
    Ok(())
}

fn any_amount() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 6 => (1u64..5).prop_map(Some)]
}

/// Few cores and mebibytes, so that claims collide.
fn any_amounts() -> impl Strategy<Value = Amounts> {
    (any_amount(), any_amount()).prop_map(|(cpu, memory)| Amounts {
        cpu,
        memory: memory.map(|mebibytes| mebibytes << 20),
        ..Amounts::default()
    })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let amounts = (any_amount(), any_amount()).prop_map(|(cpu, memory)| Amounts {
        cpu: cpu.map(|n| n * 2),
        memory: memory.map(|n| n << 21),
        ..Amounts::default()
    });
    (prop_oneof![2 => Just(None), 1 => (0i32..4).prop_map(Some)], amounts)
        .prop_map(|(workspaces, amounts)| Limit { workspaces, amounts })
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = 0usize..3;
    prop_oneof![
        2 => (which.clone(), any_amounts()).prop_map(|(name, wanted)| Step::Create { name, wanted }),
        4 => (which.clone(), any_amounts()).prop_map(|(which, wanted)| Step::Want { which, wanted }),
        1 => which.clone().prop_map(|which| Step::Delete { which }),
        2 => which.clone().prop_map(|which| Step::Gone { which }),
        1 => any_limit().prop_map(Step::Limit),
        6 => any::<bool>().prop_map(|stale| Step::Settle { stale }),
        4 => which.clone().prop_map(|which| Step::Read { which }),
        4 => which.clone().prop_map(|which| Step::Apply { which }),
        4 => which.prop_map(|which| Step::Report { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_stack_uses_more_than_is_held_and_no_limit_is_exceeded(
        limit in any_limit(),
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut world = World { limit, ..World::default() };
        for step in &steps {
            world.take(step)?;
        }
        world.come_to_rest()?;
        check_rest(&world)?;
    }

    #[test]
    fn the_order_in_which_claims_are_listed_does_not_matter(
        limit in any_limit(),
        wanted in prop::collection::vec(any_amounts(), 1..8),
        turn in 0usize..8,
    ) {
        let mut world = World::default();
        for (name, wanted) in wanted.into_iter().enumerate() {
            world.create(name, wanted);
        }
        let claims = world.claims();
        let mut turned = claims.clone();
        turned.rotate_left(turn % claims.len());
        prop_assert_eq!(settle(&limit, &[], &claims), settle(&limit, &[], &turned));
    }
}
