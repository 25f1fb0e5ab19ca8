//! Exact decimals: prices, quantities and their products, as scaled `i128`.
//!
//! The exchange sends at most 8 fraction digits. A price or quantity is held in units of 10⁻⁸, a
//! product (or a sum of products) in units of 10⁻¹⁶: no rounding anywhere on the way to a store.
//! `i64` would overflow on the volume of a meme coin; `i128` costs about a nanosecond more.

use std::fmt;
use std::str::FromStr;

/// Fraction digits of a [`Decimal`].
const SCALE: u32 = 8;
const ONE: i128 = 10_i128.pow(SCALE);
/// The largest magnitude taken in, in whole units. Sums of many million such values stay inside
/// `i128`. A product of two of them need not: a [`Notional`] reaches to 1.7 × 10²² whole units of the
/// quote currency, which is far beyond any market's.
const UNITS_MAX: i128 = 1_000_000_000_000_000;

/// A price or a quantity, in units of 10⁻⁸ of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(pub i128);

/// A sum of price × quantity, in units of 10⁻¹⁶ of the quote currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Notional(pub i128);

/// Why a text is no decimal of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not of the form `-?digits[.digits]`.
    #[error("not a plain decimal number")]
    Malformed,
    /// More than 8 fraction digits that are not zero.
    #[error("more than 8 fraction digits")]
    TooFine,
    /// Beyond ±10¹⁵ units.
    #[error("beyond 10^15 units")]
    TooLarge,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// A whole number of units.
    pub const fn from_units(units: i64) -> Self {
        Self(units as i128 * ONE)
    }

    /// Parses the ASCII text of a decimal: the form in which the exchange sends all prices.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            all => (false, all),
        };
        let mut value: i128 = 0;
        let mut whole = 0_u32;
        let mut fraction: Option<u32> = None;
        for &byte in digits {
            match (byte, &mut fraction) {
                (b'0'..=b'9', None) => {
                    whole += 1;
                    value = value * 10 + i128::from(byte - b'0');
                    if value > UNITS_MAX {
                        return Err(DecimalError::TooLarge);
                    }
                }
                (b'0'..=b'9', Some(places)) => {
                    if *places < SCALE {
                        *places += 1;
                        value = value * 10 + i128::from(byte - b'0');
                    } else if byte != b'0' {
                        return Err(DecimalError::TooFine);
                    }
                }
                (b'.', None) => fraction = Some(0),
                _ => return Err(DecimalError::Malformed),
            }
        }
        if whole == 0 || (fraction == Some(0) && digits.last() == Some(&b'.')) {
            return Err(DecimalError::Malformed);
        }
        let value = value * 10_i128.pow(SCALE - fraction.unwrap_or(0));
        if value > UNITS_MAX * ONE {
            return Err(DecimalError::TooLarge);
        }
        Ok(Self(if negative { -value } else { value }))
    }

    /// Price × quantity, exactly; saturates at what a [`Notional`] can hold.
    pub fn times(self, other: Self) -> Notional {
        Notional(self.0.saturating_mul(other.0))
    }

    /// The product as a decimal, rounded half away from zero to 10⁻⁸. [`DecimalError::TooLarge`] where
    /// it is larger than what [`Decimal::parse`] lets in.
    pub fn product(self, other: Self) -> Result<Self, DecimalError> {
        let exact = self.0.checked_mul(other.0).ok_or(DecimalError::TooLarge)?;
        let value = div_round(exact, ONE);
        if value.abs() > UNITS_MAX * ONE {
            return Err(DecimalError::TooLarge);
        }
        Ok(Self(value))
    }

    /// The sum. Saturates far beyond anything that [`Decimal::parse`] can have let in.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The mean of `count` values that sum up to `self`, rounded half away from zero to 10⁻⁸.
    pub fn mean_of(self, count: u64) -> Self {
        Self(div_round(self.0, i128::from(count.max(1))))
    }

    /// How far `self` is from `reference`, in percent, rounded half away from zero to 10⁻⁸;
    /// `None` where the reference is zero.
    pub fn percent_from(self, reference: Self) -> Option<Self> {
        let (change, reference) = (self.0.checked_sub(reference.0)?, reference.0);
        if reference == 0 {
            return None;
        }
        Some(Self(div_round(change.checked_mul(100 * ONE)?, reference)))
    }
}

