//! The market that grows from a seed: a pure function with random access.
//!
//! Nothing of it is kept but summaries of minutes (bounded): a trade of last week is generated when
//! it is asked for, and an exchange that is started again goes on where the first one ended.

pub(crate) mod cache;
pub(crate) mod live;
pub(crate) mod names;
pub(crate) mod noise;
pub(crate) mod plan;
pub(crate) mod second;

use self::cache::Cache;
use self::plan::SECONDS_PER_MINUTE;
use self::second::Line;
use super::{AggTrade, Bar, Market, Quote, Symbol, Trade};
use crate::config::{SeededConfig, StartError};
use fts_core::time::Clock;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const MINUTE_MS: i64 = 60_000;
/// How long the market has been there if nobody says.
const AGE_MS: i64 = 15 * MINUTE_MS;
const SYMBOLS_MAX: usize = 5_000;
const RATE_MAX: f64 = 5e6;

/// A seeded market.
pub(crate) struct Seeded {
    symbols: Vec<Symbol>,
    pub(crate) lines: Vec<Line>,
    caches: Vec<Cache>,
    epoch: i64,
    clock: Arc<dyn Clock>,
    /// The latest time that was ever told: a clock that is set back does not unmake trades.
    latest: AtomicI64,
}

impl std::fmt::Debug for Seeded {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Seeded")
            .field("symbols", &self.symbols.len())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Seeded {
    pub(crate) fn new(
        config: &SeededConfig,
        steady: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let bad = |key, value: String, reason| Err(StartError::Value { key, value, reason });
        let count = config.symbols.len();
        if !(1..=SYMBOLS_MAX).contains(&count) {
            return bad("symbols", count.to_string(), "give between 1 and 5000 symbols");
        }
        if !(config.rate > 0.0 && config.rate <= RATE_MAX) {
            let reason = "give a positive number of messages a second, at most 5 million";
            return bad("rate", config.rate.to_string(), reason);
        }
        let now = clock.now().millis();
        let epoch = config.epoch_ms.unwrap_or((now - AGE_MS).div_euclid(MINUTE_MS) * MINUTE_MS);
        if epoch % MINUTE_MS != 0 || epoch < 0 || epoch > now {
            let reason = "give a whole minute of the past, in ms UTC";
            return bad("epoch_ms", epoch.to_string(), reason);
        }
        let mut seen = HashSet::new();
        let mut lines = Vec::with_capacity(count);
        for (name, rate) in config.symbols.iter().zip(rates(config.rate, count, steady)) {
            let refuse = |reason| StartError::Symbol { name: name.clone(), reason };
            if !seen.insert(name) {
                return Err(refuse("it is given twice: leave one out".to_owned()));
            }
            let listing = names::listing(name).map_err(refuse)?;
            let seed = name
                .bytes()
                .fold(noise::hash(config.seed, 0), |seed, byte| noise::hash(seed, u64::from(byte)));
            lines.push(Line::new(seed, listing, rate, steady, epoch));
        }
        let market = Self {
            symbols: lines.iter().map(|line| line.listing.symbol.clone()).collect(),
            caches: lines.iter().map(|_| Cache::default()).collect(),
            lines,
            epoch,
            clock,
            latest: AtomicI64::new(epoch),
        };
        market.warm_up();
        Ok(market)
    }

    /// When the market began, ms UTC.
    pub(crate) fn epoch_ms(&self) -> i64 {
        self.epoch
    }

    /// Fills the caches for the last day, all cores at work: the first ticker needs them.
    fn warm_up(&self) {
        let now = self.now();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for worker in 0..threads {
                scope.spawn(move || {
                    for symbol in (worker..self.lines.len()).step_by(threads) {
                        let _ = self.fold(symbol, now - crate::ticker::WINDOW_MS, now);
                    }
                });
            }
        });
    }

    /// Seconds since the epoch.
    fn second_of(&self, time: i64) -> u64 {
        u64::try_from((time - self.epoch).div_euclid(1000)).unwrap_or(0)
    }

    /// The first millisecond after what is to be seen at this moment.
    fn visible_until(&self) -> i64 {
        self.now() + 1
    }

    /// The takers with a trade time of `from` until before `to`.
    fn takes(
        &self,
        symbol: usize,
        from: i64,
        to: i64,
        mut visit: impl FnMut(&second::Take) -> bool,
    ) {
        let Some(line) = self.lines.get(symbol) else { return };
        let from = from.max(self.epoch);
        if from >= to {
            return;
        }
        let (mut second, last) = (self.second_of(from), self.second_of(to - 1));
        let mut minute = line.activity.minute(second / SECONDS_PER_MINUTE);
        let mut go_on = true;
        while second <= last && go_on {
            if minute.minute != second / SECONDS_PER_MINUTE {
                minute = line.activity.minute(second / SECONDS_PER_MINUTE);
            }
            line.second(&minute, second % SECONDS_PER_MINUTE).takes(|take| {
                if go_on && (from..to).contains(&take.agg.time) {
                    go_on = visit(take);
                }
            });
            second += 1;
        }
    }

    /// How many trades and aggregate trades happen before `time`.
    fn counts_before(&self, symbol: usize, time: i64) -> plan::Counts {
        let Some(line) = self.lines.get(symbol) else { return plan::Counts::default() };
        let time = time.max(self.epoch);
        let second = self.second_of(time);
        let minute = line.activity.minute(second / SECONDS_PER_MINUTE);
        let (mut counts, _) = minute.second(second % SECONDS_PER_MINUTE);
        let start = self.epoch + i64::try_from(second).unwrap_or(0) * 1000;
        self.takes(symbol, start, time, |take| {
            counts.aggs += 1;
            counts.trades += take.trades.len() as u64;
            true
        });
        counts
    }

    fn collect_trades(&self, symbol: usize, from: i64, first: u64, limit: usize) -> Vec<Trade> {
        let mut found = Vec::new();
        self.takes(symbol, from, self.visible_until(), |take| {
            found.extend(take.trades.iter().filter(|trade| trade.id >= first));
            found.len() < limit
        });
        found.truncate(limit);
        found
    }
}

