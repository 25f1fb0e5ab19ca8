//! Starts the actors of a node and restarts those that fail, within limits.
//!
//! - Supervised by the process: its failure ends the node, with an error.
//! - Receives the children's life-cycle events from ractor, and [`Msg::Respawn`] from its timers.
//! - Emits nothing.
//! - Loses, if it dies, all of its children; the log and the checkpoints have everything.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fts_core::metrics::ACTOR_RESTARTS_TOTAL;
use fts_core::restart::{Limits, Restarts, Verdict};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::worker::{Args, Job, Stop, Worker};

/// The actor.
#[derive(Debug)]
pub struct Supervisor;

/// A child to be.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct Child {
    /// What operators call it, such as `aggregator-3`.
    pub name: String,
    /// What it runs, anew after each failure.
    pub job: Arc<dyn Job>,
    /// When it shall finish. A child that ends after that is not started again.
    pub stop: Stop,
    /// Counts the children of its stage that run.
    pub running: Arc<watch::Sender<usize>>,
}

/// What a supervisor is started with.
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct Setup {
    /// The children, in the order of their start.
    pub children: Vec<Child>,
    /// How often each of them may fail.
    pub limits: Limits,
    /// Why it gave up, once it did: which child, and what killed it.
    pub gave_up: Arc<OnceLock<String>>,
}

/// What a supervisor tells itself.
#[derive(Debug)]
pub enum Msg {
    /// The restart delay of this child has passed.
    Respawn(usize),
}

impl ractor::Message for Msg {}

/// The children and their histories.
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct State {
    children: Vec<(Child, Restarts)>,
    alive: HashMap<ActorId, usize>,
    started: Instant,
    gave_up: Arc<OnceLock<String>>,
}

impl Actor for Supervisor {
    type Msg = Msg;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        Setup { children, limits, gave_up }: Setup,
    ) -> Result<State, ActorProcessingErr> {
        let count = children.len();
        let children = children.into_iter().map(|child| (child, Restarts::new(limits))).collect();
        let mut state = State { children, alive: HashMap::new(), started: Instant::now(), gave_up };
        for index in 0..count {
            state.spawn(&myself, index).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        Msg::Respawn(index): Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // A child that fails while starting sends no event; its failure is this error alone.
        match state.spawn(&myself, index).await {
            Ok(()) => Ok(()),
            Err(cause) => state.bury(&myself, index, cause),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, cause) => match state.remove(child.get_id()) {
                Some(index) => state.bury(&myself, index, cause),
                None => Ok(()),
            },
            SupervisionEvent::ActorTerminated(child, ..) => {
                state.remove(child.get_id());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl State {
    async fn spawn(
        &mut self,
        myself: &ActorRef<Msg>,
        index: usize,
    ) -> Result<(), ActorProcessingErr> {
        let Some((child, _)) = self.children.get(index) else { return Ok(()) };
        if child.stop.is_requested() {
            return Ok(());
        }
        let args = Args { job: Arc::clone(&child.job), stop: child.stop.clone() };
        let (actor, _) = Actor::spawn_linked(None, Worker, args, myself.get_cell()).await?;
        child.running.send_modify(|running| *running += 1);
        self.alive.insert(actor.get_id(), index);
        Ok(())
    }

    /// Takes note of a child's death; tells which one it was.
    fn remove(&mut self, id: ActorId) -> Option<usize> {
        let index = self.alive.remove(&id)?;
        if let Some((child, _)) = self.children.get(index) {
            child.running.send_modify(|running| *running = running.saturating_sub(1));
        }
        Some(index)
    }

    /// Schedules the successor of a dead child, or fails with what killed it.
    fn bury(
        &mut self,
        myself: &ActorRef<Msg>,
        index: usize,
        cause: ActorProcessingErr,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.started.elapsed();
        let Some((child, restarts)) = self.children.get_mut(index) else { return Ok(()) };
        match restarts.judge(now) {
            Verdict::RestartAfter(delay) => {
                tracing::warn!(actor = child.name, %cause, ?delay, "an actor failed; starting it again");
                metrics::counter!(ACTOR_RESTARTS_TOTAL, "actor" => child.name.clone()).increment(1);
                drop(myself.send_after(delay, move || Msg::Respawn(index)));
                Ok(())
            }
            Verdict::Escalate => {
                tracing::error!(actor = child.name, %cause, "an actor keeps failing; giving up");
                // The first that gave up is the reason.
                let _ = self.gave_up.set(format!("{}: {cause}", child.name));
                Err(cause)
            }
        }
    }
}
