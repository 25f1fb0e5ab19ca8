//! Rows as documents: which id, of what time and version, and what stands in which column.

mod stocks;

use std::fmt::{Arguments, Write as _};

use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Trade};
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, DeadLetterRow, GapRow,
    Rows, Table, TickerRow, TradeRow,
};

use super::document::{Document, Fields, Read};
pub(super) use stocks::{daily, transaction};

/// The version of rows that never change: there is nothing to know more of.
const IMMUTABLE: i64 = 0;
const BID: [&str; 4] = ["bid_open", "bid_high", "bid_low", "bid_close"];
const ASK: [&str; 4] = ["ask_open", "ask_high", "ask_low", "ask_close"];

/// A row of one of the tables.
pub(super) trait Stored: Sync {
    fn table(&self) -> Table;

    /// The row's own time, epoch milliseconds. A function of its key: all versions of a row lie in
    /// one index.
    fn time(&self) -> i64;

    /// How much it knows.
    fn version(&self) -> i64 {
        IMMUTABLE
    }

    /// Its key, as one text; between its parts a colon, which no symbol has.
    fn id(&self, to: &mut String);

    fn write(&self, to: &mut Document<'_>);
}

/// All rows, table after table.
pub(super) fn each(rows: &Rows) -> impl Iterator<Item = &dyn Stored> {
    fn of<R: Stored>(rows: &[R]) -> impl Iterator<Item = &dyn Stored> {
        rows.iter().map(|row| row as &dyn Stored)
    }
    of(&rows.trades)
        .chain(of(&rows.candles))
        .chain(of(&rows.book_tickers))
        .chain(of(&rows.book_seconds))
        .chain(of(&rows.tickers))
        .chain(of(&rows.gaps))
        .chain(of(&rows.alerts))
        .chain(of(&rows.dead_letters))
        .chain(of(&rows.dailies))
        .chain(of(&rows.daily_changes))
        .chain(of(&rows.transactions))
}

fn put(to: &mut String, text: Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = to.write_fmt(text);
}

/// `up` or `down`.
const fn direction(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// `btcusdt@bookTicker`: the column `stream` of the tables that people know.
fn stream(symbol: &Symbol, channel: &str) -> String {
    let mut text = symbol.as_str().to_lowercase();
    text.push_str(channel);
    text
}

impl Stored for TradeRow {
    fn table(&self) -> Table {
        Table::Trades
    }

    fn time(&self) -> i64 {
        self.trade.time
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.trade.id));
    }

    fn write(&self, to: &mut Document<'_>) {
        let trade = &self.trade;
        to.text("symbol", self.symbol.as_str()).long("trade_id", trade.id).date("time", trade.time);
        to.decimal("price", trade.price).decimal("quantity", trade.quantity);
        to.flag("buyer_is_maker", trade.buyer_is_maker).date("received_at", self.received_at);
        to.text("source", self.source.name());
    }
}

pub(super) fn trade(of: &Fields<'_>) -> Read<TradeRow> {
    Ok(TradeRow {
        symbol: symbol(of, "symbol")?,
        trade: Trade {
            id: of.long("trade_id")?,
            time: of.date("time")?,
            price: of.decimal("price")?,
            quantity: of.decimal("quantity")?,
            buyer_is_maker: of.flag("buyer_is_maker")?,
        },
        received_at: of.date("received_at")?,
        source: of.word("source", "a source", Source::from_name)?,
    })
}

impl Stored for CandleRow {
    fn table(&self) -> Table {
        Table::Candles
    }

    fn time(&self) -> i64 {
        self.candle.open_time
    }

    fn version(&self) -> i64 {
        self.version()
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}:{}", self.symbol, self.interval, self.candle.open_time));
    }

    fn write(&self, to: &mut Document<'_>) {
        let candle = &self.candle;
        to.text("symbol", self.symbol.as_str()).text("interval", self.interval.name());
        to.date("open_time", candle.open_time).date("close_time", self.close_time());
        to.decimal("open", candle.open).decimal("high", candle.high);
        to.decimal("low", candle.low).decimal("close", candle.close);
        to.decimal("volume", candle.volume).notional("quote_volume", candle.quote_volume);
        to.long("trade_count", candle.trade_count);
        to.decimal("taker_buy_volume", candle.taker_buy_volume);
        to.notional("taker_buy_quote_volume", candle.taker_buy_quote_volume);
        to.long("first_trade_id", candle.first_trade_id);
        to.long("last_trade_id", candle.last_trade_id);
        to.flag("complete", self.complete).long("version", self.version());
    }
}

