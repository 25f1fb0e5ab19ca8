//! A seeded market as it happens: every event is sent when its time has come.

use super::Seeded;
use super::plan::SECONDS_PER_MINUTE;
use crate::hub::{Burst, Hub};
use crate::interval::Interval;
use crate::market::{AggTrade, Market, Quote, Trade};
use crate::streams::{self, KINDS, Kind, Kline};
use crate::ticker::Ticker;
use fts_core::decimal::Decimal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Events are sent in bursts this far apart.
const TICK: Duration = Duration::from_millis(5);
/// What a second adds up to is sent this long after it, when all its trades have been.
const SUMMARY_LAG_MS: i64 = 10;
/// Candles longer than a second are sent every so many seconds.
const KLINE_EVERY_S: i64 = 2;
/// A machine that slept longer than this has lost its connections, as it would in the world.
const ASLEEP_MS: i64 = 10_000;

/// Something to be sent.
#[derive(Debug)]
enum Event {
    Quote(Quote),
    Trade(Trade),
    Agg(AggTrade),
}

/// An event and when it is due (its event time), ms UTC.
#[derive(Debug)]
struct Due {
    at: i64,
    event: Event,
}

/// Sends the market, for ever.
pub(crate) async fn run(market: Arc<Seeded>, hub: Arc<Hub>) {
    let mut live = Live::new(&market);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        live.catch_up(&market, &hub);
    }
}

#[derive(Debug)]
struct Live {
    /// The next second to be generated, since the epoch.
    second: u64,
    /// What is generated and not yet sent, for each symbol.
    pending: Vec<VecDeque<Due>>,
    /// The next boundary of a second to be summed up, ms UTC.
    boundary: i64,
    scratch: Vec<u8>,
}

impl Live {
    fn new(market: &Seeded) -> Self {
        let second = market.second_of(market.now()) + 1;
        Self {
            second,
            pending: market.lines.iter().map(|_| VecDeque::new()).collect(),
            boundary: time_of(market, second + 1),
            scratch: Vec::new(),
        }
    }

    /// Sends all that is due.
    fn catch_up(&mut self, market: &Seeded, hub: &Hub) {
        let now = market.now();
        if now - time_of(market, self.second) > ASLEEP_MS {
            tracing::warn!("the machine was asleep: the connections are cut off");
            hub.cut_all();
            *self = Self::new(market);
            return;
        }
        let mut burst = hub.burst();
        while time_of(market, self.second) <= now {
            self.generate(market, &burst);
            self.second += 1;
        }
        self.send(market, &mut burst, now);
        while self.boundary + SUMMARY_LAG_MS <= now {
            self.sum_up(market, &mut burst);
            self.boundary += 1000;
        }
    }

    fn generate(&mut self, market: &Seeded, burst: &Burst<'_>) {
        for ((symbol, line), pending) in market.lines.iter().enumerate().zip(&mut self.pending) {
            let wanted = [Kind::Trade, Kind::AggTrade, Kind::BookTicker];
            if !wanted.iter().any(|kind| burst.is_wanted(stream(symbol, *kind))) {
                continue;
            }
            let minute = line.activity.minute(self.second / SECONDS_PER_MINUTE);
            let second = line.second(&minute, self.second % SECONDS_PER_MINUTE);
            let mut update = 0;
            second.takes(|take| {
                while update < second.updates && second.update_time(update) <= take.agg.time {
                    pending.push_back(quote(&second, update));
                    update += 1;
                }
                let at = take.agg.time + take.lag;
                let trades =
                    take.trades.iter().map(|trade| Due { at, event: Event::Trade(*trade) });
                pending.extend(trades);
                pending.push_back(Due { at, event: Event::Agg(take.agg) });
            });
            pending.extend((update..second.updates).map(|update| quote(&second, update)));
        }
    }

    fn send(&mut self, market: &Seeded, burst: &mut Burst<'_>, now: i64) {
        let out = &mut self.scratch;
        for ((symbol, pending), known) in self.pending.iter_mut().enumerate().zip(market.symbols())
        {
            let name = known.name.as_str();
            while pending.front().is_some_and(|due| due.at <= now)
                && let Some(due) = pending.pop_front()
            {
                let kind = match due.event {
                    Event::Quote(_) => Kind::BookTicker,
                    Event::Trade(_) => Kind::Trade,
                    Event::Agg(_) => Kind::AggTrade,
                };
                let stream = stream(symbol, kind);
                if !burst.is_wanted(stream) {
                    continue;
                }
                out.clear();
                match due.event {
                    Event::Quote(quote) => streams::book_ticker(out, name, &quote),
                    Event::Trade(trade) => streams::trade(out, name, due.at, &trade),
                    Event::Agg(agg) => streams::agg_trade(out, name, due.at, &agg),
                }
                burst.send(stream, out);
            }
        }
    }

    /// Tickers of the symbols that moved in the second before the boundary, and candles.
    fn sum_up(&mut self, market: &Seeded, burst: &mut Burst<'_>) {
        let boundary = self.boundary;
        for (symbol, (line, known)) in market.lines.iter().zip(market.symbols()).enumerate() {
            let name = known.name.as_str();
            let stream_of_ticker = stream(symbol, Kind::Ticker);
            if burst.is_wanted(stream_of_ticker) {
                let second = market.second_of(boundary - 1);
                let minute = line.activity.minute(second / SECONDS_PER_MINUTE);
                if line.second(&minute, second % SECONDS_PER_MINUTE).updates > 0 {
                    let ticker = Ticker::at(market, symbol, boundary - 1);
                    self.scratch.clear();
                    streams::ticker(&mut self.scratch, name, boundary - 1, &ticker);
                    burst.send(stream_of_ticker, &self.scratch);
                }
            }
            for (position, interval) in Interval::ALL.into_iter().enumerate() {
                let stream = stream(symbol, Kind::Kline(position));
                let is_time = position == 0 || boundary / 1000 % KLINE_EVERY_S == 0;
                if is_time && burst.is_wanted(stream) {
                    self.scratch.clear();
                    if kline(&mut self.scratch, market, symbol, interval, boundary) {
                        burst.send(stream, &self.scratch);
                    }
                }
            }
        }
    }
}

/// Renders the candle that the moment before `boundary` falls into; `false` before the first trade.
fn kline(
    out: &mut Vec<u8>,
    market: &Seeded,
    symbol: usize,
    interval: Interval,
    boundary: i64,
) -> bool {
    let open_time = interval.open_of(boundary - 1);
    let bar = market.fold(symbol, open_time, boundary);
    let before = match bar {
        Some(_) => None,
        None => market.trade_before(symbol, open_time).map(|trade| trade.price),
    };
    if bar.is_none() && before.is_none() {
        return false;
    }
    let state = Kline {
        interval,
        open_time,
        bar: bar.as_ref(),
        previous_close: before.unwrap_or(Decimal::ZERO),
        closed: interval.end_of(open_time) == boundary,
    };
    let name = market.symbols().get(symbol).map_or("", |known| known.name.as_str());
    streams::kline(out, name, boundary + SUMMARY_LAG_MS, &state);
    true
}

fn quote(second: &super::second::Second<'_>, update: u64) -> Due {
    Due { at: second.update_time(update), event: Event::Quote(second.quote(update)) }
}

fn stream(symbol: usize, kind: Kind) -> usize {
    symbol * KINDS + kind.position()
}

fn time_of(market: &Seeded, second: u64) -> i64 {
    market.epoch_ms() + i64::try_from(second).unwrap_or(0) * 1000
}
