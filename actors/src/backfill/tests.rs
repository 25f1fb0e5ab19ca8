//! The backfill with an exchange and a log that do as they are told.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fts_core::market::Event;
use fts_core::port::history::Latest;
use fts_core::port::log::{LogError, Stored};
use fts_core::time::ManualClock;
use tokio::sync::watch;

use super::*;

/// A log that only has an end, which is where the aggregator does not stand yet.
struct End(AtomicU64);

#[async_trait]
impl Log for End {
    fn partitions(&self) -> u32 {
        1
    }
    async fn append(&self, _: Vec<Append>) -> Result<(), LogError> {
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

/// An exchange that has every trade, and remembers from which ids on it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<i64>>);

#[async_trait]
impl History for Asked {
    async fn latest(&self, _: &Symbol) -> Result<Option<Latest>, HistoryError> {
        Ok(None)
    }
    async fn first_id_at(&self, _: &Symbol, _: i64) -> Result<Option<i64>, HistoryError> {
        Ok(None)
    }
    async fn trades(&self, _: &Symbol, from_id: i64) -> Result<Vec<PastTrade>, HistoryError> {
        self.0.lock().unwrap().push(from_id);
        Ok((from_id..from_id + 10).map(|id| PastTrade { id, value: Bytes::new() }).collect())
    }
    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_lie_in_the_log_unfolded_is_not_missing_yet() {
    let symbol = Symbol::new("BTCUSDT").unwrap();
    let partition = Arc::new(Partition::new(0, 1));
    partition.demand.want(&Arc::new(BTreeSet::from([symbol.clone()])));
    let (log, history) = (Arc::new(End(AtomicU64::new(100))), Arc::new(Asked::default()));
    let backfill = Backfill {
        partition: Arc::clone(&partition),
        history: history.clone(),
        decode: Arc::new(Anything),
        log: log.clone(),
        view: Arc::default(),
        clock: Arc::new(ManualClock::default()),
        delay: Duration::from_millis(200),
        quiet_probe: Duration::from_secs(3_600),
        first_sight_trades_max: 0,
        backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(20)),
    };
    let stop = watch::Sender::new(false);
    let running = Stop::new(&stop);
    let running = tokio::spawn(async move { backfill.run(running).await });
    let tell = |position, holes: &[(i64, i64)]| {
        let (floor, first, last) = (Some(1), Some(1), Some(20));
        let need = Need { floor, first, last, holes: holes.to_vec() };
        partition.demand.tell(true, position, vec![(symbol.clone(), need)], []);
    };
    let asked = || history.0.lock().unwrap().clone();
    let pause = || tokio::time::sleep(Duration::from_secs(5));

    tell(50, &[(5, 6)]);
    pause().await;
    assert!(asked().is_empty(), "the aggregator has 50 records yet to come");
    // They had what was missing; and then something else is.
    tell(100, &[]);
    log.0.store(200, Ordering::SeqCst);
    tell(150, &[(8, 9)]);
    pause().await;
    assert!(asked().is_empty());
    // What came later plays no part, or a busy log would never be judged.
    log.0.store(1_000, Ordering::SeqCst);
    tell(200, &[(8, 9)]);
    pause().await;
    assert_eq!(asked().first(), Some(&8), "it is in none of them");
    stop.send_replace(true);
    running.await.unwrap().unwrap();
}
