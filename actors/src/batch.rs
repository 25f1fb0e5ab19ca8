//! Fetches the daily prices of stocks when they are due, and at once when somebody asks.
//!
//! - Supervised by [`crate::supervisor`], restarted alone; one in a cluster.
//! - Receives requests to run at once.
//! - Emits records to the log, days to the report, lines to the file of lines.
//! - Loses, if it dies, nothing: what is done and what was asked of the provider stands in the log's
//!   checkpoint `batch`, before the answer is used. Its successor, on whatever node, goes on there.
//!
//! While it moves to another node, two may run, and one that stood still may wake up late. Each takes in
//! what the other has written before it writes, and before it asks it says so and waits whether the
//! other does: so they share the work, and what the provider allows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::backoff::Backoff;
use fts_core::market::{Source, Symbol, Topic};
use fts_core::metrics::{
    BATCH_DAYS_TOTAL, BATCH_FAILED_SYMBOLS, BATCH_LAST_RUN_SECONDS, BATCH_REQUESTS_TOTAL,
    BATCH_REQUESTS_USED,
};
use fts_core::port::daily::{DailyError, DailyPrices};
use fts_core::port::log::{Append, Log, LogError, Record};
use fts_core::port::report::{DailyReport, LineLevel, LineLog};
use fts_core::port::schedule::Schedule;
use fts_core::stock::Daily;
use fts_core::time::Clock;
use fts_proto::daily;
use tokio::sync::{Mutex, mpsc};

use self::state::{Run, State};
use crate::view::{BatchView, View};
use crate::worker::{Job, JobError, Stop};

mod state;

/// How often one symbol is asked for in one run, whatever goes wrong.
const ATTEMPTS_MAX: u32 = 5;
/// At most so long is slept without looking at the clock, which somebody may set.
const NAP_MAX: Duration = Duration::from_secs(30);
/// How long to leave a log alone that is out of reach.
const LOG_RETRY: Duration = Duration::from_millis(500);
/// How long a node that is about to ask waits to see whether another one is: far longer than the log
/// takes to keep a checkpoint.
const SETTLE: Duration = Duration::from_millis(200);
const DAY_MS: i64 = 86_400_000;

/// What the provider allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests a day (UTC).
    pub per_day: u32,
    /// The least time between two requests.
    pub apart: Duration,
}

/// Asks the batch to run at once for these symbols; for none: for all of them.
pub type Request = Vec<Symbol>;

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Batch {
    /// The node's name.
    pub node: Arc<str>,
    /// Whose prices.
    pub symbols: Vec<Symbol>,
    /// Who has them.
    pub prices: Arc<dyn DailyPrices>,
    /// What it allows.
    pub allowance: Allowance,
    /// When they are due.
    pub schedule: Arc<dyn Schedule>,
    /// Where they go, and where the state is kept.
    pub log: Arc<dyn Log>,
    /// The file that people know.
    pub report: Arc<dyn DailyReport>,
    /// What happened, for people.
    pub lines: Arc<dyn LineLog>,
    /// The time; also the source of chance for the backoff.
    pub clock: Arc<dyn Clock>,
    /// What the node shows.
    pub view: Arc<View>,
    /// Requests to run at once.
    pub requests: Arc<Mutex<mpsc::Receiver<Request>>>,
}

/// What came of asking for a symbol.
enum Fetched {
    Days(Vec<Daily>),
    Failed(DailyError),
    /// Another node has done it, or the run is over.
    Elsewhere,
}

/// Why a run stands still.
enum Halt {
    /// The node stops.
    Stopped,
    /// It is an error of the actor.
    Failed(JobError),
}

impl From<JobError> for Halt {
    fn from(error: JobError) -> Self {
        Self::Failed(error)
    }
}

#[async_trait]
impl Job for Batch {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        match self.serve(&mut stop).await {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::Failed(error)) => Err(error),
        }
    }
}

