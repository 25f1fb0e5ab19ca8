//! Nodes are killed, stopped and restarted, the exchange is unreliable; and afterwards what is stored
//! is what the exchange says that happened, row by row and column by column.
//!
//! `FTS_CHAOS_SEED`, `FTS_CHAOS_ROUNDS`, `FTS_CHAOS_SYMBOLS`, `FTS_CHAOS_RATE` and `FTS_CHAOS_STOP_S`
//! choose another or a harder run; `cargo xtask chaos` sets them.

mod many;
mod network;
mod takeover;
mod truth;

use std::path::Path;
use std::time::Duration;

use self::network::{End, Network};
use self::truth::{Judge, post};
use crate::support::http;
use crate::support::process::{Process, exchange_binary, free_port, node_binary, program};
use crate::support::store::Store;
use crate::support::until;

/// Everything takes longer on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where the nodes of a network that is no loopback know one another by.
const SECRET: &str = "a secret of this test alone";
/// What the exchange does wrong all the time.
const FAULTS: &str = "disconnect=20s,drop=0.0005,duplicate=0.001,reorder=0.001";

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(format!("FTS_CHAOS_{name}")).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("FTS_CHAOS_{name} is {text:?}: write a number"))
    })
}

/// Throws dice; the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A node of the cluster, up or down.
struct Node {
    number: usize,
    name: String,
    http: String,
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

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    fn terminate(&mut self) {
        self.process.take().expect("it runs").terminate();
    }

    fn signal(&mut self, name: &str) {
        self.process.as_mut().expect("it runs").signal(name);
    }
}

/// Between whom nothing passes.
type Cuts = &'static [(End, End)];

/// Three nodes and an exchange.
struct Scene {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
    exchange: String,
    _exchange: Process,
    /// Goes after what runs in it.
    network: Option<Network>,
}

/// What a scene has beside the settings of its nodes.
struct Plan {
    symbols: u64,
    /// Messages a second, all symbols together.
    rate: u64,
    /// Of the exchange.
    arguments: Vec<String>,
    /// Where the nodes run, if not all on loopback.
    network: Option<Network>,
}

impl Plan {
    /// What the environment asks for, with faults.
    fn usual() -> Self {
        let arguments = vec!["--faults".to_owned(), FAULTS.to_owned()];
        let (symbols, rate) = (setting("SYMBOLS", 20), setting("RATE", 1_000));
        Self { symbols, rate, arguments, network: None }
    }
}

