//! What a tree is made of: the actors of a socket, of a partition, of a singleton.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fts_core::backoff::Backoff;
use fts_core::market::Symbol;
use fts_core::placement::Singleton;
use fts_core::row::Table;
use ractor::ActorRef;
use tokio::sync::{Mutex, Notify, mpsc};

use super::stage::Stage;
use super::{Ports, Settings, StorePort};
use crate::aggregator::{Aggregator, Target, log_problem};
use crate::backfill::Backfill;
use crate::ingestor::{Ingestor, Subscription};
use crate::partition::Partition;
use crate::retention::Retention;
use crate::supervisor::Msg;
use crate::view::View;
use crate::writer::{self, Trouble, Writer};

/// What the aggregators' checkpoints are kept under, and the store for which that is all.
const CHECKPOINTS: &str = "aggregator";
const FIRST_STORE: &str = "sqlite";
/// How long each may take to finish, from the sources downstream: ten seconds in all.
const SOURCES_END: Duration = Duration::from_secs(1);
const FOLD_END: Duration = Duration::from_secs(7);
const WRITE_END: Duration = Duration::from_secs(1);
/// The wait between attempts at a store or the exchange's past.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Makes the actors.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) view: Arc<View>,
    ports: Ports,
    partitions: Vec<Arc<Partition>>,
    stores: Vec<(Target, Arc<Trouble>)>,
    supervisor: ActorRef<Msg>,
}

/// The actors of a socket.
pub(super) struct Socket {
    pub(super) stage: Stage,
    pub(super) subscription: Arc<Subscription>,
}

/// The actors of a partition, from the sources downstream.
pub(super) type Folding = [Stage; 3];

impl Parts {
    pub(super) fn new(
        ports: Ports,
        settings: Settings,
        view: Arc<View>,
        supervisor: ActorRef<Msg>,
    ) -> Self {
        let count = ports.stores.len();
        let partitions = (0..ports.log.partitions())
            .map(|number| Arc::new(Partition::new(number, count)))
            .collect();
        let stores = ports.stores.iter().enumerate().map(|(index, port)| {
            let trouble = Trouble::new(Arc::clone(&port.name), Arc::clone(&view));
            (Target::new(index, port), Arc::new(trouble))
        });
        let stores = stores.collect();
        Self { settings, view, ports, partitions, stores, supervisor }
    }

    /// The partition of a symbol.
    pub(super) fn partition(&self, symbol: &Symbol) -> u32 {
        symbol.partition(self.ports.log.partitions())
    }

    /// Only `symbols` are filled and shown from here on.
    pub(super) fn want(&self, symbols: &Arc<BTreeSet<Symbol>>) {
        for partition in &self.partitions {
            partition.demand.want(symbols);
        }
        // What is shown from here on, is by who knows this already.
        self.view.update(|picture| picture.symbols.retain(|it, _| symbols.contains(it)));
    }

    /// Opens a socket.
    pub(super) fn socket(
        &self,
        feed: u8,
        number: u32,
        symbols: Vec<Symbol>,
        changed: &Arc<Notify>,
    ) -> Socket {
        let name = socket_name(feed, number);
        let subscription = Arc::new(Subscription::new(symbols, Arc::clone(changed)));
        let ingestor = Ingestor {
            name: name.clone(),
            feed,
            subscription: Arc::clone(&subscription),
            source: Arc::clone(&self.ports.feed),
            log: Arc::clone(&self.ports.log),
            view: Arc::clone(&self.view),
            clock: Arc::clone(&self.ports.clock),
            backoff: self.settings.reconnect,
        };
        let name = format!("ingestor-{name}");
        let stage = Stage::new(name.clone(), SOURCES_END, &self.supervisor);
        stage.start(name, Arc::new(ingestor));
        Socket { stage, subscription }
    }

