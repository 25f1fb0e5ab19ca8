//! The Binance adapters over a real exchange, which misbehaves when told to: whatever it does, the
//! adapter says what happened, and keeps within the limits that the exchange documents.
//!
//! Here and not beside the adapters: those must not know the simulated exchange.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

use std::sync::Arc;
use std::time::Duration;

use fts_adapters::binance::{BinanceFeed, BinanceHistory, FeedConfig, HistoryConfig};
use fts_core::market::{Symbol, Topic};
use fts_core::port::feed::{Connection, Feed, FeedError};
use fts_core::port::history::{History, HistoryError};
use fts_core::time::{Clock, ManualClock, SystemClock};
use fts_exchange::{Config, ConnectionLimits, Exchange, Faults, SeededConfig, Source};
use tokio::time::timeout;

const NAMES: [&str; 2] = ["BTCUSDT", "ETHUSDT"];
/// Nothing that comes takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

fn symbols() -> Vec<Symbol> {
    NAMES.map(symbol).into()
}

fn config() -> Config {
    Config::new(Source::Seeded(SeededConfig {
        seed: 3,
        symbols: NAMES.map(str::to_owned).into(),
        rate: 200.0,
        epoch_ms: None,
    }))
}

async fn start(config: Config) -> Exchange {
    Exchange::start(config).await.unwrap()
}

fn feed(exchange: &Exchange, read_timeout: Duration) -> BinanceFeed {
    let url = format!("ws://{}", exchange.addr());
    let config = FeedConfig::new(url, Arc::new(SystemClock));
    BinanceFeed::new(FeedConfig { read_timeout, ..config }).unwrap()
}

fn history(exchange: &Exchange, weight_per_minute: u32, clock: Arc<dyn Clock>) -> BinanceHistory {
    let url = format!("http://{}", exchange.addr());
    let config = HistoryConfig::new(url, clock);
    let timeout = Duration::from_secs(5);
    BinanceHistory::new(HistoryConfig { weight_per_minute, timeout, ..config }).unwrap()
}

fn switch(exchange: &Exchange, faults: Faults) {
    exchange.faults().set(faults).unwrap();
}

async fn connect(feed: &BinanceFeed) -> Box<dyn Connection> {
    timeout(PATIENCE, feed.connect(&symbols())).await.unwrap().unwrap()
}

/// Why no connection can be had.
async fn refused(feed: &BinanceFeed) -> String {
    match timeout(PATIENCE, feed.connect(&symbols())).await.unwrap() {
        Err(FeedError::Disconnected(why)) => why,
        Err(error) => panic!("{error}"),
        Ok(mut connection) => ended(&mut *connection).await.to_string(),
    }
}

/// Reads a connection to its end.
async fn ended(connection: &mut dyn Connection) -> FeedError {
    let end = async {
        loop {
            if let Err(error) = connection.next(1_024).await {
                return error;
            }
        }
    };
    timeout(PATIENCE, end).await.expect("the connection goes on")
}

/// Reads until trades of every symbol have come.
async fn await_trades(connection: &mut dyn Connection) {
    let mut left = symbols();
    let all = async {
        while !left.is_empty() {
            for frame in connection.next(1_024).await.unwrap() {
                if frame.topic == Topic::Trade {
                    left.retain(|symbol| *symbol != frame.symbol);
                }
            }
        }
    };
    timeout(PATIENCE, all).await.expect("no trades come");
}

/// Reads until the exchange has confirmed the changes asked for.
async fn await_settled(connection: &mut dyn Connection) {
    let settled = async {
        while !connection.is_settled() {
            let frames = connection.next(1_024).await.unwrap();
            assert!(frames.iter().all(|it| it.topic != Topic::DeadLetter), "{frames:?}");
        }
    };
    timeout(PATIENCE, settled).await.expect("the change is not confirmed");
}

#[tokio::test]
async fn symbols_come_and_go_on_an_open_connection() {
    let exchange = start(config()).await;
    let feed = feed(&exchange, PATIENCE);
    let [first, second] = NAMES.map(symbol);
    let one = [first.clone()];
    let mut connection = timeout(PATIENCE, feed.connect(&one)).await.unwrap().unwrap();
    // To and fro, also before anything is confirmed: what was asked last counts.
    for (add, remove, expected) in [
        (vec![&second], vec![], vec![&first, &second]),
        (vec![], vec![&first], vec![&second]),
        (vec![&first], vec![&second], vec![&first]),
    ] {
        let [add, remove] = [add, remove].map(|it| it.into_iter().cloned().collect::<Vec<_>>());
        assert!(connection.change(&add, &remove));
        assert!(!connection.is_settled(), "the exchange was not asked yet");
        assert!(connection.change(&remove, &add));
        assert!(connection.change(&add, &remove));
        await_settled(&mut *connection).await;
        let mut left: Vec<_> = expected.iter().map(|it| (*it).clone()).collect();
        let all = async {
            while !left.is_empty() {
                for frame in connection.next(1_024).await.unwrap() {
                    assert!(expected.contains(&&frame.symbol), "{frame:?} was given up");
                    left.retain(|symbol| *symbol != frame.symbol || frame.topic != Topic::Trade);
                }
            }
        };
        timeout(PATIENCE, all).await.expect("no trades come");
    }
    // More than a connection carries.
    let many: Vec<_> = (0..400).map(|number| symbol(&format!("S{number}"))).collect();
    assert!(!connection.change(&many, &[]));
    assert!(connection.is_settled());
}

