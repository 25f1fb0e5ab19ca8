//! A server that dies while a store writes to it: the same for every store that has one.

use std::sync::Arc;
use std::time::Duration;

use fts_core::interval::Interval;
use fts_core::port::store::{Store, StoreError};
use fts_core::row::Rows;

use crate::rows::{ALL, batch, candle, symbol, trade};

/// A server that can be killed, and started again on what it has written.
pub(crate) trait Mortal {
    /// Kills it, without a word.
    fn kill(&mut self);

    /// Starts it and waits until it serves.
    async fn run(&mut self);
}

/// Puts until it is told that it is done, as a writer does.
pub(crate) async fn put_until_done(store: &dyn Store, rows: &Arc<Rows>) -> u32 {
    let mut failures = 0;
    loop {
        match store.put(std::slice::from_ref(rows)).await {
            Ok(()) => return failures,
            Err(StoreError::Rejected { table, reason }) => panic!("{table}: {reason}"),
            Err(_) => failures += 1,
        }
        assert!(failures < 10_000, "the server does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts batches while `server` is killed twice: what was acknowledged is there each time, and in the
/// end all of it, once.
pub(crate) async fn killed_in_the_middle(store: Arc<dyn Store>, server: &mut impl Mortal) {
    const BATCHES: i64 = 600;
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let mut failures = 0;
            for number in 0..BATCHES {
                failures += put_until_done(&*store, &batch(number)).await;
                progress.send_replace(number);
            }
            failures
        }
    });
    // Twice, at points that the test does not choose to the byte.
    for point in [100, 300] {
        seen.wait_for(|done| *done >= point).await.unwrap();
        server.kill();
        server.run().await;
        // What was acknowledged before is there, whatever has come since.
        let acknowledged = usize::try_from(point * 10).unwrap();
        let found = loop {
            if let Ok(found) = store.trades(&symbol("BTCUSDT"), 0, acknowledged).await {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(found.iter().map(|it| it.trade.id).eq(0..point * 10), "after the kill at {point}");
    }
    let failures = writer.await.unwrap();
    assert!(failures > 0, "the kills were felt");

    // A late zombie that knows less.
    put_until_done(&*store, &batch(0)).await;
    let trades = store.trades(&symbol("BTCUSDT"), i64::MIN, usize::MAX).await.unwrap();
    assert_eq!(trades, (0..BATCHES * 10).map(trade).collect::<Vec<_>>());
    let candles = store.candles(&symbol("BTCUSDT"), Interval::Minute, ALL).await.unwrap();
    assert_eq!(candles, (0..BATCHES / 60).map(|it| candle(it, 600)).collect::<Vec<_>>());
}
