//! The store as one SQLite file: for one node, and for whoever reads it with SQL.
//!
//! One thread writes, in transactions of everything that waits; reads have connections of their
//! own, see the last commit and end within seconds. Any number of other processes may read while the node writes.
//! Keys lead with time, so that inserts go to the right edges of few trees and retention cuts at
//! the left ones: `docs/decisions/0002-sqlite-keys.md`.

mod checkpoint;
mod connection;
mod errors;
mod pool;
mod read;
mod schema;
mod sweep;
mod upsert;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::{Span, Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Rows, Table, TradeRow, TransactionRow,
};
use tokio::sync::{mpsc, oneshot};

use pool::Pool;
use schema::MigrateError;
use writer::Request;

/// The store's name, for operators and metrics.
const NAME: &str = "sqlite";

/// Where the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file. Its folder must exist and be writable; SQLite keeps `-wal` and `-shm` beside it.
    pub path: PathBuf,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as the store: {reason}", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Keeps rows in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    /// `None` once the store is being dropped.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    readers: Pool,
}

impl SqliteStore {
    /// Opens the file, creates it if need be, and brings its tables to this program's version.
    /// Blocks for as long as that takes: milliseconds, unless tables are to be changed.
    pub fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let SqliteConfig { path } = config;
        let started = Self::start(&path);
        let (requests, writer) =
            started.map_err(|reason| OpenError { path: path.clone(), reason })?;
        let readers = Pool::new(&path);
        Ok(Self { path, requests: Some(requests), writer: Some(writer), readers })
    }

    fn start(path: &std::path::Path) -> Result<(mpsc::Sender<Request>, JoinHandle<()>), String> {
        let mut connection =
            connection::open_for_writing(path).map_err(|error| errors::describe(&error))?;
        schema::migrate(&mut connection).map_err(|error| match error {
            MigrateError::Sqlite(error) => errors::describe(&error),
            newer @ MigrateError::Newer { .. } => newer.to_string(),
        })?;
        writer::start(connection, path).map_err(|error| error.to_string())
    }

    /// Sends a request to the writer and waits for its reply.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let ended =
            || StoreError::Unavailable("the writing thread has ended: restart the node".into());
        let (done, outcome) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(ended)?;
        requests.send(request(done)).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Waits until what was put is written and the write-ahead log is moved into the file.
impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes to SQLite panicked");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let batches = batches.to_vec();
        self.ask(|done| Request::Put { batches, done }).await
    }

    async fn expire(&self, table: Table, keep_ms: i64) -> Result<u64, StoreError> {
        self.ask(|done| Request::Expire { table, keep_ms, done }).await
    }

    async fn trades(
        &self,
        symbol: &Symbol,
        from_id: i64,
        limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::trades(it, &symbol, from_id, limit)).await
    }

    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::candles(it, &symbol, interval, span)).await
    }

    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::book_seconds(it, &symbol, span)).await
    }

    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::tickers(it, &symbol, span)).await
    }

    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::latest_book(it, &symbol)).await
    }

    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        self.readers.read(move |it| read::alerts(it, limit)).await
    }

    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError> {
        self.readers.read(move |it| read::gaps(it, limit)).await
    }

    async fn dailies(&self, symbol: &Symbol, span: Span) -> Result<Vec<DailyRow>, StoreError> {
        let symbol = symbol.clone();
        self.readers.read(move |it| read::dailies(it, &symbol, span)).await
    }

    async fn transactions(
        &self,
        stock: &Symbol,
        span: Span,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let stock = stock.clone();
        self.readers.read(move |it| read::transactions(it, &stock, span)).await
    }
}
