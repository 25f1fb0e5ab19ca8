//! A store of another node: the port's promises, kept over a link.
//!
//! Nothing is tried twice here: writes are idempotent, and a caller that is not told `Ok` writes again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::{End, Span, Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Rows, Table, TradeRow, TransactionRow,
};
use fts_proto::gateway::{Answer, Call, Expire, Nothing, Put, Select, store_error};
use fts_proto::rows;

use super::calls::CallError;
use super::links::Links;
use super::serve::LATEST;

/// How long a write may take.
const WRITE: Duration = Duration::from_secs(30);
/// How long a read may take.
const READ: Duration = Duration::from_secs(10);
/// Batches are sent in messages of about so many bytes.
const PUT_BYTES: usize = 8 << 20;

/// A store that a peer serves.
#[derive(Debug, Clone)]
pub struct RemoteStore {
    links: Links,
    peer: Arc<str>,
    name: &'static str,
}

impl RemoteStore {
    pub(super) fn new(links: Links, peer: Arc<str>, name: &'static str) -> Self {
        Self { links, peer, name }
    }

    /// Who serves it.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    async fn call(&self, call: Call, deadline: Duration) -> Result<Answer, StoreError> {
        let unavailable = |error| StoreError::Unavailable(format!("node {}: {error}", self.peer));
        let caller = self.links.caller(&self.peer).map_err(CallError::counted);
        let caller = caller.map_err(unavailable)?;
        match caller.call(call, deadline).await.map_err(unavailable)? {
            Answer::Failure(failure) => Err(store_error(failure)),
            answer => Ok(answer),
        }
    }

    fn misunderstood(&self) -> StoreError {
        let peer = &self.peer;
        StoreError::Unavailable(format!(
            "node {peer} answers what was not asked: it has another version"
        ))
    }

    async fn put_some(&self, batches: Vec<Bytes>) -> Result<(), StoreError> {
        let put = Put { store: self.name.to_owned(), batches };
        match self.call(Call::Put(put), WRITE).await? {
            Answer::Done(Nothing {}) => Ok(()),
            _ => Err(self.misunderstood()),
        }
    }

    /// What to ask of a table, before it is said of whom.
    fn select(&self, table: &str) -> Select {
        Select { store: self.name.to_owned(), table: table.to_owned(), ..Select::default() }
    }

    fn within(&self, table: Table, symbol: &Symbol, span: Span) -> Select {
        Select {
            symbol: symbol.to_string(),
            from: span.from,
            to: span.to,
            limit: number(span.limit),
            newest: span.end == End::Newest,
            ..self.select(table.name())
        }
    }

    async fn read(&self, select: Select) -> Result<Rows, StoreError> {
        match self.call(Call::Select(select), READ).await? {
            Answer::Rows(bytes) => rows::decode(&bytes).map_err(|error| {
                StoreError::Unavailable(format!("node {} answers: {error}", self.peer))
            }),
            _ => Err(self.misunderstood()),
        }
    }
}

#[async_trait]
impl Store for RemoteStore {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            let encoded = rows::encode(batch);
            if bytes > 0 && bytes + encoded.len() > PUT_BYTES {
                self.put_some(std::mem::take(&mut some)).await?;
                bytes = 0;
            }
            bytes += encoded.len();
            some.push(encoded);
        }
        if some.is_empty() { Ok(()) } else { self.put_some(some).await }
    }

    async fn expire(&self, table: Table, keep_ms: i64) -> Result<u64, StoreError> {
        let (store, table) = (self.name.to_owned(), table.name().to_owned());
        match self.call(Call::Expire(Expire { store, table, keep_ms }), WRITE).await? {
            Answer::Count(gone) => Ok(gone),
            _ => Err(self.misunderstood()),
        }
    }

    async fn trades(
        &self,
        symbol: &Symbol,
        from_id: i64,
        limit: usize,
    ) -> Result<Vec<TradeRow>, StoreError> {
        let span = Span { from: from_id, to: i64::MAX, limit, end: End::Oldest };
        Ok(self.read(self.within(Table::Trades, symbol, span)).await?.trades)
    }

    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        let interval = interval.name().to_owned();
        let select = Select { interval, ..self.within(Table::Candles, symbol, span) };
        Ok(self.read(select).await?.candles)
    }

    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        let found = self.read(self.within(Table::BookSeconds, symbol, span)).await?;
        Ok(found.book_seconds.into_iter().map(|row| row.second).collect())
    }

    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError> {
        let found = self.read(self.within(Table::Tickers, symbol, span)).await?;
        Ok(found.tickers.into_iter().map(|row| *row.ticker).collect())
    }

    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        let select = Select { symbol: symbol.to_string(), ..self.select(LATEST) };
        Ok(self.read(select).await?.book_tickers.pop().map(|row| row.book))
    }

    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        let select = Select { limit: number(limit), ..self.select(Table::Alerts.name()) };
        Ok(self.read(select).await?.alerts)
    }

    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError> {
        let select = Select { limit: number(limit), ..self.select(Table::Gaps.name()) };
        Ok(self.read(select).await?.gaps)
    }

    async fn dailies(&self, symbol: &Symbol, span: Span) -> Result<Vec<DailyRow>, StoreError> {
        Ok(self.read(self.within(Table::Dailies, symbol, span)).await?.dailies)
    }

    async fn transactions(
        &self,
        stock: &Symbol,
        span: Span,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        Ok(self.read(self.within(Table::Transactions, stock, span)).await?.transactions)
    }
}

fn number(limit: usize) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}
