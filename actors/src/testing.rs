//! Ports in memory, for the tests of jobs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::port::log::{Append, Log, LogError, Record, Stored};
use fts_core::port::report::{LineLevel, LineLog};
use fts_core::time::{Clock, UnixNanos};
use tokio::time::Instant;

/// Appended records and checkpoints. Refuses as often as it is told to.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    appended: Vec<(Topic, Record)>,
    checkpoints: BTreeMap<String, Bytes>,
    refusals: u32,
}

impl MemoryLog {
    /// The next so many appends are refused.
    pub(crate) fn refuse(&self, times: u32) {
        self.lock().refusals = times;
    }

    pub(crate) fn records(&self) -> Vec<(Topic, Record)> {
        self.lock().appended.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        4
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        let mut inner = self.lock();
        if inner.refusals > 0 {
            inner.refusals -= 1;
            return Err(LogError::Unavailable("told to refuse".to_owned()));
        }
        inner.appended.extend(batch.into_iter().map(|append| (append.topic, append.record)));
        Ok(())
    }

    async fn read(
        &self,
        _topic: Topic,
        _partition: u32,
        _from: u64,
        _max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        Ok(Vec::new())
    }

    async fn bounds(&self, _topic: Topic, _partition: u32) -> Result<(u64, u64), LogError> {
        Ok((0, 0))
    }

    async fn changed(&self, _partition: u32, _seen: &[(Topic, u64)], patience: Duration) {
        tokio::time::sleep(patience).await;
    }

    async fn release(&self, _topic: Topic, _partition: u32, _below: u64) -> Result<(), LogError> {
        Ok(())
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.lock().checkpoints.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        Ok(self.lock().checkpoints.get(name).cloned())
    }
}

/// Wall time that goes with tokio's, which a test may pause.
#[derive(Debug)]
pub(crate) struct TokioClock {
    begin: Instant,
    epoch_ms: i64,
}

impl TokioClock {
    pub(crate) fn at(epoch_ms: i64) -> Self {
        Self { begin: Instant::now(), epoch_ms }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixNanos {
        let passed = i64::try_from(self.begin.elapsed().as_nanos()).unwrap();
        UnixNanos(UnixNanos::from_millis(self.epoch_ms).0 + passed)
    }
}

/// Lines in memory.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<(LineLevel, String)>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<(LineLevel, String)> {
        self.0.lock().unwrap().clone()
    }
}

impl LineLog for Lines {
    fn line(&self, _at: UnixNanos, level: LineLevel, message: &str) {
        self.0.lock().unwrap().push((level, message.to_owned()));
    }
}
