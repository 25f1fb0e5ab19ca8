//! Symbols: which there are, what they cost, in which steps they trade.

use crate::market::Symbol;
use fts_core::decimal::Decimal;

/// Currencies that can be paid with, the most used first, and what one is worth in cents of a
/// dollar.
const QUOTES: [(&str, u64); 10] = [
    ("USDT", 100),
    ("USDC", 100),
    ("FDUSD", 100),
    ("BTC", 6_150_000),
    ("ETH", 267_000),
    ("BNB", 52_000),
    ("EUR", 109),
    ("TRY", 3),
    ("BRL", 18),
    ("USD", 100),
];

/// What can be bought: name, price in units of 10⁻⁸ dollars, and how wild it is (1 is Bitcoin).
const BASES: [(&str, u64, u32); 64] = [
    ("BTC", 6_150_000_000_000, 10),
    ("ETH", 267_000_000_000, 13),
    ("SOL", 15_200_000_000, 19),
    ("BNB", 52_000_000_000, 11),
    ("XRP", 60_000_000, 16),
    ("DOGE", 10_500_000, 21),
    ("PEPE", 790, 30),
    ("ADA", 34_000_000, 17),
    ("AVAX", 2_200_000_000, 19),
    ("LINK", 1_050_000_000, 18),
    ("TRX", 12_700_000, 9),
    ("SUI", 92_000_000, 26),
    ("TON", 650_000_000, 17),
    ("SHIB", 1_400, 22),
    ("DOT", 450_000_000, 18),
    ("LTC", 6_000_000_000, 14),
    ("BCH", 34_000_000_000, 16),
    ("NEAR", 400_000_000, 22),
    ("UNI", 620_000_000, 20),
    ("APT", 590_000_000, 21),
    ("WIF", 170_000_000, 34),
    ("FET", 90_000_000, 26),
    ("ARB", 56_000_000, 21),
    ("OP", 145_000_000, 22),
    ("ICP", 760_000_000, 20),
    ("FIL", 350_000_000, 19),
    ("ATOM", 475_000_000, 17),
    ("INJ", 1_900_000_000, 24),
    ("TIA", 520_000_000, 27),
    ("SEI", 30_000_000, 26),
    ("AAVE", 10_000_000_000, 20),
    ("FLOKI", 13_000, 30),
    ("BONK", 1_900, 31),
    ("WLD", 160_000_000, 28),
    ("ETC", 1_900_000_000, 16),
    ("XLM", 10_000_000, 14),
    ("HBAR", 5_500_000, 17),
    ("STX", 150_000_000, 23),
    ("IMX", 117_000_000, 22),
    ("GRT", 15_500_000, 21),
    ("LDO", 110_000_000, 23),
    ("RUNE", 350_000_000, 25),
    ("MKR", 205_000_000_000, 18),
    ("ALGO", 12_500_000, 17),
    ("VET", 2_200_000, 18),
    ("SAND", 26_000_000, 20),
    ("MANA", 28_000_000, 19),
    ("AXS", 480_000_000, 19),
    ("GALA", 1_850_000, 23),
    ("CHZ", 5_300_000, 18),
    ("CRV", 29_000_000, 24),
    ("SNX", 130_000_000, 20),
    ("DYDX", 108_000_000, 23),
    ("ENS", 1_700_000_000, 24),
    ("JUP", 85_000_000, 27),
    ("PYTH", 28_000_000, 26),
    ("ORDI", 2_900_000_000, 30),
    ("STRK", 38_000_000, 25),
    ("ZRO", 340_000_000, 28),
    ("NOT", 1_050_000, 31),
    ("EOS", 49_000_000, 15),
    ("XTZ", 67_000_000, 16),
    ("NEO", 970_000_000, 17),
    ("KSM", 1_900_000_000, 19),
];

/// Prices and quantities have 8 fraction digits together at most: their product is exact in 8.
const DIGITS: u32 = 8;
const ONE: u64 = 100_000_000;

/// `count` symbols as a real exchange might have them, the most liquid first.
pub fn realistic_symbols(count: usize) -> Vec<String> {
    let pairs = QUOTES.iter().take(9).flat_map(|(quote, _)| {
        BASES.iter().filter(move |(base, ..)| base != quote).map(move |(base, ..)| (*base, *quote))
    });
    let known = pairs.map(|(base, quote)| format!("{base}{quote}"));
    let consonants = "BDFGKLMNPRSTVZ";
    let vowels = "AEIOU";
    let made_up = (0_usize..).map(move |number| {
        let pick = |from: &str, n: usize| from.chars().nth(n % from.len()).unwrap_or('X');
        let (a, b, c) = (number, number / 14, number / 70);
        let (d, rest) = (number / 980, number / 4_900);
        let tail = if rest == 0 { String::new() } else { rest.to_string() };
        let name =
            [pick(consonants, a), pick(vowels, b), pick(consonants, c), pick(vowels, d), 'X'];
        format!("{}{tail}USDT", name.iter().collect::<String>())
    });
    known.chain(made_up).take(count).collect()
}

