//! Fetches by REST what no connection delivered, and appends it to the same log.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives from its partition's aggregator what is missing, and the word of new connections; which
//!   symbols are wanted at all.
//! - Emits trades, floors and gaps to the log.
//! - Loses, if it dies, nothing: what is missing is told again.
//!
//! An id counts as lost only on proof: an answer of the exchange that skips it, or that has it in a
//! form that nothing can be made of. Silence is no proof, nor is a host that does not go back so far: what it
//! cannot tell stays missing, and another host may have it. And one counts as missing only once all is
//! folded that the log had when its time was over: it may lie there, where the aggregator has yet to come.

mod holes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::backoff::Backoff;
use fts_core::interval::Interval;
use fts_core::market::{Source, Symbol, Topic};
use fts_core::metrics::{BACKFILLED_TRADES_TOTAL, LOST_TRADES_TOTAL};
use fts_core::port::decode::Decode;
use fts_core::port::history::{History, HistoryError, PastTrade, PastTrades};
use fts_core::port::log::{Append, Log, Record};
use fts_core::time::Clock;
use tokio::time::Instant;

use self::holes::{Holes, Missing, above, absent, is_in};
use crate::demand::{Need, Seen};
use crate::ingestor::{append, chance};
use crate::partition::Partition;
use crate::view::View;
use crate::worker::{Job, JobError, Stop};

/// How long to wait when there is nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// How long to wait for the aggregator to take in what was appended.
const SETTLE: Duration = Duration::from_millis(20);
/// How long to believe that the exchange's host does not go back further.
const OUT_OF_REACH: Duration = Duration::from_secs(600);
/// Why a gap is on record.
const ABSENT: &str = "the exchange's history does not have these trades";
/// The same of a trade that was had and is not stored; what is wrong with it follows.
const REFUSED: &str = "the exchange's history has it in a form that is kept in dead_letters";

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Backfill {
    /// Which partition, and what it is missing.
    pub partition: Arc<Partition>,
    /// What the exchange knows.
    pub history: Arc<dyn History>,
    /// Whether the aggregator can make a trade of what the exchange answers.
    pub decode: Arc<dyn Decode>,
    /// Where it goes.
    pub log: Arc<dyn Log>,
    /// What the node shows.
    pub view: Arc<View>,
    /// The time, and the source of chance.
    pub clock: Arc<dyn Clock>,
    /// How long a hole may wait for the streams to close it.
    pub delay: Duration,
    /// After how long without a trade the exchange is asked whether there was one.
    pub quiet_probe: Duration,
    /// At most so many trades before the first one seen are fetched.
    pub first_sight_trades_max: i64,
    /// Bounds of the wait between attempts.
    pub backoff: Backoff,
}

/// What this run knows of a symbol beside the demand.
struct Progress {
    /// The newest trade the exchange told of: the record must reach it.
    target: i64,
    /// Whether to ask for the newest trade.
    is_probe_due: bool,
    /// When the newest trade seen last changed, and to what.
    last: Option<i64>,
    last_changed_at: Instant,
    holes: Holes,
    /// The hole that is to be filled next, and where the trade topic ended once its time was over.
    judged: Option<(i64, u64)>,
    /// The oldest id that the exchange's host could tell of, and when that was seen.
    reach: Option<(i64, Instant)>,
    /// Nothing is asked before.
    not_before: Instant,
    /// Nothing is asked before the aggregator stands here.
    position: u64,
    /// When something that could wait was last asked.
    asked_at: Option<Instant>,
    backoff: Backoff,
}

/// What to ask for a symbol.
enum Task {
    FirstSight,
    Fill(Missing),
    Probe,
}

#[async_trait]
impl Job for Backfill {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut progress = HashMap::new();
        let outcome = self.drive(&mut progress, &mut stop).await;
        for symbol in progress.keys() {
            self.forgive(symbol);
        }
        outcome
    }
}