/// Trades and book updates a second of each symbol: shares fall off as 1/rank (a little flatter at
/// the top), and the tickers, at most one a second for a symbol that moves, count in.
fn rates(total: f64, symbols: usize, steady: bool) -> Vec<f64> {
    let tickers = |rate: f64| match steady {
        true => (rate * plan::UPDATES_SHARE).min(1.0),
        false => rate / (rate + 1.0),
    };
    let shares: Vec<f64> = (0..symbols).map(|rank| 1.0 / (rank as f64 + 1.5)).collect();
    let sum: f64 = shares.iter().sum();
    let (mut low, mut high) = (0.0, total);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let messages: f64 =
            shares.iter().map(|share| middle * share / sum).map(|rate| rate + tickers(rate)).sum();
        if messages < total { low = middle } else { high = middle }
    }
    shares.iter().map(|share| low * share / sum).collect()
}

impl Market for Seeded {
    fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    fn now(&self) -> i64 {
        let now = self.clock.now().millis();
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }

    fn begin(&self, symbol: usize) -> Option<i64> {
        let mut begin = None;
        self.takes(symbol, self.epoch, self.visible_until(), |take| {
            begin = Some(take.agg.time);
            false
        });
        begin
    }

    fn trades_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<Trade> {
        let Some(line) = self.lines.get(symbol) else { return Vec::new() };
        let index = line.trade_index(id);
        if index >= self.counts_before(symbol, self.visible_until()).trades {
            return Vec::new();
        }
        let minute = line.activity.minute_of_trade(index);
        let second = minute.find(|counts| counts.trades, index);
        let start = minute.minute * SECONDS_PER_MINUTE + second;
        let start = self.epoch + i64::try_from(start).unwrap_or(0) * 1000;
        self.collect_trades(symbol, start, id, limit)
    }

