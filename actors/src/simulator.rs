//! Makes transactions and appends them to the log: the stand-in for a bank's own producer.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives nothing.
//! - Emits records to the log, and a line a transaction to the file of lines once the log has it.
//! - Loses, if it dies, the transactions that would have happened until it is back. Which those are
//!   follows from their numbers, so that one that is appended twice is the same row.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::market::{Source, Topic};
use fts_core::metrics::SIMULATED_TRANSACTIONS_TOTAL;
use fts_core::port::log::{Append, Log, LogError, Record};
use fts_core::port::report::{LineLevel, LineLog};
use fts_core::simulator::Simulator;
use fts_core::stock::{Transaction, written_time};
use fts_core::time::Clock;
use fts_proto::transaction;

use crate::worker::{Job, JobError, Stop};

/// Transactions appended at once.
const BATCH_MAX: u64 = 2_000;
/// Up to this rate every transaction has a line of its own; above it every batch.
const LINES_RATE_MAX: u32 = 100;
/// Transactions later than so long are not made up for: the market went on without them.
const LATE_MAX_MS: i64 = 10_000;
/// How long batches are collected.
const TURN: Duration = Duration::from_millis(10);
/// How long to leave a log alone that is out of reach.
const LOG_RETRY: Duration = Duration::from_millis(200);

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Simulation {
    /// What happens.
    pub simulator: Simulator,
    /// Where transactions go.
    pub log: Arc<dyn Log>,
    /// Where people read about them.
    pub lines: Arc<dyn LineLog>,
    /// When they happen.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Job for Simulation {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut next = self.simulator.first_at(self.clock.now().millis());
        loop {
            let now = self.clock.now().millis();
            let due = self.simulator.first_at(now + 1);
            next = next.max(self.simulator.first_at(now - LATE_MAX_MS));
            let wait = if next < due {
                let end = due.min(next + BATCH_MAX);
                if self.append(next..end).await? {
                    next = end;
                    Duration::ZERO
                } else {
                    LOG_RETRY
                }
            } else {
                let until = self.simulator.time(next) - now;
                Duration::from_millis(u64::try_from(until).unwrap_or(0)).max(TURN)
            };
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Simulation {
    /// Appends these transactions; whether the log has them.
    async fn append(&self, numbers: std::ops::Range<u64>) -> Result<bool, JobError> {
        let event = |number| {
            let time = self.simulator.time(number);
            self.simulator.event(number, written_time(time))
        };
        let events: Vec<Transaction> = numbers.map(event).collect();
        let received_at = self.clock.now();
        let append = |event: &Transaction| Append {
            topic: Topic::Transactions,
            partition: event.stock.partition(self.log.partitions()),
            record: Record {
                key: event.stock.clone(),
                value: transaction::encode(event),
                received_at,
                source: Source::Stream,
                feed: 0,
            },
        };
        match self.log.append(events.iter().map(append).collect()).await {
            Ok(()) => {}
            Err(LogError::Broken(reason)) => return Err(JobError(reason)),
            Err(error) => {
                tracing::warn!(%error, "transactions are not made: the log does not take them");
                let line = format!("Transacciones sin enviar: {error}");
                self.lines.line(self.clock.now(), LineLevel::Error, &line);
                return Ok(false);
            }
        }
        metrics::counter!(SIMULATED_TRANSACTIONS_TOTAL)
            .increment(u64::try_from(events.len()).unwrap_or(0));
        self.tell(&events);
        Ok(true)
    }

    /// Says what was sent: only now is it true.
    fn tell(&self, events: &[Transaction]) {
        let now = self.clock.now();
        if self.simulator.rate > LINES_RATE_MAX {
            let failed = events.iter().filter(|event| event.error.is_some()).count();
            let line = format!("Transacciones enviadas: {} ({failed} con error)", events.len());
            self.lines.line(now, LineLevel::Info, &line);
            return;
        }
        for event in events {
            let (level, what) = match event.error.as_deref() {
                None => (LineLevel::Info, "Transacción enviada".to_owned()),
                Some(error) => (LineLevel::Error, format!("Transacción enviada con {error}")),
            };
            let event = transaction::encode(event);
            let line = format!("{what}: {}", String::from_utf8_lossy(&event));
            self.lines.line(now, level, &line);
        }
    }
}

#[cfg(test)]
mod tests;