pub(super) fn candle(of: &Fields<'_>) -> Read<CandleRow> {
    Ok(CandleRow {
        symbol: symbol(of, "symbol")?,
        interval: of.word("interval", "an interval", |it| it.parse::<Interval>().ok())?,
        candle: Candle {
            open_time: of.date("open_time")?,
            open: of.decimal("open")?,
            high: of.decimal("high")?,
            low: of.decimal("low")?,
            close: of.decimal("close")?,
            volume: of.decimal("volume")?,
            quote_volume: of.notional("quote_volume")?,
            trade_count: of.long("trade_count")?,
            taker_buy_volume: of.decimal("taker_buy_volume")?,
            taker_buy_quote_volume: of.notional("taker_buy_quote_volume")?,
            first_trade_id: of.long("first_trade_id")?,
            last_trade_id: of.long("last_trade_id")?,
        },
        complete: of.flag("complete")?,
    })
}

impl Stored for BookTickerRow {
    fn table(&self) -> Table {
        Table::BookTickers
    }

    fn time(&self) -> i64 {
        self.received_at
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.book.update_id));
    }

    fn write(&self, to: &mut Document<'_>) {
        let book = &self.book;
        to.text("id", &format!("{}-{}", self.symbol, book.update_id));
        to.text("stream", &stream(&self.symbol, "@bookTicker")).long("update_id", book.update_id);
        to.text("symbol", self.symbol.as_str());
        to.decimal("best_bid_price", book.bid_price);
        to.decimal("best_bid_quantity", book.bid_quantity);
        to.decimal("best_ask_price", book.ask_price);
        to.decimal("best_ask_quantity", book.ask_quantity);
        to.date("received_at", self.received_at);
    }
}

pub(super) fn book(of: &Fields<'_>) -> Read<BookTicker> {
    Ok(BookTicker {
        update_id: of.long("update_id")?,
        bid_price: of.decimal("best_bid_price")?,
        bid_quantity: of.decimal("best_bid_quantity")?,
        ask_price: of.decimal("best_ask_price")?,
        ask_quantity: of.decimal("best_ask_quantity")?,
    })
}

impl Stored for BookSecondRow {
    fn table(&self) -> Table {
        Table::BookSeconds
    }

    fn time(&self) -> i64 {
        self.second.open_time
    }

    fn version(&self) -> i64 {
        self.second.update_count
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.second.open_time));
    }

    fn write(&self, to: &mut Document<'_>) {
        let second = &self.second;
        to.text("symbol", self.symbol.as_str());
        to.date("open_time", second.open_time);
        to.date("close_time", second.open_time.saturating_add(999));
        to.extent(BID, &second.bid).extent(ASK, &second.ask);
        to.decimal("spread_sum", second.spread_sum).decimal("mean_spread", second.mean_spread());
        to.long("update_count", second.update_count);
        to.long("first_update_id", second.first_update_id);
        to.long("last_update_id", second.last_update_id).long("version", second.update_count);
    }
}

pub(super) fn second(of: &Fields<'_>) -> Read<BookSecond> {
    Ok(BookSecond {
        open_time: of.date("open_time")?,
        bid: of.extent(BID)?,
        ask: of.extent(ASK)?,
        spread_sum: of.decimal("spread_sum")?,
        update_count: of.long("update_count")?,
        first_update_id: of.long("first_update_id")?,
        last_update_id: of.long("last_update_id")?,
    })
}

impl Stored for TickerRow {
    fn table(&self) -> Table {
        Table::Tickers
    }

    fn time(&self) -> i64 {
        self.ticker.event_time
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.ticker.event_time));
    }

    fn write(&self, to: &mut Document<'_>) {
        let it = &*self.ticker;
        to.text("id", &format!("{}-{}", self.symbol, it.event_time));
        to.text("stream", &stream(&self.symbol, "@ticker")).text("event_type", "24hrTicker");
        to.date("event_time", it.event_time).text("symbol", self.symbol.as_str());
        to.decimal("price_change", it.price_change);
        to.decimal("price_change_percent", it.price_change_percent);
        to.decimal("weighted_avg_price", it.weighted_avg_price);
        to.decimal("first_trade_price", it.first_trade_price);
        to.decimal("last_price", it.last_price).decimal("last_quantity", it.last_quantity);
        to.decimal("best_bid_price", it.best_bid_price);
        to.decimal("best_bid_quantity", it.best_bid_quantity);
        to.decimal("best_ask_price", it.best_ask_price);
        to.decimal("best_ask_quantity", it.best_ask_quantity);
        to.decimal("open_price", it.open_price);
        to.decimal("high_price", it.high_price).decimal("low_price", it.low_price);
        to.decimal("total_traded_base_asset_volume", it.base_volume);
        to.decimal("total_traded_quote_asset_volume", it.quote_volume);
        to.date("statistics_open_time", it.open_time);
        to.date("statistics_close_time", it.close_time);
        to.long("first_trade_id", it.first_trade_id).long("last_trade_id", it.last_trade_id);
        to.long("total_number_of_trades", it.trade_count).date("received_at", self.received_at);
    }
}

