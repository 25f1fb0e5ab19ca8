//! The configuration, in two steps: `written` is what somebody wrote, [`NodeConfig`] what it means.
//! To hold a [`NodeConfig`] is to know that it is valid.
//!
//! cluster.toml ← environment (`FTS__SECTION__KEY`) ← `--set section.key=value`.

mod cluster;
mod flows;
mod layers;
mod log;
mod stores;
mod written;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fts_actors::pipeline::Settings;
use fts_adapters::binance::{BinanceFeed, BinanceHistory, Channel, FeedConfig, HistoryConfig};
use fts_adapters::cron::CronSchedule;
use fts_adapters::journal::JournalConfig;
use fts_adapters::kafka::KafkaConfig;
use fts_adapters::mapping::Mapping;
use fts_core::alert::AlertRule;
use fts_core::backoff::Backoff;
use fts_core::decimal::Decimal;
use fts_core::market::Symbol;
use fts_core::placement::{Shards, Singleton};
use fts_core::simulator::Simulator;
use fts_core::time::{Clock, SystemClock};

pub(crate) use self::cluster::ClusterConfig;
pub(crate) use self::flows::BatchConfig;
pub(crate) use self::stores::{StoreConfig, StoreEntry};
use self::written::Written;
use crate::cluster::settings;
use crate::telemetry;

/// The streams that the exchange allows a connection.
const STREAMS_MAX: usize = 1_024;

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--set`, in order.
    pub set: Vec<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--http`
    pub http: Option<String>,
    /// `--cluster-listen`
    pub cluster_listen: Option<String>,
    /// `--join`, each of them.
    pub join: Vec<String>,
}

/// What a node does. Valid.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// What it captures.
    pub symbols: Vec<Symbol>,
    /// Where it keeps its log and store.
    pub data_dir: PathBuf,
    /// Where the exchange's streams are.
    pub stream_url: String,
    /// Where the exchange's REST is.
    pub rest_url: String,
    /// Where it serves its page.
    pub http_listen: SocketAddr,
    /// Names that it may be asked by, beyond addresses and names of its own network.
    pub http_hosts: Vec<String>,
    /// What it logs.
    pub log_filter: String,
    /// The daily batch, if it is on.
    pub batch: Option<BatchConfig>,
    /// The simulator of transactions, if it is on.
    pub simulator: Option<Simulator>,
    /// How transactions are understood.
    pub mapping: Mapping,
    channels: Vec<Channel>,
    alert: AlertRule,
    pub(crate) stores: Vec<StoreEntry>,
    written: Written,
    /// Its place in a cluster.
    pub(crate) cluster: Option<ClusterConfig>,
    /// What somebody wrote, without the defaults.
    explicit: toml::Table,
}

/// Loads and checks everything. The error says what is wrong, where, and what to write instead.
pub fn load(overrides: &Overrides) -> anyhow::Result<NodeConfig> {
    let table = layers::merge(overrides, std::env::vars_os())?;
    meaning(table)
}

/// The same for a command that only asks a running node. It needs neither the key of the batch nor the
/// cluster's secret, and asks at the usual port.
pub fn load_to_ask(overrides: &Overrides) -> anyhow::Result<NodeConfig> {
    let mut table = layers::merge(overrides, std::env::vars_os())?;
    table.remove("cluster");
    if let Some(batch) = table.get_mut("batch").and_then(toml::Value::as_table_mut) {
        batch.insert("enabled".to_owned(), false.into());
    }
    meaning(table)
}

fn meaning(table: toml::Table) -> anyhow::Result<NodeConfig> {
    let mut config = check(layers::read(table.clone())?)?;
    config.explicit = table;
    let files = config.stores.iter().filter(|it| matches!(it.config, StoreConfig::Sqlite(_)));
    ensure!(
        config.cluster.is_none() || !config.has_embedded_log() || files.count() < 2,
        "`stores` has two of the kind sqlite: in a cluster without Kafka all nodes write to the one of \
         the first node; leave one out, or run that node without a cluster"
    );
    // Several nodes on one machine: only the first can have the usual port and folder.
    let joins = config.cluster.as_ref().is_some_and(|it| !it.join.is_empty());
    if joins && !config.has_explicit("http", "listen") {
        config.http_listen.set_port(0);
    }
    Ok(config)
}

