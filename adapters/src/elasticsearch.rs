//! The store as an Elasticsearch or OpenSearch cluster: for whoever searches, and charts with Kibana
//! or, through Trino, with Superset.
//!
//! A row is a document whose id is the row's key and whose external version is the row's: the server
//! keeps the one that knows more, in any order of arrival. Rows of large tables lie in an index a day
//! or month of their own time, read under the table's name, and thrown away whole:
//! `docs/decisions/0011-elasticsearch.md`.
//!
//! Connects when it is first used: a node starts without its cluster, and goes on without it.

mod client;
mod columns;
mod config;
mod document;
mod errors;
mod expire;
mod fresh;
mod index;
mod migrate;
mod read;
mod rows;
mod size;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::metrics::STORE_COMMIT_SECONDS;
use fts_core::port::store::{End, Span, Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Rows, Table, TradeRow, TransactionRow,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use client::Connector;
pub use config::{ConfigError, ElasticsearchConfig, Secret};
use document::{Fields, Read};
use fresh::Fresh;
use read::{Order, Search};
use size::Size;

/// The store's name, for operators and metrics.
const NAME: &str = "elasticsearch";
/// Bodies that wait for their turn while as many as may be are under way.
const AHEAD: usize = 2;

/// Keeps rows in an Elasticsearch or OpenSearch cluster.
pub struct ElasticsearchStore {
    config: ElasticsearchConfig,
    connector: Connector,
    /// One a request that writes.
    permits: Semaphore,
    /// One a body: those under way, and a few that are made meanwhile.
    room: Semaphore,
    /// How large a body is made.
    size: Size,
    fresh: Fresh,
}

impl ElasticsearchStore {
    /// Checks the configuration. Does not connect: the first call of a method does, or
    /// [`ElasticsearchStore::connect`].
    ///
    /// # Errors
    /// Says what of the configuration can't work, and what to write.
    pub fn new(config: ElasticsearchConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            connector: Connector::new(config.clone()),
            permits: Semaphore::new(config.concurrency.min(Semaphore::MAX_PERMITS)),
            room: Semaphore::new(
                config.concurrency.saturating_add(AHEAD).min(Semaphore::MAX_PERMITS),
            ),
            size: Size::new(config.bulk_bytes),
            fresh: Fresh::default(),
            config,
        })
    }

    /// Connects and brings templates and indices to this program's version, unless that has been
    /// done: for whoever wants to know at once whether login, rights and indices are as they should
    /// be.
    ///
    /// # Errors
    /// As those of [`Store`]'s methods.
    pub async fn connect(&self) -> Result<(), StoreError> {
        self.connector.live().await.map(drop)
    }

    async fn find<T>(
        &self,
        search: Search,
        read: fn(&Fields<'_>) -> Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let client = self.connector.live().await?;
        let found = self.search(&client, search, read).await;
        self.connector.judge(&client, found).await
    }

    /// The rows of a span, oldest first whichever end was looked at first.
    async fn find_span<T>(
        &self,
        search: Search,
        span: Span,
        read: fn(&Fields<'_>) -> Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = self.find(search, read).await?;
        if span.end == End::Newest {
            rows.reverse();
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for ElasticsearchStore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ElasticsearchStore").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for ElasticsearchStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let client = self.connector.live().await?;
        let began = Instant::now();
        let written = self.write(&client, batches).await;
        self.connector.judge(&client, written).await?;
        metrics::histogram!(STORE_COMMIT_SECONDS, "store" => NAME)
            .record(began.elapsed().as_secs_f64());
        Ok(())
    }

    async fn expire(&self, table: Table, keep_ms: i64) -> Result<u64, StoreError> {
        let client = self.connector.live().await?;
        let deleted = self.sweep(&client, table, keep_ms).await;
        self.connector.judge(&client, deleted).await
    }

    async fn trades(
        &self,
        symbol: &Symbol,
        from_id: i64,
        limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError> {
        let search = Search::of(Table::Trades, limit).with("symbol", symbol.as_str());
        let search = search.from("trade_id", from_id).by("trade_id", Order::Up);
        self.find(search, rows::trade).await
    }

    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        let search = Search::of(Table::Candles, span.limit).with("symbol", symbol.as_str());
        let search = search.with("interval", interval.name()).span(span);
        self.find_span(search, span, rows::candle).await
    }

    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        let search = Search::of(Table::BookSeconds, span.limit).with("symbol", symbol.as_str());
        self.find_span(search.span(span), span, rows::second).await
    }

    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError> {
        let search = Search::of(Table::Tickers, span.limit).with("symbol", symbol.as_str());
        self.find_span(search.span(span), span, rows::ticker).await
    }

    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        let search = Search::of(Table::BookTickers, 1).with("symbol", symbol.as_str());
        let search = search.by("received_at", Order::Down).by("update_id", Order::Down);
        Ok(self.find(search, rows::book).await?.into_iter().next())
    }

    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        let search = Search::of(Table::Alerts, limit).by("time", Order::Down);
        let search = search.by("symbol", Order::Down).by("direction", Order::Down);
        self.find(search, rows::alert).await
    }

    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError> {
        let search = Search::of(Table::Gaps, limit).by("before_time", Order::Down);
        let search = search.by("symbol", Order::Up).by("first_trade_id", Order::Down);
        self.find(search, rows::gap).await
    }

    async fn dailies(&self, symbol: &Symbol, span: Span) -> Result<Vec<DailyRow>, StoreError> {
        let search = Search::of(Table::Dailies, span.limit).with("symbol", symbol.as_str());
        self.find_span(search.span(span), span, rows::daily).await
    }

    async fn transactions(
        &self,
        stock: &Symbol,
        span: Span,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let order = if span.end == End::Oldest { Order::Up } else { Order::Down };
        let search = Search::of(Table::Transactions, span.limit).with("accion", stock.as_str());
        self.find_span(search.span(span).by("id", order), span, rows::transaction).await
    }
}
