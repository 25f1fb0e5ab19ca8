//! Controllers on loopback, over a log in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::{Symbol, Topic};
use fts_core::port::history::{History, HistoryError, Latest, PastTrades};
use fts_core::port::log::{Append, Log, LogError, Stored};
use fts_core::time::SystemClock;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::UdpSocket;

use super::*;
use crate::cluster::gossip::GossipConfig;
use crate::cluster::key::Secret;

const PATIENCE: Duration = Duration::from_secs(30);

/// A log that only keeps checkpoints.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl Log for Memory {
    fn partitions(&self) -> u32 {
        4
    }
    async fn append(&self, _: Vec<Append>) -> Result<(), LogError> {
        Err(nothing_but_checkpoints())
    }
    async fn read(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        Err(nothing_but_checkpoints())
    }
    async fn bounds(&self, _: Topic, _: u32) -> Result<(u64, u64), LogError> {
        Err(nothing_but_checkpoints())
    }
    async fn changed(&self, _: u32, _: &[(Topic, u64)], _: Duration) {
        std::future::pending().await
    }
    async fn release(&self, _: Topic, _: u32, _: u64) -> Result<(), LogError> {
        Err(nothing_but_checkpoints())
    }
    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }
    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
}

fn nothing_but_checkpoints() -> LogError {
    LogError::Broken("this log keeps nothing but checkpoints".to_owned())
}

/// An exchange that lists what begins with an S.
struct Listed;

#[async_trait]
impl History for Listed {
    async fn latest(&self, _: &Symbol) -> Result<Option<Latest>, HistoryError> {
        Ok(None)
    }
    async fn first_id_at(&self, _: &Symbol, _: i64) -> Result<Option<i64>, HistoryError> {
        Ok(None)
    }
    async fn trades(&self, _: &Symbol, from: i64) -> Result<PastTrades, HistoryError> {
        Ok(PastTrades { whole_from: from, trades: Vec::new() })
    }
    async fn unlisted(&self, symbols: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        Ok(symbols.iter().filter(|it| !it.as_str().starts_with('S')).cloned().collect())
    }
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

struct Node {
    name: &'static str,
    controller: Arc<Controller>,
    symbols: Arc<Symbols>,
    /// Does at once whatever it shall do.
    doing: tokio::task::JoinHandle<()>,
    address: std::net::SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.doing.abort();
    }
}

async fn node(name: &'static str, log: &Arc<Memory>, seed: Option<&Node>) -> Node {
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let clock: Arc<SystemClock> = Arc::default();
    let config = GossipConfig {
        name: name.into(),
        generation: GENERATION.fetch_add(1, Ordering::Relaxed),
        advertise: address,
        seeds: seed.iter().map(|it| it.address.to_string()).collect(),
        interval: Duration::from_millis(50),
        silence: Duration::from_millis(1_500),
        secret: Secret::new("0123456789abcdef").unwrap(),
    };
    let gossip = Gossip::start(socket, config, clock.clone()).await.unwrap();
    let configured = (0..20).map(|n| symbol(&format!("S{n}"))).collect();
    let log: Arc<dyn Log> = log.clone();
    let symbols = Symbols::load(configured, log, Arc::new(Listed), clock, name.into()).await;
    let symbols = Arc::new(symbols.unwrap());
    let work = Work { feeds: 2, partitions: 4, singletons: Vec::new() };
    let gossip = Some(Arc::new(gossip));
    let controller =
        Arc::new(Controller::start(name.into(), 100, gossip, Arc::clone(&symbols), work));
    let doing = tokio::spawn({
        let controller = Arc::clone(&controller);
        async move {
            let mut shares = controller.shares();
            loop {
                let share = Arc::clone(&shares.borrow_and_update());
                controller.settled(share);
                if shares.changed().await.is_err() {
                    return;
                }
            }
        }
    });
    controller.go_live();
    Node { name, controller, symbols, doing, address }
}

