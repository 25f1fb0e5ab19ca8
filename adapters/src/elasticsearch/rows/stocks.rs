//! Rows about stocks as documents.

use fts_core::row::{DailyChangeRow, DailyRow, Table, TransactionRow};
use fts_core::stock::{Daily, Transaction};

use super::super::document::{Document, Fields, Read};
use super::{Stored, put, symbol};

impl Stored for DailyRow {
    fn table(&self) -> Table {
        Table::Dailies
    }

    fn time(&self) -> i64 {
        self.daily.time()
    }

    fn version(&self) -> i64 {
        self.daily.fetched_at
    }

    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.symbol, self.daily.date));
    }

    fn write(&self, to: &mut Document<'_>) {
        let it = &self.daily;
        to.text("symbol", self.symbol.as_str()).date("time", it.time()).day("fecha", it.date);
        to.decimal("apertura", it.open).decimal("maximo", it.high).decimal("minimo", it.low);
        to.decimal("cierre", it.close).long("volumen", it.volume);
        to.date("fetched_at", it.fetched_at).long("version", it.fetched_at);
    }
}

pub(in crate::elasticsearch) fn daily(of: &Fields<'_>) -> Read<DailyRow> {
    Ok(DailyRow {
        symbol: symbol(of, "symbol")?,
        daily: Daily {
            date: of.day("fecha")?,
            open: of.decimal("apertura")?,
            high: of.decimal("maximo")?,
            low: of.decimal("minimo")?,
            close: of.decimal("cierre")?,
            volume: of.long("volumen")?,
            fetched_at: of.date("fetched_at")?,
        },
    })
}

impl Stored for DailyChangeRow {
    fn table(&self) -> Table {
        Table::DailyChanges
    }

    fn time(&self) -> i64 {
        self.change.fetched_at
    }

    fn id(&self, to: &mut String) {
        let it = &self.change;
        put(to, format_args!("{}:{}:{}:{}", self.symbol, it.date, it.column, it.fetched_at));
    }

    fn write(&self, to: &mut Document<'_>) {
        let it = &self.change;
        to.text("symbol", self.symbol.as_str()).date("time", it.time()).day("fecha", it.date);
        to.text("campo", it.column).text("antes", &it.before).text("despues", &it.after);
        to.date("fetched_at", it.fetched_at);
    }
}

impl Stored for TransactionRow {
    fn table(&self) -> Table {
        Table::Transactions
    }

    fn time(&self) -> i64 {
        self.transaction.time
    }

    /// With its time: a writer that starts its ids again from 1 replaces nothing.
    fn id(&self, to: &mut String) {
        put(to, format_args!("{}:{}", self.id, self.transaction.time));
    }

    fn write(&self, to: &mut Document<'_>) {
        let it = &self.transaction;
        to.text("id", &self.id).date("time", it.time).text("timestamp", &it.timestamp);
        to.text("accion", it.stock.as_str()).text("tipo_transaccion", &it.kind);
        to.long("cantidad", it.quantity).decimal("precio_unitario", it.unit_price);
        to.decimal("total", it.total).text("estado", &it.state);
        to.maybe_text("error", it.error.as_deref()).object("extra", &it.extra);
        to.date("received_at", self.received_at);
    }
}

pub(in crate::elasticsearch) fn transaction(of: &Fields<'_>) -> Read<TransactionRow> {
    Ok(TransactionRow {
        id: of.text("id")?,
        transaction: Transaction {
            id: None,
            time: of.date("time")?,
            timestamp: of.text("timestamp")?,
            stock: symbol(of, "accion")?,
            kind: of.text("tipo_transaccion")?,
            quantity: of.long("cantidad")?,
            unit_price: of.decimal("precio_unitario")?,
            total: of.decimal("total")?,
            state: of.text("estado")?,
            error: of.maybe_text("error")?,
            extra: of.object("extra")?,
        },
        received_at: of.date("received_at")?,
    })
}
