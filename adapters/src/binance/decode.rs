//! From the exchange's JSON to typed events.
//!
//! Trades and best bid and ask are most of the traffic: frames with their fields in the order in
//! which the exchange writes them are read by [`scan`]; everything else, and everything that is
//! wrong in any way, by serde.

use std::borrow::Cow;

use fts_core::decimal::Decimal;
use fts_core::market::{BookTicker, Event, Source, Symbol, Ticker, Topic, Trade};
use fts_core::port::decode::Decode;
use fts_core::port::log::Record;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

mod scan;
#[cfg(test)]
mod tests;

/// Price × quantity of one trade, in 10⁻¹⁶ of the quote currency: 10¹⁵ whole units. Sums of ten
/// million such products stay inside `i128`.
const NOTIONAL_MAX: i128 = 10_i128.pow(15 + 16);
/// Times from here on are in microseconds: as milliseconds they would be after the year 5138.
const MICROSECONDS_FROM: i64 = 100_000_000_000_000;
/// Later times are in no unit that the exchange sends.
const TIME_MAX: i64 = 100_000_000_000_000_000;
/// Of a value that is quoted in a reason.
const EXCERPT_CHARS: usize = 64;

/// Understands what the exchange's streams and REST send.
#[derive(Debug, Clone, Copy, Default)]
pub struct BinanceDecode;

impl BinanceDecode {
    /// As [`Decode::decode`], by serde alone: slower, and what the scanner is proven against.
    pub fn decode_by_serde(topic: Topic, record: &Record) -> Result<Event, String> {
        let text =
            std::str::from_utf8(&record.value).map_err(|error| format!("no text: {error}"))?;
        match (record.source, topic) {
            (Source::Control, _) => Err("a control record, not the exchange's".to_owned()),
            (_, Topic::DeadLetter) => Err("it names no stream that was asked for".to_owned()),
            (_, Topic::Daily | Topic::Transactions) => {
                Err("stocks are not this exchange's".to_owned())
            }
            (Source::Stream, Topic::Trade) => stream_trade(text, &record.key).map(Event::Trade),
            (Source::Stream, Topic::BookTicker) => book(text, &record.key).map(Event::Book),
            (Source::Stream, Topic::Ticker) => {
                ticker(text, &record.key).map(|ticker| Event::Ticker(Box::new(ticker)))
            }
            (Source::Stream, Topic::AggTrade) => raw(text, &record.key, "aggTrade"),
            (Source::Stream, Topic::Kline) => raw(text, &record.key, "kline"),
            (Source::Backfill, Topic::Trade) => past_trade(text).map(Event::Trade),
            (Source::Backfill, _) => Err("only trades can be backfilled".to_owned()),
        }
    }
}

impl Decode for BinanceDecode {
    fn decode(&self, topic: Topic, record: &Record) -> Result<Event, String> {
        let key = record.key.as_str().as_bytes();
        match (record.source, topic) {
            (Source::Stream, Topic::Trade) => {
                if let Some(trade) = scan::trade(&record.value, key) {
                    return valid_trade(trade).map(Event::Trade);
                }
            }
            (Source::Stream, Topic::BookTicker) => {
                if let Some(book) = scan::book(&record.value, key) {
                    return valid_book(book).map(Event::Book);
                }
            }
            _ => {}
        }
        Self::decode_by_serde(topic, record)
    }
}

/// `{"stream":"btcusdt@trade","data":{…}}`, in any order.
#[derive(Deserialize)]
struct Wrapper<T> {
    #[serde(rename = "stream")]
    _stream: IgnoredAny,
    data: T,
}

/// A value as it stands in the text, so that a reason can name its field.
type Field<'a> = Option<&'a RawValue>;

/// `{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",
/// "q":"0.02000000","T":1723161255342,"m":true,"M":true}`; older recordings have the ids of the
/// orders, `b` and `a`, too.
#[derive(Deserialize)]
struct TradeFields<'a> {
    #[serde(borrow)]
    e: Field<'a>,
    s: Field<'a>,
    t: Field<'a>,
    p: Field<'a>,
    q: Field<'a>,
    #[serde(rename = "T")]
    time: Field<'a>,
    m: Field<'a>,
}

/// `{"id":3735683259,"price":"61837.63000000","qty":"0.02000000","quoteQty":"1236.75260000",
/// "time":1723161255342,"isBuyerMaker":true,"isBestMatch":true}`
#[derive(Deserialize)]
struct PastTradeFields<'a> {
    #[serde(borrow)]
    id: Field<'a>,
    price: Field<'a>,
    qty: Field<'a>,
    time: Field<'a>,
    #[serde(rename = "isBuyerMaker")]
    is_buyer_maker: Field<'a>,
}

