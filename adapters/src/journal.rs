//! The embedded log: segment files in a data directory, one journal for all topics and partitions,
//! so that a group commit is one write and one fsync.
//!
//! | part | what it is |
//! |---|---|
//! | `format` | the bytes of a segment |
//! | `stream` | topics × partitions as slots |
//! | `disk` | opening, recovery, reads of what is no longer in memory |
//! | `commit` | the one thread that writes: group commit, segments, retention |
//! | `check` | what is wrong with the files, for operators |
//! | `checkpoint` | small named files beside the segments |
//!
//! Only the last commit can be torn by a death; it was not acknowledged, and is cut off and
//! reported. Any other damage is refused with its place: nothing is invented, nothing dropped in
//! silence. Context and price: `docs/decisions/0001-embedded-log.md`.

mod check;
mod checkpoint;
mod commit;
mod disk;
mod format;
mod shared;
mod stream;

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::port::log::{Append, Log, LogError, Stored};
use fts_core::time::Clock;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use self::check::{Checkup, Finding, FindingKind, check};
use self::commit::Request;
use self::shared::{Found, Shared};
use self::stream::{Slot, Streams};

/// Appends that may wait for the writing thread.
const QUEUE_MAX: usize = 4_096;
/// KiB of values that may wait for it.
const QUEUE_KIB_MAX: usize = 64 * 1_024;

/// How a journal works.
#[derive(Clone)]
pub struct JournalConfig {
    /// Where its files are; created if need be.
    pub dir: PathBuf,
    /// Partitions a topic; fixed for the life of the directory.
    pub partitions: u32,
    /// A segment that has grown so long is followed by the next.
    pub segment_bytes: u64,
    /// Segments older than so many milliseconds may go; 0: age alone is no reason.
    pub retention_ms: i64,
    /// Beyond so many bytes the oldest segments may go.
    pub retention_bytes: u64,
    /// Memory for recent records: readers who keep up never touch the disk.
    pub tail_bytes: usize,
    /// Stamps commits, for retention by age.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for JournalConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JournalConfig").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Segments there are.
    pub segments: usize,
    /// Bytes of a commit that a death had torn; they were cut off. It was not acknowledged.
    pub torn_bytes: u64,
    /// Where they were.
    pub torn_at: Option<(PathBuf, u64)>,
}

/// Why a journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The files can't be had.
    #[error("cannot use {path} for the log: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process: stop it, or choose another data directory")]
    InUse(PathBuf),
    /// The partitions can't be changed in place.
    #[error(
        "{dir} was made with {found} partitions, not {wanted}: set log.partitions = {found}, or \
         choose another data directory"
    )]
    Partitions {
        /// The directory.
        dir: PathBuf,
        /// Partitions that it has.
        found: u32,
        /// Partitions that the configuration asks for.
        wanted: u32,
    },
    /// Bytes that were acknowledged are not what they were.
    #[error(
        "{path} is damaged at byte {at} ({what}); {records_after} records lie after it: restore the \
         file from a copy, or move the log's directory away and start again (the store keeps its \
         rows, and trades are fetched again); `fts-node log check` lists all damage"
    )]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong there.
        what: &'static str,
        /// Acknowledged records behind the damage, in the same segment.
        records_after: u64,
    },
}

/// The log in a directory of this machine.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    /// `None` once the journal is being dropped.
    requests: Option<mpsc::Sender<Request>>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the journal lives.
    lock: File,
}

