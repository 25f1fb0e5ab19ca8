//! The spill: the log's contract, and a log behind it that comes and goes.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "kafka/support.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_adapters::journal::{Journal, JournalConfig, JournalError};
use fts_adapters::kafka::KafkaLog;
use fts_adapters::spill::{Spill, SpillConfig, SpillStatus};
use fts_core::market::Topic;
use fts_core::port::log::{Append, Log, LogError, Stored, conformance};
use fts_core::time::SystemClock;
use tokio::sync::watch;

use self::support::{append, broker, read_all, skip};

/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(120);

const WELL: u8 = 0;
const REFUSING: u8 = 1;
const STUCK: u8 = 2;
const SLOW: u8 = 3;

const WRITERS: usize = 4;

/// A log that takes nothing when told so.
struct Moody {
    log: Journal,
    mood: AtomicU8,
    /// How many records its users have got rid of, as far as they say.
    written: watch::Sender<usize>,
}

impl Moody {
    fn open(dir: &Path) -> Arc<Self> {
        let config = JournalConfig {
            dir: dir.join("inner"),
            partitions: 2,
            segment_bytes: 64 << 20,
            retention_ms: 0,
            retention_bytes: u64::MAX,
            tail_bytes: 1 << 20,
            clock: Arc::new(SystemClock),
        };
        let log = Journal::open(config).unwrap().0;
        Arc::new(Self { log, mood: AtomicU8::new(WELL), written: watch::Sender::default() })
    }

    fn be(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

#[async_trait]
impl Log for Moody {
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        match self.mood.load(Ordering::SeqCst) {
            WELL => self.log.append(batch).await,
            REFUSING => Err(LogError::Unavailable("not today".to_owned())),
            SLOW => {
                // Unless they have to wait, too, one of them began after this and is done.
                let enough = *self.written.borrow() + WRITERS + 1;
                let mut written = self.written.subscribe();
                let more = written.wait_for(|it| *it >= enough);
                drop(tokio::time::timeout(Duration::from_secs(1), more).await);
                self.log.append(batch).await
            }
            _ => std::future::pending().await,
        }
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        self.log.read(topic, partition, from, max_bytes).await
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        self.log.bounds(topic, partition).await
    }

    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        self.log.changed(partition, seen, patience).await;
    }

    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError> {
        self.log.release(topic, partition, below).await
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.log.save_checkpoint(name, bytes).await
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.log.load_checkpoint(name).await
    }
}

async fn open(inner: Arc<dyn Log>, dir: &Path, bytes_max: u64, slow_after: Duration) -> Spill {
    let dir = dir.join("spill");
    loop {
        let (dir, clock) = (dir.clone(), Arc::new(SystemClock));
        let config = SpillConfig { dir, bytes_max, slow_after, clock };
        match Spill::open(Arc::clone(&inner), config).await {
            Ok(spill) => return spill,
            // One that was dropped may still be putting down how far it got.
            Err(JournalError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until nothing waits.
async fn emptied(spill: &Spill) {
    let mut status = spill.status();
    let is_empty = |it: &SpillStatus| it.reason.is_none();
    tokio::time::timeout(LONG, status.wait_for(is_empty)).await.expect("it empties").unwrap();
}

async fn put(log: &dyn Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        log.append(vec![append(Topic::Trade, 0, format!("{number:06}"))]).await.unwrap();
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| format!("{number:06}")).collect()
}

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::log(async || {
        let inner = Moody::open(dir.path());
        Arc::new(open(inner, dir.path(), 1 << 30, LONG).await) as Arc<dyn Log>
    })
    .await;
}

#[tokio::test]
async fn what_waited_comes_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let spill = open(Arc::clone(&inner) as Arc<dyn Log>, dir.path(), 1 << 30, LONG).await;
    put(&spill, 0..10).await;
    for round in 0..3_u64 {
        let first = 10 + round * 100;
        inner.be(REFUSING);
        put(&spill, first..first + 50).await;
        assert_eq!(inner.bounds(Topic::Trade, 0).await, Ok((0, first)));
        assert!(spill.status().borrow().reason.is_some());
        inner.be(WELL);
        // These may come while the others are handed over.
        put(&spill, first + 50..first + 100).await;
        emptied(&spill).await;
    }
    assert_eq!(read_all(&*inner, Topic::Trade, 0, 1 << 16).await, numbers(0..310));
    assert_eq!(spill.status().borrow().bytes, 0);
}

#[tokio::test]
async fn a_log_that_is_stuck_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let short = Duration::from_millis(20);
    let spill = open(Arc::clone(&inner) as Arc<dyn Log>, dir.path(), 1 << 30, short).await;
    inner.be(STUCK);
    let waiting = tokio::time::timeout(LONG, put(&spill, 0..20));
    waiting.await.expect("they are on this node's disk");
    let reason = spill.status().borrow().reason.clone().unwrap();
    assert!(reason.contains("20ms"), "{reason}");
}

