//! Decimals as text and back, without an allocation a value and without `Decimal::parse`'s bound:
//! a sum may lie beyond what a single price may.

use fts_core::decimal::{Decimal, Notional};

const DECIMAL_PLACES: u32 = 8;
const NOTIONAL_PLACES: u32 = 16;
/// The most decimal digits that fit a `u64` with room to spare.
const CHUNK: u128 = 10_u128.pow(18);

/// A buffer for one number's text, filled from its end. Longest: sign, 39 digits, point.
pub(crate) struct Digits {
    bytes: [u8; 48],
    start: usize,
}

impl Digits {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 48], start: 48 }
    }

    /// The text of [`Decimal`]'s `Display`.
    pub(crate) fn decimal(&mut self, value: Decimal) -> &str {
        self.fixed(value.0, DECIMAL_PLACES, DECIMAL_PLACES)
    }

    /// The text of [`Notional`]'s `Display`.
    pub(crate) fn notional(&mut self, value: Notional) -> &str {
        self.fixed(value.0, NOTIONAL_PLACES, DECIMAL_PLACES)
    }

    /// `value` × 10^−`places`, with at least `kept` fraction digits.
    fn fixed(&mut self, value: i128, places: u32, kept: u32) -> &str {
        self.start = self.bytes.len();
        let mut rest = value.unsigned_abs();
        let mut place = 0;
        let mut trimming = places > kept;
        // Division of u128 is slow: take 18 digits at a time and divide those as u64.
        loop {
            let (mut chunk, last) = match u64::try_from(rest) {
                Ok(small) => (small, true),
                Err(_) => {
                    let chunk = u64::try_from(rest % CHUNK).unwrap_or(0);
                    rest /= CHUNK;
                    (chunk, false)
                }
            };
            let end = if last { u32::MAX } else { place + 18 };
            while place < end && (!last || chunk != 0 || place <= places) {
                let digit = u8::try_from(chunk % 10).unwrap_or(0);
                chunk /= 10;
                trimming = trimming && digit == 0 && place < places - kept;
                if place == places && places != 0 {
                    self.push(b'.');
                }
                if !trimming {
                    self.push(b'0' + digit);
                }
                place += 1;
            }
            if last {
                break;
            }
        }
        if value < 0 {
            self.push(b'-');
        }
        self.bytes.get(self.start..).and_then(|text| str::from_utf8(text).ok()).unwrap_or("")
    }

    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(slot) = self.bytes.get_mut(self.start) {
            *slot = byte;
        }
    }
}

/// The value of a text that [`Digits::decimal`] wrote.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    scaled(text, DECIMAL_PLACES).map(Decimal)
}

/// The value of a text that [`Digits::notional`] wrote.
pub(crate) fn notional(text: &str) -> Option<Notional> {
    scaled(text, NOTIONAL_PLACES).map(Notional)
}

fn scaled(text: &str, places: u32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // Downwards, as the least i128 has no positive counterpart.
    let mut value: i128 = 0;
    let mut fraction: Option<u32> = None;
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_sub(i128::from(byte - b'0'))?;
                fraction = fraction.map(|places| places + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return None,
        }
    }
    let missing = places.checked_sub(fraction.unwrap_or(0))?;
    let value = value.checked_mul(10_i128.checked_pow(missing)?)?;
    if digits.is_empty() {
        None
    } else if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(raw: i128) {
        let mut digits = Digits::new();
        assert_eq!(digits.decimal(Decimal(raw)), Decimal(raw).to_string());
        assert_eq!(digits.notional(Notional(raw)), Notional(raw).to_string());
        assert_eq!(decimal(digits.decimal(Decimal(raw))), Some(Decimal(raw)));
        assert_eq!(notional(digits.notional(Notional(raw))), Some(Notional(raw)));
    }

    #[test]
    fn the_text_is_that_of_display_and_reads_back() {
        for raw in [0, 1, -1, 9, 10, 99_999_999, 100_000_000, 100_000_001, -150_000_000] {
            check(raw);
        }
        for power in 0..38 {
            for near in [-1, 0, 1] {
                check(10_i128.pow(power) + near);
                check(-(10_i128.pow(power) + near));
            }
        }
        for raw in [u64::MAX.into(), i128::from(u64::MAX) + 1, i128::MAX, i128::MIN] {
            check(raw);
        }
    }

    #[test]
    fn what_is_no_number_of_ours_is_refused() {
        for wrong in ["", "-", "1e5", "1.2.3", "NaN", "0.123456789", " 1", "+1"] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
        assert_eq!(decimal("999999999999999999999999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn any_number_reads_back(raw: i128, shift in 0_u32..127) {
            check(raw >> shift);
        }
    }
}
