//! Checkpoints: which are saved, and what the log may forget then.
//!
//! Two copies may save by turns, on different nodes, and one of them may be far behind. It must not
//! put an old checkpoint in place of one up to which the log was released. So records are released
//! [`LAG`] after a checkpoint covers them, and whoever does not know all that the log had [`FRESH`]
//! ago looks before it saves.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::metrics::{CHECKPOINT_BYTES, CHECKPOINTS_TOTAL};
use fts_core::port::log::LogError;
use tokio::time::Instant;

use super::Aggregator;
use super::run::{Run, position};
use crate::partition::Positions;
use crate::worker::JobError;
use crate::writer::usize_to_f64;

/// A copy that knows all that the log had so long ago is behind no release.
const FRESH: Duration = Duration::from_secs(60);
/// How long records are kept after a checkpoint covers them: a save may take the rest of it.
const LAG: Duration = Duration::from_secs(120);
/// Releases closer together are made as one.
const STEP: Duration = Duration::from_secs(5);

/// A checkpoint and the positions it stands for.
pub(super) struct Saved {
    bytes: Bytes,
    positions: Positions,
    /// When the log had nothing that is not in it.
    as_of: Option<Instant>,
}

/// When the log had nothing that a copy did not know.
#[derive(Default)]
pub(super) struct Horizon {
    asked: Option<(Instant, Positions)>,
    as_of: Option<Instant>,
}

impl Horizon {
    /// The topics ended here `at` some moment.
    pub(super) fn ends(&mut self, at: Instant, ends: Positions) {
        // Those asked before come first: who is always a little behind would never reach the last.
        if self.asked.as_ref().is_none_or(|(before, _)| at.duration_since(*before) > FRESH) {
            self.asked = Some((at, ends));
        }
    }

    fn look(&mut self, positions: &[(Topic, u64)]) -> Option<Instant> {
        let is_reached = |ends: &Positions| !is_behind(positions, ends);
        if let Some((at, _)) = self.asked.take_if(|(_, ends)| is_reached(ends)) {
            self.as_of = Some(at);
        }
        self.as_of
    }
}

/// What the log may forget, and from when on.
#[derive(Default)]
pub(super) struct Releases {
    waiting: VecDeque<(Instant, Positions)>,
    last: Positions,
}

impl Releases {
    /// Nobody needs what lies `below`.
    fn add(&mut self, now: Instant, below: Positions) {
        let is_early = self.waiting.back().is_some_and(|(at, _)| now.duration_since(*at) < STEP);
        if !is_early && below != self.last {
            self.last.clone_from(&below);
            self.waiting.push_back((now, below));
        }
    }

    /// Whether there is something to release, once a checkpoint has been saved again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.waiting.front().is_some_and(|(at, _)| now.duration_since(*at) >= LAG)
    }

    fn take(&mut self, now: Instant) -> Positions {
        let mut below = Positions::new();
        while self.is_due(now) {
            below = self.waiting.pop_front().map_or(below, |it| it.1);
        }
        below
    }
}

/// Whether `positions` has not come as far as `others` in some topic.
fn is_behind(positions: &[(Topic, u64)], others: &[(Topic, u64)]) -> bool {
    others.iter().any(|(topic, next)| position(positions, *topic) < *next)
}

impl Aggregator {
    /// The state as it stands. Nothing may wait to be emitted.
    pub(super) fn snapshot(&self, run: &mut Run) -> Saved {
        run.checkpointed_at = Instant::now();
        run.checkpointed.clone_from(&run.positions);
        let checkpoint = run.aggregate.checkpoint(run.positions.clone());
        let bytes = fts_proto::checkpoint::encode(&checkpoint);
        let as_of = run.horizon.look(&run.positions);
        Saved { bytes, positions: run.positions.clone(), as_of }
    }