/// Waits until exactly these nodes, and no others, do all of `symbols` symbols, each shard once.
#[track_caller]
fn share_it(nodes: &[&Node], symbols: usize) -> impl Future<Output = ()> {
    let shares: Vec<_> = nodes.iter().map(|it| (it.name, it.controller.shares())).collect();
    async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now: Vec<_> =
                shares.iter().map(|(name, it)| (*name, Arc::clone(&it.borrow()))).collect();
            let mut done = BTreeMap::<String, usize>::new();
            for (_, share) in &now {
                let [a, b] = &share.feeds;
                let a = a.iter().map(|it| format!("A {it}"));
                let b = b.iter().map(|it| format!("B {it}"));
                let partitions = share.partitions.iter().map(|it| format!("partition {it}"));
                for shard in a.chain(b).chain(partitions) {
                    *done.entry(shard).or_default() += 1;
                }
            }
            let each_has_some = now.iter().all(|(_, share)| !share.feeds[0].is_empty());
            if each_has_some && done.len() == 2 * symbols + 4 && done.values().all(|it| *it == 1) {
                return;
            }
            assert!(Instant::now() < deadline, "{} shards are done: {now:?}", done.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn the_work_is_shared_by_who_is_there() {
    let log = Arc::new(Memory::default());
    let a = node("a", &log, None).await;
    let b = node("b", &log, Some(&a)).await;
    let c = node("c", &log, Some(&a)).await;
    share_it(&[&a, &b, &c], 20).await;
    drop(b);
    share_it(&[&a, &c], 20).await;
    let b = node("b", &log, Some(&c)).await;
    share_it(&[&a, &b, &c], 20).await;
    c.controller.leave().await;
    let left = Arc::clone(&c.controller.shares().borrow());
    assert_eq!(*left, Share { symbols: Arc::clone(&left.symbols), ..Share::default() });
    assert_eq!(left.symbols.len(), 20, "it knows what the others do");
    share_it(&[&a, &b], 20).await;
}

#[test]
fn certain_is_only_that_nodes_died_whose_processes_have_ended() {
    let member = |name: &str, live| Member { name: name.into(), weight: 100, live };
    let peer = |name: &str, has_ended| Peer {
        name: name.into(),
        generation: 1,
        address: ([127, 0, 0, 1], 1).into(),
        is_alive: false,
        is_self: false,
        has_ended,
        has_rival: false,
        says: BTreeMap::new(),
    };
    let before = [member("a", true), member("b", true), member("c", true)];
    let check = |after: &[Member], expected: bool| {
        let peers = [peer("a", true), peer("b", true), peer("c", false)];
        assert_eq!(is_certain(&before, after, &peers), expected, "{after:?}");
    };
    check(&before, true);
    check(&[member("a", false), member("b", true), member("c", true)], true);
    check(&[member("a", false), member("b", false), member("c", true)], true);
    // It may only be slow.
    check(&[member("a", false), member("b", true), member("c", false)], false);
    check(&[member("a", false), member("b", true), member("d", true)], false);
    check(&[member("a", false), member("b", true)], false);
    let other = Member { weight: 7, ..member("b", false) };
    check(&[member("a", true), other, member("c", true)], false);
}

#[tokio::test]
async fn a_symbol_that_is_added_anywhere_is_captured_and_stays_over_a_restart_of_all() {
    let log = Arc::new(Memory::default());
    let a = node("a", &log, None).await;
    let b = node("b", &log, Some(&a)).await;
    share_it(&[&a, &b], 20).await;
    assert!(matches!(
        b.symbols.set(&symbol("X"), true).await,
        Err(crate::cluster::symbols::SymbolsError::Unlisted(_))
    ));
    assert!(b.symbols.set(&symbol("SOLUSDT"), true).await.unwrap());
    assert!(!b.symbols.set(&symbol("SOLUSDT"), true).await.unwrap());
    share_it(&[&a, &b], 21).await;
    a.symbols.set(&symbol("S0"), false).await.unwrap();
    a.symbols.set(&symbol("S1"), false).await.unwrap();
    share_it(&[&a, &b], 19).await;
    assert!(b.symbols.set(&symbol("S0"), false).await.is_err());
    drop((a, b));
    let a = node("a", &log, None).await;
    share_it(&[&a], 19).await;
}

#[tokio::test]
async fn a_shard_is_let_go_only_when_somebody_else_has_it() {
    let log = Arc::new(Memory::default());
    let a = node("a", &log, None).await;
    share_it(&[&a], 20).await;
    let before = Arc::clone(&a.controller.shares().borrow());
    let b = node("b", &log, Some(&a)).await;
    b.doing.abort();
    let mut scene = a.controller.scene();
    let hands_over = scene.wait_for(|it| it.hands_over);
    tokio::time::timeout(PATIENCE, hands_over).await.unwrap().unwrap();
    assert_eq!(*a.controller.shares().borrow(), before, "b has not settled");
    let mut shares = b.controller.shares();
    let share = shares.wait_for(|it| !it.partitions.is_empty());
    let share = Arc::clone(&*tokio::time::timeout(PATIENCE, share).await.unwrap().unwrap());
    let settled_at = Instant::now();
    b.controller.settled(share);
    share_it(&[&a, &b], 20).await;
    assert!(settled_at.elapsed() < OVERDUE, "it was let go because it was overdue");
}

/// Waits until this many shards are nobody's: feeds, partitions.
async fn await_unowned(metrics: &PrometheusHandle, expected: [usize; 2]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = metrics.render();
        let told = |kind: &str| {
            let line = format!("{UNOWNED_SHARDS}{{kind=\"{kind}\"}} ");
            text.lines().find_map(|it| it.strip_prefix(line.as_str())?.parse::<usize>().ok())
        };
        let now = ["feed", "partition"].map(told);
        if now == expected.map(Some) {
            return;
        }
        assert!(Instant::now() < deadline, "{now:?} are unowned, not {expected:?}:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_nobody_has_confirmed_to_do_is_told_as_unowned() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // Both nodes run on this thread, and see the same.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let log = Arc::new(Memory::default());
    let a = node("a", &log, None).await;
    share_it(&[&a], 20).await;
    await_unowned(&metrics, [0, 0]).await;
    let b = node("b", &log, Some(&a)).await;
    b.doing.abort();
    let mut shares = b.controller.shares();
    let share = shares.wait_for(|it| !it.partitions.is_empty());
    let share = Arc::clone(&*tokio::time::timeout(PATIENCE, share).await.unwrap().unwrap());
    let feeds = share.feeds.iter().map(|it| it.len()).sum();
    assert!(feeds > 0, "b is to capture something");
    await_unowned(&metrics, [feeds, share.partitions.len()]).await;
    b.controller.settled(share);
    await_unowned(&metrics, [0, 0]).await;
    // Whoever is dead does nothing; the one who is left takes it, and says so.
    drop(b);
    share_it(&[&a], 20).await;
    await_unowned(&metrics, [0, 0]).await;
}
