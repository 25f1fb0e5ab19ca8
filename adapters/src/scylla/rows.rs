//! Rows as values: which partition, of what time and version, and what stands in which column.

use std::fmt::Write as _;

use fts_core::market::Symbol;
use fts_core::row::{
    AlertRow, BookSecondRow, BookTickerRow, CandleRow, DailyChangeRow, DailyRow, DeadLetterRow,
    GapRow, Rows, Table, TickerRow, TradeRow, TransactionRow,
};

use super::bucket::{Partition, Series, storable};
use super::cells::Cells;
use super::statements::direction;

/// The version of rows that never change: there is nothing to know more of.
const IMMUTABLE: i64 = 0;
/// The longest text in a key: both servers hold it with a length of 16 bits.
const KEY_BYTES_MAX: usize = 32_000;

/// A row of one of the tables.
pub(super) trait Stored: Sync + 'static {
    const TABLE: Table;
    /// About how many bytes its values take.
    const BYTES: usize;
    /// Whether it changes, and is known by its time within its partition: then only the one that
    /// knows most of those that wait is sent.
    const KEY_IS_TIME: bool = false;

    /// Those of its kind.
    fn of(rows: &Rows) -> &[Self]
    where
        Self: Sized;

    fn series(&self) -> Series;

    /// The row's own time, epoch milliseconds. A function of its key: of two rows with one key the
    /// one with the greater version is the one with the greater timestamp.
    fn time(&self) -> i64;

    /// How much it knows.
    fn version(&self) -> i64;

    /// The write timestamp of all its cells, in microseconds; `None` where it is out of range.
    fn timestamp(&self) -> Option<i64> {
        clamped(self.time())?.checked_mul(1_000)?.checked_add(self.version())
    }

    /// Its values, in the order of the table's columns.
    fn write(&self, bucket: i64, to: &mut Cells);

    /// Which row it is, for an operator.
    fn key(&self) -> String;

    /// Why it can't be stored, if it can't, apart from its times.
    fn fault(&self) -> Option<&'static str> {
        None
    }
}

/// `time`, if it can be stored.
fn clamped(time: i64) -> Option<i64> {
    storable(time).then_some(time)
}

/// The values of a partition's key.
pub(super) fn partition_key(partition: &Partition) -> Cells {
    let mut key = Cells::with_capacity(64);
    match &partition.series {
        Series::Symbol(symbol) => key.text(symbol.as_str()),
        Series::Candles(symbol, interval) => key.text(symbol.as_str()).text(interval.name()),
        Series::All => &mut key,
        Series::Log(topic, number) => key.text(topic.name()).small(log_partition(*number)),
    };
    key.int(partition.bucket);
    key
}

/// The partition of a log as an `int`: there are far fewer.
fn log_partition(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `BTCUSDT-123`: the column `id` of the tables that people know.
fn id(symbol: &Symbol, number: i64) -> String {
    let mut text = String::with_capacity(32);
    // Writing to a text does not fail.
    let _ = write!(text, "{symbol}-{number}");
    text
}

/// `btcusdt@bookTicker`: likewise `stream`.
fn stream(symbol: &Symbol, channel: &str) -> String {
    let mut text = symbol.as_str().to_lowercase();
    text.push_str(channel);
    text
}

impl Stored for TradeRow {
    const TABLE: Table = Table::Trades;
    const BYTES: usize = 192;

    fn of(rows: &Rows) -> &[Self] {
        &rows.trades
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.trade.time
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let trade = &self.trade;
        to.text(self.symbol.as_str()).int(bucket).int(trade.time).int(trade.id);
        to.decimal(trade.price).decimal(trade.quantity).flag(trade.buyer_is_maker);
        to.int(self.received_at).text(self.source.name());
    }

    fn key(&self) -> String {
        format!("{} trade {}", self.symbol, self.trade.id)
    }
}

impl Stored for CandleRow {
    const TABLE: Table = Table::Candles;
    const BYTES: usize = 512;
    const KEY_IS_TIME: bool = true;

    fn of(rows: &Rows) -> &[Self] {
        &rows.candles
    }

    fn series(&self) -> Series {
        Series::Candles(self.symbol.clone(), self.interval)
    }

    fn time(&self) -> i64 {
        self.candle.open_time
    }

    fn version(&self) -> i64 {
        self.version()
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let candle = &self.candle;
        to.text(self.symbol.as_str()).text(self.interval.name()).int(bucket);
        to.int(candle.open_time).int(self.close_time());
        to.decimal(candle.open).decimal(candle.high).decimal(candle.low).decimal(candle.close);
        to.decimal(candle.volume).notional(candle.quote_volume).int(candle.trade_count);
        to.decimal(candle.taker_buy_volume).notional(candle.taker_buy_quote_volume);
        to.int(candle.first_trade_id).int(candle.last_trade_id);
        to.flag(self.complete).int(self.version());
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.interval, self.candle.open_time)
    }
}

