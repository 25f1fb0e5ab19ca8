//! Writing the exchange's JSON by hand: the load generator spends its time here, and the order of
//! the fields is part of the format.

use fts_core::decimal::{Decimal, Notional};

const ONE: u64 = 100_000_000;

/// Appends a decimal integer.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut length = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

/// Appends a decimal integer with its sign.
pub(crate) fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends a decimal with 8 fraction digits, as the exchange writes it, without quotes.
pub(crate) fn push_decimal(out: &mut Vec<u8>, value: Decimal) {
    if value.0 < 0 {
        out.push(b'-');
    }
    let magnitude = value.0.unsigned_abs();
    match u64::try_from(magnitude) {
        Ok(small) => {
            push_u64(out, small / ONE);
            push_fraction(out, small % ONE);
        }
        Err(_) => {
            let one = u128::from(ONE);
            push_u64(out, u64::try_from(magnitude / one).unwrap_or(u64::MAX));
            push_fraction(out, u64::try_from(magnitude % one).unwrap_or(0));
        }
    }
}

/// Appends an amount exactly: 8 fraction digits, more only where they are not zero.
pub(crate) fn push_notional(out: &mut Vec<u8>, value: Notional) {
    let one = i128::from(ONE);
    if value.0 % one == 0 {
        push_decimal(out, Decimal(value.0 / one));
    } else {
        out.extend_from_slice(value.to_string().as_bytes());
    }
}

fn push_fraction(out: &mut Vec<u8>, mut fraction: u64) {
    out.push(b'.');
    let mut digits = [b'0'; 8];
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(fraction % 10).unwrap_or(0);
        fraction /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Builds one JSON object or array, field after field.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Writer<'a> {
    /// Starts an object; end it with [`Writer::end`].
    pub(crate) fn object(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    /// A name, then whatever `value` appends.
    pub(crate) fn field(mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value(self.out);
        self
    }

    /// A string that needs no escaping.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.field(name, |out| push_text(out, value))
    }

    /// An integer without sign.
    pub(crate) fn uint(self, name: &str, value: u64) -> Self {
        self.field(name, |out| push_u64(out, value))
    }

    /// An integer.
    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.field(name, |out| push_i64(out, value))
    }

    /// `true` or `false`.
    pub(crate) fn flag(self, name: &str, value: bool) -> Self {
        self.field(name, |out| out.extend_from_slice(if value { b"true" } else { b"false" }))
    }

    /// A decimal as a string.
    pub(crate) fn decimal(self, name: &str, value: Decimal) -> Self {
        self.field(name, |out| push_quoted(out, value))
    }

    /// An amount as a string.
    pub(crate) fn notional(self, name: &str, value: Notional) -> Self {
        self.field(name, |out| push_quoted_notional(out, value))
    }
}

/// Appends a string that needs no escaping, in quotes.
pub(crate) fn push_text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends a decimal in quotes.
pub(crate) fn push_quoted(out: &mut Vec<u8>, value: Decimal) {
    out.push(b'"');
    push_decimal(out, value);
    out.push(b'"');
}

/// Appends an amount in quotes.
pub(crate) fn push_quoted_notional(out: &mut Vec<u8>, value: Notional) {
    out.push(b'"');
    push_notional(out, value);
    out.push(b'"');
}

/// Appends `[a,b,…]`, each element written by `write`.
pub(crate) fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_the_decimals_print_themselves() {
        for raw in [0, 1, -1, 99_999_999, 100_000_000, -6_183_763_000_000, i128::from(u64::MAX) * 7]
        {
            let mut out = Vec::new();
            push_decimal(&mut out, Decimal(raw));
            assert_eq!(String::from_utf8(out).unwrap(), Decimal(raw).to_string());
            let mut out = Vec::new();
            push_notional(&mut out, Notional(raw * 12_345));
            assert_eq!(String::from_utf8(out).unwrap(), Notional(raw * 12_345).to_string());
        }
        let mut out = Vec::new();
        push_u64(&mut out, u64::MAX);
        push_i64(&mut out, i64::MIN);
        assert_eq!(out, format!("{}{}", u64::MAX, i64::MIN).into_bytes());
    }
}
