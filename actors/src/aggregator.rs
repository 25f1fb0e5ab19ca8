//! Folds one partition of the log into rows.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives records by pulling the log, and acknowledgements of its batches from the writer.
//! - Emits rows to the writer, what is missing to the backfill, checkpoints to the log.
//! - Loses, if it dies, nothing: its successor loads the last checkpoint and replays the rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::aggregate::{Aggregate, Checkpoint, Scope, SymbolState};
use fts_core::alert::AlertRule;
use fts_core::interval::Interval;
use fts_core::market::{Source, Topic};
use fts_core::metrics::{
    CHECKPOINT_BYTES, CHECKPOINTS_TOTAL, FOLD_RECORDS, FOLD_ROWS_WAITING, MISSING_TRADES,
};
use fts_core::port::decode::Decode;
use fts_core::port::log::{Log, LogError};
use fts_core::row::Rows;
use fts_core::time::{Clock, UnixNanos};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::demand::{Demand, Need};
use crate::view::{Picture, SymbolView, View};
use crate::worker::{Job, JobError, Stop};
use crate::writer::{Put, Sender, usize_to_f64};

/// Bytes of records absorbed in one go, a topic: some milliseconds of work.
const READ_BYTES: usize = 256 * 1024;
/// Rows that may wait for the writer before no more is absorbed.
const ROWS_MAX: usize = 20_000;
/// Batches that may be on their way to the writer.
const IN_FLIGHT_MAX: usize = 2;
/// How often rows of every scope are emitted.
const SLOW_EVERY: Duration = Duration::from_millis(250);
/// How long to wait for records before looking around all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to leave a log alone that is out of reach.
const LOG_RETRY: Duration = Duration::from_millis(200);
/// How long the last rows may take to be stored when the node stops.
const FAREWELL: Duration = Duration::from_secs(6);

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Aggregator {
    /// Which partition.
    pub partition: u32,
    /// Where records come from.
    pub log: Arc<dyn Log>,
    /// What they mean.
    pub decode: Arc<dyn Decode>,
    /// Where rows go.
    pub writer: Sender,
    /// Who fills what is missing.
    pub demand: Arc<Demand>,
    /// What the node shows.
    pub view: Arc<View>,
    /// For the age of checkpoints.
    pub clock: Arc<dyn Clock>,
    /// What counts as abrupt.
    pub rule: AlertRule,
    /// The least time between two batches.
    pub flush_interval: Duration,
    /// The least time between two checkpoints.
    pub checkpoint_interval: Duration,
}

/// A batch on its way, and the checkpoint that may be saved once it has arrived.
struct InFlight {
    done: oneshot::Receiver<()>,
    checkpoint: Option<Saved>,
}

/// A checkpoint and the positions it stands for.
struct Saved {
    bytes: Bytes,
    positions: Vec<(Topic, u64)>,
}

struct Run {
    aggregate: Aggregate,
    /// The next offset to absorb, by topic.
    positions: Vec<(Topic, u64)>,
    /// The ends of the topics when this run began: what lies before is on disk.
    on_disk: Vec<(Topic, u64)>,
    in_flight: VecDeque<InFlight>,
    /// When the records absorbed since the last batch were received.
    received: Vec<UnixNanos>,
    flushed_at: Instant,
    /// When rows of every scope were last emitted.
    all_flushed_at: Instant,
    checkpointed_at: Instant,
    /// Positions of the last checkpoint taken.
    checkpointed: Vec<(Topic, u64)>,
    has_told: bool,
}

#[async_trait]
impl Job for Aggregator {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut run = self.resume().await?;
        let mut farewell = None;
        loop {
            let has_room = run.aggregate.rows_waiting() < ROWS_MAX;
            let absorbed = if has_room { self.absorb(&mut run).await? } else { 0 };
            self.tell(&mut run);
            self.flush(&mut run, stop.is_requested()).await?;
            if stop.is_requested() {
                // Sources have ended: what is in the log by now is all there will be.
                let deadline = *farewell.get_or_insert(Instant::now() + FAREWELL);
                if absorbed == 0
                    && run.in_flight.is_empty()
                    && !run.aggregate.has_changes(Scope::All)
                {
                    let saved = self.snapshot(&mut run);
                    self.save(saved).await?;
                    return Ok(());
                }
                if Instant::now() > deadline {
                    tracing::warn!(
                        partition = self.partition,
                        "stopped before all was stored; it will be at the next start"
                    );
                    return Ok(());
                }
            }
            self.wait(&mut run, absorbed, &mut stop).await?;
        }
    }
}

