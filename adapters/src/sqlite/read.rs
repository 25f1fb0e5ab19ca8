//! The port's reads. Keys lead with time, so each finds one symbol's rows without an index of its own.

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Trade};
use fts_core::port::store::{End, Span};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Table, TradeRow, TransactionRow,
};
use fts_core::stock::{Daily, Transaction};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Params, Result, Row, params};

use super::schema::layout;
use super::upsert::direction;
use crate::digits;
use crate::values::{self, Values};

/// How near the search for a trade's time must come, milliseconds.
const NEAR_MS: i64 = 1_000;

pub(super) fn trades(
    connection: &Connection,
    symbol: &Symbol,
    from_id: i64,
    limit: usize,
) -> Result<Vec<TradeRow>> {
    let Some(from_time) = time_before_trade(connection, symbol, from_id)? else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {} FROM trades WHERE time >= ?1 AND symbol = ?2 AND trade_id >= ?3 \
         ORDER BY time, symbol, trade_id LIMIT ?4",
        layout(Table::Trades).columns
    );
    select(connection, &sql, params![from_time, symbol.as_str(), from_id, rows(limit)], trade)
}

/// A time before which all trades of `symbol` have ids below `from_id`. Ids rise with time: found
/// by halving, as the key is not by id. Each half is searched at most once in vain, so at worst
/// this reads the table once, and for a symbol that trades it reads some fifty rows.
fn time_before_trade(
    connection: &Connection,
    symbol: &Symbol,
    from_id: i64,
) -> Result<Option<i64>> {
    let extent =
        bounds(connection, "SELECT min(time) FROM trades", "SELECT max(time) FROM trades", [])?;
    let Some((mut low, newest)) = extent else {
        return Ok(None);
    };
    let mut high = newest.saturating_add(1);
    let mut probe = connection.prepare_cached(
        "SELECT time, trade_id FROM trades WHERE time >= ?1 AND time < ?2 AND symbol = ?3 \
         ORDER BY time, symbol, trade_id LIMIT 1",
    )?;
    while high - low > NEAR_MS {
        let middle = low + (high - low) / 2;
        let found = probe
            .query_row(params![middle, high, symbol.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        match found {
            Some((time, id)) if id < from_id => low = time,
            _ => high = middle,
        }
    }
    Ok(Some(low))
}

pub(super) fn candles(
    connection: &Connection,
    symbol: &Symbol,
    interval: Interval,
    span: Span,
) -> Result<Vec<CandleRow>> {
    let extent = bounds(
        connection,
        "SELECT min(open_time) FROM candles WHERE interval = ?1",
        "SELECT max(open_time) FROM candles WHERE interval = ?1",
        [interval.name()],
    )?;
    let Some(grid) = Grid::new(extent, span, interval) else {
        return Ok(Vec::new());
    };
    let sql = grid.sql(Table::Candles, "it.interval = ?5 AND ");
    let (first, last, step, limit) = grid.parameters();
    let parameters = params![first, last, step, limit, interval.name(), symbol.as_str()];
    Ok(grid.oldest_first(select(connection, &sql, parameters, candle)?))
}

pub(super) fn book_seconds(
    connection: &Connection,
    symbol: &Symbol,
    span: Span,
) -> Result<Vec<BookSecond>> {
    let extent = bounds(
        connection,
        "SELECT min(open_time) FROM book_ticker_1s",
        "SELECT max(open_time) FROM book_ticker_1s",
        [],
    )?;
    let Some(grid) = Grid::new(extent, span, Interval::Second) else {
        return Ok(Vec::new());
    };
    let sql = grid.sql(Table::BookSeconds, "?5 = ?5 AND ");
    let (first, last, step, limit) = grid.parameters();
    let parameters = params![first, last, step, limit, 0, symbol.as_str()];
    Ok(grid.oldest_first(select(connection, &sql, parameters, book_second)?))
}

pub(super) fn tickers(connection: &Connection, symbol: &Symbol, span: Span) -> Result<Vec<Ticker>> {
    of_symbol(connection, Table::Tickers, "symbol", symbol, span, ticker)
}

pub(super) fn dailies(
    connection: &Connection,
    symbol: &Symbol,
    span: Span,
) -> Result<Vec<DailyRow>> {
    of_symbol(connection, Table::Dailies, "symbol", symbol, span, daily)
}

pub(super) fn transactions(
    connection: &Connection,
    stock: &Symbol,
    span: Span,
) -> Result<Vec<TransactionRow>> {
    of_symbol(connection, Table::Transactions, "accion", stock, span, transaction)
}

/// The rows of one symbol in a span, of a table that is read by time.
fn of_symbol<T>(
    connection: &Connection,
    table: Table,
    symbol_column: &str,
    symbol: &Symbol,
    span: Span,
    decode: fn(&mut Columns<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    let direction = match span.end {
        End::Oldest => "ASC",
        End::Newest => "DESC",
    };
    let (name, layout) = (table.name(), layout(table));
    let order: Vec<String> =
        layout.key.split(", ").map(|column| format!("{column} {direction}")).collect();
    let sql = format!(
        "SELECT {} FROM {name} WHERE {} BETWEEN ?1 AND ?2 AND {symbol_column} = ?3 \
         ORDER BY {} LIMIT ?4",
        layout.columns,
        layout.time,
        order.join(", ")
    );
    let parameters = params![span.from, span.to, symbol.as_str(), rows(span.limit)];
    let mut found = select(connection, &sql, parameters, decode)?;
    if span.end == End::Newest {
        found.reverse();
    }
    Ok(found)
}

pub(super) fn latest_book(connection: &Connection, symbol: &Symbol) -> Result<Option<BookTicker>> {
    // Of none where the row that is pointed to has grown too old and is gone.
    let sql = format!(
        "SELECT {} FROM binance_book_ticker_data WHERE (received_at, symbol, update_id) = \
         (SELECT received_at, symbol, update_id FROM newest_book_ticker WHERE symbol = ?1)",
        layout(Table::BookTickers).columns
    );
    connection
        .prepare_cached(&sql)?
        .query_row([symbol.as_str()], |row| book_ticker(&mut Columns::of(row)))
        .optional()
}

pub(super) fn alerts(connection: &Connection, limit: usize) -> Result<Vec<AlertRow>> {
    let sql = format!(
        "SELECT {} FROM alerts ORDER BY time DESC, symbol DESC, direction DESC LIMIT ?1",
        layout(Table::Alerts).columns
    );
    select(connection, &sql, [rows(limit)], alert)
}

pub(super) fn gaps(connection: &Connection, limit: usize) -> Result<Vec<GapRow>> {
    let sql = format!(
        "SELECT {} FROM gaps ORDER BY before_time DESC, symbol, first_trade_id DESC LIMIT ?1",
        layout(Table::Gaps).columns
    );
    select(connection, &sql, [rows(limit)], gap)
}

/// The windows of a span that can exist. Their open times are known, so the rows of one symbol are
/// looked up one by one: at 500 symbols, reading them in a row would read 500 times as many.
struct Grid {
    first: i64,
    last: i64,
    step: i64,
    limit: i64,
    end: End,
}

impl Grid {
    /// `extent` is the table's oldest and newest open time.
    fn new(extent: Option<(i64, i64)>, span: Span, interval: Interval) -> Option<Self> {
        let (oldest, newest) = extent?;
        let (from, to) = (span.from.max(oldest), span.to.min(newest));
        let step = interval.millis();
        let floor = interval.floor(from);
        let first = if floor < from { floor + step } else { floor };
        let (limit, end) = (rows(span.limit), span.end);
        (first <= to && limit > 0).then(|| Self {
            first,
            last: interval.floor(to),
            step,
            limit,
            end,
        })
    }

    fn sql(&self, table: Table, filter: &str) -> String {
        let columns: Vec<String> =
            layout(table).columns.split(", ").map(|column| format!("it.{column}")).collect();
        let (from, next) = match self.end {
            End::Oldest => ("?1", "open_at + ?3 FROM grid WHERE open_at + ?3 <= ?2"),
            End::Newest => ("?2", "open_at - ?3 FROM grid WHERE open_at - ?3 >= ?1"),
        };
        // CROSS JOIN keeps the grid outside; the limit ends its recursion.
        format!(
            "WITH RECURSIVE grid(open_at) AS (SELECT {from} UNION ALL SELECT {next}) \
             SELECT {} FROM grid CROSS JOIN {} AS it \
             ON {filter}it.open_time = open_at AND it.symbol = ?6 LIMIT ?4",
            columns.join(", "),
            table.name()
        )
    }

    const fn parameters(&self) -> (i64, i64, i64, i64) {
        (self.first, self.last, self.step, self.limit)
    }

    fn oldest_first<T>(&self, mut rows: Vec<T>) -> Vec<T> {
        if self.end == End::Newest {
            rows.reverse();
        }
        rows
    }
}

/// Least and greatest time; `None` where there is no row. Two statements, as SQLite finds one end
/// of a key at once, and both ends only by reading everything.
fn bounds(
    connection: &Connection,
    least: &str,
    greatest: &str,
    parameters: impl Params + Clone,
) -> Result<Option<(i64, i64)>> {
    let end = |sql: &str| {
        connection
            .prepare_cached(sql)?
            .query_row(parameters.clone(), |row| row.get::<_, Option<i64>>(0))
    };
    Ok(end(least)?.zip(end(greatest)?))
}

fn select<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    decode: fn(&mut Columns<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, |row| decode(&mut Columns::of(row)))?;
    rows.collect()
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads a row's columns in the order of its table's layout.
struct Columns<'a, 's> {
    row: &'a Row<'s>,
    index: usize,
}

impl Values for Columns<'_, '_> {
    type Error = Error;

    fn int(&mut self) -> Result<i64> {
        self.index += 1;
        self.row.get(self.index - 1)
    }

    fn decimal(&mut self) -> Result<Decimal> {
        self.parsed("a decimal", digits::decimal)
    }

    fn notional(&mut self) -> Result<Notional> {
        self.parsed("a decimal", digits::notional)
    }
}

impl<'a, 's> Columns<'a, 's> {
    const fn of(row: &'a Row<'s>) -> Self {
        Self { row, index: 0 }
    }

    fn maybe_int(&mut self) -> Result<Option<i64>> {
        self.index += 1;
        self.row.get(self.index - 1)
    }

    fn flag(&mut self) -> Result<bool> {
        Ok(self.int()? != 0)
    }

    fn text(&mut self) -> Result<&'a str> {
        self.parsed("a text", Some)
    }

    fn maybe_text(&mut self) -> Result<Option<&'a str>> {
        self.index += 1;
        Ok(self.row.get_ref(self.index - 1)?.as_str_or_null()?)
    }

    fn symbol(&mut self) -> Result<Symbol> {
        self.parsed("a symbol", |text| Symbol::new(text).ok())
    }

    /// What only another program can have written there is an error that names the column.
    fn parsed<T>(&mut self, what: &str, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T> {
        let index = self.index;
        self.index += 1;
        let text = self.row.get_ref(index)?.as_str()?;
        parse(text).ok_or_else(|| {
            let message = format!("`{text}` is not {what} that this program has written");
            Error::FromSqlConversionFailure(index, Type::Text, message.into())
        })
    }
}

fn trade(row: &mut Columns<'_, '_>) -> Result<TradeRow> {
    Ok(TradeRow {
        symbol: row.symbol()?,
        trade: Trade {
            id: row.int()?,
            time: row.int()?,
            price: row.decimal()?,
            quantity: row.decimal()?,
            buyer_is_maker: row.flag()?,
        },
        received_at: row.int()?,
        source: row.parsed("a source", Source::from_name)?,
    })
}

fn candle(row: &mut Columns<'_, '_>) -> Result<CandleRow> {
    let symbol = row.symbol()?;
    let interval = row.parsed("an interval", |text| text.parse().ok())?;
    let candle = values::candle(row)?;
    Ok(CandleRow { symbol, interval, candle, complete: row.flag()? })
}

fn book_second(row: &mut Columns<'_, '_>) -> Result<BookSecond> {
    let _symbol = row.text()?;
    values::book_second(row)
}

fn book_ticker(row: &mut Columns<'_, '_>) -> Result<BookTicker> {
    let update_id = row.int()?;
    let _symbol = row.text()?;
    values::book(update_id, row)
}

fn ticker(row: &mut Columns<'_, '_>) -> Result<Ticker> {
    let event_time = row.int()?;
    let _symbol = row.text()?;
    values::ticker(event_time, row)
}

fn daily(row: &mut Columns<'_, '_>) -> Result<DailyRow> {
    let symbol = row.symbol()?;
    let _time = row.int()?;
    let daily = Daily {
        date: row.parsed("a date", |text| text.parse().ok())?,
        open: row.decimal()?,
        high: row.decimal()?,
        low: row.decimal()?,
        close: row.decimal()?,
        volume: row.int()?,
        fetched_at: row.int()?,
    };
    Ok(DailyRow { symbol, daily })
}

fn transaction(row: &mut Columns<'_, '_>) -> Result<TransactionRow> {
    let id = row.text()?.to_owned();
    let transaction = Transaction {
        // Whether its writer or its place in the log gave it, the row's id says it.
        id: None,
        time: row.int()?,
        timestamp: row.text()?.to_owned(),
        stock: row.symbol()?,
        kind: row.text()?.to_owned(),
        quantity: row.int()?,
        unit_price: row.decimal()?,
        total: row.decimal()?,
        state: row.text()?.to_owned(),
        error: row.maybe_text()?.map(str::to_owned),
        extra: row.text()?.to_owned(),
    };
    Ok(TransactionRow { id, transaction, received_at: row.int()? })
}

fn gap(row: &mut Columns<'_, '_>) -> Result<GapRow> {
    Ok(GapRow {
        symbol: row.symbol()?,
        first_trade_id: row.int()?,
        last_trade_id: row.int()?,
        missing: row.int()?,
        after_time: row.maybe_int()?,
        before_time: row.int()?,
        reason: row.text()?.to_owned(),
    })
}

fn alert(row: &mut Columns<'_, '_>) -> Result<AlertRow> {
    Ok(AlertRow {
        symbol: row.symbol()?,
        time: row.int()?,
        up: row.text()? == direction(true),
        window_ms: row.int()?,
        threshold_percent: row.decimal()?,
        reference_price: row.decimal()?,
        price: row.decimal()?,
        change_percent: row.decimal()?,
    })
}
