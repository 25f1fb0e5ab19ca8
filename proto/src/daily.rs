//! Daily prices in the log: a JSON object a day, with the names of the table `finanzas_batch` and
//! every number as the text that its source wrote.
//!
//! ```text
//! {"symbol":"TSLA","fecha":"2024-08-09","apertura":"197.0500","maximo":"200.8800","minimo":"195.1100","cierre":"200.0000","volumen":"58648274","fetched_at":1723237200000}
//! ```

use bytes::Bytes;
use fts_core::decimal::Decimal;
use fts_core::market::{Event, Symbol};
use fts_core::stock::Daily;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Day {
    symbol: String,
    fecha: String,
    apertura: String,
    maximo: String,
    minimo: String,
    cierre: String,
    volumen: String,
    fetched_at: i64,
}

/// A day as a record.
pub fn encode(symbol: &Symbol, daily: &Daily) -> Bytes {
    let day = Day {
        symbol: symbol.to_string(),
        fecha: daily.date.to_string(),
        apertura: daily.open.to_string(),
        maximo: daily.high.to_string(),
        minimo: daily.low.to_string(),
        cierre: daily.close.to_string(),
        volumen: daily.volume.to_string(),
        fetched_at: daily.fetched_at,
    };
    serde_json::to_vec(&day).expect("texts and numbers are always JSON").into()
}

/// What a record of `key` says; the error is the reason for the dead letters.
pub fn decode(key: &Symbol, value: &[u8]) -> Result<Event, String> {
    let day: Day =
        serde_json::from_slice(value).map_err(|error| format!("not a day's prices: {error}"))?;
    if day.symbol != key.as_str() {
        return Err(format!("a record of {key} about {}", day.symbol));
    }
    let price = |name: &str, text: &str| {
        Decimal::parse(text.as_bytes()).map_err(|error| format!("`{name}` is `{text}`: {error}"))
    };
    Ok(Event::Daily(Box::new(Daily {
        date: day.fecha.parse().map_err(|error| format!("`fecha`: {error}"))?,
        open: price("apertura", &day.apertura)?,
        high: price("maximo", &day.maximo)?,
        low: price("minimo", &day.minimo)?,
        close: price("cierre", &day.cierre)?,
        volume: day.volumen.parse().map_err(|error| format!("`volumen`: {error}"))?,
        fetched_at: day.fetched_at,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let symbol = Symbol::new("TSLA").unwrap();
        let daily = Daily {
            date: "2024-02-29".parse().unwrap(),
            open: "197.05".parse().unwrap(),
            high: "200.88".parse().unwrap(),
            low: "0.00000001".parse().unwrap(),
            close: "200".parse().unwrap(),
            volume: 58_648_274,
            fetched_at: 1_723_237_200_000,
        };
        let bytes = encode(&symbol, &daily);
        assert_eq!(decode(&symbol, &bytes), Ok(Event::Daily(Box::new(daily))));
        let other = Symbol::new("IBM").unwrap();
        assert_eq!(decode(&other, &bytes), Err("a record of IBM about TSLA".to_owned()));
        assert!(decode(&symbol, b"{}").unwrap_err().contains("not a day's prices"));
    }
}
