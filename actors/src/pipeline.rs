//! A node's tree of actors: what it is made of, how it follows the node's share of the work, and how
//! it ends.

mod conductor;
mod parts;
mod sockets;
mod stage;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::placement::{Share, Singleton};
use fts_core::port::decode::Decode;
use fts_core::port::feed::Feed;
use fts_core::port::history::History;
use fts_core::port::log::Log;
use fts_core::port::store::Store;
use fts_core::restart::Limits;
use fts_core::row::Table;
use fts_core::time::Clock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::conductor::Conductor;
use self::parts::Parts;
use crate::supervisor::{Msg, Setup, Supervisor};
use crate::view::View;
use crate::worker::Job;

/// How often an actor may fail before the tree gives up.
const LIMITS: Limits = Limits {
    restarts_max: 10,
    window: Duration::from_secs(60),
    delay_min: Duration::from_millis(100),
    delay_max: Duration::from_secs(5),
};

/// The ports of a node.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Ports {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The stores. Each has its own aggregators and writers: none waits for another.
    pub stores: Vec<StorePort>,
    /// The exchange's streams.
    pub feed: Arc<dyn Feed>,
    /// The exchange's past.
    pub history: Arc<dyn History>,
    /// The exchange's language.
    pub decode: Arc<dyn Decode>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A store, and what it is for.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct StorePort {
    /// What operators call it; unique in a node, and the same in all of a cluster: checkpoints are
    /// kept under it.
    pub name: Arc<str>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The tables that it takes.
    pub tables: Vec<Table>,
    /// How long rows are kept, in milliseconds of the data's own time, by table.
    pub retention: Vec<(Table, i64)>,
}

impl Ports {
    /// The store that answers questions: the first that takes what they are about.
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        let asked = [Table::Candles, Table::Trades, Table::Tickers];
        let answers = |it: &&StorePort| asked.iter().all(|table| it.tables.contains(table));
        let first = self.stores.iter().find(answers).or_else(|| self.stores.first());
        first.map(|it| &it.store)
    }
}

/// How a node shall work.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a job has nothing to show")]
pub struct Settings {
    /// Symbols that share a connection.
    pub symbols_per_socket: usize,
    /// The wait between attempts to connect.
    pub reconnect: Backoff,
    /// The least time between two batches of rows of a partition.
    pub flush_interval: Duration,
    /// The least time between two checkpoints of a partition.
    pub checkpoint_interval: Duration,
    /// What counts as an abrupt price change.
    pub alert: AlertRule,
    /// How long a hole may wait for the streams to close it.
    pub backfill_delay: Duration,
    /// After how long without a trade the exchange is asked whether there was one.
    pub quiet_probe: Duration,
    /// At most so many trades before the first one seen are fetched.
    pub first_sight_trades_max: i64,
    /// What runs while the node's share has the singleton.
    pub singletons: HashMap<Singleton, Arc<dyn Job>>,
}

/// A running tree.
#[derive(Debug)]
pub struct Pipeline {
    supervisor: ActorRef<Msg>,
    ended: JoinHandle<()>,
    conductor: JoinHandle<()>,
    gave_up: Arc<OnceLock<String>>,
    stop: watch::Sender<bool>,
    settled: watch::Receiver<Arc<Share>>,
}

impl Pipeline {
    /// Starts to do what `shares` says, and from then on follows it: promptly, and without a stop of
    /// what stays. The last share counts on if its sender is gone. `view` is what the tree shows of
    /// itself.
    pub async fn start(
        ports: Ports,
        settings: Settings,
        view: Arc<View>,
        shares: watch::Receiver<Arc<Share>>,
    ) -> Result<Self, ActorProcessingErr> {
        let gave_up = Arc::default();
        let setup = Setup { children: Vec::new(), limits: LIMITS, gave_up: Arc::clone(&gave_up) };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, setup).await?;
        let (stop, stopped) = watch::channel(false);
        let (force, settled) = watch::channel(Arc::default());
        let parts = Parts::new(ports, settings, view, supervisor.clone());
        let conductor = tokio::spawn(Conductor::new(parts, shares, force).run(stopped));
        Ok(Self { supervisor, ended, conductor, gave_up, stop, settled })
    }

    /// The share that is in force: the exchange has confirmed all of its streams, and what was taken
    /// away has ended and saved where it stood. Nothing at first.
    pub fn settled(&self) -> watch::Receiver<Arc<Share>> {
        self.settled.clone()
    }

    /// Returns when the tree has given up: which actor kept failing, and why. Cancel-safe.
    pub async fn failed(&mut self) -> String {
        // The handles' own errors would be panics: the tree is gone either way.
        if !self.ended.is_finished() && !self.conductor.is_finished() {
            tokio::select! {
                _ = &mut self.ended => {}
                _ = &mut self.conductor => {}
            }
        }
        self.gave_up.get().cloned().unwrap_or_else(|| "the supervisor ended".to_owned())
    }

    /// Ends everything, from the sources downstream, within ten seconds: what was received is
    /// stored, and a checkpoint saved. Whatever is not done by then is done at the next start.
    pub async fn shut_down(self) {
        self.stop.send_replace(true);
        // With the supervisor gone there is nobody to wait for.
        if !self.ended.is_finished() && !self.conductor.is_finished() {
            drop(self.conductor.await);
        } else {
            self.conductor.abort();
        }
        self.supervisor.stop(None);
        if !self.ended.is_finished() {
            drop(self.ended.await);
        }
    }
}
