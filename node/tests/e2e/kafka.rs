//! Kafka as the log: recorded minutes of the exchange go through a broker that is killed and that
//! stands still on the way, and the exchange's own klines come out.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::process::Process;
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, http, until};

/// The variable that names the process of the broker that is used as a pattern.
const PATTERN: &str = "FTS_TEST_KAFKA_PIDS";

#[test]
fn the_tape_comes_through_a_broker_that_dies_and_one_that_stands_still() {
    let Some(fixtures) = fixtures() else { return };
    let Some(mut broker) = Broker::start() else { return };
    let truth = Truth::read(&fixtures);
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let command = NodeCommand::new(folder.path(), &exchange)
        .with("log.kind=kafka".to_owned())
        .with(format!("log.kafka.brokers=[\"{}\"]", broker.address()))
        .with("log.kafka.replication=1".to_owned())
        .with("log.kafka.min_insync=1".to_owned())
        .with("log.kafka.timeout_ms=4000".to_owned());
    let mut node = command.start();
    let store = Store::new(command.database());
    let trades = i64::try_from(truth.trades.len()).unwrap();
    let reach = |share: i64, node: &mut Process| {
        until("a part of the tape in SQLite", PATIENCE, || {
            node.check_alive();
            (store.count("trades") >= trades * share / 5).then_some(())
        });
    };
    reach(1, &mut node);
    broker.kill();
    broker.run();

    // While it stands still, the node says so, and that records wait.
    reach(2, &mut node);
    broker.signal("STOP");
    until("the node to say that records wait", PATIENCE, || {
        node.check_alive();
        let answer = http::get(&command.http, "/readyz")?;
        (answer.status == 503
            && String::from_utf8_lossy(&answer.body).contains("wait on this node's disk"))
        .then_some(())
    });
    // What it took to its disk it has, whatever happens to it.
    node.kill();
    broker.signal("CONT");
    let mut node = command.start();

    await_trades(&mut node, &store, &truth);
    command.await_ready(&mut node);
    node.terminate();
    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    for table in ["gaps", "dead_letters"] {
        assert_same(table, &store.dump(table, &[]), &[]);
    }
}

/// A broker of the test's own, which it may kill. Killed when dropped.
struct Broker {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Broker {
    /// A running broker, started like the one that the environment names; `None`, said loudly,
    /// where there is none.
    fn start() -> Option<Self> {
        let Ok(pattern) = std::env::var(PATTERN) else {
            println!("SKIPPED: {PATTERN} does not name a running Kafka on this machine");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let pattern = pattern.split(',').next().unwrap();
        let raw = fs::read(format!("/proc/{pattern}/cmdline")).expect("the pattern runs");
        let text = String::from_utf8(raw).unwrap();
        let mut arguments: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        let port = free_port();
        let settings = settings(folder.path(), port, free_port());
        // The last argument are the settings.
        *arguments.last_mut().unwrap() = settings.display().to_string();
        let main = arguments.iter().position(|it| it == "kafka.Kafka").unwrap();
        let status = Command::new(&arguments[0])
            .args(&arguments[1..main])
            .args(["kafka.tools.StorageTool", "format", "-t", "ZnRzLW5vZGUtdGVzdHMtMg", "-c"])
            .arg(&settings)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "a folder for the broker");
        let mut broker = Self { folder, port, arguments, process: None };
        broker.run();
        Some(broker)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, again on what it has written, and waits until it serves.
    fn run(&mut self) {
        let path = self.folder.path().join("log");
        let log = fs::File::options().create(true).append(true).open(path).unwrap();
        let process = Command::new(&self.arguments[0])
            .args(&self.arguments[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = self.process.insert(process);
        until("the broker to serve", PATIENCE, || {
            assert!(process.try_wait().unwrap().is_none(), "the broker ended");
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn settings(folder: &Path, port: u16, controller: u16) -> PathBuf {
    let path = folder.join("server.properties");
    let text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
",
        folder.join("data").display()
    );
    fs::write(&path, text).unwrap();
    path
}
