//! A log that goes on while the log behind it is away: what that does not take waits on this
//! machine's own disk, up to a bound, and is handed over in order once it does.
//!
//! - As long as the inner log takes records, they go straight to it, and cost nothing more.
//! - Once it refuses, or takes longer than `slow_after`, appends go to a [`Journal`] in a directory
//!   of this node and are acknowledged when they are on its disk. They are read by nobody until they
//!   are handed over; while any wait, all go behind them, so that each partition keeps its order.
//! - What waits survives the death of the process. It does not survive the loss of this machine: what
//!   the exchange still has of it is then fetched again.
//! - At the bound, appends are refused, as they would be without any of this.
//!
//! A record may be handed over twice: by the attempt that was given up as slow, or after a restart.
//! Readers tell repeats apart in every log.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::metrics::{LOG_SPILL_BYTES, LOG_SPILL_REFUSALS_TOTAL, LOG_SPILLED_RECORDS_TOTAL};
use fts_core::port::log::{Append, Log, LogError, Stored};
use fts_core::time::Clock;
use tokio::sync::{Notify, RwLock, watch};
use tokio::task::JoinHandle;

use crate::journal::{Journal, JournalConfig, JournalError};

/// A file of what waits.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Memory for the newest of it.
const TAIL_BYTES: usize = 8 << 20;
/// Handed over in one go.
const HAND_OVER_BYTES: usize = 1 << 20;
/// From one stream of one go.
const STREAM_BYTES: usize = 256 << 10;
/// With less than this left, appends wait until all is handed over, for `slow_after` at most.
const FEW_BYTES: u64 = 128 << 10;
/// How long to leave a log alone that is away.
const RETRY: Duration = Duration::from_millis(500);
/// After so many goes it is put down how far they got.
const SAVE_EVERY: u32 = 32;
/// What a record takes on disk beside its value, about.
const RECORD_OVERHEAD: u64 = 32;
/// Under which name it is put down.
const POSITIONS: &str = "handed-over";

/// How a spill works.
#[derive(Clone)]
pub struct SpillConfig {
    /// Where its files are.
    pub dir: PathBuf,
    /// At most so many bytes wait.
    pub bytes_max: u64,
    /// An append that takes longer than this goes to the disk.
    pub slow_after: Duration,
    /// Stamps commits.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SpillConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SpillConfig").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What waits, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpillStatus {
    /// What the inner log said when it last refused; `None` while nothing waits.
    pub reason: Option<String>,
    /// Bytes that wait, about.
    pub bytes: u64,
}

/// A log, and a disk for when it is away.
#[derive(Debug)]
pub struct Spill {
    shared: Arc<Shared>,
    handing_over: JoinHandle<()>,
}