impl Backfill {
    async fn drive(
        &self,
        progress: &mut HashMap<Symbol, Progress>,
        stop: &mut Stop,
    ) -> Result<(), JobError> {
        loop {
            let mut worked = false;
            let mut wait = IDLE;
            // Of the trade topic, as of this look: asked for once, however many symbols have holes.
            let mut end = None;
            // What was fetched while the log holds it back is missing still, and would be fetched again.
            let seen = self.partition.demand.look().filter(|_| !self.log.holds_back());
            if let Some(seen) = seen {
                progress.retain(|symbol, _| {
                    let is_wanted = seen.needs.contains_key(symbol);
                    if !is_wanted {
                        // What could not be had is missed by nobody.
                        self.forgive(symbol);
                    }
                    is_wanted
                });
                // Of what can wait, the one that has waited longest: a storm of first sights may take
                // the exchange's budget of many minutes, and no hole shall wait for all of them.
                let mut at_leisure: Option<(Option<Instant>, &Symbol, &Need, Task)> = None;
                for (symbol, need) in &seen.needs {
                    if stop.is_requested() {
                        return Ok(());
                    }
                    let entry = self.entry(progress, symbol);
                    entry.is_probe_due |= seen.connected.contains(symbol);
                    match self.choose(symbol, entry, need, &seen) {
                        Ok(Task::Fill(missing))
                            if !self.is_missing(&missing, entry, &seen, &mut end).await =>
                        {
                            wait = wait.min(SETTLE);
                        }
                        Ok(task @ Task::Fill(..)) => {
                            self.work(symbol, need, task, entry, stop).await?;
                            worked = true;
                        }
                        Ok(task) => {
                            let asked_at = entry.asked_at;
                            if at_leisure.as_ref().is_none_or(|it| asked_at < it.0) {
                                at_leisure = Some((asked_at, symbol, need, task));
                            }
                        }
                        Err(pause) => wait = wait.min(pause),
                    }
                }
                if let Some((_, symbol, need, task)) = at_leisure {
                    let entry = self.entry(progress, symbol);
                    entry.asked_at = Some(Instant::now());
                    self.work(symbol, need, task, entry, stop).await?;
                    worked = true;
                }
            }
            let wait = if worked { SETTLE } else { wait };
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = self.partition.demand.changed(), if !worked => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn entry<'a>(
        &self,
        progress: &'a mut HashMap<Symbol, Progress>,
        symbol: &Symbol,
    ) -> &'a mut Progress {
        let now = Instant::now();
        progress.entry(symbol.clone()).or_insert_with(|| Progress {
            target: i64::MIN,
            is_probe_due: false,
            last: None,
            last_changed_at: now,
            holes: Holes::default(),
            judged: None,
            reach: None,
            not_before: now,
            position: 0,
            asked_at: None,
            backoff: self.backoff,
        })
    }

    /// What to do for a symbol; an error is how long there is nothing to do.
    fn choose(
        &self,
        symbol: &Symbol,
        entry: &mut Progress,
        need: &Need,
        seen: &Seen,
    ) -> Result<Task, Duration> {
        let now = Instant::now();
        if entry.last != need.last {
            entry.last = need.last;
            entry.last_changed_at = now;
        }
        if seen.position < entry.position {
            return Err(SETTLE);
        }
        if entry.not_before > now {
            return Err(entry.not_before - now);
        }
        if need.floor.is_none() {
            return Ok(Task::FirstSight);
        }
        let tail =
            need.last.filter(|last| *last < entry.target).map(|last| (last + 1, entry.target));
        // What is known to be missing, in the order of ids: the tail is behind all holes.
        let mut missing: Vec<(i64, i64)> = need.holes.iter().copied().chain(tail).collect();
        if let Some((reach, seen_at)) = entry.reach {
            let oldest = missing.first().map_or(i64::MAX, |(first, _)| *first);
            if oldest >= reach || seen_at.elapsed() >= OUT_OF_REACH {
                entry.reach = None;
                self.view.warning(&part(symbol), None);
            } else {
                missing = above(&missing, reach);
            }
        }
        if let Some(due) = entry.holes.due(missing, now, self.delay) {
            return due.map(Task::Fill);
        }
        let is_quiet = entry.last_changed_at.elapsed() > self.quiet_probe;
        if entry.is_probe_due || is_quiet { Ok(Task::Probe) } else { Err(IDLE) }
    }