/// Base and quote of a symbol; without a known quote everything is base.
pub(crate) fn split(name: &str) -> (&str, &str) {
    QUOTES
        .iter()
        .find_map(|(quote, _)| {
            name.strip_suffix(quote).filter(|base| !base.is_empty()).map(|base| (base, *quote))
        })
        .unwrap_or((name, ""))
}

/// A symbol as it is traded on a seeded market.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listing {
    pub(crate) symbol: Symbol,
    /// The price around which it moves, in units of 10⁻⁸.
    pub(crate) price: u64,
    /// How wild it is, in tenths of Bitcoin.
    pub(crate) volatility: u32,
    /// A dollar's worth of the base, in steps of quantity.
    pub(crate) steps_per_dollar: f64,
}

/// Looks a symbol up; what is not known gets a price of its own from its name. The error says what
/// is wrong with it.
pub(crate) fn listing(name: &str) -> Result<Listing, String> {
    let legal = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
    if !(5..=20).contains(&name.len()) || !name.bytes().all(legal) {
        return Err("give 5 to 20 capital letters and digits, such as BTCUSDT".to_owned());
    }
    let (base, quote) = split(name);
    let Some((_, quote_cents)) = QUOTES.iter().find(|(known, _)| *known == quote) else {
        let quotes: Vec<&str> = QUOTES.iter().map(|(quote, _)| *quote).collect();
        return Err(format!("it must end in what is paid with: {}", quotes.join(", ")));
    };
    let known = BASES.iter().find(|(known, ..)| *known == base);
    let (dollars, volatility) =
        known.map_or_else(|| made_up_price(base), |known| (known.1, known.2));
    let price = (u128::from(dollars) * 100 / u128::from(*quote_cents)).max(2_000);
    let price = u64::try_from(price).unwrap_or(u64::MAX);
    let tick = power_of_ten_below(price / if quote.contains("USD") { 20_000 } else { 2_000 })
        .clamp(1, ONE / 100);
    // About a dollar's worth or less, and not finer than the product of both allows.
    let dollar = power_of_ten_below(
        u64::try_from(u128::from(ONE) * u128::from(ONE) / u128::from(dollars.max(1)))
            .unwrap_or(ONE),
    )
    .clamp(1, ONE);
    let finest = 10_u64.pow(digits(tick));
    let step = dollar.max(finest);
    let decimal = |units: u64| Decimal(i128::from(units));
    let symbol = Symbol {
        name: name.to_owned(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        tick: decimal(tick),
        step: decimal(step),
    };
    let steps_per_dollar = (ONE as f64 / dollars.max(1) as f64) * (ONE as f64 / step as f64);
    Ok(Listing { symbol, price, volatility, steps_per_dollar })
}

/// Between a thousandth of a dollar and ten dollars, by the letters of the name.
fn made_up_price(base: &str) -> (u64, u32) {
    let hash = base.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let magnitude = 10_u64.pow(u32::try_from(5 + hash % 4).unwrap_or(5));
    let volatility = 15 + u32::try_from((hash >> 32) % 20).unwrap_or(0);
    (magnitude * (1 + (hash >> 16) % 9) + (hash >> 40) % magnitude, volatility)
}

fn power_of_ten_below(value: u64) -> u64 {
    10_u64.pow(value.max(1).ilog10())
}

/// Fraction digits of a unit that is a power of ten of 10⁻⁸.
fn digits(unit: u64) -> u32 {
    DIGITS - unit.max(1).ilog10().min(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_can_all_be_listed() {
        let names = realistic_symbols(6_000);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 6_000);
        assert_eq!(names[..3], ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
        for name in names {
            let listing = listing(&name).unwrap_or_else(|reason| panic!("{name}: {reason}"));
            let (tick, step) = (listing.symbol.tick.0, listing.symbol.step.0);
            assert_eq!((tick * step) % 100_000_000, 0, "{name}: {tick} x {step}");
            assert!(i128::from(listing.price) / tick >= 2_000, "{name}");
        }
    }

    #[test]
    fn the_majors_trade_in_their_real_steps() {
        let btc = listing("BTCUSDT").unwrap().symbol;
        assert_eq!(
            (btc.tick.to_string(), btc.step.to_string()),
            ("0.01000000".into(), "0.00001000".into())
        );
        assert_eq!((btc.base.as_str(), btc.quote.as_str()), ("BTC", "USDT"));
        let eth = listing("ETHUSDT").unwrap().symbol;
        assert_eq!(
            (eth.tick.to_string(), eth.step.to_string()),
            ("0.01000000".into(), "0.00010000".into())
        );
    }

    #[test]
    fn a_bad_symbol_is_refused_with_advice() {
        assert!(listing("btcusdt").unwrap_err().contains("capital letters"));
        assert!(listing("BTCXYZ").unwrap_err().contains("USDT"));
        assert!(listing("USDT").is_err());
    }
}
