//! Whose frame is it? Told from the stream's name in the wrapper, without parsing the rest.

use std::borrow::Cow;
use std::collections::HashMap;

use fts_core::market::{Symbol, Topic};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::Channel;

/// The streams of a connection.
#[derive(Debug)]
pub(super) struct Routes {
    streams: HashMap<String, (Topic, Symbol)>,
    /// Those that it carried before: the last of their frames may still be on their way.
    left: HashMap<String, (Topic, Symbol)>,
    first: Symbol,
}

/// What a text frame is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Market data of a stream that was asked for.
    Data(Topic, Symbol),
    /// Nothing that was asked for.
    Unknown,
    /// A request, by its id, was carried out.
    Done(Option<i64>),
    /// A request, by its id, was refused.
    Refused(Option<i64>),
    /// The exchange is about to close the connection.
    Shutdown,
}

const SHUTDOWN: &str = "serverShutdown";

impl Routes {
    /// The routes of all `channels` of `symbols`, and the names of the streams, each once; `None`
    /// where there is none.
    pub(super) fn new(symbols: &[Symbol], channels: &[Channel]) -> Option<(Self, Vec<String>)> {
        let first = symbols.first()?.clone();
        let mut streams = HashMap::new();
        let mut names = Vec::new();
        for symbol in symbols {
            for channel in channels {
                let name = channel.stream(symbol);
                let route = (channel.topic(), symbol.clone());
                if streams.insert(name.clone(), route).is_none() {
                    names.push(name);
                }
            }
        }
        let routes = Self { streams, left: HashMap::new(), first };
        (!names.is_empty()).then_some((routes, names))
    }

    /// Takes in all `channels` of `symbol`.
    pub(super) fn add(&mut self, symbol: &Symbol, channels: &[Channel]) {
        for channel in channels {
            self.streams.insert(channel.stream(symbol), (channel.topic(), symbol.clone()));
        }
    }

    /// The streams of `symbol` are left. What still comes of them is theirs all the same.
    pub(super) fn remove(&mut self, symbol: &Symbol) {
        self.left.extend(self.streams.extract_if(|_, (_, of)| of == symbol));
        if self.first == *symbol
            && let Some(next) = self.streams.values().map(|(_, of)| of).min()
        {
            self.first = next.clone();
        }
    }

    /// How many streams there are, without those that were left.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whose frames are those that name no one.
    pub(super) fn first(&self) -> &Symbol {
        &self.first
    }

    /// What `text` is.
    pub(super) fn read(&self, text: &str) -> Said {
        let name = text.strip_prefix(r#"{"stream":""#).and_then(|rest| rest.split_once('"'));
        match name.and_then(|(name, _)| self.get(name)) {
            Some((topic, symbol)) => Said::Data(*topic, symbol.clone()),
            None => self.parse(text),
        }
    }

    fn get(&self, name: &str) -> Option<&(Topic, Symbol)> {
        self.streams.get(name).or_else(|| self.left.get(name))
    }

    /// Other key orders, escaped names, and what is not market data.
    fn parse(&self, text: &str) -> Said {
        let Ok(head) = serde_json::from_str::<Head<'_>>(text) else {
            return Said::Unknown;
        };
        match head.stream.as_deref() {
            Some("!serverShutdown") => Said::Shutdown,
            Some(name) => match self.get(name) {
                Some((topic, symbol)) => Said::Data(*topic, symbol.clone()),
                None => Said::Unknown,
            },
            None if head.e.as_deref() == Some(SHUTDOWN) => Said::Shutdown,
            None if head.error.0 || head.code.0 => Said::Refused(head.id),
            None if head.result.0 => Said::Done(head.id),
            None => Said::Unknown,
        }
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    e: Option<Cow<'a, str>>,
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    result: Present,
    #[serde(default)]
    code: Present,
    #[serde(default)]
    error: Present,
}

/// Whether a key is there, be its value `null`.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Said) {
        let symbols = ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap());
        let channels = [Channel::TRADE, "kline_1m".parse().unwrap()];
        let (routes, names) = Routes::new(&symbols, &channels).unwrap();
        assert_eq!(names.len(), 4);
        assert_eq!(routes.read(text), expected, "{text}");
    }

    fn data(topic: Topic, symbol: &str) -> Said {
        Said::Data(topic, Symbol::new(symbol).unwrap())
    }

    #[test]
    fn frames_go_to_the_stream_that_they_name() {
        check(r#"{"stream":"btcusdt@trade","data":{}}"#, data(Topic::Trade, "BTCUSDT"));
        check(r#"{"stream":"ethusdt@kline_1m","data":{}}"#, data(Topic::Kline, "ETHUSDT"));
        check(r#"{"data":{"x":[1]},"stream":"ethusdt@trade"}"#, data(Topic::Trade, "ETHUSDT"));
        check(r#" { "stream" : "ethusdt@trade" } "#, data(Topic::Trade, "ETHUSDT"));
        check(r#"{"stream":"\u0065thusdt@trade","data":{}}"#, data(Topic::Trade, "ETHUSDT"));
        // A frame cut short is still its stream's: the decoder says what is wrong with it.
        check(r#"{"stream":"btcusdt@trade","data":{"e"#, data(Topic::Trade, "BTCUSDT"));
    }

    #[test]
    fn the_last_frames_of_a_stream_that_was_left_are_still_its_own() {
        let symbols = ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap());
        let (mut routes, _) = Routes::new(&symbols, &[Channel::TRADE]).unwrap();
        routes.remove(&symbols[0]);
        assert_eq!((routes.len(), routes.first()), (1, &symbols[1]));
        for text in [r#"{"stream":"btcusdt@trade","data":{}}"#, r#"{ "stream":"btcusdt@trade"}"#] {
            assert_eq!(routes.read(text), data(Topic::Trade, "BTCUSDT"), "{text}");
        }
        routes.add(&symbols[0], &[Channel::TRADE]);
        assert_eq!(routes.len(), 2);
    }

    #[test]
    fn what_names_no_stream_that_was_asked_for_is_unknown() {
        check(r#"{"stream":"bnbusdt@trade","data":{}}"#, Said::Unknown);
        check(r#"{"stream":7,"data":{}}"#, Said::Unknown);
        check(r#"{"e":"trade","s":"BTCUSDT"}"#, Said::Unknown);
        check(r#"{"str"#, Said::Unknown);
        check("[]", Said::Unknown);
        check("", Said::Unknown);
    }

    #[test]
    fn answers_and_the_announced_end_are_told_apart() {
        check(r#"{"result":null,"id":1}"#, Said::Done(Some(1)));
        check(r#"{"result":["btcusdt@trade"],"id":3}"#, Said::Done(Some(3)));
        check(r#"{"code":2,"msg":"Invalid request: too many parameters"}"#, Said::Refused(None));
        check(r#"{"code":0,"msg":"Unknown property","id":5}"#, Said::Refused(Some(5)));
        check(r#"{"error":{"code":2,"msg":"no"},"id":5}"#, Said::Refused(Some(5)));
        check(
            r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}"#,
            Said::Shutdown,
        );
        check(r#"{"e":"serverShutdown","E":1770123456789}"#, Said::Shutdown);
    }
}
