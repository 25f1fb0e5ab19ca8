//! Simulated transactions: purchases and sales of five stocks whose prices hang together.
//!
//! Everything follows from the seed and the event's number, in whole numbers: whoever simulates
//! the same event, on whatever machine, simulates the same one. Two simulators at once, or one that
//! starts again, write nothing that is not the same row.

use crate::decimal::Decimal;
use crate::market::Symbol;
use crate::stock::Transaction;

/// The stocks, and the price around which each moves, in cents.
const STOCKS: [(&str, i64); 5] =
    [("AAPL", 22_500), ("TSLA", 24_800), ("AMZN", 18_600), ("GOOGL", 17_200), ("MSFT", 41_500)];
/// What moves a price: how long a movement lasts in milliseconds, and how far it goes, in millionths.
const MOVEMENTS: [(i64, i64); 5] =
    [(86_400_000, 60_000), (3_600_000, 18_000), (300_000, 5_000), (30_000, 1_500), (2_000, 200)];
/// How long a shock is felt, milliseconds; one slot in [`SHOCK_ONE_IN`] has one.
const SHOCK_MS: i64 = 300_000;
const SHOCK_ONE_IN: u64 = 4;
/// How far a shock moves the price, in millionths.
const SHOCK: i64 = 25_000;
const MILLION: i64 = 1_000_000;
/// One in so many fails.
const FAILS_ONE_IN: u64 = 10;
const FAILURES: [&str; 3] = ["ERROR_API", "ERROR_CONEXION", "TIMEOUT"];

/// A market of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulator {
    /// Two seeds are two markets.
    pub seed: u64,
    /// Events a second.
    pub rate: u32,
}

impl Simulator {
    /// The number of the first event that is not before `time` (epoch milliseconds).
    pub fn first_at(&self, time: i64) -> u64 {
        let events = i128::from(time) * i128::from(self.rate.max(1));
        u64::try_from(events.div_euclid(1_000) + i128::from(events.rem_euclid(1_000) > 0))
            .unwrap_or(0)
    }

    /// When an event happens, epoch milliseconds: its number over the rate.
    pub fn time(&self, number: u64) -> i64 {
        let millis = u128::from(number) * 1_000 / u128::from(self.rate.max(1));
        i64::try_from(millis).unwrap_or(i64::MAX)
    }

    /// An event. `timestamp` is its time as its reader shall see it.
    pub fn event(&self, number: u64, timestamp: String) -> Transaction {
        let time = self.time(number);
        let dice = |what: u64| mix(self.seed ^ mix(number ^ mix(what)));
        let stock = usize::try_from(dice(1) % 5).unwrap_or(0);
        let (name, _) = STOCKS.get(stock).copied().unwrap_or(("AAPL", 0));
        let cents = self.price(stock, time);
        let quantity = i64::try_from(1 + dice(2) % 100).unwrap_or(1);
        let failed = dice(4).is_multiple_of(FAILS_ONE_IN);
        let failure = FAILURES.get(usize::try_from(dice(5) % 3).unwrap_or(0)).copied();
        Transaction {
            id: Some(format!("sim-{}-{}-{number}", self.seed, self.rate)),
            time,
            timestamp,
            stock: Symbol::new(name).expect("the simulated stocks are symbols"),
            kind: if dice(3).is_multiple_of(2) { "COMPRA" } else { "VENTA" }.to_owned(),
            quantity,
            unit_price: cents_to_decimal(cents),
            total: cents_to_decimal(cents * quantity),
            state: if failed { "FALLIDO" } else { "EXITOSO" }.to_owned(),
            error: failure.filter(|_| failed).map(str::to_owned),
            extra: "{}".to_owned(),
        }
    }

