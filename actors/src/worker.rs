//! Hosts a job: a loop that awaits sockets, disks and timers, which must not sit in `handle`.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives [`Msg::Ended`] from its own task.
//! - Emits nothing; its job does.
//! - Loses, if it dies, what its job says of itself. The task dies with the actor.

use std::sync::Arc;

use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A loop that runs until it is asked to stop.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Runs. `Ok` once it was asked to stop and has finished; an error is a failure of the actor,
    /// and its supervisor decides.
    async fn run(&self, stop: Stop) -> Result<(), JobError>;
}

/// Why a job can't go on; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JobError(pub String);

/// Asks a job to finish.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop that follows `sender`.
    pub fn new(sender: &watch::Sender<bool>) -> Self {
        Self(sender.subscribe())
    }

    /// Returns once the job shall finish. Cancel-safe.
    pub async fn requested(&mut self) {
        // A closed channel: nobody is left who could ask.
        drop(self.0.wait_for(|stop| *stop).await);
    }

    /// Whether the job shall finish.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// The actor.
#[derive(Debug)]
pub struct Worker;

/// What a worker is started with.
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct Args {
    /// What to run.
    pub job: Arc<dyn Job>,
    /// When to finish.
    pub stop: Stop,
}

/// What a worker hears.
#[derive(Debug)]
pub enum Msg {
    /// The job ended.
    Ended(Result<(), JobError>),
}

impl ractor::Message for Msg {}

/// The job's task; it is aborted when the actor's state is dropped.
#[derive(Debug)]
pub struct State {
    task: AbortHandle,
}

impl Drop for State {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Actor for Worker {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        Args { job, stop }: Args,
    ) -> Result<State, ActorProcessingErr> {
        let running = tokio::spawn(async move { job.run(stop).await });
        let task = running.abort_handle();
        tokio::spawn(async move {
            let ended = match running.await {
                Ok(ended) => ended,
                Err(panic) => Err(JobError(panic.to_string())),
            };
            // A dead actor needs no word of its task's end.
            drop(myself.send_message(Msg::Ended(ended)));
        });
        Ok(State { task })
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        Msg::Ended(ended): Msg,
        _state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        ended?;
        myself.stop(None);
        Ok(())
    }
}
