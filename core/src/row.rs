//! The rows that stores keep: one type a table.
//!
//! Every row says how much it knows (`version`): a store keeps, of two rows with one key, the one
//! with the greater version, in whatever order they come. Times are epoch milliseconds UTC.

use crate::decimal::{Decimal, Notional};
use crate::interval::Interval;
use crate::market::{BookTicker, Source, Symbol, Ticker, Topic, Trade};
use crate::stock::{Daily, DailyChange, Transaction};

/// A batch of rows for all tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// `trades`, key: symbol, trade id.
    pub trades: Vec<TradeRow>,
    /// `candles`, key: symbol, interval, open time.
    pub candles: Vec<CandleRow>,
    /// `binance_book_ticker_data`, key: symbol, update id.
    pub book_tickers: Vec<BookTickerRow>,
    /// `book_ticker_1s`, key: symbol, open time.
    pub book_seconds: Vec<BookSecondRow>,
    /// `binance_ticker_data`, key: symbol, event time.
    pub tickers: Vec<TickerRow>,
    /// `gaps`, key: symbol, first trade id.
    pub gaps: Vec<GapRow>,
    /// `alerts`, key: symbol, time, direction.
    pub alerts: Vec<AlertRow>,
    /// `dead_letters`, key: topic, partition, offset.
    pub dead_letters: Vec<DeadLetterRow>,
    /// `finanzas_batch`, key: symbol, date.
    pub dailies: Vec<DailyRow>,
    /// `finanzas_batch_changes`, key: symbol, date, column, time of the fetch.
    pub daily_changes: Vec<DailyChangeRow>,
    /// `transacciones_nrt`, key: id.
    pub transactions: Vec<TransactionRow>,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.trades.len()
            + self.candles.len()
            + self.book_tickers.len()
            + self.book_seconds.len()
            + self.tickers.len()
            + self.gaps.len()
            + self.alerts.len()
            + self.dead_letters.len()
            + self.dailies.len()
            + self.daily_changes.len()
            + self.transactions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows of `table` there are.
    pub fn count(&self, table: Table) -> usize {
        match table {
            Table::Trades => self.trades.len(),
            Table::Candles => self.candles.len(),
            Table::BookTickers => self.book_tickers.len(),
            Table::BookSeconds => self.book_seconds.len(),
            Table::Tickers => self.tickers.len(),
            Table::Gaps => self.gaps.len(),
            Table::Alerts => self.alerts.len(),
            Table::DeadLetters => self.dead_letters.len(),
            Table::Dailies => self.dailies.len(),
            Table::DailyChanges => self.daily_changes.len(),
            Table::Transactions => self.transactions.len(),
        }
    }

    /// Takes the rows of `table` from the `at`th on (there are as many) into a batch of their own.
    pub fn split_off(&mut self, table: Table, at: usize) -> Self {
        let mut rest = Self::default();
        match table {
            Table::Trades => rest.trades = self.trades.split_off(at),
            Table::Candles => rest.candles = self.candles.split_off(at),
            Table::BookTickers => rest.book_tickers = self.book_tickers.split_off(at),
            Table::BookSeconds => rest.book_seconds = self.book_seconds.split_off(at),
            Table::Tickers => rest.tickers = self.tickers.split_off(at),
            Table::Gaps => rest.gaps = self.gaps.split_off(at),
            Table::Alerts => rest.alerts = self.alerts.split_off(at),
            Table::DeadLetters => rest.dead_letters = self.dead_letters.split_off(at),
            Table::Dailies => rest.dailies = self.dailies.split_off(at),
            Table::DailyChanges => rest.daily_changes = self.daily_changes.split_off(at),
            Table::Transactions => rest.transactions = self.transactions.split_off(at),
        }
        rest
    }

    /// Drops the rows of `table`.
    pub fn clear(&mut self, table: Table) {
        match table {
            Table::Trades => self.trades.clear(),
            Table::Candles => self.candles.clear(),
            Table::BookTickers => self.book_tickers.clear(),
            Table::BookSeconds => self.book_seconds.clear(),
            Table::Tickers => self.tickers.clear(),
            Table::Gaps => self.gaps.clear(),
            Table::Alerts => self.alerts.clear(),
            Table::DeadLetters => self.dead_letters.clear(),
            Table::Dailies => self.dailies.clear(),
            Table::DailyChanges => self.daily_changes.clear(),
            Table::Transactions => self.transactions.clear(),
        }
    }
}

/// The tables, by their public names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Single trades.
    Trades,
    /// Candles of every interval.
    Candles,
    /// Every change of the best bid or ask.
    BookTickers,
    /// Best bid and ask per second.
    BookSeconds,
    /// The 24 h statistics as received.
    Tickers,
    /// Trade ids that the exchange does not have.
    Gaps,
    /// Abrupt price changes.
    Alerts,
    /// What could not be understood.
    DeadLetters,
    /// Daily prices of stocks.
    Dailies,
    /// Daily prices that were restated.
    DailyChanges,
    /// Purchases and sales of stocks.
    Transactions,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 11] = [
        Self::Trades,
        Self::Candles,
        Self::BookTickers,
        Self::BookSeconds,
        Self::Tickers,
        Self::Gaps,
        Self::Alerts,
        Self::DeadLetters,
        Self::Dailies,
        Self::DailyChanges,
        Self::Transactions,
    ];

    /// The table's name in stores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Candles => "candles",
            Self::BookTickers => "binance_book_ticker_data",
            Self::BookSeconds => "book_ticker_1s",
            Self::Tickers => "binance_ticker_data",
            Self::Gaps => "gaps",
            Self::Alerts => "alerts",
            Self::DeadLetters => "dead_letters",
            Self::Dailies => "finanzas_batch",
            Self::DailyChanges => "finanzas_batch_changes",
            Self::Transactions => "transacciones_nrt",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// A trade, stored once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRow {
    /// What was traded.
    pub symbol: Symbol,
    /// The trade.
    pub trade: Trade,
    /// When it reached this system, by the receiving node's clock.
    pub received_at: i64,
    /// By stream or by backfill.
    pub source: Source,
}

