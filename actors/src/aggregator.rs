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
use fts_core::market::{Source, Topic};
use fts_core::metrics::{
    CHECKPOINT_BYTES, CHECKPOINTS_TOTAL, FOLD_RECORDS, FOLD_ROWS_WAITING, MISSING_TRADES,
};
use fts_core::port::decode::Decode;
use fts_core::port::log::{Log, LogError};
use fts_core::row::CandleRow;
use fts_core::time::{Clock, UnixNanos};
use metrics::{Counter, Gauge};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::demand::{Demand, Need};
use crate::view::{SymbolView, View};
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
/// How often the backfill and the view are told of what is new, unless something is missing.
const NEWS_EVERY: Duration = Duration::from_millis(100);
/// Bytes of records after which there is likely more: it is absorbed at once.
const BEHIND_BYTES: usize = READ_BYTES / 4;
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
    /// Whether all that was on disk is absorbed.
    is_caught_up: bool,
    /// Whether the log is likely to have more than was absorbed.
    is_behind: bool,
    in_flight: VecDeque<InFlight>,
    /// When the records absorbed since the last batch were received.
    received: Vec<UnixNanos>,
    /// When the log was last looked into.
    looked_at: Instant,
    flushed_at: Instant,
    /// When rows of every scope were last emitted.
    all_flushed_at: Instant,
    told_at: Instant,
    checkpointed_at: Instant,
    /// Positions of the last checkpoint taken.
    checkpointed: Vec<(Topic, u64)>,
    meters: Meters,
}

/// Looked up once a run: a look-up costs as much as a record.
struct Meters {
    records: Counter,
    missing: Gauge,
    waiting: Gauge,
}

#[async_trait]
impl Job for Aggregator {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut run = self.resume().await?;
        let mut farewell = None;
        loop {
            let is_ending = stop.is_requested();
            let now = Instant::now();
            let has_room = run.aggregate.rows_waiting() < ROWS_MAX;
            let is_time = is_ending || run.is_behind || now >= run.looked_at + self.flush_interval;
            let absorbed = if has_room && is_time { self.absorb(&mut run, now).await? } else { 0 };
            self.tell(&mut run, now);
            self.flush(&mut run, now, is_ending).await?;
            if is_ending {
                // Sources have ended: what is in the log by now is all there will be.
                let deadline = *farewell.get_or_insert(now + FAREWELL);
                if absorbed == 0
                    && run.in_flight.is_empty()
                    && !run.aggregate.has_changes(Scope::All)
                {
                    let saved = self.snapshot(&mut run);
                    self.save(saved).await?;
                    return Ok(());
                }
                if now > deadline {
                    tracing::warn!(
                        partition = self.partition,
                        "stopped before all was stored; it will be at the next start"
                    );
                    return Ok(());
                }
            }
            self.wait(&mut run, &mut stop).await?;
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
        let now = Instant::now();
        let partition = self.partition.to_string();
        Ok(Run {
            aggregate,
            checkpointed: positions.clone(),
            positions,
            on_disk,
            is_caught_up: false,
            is_behind: true,
            in_flight: VecDeque::new(),
            received: Vec::new(),
            looked_at: now,
            flushed_at: now,
            all_flushed_at: now,
            told_at: now,
            checkpointed_at: now,
            meters: Meters {
                records: metrics::counter!(FOLD_RECORDS),
                missing: metrics::gauge!(MISSING_TRADES, "partition" => partition.clone()),
                waiting: metrics::gauge!(FOLD_ROWS_WAITING, "partition" => partition),
            },
        })
    }

