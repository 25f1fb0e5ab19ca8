//! The configuration, word for word. Unknown keys are errors: a typo must not become a default.
//! What each key means, and its unit, stands in cluster.toml.

use std::path::PathBuf;

use fts_adapters::mapping::{Rule, default_rules};
use fts_core::row::Table;
use serde::{Deserialize, Serialize};

/// Gives a section its keys, their types and their defaults.
macro_rules! section {
    ($name:ident { $($key:ident: $type:ty = $default:expr),* $(,)? }) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $(pub(super) $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

section!(Written {
    symbols: Vec<String> = vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()],
    data_dir: PathBuf = PathBuf::from("data"),
    name: String = "fts-node".to_owned(),
    binance: Binance = Binance::default(),
    ingest: Ingest = Ingest::default(),
    log: Log = Log::default(),
    aggregate: Aggregate = Aggregate::default(),
    alerts: Alerts = Alerts::default(),
    backfill: Backfill = Backfill::default(),
    batch: Batch = Batch::default(),
    transactions: Transactions = Transactions::default(),
    retention: Retention = Retention::default(),
    http: Http = Http::default(),
    cluster: Cluster = Cluster::default(),
    telemetry: Telemetry = Telemetry::default(),
    stores: Vec<toml::Table> = vec![toml::toml! { kind = "sqlite" }],
});

section!(Binance {
    stream_url: String = "wss://data-stream.binance.vision".to_owned(),
    rest_url: String = "https://data-api.binance.vision".to_owned(),
    connections_per_5min: u32 = 300,
    weight_per_minute: u32 = 5_000,
    egress: String = String::new(),
    read_timeout_ms: u64 = 60_000,
    connect_timeout_ms: u64 = 10_000,
    rest_timeout_ms: u64 = 12_000,
});

section!(Ingest {
    channels: Vec<String> = ["trade", "bookTicker", "ticker"].map(str::to_owned).to_vec(),
    feeds: u8 = 1,
    symbols_per_socket: usize = 50,
    backoff_min_ms: u64 = 200,
    backoff_max_ms: u64 = 30_000,
});

section!(Log {
    kind: String = "embedded".to_owned(),
    partitions: u32 = 4,
    segment_bytes: u64 = 64 << 20,
    retention_ms: i64 = 86_400_000,
    retention_bytes: u64 = 10 << 30,
    tail_bytes: usize = 32 << 20,
    kafka: Kafka = Kafka::default(),
});

section!(Kafka {
    brokers: Vec<String> = vec!["127.0.0.1:9092".to_owned()],
    security: String = "plaintext".to_owned(),
    mechanism: String = "SCRAM-SHA-512".to_owned(),
    username: String = String::new(),
    password_file: String = String::new(),
    ca_file: String = String::new(),
    certificate_file: String = String::new(),
    key_file: String = String::new(),
    topic_prefix: String = String::new(),
    replication: u16 = 3,
    min_insync: u16 = 2,
    retention_ms: i64 = 604_800_000,
    retention_bytes: i64 = -1,
    compression: String = "lz4".to_owned(),
    timeout_ms: u64 = 10_000,
    spill_bytes: u64 = 1 << 30,
});

section!(Aggregate { flush_interval_ms: u64 = 5, checkpoint_interval_ms: u64 = 1_000 });

section!(Alerts { threshold_percent: String = "1.0".to_owned(), window_ms: i64 = 60_000 });

section!(Backfill {
    delay_ms: u64 = 200,
    quiet_probe_ms: u64 = 120_000,
    first_sight_trades_max: i64 = 50_000,
});

section!(Batch {
    enabled: bool = false,
    symbols: Vec<String> = vec!["TSLA".to_owned()],
    schedule: String = "30 17 * * MON-FRI".to_owned(),
    zone: String = "America/New_York".to_owned(),
    url: String = "https://www.alphavantage.co".to_owned(),
    key_file: Option<PathBuf> = None,
    requests_per_day: u32 = 25,
    request_interval_ms: u64 = 1_100,
    timeout_ms: u64 = 30_000,
});

section!(Transactions {
    simulate: bool = false,
    rate: u32 = 1,
    seed: u64 = 1,
    rules: Vec<Rule> = default_rules(),
});

section!(Retention {
    trades: i64 = 0,
    candles: i64 = 0,
    binance_book_ticker_data: i64 = 0,
    book_ticker_1s: i64 = 0,
    binance_ticker_data: i64 = 0,
    gaps: i64 = 0,
    alerts: i64 = 0,
    dead_letters: i64 = 0,
    finanzas_batch: i64 = 0,
    finanzas_batch_changes: i64 = 0,
    transacciones_nrt: i64 = 0,
});

section!(Http {
    listen: String = "127.0.0.1:8080".to_owned(),
    hosts: Vec<String> = Vec::new(),
});

section!(Cluster {
    listen: String = String::new(),
    advertise: String = String::new(),
    join: Vec<String> = Vec::new(),
    weight: u32 = 100,
    gossip_interval_ms: u64 = 200,
    failure_timeout_ms: u64 = 1_200,
    secret_file: String = String::new(),
});

section!(Telemetry { filter: String = "info".to_owned() });

impl Retention {
    /// By table.
    pub(super) fn tables(&self) -> [(Table, i64); 11] {
        [
            (Table::Trades, self.trades),
            (Table::Candles, self.candles),
            (Table::BookTickers, self.binance_book_ticker_data),
            (Table::BookSeconds, self.book_ticker_1s),
            (Table::Tickers, self.binance_ticker_data),
            (Table::Gaps, self.gaps),
            (Table::Alerts, self.alerts),
            (Table::DeadLetters, self.dead_letters),
            (Table::Dailies, self.finanzas_batch),
            (Table::DailyChanges, self.finanzas_batch_changes),
            (Table::Transactions, self.transacciones_nrt),
        ]
    }
}
