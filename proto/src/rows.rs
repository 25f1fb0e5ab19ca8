//! Rows as JSON: with the tables' own column names, for other nodes and for whoever reads the
//! result topics.
//!
//! ```text
//! {"trades":[{"symbol":"BTCUSDT","trade_id":3735683259,"time":1723161255000,"price":"61837.63000000",…}]}
//! ```
//!
//! Prices, quantities and their sums are exact decimals in strings, times are epoch milliseconds
//! UTC, ids are integers (JavaScript's numbers end at 2⁵³), flags are booleans. What follows from
//! other columns (`id`, `stream`, `close_time`, `version` and the like) is written for readers, and
//! computed again when rows are read.

mod exact;
mod notices;
mod quotes;
mod stocks;
mod trades;
mod words;

use bytes::Bytes;
use fts_core::row::{Rows, Table};
use serde::{Deserialize, Serialize};

use self::notices::{Alert, DeadLetter};
use self::quotes::{BookSecond, BookTicker, Ticker};
use self::stocks::{Daily, DailyChange, Transaction};
use self::trades::{Candle, Gap, Trade};

/// The version of rows that never change: there is nothing to know more of.
const IMMUTABLE: i64 = 0;

/// Why bytes are no batch of rows: what is wrong, and at which line and column.
#[derive(Debug, thiserror::Error)]
#[error("not a batch of rows of this version: {0}")]
pub struct DecodeError(#[from] serde_json::Error);

/// A whole batch as one JSON object: a list a table that has rows. Of a transaction, what its writer
/// called it is not kept beside the row's own id.
pub fn encode(rows: &Rows) -> Bytes {
    let batch = Batch {
        trades: rows.trades.iter().map(Trade::from).collect(),
        candles: rows.candles.iter().map(Candle::from).collect(),
        book_tickers: rows.book_tickers.iter().map(BookTicker::from).collect(),
        book_seconds: rows.book_seconds.iter().map(BookSecond::from).collect(),
        tickers: rows.tickers.iter().map(Ticker::from).collect(),
        gaps: rows.gaps.iter().map(Gap::from).collect(),
        alerts: rows.alerts.iter().map(Alert::from).collect(),
        dead_letters: rows.dead_letters.iter().map(DeadLetter::from).collect(),
        dailies: rows.dailies.iter().map(Daily::from).collect(),
        daily_changes: rows.daily_changes.iter().map(DailyChange::from).collect(),
        transactions: rows.transactions.iter().map(Transaction::from).collect(),
    };
    bytes(&batch)
}

/// The batch that [`encode`] wrote. Columns that this version does not know are passed over; a
/// table that it does not know is an error, as its rows would be lost.
pub fn decode(bytes: &[u8]) -> Result<Rows, DecodeError> {
    let batch: Batch = serde_json::from_slice(bytes)?;
    Ok(Rows {
        trades: batch.trades.into_iter().map(Into::into).collect(),
        candles: batch.candles.into_iter().map(Into::into).collect(),
        book_tickers: batch.book_tickers.into_iter().map(Into::into).collect(),
        book_seconds: batch.book_seconds.into_iter().map(Into::into).collect(),
        tickers: batch.tickers.into_iter().map(Into::into).collect(),
        gaps: batch.gaps.into_iter().map(Into::into).collect(),
        alerts: batch.alerts.into_iter().map(Into::into).collect(),
        dead_letters: batch.dead_letters.into_iter().map(Into::into).collect(),
        dailies: batch.dailies.into_iter().map(Into::into).collect(),
        daily_changes: batch.daily_changes.into_iter().map(Into::into).collect(),
        transactions: batch.transactions.into_iter().map(Into::into).collect(),
    })
}

/// Every row on its own: its table, its key as text (unique in the table: `BTCUSDT-3735683259`,
/// `BTCUSDT-1m-1723161240000`), and its JSON object.
pub fn each(rows: &Rows) -> impl Iterator<Item = (Table, String, Bytes)> {
    fn table<'a, R, W>(table: Table, rows: &'a [R]) -> impl Iterator<Item = (Table, String, Bytes)>
    where
        W: From<&'a R> + Keyed + Serialize,
    {
        rows.iter().map(move |row| {
            let wire = W::from(row);
            (table, wire.key(), bytes(&wire))
        })
    }
    table::<_, Trade>(Table::Trades, &rows.trades)
        .chain(table::<_, Candle>(Table::Candles, &rows.candles))
        .chain(table::<_, BookTicker>(Table::BookTickers, &rows.book_tickers))
        .chain(table::<_, BookSecond>(Table::BookSeconds, &rows.book_seconds))
        .chain(table::<_, Ticker>(Table::Tickers, &rows.tickers))
        .chain(table::<_, Gap>(Table::Gaps, &rows.gaps))
        .chain(table::<_, Alert>(Table::Alerts, &rows.alerts))
        .chain(table::<_, DeadLetter>(Table::DeadLetters, &rows.dead_letters))
        .chain(table::<_, Daily>(Table::Dailies, &rows.dailies))
        .chain(table::<_, DailyChange>(Table::DailyChanges, &rows.daily_changes))
        .chain(table::<_, Transaction>(Table::Transactions, &rows.transactions))
}

/// The tables, by their public names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Batch {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trades: Vec<Trade>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candles: Vec<Candle>,
    #[serde(rename = "binance_book_ticker_data", skip_serializing_if = "Vec::is_empty")]
    book_tickers: Vec<BookTicker>,
    #[serde(rename = "book_ticker_1s", skip_serializing_if = "Vec::is_empty")]
    book_seconds: Vec<BookSecond>,
    #[serde(rename = "binance_ticker_data", skip_serializing_if = "Vec::is_empty")]
    tickers: Vec<Ticker>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Gap>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<Alert>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dead_letters: Vec<DeadLetter>,
    #[serde(rename = "finanzas_batch", skip_serializing_if = "Vec::is_empty")]
    dailies: Vec<Daily>,
    #[serde(rename = "finanzas_batch_changes", skip_serializing_if = "Vec::is_empty")]
    daily_changes: Vec<DailyChange>,
    #[serde(rename = "transacciones_nrt", skip_serializing_if = "Vec::is_empty")]
    transactions: Vec<Transaction>,
}

/// Which row of its table it is.
trait Keyed {
    /// Unique in the table.
    fn key(&self) -> String;
}

fn bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("texts, numbers and lists are always JSON").into()
}

#[cfg(test)]
mod tests;
