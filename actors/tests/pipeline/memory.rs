//! Ports in memory: a log and stores that survive the tree, an exchange that does as it is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_actors::pipeline::{Ports, Settings, StorePort};
use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Event, Source, Symbol, Ticker, Topic, Trade};
use fts_core::port::decode::Decode;
use fts_core::port::feed::{Connection, Feed, FeedError};
use fts_core::port::history::{History, HistoryError, Latest, PastTrades};
use fts_core::port::log::{Append, Log, LogError, Record, Stored};
use fts_core::port::store::{Span, Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DeadLetterRow, GapRow, Rows, Table, TradeRow,
};
use fts_core::time::{ManualClock, UnixNanos};
use tokio::sync::Notify;

pub(crate) fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

/// A log that is lost with the test, not with the tree.
pub(crate) struct MemoryLog {
    partitions: u32,
    inner: Mutex<Inner>,
    changed: Notify,
    fault: Mutex<Option<LogError>>,
    /// The trades that readers have taken.
    read_up_to: AtomicU64,
}

#[derive(Default)]
struct Inner {
    records: HashMap<(Topic, u32), Vec<Record>>,
    released: HashMap<(Topic, u32), u64>,
    checkpoints: BTreeMap<String, Bytes>,
    /// Up to where the checkpoints saved of each name knew the trades, one after the other.
    saves: BTreeMap<String, Vec<u64>>,
}