impl Aggregator {
    /// Loads the last checkpoint.
    async fn resume(&self) -> Result<Run, JobError> {
        let saved = loop {
            match self.log.load_checkpoint(&self.name()).await {
                Ok(saved) => break saved,
                Err(LogError::Unavailable(reason)) => self.log_is_away(reason).await,
                Err(error) => return Err(JobError(error.to_string())),
            }
        };
        let checkpoint = match saved.map(|bytes| fts_proto::checkpoint::decode(&bytes)) {
            Some(Ok(checkpoint)) => checkpoint,
            Some(Err(error)) => {
                tracing::warn!(partition = self.partition, %error, "folding the whole log again");
                Checkpoint::default()
            }
            None => Checkpoint::default(),
        };
        let mut positions = Vec::new();
        let mut on_disk = Vec::new();
        for topic in Topic::ALL {
            let (oldest, end) = self
                .log
                .bounds(topic, self.partition)
                .await
                .map_err(|e| JobError(e.to_string()))?;
            let saved = checkpoint.positions.iter().find(|(it, _)| *it == topic);
            positions.push((topic, saved.map_or(oldest, |(_, next)| *next)));
            on_disk.push((topic, end));
        }
        let aggregate = Aggregate::restore(self.partition, self.rule, &checkpoint);
        let shown: Vec<_> = aggregate.symbols().iter().collect();
        self.view.update(|picture| {
            for state in shown {
                show_coverage(picture.symbols.entry(state.symbol.clone()).or_default(), state);
            }
        });
        let now = Instant::now();
        Ok(Run {
            aggregate,
            checkpointed: positions.clone(),
            positions,
            on_disk,
            in_flight: VecDeque::new(),
            received: Vec::new(),
            flushed_at: now,
            all_flushed_at: now,
            checkpointed_at: now,
            has_told: false,
        })
    }

    /// Absorbs what the log has; returns how many records that were.
    async fn absorb(&self, run: &mut Run) -> Result<u64, JobError> {
        let mut absorbed = 0;
        for (topic, next) in &mut run.positions {
            let batch = match self.log.read(*topic, self.partition, *next, READ_BYTES).await {
                Ok(batch) => batch,
                Err(LogError::Expired { oldest }) => {
                    tracing::warn!(
                        topic = topic.name(),
                        partition = self.partition,
                        from = *next,
                        oldest,
                        "records are gone by retention before they were folded"
                    );
                    *next = oldest;
                    continue;
                }
                Err(LogError::Unavailable(reason)) => {
                    self.log_is_away(reason).await;
                    continue;
                }
                Err(error) => return Err(JobError(error.to_string())),
            };
            for stored in &batch {
                let event = match stored.record.source {
                    Source::Control => fts_proto::control::decode(&stored.record.value),
                    Source::Stream | Source::Backfill => self.decode.decode(*topic, &stored.record),
                };
                run.aggregate.absorb(*topic, stored, event);
                run.received.push(stored.record.received_at);
                *next = stored.offset + 1;
            }
            absorbed += u64::try_from(batch.len()).unwrap_or(0);
        }
        metrics::counter!(FOLD_RECORDS).increment(absorbed);
        Ok(absorbed)
    }

