use super::*;
use crate::fixtures;

/// Amounts of CPU alone, in whole cores.
pub(super) fn cores(count: u64) -> Amounts {
    Amounts { cpu: Some(count * 1_000), ..Amounts::default() }
}

pub(super) fn limit(amounts: Amounts) -> Limit {
    Limit { workspaces: None, amounts }
}

/// A claim of the Workspace of this name; its UID is `uid-<name>` and the names are in order of age.
pub(super) fn claim(name: &str, wanted: Amounts) -> Claim {
    Claim {
        workspace: name.parse().unwrap(),
        uid: format!("uid-{name}"),
        created: "2025-01-01T00:00:00Z".into(),
        wanted,
        in_force: None,
        revision: None,
        deleting: false,
    }
}

impl Claim {
    /// The Workspace has set its quota to what this ledger grants it, and has said so.
    fn acting_on(mut self, ledger: &Ledger) -> Self {
        let entry = ledger.of(&self.workspace);
        (self.in_force, self.revision) = (entry.granted, Some(entry.revision));
        self
    }

    fn created(self, created: &str) -> Self {
        Self { created: created.into(), ..self }
    }

    fn wanting(self, wanted: Amounts) -> Self {
        Self { wanted, ..self }
    }
}

impl Ledger {
    pub(super) fn of(&self, workspace: &WorkspaceName) -> &Entry {
        self.entries.iter().find(|entry| entry.workspace == *workspace).unwrap()
    }

    /// Granted and held of this Workspace.
    fn row(&self, workspace: &str) -> (Option<Amounts>, Amounts) {
        let entry = self.of(&workspace.parse().unwrap());
        (entry.granted, entry.held)
    }

    fn reason(&self, workspace: &str) -> Option<Reason> {
        self.of(&workspace.parse().unwrap()).refused.as_ref().map(|refusal| refusal.reason)
    }

    fn message(&self, workspace: &str) -> String {
        self.of(&workspace.parse().unwrap()).refused.as_ref().unwrap().to_string()
    }
}

#[test]
fn what_fits_is_granted_and_held() {
    let ledger = settle(&limit(cores(16)), &[], &[claim("alpha", cores(10)), claim("beta", cores(6))]);
    assert_eq!(ledger.row("alpha"), (Some(cores(10)), cores(10)));
    assert_eq!(ledger.row("beta"), (Some(cores(6)), cores(6)));
    assert_eq!((ledger.workspaces, ledger.used), (2, cores(16)));
}

#[test]
fn the_claim_that_no_longer_fits_is_refused_and_told_how_much_is_possible() {
    let ledger = settle(&limit(cores(16)), &[], &[claim("alpha", cores(10)), claim("beta", cores(7))]);
    assert_eq!(ledger.row("beta"), (None, Amounts::default()));
    assert_eq!(ledger.reason("beta"), Some(Reason::Exceeded));
    assert_eq!(ledger.message("beta"), "cpu: 7 asked, up to 6 possible of the Tenant's 16");
    assert_eq!((ledger.workspaces, ledger.used), (1, cores(10)), "what was refused neither holds nor counts");
}

#[test]
fn every_resource_is_counted_by_itself() {
    let limit = limit(fixtures::amounts("16", "64Gi", "500Gi"));
    let alpha = claim("alpha", fixtures::amounts("1", "60Gi", "400Gi"));
    let beta = claim("beta", fixtures::amounts("1", "5Gi", "101Gi"));
    let ledger = settle(&limit, &[], &[alpha, beta]);
    assert_eq!(
        ledger.message("beta"),
        "memory: 5Gi asked, up to 4Gi possible of the Tenant's 64Gi; storage: 101Gi asked, up to 100Gi possible of the Tenant's 500Gi"
    );
}

#[test]
fn the_longest_refusal_fits_the_status() {
    let most = fixtures::amounts("9999999", "999999Ti", "999999Ti");
    let limit = limit(most.zip(most, |a, _| a.map(|a| a - 1)));
    let message = settle(&limit, &[], &[claim("alpha", most)]).message("alpha");
    assert!(message.contains("storage") && message.len() <= 256, "{} characters: {message}", message.len());
}