impl Batch {
    async fn serve(&self, stop: &mut Stop) -> Result<(), Halt> {
        let mut requests = self.requests.lock().await;
        let mut state = State::default();
        loop {
            self.meet(&mut state, stop).await?;
            self.show(&state);
            if state.run.is_some() {
                self.go_on(&mut state, stop).await?;
                continue;
            }
            let now = self.clock.now().millis();
            // Whatever was missed, be it one run or ten, is caught up by one.
            let due = match state.last_due {
                None => Some(now),
                Some(last) => self.schedule.next(last),
            };
            let nap = match due {
                Some(due) if due <= now => {
                    state.last_due = Some(now);
                    state.begin(now, &self.symbols);
                    self.save(&mut state, stop).await?;
                    continue;
                }
                Some(due) => span(due - now).min(NAP_MAX),
                None => NAP_MAX,
            };
            tokio::select! {
                () = stop.requested() => return Err(Halt::Stopped),
                Some(asked) = requests.recv() => {
                    let symbols = if asked.is_empty() { &self.symbols } else { &asked };
                    state.begin(self.clock.now().millis(), symbols);
                    self.save(&mut state, stop).await?;
                }
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// Does what is left of the run under way.
    async fn go_on(&self, state: &mut State, stop: &mut Stop) -> Result<(), Halt> {
        while let Some(symbol) = state.run.as_ref().and_then(Run::next) {
            let outcome = match self.fetch(&symbol, state, stop).await? {
                Fetched::Elsewhere => continue,
                Fetched::Days(days) => self.keep(&symbol, days, stop).await?,
                Fetched::Failed(error) => {
                    let line = format!("{symbol}: {error}");
                    tracing::error!(symbol = %symbol, %error, "no daily prices");
                    self.lines.line(self.clock.now(), LineLevel::Error, &line);
                    Err(error.to_string())
                }
            };
            if let Some(run) = &mut state.run {
                run.done(&symbol, outcome);
            }
            self.save(state, stop).await?;
            self.show(state);
        }
        let Some(run) = state.run.take() else { return Ok(()) };
        let line = run.summary();
        let level = if run.failures() == 0 { LineLevel::Info } else { LineLevel::Warning };
        tracing::info!(summary = line, "the batch has run");
        self.lines.line(self.clock.now(), level, &line);
        let failed = u32::try_from(run.failures()).unwrap_or(u32::MAX);
        metrics::gauge!(BATCH_FAILED_SYMBOLS).set(f64::from(failed));
        metrics::gauge!(BATCH_LAST_RUN_SECONDS).set(seconds(self.clock.now().millis()));
        state.last_run = Some(run);
        self.save(state, stop).await
    }

    /// Asks until there is an answer that counts. An error ends the run where it is.
    async fn fetch(
        &self,
        symbol: &Symbol,
        state: &mut State,
        stop: &mut Stop,
    ) -> Result<Fetched, Halt> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut attempts = 0;
        loop {
            if !self.await_turn(symbol, state, stop).await? {
                return Ok(Fetched::Elsewhere);
            }
            // Counted before it is asked: after a crash too many are remembered, never too few.
            state.count(self.clock.now().millis());
            self.save(state, stop).await?;
            let answer = tokio::select! {
                () = stop.requested() => return Err(Halt::Stopped),
                answer = self.prices.daily(symbol) => answer,
            };
            metrics::counter!(BATCH_REQUESTS_TOTAL, "result" => result(&answer)).increment(1);
            metrics::gauge!(BATCH_REQUESTS_USED).set(f64::from(state.used));
            attempts += 1;
            // The provider counts from when it was asked, which is later than when we began to ask.
            state.last_request = self.clock.now().millis();
            let error = match answer {
                Err(DailyError::DayIsOver(text)) => {
                    tracing::warn!(text, "the provider's day is used up: going on tomorrow");
                    let line = format!("{symbol}: {text}");
                    self.lines.line(self.clock.now(), LineLevel::Warning, &line);
                    state.used = state.used.max(self.allowance.per_day);
                    self.save(state, stop).await?;
                    self.show(state);
                    continue;
                }
                Err(error @ (DailyError::Burst(_) | DailyError::Unavailable(_)))
                    if attempts < ATTEMPTS_MAX =>
                {
                    error
                }
                Ok(days) => return Ok(Fetched::Days(days)),
                Err(error) => return Ok(Fetched::Failed(error)),
            };
            let nanos = self.clock.now().0.unsigned_abs();
            let chance =
                u32::try_from(nanos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0);
            let wait = backoff.next(chance);
            let line = format!("{symbol}: {error}; otra vez en {} s", wait.as_secs());
            tracing::warn!(symbol = %symbol, %error, ?wait, "no daily prices yet; trying again");
            self.lines.line(self.clock.now(), LineLevel::Warning, &line);
            self.sleep(wait, stop).await?;
        }
    }

    /// Waits until the provider's limits allow a request and no other node is about to make one.
    /// Answers whether there is still anything to ask of this symbol.
    async fn await_turn(
        &self,
        symbol: &Symbol,
        state: &mut State,
        stop: &mut Stop,
    ) -> Result<bool, Halt> {
        loop {
            self.meet(state, stop).await?;
            if !state.is_left(symbol) {
                return Ok(false);
            }
            let now = self.clock.now().millis();
            state.turn_to(now);
            let apart = i64::try_from(self.allowance.apart.as_millis()).unwrap_or(i64::MAX);
            let wait = if state.used >= self.allowance.per_day {
                DAY_MS - now.rem_euclid(DAY_MS)
            } else {
                // A last request that lies ahead was made by a clock that was ahead.
                (state.last_request + apart - now).min(apart)
            };
            if wait > 0 {
                self.sleep(span(wait).min(NAP_MAX), stop).await?;
                continue;
            }
            // Of several that are about to ask the one that said so last goes first.
            state.asking = Some(self.node.to_string());
            self.write(state, stop).await?;
            self.sleep(SETTLE, stop).await?;
            self.meet(state, stop).await?;
            if state.asking.as_deref() == Some(&*self.node) {
                return Ok(state.is_left(symbol));
            }
            self.sleep(2 * SETTLE, stop).await?;
        }
    }

    /// Appends the days, and once the log has them, reports them. The inner error is the reason why
    /// the symbol counts as failed.
    async fn keep(
        &self,
        symbol: &Symbol,
        days: Vec<Daily>,
        stop: &mut Stop,
    ) -> Result<Result<usize, String>, Halt> {
        let received_at = self.clock.now();
        let record = |day: &Daily| Record {
            key: symbol.clone(),
            value: daily::encode(symbol, day),
            received_at,
            source: Source::Backfill,
            feed: 0,
        };
        let partition = symbol.partition(self.log.partitions());
        let append = |day| Append { topic: Topic::Daily, partition, record: record(day) };
        let records: Vec<_> = days.iter().map(append).collect();
        while let Err(error) = self.log.append(records.clone()).await {
            self.log_is_away(error, stop).await?;
        }
        metrics::counter!(BATCH_DAYS_TOTAL).increment(u64::try_from(days.len()).unwrap_or(0));
        let line = format!("{symbol}: {} días extraídos", days.len());
        self.lines.line(self.clock.now(), LineLevel::Info, &line);
        let (report, symbol) = (Arc::clone(&self.report), symbol.clone());
        let count = days.len();
        let put = tokio::task::spawn_blocking(move || report.put(&symbol, &days)).await;
        match put.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok(()) => Ok(Ok(count)),
            Err(error) => {
                tracing::error!(error, "the report is not up to date; the log and the store are");
                self.lines.line(self.clock.now(), LineLevel::Error, &error);
                Ok(Err(error))
            }
        }
    }

    /// Takes in what the log has: what this node, or another one, has written last.
    async fn meet(&self, state: &mut State, stop: &mut Stop) -> Result<(), Halt> {
        loop {
            match self.log.load_checkpoint(state::NAME).await {
                Ok(None) => return Ok(()),
                Ok(Some(bytes)) => {
                    let written = State::read(&bytes).map_err(|error| {
                        JobError(format!("the checkpoint `{}`: {error}", state::NAME))
                    })?;
                    state.meet(written);
                    return Ok(());
                }
                Err(error) => self.log_is_away(error, stop).await?,
            }
        }
    }

    /// Writes the state down, with what others have written meanwhile.
    async fn save(&self, state: &mut State, stop: &mut Stop) -> Result<(), Halt> {
        self.meet(state, stop).await?;
        self.write(state, stop).await
    }

    async fn write(&self, state: &State, stop: &mut Stop) -> Result<(), Halt> {
        while let Err(error) = self.log.save_checkpoint(state::NAME, state.written()).await {
            self.log_is_away(error, stop).await?;
        }
        Ok(())
    }

    async fn log_is_away(&self, error: LogError, stop: &mut Stop) -> Result<(), Halt> {
        if let LogError::Broken(reason) = error {
            return Err(JobError(reason).into());
        }
        tracing::warn!(%error, "the batch waits for the log");
        self.sleep(LOG_RETRY, stop).await
    }

    async fn sleep(&self, time: Duration, stop: &mut Stop) -> Result<(), Halt> {
        tokio::select! {
            () = stop.requested() => Err(Halt::Stopped),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    fn show(&self, state: &State) {
        let shown = state.run.as_ref().or(state.last_run.as_ref());
        let batch = BatchView {
            is_running: state.run.is_some(),
            started_at: shown.map(|run| run.started_at),
            next_at: state.last_due.and_then(|last| self.schedule.next(last)),
            requests_used: state.used,
            requests_max: self.allowance.per_day,
            symbols: shown.map(Run::outcomes).unwrap_or_default(),
        };
        self.view.update(|picture| picture.batch = Some(batch));
    }
}

fn result(answer: &Result<Vec<Daily>, DailyError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(DailyError::Burst(_)) => "burst",
        Err(DailyError::DayIsOver(_)) => "day_is_over",
        Err(DailyError::Key(_)) => "key",
        Err(DailyError::Refused(_)) => "refused",
        Err(DailyError::Unavailable(_)) => "unavailable",
    }
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// For a gauge; good for some hundred years.
fn seconds(millis: i64) -> f64 {
    f64::from(u32::try_from(millis / 1_000).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