    /// Whether the aggregator has seen all that the log had once the first hole's time was over.
    async fn is_missing(
        &self,
        missing: &Missing,
        entry: &mut Progress,
        seen: &Seen,
        end: &mut Option<u64>,
    ) -> bool {
        let Some((first, _)) = missing.ripe.first().copied() else { return false };
        let judged = entry.judged.filter(|it| it.0 == first);
        if judged.is_none() && end.is_none() {
            // A log that does not tell takes nothing, either.
            let bounds = self.log.bounds(Topic::Trade, self.partition.number).await;
            *end = bounds.ok().map(|it| it.1);
        }
        entry.judged = judged.or(end.map(|end| (first, end)));
        entry.judged.is_some_and(|(_, end)| seen.position >= end)
    }

    async fn work(
        &self,
        symbol: &Symbol,
        need: &Need,
        task: Task,
        entry: &mut Progress,
        stop: &mut Stop,
    ) -> Result<(), JobError> {
        let asked = async {
            match &task {
                Task::FirstSight => self.first_sight(symbol, need).await,
                Task::Fill(missing) => self.fill(symbol, missing).await,
                Task::Probe => {
                    let latest = self.history.latest(symbol).await?;
                    Ok(Answer { target: latest.map(|it| it.id), ..Answer::default() })
                }
            }
        };
        let answer = tokio::select! {
            () = stop.requested() => return Ok(()),
            answer = asked => answer,
        };
        let part = part(symbol);
        match answer {
            Ok(answer) => {
                self.view.problem(&part, None);
                if matches!(task, Task::Probe) {
                    entry.is_probe_due = false;
                    entry.last_changed_at = Instant::now();
                }
                entry.target = answer.target.map_or(entry.target, |it| entry.target.max(it));
                if let Some(reach) = answer.reach {
                    entry.reach = Some((reach, Instant::now()));
                    let text = format!(
                        "the exchange's host has no trades before {reach}; those that are missing may be \
                         had of another: see binance.rest_url in cluster.toml"
                    );
                    tracing::warn!(%symbol, reach, "{text}");
                    self.view.warning(&part, Some(text));
                }
                if answer.records.is_empty() {
                    if !matches!(task, Task::Probe) {
                        // No answer to what was asked: the exchange may know it later.
                        entry.not_before =
                            Instant::now() + entry.backoff.next(chance(&*self.clock));
                    }
                    return Ok(());
                }
                entry.backoff.reset();
                self.log(symbol, answer.records, entry, stop).await
            }
            Err(error) => {
                let wait = entry.backoff.next(chance(&*self.clock));
                let wait = match &error {
                    HistoryError::Unavailable { retry_after, .. } => wait.max(*retry_after),
                    HistoryError::Refused(_) => wait.max(Duration::from_secs(30)),
                };
                tracing::warn!(%symbol, %error, ?wait, "history not had; trying again");
                self.view.problem(&part, Some(error.to_string()));
                entry.not_before = Instant::now() + wait;
                Ok(())
            }
        }
    }

    /// Decides where the record of a symbol begins: with the longest candle under way whose
    /// beginning is within reach; fetches the first trades from there on.
    async fn first_sight(&self, symbol: &Symbol, need: &Need) -> Result<Answer, HistoryError> {
        if self.first_sight_trades_max == 0
            && let Some(first) = need.first
        {
            let floor = fts_proto::control::floor(symbol, first);
            let records = vec![(Source::Control, floor)];
            return Ok(Answer { records, ..Answer::default() });
        }
        let Some(latest) = self.history.latest(symbol).await? else {
            return Ok(Answer::default());
        };
        // Trades from `top` on come by other ways.
        let top = need.first.unwrap_or(latest.id + 1);
        let mut from = top;
        for interval in Interval::ALL.into_iter().rev() {
            let open_time = interval.floor(latest.time);
            let Some(first) = self.history.first_id_at(symbol, open_time).await? else { continue };
            if top - first <= self.first_sight_trades_max {
                from = first.min(top);
                break;
            }
        }
        // The trade before a window proves that the window's first trade is its first.
        let trades = self.history.trades(symbol, (from - 1).max(0)).await?.trades;
        let floor = trades.first().map_or(top, |it| it.id).min(top);
        let mut records = vec![(Source::Control, fts_proto::control::floor(symbol, floor))];
        // What is missing above it costs nothing where the same answer has it.
        let wanted = trades.into_iter().filter(|it| it.id < top || is_in(&need.holes, it.id));
        records.extend(wanted.map(|it| (Source::Backfill, it.value)));
        tracing::info!(%symbol, floor, latest = latest.id, "the record begins");
        Ok(Answer { target: Some(latest.id), records, reach: None })
    }

