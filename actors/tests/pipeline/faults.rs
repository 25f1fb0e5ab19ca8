//! The whole tree over ports that fail: what is stored afterwards is what would be stored had none
//! failed, and memory stays flat meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fts_core::port::feed::FeedError;
use fts_core::port::history::HistoryError;
use fts_core::port::log::LogError;
use fts_core::port::store::StoreError;

use crate::market::Fixture;
use crate::memory::Mood;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_stops_the_sockets_and_loses_no_trade() {
    let it = Fixture::start().await;
    it.log.fail(Some(LogError::Unavailable("the disk is full".to_owned())));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (reads, end) = (it.streams.reads.load(Ordering::SeqCst), it.log.end(0));
    tokio::time::sleep(2 * MINUTE).await;
    // One burst waits for the log; nothing more is taken off the socket.
    assert!(it.streams.reads.load(Ordering::SeqCst) <= reads + 1);
    assert_eq!(it.log.end(0), end);
    assert!(it.problem("log").is_some_and(|text| text.contains("the disk is full")));

    it.log.fail(None);
    it.await_stored(it.market.newest()).await;
    assert_eq!(it.problem("log"), None);
    tokio::time::sleep(2 * MINUTE).await;
    it.minutes_are_complete();
    assert!(it.store.gaps().is_empty());
    it.pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_an_hour_costs_neither_memory_nor_a_row() {
    let it = Fixture::start().await;
    it.store.set(Mood::Fails(StoreError::Unavailable("locked by a test".to_owned())));
    let before = it.log.read_up_to();
    tokio::time::sleep(30 * MINUTE).await;
    let halfway = it.log.read_up_to();
    // Rows waiting in the aggregator, and two batches on their way: 20,000 each, and one read more.
    let most = 3 * (20_000 + 256 * 1_024 / 4);
    assert!(halfway - before < most, "{} records were taken off the log", halfway - before);
    let attempts = it.store.attempts.load(Ordering::SeqCst);
    tokio::time::sleep(30 * MINUTE).await;
    assert_eq!(it.log.read_up_to(), halfway, "records are folded though no row can go");
    let waits = it.store.attempts.load(Ordering::SeqCst) - attempts;
    assert!((100..4_000).contains(&waits), "the store was asked {waits} times in half an hour");
    assert!(it.log.end(0) > 350_000, "capturing goes on: the log is the buffer");
    assert!(it.problem("store memory").is_some_and(|text| text.contains("locked by a test")));

    it.store.set(Mood::Works);
    it.await_stored(it.market.newest()).await;
    assert_eq!(it.problem("store memory"), None);
    let largest = it.store.largest.load(Ordering::SeqCst) as u64;
    assert!(largest < most, "{largest} rows were asked of the store at once");
    it.minutes_are_complete();
    assert!(it.store.gaps().is_empty());
    it.pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_refused_and_cut_leave_no_hole() {
    let it = Fixture::start().await;
    let refused = FeedError::Disconnected("no route to the exchange".to_owned());
    *it.streams.fault.lock().unwrap() = Some(refused);
    let before = it.streams.connects.load(Ordering::SeqCst);
    tokio::time::sleep(10 * MINUTE).await;
    let attempts = it.streams.connects.load(Ordering::SeqCst) - before;
    // The wait grows to at most 30 s, and is never long.
    assert!((15..200).contains(&attempts), "{attempts} attempts in ten minutes");
    assert!(it.problem("feed A-0").is_some_and(|text| text.contains("no route")));

    it.streams.trades_a_connection.store(700, Ordering::SeqCst);
    *it.streams.fault.lock().unwrap() = None;
    tokio::time::sleep(3 * MINUTE).await;
    assert!(it.streams.connects.load(Ordering::SeqCst) > before + attempts + 10);
    it.streams.trades_a_connection.store(usize::MAX, Ordering::SeqCst);
    tokio::time::sleep(2 * MINUTE).await;
    it.await_stored(it.market.newest()).await;
    assert_eq!(it.problem("feed A-0"), None);
    it.minutes_are_complete();
    assert!(it.store.gaps().is_empty());
    it.pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_history_that_does_not_answer_is_left_alone_and_asked_again_and_nothing_counts_as_lost() {
    for fault in [
        HistoryError::Unavailable {
            reason: "429 Too Many Requests".to_owned(),
            retry_after: Duration::from_secs(120),
        },
        HistoryError::Refused("-1000 UNKNOWN".to_owned()),
    ] {
        let it = Fixture::start().await;
        *it.past.fault.lock().unwrap() = Some(fault.clone());
        cut(&it).await;
        let asked = it.past.asked.load(Ordering::SeqCst);
        tokio::time::sleep(20 * MINUTE).await;
        let asked = it.past.asked.load(Ordering::SeqCst) - asked;
        let most = if matches!(fault, HistoryError::Refused(_)) { 41 } else { 11 };
        assert!((5..=most).contains(&asked), "asked {asked} times in 20 minutes: {fault}");
        let view = it.view.symbol(&crate::market::symbol()).unwrap();
        assert!(view.missing > 0, "{fault}");
        assert_eq!(view.lost, 0, "{fault}");
        assert!(it.problem("history of BTCUSDT").is_some(), "{fault}");
        assert!(it.store.gaps().is_empty(), "{fault}");

        *it.past.fault.lock().unwrap() = None;
        it.await_stored(it.market.newest()).await;
        assert_eq!(it.problem("history of BTCUSDT"), None, "{fault}");
        tokio::time::sleep(2 * MINUTE).await;
        it.minutes_are_complete();
        assert!(it.store.gaps().is_empty(), "{fault}");
        it.pipeline.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_exchange_itself_skips_is_a_gap_on_record() {
    let it = Fixture::start().await;
    let next = it.market.newest() + 10;
    let absent: Vec<i64> = (next..next + 5).collect();
    it.market.absent.lock().unwrap().clone_from(&absent);
    tokio::time::sleep(3 * MINUTE).await;
    it.await_stored(it.market.newest()).await;
    it.minutes_are_complete();
    let gaps = it.store.gaps();
    let found: Vec<_> = gaps.iter().map(|gap| (gap.first_trade_id, gap.last_trade_id)).collect();
    assert_eq!(found, [(next, next + 4)]);
    assert_eq!(it.view.symbol(&crate::market::symbol()).unwrap().lost, 5);
    it.pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_read_is_asked_for_once_and_a_gap_on_record() {
    let it = Fixture::start().await;
    let next = it.market.newest() + 10;
    *it.market.absent.lock().unwrap() = vec![next, next + 2];
    it.market.is_spoiled.store(true, Ordering::SeqCst);
    tokio::time::sleep(3 * MINUTE).await;
    it.await_stored(it.market.newest()).await;
    it.minutes_are_complete();
    let gaps = it.store.gaps();
    let found: Vec<_> = gaps.iter().map(|gap| (gap.first_trade_id, gap.last_trade_id)).collect();
    assert_eq!(found, [(next, next), (next + 2, next + 2)]);
    assert!(gaps.iter().all(|gap| gap.reason.ends_with("no id: spoiled")), "{gaps:?}");
    // Each as the stream had it, and as the history had it.
    assert_eq!(it.store.tables().dead_letters.len(), 4);
    it.pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_log_ends_the_tree_and_says_why() {
    let mut it = Fixture::start().await;
    let broken = LogError::Broken("cannot write 000001.log: input/output error".to_owned());
    it.log.fail(Some(broken));
    let why = tokio::time::timeout(5 * MINUTE, it.pipeline.failed()).await;
    let why = why.expect("it goes on as if nothing had happened");
    assert!(why.contains("input/output error"), "{why}");
}

/// The connection is cut for some seconds.
async fn cut(it: &Fixture) {
    *it.streams.fault.lock().unwrap() = Some(FeedError::Disconnected("cut".to_owned()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    *it.streams.fault.lock().unwrap() = None;
}
