//! Several stores: none waits for another, and all of them end with the same rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fts_actors::pipeline::{Pipeline, StorePort};
use fts_actors::view::View;
use fts_core::market::{Symbol, Topic};
use fts_core::metrics::FOLD_ROWS_WAITING;
use fts_core::placement::Share;
use fts_core::port::log::Log;
use fts_core::port::store::StoreError;
use fts_core::row::Table;
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::sync::watch;

use crate::memory::{MemoryLog, MemoryStore, Mood, ports, settings, symbol, until};

/// Rows that may wait in an aggregator, and those of the records of its last reads.
const WAITING_MAX: f64 = 60_000.0;

/// Remembers the highest value of each gauge.
#[derive(Default)]
struct Highest(Mutex<HashMap<String, Arc<Height>>>);

#[derive(Default)]
struct Height(Mutex<f64>);

impl GaugeFn for Height {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        let mut highest = self.0.lock().unwrap();
        *highest = highest.max(value);
    }
}

impl Highest {
    fn of(&self, name: &str, store: &str) -> f64 {
        let gauges = self.0.lock().unwrap();
        let ours = gauges.iter().filter(|(key, _)| key.starts_with(&format!("{name}/{store}/")));
        ours.map(|(_, height)| *height.0.lock().unwrap()).fold(0.0, f64::max)
    }
}