pub(super) fn ticker(of: &Fields<'_>) -> Read<Ticker> {
    Ok(Ticker {
        event_time: of.date("event_time")?,
        price_change: of.decimal("price_change")?,
        price_change_percent: of.decimal("price_change_percent")?,
        weighted_avg_price: of.decimal("weighted_avg_price")?,
        first_trade_price: of.decimal("first_trade_price")?,
        last_price: of.decimal("last_price")?,
        last_quantity: of.decimal("last_quantity")?,
        best_bid_price: of.decimal("best_bid_price")?,
        best_bid_quantity: of.decimal("best_bid_quantity")?,
        best_ask_price: of.decimal("best_ask_price")?,
        best_ask_quantity: of.decimal("best_ask_quantity")?,
        open_price: of.decimal("open_price")?,
        high_price: of.decimal("high_price")?,
        low_price: of.decimal("low_price")?,
        base_volume: of.decimal("total_traded_base_asset_volume")?,
        quote_volume: of.decimal("total_traded_quote_asset_volume")?,
        open_time: of.date("statistics_open_time")?,
        close_time: of.date("statistics_close_time")?,
        first_trade_id: of.long("first_trade_id")?,
        last_trade_id: of.long("last_trade_id")?,
        trade_count: of.long("total_number_of_trades")?,
    })
}

impl Stored for GapRow {
    fn table(&self) -> Table {
        Table::Gaps
    }

    fn time(&self) -> i64 {
        self.before_time
    }

    fn version(&self) -> i64 {
        self.version()
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.first_trade_id));
    }

    fn write(&self, to: &mut Document<'_>) {
        to.text("symbol", self.symbol.as_str()).long("first_trade_id", self.first_trade_id);
        to.long("last_trade_id", self.last_trade_id).long("missing", self.missing);
        to.maybe_date("after_time", self.after_time).date("before_time", self.before_time);
        to.text("reason", &self.reason).long("version", self.version());
    }
}

pub(super) fn gap(of: &Fields<'_>) -> Read<GapRow> {
    Ok(GapRow {
        symbol: symbol(of, "symbol")?,
        first_trade_id: of.long("first_trade_id")?,
        last_trade_id: of.long("last_trade_id")?,
        missing: of.long("missing")?,
        after_time: of.maybe_date("after_time")?,
        before_time: of.date("before_time")?,
        reason: of.text("reason")?,
    })
}

impl Stored for AlertRow {
    fn table(&self) -> Table {
        Table::Alerts
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}:{}", self.symbol, self.time, direction(self.up)));
    }

    fn write(&self, to: &mut Document<'_>) {
        to.text("symbol", self.symbol.as_str()).date("time", self.time);
        to.text("direction", direction(self.up)).long("window_ms", self.window_ms);
        to.decimal("threshold_percent", self.threshold_percent);
        to.decimal("reference_price", self.reference_price).decimal("price", self.price);
        to.decimal("change_percent", self.change_percent);
    }
}

pub(super) fn alert(of: &Fields<'_>) -> Read<AlertRow> {
    Ok(AlertRow {
        symbol: symbol(of, "symbol")?,
        time: of.date("time")?,
        up: of.word("direction", "up or down", |text| match text {
            "up" => Some(true),
            "down" => Some(false),
            _ => None,
        })?,
        window_ms: of.long("window_ms")?,
        threshold_percent: of.decimal("threshold_percent")?,
        reference_price: of.decimal("reference_price")?,
        price: of.decimal("price")?,
        change_percent: of.decimal("change_percent")?,
    })
}

impl Stored for DeadLetterRow {
    fn table(&self) -> Table {
        Table::DeadLetters
    }

    fn time(&self) -> i64 {
        self.received_at
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}:{}", self.topic.name(), self.partition, self.offset));
    }

    fn write(&self, to: &mut Document<'_>) {
        to.text("topic", self.topic.name()).long("partition", i64::from(self.partition));
        to.unsigned("offset", self.offset);
        to.text("symbol", self.symbol.as_str()).date("received_at", self.received_at);
        to.text("reason", &self.reason).text("payload", &self.payload);
    }
}

fn symbol(of: &Fields<'_>, column: &str) -> Read<Symbol> {
    of.word(column, "a symbol", |text| Symbol::new(text).ok())
}