#[test]
fn the_oldest_is_served_first_and_the_uid_decides_between_twins() {
    let younger = claim("alpha", cores(10)).created("2025-01-01T00:00:01Z");
    let older = claim("zulu", cores(10));
    let ledger = settle(&limit(cores(10)), &[], &[younger, older]);
    assert_eq!((ledger.row("alpha").0, ledger.row("zulu").0), (None, Some(cores(10))));

    let ledger = settle(&limit(cores(10)), &[], &[claim("beta", cores(10)), claim("alpha", cores(10))]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(cores(10)), None));
}

#[test]
fn whoever_holds_something_comes_before_an_older_newcomer() {
    let holder = claim("alpha", cores(4)).created("2025-01-01T00:00:09Z");
    let before = settle(&limit(cores(10)), &[], std::slice::from_ref(&holder));
    let ledger = settle(&limit(cores(10)), &before.entries, &[claim("beta", cores(6)), holder.wanting(cores(8))]);
    assert_eq!(ledger.row("alpha"), (Some(cores(8)), cores(8)));
    assert_eq!(ledger.reason("beta"), Some(Reason::Exceeded));
}

#[test]
fn a_refused_claim_does_not_hold_up_a_smaller_one_behind_it() {
    let ledger = settle(&limit(cores(10)), &[], &[claim("alpha", cores(11)), claim("beta", cores(10))]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (None, Some(cores(10))));
}

#[test]
fn growth_that_does_not_fit_leaves_the_grant_as_it_was() {
    let claims = [claim("alpha", cores(4)), claim("beta", cores(4))];
    let before = settle(&limit(cores(10)), &[], &claims);
    let [alpha, beta] = claims;
    let ledger = settle(&limit(cores(10)), &before.entries, &[alpha.wanting(cores(7)), beta]);
    assert_eq!(ledger.row("alpha"), (Some(cores(4)), cores(4)));
    assert_eq!(ledger.message("alpha"), "cpu: 7 asked, up to 6 possible of the Tenant's 10");
    assert_eq!(ledger.of(&"alpha".parse().unwrap()).revision, 1, "an unchanged grant keeps its number");
}

#[test]
fn two_that_grow_at_once_do_not_both_get_the_last_of_it() {
    let claims = [claim("alpha", cores(4)), claim("beta", cores(4))];
    let before = settle(&limit(cores(10)), &[], &claims);
    let ledger = settle(&limit(cores(10)), &before.entries, &claims.map(|claim| claim.wanting(cores(6))));
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(cores(6)), Some(cores(4))));
    assert_eq!(ledger.used, cores(10));
}

#[test]
fn what_shrinks_is_free_only_once_the_workspace_has_acted_on_it() {
    let limit = limit(cores(10));
    let alpha = claim("alpha", cores(10));
    let ledger = settle(&limit, &[], std::slice::from_ref(&alpha));
    let alpha = alpha.acting_on(&ledger).wanting(cores(3));
    let beta = claim("beta", cores(7));

    let ledger = settle(&limit, &ledger.entries, &[alpha.clone(), beta.clone()]);
    assert_eq!(ledger.row("alpha"), (Some(cores(3)), cores(10)));
    assert_eq!(ledger.reason("beta"), Some(Reason::Exceeded));

    let ledger = settle(&limit, &ledger.entries, &[alpha.acting_on(&ledger), beta]);
    assert_eq!(ledger.row("alpha"), (Some(cores(3)), cores(3)));
    assert_eq!(ledger.row("beta"), (Some(cores(7)), cores(7)));
}