    /// Tells the backfill what is missing.
    fn tell(&self, run: &mut Run) {
        let is_caught_up = run
            .on_disk
            .iter()
            .all(|(topic, end)| run.positions.iter().any(|it| it.0 == *topic && it.1 >= *end));
        let position = position(&run.positions, Topic::Trade);
        let first = is_caught_up && !run.has_told;
        let need = |state: &SymbolState| (state.symbol.clone(), Need::of(&state.coverage));
        let needs = if first {
            run.aggregate.symbols().iter().map(need).collect()
        } else {
            run.aggregate.changed().map(need).collect()
        };
        run.has_told |= is_caught_up;
        self.demand.tell(is_caught_up, position, needs);
    }

    /// Sends what changed to the writer, if it is time and there is room.
    async fn flush(&self, run: &mut Run, is_ending: bool) -> Result<(), JobError> {
        if run.in_flight.len() >= IN_FLIGHT_MAX || run.flushed_at.elapsed() < self.flush_interval {
            return Ok(());
        }
        let is_due = run.checkpointed_at.elapsed() >= self.checkpoint_interval
            && run.checkpointed != run.positions;
        let is_slow = is_due || is_ending || run.all_flushed_at.elapsed() >= SLOW_EVERY;
        let scope = if is_slow { Scope::All } else { Scope::Fast };
        if !run.aggregate.has_changes(scope) {
            run.received.clear();
            if is_due && run.in_flight.is_empty() {
                let saved = self.snapshot(run);
                self.save(saved).await?;
            }
            return Ok(());
        }
        run.flushed_at = Instant::now();
        if scope == Scope::All {
            run.all_flushed_at = run.flushed_at;
        }
        self.show_changed(run);
        let rows = run.aggregate.take_rows(scope);
        self.view.update(|picture| show_rows(picture, &rows));
        let checkpoint = is_due.then(|| self.snapshot(run));
        let (done, answer) = oneshot::channel();
        let received = std::mem::take(&mut run.received);
        let put = Put { rows: Arc::new(rows), received, done };
        self.writer.send(put).await.map_err(|_| JobError("the writer's queue is gone".into()))?;
        run.in_flight.push_back(InFlight { done: answer, checkpoint });
        Ok(())
    }

