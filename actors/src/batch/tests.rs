//! The batch over a day and more, against a provider that says no in every way it can.

use std::collections::VecDeque;
use std::sync::Mutex as StdMutex;

use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::testing::{Lines, MemoryLog, TokioClock};

/// Friday, 2024-08-09 20:00 UTC.
const BEGIN: i64 = 1_723_233_600_000;

/// Answers in turn, and then always with a day; notes who asked when.
#[derive(Debug)]
struct Provider {
    begin: Instant,
    answers: StdMutex<VecDeque<DailyError>>,
    asked: StdMutex<Vec<(Duration, String)>>,
}

#[async_trait]
impl DailyPrices for Provider {
    async fn daily(&self, symbol: &Symbol) -> Result<Vec<Daily>, DailyError> {
        self.asked.lock().unwrap().push((self.begin.elapsed(), symbol.to_string()));
        match self.answers.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(vec![day()]),
        }
    }
}

fn day() -> Daily {
    let price = "10.5".parse().unwrap();
    Daily {
        date: "2024-08-09".parse().unwrap(),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 7,
        fetched_at: 1,
    }
}

/// Every day at 06:00 UTC.
struct AtSix;

impl Schedule for AtSix {
    fn next(&self, after: i64) -> Option<i64> {
        let six = 6 * 3_600_000;
        Some((after - six).div_euclid(DAY_MS) * DAY_MS + DAY_MS + six)
    }
}

#[derive(Debug, Default)]
struct Reports(StdMutex<Vec<String>>);

impl DailyReport for Reports {
    fn put(&self, symbol: &Symbol, days: &[Daily]) -> Result<(), String> {
        self.0.lock().unwrap().push(format!("{symbol} {}", days.len()));
        Ok(())
    }
}

/// A node that runs the batch now and then, and what is left of it in between.
struct Node {
    name: &'static str,
    log: Arc<MemoryLog>,
    provider: Arc<Provider>,
    lines: Arc<Lines>,
    reports: Arc<Reports>,
    clock: Arc<TokioClock>,
    view: Arc<View>,
    per_day: u32,
    ask: mpsc::Sender<Request>,
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
}

impl Node {
    fn new(answers: Vec<DailyError>) -> Self {
        let (ask, requests) = mpsc::channel(1);
        Self {
            name: "node",
            log: Arc::default(),
            provider: Arc::new(Provider {
                begin: Instant::now(),
                answers: StdMutex::new(answers.into()),
                asked: StdMutex::default(),
            }),
            lines: Arc::default(),
            reports: Arc::default(),
            clock: Arc::new(TokioClock::at(BEGIN)),
            view: Arc::default(),
            per_day: 25,
            ask,
            requests: Arc::new(Mutex::new(requests)),
        }
    }

    /// Another one, which has the log and the provider in common with this one.
    fn beside(&self, name: &'static str) -> Self {
        let (log, provider) = (Arc::clone(&self.log), Arc::clone(&self.provider));
        let clock = Arc::clone(&self.clock);
        Self { name, log, provider, clock, per_day: self.per_day, ..Self::new(vec![]) }
    }

    /// Runs for so long, and stops.
    async fn run(&self, symbols: &[&str], time: Duration) {
        let job = Batch {
            node: self.name.into(),
            symbols: symbols.iter().map(|it| Symbol::new(it).unwrap()).collect(),
            prices: Arc::clone(&self.provider) as Arc<dyn DailyPrices>,
            allowance: Allowance { per_day: self.per_day, apart: Duration::from_secs(1) },
            schedule: Arc::new(AtSix),
            log: Arc::clone(&self.log) as Arc<dyn Log>,
            report: Arc::clone(&self.reports) as Arc<dyn DailyReport>,
            lines: Arc::clone(&self.lines) as Arc<dyn LineLog>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            view: Arc::clone(&self.view),
            requests: Arc::clone(&self.requests),
        };
        let end = watch::Sender::new(false);
        let stopping = async {
            tokio::time::sleep(time).await;
            end.send_replace(true);
        };
        let (ended, ()) = tokio::join!(job.run(Stop::new(&end)), stopping);
        assert_eq!(ended, Ok(()));
    }

    /// Who was asked for, and in which second.
    fn asked(&self) -> Vec<(u64, String)> {
        let asked = self.provider.asked.lock().unwrap();
        asked.iter().map(|(at, symbol)| (at.as_secs(), symbol.clone())).collect()
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}

fn text() -> String {
    "said the provider".to_owned()
}

#[tokio::test(start_paused = true)]
async fn it_runs_at_first_sight_and_then_when_it_is_due() {
    let node = Node::new(vec![]);
    node.run(&["TSLA", "IBM"], hours(35)).await;
    let asked = node.asked();
    let at = |index: usize| asked.get(index).cloned().unwrap();
    assert_eq!((at(0), at(1)), ((0, "TSLA".to_owned()), (1, "IBM".to_owned())));
    assert_eq!(at(2).0, 36_000, "at 06:00");
    assert_eq!(at(4).0, 36_000 + 86_400);
    assert_eq!(asked.len(), 6);
    let records = node.log.records();
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|(topic, _)| *topic == Topic::Daily));
    assert_eq!(node.reports.0.lock().unwrap().len(), 6);
    assert!(node.view.picture().batch.is_some_and(|batch| !batch.is_running));
}

