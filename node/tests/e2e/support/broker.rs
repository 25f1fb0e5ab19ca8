//! Kafka brokers of a test's own, which it may kill and stop; started like the one that the environment
//! names, so that a test knows nothing of where Kafka lies.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::free_port;
use super::{PATIENCE, until};

/// The variables that name processes of a broker that is used as a pattern; the first that is set counts.
const PATTERNS: [&str; 2] = ["FTS_TEST_KAFKA_PIDS", "FTS_TEST_KAFKA3_PIDS"];
/// Any will do: sixteen bytes in base64.
const CLUSTER_ID: &str = "ZnRzLW5vZGUtdGVzdHMtMg";

/// Where the brokers run.
pub(crate) struct Place {
    /// The address that they listen on, and that they tell clients.
    pub(crate) address: String,
    /// What a program is started by: nothing, or what puts it into a network of its own.
    pub(crate) before: Vec<String>,
}

impl Place {
    /// On this machine, for this machine only.
    pub(crate) fn loopback() -> Self {
        Self { address: "127.0.0.1".to_owned(), before: Vec::new() }
    }
}

/// Brokers that are one cluster. Killed when dropped.
pub(crate) struct Brokers {
    place: Place,
    /// The JVM with its options, and the main class.
    pattern: Vec<String>,
    all: Vec<Broker>,
    /// Goes after what writes into it.
    _folder: tempfile::TempDir,
}

struct Broker {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Brokers {
    /// So many running brokers; `None`, said loudly, where there is no pattern.
    pub(crate) fn start(count: usize, place: Place) -> Option<Self> {
        let Some(pids) = PATTERNS.iter().find_map(|name| std::env::var(name).ok()) else {
            println!("SKIPPED: {} does not name a running Kafka on this machine", PATTERNS[0]);
            return None;
        };
        let pid = pids.split(',').next().unwrap();
        let raw = fs::read(format!("/proc/{pid}/cmdline")).expect("the pattern runs");
        let text = String::from_utf8(raw).unwrap();
        let mut pattern: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        // The last argument are the settings.
        pattern.pop();
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<[u16; 2]> = (0..count).map(|_| [free_port(), free_port()]).collect();
        let all = (0..count).map(|at| Broker {
            folder: folder.path().join((at + 1).to_string()),
            port: ports[at][0],
            process: None,
        });
        let mut brokers = Self { all: all.collect(), place, pattern, _folder: folder };
        for (at, broker) in brokers.all.iter().enumerate() {
            fs::create_dir(&broker.folder).unwrap();
            let text = settings(&broker.folder, at + 1, &ports, &brokers.place.address);
            fs::write(broker.folder.join("server.properties"), text).unwrap();
        }
        std::thread::scope(|scope| {
            for broker in &brokers.all {
                scope.spawn(|| brokers.format(&broker.folder));
            }
        });
        brokers.run();
        Some(brokers)
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Where each of them takes clients.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.all.iter().map(|it| format!("{}:{}", self.place.address, it.port)).collect()
    }

    /// Starts those that do not run, again on what they have written, and waits until they serve.
    pub(crate) fn run(&mut self) {
        for at in 0..self.all.len() {
            if self.all[at].process.is_none() {
                let process = self.spawn(&self.all[at]);
                self.all[at].process = Some(process);
            }
        }
        for broker in &mut self.all {
            let address = format!("{}:{}", self.place.address, broker.port);
            until("the broker to serve", PATIENCE, || {
                let process = broker.process.as_mut().unwrap();
                assert!(process.try_wait().unwrap().is_none(), "the broker ended");
                TcpStream::connect(&address).ok()
            });
        }
    }

    /// SIGKILL to one of them.
    pub(crate) fn kill(&mut self, number: usize) {
        self.all[number].kill();
    }

    /// SIGKILL to all of them at once.
    pub(crate) fn kill_all(&mut self) {
        for broker in &mut self.all {
            if let Some(process) = &mut broker.process {
                process.kill().unwrap();
            }
        }
        self.all.iter_mut().for_each(Broker::kill);
    }

    /// Sends all of them a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        for broker in &self.all {
            let pid = broker.process.as_ref().unwrap().id().to_string();
            let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
            assert!(sent.unwrap().success());
        }
    }

    fn spawn(&self, broker: &Broker) -> Child {
        let path = broker.folder.join("log");
        let log = fs::File::options().create(true).append(true).open(path).unwrap();
        let mut words = self.place.before.iter().chain(&self.pattern);
        Command::new(words.next().unwrap())
            .args(words)
            .arg(broker.folder.join("server.properties"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn format(&self, folder: &Path) {
        let main = self.pattern.iter().position(|it| it == "kafka.Kafka").unwrap();
        let status = Command::new(&self.pattern[0])
            .args(&self.pattern[1..main])
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(folder.join("server.properties"))
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "a folder for the broker");
    }
}

impl Broker {
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            process.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn settings(folder: &Path, id: usize, ports: &[[u16; 2]], address: &str) -> String {
    let [port, controller] = ports[id - 1];
    let voter = |(at, ports): (usize, &[u16; 2])| format!("{}@{address}:{}", at + 1, ports[1]);
    let voters: Vec<String> = ports.iter().enumerate().map(voter).collect();
    let copies = ports.len();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{address}:{port},CONTROLLER://{address}:{controller}
advertised.listeners=PLAINTEXT://{address}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}
auto.create.topics.enable=false
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={insync}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
replica.lag.time.max.ms=5000
log.segment.bytes=67108864
",
        voters = voters.join(","),
        folder = folder.join("data").display(),
        insync = copies.div_ceil(2),
    )
}
