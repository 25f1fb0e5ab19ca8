//! Folds one partition of the log into rows, for one store.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives records by pulling the log, and acknowledgements of its batches from its writer.
//! - Emits rows to its writer and checkpoints to the log; and, if it is the one that speaks for the
//!   partition ([`Lead`](crate::partition::Lead)), what is missing to the backfill.
//! - Loses, if it dies, nothing: its successor, on whatever node, loads the last checkpoint and
//!   replays the rest.

mod resume;
mod run;
mod save;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::aggregate::{Scope, SymbolState};
use fts_core::alert::AlertRule;
use fts_core::market::{Event, Source, Topic};
use fts_core::metrics::STRAY_TRANSACTIONS_TOTAL;
use fts_core::port::decode::Decode;
use fts_core::port::log::{Log, LogError};
use fts_core::row::{CandleRow, Table};
use fts_core::time::Clock;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::run::{InFlight, Run, position, sum};
use crate::demand::Need;
use crate::partition::{Claim, Partition};
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
const NEWS_EVERY: Duration = Duration::from_millis(250);
/// Bytes of records after which there is likely more: it is absorbed at once.
const BEHIND_BYTES: usize = READ_BYTES / 4;
/// How long to wait for records before looking around all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to leave a log alone that is out of reach.
const LOG_RETRY: Duration = Duration::from_millis(200);
/// How long the last rows may take to be stored when it stops.
const FAREWELL: Duration = Duration::from_secs(6);
/// How often the log is asked how much of it is not folded yet.
const BACKLOG_EVERY: Duration = Duration::from_secs(2);
/// How long the log may take to tell its ends.
const ENDS: Duration = Duration::from_secs(2);
/// What is to be said of transactions under another key than their stock.
const STRAYS: &str = "some come under another key than their stock: abrupt changes of its price are \
                      found among those of one partition only; let their writer set the key to the \
                      stock";

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Aggregator {
    /// Which partition, and what its other aggregators know.
    pub partition: Arc<Partition>,
    /// For which store.
    pub target: Target,
    /// Where records come from.
    pub log: Arc<dyn Log>,
    /// What they mean.
    pub decode: Arc<dyn Decode>,
    /// Where rows go.
    pub writer: Sender,
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

/// The store that an aggregator folds for.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its place among the node's stores.
    pub index: usize,
    /// What operators call it.
    pub name: Arc<str>,
    /// What its checkpoints are kept under; the partition's number is added.
    pub checkpoints: Arc<str>,
    /// The tables that it does not take.
    pub without: Arc<[Table]>,
}

#[async_trait]
impl Job for Aggregator {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut run = self.resume(&stop).await?;
        let mut farewell = None;
        loop {
            let is_ending = stop.is_requested();
            let now = Instant::now();
            if is_ending && run.last_ends.is_none() {
                let ends = self.ends(&run).await;
                run.last_ends = Some(ends.unwrap_or_else(|| run.positions.clone()));
            }
            let is_time = is_ending || run.is_behind || now >= run.looked_at + self.flush_interval;
            let is_due = is_time && run.may_absorb();
            let absorbed = if is_due { self.absorb(&mut run, now).await? } else { 0 };
            self.tell(&mut run, now);
            self.flush(&mut run, now, is_ending).await?;
            self.show_backlog(&mut run, now).await;
            if is_ending {
                let deadline = *farewell.get_or_insert(now + FAREWELL);
                if (run.is_at_its_end() || absorbed == 0)
                    && run.in_flight.is_empty()
                    && !run.aggregate.has_changes(Scope::All)
                {
                    let saved = self.snapshot(&mut run);
                    self.save(&mut run, saved).await?;
                    return Ok(());
                }
                if now > deadline {
                    tracing::warn!(
                        partition = self.partition.number,
                        store = &*self.target.name,
                        "stopped before all was stored; whoever goes on will do it"
                    );
                    return Ok(());
                }
            }
            self.wait(&mut run, &mut stop).await?;
        }
    }
}

impl Aggregator {
    /// The ends of the topics; `None` if the log does not tell.
    async fn ends(&self, run: &Run) -> Option<Vec<(Topic, u64)>> {
        let each = run.positions.iter().map(async |(topic, _)| {
            let bounds = self.log.bounds(*topic, self.partition.number).await;
            Some((*topic, bounds.ok()?.1))
        });
        let ends = tokio::time::timeout(ENDS, join_all(each)).await.ok()?;
        ends.into_iter().collect()
    }

