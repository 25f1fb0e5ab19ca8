//! The share of a node changes: actors come and go, what stays is not interrupted, and what is stored
//! does not depend on who did what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fts_actors::pipeline::{Pipeline, Ports, Settings};
use fts_actors::view::View;
use fts_actors::worker::{Job, JobError, Stop};
use fts_core::market::{Symbol, Topic};
use fts_core::placement::{Share, Singleton};
use fts_core::port::feed::{Connection, Feed, FeedError, Frame};
use fts_core::port::history::{History, HistoryError, Latest, PastTrade, PastTrades};
use fts_core::time::UnixNanos;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::memory::{MemoryLog, MemoryStore, Mood, ports, settings, symbol, until};

/// How long the exchange takes to confirm a change.
const CONFIRM: Duration = Duration::from_millis(300);

/// An exchange on which every symbol trades every ten milliseconds.
#[derive(Default)]
struct Exchange {
    connects: AtomicUsize,
    /// What each open connection delivers, by its number.
    open: Mutex<BTreeMap<usize, BTreeSet<Symbol>>>,
    is_rigid: bool,
}

struct Line {
    exchange: Arc<Exchange>,
    number: usize,
    began: Instant,
    sent: i64,
    pending: Option<(Instant, BTreeSet<Symbol>)>,
}

impl Exchange {
    fn delivered(&self) -> Vec<Vec<String>> {
        let open = self.open.lock().unwrap();
        open.values().map(|it| it.iter().map(Symbol::to_string).collect()).collect()
    }
}

struct Door(Arc<Exchange>, Instant);

#[async_trait]
impl Feed for Door {
    async fn connect(&self, symbols: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        let number = self.0.connects.fetch_add(1, Ordering::SeqCst);
        self.0.open.lock().unwrap().insert(number, symbols.iter().cloned().collect());
        let exchange = Arc::clone(&self.0);
        let began = self.1;
        let sent = now(began);
        Ok(Box::new(Line { exchange, number, began, sent, pending: None }))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.exchange.open.lock().unwrap().remove(&self.number);
    }
}

/// The newest trade id.
fn now(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_millis() / 10).unwrap()
}

