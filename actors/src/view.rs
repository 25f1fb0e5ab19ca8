//! What the node shows of itself: the newest state of every symbol, feed and partition.
//!
//! Actors write, the HTTP side reads. Nothing is computed from it and nothing is lost with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::row::CandleRow;
use fts_core::time::UnixNanos;

/// The node's own picture of itself. Shared by `Arc`; every call locks for microseconds.
#[derive(Debug, Default)]
pub struct View {
    inner: Mutex<Picture>,
}

/// Everything a node shows.
#[derive(Debug, Default, Clone)]
pub struct Picture {
    /// By symbol.
    pub symbols: BTreeMap<Symbol, SymbolView>,
    /// By the feed's name, such as `A-0`.
    pub feeds: BTreeMap<String, FeedView>,
    /// The stocks of which something is known.
    pub stocks: BTreeSet<Symbol>,
    /// The daily batch, where this node runs it.
    pub batch: Option<BatchView>,
    /// By partition.
    pub partitions: BTreeMap<u32, PartitionView>,
    /// By the store's name.
    pub stores: BTreeMap<String, StoreView>,
    /// What keeps the node from being ready, by the part that says so. Empty: ready.
    pub problems: BTreeMap<String, String>,
    /// What is wrong, but does not keep it from being ready: one store of several is down.
    pub warnings: BTreeMap<String, String>,
}

/// The newest state of a symbol.
#[derive(Debug, Default, Clone)]
pub struct SymbolView {
    /// Records folded since the node's start, of all topics.
    pub messages: u64,
    /// Messages a second, over the last seconds.
    pub rate: f64,
    /// Trades stored since the node's start.
    pub trades: u64,
    /// Trades that came by backfill since the node's start.
    pub backfilled: u64,
    /// Records that repeated what was known.
    pub duplicates: u64,
    /// Records that could not be understood.
    pub dead_letters: u64,
    /// Time of the newest trade, by the exchange's clock, epoch milliseconds.
    pub last_trade_time: Option<i64>,
    /// When the newest record was received, by the node's clock.
    pub last_received_at: Option<UnixNanos>,
    /// The id that the record of this symbol begins with.
    pub first_trade_id: Option<i64>,
    /// The highest id up to which nothing is missing (but for gaps on record).
    pub contiguous_trade_id: Option<i64>,
    /// The highest trade id seen.
    pub last_trade_id: Option<i64>,
    /// Trade ids known to be missing and not yet filled.
    pub missing: i64,
    /// Trade ids that the exchange does not have.
    pub lost: i64,
    /// The newest candle of each interval, in the order of [`Interval::ALL`].
    pub candles: [Option<CandleRow>; Interval::ALL.len()],
    /// The newest best bid and ask.
    pub book: Option<BookTicker>,
    /// The newest 24 h statistics.
    pub ticker: Option<Box<Ticker>>,
    /// `messages` when `rate` was last computed.
    messages_before: u64,
}

/// The state of a feed's connection.
#[derive(Debug, Default, Clone)]
pub struct FeedView {
    /// How many symbols it carries.
    pub symbols: usize,
    /// Whether it is connected.
    pub connected: bool,
    /// How often it has connected since the node's start.
    pub connects: u64,
    /// Why it was last disconnected.
    pub last_error: Option<String>,
}

/// The state of the daily batch.
#[derive(Debug, Default, Clone)]
pub struct BatchView {
    /// Whether it is running.
    pub is_running: bool,
    /// When the run under way, or the last one, began, epoch milliseconds.
    pub started_at: Option<i64>,
    /// When the next one is due, epoch milliseconds.
    pub next_at: Option<i64>,
    /// Requests made to the provider today.
    pub requests_used: u32,
    /// Requests that it allows a day.
    pub requests_max: u32,
    /// By symbol: how many days came, or why none did; `None` while it waits for its turn.
    pub symbols: BTreeMap<String, Option<Result<usize, String>>>,
}

/// The state of a store.
#[derive(Debug, Default, Clone)]
pub struct StoreView {
    /// Records in the log that are not folded for it yet, by partition.
    pub backlog: BTreeMap<u32, u64>,
    /// Why it takes no rows, or not all of them.
    pub problem: Option<String>,
}

