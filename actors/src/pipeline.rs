//! A node's tree of actors: how it is put together, and how it ends.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::market::Symbol;
use fts_core::placement::Singleton;
use fts_core::port::decode::Decode;
use fts_core::port::feed::Feed;
use fts_core::port::history::History;
use fts_core::port::log::Log;
use fts_core::port::store::Store;
use fts_core::restart::Limits;
use fts_core::row::Table;
use fts_core::time::Clock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

use crate::aggregator::{Aggregator, Target};
use crate::backfill::Backfill;
use crate::ingestor::Ingestor;
use crate::partition::Partition;
use crate::retention::Retention;
use crate::supervisor::{Child, Msg, Setup, Supervisor};
use crate::view::View;
use crate::worker::{Job, Stop};
use crate::writer::{self, Trouble, Writer};

/// What the aggregators' checkpoints are kept under, and the store for which that is all.
const CHECKPOINTS: &str = "aggregator";
const FIRST_STORE: &str = "sqlite";
/// How long a stage may take to finish, from the sources downstream: ten seconds in all.
const SOURCES_END: Duration = Duration::from_secs(1);
const FOLD_END: Duration = Duration::from_secs(7);
const WRITE_END: Duration = Duration::from_secs(1);

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
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to capture.
    pub symbols: Vec<Symbol>,
    /// Symbols that share a connection.
    pub symbols_per_socket: usize,
    /// Parallel connections for each symbol: 1 or 2.
    pub feeds: u8,
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
}

/// A running tree.
#[derive(Debug)]
pub struct Pipeline {
    supervisor: ActorRef<Msg>,
    ended: JoinHandle<()>,
    gave_up: Arc<OnceLock<String>>,
    stages: [Stage; 3],
}

/// Actors that end together.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    stop: watch::Sender<bool>,
    running: Arc<watch::Sender<usize>>,
    patience: Duration,
}

impl Pipeline {
    /// Starts everything. `singletons` is what only one node of a cluster does, `view` what the tree
    /// shows of itself.
    pub async fn start(
        ports: Ports,
        settings: Settings,
        singletons: HashMap<Singleton, Arc<dyn Job>>,
        view: Arc<View>,
    ) -> Result<Self, ActorProcessingErr> {
        let stages = [
            Stage::new("sources", SOURCES_END),
            Stage::new("aggregators", FOLD_END),
            Stage::new("writers", WRITE_END),
        ];
        let [sources, fold, write] = &stages;
        let stores = ports.stores.len();
        let partitions: Vec<Arc<Partition>> = (0..ports.log.partitions())
            .map(|number| Arc::new(Partition::new(number, stores)))
            .collect();
        view.update(|picture| {
            for symbol in &settings.symbols {
                picture.symbols.entry(symbol.clone()).or_default();
            }
        });
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

        let mut children = Vec::new();
        for (index, port) in ports.stores.iter().enumerate() {
            let name = &port.name;
            let trouble = Arc::new(Trouble::new(Arc::clone(name), Arc::clone(&view)));
            let target = Target::new(index, port);
            let retention = Retention {
                name: Arc::clone(name),
                store: Arc::clone(&port.store),
                keep: port.retention.clone(),
            };
            children.push(write.child(format!("retention-{name}"), retention));
            for partition in &partitions {
                let (queue, batches) = mpsc::channel(writer::QUEUE_MAX);
                let number = partition.number;
                let writer = Writer {
                    partition: number,
                    store: Arc::clone(&port.store),
                    trouble: Arc::clone(&trouble),
                    queue: Mutex::new(batches),
                    clock: Arc::clone(&ports.clock),
                    backoff,
                };
                children.push(write.child(format!("writer-{name}-{number}"), writer));
                let aggregator = Aggregator {
                    partition: Arc::clone(partition),
                    target: target.clone(),
                    log: Arc::clone(&ports.log),
                    decode: Arc::clone(&ports.decode),
                    writer: queue,
                    view: Arc::clone(&view),
                    clock: Arc::clone(&ports.clock),
                    rule: settings.alert,
                    flush_interval: settings.flush_interval,
                    checkpoint_interval: settings.checkpoint_interval,
                };
                children.push(fold.child(format!("aggregator-{name}-{number}"), aggregator));
            }
        }
        for partition in &partitions {
            let backfill = Backfill {
                partition: Arc::clone(partition),
                history: Arc::clone(&ports.history),
                log: Arc::clone(&ports.log),
                view: Arc::clone(&view),
                clock: Arc::clone(&ports.clock),
                delay: settings.backfill_delay,
                quiet_probe: settings.quiet_probe,
                first_sight_trades_max: settings.first_sight_trades_max,
                backoff,
            };
            children.push(sources.child(format!("backfill-{}", partition.number), backfill));
        }
        for feed in 0..settings.feeds {
            let groups = settings.symbols.chunks(settings.symbols_per_socket.max(1));
            for (group, symbols) in groups.enumerate() {
                let letter = char::from(b'A' + feed);
                let ingestor = Ingestor {
                    name: format!("{letter}-{group}"),
                    feed,
                    symbols: symbols.to_vec(),
                    source: Arc::clone(&ports.feed),
                    log: Arc::clone(&ports.log),
                    partitions: partitions.clone(),
                    view: Arc::clone(&view),
                    clock: Arc::clone(&ports.clock),
                    backoff: settings.reconnect,
                };
                children.push(sources.child(format!("ingestor-{letter}-{group}"), ingestor));
            }
        }
        for (singleton, job) in singletons {
            children.push(sources.host(singleton.name().to_owned(), job));
        }
        let limits = Limits {
            restarts_max: 10,
            window: Duration::from_secs(60),
            delay_min: Duration::from_millis(100),
            delay_max: Duration::from_secs(5),
        };
        let gave_up = Arc::default();
        let setup = Setup { children, limits, gave_up: Arc::clone(&gave_up) };
        let (supervisor, ended) = Actor::spawn(None, Supervisor, setup).await?;
        Ok(Self { supervisor, ended, gave_up, stages })
    }

