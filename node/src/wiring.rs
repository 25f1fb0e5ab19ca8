//! The one place where configuration becomes ports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fts_actors::pipeline::{Ports, StorePort};
use fts_adapters::binance::{BinanceFeed, BinanceHistory, FeedConfig, HistoryConfig};
use fts_adapters::elasticsearch::ElasticsearchStore;
use fts_adapters::journal::Journal;
use fts_adapters::kafka::{KafkaConfig, KafkaLog, KafkaOpenError, KafkaResults};
use fts_adapters::scylla::ScyllaStore;
use fts_adapters::spill::{Spill, SpillConfig};
use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::port::log::Log;
use fts_core::port::store::{Store, StoreError};
use fts_core::time::{Clock, SystemClock};
use tokio::time::Instant;

use crate::cluster::egress::Egress;
use crate::config::{NodeConfig, StoreConfig, StoreEntry};
use crate::flows::Decoders;

/// How long a node that starts waits for Kafka before it gives up.
const KAFKA_PATIENCE: Duration = Duration::from_secs(600);
const KAFKA_PAUSE: Duration = Duration::from_secs(1);

/// Opens everything that a node needs, under its data directory.
pub(crate) async fn open(config: &NodeConfig) -> anyhow::Result<Ports> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = open_log(config, &clock).await?;
    let stores = open_stores(config)?;
    ports(config, log, stores, clock, &Egress::default())
}

/// The log.
pub(crate) async fn open_log(
    config: &NodeConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Log>> {
    make_data_dir(config)?;
    if let Some((kafka, spill_bytes)) = config.kafka()? {
        let slow_after = kafka.timeout / 4;
        let log: Arc<dyn Log> = Arc::new(open_kafka(kafka).await?);
        if spill_bytes == 0 {
            return Ok(log);
        }
        let spill = SpillConfig {
            dir: config.data_dir.join("spill"),
            bytes_max: spill_bytes,
            slow_after,
            clock: Arc::clone(clock),
        };
        return Ok(Arc::new(Spill::open(log, spill).await?));
    }
    let (journal, recovery) = Journal::open(config.journal(Arc::clone(clock)))?;
    tracing::info!(segments = recovery.segments, torn_bytes = recovery.torn_bytes, "log opened");
    Ok(Arc::new(journal))
}

/// Opens Kafka, and waits if it is away: whoever dies while it is must not stay away, too.
async fn open_kafka(config: KafkaConfig) -> Result<KafkaLog, KafkaOpenError> {
    let deadline = Instant::now() + KAFKA_PATIENCE;
    loop {
        match KafkaLog::open(config.clone()).await {
            Err(error @ KafkaOpenError::Unreachable { .. }) if Instant::now() < deadline => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(KAFKA_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// The stores, in the order of the configuration.
pub(crate) fn open_stores(config: &NodeConfig) -> anyhow::Result<Vec<StorePort>> {
    make_data_dir(config)?;
    config.stores.iter().map(|entry| open_store(config, entry)).collect()
}

/// One of them.
pub(crate) fn open_store(config: &NodeConfig, entry: &StoreEntry) -> anyhow::Result<StorePort> {
    let store: Arc<dyn Store> = match &entry.config {
        StoreConfig::Sqlite(section) => {
            let path = section.path(&config.data_dir);
            Arc::new(SqliteStore::open(SqliteConfig { path })?)
        }
        StoreConfig::Scylla(section) => {
            let mut section = section.as_ref().clone();
            section.retention = entry.retention.iter().copied().collect();
            let store = Arc::new(ScyllaStore::new(section)?);
            let opened = Arc::clone(&store);
            greet(entry, async move { opened.connect().await });
            store
        }
        StoreConfig::Elasticsearch(section) => {
            let mut section = section.as_ref().clone();
            section.tables = entry.tables.iter().copied().collect();
            let store = Arc::new(ElasticsearchStore::new(section)?);
            let opened = Arc::clone(&store);
            greet(entry, async move { opened.connect().await });
            store
        }
        StoreConfig::Kafka(section) => {
            Arc::new(KafkaResults::new(section.as_ref().clone(), entry.tables.clone())?)
        }
    };
    Ok(StorePort {
        name: entry.name.as_str().into(),
        store,
        tables: entry.tables.clone(),
        retention: entry.retention.clone(),
    })
}

/// Says what is wrong with login or tables before the first row is written.
fn greet(
    entry: &StoreEntry,
    connected: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) {
    let name = entry.name.clone();
    tokio::spawn(async move {
        if let Err(error) = connected.await {
            tracing::warn!(store = name, %error, "not connected; trying again");
        }
    });
}

/// Everything together.
pub(crate) fn ports(
    config: &NodeConfig,
    log: Arc<dyn Log>,
    stores: Vec<StorePort>,
    clock: Arc<dyn Clock>,
    egress: &Egress,
) -> anyhow::Result<Ports> {
    let portion = egress.connects.clone();
    let feed = FeedConfig { portion, ..config.feed(Arc::clone(&clock)) };
    let portion = egress.weight.clone();
    let history = HistoryConfig { portion, ..config.history(Arc::clone(&clock)) };
    Ok(Ports {
        log,
        stores,
        feed: Arc::new(BinanceFeed::new(feed)?),
        history: Arc::new(BinanceHistory::new(history)?),
        decode: Arc::new(Decoders { mapping: config.mapping.clone() }),
        clock,
    })
}

fn make_data_dir(config: &NodeConfig) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create data_dir {}", config.data_dir.display()))
}
