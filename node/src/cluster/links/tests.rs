//! Nodes in one process, over real sockets on loopback.

use std::net::SocketAddr;

use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Record, Stored};
use fts_core::time::UnixNanos;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::AsyncWriteExt as _;

use super::*;

mod conformance;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Node {
    pub(super) links: Links,
    address: SocketAddr,
    peers: watch::Sender<BTreeMap<Arc<str>, SocketAddr>>,
    ended: mpsc::Receiver<Ended>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.links.stop();
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

async fn node_with(name: &str, key: &str) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peers = watch::Sender::default();
    let (tells, ended) = mpsc::channel(8);
    let links = Links::start(LinksConfig {
        name: name.into(),
        secret: secret(key),
        listener,
        peers: peers.subscribe(),
        ended: tells,
        messages: None,
    });
    Node { links: links.await.unwrap(), address, peers, ended }
}

pub(super) async fn node(name: &str) -> Node {
    node_with(name, "0123456789abcdef").await
}

impl Node {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.links.0.name)
    }

    /// The membership of this node names these, and nobody else.
    fn knows(&self, peers: &[(&Node, SocketAddr)]) {
        let named = peers.iter().map(|(peer, address)| (peer.name(), *address));
        self.peers.send_replace(named.collect());
    }

    async fn is_linked_to(&self, expected: &[&Node]) {
        let expected: BTreeSet<_> = expected.iter().map(|peer| peer.name()).collect();
        let mut up = self.links.peers_up();
        let linked = up.wait_for(|up| *up == expected);
        assert!(timeout(PATIENCE, linked).await.is_ok(), "{:?}, not {expected:?}", self.links);
    }

    /// Which link to the peer it is; every link has its own number.
    fn link_to(&self, peer: &Node) -> Option<u64> {
        self.links.links().get(&peer.name()).map(|link| link.id)
    }
}

