//! Writes the rows of one partition to one store.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives batches of rows through a bounded queue, from its aggregator.
//! - Emits upserts, and an acknowledgement for each batch.
//! - Loses, if it dies, the batches it was writing; its aggregator, hearing no acknowledgement,
//!   starts again from its checkpoint.
//!
//! Nobody else waits for it: each store has its own aggregators and writers.

mod rejected;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fts_core::backoff::Backoff;
use fts_core::metrics::{STORED_LATENCY_SECONDS, WRITER_REJECTED_TOTAL, WRITER_RETRIES_TOTAL};
use fts_core::port::store::{Store, StoreError};
use fts_core::row::{Rows, Table};
use fts_core::time::{Clock, UnixNanos};
use metrics::Histogram;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::ingestor::chance;
use crate::view::View;
use crate::worker::{Job, JobError, Stop};

/// Batches that may wait, and are then written in one go.
pub(crate) const QUEUE_MAX: usize = 4;
/// A store that has not answered for so long has a problem.
const SLOW: Duration = Duration::from_secs(10);

/// A batch on its way to the store.
#[derive(Debug)]
pub struct Put {
    /// What to write.
    pub rows: Arc<Rows>,
    /// When the records behind it were received.
    pub received: Vec<UnixNanos>,
    /// Answered once it is in the store; dropped if it is not.
    pub done: oneshot::Sender<()>,
}

/// The queue's end for the aggregator.
pub type Sender = mpsc::Sender<Put>;

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Writer {
    /// Whose rows.
    pub partition: u32,
    /// Where rows go.
    pub store: Arc<dyn Store>,
    /// Whether the store takes `dead_letters`.
    pub keeps_letters: bool,
    /// What is wrong with the store, for all of its writers.
    pub trouble: Arc<Trouble>,
    /// What to write; outlives the writer's own death.
    pub queue: Mutex<mpsc::Receiver<Put>>,
    /// For latencies.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the wait between attempts.
    pub backoff: Backoff,
}

#[async_trait]
impl Job for Writer {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut queue = self.queue.lock().await;
        let store = self.trouble.name.to_string();
        let latency = metrics::histogram!(STORED_LATENCY_SECONDS, "store" => store);
        loop {
            tokio::select! {
                biased;
                put = queue.recv() => {
                    let Some(put) = put else { return Ok(()) };
                    let mut puts = vec![put];
                    while puts.len() < QUEUE_MAX && let Ok(put) = queue.try_recv() {
                        puts.push(put);
                    }
                    self.write(puts, &latency, &mut stop).await;
                }
                // The aggregator finishes first: what it sent has been written by then.
                () = stop.requested() => return Ok(()),
            }
        }
    }
}

impl Writer {
    /// Writes until it is written, or the job shall finish: then the batches stay unacknowledged.
    async fn write(&self, puts: Vec<Put>, latency: &Histogram, stop: &mut Stop) {
        // Halves of what has a row that the store can't hold wait here, the next one on top.
        let mut waiting: Vec<Vec<Arc<Rows>>> =
            vec![puts.iter().map(|put| Arc::clone(&put.rows)).collect()];
        let mut backoff = self.backoff;
        let name = &*self.trouble.name;
        while let Some(batches) = waiting.last() {
            let outcome = tokio::select! {
                biased;
                outcome = self.put(batches) => outcome,
                // Its aggregator has waited for it already, as long as it may.
                () = stop.requested() => return,
            };
            let (reason, advice) = match outcome {
                Ok(()) => {
                    waiting.pop();
                    continue;
                }
                Err(StoreError::Unavailable(reason)) => (reason, "not written; trying again"),
                Err(StoreError::Refused(reason)) => {
                    (reason, "not written until somebody mends this; trying again")
                }
                Err(StoreError::Rejected { table, reason }) => {
                    let batches = waiting.pop().unwrap_or_default();
                    waiting.extend(self.without(batches, table, &reason));
                    continue;
                }
            };
            let wait = backoff.next(chance(&*self.clock));
            tracing::warn!(store = name, partition = self.partition, reason, ?wait, "{advice}");
            metrics::counter!(WRITER_RETRIES_TOTAL, "store" => name.to_owned()).increment(1);
            self.trouble.tell(self.partition, Some(reason));
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.trouble.tell(self.partition, None);
        let now = self.clock.now();
        for put in puts {
            for received_at in &put.received {
                latency.record(now.since(*received_at).as_secs_f64());
            }
            // An aggregator that died meanwhile starts from its checkpoint.
            let _ = put.done.send(());
        }
    }

    /// One attempt. A store that does not answer is waited for, but not in silence.
    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let mut put = self.store.put(batches);
        if let Ok(outcome) = tokio::time::timeout(SLOW, &mut put).await {
            return outcome;
        }
        let text = format!("no answer to a write for {} s", SLOW.as_secs());
        tracing::warn!(store = &*self.trouble.name, partition = self.partition, "{text}");
        self.trouble.tell(self.partition, Some(text));
        put.await
    }