impl MemoryLog {
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        Arc::new(Self {
            partitions,
            inner: Mutex::default(),
            changed: Notify::new(),
            fault: Mutex::default(),
            read_up_to: AtomicU64::default(),
        })
    }

    /// What every request is answered with from here on; `None`: it works.
    pub(crate) fn fail(&self, fault: Option<LogError>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn check(&self) -> Result<(), LogError> {
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    /// Trades, controls and repeats on the log.
    pub(crate) fn end(&self, partition: u32) -> u64 {
        let inner = self.inner.lock().unwrap();
        inner.records.get(&(Topic::Trade, partition)).map_or(0, |it| it.len() as u64)
    }

    /// Up to where the trades were read.
    pub(crate) fn read_up_to(&self) -> u64 {
        self.read_up_to.load(Ordering::SeqCst)
    }

    /// Appends trades of `symbol`, a second of the exchange's time apart.
    pub(crate) async fn trades(&self, symbol: &Symbol, ids: impl IntoIterator<Item = i64>) {
        let batch = ids.into_iter().map(|id| Append {
            topic: Topic::Trade,
            partition: symbol.partition(self.partitions),
            record: Record {
                key: symbol.clone(),
                value: format!("{id} {}", id * 100).into(),
                received_at: UnixNanos(id * 100_000_000),
                source: Source::Stream,
                feed: 0,
            },
        });
        self.append(batch.collect()).await.unwrap();
    }

    /// Below which offset nobody needs the trades of `partition`.
    pub(crate) fn released(&self, partition: u32) -> u64 {
        let inner = self.inner.lock().unwrap();
        inner.released.get(&(Topic::Trade, partition)).copied().unwrap_or(0)
    }

    /// Up to where the checkpoints of that name knew the trades, in the order in which they were saved.
    pub(crate) fn saves(&self, name: &str) -> Vec<u64> {
        self.inner.lock().unwrap().saves.get(name).cloned().unwrap_or_default()
    }

    /// Up to where the last of them does.
    pub(crate) fn position(&self, name: &str) -> u64 {
        self.saves(name).last().copied().unwrap_or(0)
    }

    /// What checkpoints are kept under.
    pub(crate) fn checkpoints(&self) -> Vec<String> {
        self.inner.lock().unwrap().checkpoints.keys().cloned().collect()
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        self.check()?;
        let mut inner = self.inner.lock().unwrap();
        for Append { topic, partition, record } in batch {
            inner.records.entry((topic, partition)).or_default().push(record);
        }
        drop(inner);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        if partition >= self.partitions {
            return Err(LogError::Broken(format!("there is no partition {partition}")));
        }
        self.check()?;
        let inner = self.inner.lock().unwrap();
        let Some(records) = inner.records.get(&(topic, partition)) else { return Ok(Vec::new()) };
        let mut bytes = 0;
        let fresh = records.iter().enumerate().skip(usize::try_from(from).unwrap());
        let fits = fresh.take_while(|(_, record)| {
            let fits = bytes < max_bytes;
            bytes += record.value.len();
            fits
        });
        let stored = |(at, record): (usize, &Record)| Stored {
            offset: u64::try_from(at).unwrap(),
            record: record.clone(),
        };
        let found: Vec<Stored> = fits.map(stored).collect();
        if topic == Topic::Trade {
            self.read_up_to.fetch_max(from + found.len() as u64, Ordering::SeqCst);
        }
        Ok(found)
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        self.check()?;
        let inner = self.inner.lock().unwrap();
        let end = inner.records.get(&(topic, partition)).map_or(0, Vec::len);
        Ok((0, u64::try_from(end).unwrap()))
    }

    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        let changed = self.changed.notified();
        for (topic, end) in seen {
            if self.bounds(*topic, partition).await.is_ok_and(|bounds| bounds.1 > *end) {
                return;
            }
        }
        let _ = tokio::time::timeout(patience, changed).await;
    }

    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError> {
        let mut inner = self.inner.lock().unwrap();
        let released = inner.released.entry((topic, partition)).or_default();
        *released = below.max(*released);
        Ok(())
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.check()?;
        let mut inner = self.inner.lock().unwrap();
        let positions = fts_proto::checkpoint::positions(&bytes).unwrap_or_default();
        let trades = positions.into_iter().find(|it| it.0 == Topic::Trade).map_or(0, |it| it.1);
        inner.saves.entry(name.to_owned()).or_default().push(trades);
        inner.checkpoints.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.check()?;
        Ok(self.inner.lock().unwrap().checkpoints.get(name).cloned())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_in_memory_is_a_log() {
    let log = MemoryLog::new(2);
    let open = async || -> Arc<dyn Log> { Arc::clone(&log) as _ };
    fts_core::port::log::conformance::log(open).await;
}

/// What a store does when it is written to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Works,
    Fails(StoreError),
    /// Writes nothing of what has a trade with one of these ids.
    Rejects(Vec<i64>),
    Hangs,
}

impl Mood {
    pub(crate) fn down() -> Self {
        Self::Fails(StoreError::Unavailable("switched off".to_owned()))
    }
}

/// A store that is lost with the test, not with the tree.
#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) mood: Mutex<Mood>,
    tables: Mutex<Tables>,
    pub(crate) attempts: AtomicUsize,
    /// Rows in the largest transaction that was asked for.
    pub(crate) largest: AtomicUsize,
}

/// What a store holds, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tables {
    pub(crate) trades: BTreeMap<(Symbol, i64), TradeRow>,
    pub(crate) candles: BTreeMap<(Symbol, Interval, i64), CandleRow>,
    pub(crate) dead_letters: BTreeMap<u64, DeadLetterRow>,
    pub(crate) gaps: Vec<GapRow>,
}

