//! Actors that end together.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::watch;

use crate::supervisor::{Child, Msg};
use crate::worker::{Job, Stop};

/// How long a killed actor may take to be gone.
const BURIAL: Duration = Duration::from_millis(200);

/// Actors that are told to stop together, and counted.
#[derive(Debug)]
pub(super) struct Stage {
    name: String,
    stop: watch::Sender<bool>,
    running: Arc<watch::Sender<usize>>,
    patience: Duration,
    supervisor: ActorRef<Msg>,
}

impl Stage {
    /// None yet. Once told to, they have `patience` to end.
    pub(super) fn new(name: String, patience: Duration, supervisor: &ActorRef<Msg>) -> Self {
        let running = Arc::new(watch::Sender::new(0));
        let supervisor = supervisor.clone();
        Self { name, stop: watch::Sender::new(false), running, patience, supervisor }
    }

    /// Starts one more.
    pub(super) fn start(&self, name: String, job: Arc<dyn Job>) {
        self.running.send_modify(|running| *running += 1);
        let running = Arc::clone(&self.running);
        let child = Child { name, job, stop: Stop::new(&self.stop), running };
        // A supervisor that is gone has ended the tree: there is nothing to start.
        drop(self.supervisor.send_message(Msg::Start(child)));
    }

    /// Tells them to finish.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns once all have finished; those that don't in time are killed.
    pub(super) async fn ended(&self) {
        self.stop();
        let mut running = self.running.subscribe();
        let ended = running.wait_for(|running| *running == 0);
        if tokio::time::timeout(self.patience, ended).await.is_ok() {
            return;
        }
        tracing::warn!(stage = self.name, "did not end in time");
        drop(self.supervisor.send_message(Msg::Kill(Arc::clone(&self.running))));
        let gone = running.wait_for(|running| *running == 0);
        drop(tokio::time::timeout(BURIAL, gone).await);
    }
}
