//! Results for whoever wants to read them as they come: every row as JSON with the column names of
//! its table, in a topic a table (`fts.candles`). A store that is written to, and not asked.
//!
//! A row that is written again (a candle that goes on, a repeat) is a further record with the same
//! key, in the same partition; of two, the one with the greater `version` knows more.

use std::sync::Arc;

use async_trait::async_trait;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::metrics::{STORE_COMMIT_SECONDS, STORE_ROWS_TOTAL};
use fts_core::port::log::LogError;
use fts_core::port::store::{Span, Store, StoreError};
use fts_core::row::{AlertRow, BookSecond, CandleRow, GapRow, Rows, Table, TradeRow};
use rdkafka::error::KafkaError;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::append::Appender;
use super::config::KafkaConfig;
use super::context::Context;
use super::streams::Streams;
use super::topics::{self, KafkaOpenError, RECORD_BYTES, Wanted};

/// Partition by key.
const BY_KEY: i32 = -1;
const NAME: &str = "kafka";

/// The topics of results.
pub struct KafkaResults {
    config: KafkaConfig,
    context: Context,
    appender: Appender,
    tables: Vec<Table>,
    is_ready: OnceCell<()>,
}

impl std::fmt::Debug for KafkaResults {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("KafkaResults").field("config", &self.config).finish_non_exhaustive()
    }
}

impl KafkaResults {
    /// Topics for `tables`, named with the configured prefix. Kafka is reached, and the topics are
    /// created or checked, with the first rows.
    pub fn new(config: KafkaConfig, tables: Vec<Table>) -> Result<Self, KafkaOpenError> {
        let context = Context::default();
        let wrong = |error: KafkaError| KafkaOpenError::Configuration(error.to_string());
        let streams = Arc::new(Streams::new("", 0));
        let appender = Appender::new(config.clone(), context.clone(), streams).map_err(wrong)?;
        Ok(Self { config, context, appender, tables, is_ready: OnceCell::new() })
    }

    fn topic(&self, table: Table) -> String {
        format!("{}{}", self.config.topic_prefix, table.name())
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        let wanted: Vec<Wanted> = self
            .tables
            .iter()
            .map(|table| Wanted::log(self.topic(*table), self.config.partitions))
            .collect();
        let prepare = || topics::ensure(&self.config, &self.context, &wanted);
        let ready = self.is_ready.get_or_try_init(prepare).await;
        ready.copied().map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

#[async_trait]
impl Store for KafkaResults {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        self.prepare().await?;
        let started = Instant::now();
        let mut records = Vec::new();
        let mut counts = vec![0; Table::ALL.len()];
        let rows = batches.iter().flat_map(|rows| fts_proto::rows::each(rows));
        for (table, key, value) in rows.filter(|it| self.tables.contains(&it.0)) {
            // Headers and framing take their part.
            if i64::try_from(value.len()).unwrap_or(i64::MAX) > RECORD_BYTES - 4_096 {
                let reason =
                    format!("{key} has {} bytes, more than a record may have", value.len());
                return Err(StoreError::Rejected { table: table.name(), reason });
            }
            if let Some(count) = counts.get_mut(table as usize) {
                *count += 1;
            }
            records.push((self.topic(table), BY_KEY, key, value));
        }
        self.appender.put(&records).await.map_err(|error| match error {
            LogError::Unavailable(reason) => StoreError::Unavailable(reason),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        for (table, count) in Table::ALL.iter().zip(counts) {
            if count > 0 {
                metrics::counter!(STORE_ROWS_TOTAL, "store" => NAME, "table" => table.name())
                    .increment(count);
            }
        }
        metrics::histogram!(STORE_COMMIT_SECONDS, "store" => NAME)
            .record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Kafka expires records by itself.
    async fn expire(&self, _table: Table, _keep_ms: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn trades(
        &self,
        _symbol: &Symbol,
        _from_id: i64,
        _limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn candles(
        &self,
        _symbol: &Symbol,
        _interval: Interval,
        _span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn book_seconds(
        &self,
        _symbol: &Symbol,
        _span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        Ok(Vec::new())
    }

    async fn tickers(&self, _symbol: &Symbol, _span: Span) -> Result<Vec<Ticker>, StoreError> {
        Ok(Vec::new())
    }

    async fn latest_book(&self, _symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        Ok(None)
    }

    async fn alerts(&self, _limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn gaps(&self, _limit: usize) -> Result<Vec<GapRow>, StoreError> {
        Ok(Vec::new())
    }
}
