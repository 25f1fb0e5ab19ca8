//! Ports in memory that fail when told to, and a market that goes on meanwhile.
//!
//! The market is a function of tokio's time, which the tests stop: trade `n` happens `n` × 10 ms
//! after the start, whoever listens. So an hour passes in seconds, and what must be stored is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_actors::pipeline::{Pipeline, Ports, Settings, StorePort};
use fts_actors::view::View;
use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::decimal::Decimal;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Event, Symbol, Ticker, Topic, Trade};
use fts_core::placement::{Shards, Share};
use fts_core::port::decode::Decode;
use fts_core::port::feed::{Connection, Feed, FeedError, Frame};
use fts_core::port::history::{History, HistoryError, Latest, PastTrade};
use fts_core::port::log::{Append, Log, LogError, Record, Stored};
use fts_core::port::store::{Span, Store, StoreError};
use fts_core::row::{AlertRow, BookSecond, CandleRow, GapRow, Rows, Table, TradeRow};
use fts_core::time::{Clock, UnixNanos};
use tokio::sync::watch;
use tokio::time::Instant;

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
    /// Ids that neither streams nor history ever tell of.
    pub(crate) absent: Mutex<Vec<i64>>,
}

impl Market {
    /// The newest trade so far.
    pub(crate) fn newest(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis() / TRADE_EVERY.as_millis()).unwrap()
    }

    /// The trades there are from `from` to `to`.
    fn ids(&self, from: i64, to: i64) -> Vec<i64> {
        let absent = self.absent.lock().unwrap();
        (from.max(0)..=to).filter(|id| !absent.contains(id)).collect()
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

fn value(id: i64) -> Bytes {
    id.to_string().into()
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
                    value: value(id),
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

    async fn trades(&self, _: &Symbol, from_id: i64) -> Result<Vec<PastTrade>, HistoryError> {
        self.ask()?;
        let to = self.market.newest().min(from_id + HISTORY_MAX - 1);
        let trade = |id| PastTrade { id, value: value(id) };
        Ok(self.market.ids(from_id, to).into_iter().map(trade).collect())
    }

    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

/// A log of one partition.
#[derive(Default)]
pub(crate) struct MemoryLog {
    topics: Mutex<HashMap<Topic, Vec<Record>>>,
    checkpoints: Mutex<HashMap<String, Bytes>>,
    pub(crate) fault: Mutex<Option<LogError>>,
    commits: watch::Sender<u64>,
    /// The trades that readers have taken.
    read_up_to: AtomicU64,
}

impl MemoryLog {
    /// Trades, controls and repeats on the log.
    pub(crate) fn end(&self) -> u64 {
        self.topics.lock().unwrap().get(&Topic::Trade).map_or(0, Vec::len) as u64
    }

    pub(crate) fn read_up_to(&self) -> u64 {
        self.read_up_to.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), LogError> {
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        self.check()?;
        let mut topics = self.topics.lock().unwrap();
        for append in batch {
            topics.entry(append.topic).or_default().push(append.record);
        }
        drop(topics);
        self.commits.send_modify(|commits| *commits += 1);
        Ok(())
    }

    async fn read(
        &self,
        topic: Topic,
        _: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        self.check()?;
        let topics = self.topics.lock().unwrap();
        let records = topics.get(&topic).map_or(&[][..], Vec::as_slice);
        let mut bytes = 0;
        let found: Vec<Stored> = (from..)
            .zip(records.iter().skip(usize::try_from(from).unwrap()))
            .take_while(|(_, record)| {
                bytes += record.value.len();
                bytes <= max_bytes
            })
            .map(|(offset, record)| Stored { offset, record: record.clone() })
            .collect();
        if topic == Topic::Trade {
            self.read_up_to.fetch_max(from + found.len() as u64, Ordering::SeqCst);
        }
        Ok(found)
    }

    async fn bounds(&self, topic: Topic, _: u32) -> Result<(u64, u64), LogError> {
        self.check()?;
        Ok((0, self.topics.lock().unwrap().get(&topic).map_or(0, Vec::len) as u64))
    }

    async fn changed(&self, _: u32, seen: &[(Topic, u64)], patience: Duration) {
        let mut commits = self.commits.subscribe();
        let is_new = {
            let topics = self.topics.lock().unwrap();
            seen.iter().any(|(topic, next)| {
                topics.get(topic).is_some_and(|records| records.len() as u64 > *next)
            })
        };
        if !is_new {
            drop(tokio::time::timeout(patience, commits.changed()).await);
        }
    }

    async fn release(&self, _: Topic, _: u32, _: u64) -> Result<(), LogError> {
        Ok(())
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.check()?;
        self.checkpoints.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.check()?;
        Ok(self.checkpoints.lock().unwrap().get(name).cloned())
    }
}

/// A store.
#[derive(Default)]
pub(crate) struct MemoryStore {
    tables: Mutex<Tables>,
    pub(crate) is_away: AtomicBool,
    pub(crate) attempts: AtomicUsize,
    /// Rows in the largest transaction that was asked for.
    pub(crate) largest: AtomicUsize,
}

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) trades: BTreeMap<i64, TradeRow>,
    pub(crate) candles: BTreeMap<(Interval, i64), CandleRow>,
    pub(crate) gaps: Vec<GapRow>,
}

