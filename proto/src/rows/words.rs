//! Names in place of values: symbols, intervals, sources, topics, directions,
//! columns; and dates.

use std::borrow::Cow;

use jiff::civil::Date;
use serde::de::{Deserialize as _, Deserializer, Error};
use serde::ser::Serializer;

/// A module for `#[serde(with = …)]`: how the value is written, how it is read.
macro_rules! word {
    ($module:ident, $type:ty, $what:literal, $name:expr, $from_name:expr) => {
        pub(super) mod $module {
            use super::*;

            pub(in super::super) fn serialize<S: Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                let name: fn(&$type) -> &str = $name;
                to.serialize_str(name(value))
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                let from_name: fn(&str) -> Option<$type> = $from_name;
                from_name(&text)
                    .ok_or_else(|| D::Error::custom(format_args!("`{text}` is no {}", $what)))
            }
        }
    };
}

word!(symbol, fts_core::market::Symbol, "symbol", |it| it.as_str(), |text| {
    fts_core::market::Symbol::new(text).ok()
});
word!(interval, fts_core::interval::Interval, "interval", |it| it.name(), |text| text.parse().ok());
word!(
    source,
    fts_core::market::Source,
    "source",
    |it| it.name(),
    fts_core::market::Source::from_name
);
word!(topic, fts_core::market::Topic, "topic", |it| it.name(), fts_core::market::Topic::from_name);
word!(direction, bool, "direction", |up| direction_name(*up), |text| match text {
    "up" => Some(true),
    "down" => Some(false),
    _ => None,
});

word!(daily_column, DailyColumn, "column of finanzas_batch", |it| it.0, |text| {
    let columns = ["apertura", "maximo", "minimo", "cierre", "volumen"];
    columns.into_iter().find(|it| *it == text).map(DailyColumn)
});

/// A value of a day, by its public name.
#[derive(Debug)]
pub(super) struct DailyColumn(pub(super) &'static str);

/// Calendar dates: `2024-12-31`.
pub(super) mod date {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Date,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Date, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom(format_args!("`{text}` is no date")))
    }
}

/// The public name of a price change's direction.
pub(super) fn direction_name(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