    /// Waits for whatever comes next.
    async fn wait(&self, run: &mut Run, absorbed: u64, stop: &mut Stop) -> Result<(), JobError> {
        let has_room = run.aggregate.rows_waiting() < ROWS_MAX;
        let may_flush = run.in_flight.len() < IN_FLIGHT_MAX;
        let flush_at = if run.aggregate.has_changes(Scope::Fast) {
            Some(run.flushed_at + self.flush_interval)
        } else if run.aggregate.has_changes(Scope::All) {
            Some((run.flushed_at + self.flush_interval).max(run.all_flushed_at + SLOW_EVERY))
        } else {
            None
        };
        let flush_at = flush_at.filter(|_| may_flush);
        let acked = async {
            match run.in_flight.front_mut() {
                Some(it) => (&mut it.done).await,
                None => std::future::pending().await,
            }
        };
        let acked = tokio::select! {
            acked = acked => Some(acked),
            () = self.log.changed(self.partition, &run.positions, PATIENCE),
                if has_room && absorbed == 0 => None,
            () = std::future::ready(()), if has_room && absorbed > 0 => {
                tokio::task::yield_now().await;
                None
            }
            () = tokio::time::sleep_until(flush_at.unwrap_or(run.flushed_at)), if flush_at.is_some() => None,
            () = stop.requested(), if !stop.is_requested() => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        if let Some(acked) = acked {
            acked.map_err(|_| JobError("a batch was dropped by the writer".into()))?;
            let saved = run.in_flight.pop_front().and_then(|it| it.checkpoint);
            if let Some(saved) = saved {
                self.save(saved).await?;
            }
        }
        Ok(())
    }

    /// The state as it stands. Nothing may wait to be emitted.
    fn snapshot(&self, run: &mut Run) -> Saved {
        run.checkpointed_at = Instant::now();
        run.checkpointed.clone_from(&run.positions);
        let checkpoint = run.aggregate.checkpoint(run.positions.clone());
        let bytes = fts_proto::checkpoint::encode(&checkpoint);
        Saved { bytes, positions: run.positions.clone() }
    }

    /// Saves a checkpoint whose rows are all in the store.
    async fn save(&self, saved: Saved) -> Result<(), JobError> {
        let size = usize_to_f64(saved.bytes.len());
        if let Err(error) = self.log.save_checkpoint(&self.name(), saved.bytes).await {
            return match error {
                // The next one will do.
                LogError::Unavailable(reason) => {
                    self.log_is_away(reason).await;
                    Ok(())
                }
                error => Err(JobError(error.to_string())),
            };
        }
        metrics::gauge!(CHECKPOINT_BYTES, "partition" => self.partition.to_string()).set(size);
        metrics::counter!(CHECKPOINTS_TOTAL).increment(1);
        for (topic, next) in saved.positions {
            if let Err(error) = self.log.release(topic, self.partition, next).await {
                tracing::warn!(%error, "nothing released");
            }
        }
        let now = self.clock.now();
        self.view.update(|picture| {
            picture.partitions.entry(self.partition).or_default().checkpoint_at = Some(now);
        });
        Ok(())
    }

    /// Shows the symbols that changed since the last batch.
    fn show_changed(&self, run: &Run) {
        self.view.update(|picture| {
            for state in run.aggregate.changed() {
                let view = picture.symbols.entry(state.symbol.clone()).or_default();
                show_coverage(view, state);
                view.last_received_at = run.received.last().copied().or(view.last_received_at);
            }
        });
        let holes = run.aggregate.symbols().iter().flat_map(|state| state.coverage.holes());
        let missing: i64 = holes.map(|(first, last)| last - first + 1).sum();
        let missing = f64::from(u32::try_from(missing).unwrap_or(u32::MAX));
        let partition = self.partition.to_string();
        let waiting = usize_to_f64(run.aggregate.rows_waiting());
        metrics::gauge!(MISSING_TRADES, "partition" => partition.clone()).set(missing);
        metrics::gauge!(FOLD_ROWS_WAITING, "partition" => partition).set(waiting);
    }

    async fn log_is_away(&self, reason: String) {
        tracing::warn!(partition = self.partition, reason, "the log is out of reach; trying again");
        self.view.problem("log", Some(reason));
        tokio::time::sleep(LOG_RETRY).await;
        self.view.problem("log", None);
    }

    fn name(&self) -> String {
        format!("aggregator-{}", self.partition)
    }
}

fn position(positions: &[(Topic, u64)], topic: Topic) -> u64 {
    positions.iter().find(|it| it.0 == topic).map_or(0, |it| it.1)
}

fn show_coverage(view: &mut SymbolView, state: &SymbolState) {
    let counts = state.counts;
    view.messages = counts.records;
    view.trades = counts.trades;
    view.backfilled = counts.backfilled;
    view.duplicates = counts.duplicates;
    view.dead_letters = counts.dead_letters;
    view.last_trade_time = state.coverage.last_time();
    view.first_trade_id = state.coverage.first();
    view.contiguous_trade_id = state.coverage.contiguous();
    view.last_trade_id = state.coverage.last();
    view.missing = state.coverage.holes().map(|(first, last)| last - first + 1).sum();
    view.lost = state.coverage.parts().2.iter().map(fts_core::coverage::Gap::missing).sum();
}

fn show_rows(picture: &mut Picture, rows: &Rows) {
    for row in &rows.candles {
        let Some(view) = picture.symbols.get_mut(&row.symbol) else { continue };
        let place = Interval::ALL.iter().position(|it| *it == row.interval);
        let Some(shown) = place.and_then(|it| view.candles.get_mut(it)) else { continue };
        if shown.as_ref().is_none_or(|it| it.candle.open_time <= row.candle.open_time) {
            *shown = Some(row.clone());
        }
    }
    for row in &rows.book_tickers {
        if let Some(view) = picture.symbols.get_mut(&row.symbol) {
            view.book = Some(row.book);
        }
    }
    for row in &rows.tickers {
        if let Some(view) = picture.symbols.get_mut(&row.symbol) {
            view.ticker = Some(row.ticker.clone());
        }
    }
}
