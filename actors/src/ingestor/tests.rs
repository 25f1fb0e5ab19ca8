//! An ingestor with an exchange that does as it is told.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use fts_core::time::ManualClock;
use tokio::time::Instant;

use super::*;
use crate::testing::MemoryLog;

const TICK: Duration = Duration::from_millis(10);

/// Refuses its second and third connection. The first is due to be replaced after its first frame, and
/// goes on.
#[derive(Default)]
struct Reluctant(AtomicU32);

struct Line {
    number: u32,
    told: u32,
}

#[async_trait]
impl Feed for Reluctant {
    async fn connect(&self, _: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        if [1, 2].contains(&number) {
            return Err(FeedError::Disconnected("too many attempts".to_owned()));
        }
        Ok(Box::new(Line { number, told: 0 }))
    }
}

#[async_trait]
impl Connection for Line {
    async fn next(&mut self, _: usize) -> Result<Vec<Frame>, FeedError> {
        tokio::time::sleep(TICK).await;
        self.told += 1;
        if self.number == 0 && self.told == 2 {
            return Err(FeedError::Rollover);
        }
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let (topic, received_at) = (Topic::BookTicker, fts_core::time::UnixNanos(0));
        let value = Bytes::from(self.number.to_string());
        Ok(vec![Frame { topic, symbol, value, received_at }])
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_left_only_once_there_is_another() {
    let log = Arc::new(MemoryLog::default());
    let symbols = vec![Symbol::new("BTCUSDT").unwrap()];
    let ingestor = Ingestor {
        name: "A-0".to_owned(),
        feed: 0,
        subscription: Arc::new(Subscription::new(symbols, Arc::default())),
        source: Arc::new(Reluctant::default()),
        log: log.clone(),
        view: Arc::default(),
        clock: Arc::new(ManualClock::default()),
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(2)),
    };
    let stop = watch::Sender::new(false);
    let running = Stop::new(&stop);
    let began = Instant::now();
    let running = tokio::spawn(async move { ingestor.run(running).await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    // A frame every ten milliseconds all the time, whoever had it.
    let records = log.records();
    let frames = records.iter().filter(|(topic, _)| *topic == Topic::BookTicker);
    let by = |line: &str| frames.clone().filter(|it| it.1.value == line.as_bytes()).count();
    assert!(by("0") > 50 && by("3") > 50, "{} and {}", by("0"), by("3"));
    let expected = began.elapsed().as_millis() / TICK.as_millis();
    assert!(frames.clone().count() as u128 + 5 > expected, "{expected} frames");
}
