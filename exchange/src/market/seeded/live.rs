//! Sends what happens on a made-up market as it happens.

use std::sync::Arc;
use std::time::Duration;

use super::Seeded;
use super::minute::{Event, Minute};
use crate::hub::{Burst, Hub};
use crate::interval::Interval;
use crate::market::Market;
use crate::streams::{self, KINDS, Kind, Kline};
use crate::ticker::Ticker;

/// What is due is sent so often: a stream is late by no more than this.
const TICK: Duration = Duration::from_millis(5);
const SECOND_MS: i64 = 1_000;

/// Where a symbol's streams stand.
struct Cursor {
    index: u64,
    minute: Arc<Minute>,
    /// The next event of the minute.
    next: usize,
    ticker_at: i64,
    /// By interval: the open time of the candle last told of, and when the next word is due.
    klines: Vec<(i64, i64)>,
}

/// Sends for ever.
pub(crate) async fn run(market: Arc<Seeded>, hub: Arc<Hub>) {
    let now = market.now();
    let mut cursors: Vec<Cursor> =
        (0..market.symbols().len()).filter_map(|symbol| cursor(&market, symbol, now)).collect();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ahead = (0..cursors.len()).cycle();
    let mut buffer = Vec::with_capacity(512);
    loop {
        tick.tick().await;
        let now = market.now();
        {
            let mut burst = hub.burst();
            for (symbol, cursor) in cursors.iter_mut().enumerate() {
                send_events(&market, symbol, cursor, now, &mut burst, &mut buffer);
                send_ticker(&market, symbol, cursor, now, &mut burst, &mut buffer);
                send_klines(&market, symbol, cursor, now, &mut burst, &mut buffer);
            }
        }
        // Minutes are made ahead of time, one symbol a tick, so that none of them holds up a tick.
        if let Some(symbol) = ahead.next()
            && let Some(cursor) = cursors.get(symbol)
        {
            drop(market.minute(symbol, cursor.index + 1));
        }
    }
}

fn cursor(market: &Seeded, symbol: usize, now: i64) -> Option<Cursor> {
    let index = market.minute_of(now);
    let minute = market.minute(symbol, index)?;
    let next = minute.events.partition_point(|event| event.time() <= now);
    // Tickers of different symbols come at different times of the second.
    let ticker_at = now + i64::try_from(symbol * 37 % 1_000).unwrap_or(0);
    let klines = Interval::ALL.iter().map(|interval| (interval.open_of(now), now)).collect();
    Some(Cursor { index, minute, next, ticker_at, klines })
}

fn send_events(
    market: &Seeded,
    symbol: usize,
    cursor: &mut Cursor,
    now: i64,
    burst: &mut Burst<'_>,
    buffer: &mut Vec<u8>,
) {
    let Some(spec) = market.specs.get(symbol) else { return };
    let name = spec.symbol.name.as_str();
    let stream = |kind: Kind| symbol * KINDS + kind.position();
    loop {
        let Some(event) = cursor.minute.events.get(cursor.next) else {
            if market.start_of(cursor.index + 1) > now {
                return;
            }
            let Some(minute) = market.minute(symbol, cursor.index + 1) else { return };
            (cursor.index, cursor.minute, cursor.next) = (cursor.index + 1, minute, 0);
            continue;
        };
        if event.time() > now {
            return;
        }
        cursor.next += 1;
        match event {
            Event::Quote(_, quote) => {
                if burst.is_wanted(stream(Kind::BookTicker)) {
                    buffer.clear();
                    streams::book_ticker(buffer, name, quote);
                    burst.send(stream(Kind::BookTicker), buffer);
                }
            }
            Event::Trade(trade) => {
                // The word of a trade is some milliseconds younger than the trade.
                let event_time = now.min(trade.time + 1 + i64::from(trade.id % 8 == 0) * 7);
                if burst.is_wanted(stream(Kind::Trade)) {
                    buffer.clear();
                    streams::trade(buffer, name, event_time, trade);
                    burst.send(stream(Kind::Trade), buffer);
                }
                if burst.is_wanted(stream(Kind::AggTrade)) {
                    buffer.clear();
                    streams::agg_trade(buffer, name, event_time, &super::agg(spec, trade));
                    burst.send(stream(Kind::AggTrade), buffer);
                }
            }
        }
    }
}

fn send_ticker(
    market: &Seeded,
    symbol: usize,
    cursor: &mut Cursor,
    now: i64,
    burst: &mut Burst<'_>,
    buffer: &mut Vec<u8>,
) {
    if now < cursor.ticker_at {
        return;
    }
    cursor.ticker_at = now.max(cursor.ticker_at + SECOND_MS);
    let stream = symbol * KINDS + Kind::Ticker.position();
    if burst.is_wanted(stream)
        && let Some(spec) = market.specs.get(symbol)
    {
        buffer.clear();
        let ticker = Ticker::at(market, symbol, now);
        streams::ticker(buffer, &spec.symbol.name, now, &ticker);
        burst.send(stream, buffer);
    }
}

fn send_klines(
    market: &Seeded,
    symbol: usize,
    cursor: &mut Cursor,
    now: i64,
    burst: &mut Burst<'_>,
    buffer: &mut Vec<u8>,
) {
    let Some(spec) = market.specs.get(symbol) else { return };
    for ((place, interval), told) in Interval::ALL.into_iter().enumerate().zip(&mut cursor.klines) {
        let stream = symbol * KINDS + Kind::Kline(place).position();
        let (open_time, due) = *told;
        let is_over = interval.open_of(now) > open_time;
        if !(is_over || now >= due) || !burst.is_wanted(stream) {
            told.0 = if is_over { interval.open_of(now) } else { open_time };
            continue;
        }
        let bar = market.fold(symbol, open_time, open_time + interval.millis());
        let before = market.trade_before(symbol, open_time);
        buffer.clear();
        let kline = Kline {
            interval,
            open_time,
            bar: bar.as_ref(),
            previous_close: before.map_or(fts_core::decimal::Decimal::ZERO, |it| it.price),
            closed: is_over,
        };
        streams::kline(buffer, &spec.symbol.name, now, &kline);
        burst.send(stream, buffer);
        let pause = if interval.millis() == SECOND_MS { SECOND_MS } else { 2 * SECOND_MS };
        *told = (interval.open_of(now), now + pause);
    }
}