fn check(written: Written) -> anyhow::Result<NodeConfig> {
    ensure!(!written.symbols.is_empty(), "`symbols` is empty: name at least one, such as BTCUSDT");
    let mut symbols = Vec::new();
    for text in &written.symbols {
        let symbol = Symbol::new(text).context("in `symbols`")?;
        ensure!(!symbols.contains(&symbol), "`symbols` has {symbol} twice");
        symbols.push(symbol);
    }
    let mut channels = Vec::new();
    for text in &written.ingest.channels {
        let channel: Channel = text.parse().context("in `ingest.channels`")?;
        ensure!(!channels.contains(&channel), "`ingest.channels` has {text} twice");
        channels.push(channel);
    }
    let ingest = &written.ingest;
    ensure!((1..=2).contains(&ingest.feeds), "`ingest.feeds` is {}: write 1 or 2", ingest.feeds);
    ensure!(ingest.symbols_per_socket > 0, "`ingest.symbols_per_socket` is 0: write at least 1");
    // However few symbols there are: more may come while it runs.
    let symbols_max = STREAMS_MAX / channels.len().max(1);
    ensure!(
        ingest.symbols_per_socket <= symbols_max,
        "`ingest.symbols_per_socket` is {}, with {} `ingest.channels` each: the exchange allows \
         {STREAMS_MAX} streams a connection; write at most {symbols_max}",
        ingest.symbols_per_socket,
        channels.len()
    );
    ensure!(
        ingest.backoff_min_ms > 0 && ingest.backoff_min_ms <= ingest.backoff_max_ms,
        "`ingest.backoff_min_ms` must be above 0 and not above `ingest.backoff_max_ms`"
    );
    let binance = &written.binance;
    for (key, value) in [
        ("binance.connections_per_5min", binance.connections_per_5min),
        ("binance.weight_per_minute", binance.weight_per_minute),
    ] {
        ensure!(value > 0, "`{key}` is 0: nothing could ever be asked for");
    }
    ensure!(
        binance.egress.chars().count() <= 64 && !binance.egress.contains(char::is_control),
        "`binance.egress` is no short word: write what tells this node's address from others'"
    );
    for (key, value) in [
        ("binance.read_timeout_ms", binance.read_timeout_ms),
        ("binance.connect_timeout_ms", binance.connect_timeout_ms),
        ("binance.rest_timeout_ms", binance.rest_timeout_ms),
        ("aggregate.checkpoint_interval_ms", written.aggregate.checkpoint_interval_ms),
        ("backfill.quiet_probe_ms", written.backfill.quiet_probe_ms),
    ] {
        ensure!(value > 0, "`{key}` is 0: write milliseconds above 0");
    }
    ensure!(
        written.aggregate.flush_interval_ms <= 60_000,
        "`aggregate.flush_interval_ms` is {}: it is in milliseconds, at most 60000",
        written.aggregate.flush_interval_ms
    );
    telemetry::check_filter(&written.telemetry.filter)?;
    log::check(&written.log)?;
    let alert = alert(&written)?;
    let mut retention = Vec::new();
    for (table, keep_ms) in written.retention.tables() {
        ensure!(keep_ms >= 0, "`retention.{}` is negative: write milliseconds, or 0", table.name());
        if keep_ms > 0 {
            retention.push((table, keep_ms));
        }
    }
    let stores = stores::check(&written.stores, &retention, &written.data_dir)?;
    let listen = &written.http.listen;
    let http_listen = listen.parse().with_context(|| {
        format!(
            "`http.listen` is \"{listen}\": write an address and a port, such as 127.0.0.1:8080"
        )
    })?;
    for host in &written.http.hosts {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-._".contains(it);
        ensure!(
            !host.is_empty() && host.chars().all(is_plain),
            "`http.hosts` has \"{host}\": write a name without scheme and port, such as \
             ticks.example.org"
        );
    }
    let cluster = cluster::check(&written.cluster)?;
    let key = std::env::var(flows::KEY_VARIABLE).ok().filter(|key| !key.trim().is_empty());
    let config = NodeConfig {
        batch: flows::batch(&written.batch, key)?,
        simulator: flows::simulator(&written.transactions)?,
        mapping: flows::mapping(&written.transactions)?,
        name: written.name.clone(),
        cluster,
        explicit: toml::Table::new(),
        symbols,
        data_dir: written.data_dir.clone(),
        stream_url: binance.stream_url.clone(),
        rest_url: binance.rest_url.clone(),
        http_listen,
        http_hosts: written.http.hosts.clone(),
        log_filter: written.telemetry.filter.clone(),
        channels,
        alert,
        stores,
        written,
    };
    // The adapters know what their URLs must look like.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    BinanceFeed::new(config.feed(Arc::clone(&clock)))?;
    BinanceHistory::new(config.history(clock))?;
    Ok(config)
}