    fn trades_last(&self, symbol: usize, limit: usize) -> Vec<Trade> {
        let Some(line) = self.lines.get(symbol) else { return Vec::new() };
        let count = self.counts_before(symbol, self.visible_until()).trades;
        let first = count.saturating_sub(limit as u64);
        let mut found = self.trades_from(symbol, line.trade_id(first), limit);
        found.retain(|trade| trade.id < line.trade_id(count));
        found
    }

    fn trade_before(&self, symbol: usize, time: i64) -> Option<Trade> {
        let count = self.counts_before(symbol, time.min(self.visible_until())).trades;
        let line = self.lines.get(symbol)?;
        let id = line.trade_id(count.checked_sub(1)?);
        self.trades_from(symbol, id, 1).first().copied()
    }

    fn aggs_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<AggTrade> {
        let Some(line) = self.lines.get(symbol) else { return Vec::new() };
        let index = line.agg_index(id);
        let until = self.visible_until();
        if index >= self.counts_before(symbol, until).aggs {
            return Vec::new();
        }
        let minute = line.activity.minute_of_agg(index);
        let second = minute.find(|counts| counts.aggs, index);
        let start = minute.minute * SECONDS_PER_MINUTE + second;
        let start = self.epoch + i64::try_from(start).unwrap_or(0) * 1000;
        let mut found = Vec::new();
        self.takes(symbol, start, until, |take| {
            if take.agg.id >= id {
                found.push(take.agg);
            }
            found.len() < limit
        });
        found
    }

    fn agg_at(&self, symbol: usize, time: i64) -> u64 {
        let count = self.counts_before(symbol, time.min(self.visible_until())).aggs;
        self.lines.get(symbol).map_or(0, |line| line.agg_id(count))
    }

    fn fold(&self, symbol: usize, from: i64, to: i64) -> Option<Bar> {
        let (line, cache) = (self.lines.get(symbol)?, self.caches.get(symbol)?);
        let (from, to) = (from.max(self.epoch), to.min(self.visible_until()));
        let mut folded = None;
        let mut at = from;
        while at < to {
            let start_of_minute = at - (at - self.epoch) % MINUTE_MS;
            let start_of_second = at - (at - self.epoch) % 1000;
            let second = self.second_of(at);
            let minute = second / SECONDS_PER_MINUTE;
            let (bar, end) = if at == start_of_minute && at + MINUTE_MS <= to {
                let minutes = (to - at) / MINUTE_MS;
                let range = minute..minute + u64::try_from(minutes).unwrap_or(1);
                (cache.minutes(line, range), at + minutes * MINUTE_MS)
            } else if at == start_of_second && at + 1000 <= to {
                (cache.second(line, minute, second % SECONDS_PER_MINUTE), at + 1000)
            } else {
                let end = to.min(start_of_second + 1000);
                let mut bar = None;
                self.takes(symbol, at, end, |take| {
                    for trade in &take.trades {
                        Bar::join(&mut bar, &Bar::of(trade));
                    }
                    true
                });
                (bar, end)
            };
            if let Some(bar) = bar {
                Bar::join(&mut folded, &bar);
            }
            at = end;
        }
        folded
    }

    fn quote(&self, symbol: usize) -> Option<Quote> {
        let line = self.lines.get(symbol)?;
        let now = self.now();
        let count_until = |second: u64| {
            let minute = line.activity.minute(second / SECONDS_PER_MINUTE);
            (minute.second(second % SECONDS_PER_MINUTE), minute)
        };
        let mut second = self.second_of(now);
        loop {
            let ((before, after), minute) = count_until(second);
            if after.updates == 0 {
                return None;
            }
            if after.updates > before.updates {
                let second = line.second(&minute, second % SECONDS_PER_MINUTE);
                let published =
                    (0..second.updates).take_while(|n| second.update_time(*n) <= now).count();
                if let Some(last) = (published as u64).checked_sub(1) {
                    return Some(second.quote(last));
                }
            }
            second = second.checked_sub(1)?;
        }
    }

    fn all_trades(&self, symbol: usize) -> Vec<Trade> {
        self.collect_trades(symbol, self.epoch, 0, usize::MAX)
    }
}

#[cfg(test)]
mod tests;
