//! Reading back: partition by partition, as `buckets` lists them, until there is enough.

use std::ops::ControlFlow;

use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Trade};
use fts_core::port::store::{End, Span};
use fts_core::row::{
    AlertRow, BookSecond, CandleRow, DailyRow, GapRow, Table, TradeRow, TransactionRow,
};
use fts_core::stock::{Daily, Transaction};
use scylla::deserialize::row::ColumnIterator;
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;

use super::bucket::{Partition, Series, clamp};
use super::cells::{Cells, Columns, Read};
use super::errors::{self, Failure};
use super::rows::partition_key;
use super::session::Live;
use super::statements::direction;
use crate::values::{self, Values as _};

/// Partitions that are looked up together.
const BUCKETS: usize = 256;
/// A stretch of trades that is read rather than halved.
const NEAR_MS: i64 = 1_000;

type Found<T> = Result<Vec<T>, Failure>;

pub(super) async fn trades(
    live: &Live,
    symbol: &Symbol,
    from_id: i64,
    limit: usize,
) -> Found<TradeRow> {
    let series = Series::Symbol(symbol.clone());
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let buckets = all_buckets(live, Table::Trades, &series).await?;
    let first = first_bucket(live, &series, &buckets, from_id).await?;
    for (number, bucket) in buckets.iter().skip(first).enumerate() {
        let partition = Partition { table: Table::Trades, series: series.clone(), bucket: *bucket };
        let mut values = partition_key(&partition);
        let end = bucket.saturating_add(series.bucket_ms(Table::Trades));
        // Only the first partition can have trades before the wanted one.
        let from = match number {
            0 => time_before_trade(live, &values, (*bucket, end), from_id).await?,
            _ => *bucket,
        };
        values.int(from).int(end).small(i32::MAX);
        let statement = &live.statements.of(Table::Trades).oldest;
        each(live, statement, &values, |row| {
            let trade = trade(symbol, row)?;
            if trade.trade.id >= from_id {
                found.push(trade);
            }
            Ok(more(found.len() < limit))
        })
        .await?;
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The index of the first partition that has a trade of `from_id` or later. Ids rise with time: it
/// is found by halving.
async fn first_bucket(
    live: &Live,
    series: &Series,
    buckets: &[i64],
    from_id: i64,
) -> Result<usize, Failure> {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        // One that is announced and was never written says nothing: the one before it does.
        let mut probed = None;
        for index in (low..=middle).rev() {
            let Some(bucket) = buckets.get(index) else { continue };
            let partition =
                Partition { table: Table::Trades, series: series.clone(), bucket: *bucket };
            let key = partition_key(&partition);
            let newest = select(live, &live.statements.newest_trade, &key, 1, |row| row.int());
            if let Some(id) = newest.await?.first() {
                probed = Some((index, *id));
                break;
            }
        }
        match probed {
            Some((index, id)) if id >= from_id => high = index,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

/// A time before which all trades of the partition have ids below `from_id`.
async fn time_before_trade(
    live: &Live,
    key: &Cells,
    (mut low, mut high): (i64, i64),
    from_id: i64,
) -> Result<i64, Failure> {
    while high - low > NEAR_MS {
        let middle = low + (high - low) / 2;
        let mut values = key.clone();
        values.int(middle);
        let found = select(live, &live.statements.trade_from, &values, 1, |row| {
            Ok((row.int()?, row.int()?))
        });
        match found.await?.first() {
            Some((time, id)) if *id < from_id && *time < high => low = *time,
            _ => high = middle,
        }
    }
    Ok(low)
}

pub(super) async fn candles(
    live: &Live,
    symbol: &Symbol,
    interval: Interval,
    span: Span,
) -> Found<CandleRow> {
    let series = Series::Candles(symbol.clone(), interval);
    let found = of_span(live, Table::Candles, series, span, |row| candle(symbol, interval, row));
    found.await.map(|rows| oldest_first(rows, span))
}

pub(super) async fn book_seconds(live: &Live, symbol: &Symbol, span: Span) -> Found<BookSecond> {
    let series = Series::Symbol(symbol.clone());
    let found = of_span(live, Table::BookSeconds, series, span, book_second);
    found.await.map(|rows| oldest_first(rows, span))
}

pub(super) async fn tickers(live: &Live, symbol: &Symbol, span: Span) -> Found<Ticker> {
    let series = Series::Symbol(symbol.clone());
    let found = of_span(live, Table::Tickers, series, span, ticker);
    found.await.map(|rows| oldest_first(rows, span))
}

pub(super) async fn latest_book(
    live: &Live,
    symbol: &Symbol,
) -> Result<Option<BookTicker>, Failure> {
    let series = Series::Symbol(symbol.clone());
    let found = of_span(live, Table::BookTickers, series, newest(1), book_ticker).await?;
    Ok(found.first().copied())
}

pub(super) async fn alerts(live: &Live, limit: usize) -> Found<AlertRow> {
    of_span(live, Table::Alerts, Series::All, newest(limit), alert).await
}

pub(super) async fn gaps(live: &Live, limit: usize) -> Found<GapRow> {
    of_span(live, Table::Gaps, Series::All, newest(limit), gap).await
}

pub(super) async fn dailies(live: &Live, symbol: &Symbol, span: Span) -> Found<DailyRow> {
    let series = Series::Symbol(symbol.clone());
    let found = of_span(live, Table::Dailies, series, span, |row| daily(symbol, row));
    found.await.map(|rows| oldest_first(rows, span))
}

pub(super) async fn transactions(live: &Live, stock: &Symbol, span: Span) -> Found<TransactionRow> {
    let series = Series::Symbol(stock.clone());
    let found = of_span(live, Table::Transactions, series, span, |row| transaction(stock, row));
    found.await.map(|rows| oldest_first(rows, span))
}

const fn newest(limit: usize) -> Span {
    Span { from: i64::MIN, to: i64::MAX, limit, end: End::Newest }
}

fn oldest_first<T>(mut rows: Vec<T>, span: Span) -> Vec<T> {
    if span.end == End::Newest {
        rows.reverse();
    }
    rows
}

/// The rows of a series in a span, from the span's end on.
async fn of_span<T>(
    live: &Live,
    table: Table,
    series: Series,
    span: Span,
    mut decode: impl FnMut(&mut Columns<'_>) -> Read<T>,
) -> Found<T> {
    let (first, last) = (clamp(span.from), clamp(span.to));
    let (mut low, mut high) = (series.bucket(table, first), last);
    let statements = live.statements.of(table);
    let statement = match span.end {
        End::Oldest => &statements.oldest,
        End::Newest => &statements.newest,
    };
    let mut found = Vec::new();
    while low <= high && found.len() < span.limit {
        let buckets = bucket_page(live, table, &series, (low, high), span.end, BUCKETS).await?;
        for bucket in &buckets {
            let wanted = span.limit - found.len();
            if wanted == 0 {
                break;
            }
            let partition = Partition { table, series: series.clone(), bucket: *bucket };
            let mut values = partition_key(&partition);
            values.int(first).int(last).small(i32::try_from(wanted).unwrap_or(i32::MAX));
            found.extend(select(live, statement, &values, wanted, &mut decode).await?);
        }
        match (buckets.get(BUCKETS - 1), span.end) {
            (Some(bucket), End::Oldest) => low = bucket.saturating_add(1),
            (Some(bucket), End::Newest) => high = bucket.saturating_sub(1),
            (None, _) => break,
        }
    }
    Ok(found)
}

async fn all_buckets(live: &Live, table: Table, series: &Series) -> Found<i64> {
    bucket_page(live, table, series, (i64::MIN, i64::MAX), End::Oldest, usize::MAX).await
}

/// Up to `limit` of a series' partitions that begin within a span, from that end on.
pub(super) async fn bucket_page(
    live: &Live,
    table: Table,
    series: &Series,
    (from, to): (i64, i64),
    end: End,
    limit: usize,
) -> Found<i64> {
    let mut values = Cells::default();
    values.text(table.name()).text(&series.to_string()).int(from).int(to);
    values.small(i32::try_from(limit).unwrap_or(i32::MAX));
    let statement = match end {
        End::Oldest => &live.statements.oldest_buckets,
        End::Newest => &live.statements.newest_buckets,
    };
    select(live, statement, &values, limit, |row| row.int()).await
}

/// Up to `limit` rows of a statement.
pub(super) async fn select<T>(
    live: &Live,
    statement: &PreparedStatement,
    values: &Cells,
    limit: usize,
    mut decode: impl FnMut(&mut Columns<'_>) -> Read<T>,
) -> Found<T> {
    let mut found = Vec::new();
    each(live, statement, values, |row| {
        found.push(decode(row)?);
        Ok(more(found.len() < limit))
    })
    .await?;
    Ok(found)
}

const fn more(wanted: bool) -> ControlFlow<()> {
    if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Hands the rows of a statement to `take`, page by page, until it has enough.
async fn each(
    live: &Live,
    statement: &PreparedStatement,
    values: &Cells,
    mut take: impl FnMut(&mut Columns<'_>) -> Read<ControlFlow<()>>,
) -> Result<(), Failure> {
    let mut state = PagingState::start();
    loop {
        let page = live.session.execute_single_page(statement, values, state).await;
        let (page, next) = page.map_err(|error| errors::of_request(&error))?;
        let page = page.into_rows_result().map_err(errors::unavailable)?;
        for row in page.rows::<ColumnIterator<'_, '_>>().map_err(errors::unavailable)? {
            let row = row.map_err(errors::unavailable)?;
            if take(&mut Columns::of(row)).map_err(errors::refused)?.is_break() {
                return Ok(());
            }
        }
        match next.into_paging_control_flow() {
            ControlFlow::Break(()) => return Ok(()),
            ControlFlow::Continue(next) => state = next,
        }
    }
}

fn symbol(row: &mut Columns<'_>) -> Read<Symbol> {
    row.word("a symbol", |text| Symbol::new(text).ok())
}

fn trade(symbol: &Symbol, row: &mut Columns<'_>) -> Read<TradeRow> {
    let (time, id) = (row.int()?, row.int()?);
    let trade = Trade {
        id,
        time,
        price: row.decimal()?,
        quantity: row.decimal()?,
        buyer_is_maker: row.flag()?,
    };
    Ok(TradeRow {
        symbol: symbol.clone(),
        trade,
        received_at: row.int()?,
        source: row.word("a source", Source::from_name)?,
    })
}

fn candle(symbol: &Symbol, interval: Interval, row: &mut Columns<'_>) -> Read<CandleRow> {
    let candle = values::candle(row)?;
    Ok(CandleRow { symbol: symbol.clone(), interval, candle, complete: row.flag()? })
}

fn book_second(row: &mut Columns<'_>) -> Read<BookSecond> {
    values::book_second(row)
}

fn book_ticker(row: &mut Columns<'_>) -> Read<BookTicker> {
    let _received_at = row.int()?;
    let update_id = row.int()?;
    let (_id, _stream) = (row.text()?, row.text()?);
    values::book(update_id, row)
}

fn ticker(row: &mut Columns<'_>) -> Read<Ticker> {
    let event_time = row.int()?;
    let (_id, _stream, _event_type) = (row.text()?, row.text()?, row.text()?);
    values::ticker(event_time, row)
}

fn gap(row: &mut Columns<'_>) -> Read<GapRow> {
    let before_time = row.int()?;
    Ok(GapRow {
        symbol: symbol(row)?,
        first_trade_id: row.int()?,
        last_trade_id: row.int()?,
        missing: row.int()?,
        after_time: row.maybe_int()?,
        before_time,
        reason: row.text()?.to_owned(),
    })
}

fn alert(row: &mut Columns<'_>) -> Read<AlertRow> {
    let time = row.int()?;
    Ok(AlertRow {
        symbol: symbol(row)?,
        time,
        up: row.text()? == direction(true),
        window_ms: row.int()?,
        threshold_percent: row.decimal()?,
        reference_price: row.decimal()?,
        price: row.decimal()?,
        change_percent: row.decimal()?,
    })
}

fn daily(symbol: &Symbol, row: &mut Columns<'_>) -> Read<DailyRow> {
    let _time = row.int()?;
    let daily = Daily {
        date: row.word("a date", |text| text.parse().ok())?,
        open: row.decimal()?,
        high: row.decimal()?,
        low: row.decimal()?,
        close: row.decimal()?,
        volume: row.int()?,
        fetched_at: row.int()?,
    };
    Ok(DailyRow { symbol: symbol.clone(), daily })
}

fn transaction(stock: &Symbol, row: &mut Columns<'_>) -> Read<TransactionRow> {
    let time = row.int()?;
    let id = row.text()?.to_owned();
    let transaction = Transaction {
        // Whether its writer or its place in the log gave it, the row's id says it.
        id: None,
        time,
        timestamp: row.text()?.to_owned(),
        stock: stock.clone(),
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
