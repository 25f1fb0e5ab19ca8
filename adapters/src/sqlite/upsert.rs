//! Rows into tables: one prepared upsert a table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::port::store::StoreError;
use fts_core::row::{
    AlertRow, BookSecondRow, BookTickerRow, CandleRow, DailyChangeRow, DailyRow, DeadLetterRow,
    Extent, GapRow, Rows, Table, TickerRow, TradeRow, TransactionRow,
};
use rusqlite::{CachedStatement, Connection, Error, Result, params};

use super::errors;
use super::schema::layout;
use crate::digits::Digits;

/// The version of rows that never change: there is nothing to know more of.
const IMMUTABLE: i64 = 0;

/// Put together once: the text is also the key under which the prepared statement is cached.
static UPSERTS: LazyLock<BTreeMap<Table, String>> =
    LazyLock::new(|| Table::ALL.into_iter().map(|table| (table, upsert(table))).collect());

/// Writes all rows into the open transaction of `connection`. What a failure leaves is for the
/// caller to roll back.
pub(super) fn write(connection: &Connection, rows: &Rows) -> Result<(), StoreError> {
    let mut digits = Digits::new();
    write_table(connection, &rows.trades, &mut digits)?;
    write_table(connection, &rows.candles, &mut digits)?;
    write_table(connection, &rows.book_tickers, &mut digits)?;
    point_to_newest_books(connection, &rows.book_tickers)?;
    write_table(connection, &rows.book_seconds, &mut digits)?;
    write_table(connection, &rows.tickers, &mut digits)?;
    write_table(connection, &rows.gaps, &mut digits)?;
    write_table(connection, &rows.alerts, &mut digits)?;
    write_table(connection, &rows.dead_letters, &mut digits)?;
    write_table(connection, &rows.dailies, &mut digits)?;
    write_table(connection, &rows.daily_changes, &mut digits)?;
    write_table(connection, &rows.transactions, &mut digits)
}

fn write_table<R: Stored>(
    connection: &Connection,
    rows: &[R],
    digits: &mut Digits,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut statement = connection
        .prepare_cached(UPSERTS.get(&R::TABLE).map_or("", String::as_str))
        .map_err(|error| errors::unavailable(&error))?;
    for row in rows {
        let mut binder = Binder { statement: &mut statement, index: 0, digits };
        row.bind(&mut binder)
            .and_then(|()| statement.raw_execute())
            .map_err(|error| errors::of_row(R::TABLE, || row.key(), &error))?;
    }
    Ok(())
}

/// Keeps `newest_book_ticker`.
fn point_to_newest_books(
    connection: &Connection,
    rows: &[BookTickerRow],
) -> Result<(), StoreError> {
    let mut newest: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for row in rows {
        let at = (row.received_at, row.book.update_id);
        newest
            .entry(row.symbol.as_str())
            .and_modify(|newest| *newest = at.max(*newest))
            .or_insert(at);
    }
    let point = |symbol: &str, (received_at, update_id): (i64, i64)| {
        connection
            .prepare_cached(
                "INSERT INTO newest_book_ticker AS it (symbol, received_at, update_id) \
                 VALUES (?1, ?2, ?3) ON CONFLICT (symbol) DO UPDATE SET \
                 received_at = excluded.received_at, update_id = excluded.update_id \
                 WHERE (excluded.received_at, excluded.update_id) > (it.received_at, it.update_id)",
            )?
            .execute(params![symbol, received_at, update_id])
    };
    for (symbol, at) in newest {
        point(symbol, at).map_err(|error| errors::unavailable(&error))?;
    }
    Ok(())
}

/// Of two rows with one key the one with the greater version stays. An equal version is written
/// again, so that a corrected program can rebuild rows from the log.
fn upsert(table: Table) -> String {
    let (layout, name) = (layout(table), table.name());
    let columns: Vec<&str> = layout.columns.split(", ").collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let is_key = |column: &str| layout.key.split(", ").any(|key| key == column);
    let updates: Vec<String> = columns
        .iter()
        .filter(|column| !is_key(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} \
         WHERE excluded.version >= {name}.version",
        layout.columns,
        places.join(", "),
        layout.key,
        updates.join(", ")
    )
}