impl Recorder for Highest {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut name = key.name().to_owned();
        for label in key.labels() {
            name = format!("{name}/{}", label.value());
        }
        let mut gauges = self.0.lock().unwrap();
        Gauge::from_arc(Arc::clone(gauges.entry(name).or_default()))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

async fn start(log: &Arc<MemoryLog>, stores: Vec<StorePort>) -> (Pipeline, Arc<View>) {
    let view = Arc::new(View::default());
    let partitions = (0..log.partitions()).collect();
    let symbols = Arc::new(symbols().into());
    let share = Share { partitions, symbols, ..Share::default() };
    let (_, shares) = watch::channel(Arc::new(share));
    let ports = ports(log, stores);
    let pipeline = Pipeline::start(ports, settings(), Arc::clone(&view), shares).await.unwrap();
    (pipeline, view)
}

fn symbols() -> [Symbol; 2] {
    // Of different partitions of two.
    let [a, b] = ["BTCUSDT", "BNBUSDT"].map(symbol);
    assert_ne!(a.partition(2), b.partition(2));
    [a, b]
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_stalls_nobody_and_catches_up() {
    let highest = Highest::default();
    let _guard = metrics::set_default_local_recorder(&highest);
    let log = MemoryLog::new(2);
    let well = MemoryStore::in_mood(Mood::Works);
    let ill = MemoryStore::in_mood(Mood::down());
    // The one that is down comes first: it would speak for the partitions.
    let (pipeline, view) = start(&log, vec![ill.port("ill"), well.port("well")]).await;
    let symbols = symbols();
    for from in (0..150_000).step_by(1_000) {
        for symbol in &symbols {
            log.trades(symbol, from..from + 1_000).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("the store that works has everything", || well.trades() == 300_000).await;
    let picture = view.picture();
    assert!(picture.problems.is_empty(), "{:?}", picture.problems);
    assert_eq!(picture.warnings["store ill"], "switched off");
    assert_eq!(ill.trades(), 0);
    until("the one that works speaks for all", || {
        symbols.iter().all(|it| view.symbol(it).unwrap().last_trade_id == Some(149_999))
    })
    .await;
    assert_eq!((log.released(0), log.released(1)), (0, 0), "one store still needs all of it");
    let waiting = highest.of(FOLD_ROWS_WAITING, "ill");
    assert!((1.0..WAITING_MAX).contains(&waiting), "{waiting} rows wait in memory");

    ill.set(Mood::Works);
    until("it has caught up", || ill.trades() == 300_000).await;
    until("its candles are the same", || ill.tables() == well.tables()).await;
    until("it is well", || view.picture().warnings.is_empty()).await;
    let end = async |partition| log.bounds(Topic::Trade, partition).await;
    let ends = (end(0).await.unwrap().1, end(1).await.unwrap().1);
    until("nobody needs the log", || (log.released(0), log.released(1)) == ends).await;
    pipeline.shut_down().await;
}

#[test]
fn killed_in_the_middle_all_stores_end_with_the_same_rows() {
    let log = MemoryLog::new(2);
    let stores = ["one", "two"].map(|name| (name, MemoryStore::in_mood(Mood::Works)));
    let [one, two] = stores.each_ref().map(|it| &it.1);
    let symbols = symbols();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let mut next = 0;
    for turn in 1..=12_usize {
        two.set(if turn % 3 == 1 { Mood::down() } else { Mood::Works });
        // Dropping a runtime ends its tasks wherever they are.
        runtime().block_on(async {
            let ports = stores.each_ref().map(|(name, it)| it.port(name)).to_vec();
            let _tree = start(&log, ports).await;
            while one.trades() < turn * 7_000 + turn * turn * 10 {
                for symbol in &symbols {
                    log.trades(symbol, next..next + 100).await;
                }
                next += 100;
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        });
    }
    let trades = 2 * usize::try_from(next).unwrap();
    two.set(Mood::Works);
    runtime().block_on(async {
        let fresh = MemoryStore::in_mood(Mood::Works);
        let mut ports = stores.each_ref().map(|(name, it)| it.port(name)).to_vec();
        ports.push(fresh.port("fresh"));
        let (pipeline, _) = start(&log, ports).await;
        until("a store that joins has everything", || fresh.trades() == trades).await;
        until("all are equal", || {
            let tables = fresh.tables();
            one.tables() == tables && two.tables() == tables
        })
        .await;
        pipeline.shut_down().await;
    });
}

#[tokio::test(start_paused = true)]
async fn what_somebody_must_mend_is_named_and_a_node_without_a_store_is_not_ready() {
    let log = MemoryLog::new(1);
    let locked = MemoryStore::in_mood(Mood::Fails(StoreError::Refused(
        "user fts may not write: grant it MODIFY".to_owned(),
    )));
    let (pipeline, view) = start(&log, vec![locked.port("locked")]).await;
    log.trades(&symbol("BTCUSDT"), 1..10).await;
    until("it is named", || {
        let picture = view.picture();
        picture.problems.get("store locked").is_some_and(|it| it.contains("grant it MODIFY"))
    })
    .await;
    locked.set(Mood::Works);
    until("it is mended", || locked.trades() == 9 && view.picture().problems.is_empty()).await;
    pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_named_and_holds_up_no_end() {
    let log = MemoryLog::new(1);
    let silent = MemoryStore::in_mood(Mood::Hangs);
    let well = MemoryStore::in_mood(Mood::Works);
    let (pipeline, view) = start(&log, vec![silent.port("silent"), well.port("well")]).await;
    log.trades(&symbol("BTCUSDT"), 1..10).await;
    until("it is named", || view.picture().warnings.contains_key("store silent")).await;
    assert_eq!(well.trades(), 9);
    let began = tokio::time::Instant::now();
    pipeline.shut_down().await;
    assert!(began.elapsed().as_secs() < 10, "{:?} of virtual time", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_gets_the_tables_that_it_takes_and_its_own_checkpoints() {
    let log = MemoryLog::new(1);
    let [all, some] = [(); 2].map(|()| MemoryStore::in_mood(Mood::Works));
    let some_port = StorePort { tables: vec![Table::Candles], ..some.port("some") };
    let (pipeline, _) = start(&log, vec![all.port("sqlite"), some_port]).await;
    log.trades(&symbol("BTCUSDT"), 1..50).await;
    until("both have the candles", || {
        all.trades() == 49
            && !some.tables().candles.is_empty()
            && some.tables().candles == all.tables().candles
    })
    .await;
    pipeline.shut_down().await;
    assert_eq!(some.trades(), 0);
    assert_eq!(log.checkpoints(), ["aggregator-0", "aggregator-some-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_a_store_cannot_hold_is_a_dead_letter_and_takes_no_other_with_it() {
    let log = MemoryLog::new(1);
    let odd = MemoryStore::in_mood(Mood::Rejects(vec![7, 8, 50, 99]));
    let without = MemoryStore::in_mood(Mood::Rejects(vec![7]));
    let tables = vec![Table::Trades, Table::Candles];
    let without_port = StorePort { tables, ..without.port("without") };
    let (pipeline, view) = start(&log, vec![odd.port("odd"), without_port]).await;
    log.trades(&symbol("BTCUSDT"), 1..100).await;
    until("all the others are stored", || odd.trades() == 95 && without.trades() == 98).await;
    until("what is not is on record", || odd.tables().dead_letters.len() == 4).await;
    let letters = odd.tables().dead_letters;
    let mut ids: Vec<i64> = letters
        .values()
        .map(|it| {
            let row: serde_json::Value = serde_json::from_str(&it.payload).unwrap();
            let id = row["trade_id"].as_i64().unwrap();
            let expected = format!("store odd rejected a row of trades: trade {id} is too odd");
            assert_eq!(it.reason, expected);
            assert_eq!(it.symbol, symbol("BTCUSDT"));
            id
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [7, 8, 50, 99]);
    assert!(without.tables().dead_letters.is_empty(), "it does not take them");
    assert!(view.picture().warnings["rows of trades for store odd"].contains("too odd"));
    pipeline.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_away_puts_no_old_checkpoint_in_place_of_a_released_one() {
    let log = MemoryLog::new(1);
    let (name, symbol) = ("aggregator-store-0", symbol("BTCUSDT"));
    let [away, well] = [(); 2].map(|()| MemoryStore::in_mood(Mood::Works));
    let (zombie, _) = start(&log, vec![away.port("store")]).await;
    log.trades(&symbol, 0..1_000).await;
    until("it works", || log.position(name) >= 1_000).await;
    // It has a batch and a checkpoint under way, and hears nothing for minutes.
    away.set(Mood::down());
    log.trades(&symbol, 1_000..2_000).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (owner, _) = start(&log, vec![well.port("store")]).await;
    for from in (2_000..5_000).step_by(10) {
        log.trades(&symbol, from..from + 10).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let end = log.bounds(Topic::Trade, 0).await.unwrap().1;
    until("all of it is covered", || log.position(name) == end).await;
    let before = log.released(0);
    assert!((2_500..end - 1_000).contains(&before), "{before}: it lags two minutes");
    until("all of it is released", || log.released(0) == end).await;
    owner.shut_down().await;

    let before = log.saves(name).len();
    away.set(Mood::Works);
    until("the zombie has come as far", || away.trades() == 5_000).await;
    zombie.shut_down().await;
    let lowest = log.saves(name).drain(before..).min();
    assert!(lowest >= Some(end), "{lowest:?}: the log has forgotten what lies before {end}");
    assert_eq!(log.position(name), log.bounds(Topic::Trade, 0).await.unwrap().1);
}