#[tokio::test(start_paused = true)]
async fn runs_that_were_missed_are_caught_up_by_one() {
    let node = Node::new(vec![]);
    node.run(&["TSLA"], hours(1)).await;
    tokio::time::sleep(hours(24 * 10)).await;
    node.run(&["TSLA"], hours(1)).await;
    assert_eq!(node.asked().len(), 2);
    node.run(&["TSLA"], hours(1)).await;
    assert_eq!(node.asked().len(), 2, "a restart alone is no reason");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_goes_on_where_it_was() {
    let node = Node::new(vec![]);
    node.run(&["TSLA", "IBM", "AAPL"], Duration::from_millis(1_500)).await;
    node.run(&["TSLA", "IBM", "AAPL"], hours(1)).await;
    let symbols: Vec<_> = node.asked().into_iter().map(|(_, symbol)| symbol).collect();
    assert_eq!(symbols, ["TSLA", "IBM", "AAPL"]);
}

#[tokio::test(start_paused = true)]
async fn the_days_allowance_holds_over_restarts_and_returns_at_midnight() {
    let mut node = Node::new(vec![]);
    node.per_day = 2;
    let symbols = ["TSLA", "IBM", "AAPL", "MSFT"];
    for _ in 0..3 {
        node.run(&symbols, hours(1)).await;
    }
    assert_eq!(node.asked().len(), 2);
    // Midnight is four hours after the begin.
    node.run(&symbols, hours(2)).await;
    let asked = node.asked();
    assert_eq!(asked.get(2), Some(&(4 * 3_600, "AAPL".to_owned())));
    assert_eq!(asked.len(), 4);
}

/// What becomes of one symbol whose first answers are errors: requests, the second of the last,
/// whether it has its prices, and how the next symbol fares.
#[track_caller]
fn check(node: &Node, requests: usize, fetched: bool) {
    let asked = node.asked();
    let mine = asked.iter().filter(|(_, symbol)| symbol == "TSLA").count();
    assert_eq!(mine, requests, "{asked:?}");
    let picture = node.view.picture();
    let batch = picture.batch.unwrap();
    let outcome = |symbol: &str| batch.symbols.get(symbol).unwrap().clone().unwrap();
    assert_eq!(outcome("TSLA").is_ok(), fetched, "{:?}", batch.symbols);
    assert!(outcome("IBM").is_ok(), "the others go on: {:?}", batch.symbols);
    assert!(picture.problems.is_empty(), "the node is as ready as before");
}

#[tokio::test(start_paused = true)]
async fn each_error_has_its_consequence() {
    let burst = || DailyError::Burst(text());
    let away = || DailyError::Unavailable(text());
    for (answers, requests, fetched) in [
        (vec![burst()], 2, true),
        (vec![away(), burst(), away(), burst()], 5, true),
        (vec![away(), away(), away(), away(), away()], 5, false),
        (vec![DailyError::Key(text())], 1, false),
        (vec![DailyError::Refused(text())], 1, false),
    ] {
        let node = Node::new(answers);
        node.run(&["TSLA", "IBM"], hours(1)).await;
        check(&node, requests, fetched);
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_that_the_provider_says_is_over_is_waited_for() {
    let node = Node::new(vec![DailyError::DayIsOver(text())]);
    node.run(&["TSLA", "IBM"], hours(5)).await;
    check(&node, 2, true);
    assert_eq!(node.asked().get(1), Some(&(4 * 3_600, "TSLA".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_gets_a_run_at_once() {
    let node = Node::new(vec![]);
    node.run(&["TSLA", "IBM"], hours(1)).await;
    node.ask.send(vec![Symbol::new("IBM").unwrap()]).await.unwrap();
    node.run(&["TSLA", "IBM"], Duration::from_secs(60)).await;
    assert_eq!(node.asked().last(), Some(&(3_600, "IBM".to_owned())));
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_is_waited_for() {
    let node = Node::new(vec![]);
    node.log.refuse(10);
    node.run(&["TSLA"], hours(1)).await;
    assert_eq!((node.asked().len(), node.log.records().len()), (1, 1));
    assert_eq!(node.reports.0.lock().unwrap().as_slice(), ["TSLA 1"]);
    let lines = node.lines.all();
    assert!(lines.iter().any(|(_, line)| line == "TSLA: 1 días extraídos"), "{lines:?}");
}

/// As while the batch moves from one node to the other: both are sure that it is theirs.
#[tokio::test(start_paused = true)]
async fn two_that_run_at_once_share_the_work_and_the_allowance() {
    let mut one = Node::new(vec![]);
    one.per_day = 4;
    let other = one.beside("other");
    let symbols = ["TSLA", "IBM", "AAPL", "MSFT", "AMZN", "GOOGL"];
    tokio::join!(one.run(&symbols, hours(1)), other.run(&symbols, hours(1)));
    let asked = one.provider.asked.lock().unwrap().clone();
    let names: Vec<_> = asked.iter().map(|(_, symbol)| symbol.as_str()).collect();
    assert_eq!(names, symbols[..4], "each once, and no more than a day allows");
    let pairs = asked.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(pairs.min() >= Some(Duration::from_secs(1)), "{asked:?}");
    // Midnight is four hours after the begin.
    tokio::join!(one.run(&symbols, hours(4)), other.run(&symbols, hours(4)));
    assert_eq!(one.asked().len(), symbols.len());
}
