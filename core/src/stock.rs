//! Stocks: daily prices, which their source restates, and transactions, from whoever writes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::alert::{AlertParts, AlertRule, Alerts};
use crate::coverage::Coverage;
use crate::decimal::Decimal;
use crate::market::{Symbol, Trade};
use crate::row::{AlertRow, DailyChangeRow, DailyRow, Rows};

/// Days of a stock that are remembered, to tell what was restated: four years.
const DAYS_MAX: usize = 1_024;

/// The prices of one day, unadjusted for splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    /// The day, in the exchange's own time zone.
    pub date: Date,
    /// First price.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Shares traded.
    pub volume: i64,
    /// When this was said, epoch milliseconds: what is fetched later replaces what was fetched earlier.
    pub fetched_at: i64,
}

impl Daily {
    /// Midnight UTC at which the day begins, epoch milliseconds.
    pub fn time(&self) -> i64 {
        midnight(self.date)
    }

    /// The values by their public names.
    fn values(&self) -> [(&'static str, String); 5] {
        [
            ("apertura", self.open.to_string()),
            ("maximo", self.high.to_string()),
            ("minimo", self.low.to_string()),
            ("cierre", self.close.to_string()),
            ("volumen", self.volume.to_string()),
        ]
    }

    /// Whether it was said when the day was over: before that, its values change all the time.
    fn is_final(&self) -> bool {
        self.fetched_at >= self.time() + 86_400_000
    }
}

/// A value of a day that was restated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyChange {
    /// The day.
    pub date: Date,
    /// Which value, by its public name.
    pub column: &'static str,
    /// What it was.
    pub before: String,
    /// What it is.
    pub after: String,
    /// When the restatement was fetched, epoch milliseconds.
    pub fetched_at: i64,
}

impl DailyChange {
    /// Midnight UTC at which the day begins, epoch milliseconds.
    pub fn time(&self) -> i64 {
        midnight(self.date)
    }
}

/// An instant as the transactions of the replaced system write it, `2024-08-09 10:40:00`, in UTC.
pub fn written_time(time: i64) -> String {
    let instant = Timestamp::from_millisecond(time).unwrap_or_default();
    instant.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn midnight(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).map_or(0, |it| Timestamp::from(it).as_millisecond())
}

/// A purchase or sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What its writer calls it; `None` where it says nothing.
    pub id: Option<String>,
    /// When, epoch milliseconds UTC.
    pub time: i64,
    /// When, as written.
    pub timestamp: String,
    /// Of which stock (`accion`).
    pub stock: Symbol,
    /// `COMPRA` or `VENTA` (`tipo_transaccion`).
    pub kind: String,
    /// How many shares (`cantidad`).
    pub quantity: i64,
    /// Price of one (`precio_unitario`).
    pub unit_price: Decimal,
    /// Price of all (`total`).
    pub total: Decimal,
    /// `EXITOSO` or `FALLIDO` (`estado`).
    pub state: String,
    /// Why it failed (`error`).
    pub error: Option<String>,
    /// What the configured mapping made beside these: a JSON object.
    pub extra: String,
}

/// What is remembered of one stock.
#[derive(Debug, Default)]
pub struct Stock {
    days: BTreeMap<Date, Daily>,
    /// Transactions, numbered as they lie in the log: nothing is missing between them.
    known: Coverage,
    alerts: Alerts,
}

/// How far a writer's clock may be ahead of this node's.
const AHEAD_MAX_MS: i64 = 3_600_000;
/// The number of a stock's first transaction. Nothing comes before it: else seconds would wait for it for
/// ever, and nothing would be forgotten.
const FIRST: i64 = 1;

/// The part of a checkpoint that is about one stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockCheckpoint {
    /// Which.
    pub symbol: Symbol,
    /// Its days.
    pub days: Vec<Daily>,
    /// How many transactions were counted, the time of the first and of the newest.
    pub transactions: Option<(i64, i64, i64)>,
    /// What is not decided about abrupt changes of its price.
    pub alerts: AlertParts,
}

impl Stock {
    /// Takes in a day: rows where it says something that was not known.
    pub fn absorb_daily(&mut self, symbol: &Symbol, daily: &Daily, rows: &mut Rows) {
        if let Some(known) = self.days.get(&daily.date) {
            let is_same = known.values() == daily.values();
            if daily.fetched_at <= known.fetched_at || is_same {
                return;
            }
            if known.is_final() {
                let pairs = known.values().into_iter().zip(daily.values());
                for ((column, before), (_, after)) in pairs.filter(|(was, is)| was != is) {
                    let (date, fetched_at) = (daily.date, daily.fetched_at);
                    let change = DailyChange { date, column, before, after, fetched_at };
                    rows.daily_changes.push(DailyChangeRow { symbol: symbol.clone(), change });
                }
            }
        }
        self.days.insert(daily.date, *daily);
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
        rows.dailies.push(DailyRow { symbol: symbol.clone(), daily: *daily });
    }

    /// Takes in the price of a transaction that was received at `received_at` (epoch milliseconds, as all
    /// times). One that is older than its predecessor in the log (a repeat, a slow second writer), or of a time
    /// that is yet to come, says nothing about the price: all that come until then would be older.
    pub fn absorb_price(&mut self, rule: &AlertRule, time: i64, received_at: i64, price: Decimal) {
        let is_to_come = time > received_at.saturating_add(AHEAD_MAX_MS);
        if is_to_come || self.known.latest_time().is_some_and(|newest| time < newest) {
            return;
        }
        let number = self.known.last().map_or(FIRST, |last| last + 1);
        self.known.set_floor(FIRST);
        self.known.absorb(number, time);
        let (quantity, buyer_is_maker) = (Decimal::ZERO, false);
        let trade = Trade { id: number, time, price, quantity, buyer_is_maker };
        self.alerts.absorb(rule, &self.known, &trade);
    }

