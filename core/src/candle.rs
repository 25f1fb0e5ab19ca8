//! Folding trades into candles of every interval.

use std::collections::VecDeque;

use crate::coverage::{Coverage, Window};
use crate::decimal::{Decimal, Notional};
use crate::interval::Interval;
use crate::market::{Symbol, Trade};
use crate::row::{Candle, CandleRow};

/// How long a finished window is kept for a trade whose time is out of order, in milliseconds of
/// exchange time.
const GRACE_MS: i64 = 5_000;

/// The windows of one symbol that may still change, of every interval.
///
/// A window is forgotten once nothing can be added to it and its last row has been emitted. A
/// checkpoint in which it is missing is saved only when that row is in the store (`Aggregate`): a
/// replay then never writes a row that knows less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candles {
    windows: [VecDeque<Open>; Interval::ALL.len()],
}

/// A window in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Its trades so far.
    pub candle: Candle,
    /// The version last emitted; 0 before the first emission.
    pub emitted: i64,
}

impl Candles {
    /// Puts back together what [`Candles::windows`] listed. Everything counts as not emitted.
    pub fn from_windows(windows: impl IntoIterator<Item = (Interval, Candle)>) -> Self {
        let mut candles = Self::default();
        for (interval, candle) in windows {
            if let Some(list) = candles.list(interval) {
                let place = list.partition_point(|open| open.candle.open_time < candle.open_time);
                list.insert(place, Open { candle, emitted: 0 });
            }
        }
        candles
    }

    /// Every window held.
    pub fn windows(&self) -> impl Iterator<Item = (Interval, &Candle)> {
        Interval::ALL
            .into_iter()
            .zip(&self.windows)
            .flat_map(|(interval, list)| list.iter().map(move |open| (interval, &open.candle)))
    }

    /// Folds a trade that was not seen before; `known` is the coverage without it. Returns false
    /// where a window was over without this trade (times that run backwards by more than the
    /// grace): that window is left as it is, whether it is still held or not.
    pub fn fold(&mut self, trade: &Trade, known: &Coverage) -> bool {
        let notional = trade.price.times(trade.quantity);
        let mut in_time = true;
        for (interval, list) in Interval::ALL.into_iter().zip(&mut self.windows) {
            let open_time = interval.floor(trade.time);
            if let Some(open) = list.back_mut()
                && open.candle.open_time == open_time
            {
                open.candle.add(trade, notional);
                continue;
            }
            if is_over(known, open_time, interval) {
                in_time = false;
                continue;
            }
            let place = list.partition_point(|open| open.candle.open_time < open_time);
            match list.get_mut(place) {
                Some(open) if open.candle.open_time == open_time => {
                    open.candle.add(trade, notional);
                }
                _ => {
                    let candle = Candle::of(trade, open_time, notional);
                    list.insert(place, Open { candle, emitted: 0 });
                }
            }
        }
        in_time
    }

    /// Appends to `rows` what changed since it was last emitted, of intervals up to `longest`;
    /// forgets what is finished.
    pub fn emit(
        &mut self,
        symbol: &Symbol,
        known: &Coverage,
        longest: Interval,
        rows: &mut Vec<CandleRow>,
    ) {
        let horizon = horizon(known);
        let wanted = Interval::ALL.into_iter().take_while(|interval| *interval <= longest);
        for (interval, list) in wanted.zip(&mut self.windows) {
            list.retain_mut(|open| {
                let end = open.candle.open_time + interval.millis();
                let window = known.judge(open.candle.open_time, end);
                let complete = window == Window::Complete;
                let version = 2 * open.candle.trade_count + i64::from(complete);
                if version > open.emitted {
                    let candle = open.candle;
                    rows.push(CandleRow { symbol: symbol.clone(), interval, candle, complete });
                    open.emitted = version;
                    return true;
                }
                window == Window::Open || end > horizon
            });
        }
    }

    /// The newest window held of each interval, in the order of [`Interval::ALL`].
    pub fn newest(
        &self,
        symbol: &Symbol,
        known: &Coverage,
    ) -> [Option<CandleRow>; Interval::ALL.len()] {
        let mut newest = [const { None }; Interval::ALL.len()];
        for ((interval, list), place) in
            Interval::ALL.into_iter().zip(&self.windows).zip(&mut newest)
        {
            *place = list.back().map(|open| {
                let candle = open.candle;
                let end = candle.open_time + interval.millis();
                let complete = known.judge(candle.open_time, end) == Window::Complete;
                CandleRow { symbol: symbol.clone(), interval, candle, complete }
            });
        }
        newest
    }

    /// How many windows are held.
    pub fn len(&self) -> usize {
        self.windows.iter().map(VecDeque::len).sum()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn list(&mut self, interval: Interval) -> Option<&mut VecDeque<Open>> {
        Interval::ALL
            .iter()
            .position(|other| *other == interval)
            .and_then(|index| self.windows.get_mut(index))
    }
}

/// Windows that end at or before it get no trade any more, unless one of theirs is missing. It never
/// goes back: a window that was forgotten is not begun again, to overwrite what is known of it.
fn horizon(known: &Coverage) -> i64 {
    known.latest_time().unwrap_or(i64::MIN).saturating_sub(GRACE_MS)
}

/// Whether a window takes no more trades. What has been emitted, or forgotten, has no part in it:
/// two copies with the same past answer the same. The last window held is never over, because the
/// latest trade lies in it.
fn is_over(known: &Coverage, open_time: i64, interval: Interval) -> bool {
    let end = open_time + interval.millis();
    end <= horizon(known) && known.judge(open_time, end) != Window::Open
}

impl Candle {
    fn of(trade: &Trade, open_time: i64, notional: Notional) -> Self {
        let mut candle = Self {
            open_time,
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            volume: Decimal::ZERO,
            quote_volume: Notional::ZERO,
            trade_count: 0,
            taker_buy_volume: Decimal::ZERO,
            taker_buy_quote_volume: Notional::ZERO,
            first_trade_id: trade.id,
            last_trade_id: trade.id,
        };
        candle.add(trade, notional);
        candle
    }

    fn add(&mut self, trade: &Trade, notional: Notional) {
        if trade.id < self.first_trade_id {
            self.first_trade_id = trade.id;
            self.open = trade.price;
        }
        if trade.id > self.last_trade_id {
            self.last_trade_id = trade.id;
            self.close = trade.price;
        }
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.volume = self.volume.plus(trade.quantity);
        self.quote_volume = self.quote_volume.plus(notional);
        self.trade_count += 1;
        if !trade.buyer_is_maker {
            self.taker_buy_volume = self.taker_buy_volume.plus(trade.quantity);
            self.taker_buy_quote_volume = self.taker_buy_quote_volume.plus(notional);
        }
    }
}

#[cfg(test)]
mod tests;
