//! Alerts on abrupt price changes.
//!
//! The change at a second is that of the last price in it against the last price one window
//! earlier. An alert marks the second at which the change reaches the threshold: where it had not,
//! in the same direction, a second before. It is decided only once every trade from one window and
//! one second before it to the end of it is known; so which alerts there are does not depend on the
//! order in which trades arrive, nor on when the node was down.

use std::collections::{BTreeMap, BTreeSet};

use crate::coverage::{Coverage, Window};
use crate::decimal::Decimal;
use crate::market::{Symbol, Trade};
use crate::row::AlertRow;

const SECOND_MS: i64 = 1_000;
/// How long a second waits for a hole near it to be filled, in milliseconds of exchange time.
const PATIENCE_MS: i64 = 3_600_000;

/// What counts as abrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertRule {
    /// The least change, percent.
    pub threshold_percent: Decimal,
    /// Over how many milliseconds; a multiple of 1,000.
    pub window_ms: i64,
}

/// The last price of each second of one symbol, as far back as an alert may need it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alerts {
    /// By start of the second: the highest trade id and its price.
    closes: BTreeMap<i64, (i64, Decimal)>,
    /// The seconds not decided yet.
    pending: BTreeSet<i64>,
}

impl Alerts {
    /// Puts back together what [`Alerts::parts`] took apart.
    pub fn from_parts(
        closes: impl IntoIterator<Item = (i64, i64, Decimal)>,
        pending: impl IntoIterator<Item = i64>,
    ) -> Self {
        let closes = closes.into_iter().map(|(second, id, price)| (second, (id, price)));
        Self { closes: closes.collect(), pending: pending.into_iter().collect() }
    }

    /// The closes as (second, trade id, price), and the seconds that are not decided.
    pub fn parts(
        &self,
    ) -> (impl Iterator<Item = (i64, i64, Decimal)> + '_, impl Iterator<Item = i64> + '_) {
        let closes = self.closes.iter().map(|(second, (id, price))| (*second, *id, *price));
        (closes, self.pending.iter().copied())
    }

    /// Takes in a trade that was not seen before.
    pub fn absorb(&mut self, trade: &Trade) {
        let second = trade.time - trade.time.rem_euclid(SECOND_MS);
        if let Some(mut last) = self.closes.last_entry()
            && *last.key() == second
        {
            let close = last.get_mut();
            if close.0 < trade.id {
                *close = (trade.id, trade.price);
            }
            return;
        }
        let close = self.closes.entry(second).or_insert((trade.id, trade.price));
        if close.0 <= trade.id {
            *close = (trade.id, trade.price);
        }
        self.pending.insert(second);
    }

    /// Decides what can be decided; appends the alerts to `rows`.
    pub fn emit(
        &mut self,
        symbol: &Symbol,
        rule: &AlertRule,
        known: &Coverage,
        rows: &mut Vec<AlertRow>,
    ) {
        // In the steady state there is one second pending, the one that is still going on.
        if self.pending.len() < 2 {
            return;
        }
        let newest = self.closes.last_key_value().map_or(0, |(second, _)| *second);
        let mut decided = Vec::new();
        for &second in &self.pending {
            let from = second - SECOND_MS - rule.window_ms;
            match known.judge(from, second + SECOND_MS) {
                Window::Complete => rows.extend(self.alert(symbol, rule, second)),
                Window::Open if newest - second < PATIENCE_MS => continue,
                Window::Open | Window::Lost => {}
            }
            decided.push(second);
        }
        for second in &decided {
            self.pending.remove(second);
        }
        if !decided.is_empty() {
            self.prune(rule);
        }
    }

    /// The alert at `second`, if there is one. Every close it needs is final.
    fn alert(&self, symbol: &Symbol, rule: &AlertRule, second: i64) -> Option<AlertRow> {
        let (reference, price, change) = self.change(rule, second)?;
        let threshold = rule.threshold_percent;
        let reaches = |change: Decimal, up: bool| {
            if up { change >= threshold } else { change <= Decimal::ZERO.minus(threshold) }
        };
        let up = change > Decimal::ZERO;
        let before = self.change(rule, second - SECOND_MS);
        if !reaches(change, up) || before.is_some_and(|(_, _, before)| reaches(before, up)) {
            return None;
        }
        Some(AlertRow {
            symbol: symbol.clone(),
            time: second,
            up,
            window_ms: rule.window_ms,
            threshold_percent: threshold,
            reference_price: reference,
            price,
            change_percent: change,
        })
    }