/// Binds a row's values, column by column, in the order of its table's layout.
struct Binder<'a, 'c> {
    statement: &'a mut CachedStatement<'c>,
    index: usize,
    digits: &'a mut Digits,
}

impl Binder<'_, '_> {
    fn text(&mut self, value: &str) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, value)
    }

    fn maybe_text(&mut self, value: Option<&str>) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, value)
    }

    fn int(&mut self, value: i64) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, value)
    }

    fn maybe_int(&mut self, value: Option<i64>) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, value)
    }

    fn flag(&mut self, value: bool) -> Result<()> {
        self.int(value.into())
    }

    fn decimal(&mut self, value: Decimal) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, self.digits.decimal(value))
    }

    fn notional(&mut self, value: Notional) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, self.digits.notional(value))
    }

    fn extent(&mut self, value: &Extent) -> Result<()> {
        self.decimal(value.open)?;
        self.decimal(value.high)?;
        self.decimal(value.low)?;
        self.decimal(value.close)
    }
}

/// A row of one of the tables.
trait Stored {
    const TABLE: Table;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()>;

    /// Which row it is, for an operator.
    fn key(&self) -> String;
}

impl Stored for TradeRow {
    const TABLE: Table = Table::Trades;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.text(self.symbol.as_str())?;
        to.int(self.trade.id)?;
        to.int(self.trade.time)?;
        to.decimal(self.trade.price)?;
        to.decimal(self.trade.quantity)?;
        to.flag(self.trade.buyer_is_maker)?;
        to.int(self.received_at)?;
        to.text(self.source.name())?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} trade {}", self.symbol, self.trade.id)
    }
}

impl Stored for CandleRow {
    const TABLE: Table = Table::Candles;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let candle = &self.candle;
        to.text(self.symbol.as_str())?;
        to.text(self.interval.name())?;
        to.int(candle.open_time)?;
        to.int(self.close_time())?;
        to.decimal(candle.open)?;
        to.decimal(candle.high)?;
        to.decimal(candle.low)?;
        to.decimal(candle.close)?;
        to.decimal(candle.volume)?;
        to.notional(candle.quote_volume)?;
        to.int(candle.trade_count)?;
        to.decimal(candle.taker_buy_volume)?;
        to.notional(candle.taker_buy_quote_volume)?;
        to.int(candle.first_trade_id)?;
        to.int(candle.last_trade_id)?;
        to.flag(self.complete)?;
        to.int(self.version())
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.interval, self.candle.open_time)
    }
}

impl Stored for BookTickerRow {
    const TABLE: Table = Table::BookTickers;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.int(self.book.update_id)?;
        to.text(self.symbol.as_str())?;
        to.decimal(self.book.bid_price)?;
        to.decimal(self.book.bid_quantity)?;
        to.decimal(self.book.ask_price)?;
        to.decimal(self.book.ask_quantity)?;
        to.int(self.received_at)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} update {}", self.symbol, self.book.update_id)
    }
}

impl Stored for BookSecondRow {
    const TABLE: Table = Table::BookSeconds;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let second = &self.second;
        to.text(self.symbol.as_str())?;
        to.int(second.open_time)?;
        to.int(second.open_time + Interval::Second.millis() - 1)?;
        to.extent(&second.bid)?;
        to.extent(&second.ask)?;
        to.decimal(second.spread_sum)?;
        to.decimal(second.mean_spread())?;
        to.int(second.update_count)?;
        to.int(second.first_update_id)?;
        to.int(second.last_update_id)?;
        to.int(second.update_count)
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.second.open_time)
    }
}