fn alert(written: &Written) -> anyhow::Result<AlertRule> {
    let alerts = &written.alerts;
    let threshold_percent: Decimal = alerts
        .threshold_percent
        .parse()
        .with_context(|| format!("`alerts.threshold_percent` is {:?}", alerts.threshold_percent))?;
    ensure!(threshold_percent > Decimal::ZERO, "`alerts.threshold_percent` must be above 0");
    let window_ms = alerts.window_ms;
    if !(1_000..=86_400_000).contains(&window_ms) || window_ms % 1_000 != 0 {
        bail!("`alerts.window_ms` is {window_ms}: write a multiple of 1000, up to 86400000");
    }
    Ok(AlertRule { threshold_percent, window_ms })
}

impl NodeConfig {
    /// All of it, as a cluster.toml.
    pub fn dump(&self) -> String {
        let mut written = self.written.clone();
        for (key, value) in written.stores.iter_mut().flatten() {
            if ["password", "api_key"].contains(&key.as_str()) {
                *value = "(hidden)".into();
            }
        }
        toml::to_string_pretty(&written).expect("what was read from TOML can be written")
    }

    /// For the log in Kafka, and how many bytes may be held while it is away; `None`: the log is
    /// embedded.
    pub(crate) fn kafka(&self) -> anyhow::Result<Option<(KafkaConfig, u64)>> {
        let log = &self.written.log;
        if log.kind != "kafka" {
            return Ok(None);
        }
        Ok(Some((log::kafka(log)?, log.kafka.spill_bytes)))
    }

    /// Whether somebody wrote `section.key`.
    fn has_explicit(&self, section: &str, key: &str) -> bool {
        self.explicit.get(section).is_some_and(|it| it.get(key).is_some())
    }

    /// Whether somebody gave the node a name.
    pub(crate) fn has_name(&self) -> bool {
        self.explicit.contains_key("name")
    }

    /// A folder of its own, where nobody gave the node one: several on one machine must not share it.
    pub(crate) fn own_data_dir(&mut self) {
        if !self.explicit.contains_key("data_dir") {
            let folder: String =
                self.name.chars().map(|it| if it.is_alphanumeric() { it } else { '-' }).collect();
            self.data_dir.push(folder);
        }
    }

    /// Whether the log is in the data directory of one node.
    pub(crate) fn has_embedded_log(&self) -> bool {
        self.written.log.kind == "embedded"
    }