    /// Saves a checkpoint whose rows are all in the store, unless another copy has come further.
    pub(super) async fn save(&self, run: &mut Run, saved: Saved) -> Result<(), JobError> {
        let is_fresh = saved.as_of.is_some_and(|it| it.elapsed() < FRESH);
        let outcome = if is_fresh || !self.is_overtaken(&saved.positions).await? {
            self.log.save_checkpoint(&self.checkpoint_name(), saved.bytes.clone()).await
        } else {
            let (store, partition) = (&*self.target.name, self.partition.number);
            tracing::info!(store, partition, "another copy has come further: no checkpoint saved");
            return Ok(());
        };
        if let Err(error) = outcome {
            return match error {
                // The next one will do.
                LogError::Unavailable(reason) => {
                    self.log_is_away(reason).await;
                    Ok(())
                }
                error => Err(JobError(error.to_string())),
            };
        }
        let (store, partition) = (self.target.name.to_string(), self.partition.number);
        let labels = [("store", store.clone()), ("partition", partition.to_string())];
        metrics::gauge!(CHECKPOINT_BYTES, &labels).set(usize_to_f64(saved.bytes.len()));
        metrics::counter!(CHECKPOINTS_TOTAL, "store" => store).increment(1);
        run.saved.clone_from(&saved.positions);
        self.show_saved(run);
        let now = Instant::now();
        run.releases.add(now, self.partition.saved.tell(self.target.index, saved.positions));
        for (topic, below) in run.releases.take(now) {
            if let Err(error) = self.log.release(topic, partition, below).await {
                tracing::warn!(%error, "nothing released");
            }
        }
        let now = self.clock.now();
        self.view.update(|picture| {
            picture.partitions.entry(partition).or_default().checkpoint_at = Some(now);
        });
        Ok(())
    }

    /// Shows that as of this moment a checkpoint is saved that is as good as any.
    pub(super) fn show_saved(&self, run: &Run) {
        let seconds = self.clock.now().millis() / 1_000;
        run.meters.saved.set(f64::from(u32::try_from(seconds).unwrap_or(0)));
    }

    /// Whether the checkpoint that is saved knows something that one at `positions` does not. As
    /// long as the log does not tell, it may: the next one will do.
    async fn is_overtaken(&self, positions: &[(Topic, u64)]) -> Result<bool, JobError> {
        match self.log.load_checkpoint(&self.checkpoint_name()).await {
            Ok(Some(bytes)) => Ok(fts_proto::checkpoint::positions(&bytes)
                .is_ok_and(|others| is_behind(positions, &others))),
            Ok(None) => Ok(false),
            Err(LogError::Unavailable(reason)) => {
                self.log_is_away(reason).await;
                Ok(true)
            }
            Err(error) => Err(JobError(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64) -> Positions {
        vec![(Topic::Trade, next), (Topic::Ticker, 5)]
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_copy_knows_is_as_old_as_the_ends_that_it_has_reached() {
        let mut horizon = Horizon::default();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(horizon.look(&at(1_000)), None, "it has not asked");
        horizon.ends(later(2), at(100));
        assert_eq!(horizon.look(&at(99)), None);
        // The first question stays until it is answered, or too old.
        horizon.ends(later(4), at(200));
        assert_eq!(horizon.look(&at(100)), Some(later(2)));
        horizon.ends(later(6), at(300));
        assert_eq!(horizon.look(&at(299)), Some(later(2)));
        horizon.ends(later(67), at(900));
        assert_eq!(horizon.look(&at(300)), Some(later(2)));
        assert_eq!(horizon.look(&at(900)), Some(later(67)));
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_released_late_and_a_few_at_a_time() {
        let mut releases = Releases::default();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        for second in 0..60 {
            releases.add(later(second), at(second));
        }
        assert!(!releases.is_due(later(119)));
        assert_eq!(releases.take(later(119)), []);
        assert!(releases.is_due(later(120)));
        assert_eq!(releases.take(later(120)), at(0));
        assert_eq!(releases.take(later(133)), at(10));
        assert_eq!(releases.take(later(500)), at(55));
        // What is the same is released once.
        releases.add(later(500), at(59));
        releases.add(later(600), at(59));
        assert_eq!(releases.take(later(900)), at(59));
        assert!(!releases.is_due(later(2_000)));
    }
}