    /// Fetches as much of what is missing, from its beginning on, as one answer has: it costs the same
    /// whether it fills one hole or fifty.
    async fn fill(&self, symbol: &Symbol, missing: &Missing) -> Result<Answer, HistoryError> {
        let Some((from, _)) = missing.ripe.first().copied() else { return Ok(Answer::default()) };
        let PastTrades { whole_from, trades } = self.history.trades(symbol, from).await?;
        let mut lost: Vec<_> = above(&missing.ripe, whole_from)
            .iter()
            .flat_map(|(first, last)| absent(&trades, *first, *last))
            .map(|(first, last)| (first, last, ABSENT.to_owned()))
            .collect();
        let wanted: Vec<_> = trades.into_iter().filter(|it| is_in(&missing.all, it.id)).collect();
        tracing::debug!(%symbol, from, holes = missing.all.len(), fetched = wanted.len(), "filling");
        // Fetched again it would be the same: its place in the log is that of a dead letter.
        lost.extend(wanted.iter().filter_map(|it| {
            let why = self.refusal(symbol, it)?;
            Some((it.id, it.id, format!("{REFUSED}: {why}")))
        }));
        metrics::counter!(BACKFILLED_TRADES_TOTAL)
            .increment(u64::try_from(wanted.len()).unwrap_or(0));
        let mut records: Vec<_> =
            wanted.into_iter().map(|it| (Source::Backfill, it.value)).collect();
        for (first, last, reason) in lost {
            tracing::warn!(%symbol, first, last, reason, "trades are lost");
            metrics::counter!(LOST_TRADES_TOTAL)
                .increment(u64::try_from(last - first + 1).unwrap_or(0));
            records.push((Source::Control, fts_proto::control::gap(symbol, first, last, &reason)));
        }
        let reach = (whole_from > from).then_some(whole_from);
        Ok(Answer { target: None, records, reach })
    }

    /// Takes back what was said of a symbol's past.
    fn forgive(&self, symbol: &Symbol) {
        self.view.problem(&part(symbol), None);
        self.view.warning(&part(symbol), None);
    }

    /// Why nothing can be made of a trade that the exchange answered.
    fn refusal(&self, symbol: &Symbol, trade: &PastTrade) -> Option<String> {
        let record = self.record(symbol, Source::Backfill, trade.value.clone());
        self.decode.decode(Topic::Trade, &record).err()
    }

    fn record(&self, symbol: &Symbol, source: Source, value: Bytes) -> Record {
        Record { key: symbol.clone(), value, received_at: self.clock.now(), source, feed: 0 }
    }

    async fn log(
        &self,
        symbol: &Symbol,
        records: Vec<(Source, Bytes)>,
        entry: &mut Progress,
        stop: &Stop,
    ) -> Result<(), JobError> {
        let append_of = |(source, value)| Append {
            topic: Topic::Trade,
            partition: self.partition.number,
            record: self.record(symbol, source, value),
        };
        let batch = records.into_iter().map(append_of).collect();
        append(&*self.log, batch, &self.view, stop).await?;
        // The aggregator stands behind what was just appended once it has come this far.
        if let Ok((_, end)) = self.log.bounds(Topic::Trade, self.partition.number).await {
            entry.position = end;
        }
        Ok(())
    }
}

/// What a problem with a symbol's past is shown under.
fn part(symbol: &Symbol) -> String {
    format!("history of {symbol}")
}

/// What the exchange answered, as records.
#[derive(Default)]
struct Answer {
    target: Option<i64>,
    records: Vec<(Source, Bytes)>,
    /// The oldest id that it tells of, where it was asked for older ones.
    reach: Option<i64>,
}

#[cfg(test)]
mod tests;
