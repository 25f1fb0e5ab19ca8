//! One line of a recording: `<receive time, ns> <json>`, the JSON in the combined wrapper.
//!
//! A frame is played as its bytes stand, so only as much of it is understood as playing needs: the
//! stream's name and where the payload lies. What the payload says is read apart, and may fail.

use crate::market::{Quote, Trade};
use fts_core::decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A frame of a stream.
    Frame(Frame<'a>),
    /// JSON without a stream: a REST snapshot, not played.
    Snapshot,
    /// Nothing that can be played, and why.
    Malformed(&'static str),
}

/// A frame as recorded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The recorder's clock when the frame came, ns since 1970.
    pub(crate) received: i64,
    /// The stream's name.
    pub(crate) stream: &'a str,
    /// The whole JSON text, combined wrapper and all.
    pub(crate) text: &'a str,
    /// Where in `text` the payload lies.
    pub(crate) data: Range<usize>,
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let Ok(line) = std::str::from_utf8(line) else {
            return Line::Malformed("not UTF-8");
        };
        let Some((received, text)) = line.split_once(' ') else {
            return Line::Malformed("no space between receive time and JSON");
        };
        let Ok(received) = received.parse::<i64>() else {
            return Line::Malformed("the receive time is no integer");
        };
        if let Some((stream, data)) = wrapper(text) {
            return Line::Frame(Frame { received, stream, text, data });
        }
        match serde_json::from_str::<Wrapper<'_>>(text) {
            Ok(Wrapper { stream: Some(stream), data: Some(data) }) => {
                let start = data.get().as_ptr() as usize - text.as_ptr() as usize;
                let data = start..start + data.get().len();
                Line::Frame(Frame { received, stream, text, data })
            }
            Ok(_) => Line::Snapshot,
            Err(_) => Line::Malformed("neither a frame nor a JSON object"),
        }
    }
}

#[derive(Deserialize)]
struct Wrapper<'a> {
    stream: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Reads `{"stream":"NAME","data":PAYLOAD}` without looking into the payload: it may be broken, and
/// is played all the same.
fn wrapper(text: &str) -> Option<(&str, Range<usize>)> {
    let rest = after(text, &["{", "\"stream\"", ":", "\""])?;
    let (stream, rest) = rest.split_once('"')?;
    if stream.contains('\\') {
        return None;
    }
    let rest = after(rest, &[",", "\"data\"", ":"])?.trim_start();
    let start = text.len() - rest.len();
    let payload = rest.trim_end();
    let payload = payload.strip_suffix('}').unwrap_or(payload).trim_end();
    Some((stream, start..start + payload.len()))
}

fn after<'a>(mut text: &'a str, tokens: &[&str]) -> Option<&'a str> {
    for token in tokens {
        text = text.trim_start().strip_prefix(token)?;
    }
    Some(text)
}

/// What REST has to know of a payload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The latest time that the payload names (`E` or `T`), ms.
    pub(crate) time: Option<i64>,
    pub(crate) trade: Option<Trade>,
    pub(crate) quote: Option<Quote>,
}

/// Reads a payload by its stream's kind (`trade`, `bookTicker`, …). `None`: it is not what its
/// stream promises.
pub(crate) fn facts(kind: &str, data: &str) -> Option<Facts> {
    match kind {
        "trade" => {
            let frame: TradeFrame<'_> = serde_json::from_str(data).ok()?;
            let trade = Trade {
                id: frame.id,
                price: Decimal::parse(frame.price.as_bytes()).ok()?,
                quantity: Decimal::parse(frame.quantity.as_bytes()).ok()?,
                time: frame.time,
                buyer_is_maker: frame.buyer_is_maker,
            };
            let time = Some(frame.event_time.max(frame.time));
            Some(Facts { time, trade: Some(trade), quote: None })
        }
        "bookTicker" => {
            let frame: BookTickerFrame<'_> = serde_json::from_str(data).ok()?;
            let quote = Quote {
                update_id: frame.update_id,
                bid: Decimal::parse(frame.bid.as_bytes()).ok()?,
                bid_quantity: Decimal::parse(frame.bid_quantity.as_bytes()).ok()?,
                ask: Decimal::parse(frame.ask.as_bytes()).ok()?,
                ask_quantity: Decimal::parse(frame.ask_quantity.as_bytes()).ok()?,
            };
            Some(Facts { time: None, trade: None, quote: Some(quote) })
        }
        _ => Some(Facts { time: event_time(data), ..Facts::default() }),
    }
}

#[derive(Deserialize)]
struct TradeFrame<'a> {
    #[serde(rename = "E")]
    event_time: i64,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    quantity: &'a str,
    #[serde(rename = "T")]
    time: i64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

#[derive(Deserialize)]
struct BookTickerFrame<'a> {
    #[serde(rename = "u")]
    update_id: u64,
    #[serde(rename = "b")]
    bid: &'a str,
    #[serde(rename = "B")]
    bid_quantity: &'a str,
    #[serde(rename = "a")]
    ask: &'a str,
    #[serde(rename = "A")]
    ask_quantity: &'a str,
}

fn event_time(data: &str) -> Option<i64> {
    let rest = data.split_once("\"E\":")?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_frame(line: &str, stream: &str, data: &str) {
        match Line::parse(line.as_bytes()) {
            Line::Frame(frame) => {
                assert_eq!(frame.stream, stream);
                assert_eq!(&frame.text[frame.data.clone()], data);
                assert_eq!(format!("{} {}", frame.received, frame.text), line);
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_frame_keeps_its_bytes() {
        check_frame(r#"17 {"stream":"a@trade","data":{"t":1}}"#, "a@trade", r#"{"t":1}"#);
        check_frame(r#"17 { "stream": "a@trade", "data": {"t": 1} } "#, "a@trade", r#"{"t": 1}"#);
        check_frame(r#"17 {"data":{"t":1},"stream":"a@trade"}"#, "a@trade", r#"{"t":1}"#);
    }

    #[test]
    fn a_broken_payload_is_still_a_frame() {
        check_frame(r#"17 {"stream":"a@trade","data":{"t":1,"p}"#, "a@trade", r#"{"t":1,"p"#);
        check_frame(r#"17 {"stream":"a@trade","data":"#, "a@trade", "");
        assert_eq!(facts("trade", r#"{"t":"x"}"#), None);
    }

    #[test]
    fn what_is_no_frame_is_told_apart() {
        assert_eq!(Line::parse(br#"17 {"lastUpdateId":1,"bids":[]}"#), Line::Snapshot);
        for malformed in [&b""[..], b"17", b"x {}", b"17 nonsense", b"17 {\"stream\":", b"1 \xff"] {
            assert!(matches!(Line::parse(malformed), Line::Malformed(_)), "{malformed:?}");
        }
    }

    #[test]
    fn a_payload_tells_trade_quote_and_time() {
        let trade =
            r#"{"e":"trade","E":12,"s":"A","t":7,"p":"2.5","q":"4","T":11,"m":true,"M":true}"#;
        let found = facts("trade", trade).unwrap();
        assert_eq!((found.time, found.trade.unwrap().id), (Some(12), 7));
        let quote = r#"{"u":9,"s":"A","b":"1.0","B":"2","a":"1.5","A":"3"}"#;
        assert_eq!(facts("bookTicker", quote).unwrap().quote.unwrap().update_id, 9);
        assert_eq!(facts("depth@100ms", r#"{"e":"x","E":44,"U":1}"#).unwrap().time, Some(44));
        assert_eq!(facts("depth5", r#"{"lastUpdateId":1}"#), Some(Facts::default()));
    }
}