#[tokio::test]
async fn what_waits_survives_and_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let reopen = || open(Arc::clone(&inner) as Arc<dyn Log>, dir.path(), 1 << 30, LONG);
    let spill = reopen().await;
    inner.be(REFUSING);
    put(&spill, 0..30).await;
    drop(spill);
    let spill = reopen().await;
    assert!(spill.status().borrow().reason.is_some(), "records wait");
    put(&spill, 30..40).await;
    inner.be(WELL);
    emptied(&spill).await;
    drop(spill);
    // What was handed over is not handed over again.
    let spill = reopen().await;
    assert_eq!(spill.status().borrow().reason, None);
    put(&spill, 40..50).await;
    assert_eq!(read_all(&*inner, Topic::Trade, 0, 1 << 16).await, numbers(0..50));
}

#[tokio::test]
async fn beyond_the_bound_it_refuses_and_keeps_what_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let spill = open(Arc::clone(&inner) as Arc<dyn Log>, dir.path(), 1_000, LONG).await;
    inner.be(REFUSING);
    let mut taken = 0;
    let refusal = loop {
        match spill.append(vec![append(Topic::Trade, 0, format!("{taken:06}"))]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!((1..100).contains(&taken), "{taken}");
    let LogError::Unavailable(reason) = refusal else { panic!("{refusal}") };
    assert!(reason.contains("not today") && reason.contains("bound"), "{reason}");
    inner.be(WELL);
    emptied(&spill).await;
    assert_eq!(read_all(&*inner, Topic::Trade, 0, 1 << 16).await, numbers(0..taken));
    put(&spill, taken..taken + 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_left_although_records_keep_coming() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let log = Arc::clone(&inner) as Arc<dyn Log>;
    let spill = Arc::new(open(log, dir.path(), 1 << 30, LONG).await);
    inner.be(REFUSING);
    put(&*spill, 0..10).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (spill, inner) = (Arc::clone(&spill), Arc::clone(&inner));
            tokio::spawn(async move {
                loop {
                    put(&*spill, 0..1).await;
                    inner.written.send_modify(|it| *it += 1);
                }
            })
        })
        .collect();
    // While a batch is handed over, the next records come.
    inner.be(SLOW);
    emptied(&spill).await;
    writers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_was_handed_over_leaves_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Moody::open(dir.path());
    let spill = open(Arc::clone(&inner) as Arc<dyn Log>, dir.path(), 1 << 30, LONG).await;
    for _ in 0..3 {
        inner.be(REFUSING);
        for _ in 0..40 {
            let value = "x".repeat(1 << 20);
            spill.append(vec![append(Topic::Trade, 1, value)]).await.unwrap();
        }
        inner.be(WELL);
        emptied(&spill).await;
    }
    let files = std::fs::read_dir(dir.path().join("spill")).unwrap().flatten();
    let bytes: u64 = files.map(|it| it.metadata().unwrap().len()).sum();
    assert!(bytes < 80 << 20, "{bytes} bytes are left of 120 MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_loses_nothing() {
    let (Some(broker), Ok(pids)) = (broker(), std::env::var("FTS_TEST_KAFKA_PIDS")) else {
        return skip();
    };
    let signal = |name: &str| {
        let mut kill = std::process::Command::new("kill");
        assert!(kill.arg(name).args(pids.split(',')).status().unwrap().success());
    };
    let dir = tempfile::tempdir().unwrap();
    let config = support::config(&broker);
    let kafka = Arc::new(KafkaLog::open(config).await.unwrap());
    let slow = Duration::from_secs(1);
    let spill = open(Arc::clone(&kafka) as Arc<dyn Log>, dir.path(), 1 << 30, slow).await;
    put(&spill, 0..100).await;
    signal("-STOP");
    put(&spill, 100..1_000).await;
    let status = spill.status().borrow().clone();
    signal("-CONT");
    assert!(status.reason.is_some() && status.bytes > 0, "{status:?}");
    put(&spill, 1_000..1_100).await;
    emptied(&spill).await;
    let mut found = read_all(&*kafka, Topic::Trade, 0, 1 << 16).await;
    // The attempt that was given up may have arrived all the same.
    found.dedup();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, numbers(0..1_100));
}
