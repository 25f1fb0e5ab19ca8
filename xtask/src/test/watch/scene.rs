//! What is watched: three nodes of a cluster, and three that are alone, each with something odd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::client::ask;
use crate::shell;
use crate::stack::{self, Process};

const PATIENCE: Duration = Duration::from_secs(120);
/// What the market has, and the nodes don't capture from the start.
pub(super) const OTHERS: [&str; 2] = ["TRXUSDT", "AVAXUSDT"];
const SYMBOLS: [&str; 4] = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"];
/// Messages a second: enough that what a store does not take is soon more than may wait.
const RATE: &str = "2500";
/// A checkpoint of the batch that nobody can read: the checksum that the log wants, and "no".
const NO: &[u8] = b"\x1f\x28\xaa\x67no";
/// A market in which trades 4 to 6 never happened.
const TAPE: [u32; 10] = [1, 2, 3, 7, 8, 9, 10, 11, 12, 13];

/// A node, up or down.
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) folder: PathBuf,
    pub(super) http: String,
    pub(super) settings: Vec<String>,
    process: Option<Process>,
}

impl Node {
    fn new(name: &'static str, folder: &Path, http: u16, settings: Vec<String>) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let http = format!("127.0.0.1:{http}");
        Ok(Self { name, folder, http, settings, process: None })
    }

    /// Starts it with its settings.
    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = shell::program(shell::release_binary("fts-node"));
        command.current_dir(&self.folder).args(["run", "--data-dir", "data"]);
        command.args(["--http", &self.http, "--set", &format!("name={}", self.name)]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        // The simulated provider takes any key but `demo`, which is for one symbol.
        command.env("FTS_BATCH_KEY", "simulated").env_remove("FTS_CLUSTER_SECRET");
        let log = self.folder.join("log");
        self.process = Some(Process::start(self.name, &mut command, &log)?);
        Ok(())
    }

    /// Waits until it answers.
    pub(super) fn await_live(&mut self) -> Result<()> {
        let http = self.http.clone();
        let process = self.process.as_mut().context("it does not run")?;
        process.wait(PATIENCE, |_| ask("GET", &http, "/livez", "").is_ok())
    }

    /// As a power failure.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    /// Runs the node's own program as a client of it.
    pub(super) fn client(&self, arguments: &[&str]) -> Result<()> {
        let mut command = shell::program(shell::release_binary("fts-node"));
        command.current_dir(&self.folder).args(arguments).args(["--http", &self.http]);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fts-node {}: {said}", arguments.join(" "));
        Ok(())
    }
}

/// Sends a signal to a process that this test or its stack started.
pub(super) fn signal(name: &str, pid: &str) -> Result<()> {
    let script = r#"kill -s "$0" "$1""#;
    let sent = shell::ask(Command::new("sh").args(["-c", script, name, pid]));
    sent.map(drop).with_context(|| format!("cannot send {name} to {pid}"))
}

/// All that runs.
pub(super) struct Scene {
    /// The address of the market.
    pub(super) market: String,
    /// The cluster: the first has its log and its SQLite.
    pub(super) cluster: [Node; 3],
    /// Alone, on Kafka.
    pub(super) kafka: Node,
    /// Alone, on a market with a hole, and waiting for somebody to join.
    pub(super) hole: Node,
    /// Alone, with a batch that cannot start.
    pub(super) broken: Node,
    /// Where the first of the cluster is gossiped to.
    pub(super) gossip: String,
    /// An address where nobody is.
    pub(super) nowhere: String,
    _markets: [Process; 2],
}

