//! What the tests against a real broker share.

use std::time::Duration;

use bytes::Bytes;
use fts_adapters::kafka::{KafkaConfig, Security};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log, Record};
use fts_core::time::{Clock as _, SystemClock, UnixNanos};

/// The broker to test against, if there is one.
pub(crate) fn broker() -> Option<String> {
    std::env::var("FTS_TEST_KAFKA").ok()
}

#[expect(clippy::print_stdout, reason = "what is not proven is said aloud")]
pub(crate) fn skip() {
    println!("SKIPPED: no broker: set FTS_TEST_KAFKA, or run `cargo xtask test servers`");
}

/// Topics of its own for every test.
pub(crate) fn config(broker: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: vec![broker.to_owned()],
        security: Security::default(),
        topic_prefix: format!("test-{}-{}.", std::process::id(), SystemClock.now().0),
        partitions: 2,
        replication: 1,
        in_sync_min: 1,
        retention_ms: 86_400_000,
        retention_bytes: -1,
        compression: "lz4".to_owned(),
        timeout: Duration::from_secs(20),
        tail_bytes: 1 << 20,
    }
}

pub(crate) fn append(topic: Topic, partition: u32, value: String) -> Append {
    let record = Record {
        key: Symbol::new("BTCUSDT").unwrap(),
        value: Bytes::from(value),
        received_at: UnixNanos(7),
        source: Source::Stream,
        feed: 0,
    };
    Append { topic, partition, record }
}

/// The values in partition 0 from `from` on, up to the end as it is known.
pub(crate) async fn read_all(
    log: &dyn Log,
    topic: Topic,
    from: u64,
    max_bytes: usize,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let batch = log.read(topic, 0, next, max_bytes).await.unwrap();
        if batch.is_empty() {
            return found;
        }
        for stored in batch {
            assert_eq!(stored.offset, next, "offsets are dense");
            next += 1;
            found.push(String::from_utf8(stored.record.value.to_vec()).unwrap());
        }
    }
}
