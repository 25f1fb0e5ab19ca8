//! How much goes into the log of another node: over TLS on loopback, both nodes in this process.
//!
//! `cargo run --release -p fts-node --example bench_links [seconds a measurement]`

#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use fts_adapters::journal::{Journal, JournalConfig};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log, LogError, Record, Stored};
use fts_core::time::{SystemClock, UnixNanos};
use fts_node::cluster::key::Secret;
use fts_node::cluster::links::{Links, LinksConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);
const BATCH: usize = 1_000;
/// About what a trade of the exchange is long.
const VALUE_BYTES: usize = 150;

/// A log that forgets: what is left is the way there.
struct Nothing;

#[async_trait]
impl Log for Nothing {
    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, _: Vec<Append>) -> Result<(), LogError> {
        // Else its callers would keep the links from their heartbeats.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn read(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        Ok(Vec::new())
    }

    async fn bounds(&self, _: Topic, _: u32) -> Result<(u64, u64), LogError> {
        Ok((0, 0))
    }

    async fn changed(&self, _: u32, _: &[(Topic, u64)], patience: Duration) {
        tokio::time::sleep(patience).await;
    }

    async fn release(&self, _: Topic, _: u32, _: u64) -> Result<(), LogError> {
        Ok(())
    }

    async fn save_checkpoint(&self, _: &str, _: Bytes) -> Result<(), LogError> {
        Ok(())
    }

    async fn load_checkpoint(&self, _: &str) -> Result<Option<Bytes>, LogError> {
        Ok(None)
    }
}

async fn start(
    name: &str,
    peers: &watch::Sender<BTreeMap<Arc<str>, SocketAddr>>,
) -> anyhow::Result<(Links, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let config = LinksConfig {
        name: name.into(),
        secret: Secret::new("a secret for a measurement")?,
        listener,
        peers: peers.subscribe(),
        ended: tokio::sync::mpsc::channel(1).0,
        messages: None,
    };
    Ok((Links::start(config).await?, address))
}

fn batch() -> anyhow::Result<Vec<Append>> {
    let record = Record {
        key: Symbol::new("BTCUSDT")?,
        value: vec![b'7'; VALUE_BYTES].into(),
        received_at: UnixNanos(1_723_161_255_000_000_000),
        source: Source::Stream,
        feed: 0,
    };
    let append = Append { topic: Topic::Trade, partition: 0, record };
    Ok(vec![append; BATCH])
}

async fn append(
    what: &str,
    log: Arc<dyn Log>,
    at_once: usize,
    span: Duration,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let callers: Vec<_> = (0..at_once)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut batches = 0_u32;
                while begun.elapsed() < span {
                    log.append(batch()?).await?;
                    batches += 1;
                }
                anyhow::Ok(batches)
            })
        })
        .collect();
    let mut batches = 0;
    for caller in callers {
        batches += caller.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let records = f64::from(batches) * 1_000.0 / seconds;
    let each_ms = seconds * 1_000.0 * f64::from(u32::try_from(at_once)?) / f64::from(batches);
    println!(
        "{what}, {at_once:>2} batches at once: {records:>10.0} records/s, {each_ms:>6.2} ms a batch"
    );
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |it| it.parse())?;
    let span = Duration::from_secs(seconds);
    let peers = watch::Sender::default();
    let (near, _) = start("a", &peers).await?;
    let (far, address) = start("b", &watch::Sender::default()).await?;
    peers.send_replace(BTreeMap::from([("b".into(), address)]));

    let dir = std::env::temp_dir().join(format!("fts-bench-links-{}", std::process::id()));
    let (journal, _) = Journal::open(JournalConfig {
        dir: dir.clone(),
        partitions: 1,
        segment_bytes: 256 << 20,
        retention_ms: 0,
        retention_bytes: u64::MAX,
        tail_bytes: 16 << 20,
        clock: Arc::new(SystemClock),
    })?;
    let journal: Arc<dyn Log> = Arc::new(journal);
    let logs: [(&str, Arc<dyn Log>); 2] = [("nothing", Arc::new(Nothing)), ("journal", journal)];
    for (what, log) in logs {
        far.serve(Some(Arc::clone(&log)), Vec::new());
        let remote = near.remote_log("b", PATIENCE).await.context("the log of the other node")?;
        let remote: Arc<dyn Log> = Arc::new(remote);
        for at_once in [1, 8, 32] {
            append(&format!("{what} at home"), Arc::clone(&log), at_once, span).await?;
            append(&format!("{what} remote "), Arc::clone(&remote), at_once, span).await?;
        }
    }
    near.stop();
    far.stop();
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
