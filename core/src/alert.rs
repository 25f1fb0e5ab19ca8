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
/// At most so many seconds wait for holes near them to be filled. Beyond it the oldest is given up:
/// it is no alert, whatever comes.
const PENDING_MAX: usize = 3_600;

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
    /// What was decided and not yet emitted.
    decided: Vec<Decided>,
    /// The newest second given up: neither it nor an older one is decided any more.
    given_up: Option<i64>,
}

/// An alert of a symbol to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decided {
    second: i64,
    up: bool,
    reference: Decimal,
    price: Decimal,
    change: Decimal,
}

/// What a successor needs of [`Alerts`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertParts {
    /// Of each second the highest trade id and its price.
    pub closes: Vec<(i64, i64, Decimal)>,
    /// The seconds that are not decided.
    pub pending: Vec<i64>,
    /// The newest second given up.
    pub given_up: Option<i64>,
}

impl Alerts {
    /// Puts back together what [`Alerts::parts`] took apart.
    pub fn from_parts(parts: &AlertParts) -> Self {
        let closes = parts.closes.iter().map(|(second, id, price)| (*second, (*id, *price)));
        Self {
            closes: closes.collect(),
            pending: parts.pending.iter().copied().collect(),
            decided: Vec::new(),
            given_up: parts.given_up,
        }
    }

    /// What a successor needs, once all that is decided is emitted.
    pub fn parts(&self) -> AlertParts {
        let closes = self.closes.iter().map(|(second, (id, price))| (*second, *id, *price));
        AlertParts {
            closes: closes.collect(),
            pending: self.pending.iter().copied().collect(),
            given_up: self.given_up,
        }
    }

    /// How many seconds are not decided.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes in a trade that was not seen before; `known` is the coverage with it.
    pub fn absorb(&mut self, rule: &AlertRule, known: &Coverage, trade: &Trade) {
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
        if self.given_up.is_none_or(|given_up| given_up < second) {
            self.pending.insert(second);
        }
        // Here and not where rows are emitted: which seconds are given up follows from the log alone.
        // Of what could have been decided before, copies that emitted it hold nothing; so that is
        // decided first.
        if self.pending.len() > PENDING_MAX {
            self.decide(rule, known);
            while self.pending.len() > PENDING_MAX {
                self.given_up = self.pending.pop_first();
            }
        }
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
        if self.pending.len() >= 2 {
            self.decide(rule, known);
        }
        rows.extend(self.decided.drain(..).map(|it| AlertRow {
            symbol: symbol.clone(),
            time: it.second,
            up: it.up,
            window_ms: rule.window_ms,
            threshold_percent: rule.threshold_percent,
            reference_price: it.reference,
            price: it.price,
            change_percent: it.change,
        }));
    }

    fn decide(&mut self, rule: &AlertRule, known: &Coverage) {
        let mut over = Vec::new();
        for &second in &self.pending {
            let from = second - SECOND_MS - rule.window_ms;
            match known.judge(from, second + SECOND_MS) {
                Window::Complete => self.decided.extend(self.alert(rule, second)),
                Window::Lost => {}
                Window::Open => continue,
            }
            over.push(second);
        }
        if over.is_empty() {
            return;
        }
        for second in &over {
            self.pending.remove(second);
        }
        if self.pending.len() < 2 {
            // No hole is left: nothing older will come.
            self.given_up = None;
        }
        self.prune(rule);
    }

    /// The alert at `second`, if there is one. Every close it needs is final.
    fn alert(&self, rule: &AlertRule, second: i64) -> Option<Decided> {
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
        Some(Decided { second, up, reference, price, change })
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
        // Late trades may still make a second pending that lies just after what was given up.
        let oldest = self.given_up.as_ref().or(self.pending.first());
        let Some(&oldest) = oldest.or(self.closes.keys().next_back()) else { return };
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
    fn alerts(rule: &AlertRule, trades: &[(i64, i64, i64)], flush_each: bool) -> Vec<String> {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let (mut alerts, mut coverage) = (Alerts::default(), Coverage::default());
        let mut rows = Vec::new();
        for &(id, second, price) in trades {
            coverage.absorb(id, second * 1_000);
            let trade = Trade {
                id,
                time: second * 1_000,
                price: Decimal::from_units(price),
                quantity: Decimal::from_units(1),
                buyer_is_maker: false,
            };
            alerts.absorb(rule, &coverage, &trade);
            if flush_each {
                alerts.emit(&symbol, rule, &coverage, &mut rows);
            }
        }
        alerts.emit(&symbol, rule, &coverage, &mut rows);
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
        assert_eq!(alerts(&RULE, trades, true), expected, "in order");
        let mut reversed = trades.to_vec();
        reversed.reverse();
        assert_eq!(alerts(&RULE, &reversed, false), expected, "reversed");
        assert_eq!(alerts(&RULE, &reversed, true), expected, "reversed, decided as they come");
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
    fn a_hole_that_stays_open_costs_the_same_alerts_whoever_looks_when() {
        // Every second within 5,000 of the hole has to wait for it; more of them than may wait.
        let rule = AlertRule { window_ms: 5_000_000, ..RULE };
        let (hole, last) = (5_100, 9_000);
        let price = |second: i64| match second {
            ..5_200 => 100,
            5_200..8_000 => 80,
            _ => 130,
        };
        let trade = |second: i64| (second, second, price(second));
        let before = (0..last).filter(|second| *second != hole);
        let trades: Vec<_> = before.chain([hole]).chain(last..last + 3).map(trade).collect();
        let expected = ["8000 up 30.00000000"];
        assert!(last - 5_200 > i64::try_from(PENDING_MAX).unwrap());
        assert_eq!(alerts(&rule, &trades, true), expected, "second 5,200 waited with too many");
        assert_eq!(alerts(&rule, &trades, false), expected);
    }

    #[test]
    fn a_hole_delays_the_decision_and_does_not_change_it() {
        let trades = [(1, 0, 100), (2, 4, 100), (4, 5, 120), (5, 6, 120), (3, 4, 119)];
        assert_eq!(alerts(&RULE, &trades[..4], true), Vec::<String>::new());
        assert_eq!(
            alerts(&RULE, &trades, true),
            ["4 up 19.00000000"],
            "trade 3 was the abrupt one"
        );
    }
}