    /// Begins to fold a partition, for every store; `None` where there is no such partition.
    pub(super) fn folding(&self, number: u32) -> Option<Folding> {
        let partition = self.partitions.get(usize::try_from(number).ok()?)?;
        partition.demand.forget();
        let stage = |what: &str, patience| {
            Stage::new(format!("{what} of partition {number}"), patience, &self.supervisor)
        };
        let sources = stage("the backfill", SOURCES_END);
        let fold = stage("the aggregators", FOLD_END);
        let write = stage("the writers", WRITE_END);
        for (port, (target, trouble)) in self.ports.stores.iter().zip(&self.stores) {
            let name = &port.name;
            let (queue, batches) = mpsc::channel(writer::QUEUE_MAX);
            let writer = Writer {
                partition: number,
                store: Arc::clone(&port.store),
                keeps_letters: port.tables.contains(&Table::DeadLetters),
                trouble: Arc::clone(trouble),
                queue: Mutex::new(batches),
                clock: Arc::clone(&self.ports.clock),
                backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
            };
            write.start(format!("writer-{name}-{number}"), Arc::new(writer));
            let aggregator = Aggregator {
                partition: Arc::clone(partition),
                target: target.clone(),
                log: Arc::clone(&self.ports.log),
                decode: Arc::clone(&self.ports.decode),
                writer: queue,
                view: Arc::clone(&self.view),
                clock: Arc::clone(&self.ports.clock),
                rule: self.settings.alert,
                flush_interval: self.settings.flush_interval,
                checkpoint_interval: self.settings.checkpoint_interval,
            };
            fold.start(format!("aggregator-{name}-{number}"), Arc::new(aggregator));
            // Once for a store is enough; every partition is somebody's, this one too.
            if number == 0 && !port.retention.is_empty() {
                let retention = Retention {
                    name: Arc::clone(name),
                    store: Arc::clone(&port.store),
                    keep: port.retention.clone(),
                };
                write.start(format!("retention-{name}"), Arc::new(retention));
            }
        }
        let backfill = Backfill {
            partition: Arc::clone(partition),
            history: Arc::clone(&self.ports.history),
            decode: Arc::clone(&self.ports.decode),
            log: Arc::clone(&self.ports.log),
            view: Arc::clone(&self.view),
            clock: Arc::clone(&self.ports.clock),
            delay: self.settings.backfill_delay,
            quiet_probe: self.settings.quiet_probe,
            first_sight_trades_max: self.settings.first_sight_trades_max,
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
        };
        sources.start(format!("backfill-{number}"), Arc::new(backfill));
        Some([sources, fold, write])
    }

    /// Starts a singleton; `None` where the node has no job for it.
    pub(super) fn singleton(&self, which: Singleton) -> Option<Stage> {
        let Some(job) = self.settings.singletons.get(&which) else {
            tracing::warn!(singleton = which.name(), "this node is not set up to do it");
            return None;
        };
        let stage = Stage::new(which.name().to_owned(), SOURCES_END, &self.supervisor);
        stage.start(which.name().to_owned(), Arc::clone(job));
        Some(stage)
    }

    /// What a socket showed of itself is no longer so.
    pub(super) fn socket_gone(&self, feed: u8, number: u32) {
        let name = socket_name(feed, number);
        self.view.problem(&format!("feed {name}"), None);
        self.view.update(|picture| drop(picture.feeds.remove(&name)));
    }

    /// What the actors of a partition showed is somebody else's to show.
    pub(super) fn folding_gone(&self, number: u32) {
        for (_, trouble) in &self.stores {
            trouble.tell(number, None);
        }
        self.view.problem(&log_problem(number), None);
        self.view.update(|picture| {
            picture.partitions.remove(&number);
            for store in picture.stores.values_mut() {
                store.backlog.remove(&number);
            }
            picture.symbols.retain(|symbol, _| self.partition(symbol) != number);
            picture.stocks.retain(|stock| self.partition(stock) != number);
        });
    }
}

/// What operators call a socket: `A-0`.
fn socket_name(feed: u8, number: u32) -> String {
    format!("{}-{number}", char::from(b'A' + feed))
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