#[async_trait]
impl Connection for Line {
    async fn next(&mut self, _: usize) -> Result<Vec<Frame>, FeedError> {
        loop {
            let due = self.pending.as_ref().is_some_and(|(at, _)| *at <= Instant::now());
            if let Some((_, symbols)) = self.pending.take_if(|_| due) {
                self.exchange.open.lock().unwrap().insert(self.number, symbols);
                return Ok(Vec::new());
            }
            if self.sent < now(self.began) {
                self.sent += 1;
                let id = self.sent;
                let symbols = self.exchange.open.lock().unwrap()[&self.number].clone();
                let frame = |symbol| Frame {
                    topic: Topic::Trade,
                    symbol,
                    value: format!("{id} {}", id * 100).into(),
                    received_at: UnixNanos(id * 100_000_000),
                };
                return Ok(symbols.into_iter().map(frame).collect());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn change(&mut self, add: &[Symbol], remove: &[Symbol]) -> bool {
        if self.exchange.is_rigid {
            return false;
        }
        let mut symbols = match &self.pending {
            Some((_, symbols)) => symbols.clone(),
            None => self.exchange.open.lock().unwrap()[&self.number].clone(),
        };
        symbols.retain(|it| !remove.contains(it));
        symbols.extend(add.iter().cloned());
        self.pending = Some((Instant::now() + CONFIRM, symbols));
        true
    }

    fn is_settled(&self) -> bool {
        self.pending.is_none()
    }
}

struct Node {
    pipeline: Pipeline,
    view: Arc<View>,
    shares: watch::Sender<Arc<Share>>,
}

impl Node {
    async fn start(ports: Ports, settings: Settings) -> Self {
        let (shares, receiver) = watch::channel(Arc::default());
        let view = Arc::new(View::default());
        let pipeline = Pipeline::start(ports, settings, Arc::clone(&view), receiver).await.unwrap();
        Self { pipeline, view, shares }
    }

    fn give(&self, share: Share) -> Arc<Share> {
        let share = Arc::new(share);
        self.shares.send_replace(Arc::clone(&share));
        share
    }

    async fn settle(&self, share: Share) {
        let share = self.give(share);
        let mut settled = self.pipeline.settled();
        let is_it = settled.wait_for(|it| Arc::ptr_eq(it, &share));
        tokio::time::timeout(Duration::from_secs(60), is_it).await.unwrap().unwrap();
    }
}

fn capture(text: &str, partitions: &[u32]) -> Share {
    let feed: Vec<_> = text.split_whitespace().map(symbol).collect();
    let symbols = Arc::new(feed.iter().cloned().collect());
    Share {
        feeds: [feed, Vec::new()],
        partitions: partitions.to_vec(),
        symbols,
        singletons: vec![],
    }
}

#[tokio::test(start_paused = true)]
async fn symbols_come_and_go_and_only_what_changed_is_touched() {
    let exchange = Arc::new(Exchange::default());
    let (log, store) = (MemoryLog::new(1), MemoryStore::in_mood(Mood::Works));
    let feed = Arc::new(Door(Arc::clone(&exchange), Instant::now()));
    let ports = Ports { feed, ..ports(&log, vec![store.port("sqlite")]) };
    let node = Node::start(ports, settings()).await;
    let connects = || exchange.connects.load(Ordering::SeqCst);

    node.settle(capture("A B C", &[0])).await;
    assert_eq!(exchange.delivered(), [vec!["A", "B"], vec!["C"]]);
    // A free place is taken by request; settled means that the exchange has confirmed it.
    node.settle(capture("A B C D", &[0])).await;
    assert_eq!(exchange.delivered(), [vec!["A", "B"], vec!["C", "D"]]);
    assert_eq!(connects(), 2, "nothing was connected again");
    // One goes, one comes, on one socket; another socket is needed for the rest.
    node.settle(capture("B C D E F", &[0])).await;
    assert_eq!(exchange.delivered(), [vec!["B", "E"], vec!["C", "D"], vec!["F"]]);
    assert_eq!(connects(), 3);
    // A socket without a symbol is closed.
    node.settle(capture("B E F", &[0])).await;
    assert_eq!(exchange.delivered(), [vec!["B", "E"], vec!["F"]]);
    let feeds: Vec<_> = node.view.picture().feeds.into_keys().collect();
    assert_eq!(feeds, ["A-0", "A-2"]);
    // What stayed has no hole.
    let kept = store.tables().trades.into_keys().filter(|it| it.0 == symbol("B"));
    let ids: Vec<_> = kept.map(|it| it.1).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    node.pipeline.shut_down().await;
    assert!(exchange.delivered().is_empty(), "everything is closed");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_change_is_replaced_without_a_hole() {
    let exchange = Arc::new(Exchange { is_rigid: true, ..Exchange::default() });
    let (log, store) = (MemoryLog::new(1), MemoryStore::in_mood(Mood::Works));
    let feed = Arc::new(Door(Arc::clone(&exchange), Instant::now()));
    let ports = Ports { feed, ..ports(&log, vec![store.port("sqlite")]) };
    let node = Node::start(ports, settings()).await;
    node.settle(capture("A", &[0])).await;
    until("some trades", || store.trades() > 20).await;
    node.settle(capture("A B", &[0])).await;
    assert_eq!(exchange.delivered(), [vec!["A", "B"]]);
    assert_eq!(exchange.connects.load(Ordering::SeqCst), 2);
    until("more trades", || store.trades() > 100).await;
    node.pipeline.shut_down().await;
    let kept = store.tables().trades.into_keys().filter(|it| it.0 == symbol("A"));
    let ids: Vec<_> = kept.map(|it| it.1).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

/// `count` trades of each of four symbols, a few at a time.
async fn trade(log: &MemoryLog, symbols: &[Symbol], ids: std::ops::Range<i64>) {
    for from in ids.step_by(50) {
        for symbol in symbols {
            log.trades(symbol, from..from + 50).await;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_folds_what_and_when_changes_nothing_that_is_stored() {
    let log = MemoryLog::new(4);
    let symbols = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "XRPUSDT"].map(symbol);
    let (shared, alone) = (MemoryStore::default(), MemoryStore::default());
    let (shared, alone) = (Arc::new(shared), Arc::new(alone));
    let node = async || Node::start(ports(&log, vec![shared.port("shared")]), settings()).await;
    let (one, two) = (node().await, node().await);
    let folding = |partitions: &[u32]| Share {
        partitions: partitions.to_vec(),
        symbols: Arc::new(symbols.iter().cloned().collect()),
        ..Share::default()
    };

    one.settle(folding(&[0, 1, 2, 3])).await;
    trade(&log, &symbols, 0..2_000).await;
    // Handed over, given up by one before the other has it, and the other way round.
    two.settle(folding(&[2, 3])).await;
    trade(&log, &symbols, 2_000..3_000).await;
    one.settle(folding(&[0, 1])).await;
    let shown: Vec<_> = one.view.picture().partitions.into_keys().collect();
    assert!(shown.iter().all(|it| *it < 2), "{shown:?} are another node's");
    trade(&log, &symbols, 3_000..4_000).await;
    one.give(folding(&[1, 2]));
    trade(&log, &symbols, 4_000..5_000).await;
    two.settle(folding(&[0, 3])).await;
    // Both at once, and to and fro before anything has ended.
    for partitions in [&[0, 1, 2, 3][..], &[], &[0, 1, 2, 3]] {
        one.give(folding(partitions));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    two.give(folding(&[0, 1, 2, 3]));
    trade(&log, &symbols, 5_000..7_000).await;
    until("all of it is stored", || shared.trades() == 28_000).await;
    one.pipeline.shut_down().await;
    two.pipeline.shut_down().await;

    let node = Node::start(ports(&log, vec![alone.port("alone")]), settings()).await;
    node.settle(folding(&[0, 1, 2, 3])).await;
    until("all of it is folded again", || alone.trades() == 28_000).await;
    node.pipeline.shut_down().await;
    assert_eq!(shared.tables(), alone.tables());
}

struct Lonely(Arc<AtomicUsize>);

#[async_trait]
impl Job for Lonely {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        stop.requested().await;
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_singleton_runs_while_the_share_has_it() {
    let running = Arc::new(AtomicUsize::new(0));
    let job: Arc<dyn Job> = Arc::new(Lonely(Arc::clone(&running)));
    let singletons = HashMap::from([(Singleton::Batch, job)]);
    let log = MemoryLog::new(1);
    let settings = Settings { singletons, ..settings() };
    let node = Node::start(ports(&log, Vec::new()), settings).await;
    let both =
        Share { singletons: vec![Singleton::Batch, Singleton::Simulator], ..Share::default() };
    for _ in 0..3 {
        // The node has no job for the simulator: that holds up nothing.
        node.settle(both.clone()).await;
        until("it runs", || running.load(Ordering::SeqCst) == 1).await;
        node.settle(Share::default()).await;
        assert_eq!(running.load(Ordering::SeqCst), 0, "settled: it has ended");
    }
    node.pipeline.shut_down().await;
}

/// An exchange whose symbols all trade every ten milliseconds, and that is asked for the past.
struct Past {
    began: Instant,
    asked: Mutex<BTreeMap<Symbol, usize>>,
    refuses: Option<Symbol>,
}

impl Past {
    fn new(refuses: Option<Symbol>) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), asked: Mutex::default(), refuses })
    }

    fn asked(&self, symbol: &Symbol) -> usize {
        self.asked.lock().unwrap().get(symbol).copied().unwrap_or(0)
    }

    fn ask(&self, symbol: &Symbol) -> Result<(), HistoryError> {
        *self.asked.lock().unwrap().entry(symbol.clone()).or_default() += 1;
        if self.refuses.as_ref() == Some(symbol) {
            return Err(HistoryError::Refused("no such symbol".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl History for Past {
    async fn latest(&self, symbol: &Symbol) -> Result<Option<Latest>, HistoryError> {
        self.ask(symbol)?;
        let id = now(self.began);
        Ok(Some(Latest { id, time: id * 100 }))
    }

    async fn first_id_at(&self, _: &Symbol, _: i64) -> Result<Option<i64>, HistoryError> {
        Ok(None)
    }

    async fn trades(&self, symbol: &Symbol, from: i64) -> Result<PastTrades, HistoryError> {
        self.ask(symbol)?;
        let value = |id| format!("{id} {}", id * 100).into();
        let ids = from..=now(self.began).min(from + 999);
        let trades = ids.map(|id| PastTrade { id, value: value(id) }).collect();
        Ok(PastTrades { whole_from: from, trades })
    }

    async fn unlisted(&self, _: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(Vec::new())
    }
}

fn highest(store: &MemoryStore, symbol: &Symbol) -> Option<i64> {
    store.tables().trades.into_keys().filter(|it| it.0 == *symbol).map(|it| it.1).max()
}

#[tokio::test(start_paused = true)]
async fn a_symbol_that_is_removed_is_left_alone_until_it_is_added_again() {
    let (log, store) = (MemoryLog::new(1), MemoryStore::in_mood(Mood::Works));
    let exchange = Arc::new(Exchange::default());
    let past = Past::new(Some(symbol("GONE")));
    let feed = Arc::new(Door(Arc::clone(&exchange), past.began));
    let history = Arc::clone(&past);
    let ports = Ports { feed, history, ..ports(&log, vec![store.port("sqlite")]) };
    let settings = Settings {
        quiet_probe: Duration::from_secs(5),
        first_sight_trades_max: 1_000,
        ..settings()
    };
    let node = Node::start(ports.clone(), settings.clone()).await;
    node.settle(capture("A B GONE", &[0])).await;
    let (a, b) = (symbol("A"), symbol("B"));
    until("both trade", || [&a, &b].iter().all(|it| highest(&store, it) > Some(100))).await;
    let problems = |node: &Node| node.view.picture().problems.into_keys().collect::<Vec<_>>();
    until("what is refused is named", || problems(&node) == ["history of GONE"]).await;

    node.settle(capture("A", &[0])).await;
    let shown = |node: &Node| node.view.picture().symbols.into_keys().collect::<Vec<_>>();
    until("nothing is asked for it any more", || problems(&node).is_empty()).await;
    let (asked, kept) = (past.asked(&b), highest(&store, &b));
    let before = highest(&store, &a);
    until("a minute has passed", || highest(&store, &a) > before.map(|it| it + 6_000)).await;
    assert_eq!((past.asked(&b), highest(&store, &b)), (asked, kept));
    assert_eq!(shown(&node), std::slice::from_ref(&a));
    node.pipeline.shut_down().await;

    // Whoever goes on from the checkpoint knows of it, and does no more about it.
    let node = Node::start(ports, settings).await;
    node.settle(capture("A", &[0])).await;
    let before = highest(&store, &a);
    until("a minute has passed", || highest(&store, &a) > before.map(|it| it + 6_000)).await;
    assert_eq!((past.asked(&b), highest(&store, &b)), (asked, kept));
    assert_eq!(shown(&node), std::slice::from_ref(&a));

    node.settle(capture("A B", &[0])).await;
    let again = now(past.began);
    until("it is as if it had never been away", || {
        let ids = store.tables().trades.into_keys().filter(|it| it.0 == b).map(|it| it.1);
        let ids: Vec<_> = ids.collect();
        ids.last() > Some(&again) && ids.windows(2).all(|pair| pair[1] == pair[0] + 1)
    })
    .await;
    until("it is shown", || node.view.symbol(&b).unwrap().last_trade_id > Some(again)).await;
    node.pipeline.shut_down().await;
}

/// A socket that delivers nothing.
struct Silent;

#[async_trait]
impl Feed for Silent {
    async fn connect(&self, _: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Connection for Silent {
    async fn next(&mut self, _: usize) -> Result<Vec<Frame>, FeedError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_one_node_is_heard_of_by_the_backfill_of_another() {
    let (log, store) = (MemoryLog::new(1), MemoryStore::in_mood(Mood::Works));
    let past = Past::new(None);
    let node = async || {
        let (feed, history) = (Arc::new(Silent), Arc::clone(&past));
        let ports = Ports { feed, history, ..ports(&log, vec![store.port("sqlite")]) };
        Node::start(ports, Settings { first_sight_trades_max: 1_000, ..settings() }).await
    };
    let (captures, folds) = (node().await, node().await);
    let a = symbol("A");
    folds.settle(Share { feeds: Default::default(), ..capture("A", &[0]) }).await;
    captures.settle(capture("A", &[])).await;
    until("its past is there", || highest(&store, &a).is_some()).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = (now(past.began), past.asked(&a));
        assert!(highest(&store, &a) < Some(before.0), "nobody looks without a reason");
        captures.settle(capture("", &[])).await;
        captures.settle(capture("A", &[])).await;
        until("the tail is there", || highest(&store, &a) >= Some(before.0)).await;
    }
    captures.pipeline.shut_down().await;
    folds.pipeline.shut_down().await;
}
