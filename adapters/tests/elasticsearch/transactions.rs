//! Transactions to put.

use std::sync::Arc;

use fts_core::row::{Rows, TransactionRow};
use fts_core::stock::Transaction;

use crate::rows::symbol;

/// A transaction of TSLA with what the mapping made beside the columns.
pub(crate) fn transaction(number: i64, time: i64, extra: &str) -> TransactionRow {
    TransactionRow {
        id: format!("t-{number}"),
        transaction: Transaction {
            id: None,
            time,
            timestamp: "2024-08-09 00:00:00".to_owned(),
            stock: symbol("TSLA"),
            kind: "COMPRA".to_owned(),
            quantity: 7,
            unit_price: "216.27".parse().expect("a price"),
            total: "1513.89".parse().expect("a total"),
            state: "EXITOSO".to_owned(),
            error: None,
            extra: extra.to_owned(),
        },
        received_at: time.saturating_add(3),
    }
}

pub(crate) fn transactions(rows: Vec<TransactionRow>) -> Arc<Rows> {
    Arc::new(Rows { transactions: rows, ..Rows::default() })
}
