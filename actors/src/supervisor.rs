//! Starts the actors of a node and restarts those that fail, within limits.
//!
//! - Supervised by the process: its failure ends the node, with an error.
//! - Receives the children's life-cycle events from ractor, [`Msg::Respawn`] from its timers, and
//!   which children shall come and go from the [`Pipeline`](crate::pipeline::Pipeline).
//! - Emits nothing.
//! - Loses, if it dies, all of its children; the log and the checkpoints have everything.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fts_core::metrics::ACTOR_RESTARTS_TOTAL;
use fts_core::restart::{Limits, Restarts, Verdict};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
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

/// What a supervisor hears.
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub enum Msg {
    /// Start this child too. It is counted among the running ones already.
    Start(Child),
    /// End those of the children counted here that still run, wherever they are.
    Kill(Arc<watch::Sender<usize>>),
    /// The restart delay of this child has passed.
    Respawn(u64),
}

impl ractor::Message for Msg {}

/// The children and their histories.
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct State {
    children: HashMap<u64, (Child, Restarts)>,
    next: u64,
    alive: HashMap<ActorId, (ActorCell, u64)>,
    limits: Limits,
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
        let mut state = State {
            children: HashMap::new(),
            next: 0,
            alive: HashMap::new(),
            limits,
            started: Instant::now(),
            gave_up,
        };
        for child in children {
            child.running.send_modify(|running| *running += 1);
            state.start(&myself, child).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        message: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Start(child) => state.start(&myself, child).await,
            Msg::Kill(stage) => {
                state.kill(&stage);
                Ok(())
            }
            Msg::Respawn(key) => state.respawn(&myself, key).await,
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
                Some(key) => state.bury(&myself, key, cause),
                None => Ok(()),
            },
            SupervisionEvent::ActorTerminated(child, ..) => {
                if let Some(key) = state.remove(child.get_id()) {
                    state.children.remove(&key);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl State {
    async fn start(
        &mut self,
        myself: &ActorRef<Msg>,
        child: Child,
    ) -> Result<(), ActorProcessingErr> {
        let key = self.next;
        self.next += 1;
        self.children.insert(key, (child, Restarts::new(self.limits)));
        self.spawn(myself, key).await
    }

    async fn respawn(
        &mut self,
        myself: &ActorRef<Msg>,
        key: u64,
    ) -> Result<(), ActorProcessingErr> {
        let Some((child, _)) = self.children.get(&key) else { return Ok(()) };
        child.running.send_modify(|running| *running += 1);
        self.spawn(myself, key).await
    }

    /// Spawns a child that is counted already.
    async fn spawn(&mut self, myself: &ActorRef<Msg>, key: u64) -> Result<(), ActorProcessingErr> {
        let Some((child, _)) = self.children.get(&key) else { return Ok(()) };
        if child.stop.is_requested() {
            child.leaves();
            self.children.remove(&key);
            return Ok(());
        }
        let args = Args { job: Arc::clone(&child.job), stop: child.stop.clone() };
        match Actor::spawn_linked(None, Worker, args, myself.get_cell()).await {
            Ok((actor, _)) => {
                self.alive.insert(actor.get_id(), (actor.get_cell(), key));
                Ok(())
            }
            // A child that fails while starting sends no event; its failure is this error alone.
            Err(cause) => {
                child.leaves();
                self.bury(myself, key, cause.into())
            }
        }
    }

    fn kill(&self, stage: &Arc<watch::Sender<usize>>) {
        for (cell, key) in self.alive.values() {
            let child = self.children.get(key).map(|it| &it.0);
            if let Some(child) = child.filter(|it| Arc::ptr_eq(&it.running, stage)) {
                tracing::warn!(actor = child.name, "it did not end in time; killed");
                cell.kill();
            }
        }
    }

    /// Takes note of a child's death; tells which one it was.
    fn remove(&mut self, id: ActorId) -> Option<u64> {
        let (_, key) = self.alive.remove(&id)?;
        if let Some((child, _)) = self.children.get(&key) {
            child.leaves();
        }
        Some(key)
    }

    /// Schedules the successor of a dead child, or fails with what killed it.
    fn bury(
        &mut self,
        myself: &ActorRef<Msg>,
        key: u64,
        cause: ActorProcessingErr,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.started.elapsed();
        let Some((child, restarts)) = self.children.get_mut(&key) else { return Ok(()) };
        if child.stop.is_requested() {
            tracing::warn!(actor = child.name, %cause, "an actor failed while it was ending");
            self.children.remove(&key);
            return Ok(());
        }
        match restarts.judge(now) {
            Verdict::RestartAfter(delay) => {
                tracing::warn!(actor = child.name, %cause, ?delay, "an actor failed; starting it again");
                metrics::counter!(ACTOR_RESTARTS_TOTAL, "actor" => child.name.clone()).increment(1);
                drop(myself.send_after(delay, move || Msg::Respawn(key)));
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

impl Child {
    fn leaves(&self) {
        self.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}
