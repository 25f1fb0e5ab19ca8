//! The log in Apache Kafka: every topic of the log is one of Kafka's, for anybody to read.
//!
//! | of a record | is |
//! |---|---|
//! | key | the symbol |
//! | value | the exchange's own JSON |
//! | header `received_at` | nanoseconds since 1970, UTC, by the receiving node's clock |
//! | header `source` | `stream`, `backfill` or `control` |
//! | header `feed` | `0` (A) or `1` (B) |
//!
//! | part | what it does |
//! |---|---|
//! | `config` | how Kafka is reached |
//! | `topics` | created as configured, or checked |
//! | `append` | one producer: all copies confirm, retries neither repeat nor reorder |
//! | `streams` | where each partition of each topic ends, and who is told |
//! | `read` | from memory (`tail`), or from a place that is fetched ahead (`cursor`) |
//! | `checkpoints` | a compacted topic |
//! | `results` | a store that is written to: a topic a table |
//!
//! The partition is chosen as in every log, by the symbol's own hash. There are no transactions and
//! no compaction in these topics, so offsets are dense; where somebody else's records leave holes
//! all the same, they are passed over. `release` does nothing: Kafka drops records by the topic's own
//! retention, whoever has read them.

mod append;
mod checkpoints;
mod config;
mod context;
mod cursor;
mod read;
mod results;
mod streams;
mod tail;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::port::log::{Append, Log, LogError, Stored};
use rdkafka::error::KafkaError;
use tokio::task::JoinHandle;

use self::append::Appender;
use self::checkpoints::Checkpoints;
pub use self::config::{KafkaConfig, Login, Security};
use self::context::Context;
use self::read::Reader;
pub use self::results::KafkaResults;
use self::streams::{Slot, Streams};
pub use self::topics::KafkaOpenError;
use self::topics::Wanted;

/// How often the clients are served.
const SERVE_EVERY: Duration = Duration::from_millis(100);

/// The log in Kafka.
pub struct KafkaLog {
    streams: Arc<Streams>,
    appender: Appender,
    reader: Arc<Reader>,
    checkpoints: Arc<Checkpoints>,
    serving: JoinHandle<()>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("KafkaLog").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Reaches Kafka, and creates or checks the topics.
    pub async fn open(config: KafkaConfig) -> Result<Self, KafkaOpenError> {
        let wrong = |error: KafkaError| KafkaOpenError::Configuration(error.to_string());
        let context = Context::default();
        let streams = Arc::new(Streams::new(&config.topic_prefix, config.partitions));
        let checkpoints = Arc::new(Checkpoints::new(&config, &context).map_err(wrong)?);
        let mut wanted = vec![Wanted::checkpoints(checkpoints.topic().to_owned())];
        for topic in Topic::ALL {
            wanted.push(Wanted::log(streams.name(topic).to_owned(), config.partitions));
        }
        topics::ensure(&config, &context, &wanted).await?;
        let reader = Reader::new(&config, &context, Arc::clone(&streams)).map_err(wrong)?;
        let reader = Arc::new(reader);
        let appender = Appender::new(config, context, Arc::clone(&streams)).map_err(wrong)?;
        let served = (Arc::downgrade(&reader), Arc::downgrade(&checkpoints));
        let serving = tokio::spawn(async move {
            while let (Some(reader), Some(checkpoints)) = (served.0.upgrade(), served.1.upgrade()) {
                reader.serve();
                checkpoints.serve();
                drop((reader, checkpoints));
                tokio::time::sleep(SERVE_EVERY).await;
            }
        });
        Ok(Self { streams, appender, reader, checkpoints, serving })
    }

    fn slot(&self, topic: Topic, partition: u32) -> Result<Slot, LogError> {
        self.streams.slot(topic, partition).ok_or_else(|| {
            LogError::Broken(format!("there is no partition {partition} of {}", topic.name()))
        })
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self) -> u32 {
        self.streams.partitions
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        let placed: Result<Vec<_>, LogError> =
            batch.into_iter().map(|it| Ok((self.slot(it.topic, it.partition)?, it))).collect();
        self.appender.append(placed?).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        self.reader.read(self.slot(topic, partition)?, from, max_bytes).await
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        self.reader.bounds(self.slot(topic, partition)?).await
    }

    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        let seen: Vec<(Slot, u64)> = seen
            .iter()
            .filter_map(|(topic, next)| Some((self.streams.slot(*topic, partition)?, *next)))
            .collect();
        self.reader.changed(partition, &seen, patience).await;
    }

    async fn release(&self, topic: Topic, partition: u32, _below: u64) -> Result<(), LogError> {
        self.slot(topic, partition).map(drop)
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let topic = self.checkpoints.topic().to_owned();
        self.appender.put(&[(topic, 0, name.to_owned(), bytes)]).await
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.checkpoints.load(name).await
    }
}
