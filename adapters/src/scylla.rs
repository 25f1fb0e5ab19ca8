//! The store as a ScyllaDB or Cassandra cluster: for production, and for whoever reads it with CQL.
//!
//! A row is written with its own time plus its version as write timestamp, so that the server keeps
//! the row that knows more, in any order of arrival, and compacts by the rows' own time. Rows lie in
//! partitions of a symbol and a stretch of time; `buckets` says which partitions there are, so that
//! no read scans: `docs/decisions/0009-scylla-keys-and-versions.md`.
//!
//! Connects when it is first used, and keeps the connections up from then on: a node starts without
//! its cluster, and goes on without it.

mod bucket;
mod cells;
mod config;
mod errors;
mod expire;
mod migrate;
mod read;
mod rows;
mod session;
mod statements;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::metrics::STORE_COMMIT_SECONDS;
use fts_core::port::store::{Span, Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Rows, Table, TradeRow, TransactionRow,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use config::{ConfigError, Consistency, ScyllaConfig, Secret};
use errors::Failure;
use session::{Connector, Live};
use write::Known;

/// The store's name, for operators and metrics.
const NAME: &str = "scylla";

/// Keeps rows in a ScyllaDB or Cassandra cluster.
pub struct ScyllaStore {
    config: ScyllaConfig,
    connector: Connector,
    /// One a request that writes.
    permits: Semaphore,
    /// Partitions that are in `buckets`.
    known: Mutex<Known>,
    /// The newest time of each table's rows that this process knows of, epoch milliseconds.
    newest: Mutex<BTreeMap<Table, i64>>,
    /// Up to where each table's rows were deleted.
    swept: Mutex<BTreeMap<Table, i64>>,
}

impl ScyllaStore {
    /// Checks the configuration. Does not connect: the first call of a method does, or
    /// [`ScyllaStore::connect`].
    pub fn new(config: ScyllaConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            connector: Connector::new(config.clone()),
            permits: Semaphore::new(config.concurrency.min(Semaphore::MAX_PERMITS)),
            known: Mutex::default(),
            newest: Mutex::default(),
            swept: Mutex::default(),
            config,
        })
    }

    /// Connects and brings the tables to this program's version, unless that has been done: for
    /// whoever wants to know at once whether login, rights and tables are as they should be.
    pub async fn connect(&self) -> Result<(), StoreError> {
        self.connector.live().await.map(drop)
    }

    /// What came of a request, for the caller.
    async fn outcome<T>(
        &self,
        live: &Arc<Live>,
        result: Result<T, Failure>,
    ) -> Result<T, StoreError> {
        match result {
            Ok(value) => Ok(value),
            Err(failure) => {
                if failure.tables_changed {
                    lock(&self.known).clear();
                }
                Err(self.connector.judge(live, failure).await)
            }
        }
    }
}

impl std::fmt::Debug for ScyllaStore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ScyllaStore").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What is behind it is whole at any moment: nothing panics in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for ScyllaStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let live = self.connector.live().await?;
        let began = Instant::now();
        let written = self.write(&live, batches).await;
        self.outcome(&live, written).await?;
        metrics::histogram!(STORE_COMMIT_SECONDS, "store" => NAME)
            .record(began.elapsed().as_secs_f64());
        Ok(())
    }

    async fn expire(&self, table: Table, keep_ms: i64) -> Result<u64, StoreError> {
        let live = self.connector.live().await?;
        let deleted = self.sweep(&live, table, keep_ms).await;
        self.outcome(&live, deleted).await
    }

    async fn trades(
        &self,
        symbol: &Symbol,
        from_id: i64,
        limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::trades(&live, symbol, from_id, limit).await;
        self.outcome(&live, found).await
    }

    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::candles(&live, symbol, interval, span).await;
        self.outcome(&live, found).await
    }

    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::book_seconds(&live, symbol, span).await;
        self.outcome(&live, found).await
    }

    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::tickers(&live, symbol, span).await;
        self.outcome(&live, found).await
    }

    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::latest_book(&live, symbol).await;
        self.outcome(&live, found).await
    }

    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::alerts(&live, limit).await;
        self.outcome(&live, found).await
    }

    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::gaps(&live, limit).await;
        self.outcome(&live, found).await
    }

    async fn dailies(&self, symbol: &Symbol, span: Span) -> Result<Vec<DailyRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::dailies(&live, symbol, span).await;
        self.outcome(&live, found).await
    }

    async fn transactions(
        &self,
        stock: &Symbol,
        span: Span,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let live = self.connector.live().await?;
        let found = read::transactions(&live, stock, span).await;
        self.outcome(&live, found).await
    }
}
