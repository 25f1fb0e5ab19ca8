//! How an aggregator begins: from the last checkpoint, whoever saved it.

use fts_core::aggregate::{Aggregate, Checkpoint};
use fts_core::market::Topic;
use fts_core::port::log::LogError;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::Aggregator;
use super::run::Run;
use crate::worker::{JobError, Stop};

impl Aggregator {
    /// Loads the last checkpoint.
    pub(super) async fn resume(&self, stop: &Stop) -> Result<Run, JobError> {
        let began = Instant::now();
        let number = self.partition.number;
        let name = self.checkpoint_name();
        let saved = self.ask_log(stop, || self.log.load_checkpoint(&name)).await?;
        let checkpoint = match saved.map(|bytes| fts_proto::checkpoint::decode(&bytes)) {
            Some(Ok(checkpoint)) => checkpoint,
            Some(Err(error)) => {
                tracing::warn!(name, %error, "folding the whole log again");
                Checkpoint::default()
            }
            None => Checkpoint::default(),
        };
        let loaded_in = began.elapsed();
        // All at once: one after the other they would take a good part of a takeover.
        let bounds =
            Topic::ALL.map(|topic| self.ask_log(stop, move || self.log.bounds(topic, number)));
        let bounds = try_join_all(bounds).await?;
        let mut positions = Vec::new();
        let mut on_disk = Vec::new();
        for (topic, (oldest, end)) in Topic::ALL.into_iter().zip(bounds) {
            let saved = checkpoint.positions.iter().find(|(it, _)| *it == topic);
            positions.push((topic, saved.map_or(oldest, |(_, next)| *next)));
            on_disk.push((topic, end));
        }
        self.partition.saved.tell(self.target.index, positions.clone());
        let aggregate = Aggregate::restore(number, self.rule, &checkpoint);
        let run = Run::new(aggregate, positions, on_disk, &self.partition, &self.target);
        let store = &*self.target.name;
        tracing::debug!(partition = number, store, ?loaded_in, took = ?began.elapsed(), "resumed");
        // Of the one before nobody knows when it was saved: it is overdue from here on.
        self.show_saved(&run);
        Ok(run)
    }

    /// Asks the log until it answers, or the job shall finish.
    async fn ask_log<T, F>(&self, stop: &Stop, ask: impl Fn() -> F) -> Result<T, JobError>
    where
        F: Future<Output = Result<T, LogError>>,
    {
        loop {
            match ask().await {
                Ok(answer) => {
                    self.log_is_back();
                    return Ok(answer);
                }
                Err(LogError::Unavailable(reason)) if !stop.is_requested() => {
                    self.log_is_away(reason).await;
                }
                Err(error) => return Err(JobError(error.to_string())),
            }
        }
    }
}
