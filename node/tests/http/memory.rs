//! A store in memory, for the HTTP side's tests and the page's preview.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::{End, Span, Store, StoreError};
use fts_core::row::{AlertRow, BookSecond, CandleRow, GapRow, Rows, Table, TradeRow};

#[derive(Default)]
pub(crate) struct MemoryStore {
    tables: Mutex<Tables>,
    pub(crate) broken: std::sync::atomic::AtomicBool,
    /// What was read and over which span, once somebody wants to know.
    pub(crate) reads: Mutex<Option<Vec<(&'static str, Span)>>>,
}

#[derive(Default)]
struct Tables {
    candles: BTreeMap<(Symbol, Interval, i64), CandleRow>,
    seconds: BTreeMap<(Symbol, i64), BookSecond>,
    tickers: BTreeMap<(Symbol, i64), Ticker>,
    books: BTreeMap<(Symbol, i64), BookTicker>,
    alerts: Vec<AlertRow>,
    gaps: Vec<GapRow>,
}

impl MemoryStore {
    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StoreError::Unavailable("switched off".to_owned()));
        }
        Ok(self.tables.lock().expect("nobody panics while writing"))
    }

    fn note(&self, what: &'static str, span: Span) {
        if let Some(reads) = &mut *self.reads.lock().expect("nobody panics while noting") {
            reads.push((what, span));
        }
    }
}

fn within<T: Clone>(rows: impl DoubleEndedIterator<Item = T>, span: Span) -> Vec<T> {
    match span.end {
        End::Oldest => rows.take(span.limit).collect(),
        End::Newest => {
            let mut newest: Vec<T> = rows.rev().take(span.limit).collect();
            newest.reverse();
            newest
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn put(&self, batches: &[Arc<Rows>]) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        for rows in batches {
            for row in &rows.candles {
                let key = (row.symbol.clone(), row.interval, row.candle.open_time);
                tables.candles.insert(key, row.clone());
            }
            for row in &rows.book_seconds {
                tables.seconds.insert((row.symbol.clone(), row.second.open_time), row.second);
            }
            for row in &rows.tickers {
                let key = (row.symbol.clone(), row.ticker.event_time);
                tables.tickers.insert(key, (*row.ticker).clone());
            }
            for row in &rows.book_tickers {
                tables.books.insert((row.symbol.clone(), row.book.update_id), row.book);
            }
            tables.alerts.extend(rows.alerts.iter().cloned());
            tables.gaps.extend(rows.gaps.iter().cloned());
        }
        Ok(())
    }

    async fn expire(&self, _: Table, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn trades(&self, _: &Symbol, _: i64, _: usize) -> Result<Vec<TradeRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        span: Span,
    ) -> Result<Vec<CandleRow>, StoreError> {
        self.note(interval.name(), span);
        let keys = (symbol.clone(), interval, span.from)..=(symbol.clone(), interval, span.to);
        Ok(within(self.tables()?.candles.range(keys).map(|(_, row)| row.clone()), span))
    }

    async fn book_seconds(
        &self,
        symbol: &Symbol,
        span: Span,
    ) -> Result<Vec<BookSecond>, StoreError> {
        self.note("seconds", span);
        let keys = (symbol.clone(), span.from)..=(symbol.clone(), span.to);
        Ok(within(self.tables()?.seconds.range(keys).map(|(_, row)| *row), span))
    }

    async fn tickers(&self, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>, StoreError> {
        self.note("tickers", span);
        let keys = (symbol.clone(), span.from)..=(symbol.clone(), span.to);
        Ok(within(self.tables()?.tickers.range(keys).map(|(_, row)| row.clone()), span))
    }

    async fn latest_book(&self, symbol: &Symbol) -> Result<Option<BookTicker>, StoreError> {
        let keys = (symbol.clone(), i64::MIN)..=(symbol.clone(), i64::MAX);
        Ok(self.tables()?.books.range(keys).next_back().map(|(_, book)| *book))
    }

    async fn alerts(&self, limit: usize) -> Result<Vec<AlertRow>, StoreError> {
        Ok(self.tables()?.alerts.iter().rev().take(limit).cloned().collect())
    }

    async fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, StoreError> {
        Ok(self.tables()?.gaps.iter().rev().take(limit).cloned().collect())
    }
}
