//! Nodes, an exchange, and Kafka if they use it: as processes, each in a network of its own if need be.

use std::path::{Path, PathBuf};

use super::network::{End, Network};
use super::truth::{Judge, post};
use super::{Dice, patience, setting};
use crate::support::broker::{Brokers, Place};
use crate::support::http;
use crate::support::node::{SYMBOLS, tapes};
use crate::support::process::{Process, exchange_binary, free_port, node_binary, program};
use crate::support::store::Store;
use crate::support::until;

/// Where the nodes of a network that is no loopback know one another by.
const SECRET: &str = "a secret of this test alone";
/// What the exchange does wrong all the time.
const FAULTS: &str = "disconnect=20s,drop=0.0005,duplicate=0.001,reorder=0.001";
/// Nodes that a scene begins with, and all that there may be.
pub(super) const FOUNDERS: usize = 3;
const NODES: usize = 4;
/// Enough for each node to have several.
const PARTITIONS: u64 = 12;
/// Where Kafka is, in a network.
pub(super) const KAFKA: End = End::Host(NODES);
/// After so long without an answer the nodes count Kafka as away.
const KAFKA_TIMEOUT_MS: u64 = 4_000;

/// Makes [`Network::new`] with a host for every node, and one for Kafka.
pub(super) fn network() -> Option<Network> {
    Network::new(NODES + 1)
}