    /// The price of a stock, in cents: movements of several lengths on top of each other, and a
    /// shock now and then. Between two points each movement goes in a straight line.
    fn price(&self, stock: usize, time: i64) -> i64 {
        let base = STOCKS.get(stock).map_or(1, |(_, base)| *base);
        let salt = mix(self.seed ^ mix(u64::try_from(stock).unwrap_or(0)));
        let mut millionths = MILLION;
        for (length, reach) in MOVEMENTS {
            let point = |at: i64| {
                let drawn = mix(salt ^ mix(at.unsigned_abs() ^ length.unsigned_abs()));
                i64::try_from(drawn % 2_001).unwrap_or(0) - 1_000
            };
            let (slot, within) = (time.div_euclid(length), time.rem_euclid(length));
            let (from, to) = (point(slot), point(slot + 1));
            let drawn = from * length + (to - from) * within;
            millionths += reach * (drawn / length) / 1_000;
        }
        let (slot, within) = (time.div_euclid(SHOCK_MS), time.rem_euclid(SHOCK_MS));
        let drawn = mix(salt ^ mix(slot.unsigned_abs() ^ 0x5b0c));
        if drawn.is_multiple_of(SHOCK_ONE_IN) {
            // Felt at once, forgotten slowly.
            let reach = SHOCK * (SHOCK_MS - within) / SHOCK_MS;
            millionths += if (drawn >> 32).is_multiple_of(2) { reach } else { -reach };
        }
        (base * millionths / MILLION).max(1)
    }
}

fn cents_to_decimal(cents: i64) -> Decimal {
    Decimal(i128::from(cents) * 1_000_000)
}

/// SplitMix64's finish: every bit of the input moves every bit of the output.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SIMULATOR: Simulator = Simulator { seed: 7, rate: 10 };

    fn event(number: u64) -> Transaction {
        SIMULATOR.event(number, String::new())
    }

    #[test]
    fn an_event_is_the_same_whoever_simulates_it() {
        let event = event(17_232_000_000);
        let known = "sim-7-10-17232000000 AMZN COMPRA 88 186.86000000 16443.68000000 EXITOSO None";
        let said = format!(
            "{} {} {} {} {} {} {} {:?}",
            event.id.clone().unwrap_or_default(),
            event.stock,
            event.kind,
            event.quantity,
            event.unit_price,
            event.total,
            event.state,
            event.error
        );
        assert_eq!(said, known, "rows that are stored already depend on it");
    }

    #[test]
    fn numbers_and_times_are_each_others_inverse() {
        for rate in [1, 3, 10, 100_000] {
            let simulator = Simulator { seed: 1, rate };
            for time in [0, 1, 999, 1_723_200_000_123] {
                let number = simulator.first_at(time);
                assert!(simulator.time(number) >= time, "{rate} {time}");
                assert!(number == 0 || simulator.time(number - 1) < time.max(1), "{rate} {time}");
            }
        }
    }

    #[test]
    fn one_in_ten_fails_and_only_those_carry_an_error() {
        let events: Vec<_> = (0..10_000).map(event).collect();
        let failed = events.iter().filter(|it| it.state == "FALLIDO").count();
        assert!((900..1_100).contains(&failed), "{failed}");
        assert!(events.iter().all(|it| it.error.is_some() == (it.state == "FALLIDO")));
        assert!(events.iter().all(|it| (1..=100).contains(&it.quantity)));
        let bought = events.iter().filter(|it| it.kind == "COMPRA").count();
        assert!((4_500..5_500).contains(&bought), "{bought}");
    }

    #[test]
    fn prices_move_in_small_steps_but_for_shocks() {
        let mut last: BTreeMap<Symbol, Decimal> = BTreeMap::new();
        let (mut small, mut abrupt) = (0, 0);
        for number in 17_232_000_000..17_232_072_000 {
            let event = event(number);
            if let Some(before) = last.insert(event.stock, event.unit_price) {
                let change = event.unit_price.percent_from(before).unwrap();
                let one = Decimal::from_units(1);
                if change < one && change > Decimal::ZERO.minus(one) {
                    small += 1;
                } else {
                    abrupt += 1;
                }
            }
        }
        assert!(small > 1_000 * abrupt, "{small} small, {abrupt} abrupt");
        assert!(abrupt > 0, "nothing that an alert could be about");
    }
}
