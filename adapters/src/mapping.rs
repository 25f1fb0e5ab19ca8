//! The transform of transactions: which field of an event becomes which column, and as what. A
//! list of rules, so that whoever writes to the topic can be understood by configuration.

use std::collections::BTreeMap;

use fts_core::decimal::{Decimal, DecimalError};
use fts_core::market::{Event, Symbol, Topic};
use fts_core::port::decode::Decode;
use fts_core::port::log::Record;
use fts_core::stock::Transaction;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Columns that every transaction has; what other rules make goes into `extra`.
const COLUMNS: [&str; 9] = [
    "id",
    "time",
    "accion",
    "tipo_transaccion",
    "cantidad",
    "precio_unitario",
    "total",
    "estado",
    "error",
];
/// As much of a reason as says what is wrong.
const REASON_CHARS_MAX: usize = 500;
/// Columns that a transaction may lack.
const OPTIONAL: [&str; 2] = ["id", "error"];

/// How one column comes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which column.
    pub column: String,
    /// The fields of the event that it comes from. Of several the first that is there and not null;
    /// of a product all.
    pub from: Vec<String>,
    /// What it becomes.
    #[serde(rename = "as")]
    pub kind: Kind,
    /// For `datetime`: how it is written, in the directives of strftime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// For `datetime`, `date`, `hour` and `weekday`: whose clock and calendar, as Europe/Madrid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The only values that it may have; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// Whether the event may lack it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What a field becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text as it is.
    Text,
    /// A whole number, from a JSON number or a text; `88.0` is one.
    Integer,
    /// A decimal with up to 8 fraction digits. A text must have no more. A JSON number is rounded: the
    /// digits beyond are the noise of a producer's binary fractions, as in 16443.679999999998.
    Decimal,
    /// The product of two decimals.
    Product,
    /// An instant from epoch milliseconds or an RFC 3339 text.
    Instant,
    /// An instant from a date and time without a zone.
    Datetime,
    /// Of an instant: the calendar day.
    Date,
    /// Of an instant: the hour of the day.
    Hour,
    /// Of an instant: the day of the week, Monday being 1.
    Weekday,
}

/// Why a list of rules can't be used. Names the rule, and says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MappingError(String);

/// Understands what is on the topic of transactions.
#[derive(Debug, Clone)]
pub struct Mapping {
    rules: Vec<Ready>,
}

/// A rule whose zone was found.
#[derive(Debug, Clone)]
struct Ready {
    rule: Rule,
    zone: TimeZone,
}

