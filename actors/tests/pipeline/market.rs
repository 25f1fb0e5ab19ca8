//! A market that goes on whoever listens, its streams and its past, and a node on it.
//!
//! The market is a function of tokio's time, which the tests stop: trade `n` happens `n` × 10 ms
//! after the start, whoever listens. So an hour passes in seconds, and what must be stored is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_actors::pipeline::{Pipeline, Ports, Settings};
use fts_actors::view::View;
use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::decimal::Decimal;
use fts_core::interval::Interval;
use fts_core::market::{Event, Symbol, Topic, Trade};
use fts_core::placement::{Shards, Share};
use fts_core::port::decode::Decode;
use fts_core::port::feed::{Connection, Feed, FeedError, Frame};
use fts_core::port::history::{History, HistoryError, Latest, PastTrade, PastTrades};
use fts_core::port::log::{Log, Record};
use fts_core::time::{Clock, UnixNanos};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::memory::{MemoryLog, MemoryStore};

/// Between two trades of the market.
pub(crate) const TRADE_EVERY: Duration = Duration::from_millis(10);
/// Trades that history gives at once.
const HISTORY_MAX: i64 = 1_000;
/// 2024-08-09 00:00 UTC.
const START_MS: i64 = 1_723_161_600_000;

pub(crate) fn symbol() -> Symbol {
    Symbol::new("BTCUSDT").unwrap()
}

/// What happens, whether or not anybody looks.
pub(crate) struct Market {
    start: Instant,
    /// Ids that neither streams nor history ever tell of as they should.
    pub(crate) absent: Mutex<Vec<i64>>,
    /// Whether both tell of them in a form that nobody understands, and not at all otherwise.
    pub(crate) is_spoiled: AtomicBool,
}

impl Market {
    /// The newest trade so far.
    pub(crate) fn newest(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis() / TRADE_EVERY.as_millis()).unwrap()
    }

    /// The trades there are from `from` to `to`.
    fn ids(&self, from: i64, to: i64) -> Vec<i64> {
        let absent = self.absent.lock().unwrap();
        let is_told = self.is_spoiled.load(Ordering::SeqCst);
        (from.max(0)..=to).filter(|id| is_told || !absent.contains(id)).collect()
    }

    fn value(&self, id: i64) -> Bytes {
        let is_spoiled = self.absent.lock().unwrap().contains(&id);
        if is_spoiled { "spoiled".into() } else { id.to_string().into() }
    }
}

fn time_of(id: i64) -> i64 {
    START_MS + id * i64::try_from(TRADE_EVERY.as_millis()).unwrap()
}

impl Clock for Market {
    fn now(&self) -> UnixNanos {
        let nanos = i64::try_from(self.start.elapsed().as_nanos()).unwrap();
        UnixNanos(START_MS * 1_000_000 + nanos)
    }
}

/// Understands its own frames: a trade is its id.
struct Ids;

impl Decode for Ids {
    fn decode(&self, _: Topic, record: &Record) -> Result<Event, String> {
        let text = std::str::from_utf8(&record.value).map_err(|error| error.to_string())?;
        let id: i64 = text.parse().map_err(|_| format!("no id: {text}"))?;
        let price = Decimal::from_units(100 + id % 7);
        let quantity = Decimal::from_units(1);
        let (time, buyer_is_maker) = (time_of(id), id % 2 == 0);
        Ok(Event::Trade(Trade { id, time, price, quantity, buyer_is_maker }))
    }
}

/// Streams. They tell what happens while they are connected, and nothing of what happened before.
pub(crate) struct Streams {
    market: Arc<Market>,
    /// While it is there, no connection is had, and those that are end.
    pub(crate) fault: Mutex<Option<FeedError>>,
    /// A connection ends after so many trades.
    pub(crate) trades_a_connection: AtomicUsize,
    pub(crate) connects: AtomicUsize,
    /// How often somebody took frames off a connection.
    pub(crate) reads: Arc<AtomicUsize>,
}

struct Stream {
    streams: Arc<Streams>,
    next: i64,
    left: usize,
}

/// The feed's port.
struct Door(Arc<Streams>);

#[async_trait]
impl Feed for Door {
    async fn connect(&self, _: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.0.fault.lock().unwrap().clone() {
            return Err(error);
        }
        let left = self.0.trades_a_connection.load(Ordering::SeqCst);
        let next = self.0.market.newest() + 1;
        Ok(Box::new(Stream { streams: Arc::clone(&self.0), next, left }))
    }
}

#[async_trait]
impl Connection for Stream {
    async fn next(&mut self, max: usize) -> Result<Vec<Frame>, FeedError> {
        loop {
            if let Some(error) = self.streams.fault.lock().unwrap().clone() {
                return Err(error);
            }
            if self.left == 0 {
                return Err(FeedError::Disconnected("enough for once".to_owned()));
            }
            let market = &self.streams.market;
            let ids = market.ids(self.next, market.newest());
            if !ids.is_empty() {
                let ids: Vec<_> = ids.into_iter().take(max.min(self.left)).collect();
                self.next = ids.last().map_or(self.next, |last| last + 1);
                self.left -= ids.len();
                self.streams.reads.fetch_add(1, Ordering::SeqCst);
                let received_at = market.now();
                let frame = |id: i64| Frame {
                    topic: Topic::Trade,
                    symbol: symbol(),
                    value: market.value(id),
                    received_at,
                };
                return Ok(ids.into_iter().map(frame).collect());
            }
            tokio::time::sleep(TRADE_EVERY).await;
        }
    }
}

/// The past.
pub(crate) struct Past {
    market: Arc<Market>,
    pub(crate) fault: Mutex<Option<HistoryError>>,
    /// How often it was asked anything.
    pub(crate) asked: AtomicUsize,
}