/// `{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000",
/// "A":"1.54698000"}`: no event, no time.
#[derive(Deserialize)]
struct BookFields<'a> {
    #[serde(borrow)]
    u: Field<'a>,
    s: Field<'a>,
    b: Field<'a>,
    #[serde(rename = "B")]
    bid_quantity: Field<'a>,
    a: Field<'a>,
    #[serde(rename = "A")]
    ask_quantity: Field<'a>,
}

/// `{"e":"24hrTicker","E":…,"s":"BTCUSDT","p":"-320.90000000",…}`, see [`Ticker`].
#[derive(Deserialize)]
struct TickerFields<'a> {
    #[serde(borrow)]
    e: Field<'a>,
    #[serde(rename = "E")]
    event_time: Field<'a>,
    s: Field<'a>,
    p: Field<'a>,
    #[serde(rename = "P")]
    change_percent: Field<'a>,
    w: Field<'a>,
    x: Field<'a>,
    c: Field<'a>,
    #[serde(rename = "Q")]
    last_quantity: Field<'a>,
    b: Field<'a>,
    #[serde(rename = "B")]
    bid_quantity: Field<'a>,
    a: Field<'a>,
    #[serde(rename = "A")]
    ask_quantity: Field<'a>,
    o: Field<'a>,
    h: Field<'a>,
    l: Field<'a>,
    v: Field<'a>,
    q: Field<'a>,
    #[serde(rename = "O")]
    open_time: Field<'a>,
    #[serde(rename = "C")]
    close_time: Field<'a>,
    #[serde(rename = "F")]
    first_trade_id: Field<'a>,
    #[serde(rename = "L")]
    last_trade_id: Field<'a>,
    n: Field<'a>,
}

/// What every event but the best bid and ask says of itself.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    e: Field<'a>,
    s: Field<'a>,
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => format!("the JSON is cut short: {error}"),
        serde_json::error::Category::Syntax => format!("not JSON: {error}"),
        _ => error.to_string(),
    })
}

fn stream_trade(frame: &str, key: &Symbol) -> Result<Trade, String> {
    let Wrapper { data, .. } = parse::<Wrapper<TradeFields<'_>>>(frame)?;
    check_event(data.e, "trade")?;
    check_symbol(data.s, key)?;
    valid_trade(Trade {
        id: integer("t", data.t)?,
        time: time("T", data.time)?,
        price: decimal("p", data.p)?,
        quantity: decimal("q", data.q)?,
        buyer_is_maker: boolean("m", data.m)?,
    })
}

fn past_trade(object: &str) -> Result<Trade, String> {
    let data = parse::<PastTradeFields<'_>>(object)?;
    valid_trade(Trade {
        id: integer("id", data.id)?,
        time: time("time", data.time)?,
        price: decimal("price", data.price)?,
        quantity: decimal("qty", data.qty)?,
        buyer_is_maker: boolean("isBuyerMaker", data.is_buyer_maker)?,
    })
}

fn valid_trade(trade: Trade) -> Result<Trade, String> {
    let Trade { id, price, quantity, .. } = trade;
    if id < 0 {
        return Err(format!("the trade id is negative: {id}"));
    }
    if price <= Decimal::ZERO {
        return Err(format!("the price is not above zero: {price}"));
    }
    if quantity <= Decimal::ZERO {
        return Err(format!("the quantity is not above zero: {quantity}"));
    }
    match price.0.checked_mul(quantity.0) {
        Some(notional) if notional <= NOTIONAL_MAX => Ok(trade),
        _ => Err(format!("price × quantity is beyond 10^15: {price} × {quantity}")),
    }
}

fn book(frame: &str, key: &Symbol) -> Result<BookTicker, String> {
    let Wrapper { data, .. } = parse::<Wrapper<BookFields<'_>>>(frame)?;
    check_symbol(data.s, key)?;
    valid_book(BookTicker {
        update_id: integer("u", data.u)?,
        bid_price: decimal("b", data.b)?,
        bid_quantity: decimal("B", data.bid_quantity)?,
        ask_price: decimal("a", data.a)?,
        ask_quantity: decimal("A", data.ask_quantity)?,
    })
}

