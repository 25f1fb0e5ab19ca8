//! Values in CQL's own bytes: written once a row, sent as they are, as often as need be.

use fts_core::decimal::{Decimal, Notional};
use fts_core::row::Extent;
use scylla::deserialize::row::ColumnIterator;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use crate::digits::Digits;
use crate::values::Values;

/// Fraction digits of a [`Decimal`] and of a [`Notional`].
const DECIMAL_SCALE: i32 = 8;
const NOTIONAL_SCALE: i32 = 16;
/// What stands for the length of a value that is not bound.
const UNSET: i32 = -2;

/// The values of one statement, in the order of its bind markers, each with its length before it.
/// Their types are those of the table: what does not fit is refused by the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cells(Vec<u8>);

impl Cells {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// How many bytes they take.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The values of `other`, after these.
    pub(super) fn append(&mut self, other: &Self) -> &mut Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// `bigint`, or `timestamp` in epoch milliseconds.
    pub(super) fn int(&mut self, value: i64) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// `int`.
    pub(super) fn small(&mut self, value: i32) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// `boolean`.
    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.value(&[value.into()])
    }

    /// `text`.
    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.as_bytes())
    }

    /// A value that is left as it is: not a null, which would be stored as a deletion.
    pub(super) fn maybe_int(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.unset(),
        }
    }

    /// Likewise.
    pub(super) fn maybe_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.unset(),
        }
    }

    fn unset(&mut self) -> &mut Self {
        self.0.extend_from_slice(&UNSET.to_be_bytes());
        self
    }

    /// `decimal` and, beside it, its text.
    pub(super) fn decimal(&mut self, value: Decimal) -> &mut Self {
        self.scaled(value.0, DECIMAL_SCALE).text(Digits::new().decimal(value))
    }

    /// `decimal` and, beside it, its text.
    pub(super) fn notional(&mut self, value: Notional) -> &mut Self {
        self.scaled(value.0, NOTIONAL_SCALE).text(Digits::new().notional(value))
    }

    /// Four decimals.
    pub(super) fn extent(&mut self, value: &Extent) -> &mut Self {
        let Extent { open, high, low, close } = value;
        self.decimal(*open).decimal(*high).decimal(*low).decimal(*close)
    }

    fn scaled(&mut self, value: i128, scale: i32) -> &mut Self {
        let bytes = value.to_be_bytes();
        let digits = shortest(&bytes);
        self.length(4 + digits.len());
        self.0.extend_from_slice(&scale.to_be_bytes());
        self.0.extend_from_slice(digits);
        self
    }

    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    fn length(&mut self, bytes: usize) {
        // Whoever makes a row bounds it far below.
        let length = i32::try_from(bytes).unwrap_or(i32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
    }
}

/// A number in two's complement without the bytes that only repeat its sign.
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && let [second, ..] = rest
        && ((*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80))
    {
        bytes = rest;
    }
    bytes
}

impl SerializeRow for Cells {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let mut rest = self.0.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let cell = writer.make_cell_writer();
            let Ok(length) = usize::try_from(length) else {
                cell.set_unset();
                rest = tail;
                continue;
            };
            let (value, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
            cell.set_value(value).map_err(SerializationError::new)?;
            rest = tail;
        }
        if writer.value_count() == context.columns().len() {
            return Ok(());
        }
        Err(SerializationError::new(WrongCount(writer.value_count(), context.columns().len())))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} values for a statement with {1} bind markers")]
struct WrongCount(usize, usize);

/// Reads a row's columns in the order in which the statement names them.
pub(super) struct Columns<'f>(ColumnIterator<'f, 'f>);

/// Why a row can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` holds nothing that this program has written ({what} was expected)")]
pub(super) struct Foreign {
    column: String,
    what: &'static str,
}

pub(super) type Read<T> = Result<T, Foreign>;

