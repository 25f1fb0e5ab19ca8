//! Control records: facts about the completeness of a topic, kept in the topic itself, as JSON
//! beside the exchange's own. Where the record begins, what the exchange does not have, and that a
//! connection has begun to deliver: what came just before it may be missing.
//!
//! ```text
//! {"e":"floor","s":"BTCUSDT","f":3735683259}
//! {"e":"gap","s":"BTCUSDT","f":3735683300,"l":3735683310,"reason":"…"}
//! {"e":"connected","s":"BTCUSDT"}
//! ```

use bytes::Bytes;
use fts_core::market::{Event, Symbol};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "lowercase")]
enum Control {
    Floor {
        #[serde(rename = "s")]
        symbol: String,
        #[serde(rename = "f")]
        first: i64,
    },
    Gap {
        #[serde(rename = "s")]
        symbol: String,
        #[serde(rename = "f")]
        first: i64,
        #[serde(rename = "l")]
        last: i64,
        reason: String,
    },
    Connected {
        #[serde(rename = "s")]
        symbol: String,
    },
}

/// The record that says: `symbol`'s trades are recorded from this id on.
pub fn floor(symbol: &Symbol, first: i64) -> Bytes {
    encode(&Control::Floor { symbol: symbol.to_string(), first })
}

/// The record that says: the exchange does not have these trades of `symbol`, ends inclusive.
pub fn gap(symbol: &Symbol, first: i64, last: i64, reason: &str) -> Bytes {
    encode(&Control::Gap { symbol: symbol.to_string(), first, last, reason: reason.to_owned() })
}

/// The record that says: a connection delivers `symbol` from here on.
pub fn connected(symbol: &Symbol) -> Bytes {
    encode(&Control::Connected { symbol: symbol.to_string() })
}

/// What a control record says; the error is the reason for the dead letters.
pub fn decode(value: &[u8]) -> Result<Event, String> {
    match serde_json::from_slice(value) {
        Ok(Control::Floor { first, .. }) => Ok(Event::Floor(first)),
        Ok(Control::Gap { first, last, .. }) if last < first => {
            Err(format!("a gap from {first} to {last}"))
        }
        Ok(Control::Gap { first, last, reason, .. }) => Ok(Event::Gap(first, last, reason)),
        Ok(Control::Connected { .. }) => Ok(Event::Connected),
        Err(error) => Err(format!("not a control record: {error}")),
    }
}

fn encode(control: &Control) -> Bytes {
    serde_json::to_vec(control).expect("texts and numbers are always JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        assert_eq!(decode(&floor(&symbol, i64::MAX)), Ok(Event::Floor(i64::MAX)));
        let event = Event::Gap(3, 5, "a \"reason\"".to_owned());
        assert_eq!(decode(&gap(&symbol, 3, 5, "a \"reason\"")), Ok(event));
        assert_eq!(decode(&connected(&symbol)), Ok(Event::Connected));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["", "{}", r#"{"e":"gap","s":"A","f":2,"l":1,"reason":""}"#, r#"{"e":"x"}"#] {
            assert!(decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
