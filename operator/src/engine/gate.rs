//! Fairness: who may work next. In: tenants that ask for a worker. Out: a bounded number of [`Slot`]s, handed out round-robin
//! over tenants.
//!
//! A tenant with five hundred objects waiting gets one turn where a tenant with one object gets one turn. A tenant never holds
//! more than its share of the slots, so that one whose calls all run into their deadline leaves room for the others even if it
//! was there first. Nothing here knows of time or of Kubernetes.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Hands out slots. Cheap to clone; clones share the slots.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

/// The right to work, until dropped.
#[derive(Debug)]
#[must_use = "the slot is free again as soon as this is dropped"]
pub struct Slot {
    gate: Gate,
    tenant: String,
}

/// How many wait now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Tenants with at least one waiting.
    pub tenants: usize,
    /// All that wait.
    pub tasks: usize,
}

impl Gate {
    /// A gate with `slots` slots (at least one), of which one tenant holds at most half, rounded up.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State::new(slots.max(1)))))
    }

    /// Waits for a slot. Dropping the future gives up the place in the queue, or the slot if it was just granted.
    pub async fn acquire(&self, tenant: &str) -> Slot {
        let place = Place::take(self, tenant);
        place.granted.notified().await;
        place.into_slot()
    }

    /// How many wait now.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let state = self.state();
        let waiting = state.tenants.values().map(|tenant| tenant.waiting.len()).filter(|waiting| *waiting > 0);
        Backlog { tenants: waiting.clone().count(), tasks: waiting.sum() }
    }

    /// No code that runs under this lock can panic half-way through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("backlog", &self.backlog()).finish_non_exhaustive()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gate.state().release(&self.tenant);
    }
}

/// A place in the queue. Dropped before it became a slot, it leaves nothing behind.
struct Place {
    gate: Gate,
    tenant: String,
    ticket: u64,
    granted: Arc<Notify>,
    became_slot: bool,
}

impl Place {
    fn take(gate: &Gate, tenant: &str) -> Self {
        let (ticket, granted) = gate.state().join(tenant);
        Self { gate: gate.clone(), tenant: tenant.to_owned(), ticket, granted, became_slot: false }
    }

    fn into_slot(mut self) -> Slot {
        self.became_slot = true;
        Slot { gate: self.gate.clone(), tenant: self.tenant.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.became_slot {
            self.gate.state().leave(&self.tenant, self.ticket);
        }
    }
}

/// Invariant: `ring` holds exactly the tenants that have somebody waiting and are below their share, each once; `free` plus
/// all `held` is constant; if `free` is not zero, `ring` is empty.
struct State {
    share: usize,
    free: usize,
    next_ticket: u64,
    tenants: HashMap<String, Tenant>,
    ring: VecDeque<String>,
}

#[derive(Default)]
struct Tenant {
    held: usize,
    waiting: VecDeque<(u64, Arc<Notify>)>,
    in_ring: bool,
}

impl State {
    fn new(slots: usize) -> Self {
        Self { share: slots.div_ceil(2), free: slots, next_ticket: 0, tenants: HashMap::new(), ring: VecDeque::new() }
    }

    /// Puts one more in the queue of `tenant`; the notification comes when it was granted a slot.
    fn join(&mut self, tenant: &str) -> (u64, Arc<Notify>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let granted = Arc::new(Notify::new());
        self.tenants.entry(tenant.to_owned()).or_default().waiting.push_back((ticket, Arc::clone(&granted)));
        self.settle(tenant);
        self.grant();
        (ticket, granted)
    }

    /// Takes a place out of the queue; if it was granted a slot in the meantime, frees that.
    fn leave(&mut self, tenant: &str, ticket: u64) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        let before = entry.waiting.len();
        entry.waiting.retain(|(waiting, _)| *waiting != ticket);
        if entry.waiting.len() == before {
            self.release(tenant);
        } else {
            self.settle(tenant);
        }
    }

    fn release(&mut self, tenant: &str) {
        if let Some(entry) = self.tenants.get_mut(tenant) {
            entry.held -= 1;
            self.free += 1;
        }
        self.settle(tenant);
        self.grant();
    }