    /// The price one window before `second`, the price at its end, and the change in percent.
    fn change(&self, rule: &AlertRule, second: i64) -> Option<(Decimal, Decimal, Decimal)> {
        let reference = self.price_at(second - rule.window_ms)?;
        let price = self.price_at(second)?;
        Some((reference, price, price.percent_from(reference)?))
    }

    fn price_at(&self, second: i64) -> Option<Decimal> {
        self.closes.range(..=second).next_back().map(|(_, (_, price))| *price)
    }

    /// Forgets the closes that no pending or future second can ask for.
    fn prune(&mut self, rule: &AlertRule) {
        let Some(&oldest) = self.pending.first().or(self.closes.keys().next_back()) else { return };
        let asked = oldest - SECOND_MS - rule.window_ms;
        // The last close at or before that is the price at that time.
        let Some((&keep, _)) = self.closes.range(..=asked).next_back() else { return };
        self.closes = self.closes.split_off(&keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: AlertRule =
        AlertRule { threshold_percent: Decimal::from_units(10), window_ms: 2_000 };

    /// Trades `(id, second, price)` in this order; the alerts as `second direction change`.
    fn alerts(trades: &[(i64, i64, i64)], flush_each: bool) -> Vec<String> {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let (mut alerts, mut coverage) = (Alerts::default(), Coverage::default());
        let mut rows = Vec::new();
        for &(id, second, price) in trades {
            coverage.absorb(id, second * 1_000);
            alerts.absorb(&Trade {
                id,
                time: second * 1_000,
                price: Decimal::from_units(price),
                quantity: Decimal::from_units(1),
                buyer_is_maker: false,
            });
            if flush_each {
                alerts.emit(&symbol, &RULE, &coverage, &mut rows);
            }
        }
        alerts.emit(&symbol, &RULE, &coverage, &mut rows);
        rows.sort_by_key(|row| row.time);
        let word = |row: &AlertRow| {
            format!(
                "{} {} {}",
                row.time / 1_000,
                if row.up { "up" } else { "down" },
                row.change_percent
            )
        };
        rows.iter().map(word).collect()
    }

    #[track_caller]
    fn check(trades: &[(i64, i64, i64)], expected: &[&str]) {
        assert_eq!(alerts(trades, true), expected, "in order");
        let mut reversed = trades.to_vec();
        reversed.reverse();
        assert_eq!(alerts(&reversed, false), expected, "reversed");
        assert_eq!(alerts(&reversed, true), expected, "reversed, decided as they come");
    }

    #[test]
    fn marks_the_second_at_which_the_threshold_is_reached() {
        let quiet = [(1, 0, 100), (2, 1, 100), (3, 2, 100), (4, 3, 100)];
        check(&[&quiet[..], &[(5, 4, 109), (6, 5, 109), (7, 6, 109)]].concat(), &[]);
        check(
            &[&quiet[..], &[(5, 4, 110), (6, 5, 111), (7, 6, 111)]].concat(),
            &["4 up 10.00000000"],
        );
        check(&[&quiet[..], &[(5, 4, 90), (6, 9, 90)]].concat(), &["4 down -10.00000000"]);
    }

    #[test]
    fn a_silent_second_keeps_the_price() {
        check(&[(1, 0, 100), (2, 50, 120), (3, 51, 120)], &["50 up 20.00000000"]);
    }

    #[test]
    fn nothing_is_said_without_a_window_of_past() {
        check(&[(1, 0, 100), (2, 1, 200), (3, 2, 200)], &[]);
    }

    #[test]
    fn a_hole_delays_the_decision_and_does_not_change_it() {
        let trades = [(1, 0, 100), (2, 4, 100), (4, 5, 120), (5, 6, 120), (3, 4, 119)];
        assert_eq!(alerts(&trades[..4], true), Vec::<String>::new());
        assert_eq!(alerts(&trades, true), ["4 up 19.00000000"], "trade 3 was the abrupt one");
    }
}
