//! What the aggregators of one partition, one a store, have in common: who of them speaks for the
//! partition, and how far all of their checkpoints have come.
//!
//! Every store's aggregator folds the same log by itself, so that a store that is down stalls nobody
//! else. What there is only once – the picture of the node, the demand of the backfill – is told by
//! the one that is furthest ahead.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fts_core::market::Topic;
use tokio::time::Instant;

use crate::demand::Demand;

/// Who is so many records ahead takes the lead at once.
const AHEAD_MAX: u64 = 10_000;
/// Who has been ahead for so long takes the lead: the holder does not get on.
const PATIENCE: Duration = Duration::from_millis(250);

/// The common part of a partition.
#[derive(Debug)]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// What it is missing.
    pub demand: Demand,
    /// Who speaks for it.
    pub lead: Lead,
    /// How far its checkpoints have come.
    pub saved: SavedPositions,
    /// Whether the log could not be read when it was last asked.
    pub log_is_away: AtomicBool,
}

impl Partition {
    /// A partition that is folded for so many stores.
    pub fn new(number: u32, stores: usize) -> Self {
        Self {
            number,
            demand: Demand::default(),
            lead: Lead::default(),
            saved: SavedPositions::new(stores),
            log_is_away: AtomicBool::new(false),
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Another one speaks. Whatever the claimant knows, it knows too, or the claimant will lead soon.
    Follows,
    /// The claimant speaks, as before.
    Leads,
    /// The claimant speaks from here on: it has to tell everything it knows.
    TakesOver,
}

/// Which store's aggregator speaks for the partition. It changes hands rarely: only if the holder
/// ends, does not get on, or is far behind.
#[derive(Debug, Default)]
pub struct Lead(Mutex<Holder>);

#[derive(Debug, Default)]
struct Holder {
    store: Option<usize>,
    position: u64,
    /// Who was ahead of the holder, where, and when that was.
    rivals: Vec<(usize, u64, Instant)>,
}

impl Lead {
    /// The aggregator of `store` stands at `position` (the sum over topics) and could speak.
    pub fn claim(&self, store: usize, position: u64) -> Claim {
        let now = Instant::now();
        let mut holder = lock(&self.0);
        if holder.store == Some(store) {
            holder.position = position;
            return Claim::Leads;
        }
        let is_due = match holder.store {
            None => true,
            Some(_) if position <= holder.position => {
                holder.rivals.retain(|rival| rival.0 != store);
                false
            }
            Some(_) if position - holder.position > AHEAD_MAX => true,
            Some(_) => holder.is_overdue(store, position, now),
        };
        if !is_due {
            return Claim::Follows;
        }
        *holder = Holder { store: Some(store), position, rivals: Vec::new() };
        Claim::TakesOver
    }

    /// The aggregator of `store` has ended.
    pub fn release(&self, store: usize) {
        let mut holder = lock(&self.0);
        holder.rivals.retain(|rival| rival.0 != store);
        if holder.store == Some(store) {
            holder.store = None;
        }
    }
}

impl Holder {
    /// Whether the holder has not even come to where `store` was a while ago.
    fn is_overdue(&mut self, store: usize, position: u64, now: Instant) -> bool {
        let current = self.position;
        let Some(rival) = self.rivals.iter_mut().find(|rival| rival.0 == store) else {
            self.rivals.push((store, position, now));
            return false;
        };
        if current >= rival.1 {
            *rival = (store, position, now);
        }
        now.duration_since(rival.2) >= PATIENCE
    }
}

/// The next offset to absorb, by topic.
pub type Positions = Vec<(Topic, u64)>;

/// The positions of the last checkpoint saved, by store. What lies before all of them is needed by
/// nobody.
#[derive(Debug)]
pub struct SavedPositions(Mutex<Vec<Option<Positions>>>);

impl SavedPositions {
    fn new(stores: usize) -> Self {
        Self(Mutex::new(vec![None; stores]))
    }

    /// The aggregator of `store` could start again from `positions`. Returns below which offsets
    /// no store needs a record; nothing as long as a store has not said where it stands.
    pub fn tell(&self, store: usize, positions: Positions) -> Positions {
        let mut saved = lock(&self.0);
        if let Some(place) = saved.get_mut(store) {
            *place = Some(positions);
        }
        let Some(all) = saved.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        let lowest = |topic| {
            all.iter().map(move |positions| {
                positions.iter().find(|it| it.0 == topic).map_or(0, |(_, next)| *next)
            })
        };
        let below = |topic| Some((topic, lowest(topic).min()?));
        Topic::ALL.into_iter().filter_map(below).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with the lock held left plain values behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lead_changes_hands_only_if_its_holder_does_not_get_on() {
        use Claim::{Follows, Leads, TakesOver};
        /// milliseconds later, store, position, what becomes of it
        #[track_caller]
        fn claims(lead: &Lead, store: usize, position: u64, expected: Claim) {
            assert_eq!(lead.claim(store, position), expected, "store {store} at {position}");
        }
        let lead = Lead::default();
        let later = || tokio::time::advance(Duration::from_millis(200));
        claims(&lead, 0, 10, TakesOver);
        claims(&lead, 1, 10, Follows);
        // A little ahead by turns: nothing changes.
        for position in 11..20 {
            claims(&lead, 1, position, Follows);
            later().await;
            claims(&lead, 0, position, Leads);
        }
        // The holder stands still.
        claims(&lead, 1, 20, Follows);
        later().await;
        claims(&lead, 0, 19, Leads);
        claims(&lead, 1, 21, Follows);
        later().await;
        claims(&lead, 1, 22, TakesOver);
        claims(&lead, 0, 19, Follows);
        // Far behind is reason enough.
        claims(&lead, 0, 22 + AHEAD_MAX, Follows);
        claims(&lead, 0, 23 + AHEAD_MAX, TakesOver);
        // The end of a follower changes nothing, that of the holder all.
        lead.release(1);
        claims(&lead, 0, 23 + AHEAD_MAX, Leads);
        lead.release(0);
        claims(&lead, 1, 5, TakesOver);
    }

    #[test]
    fn records_are_released_up_to_the_slowest_store() {
        let saved = SavedPositions::new(2);
        let below = |positions: Vec<(Topic, u64)>, topic| {
            positions.into_iter().find(|it| it.0 == topic).map(|it| it.1)
        };
        let first = saved.tell(0, vec![(Topic::Trade, 70), (Topic::Ticker, 3)]);
        assert_eq!(first, [], "the other store has not said where it stands");
        let both = saved.tell(1, vec![(Topic::Trade, 40), (Topic::Ticker, 9)]);
        assert_eq!(below(both.clone(), Topic::Trade), Some(40));
        assert_eq!(below(both, Topic::Ticker), Some(3));
        let later = saved.tell(1, vec![(Topic::Trade, 90)]);
        assert_eq!(below(later.clone(), Topic::Trade), Some(70));
        assert_eq!(below(later, Topic::Ticker), Some(0), "a topic without a word is kept whole");
    }
}
