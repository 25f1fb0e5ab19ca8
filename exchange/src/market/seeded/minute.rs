//! One minute of one symbol: all of its events, from nothing but the seed.

use fts_core::decimal::Decimal;

use super::noise::{hash, level, unit};
use crate::market::{Bar, Quote, Symbol, Trade};

pub(super) const MINUTE_MS: i64 = 60_000;

/// What a symbol's events follow from.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) symbol: Symbol,
    pub(super) salt: u64,
    /// The price around which it moves.
    pub(super) price: f64,
    /// Trades in every minute.
    pub(super) trades: u64,
    /// Changes of the best bid or ask in every minute.
    pub(super) quotes: u64,
    pub(super) first_trade_id: u64,
    pub(super) first_update_id: u64,
}

/// Something that happens, and when (ms UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Quote(i64, Quote),
    Trade(Trade),
}

impl Event {
    pub(super) fn time(&self) -> i64 {
        match self {
            Self::Quote(time, _) => *time,
            Self::Trade(trade) => trade.time,
        }
    }
}

/// All events of a minute, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Minute {
    pub(super) events: Vec<Event>,
}

impl Minute {
    /// Minute number `index` since `epoch`.
    pub(super) fn generate(spec: &Spec, epoch: i64, index: u64) -> Self {
        let salt = hash(&[spec.salt, index]);
        let start = epoch.saturating_add(signed(index).saturating_mul(MINUTE_MS));
        let bounds = seconds(salt);
        // Minutes differ in how much is traded, though not in how often.
        let size = 60.0 + 900.0 * unit(hash(&[salt, 0x7369_7a65])).powi(3);
        let total = spec.trades + spec.quotes;
        let mut events = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
        let (mut trades, mut quotes) = (0, 0);
        let mut quote = None;
        for number in 0..total {
            let dice = hash(&[salt, number]);
            // The k-th of n events lies in the k-th n-th part of the minute's activity.
            let share = (float(number) + unit(dice)) / float(total);
            let time = start + at(&bounds, share);
            // Spread evenly among the others; the first event is a quote.
            let is_trade = (number + 1) * spec.trades / total > number * spec.trades / total;
            match quote {
                Some(quote) if is_trade => {
                    let id = spec.first_trade_id + index * spec.trades + trades;
                    events.push(Event::Trade(trade(spec, id, time, &quote, dice, size)));
                    trades += 1;
                }
                _ => {
                    let id = spec.first_update_id + index * spec.quotes + quotes;
                    let next = make_quote(spec, id, time, dice);
                    events.push(Event::Quote(time, next));
                    quote = Some(next);
                    quotes += 1;
                }
            }
        }
        Self { events }
    }

    pub(super) fn trades(&self) -> impl DoubleEndedIterator<Item = &Trade> {
        self.events.iter().filter_map(|event| match event {
            Event::Trade(trade) => Some(trade),
            Event::Quote(..) => None,
        })
    }

    /// The trades from `from` until before `to` (ms UTC), folded.
    pub(super) fn fold(&self, from: i64, to: i64) -> Option<Bar> {
        let mut bar = None;
        for trade in self.trades().filter(|trade| (from..to).contains(&trade.time)) {
            Bar::join(&mut bar, &Bar::of(trade));
        }
        bar
    }
}

fn trade(spec: &Spec, id: u64, time: i64, quote: &Quote, dice: u64, size: f64) -> Trade {
    let buyer_is_maker = hash(&[dice, 1]) & 1 == 0;
    Trade {
        id,
        price: if buyer_is_maker { quote.bid } else { quote.ask },
        quantity: quantity(spec, hash(&[dice, 2]), size),
        time,
        buyer_is_maker,
    }
}

fn make_quote(spec: &Spec, update_id: u64, time: i64, dice: u64) -> Quote {
    let tick = spec.symbol.tick.0;
    let mid = spec.price * level(spec.salt, time).exp();
    let ticks = round(mid * 1e8) / tick.max(1);
    let spread = 1 + i128::from(hash(&[dice, 3]) % 3);
    let bid = (ticks - spread / 2).max(1);
    Quote {
        update_id,
        bid: Decimal(bid * tick),
        bid_quantity: quantity(spec, hash(&[dice, 4]), 2_000.0),
        ask: Decimal((bid + spread) * tick),
        ask_quantity: quantity(spec, hash(&[dice, 5]), 2_000.0),
    }
}

/// Exponentially distributed around `value` units of the quote currency, on the step.
fn quantity(spec: &Spec, dice: u64, value: f64) -> Decimal {
    let amount = -(1.0 - unit(dice)).ln() * value / spec.price;
    let step = spec.symbol.step.0.max(1);
    Decimal((round(amount * 1e8) / step).max(1) * step)
}

/// How much of the minute's activity has passed at the end of each second: some are 15 times as
/// busy as others.
fn seconds(salt: u64) -> [f64; 60] {
    let mut bounds = [0.0; 60];
    let mut sum = 0.0;
    for (second, bound) in (0_u64..).zip(&mut bounds) {
        let dice = hash(&[salt, 0x7365_636f, second]);
        let weight = 0.3 + unit(dice);
        sum += if dice.is_multiple_of(20) { weight * 15.0 } else { weight };
        *bound = sum;
    }
    bounds.map(|bound| bound / sum)
}

/// The millisecond of the minute at which `share` of its activity has passed.
fn at(bounds: &[f64; 60], share: f64) -> i64 {
    let second = bounds.partition_point(|bound| *bound <= share).min(59);
    let from = second.checked_sub(1).and_then(|it| bounds.get(it)).copied().unwrap_or(0.0);
    let to = bounds.get(second).copied().unwrap_or(1.0);
    let within = ((share - from) / (to - from)).clamp(0.0, 1.0) * 999.0;
    i64::try_from(second).unwrap_or(0) * 1_000 + i64::try_from(round(within)).unwrap_or(0)
}

/// To the nearest whole number; the values here are far below 2⁵³.
fn round(value: f64) -> i128 {
    #[expect(clippy::cast_possible_truncation, reason = "values are finite and far below 2^53")]
    let rounded = value.round() as i128;
    rounded
}

fn float(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