impl MemoryStore {
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let rows = batches.iter().map(|batch| batch.len()).sum();
        self.largest.fetch_max(rows, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("locked by a test".to_owned()));
        }
        let mut tables = self.tables();
        for rows in batches {
            for row in &rows.trades {
                tables.trades.insert(row.trade.id, row.clone());
            }
            for row in &rows.candles {
                let kept = tables
                    .candles
                    .entry((row.interval, row.candle.open_time))
                    .or_insert_with(|| row.clone());
                if row.version() >= kept.version() {
                    *kept = row.clone();
                }
            }
            tables.gaps.extend(rows.gaps.iter().cloned());
        }
        Ok(())
    }

    async fn expire(&self, _: Table, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn trades(&self, _: &Symbol, _: i64, _: usize) -> Result<Vec<TradeRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn candles(
        &self,
        _: &Symbol,
        _: Interval,
        _: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn book_seconds(&self, _: &Symbol, _: Span) -> Result<Vec<BookSecond>, StoreError> {
        Ok(Vec::new())
    }

    async fn tickers(&self, _: &Symbol, _: Span) -> Result<Vec<Ticker>, StoreError> {
        Ok(Vec::new())
    }

    async fn latest_book(&self, _: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        Ok(None)
    }

    async fn alerts(&self, _: usize) -> Result<Vec<AlertRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn gaps(&self, _: usize) -> Result<Vec<GapRow>, StoreError> {
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
        let market = Arc::new(Market { start: Instant::now(), absent: Mutex::default() });
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
        let (log, store) = (Arc::new(MemoryLog::default()), Arc::new(MemoryStore::default()));
        let view = Arc::new(View::default());
        let ports = Ports {
            log: Arc::clone(&log) as Arc<dyn Log>,
            stores: vec![StorePort {
                name: "memory".into(),
                store: Arc::clone(&store) as Arc<dyn Store>,
                tables: Table::ALL.to_vec(),
                retention: Vec::new(),
            }],
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
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let stored = self.store.tables().trades.len();
            panic!("{caller}: {stored} trades are stored, waited in vain for all up to {id}");
        }
    }

    fn has_all(&self, id: i64) -> bool {
        let tables = self.store.tables();
        let absent = self.market.absent.lock().unwrap();
        let Some((&first, _)) = tables.trades.first_key_value() else { return false };
        let missing = absent.iter().filter(|it| (first..=id).contains(*it)).count();
        let wanted = usize::try_from(id - first + 1).unwrap_or(usize::MAX) - missing;
        tables.trades.range(first..=id).count() == wanted
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
        for ((interval, open_time), row) in &tables.candles {
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