#[tokio::test]
async fn a_connection_that_is_cut_says_so_and_the_next_one_delivers() {
    let exchange = start(config()).await;
    let feed = feed(&exchange, PATIENCE);
    for _ in 0..3 {
        let mut connection = connect(&feed).await;
        await_trades(&mut *connection).await;
        exchange.faults().disconnect_all();
        let FeedError::Disconnected(why) = ended(&mut *connection).await else { panic!("no end") };
        assert!(why.contains("without a word") || why.contains("broke"), "{why}");
    }
    await_trades(&mut *connect(&feed).await).await;
}

#[tokio::test]
async fn a_half_open_socket_is_given_up_after_the_read_timeout() {
    let exchange = start(config()).await;
    let feed = feed(&exchange, Duration::from_secs(5));
    let mut connection = connect(&feed).await;
    await_trades(&mut *connection).await;
    exchange.faults().stall_all(None);
    let FeedError::Disconnected(why) = ended(&mut *connection).await else { panic!("no end") };
    assert!(why.contains("nothing came for 5 s"), "{why}");
    await_trades(&mut *connect(&feed).await).await;
}

#[tokio::test]
async fn an_announced_shutdown_asks_for_another_connection_while_this_one_goes_on() {
    let exchange = start(config()).await;
    let feed = feed(&exchange, PATIENCE);
    let mut connection = connect(&feed).await;
    await_trades(&mut *connection).await;
    exchange.faults().shut_down_in(Duration::from_secs(600));
    assert_eq!(ended(&mut *connection).await, FeedError::Rollover);
    await_trades(&mut *connection).await;
    await_trades(&mut *connect(&feed).await).await;
}

#[tokio::test]
async fn an_exchange_that_takes_no_connection_is_quoted() {
    let exchange = start(config()).await;
    let feed = feed(&exchange, PATIENCE);
    exchange.faults().refuse_for(Duration::from_secs(600));
    let why = refused(&feed).await;
    assert!(why.contains("HTTP 503"), "{why}");
    exchange.faults().refuse_for(Duration::ZERO);
    await_trades(&mut *connect(&feed).await).await;

    let address = exchange.addr().to_string();
    exchange.stop().await;
    let why = refused(&feed).await;
    assert!(why.contains(&address), "{why}");
}

#[tokio::test]
async fn limits_that_are_exceeded_are_named() {
    let limits = ConnectionLimits { streams: 3, ..ConnectionLimits::default() };
    let exchange = start(Config { connections: Some(limits), ..config() }).await;
    let why = refused(&feed(&exchange, PATIENCE)).await;
    assert!(why.contains("1008") && why.contains("Too many"), "{why}");

    let limits = ConnectionLimits { attempts_in_5_min: 1, ..ConnectionLimits::default() };
    let exchange = start(Config { connections: Some(limits), ..config() }).await;
    let feed = feed(&exchange, PATIENCE);
    await_trades(&mut *connect(&feed).await).await;
    let why = refused(&feed).await;
    assert!(why.contains("HTTP 429") && why.contains("s of silence"), "{why}");
}

