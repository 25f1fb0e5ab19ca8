//! Documents: a row's values as JSON, written once, and read back from what the server has kept.

use std::collections::BTreeMap;
use std::io::Write as _;

use fts_core::decimal::{Decimal, Notional};
use fts_core::row::Extent;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::index::storable;
use crate::digits::{self, Digits};

/// Writes one document. What can't be said in it is noted in `fault`.
pub(super) struct Document<'b> {
    out: &'b mut Vec<u8>,
    is_first: bool,
    fault: Option<&'static str>,
}

/// Why a row can't be a document.
pub(super) const OUT_OF_RANGE: &str = "a time of it lies outside of the years 1 to 9999";

impl<'b> Document<'b> {
    /// Begins a document at the end of `out`.
    pub(super) fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true, fault: None }
    }

    /// Ends it.
    pub(super) fn end(self) -> Result<(), &'static str> {
        self.out.push(b'}');
        self.fault.map_or(Ok(()), Err)
    }

    pub(super) fn text(&mut self, column: &str, value: &str) -> &mut Self {
        self.name(column);
        quoted(self.out, value);
        self
    }

    pub(super) fn maybe_text(&mut self, column: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(column, value),
            None => self.raw(column, b"null"),
        }
    }

    pub(super) fn long(&mut self, column: &str, value: i64) -> &mut Self {
        self.name(column);
        // Writing to a vector does not fail.
        let _ = write!(self.out, "{value}");
        self
    }

    /// A number that servers hold with a sign.
    pub(super) fn unsigned(&mut self, column: &str, value: u64) -> &mut Self {
        if let Ok(value) = i64::try_from(value) {
            return self.long(column, value);
        }
        self.fault = Some("a number of it is above 9223372036854775807");
        self
    }

    pub(super) fn flag(&mut self, column: &str, value: bool) -> &mut Self {
        self.raw(column, if value { b"true" } else { b"false" })
    }

    /// An instant in epoch milliseconds. As text: servers take a number of four digits for a year.
    pub(super) fn date(&mut self, column: &str, time: i64) -> &mut Self {
        let instant = Timestamp::from_millisecond(time).ok().filter(|_| storable(time));
        let Some(instant) = instant else {
            self.fault = Some(OUT_OF_RANGE);
            return self;
        };
        self.name(column);
        let _ = write!(self.out, "\"{instant:.3}\"");
        self
    }

    pub(super) fn maybe_date(&mut self, column: &str, time: Option<i64>) -> &mut Self {
        match time {
            Some(time) => self.date(column, time),
            None => self.raw(column, b"null"),
        }
    }

    /// A day of the calendar.
    pub(super) fn day(&mut self, column: &str, day: Date) -> &mut Self {
        self.name(column);
        let _ = write!(self.out, "\"{day}\"");
        self
    }

    /// A number, and beside it its text.
    pub(super) fn decimal(&mut self, column: &str, value: Decimal) -> &mut Self {
        self.number(column, Digits::new().decimal(value))
    }

    /// A number, and beside it its text.
    pub(super) fn notional(&mut self, column: &str, value: Notional) -> &mut Self {
        self.number(column, Digits::new().notional(value))
    }

    /// Four decimals.
    pub(super) fn extent(&mut self, columns: [&str; 4], value: &Extent) -> &mut Self {
        let Extent { open, high, low, close } = value;
        for (column, value) in columns.into_iter().zip([open, high, low, close]) {
            self.decimal(column, *value);
        }
        self
    }

    /// An object that is JSON already.
    pub(super) fn object(&mut self, column: &str, json: &str) -> &mut Self {
        match serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json) {
            // A line's end would end the document.
            Ok(_) if !json.contains(['\n', '\r']) => self.raw(column, json.as_bytes()),
            Ok(_) | Err(_) => {
                self.fault = Some("what the mapping made of it is no JSON object in one line");
                self
            }
        }
    }

    fn number(&mut self, column: &str, digits: &str) -> &mut Self {
        self.raw(column, digits.as_bytes());
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(column.as_bytes());
        self.out.extend_from_slice(b"_text\":\"");
        self.out.extend_from_slice(digits.as_bytes());
        self.out.push(b'"');
        self
    }

    fn raw(&mut self, column: &str, json: &[u8]) -> &mut Self {
        self.name(column);
        self.out.extend_from_slice(json);
        self
    }

    /// Names of columns need no escapes.
    fn name(&mut self, column: &str) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(column.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// `text` as JSON.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    // A text can always be written to a vector.
    let _ = serde_json::to_writer(out, text);
}

/// A document as the server has kept it: the very bytes that were sent.
pub(super) struct Fields<'d>(BTreeMap<&'d str, &'d RawValue>);

/// Why a document can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` holds nothing that this program has written ({what} was expected)")]
pub(super) struct Foreign {
    column: String,
    what: &'static str,
}