    /// Returns when the tree has given up: which actor kept failing, and why. Cancel-safe.
    pub async fn failed(&mut self) -> String {
        // The handle's own error would be a panic of the supervisor: the tree is gone either way.
        drop((&mut self.ended).await);
        self.gave_up.get().cloned().unwrap_or_else(|| "the supervisor ended".to_owned())
    }

    /// Ends everything, from the sources downstream, within ten seconds: what was received is
    /// stored, and a checkpoint saved. Whatever is not done by then is done at the next start.
    pub async fn shut_down(self) {
        for stage in &self.stages {
            stage.stop.send_replace(true);
            let mut running = stage.running.subscribe();
            let ended = running.wait_for(|running| *running == 0);
            if tokio::time::timeout(stage.patience, ended).await.is_err() {
                tracing::warn!(stage = stage.name, "did not end in time; going on without it");
            }
        }
        self.supervisor.stop(None);
        drop(self.ended.await);
    }
}

impl Target {
    /// `port` as seen from its aggregators.
    fn new(index: usize, port: &StorePort) -> Self {
        let name = Arc::clone(&port.name);
        let without = Table::ALL.into_iter().filter(|table| !port.tables.contains(table));
        // Where there is one store only, its checkpoints need not say for whom they are.
        let checkpoints = match &*name {
            FIRST_STORE => CHECKPOINTS.into(),
            other => format!("{CHECKPOINTS}-{other}").into(),
        };
        Self { index, name, checkpoints, without: without.collect() }
    }
}

impl Stage {
    fn new(name: &'static str, patience: Duration) -> Self {
        let running = Arc::new(watch::Sender::new(0));
        Self { name, stop: watch::Sender::new(false), running, patience }
    }

    fn child(&self, name: String, job: impl Job) -> Child {
        self.host(name, Arc::new(job))
    }

    fn host(&self, name: String, job: Arc<dyn Job>) -> Child {
        Child { name, job, stop: Stop::new(&self.stop), running: Arc::clone(&self.running) }
    }
}