    /// Grants free slots, one to each tenant of the ring in turn.
    fn grant(&mut self) {
        while self.free > 0 {
            let Some(name) = self.ring.pop_front() else { return };
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.in_ring = false;
                if let Some((_, granted)) = tenant.waiting.pop_front() {
                    tenant.held += 1;
                    self.free -= 1;
                    granted.notify_one();
                }
            }
            self.settle(&name);
        }
    }

    /// Restores the invariant for one tenant after its numbers changed, and forgets it when it has nothing.
    fn settle(&mut self, name: &str) {
        let Some(tenant) = self.tenants.get_mut(name) else { return };
        let belongs = !tenant.waiting.is_empty() && tenant.held < self.share;
        if belongs && !tenant.in_ring {
            self.ring.push_back(name.to_owned());
        } else if !belongs && tenant.in_ring {
            self.ring.retain(|other| other != name);
        }
        tenant.in_ring = belongs;
        if tenant.held == 0 && tenant.waiting.is_empty() {
            self.tenants.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, future::BoxFuture, poll};

    use super::*;

    /// A queue of futures that all have taken their place, in this order.
    async fn waiting(gate: &Gate, tenants: &[&'static str]) -> Vec<(&'static str, BoxFuture<'static, Slot>)> {
        let mut places = Vec::new();
        for &tenant in tenants {
            let gate = gate.clone();
            let mut place = async move { gate.acquire(tenant).await }.boxed();
            assert!(poll!(&mut place).is_pending(), "{tenant} did not have to wait");
            places.push((tenant, place));
        }
        places
    }

    /// Works off the queue with one slot and says whose turn it was, in order.
    async fn turns(mut places: Vec<(&'static str, BoxFuture<'static, Slot>)>, slot: Slot) -> Vec<&'static str> {
        let mut order = Vec::new();
        let mut current = Some(slot);
        while !places.is_empty() {
            drop(current.take());
            for index in 0..places.len() {
                if let std::task::Poll::Ready(slot) = poll!(&mut places[index].1) {
                    order.push(places.remove(index).0);
                    current = Some(slot);
                    break;
                }
            }
            assert!(current.is_some(), "a free slot was given to nobody; waiting: {}", places.len());
        }
        order
    }

    #[tokio::test]
    async fn turns_go_round_over_tenants_and_within_a_tenant_first_come_first_served() {
        let gate = Gate::new(1);
        let slot = gate.acquire("busy").await;
        let places = waiting(&gate, &["a", "a", "a", "b", "c", "b"]).await;
        assert_eq!(turns(places, slot).await, ["a", "b", "c", "a", "b", "a"]);
    }

    #[tokio::test]
    async fn five_hundred_waiting_of_one_tenant_delay_another_by_one_turn() {
        let gate = Gate::new(1);
        let slot = gate.acquire("busy").await;
        let mut tenants = vec!["large"; 500];
        tenants.push("small");
        let order = turns(waiting(&gate, &tenants).await, slot).await;
        assert_eq!(order.iter().position(|tenant| *tenant == "small"), Some(1));
        assert_eq!(order.len(), 501);
    }

    #[tokio::test]
    async fn one_tenant_leaves_half_of_the_slots_to_the_others() {
        let gate = Gate::new(8);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(gate.acquire("slow").now_or_never().expect("within the share"));
        }
        assert!(gate.acquire("slow").now_or_never().is_none());
        for tenant in ["b", "c", "d", "e"] {
            held.push(gate.acquire(tenant).now_or_never().expect("there are slots left"));
        }
        assert!(gate.acquire("f").now_or_never().is_none(), "nine slots out of eight");
    }

    #[tokio::test]
    async fn a_tenant_at_its_share_gets_the_next_slot_when_it_gives_one_back() {
        let gate = Gate::new(2);
        let first = gate.acquire("slow").await;
        let mut places = waiting(&gate, &["slow"]).await;
        let other = gate.acquire("other").await;
        drop(other);
        assert!(poll!(&mut places[0].1).is_pending(), "more than its share");
        drop(first);
        assert!(poll!(&mut places[0].1).is_ready());
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_no_trace() {
        let gate = Gate::new(1);
        let slot = gate.acquire("a").await;
        let places = waiting(&gate, &["b", "b", "c"]).await;
        assert_eq!(gate.backlog(), Backlog { tenants: 2, tasks: 3 });
        drop(places);
        assert_eq!(gate.backlog(), Backlog::default());
        drop(slot);
        assert!(gate.state().tenants.is_empty() && gate.state().ring.is_empty(), "tenants without work are remembered");
        assert!(gate.acquire("d").now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_costs_nobody_else_his_turn() {
        let gate = Gate::new(1);
        let slot = gate.acquire("a").await;
        let mut places = waiting(&gate, &["b", "c"]).await;
        drop(places.remove(0));
        drop(slot);
        assert!(poll!(&mut places[0].1).is_ready());
    }

    #[tokio::test]
    async fn a_slot_granted_to_a_cancelled_wait_goes_to_the_next() {
        let gate = Gate::new(1);
        let slot = gate.acquire("a").await;
        let mut places = waiting(&gate, &["b", "c"]).await;
        drop(slot);
        let (_, granted_but_never_polled) = places.remove(0);
        drop(granted_but_never_polled);
        assert!(poll!(&mut places[0].1).is_ready());
    }

    #[tokio::test]
    async fn slots_are_never_lost_nor_made_under_random_cancellation() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let gate = Gate::new(3);
        let mut places: Vec<BoxFuture<'static, Slot>> = Vec::new();
        let mut held: Vec<Slot> = Vec::new();
        for _ in 0..5_000 {
            match random.random_range(0..4) {
                0 | 1 => {
                    let (gate, tenant) = (gate.clone(), format!("t{}", random.random_range(0..4)));
                    let mut place = async move { gate.acquire(&tenant).await }.boxed();
                    if let std::task::Poll::Ready(slot) = poll!(&mut place) {
                        held.push(slot);
                    } else {
                        places.push(place);
                    }
                }
                2 if !places.is_empty() => {
                    let mut place = places.swap_remove(random.random_range(0..places.len()));
                    if random.random_bool(0.5)
                        && let std::task::Poll::Ready(slot) = poll!(&mut place)
                    {
                        held.push(slot);
                    }
                }
                _ if !held.is_empty() => drop(held.swap_remove(random.random_range(0..held.len()))),
                _ => {}
            }
            assert!(held.len() <= 3);
            let state = gate.state();
            let granted: usize = state.tenants.values().map(|tenant| tenant.held).sum();
            assert_eq!(state.free + granted, 3);
            assert!(state.free == 0 || state.ring.is_empty(), "somebody waits beside a free slot");
        }
        drop((places, held));
        assert_eq!(gate.state().free, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_task_is_woken() {
        let gate = Gate::new(1);
        let slot = gate.acquire("a").await;
        let other = gate.clone();
        let task = tokio::spawn(async move { drop(other.acquire("b").await) });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!task.is_finished(), "it did not wait");
        drop(slot);
        tokio::time::timeout(Duration::from_secs(1), task).await.expect("nobody woke it").unwrap();
    }
}
