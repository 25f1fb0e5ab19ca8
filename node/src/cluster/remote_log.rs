//! The log of another node: the port's promises, kept over a link.
//!
//! Nothing is tried twice here: where a link ends or an answer is late, the caller is told that the log is
//! unavailable, and an append may have been done or not, as the port says.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Topic;
use fts_core::port::log::{Append, Log, LogError, Stored};
use fts_proto::gateway::{
    Answer, Call, Changed, Checkpoint, Described, Nothing, Place, Read, log_error, records,
    unstored,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::calls::CallError;
use super::links::Links;
use super::serve::PATIENCE_MAX;

/// How long an append or a checkpoint may take: the owner's disk may have a bad moment.
const WRITE: Duration = Duration::from_secs(10);
/// How long a read may take.
const READ: Duration = Duration::from_secs(5);
/// By how much the answer to a wait may be later than it should.
const LATE: Duration = Duration::from_secs(2);
/// Before asking a node again that has just said no.
const PAUSE: Duration = Duration::from_millis(50);

/// The log that a peer serves.
#[derive(Debug, Clone)]
pub struct RemoteLog {
    links: Links,
    peer: Arc<str>,
    partitions: u32,
}

impl RemoteLog {
    /// Waits until there is a link and a log, for `deadline` at most.
    pub(super) async fn open(
        links: Links,
        peer: Arc<str>,
        deadline: Duration,
    ) -> Result<Self, LogError> {
        let until = Instant::now() + deadline;
        let mut up = links.peers_up();
        loop {
            let described = ask(&links, &peer, Call::Describe(Nothing {}), READ).await;
            let error = match described {
                Ok(Answer::Described(Described { partitions, .. })) if partitions > 0 => {
                    return Ok(Self { links, peer, partitions });
                }
                Ok(_) => LogError::Unavailable(format!("node {peer} serves no log")),
                Err(error) => error,
            };
            if Instant::now() >= until {
                return Err(error);
            }
            // A link that comes up, or the log that is opened a moment later.
            drop(timeout_at(until.min(Instant::now() + PAUSE), up.changed()).await);
        }
    }

    /// Who serves it.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    async fn call(&self, call: Call, deadline: Duration) -> Result<Answer, LogError> {
        ask(&self.links, &self.peer, call, deadline).await
    }

    fn misunderstood(&self) -> LogError {
        misunderstood(&self.peer)
    }

    async fn done(&self, call: Call) -> Result<(), LogError> {
        match self.call(call, WRITE).await? {
            Answer::Done(Nothing {}) => Ok(()),
            _ => Err(self.misunderstood()),
        }
    }

    /// A place in a log that has other partitions than this one was told is another place.
    fn place(&self, topic: Topic, partition: u32, offset: u64) -> Result<Place, LogError> {
        if partition < self.partitions {
            return Ok(Place::new(topic, partition, offset));
        }
        Err(no_such_partition(partition, self.partitions))
    }
}

#[async_trait]
impl Log for RemoteLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, batch: Vec<Append>) -> Result<(), LogError> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(wrong) = batch.iter().find(|it| it.partition >= self.partitions) {
            return Err(no_such_partition(wrong.partition, self.partitions));
        }
        self.done(Call::Append(records(batch))).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let place = Some(self.place(topic, partition, from)?);
        let max_bytes = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        match self.call(Call::Read(Read { place, max_bytes }), READ).await? {
            Answer::Records(found) => unstored(found)
                .map_err(|error| LogError::Unavailable(format!("node {}: {error}", self.peer))),
            _ => Err(self.misunderstood()),
        }
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        match self.call(Call::Bounds(self.place(topic, partition, 0)?), READ).await? {
            Answer::Bounds(bounds) => Ok((bounds.oldest, bounds.next)),
            _ => Err(self.misunderstood()),
        }
    }

    /// Asks the owner to tell. Where there is no link, it waits for one: then there may be something.
    async fn changed(&self, partition: u32, seen: &[(Topic, u64)], patience: Duration) {
        // A patience beyond all measure is a year.
        let until = Instant::now() + patience.min(Duration::from_secs(365 * 86_400));
        let seen: Vec<_> =
            seen.iter().map(|(topic, next)| Place::new(*topic, partition, *next)).collect();
        let mut up = self.links.peers_up();
        loop {
            up.mark_unchanged();
            let patience = until.saturating_duration_since(Instant::now()).min(PATIENCE_MAX);
            let begun = Instant::now();
            let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            let wait = Call::Changed(Changed { seen: seen.clone(), partition, patience_ms });
            if self.call(wait, patience + LATE).await.is_ok() {
                // Told early: there is something. Told late: perhaps it was only the longest wait.
                if begun.elapsed() < patience || Instant::now() >= until {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = sleep_until(until) => return,
                _ = up.changed() => {}
                () = sleep_until(Instant::now() + PAUSE), if self.links.caller(&self.peer).is_ok() => {}
            }
        }
    }

    async fn release(&self, topic: Topic, partition: u32, below: u64) -> Result<(), LogError> {
        self.done(Call::Release(self.place(topic, partition, below)?)).await
    }

    async fn save_checkpoint(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let checkpoint = Checkpoint { name: name.to_owned(), bytes: Some(bytes) };
        self.done(Call::SaveCheckpoint(checkpoint)).await
    }

    async fn load_checkpoint(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let wanted = Checkpoint { name: name.to_owned(), bytes: None };
        match self.call(Call::LoadCheckpoint(wanted), READ).await? {
            Answer::Checkpoint(found) => Ok(found.bytes),
            _ => Err(self.misunderstood()),
        }
    }
}

async fn ask(
    links: &Links,
    peer: &str,
    call: Call,
    deadline: Duration,
) -> Result<Answer, LogError> {
    let failed = |error: CallError| {
        let text = format!("node {peer}: {error}");
        match error {
            // It would be too long again: whoever made it so long is broken.
            CallError::Large(_) => LogError::Broken(text),
            CallError::Down | CallError::Cut | CallError::Late(_) => LogError::Unavailable(text),
        }
    };
    let caller = links.caller(peer).map_err(CallError::counted).map_err(failed)?;
    match caller.call(call, deadline).await.map_err(failed)? {
        Answer::Failure(failure) => Err(log_error(failure)),
        answer => Ok(answer),
    }
}

fn misunderstood(peer: &str) -> LogError {
    LogError::Unavailable(format!("node {peer} answers what was not asked: it has another version"))
}

fn no_such_partition(partition: u32, partitions: u32) -> LogError {
    LogError::Broken(format!("there is no partition {partition} of {partitions}"))
}