    /// Decides what can be decided about abrupt price changes.
    pub fn emit(&mut self, symbol: &Symbol, rule: &AlertRule, rows: &mut Vec<AlertRow>) {
        self.alerts.emit(symbol, rule, &self.known, rows);
    }

    /// What a successor needs.
    pub fn save(&self, symbol: &Symbol) -> StockCheckpoint {
        let range = self.known.parts().0.first();
        StockCheckpoint {
            symbol: symbol.clone(),
            days: self.days.values().copied().collect(),
            transactions: range.map(|it| (it.last, it.first_time, it.last_time)),
            alerts: self.alerts.parts(),
        }
    }

    /// Puts back together what [`Stock::save`] took apart.
    pub fn restore(saved: &StockCheckpoint) -> Self {
        let range = saved.transactions.map(|(last, first_time, last_time)| {
            crate::coverage::Range { first: FIRST, last, first_time, last_time }
        });
        Self {
            days: saved.days.iter().map(|it| (it.date, *it)).collect(),
            known: Coverage::from_parts(range.into_iter().collect(), Some(FIRST), Vec::new()),
            alerts: Alerts::from_parts(&saved.alerts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol() -> Symbol {
        Symbol::new("TSLA").unwrap()
    }

    /// A day with these closes, fetched `days` days after it.
    fn day(date: &str, close: i64, days: i64) -> Daily {
        let date: Date = date.parse().unwrap();
        let price = Decimal::from_units(close);
        let (open, high, low, close) = (price, price, price, price);
        Daily {
            date,
            open,
            high,
            low,
            close,
            volume: 7,
            fetched_at: midnight(date) + days * 86_400_000,
        }
    }

    #[track_caller]
    fn check(fetched: &[Daily], rows_expected: &[i64], changes_expected: &[&str]) {
        let (mut stock, mut rows) = (Stock::default(), Rows::default());
        for daily in fetched {
            stock.absorb_daily(&symbol(), daily, &mut rows);
            stock = Stock::restore(&stock.save(&symbol()));
        }
        let closes: Vec<_> = rows.dailies.iter().map(|it| it.daily.close).collect();
        let expected: Vec<_> = rows_expected.iter().map(|it| Decimal::from_units(*it)).collect();
        assert_eq!(closes, expected);
        let changes = rows.daily_changes.iter().map(|DailyChangeRow { change: it, .. }| {
            format!("{} {} {} -> {}", it.date, it.column, it.before, it.after)
        });
        let changes: Vec<_> = changes.filter(|it| it.contains("cierre")).collect();
        assert_eq!(changes, changes_expected);
    }

    #[test]
    fn a_day_said_again_is_no_row() {
        check(&[day("2024-12-31", 5, 1), day("2024-12-31", 5, 2)], &[5], &[]);
    }

    #[test]
    fn a_restated_day_replaces_the_old_one_and_is_on_record() {
        check(
            &[day("2024-12-31", 5, 1), day("2024-12-31", 6, 9)],
            &[5, 6],
            &["2024-12-31 cierre 5.00000000 -> 6.00000000"],
        );
    }

    #[test]
    fn what_was_fetched_earlier_comes_too_late() {
        check(&[day("2024-12-31", 6, 9), day("2024-12-31", 5, 1)], &[6], &[]);
    }

    #[test]
    fn a_day_that_is_going_on_is_not_restated() {
        check(&[day("2024-12-31", 5, 0), day("2024-12-31", 6, 1)], &[5, 6], &[]);
    }

    #[test]
    fn what_can_be_asked_for_no_more_is_forgotten() {
        let rule = AlertRule { threshold_percent: Decimal::from_units(5), window_ms: 60_000 };
        let (mut stock, mut rows) = (Stock::default(), Vec::new());
        for second in 0..10_000 {
            stock.absorb_price(&rule, second * 1_000, second * 1_000, Decimal::from_units(100));
            if second % 100 == 0 {
                stock.emit(&symbol(), &rule, &mut rows);
                stock = Stock::restore(&stock.save(&symbol()));
            }
        }
        stock.emit(&symbol(), &rule, &mut rows);
        let kept = stock.save(&symbol()).alerts;
        assert!(kept.closes.len() < 200 && kept.pending.len() < 200, "{}", kept.closes.len());
    }

    #[test]
    fn an_abrupt_price_is_an_alert_once_over_restarts_and_repeats() {
        let rule = AlertRule { threshold_percent: Decimal::from_units(10), window_ms: 2_000 };
        let quiet = (0..5).map(|second| (second, 100));
        let abrupt = [(5, 120), (2, 500), (5, 120), (6, 120), (7, 121)];
        let prices: Vec<_> = quiet.chain(abrupt).collect();
        for restarts in [false, true] {
            let (mut stock, mut alerts) = (Stock::default(), Vec::new());
            for &(second, price) in &prices {
                let time = second * 1_000;
                stock.absorb_price(&rule, time, time, Decimal::from_units(price));
                // Of a writer who is in another century.
                stock.absorb_price(&rule, i64::MAX / 2, time, Decimal::from_units(price + 1));
                stock.emit(&symbol(), &rule, &mut alerts);
                if restarts {
                    stock = Stock::restore(&stock.save(&symbol()));
                }
            }
            let found: Vec<_> = alerts.iter().map(|it| (it.time, it.up)).collect();
            assert_eq!(found, [(5_000, true)], "restarts: {restarts}");
        }
    }
}