struct Shared {
    inner: Arc<dyn Log>,
    journal: Journal,
    bytes_max: u64,
    slow_after: Duration,
    /// Whether appends go to the disk. It is left while nobody appends and nothing waits.
    is_spilling: RwLock<bool>,
    bytes: AtomicU64,
    status: watch::Sender<SpillStatus>,
    wake: Arc<Notify>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Spill {
    /// Opens what may wait from an earlier life. Blocks while it is verified.
    pub async fn open(inner: Arc<dyn Log>, config: SpillConfig) -> Result<Self, JournalError> {
        let journal = JournalConfig {
            dir: config.dir.clone(),
            partitions: inner.partitions(),
            segment_bytes: SEGMENT_BYTES,
            retention_ms: 0,
            // Whatever was handed over may go.
            retention_bytes: 0,
            tail_bytes: TAIL_BYTES,
            clock: config.clock,
        };
        let (journal, _) = Journal::open(journal)?;
        let shared = Arc::new(Shared {
            inner,
            journal,
            bytes_max: config.bytes_max,
            slow_after: config.slow_after,
            is_spilling: RwLock::new(false),
            bytes: AtomicU64::new(0),
            status: watch::Sender::default(),
            wake: Arc::default(),
        });
        let positions = shared.positions().await;
        if shared.first_waiting(&positions).await {
            *shared.is_spilling.write().await = true;
            shared.bytes.store(bytes_in(&config.dir), Ordering::Relaxed);
            shared.tell(Some("records wait from before the last start".to_owned()));
            shared.wake.notify_one();
        }
        let handing_over = tokio::spawn(hand_over(Arc::downgrade(&shared), positions));
        Ok(Self { shared, handing_over })
    }

    /// What waits, whenever that changes.
    pub fn status(&self) -> watch::Receiver<SpillStatus> {
        self.shared.status.subscribe()
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.handing_over.abort();
    }
}

#[async_trait]
impl Log for Spill {
    fn partitions(&self) -> u32 {
        self.shared.inner.partitions()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        let shared = &self.shared;
        loop {
            if !*shared.is_spilling.read().await {
                let straight = shared.inner.append(batch.clone());
                let reason = match tokio::time::timeout(shared.slow_after, straight).await {
                    Ok(Err(LogError::Unavailable(reason))) => reason,
                    Ok(outcome) => return outcome,
                    Err(_) => shared.slowness(),
                };
                let mut is_spilling = shared.is_spilling.write().await;
                if !*is_spilling {
                    tracing::warn!(reason, "the log is away: records wait on this node's disk");
                    *is_spilling = true;
                }
                drop(is_spilling);
                shared.tell(Some(reason));
                shared.wake.notify_one();
            }
            let is_spilling = shared.is_spilling.read().await;
            if *is_spilling {
                // Held until it is on disk: the spill is not left meanwhile.
                return shared.put_aside(batch).await;
            }
        }
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        self.shared.inner.read(topic, partition, from, max_bytes).await
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        self.shared.inner.bounds(topic, partition).await
    }

    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        self.shared.inner.changed(partition, seen, patience).await;
    }

    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError> {
        self.shared.inner.release(topic, partition, below).await
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        self.shared.inner.save_checkpoint(name, bytes).await
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.shared.inner.load_checkpoint(name).await
    }

    fn holds_back(&self) -> bool {
        self.shared.status.borrow().reason.is_some()
    }

    fn trouble(&self) -> Option<String> {
        let status = self.shared.status.borrow();
        let waits = |reason| format!("{} bytes wait on this node's disk: {reason}", status.bytes);
        status.reason.as_deref().map(waits).or_else(|| self.shared.inner.trouble())
    }
}

/// How far a stream was handed over.
type Position = (Topic, u32, u64);