/// The rules for the event that the replaced system wrote, with or without an id and an instant.
pub fn default_rules() -> Vec<Rule> {
    let rule = |column: &str, from: &[&str], kind: Kind| Rule {
        column: column.to_owned(),
        from: from.iter().map(|it| (*it).to_owned()).collect(),
        kind,
        format: None,
        zone: None,
        one_of: Vec::new(),
        optional: false,
    };
    let one_of = |rule: Rule, values: &[&str]| Rule {
        one_of: values.iter().map(|it| (*it).to_owned()).collect(),
        ..rule
    };
    vec![
        Rule { optional: true, ..rule("id", &["id"], Kind::Text) },
        Rule {
            format: Some("%Y-%m-%d %H:%M:%S".to_owned()),
            zone: Some("UTC".to_owned()),
            ..rule("time", &["instante", "timestamp"], Kind::Datetime)
        },
        rule("accion", &["accion"], Kind::Text),
        one_of(rule("tipo_transaccion", &["tipo_transaccion"], Kind::Text), &["COMPRA", "VENTA"]),
        rule("cantidad", &["cantidad"], Kind::Integer),
        rule("precio_unitario", &["precio_unitario"], Kind::Decimal),
        rule("total", &["total"], Kind::Decimal),
        one_of(rule("estado", &["estado"], Kind::Text), &["EXITOSO", "FALLIDO"]),
        Rule { optional: true, ..rule("error", &["error"], Kind::Text) },
        rule("hora", &["instante", "timestamp"], Kind::Hour),
    ]
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl Mapping {
    /// Checks the rules.
    pub fn new(rules: Vec<Rule>) -> Result<Self, MappingError> {
        for column in COLUMNS {
            let count = rules.iter().filter(|rule| rule.column == column).count();
            if count != 1 {
                return Err(MappingError(format!(
                    "the mapping has {count} rules for `{column}`: write one"
                )));
            }
        }
        let ready = rules.into_iter().map(Ready::new).collect::<Result<_, _>>()?;
        Ok(Self { rules: ready })
    }

    fn transaction(&self, value: &[u8]) -> Result<Transaction, String> {
        let text = std::str::from_utf8(value).map_err(|error| format!("no text: {error}"))?;
        // Some write this mark before every text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let fields: Fields<'_> =
            serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
        let mut made: BTreeMap<&str, Value> = BTreeMap::new();
        for ready in &self.rules {
            let column = ready.rule.column.as_str();
            match ready.apply(&fields).map_err(|reason| format!("`{column}`: {reason}"))? {
                Some(value) => drop(made.insert(column, value)),
                None if ready.rule.optional => {}
                None => {
                    return Err(format!("`{column}`: {} is missing", ready.rule.from.join(", ")));
                }
            }
        }
        let mut taken = |column: &str| made.remove(column);
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let integer = |column: &str, value: Option<Value>| {
            let number = value.and_then(|it| it.as_i64());
            number.ok_or_else(|| format!("`{column}`: not a whole number"))
        };
        let decimal = |column: &str, value: Option<Value>| {
            let text = text(value).unwrap_or_default();
            text.parse::<Decimal>().map_err(|error| format!("`{column}`: {error}"))
        };
        let stock = text(taken("accion")).unwrap_or_default();
        let transaction = Transaction {
            // An empty one names nothing.
            id: text(taken("id")).filter(|it| !it.is_empty()),
            time: integer("time", taken("time"))?,
            timestamp: fields
                .get("timestamp")
                .and_then(|it| as_text(it).or_else(|| as_number(it)))
                .unwrap_or_default(),
            stock: Symbol::new(&stock).map_err(|error| format!("`accion`: {error}"))?,
            kind: text(taken("tipo_transaccion")).unwrap_or_default(),
            quantity: integer("cantidad", taken("cantidad"))?,
            unit_price: decimal("precio_unitario", taken("precio_unitario"))?,
            total: decimal("total", taken("total"))?,
            state: text(taken("estado")).unwrap_or_default(),
            error: text(taken("error")),
            extra: String::new(),
        };
        let extra: Map<String, Value> =
            made.into_iter().map(|(column, value)| (column.to_owned(), value)).collect();
        Ok(Transaction { extra: Value::Object(extra).to_string(), ..transaction })
    }
}

impl Decode for Mapping {
    fn decode(&self, topic: Topic, record: &Record) -> Result<Event, String> {
        if topic != Topic::Transactions {
            return Err(format!("{} has no transactions", topic.name()));
        }
        let transaction = self.transaction(&record.value).map_err(|mut reason| {
            // It may repeat a field, and that may be as long as the event.
            if let Some((cut, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
                reason.truncate(cut);
            }
            reason
        })?;
        Ok(Event::Transaction(Box::new(transaction)))
    }
}

impl Ready {
    fn new(rule: Rule) -> Result<Self, MappingError> {
        let wrong =
            |what: String| Err(MappingError(format!("the rule for `{}` {what}", rule.column)));
        if rule.column == "extra" || rule.column == "timestamp" {
            return wrong("is not needed: the column comes by itself".to_owned());
        }
        if rule.from.is_empty() {
            return wrong("has no `from`: name the event's field".to_owned());
        }
        if rule.kind == Kind::Product && rule.from.len() != 2 {
            return wrong("makes a product: name two fields in `from`".to_owned());
        }
        if rule.kind == Kind::Datetime && rule.format.is_none() {
            return wrong("has no `format`, such as %Y-%m-%d %H:%M:%S".to_owned());
        }
        let wanted = match rule.column.as_str() {
            "time" => Some(&[Kind::Instant, Kind::Datetime][..]),
            "cantidad" => Some(&[Kind::Integer][..]),
            "precio_unitario" | "total" => Some(&[Kind::Decimal, Kind::Product][..]),
            "id" | "accion" | "tipo_transaccion" | "estado" | "error" => Some(&[Kind::Text][..]),
            _ => None,
        };
        if let Some(wanted) = wanted
            && !wanted.contains(&rule.kind)
        {
            return wrong(format!("makes {:?}: write one of {wanted:?}", rule.kind).to_lowercase());
        }
        if rule.optional && COLUMNS.contains(&&*rule.column) && !OPTIONAL.contains(&&*rule.column) {
            return wrong("is optional: every transaction has it".to_owned());
        }
        let name = rule.zone.as_deref().unwrap_or("UTC");
        let Ok(zone) = TimeZone::get(name) else {
            return wrong(format!("has the zone `{name}`: write it as Europe/Madrid"));
        };
        Ok(Self { rule, zone })
    }

    /// The column's value; `None` where the event lacks it.
    fn apply(&self, fields: &Fields<'_>) -> Result<Option<Value>, String> {
        let there = |name: &String| fields.get(name).filter(|it| it.get() != "null").copied();
        if self.rule.kind == Kind::Product {
            let factors: Option<Vec<_>> = self.rule.from.iter().map(there).collect();
            let Some(factors) = factors else { return Ok(None) };
            let factors = factors.into_iter().map(decimal).collect::<Result<Vec<_>, _>>()?;
            let [one, other] = factors[..] else { return Ok(None) };
            let product = one
                .product(other)
                .map_err(|error| format!("{}: {error}", self.rule.from.join(" × ")))?;
            return Ok(Some(Value::String(product.to_string())));
        }
        let Some(field) = self.rule.from.iter().find_map(there) else { return Ok(None) };
        let value = match self.rule.kind {
            // Whoever counts may call a transaction 17.
            Kind::Text if self.rule.column == "id" => {
                Value::String(as_text(field).or_else(|| as_number(field)).ok_or("not a text")?)
            }
            Kind::Text => Value::String(as_text(field).ok_or("not a text")?),
            Kind::Integer => Value::Number(integer(field)?.into()),
            Kind::Decimal | Kind::Product => Value::String(decimal(field)?.to_string()),
            Kind::Instant | Kind::Datetime => {
                Value::Number(Number::from(self.instant(field)?.as_millisecond()))
            }
            Kind::Date => Value::String(self.zoned(field)?.date().to_string()),
            Kind::Hour => Value::Number(self.zoned(field)?.hour().into()),
            Kind::Weekday => {
                Value::Number(self.zoned(field)?.weekday().to_monday_one_offset().into())
            }
        };
        if let Value::String(text) = &value
            && !self.rule.one_of.is_empty()
            && !self.rule.one_of.contains(text)
        {
            return Err(format!("`{text}` is none of {}", self.rule.one_of.join(", ")));
        }
        Ok(Some(value))
    }

    fn zoned(&self, field: &RawValue) -> Result<Zoned, String> {
        Ok(self.instant(field)?.to_zoned(self.zone.clone()))
    }

    /// Epoch milliseconds, RFC 3339, or a date and time on the rule's clock.
    fn instant(&self, field: &RawValue) -> Result<Timestamp, String> {
        let Some(text) = as_text(field) else {
            let millis = integer(field)?;
            return Timestamp::from_millisecond(millis).map_err(|error| error.to_string());
        };
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(instant);
        }
        let format = self.rule.format.as_deref().unwrap_or("%Y-%m-%d %H:%M:%S");
        let local = DateTime::strptime(format, &text)
            .map_err(|error| format!("`{text}` is not written as {format}: {error}"))?;
        let zoned = local.to_zoned(self.zone.clone()).map_err(|error| error.to_string())?;
        Ok(zoned.timestamp())
    }
}

fn as_text(field: &RawValue) -> Option<String> {
    serde_json::from_str(field.get()).ok()
}

/// A JSON number as it is written.
fn as_number(field: &RawValue) -> Option<String> {
    let text = field.get();
    text.starts_with(|it: char| it == '-' || it.is_ascii_digit()).then(|| text.to_owned())
}

fn integer(field: &RawValue) -> Result<i64, String> {
    let text = as_text(field).unwrap_or_else(|| field.get().to_owned());
    let wrong = || format!("`{text}` is not a whole number");
    if let Ok(number) = text.trim().parse() {
        return Ok(number);
    }
    let one = Decimal::from_units(1).0;
    let Decimal(value) = decimal(field).map_err(|_| wrong())?;
    if value % one != 0 {
        return Err(wrong());
    }
    i64::try_from(value / one).map_err(|_| wrong())
}

fn decimal(field: &RawValue) -> Result<Decimal, String> {
    let parsed = match (as_text(field), as_number(field)) {
        (Some(text), _) => Decimal::parse(text.trim().as_bytes()),
        (None, Some(number)) => rounded(&number),
        (None, None) => Err(DecimalError::Malformed),
    };
    parsed.map_err(|error| {
        let text = as_text(field).unwrap_or_else(|| field.get().to_owned());
        format!("`{text}`: {error}")
    })
}

/// A JSON number, half away from zero to 10⁻⁸.
fn rounded(number: &str) -> Result<Decimal, DecimalError> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(Decimal::ZERO);
    }
    // Of the digits that are not leading zeros: how many stand before the point.
    let leading = i64::try_from(whole.len() + fraction.len() - digits.len());
    let before = i64::try_from(whole.len()).unwrap_or(i64::MAX) - leading.unwrap_or(0);
    let exponent = exponent.parse::<i32>().map_err(|_| DecimalError::TooLarge)?;
    let point = before.saturating_add(i64::from(exponent));
    if point > 16 {
        return Err(DecimalError::TooLarge);
    }
    // Units of 10⁻⁸, and the digit behind them.
    let kept = usize::try_from(point + 8).ok();
    let digit = |at: usize| digits.as_bytes().get(at).copied().unwrap_or(b'0');
    let units: String = (0..kept.unwrap_or(0)).map(|at| char::from(digit(at))).collect();
    let up = kept.is_some_and(|at| digit(at) >= b'5');
    let units = units.parse::<i128>().unwrap_or(0) + i128::from(up);
    let value = Decimal(if sign.is_empty() { units } else { -units });
    // Its text, so that the bounds are those of every decimal.
    Decimal::parse(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"timestamp":"2024-08-09 10:40:00","accion":"AMZN","tipo_transaccion":"COMPRA","cantidad":88,"precio_unitario":186.86,"total":16443.68,"estado":"EXITOSO","error":null}"#;

    fn mapping() -> Mapping {
        Mapping::new(default_rules()).unwrap()
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(OLD.contains(from));
        OLD.replace(from, to)
    }

    #[test]
    fn the_old_event_is_understood_as_it_is() {
        let found = mapping().transaction(OLD.as_bytes()).unwrap();
        let expected = Transaction {
            id: None,
            time: 1_723_200_000_000,
            timestamp: "2024-08-09 10:40:00".to_owned(),
            stock: Symbol::new("AMZN").unwrap(),
            kind: "COMPRA".to_owned(),
            quantity: 88,
            unit_price: "186.86".parse().unwrap(),
            total: "16443.68".parse().unwrap(),
            state: "EXITOSO".to_owned(),
            error: None,
            extra: r#"{"hora":10}"#.to_owned(),
        };
        assert_eq!(found, expected);
        let text = changed("186.86", "\"186.86\"");
        assert_eq!(mapping().transaction(text.as_bytes()), Ok(expected), "a price as text");
    }

    #[test]
    fn no_digit_passes_through_a_float() {
        let text = changed("16443.68", "90071992547409.93000001");
        let found = mapping().transaction(text.as_bytes()).unwrap();
        assert_eq!(found.total.to_string(), "90071992547409.93000001");
    }

    #[track_caller]
    fn total(written: &str, expected: &str) {
        let text = changed("16443.68", written);
        let found = mapping().transaction(text.as_bytes()).map(|it| it.total.to_string());
        match expected.strip_prefix("not ") {
            Some(reason) => {
                assert!(found.clone().is_err_and(|it| it.contains(reason)), "{found:?}")
            }
            None => assert_eq!(found.as_deref(), Ok(expected), "{written}"),
        }
    }

    #[test]
    fn a_json_number_is_read_however_it_is_written_and_its_noise_is_rounded_away() {
        total("16443.679999999998", "16443.68000000");
        total("16443.680000000002", "16443.68000000");
        total("-16443.679999999998", "-16443.68000000");
        total("1.644368e4", "16443.68000000");
        total("1644368E-2", "16443.68000000");
        total("1e-05", "0.00001000");
        total("5e-9", "0.00000001");
        total("4.9e-9", "0.00000000");
        total("1e-400", "0.00000000");
        total("0.00000000000000000000123e21", "1.23000000");
        total("0", "0.00000000");
        total("-0.0", "0.00000000");
        total("99999999.999999999", "100000000.00000000");
        total("1e15", "1000000000000000.00000000");
        total("1.1e15", "not beyond");
        total("1e999999999999", "not beyond");
        total("\"16443.680000000002\"", "not more than 8");
        total("true", "not plain decimal");
        total("[1]", "not plain decimal");
    }

    #[test]
    fn what_other_clients_write_otherwise_is_understood_or_refused() {
        let of = |from: &str, to: &str| mapping().transaction(changed(from, to).as_bytes());
        for written in ["88", "\"88\"", "\" 88 \"", "88.0", "\"88.0\"", "8.8e1"] {
            assert_eq!(of(":88", &format!(":{written}")).unwrap().quantity, 88, "{written}");
        }
        assert_eq!(of(":88", ":-9223372036854775808").unwrap().quantity, i64::MIN);
        refused(&changed(":88", ":9223372036854775808"), "`cantidad`");
        refused(&changed(":88", ":true"), "`true` is not a whole number");
        refused(&changed(":88", ":[88]"), "`cantidad`");
        refused(&changed("\"AMZN\"", "5"), "`accion`: not a text");
        let id = |written: &str| of("\"error\":null", &format!("\"id\":{written}")).unwrap().id;
        assert_eq!(id("17").as_deref(), Some("17"));
        assert_eq!((id("\"\""), id("null")), (None, None));
        let plain = mapping().transaction(OLD.as_bytes());
        for text in [format!("\u{feff}{OLD}"), format!("{OLD}\r\n"), format!(" \n{OLD}")] {
            assert_eq!(mapping().transaction(text.as_bytes()), plain);
        }
        let more = changed("{\"timestamp\"", "{\"moneda\":{\"USD\":[1,null]},\"timestamp\"");
        assert_eq!(mapping().transaction(more.as_bytes()), plain, "fields that nobody asked for");
        refused(&format!("{OLD}{OLD}"), "not a JSON object");
        refused(&format!("[{OLD}]"), "not a JSON object");
        refused(&changed(":88", ":NaN"), "not a JSON object");
        refused(&"[".repeat(100_000), "not a JSON object");
    }

    #[test]
    fn a_reason_is_short_however_long_the_event() {
        let record = Record {
            key: Symbol::new("AMZN").unwrap(),
            value: changed("AMZN", &"A".repeat(1_000_000)).into(),
            received_at: fts_core::time::UnixNanos(0),
            source: fts_core::market::Source::Stream,
            feed: 0,
        };
        let reason = mapping().decode(Topic::Transactions, &record).unwrap_err();
        assert!(reason.starts_with("`accion`") && reason.len() < 600, "{}", reason.len());
    }

    #[test]
    fn an_id_and_an_instant_are_taken_where_they_are() {
        let text =
            changed("\"error\":null", "\"error\":\"TIMEOUT\",\"id\":\"x\",\"instante\":1500");
        let found = mapping().transaction(text.as_bytes()).unwrap();
        assert_eq!((found.id.as_deref(), found.time), (Some("x"), 1_500));
        assert_eq!(found.error.as_deref(), Some("TIMEOUT"));
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = mapping().transaction(text.as_bytes()).expect_err("it must be refused");
        assert!(error.contains(reason), "`{reason}` is not in: {error}");
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_column() {
        refused("", "not a JSON object");
        refused("[]", "not a JSON object");
        refused("{}", "`time`: instante, timestamp is missing");
        refused(&changed("COMPRA", "compra"), "`tipo_transaccion`: `compra` is none of COMPRA");
        refused(&changed("88", "8.8"), "`cantidad`: `8.8` is not a whole number");
        refused(&changed("186.86", "\"1e9\""), "`precio_unitario`: `1e9`");
        refused(&changed("2024-08-09 10", "09/08/2024 10"), "`time`: `09/08/2024 10:40:00`");
        refused(&changed("2024-08-09", "2024-02-30"), "`time`");
        refused(&changed("AMZN", ""), "`accion`");
        refused(&changed("88", "null"), "`cantidad`: cantidad is missing");
    }

    #[test]
    fn a_clock_elsewhere_is_a_rule() {
        let mut rules = default_rules();
        for rule in rules.iter_mut().filter(|it| it.column == "time" || it.column == "hora") {
            rule.zone = Some("Europe/Madrid".to_owned());
        }
        rules.push(Rule {
            column: "importe".to_owned(),
            from: vec!["cantidad".to_owned(), "precio_unitario".to_owned()],
            kind: Kind::Product,
            format: None,
            zone: None,
            one_of: Vec::new(),
            optional: false,
        });
        let mapping = Mapping::new(rules).unwrap();
        // The day the clocks went forward: 02:30 is half past three.
        for (local, utc) in [
            ("2024-08-09 10:40:00", 1_723_192_800_000),
            ("2024-01-01 00:00:00", 1_704_063_600_000),
            ("2024-03-31 02:30:00", 1_711_848_600_000),
        ] {
            let text = changed("2024-08-09 10:40:00", local);
            let found = mapping.transaction(text.as_bytes()).unwrap();
            assert_eq!(found.time, utc, "{local}");
            assert!(found.extra.contains(r#""importe":"16443.68000000""#), "{}", found.extra);
        }
    }

    #[test]
    fn a_product_is_rounded_and_one_too_large_is_refused() {
        let mut rules = default_rules();
        let total = rules.iter_mut().find(|it| it.column == "total").unwrap();
        total.from = vec!["cantidad".to_owned(), "precio_unitario".to_owned()];
        total.kind = Kind::Product;
        let mapping = Mapping::new(rules).unwrap();
        #[track_caller]
        fn check(mapping: &Mapping, quantity: &str, price: &str, expected: Result<&str, &str>) {
            let text =
                changed(":88", &format!(":{quantity}")).replace(":186.86", &format!(":{price}"));
            let found = mapping.transaction(text.as_bytes()).map(|it| it.total.to_string());
            assert_eq!(found.as_deref(), expected.map_err(str::to_owned).as_ref().map(|it| *it));
        }
        check(&mapping, "88", "186.86", Ok("16443.68000000"));
        check(&mapping, "3", "-0.00000001", Ok("-0.00000003"));
        check(&mapping, "1000000000", "1000000", Ok("1000000000000000.00000000"));
        let refused = "`total`: cantidad × precio_unitario: beyond 10^15 units";
        check(&mapping, "1000000000", "1000000000", Err(refused));
        check(&mapping, "-1000000000000000", "1000000000000000", Err(refused));
    }

    #[test]
    fn rules_that_make_no_transaction_are_refused() {
        let check = |change: fn(&mut Vec<Rule>), reason: &str| {
            let mut rules = default_rules();
            change(&mut rules);
            let error = Mapping::new(rules).expect_err(reason).to_string();
            assert!(error.contains(reason), "`{reason}` is not in: {error}");
        };
        check(|rules| drop(rules.remove(1)), "0 rules for `time`");
        check(|rules| rules.push(rules[0].clone()), "2 rules for `id`");
        check(|rules| rules[1].zone = Some("Madrid".into()), "zone `Madrid`");
        check(|rules| rules[1].format = None, "`time` has no `format`");
        check(|rules| rules[4].kind = Kind::Text, "`cantidad` makes text");
        check(|rules| rules[2].optional = true, "`accion` is optional");
        check(|rules| rules[2].from.clear(), "`accion` has no `from`");
    }
}
