//! Writes rows to one store, all partitions together: what waits goes out in one transaction.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives batches of rows through a bounded queue, from the aggregators.
//! - Emits upserts, and an acknowledgement for each batch.
//! - Loses, if it dies, the batches it was writing; their aggregators, hearing no acknowledgement,
//!   start again from their checkpoints.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::backoff::Backoff;
use fts_core::metrics::{
    EXPIRED_ROWS_TOTAL, STORED_LATENCY_SECONDS, WRITER_QUEUE, WRITER_REJECTED_TOTAL,
    WRITER_RETRIES_TOTAL,
};
use fts_core::port::store::{Store, StoreError};
use fts_core::row::{Rows, Table};
use fts_core::time::{Clock, UnixNanos};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use crate::ingestor::chance;
use crate::view::View;
use crate::worker::{Job, JobError, Stop};

/// Batches written in one transaction.
const BATCHES_MAX: usize = 64;
/// How often retention is applied.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A batch on its way to the store.
#[derive(Debug)]
pub struct Put {
    /// What to write.
    pub rows: Arc<Rows>,
    /// When the records behind it were received.
    pub received: Vec<UnixNanos>,
    /// Answered once it is in the store; dropped if it is not.
    pub done: oneshot::Sender<()>,
}

/// The queue's end for the aggregators.
pub type Sender = mpsc::Sender<Put>;

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Writer {
    /// Where rows go.
    pub store: Arc<dyn Store>,
    /// What to write; outlives the writer's own death.
    pub queue: Mutex<mpsc::Receiver<Put>>,
    /// How long rows are kept, in milliseconds, by table.
    pub retention: Vec<(Table, i64)>,
    /// What the node shows.
    pub view: Arc<View>,
    /// For latencies.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the wait between attempts.
    pub backoff: Backoff,
}

#[async_trait]
impl Job for Writer {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut queue = self.queue.lock().await;
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                put = queue.recv() => {
                    let Some(put) = put else { return Ok(()) };
                    let mut puts = vec![put];
                    while puts.len() < BATCHES_MAX && let Ok(put) = queue.try_recv() {
                        puts.push(put);
                    }
                    metrics::gauge!(WRITER_QUEUE).set(usize_to_f64(queue.len()));
                    self.write(puts, &stop).await;
                }
                // Aggregators finish first: what they sent has been written by then.
                () = stop.requested() => return Ok(()),
                _ = sweep.tick() => self.sweep().await,
            }
        }
    }
}

impl Writer {
    /// Writes until it is written, or the job shall finish: then the batches stay unacknowledged.
    async fn write(&self, puts: Vec<Put>, stop: &Stop) {
        let mut batches: Vec<Arc<Rows>> = puts.iter().map(|put| Arc::clone(&put.rows)).collect();
        let mut backoff = self.backoff;
        loop {
            match self.store.put(&batches).await {
                Ok(()) => break,
                Err(StoreError::Unavailable(reason)) => {
                    let wait = backoff.next(chance(&*self.clock));
                    tracing::warn!(
                        store = self.store.name(),
                        reason,
                        ?wait,
                        "not written; trying again"
                    );
                    metrics::counter!(WRITER_RETRIES_TOTAL, "store" => self.store.name())
                        .increment(1);
                    self.view.problem(self.store.name(), Some(reason));
                    if stop.is_requested() {
                        return;
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(StoreError::Rejected { table, reason }) => {
                    tracing::error!(
                        store = self.store.name(),
                        table,
                        reason,
                        "rows rejected for good"
                    );
                    self.view.problem(
                        self.store.name(),
                        Some(format!("rows of {table} were rejected: {reason}")),
                    );
                    batches = batches.iter().map(|rows| self.without(rows, table)).collect();
                }
            }
        }
        if backoff.failures() > 0 {
            self.view.problem(self.store.name(), None);
        }
        let now = self.clock.now();
        let latency = metrics::histogram!(STORED_LATENCY_SECONDS);
        for put in puts {
            for received_at in &put.received {
                latency.record(now.since(*received_at).as_secs_f64());
            }
            // An aggregator that died meanwhile starts from its checkpoint.
            let _ = put.done.send(());
        }
    }

    /// `rows` less those of `table`: the raw records stay in the log, and can be folded again.
    fn without(&self, rows: &Rows, table: &str) -> Arc<Rows> {
        let mut kept = rows.clone();
        for each in Table::ALL.into_iter().filter(|each| each.name() == table) {
            match each {
                Table::Trades => kept.trades.clear(),
                Table::Candles => kept.candles.clear(),
                Table::BookTickers => kept.book_tickers.clear(),
                Table::BookSeconds => kept.book_seconds.clear(),
                Table::Tickers => kept.tickers.clear(),
                Table::Gaps => kept.gaps.clear(),
                Table::Alerts => kept.alerts.clear(),
                Table::DeadLetters => kept.dead_letters.clear(),
                Table::Dailies => kept.dailies.clear(),
                Table::DailyChanges => kept.daily_changes.clear(),
                Table::Transactions => kept.transactions.clear(),
            }
        }
        let rejected = u64::try_from(rows.len() - kept.len()).unwrap_or(0);
        metrics::counter!(WRITER_REJECTED_TOTAL, "store" => self.store.name()).increment(rejected);
        Arc::new(kept)
    }

    async fn sweep(&self) {
        for (table, keep_ms) in &self.retention {
            match self.store.expire(*table, *keep_ms).await {
                Ok(rows) => {
                    metrics::counter!(EXPIRED_ROWS_TOTAL, "table" => table.name()).increment(rows);
                }
                Err(error) => tracing::warn!(%error, table = table.name(), "retention failed"),
            }
        }
    }
}

pub(crate) fn usize_to_f64(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