#[test]
fn a_workspace_that_still_acts_on_an_older_larger_grant_is_covered() {
    let limit = limit(cores(10));
    let alpha = claim("alpha", cores(4));
    let ledger = settle(&limit, &[], std::slice::from_ref(&alpha));
    let alpha = alpha.acting_on(&ledger);
    // It reads a grant of 8 and is slow; meanwhile its spec goes back to 4, which is what it last reported.
    let grown = settle(&limit, &ledger.entries, &[alpha.clone().wanting(cores(8))]);
    let ledger = settle(&limit, &grown.entries, &[alpha.clone(), claim("beta", cores(6))]);
    assert_eq!(ledger.row("alpha"), (Some(cores(4)), cores(8)), "8 may come into force at any moment");
    assert_eq!(ledger.row("beta").0, None);
    let ledger = settle(&limit, &ledger.entries, &[alpha.clone(), claim("beta", cores(6))]);
    assert_eq!(ledger.row("alpha").1, cores(8), "that it last reported 4 does not mean that it acted on the newest 4");

    let late = alpha.clone().acting_on(&grown).wanting(cores(4));
    let ledger = settle(&limit, &ledger.entries, &[late, claim("beta", cores(6))]);
    assert_eq!(ledger.row("alpha").1, cores(8));

    let ledger = settle(&limit, &ledger.entries, &[alpha.acting_on(&ledger), claim("beta", cores(6))]);
    assert_eq!((ledger.row("alpha").1, ledger.row("beta").0), (cores(4), Some(cores(6))));
}

#[test]
fn what_shrinks_in_one_resource_does_so_even_if_another_may_not_grow() {
    let limit = limit(Amounts { storage: None, ..fixtures::amounts("12", "12Gi", "1Gi") });
    let want = |cpu, memory| Amounts { storage: None, ..fixtures::amounts(cpu, memory, "1Gi") };
    let claims = [claim("alpha", want("4", "8Gi")), claim("beta", want("8", "4Gi"))];
    let ledger = settle(&limit, &[], &claims);
    // They swap. If each waited for the other to give first, both would wait for ever.
    let [alpha, beta] = claims.map(|claim| claim.acting_on(&ledger));
    let (alpha, beta) = (alpha.wanting(want("8", "4Gi")), beta.wanting(want("4", "8Gi")));
    let ledger = settle(&limit, &ledger.entries, &[alpha.clone(), beta.clone()]);
    assert_eq!(ledger.row("alpha").0, Some(want("4", "4Gi")));
    assert_eq!(ledger.message("alpha"), "cpu: 8 asked, up to 4 possible of the Tenant's 12");
    let ledger = settle(&limit, &ledger.entries, &[alpha.acting_on(&ledger), beta.acting_on(&ledger)]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(want("8", "4Gi")), Some(want("4", "8Gi"))));
}

#[test]
fn a_lowered_limit_evicts_nobody_and_refuses_newcomers() {
    let claims = [claim("alpha", cores(6)), claim("beta", cores(6))];
    let before = settle(&limit(cores(12)), &[], &claims);
    let [alpha, beta] = claims;
    let ledger = settle(&limit(cores(4)), &before.entries, &[alpha, beta, claim("gamma", cores(1))]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(cores(6)), Some(cores(6))));
    assert_eq!(ledger.message("gamma"), "cpu: 1 asked, up to 0 possible of the Tenant's 4");
}

#[test]
fn a_limit_lowered_below_what_is_held_does_not_stop_another_resource_from_growing() {
    let want = |cpu, memory| Amounts { storage: None, ..fixtures::amounts(cpu, memory, "1Gi") };
    let alpha = claim("alpha", want("4", "8Gi"));
    let before = settle(&limit(want("8", "8Gi")), &[], std::slice::from_ref(&alpha));
    let ledger = settle(&limit(want("8", "4Gi")), &before.entries, &[alpha.wanting(want("5", "8Gi"))]);
    assert_eq!(ledger.row("alpha").0, Some(want("5", "8Gi")));
}

