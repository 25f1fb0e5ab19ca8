//! The streams of a generated market: their names and their payloads, field by field as documented.

use crate::interval::Interval;
use crate::json::{Writer, push_text};
use crate::market::{AggTrade, Bar, Quote, Trade};
use crate::ticker::{Ticker, id_range, push_percent};
use fts_core::decimal::{Decimal, Notional};

/// What a stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every trade.
    Trade,
    /// Every aggregate trade.
    AggTrade,
    /// Every change of the best bid and ask.
    BookTicker,
    /// The rolling 24 hours, every second.
    Ticker,
    /// A candle under way; the number is the position in [`Interval::ALL`].
    Kline(usize),
}

/// How many kinds of streams a symbol has.
pub(crate) const KINDS: usize = 4 + Interval::ALL.len();

impl Kind {
    /// The position of this kind among the streams of a symbol.
    pub(crate) fn position(self) -> usize {
        match self {
            Kind::Trade => 0,
            Kind::AggTrade => 1,
            Kind::BookTicker => 2,
            Kind::Ticker => 3,
            Kind::Kline(interval) => 4 + interval,
        }
    }
}

/// The names of all streams of the symbols, in the order of symbol and [`Kind::position`].
pub(crate) fn names<'a>(symbols: impl Iterator<Item = &'a str>) -> Vec<String> {
    let fixed = ["trade", "aggTrade", "bookTicker", "ticker"];
    symbols
        .flat_map(|symbol| {
            let symbol = symbol.to_lowercase();
            let klines = Interval::ALL.map(|interval| format!("kline_{}", interval.name()));
            let kinds = fixed.into_iter().map(str::to_owned).chain(klines);
            kinds.map(move |kind| format!("{symbol}@{kind}")).collect::<Vec<_>>()
        })
        .collect()
}

/// `@trade`
pub(crate) fn trade(out: &mut Vec<u8>, symbol: &str, event_time: i64, trade: &Trade) {
    Writer::object(out)
        .text("e", "trade")
        .int("E", event_time)
        .text("s", symbol)
        .uint("t", trade.id)
        .decimal("p", trade.price)
        .decimal("q", trade.quantity)
        .int("T", trade.time)
        .flag("m", trade.buyer_is_maker)
        .flag("M", true)
        .end();
}

/// `@aggTrade`
pub(crate) fn agg_trade(out: &mut Vec<u8>, symbol: &str, event_time: i64, agg: &AggTrade) {
    Writer::object(out)
        .text("e", "aggTrade")
        .int("E", event_time)
        .text("s", symbol)
        .uint("a", agg.id)
        .decimal("p", agg.price)
        .decimal("q", agg.quantity)
        .uint("f", agg.first_id)
        .uint("l", agg.last_id)
        .int("T", agg.time)
        .flag("m", agg.buyer_is_maker)
        .flag("M", true)
        .end();
}

/// `@bookTicker`: it has neither a type nor a time.
pub(crate) fn book_ticker(out: &mut Vec<u8>, symbol: &str, quote: &Quote) {
    Writer::object(out)
        .uint("u", quote.update_id)
        .text("s", symbol)
        .decimal("b", quote.bid)
        .decimal("B", quote.bid_quantity)
        .decimal("a", quote.ask)
        .decimal("A", quote.ask_quantity)
        .end();
}

/// `@ticker`
pub(crate) fn ticker(out: &mut Vec<u8>, symbol: &str, event_time: i64, ticker: &Ticker) {
    let (first, last, count) = ticker.ids();
    Writer::object(out)
        .text("e", "24hrTicker")
        .int("E", event_time)
        .text("s", symbol)
        .decimal("p", ticker.change())
        .field("P", |out| push_percent(out, ticker.change_percent()))
        .decimal("w", ticker.weighted_average())
        .decimal("x", ticker.previous_close)
        .decimal("c", ticker.price(|bar| bar.close))
        .decimal("Q", ticker.price(|bar| bar.last_quantity))
        .decimal("b", ticker.quote.bid)
        .decimal("B", ticker.quote.bid_quantity)
        .decimal("a", ticker.quote.ask)
        .decimal("A", ticker.quote.ask_quantity)
        .decimal("o", ticker.price(|bar| bar.open))
        .decimal("h", ticker.price(|bar| bar.high))
        .decimal("l", ticker.price(|bar| bar.low))
        .decimal("v", ticker.price(|bar| bar.volume))
        .notional("q", ticker.quote_volume())
        .int("O", ticker.open_time)
        .int("C", ticker.close_time)
        .int("F", first)
        .int("L", last)
        .uint("n", count)
        .end();
}

/// One state of a candle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kline<'a> {
    pub(crate) interval: Interval,
    pub(crate) open_time: i64,
    /// `None`: nothing was traded; the candle is flat at `previous_close`.
    pub(crate) bar: Option<&'a Bar>,
    pub(crate) previous_close: Decimal,
    pub(crate) closed: bool,
}

/// `@kline_<i>`
pub(crate) fn kline(out: &mut Vec<u8>, symbol: &str, event_time: i64, kline: &Kline<'_>) {
    let (first, last, count) = id_range(kline.bar);
    let price = |of: fn(&Bar) -> Decimal| kline.bar.map_or(kline.previous_close, of);
    let quantity = |of: fn(&Bar) -> Decimal| kline.bar.map_or(Decimal::ZERO, of);
    let amount = |of: fn(&Bar) -> Notional| kline.bar.map_or(Notional::ZERO, of);
    let body = |out: &mut Vec<u8>| {
        Writer::object(out)
            .int("t", kline.open_time)
            .int("T", kline.interval.end_of(kline.open_time) - 1)
            .text("s", symbol)
            .text("i", kline.interval.name())
            .int("f", first)
            .int("L", last)
            .decimal("o", price(|bar| bar.open))
            .decimal("c", price(|bar| bar.close))
            .decimal("h", price(|bar| bar.high))
            .decimal("l", price(|bar| bar.low))
            .decimal("v", quantity(|bar| bar.volume))
            .uint("n", count)
            .flag("x", kline.closed)
            .notional("q", amount(|bar| bar.quote_volume))
            .decimal("V", quantity(|bar| bar.taker_volume))
            .notional("Q", amount(|bar| bar.taker_quote_volume))
            .field("B", |out| push_text(out, "0"))
            .end();
    };
    Writer::object(out)
        .text("e", "kline")
        .int("E", event_time)
        .text("s", symbol)
        .field("k", body)
        .end();
}