impl Scene {
    /// `settings` are those of all nodes, `alone` those that each has by its number.
    fn new(plan: Plan, settings: &[String], alone: impl Fn(usize) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let Plan { symbols, rate, arguments, network } = plan;
        let names: Vec<String> = (0..symbols).map(|number| format!("SYM{number}USDT")).collect();
        let outside = network.as_ref().map(|it| it.address(End::Outside));
        let listen = format!("{}:0", outside.as_deref().unwrap_or("127.0.0.1"));
        let mut command = program(exchange_binary());
        command.args(["--listen", &listen, "--seed", "11", "--steady"]);
        command.args(["--rate", &rate.to_string(), "--symbols", &names.join(",")]);
        command.args(arguments);
        let mut process = Process::start("exchange", folder.path(), &mut command);
        let exchange = process.line("the exchange's address", |line| {
            let (_, rest) = line.split_once("listening on ws://")?;
            Some(rest.split_whitespace().next()?.to_owned())
        });
        let nodes = (0..3).map(|number| {
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
            ];
            set.extend_from_slice(settings);
            set.extend(alone(number));
            for setting in set {
                arguments.extend(["--set".to_owned(), setting]);
            }
            Node { number, name, http, arguments, process: None }
        });
        let nodes = nodes.collect();
        Self { folder, nodes, exchange, _exchange: process, network }
    }

    /// Three nodes of which the first has the log and the store.
    fn without_kafka(plan: Plan) -> Self {
        let address = match &plan.network {
            Some(network) => format!("{}:7401", network.address(End::Host(0))),
            None => format!("127.0.0.1:{}", free_port()),
        };
        let own = plan.network.as_ref().map(|network| {
            [0, 1, 2].map(|number| format!("{}:7401", network.address(End::Host(number))))
        });
        let mut scene = Self::new(plan, &[], |number| match (number, &own) {
            (0, _) => vec![format!("cluster.listen={address}")],
            (_, None) => vec![format!("cluster.join=[\"{address}\"]")],
            (_, Some(own)) => vec![
                format!("cluster.listen={}", own[number]),
                format!("cluster.join=[\"{address}\"]"),
            ],
        });
        for number in 0..3 {
            scene.start(number);
        }
        scene
    }

    fn start(&mut self, number: usize) {
        let folder = self.folder.path().to_owned();
        self.nodes[number].start(&folder, self.network.as_ref());
    }

    fn database(&self, number: usize) -> Store {
        Store::new(self.folder.path().join(format!("node-{number}")).join("fts.sqlite"))
    }

    /// Waits until all three nodes do what they shall.
    fn await_settled(&self) {
        let settled = |http: &str| {
            let cluster = http::get_json(http, "/api/cluster")?;
            let nodes: Vec<_> =
                cluster["nodes"].as_array()?.iter().filter(|it| it["state"] == "live").collect();
            (nodes.len() == 3 && nodes.iter().all(|it| it["settled"] == true)).then_some(())
        };
        until("three nodes that share the work", PATIENCE, || {
            self.nodes.iter().try_for_each(|node| settled(&node.http))
        });
    }

    /// Does harm once.
    fn harm(&mut self, dice: &mut Dice) {
        let victim = usize::try_from(dice.below(3)).unwrap();
        let other = (victim + 1) % 3;
        let pause = Duration::from_millis(dice.below(3_000));
        match dice.below(5) {
            0 | 1 => {
                println!("chaos: kill {victim}");
                self.nodes[victim].kill();
                std::thread::sleep(pause);
                self.start(victim);
            }
            2 => {
                println!("chaos: kill {victim} and {other}");
                self.nodes[victim].kill();
                self.nodes[other].kill();
                std::thread::sleep(pause);
                self.start(victim);
                self.start(other);
            }
            3 => {
                println!("chaos: stop {victim}");
                self.nodes[victim].signal("STOP");
                std::thread::sleep(Duration::from_secs(setting("STOP_S", 5)));
                self.nodes[victim].signal("CONT");
            }
            _ => {
                println!("chaos: restart all, one after the other");
                for number in 0..3 {
                    self.nodes[number].terminate();
                    self.start(number);
                    self.await_settled();
                }
            }
        }
    }

    /// Harm upon harm; and then peace, until everything is stored.
    fn suffer(&mut self, stores: &[Store]) {
        let (seed, rounds) = (setting("SEED", 1), setting("ROUNDS", 4));
        println!("chaos: FTS_CHAOS_SEED={seed} FTS_CHAOS_ROUNDS={rounds}");
        let mut dice = Dice(seed);
        self.await_settled();
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_millis(1_000 + dice.below(4_000)));
            self.harm(&mut dice);
        }
        self.await_peace(stores);
    }

    /// Cuts the network here and there, for a while each; and then peace.
    fn tear(&mut self, stores: &[Store]) {
        use End::{Host, Outside};

        const LOG: End = Host(0);
        const ONE: End = Host(1);
        const TWO: End = Host(2);
        // What is cut, and who must notice that a node is gone.
        let cuts: [(&str, Cuts, Option<usize>); 4] = [
            ("a node from the other nodes", &[(ONE, LOG), (ONE, TWO)], Some(1)),
            ("a node from the log's owner", &[(TWO, LOG)], None),
            ("a node from everything", &[(ONE, LOG), (ONE, TWO), (ONE, Outside)], Some(2)),
            ("the log's owner from the other nodes", &[(LOG, ONE), (LOG, TWO)], Some(1)),
        ];
        self.await_settled();
        for (what, ends, witness) in cuts {
            println!("chaos: cut {what}");
            let network = self.network.as_mut().expect("a network to cut");
            for (from, to) in ends {
                network.cut(*from, *to);
            }
            if let Some(witness) = witness {
                until("a node that notices", PATIENCE, || {
                    let cluster = http::get_json(&self.nodes[witness].http, "/api/cluster")?;
                    let nodes = cluster["nodes"].as_array()?;
                    nodes.iter().any(|it| it["state"] == "dead").then_some(())
                });
            }
            std::thread::sleep(Duration::from_secs(setting("STOP_S", 5)));
            self.network.as_mut().expect("a network to heal").heal();
            self.await_settled();
        }
        self.await_peace(stores);
    }

    fn await_peace(&self, stores: &[Store]) {
        self.await_settled();
        post(&self.exchange, "DELETE", "/control/faults");
        Judge::new(&self.exchange, stores).await_peace(PATIENCE);
    }

    /// Ends the nodes as an operator would; the store's owner last.
    fn end(&mut self) {
        for node in self.nodes.iter_mut().rev() {
            node.terminate();
        }
    }
}

#[test]
fn without_kafka_whatever_dies_what_is_stored_is_the_truth() {
    let mut scene = Scene::without_kafka(Plan::usual());
    let stores = [scene.database(0)];
    scene.suffer(&stores);
    scene.end();
    Judge::new(&scene.exchange, &stores).everything_is_true();
}

#[test]
fn without_kafka_whoever_is_cut_off_what_is_stored_is_the_truth() {
    let Some(network) = Network::new(3) else { return };
    let mut scene = Scene::without_kafka(Plan { network: Some(network), ..Plan::usual() });
    let stores = [scene.database(0)];
    scene.tear(&stores);
    scene.end();
    Judge::new(&scene.exchange, &stores).everything_is_true();
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn takeover_figure() {
    takeover::measure();
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn two_thousand_symbols_figure() {
    many::measure();
}

#[test]
fn with_kafka_whatever_dies_what_is_stored_is_the_truth() {
    // Three brokers where they are, else one.
    let three = std::env::var("FTS_TEST_KAFKA3").ok();
    let (copies, insync) = if three.is_some() { (3, 2) } else { (1, 1) };
    let Some(brokers) = three.or_else(|| std::env::var("FTS_TEST_KAFKA").ok()) else {
        println!("SKIPPED: no Kafka (neither FTS_TEST_KAFKA3 nor FTS_TEST_KAFKA is set)");
        return;
    };
    let brokers: Vec<&str> = brokers.split(',').collect();
    let listens: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    let prefix = format!("chaos{}-", std::process::id());
    let settings = [
        "log.kind=kafka".to_owned(),
        format!("log.kafka.brokers={}", serde_json::to_string(&brokers).unwrap()),
        format!("log.kafka.replication={copies}"),
        format!("log.kafka.min_insync={insync}"),
        format!("log.kafka.topic_prefix={prefix}"),
    ];
    // All are told of all: whoever is first goes on alone until the others are there.
    let seeds = serde_json::to_string(&listens).unwrap();
    let mut scene = Scene::new(Plan::usual(), &settings, |number| {
        vec![format!("cluster.listen={}", listens[number]), format!("cluster.join={seeds}")]
    });
    let stores = [0, 1, 2].map(|number| scene.database(number));
    for number in 0..3 {
        scene.start(number);
    }
    scene.suffer(&stores);
    scene.end();
    Judge::new(&scene.exchange, &stores).everything_is_true();
}
