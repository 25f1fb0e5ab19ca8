//! The exchange's own market data API, answered from what the node captured: same paths, same
//! parameters, same JSON, same errors. Clients written for the exchange work unchanged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use fts_core::decimal::Decimal;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::{End, Span};
use fts_core::row::CandleRow;
use serde::Serialize;
use serde_json::json;

use super::App;
use super::candles::{self, Wanted};
use super::params::{Bound, Params, Symbols};
use super::reach::Reach;
use super::refusal::Refusal;

/// As many candles as the exchange gives at once.
const KLINES_MAX: usize = 1_000;
const KLINES_DEFAULT: usize = 500;

/// A kline as the exchange writes it.
pub(super) type Kline =
    (i64, String, String, String, String, String, i64, String, i64, String, String, &'static str);

/// `GET /api/v3/ping`
pub(super) async fn ping() -> Response {
    Json(json!({})).into_response()
}

/// `GET /api/v3/time`
pub(super) async fn time(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    let time = TimeUnit::asked(&headers)?.of(app.web.clock.now().millis());
    Ok(Json(json!({ "serverTime": time })).into_response())
}

type Answer = Result<Response, Refusal>;

/// `GET /api/v3/klines`
pub(super) async fn klines(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer {
    let unit = TimeUnit::asked(&headers)?;
    let symbol = params.symbol()?;
    let interval = params.interval()?;
    let wanted = Wanted {
        from: params.time("startTime", Bound::From)?,
        to: params.time("endTime", Bound::To)?,
        limit: params.limit(KLINES_DEFAULT, KLINES_MAX)?,
    };
    let zone = params.optional("timeZone")?.map_or(Some(0), |zone| zone_millis(&zone));
    params.finish()?;
    // Windows of another zone are ours where they start at the same instants.
    if zone.is_none_or(|offset| offset % interval.millis() != 0) {
        return Err(Refusal::invalid("timeZone"));
    }
    let rows = candles::read(&app, &symbol, interval, wanted).await?.ok_or_else(Refusal::symbol)?;
    Ok(Json(rows.iter().map(|row| kline(row, unit)).collect::<Vec<_>>()).into_response())
}

/// A candle in the exchange's form.
pub(super) fn kline(row: &CandleRow, unit: TimeUnit) -> Kline {
    let it = &row.candle;
    (
        unit.of(it.open_time),
        it.open.to_string(),
        it.high.to_string(),
        it.low.to_string(),
        it.close.to_string(),
        it.volume.to_string(),
        unit.end_of(row.close_time()),
        it.quote_volume.to_string(),
        it.trade_count,
        it.taker_buy_volume.to_string(),
        it.taker_buy_quote_volume.to_string(),
        "0",
    )
}

/// `GET /api/v3/ticker/24hr`
pub(super) async fn ticker_24hr(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer {
    let unit = TimeUnit::asked(&headers)?;
    let symbols = params.symbols()?;
    let full = match params.optional("type")?.as_deref() {
        None | Some("FULL") => true,
        Some("MINI") => false,
        Some(_) => return Err(Refusal::ticker_type()),
    };
    check_status(&mut params)?;
    params.finish()?;
    let asked = Asked::of(&app, symbols);
    let mut found = Vec::new();
    for symbol in &asked.symbols {
        match newest_ticker(&app, symbol).await? {
            Some(ticker) => found.push(Statistics::of(symbol, &ticker, full, unit)),
            None => asked.without(&app, symbol)?,
        }
    }
    Ok(asked.answer(found))
}

/// `GET /api/v3/ticker/bookTicker`
pub(super) async fn book_ticker(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let symbols = params.symbols()?;
    check_status(&mut params)?;
    params.finish()?;
    let asked = Asked::of(&app, symbols);
    let mut found = Vec::new();
    for symbol in &asked.symbols {
        match newest_book(&app, symbol).await? {
            Some(book) => found.push(BestPrices::of(symbol, &book)),
            None => asked.without(&app, symbol)?,
        }
    }
    Ok(asked.answer(found))
}

/// Of which symbols something is asked, and how.
struct Asked {
    symbols: Vec<Symbol>,
    by_name: bool,
    one: bool,
}

impl Asked {
    fn of(app: &App, symbols: Option<Symbols>) -> Self {
        match symbols {
            Some(Symbols::One(symbol)) => Self { symbols: vec![symbol], by_name: true, one: true },
            Some(Symbols::List(symbols)) => Self { symbols, by_name: true, one: false },
            None => {
                let symbols = app.web.view.picture().symbols.into_keys().collect();
                Self { symbols, by_name: false, one: false }
            }
        }
    }

    /// Of all symbols, those that nothing is known of yet are left out; by name, they are refused.
    fn without(&self, app: &App, symbol: &Symbol) -> Result<(), Refusal> {
        if !self.by_name {
            return Ok(());
        }
        if !app.follows(symbol) {
            return Err(Refusal::symbol());
        }
        Err(Refusal::unavailable(format!("Nothing received of {symbol} yet.")))
    }

    /// One symbol is answered by an object, a list (or none, for all) by an array.
    fn answer<T: Serialize>(&self, mut found: Vec<T>) -> Response {
        match found.pop() {
            Some(only) if self.one => Json(only).into_response(),
            last => {
                found.extend(last);
                Json(found).into_response()
            }
        }
    }
}

async fn newest_book(app: &App, symbol: &Symbol) -> Result<Option<BookTicker>, Refusal> {
    if let Some(book) = app.web.view.symbol(symbol).and_then(|view| view.book) {
        return Ok(Some(book));
    }
    Ok(app.web.store.latest_book(symbol).await?)
}

async fn newest_ticker(app: &App, symbol: &Symbol) -> Result<Option<Ticker>, Refusal> {
    if let Some(ticker) = app.web.view.symbol(symbol).and_then(|view| view.ticker) {
        return Ok(Some(*ticker));
    }
    let Some(Reach { from, to }) = Reach::of(app, symbol).await? else { return Ok(None) };
    let span = Span { from, to, limit: 1, end: End::Newest };
    Ok(app.web.store.tickers(symbol, span).await?.pop())
}

/// Trading status is not captured: the parameter is understood, and filters nothing.
fn check_status(params: &mut Params) -> Result<(), Refusal> {
    match params.optional("symbolStatus")?.as_deref() {
        None | Some("TRADING" | "HALT" | "BREAK" | "CANCEL_ONLY") => Ok(()),
        Some(_) => Err(Refusal::symbol_status()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BestPrices {
    symbol: String,
    bid_price: String,
    bid_qty: String,
    ask_price: String,
    ask_qty: String,
}

impl BestPrices {
    fn of(symbol: &Symbol, book: &BookTicker) -> Self {
        Self {
            symbol: symbol.to_string(),
            bid_price: book.bid_price.to_string(),
            bid_qty: book.bid_quantity.to_string(),
            ask_price: book.ask_price.to_string(),
            ask_qty: book.ask_quantity.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Statistics {
    Full(Box<Full>),
    Mini(Box<Mini>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Full {
    symbol: String,
    price_change: String,
    price_change_percent: String,
    weighted_avg_price: String,
    prev_close_price: String,
    last_price: String,
    last_qty: String,
    bid_price: String,
    bid_qty: String,
    ask_price: String,
    ask_qty: String,
    open_price: String,
    high_price: String,
    low_price: String,
    volume: String,
    quote_volume: String,
    open_time: i64,
    close_time: i64,
    first_id: i64,
    last_id: i64,
    count: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mini {
    symbol: String,
    open_price: String,
    high_price: String,
    low_price: String,
    last_price: String,
    volume: String,
    quote_volume: String,
    open_time: i64,
    close_time: i64,
    first_id: i64,
    last_id: i64,
    count: i64,
}

impl Statistics {
    fn of(symbol: &Symbol, it: &Ticker, full: bool, unit: TimeUnit) -> Self {
        let symbol = symbol.to_string();
        if !full {
            return Self::Mini(Box::new(Mini {
                symbol,
                open_price: it.open_price.to_string(),
                high_price: it.high_price.to_string(),
                low_price: it.low_price.to_string(),
                last_price: it.last_price.to_string(),
                volume: it.base_volume.to_string(),
                quote_volume: it.quote_volume.to_string(),
                open_time: unit.of(it.open_time),
                close_time: unit.of(it.close_time),
                first_id: it.first_trade_id,
                last_id: it.last_trade_id,
                count: it.trade_count,
            }));
        }
        Self::Full(Box::new(Full {
            symbol,
            price_change: it.price_change.to_string(),
            price_change_percent: percent(it.price_change_percent),
            weighted_avg_price: it.weighted_avg_price.to_string(),
            prev_close_price: it.first_trade_price.to_string(),
            last_price: it.last_price.to_string(),
            last_qty: it.last_quantity.to_string(),
            bid_price: it.best_bid_price.to_string(),
            bid_qty: it.best_bid_quantity.to_string(),
            ask_price: it.best_ask_price.to_string(),
            ask_qty: it.best_ask_quantity.to_string(),
            open_price: it.open_price.to_string(),
            high_price: it.high_price.to_string(),
            low_price: it.low_price.to_string(),
            volume: it.base_volume.to_string(),
            quote_volume: it.quote_volume.to_string(),
            open_time: unit.of(it.open_time),
            close_time: unit.of(it.close_time),
            first_id: it.first_trade_id,
            last_id: it.last_trade_id,
            count: it.trade_count,
        }))
    }
}

/// The exchange writes percentages with three fraction digits; none that it sends is lost.
fn percent(value: Decimal) -> String {
    let text = value.to_string();
    match text.strip_suffix("00000") {
        Some(short) => short.to_owned(),
        None => text,
    }
}

/// The header that names the unit of the times in an answer.
pub(super) const TIME_UNIT: &str = "x-mbx-time-unit";

/// The unit of the times in an answer, by the header [`TIME_UNIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Milliseconds,
    Microseconds,
}

impl TimeUnit {
    fn asked(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(TIME_UNIT).map(|value| value.as_bytes()) {
            None | Some(b"MILLISECOND" | b"millisecond") => Ok(Self::Milliseconds),
            Some(b"MICROSECOND" | b"microsecond") => Ok(Self::Microseconds),
            Some(_) => Err(Refusal::time_unit()),
        }
    }

    fn of(self, millis: i64) -> i64 {
        match self {
            Self::Milliseconds => millis,
            Self::Microseconds => millis.saturating_mul(1_000),
        }
    }

    /// The last unit of time within the millisecond.
    fn end_of(self, millis: i64) -> i64 {
        match self {
            Self::Milliseconds => millis,
            Self::Microseconds => millis.saturating_mul(1_000).saturating_add(999),
        }
    }
}

/// The offset of a `timeZone` such as `0`, `+8` or `-1:30`, within −12:00 to +14:00.
fn zone_millis(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let number = |text: &str| -> Option<i64> {
        let fits = (1..=2).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        text.parse().ok().filter(|_| fits)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let offset = sign * (hours * 60 + minutes);
    (minutes < 60 && (-720..=840).contains(&offset)).then_some(offset * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_read_as_the_exchange_writes_them() {
        let hour = 3_600_000;
        for (text, expected) in [
            ("0", Some(0)),
            ("8", Some(8 * hour)),
            ("+8", Some(8 * hour)),
            ("-1:00", Some(-hour)),
            ("05:45", Some(5 * hour + hour / 4 * 3)),
            ("14:00", Some(14 * hour)),
            ("14:01", None),
            ("-12:30", None),
            ("5:60", None),
            ("", None),
            ("utc", None),
            ("+-8", None),
        ] {
            assert_eq!(zone_millis(text), expected, "{text}");
        }
    }

    #[test]
    fn percentages_have_three_digits_unless_more_are_needed() {
        assert_eq!(percent("-95.96".parse().unwrap()), "-95.960");
        assert_eq!(percent("0.1234".parse().unwrap()), "0.12340000");
    }
}