impl Shared {
    async fn put_aside(&self, batch: Vec<Append>) -> Result<(), LogError> {
        let bytes = weigh(&batch);
        let records = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let outcome = if held.saturating_add(bytes) > self.bytes_max {
            let reason = self.status.borrow().reason.clone().unwrap_or_default();
            metrics::counter!(LOG_SPILL_REFUSALS_TOTAL).increment(1);
            Err(LogError::Unavailable(format!(
                "{reason}; and {held} bytes wait, which is the bound"
            )))
        } else {
            self.journal.append(batch).await.map_err(|error| match error {
                // The log itself is whole: only its stand-in is not.
                LogError::Broken(what) => LogError::Unavailable(format!("the spill: {what}")),
                other => other,
            })
        };
        if outcome.is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        } else {
            metrics::counter!(LOG_SPILLED_RECORDS_TOTAL).increment(records);
        }
        let reason = self.status.borrow().reason.clone();
        self.tell(reason);
        outcome
    }

    /// What was put down of an earlier life, for every stream.
    async fn positions(&self) -> Vec<Position> {
        let saved = self.journal.load_checkpoint(POSITIONS).await.ok().flatten();
        let text = saved.map_or_else(String::new, |it| String::from_utf8_lossy(&it).into_owned());
        let saved: Vec<Position> = text.lines().filter_map(position).collect();
        let mut positions = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..self.journal.partitions() {
                let known = saved.iter().find(|it| it.0 == topic && it.1 == partition);
                let oldest = self.journal.bounds(topic, partition).await.map_or(0, |it| it.0);
                positions.push((topic, partition, known.map_or(0, |it| it.2).max(oldest)));
            }
        }
        positions
    }

    async fn save(&self, positions: &[Position]) {
        let lines: Vec<String> = positions
            .iter()
            .map(|(topic, partition, next)| format!("{} {partition} {next}", topic.name()))
            .collect();
        if let Err(error) = self.journal.save_checkpoint(POSITIONS, lines.join("\n").into()).await {
            tracing::warn!(%error, "what was handed over may be handed over again");
        }
        for (topic, partition, next) in positions {
            // Only a partition that does not exist is refused.
            let _ = self.journal.release(*topic, *partition, *next).await;
        }
    }

    /// Whether anything waits.
    async fn first_waiting(&self, positions: &[Position]) -> bool {
        for (topic, partition, next) in positions {
            let end = self.journal.bounds(*topic, *partition).await.map_or(0, |it| it.1);
            if end > *next {
                return true;
            }
        }
        false
    }

    /// The next records to hand over, and how far that gets.
    async fn next(&self, positions: &[Position]) -> Result<(Vec<Append>, Vec<Position>), LogError> {
        let (mut batch, mut reached, mut bytes) = (Vec::new(), positions.to_vec(), 0);
        for (topic, partition, next) in &mut reached {
            let end = self.journal.bounds(*topic, *partition).await?.1;
            if *next >= end || bytes >= HAND_OVER_BYTES {
                continue;
            }
            for Stored { offset, record } in
                self.journal.read(*topic, *partition, *next, STREAM_BYTES).await?
            {
                bytes += record.value.len();
                *next = offset + 1;
                batch.push(Append { topic: *topic, partition: *partition, record });
            }
        }
        Ok((batch, reached))
    }

    /// Hands over the last of it while whoever appends waits: else, under load, there is always more.
    async fn finish(&self, positions: &mut Vec<Position>) -> Result<(), LogError> {
        let mut is_spilling = self.is_spilling.write().await;
        let rest = async {
            while self.first_waiting(positions).await {
                let (batch, reached) = self.next(positions).await?;
                if batch.is_empty() {
                    return Err(LogError::Unavailable("what waits is not read".to_owned()));
                }
                self.inner.append(batch).await?;
                *positions = reached;
            }
            Ok(())
        };
        let outcome = tokio::time::timeout(self.slow_after, rest).await;
        outcome.unwrap_or_else(|_| Err(LogError::Unavailable(self.slowness())))?;
        *is_spilling = false;
        self.bytes.store(0, Ordering::Relaxed);
        self.save(positions).await;
        self.tell(None);
        tracing::info!("the log is back, and has all that waited");
        Ok(())
    }

    fn slowness(&self) -> String {
        format!("the log took longer than {:?}", self.slow_after)
    }

    fn tell(&self, reason: Option<String>) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        metrics::gauge!(LOG_SPILL_BYTES)
            .set(f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) * 1_024.0);
        self.status.send_replace(SpillStatus { reason, bytes });
    }
}

/// Hands over what waits, as long as the spill lives.
async fn hand_over(shared: Weak<Shared>, mut positions: Vec<Position>) {
    let mut unsaved = 0;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        if !*shared.is_spilling.read().await {
            let wake = Arc::clone(&shared.wake);
            // Whoever closes the spill does not wait for this.
            drop(shared);
            wake.notified().await;
            continue;
        }
        let pause = match shared.next(&positions).await {
            Ok((batch, _)) if weigh(&batch) < FEW_BYTES => {
                unsaved = 0;
                shared.finish(&mut positions).await.err()
            }
            Ok((batch, reached)) => {
                let bytes = weigh(&batch);
                match shared.inner.append(batch).await {
                    Ok(()) => {
                        positions = reached;
                        let less = |held: u64| Some(held.saturating_sub(bytes));
                        // It always has a value to go on with.
                        let _ =
                            shared.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                        let reason = "what waited is being handed over".to_owned();
                        shared.tell(Some(reason));
                        unsaved += 1;
                        if unsaved >= SAVE_EVERY {
                            shared.save(&positions).await;
                            unsaved = 0;
                        }
                        None
                    }
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        };
        if let Some(error) = pause {
            tracing::debug!(%error, "nothing handed over");
            shared.tell(Some(error.to_string()));
            drop(shared);
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn weigh(batch: &[Append]) -> u64 {
    let value = |it: &Append| u64::try_from(it.record.value.len()).unwrap_or(0);
    batch.iter().map(|it| value(it) + RECORD_OVERHEAD).sum()
}

/// A line of what was put down.
fn position(line: &str) -> Option<Position> {
    let mut words = line.split(' ');
    let topic = Topic::from_name(words.next()?)?;
    Some((topic, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// The length of all files in a directory.
fn bytes_in(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|it| it.metadata().ok()).filter(|it| it.is_file()).map(|it| it.len()).sum()
}