/// A node of the cluster, up or down.
pub(super) struct Node {
    number: usize,
    name: String,
    pub(super) http: String,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Node {
    fn start(&mut self, folder: &Path, network: Option<&Network>) {
        let mut command = match network {
            Some(network) => network.program(self.number, &node_binary()),
            None => program(node_binary()),
        };
        command
            .env("FTS_CLUSTER_SECRET", SECRET)
            .current_dir(folder)
            .arg("run")
            .args(&self.arguments);
        self.process = Some(Process::start(&self.name, folder, &mut command));
    }

    pub(super) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub(super) fn terminate(&mut self) {
        self.process.take().expect("it runs").terminate();
    }

    pub(super) fn signal(&mut self, name: &str) {
        self.process.as_mut().expect("it runs").signal(name);
    }

    /// Whether it says that records wait for Kafka on its disk.
    pub(super) fn says_that_records_wait(&self) -> Option<bool> {
        let answer = http::get(&self.http, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Some(answer.status == 503 && text.contains("wait on this node's disk"))
    }
}

/// What is traded.
pub(super) enum Market {
    /// So many symbols, and messages a second of all together.
    Seeded { symbols: u64, rate: u64 },
    /// The recorded tapes, so many times as fast.
    Tape { fixtures: PathBuf, speed: u64 },
}

/// What a scene has beside the settings of its nodes.
pub(super) struct Plan {
    pub(super) market: Market,
    /// Of the exchange.
    pub(super) arguments: Vec<String>,
    /// Where the nodes run, if not all on loopback.
    pub(super) network: Option<Network>,
}

impl Plan {
    /// What the environment asks for, with faults.
    pub(super) fn usual() -> Self {
        let (symbols, rate) = (setting("SYMBOLS", 20), setting("RATE", 1_000));
        Self { market: Market::Seeded { symbols, rate }, ..Self::faulty() }
    }

    /// The same, of an exchange that does nothing wrong by itself.
    pub(super) fn calm() -> Self {
        Self { arguments: Vec::new(), ..Self::usual() }
    }

    /// The recorded market, with faults; `None`, and a loud line, where it is not at hand.
    pub(super) fn recorded() -> Option<Self> {
        let fixtures = crate::support::fixtures()?;
        let market = Market::Tape { fixtures, speed: setting("SPEED", 20) };
        Some(Self { market, ..Self::faulty() })
    }

    fn faulty() -> Self {
        let arguments = vec!["--faults".to_owned(), FAULTS.to_owned()];
        Self { market: Market::Seeded { symbols: 0, rate: 0 }, arguments, network: None }
    }
}

/// Three nodes and an exchange, and one more node that may join them. What is first goes first.
pub(super) struct Scene {
    pub(super) nodes: Vec<Node>,
    pub(super) exchange: String,
    pub(super) brokers: Option<Brokers>,
    pub(super) network: Option<Network>,
    /// Where the tapes are that are played, if they are.
    pub(super) fixtures: Option<PathBuf>,
    symbols: Vec<String>,
    _exchange: Process,
    folder: tempfile::TempDir,
}

impl Scene {
    /// `settings` are those of all nodes, `alone` those that each has by its number.
    fn new(
        plan: Plan,
        brokers: Option<Brokers>,
        settings: &[String],
        alone: impl Fn(usize) -> Vec<String>,
    ) -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        // For who wants to see what was left.
        folder.disable_cleanup(setting("KEEP", 0) > 0);
        println!("chaos: all is in {}", folder.path().display());
        let Plan { market, arguments, network } = plan;
        let outside = network.as_ref().map(|it| it.address(End::Outside));
        let listen = format!("{}:0", outside.as_deref().unwrap_or("127.0.0.1"));
        let mut command = program(exchange_binary());
        command.args(["--listen", &listen]).args(arguments);
        let names: Vec<String> = match &market {
            Market::Seeded { symbols, rate } => {
                let names: Vec<_> = (0..*symbols).map(|it| format!("SYM{it}USDT")).collect();
                command.args(["--seed", "11", "--steady", "--symbols", &names.join(",")]);
                command.args(["--rate", &rate.to_string()]);
                names
            }
            Market::Tape { fixtures, speed } => {
                command.args(["--speed", &speed.to_string()]);
                for tape in tapes(fixtures) {
                    command.arg("--tape").arg(tape);
                }
                SYMBOLS.map(str::to_owned).to_vec()
            }
        };
        let mut process = Process::start("exchange", folder.path(), &mut command);
        let exchange = process.line("the exchange's address", |line| {
            let (_, rest) = line.split_once("listening on ws://")?;
            Some(rest.split_whitespace().next()?.to_owned())
        });
        let nodes = (0..NODES).map(|number| {
            let name = format!("node-{number}");
            let http = match &network {
                Some(network) => format!("{}:8080", network.address(End::Host(number))),
                None => format!("127.0.0.1:{}", free_port()),
            };
            let mut arguments = vec!["--http".to_owned(), http.clone(), "--data-dir".to_owned()];
            arguments.push(folder.path().join(&name).display().to_string());
            let mut set = vec![
                format!("name={name}"),
                format!("binance.stream_url=ws://{exchange}"),
                format!("binance.rest_url=http://{exchange}"),
                format!("symbols={}", serde_json::to_string(&names).unwrap()),
                "ingest.feeds=2".to_owned(),
                format!("log.partitions={PARTITIONS}"),
            ];
            set.extend_from_slice(settings);
            set.extend(alone(number));
            for setting in set {
                arguments.extend(["--set".to_owned(), setting]);
            }
            Node { number, name, http, arguments, process: None }
        });
        let nodes = nodes.collect();
        let fixtures = match market {
            Market::Tape { fixtures, .. } => Some(fixtures),
            Market::Seeded { .. } => None,
        };
        let _exchange = process;
        let mut scene =
            Self { nodes, exchange, brokers, network, fixtures, symbols: names, _exchange, folder };
        for number in 0..FOUNDERS {
            scene.start(number);
        }
        scene
    }

    /// Three nodes of which the first has the log and the store.
    pub(super) fn without_kafka(plan: Plan) -> Self {
        let address = match &plan.network {
            Some(network) => format!("{}:7401", network.address(End::Host(0))),
            None => format!("127.0.0.1:{}", free_port()),
        };
        let own = plan.network.as_ref().map(|network| {
            [0, 1, 2, 3].map(|number| format!("{}:7401", network.address(End::Host(number))))
        });
        Self::new(plan, None, &[], |number| match (number, &own) {
            (0, _) => vec![format!("cluster.listen={address}")],
            (_, None) => vec![format!("cluster.join=[\"{address}\"]")],
            (_, Some(own)) => vec![
                format!("cluster.listen={}", own[number]),
                format!("cluster.join=[\"{address}\"]"),
            ],
        })
    }

    /// Three nodes on Kafka, each with a store of its own; `None`, and a loud line, without Kafka.
    pub(super) fn with_kafka(plan: Plan) -> Option<Self> {
        let place = match &plan.network {
            Some(network) => {
                let End::Host(host) = KAFKA else { unreachable!("it has a host of its own") };
                Place { address: network.address(KAFKA), before: network.before(host).to_vec() }
            }
            None => Place::loopback(),
        };
        let count = usize::try_from(setting("BROKERS", 1)).unwrap();
        let brokers = Brokers::start(count, place)?;
        let settings = [
            "log.kind=kafka".to_owned(),
            format!("log.kafka.brokers={}", serde_json::to_string(&brokers.addresses()).unwrap()),
            format!("log.kafka.replication={count}"),
            format!("log.kafka.min_insync={}", count.div_ceil(2)),
            format!("log.kafka.timeout_ms={KAFKA_TIMEOUT_MS}"),
        ];
        let listens: Vec<String> = (0..NODES)
            .map(|number| match &plan.network {
                Some(network) => format!("{}:7401", network.address(End::Host(number))),
                None => format!("127.0.0.1:{}", free_port()),
            })
            .collect();
        // All are told of all: whoever is first goes on alone until the others are there.
        let seeds = serde_json::to_string(&listens[..FOUNDERS]).unwrap();
        Some(Self::new(plan, Some(brokers), &settings, |number| {
            vec![format!("cluster.listen={}", listens[number]), format!("cluster.join={seeds}")]
        }))
    }

    pub(super) fn start(&mut self, number: usize) {
        let folder = self.folder.path().to_owned();
        self.nodes[number].start(&folder, self.network.as_ref());
    }

    /// What is traded.
    pub(super) fn names(&self) -> &[String] {
        &self.symbols
    }

    /// Where the scene's files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn database(&self, number: usize) -> Store {
        Store::new(self.folder.path().join(format!("node-{number}")).join("fts.sqlite"))
    }

