//! Transactions as the simulator writes them: the event that its readers have always known, and
//! beside it what was missing from it, an id and the instant in UTC.

use bytes::Bytes;
use fts_core::stock::Transaction;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Debug, Serialize)]
struct Written<'a> {
    timestamp: &'a str,
    accion: &'a str,
    tipo_transaccion: &'a str,
    cantidad: i64,
    precio_unitario: &'a RawValue,
    total: &'a RawValue,
    estado: &'a str,
    error: Option<&'a str>,
    id: Option<&'a str>,
    instante: i64,
}

/// A transaction as a record. Prices are JSON numbers with all their digits.
pub fn encode(transaction: &Transaction) -> Bytes {
    let number = |text: String| {
        // Cents are what the event has always had.
        let shortened = text.strip_suffix("000000").unwrap_or(&text).to_owned();
        RawValue::from_string(shortened).expect("a decimal is a JSON number")
    };
    let written = Written {
        timestamp: &transaction.timestamp,
        accion: transaction.stock.as_str(),
        tipo_transaccion: &transaction.kind,
        cantidad: transaction.quantity,
        precio_unitario: &number(transaction.unit_price.to_string()),
        total: &number(transaction.total.to_string()),
        estado: &transaction.state,
        error: transaction.error.as_deref(),
        id: transaction.id.as_deref(),
        instante: transaction.time,
    };
    serde_json::to_vec(&written).expect("texts and numbers are always JSON").into()
}

#[cfg(test)]
mod tests {
    use fts_core::simulator::Simulator;

    use super::*;

    #[test]
    fn the_event_has_the_fields_that_its_readers_know() {
        let simulator = Simulator { seed: 7, rate: 10 };
        let event = simulator.event(17_232_000_000, "2024-08-09 10:40:00".to_owned());
        assert_eq!(
            String::from_utf8(encode(&event).to_vec()).unwrap(),
            r#"{"timestamp":"2024-08-09 10:40:00","accion":"AMZN","tipo_transaccion":"COMPRA","cantidad":88,"precio_unitario":186.86,"total":16443.68,"estado":"EXITOSO","error":null,"id":"sim-7-10-17232000000","instante":1723200000000}"#
        );
    }
}
