//! Exact decimals as JSON strings, over the whole range of what is summed: a volume may lie beyond
//! what `Decimal::parse` lets in as a price.

use std::borrow::Cow;

use fts_core::decimal::{Decimal, Notional};
use serde::de::{Deserialize as _, Deserializer, Error};
use serde::ser::Serializer;

const DECIMAL_PLACES: usize = 8;
const NOTIONAL_PLACES: usize = 16;

pub(super) mod decimal {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Decimal,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Decimal, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        fixed(&text, DECIMAL_PLACES).map(Decimal).ok_or_else(|| not_exact(&text))
    }
}

pub(super) mod notional {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Notional,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Notional, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        fixed(&text, NOTIONAL_PLACES).map(Notional).ok_or_else(|| not_exact(&text))
    }
}

fn not_exact<E: Error>(text: &str) -> E {
    E::custom(format_args!("`{text}` is no decimal that can be held exactly"))
}

/// `-?digits[.digits]` in units of 10^−`places`; `None` where it is anything else, finer or larger.
fn fixed(text: &str, places: usize) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (digits, ""),
    };
    let padding = places.checked_sub(fraction.len())?;
    if whole.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', padding)) {
        let digit = i128::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        // Downwards: the least value has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i128>) {
        assert_eq!(fixed(text, DECIMAL_PLACES), expected, "{text}");
    }

    #[test]
    fn the_whole_range_is_read_exactly() {
        check("61837.63000000", Some(6_183_763_000_000));
        check("1", Some(100_000_000));
        check("-0.00000001", Some(-1));
        for edge in [i128::MAX, i128::MIN, 0, 1, -1] {
            check(&Decimal(edge).to_string(), Some(edge));
            let text = Notional(edge).to_string();
            assert_eq!(fixed(&text, NOTIONAL_PLACES), Some(edge), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for wrong in ["", ".", "1.", ".5", "1e5", "NaN", "--1", "1.2.3", "+1", "0.000000001"] {
            check(wrong, None);
        }
        check("1701411834604692317316873037158.84105728", None);
    }
}