#[test]
fn a_limited_resource_that_is_not_named_is_required() {
    let limit = limit(fixtures::amounts("16", "64Gi", "500Gi"));
    let ledger = settle(&limit, &[], &[claim("alpha", cores(4))]);
    assert_eq!((ledger.row("alpha").0, ledger.reason("alpha")), (None, Some(Reason::Required)));
    assert_eq!(ledger.message("alpha"), "the Tenant limits memory, storage: name how much in spec.quota");
}

#[test]
fn a_resource_that_is_no_longer_named_stays_as_granted() {
    let alpha = claim("alpha", cores(4));
    let before = settle(&limit(cores(16)), &[], std::slice::from_ref(&alpha));
    let ledger = settle(&limit(cores(16)), &before.entries, &[alpha.wanting(Amounts::default())]);
    assert_eq!((ledger.row("alpha"), ledger.reason("alpha")), ((Some(cores(4)), cores(4)), Some(Reason::Required)));
}

#[test]
fn where_the_tenant_limits_nothing_all_is_granted_and_still_written_down() {
    let claims = [claim("alpha", cores(400)), claim("beta", Amounts::default())];
    let ledger = settle(&Limit::default(), &[], &claims);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(cores(400)), Some(Amounts::default())));
    assert_eq!((ledger.workspaces, ledger.used), (2, cores(400)));
}

#[test]
fn a_first_bound_on_what_was_not_limited_must_fit_like_any_growth() {
    let claims = [claim("alpha", Amounts::default()), claim("beta", cores(6))];
    let before = settle(&Limit::default(), &[], &claims);
    let [alpha, beta] = claims;
    let ledger = settle(&limit(cores(10)), &before.entries, &[alpha.clone().wanting(cores(5)), beta.clone()]);
    assert_eq!((ledger.row("alpha").0, ledger.reason("alpha")), (Some(Amounts::default()), Some(Reason::Exceeded)));
    let ledger = settle(&limit(cores(10)), &before.entries, &[alpha.wanting(cores(4)), beta]);
    assert_eq!(ledger.row("alpha"), (Some(cores(4)), cores(4)));
}

#[test]
fn no_more_workspaces_than_the_tenant_may_have() {
    let limit = Limit { workspaces: Some(1), amounts: Amounts::default() };
    let ledger = settle(&limit, &[], &[claim("alpha", cores(1)), claim("beta", cores(1))]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0, ledger.workspaces), (Some(cores(1)), None, 1));
    assert_eq!(ledger.reason("beta"), Some(Reason::Exceeded));
    assert_eq!(ledger.message("beta"), "workspaces: the 1 that the Tenant can have are taken");

    let none = Limit { workspaces: Some(0), amounts: Amounts::default() };
    assert_eq!(settle(&none, &[], &[claim("alpha", cores(1))]).workspaces, 0);
    let kept = settle(&none, &ledger.entries, &[claim("alpha", cores(1)), claim("beta", cores(1))]);
    assert_eq!((kept.row("alpha").0, kept.row("beta").0), (Some(cores(1)), None), "lowering evicts nobody");
}

#[test]
fn a_deleting_workspace_keeps_what_it_holds_until_it_is_gone() {
    let limit = limit(cores(10));
    let alpha = claim("alpha", cores(10));
    let before = settle(&limit, &[], std::slice::from_ref(&alpha));
    let deleting = Claim { deleting: true, ..alpha.acting_on(&before).wanting(cores(1)) };
    let beta = claim("beta", cores(10));
    let ledger = settle(&limit, &before.entries, &[deleting, beta.clone()]);
    assert_eq!((ledger.row("alpha"), ledger.row("beta").0), ((Some(cores(10)), cores(10)), None));
    let ledger = settle(&limit, &ledger.entries, &[beta]);
    assert_eq!((ledger.entries.len(), ledger.row("beta").0), (1, Some(cores(10))));
}