impl Stored for BookTickerRow {
    const TABLE: Table = Table::BookTickers;
    const BYTES: usize = 320;

    fn of(rows: &Rows) -> &[Self] {
        &rows.book_tickers
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.received_at
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let book = &self.book;
        to.text(self.symbol.as_str()).int(bucket).int(self.received_at).int(book.update_id);
        to.text(&id(&self.symbol, book.update_id)).text(&stream(&self.symbol, "@bookTicker"));
        to.decimal(book.bid_price).decimal(book.bid_quantity);
        to.decimal(book.ask_price).decimal(book.ask_quantity);
    }

    fn key(&self) -> String {
        format!("{} update {}", self.symbol, self.book.update_id)
    }
}

impl Stored for BookSecondRow {
    const TABLE: Table = Table::BookSeconds;
    const BYTES: usize = 512;
    const KEY_IS_TIME: bool = true;

    fn of(rows: &Rows) -> &[Self] {
        &rows.book_seconds
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.second.open_time
    }

    fn version(&self) -> i64 {
        self.second.update_count
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let second = &self.second;
        to.text(self.symbol.as_str()).int(bucket).int(second.open_time).int(second.open_time + 999);
        to.extent(&second.bid).extent(&second.ask);
        to.decimal(second.spread_sum).decimal(second.mean_spread());
        to.int(second.update_count).int(second.first_update_id).int(second.last_update_id);
        to.int(second.update_count);
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.second.open_time)
    }
}

impl Stored for TickerRow {
    const TABLE: Table = Table::Tickers;
    const BYTES: usize = 1_024;

    fn of(rows: &Rows) -> &[Self] {
        &rows.tickers
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.ticker.event_time
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let ticker = &*self.ticker;
        to.text(self.symbol.as_str()).int(bucket).int(ticker.event_time);
        to.text(&id(&self.symbol, ticker.event_time)).text(&stream(&self.symbol, "@ticker"));
        to.text("24hrTicker");
        to.decimal(ticker.price_change).decimal(ticker.price_change_percent);
        to.decimal(ticker.weighted_avg_price).decimal(ticker.first_trade_price);
        to.decimal(ticker.last_price).decimal(ticker.last_quantity);
        to.decimal(ticker.best_bid_price).decimal(ticker.best_bid_quantity);
        to.decimal(ticker.best_ask_price).decimal(ticker.best_ask_quantity);
        to.decimal(ticker.open_price).decimal(ticker.high_price).decimal(ticker.low_price);
        to.decimal(ticker.base_volume).decimal(ticker.quote_volume);
        to.int(ticker.open_time).int(ticker.close_time);
        to.int(ticker.first_trade_id).int(ticker.last_trade_id).int(ticker.trade_count);
        to.int(self.received_at);
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.ticker.event_time)
    }
}

impl Stored for GapRow {
    const TABLE: Table = Table::Gaps;
    const BYTES: usize = 256;

    fn of(rows: &Rows) -> &[Self] {
        &rows.gaps
    }

    fn series(&self) -> Series {
        Series::All
    }

    fn time(&self) -> i64 {
        self.before_time
    }

    fn version(&self) -> i64 {
        self.version()
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        to.int(bucket).int(self.before_time).text(self.symbol.as_str()).int(self.first_trade_id);
        to.int(self.last_trade_id).int(self.missing).maybe_int(self.after_time);
        to.text(&self.reason).int(self.version());
    }

    fn key(&self) -> String {
        format!("{} from trade {}", self.symbol, self.first_trade_id)
    }
}

impl Stored for AlertRow {
    const TABLE: Table = Table::Alerts;
    const BYTES: usize = 256;

    fn of(rows: &Rows) -> &[Self] {
        &rows.alerts
    }

