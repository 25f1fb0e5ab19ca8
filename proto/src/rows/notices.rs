//! Alerts and dead letters as JSON objects. Each conversion destructures, so that a column that core
//! gains is not forgotten here.

use fts_core::decimal::Decimal;
use fts_core::market::{Symbol, Topic};
use fts_core::row::{AlertRow, DeadLetterRow};
use serde::{Deserialize, Serialize};

use super::{IMMUTABLE, Keyed, exact, words};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alert {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    time: i64,
    #[serde(rename = "direction", with = "words::direction")]
    up: bool,
    window_ms: i64,
    #[serde(with = "exact::decimal")]
    threshold_percent: Decimal,
    #[serde(with = "exact::decimal")]
    reference_price: Decimal,
    #[serde(with = "exact::decimal")]
    price: Decimal,
    #[serde(with = "exact::decimal")]
    change_percent: Decimal,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&AlertRow> for Alert {
    fn from(row: &AlertRow) -> Self {
        let AlertRow {
            symbol,
            time,
            up,
            window_ms,
            threshold_percent,
            reference_price,
            price,
            change_percent,
        } = row;
        Self {
            symbol: symbol.clone(),
            time: *time,
            up: *up,
            window_ms: *window_ms,
            threshold_percent: *threshold_percent,
            reference_price: *reference_price,
            price: *price,
            change_percent: *change_percent,
            version: IMMUTABLE,
        }
    }
}

impl From<Alert> for AlertRow {
    fn from(wire: Alert) -> Self {
        Self {
            symbol: wire.symbol,
            time: wire.time,
            up: wire.up,
            window_ms: wire.window_ms,
            threshold_percent: wire.threshold_percent,
            reference_price: wire.reference_price,
            price: wire.price,
            change_percent: wire.change_percent,
        }
    }
}

impl Keyed for Alert {
    fn key(&self) -> String {
        format!("{}-{}-{}", self.symbol, self.time, words::direction_name(self.up))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    #[serde(with = "words::topic")]
    topic: Topic,
    partition: u32,
    offset: u64,
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    received_at: i64,
    reason: String,
    payload: String,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&DeadLetterRow> for DeadLetter {
    fn from(row: &DeadLetterRow) -> Self {
        let DeadLetterRow { topic, partition, offset, symbol, received_at, reason, payload } = row;
        Self {
            topic: *topic,
            partition: *partition,
            offset: *offset,
            symbol: symbol.clone(),
            received_at: *received_at,
            reason: reason.clone(),
            payload: payload.clone(),
            version: IMMUTABLE,
        }
    }
}

impl From<DeadLetter> for DeadLetterRow {
    fn from(wire: DeadLetter) -> Self {
        Self {
            topic: wire.topic,
            partition: wire.partition,
            offset: wire.offset,
            symbol: wire.symbol,
            received_at: wire.received_at,
            reason: wire.reason,
            payload: wire.payload,
        }
    }
}

impl Keyed for DeadLetter {
    fn key(&self) -> String {
        format!("{}-{}-{}", self.topic.name(), self.partition, self.offset)
    }
}