    /// Absorbs what the log has; returns how many records that were.
    async fn absorb(&self, run: &mut Run, now: Instant) -> Result<u64, JobError> {
        let (mut absorbed, mut bytes) = (0, 0);
        run.looked_at = now;
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
                bytes += stored.record.value.len();
                *next = stored.offset + 1;
            }
            absorbed += u64::try_from(batch.len()).unwrap_or(0);
        }
        run.is_behind = absorbed > 0 && (!run.is_caught_up || bytes > BEHIND_BYTES);
        run.meters.records.increment(absorbed);
        Ok(absorbed)
    }

    /// Tells the backfill what is missing, and the view what is new.
    fn tell(&self, run: &mut Run, now: Instant) {
        let was_caught_up = run.is_caught_up;
        run.is_caught_up = was_caught_up
            || run
                .on_disk
                .iter()
                .all(|(topic, end)| run.positions.iter().any(|it| it.0 == *topic && it.1 >= *end));
        let is_urgent = run.is_caught_up != was_caught_up
            || run.aggregate.news().any(|state| Need::is_urgent(&state.coverage));
        if !is_urgent && now < run.told_at + NEWS_EVERY {
            return;
        }
        run.told_at = now;
        let position = position(&run.positions, Topic::Trade);
        let news: Vec<_> = run.aggregate.take_news().collect();
        self.view.update(|picture| {
            for state in &news {
                show(picture.symbols.entry(state.symbol.clone()).or_default(), state);
            }
        });
        let need = |state: &&SymbolState| (state.symbol.clone(), Need::of(&state.coverage));
        let needs = news.iter().map(need).collect();
        self.demand.tell(run.is_caught_up, position, needs);
        let holes = run.aggregate.symbols().iter().flat_map(|state| state.coverage.holes());
        let missing: i64 = holes.map(|(first, last)| last - first + 1).sum();
        run.meters.missing.set(f64::from(u32::try_from(missing).unwrap_or(u32::MAX)));
        run.meters.waiting.set(usize_to_f64(run.aggregate.rows_waiting()));
    }

    /// Sends what changed to the writer, if it is time and there is room.
    async fn flush(&self, run: &mut Run, now: Instant, is_ending: bool) -> Result<(), JobError> {
        if run.in_flight.len() >= IN_FLIGHT_MAX || now < run.flushed_at + self.flush_interval {
            return Ok(());
        }
        let is_due = now >= run.checkpointed_at + self.checkpoint_interval
            && run.checkpointed != run.positions;
        let is_slow = is_due || is_ending || now >= run.all_flushed_at + SLOW_EVERY;
        let scope = if is_slow { Scope::All } else { Scope::Fast };
        if !run.aggregate.has_changes(scope) {
            run.received.clear();
            if is_due && run.in_flight.is_empty() {
                let saved = self.snapshot(run);
                self.save(saved).await?;
            }
            return Ok(());
        }
        run.flushed_at = now;
        if scope == Scope::All {
            run.all_flushed_at = now;
        }
        let rows = run.aggregate.take_rows(scope);
        let checkpoint = is_due.then(|| self.snapshot(run));
        let (done, answer) = oneshot::channel();
        let received = std::mem::take(&mut run.received);
        let put = Put { rows: Arc::new(rows), received, done };
        self.writer.send(put).await.map_err(|_| JobError("the writer's queue is gone".into()))?;
        run.in_flight.push_back(InFlight { done: answer, checkpoint });
        Ok(())
    }

    /// Waits for whatever comes next. Under load that is the next turn: records are looked for, and
    /// rows sent, once every flush interval, however many commits the log makes.
    async fn wait(&self, run: &mut Run, stop: &mut Stop) -> Result<(), JobError> {
        let has_room = run.aggregate.rows_waiting() < ROWS_MAX;
        let may_flush = run.in_flight.len() < IN_FLIGHT_MAX;
        let is_ending = stop.is_requested();
        let next_flush = run.flushed_at + self.flush_interval;
        let flush_at = if run.aggregate.has_changes(Scope::Fast) {
            Some(next_flush)
        } else if run.aggregate.has_changes(Scope::All) {
            Some(if is_ending {
                next_flush
            } else {
                next_flush.max(run.all_flushed_at + SLOW_EVERY)
            })
        } else {
            None
        };
        let has_news = run.aggregate.news().next().is_some();
        let turn = [flush_at.filter(|_| may_flush), has_news.then_some(run.told_at + NEWS_EVERY)];
        let turn = turn.into_iter().flatten().min();
        let acked = async {
            match run.in_flight.front_mut() {
                Some(it) => (&mut it.done).await,
                None => std::future::pending().await,
            }
        };
        let records = async {
            if run.is_behind {
                return tokio::task::yield_now().await;
            }
            tokio::time::sleep_until(run.looked_at + self.flush_interval).await;
            self.log.changed(self.partition, &run.positions, PATIENCE).await;
        };
        let acked = tokio::select! {
            acked = acked => Some(acked),
            () = records, if has_room => None,
            () = tokio::time::sleep_until(turn.unwrap_or(run.flushed_at)), if turn.is_some() => None,
            () = stop.requested(), if !is_ending => None,
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

fn show(view: &mut SymbolView, state: &SymbolState) {
    let counts = state.counts;
    view.messages = counts.records;
    view.trades = counts.trades;
    view.backfilled = counts.backfilled;
    view.duplicates = counts.duplicates;
    view.dead_letters = counts.dead_letters;
    view.last_received_at = state.received_at.or(view.last_received_at);
    view.last_trade_time = state.coverage.latest_time();
    view.first_trade_id = state.coverage.first();
    view.contiguous_trade_id = state.coverage.contiguous();
    view.last_trade_id = state.coverage.last();
    view.missing = state.coverage.holes().map(|(first, last)| last - first + 1).sum();
    view.lost = state.coverage.parts().2.iter().map(fts_core::coverage::Gap::missing).sum();
    for (shown, newest) in view.candles.iter_mut().zip(state.newest_candles()) {
        let open_time = |it: &CandleRow| it.candle.open_time;
        if newest.as_ref().map(open_time) >= shown.as_ref().map(open_time) {
            *shown = newest;
        }
    }
    view.book = state.best.or(view.book);
    if state.ticker.is_some() {
        view.ticker.clone_from(&state.ticker);
    }
}