/// A candle and whether it is proven complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandleRow {
    /// What was traded.
    pub symbol: Symbol,
    /// How long the window is.
    pub interval: Interval,
    /// The trades of the window, folded.
    pub candle: Candle,
    /// Whether the trade ids are contiguous from the trade before the window to the one after it.
    pub complete: bool,
}

/// The trades of one window, folded. Independent of the order in which they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// Start of the window, inclusive.
    pub open_time: i64,
    /// Price of the trade with the lowest id.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Price of the trade with the highest id.
    pub close: Decimal,
    /// Sum of quantities.
    pub volume: Decimal,
    /// Sum of price × quantity.
    pub quote_volume: Notional,
    /// Number of trades.
    pub trade_count: i64,
    /// Sum of quantities where the taker bought.
    pub taker_buy_volume: Decimal,
    /// Sum of price × quantity where the taker bought.
    pub taker_buy_quote_volume: Notional,
    /// Lowest trade id.
    pub first_trade_id: i64,
    /// Highest trade id.
    pub last_trade_id: i64,
}

impl CandleRow {
    /// Last millisecond of the window.
    pub fn close_time(&self) -> i64 {
        self.candle.open_time + self.interval.millis() - 1
    }

    /// Twice its trades, plus one once it is complete.
    pub fn version(&self) -> i64 {
        2 * self.candle.trade_count + i64::from(self.complete)
    }
}

/// The best bid and ask after one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookTickerRow {
    /// Whose book.
    pub symbol: Symbol,
    /// The change.
    pub book: BookTicker,
    /// When it reached this system; the exchange sends no time of its own.
    pub received_at: i64,
}

/// Best bid and ask over one second of receive time. Version: the number of updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookSecondRow {
    /// Whose book.
    pub symbol: Symbol,
    /// The second.
    pub second: BookSecond,
}

/// The updates of one second, folded by update id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookSecond {
    /// Start of the second, by receive time.
    pub open_time: i64,
    /// The best bid.
    pub bid: Extent,
    /// The best ask.
    pub ask: Extent,
    /// Sum of ask − bid over all updates.
    pub spread_sum: Decimal,
    /// Number of updates.
    pub update_count: i64,
    /// Lowest update id.
    pub first_update_id: i64,
    /// Highest update id.
    pub last_update_id: i64,
}

impl BookSecond {
    /// The mean of ask − bid over the updates, rounded half away from zero to 10⁻⁸.
    pub fn mean_spread(&self) -> Decimal {
        self.spread_sum.mean_of(u64::try_from(self.update_count).unwrap_or(1))
    }
}

/// First, highest, lowest and last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First.
    pub open: Decimal,
    /// Highest.
    pub high: Decimal,
    /// Lowest.
    pub low: Decimal,
    /// Last.
    pub close: Decimal,
}

/// The 24 h statistics, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickerRow {
    /// Of which symbol.
    pub symbol: Symbol,
    /// The statistics.
    pub ticker: Box<Ticker>,
    /// When they reached this system.
    pub received_at: i64,
}

/// Trade ids that the exchange itself does not have. Version: how many of them came after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRow {
    /// Of which symbol.
    pub symbol: Symbol,
    /// First id that is missing.
    pub first_trade_id: i64,
    /// Last id that is missing.
    pub last_trade_id: i64,
    /// How many ids of them are still missing.
    pub missing: i64,
    /// Time of the last trade before the gap; `None` where there is none.
    pub after_time: Option<i64>,
    /// Time of the first trade after the gap.
    pub before_time: i64,
    /// Why they can't be had.
    pub reason: String,
}

impl GapRow {
    /// How many ids of the gap came after all.
    pub fn version(&self) -> i64 {
        self.last_trade_id - self.first_trade_id + 1 - self.missing
    }
}

/// An abrupt price change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Of which symbol.
    pub symbol: Symbol,
    /// Start of the second at whose end the change had reached the threshold.
    pub time: i64,
    /// Whether the price rose.
    pub up: bool,
    /// Over how many milliseconds the change is measured.
    pub window_ms: i64,
    /// The configured threshold, percent.
    pub threshold_percent: Decimal,
    /// The price one window earlier.
    pub reference_price: Decimal,
    /// The price at the end of the second.
    pub price: Decimal,
    /// The change, percent.
    pub change_percent: Decimal,
}

/// A record that could not be understood, kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Where in the log it lies.
    pub topic: Topic,
    /// Where in the log it lies.
    pub partition: u32,
    /// Where in the log it lies.
    pub offset: u64,
    /// The key it was appended with.
    pub symbol: Symbol,
    /// When it reached this system.
    pub received_at: i64,
    /// What is wrong with it.
    pub reason: String,
    /// The record's value; bytes that are no UTF-8 are replaced.
    pub payload: String,
}

/// The prices of a stock on one day. Version: when they were fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyRow {
    /// Of which stock.
    pub symbol: Symbol,
    /// The prices.
    pub daily: Daily,
}

/// A value of a day that its source has restated. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyChangeRow {
    /// Of which stock.
    pub symbol: Symbol,
    /// What was changed.
    pub change: DailyChange,
}

/// A purchase or sale of a stock. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRow {
    /// What its writer calls it, or else its place in the log.
    pub id: String,
    /// What was done.
    pub transaction: Transaction,
    /// When it reached the log.
    pub received_at: i64,
}
