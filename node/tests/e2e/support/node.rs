//! The two binaries, started as the README says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::http;
use super::process::{Process, exchange_binary, free_port, node_binary, program};
use super::until;

/// The tapes, in the order of their symbols and days.
const TAPES: [&str; 4] = [
    "spot_btcusdt_20240808.gz",
    "spot_btcusdt_20240809.gz",
    "spot_ethusdt_20240808.gz",
    "spot_ethusdt_20240809.gz",
];

/// The symbols of the tapes.
pub(crate) const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// The paths of the four tapes.
pub(crate) fn tapes(fixtures: &Path) -> Vec<PathBuf> {
    TAPES.iter().map(|name| fixtures.join(name)).collect()
}

/// A running exchange.
pub(crate) struct Exchange {
    /// `host:port` of its streams and of its REST.
    pub(crate) address: String,
    _process: Process,
}

impl Exchange {
    /// Plays the four tapes 20 times as fast as they were recorded, from the first subscriber on.
    pub(crate) fn play(fixtures: &Path, folder: &Path) -> Self {
        let mut command = program(exchange_binary());
        command.args(["--listen", "127.0.0.1:0", "--speed", "20"]);
        for tape in tapes(fixtures) {
            command.arg("--tape").arg(tape);
        }
        Self::start(folder, &mut command)
    }

    /// A market of [`SYMBOLS`], made up from a seed.
    pub(crate) fn seeded(folder: &Path) -> Self {
        let mut command = program(exchange_binary());
        command.args(["--listen", "127.0.0.1:0", "--seed", "7", "--rate", "200"]);
        Self::start(folder, command.args(["--symbols", &SYMBOLS.join(",")]))
    }

    fn start(folder: &Path, command: &mut Command) -> Self {
        let mut process = Process::start("exchange", folder, command);
        let address = process.line("the exchange's address", |line| {
            let (_, rest) = line.split_once("listening on ws://")?;
            Some(rest.split_whitespace().next()?.to_owned())
        });
        Self { address, _process: process }
    }

    /// The id of the newest trade that the exchange has made public.
    pub(crate) fn newest_trade(&self, symbol: &str) -> Option<i64> {
        let path = format!("/api/v3/trades?symbol={symbol}&limit=1");
        let answer = http::get_json(&self.address, &path)?;
        answer.get(0)?.get("id")?.as_i64()
    }
}

/// How a node is started: the same way each time.
#[derive(Clone)]
pub(crate) struct NodeCommand {
    /// `--data-dir`
    pub(crate) data_dir: PathBuf,
    /// `--http`
    pub(crate) http: String,
    stream: String,
    rest: String,
    folder: PathBuf,
    settings: Vec<String>,
}

impl NodeCommand {
    /// A node for the tapes, with its data in `<folder>/data`.
    pub(crate) fn new(folder: &Path, exchange: &Exchange) -> Self {
        Self {
            data_dir: folder.join("data"),
            http: format!("127.0.0.1:{}", free_port()),
            stream: exchange.address.clone(),
            rest: exchange.address.clone(),
            folder: folder.to_owned(),
            settings: Vec::new(),
        }
    }

    /// The same with `key=value` set.
    pub(crate) fn with(mut self, setting: String) -> Self {
        self.settings.push(setting);
        self
    }

    /// The same with REST by way of `address`.
    pub(crate) fn with_rest(mut self, address: &str) -> Self {
        address.clone_into(&mut self.rest);
        self
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// Starts it with further arguments.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Process {
        let mut command = program(node_binary());
        command
            .current_dir(&self.folder)
            .arg("run")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--http", &self.http])
            .args(["--set", &format!("binance.stream_url=ws://{}", self.stream)])
            .args(["--set", &format!("binance.rest_url=http://{}", self.rest)])
            .args(["--set", &format!("symbols={}", serde_json::to_string(&SYMBOLS).unwrap())]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(arguments);
        Process::start("node", &self.folder, &mut command)
    }

    /// Waits until the node says that it is ready.
    #[track_caller]
    pub(crate) fn await_ready(&self, process: &mut Process) {
        until("/readyz to answer 200", Duration::from_secs(60), || {
            process.check_alive();
            (http::get(&self.http, "/readyz")?.status == 200).then_some(())
        });
    }

    /// The SQLite file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data_dir.join("fts.sqlite")
    }
}