impl Values for Columns<'_> {
    type Error = Foreign;

    fn int(&mut self) -> Read<i64> {
        self.parsed("a 64 bit integer", |bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn decimal(&mut self) -> Read<Decimal> {
        self.parsed("a decimal", |bytes| scaled(bytes, DECIMAL_SCALE)).map(Decimal)
    }

    fn notional(&mut self) -> Read<Notional> {
        self.parsed("a decimal", |bytes| scaled(bytes, NOTIONAL_SCALE)).map(Notional)
    }
}

impl<'f> Columns<'f> {
    pub(super) const fn of(row: ColumnIterator<'f, 'f>) -> Self {
        Self(row)
    }

    pub(super) fn maybe_int(&mut self) -> Read<Option<i64>> {
        self.optional("a 64 bit integer", |bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
    }

    pub(super) fn maybe_text(&mut self) -> Read<Option<&'f str>> {
        self.optional("a text", |bytes| str::from_utf8(bytes).ok())
    }

    pub(super) fn flag(&mut self) -> Read<bool> {
        self.parsed("a boolean", |bytes| bytes.first().map(|byte| *byte != 0))
    }

    pub(super) fn text(&mut self) -> Read<&'f str> {
        self.parsed("a text", |bytes| str::from_utf8(bytes).ok())
    }

    pub(super) fn word<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<T> {
        self.parsed(what, |bytes| parse(str::from_utf8(bytes).ok()?))
    }

    fn parsed<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&'f [u8]) -> Option<T>,
    ) -> Read<T> {
        let (column, bytes) = self.next();
        bytes.and_then(parse).ok_or_else(|| Foreign { column: column.to_owned(), what })
    }

    fn optional<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&'f [u8]) -> Option<T>,
    ) -> Read<Option<T>> {
        match self.next() {
            (_, None) => Ok(None),
            (column, Some(bytes)) => {
                let found = parse(bytes);
                found.map(Some).ok_or_else(|| Foreign { column: column.to_owned(), what })
            }
        }
    }

    /// The next column's name and bytes.
    fn next(&mut self) -> (&'f str, Option<&'f [u8]>) {
        match self.0.next() {
            Some(Ok(column)) => (column.spec.name(), column.slice.map(|slice| slice.as_slice())),
            Some(Err(_)) | None => ("beyond the last one", None),
        }
    }
}

/// A CQL decimal in units of 10^−`scale`, if it is a whole number of them.
fn scaled(bytes: &[u8], scale: i32) -> Option<i128> {
    let (found, digits) = bytes.split_first_chunk::<4>()?;
    let missing = u32::try_from(scale.checked_sub(i32::from_be_bytes(*found))?).ok()?;
    if digits.len() > 16 {
        return None;
    }
    let negative = digits.first()? & 0x80 != 0;
    let start = if negative { -1 } else { 0_i128 };
    let value = digits.iter().fold(start, |value, byte| value << 8 | i128::from(*byte));
    value.checked_mul(10_i128.checked_pow(missing)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of one decimal: without the lengths and the text.
    fn bytes(value: i128, scale: i32) -> Vec<u8> {
        let mut cells = Cells::default();
        cells.scaled(value, scale);
        cells.0.split_off(4)
    }

    #[test]
    fn a_decimal_is_its_scale_and_the_shortest_two_s_complement() {
        for (value, expected) in [
            (0, vec![0]),
            (1, vec![1]),
            (-1, vec![0xff]),
            (127, vec![0x7f]),
            (128, vec![0, 0x80]),
            (-128, vec![0x80]),
            (-129, vec![0xff, 0x7f]),
            (256, vec![1, 0]),
        ] {
            let mut whole = vec![0, 0, 0, 8];
            whole.extend(expected);
            assert_eq!(bytes(value, DECIMAL_SCALE), whole, "{value}");
        }
    }

    #[test]
    fn a_decimal_of_a_coarser_scale_is_read_and_of_a_finer_one_is_not() {
        assert_eq!(scaled(&bytes(15, 1), 8), Some(150_000_000));
        assert_eq!(scaled(&bytes(-15, 0), 8), Some(-1_500_000_000));
        assert_eq!(scaled(&bytes(15, 9), 8), None);
        assert_eq!(scaled(&bytes(i128::MAX, 0), 8), None, "too large");
        assert_eq!(scaled(&[0, 0, 0], 8), None);
        assert_eq!(scaled(&[0, 0, 0, 8], 8), None);
    }

    proptest! {
        #[test]
        fn any_number_reads_back(raw: i128, shift in 0_u32..127) {
            let value = raw >> shift;
            prop_assert_eq!(scaled(&bytes(value, 8), 8), Some(value));
            prop_assert_eq!(scaled(&bytes(value, 16), 16), Some(value));
        }
    }
}