impl Journal {
    /// Opens the journal, or starts one. Blocks while the newest segment is verified.
    pub fn open(config: JournalConfig) -> Result<(Self, Recovery), JournalError> {
        let io = |path: &PathBuf, source| JournalError::Io { path: path.clone(), source };
        let checkpoints = config.dir.join("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(|source| io(&checkpoints, source))?;
        let lock_path = config.dir.join("lock");
        let lock = File::create(&lock_path).map_err(|source| io(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(config.dir)),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path, source)),
        }
        let streams = Streams { partitions: config.partitions };
        let (state, recovery) = disk::open(&config, streams)?;
        let shared = Arc::new(Shared::new(config.dir.clone(), streams, config.tail_bytes, state));
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let writer = commit::start(config, streams, Arc::clone(&shared), queue)
            .map_err(|(path, source)| JournalError::Io { path, source })?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX));
        let journal = Self { shared, requests: Some(requests), room, writer: Some(writer), lock };
        Ok((journal, recovery))
    }

    fn slot(&self, topic: Topic, partition: u32) -> Result<Slot, LogError> {
        self.shared.streams.slot(topic, partition).ok_or_else(|| {
            LogError::Broken(format!("there is no partition {partition} of {}", topic.name()))
        })
    }
}

/// Waits until what was queued is written.
impl Drop for Journal {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes the log panicked");
        }
        // Closing alone is not enough: a process that another thread is just starting shares the
        // lock between its fork and its exec.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the log's directory stays locked until this process ends");
        }
    }
}

#[async_trait]
impl Log for Journal {
    fn partitions(&self) -> u32 {
        self.shared.streams.partitions
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        if batch.is_empty() {
            return Ok(());
        }
        for append in &batch {
            self.slot(append.topic, append.partition)?;
        }
        let ended = || LogError::Broken("the thread that writes the log has ended".to_owned());
        let bytes: usize = batch.iter().map(|it| format::record_bytes(&it.record)).sum();
        let kib = u32::try_from((bytes / 1_024 + 1).min(QUEUE_KIB_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| ended())?;
        let (done, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(ended)?;
        requests.send(Request { batch, done, room }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let slot = self.slot(topic, partition)?;
        match self.shared.find(slot, from, max_bytes) {
            Found::Nothing => Ok(Vec::new()),
            Found::Expired(oldest) => Err(LogError::Expired { oldest }),
            Found::Records(records) => Ok(records),
            Found::OnDisk(place) => {
                let shared = Arc::clone(&self.shared);
                let read = move || disk::read(&shared, slot, from, max_bytes, &place);
                tokio::task::spawn_blocking(read)
                    .await
                    .map_err(|panic| LogError::Broken(panic.to_string()))?
            }
        }
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        Ok(self.shared.bounds(self.slot(topic, partition)?))
    }

    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        let Some(mut commits) = self.shared.commits(partition) else {
            return tokio::time::sleep(patience).await;
        };
        let has_more = || {
            seen.iter().any(|(topic, next)| {
                let slot = self.shared.streams.slot(*topic, partition);
                slot.is_some_and(|slot| self.shared.bounds(slot).1 > *next)
            })
        };
        // Subscribed before looking: what is committed in between is not missed.
        commits.mark_unchanged();
        if has_more() {
            return;
        }
        // Late or not, the caller looks again.
        drop(tokio::time::timeout(patience, commits.changed()).await);
    }

    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError> {
        let slot = self.slot(topic, partition)?;
        self.shared.release(slot, below);
        Ok(())
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let (dir, name) = (self.shared.dir.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || checkpoint::save(&dir, &name, &bytes))
            .await
            .map_err(|panic| LogError::Broken(panic.to_string()))?
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let (dir, name) = (self.shared.dir.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || checkpoint::load(&dir, &name))
            .await
            .map_err(|panic| LogError::Broken(panic.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use fts_core::time::SystemClock;

    use super::*;

    #[test]
    fn a_dropped_journal_is_unlocked_even_if_a_child_process_shares_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let config = || JournalConfig {
            dir: dir.path().to_owned(),
            partitions: 1,
            segment_bytes: 1 << 20,
            retention_ms: 0,
            retention_bytes: u64::MAX,
            tail_bytes: 0,
            clock: Arc::new(SystemClock),
        };
        let (journal, _) = Journal::open(config()).unwrap();
        let shared = journal.lock.try_clone().unwrap();
        assert!(matches!(Journal::open(config()), Err(JournalError::InUse(_))));
        drop(journal);
        assert!(Journal::open(config()).is_ok());
        drop(shared);
    }
}
