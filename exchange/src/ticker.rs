//! The rolling 24 hours of a symbol.

use crate::market::{Bar, Market, Quote};
use fts_core::decimal::{Decimal, Notional};

/// Length of the window, ms.
pub(crate) const WINDOW_MS: i64 = 86_400_000;

/// The statistics of the trades in (`open_time`, `close_time`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticker {
    pub(crate) open_time: i64,
    pub(crate) close_time: i64,
    /// `None`: nothing was traded.
    pub(crate) bar: Option<Bar>,
    /// The price of the last trade before the window; zero if there was none.
    pub(crate) previous_close: Decimal,
    pub(crate) quote: Quote,
}

impl Ticker {
    /// The ticker at `close_time` (ms UTC).
    pub(crate) fn at(market: &dyn Market, symbol: usize, close_time: i64) -> Self {
        let open_time = close_time - WINDOW_MS;
        let nothing = Quote {
            update_id: 0,
            bid: Decimal::ZERO,
            bid_quantity: Decimal::ZERO,
            ask: Decimal::ZERO,
            ask_quantity: Decimal::ZERO,
        };
        Self {
            open_time,
            close_time,
            bar: market.fold(symbol, open_time + 1, close_time + 1),
            previous_close: market
                .trade_before(symbol, open_time + 1)
                .map_or(Decimal::ZERO, |trade| trade.price),
            quote: market.quote(symbol).unwrap_or(nothing),
        }
    }

    pub(crate) fn price(&self, of: impl FnOnce(&Bar) -> Decimal) -> Decimal {
        self.bar.as_ref().map_or(Decimal::ZERO, of)
    }

    pub(crate) fn change(&self) -> Decimal {
        self.price(|bar| bar.close.minus(bar.open))
    }

    /// In percent; shown with 3 fraction digits.
    pub(crate) fn change_percent(&self) -> Decimal {
        self.bar.as_ref().and_then(|bar| bar.close.percent_from(bar.open)).unwrap_or(Decimal::ZERO)
    }

    pub(crate) fn weighted_average(&self) -> Decimal {
        self.price(|bar| bar.quote_volume.over(bar.volume).unwrap_or(Decimal::ZERO))
    }

    pub(crate) fn quote_volume(&self) -> Notional {
        self.bar.as_ref().map_or(Notional::ZERO, |bar| bar.quote_volume)
    }

    /// First and last trade id (−1 if nothing was traded) and their number.
    pub(crate) fn ids(&self) -> (i64, i64, u64) {
        id_range(self.bar.as_ref())
    }
}

/// First and last trade id of a bar, −1 without trades, and their number.
pub(crate) fn id_range(bar: Option<&Bar>) -> (i64, i64, u64) {
    bar.map_or((-1, -1, 0), |bar| {
        let id = |id| i64::try_from(id).unwrap_or(i64::MAX);
        (id(bar.first_id), id(bar.last_id), bar.trades)
    })
}

/// Appends a percentage with 3 fraction digits, in quotes.
pub(crate) fn push_percent(out: &mut Vec<u8>, percent: Decimal) {
    let rounded = Decimal(percent.0 * 100_000).mean_of(10_000_000_000).0;
    let sign = if rounded < 0 { "-" } else { "" };
    let magnitude = rounded.unsigned_abs();
    let text = format!("\"{sign}{}.{:03}\"", magnitude / 1000, magnitude % 1000);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_three_digits() {
        for (raw, expected) in [
            (176_400_000_i128, "\"1.764\""),
            (-9_596_000_000, "\"-95.960\""),
            (49_999, "\"0.000\""),
            (50_000, "\"0.001\""),
            (-50_000, "\"-0.001\""),
        ] {
            let mut out = Vec::new();
            push_percent(&mut out, Decimal(raw));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
