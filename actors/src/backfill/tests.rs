//! The backfill with an exchange and a log that do as they are told.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fts_core::market::Event;
use fts_core::port::history::Latest;
use fts_core::port::log::{LogError, Stored};
use fts_core::time::ManualClock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// A log that only has an end, which is where the aggregator does not stand yet.
struct End(AtomicU64, Mutex<Vec<Source>>);

#[async_trait]
impl Log for End {
    fn partitions(&self) -> u32 {
        1
    }
    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        self.1.lock().unwrap().extend(batch.into_iter().map(|it| it.record.source));
        Ok(())
    }
    async fn read(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        Ok(Vec::new())
    }
    async fn bounds(&self, _: Topic, _: u32) -> Result<(u64, u64), LogError> {
        Ok((0, self.0.load(Ordering::SeqCst)))
    }
    async fn changed(&self, _: u32, _: &[(Topic, u64)], _: Duration) {
        std::future::pending().await
    }
    async fn release(&self, _: Topic, _: u32, _: u64) -> Result<(), LogError> {
        Ok(())
    }
    async fn save_checkpoint(&self, _: &str, _: Bytes) -> Result<(), LogError> {
        Ok(())
    }
    async fn load_checkpoint(&self, _: &str) -> Result<Option<Bytes>, LogError> {
        Ok(None)
    }
}

/// Understands everything.
struct Anything;

impl Decode for Anything {
    fn decode(&self, _: Topic, _: &Record) -> Result<Event, String> {
        Ok(Event::Connected)
    }
}

/// An exchange that has every trade from an id on, and remembers from which ids on it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<i64>>, i64);

#[async_trait]
impl History for Asked {
    async fn latest(&self, _: &Symbol) -> Result<Option<Latest>, HistoryError> {
        Ok(None)
    }
    async fn first_id_at(&self, _: &Symbol, _: i64) -> Result<Option<i64>, HistoryError> {
        Ok(None)
    }
    async fn trades(&self, _: &Symbol, from_id: i64) -> Result<PastTrades, HistoryError> {
        self.0.lock().unwrap().push(from_id);
        let trade = |id| PastTrade { id, value: Bytes::new() };
        let whole_from = from_id.max(self.1);
        Ok(PastTrades { whole_from, trades: (whole_from..whole_from + 10).map(trade).collect() })
    }
    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

/// A backfill that runs, of a symbol that has no holes yet.
struct Fixture {
    symbol: Symbol,
    partition: Arc<Partition>,
    log: Arc<End>,
    history: Arc<Asked>,
    view: Arc<View>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), JobError>>,
}

impl Fixture {
    /// The exchange goes back to `oldest`, the log ends at `end`.
    fn start(oldest: i64, end: u64) -> Self {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let partition = Arc::new(Partition::new(0, 1));
        partition.demand.want(&Arc::new(BTreeSet::from([symbol.clone()])));
        let log = Arc::new(End(AtomicU64::new(end), Mutex::default()));
        let history = Arc::new(Asked(Mutex::default(), oldest));
        let view = Arc::<View>::default();
        let backfill = Backfill {
            partition: Arc::clone(&partition),
            history: history.clone(),
            decode: Arc::new(Anything),
            log: log.clone(),
            view: Arc::clone(&view),
            clock: Arc::new(ManualClock::default()),
            delay: Duration::from_millis(200),
            quiet_probe: Duration::from_secs(3_600),
            first_sight_trades_max: 0,
            backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(20)),
        };
        let stop = watch::Sender::new(false);
        let running = Stop::new(&stop);
        let running = tokio::spawn(async move { backfill.run(running).await });
        Self { symbol, partition, log, history, view, stop, running }
    }

    fn tell(&self, position: u64, holes: &[(i64, i64)]) {
        let (floor, first, last) = (Some(1), Some(1), Some(2_000));
        let need = Need { floor, first, last, holes: holes.to_vec() };
        self.partition.demand.tell(true, position, vec![(self.symbol.clone(), need)], []);
    }

    fn asked(&self) -> Vec<i64> {
        self.history.0.lock().unwrap().clone()
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.running.await.unwrap().unwrap();
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_exchanges_host_does_not_go_back_to_stays_missing() {
    let it = Fixture::start(800, 0);
    it.tell(0, &[(5, 6), (799, 803)]);
    pause().await;
    // Asked from the first hole on, it has a part of the second; and not a word of what is before.
    assert_eq!(it.asked()[0], 5);
    let fetched = it.log.1.lock().unwrap().clone();
    assert_eq!(fetched[..4], [Source::Backfill; 4]);
    assert!(!fetched.contains(&Source::Control), "nothing is proven lost");
    let warnings = it.view.picture().warnings;
    assert!(warnings.values().any(|it| it.contains("no trades before 800")), "{warnings:?}");

    let before = it.asked().len();
    it.tell(0, &[(5, 6), (799, 799)]);
    pause().await;
    assert_eq!(it.asked().len(), before, "it is not asked again for nothing");
    it.tell(0, &[(5, 6), (799, 799), (900, 900)]);
    pause().await;
    assert_eq!(it.asked()[before], 900, "what is within reach is had");
    it.tell(0, &[(5, 6), (799, 799)]);
    tokio::time::sleep(OUT_OF_REACH).await;
    assert!(it.asked()[before..].contains(&5), "after a while it may be otherwise");
    it.tell(0, &[]);
    pause().await;
    assert!(it.view.picture().warnings.is_empty());
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_lie_in_the_log_unfolded_is_not_missing_yet() {
    let it = Fixture::start(0, 100);
    it.tell(50, &[(5, 6)]);
    pause().await;
    assert!(it.asked().is_empty(), "the aggregator has 50 records yet to come");
    // They had what was missing; and then something else is.
    it.tell(100, &[]);
    it.log.0.store(200, Ordering::SeqCst);
    it.tell(150, &[(8, 9)]);
    pause().await;
    assert!(it.asked().is_empty());
    // What came later plays no part, or a busy log would never be judged.
    it.log.0.store(1_000, Ordering::SeqCst);
    it.tell(200, &[(8, 9)]);
    pause().await;
    assert_eq!(it.asked().first(), Some(&8), "it is in none of them");
    it.end().await;
}