    /// All stores: together they are what is stored.
    pub(super) fn stores(&self) -> Vec<Store> {
        match self.brokers {
            Some(_) => (0..NODES).map(|number| self.database(number)).collect(),
            None => vec![self.database(0)],
        }
    }

    /// The nodes that are not down.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..NODES).filter(|it| self.nodes[*it].process.is_some()).collect()
    }

    /// One of the nodes that run.
    pub(super) fn any(&self, dice: &mut Dice) -> usize {
        *dice.pick(&self.running())
    }

    /// Waits until all nodes that run see one another, have all of the work among them, and do it.
    pub(super) fn await_settled(&self) {
        let running = self.running();
        let settled = |http: &str| {
            let cluster = http::get_json(http, "/api/cluster")?;
            let nodes: Vec<_> =
                cluster["nodes"].as_array()?.iter().filter(|it| it["state"] == "live").collect();
            let sum = |feed: &str| nodes.iter().filter_map(|it| it[feed].as_u64()).sum::<u64>();
            let owned = |it: &&serde_json::Value| {
                Some(
                    it["owns_partitions"].as_array()?.iter().filter_map(|it| it.as_u64()).collect(),
                )
            };
            let mut partitions: Vec<u64> =
                nodes.iter().filter_map(owned).flat_map(|it: Vec<u64>| it).collect();
            partitions.sort_unstable();
            let symbols = u64::try_from(self.symbols.len()).unwrap();
            let is_whole = sum("feed_a") == symbols
                && sum("feed_b") == symbols
                && partitions == (0..PARTITIONS).collect::<Vec<_>>();
            (is_whole
                && nodes.len() == running.len()
                && nodes.iter().all(|it| it["settled"] == true))
            .then_some(())
        };
        until(&format!("{} nodes that share the work", running.len()), patience(), || {
            running.iter().try_for_each(|it| settled(&self.nodes[*it].http))
        });
    }

    /// Waits until everything is stored that was traded up to now, and more.
    pub(super) fn await_peace(&self) {
        self.calm();
        Judge::new(&self.exchange, &self.stores()).await_peace(patience());
    }

    /// The exchange does nothing wrong any more, and the nodes share the work.
    pub(super) fn calm(&self) {
        self.await_settled();
        post(&self.exchange, "DELETE", "/control/faults");
    }

    /// Ends the nodes as an operator would; the store's owner last.
    pub(super) fn end(&mut self) {
        for number in self.running().into_iter().rev() {
            self.nodes[number].terminate();
        }
    }

    /// 0 missing, 0 twice, 0 different.
    #[track_caller]
    pub(super) fn everything_is_true(&self) {
        Judge::new(&self.exchange, &self.stores()).everything_is_true();
    }
}