#[test]
fn a_deleting_workspace_is_refused_nothing() {
    let alpha = claim("alpha", cores(4));
    let before = settle(&limit(cores(10)), &[], std::slice::from_ref(&alpha));
    let alpha = alpha.wanting(cores(11));
    let before = settle(&limit(cores(10)), &before.entries, std::slice::from_ref(&alpha));
    assert_eq!(before.reason("alpha"), Some(Reason::Exceeded));
    let ledger = settle(&limit(cores(10)), &before.entries, &[Claim { deleting: true, ..alpha }]);
    assert_eq!(ledger.reason("alpha"), None);
}

#[test]
fn a_workspace_that_is_deleted_before_it_was_granted_anything_gets_nothing() {
    let deleting = Claim { deleting: true, ..claim("alpha", cores(1)) };
    assert_eq!(settle(&Limit::default(), &[], &[deleting]), Ledger::default());
}

#[test]
fn a_namesake_that_came_later_inherits_nothing() {
    let before = settle(&limit(cores(10)), &[], &[claim("alpha", cores(10))]);
    let again = Claim { uid: "uid-alpha-again".into(), ..claim("alpha", cores(3)) };
    let ledger = settle(&limit(cores(10)), &before.entries, &[again]);
    assert_eq!((ledger.entries.len(), ledger.row("alpha")), (1, (Some(cores(3)), cores(3))));
    assert_eq!(ledger.of(&"alpha".parse().unwrap()).revision, 1, "its grants are counted anew");
}

#[test]
fn a_lost_ledger_is_made_anew_from_what_is_in_force() {
    let limit = limit(cores(10));
    let alpha = claim("alpha", cores(4));
    let ledger = settle(&limit, &[], std::slice::from_ref(&alpha));
    let alpha = alpha.acting_on(&ledger);
    assert_eq!(settle(&limit, &[], std::slice::from_ref(&alpha)), ledger);
    // Even if an older newcomer asks for all there is.
    let older = claim("beta", cores(10)).created("2024-01-01T00:00:00Z");
    let ledger = settle(&limit, &[], &[alpha, older]);
    assert_eq!((ledger.row("alpha").0, ledger.row("beta").0), (Some(cores(4)), None));
}

#[test]
fn more_in_force_than_granted_counts() {
    let limit = limit(cores(10));
    let alpha = claim("alpha", cores(4));
    let ledger = settle(&limit, &[], std::slice::from_ref(&alpha));
    let overdrawn = Claim { in_force: Some(cores(9)), ..alpha.acting_on(&ledger) };
    assert_eq!(settle(&limit, &ledger.entries, &[overdrawn]).row("alpha"), (Some(cores(4)), cores(9)));
}

#[test]
fn a_claim_that_stands_twice_counts_once() {
    let ledger = settle(&limit(cores(10)), &[], &[claim("alpha", cores(4)), claim("alpha", cores(4))]);
    assert_eq!((ledger.entries.len(), ledger.used), (1, cores(4)));
}

/// 501 Workspaces, each wanting one core. Three digits keep the names in order.
fn crowd() -> Vec<Claim> {
    (0..=500).map(|number| claim(&format!("w-{number:03}"), cores(1))).collect()
}

#[test]
fn a_tenant_without_a_limit_on_workspaces_still_has_500_at_most() {
    let ledger = settle(&Limit::default(), &[], &crowd());
    assert_eq!((ledger.entries.len(), ledger.workspaces), (500, 500));
    let standing = Standing::of(&ledger.status(), "uid-w-500").unwrap();
    assert!(matches!(&standing, Standing::Refused(refusal) if refusal.reason == Reason::Exceeded), "{standing:?}");
}

#[test]
fn refused_claims_never_crowd_out_what_is_held() {
    let claims = crowd();
    let last = Claim { created: "2025-02-01T00:00:00Z".into(), ..claim("zulu", cores(1)) };
    let held = settle(&limit(cores(1)), &[], std::slice::from_ref(&last));
    let ledger = settle(&limit(cores(1)), &held.entries, &[claims, vec![last]].concat());
    assert_eq!((ledger.entries.len(), ledger.row("zulu").0), (500, Some(cores(1))));
}
