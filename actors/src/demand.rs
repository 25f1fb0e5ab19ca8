//! What a partition is missing: the aggregator says it, the backfill acts on it.
//!
//! A shared note, not a queue: only the newest state counts, so it has no bound to outgrow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fts_core::coverage::Coverage;
use fts_core::market::Symbol;
use tokio::sync::Notify;

/// As many holes of a symbol as are told at once; the others come when these are filled.
const HOLES_MAX: usize = 64;

/// The note of one partition.
#[derive(Debug, Default)]
pub struct Demand {
    note: Mutex<Note>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Note {
    is_caught_up: bool,
    position: u64,
    needs: BTreeMap<Symbol, Need>,
    connected: BTreeSet<Symbol>,
    wanted: Arc<BTreeSet<Symbol>>,
}

/// What is known of a symbol's trades.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Need {
    /// Where the record begins, once that is decided.
    pub floor: Option<i64>,
    /// The lowest trade id seen.
    pub first: Option<i64>,
    /// The highest trade id seen.
    pub last: Option<i64>,
    /// The ids missing in between, ascending, ends inclusive.
    pub holes: Vec<(i64, i64)>,
}

/// What a backfill sees of the note.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The offset of the trade topic up to which `needs` knows.
    pub position: u64,
    /// By symbol; of those that are wanted.
    pub needs: BTreeMap<Symbol, Need>,
    /// To which of these a connection was made since the last look: what came just before it may be
    /// missing.
    pub connected: BTreeSet<Symbol>,
}

impl Need {
    /// What `coverage` is missing.
    pub fn of(coverage: &Coverage) -> Self {
        Self {
            floor: coverage.floor(),
            first: coverage.first(),
            last: coverage.last(),
            holes: coverage.holes().take(HOLES_MAX).collect(),
        }
    }

    /// Whether there is something to fetch.
    pub fn is_urgent(coverage: &Coverage) -> bool {
        coverage.floor().is_none() || coverage.holes().next().is_some()
    }
}

impl Demand {
    /// Only what is missing of `symbols`, of whatever partition, is fetched from here on; the rest is
    /// left until it is wanted again.
    pub fn want(&self, symbols: &Arc<BTreeSet<Symbol>>) {
        self.lock().wanted = Arc::clone(symbols);
        self.changed.notify_one();
    }

    /// The symbols that are wanted, of whatever partition.
    pub fn wanted(&self) -> Arc<BTreeSet<Symbol>> {
        Arc::clone(&self.lock().wanted)
    }

    /// Tells what symbols need, as of `position` of the trade topic, and which were `connected`.
    /// `is_caught_up`: all that was on disk when the aggregator started is accounted for, so what is
    /// missing is not on disk.
    pub fn tell(
        &self,
        is_caught_up: bool,
        position: u64,
        needs: Vec<(Symbol, Need)>,
        connected: impl IntoIterator<Item = Symbol>,
    ) {
        let urgent = {
            let mut note = self.lock();
            let before = note.connected.len();
            note.connected.extend(connected);
            let urgent = note.connected.len() > before
                || needs.iter().any(|(_, it)| it.floor.is_none() || !it.holes.is_empty());
            let first = is_caught_up && !note.is_caught_up;
            // Whoever speaks from here on may have come less far than the one before.
            note.is_caught_up = is_caught_up;
            note.position = position;
            note.needs.extend(needs);
            urgent || first
        };
        if urgent {
            self.changed.notify_one();
        }
    }

    /// Forgets what is needed: who begins to fold the partition tells it anew.
    pub fn forget(&self) {
        let mut note = self.lock();
        (note.is_caught_up, note.position) = (false, 0);
        note.needs.clear();
    }

    /// How far whoever spoke last had come in the trade topic.
    pub fn position(&self) -> u64 {
        self.lock().position
    }

    /// What is needed; `None` until the aggregator has caught up. Takes the word of new connections.
    pub fn look(&self) -> Option<Seen> {
        let mut note = self.lock();
        if !note.is_caught_up {
            return None;
        }
        let wanted = Arc::clone(&note.wanted);
        let is_wanted = |it: &(&Symbol, &Need)| wanted.contains(it.0);
        let needs = note.needs.iter().filter(is_wanted);
        let needs = needs.map(|(symbol, need)| (symbol.clone(), need.clone())).collect();
        // The word about a symbol that is not wanted yet is kept until it is.
        let connected = std::mem::take(&mut note.connected);
        let (connected, early) = connected.into_iter().partition(|it| wanted.contains(it));
        note.connected = early;
        Some(Seen { position: note.position, needs, connected })
    }

    /// Waits for a change. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(symbols: impl IntoIterator<Item = &'a Symbol>) -> String {
        symbols.into_iter().map(Symbol::as_str).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(demand: &Demand, needs: &str, connected: &str) {
        let seen = demand.look().unwrap();
        assert_eq!(names(seen.needs.keys()), needs);
        assert_eq!(names(&seen.connected), connected);
    }

    #[test]
    fn what_is_not_wanted_is_not_seen_and_not_forgotten() {
        let [a, b] = ["A", "B"].map(|it| Symbol::new(it).unwrap());
        let want = |symbols: &[&Symbol]| Arc::new(symbols.iter().copied().cloned().collect());
        let demand = Demand::default();
        let needs = vec![(a.clone(), Need::default()), (b.clone(), Need::default())];
        demand.tell(true, 7, needs, [a.clone(), b.clone()]);
        check(&demand, "", "");
        demand.want(&want(&[&a]));
        check(&demand, "A", "A");
        check(&demand, "A", "");
        demand.want(&want(&[&a, &b]));
        check(&demand, "A B", "B");
    }
}
