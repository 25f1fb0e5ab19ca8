//! The log: what every observation is appended to before anything is computed from it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::market::{Source, Symbol, Topic};
use crate::time::UnixNanos;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

/// One record: the exchange's own bytes, and what we know beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose record; records of one symbol keep their order.
    pub key: Symbol,
    /// The frame as received.
    pub value: Bytes,
    /// When it was received, by the receiving node's clock.
    pub received_at: UnixNanos,
    /// How it reached us.
    pub source: Source,
    /// Which of the parallel feeds received it; 0 is A, 1 is B.
    pub feed: u8,
}

/// A record and where it shall go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The topic.
    pub topic: Topic,
    /// The partition, below [`Log::partitions`].
    pub partition: u32,
    /// The record.
    pub record: Record,
}

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its position in the partition; positions rise by one, from 0.
    pub offset: u64,
    /// The record.
    pub record: Record,
}

/// An append-only, partitioned log.
///
/// - Records of one `append` call that go to one partition lie there in the order of the call; those
///   of other calls may lie between them.
/// - Once `append` answered `Ok`, its records survive the death of the process and of the machine.
///   If it answered `Err`, or was never answered, each of them may or may not be there: callers
///   append again, readers tell duplicates apart by the exchange's ids.
/// - Only durable records can be read. A position always reads the same, or `Expired`.
/// - Offsets are dense: the offset of the next record is one more than the last one's.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Partitions a topic.
    fn partitions(&self) -> u32;

    /// Appends, and returns once all of it is durable. The batch is bounded by the caller.
    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError>;

    /// The records from `from` on, oldest first: at least one unless `from` is the end, and no
    /// more than about `max_bytes` of values. Never waits for records to come.
    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError>;

    /// The offsets of the oldest record that can be read and of the next one to be appended.
    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError>;

    /// Returns when any topic of `partition` has (or may have) records that it had not when the
    /// ends (one a topic, as last seen) were `seen`, or after `patience`, whichever is first.
    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration);

    /// Readers of the partition are done with all records below `below`: retention may drop them.
    /// Records that were not released are kept, whatever their age.
    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError>;

    /// Keeps `bytes` under `name`, atomically and durably, in place of what was there.
    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError>;

    /// What was last saved under `name`.
    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError>;

    /// Whether what is appended waits where no reader sees it yet.
    fn holds_back(&self) -> bool {
        false
    }

    /// What operators should know of it: `None` while all is well. Appends may work all the same.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Why the log refused. The split is the caller's decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Try again later: out of disk, out of reach.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// These records are gone by retention: go on from `oldest`.
    #[error("records before offset {oldest} are gone by retention")]
    Expired {
        /// The oldest offset that can be read.
        oldest: u64,
    },
    /// Going on would break a promise (a failed fsync, damaged data): end the process, and look.
    #[error("the log is broken: {0}")]
    Broken(String),
}
