//! A market made up from a seed: a pure function with random access.
//!
//! Every minute of a symbol has a fixed number of trades and of changes of the book, so ids say
//! which minute they are in, and any minute can be generated without the ones before. History of
//! any age costs no memory, and an exchange that is started again goes on with the same trades.

pub(crate) mod live;
mod minute;
pub(crate) mod names;
mod noise;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fts_core::time::Clock;

use self::minute::{Event, MINUTE_MS, Minute, Spec, signed};
use self::noise::{hash, hash_text};
use crate::config::{SeededConfig, StartError};
use crate::market::{AggTrade, Bar, Market, Quote, Symbol, Trade};

/// A market begins so long before the exchange's start, unless it is told when.
const PAST_MS: i64 = 15 * MINUTE_MS;
/// Ids are beyond 32 bits, as on the real exchange.
const ID_BASE: u64 = 3_000_000_000;
/// Bars that are kept; beyond it they are made anew.
const BARS_MAX: usize = 200_000;
const HOUR: u64 = 60;

/// A market made up from a seed.
pub(crate) struct Seeded {
    specs: Vec<Spec>,
    symbols: Vec<Symbol>,
    epoch: i64,
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache>,
    minutes_max: usize,
}

/// What was generated; all of it can be generated again.
#[derive(Default)]
struct Cache {
    minutes: HashMap<(usize, u64), Arc<Minute>>,
    /// By symbol, first minute and number of minutes.
    bars: HashMap<(usize, u64, u64), Option<Bar>>,
}

impl Seeded {
    /// Checks the configuration; generates nothing.
    pub(crate) fn new(config: &SeededConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let value = |key, value: String, reason| StartError::Value { key, value, reason };
        if !(config.rate.is_finite() && config.rate > 0.0) {
            let reason = "give messages a second, above 0";
            return Err(value("rate", config.rate.to_string(), reason));
        }
        if config.symbols.is_empty() {
            return Err(value("symbols", String::new(), "name at least one, or give a number"));
        }
        let now = clock.now().millis();
        let epoch = config.epoch_ms.unwrap_or(now - PAST_MS);
        if config.epoch_ms.is_some() && epoch.rem_euclid(MINUTE_MS) != 0 {
            return Err(value("epoch-ms", epoch.to_string(), "give a whole minute in ms UTC"));
        }
        if epoch > now {
            return Err(value("epoch-ms", epoch.to_string(), "it lies in the future"));
        }
        let mut specs: Vec<Spec> = Vec::new();
        let shares: f64 = (0..config.symbols.len()).map(share).sum();
        for (place, name) in config.symbols.iter().enumerate() {
            let refuse =
                |reason: &str| StartError::Symbol { name: name.clone(), reason: reason.to_owned() };
            if fts_core::market::Symbol::new(name).map(|it| it.as_str() != name) != Ok(false) {
                return Err(refuse("write it as the exchange does, such as BTCUSDT"));
            }
            if specs.iter().any(|spec| spec.symbol.name == *name) {
                return Err(refuse("it is named twice"));
            }
            // One message a second is the ticker.
            let messages = ((config.rate - float(config.symbols.len())).max(1.0) * share(place)
                / shares
                * 60.0)
                .max(7.0);
            let trades = whole(messages / 3.5).max(2);
            let (symbol, price) = names::describe(name);
            let salt = hash(&[config.seed, hash_text(name)]);
            specs.push(Spec {
                symbol,
                salt,
                price,
                trades,
                quotes: whole(messages - messages / 3.5).max(5),
                first_trade_id: ID_BASE + salt % 1_000_000_000,
                first_update_id: 10 * ID_BASE + hash(&[salt, 9]) % 10_000_000_000,
            });
        }
        let symbols: Vec<Symbol> = specs.iter().map(|spec| spec.symbol.clone()).collect();
        let minutes_max = symbols.len() * 3 + 64;
        let epoch = epoch - epoch.rem_euclid(MINUTE_MS);
        Ok(Self { specs, symbols, epoch, clock, cache: Mutex::default(), minutes_max })
    }

    /// When the market began, ms UTC.
    pub(crate) fn epoch_ms(&self) -> i64 {
        self.epoch
    }

    /// The number of the minute that `time` falls into; the first one for all before.
    fn minute_of(&self, time: i64) -> u64 {
        u64::try_from((time - self.epoch).div_euclid(MINUTE_MS)).unwrap_or(0)
    }

    fn start_of(&self, minute: u64) -> i64 {
        self.epoch.saturating_add(signed(minute).saturating_mul(MINUTE_MS))
    }

    /// The events of a minute, whether they have happened or not.
    fn minute(&self, symbol: usize, index: u64) -> Option<Arc<Minute>> {
        let spec = self.specs.get(symbol)?;
        if let Some(minute) = self.cache().minutes.get(&(symbol, index)) {
            return Some(Arc::clone(minute));
        }
        let minute = Arc::new(Minute::generate(spec, self.epoch, index));
        let mut cache = self.cache();
        if cache.minutes.len() >= self.minutes_max {
            let oldest_kept = self.minute_of(self.now()).saturating_sub(1);
            cache.minutes.retain(|(_, minute), _| *minute >= oldest_kept);
            if cache.minutes.len() >= self.minutes_max {
                cache.minutes.clear();
            }
        }
        cache.minutes.insert((symbol, index), Arc::clone(&minute));
        Some(minute)
    }

