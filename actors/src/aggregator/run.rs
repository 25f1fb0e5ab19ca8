//! What an aggregator knows from its start to its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fts_core::aggregate::Aggregate;
use fts_core::market::{Event, Source, Symbol, Topic};
use fts_core::metrics::{
    CHECKPOINT_SAVED_SECONDS, FOLD_BACKLOG_RECORDS, FOLD_RECORDS, FOLD_ROWS_WAITING,
    MISSING_TRADES, RECEIVED_LATENCY_SECONDS,
};
use fts_core::port::log::Record;
use fts_core::time::UnixNanos;
use metrics::{Counter, Gauge, Histogram};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::save::{Horizon, Releases, Saved};
use super::{ROWS_MAX, Target};
use crate::partition::Partition;

/// A batch on its way, and the checkpoint that may be saved once it has arrived.
pub(super) struct InFlight {
    pub(super) done: oneshot::Receiver<()>,
    pub(super) checkpoint: Option<Saved>,
}

/// From a checkpoint on.
pub(super) struct Run {
    pub(super) aggregate: Aggregate,
    /// The next offset to absorb, by topic.
    pub(super) positions: Vec<(Topic, u64)>,
    /// The ends of the topics when this run began: what lies before is on disk.
    pub(super) on_disk: Vec<(Topic, u64)>,
    /// The ends of the topics when it was asked to stop: what comes later is its successor's.
    pub(super) last_ends: Option<Vec<(Topic, u64)>>,
    /// Whether all that was on disk is absorbed.
    pub(super) is_caught_up: bool,
    /// Whether it speaks for the partition, as of the last time it was asked.
    pub(super) leads: bool,
    /// Whether the log is likely to have more than was absorbed.
    pub(super) is_behind: bool,
    /// The symbols that were connected and not told of, and where in the trade topic it says so.
    pub(super) connected: BTreeMap<Symbol, u64>,
    /// The symbols that were wanted when it last spoke.
    pub(super) wanted: Arc<BTreeSet<Symbol>>,
    /// How many stray transactions it has told of.
    pub(super) strays: u64,
    pub(super) in_flight: VecDeque<InFlight>,
    /// When the records absorbed since the last batch were received.
    pub(super) received: Vec<UnixNanos>,
    pub(super) began_at: Instant,
    /// When the log was last looked into.
    pub(super) looked_at: Instant,
    pub(super) flushed_at: Instant,
    /// When rows of every scope were last emitted.
    pub(super) all_flushed_at: Instant,
    pub(super) told_at: Instant,
    pub(super) checkpointed_at: Instant,
    pub(super) backlog_asked_at: Instant,
    /// Positions of the last checkpoint taken.
    pub(super) checkpointed: Vec<(Topic, u64)>,
    /// Positions of the last checkpoint saved.
    pub(super) saved: Vec<(Topic, u64)>,
    pub(super) horizon: Horizon,
    pub(super) releases: Releases,
    pub(super) meters: Meters,
    _lead: Leading,
}

impl Run {
    pub(super) fn new(
        aggregate: Aggregate,
        positions: Vec<(Topic, u64)>,
        on_disk: Vec<(Topic, u64)>,
        partition: &Arc<Partition>,
        target: &Target,
    ) -> Self {
        let now = Instant::now();
        Self {
            aggregate,
            checkpointed: positions.clone(),
            saved: positions.clone(),
            positions,
            on_disk,
            last_ends: None,
            is_caught_up: false,
            leads: false,
            is_behind: true,
            connected: BTreeMap::new(),
            wanted: Arc::default(),
            strays: 0,
            in_flight: VecDeque::new(),
            received: Vec::new(),
            began_at: now,
            looked_at: now,
            flushed_at: now,
            all_flushed_at: now,
            told_at: now,
            checkpointed_at: now,
            backlog_asked_at: now,
            horizon: Horizon::default(),
            releases: Releases::default(),
            meters: Meters::new(&target.name, partition.number),
            _lead: Leading { partition: Arc::clone(partition), store: target.index },
        }
    }

    pub(super) fn has_reached(&self, ends: &[(Topic, u64)]) -> bool {
        ends.iter().all(|(topic, end)| position(&self.positions, *topic) >= *end)
    }

    /// Whether there is room for more rows, and anything left to absorb.
    pub(super) fn may_absorb(&self) -> bool {
        self.aggregate.rows_waiting() < ROWS_MAX && !self.is_at_its_end()
    }

    /// Whether it shall stop, and has come as far as it shall.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.last_ends.as_ref().is_some_and(|ends| self.has_reached(ends))
    }
}

/// Looked up once a run: a look-up costs as much as a record.
pub(super) struct Meters {
    pub(super) records: Counter,
    pub(super) missing: Gauge,
    pub(super) waiting: Gauge,
    pub(super) backlog: Gauge,
    pub(super) saved: Gauge,
    pub(super) received: Histogram,
}

impl Meters {
    fn new(store: &str, partition: u32) -> Self {
        let (store, partition) = (store.to_owned(), partition.to_string());
        let labels = [("store", store.clone()), ("partition", partition.clone())];
        Self {
            records: metrics::counter!(FOLD_RECORDS, "store" => store),
            missing: metrics::gauge!(MISSING_TRADES, "partition" => partition),
            waiting: metrics::gauge!(FOLD_ROWS_WAITING, &labels),
            backlog: metrics::gauge!(FOLD_BACKLOG_RECORDS, &labels),
            saved: metrics::gauge!(CHECKPOINT_SAVED_SECONDS, &labels),
            received: metrics::histogram!(RECEIVED_LATENCY_SECONDS),
        }
    }
}

impl Meters {
    /// Measures how late a record of the streams came, if it tells when it should have.
    pub(super) fn heard<E>(&self, record: &Record, event: &Result<Event, E>) {
        if let (Source::Stream, Ok(Event::Trade(trade))) = (record.source, event) {
            self.received.record(lag(trade.time, record.received_at));
        }
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        // Whoever goes on, maybe on another node, counts for itself.
        for gauge in [&self.missing, &self.waiting, &self.backlog, &self.saved] {
            gauge.set(0.0);
        }
    }
}

/// Gives the lead back, however the run ends.
struct Leading {
    partition: Arc<Partition>,
    store: usize,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.partition.lead.release(self.store);
    }
}

/// How far a run has come, over all topics.
pub(super) fn sum(positions: &[(Topic, u64)]) -> u64 {
    positions.iter().map(|(_, next)| next).sum()
}

pub(super) fn position(positions: &[(Topic, u64)], topic: Topic) -> u64 {
    positions.iter().find(|it| it.0 == topic).map_or(0, |it| it.1)
}

/// Seconds from `time`, epoch milliseconds by the exchange's clock, to receiving it.
fn lag(time: i64, received_at: UnixNanos) -> f64 {
    let at = UnixNanos(time.saturating_mul(1_000_000));
    received_at.since(at).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_seconds_and_never_negative() {
        let check = |time, received_at, seconds: f64| {
            assert!((lag(time, UnixNanos(received_at)) - seconds).abs() < 1e-9, "{time}");
        };
        check(1_700_000_000_000, 1_700_000_000_002_500_000, 0.002_5);
        check(1_700_000_000_000, 1_699_999_999_000_000_000, 0.0);
        check(i64::MAX, 0, 0.0);
    }
}