    /// What to say of the stores where each node of a cluster has rows that no other has, and none has
    /// all of them.
    pub(crate) fn split_stores(&self) -> Option<String> {
        let is_shared = |it: &StoreEntry| {
            matches!(it.config, StoreConfig::Scylla(_) | StoreConfig::Elasticsearch(_))
        };
        let is_own = |it: &&StoreEntry| matches!(it.config, StoreConfig::Sqlite(_));
        if self.cluster.is_none() || self.has_embedded_log() || self.stores.iter().any(is_shared) {
            return None;
        }
        let own: Vec<_> = self.stores.iter().filter(is_own).map(|it| it.name.as_str()).collect();
        (!own.is_empty()).then(|| {
            format!(
                "{} is this node's own SQLite and holds the rows of the partitions that it folded, no \
                 others: for all rows in one place add a store that the nodes share (`kind = \
                 \"scylla\"` or `\"elasticsearch\"`), or join without Kafka (`log.kind = \
                 \"embedded\"`)",
                own.join(", ")
            )
        })
    }

    /// By what address the node leaves: nodes that say the same share the exchange's limits.
    pub(crate) fn egress(&self) -> &str {
        &self.written.binance.egress
    }

    /// What all nodes of a cluster must have alike.
    pub(crate) fn shared(&self) -> String {
        let all = toml::Table::try_from(&self.written).unwrap_or_default();
        settings::shared(&all).to_string()
    }

    /// This node's configuration with the `cluster`'s, as [`Self::shared`] of another node wrote it.
    pub(crate) fn adopt(&self, cluster: &str) -> anyhow::Result<Self> {
        let cluster = layers::parse("the cluster's configuration", cluster)?;
        let mut config = meaning(settings::adopt(&self.explicit, &cluster)?)?;
        config.explicit.clone_from(&self.explicit);
        config.name.clone_from(&self.name);
        config.http_listen = self.http_listen;
        Ok(config)
    }

    /// When the daily batch is due, be it on or off.
    pub(crate) fn batch_schedule(&self) -> anyhow::Result<CronSchedule> {
        flows::schedule(&self.written.batch)
    }

    /// Transactions a second, be the simulator on or off.
    pub(crate) fn transactions_rate(&self) -> u32 {
        self.written.transactions.rate
    }

    /// For the log in the data directory.
    pub(crate) fn journal(&self, clock: Arc<dyn Clock>) -> JournalConfig {
        let log = &self.written.log;
        JournalConfig {
            dir: self.data_dir.join("log"),
            partitions: log.partitions,
            segment_bytes: log.segment_bytes,
            retention_ms: log.retention_ms,
            retention_bytes: log.retention_bytes,
            tail_bytes: log.tail_bytes,
            clock,
        }
    }

    /// For the exchange's streams.
    pub(crate) fn feed(&self, clock: Arc<dyn Clock>) -> FeedConfig {
        let binance = &self.written.binance;
        FeedConfig {
            channels: self.channels.clone(),
            read_timeout: Duration::from_millis(binance.read_timeout_ms),
            connect_timeout: Duration::from_millis(binance.connect_timeout_ms),
            connections_per_5min: binance.connections_per_5min,
            ..FeedConfig::new(self.stream_url.clone(), clock)
        }
    }

    /// For the exchange's past.
    pub(crate) fn history(&self, clock: Arc<dyn Clock>) -> HistoryConfig {
        let binance = &self.written.binance;
        HistoryConfig {
            weight_per_minute: binance.weight_per_minute,
            timeout: Duration::from_millis(binance.rest_timeout_ms),
            ..HistoryConfig::new(self.rest_url.clone(), clock)
        }
    }

    /// What there is to do, over `partitions` of the log.
    pub(crate) fn shards(&self, partitions: u32) -> Shards {
        let (symbols, feeds) = (self.symbols.clone(), self.written.ingest.feeds);
        let batch = self.batch.as_ref().map(|_| Singleton::Batch);
        let simulator = self.simulator.as_ref().map(|_| Singleton::Simulator);
        let singletons = batch.into_iter().chain(simulator).collect();
        Shards { symbols, feeds, partitions, singletons }
    }

