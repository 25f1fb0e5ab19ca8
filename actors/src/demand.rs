//! What a partition is missing: the aggregator says it, the backfill acts on it.
//!
//! A shared note, not a queue: only the newest state counts, so it has no bound to outgrow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// By symbol.
    pub needs: BTreeMap<Symbol, Need>,
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
    /// Tells what symbols need, as of `position` of the trade topic. `is_caught_up`: all that was on
    /// disk when the aggregator started is accounted for, so what is missing is not on disk.
    pub fn tell(&self, is_caught_up: bool, position: u64, needs: Vec<(Symbol, Need)>) {
        let urgent = {
            let mut note = self.lock();
            let urgent = needs.iter().any(|(_, it)| it.floor.is_none() || !it.holes.is_empty());
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

    /// A connection delivers these symbols from here on; what came before may be missing.
    pub fn connected(&self, symbols: impl IntoIterator<Item = Symbol>) {
        self.lock().connected.extend(symbols);
        self.changed.notify_one();
    }

    /// What is needed; `None` until the aggregator has caught up. Takes the word of new connections.
    pub fn look(&self) -> Option<(Seen, BTreeSet<Symbol>)> {
        let mut note = self.lock();
        if !note.is_caught_up {
            return None;
        }
        let seen = Seen { position: note.position, needs: note.needs.clone() };
        Some((seen, std::mem::take(&mut note.connected)))
    }

    /// Waits for a change. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