    /// What is left to write of `batches`, in which a row of `table` can't be: two halves, the first
    /// one last; or, if it is the only one, the others and a letter that says what is missing. The raw
    /// records stay in the log, and can be folded again.
    fn without(&self, batches: Vec<Arc<Rows>>, table: &str, reason: &str) -> Vec<Vec<Arc<Rows>>> {
        let Some(table) = Table::from_name(table) else { return Vec::new() };
        if let Some([first, second]) = rejected::halves(&batches, table) {
            return vec![second, first];
        }
        let name = &*self.trouble.name;
        tracing::error!(store = name, table = table.name(), reason, "a row is rejected for good");
        self.trouble.rejected(table.name(), reason);
        metrics::counter!(WRITER_REJECTED_TOTAL, "store" => name.to_owned()).increment(1);
        let letter = rejected::letter(&batches, table, self.partition, name, reason);
        let mut left: Vec<Arc<Rows>> = Vec::with_capacity(batches.len() + 1);
        for mut rows in batches {
            if rows.count(table) > 0 {
                Arc::make_mut(&mut rows).clear(table);
            }
            left.push(rows);
        }
        if let Some(letter) = letter.filter(|_| self.keeps_letters) {
            left.push(Arc::new(Rows { dead_letters: vec![letter], ..Rows::default() }));
        }
        vec![left]
    }
}

/// What is wrong with a store, as its writers find it: one problem of the node, however many
/// partitions have it.
#[derive(Debug)]
pub struct Trouble {
    /// What operators call the store.
    pub name: Arc<str>,
    view: Arc<View>,
    by_partition: StdMutex<BTreeMap<u32, String>>,
}

impl Trouble {
    /// A store with which nothing is wrong. The node shows it from here on.
    pub fn new(name: Arc<str>, view: Arc<View>) -> Self {
        view.update(|picture| picture.store_problem(&name, None));
        Self { name, view, by_partition: StdMutex::default() }
    }

    /// What `partition` has to say of the store; `None` takes it back.
    pub fn tell(&self, partition: u32, problem: Option<String>) {
        let mut known = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.contains_key(&partition);
        match problem {
            Some(text) => drop(known.insert(partition, text)),
            None if is_known => drop(known.remove(&partition)),
            None => return,
        }
        let problem = known.values().next().cloned();
        self.view.update(|picture| picture.store_problem(&self.name, problem));
    }

    /// Rows of `table` are not in the store, and never will be. That stays on show.
    fn rejected(&self, table: &str, reason: &str) {
        let part = format!("rows of {table} for store {}", self.name);
        let text = format!("rejected: {reason}");
        self.view.update(|picture| drop(picture.warnings.insert(part, text)));
    }
}

pub(crate) fn usize_to_f64(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