impl Past {
    fn ask(&self) -> Result<(), HistoryError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl History for Past {
    async fn latest(&self, _: &Symbol) -> Result<Option<Latest>, HistoryError> {
        self.ask()?;
        let id = self.market.newest();
        Ok(Some(Latest { id, time: time_of(id) }))
    }

    async fn first_id_at(&self, _: &Symbol, time: i64) -> Result<Option<i64>, HistoryError> {
        self.ask()?;
        Ok(Some(((time - START_MS).max(0) + 9) / 10))
    }

    async fn trades(&self, _: &Symbol, from_id: i64) -> Result<PastTrades, HistoryError> {
        self.ask()?;
        let to = self.market.newest().min(from_id + HISTORY_MAX - 1);
        let trade = |id| PastTrade { id, value: self.market.value(id) };
        let trades = self.market.ids(from_id, to).into_iter().map(trade).collect();
        Ok(PastTrades { whole_from: from_id, trades })
    }

    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

/// A node with all of them.
pub(crate) struct Fixture {
    pub(crate) market: Arc<Market>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) past: Arc<Past>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) view: Arc<View>,
    pub(crate) pipeline: Pipeline,
}

impl Fixture {
    /// Starts it, and waits for the first trades in the store.
    pub(crate) async fn start() -> Self {
        let market = Arc::new(Market {
            start: Instant::now(),
            absent: Mutex::default(),
            is_spoiled: AtomicBool::default(),
        });
        let streams = Arc::new(Streams {
            market: Arc::clone(&market),
            fault: Mutex::default(),
            trades_a_connection: AtomicUsize::new(usize::MAX),
            connects: AtomicUsize::default(),
            reads: Arc::default(),
        });
        let past = Arc::new(Past {
            market: Arc::clone(&market),
            fault: Mutex::default(),
            asked: AtomicUsize::default(),
        });
        let (log, store) = (MemoryLog::new(1), Arc::new(MemoryStore::default()));
        let view = Arc::new(View::default());
        let ports = Ports {
            log: Arc::clone(&log) as Arc<dyn Log>,
            stores: vec![store.port("memory")],
            feed: Arc::new(Door(Arc::clone(&streams))),
            history: Arc::clone(&past) as Arc<dyn History>,
            decode: Arc::new(Ids),
            clock: Arc::clone(&market) as Arc<dyn Clock>,
        };
        let partitions = log.partitions();
        let shards = Shards { symbols: vec![symbol()], feeds: 1, partitions, singletons: vec![] };
        let (_, shares) = watch::channel(Arc::new(Share::whole(&shards)));
        let pipeline = Pipeline::start(ports, settings(), Arc::clone(&view), shares).await.unwrap();
        let fixture = Self { market, streams, past, log, store, view, pipeline };
        fixture.await_stored(100).await;
        fixture
    }

    /// Waits, by the market's time, until the store has all trades up to `id`, each once.
    #[track_caller]
    pub(crate) fn await_stored(&self, id: i64) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            // Of stopped time there is plenty.
            for _ in 0..36_000 {
                if self.has_all(id) {
                    // The minutes that they are in follow within a quarter of a second.
                    return tokio::time::sleep(Duration::from_secs(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let stored = self.store.trades();
            panic!("{caller}: {stored} trades are stored, waited in vain for all up to {id}");
        }
    }

    fn has_all(&self, id: i64) -> bool {
        let absent = self.market.absent.lock().unwrap();
        self.store.look(|tables| {
            let mut ids = tables.trades.keys().map(|(_, id)| *id).take_while(|it| *it <= id);
            let Some(first) = ids.next() else { return false };
            let missing = absent.iter().filter(|it| (first..=id).contains(*it)).count();
            let wanted = usize::try_from(id - first + 1).unwrap_or(usize::MAX) - missing;
            1 + ids.count() == wanted
        })
    }

    /// Every whole minute between the first and the last trade stored is complete, and has the
    /// trades that happened in it.
    #[track_caller]
    pub(crate) fn minutes_are_complete(&self) {
        let tables = self.store.tables();
        let (first, last) = (
            tables.trades.first_key_value().unwrap().1.trade.time,
            tables.trades.last_key_value().unwrap().1.trade.time,
        );
        let mut minutes = 0;
        for ((_, interval, open_time), row) in &tables.candles {
            let whole = *open_time > first && open_time + 60_000 <= last;
            if *interval == Interval::Minute && whole {
                let absent = self.market.absent.lock().unwrap();
                let within = |id: &&i64| (0..60_000).contains(&(time_of(**id) - open_time));
                let missing = i64::try_from(absent.iter().filter(within).count()).unwrap();
                assert_eq!(row.candle.trade_count, 6_000 - missing, "{row:?}");
                assert_eq!(row.complete, missing == 0, "{row:?}");
                minutes += 1;
            }
        }
        let expected = (Interval::Minute.floor(last) - Interval::Minute.floor(first)) / 60_000 - 1;
        assert!(minutes >= expected, "{minutes} minutes are stored, not {expected}");
    }

    pub(crate) fn problem(&self, part: &str) -> Option<String> {
        self.view.picture().problems.get(part).cloned()
    }
}

fn settings() -> Settings {
    Settings {
        symbols_per_socket: 50,
        reconnect: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
        flush_interval: Duration::from_millis(5),
        checkpoint_interval: Duration::from_secs(1),
        alert: AlertRule {
            threshold_percent: Decimal::from_units(10_000_000_000),
            window_ms: 60_000,
        },
        backfill_delay: Duration::from_millis(200),
        quiet_probe: Duration::from_secs(120),
        first_sight_trades_max: 50_000,
        singletons: HashMap::new(),
    }
}
