//! The tables: how a file is brought to this program's version, and what each table's rows look like.

use fts_core::row::Table;
use rusqlite::{Connection, TransactionBehavior};

/// Step `n` leads from version `n` to `n + 1`. A step that was released is never edited.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Why a file's schema is not this program's.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    #[error(
        "it has version {found} of the tables, this program knows up to {known}: use a newer fts-node, or another file"
    )]
    Newer { found: i64, known: i64 },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Brings the file to this program's version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), MigrateError> {
    // Immediate: of two processes that open a fresh file at once, one waits for the other.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if found < known {
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}

/// How the rows of a table are laid out.
pub(super) struct Layout {
    /// The columns that are written, in the order in which [`super::upsert`] binds them and
    /// [`super::read`] reads them.
    pub(super) columns: &'static str,
    /// The primary key.
    pub(super) key: &'static str,
    /// The column by which rows grow old.
    pub(super) time: &'static str,
}

/// The layout of `table`.
pub(super) const fn layout(table: Table) -> Layout {
    match table {
        Table::Trades => Layout {
            columns: "symbol, trade_id, time, price, quantity, buyer_is_maker, received_at, \
                      source, version",
            key: "time, symbol, trade_id",
            time: "time",
        },
        Table::Candles => Layout {
            columns: "symbol, interval, open_time, close_time, open, high, low, close, volume, \
                      quote_volume, trade_count, taker_buy_volume, taker_buy_quote_volume, \
                      first_trade_id, last_trade_id, complete, version",
            key: "interval, open_time, symbol",
            time: "open_time",
        },
        Table::BookTickers => Layout {
            columns: "update_id, symbol, best_bid_price, best_bid_quantity, best_ask_price, \
                      best_ask_quantity, received_at, version",
            key: "received_at, symbol, update_id",
            time: "received_at",
        },
        Table::BookSeconds => Layout {
            columns: "symbol, open_time, close_time, bid_open, bid_high, bid_low, bid_close, \
                      ask_open, ask_high, ask_low, ask_close, spread_sum, mean_spread, \
                      update_count, first_update_id, last_update_id, version",
            key: "open_time, symbol",
            time: "open_time",
        },
        Table::Tickers => Layout {
            columns: "event_time, symbol, price_change, price_change_percent, \
                      weighted_avg_price, first_trade_price, last_price, last_quantity, \
                      best_bid_price, best_bid_quantity, best_ask_price, best_ask_quantity, \
                      open_price, high_price, low_price, total_traded_base_asset_volume, \
                      total_traded_quote_asset_volume, statistics_open_time, \
                      statistics_close_time, first_trade_id, last_trade_id, \
                      total_number_of_trades, received_at, version",
            key: "event_time, symbol",
            time: "event_time",
        },
        Table::Gaps => Layout {
            columns: "symbol, first_trade_id, last_trade_id, missing, after_time, before_time, \
                      reason, version",
            key: "symbol, first_trade_id",
            time: "before_time",
        },
        Table::Alerts => Layout {
            columns: "symbol, time, direction, window_ms, threshold_percent, reference_price, \
                      price, change_percent, version",
            key: "time, symbol, direction",
            time: "time",
        },
        Table::DeadLetters => Layout {
            columns: "topic, partition, offset, symbol, received_at, reason, payload, version",
            key: "topic, partition, offset",
            time: "received_at",
        },
        Table::Dailies => Layout {
            columns: "symbol, time, fecha, apertura, maximo, minimo, cierre, volumen, fetched_at, \
                      version",
            key: "time, symbol",
            time: "time",
        },
        Table::DailyChanges => Layout {
            columns: "symbol, time, fecha, campo, antes, despues, fetched_at, version",
            key: "fetched_at, symbol, time, campo",
            time: "fetched_at",
        },
        Table::Transactions => Layout {
            columns: "id, time, timestamp, accion, tipo_transaccion, cantidad, precio_unitario, \
                      total, estado, error, extra, received_at, version",
            key: "time, id",
            time: "time",
        },
    }
}