    /// For the actors.
    pub(crate) fn settings(&self) -> Settings {
        let Written { ingest, aggregate, backfill, .. } = &self.written;
        let ms = Duration::from_millis;
        Settings {
            symbols_per_socket: ingest.symbols_per_socket,
            reconnect: Backoff::new(ms(ingest.backoff_min_ms), ms(ingest.backoff_max_ms)),
            flush_interval: ms(aggregate.flush_interval_ms),
            checkpoint_interval: ms(aggregate.checkpoint_interval_ms),
            alert: self.alert,
            backfill_delay: ms(backfill.delay_ms),
            quiet_probe: ms(backfill.quiet_probe_ms),
            first_sight_trades_max: backfill.first_sight_trades_max,
            singletons: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../cluster.toml");

    fn load_with(file: &str, set: &[&str]) -> anyhow::Result<NodeConfig> {
        let table = layers::parse("cluster.toml", file)?;
        let set = set.iter().map(|it| (*it).to_owned()).collect();
        let overrides = Overrides { set, ..Overrides::default() };
        check(layers::read(layers::apply(table, &overrides, std::iter::empty())?)?)
    }

    #[track_caller]
    fn refused(file: &str, set: &[&str], place: &str) {
        let error = load_with(file, set).expect_err("it must be refused");
        let text = format!("{error:#}");
        assert!(text.contains(place), "`{place}` is not in: {text}");
    }

    #[test]
    fn the_file_of_the_repository_is_the_defaults_all_of_them() {
        let written = load_with(FILE, &[]).unwrap().dump();
        let defaults = load_with("", &[]).unwrap().dump();
        assert_eq!(written, defaults);
        // What has another default in a cluster is commented out, without a space.
        let all: Vec<&str> = FILE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if key.starts_with(|it: char| it.is_ascii_lowercase()) => key,
                _ => line,
            })
            .collect();
        let table: toml::Table = all.join("\n").parse().unwrap();
        let dumped: toml::Table = defaults.parse().unwrap();
        assert_eq!(table, dumped, "cluster.toml lists every key");
    }