impl Stored for TickerRow {
    const TABLE: Table = Table::Tickers;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let ticker = &*self.ticker;
        to.int(ticker.event_time)?;
        to.text(self.symbol.as_str())?;
        to.decimal(ticker.price_change)?;
        to.decimal(ticker.price_change_percent)?;
        to.decimal(ticker.weighted_avg_price)?;
        to.decimal(ticker.first_trade_price)?;
        to.decimal(ticker.last_price)?;
        to.decimal(ticker.last_quantity)?;
        to.decimal(ticker.best_bid_price)?;
        to.decimal(ticker.best_bid_quantity)?;
        to.decimal(ticker.best_ask_price)?;
        to.decimal(ticker.best_ask_quantity)?;
        to.decimal(ticker.open_price)?;
        to.decimal(ticker.high_price)?;
        to.decimal(ticker.low_price)?;
        to.decimal(ticker.base_volume)?;
        to.decimal(ticker.quote_volume)?;
        to.int(ticker.open_time)?;
        to.int(ticker.close_time)?;
        to.int(ticker.first_trade_id)?;
        to.int(ticker.last_trade_id)?;
        to.int(ticker.trade_count)?;
        to.int(self.received_at)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.ticker.event_time)
    }
}

impl Stored for GapRow {
    const TABLE: Table = Table::Gaps;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.text(self.symbol.as_str())?;
        to.int(self.first_trade_id)?;
        to.int(self.last_trade_id)?;
        to.int(self.missing)?;
        to.maybe_int(self.after_time)?;
        to.int(self.before_time)?;
        to.text(&self.reason)?;
        to.int(self.version())
    }

    fn key(&self) -> String {
        format!("{} from trade {}", self.symbol, self.first_trade_id)
    }
}

impl Stored for AlertRow {
    const TABLE: Table = Table::Alerts;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.text(self.symbol.as_str())?;
        to.int(self.time)?;
        to.text(direction(self.up))?;
        to.int(self.window_ms)?;
        to.decimal(self.threshold_percent)?;
        to.decimal(self.reference_price)?;
        to.decimal(self.price)?;
        to.decimal(self.change_percent)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.time, direction(self.up))
    }
}

impl Stored for DeadLetterRow {
    const TABLE: Table = Table::DeadLetters;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let offset = i64::try_from(self.offset);
        to.text(self.topic.name())?;
        to.int(self.partition.into())?;
        to.int(offset.map_err(|error| Error::ToSqlConversionFailure(error.into()))?)?;
        to.text(self.symbol.as_str())?;
        to.int(self.received_at)?;
        to.text(&self.reason)?;
        to.text(&self.payload)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} {}/{}", self.topic.name(), self.partition, self.offset)
    }
}

impl Stored for DailyRow {
    const TABLE: Table = Table::Dailies;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let daily = &self.daily;
        to.text(self.symbol.as_str())?;
        to.int(daily.time())?;
        to.text(&daily.date.to_string())?;
        to.decimal(daily.open)?;
        to.decimal(daily.high)?;
        to.decimal(daily.low)?;
        to.decimal(daily.close)?;
        to.int(daily.volume)?;
        to.int(daily.fetched_at)?;
        to.int(daily.fetched_at)
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.daily.date)
    }
}

impl Stored for DailyChangeRow {
    const TABLE: Table = Table::DailyChanges;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let change = &self.change;
        to.text(self.symbol.as_str())?;
        to.int(change.time())?;
        to.text(&change.date.to_string())?;
        to.text(change.column)?;
        to.text(&change.before)?;
        to.text(&change.after)?;
        to.int(change.fetched_at)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.change.date, self.change.column)
    }
}

impl Stored for TransactionRow {
    const TABLE: Table = Table::Transactions;

    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let it = &self.transaction;
        to.text(&self.id)?;
        to.int(it.time)?;
        to.text(&it.timestamp)?;
        to.text(it.stock.as_str())?;
        to.text(&it.kind)?;
        to.int(it.quantity)?;
        to.decimal(it.unit_price)?;
        to.decimal(it.total)?;
        to.text(&it.state)?;
        to.maybe_text(it.error.as_deref())?;
        to.text(&it.extra)?;
        to.int(self.received_at)?;
        to.int(IMMUTABLE)
    }

    fn key(&self) -> String {
        self.id.clone()
    }
}

/// The public name of a price change's direction.
pub(super) const fn direction(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