    fn series(&self) -> Series {
        Series::All
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        to.int(bucket).int(self.time).text(self.symbol.as_str()).text(direction(self.up));
        to.int(self.window_ms);
        to.decimal(self.threshold_percent).decimal(self.reference_price);
        to.decimal(self.price).decimal(self.change_percent);
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.time, direction(self.up))
    }
}

impl Stored for DeadLetterRow {
    const TABLE: Table = Table::DeadLetters;
    const BYTES: usize = 512;

    fn of(rows: &Rows) -> &[Self] {
        &rows.dead_letters
    }

    fn series(&self) -> Series {
        Series::Log(self.topic, self.partition)
    }

    fn time(&self) -> i64 {
        self.received_at
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        to.text(self.topic.name()).small(log_partition(self.partition)).int(bucket);
        // One beyond that is a fault.
        to.int(self.received_at).int(i64::try_from(self.offset).unwrap_or(i64::MAX));
        to.text(self.symbol.as_str()).text(&self.reason).text(&self.payload);
    }

    fn key(&self) -> String {
        format!("{} {}/{}", self.topic.name(), self.partition, self.offset)
    }

    fn fault(&self) -> Option<&'static str> {
        i64::try_from(self.offset).is_err().then_some("its offset is above 9223372036854775807")
    }
}

impl Stored for DailyRow {
    const TABLE: Table = Table::Dailies;
    const BYTES: usize = 256;
    const KEY_IS_TIME: bool = true;

    fn of(rows: &Rows) -> &[Self] {
        &rows.dailies
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.daily.time()
    }

    fn version(&self) -> i64 {
        self.daily.fetched_at
    }

    /// The version is a time itself. Added to the day's it would lie weeks ahead, which ScyllaDB
    /// refuses.
    fn timestamp(&self) -> Option<i64> {
        clamped(self.time())?;
        clamped(self.version())?.checked_mul(1_000)
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let daily = &self.daily;
        to.text(self.symbol.as_str()).int(bucket).int(daily.time());
        to.text(&daily.date.to_string());
        to.decimal(daily.open).decimal(daily.high).decimal(daily.low).decimal(daily.close);
        to.int(daily.volume).int(daily.fetched_at).int(daily.fetched_at);
    }

    fn key(&self) -> String {
        format!("{} {}", self.symbol, self.daily.date)
    }
}

impl Stored for DailyChangeRow {
    const TABLE: Table = Table::DailyChanges;
    const BYTES: usize = 192;

    fn of(rows: &Rows) -> &[Self] {
        &rows.daily_changes
    }

    fn series(&self) -> Series {
        Series::Symbol(self.symbol.clone())
    }

    fn time(&self) -> i64 {
        self.change.fetched_at
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let change = &self.change;
        to.text(self.symbol.as_str()).int(bucket).int(change.fetched_at).int(change.time());
        to.text(change.column).text(&change.date.to_string());
        to.text(&change.before).text(&change.after);
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.symbol, self.change.date, self.change.column)
    }
}

impl Stored for TransactionRow {
    const TABLE: Table = Table::Transactions;
    const BYTES: usize = 384;

    fn of(rows: &Rows) -> &[Self] {
        &rows.transactions
    }

    fn series(&self) -> Series {
        Series::Symbol(self.transaction.stock.clone())
    }

    fn time(&self) -> i64 {
        self.transaction.time
    }

    fn version(&self) -> i64 {
        IMMUTABLE
    }

    /// By when it reached the log: its own time is whatever its writer says, and ScyllaDB refuses
    /// what lies days ahead.
    fn timestamp(&self) -> Option<i64> {
        clamped(self.time())?;
        clamped(self.received_at)?.checked_mul(1_000)
    }

    fn write(&self, bucket: i64, to: &mut Cells) {
        let it = &self.transaction;
        to.text(it.stock.as_str()).int(bucket).int(it.time).text(&self.id);
        to.text(&it.timestamp).text(&it.kind).int(it.quantity);
        to.decimal(it.unit_price).decimal(it.total).text(&it.state);
        to.maybe_text(it.error.as_deref()).text(&it.extra).int(self.received_at);
    }

    fn key(&self) -> String {
        self.id.clone()
    }

    fn fault(&self) -> Option<&'static str> {
        (self.id.len() > KEY_BYTES_MAX).then_some("its id is too long for a key")
    }
}