/// Zero is how an empty side is sent; bid above ask happens at the edge of an auction.
fn valid_book(book: BookTicker) -> Result<BookTicker, String> {
    if book.update_id < 0 {
        return Err(format!("the update id is negative: {}", book.update_id));
    }
    let lowest = book.bid_price.min(book.bid_quantity).min(book.ask_price).min(book.ask_quantity);
    if lowest < Decimal::ZERO {
        return Err(format!("a price or quantity is negative: {lowest}"));
    }
    Ok(book)
}

fn ticker(frame: &str, key: &Symbol) -> Result<Ticker, String> {
    let Wrapper { data, .. } = parse::<Wrapper<TickerFields<'_>>>(frame)?;
    check_event(data.e, "24hrTicker")?;
    check_symbol(data.s, key)?;
    Ok(Ticker {
        event_time: time("E", data.event_time)?,
        price_change: decimal("p", data.p)?,
        price_change_percent: decimal("P", data.change_percent)?,
        weighted_avg_price: decimal("w", data.w)?,
        first_trade_price: decimal("x", data.x)?,
        last_price: decimal("c", data.c)?,
        last_quantity: decimal("Q", data.last_quantity)?,
        best_bid_price: decimal("b", data.b)?,
        best_bid_quantity: decimal("B", data.bid_quantity)?,
        best_ask_price: decimal("a", data.a)?,
        best_ask_quantity: decimal("A", data.ask_quantity)?,
        open_price: decimal("o", data.o)?,
        high_price: decimal("h", data.h)?,
        low_price: decimal("l", data.l)?,
        base_volume: decimal("v", data.v)?,
        quote_volume: decimal("q", data.q)?,
        open_time: time("O", data.open_time)?,
        close_time: time("C", data.close_time)?,
        first_trade_id: integer("F", data.first_trade_id)?,
        last_trade_id: integer("L", data.last_trade_id)?,
        trade_count: integer("n", data.n)?,
    })
}

fn raw(frame: &str, key: &Symbol, event: &str) -> Result<Event, String> {
    let Wrapper { data, .. } = parse::<Wrapper<Head<'_>>>(frame)?;
    if data.e.is_none() {
        return Err(missing("e"));
    }
    check_event(data.e, event)?;
    check_symbol(data.s, key)?;
    Ok(Event::Raw)
}

fn check_event(field: Field<'_>, expected: &str) -> Result<(), String> {
    let Some(field) = field else { return Ok(()) };
    let event = text("e", Some(field))?;
    if event == expected {
        return Ok(());
    }
    Err(format!("field `e` is not \"{expected}\": {}", excerpt(field.get())))
}

fn check_symbol(field: Field<'_>, key: &Symbol) -> Result<(), String> {
    let symbol = text("s", field)?;
    if symbol == key.as_str() {
        return Ok(());
    }
    Err(format!("field `s` is not the record's symbol {key}: {}", excerpt(&symbol)))
}

fn text<'a>(name: &str, field: Field<'a>) -> Result<Cow<'a, str>, String> {
    let raw = field.ok_or_else(|| missing(name))?.get();
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| {
            format!("field `{name}` has an escape that means nothing: {}", excerpt(raw))
        }),
        None => Err(format!("field `{name}` is not a text: {}", excerpt(raw))),
    }
}

fn decimal(name: &str, field: Field<'_>) -> Result<Decimal, String> {
    let text = text(name, field)?;
    Decimal::parse(text.as_bytes())
        .map_err(|error| format!("field `{name}` is {error}: \"{}\"", excerpt(&text)))
}

fn integer(name: &str, field: Field<'_>) -> Result<i64, String> {
    let raw = field.ok_or_else(|| missing(name))?.get();
    serde_json::from_str(raw)
        .map_err(|_| format!("field `{name}` is not a whole number: {}", excerpt(raw)))
}

/// Epoch milliseconds; microseconds are cut.
fn time(name: &str, field: Field<'_>) -> Result<i64, String> {
    let value = integer(name, field)?;
    millis(value).ok_or_else(|| format!("field `{name}` is not a time: {value}"))
}

fn millis(value: i64) -> Option<i64> {
    match value {
        0..MICROSECONDS_FROM => Some(value),
        MICROSECONDS_FROM..TIME_MAX => Some(value / 1_000),
        _ => None,
    }
}

fn boolean(name: &str, field: Field<'_>) -> Result<bool, String> {
    match field.ok_or_else(|| missing(name))?.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("field `{name}` is neither true nor false: {}", excerpt(other))),
    }
}

fn missing(name: &str) -> String {
    format!("field `{name}` is missing")
}

fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}