/// The state of a partition.
#[derive(Debug, Default, Clone)]
pub struct PartitionView {
    /// Records in the log that are not folded yet, for the store that is furthest behind.
    pub backlog: u64,
    /// When the last checkpoint was saved.
    pub checkpoint_at: Option<UnixNanos>,
}

impl Picture {
    /// So many records of `partition` are not folded for `store` yet.
    pub fn backlog(&mut self, store: &str, partition: u32, records: u64) {
        if let Some(view) = self.stores.get_mut(store) {
            view.backlog.insert(partition, records);
        }
        let worst = self.stores.values().filter_map(|it| it.backlog.get(&partition)).max();
        let worst = worst.copied().unwrap_or(records);
        self.partitions.entry(partition).or_default().backlog = worst;
    }

    /// Says (or, with `None`, takes back) what is wrong with `store`. As long as another one works
    /// the node is ready: nothing is lost meanwhile, and nobody waits for it.
    pub fn store_problem(&mut self, store: &str, problem: Option<String>) {
        self.stores.entry(store.to_owned()).or_default().problem = problem;
        let is_any_well = self.stores.values().any(|it| it.problem.is_none());
        for (name, it) in &self.stores {
            let part = format!("store {name}");
            self.problems.remove(&part);
            self.warnings.remove(&part);
            if let Some(text) = it.problem.clone() {
                let place = if is_any_well { &mut self.warnings } else { &mut self.problems };
                place.insert(part, text);
            }
        }
    }
}

impl View {
    /// Changes the picture.
    pub fn update<T>(&self, change: impl FnOnce(&mut Picture) -> T) -> T {
        change(&mut self.lock())
    }

    /// Changes a symbol's part of it.
    pub fn update_symbol<T>(
        &self,
        symbol: &Symbol,
        change: impl FnOnce(&mut SymbolView) -> T,
    ) -> T {
        let mut picture = self.lock();
        if let Some(view) = picture.symbols.get_mut(symbol.as_str()) {
            return change(view);
        }
        change(picture.symbols.entry(symbol.clone()).or_default())
    }

    /// Says (or, with `None`, takes back) why the node is not ready.
    pub fn problem(&self, part: &str, problem: Option<String>) {
        let mut picture = self.lock();
        match problem {
            Some(text) => drop(picture.problems.insert(part.to_owned(), text)),
            None => drop(picture.problems.remove(part)),
        }
    }

    /// Says (or, with `None`, takes back) what somebody should know of a node that is ready all the same.
    pub fn warning(&self, part: &str, warning: Option<String>) {
        let mut picture = self.lock();
        match warning {
            Some(text) => drop(picture.warnings.insert(part.to_owned(), text)),
            None => drop(picture.warnings.remove(part)),
        }
    }

    /// Computes the rates; called once every `seconds`.
    pub fn tick(&self, seconds: f64) {
        for view in self.lock().symbols.values_mut() {
            let fresh = view.messages.saturating_sub(view.messages_before);
            view.messages_before = view.messages;
            let rate = f64::from(u32::try_from(fresh).unwrap_or(u32::MAX)) / seconds;
            // Half of the old rate stays: steady to look at, right within seconds.
            view.rate = 0.5 * view.rate + 0.5 * rate;
        }
    }

    /// A copy of the whole.
    pub fn picture(&self) -> Picture {
        self.lock().clone()
    }

    /// A copy of a symbol's part.
    pub fn symbol(&self, symbol: &Symbol) -> Option<SymbolView> {
        self.lock().symbols.get(symbol).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Picture> {
        // A picture half painted by a writer that panicked is still a picture.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_as_long_as_one_of_its_stores_works() {
        let mut picture = Picture::default();
        let parts = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        for name in ["a", "b"] {
            picture.store_problem(name, None);
        }
        picture.store_problem("a", Some("down".to_owned()));
        assert_eq!(parts(&picture.warnings), ["store a"]);
        assert_eq!(parts(&picture.problems), [""; 0]);
        picture.store_problem("b", Some("wrong password".to_owned()));
        assert_eq!(parts(&picture.warnings), [""; 0]);
        assert_eq!(parts(&picture.problems), ["store a", "store b"]);
        picture.store_problem("a", None);
        assert_eq!(parts(&picture.warnings), ["store b"]);
        assert_eq!(parts(&picture.problems), [""; 0]);
    }
}