impl MemoryStore {
    pub(crate) fn in_mood(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), ..Self::default() })
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn tables(&self) -> Tables {
        self.tables.lock().unwrap().clone()
    }

    /// Asks about what it holds, without a copy.
    pub(crate) fn look<T>(&self, ask: impl FnOnce(&Tables) -> T) -> T {
        ask(&self.tables.lock().unwrap())
    }

    pub(crate) fn gaps(&self) -> Vec<GapRow> {
        self.look(|tables| tables.gaps.clone())
    }

    pub(crate) fn trades(&self) -> usize {
        self.tables.lock().unwrap().trades.len()
    }

    pub(crate) fn port(self: &Arc<Self>, name: &str) -> StorePort {
        StorePort {
            name: name.into(),
            store: Arc::clone(self) as _,
            tables: Table::ALL.to_vec(),
            retention: Vec::new(),
        }
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
        // A write takes its time: others get their turn in between.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Works => {}
            Mood::Fails(error) => return Err(error),
            Mood::Rejects(ids) => {
                let trades = || batches.iter().flat_map(|rows| &rows.trades);
                if let Some(row) = trades().find(|row| ids.contains(&row.trade.id)) {
                    let reason = format!("trade {} is too odd", row.trade.id);
                    return Err(StoreError::Rejected { table: "trades", reason });
                }
            }
            Mood::Hangs => std::future::pending().await,
        }
        let mut tables = self.tables.lock().unwrap();
        for rows in batches {
            for row in &rows.trades {
                tables.trades.insert((row.symbol.clone(), row.trade.id), row.clone());
            }
            tables.gaps.extend(rows.gaps.iter().cloned());
            for row in &rows.dead_letters {
                tables.dead_letters.insert(row.offset, row.clone());
            }
            for row in &rows.candles {
                let key = (row.symbol.clone(), row.interval, row.candle.open_time);
                let kept = tables.candles.get(&key).map(CandleRow::version);
                if kept.is_none_or(|kept| kept <= row.version()) {
                    tables.candles.insert(key, row.clone());
                }
            }
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

/// Reads `id time`.
pub(crate) struct Plain;

impl Decode for Plain {
    fn decode(&self, _: Topic, record: &Record) -> Result<Event, String> {
        let text = std::str::from_utf8(&record.value).map_err(|e| e.to_string())?;
        let (id, time) = text.split_once(' ').ok_or("no two numbers")?;
        let id: i64 = id.parse().map_err(|_| "no id")?;
        Ok(Event::Trade(Trade {
            id,
            time: time.parse().map_err(|_| "no time")?,
            price: format!("{}.5", 100 + id % 7).parse().unwrap(),
            quantity: "0.25".parse().unwrap(),
            buyer_is_maker: id % 2 == 0,
        }))
    }
}

/// An exchange without a past.
pub(crate) struct NoHistory;

#[async_trait]
impl History for NoHistory {
    async fn latest(&self, _: &Symbol) -> Result<Option<Latest>, HistoryError> {
        Ok(None)
    }

    async fn first_id_at(&self, _: &Symbol, _: i64) -> Result<Option<i64>, HistoryError> {
        Ok(None)
    }

    async fn trades(&self, _: &Symbol, from: i64) -> Result<PastTrades, HistoryError> {
        Ok(PastTrades { whole_from: from, trades: Vec::new() })
    }

    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

/// An exchange that lets nobody in.
pub(crate) struct NoFeed;

#[async_trait]
impl Feed for NoFeed {
    async fn connect(&self, _: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        std::future::pending().await
    }
}

pub(crate) fn ports(log: &Arc<MemoryLog>, stores: Vec<StorePort>) -> Ports {
    Ports {
        log: Arc::clone(log) as _,
        stores,
        feed: Arc::new(NoFeed),
        history: Arc::new(NoHistory),
        decode: Arc::new(Plain),
        clock: Arc::new(ManualClock::default()),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        symbols_per_socket: 2,
        reconnect: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
        flush_interval: Duration::from_millis(5),
        checkpoint_interval: Duration::from_millis(5),
        alert: AlertRule { threshold_percent: "5".parse().unwrap(), window_ms: 60_000 },
        backfill_delay: Duration::from_millis(200),
        quiet_probe: Duration::from_secs(3_600),
        first_sight_trades_max: 0,
        singletons: HashMap::new(),
    }
}

/// Waits for `what`, in virtual time: it is no measure of anything.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..60_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{place}: not within ten minutes: {what}");
    }
}
