//! What the log in Kafka takes and gives: `cargo run --release -p fts-adapters --example bench_kafka
//! -- host:port[,host:port…] [messages] [copies]`. Its topics stay behind, under a prefix of their own.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fts_adapters::kafka::{KafkaConfig, KafkaLog, Security};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log, Record};
use fts_core::time::{Clock as _, SystemClock};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

const PARTITIONS: u32 = 4;
/// Records of one append: what an ingestor takes from its socket at once.
const BATCH: u64 = 500;
/// Appends under way at once: as many ingestors.
const APPENDERS: u64 = 8;
/// Bytes of one read, as the aggregators ask for them.
const READ_BYTES: usize = 256 << 10;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("which broker? host:port")?;
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |it| it.parse())?;
    let copies: u16 = arguments.next().map_or(Ok(1), |it| it.parse())?;
    let config = KafkaConfig {
        brokers: brokers.split(',').map(str::to_owned).collect(),
        security: Security::default(),
        topic_prefix: format!("bench-{}.", SystemClock.now().0),
        partitions: PARTITIONS,
        replication: copies,
        in_sync_min: copies.div_ceil(2),
        retention_ms: 3_600_000,
        retention_bytes: -1,
        compression: "lz4".to_owned(),
        timeout: Duration::from_secs(30),
        tail_bytes: 32 << 20,
    };
    let log = Arc::new(KafkaLog::open(config.clone()).await?);

    // Both at once, as a node does.
    let started = Instant::now();
    let mut appending = JoinSet::new();
    for appender in 0..APPENDERS {
        let log = Arc::clone(&log);
        appending.spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..messages / APPENDERS / BATCH {
                let begun = Instant::now();
                log.append((0..BATCH).map(|at| record(appender, at)).collect()).await?;
                latencies.push(begun.elapsed());
            }
            Ok::<_, fts_core::port::log::LogError>(latencies)
        });
    }
    let total = messages / APPENDERS / BATCH * APPENDERS * BATCH;
    let following = tokio::spawn(read_all(Arc::clone(&log), total));
    let mut latencies = Vec::new();
    while let Some(done) = appending.join_next().await {
        latencies.extend(done??);
    }
    report("appended, all copies confirmed", total, started);
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied();
    println!("an append of {BATCH}: p50 {:?}, p99 {:?}", at(50), at(99));
    following.await??;
    report("appended and read", total, started);

    // From the beginning, by a node that just came.
    let log = Arc::new(KafkaLog::open(config).await?);
    let started = Instant::now();
    read_all(log, total).await?;
    report("read from the beginning", total, started);
    Ok(())
}

type Failed = Box<dyn Error + Send + Sync>;

/// One reader a partition, until all is read.
async fn read_all(log: Arc<KafkaLog>, total: u64) -> Result<(), Failed> {
    let (sender, mut counts) = mpsc::channel(64);
    let mut readers = JoinSet::new();
    for partition in 0..PARTITIONS {
        readers.spawn(follow(Arc::clone(&log), partition, sender.clone()));
    }
    let mut left = total;
    while left > 0 {
        tokio::select! {
            count = counts.recv() => left = left.saturating_sub(count.unwrap_or(0)),
            Some(ended) = readers.join_next() => match ended?? {},
        }
    }
    Ok(())
}

/// Reads a partition as an aggregator does, and tells how many records came.
async fn follow(
    log: Arc<KafkaLog>,
    partition: u32,
    counts: Sender<u64>,
) -> Result<Infallible, Failed> {
    let mut next = 0;
    loop {
        let found = log.read(Topic::BookTicker, partition, next, READ_BYTES).await?;
        match found.last() {
            Some(last) => next = last.offset + 1,
            None => {
                let seen = [(Topic::BookTicker, next)];
                log.changed(partition, &seen, Duration::from_millis(500)).await;
            }
        }
        counts.send(found.len() as u64).await?;
    }
}

fn record(appender: u64, at: u64) -> Append {
    let symbol = Symbol::new(&format!("COIN{}USDT", (appender * BATCH + at) % 500));
    let symbol = symbol.expect("letters and digits");
    let value = format!(
        "{{\"stream\":\"{symbol}@bookTicker\",\"data\":{{\"u\":{at:011},\"s\":\"{symbol}\",\
         \"b\":\"61837.62000000\",\"B\":\"0.{at:08}\",\"a\":\"61837.63000000\",\"A\":\"0.00110000\"}}}}"
    );
    Append {
        topic: Topic::BookTicker,
        partition: symbol.partition(PARTITIONS),
        record: Record {
            key: symbol,
            value: Bytes::from(value),
            received_at: SystemClock.now(),
            source: Source::Stream,
            feed: 0,
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate in thousands")]
fn report(what: &str, messages: u64, started: Instant) {
    let rate = messages as f64 / started.elapsed().as_secs_f64() / 1_000.0;
    println!("{what}: {rate:.0} k messages/s");
}