impl Scene {
    /// Starts all of it in `folder`.
    pub(super) fn start(folder: &Path, kafka: &str) -> Result<Self> {
        let ports = stack::free_ports(14)?;
        let port = |at: usize| ports.get(at).copied().unwrap_or(0);
        let local = |at: usize| format!("127.0.0.1:{}", port(at));
        let (market, tape, nowhere) = (local(0), local(1), local(2));
        let markets = [start_market(folder, &market)?, start_tape(folder, &tape)?];
        let on = |market: &str, symbols: &[&str]| {
            vec![
                format!("binance.stream_url=ws://{market}"),
                format!("binance.rest_url=http://{market}"),
                format!("symbols={}", serde_json::json!(symbols)),
                // Who is cut off again and again comes back at once.
                "ingest.backoff_max_ms=400".to_owned(),
            ]
        };
        // A store that is down from the start, beside one that works.
        let tables = r#"tables=["trades","candles","binance_book_ticker_data","book_ticker_1s"]"#;
        let stores = format!(
            r#"stores=[{{kind="sqlite",retention={{trades=1000}}}},{{kind="elasticsearch",nodes=["http://{nowhere}"],{tables}}}]"#
        );
        let member = |settings: &[String]| {
            let mut all = on(&market, &SYMBOLS);
            let shared = ["ingest.feeds=2", "log.partitions=2", "log.segment_bytes=1048576"];
            all.extend(shared.map(str::to_owned));
            all.extend([stores.clone(), "transactions.simulate=true".to_owned()]);
            all.extend([
                "batch.enabled=true".to_owned(),
                "batch.symbols=[\"TSLA\",\"AAPL\"]".to_owned(),
                format!("batch.url=http://{market}"),
            ]);
            all.extend_from_slice(settings);
            all
        };
        let first = local(3);
        let join = format!("cluster.join=[\"{first}\"]");
        let listen = |at: usize| format!("cluster.listen={}", local(at));
        let cluster = [
            Node::new("node-1", folder, port(4), member(&[listen(3)]))?,
            Node::new("node-2", folder, port(6), member(&[listen(5), join.clone()]))?,
            Node::new("node-3", folder, port(8), member(&[listen(7), join]))?,
        ];
        let mut settings = on(&market, &SYMBOLS);
        settings.extend([
            "log.kind=kafka".to_owned(),
            "log.partitions=2".to_owned(),
            format!("log.kafka.brokers=[{kafka:?}]"),
            format!("log.kafka.topic_prefix=watch{}-", std::process::id()),
            "log.kafka.replication=1".to_owned(),
            "log.kafka.min_insync=1".to_owned(),
            "log.kafka.spill_bytes=16777216".to_owned(),
            "ingest.channels=[\"trade\",\"bookTicker\",\"ticker\",\"aggTrade\"]".to_owned(),
            // As good as nothing: whoever has to ask, waits for his turn.
            "binance.weight_per_minute=60".to_owned(),
        ]);
        let kafka = Node::new("kafka", folder, port(9), settings)?;
        let mut settings = on(&tape, &["BTCUSDT"]);
        settings.push(format!("cluster.listen={}", local(10)));
        settings.push(format!("cluster.join=[\"{}\",\"{nowhere}\"]", local(10)));
        let hole = Node::new("hole", folder, port(11), settings)?;
        let mut settings = on(&market, &["BTCUSDT"]);
        settings.push("batch.enabled=true".to_owned());
        settings.push(format!("batch.url=http://{market}"));
        let broken = Node::new("broken", folder, port(12), settings)?;
        let checkpoints = broken.folder.join("data/log/checkpoints");
        fs::create_dir_all(&checkpoints)?;
        fs::write(checkpoints.join("batch"), NO)?;
        Ok(Self { market, cluster, kafka, hole, broken, gossip: first, nowhere, _markets: markets })
    }

    /// All nodes.
    pub(super) fn nodes(&mut self) -> [&mut Node; 6] {
        let [first, second, third] = &mut self.cluster;
        [first, second, third, &mut self.kafka, &mut self.hole, &mut self.broken]
    }

    /// Tells the market what goes wrong.
    pub(super) fn faults(&self, line: &str) -> Result<()> {
        ask("DELETE", &self.market, "/control/faults", "")?;
        ask("POST", &self.market, "/control/faults", line).map(drop)
    }
}

fn start_market(folder: &Path, address: &str) -> Result<Process> {
    let mut command = shell::program(shell::release_binary("fts-exchange"));
    let symbols: Vec<_> = SYMBOLS.iter().chain(&OTHERS).copied().collect();
    command.args(["--listen", address, "--seed", "1", "--steady", "--rate", RATE]);
    command.args(["--symbols", &symbols.join(",")]);
    serving(Process::start("market", &mut command, &folder.join("market.log"))?, address)
}

/// A recording of ten trades in a second, three of whose ids are nobody's.
fn start_tape(folder: &Path, address: &str) -> Result<Process> {
    let path = folder.join("tape");
    let now = std::process::Command::new("date").arg("+%s%3N").output()?.stdout;
    let now: u64 = String::from_utf8(now)?.trim().parse()?;
    let line = |(at, id): (u64, &u32)| {
        let time = now - 60_000 + 100 * at;
        format!(
            "{time}000000 {{\"stream\":\"btcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{time},\
             \"s\":\"BTCUSDT\",\"t\":{id},\"p\":\"100.00\",\"q\":\"1.00\",\"T\":{time},\"m\":false,\
             \"M\":true}}}}\n"
        )
    };
    let lines: String = (0..).zip(&TAPE).map(line).collect();
    fs::write(&path, lines)?;
    ensure!(Command::new("gzip").arg(&path).status()?.success(), "gzip failed");
    let mut command = shell::program(shell::release_binary("fts-exchange"));
    command.args(["--listen", address, "--tape"]).arg(folder.join("tape.gz"));
    serving(Process::start("tape", &mut command, &folder.join("tape.log"))?, address)
}

fn serving(mut process: Process, address: &str) -> Result<Process> {
    process.wait(PATIENCE, |_| ask("GET", address, "/api/v3/ping", "").is_ok())?;
    Ok(process)
}