    #[test]
    fn rows_that_no_node_has_all_of_are_told() {
        #[track_caller]
        fn check(set: &[&str], stores: &[&str], expected: Option<&str>) {
            let stores = stores.iter().map(|it| format!("[[stores]]\n{it}\n")).collect::<String>();
            let told = load_with(&stores, set).unwrap().split_stores();
            match expected {
                None => assert_eq!(told, None),
                Some(name) => {
                    let told = told.expect("it is told");
                    assert!(told.starts_with(name) && told.contains("scylla"), "{told}");
                }
            }
        }
        const KAFKA: &str = "log.kind=kafka";
        const LISTEN: &str = "cluster.listen=127.0.0.1:7401";
        const SCYLLA: &str = "kind = \"scylla\"\nnodes = [\"a:1\"]";
        const SQLITE: &str = "kind = \"sqlite\"";
        check(&[KAFKA, LISTEN], &[], Some("sqlite"));
        check(&[KAFKA, LISTEN], &["kind = \"sqlite\"\nname = \"own\""], Some("own"));
        // Somebody has all of it: the store that is shared, the node that has the log, the one node.
        check(&[KAFKA, LISTEN], &[SQLITE, SCYLLA], None);
        check(&[KAFKA, LISTEN], &[SCYLLA], None);
        check(&[LISTEN], &[], None);
        check(&[KAFKA], &[], None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        for secret in ["username = \"u\"\npassword", "api_key"] {
            let file = format!(
                "[[stores]]\nkind = \"elasticsearch\"\nnodes = [\"https://a:1\"]\n{secret} = \"hunter2\""
            );
            let dump = load_with(&file, &[]).unwrap().dump();
            assert!(dump.contains("(hidden)") && !dump.contains("hunter2"), "{dump}");
        }
        let file = "[[stores]]\nkind = \"scylla\"\nnodes = [\"a:1\"]\nusername = \"u\"\npassword = \"hunter2\"";
        let dump = load_with(file, &[]).unwrap().dump();
        assert!(dump.contains("(hidden)") && !dump.contains("hunter2"), "{dump}");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        refused("symbls = []", &[], "symbls");
        refused("[ingest]\nfeeds = \"two\"", &[], "feeds");
        refused("", &["ingest.fedes=2"], "ingest.fedes");
        refused("", &["ingest.feeds=3"], "ingest.feeds");
        refused("", &["symbols=[\"BTCUSDT\",\"btcusdt\"]"], "twice");
        refused("", &["symbols=[\"BTC/USDT\"]"], "symbols");
        refused("", &["ingest.channels=[\"tarde\"]"], "ingest.channels");
        refused("", &["binance.stream_url=https://x"], "binance.stream_url");
        refused("", &["ingest.symbols_per_socket=342"], "write at most 341");
        refused("", &["ingest.symbols_per_socket=9223372036854775807"], "write at most 341");
        refused("", &["alerts.window_ms=1500"], "alerts.window_ms");
        refused("", &["alerts.threshold_percent=\"1%\""], "alerts.threshold_percent");
        refused("", &["aggregate.flush_interval_ms=5s"], "aggregate.flush_interval_ms");
        refused("", &["log.retention_bytes=1"], "log.retention_bytes");
        refused("", &["http.listen=8080"], "http.listen");
        refused("", &["http.hosts=[\"https://ticks.example.org\"]"], "http.hosts");
        refused("", &["http.hosts=[\"ticks.example.org:443\"]"], "http.hosts");
        refused("", &["log.kind=\"rabbit\""], "log.kind");
        refused("", &["telemetry.filter=inof"], "`inof` is no level");
        refused("", &["batch.enabled=true"], "FTS_BATCH_KEY");
        refused("", &["batch.schedule=24h"], "batch.schedule");
        refused("", &["batch.zone=Madrid"], "batch.zone");
        refused("", &["batch.symbols=[\"TS LA\"]"], "batch.symbols");
        refused("", &["batch.enabled=true", "batch.key_file=/nowhere"], "batch.key_file");
        refused("", &["batch.requests_per_day=0"], "batch.requests_per_day");
        refused("", &["transactions.rate=0"], "transactions.rate");
        refused("", &["transactions.rules=[]"], "transactions.rules");
        refused("[[transactions.rules]]\ncolumn = 'x'\nfrom = ['x']\nas = 'float'", &[], "float");
        refused("", &["nothing"], "nothing");
    }

    /// Symbols come and go while it runs: a connection has room for as many as it may have.
    #[test]
    fn a_connection_may_have_all_the_streams_that_the_exchange_allows() {
        let streams = |channels: &str, per_socket: usize| {
            let (per_socket, channels) = (
                format!("ingest.symbols_per_socket={per_socket}"),
                format!("ingest.channels={channels}"),
            );
            load_with("", &["symbols=[\"BTCUSDT\"]", &per_socket, &channels]).is_ok()
        };
        assert!(streams("[\"trade\"]", 1_024) && !streams("[\"trade\"]", 1_025));
        assert!(streams("[\"trade\", \"bookTicker\"]", 512));
        assert!(!streams("[\"trade\", \"bookTicker\"]", 513));
    }

    #[test]
    fn later_layers_win() {
        let table =
            layers::parse("cluster.toml", "[ingest]\nfeeds = 1\nsymbols_per_socket = 7").unwrap();
        let overrides =
            Overrides { set: vec!["ingest.feeds=2".to_owned()], ..Overrides::default() };
        let env = [("FTS__INGEST__SYMBOLS_PER_SOCKET".into(), "9".into())];
        let table = layers::apply(table, &overrides, env.into_iter()).unwrap();
        let config = check(layers::read(table).unwrap()).unwrap();
        assert_eq!((config.shards(4).feeds, config.settings().symbols_per_socket), (2, 9));
    }
}