pub(super) type Read<T> = Result<T, Foreign>;

impl<'d> Fields<'d> {
    pub(super) fn of(document: &'d RawValue) -> Read<Self> {
        serde_json::from_str(document.get())
            .map(Self)
            .map_err(|_| foreign("_source", "an object with plain names"))
    }

    pub(super) fn text(&self, column: &str) -> Read<String> {
        self.parsed(column, "a text", |json| serde_json::from_str(json).ok())
    }

    pub(super) fn maybe_text(&self, column: &str) -> Read<Option<String>> {
        self.optional(column, || self.text(column))
    }

    pub(super) fn word<T>(
        &self,
        column: &str,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Read<T> {
        parse(&self.text(column)?).ok_or_else(|| foreign(column, what))
    }

    pub(super) fn long(&self, column: &str) -> Read<i64> {
        self.parsed(column, "a 64 bit integer", |json| json.parse().ok())
    }

    pub(super) fn flag(&self, column: &str) -> Read<bool> {
        self.parsed(column, "true or false", |json| json.parse().ok())
    }

    pub(super) fn date(&self, column: &str) -> Read<i64> {
        self.word(column, "an instant", |text| {
            text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
        })
    }

    pub(super) fn maybe_date(&self, column: &str) -> Read<Option<i64>> {
        self.optional(column, || self.date(column))
    }

    pub(super) fn day(&self, column: &str) -> Read<Date> {
        self.word(column, "a day", |text| text.parse().ok())
    }

    pub(super) fn decimal(&self, column: &str) -> Read<Decimal> {
        self.word(&format!("{column}_text"), "a decimal", digits::decimal)
    }

    pub(super) fn notional(&self, column: &str) -> Read<Notional> {
        self.word(&format!("{column}_text"), "a decimal", digits::notional)
    }

    pub(super) fn extent(&self, columns: [&str; 4]) -> Read<Extent> {
        let [open, high, low, close] = columns;
        Ok(Extent {
            open: self.decimal(open)?,
            high: self.decimal(high)?,
            low: self.decimal(low)?,
            close: self.decimal(close)?,
        })
    }

    /// JSON as it was written.
    pub(super) fn object(&self, column: &str) -> Read<String> {
        self.parsed(column, "an object", |json| Some(json.to_owned()))
    }

    fn optional<T>(&self, column: &str, read: impl FnOnce() -> Read<T>) -> Read<Option<T>> {
        match self.0.get(column).map(|it| it.get()) {
            None | Some("null") => Ok(None),
            Some(_) => read().map(Some),
        }
    }

    fn parsed<T>(
        &self,
        column: &str,
        what: &'static str,
        parse: impl FnOnce(&'d str) -> Option<T>,
    ) -> Read<T> {
        let json = self.0.get(column).map(|it| it.get());
        json.and_then(parse).ok_or_else(|| foreign(column, what))
    }
}

fn foreign(column: &str, what: &'static str) -> Foreign {
    Foreign { column: column.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Document<'_>)) -> Result<String, &'static str> {
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out);
        write(&mut document);
        document.end()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_document_is_one_line_of_json_with_numbers_and_their_texts() {
        let price = "61837.63".parse().unwrap();
        let found = written(|it| {
            it.text("a", "x\"\n\u{0}ñ").decimal("price", price).date("time", 1_723_161_600_005);
            it.long("n", -3).flag("f", true).maybe_text("e", None).object("o", "{\"b\": 1}");
            it.day("d", Date::constant(2026, 1, 2)).maybe_date("m", Some(1_970));
        });
        assert_eq!(
            found.unwrap(),
            r#"{"a":"x\"\n\u0000ñ","price":61837.63000000,"price_text":"61837.63000000","time":"2024-08-09T00:00:00.005Z","n":-3,"f":true,"e":null,"o":{"b": 1},"d":"2026-01-02","m":"1970-01-01T00:00:01.970Z"}"#
        );
    }

    #[test]
    fn what_a_document_cannot_say_is_a_fault() {
        assert_eq!(written(|it| _ = it.date("t", i64::MAX)), Err(OUT_OF_RANGE));
        for object in ["", "[]", "{\"a\":}", "{\n}", "{} {}"] {
            assert!(written(|it| _ = it.object("o", object)).is_err(), "{object}");
        }
    }

    #[test]
    fn a_column_that_is_not_what_it_should_be_is_named() {
        let json = r#"{"n": 1.5, "t": 7, "price_text": "x"}"#;
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let fields = Fields::of(raw).unwrap();
        for found in [
            fields.long("n").map(drop),
            fields.text("t").map(drop),
            fields.decimal("price").map(drop),
            fields.date("gone").map(drop),
        ] {
            assert!(found.unwrap_err().to_string().contains("was expected"));
        }
        assert_eq!(fields.maybe_text("gone"), Ok(None));
    }
}