#[tokio::test]
async fn the_past_is_what_the_exchange_knows() {
    let exchange = start(config()).await;
    let history = history(&exchange, 6_000, Arc::new(SystemClock));
    for name in NAMES {
        let symbol = symbol(name);
        let latest = history.latest(&symbol).await.unwrap().unwrap();
        let truth = exchange.truth().trades(name);
        let newest = i64::try_from(truth.last().unwrap().id).unwrap();
        let first = i64::try_from(truth.first().unwrap().id).unwrap();
        assert!((first..=newest).contains(&latest.id), "{latest:?}");

        let from = latest.id - 1_500;
        let trades = history.trades(&symbol, from).await.unwrap();
        let ids: Vec<i64> = trades.trades.iter().map(|trade| trade.id).collect();
        assert_eq!(ids, (from..from + 1_000).collect::<Vec<_>>(), "{name}");
        for trade in &trades.trades {
            assert!(std::str::from_utf8(&trade.value).unwrap().contains(&trade.id.to_string()));
        }
        let time = truth.iter().find(|it| it.id == u64::try_from(from).unwrap()).unwrap().time;
        let at = history.first_id_at(&symbol, time).await.unwrap().unwrap();
        let known = truth.iter().find(|it| it.id == u64::try_from(at).unwrap()).unwrap();
        // The first trade of the first aggregate at or after it.
        assert!(known.time >= time && at <= from, "{at} for {from}");
    }
    let asked = [symbol("BTCUSDT"), symbol("NOPEUSDT")];
    assert_eq!(history.unlisted(&asked).await, Ok(vec![symbol("NOPEUSDT")]));
    let refused = history.latest(&symbol("NOPEUSDT")).await.unwrap_err();
    assert!(
        matches!(&refused, HistoryError::Refused(why) if why.contains("-1121 Invalid symbol.")),
        "{refused}"
    );
}

#[tokio::test]
async fn after_429_and_418_nothing_is_asked_until_retry_after_is_over() {
    for banned in [false, true] {
        let exchange = start(config()).await;
        let clock = Arc::new(ManualClock::default());
        let history = history(&exchange, 6_000, Arc::clone(&clock) as Arc<dyn Clock>);
        let (rest_429, rest_418) = if banned { (0.0, 1.0) } else { (1.0, 0.0) };
        switch(
            &exchange,
            Faults { rest_429, rest_418, rest_retry_after_s: 7, ..Faults::default() },
        );
        let ask = async || history.latest(&symbol("BTCUSDT")).await;
        let limited = async |seconds: u64, status: &str| match ask().await {
            Err(HistoryError::Unavailable { retry_after, reason }) => {
                assert_eq!(retry_after, Duration::from_secs(seconds), "{reason}");
                assert!(reason.contains(status), "{reason}");
            }
            other => panic!("{other:?}"),
        };
        limited(7, if banned { "418" } else { "429" }).await;
        // The exchange would answer by now; it is not asked.
        switch(&exchange, Faults::default());
        limited(7, "left alone").await;
        clock.advance(Duration::from_secs(6));
        limited(1, "left alone").await;
        clock.advance(Duration::from_secs(1));
        assert!(ask().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_exchanges_own_count_of_the_weight_closes_the_door_too() {
    let exchange = start(Config { weight_limit: 30, ..config() }).await;
    let history = history(&exchange, 6_000, Arc::new(SystemClock));
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(history.trades(&symbol("BTCUSDT"), 1).await);
    }
    // The minute may turn once in between.
    let limited = answers.iter().find_map(|answer| answer.as_ref().err());
    match limited {
        Some(HistoryError::Unavailable { retry_after, reason }) => {
            assert!(!retry_after.is_zero() && *retry_after <= Duration::from_secs(60), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn weight_beyond_the_budget_waits_for_the_next_minute() {
    let exchange = start(config()).await;
    let clock = Arc::new(ManualClock::default());
    let history = history(&exchange, 50, Arc::clone(&clock) as Arc<dyn Clock>);
    let ask = async || history.trades(&symbol("BTCUSDT"), 1).await;
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap().trades.len(), 1_000);
    }
    // 25 each: the third has no room. It is not refused, and not sent.
    assert!(timeout(Duration::from_millis(500), ask()).await.is_err());
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask().await.unwrap().trades.len(), 1_000);
}

#[tokio::test]
async fn failures_of_the_exchange_may_pass_and_say_what_happened() {
    let exchange = start(config()).await;
    let patient = history(&exchange, 6_000, Arc::new(SystemClock));
    let hasty = BinanceHistory::new(HistoryConfig {
        timeout: Duration::from_millis(300),
        ..HistoryConfig::new(format!("http://{}", exchange.addr()), Arc::new(SystemClock))
    })
    .unwrap();
    let late = Faults { rest_timeout: 1.0, rest_timeout_ms: 60_000, ..Faults::default() };
    for (faults, history, words) in [
        (Faults { rest_error: 1.0, ..Faults::default() }, &patient, "was answered with 5"),
        (late, &hasty, "no answer to ticker/24hr within 300ms"),
    ] {
        switch(&exchange, faults);
        match history.latest(&symbol("BTCUSDT")).await {
            Err(HistoryError::Unavailable { retry_after, reason }) => {
                assert!(reason.contains(words), "{reason}");
                assert!(!retry_after.is_zero());
            }
            other => panic!("{other:?}"),
        }
        switch(&exchange, Faults::default());
        assert!(patient.latest(&symbol("BTCUSDT")).await.unwrap().is_some());
    }
}