/// All nodes know one another.
pub(super) async fn linked(nodes: &[&Node]) {
    for node in nodes {
        let others = nodes.iter().filter(|it| it.address != node.address);
        node.knows(&others.map(|it| (*it, it.address)).collect::<Vec<_>>());
    }
    for node in nodes {
        let others: Vec<_> =
            nodes.iter().filter(|it| it.address != node.address).copied().collect();
        node.is_linked_to(&others).await;
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// A log that keeps nothing, and tells what is being done to it.
#[derive(Debug, Default)]
struct Probe {
    appending: AtomicU64,
    appending_max: AtomicU64,
    waiting: AtomicU64,
    gate: watch::Sender<bool>,
}

struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Log for Probe {
    fn partitions(&self) -> u32 {
        4
    }

    async fn append(&self, _: Vec<Append>) -> Result<(), LogError> {
        let _appending = Counted::new(&self.appending);
        self.appending_max.fetch_max(self.appending.load(Ordering::SeqCst), Ordering::SeqCst);
        drop(self.gate.subscribe().wait_for(|open| *open).await);
        Ok(())
    }

    async fn read(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        Err(LogError::Expired { oldest: 7 })
    }

    async fn bounds(&self, _: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        Ok((0, partition.into()))
    }

    async fn changed(&self, _: u32, _: &[(Topic, u64)], patience: Duration) {
        let _waiting = Counted::new(&self.waiting);
        let open = async { drop(self.gate.subscribe().wait_for(|open| *open).await) };
        drop(timeout(patience, open).await);
    }

    async fn release(&self, _: Topic, _: u32, _: u64) -> Result<(), LogError> {
        Err(LogError::Broken("torn".to_owned()))
    }

    async fn save_checkpoint(&self, _: &str, _: Bytes) -> Result<(), LogError> {
        Ok(())
    }

    async fn load_checkpoint(&self, _: &str) -> Result<Option<Bytes>, LogError> {
        Ok(None)
    }
}

fn append(length: usize) -> Append {
    let record = Record {
        key: Symbol::new("BTCUSDT").unwrap(),
        value: vec![7; length].into(),
        received_at: UnixNanos(1),
        source: Source::Stream,
        feed: 0,
    };
    Append { topic: Topic::Trade, partition: 0, record }
}

/// Two nodes; the second's log is the probe, the first's is it from afar.
async fn probed() -> (Node, Node, Arc<Probe>, RemoteLog) {
    let (one, other) = (node("a").await, node("b").await);
    let probe = Arc::new(Probe::default());
    other.links.serve(Some(Arc::clone(&probe) as Arc<dyn Log>), Vec::new());
    linked(&[&one, &other]).await;
    let log = one.links.remote_log("b", PATIENCE).await.unwrap();
    (one, other, probe, log)
}

#[tokio::test]
async fn three_nodes_have_a_link_each_to_each_and_drop_who_leaves() {
    let (a, b, c) = (node("a").await, node("b").await, node("c").await);
    linked(&[&a, &b, &c]).await;
    a.knows(&[(&c, c.address)]);
    b.knows(&[(&c, c.address)]);
    a.is_linked_to(&[&c]).await;
    b.is_linked_to(&[&c]).await;
    c.is_linked_to(&[&a, &b]).await;
    linked(&[&a, &b, &c]).await;
}

#[tokio::test]
async fn of_a_process_that_ends_all_who_had_a_link_are_told_and_of_a_link_that_is_cut_nobody() {
    let (mut a, b, mut c) = (node("a").await, node("b").await, node("c").await);
    linked(&[&a, &b, &c]).await;
    let first = a.link_to(&b);
    a.links.cut("b");
    until("another link", || a.link_to(&b).is_some_and(|link| Some(link) != first)).await;
    assert!(a.ended.try_recv().is_err(), "it lives");
    let ended = (b.name(), b.address);
    drop(b);
    // One has dialled it, the other was dialled by it.
    for who in [&mut a, &mut c] {
        let told = timeout(PATIENCE, who.ended.recv()).await.unwrap().unwrap();
        assert_eq!(told, ended, "to {}", who.links.0.name);
    }
    a.is_linked_to(&[&c]).await;
}

#[tokio::test]
async fn who_is_dropped_by_one_end_alone_is_linked_again_while_the_other_dials() {
    let (a, b) = (node("a").await, node("b").await);
    linked(&[&a, &b]).await;
    let first = b.link_to(&a);
    b.knows(&[]);
    until("another link", || b.link_to(&a).is_some_and(|link| Some(link) != first)).await;
}

#[tokio::test]
async fn a_link_that_is_cut_comes_back_and_the_log_with_it() {
    let (one, other, probe, log) = probed().await;
    assert_eq!(log.bounds(Topic::Trade, 3).await, Ok((0, 3)));
    let appending = tokio::spawn({
        let log = log.clone();
        async move { log.append(vec![append(1)]).await }
    });
    until("it is being appended", || probe.appending.load(Ordering::SeqCst) == 1).await;
    let first = one.link_to(&other);
    other.links.cut("a");
    let cut = appending.await.unwrap();
    assert!(matches!(cut, Err(LogError::Unavailable(_))), "{cut:?}");
    until("what a link that ended asked for is given up", || {
        probe.appending.load(Ordering::SeqCst) == 0
    })
    .await;
    until("another link", || one.link_to(&other).is_some_and(|link| Some(link) != first)).await;
    assert_eq!(log.bounds(Topic::Trade, 3).await, Ok((0, 3)));
}

#[tokio::test]
async fn refusals_come_through_as_they_are() {
    let (one, other, _, log) = probed().await;
    let expired = log.read(Topic::Trade, 0, 0, 1).await;
    assert_eq!(expired, Err(LogError::Expired { oldest: 7 }));
    assert_eq!(log.release(Topic::Trade, 0, 0).await, Err(LogError::Broken("torn".to_owned())));
    let none = one.links.remote_store("b", "sqlite").gaps(1).await.unwrap_err().to_string();
    assert!(none.contains("`sqlite`"), "{none}");
    let nobody = other.links.remote_log("a", Duration::ZERO).await.unwrap_err().to_string();
    assert!(nobody.contains("serves no log"), "{nobody}");
    let nobody = one.links.remote_log("z", Duration::ZERO).await.unwrap_err().to_string();
    assert!(nobody.contains("no link"), "{nobody}");
}

#[tokio::test]
async fn calls_to_a_peer_without_a_link_count_as_failed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let alone = node("a").await;
    alone.links.remote_log("z", Duration::ZERO).await.unwrap_err();
    alone.links.remote_store("z", "sqlite").gaps(1).await.unwrap_err();
    let told = metrics.render();
    assert!(told.contains("fts_calls_failed_total{reason=\"down\"} 2"), "{told}");
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_the_window_holds() {
    let (_one, _other, probe, log) = probed().await;
    let appending: Vec<_> = (0..500)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.append(vec![append(1)]).await })
        })
        .collect();
    until("the window is full", || probe.appending.load(Ordering::SeqCst) == 64).await;
    // A wait for records does not wait for it.
    let waiting = log.changed(0, &[(Topic::Trade, 0)], Duration::from_millis(1));
    assert!(timeout(PATIENCE, waiting).await.is_ok());
    probe.gate.send_replace(true);
    for append in appending {
        assert_eq!(append.await.unwrap(), Ok(()));
    }
    assert_eq!(probe.appending_max.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn bytes_under_way_are_bounded_and_a_long_batch_goes_alone() {
    let (_one, _other, probe, log) = probed().await;
    let mebibytes = |count: usize| {
        let log = log.clone();
        tokio::spawn(async move { log.append(vec![append(count << 20)]).await })
    };
    let appending: Vec<_> = (0..10).map(|_| mebibytes(9)).collect();
    until("three of nine fit into 32", || probe.appending.load(Ordering::SeqCst) == 3).await;
    probe.gate.send_replace(true);
    for append in appending {
        assert_eq!(append.await.unwrap(), Ok(()));
    }
    assert_eq!(probe.appending_max.load(Ordering::SeqCst), 3);
    assert_eq!(mebibytes(40).await.unwrap(), Ok(()));
    let long = mebibytes(65).await.unwrap();
    assert!(matches!(long, Err(LogError::Broken(_))), "{long:?}");
}

#[tokio::test]
async fn a_wait_that_nobody_waits_for_ends_over_there_too() {
    let (_one, _other, probe, log) = probed().await;
    let waiting = |log: RemoteLog| {
        tokio::spawn(async move { log.changed(1, &[(Topic::Trade, 0)], PATIENCE).await })
    };
    let waits: Vec<_> = (0..20).map(|_| waiting(log.clone())).collect();
    until("they wait", || probe.waiting.load(Ordering::SeqCst) == 20).await;
    for wait in waits {
        wait.abort();
    }
    until("they are gone", || probe.waiting.load(Ordering::SeqCst) == 0).await;
    let wait = waiting(log);
    until("it waits", || probe.waiting.load(Ordering::SeqCst) == 1).await;
    probe.gate.send_replace(true);
    wait.await.unwrap();
}

#[tokio::test]
async fn who_waits_for_records_when_the_link_is_cut_looks_again_once_it_is_back() {
    let (one, other, probe, log) = probed().await;
    let wait = tokio::spawn(async move {
        log.changed(1, &[(Topic::Trade, 0)], Duration::from_secs(3_600)).await;
    });
    until("it waits", || probe.waiting.load(Ordering::SeqCst) == 1).await;
    probe.gate.send_replace(true);
    one.links.cut("b");
    assert!(timeout(PATIENCE, wait).await.is_ok());
    one.is_linked_to(&[&other]).await;
}

#[tokio::test]
async fn strangers_get_nowhere_and_hold_up_nobody() {
    let (a, b) = (node("a").await, node("b").await);
    // More than may shake hands at once, and silent.
    let mut silent = Vec::new();
    for _ in 0..2 * HANDSHAKES_MAX {
        silent.push(TcpStream::connect(b.address).await.unwrap());
    }
    let mut babbler = TcpStream::connect(b.address).await.unwrap();
    babbler.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, babbler.read_to_end(&mut answer)).await.unwrap());
    assert!(!answer.windows(4).any(|it| it == b"HTTP"));
    linked(&[&a, &b]).await;

    // The oldest were put out for those who came after.
    for mut stranger in silent.drain(..HANDSHAKES_MAX) {
        let end = timeout(PATIENCE, stranger.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_silent_stranger_is_put_out_by_the_deadline() {
    let b = node("b").await;
    let mut silent = TcpStream::connect(b.address).await.unwrap();
    let end = timeout(PATIENCE, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[track_caller]
fn check_dial(result: Result<TlsStream<TcpStream>, Refused>, expected: &[Refused]) {
    let refused = result.map(drop).unwrap_err();
    assert!(expected.contains(&refused), "{refused:?}");
}

#[tokio::test]
async fn another_key_another_name_and_the_wrong_direction_are_refused() {
    let b = node("b").await;
    let tls = |key: &str| Tls::new(&secret(key)).unwrap();
    let (ours, theirs) = (tls("0123456789abcdef"), tls("0123456789abcdeF"));
    let at = b.address;
    check_dial(handshake::dial(&theirs, "a", "b", at).await, &[Refused::Tls]);
    check_dial(handshake::dial(&ours, "a", "c", at).await, &[Refused::Name]);
    check_dial(handshake::dial(&ours, "c", "b", at).await, &[Refused::Closed]);
    check_dial(handshake::dial(&ours, "b", "b", at).await, &[Refused::Closed]);
    assert!(handshake::dial(&ours, "a", "b", at).await.is_ok());
    // A member does not take a stranger for a member either.
    let stranger = node_with("c", "another key, as long").await;
    check_dial(handshake::dial(&ours, "a", "c", stranger.address).await, &[Refused::Tls]);
    stranger.is_linked_to(&[]).await;
}

#[tokio::test]
async fn a_member_that_says_nothing_after_the_handshake_is_dropped() {
    let b = node("b").await;
    let tls = Tls::new(&secret("0123456789abcdef")).unwrap();
    let mut up = b.links.peers_up();
    let _stream = handshake::dial(&tls, "a", "b", b.address).await.unwrap();
    timeout(PATIENCE, up.wait_for(|up| up.contains("a"))).await.unwrap().unwrap();
    timeout(PATIENCE, up.wait_for(BTreeSet::is_empty)).await.unwrap().unwrap();
}

/// Passes bytes on between whoever connects and `to`, while the switch is on.
async fn line(to: SocketAddr, on: watch::Receiver<bool>) -> SocketAddr {
    async fn pass(
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        mut on: watch::Receiver<bool>,
    ) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if on.wait_for(|on| *on).await.is_err()
                || to.write_all(&buffer[..length]).await.is_err()
            {
                return;
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, on.clone()));
            tokio::spawn(pass(far_in, near_out, on.clone()));
        }
    });
    address
}

#[tokio::test]
async fn a_peer_that_stands_still_is_dropped_at_both_ends_and_taken_back_when_it_goes_on() {
    let (a, b) = (node("a").await, node("b").await);
    let on = watch::Sender::new(true);
    let by_line = line(b.address, on.subscribe()).await;
    let probe = Arc::new(Probe::default());
    probe.gate.send_replace(true);
    b.links.serve(Some(Arc::clone(&probe) as Arc<dyn Log>), Vec::new());
    a.knows(&[(&b, by_line)]);
    let log = a.links.remote_log("b", PATIENCE).await.unwrap();
    assert_eq!(log.append(vec![append(1)]).await, Ok(()));

    on.send_replace(false);
    let still = timeout(PATIENCE, log.append(vec![append(1)])).await.unwrap();
    assert!(matches!(still, Err(LogError::Unavailable(_))), "{still:?}");
    b.is_linked_to(&[]).await;
    a.is_linked_to(&[]).await;

    on.send_replace(true);
    a.is_linked_to(&[&b]).await;
    let log = a.links.remote_log("b", PATIENCE).await.unwrap();
    assert_eq!(log.append(vec![append(1)]).await, Ok(()));
}