    /// Absorbs what the log has; returns how many records that were.
    async fn absorb(&self, run: &mut Run, now: Instant) -> Result<u64, JobError> {
        let (mut absorbed, mut bytes) = (0, 0);
        run.looked_at = now;
        let read = |(topic, next): &(Topic, u64)| {
            self.log.read(*topic, self.partition.number, *next, READ_BYTES)
        };
        let batches = join_all(run.positions.iter().map(read)).await;
        for ((topic, next), batch) in run.positions.iter_mut().zip(batches) {
            let batch = match batch {
                Ok(batch) => {
                    self.log_is_back();
                    batch
                }
                Err(LogError::Expired { oldest }) => {
                    tracing::warn!(
                        topic = topic.name(),
                        partition = self.partition.number,
                        store = &*self.target.name,
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
                if run.leads && run.is_caught_up {
                    run.meters.heard(&stored.record, &event);
                }
                if matches!(event, Ok(Event::Connected)) {
                    run.connected.insert(stored.record.key.clone(), stored.offset);
                }
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

    /// Tells the backfill what is missing, and the view what is new, if this aggregator speaks for
    /// the partition.
    fn tell(&self, run: &mut Run, now: Instant) {
        let was_caught_up = run.is_caught_up;
        run.is_caught_up = was_caught_up || run.has_reached(&run.on_disk);
        if run.is_caught_up && !was_caught_up {
            let (partition, store) = (self.partition.number, &*self.target.name);
            tracing::debug!(partition, store, after = ?run.began_at.elapsed(), "caught up");
        }
        let claim = self.partition.lead.claim(self.target.index, sum(&run.positions));
        let wanted = self.partition.demand.wanted();
        let is_other = !Arc::ptr_eq(&wanted, &run.wanted);
        run.wanted = wanted;
        let is_urgent = match claim {
            _ if is_other => true,
            Claim::TakesOver => true,
            Claim::Leads => {
                run.is_caught_up != was_caught_up
                    || run.aggregate.news().any(|state| Need::is_urgent(&state.coverage))
            }
            Claim::Follows => false,
        };
        run.leads = claim != Claim::Follows;
        if !is_urgent && now < run.told_at + NEWS_EVERY {
            return;
        }
        run.told_at = now;
        run.meters.waiting.set(usize_to_f64(run.aggregate.rows_waiting()));
        let position = position(&run.positions, Topic::Trade);
        if claim != Claim::Follows {
            self.view.update(|picture| {
                for stock in run.aggregate.stocks() {
                    if !picture.stocks.contains(stock) {
                        picture.stocks.insert(stock.clone());
                    }
                }
            });
        }
        self.tell_strays(run, claim);
        // Also for one that follows: what it takes over with is everything.
        let mut news: Vec<_> = run.aggregate.take_news().collect();
        match claim {
            Claim::Follows => {
                // What the one that speaks has come past, it has told.
                let told = self.partition.demand.position();
                run.connected.retain(|_, offset| *offset >= told);
                return;
            }
            Claim::Leads if !is_other => {}
            Claim::Leads | Claim::TakesOver => news = run.aggregate.symbols().iter().collect(),
        }
        self.view.update(|picture| {
            // As of this moment: what is not wanted any more is taken away only once.
            let wanted = self.partition.demand.wanted();
            for state in news.iter().filter(|state| wanted.contains(&state.symbol)) {
                show(picture.symbols.entry(state.symbol.clone()).or_default(), state);
            }
        });
        let need = |state: &&SymbolState| (state.symbol.clone(), Need::of(&state.coverage));
        let needs = news.iter().map(need).collect();
        let connected = std::mem::take(&mut run.connected).into_keys();
        self.partition.demand.tell(run.is_caught_up, position, needs, connected);
        let is_wanted = |state: &&SymbolState| {
            state.coverage.holes().next().is_some() && run.wanted.contains(&state.symbol)
        };
        let states = run.aggregate.symbols().iter().filter(is_wanted);
        let holes = states.flat_map(|state| state.coverage.holes());
        let missing: i64 = holes.map(|(first, last)| last - first + 1).sum();
        run.meters.missing.set(f64::from(u32::try_from(missing).unwrap_or(u32::MAX)));
    }

    /// Says that there are transactions whose alerts nobody can vouch for.
    fn tell_strays(&self, run: &mut Run, claim: Claim) {
        let more = run.aggregate.strays() - run.strays;
        run.strays += more;
        if more == 0 || claim == Claim::Follows {
            return;
        }
        metrics::counter!(STRAY_TRANSACTIONS_TOTAL).increment(more);
        let part = Topic::Transactions.name();
        self.view.update(|picture| {
            if !picture.warnings.contains_key(part) {
                tracing::warn!(topic = part, "{STRAYS}");
                picture.warnings.insert(part.to_owned(), STRAYS.to_owned());
            }
        });
    }

    /// Sends what changed to the writer, if it is time and there is room.
    async fn flush(&self, run: &mut Run, now: Instant, is_ending: bool) -> Result<(), JobError> {
        if !self.may_flush(run) || now < run.flushed_at + self.flush_interval {
            return Ok(());
        }
        let is_due = now >= run.checkpointed_at + self.checkpoint_interval
            && (run.checkpointed != run.positions || run.releases.is_due(now));
        let is_slow = is_due || is_ending || now >= run.all_flushed_at + SLOW_EVERY;
        let scope = if is_slow { Scope::All } else { Scope::Fast };
        if !run.aggregate.has_changes(scope) {
            run.received.clear();
            if is_due && run.in_flight.is_empty() {
                let saved = self.snapshot(run);
                self.save(run, saved).await?;
            }
            return Ok(());
        }
        run.flushed_at = now;
        if scope == Scope::All {
            run.all_flushed_at = now;
        }
        let mut rows = run.aggregate.take_rows(scope);
        for table in &*self.target.without {
            rows.clear(*table);
        }
        if rows.is_empty() && !is_due {
            run.received.clear();
            return Ok(());
        }
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
        let may_absorb = run.may_absorb();
        let may_flush = self.may_flush(run);
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
            self.log.changed(self.partition.number, &run.positions, PATIENCE).await;
        };
        let acked = tokio::select! {
            acked = acked => Some(acked),
            () = records, if may_absorb => None,
            () = tokio::time::sleep_until(turn.unwrap_or(run.flushed_at)), if turn.is_some() => None,
            () = stop.requested(), if !is_ending => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        if let Some(acked) = acked {
            acked.map_err(|_| JobError("a batch was dropped by the writer".into()))?;
            let saved = run.in_flight.pop_front().and_then(|it| it.checkpoint);
            if let Some(saved) = saved {
                self.save(run, saved).await?;
            }
        }
        Ok(())
    }

    /// Shows, now and then, how much of the log is not folded yet.
    async fn show_backlog(&self, run: &mut Run, now: Instant) {
        if now < run.backlog_asked_at + BACKLOG_EVERY {
            return;
        }
        run.backlog_asked_at = now;
        if run.saved == run.positions {
            self.show_saved(run);
        }
        let asked_at = Instant::now();
        let Some(ends) = self.ends(run).await else { return };
        let backlog = sum(&ends).saturating_sub(sum(&run.positions));
        run.horizon.ends(asked_at, ends);
        run.meters.waiting.set(usize_to_f64(run.aggregate.rows_waiting()));
        run.meters.backlog.set(f64::from(u32::try_from(backlog).unwrap_or(u32::MAX)));
        let (store, partition) = (&*self.target.name, self.partition.number);
        self.view.update(|picture| picture.backlog(store, partition, backlog));
    }

    fn may_flush(&self, run: &Run) -> bool {
        run.in_flight.len() < IN_FLIGHT_MAX && self.writer.capacity() > 0
    }

    async fn log_is_away(&self, reason: String) {
        let partition = self.partition.number;
        tracing::warn!(partition, reason, "the log is out of reach; trying again");
        self.partition.log_is_away.store(true, Ordering::Relaxed);
        self.view.problem(&log_problem(self.partition.number), Some(reason));
        tokio::time::sleep(LOG_RETRY).await;
    }

    /// The log answers: what was said of it is taken back.
    fn log_is_back(&self) {
        if self.partition.log_is_away.load(Ordering::Relaxed) {
            self.partition.log_is_away.store(false, Ordering::Relaxed);
            self.view.problem(&log_problem(self.partition.number), None);
        }
    }

    fn checkpoint_name(&self) -> String {
        format!("{}-{}", self.target.checkpoints, self.partition.number)
    }
}

/// What it is shown under that the log of a partition is away.
pub(crate) fn log_problem(partition: u32) -> String {
    format!("log of partition {partition}")
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
