//! Stores: where rows are kept for those who analyse.

use std::sync::Arc;

use async_trait::async_trait;

use crate::interval::Interval;
use crate::market::{BookTicker, Symbol, Ticker};
use crate::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Rows, Table, TradeRow, TransactionRow,
};
use crate::time::{Clock as _, SystemClock};

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

/// What retention counts back from, epoch milliseconds, where the newest row of a table is of
/// `newest`: that, but no time to come. One row with a wrong year takes no other along.
pub fn retention_end(newest: i64) -> i64 {
    newest.min(SystemClock.now().millis())
}

/// Keeps rows by key, and of two rows with one key the one with the greater version.
///
/// Writes are idempotent and may come in any order, from any number of writers: a caller that is
/// not told `Ok` may always write again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What operators call it: `sqlite`.
    fn name(&self) -> &'static str;

    /// Writes all rows of all batches. Returns once they are durable.
    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError>;

    /// Deletes the rows of `table` that are older than `keep_ms` before the table's newest row, as
    /// [`retention_end`] has it. Returns how many. Measured against the data's own time, so that a
    /// replay of an old recording is not deleted as it comes in.
    async fn expire(&self, table: Table, keep_ms: i64) -> Result<u64, StoreError>;

    /// The trades of `symbol` from trade id `from_id` on, by id.
    async fn trades(
        &self,
        symbol: &Symbol,
        from_id: i64,
        limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError>;

    /// The candles that open within `span`, oldest first: the first `limit` of them, or the last.
    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError>;

    /// Best bid and ask per second, likewise.
    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError>;

    /// The 24 h statistics by event time, likewise.
    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError>;

    /// The change of best bid or ask that was received last.
    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError>;

    /// The newest alerts of all symbols, newest first.
    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError>;

    /// The newest gaps of all symbols, newest first.
    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError>;

    /// The daily prices of a stock within `span` (of midnights UTC), likewise. None in a store
    /// that does not keep them.
    async fn dailies(&self, _symbol: &Symbol, _span: Span) -> Result<Vec<DailyRow>, StoreError> {
        Ok(Vec::new())
    }

    /// The transactions of a stock within `span`, likewise; [`Transaction::id`] is left out.
    ///
    /// [`Transaction::id`]: crate::stock::Transaction::id
    async fn transactions(
        &self,
        _stock: &Symbol,
        _span: Span,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        Ok(Vec::new())
    }
}

/// A span of time and how much of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First open (or event) time, inclusive, epoch milliseconds.
    pub from: i64,
    /// Last open (or event) time, inclusive.
    pub to: i64,
    /// At most so many rows.
    pub limit: usize,
    /// Which ones, if there are more.
    pub end: End,
}

/// An end of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The oldest rows.
    Oldest,
    /// The newest rows.
    Newest,
}

/// Why a store refused. The split is the caller's question: is it any use trying again?
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Try again later: locked, full, out of reach.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Try again later, but it takes somebody to mend it: a wrong password, a missing permission, a
    /// keyspace or index that is not what it should be. Says what to do, and names no secret.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// Never: a row of this table that the store cannot hold. Of the others, some may be stored.
    #[error("the store rejected a row of {table}: {reason}")]
    Rejected {
        /// The table.
        table: &'static str,
        /// What the store said, and which row.
        reason: String,
    },
}
