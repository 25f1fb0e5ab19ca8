//! Names, price levels and units of made-up markets.

use fts_core::decimal::Decimal;

use super::noise::hash_text;
use crate::market::Symbol;

/// The liquid ones of the real exchange, most liquid first: base, price, decimals of price and
/// quantity.
const MAJORS: [(&str, f64, u32, u32); 16] = [
    ("BTC", 61_837.0, 2, 5),
    ("ETH", 2_683.0, 2, 4),
    ("SOL", 153.0, 2, 3),
    ("BNB", 508.0, 1, 3),
    ("XRP", 0.605, 4, 0),
    ("DOGE", 0.106, 5, 0),
    ("ADA", 0.345, 4, 1),
    ("AVAX", 21.9, 2, 2),
    ("LINK", 10.4, 2, 2),
    ("DOT", 4.61, 3, 2),
    ("LTC", 60.9, 2, 3),
    ("TRX", 0.127, 4, 1),
    ("UNI", 6.1, 3, 2),
    ("ATOM", 4.72, 3, 2),
    ("NEAR", 4.05, 3, 1),
    ("APT", 6.2, 2, 2),
];
const QUOTES: [&str; 6] = ["USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB"];
const SYLLABLES: [&str; 16] = [
    "AL", "BE", "CO", "DA", "EX", "FI", "GO", "HY", "IN", "JU", "KA", "LO", "MU", "NO", "OR", "PI",
];

/// So many symbols, the real majors first.
pub fn realistic_symbols(count: usize) -> Vec<String> {
    let majors = MAJORS.iter().map(|(base, ..)| (*base).to_owned());
    let syllable = |at: usize| SYLLABLES.get(at % SYLLABLES.len()).copied().unwrap_or_default();
    let made_up = (0_usize..).map(|at| {
        let base = format!("{}{}{}", syllable(at), syllable(at / 16), syllable(at / 256));
        if at < 4_096 { base } else { format!("{base}{}", at / 4_096) }
    });
    majors.chain(made_up).take(count).map(|base| format!("{base}USDT")).collect()
}

/// Base and quote currency of a symbol.
pub(crate) fn split(name: &str) -> (String, String) {
    QUOTES
        .iter()
        .find_map(|quote| {
            let base = name.strip_suffix(quote).filter(|base| !base.is_empty())?;
            Some((base.to_owned(), (*quote).to_owned()))
        })
        .unwrap_or_else(|| (name.to_owned(), "USDT".to_owned()))
}

/// A symbol's units, and the price around which it moves.
pub(super) fn describe(name: &str) -> (Symbol, f64) {
    let (base, quote) = split(name);
    let major = MAJORS.iter().find(|(known, ..)| *known == base && quote != "BTC");
    let (price, price_decimals, quantity_decimals) = match major {
        Some((_, price, price_decimals, quantity_decimals)) => {
            (*price, *price_decimals, *quantity_decimals)
        }
        None => match hash_text(name) % 4 {
            0 => (0.0231, 6, 0),
            1 => (0.734, 4, 1),
            2 => (7.12, 3, 2),
            _ => (83.4, 2, 3),
        },
    };
    let unit = |decimals: u32| Decimal(10_i128.pow(8 - decimals.min(8)));
    let tick = unit(price_decimals);
    let step = unit(quantity_decimals);
    (Symbol { name: name.to_owned(), base, quote, tick, step }, price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_names_are_all_different() {
        let names = realistic_symbols(6_000);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!((names.len(), distinct.len()), (6_000, 6_000));
        assert_eq!(names[..2], ["BTCUSDT", "ETHUSDT"]);
    }

    #[test]
    fn names_come_apart() {
        assert_eq!(split("ETHBTC"), ("ETH".to_owned(), "BTC".to_owned()));
        assert_eq!(split("BTCUSDT"), ("BTC".to_owned(), "USDT".to_owned()));
        assert_eq!(split("ODD"), ("ODD".to_owned(), "USDT".to_owned()));
    }
}
