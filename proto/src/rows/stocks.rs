//! Daily prices of stocks, what was restated of them, and transactions, as JSON objects. Each
//! conversion destructures, so that a column that core gains is not forgotten here.

use fts_core::decimal::Decimal;
use fts_core::market::Symbol;
use fts_core::row::{DailyChangeRow, DailyRow, TransactionRow};
use fts_core::stock;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{IMMUTABLE, Keyed, exact, words};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Daily {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    #[serde(skip_deserializing)]
    time: i64,
    #[serde(with = "words::date")]
    fecha: Date,
    #[serde(with = "exact::decimal")]
    apertura: Decimal,
    #[serde(with = "exact::decimal")]
    maximo: Decimal,
    #[serde(with = "exact::decimal")]
    minimo: Decimal,
    #[serde(with = "exact::decimal")]
    cierre: Decimal,
    volumen: i64,
    fetched_at: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&DailyRow> for Daily {
    fn from(row: &DailyRow) -> Self {
        let DailyRow { symbol, daily } = row;
        let stock::Daily { date, open, high, low, close, volume, fetched_at } = *daily;
        Self {
            symbol: symbol.clone(),
            time: daily.time(),
            fecha: date,
            apertura: open,
            maximo: high,
            minimo: low,
            cierre: close,
            volumen: volume,
            fetched_at,
            version: fetched_at,
        }
    }
}

impl From<Daily> for DailyRow {
    fn from(wire: Daily) -> Self {
        Self {
            symbol: wire.symbol,
            daily: stock::Daily {
                date: wire.fecha,
                open: wire.apertura,
                high: wire.maximo,
                low: wire.minimo,
                close: wire.cierre,
                volume: wire.volumen,
                fetched_at: wire.fetched_at,
            },
        }
    }
}

impl Keyed for Daily {
    fn key(&self) -> String {
        format!("{}-{}", self.symbol, self.fecha)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DailyChange {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    #[serde(skip_deserializing)]
    time: i64,
    #[serde(with = "words::date")]
    fecha: Date,
    #[serde(with = "words::daily_column")]
    campo: words::DailyColumn,
    antes: String,
    despues: String,
    fetched_at: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&DailyChangeRow> for DailyChange {
    fn from(row: &DailyChangeRow) -> Self {
        let DailyChangeRow { symbol, change } = row;
        let stock::DailyChange { date, column, before, after, fetched_at } = change;
        Self {
            symbol: symbol.clone(),
            time: change.time(),
            fecha: *date,
            campo: words::DailyColumn(column),
            antes: before.clone(),
            despues: after.clone(),
            fetched_at: *fetched_at,
            version: IMMUTABLE,
        }
    }
}

impl From<DailyChange> for DailyChangeRow {
    fn from(wire: DailyChange) -> Self {
        Self {
            symbol: wire.symbol,
            change: stock::DailyChange {
                date: wire.fecha,
                column: wire.campo.0,
                before: wire.antes,
                after: wire.despues,
                fetched_at: wire.fetched_at,
            },
        }
    }
}

impl Keyed for DailyChange {
    fn key(&self) -> String {
        format!("{}-{}-{}-{}", self.symbol, self.fecha, self.campo.0, self.fetched_at)
    }
}

/// The table's `id` is the row's: what the writer of the transaction calls it, or else its place in
/// the log. Which of the two it was is not kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transaction {
    id: String,
    time: i64,
    timestamp: String,
    #[serde(with = "words::symbol")]
    accion: Symbol,
    tipo_transaccion: String,
    cantidad: i64,
    #[serde(with = "exact::decimal")]
    precio_unitario: Decimal,
    #[serde(with = "exact::decimal")]
    total: Decimal,
    estado: String,
    error: Option<String>,
    extra: String,
    received_at: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&TransactionRow> for Transaction {
    fn from(row: &TransactionRow) -> Self {
        let TransactionRow { id, transaction, received_at } = row;
        let stock::Transaction {
            id: _,
            time,
            timestamp,
            stock,
            kind,
            quantity,
            unit_price,
            total,
            state,
            error,
            extra,
        } = transaction;
        Self {
            id: id.clone(),
            time: *time,
            timestamp: timestamp.clone(),
            accion: stock.clone(),
            tipo_transaccion: kind.clone(),
            cantidad: *quantity,
            precio_unitario: *unit_price,
            total: *total,
            estado: state.clone(),
            error: error.clone(),
            extra: extra.clone(),
            received_at: *received_at,
            version: IMMUTABLE,
        }
    }
}

impl From<Transaction> for TransactionRow {
    fn from(wire: Transaction) -> Self {
        Self {
            id: wire.id,
            transaction: stock::Transaction {
                id: None,
                time: wire.time,
                timestamp: wire.timestamp,
                stock: wire.accion,
                kind: wire.tipo_transaccion,
                quantity: wire.cantidad,
                unit_price: wire.precio_unitario,
                total: wire.total,
                state: wire.estado,
                error: wire.error,
                extra: wire.extra,
            },
            received_at: wire.received_at,
        }
    }
}

impl Keyed for Transaction {
    fn key(&self) -> String {
        self.id.clone()
    }
}
