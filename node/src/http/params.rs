//! The parameters of a request, read and refused as the exchange reads and refuses them.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use fts_core::interval::Interval;
use fts_core::market::Symbol;

use super::refusal::Refusal;

const INTEGER: &str = "^[0-9]{1,20}$";
const SYMBOL: &str = r"^[\w\-._&&[^a-z]]{1,50}$";
const SYMBOLS: &str = r#"^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$"#;
/// A time of this size is one in microseconds: in milliseconds it would be in the year 5138.
const MICROSECONDS_FROM: i64 = 100_000_000_000_000;

/// The parameters of a request. Each is taken once; [`Params::finish`] refuses what nobody took.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    sent: usize,
}

/// An end of a span of time, for rounding.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    From,
    To,
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Refusal::invalid("query"))?;
        Self::new(pairs)
    }
}

impl Params {
    fn new(pairs: Vec<(String, String)>) -> Result<Self, Refusal> {
        let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() < pairs.len() {
            return Err(Refusal::duplicate_parameter());
        }
        Ok(Self { sent: pairs.len(), pairs })
    }

    /// A parameter that may be left out, but not be empty.
    pub(super) fn optional(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let Some(at) = self.pairs.iter().position(|(it, _)| it == name) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.swap_remove(at);
        if value.is_empty() { Err(Refusal::empty(name)) } else { Ok(Some(value)) }
    }

    /// A parameter that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.optional(name).ok().flatten().ok_or_else(|| Refusal::missing(name))
    }

    /// The mandatory `symbol`.
    pub(super) fn symbol(&mut self) -> Result<Symbol, Refusal> {
        legal_symbol(&self.required("symbol")?)
            .ok_or_else(|| Refusal::illegal_characters("symbol", SYMBOL))
    }

    /// The symbols asked for, and how; `None` for all there are.
    pub(super) fn symbols(&mut self) -> Result<Option<Symbols>, Refusal> {
        let (one, list) = (self.optional("symbol")?, self.optional("symbols")?);
        match (one, list) {
            (Some(_), Some(_)) => Err(Refusal::symbol_and_symbols()),
            (Some(one), None) => {
                let symbol = legal_symbol(&one)
                    .ok_or_else(|| Refusal::illegal_characters("symbol", SYMBOL))?;
                Ok(Some(Symbols::One(symbol)))
            }
            (None, Some(list)) => {
                let symbols = serde_json::from_str::<Vec<String>>(&list)
                    .ok()
                    .and_then(|texts| texts.iter().map(|text| legal_symbol(text)).collect())
                    .ok_or_else(|| Refusal::illegal_characters("symbols", SYMBOLS))?;
                Symbols::list(symbols).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// The mandatory `interval`.
    pub(super) fn interval(&mut self) -> Result<Interval, Refusal> {
        self.required("interval")?.parse().map_err(|_| Refusal::interval())
    }

    /// A time in epoch milliseconds; given in microseconds, it is rounded into the span.
    pub(super) fn time(&mut self, name: &str, bound: Bound) -> Result<Option<i64>, Refusal> {
        Ok(self.integer(name)?.map(|time| match bound {
            _ if time < MICROSECONDS_FROM => time,
            Bound::From => time / 1_000 + i64::from(time % 1_000 != 0),
            Bound::To => time / 1_000,
        }))
    }

    /// `limit`, where more than `most` is `most`.
    pub(super) fn limit(&mut self, default: usize, most: usize) -> Result<usize, Refusal> {
        match self.integer("limit")? {
            None => Ok(default),
            Some(0) => Err(Refusal::invalid("limit")),
            Some(limit) => Ok(usize::try_from(limit).map_or(most, |limit| limit.min(most))),
        }
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.optional(name)? else { return Ok(None) };
        if text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::illegal_characters(name, INTEGER));
        }
        text.parse().map(Some).map_err(|_| Refusal::overflow(name))
    }

    /// Refuses parameters that nobody took.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        Err(Refusal::unread(self.sent - self.pairs.len(), self.sent))
    }
}

/// One symbol is answered by an object, a list by an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Symbols {
    One(Symbol),
    List(Vec<Symbol>),
}

impl Symbols {
    fn list(symbols: Vec<Symbol>) -> Result<Self, Refusal> {
        let distinct: BTreeSet<&Symbol> = symbols.iter().collect();
        if distinct.len() < symbols.len() {
            return Err(Refusal::duplicate_symbol());
        }
        Ok(Self::List(symbols))
    }
}

/// A symbol written as the exchange writes it: in upper case.
fn legal_symbol(text: &str) -> Option<Symbol> {
    Symbol::new(text).ok().filter(|symbol| symbol.as_str() == text)
}
