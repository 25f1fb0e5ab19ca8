//! The one place where configuration becomes ports.

use std::sync::Arc;

use anyhow::Context as _;
use fts_actors::pipeline::Ports;
use fts_adapters::binance::{BinanceDecode, BinanceFeed, BinanceHistory};
use fts_adapters::journal::Journal;
use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::time::{Clock, SystemClock};

use crate::config::NodeConfig;

/// Opens everything that a node needs, under its data directory.
pub(crate) fn open(config: &NodeConfig) -> anyhow::Result<Ports> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create data_dir {}", config.data_dir.display()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (journal, recovery) = Journal::open(config.journal(Arc::clone(&clock)))?;
    tracing::info!(segments = recovery.segments, torn_bytes = recovery.torn_bytes, "log opened");
    let path = config.data_dir.join("fts.sqlite");
    let store = SqliteStore::open(SqliteConfig { path })?;
    Ok(Ports {
        log: Arc::new(journal),
        store: Arc::new(store),
        feed: Arc::new(BinanceFeed::new(config.feed(Arc::clone(&clock)))?),
        history: Arc::new(BinanceHistory::new(config.history(Arc::clone(&clock)))?),
        decode: Arc::new(BinanceDecode),
        clock,
    })
}
