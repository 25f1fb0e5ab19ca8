//! `/ticker/24hr` and `/ticker/bookTicker`: one symbol, some, or all.

use super::error::ApiError;
use super::params::{Params, Wanted};
use crate::json::{Writer, push_array};
use crate::market::Market;
use crate::ticker::{Ticker, push_percent};
use fts_core::decimal::Decimal;

/// How many symbols a list names: what its weight depends on.
pub(super) fn count_symbols(list: &str) -> usize {
    list.split(',').filter(|part| part.contains('"')).count()
}

pub(super) fn day(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "symbols", "type"])?;
    let full = match params.get("type") {
        None | Some("FULL") => true,
        Some("MINI") => false,
        Some(_) => return Err(ApiError::ticker_type()),
    };
    let now = market.now();
    render(market, params, |out, symbol, name| {
        let ticker = Ticker::at(market, symbol, now);
        if full { render_full(out, name, &ticker) } else { render_mini(out, name, &ticker) }
    })
}

pub(super) fn book(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "symbols"])?;
    render(market, params, |out, symbol, name| {
        let quote = market.quote(symbol);
        let value =
            |of: fn(&crate::market::Quote) -> Decimal| quote.as_ref().map_or(Decimal::ZERO, of);
        Writer::object(out)
            .text("symbol", name)
            .decimal("bidPrice", value(|quote| quote.bid))
            .decimal("bidQty", value(|quote| quote.bid_quantity))
            .decimal("askPrice", value(|quote| quote.ask))
            .decimal("askQty", value(|quote| quote.ask_quantity))
            .end();
    })
}

fn render(
    market: &dyn Market,
    params: &Params,
    mut one: impl FnMut(&mut Vec<u8>, usize, &str),
) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::new();
    let name = |symbol: usize| market.symbols().get(symbol).map_or("", |s| s.name.as_str());
    match params.symbols(market)? {
        Wanted::One(symbol) => one(&mut out, symbol, name(symbol)),
        Wanted::Many(symbols) => {
            push_array(&mut out, symbols, |out, symbol| one(out, symbol, name(symbol)));
        }
    }
    Ok(out)
}

fn render_full(out: &mut Vec<u8>, name: &str, ticker: &Ticker) {
    let (first, last, count) = ticker.ids();
    Writer::object(out)
        .text("symbol", name)
        .decimal("priceChange", ticker.change())
        .field("priceChangePercent", |out| push_percent(out, ticker.change_percent()))
        .decimal("weightedAvgPrice", ticker.weighted_average())
        .decimal("prevClosePrice", ticker.previous_close)
        .decimal("lastPrice", ticker.price(|bar| bar.close))
        .decimal("lastQty", ticker.price(|bar| bar.last_quantity))
        .decimal("bidPrice", ticker.quote.bid)
        .decimal("bidQty", ticker.quote.bid_quantity)
        .decimal("askPrice", ticker.quote.ask)
        .decimal("askQty", ticker.quote.ask_quantity)
        .decimal("openPrice", ticker.price(|bar| bar.open))
        .decimal("highPrice", ticker.price(|bar| bar.high))
        .decimal("lowPrice", ticker.price(|bar| bar.low))
        .decimal("volume", ticker.price(|bar| bar.volume))
        .notional("quoteVolume", ticker.quote_volume())
        .int("openTime", ticker.open_time)
        .int("closeTime", ticker.close_time)
        .int("firstId", first)
        .int("lastId", last)
        .uint("count", count)
        .end();
}

fn render_mini(out: &mut Vec<u8>, name: &str, ticker: &Ticker) {
    let (first, last, count) = ticker.ids();
    Writer::object(out)
        .text("symbol", name)
        .decimal("openPrice", ticker.price(|bar| bar.open))
        .decimal("highPrice", ticker.price(|bar| bar.high))
        .decimal("lowPrice", ticker.price(|bar| bar.low))
        .decimal("lastPrice", ticker.price(|bar| bar.close))
        .decimal("volume", ticker.price(|bar| bar.volume))
        .notional("quoteVolume", ticker.quote_volume())
        .int("openTime", ticker.open_time)
        .int("closeTime", ticker.close_time)
        .int("firstId", first)
        .int("lastId", last)
        .uint("count", count)
        .end();
}
