//! The query string: decoding, and the checks that every endpoint makes.

use super::error::ApiError;
use crate::market::Market;

/// The parameters of a request, decoded, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

const SYMBOL_RANGE: &str = r"^[\w\-._&&[^a-z]]{1,50}$";
const SYMBOLS_RANGE: &str =
    r#"^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$"#;
const NUMBER_RANGE: &str = "^[0-9]{1,20}$";

/// Which symbols a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One: the answer is an object.
    One(usize),
    /// Several, or all: the answer is an array.
    Many(Vec<usize>),
}

impl Params {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Refuses duplicates and parameters that the endpoint does not have.
    pub(crate) fn accept(&self, names: &[&str]) -> Result<(), ApiError> {
        for (position, (name, value)) in self.0.iter().enumerate() {
            if self.0.iter().skip(position + 1).any(|(other, _)| other == name) {
                return Err(ApiError::duplicate_parameters());
            }
            if value.is_empty() && names.contains(&name.as_str()) && name != "symbol" {
                return Err(ApiError::empty(name));
            }
        }
        let read = self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).count();
        if read < self.0.len() { Err(ApiError::unread(read, self.0.len())) } else { Ok(()) }
    }

    /// The symbol that the request must name.
    pub(crate) fn symbol(&self, market: &dyn Market) -> Result<usize, ApiError> {
        match self.get("symbol") {
            None | Some("") => Err(ApiError::mandatory("symbol")),
            Some(name) => {
                if !is_symbol(name) {
                    return Err(ApiError::illegal_characters("symbol", SYMBOL_RANGE));
                }
                find(market, name)
            }
        }
    }

    /// `symbol`, or `symbols`, or neither: all of them.
    pub(crate) fn symbols(&self, market: &dyn Market) -> Result<Wanted, ApiError> {
        match (self.get("symbol"), self.get("symbols")) {
            (Some(_), Some(_)) => Err(ApiError::combination()),
            (Some(_), None) => self.symbol(market).map(Wanted::One),
            (None, None) => Ok(Wanted::Many((0..market.symbols().len()).collect())),
            (None, Some(list)) => {
                let malformed = || ApiError::illegal_characters("symbols", SYMBOLS_RANGE);
                let names: Vec<String> = serde_json::from_str(list).map_err(|_| malformed())?;
                if !names.iter().all(|name| is_symbol(name)) {
                    return Err(malformed());
                }
                let mut sorted: Vec<&String> = names.iter().collect();
                sorted.sort_unstable();
                if sorted.is_sorted_by(|a, b| a < b) {
                    names
                        .iter()
                        .map(|name| find(market, name))
                        .collect::<Result<_, _>>()
                        .map(Wanted::Many)
                } else {
                    Err(ApiError::duplicate_symbols())
                }
            }
        }
    }

    /// A number that may be absent.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ApiError::illegal_characters(name, NUMBER_RANGE));
        }
        text.parse::<u64>().map(Some).map_err(|_| ApiError::overflow(name))
    }

    /// A time in ms; microseconds are recognised by their size.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        const MICROS_FROM: i64 = 100_000_000_000_000;
        let Some(value) = self.number(name)? else { return Ok(None) };
        let value = i64::try_from(value).map_err(|_| ApiError::overflow(name))?;
        Ok(Some(if value >= MICROS_FROM { value / 1000 } else { value }))
    }

    /// How many rows: 500 by default, 1000 at most, more is cut to that.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        match self.number("limit")? {
            None => Ok(500),
            Some(0) => Err(ApiError::invalid("limit")),
            Some(limit) => Ok(usize::try_from(limit.min(1000)).unwrap_or(1000)),
        }
    }
}

/// Letters and digits of any script: the exchange lists `币安人生USDT`.
fn is_symbol(name: &str) -> bool {
    let legal = |c: char| (c.is_alphanumeric() && !c.is_ascii_lowercase()) || "-_.".contains(c);
    (1..=50).contains(&name.chars().count()) && name.chars().all(legal)
}

fn find(market: &dyn Market, name: &str) -> Result<usize, ApiError> {
    market.symbols().iter().position(|known| known.name == name).ok_or_else(ApiError::symbol)
}

/// Undoes percent-encoding; what is no encoding stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    rest = after;
                    continue;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_of_any_script_in_capitals() {
        for legal in ["BTCUSDT", "1000SATS_2-X.Y", "币安人生USDT"] {
            assert!(is_symbol(legal), "{legal}");
        }
        for illegal in ["", "btcusdt", "BTC USDT", "BTC/USDT", &"A".repeat(51)] {
            assert!(!is_symbol(illegal), "{illegal}");
        }
    }

    #[test]
    fn percent_encoding_is_undone() {
        for (encoded, plain) in [
            ("btcusdt%40trade", "btcusdt@trade"),
            ("%5B%22BTCUSDT%22%2c%22B%22%5d", r#"["BTCUSDT","B"]"#),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%E8%BF%99", "这"),
        ] {
            assert_eq!(decode(encoded), plain);
        }
    }
}