impl Notional {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This amount over a quantity: the weighted average price, rounded half away from zero.
    pub fn over(self, quantity: Decimal) -> Option<Decimal> {
        (quantity.0 != 0).then(|| Decimal(div_round(self.0, quantity.0)))
    }
}

fn div_round(numerator: i128, denominator: i128) -> i128 {
    let (quotient, remainder) = (numerator / denominator, numerator % denominator);
    if remainder.abs() >= denominator.abs() - remainder.abs() {
        quotient + numerator.signum() * denominator.signum()
    } else {
        quotient
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text.as_bytes())
    }
}

/// Always 8 fraction digits, as the exchange writes them.
impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        write!(out, "{sign}{}.{:08}", value / one, value % one)
    }
}

/// At least 8 fraction digits, as the exchange writes them; up to 16 where they are not zero.
impl fmt::Display for Notional {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        let (whole, fraction) = (value / (one * one), value % (one * one));
        let (coarse, fine) = (fraction / one, fraction % one);
        write!(out, "{sign}{whole}.{coarse:08}")?;
        if fine == 0 {
            return Ok(());
        }
        let fine = format!("{fine:08}");
        out.write_str(fine.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, DecimalError>) {
        let found = text.parse::<Decimal>().map(|value| value.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn parses_what_the_exchange_sends() {
        check("61837.63000000", Ok("61837.63000000"));
        check("0.00000001", Ok("0.00000001"));
        check("100", Ok("100.00000000"));
        check("-1.5", Ok("-1.50000000"));
        check("1.7640000000", Ok("1.76400000"));
        check("1000000000000000", Ok("1000000000000000.00000000"));
    }

    #[test]
    fn refuses_what_it_cannot_hold_exactly() {
        for malformed in ["", ".", "1.", ".5", "1e5", "NaN", "1,5", " 1", "--1", "1.2.3", "+1"] {
            check(malformed, Err(DecimalError::Malformed));
        }
        check("0.000000001", Err(DecimalError::TooFine));
        check("1000000000000001", Err(DecimalError::TooLarge));
        check("1000000000000000.1", Err(DecimalError::TooLarge));
        check("9999999999999999999999999999999999999999999", Err(DecimalError::TooLarge));
    }

    #[test]
    fn products_are_exact() {
        let price: Decimal = "61837.63".parse().unwrap();
        let quantity: Decimal = "0.00012345".parse().unwrap();
        assert_eq!(price.times(quantity).to_string(), "7.6338554235");
        assert_eq!(Decimal::from_units(2).times(Decimal::from_units(3)).to_string(), "6.00000000");
    }

    #[test]
    fn a_product_is_rounded_and_within_the_bounds_of_every_decimal() {
        #[track_caller]
        fn check(one: &str, other: &str, expected: Result<&str, DecimalError>) {
            let (one, other): (Decimal, Decimal) = (one.parse().unwrap(), other.parse().unwrap());
            let found = one.product(other).map(|it| it.to_string());
            assert_eq!(found, expected.map(str::to_owned));
        }
        check("88", "186.86", Ok("16443.68000000"));
        check("0.00000003", "0.5", Ok("0.00000002"));
        check("-0.00000003", "0.5", Ok("-0.00000002"));
        check("0.00000001", "0.49", Ok("0.00000000"));
        check("1000000000", "1000000", Ok("1000000000000000.00000000"));
        check("1000000000", "-1000000", Ok("-1000000000000000.00000000"));
        check("1000000000.00000001", "1000000", Err(DecimalError::TooLarge));
        check("1000000000", "1000000000", Err(DecimalError::TooLarge));
        check("1000000000000000", "-1000000000000000", Err(DecimalError::TooLarge));
    }

    #[test]
    fn means_and_changes_round_half_away_from_zero() {
        assert_eq!(Decimal(5).mean_of(2), Decimal(3));
        assert_eq!(Decimal(-5).mean_of(2), Decimal(-3));
        assert_eq!(Decimal(4).mean_of(3), Decimal(1));
        let change = Decimal::from_units(101).percent_from(Decimal::from_units(100)).unwrap();
        assert_eq!(change.to_string(), "1.00000000");
        assert_eq!(Decimal::from_units(1).percent_from(Decimal::ZERO), None);
    }
}