    /// The trades of `count` whole, past minutes, folded.
    fn bar(&self, symbol: usize, first: u64, count: u64) -> Option<Bar> {
        if let Some(bar) = self.cache().bars.get(&(symbol, first, count)) {
            return *bar;
        }
        let mut bar = None;
        if count == 1 {
            let start = self.start_of(first);
            bar = self.minute(symbol, first)?.fold(start, start + MINUTE_MS);
        } else {
            for minute in first..first + count {
                if let Some(next) = self.bar(symbol, minute, 1) {
                    Bar::join(&mut bar, &next);
                }
            }
        }
        let mut cache = self.cache();
        if cache.bars.len() >= BARS_MAX {
            cache.bars.clear();
        }
        cache.bars.insert((symbol, first, count), bar);
        bar
    }

    /// How many trades have happened before `time`, and by now.
    fn count_before(&self, symbol: usize, time: i64) -> u64 {
        let Some(spec) = self.specs.get(symbol) else { return 0 };
        let time = time.min(self.now() + 1);
        if time <= self.epoch {
            return 0;
        }
        let index = self.minute_of(time);
        let Some(minute) = self.minute(symbol, index) else { return 0 };
        let within = minute.trades().take_while(|trade| trade.time < time).count();
        index * spec.trades + within as u64
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Market for Seeded {
    fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }

    fn begin(&self, symbol: usize) -> Option<i64> {
        let now = self.now();
        let minute = self.minute(symbol, 0)?;
        minute.trades().next().map(|trade| trade.time).filter(|time| *time <= now)
    }

    fn trades_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<Trade> {
        let Some(spec) = self.specs.get(symbol) else { return Vec::new() };
        let now = self.now();
        let id = id.max(spec.first_trade_id);
        let first = (id - spec.first_trade_id) / spec.trades;
        let mut found = Vec::new();
        for index in first..=self.minute_of(now) {
            let Some(minute) = self.minute(symbol, index) else { break };
            let known = minute.trades().filter(|it| it.id >= id && it.time <= now);
            found.extend(known.take(limit - found.len()));
            if found.len() >= limit {
                break;
            }
        }
        found
    }

    fn trades_last(&self, symbol: usize, limit: usize) -> Vec<Trade> {
        let Some(spec) = self.specs.get(symbol) else { return Vec::new() };
        let count = self.count_before(symbol, i64::MAX);
        let first = count.saturating_sub(limit as u64);
        let mut trades = self.trades_from(symbol, spec.first_trade_id + first, limit);
        trades.truncate(usize::try_from(count - first).unwrap_or(limit));
        trades
    }

    fn trade_before(&self, symbol: usize, time: i64) -> Option<Trade> {
        let spec = self.specs.get(symbol)?;
        let count = self.count_before(symbol, time);
        let id = spec.first_trade_id + count.checked_sub(1)?;
        self.trades_from(symbol, id, 1).first().copied()
    }

    fn aggs_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<AggTrade> {
        let Some(spec) = self.specs.get(symbol) else { return Vec::new() };
        let from = spec.first_trade_id + id.saturating_sub(AGG_ID_BASE);
        self.trades_from(symbol, from, limit).iter().map(|it| agg(spec, it)).collect()
    }

    fn agg_at(&self, symbol: usize, time: i64) -> u64 {
        AGG_ID_BASE + self.count_before(symbol, time)
    }

    fn fold(&self, symbol: usize, from: i64, to: i64) -> Option<Bar> {
        let (from, to) = (from.max(self.epoch), to.min(self.now() + 1));
        let mut bar = None;
        let mut at = from;
        while at < to {
            let index = self.minute_of(at);
            let start = self.start_of(index);
            let hour_ends = self.start_of(index + HOUR) <= to;
            let next = if at == start && index.is_multiple_of(HOUR) && hour_ends {
                at = self.start_of(index + HOUR);
                self.bar(symbol, index, HOUR)
            } else if at == start && start + MINUTE_MS <= to {
                at = start + MINUTE_MS;
                self.bar(symbol, index, 1)
            } else {
                let end = to.min(start + MINUTE_MS);
                let part = self.minute(symbol, index)?.fold(at, end);
                at = end;
                part
            };
            if let Some(next) = next {
                Bar::join(&mut bar, &next);
            }
        }
        bar
    }

    fn quote(&self, symbol: usize) -> Option<Quote> {
        let now = self.now();
        let latest = |index: u64| {
            let minute = self.minute(symbol, index)?;
            minute.events.iter().rev().find_map(|event| match event {
                Event::Quote(time, quote) if *time <= now => Some(*quote),
                _ => None,
            })
        };
        let index = self.minute_of(now);
        latest(index).or_else(|| latest(index.checked_sub(1)?))
    }

    fn all_trades(&self, symbol: usize) -> Vec<Trade> {
        self.trades_from(symbol, 0, usize::MAX)
    }
}

/// The first aggregate trade's id.
const AGG_ID_BASE: u64 = ID_BASE;

/// Every trade is an aggregate of its own.
fn agg(spec: &Spec, trade: &Trade) -> AggTrade {
    AggTrade {
        id: AGG_ID_BASE + trade.id - spec.first_trade_id,
        price: trade.price,
        quantity: trade.quantity,
        first_id: trade.id,
        last_id: trade.id,
        time: trade.time,
        buyer_is_maker: trade.buyer_is_maker,
    }
}

/// How much of the activity falls to the symbol at this place.
fn share(place: usize) -> f64 {
    1.0 / (float(place) + 1.0).powf(0.8)
}

fn float(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of messages a minute"
    )]
    let rounded = value.round() as u64;
    rounded
}

#[cfg(test)]
mod tests;
