//! The columns of each index, and what the server is told of them.

use fts_core::row::Table;
use serde_json::{Map, Value, json};

/// Raised with every change of what the server is told.
pub(super) const VERSION: u64 = 1;
/// A longer text is kept, and not found by its value: servers refuse to index terms of 32 KiB.
const SEARCHABLE_CHARS: u32 = 8_000;

/// What is in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text to search by, to group by.
    Word,
    /// A text to read.
    Text,
    /// An instant or a day.
    Date,
    /// A whole number.
    Long,
    /// A decimal as a double, for charts and sums, and beside it, in `<column>_text`, exactly.
    Decimal,
    /// True or false.
    Flag,
    /// An object whose fields become columns as they come.
    Object,
    /// Another name of a column.
    Alias(&'static str),
}

use Kind::{Alias, Date, Decimal, Flag, Long, Object, Text, Word};

type Columns = &'static [(&'static str, Kind)];

const TRADES: Columns = &[
    ("symbol", Word),
    ("trade_id", Long),
    ("time", Date),
    ("price", Decimal),
    ("quantity", Decimal),
    ("buyer_is_maker", Flag),
    ("received_at", Date),
    ("source", Word),
];

const CANDLES: Columns = &[
    ("symbol", Word),
    ("interval", Word),
    ("open_time", Date),
    ("close_time", Date),
    ("open", Decimal),
    ("high", Decimal),
    ("low", Decimal),
    ("close", Decimal),
    ("volume", Decimal),
    ("quote_volume", Decimal),
    ("trade_count", Long),
    ("taker_buy_volume", Decimal),
    ("taker_buy_quote_volume", Decimal),
    ("first_trade_id", Long),
    ("last_trade_id", Long),
    ("complete", Flag),
    ("version", Long),
];

const BOOK_TICKERS: Columns = &[
    ("id", Word),
    ("stream", Word),
    ("update_id", Long),
    ("symbol", Word),
    ("best_bid_price", Decimal),
    ("best_bid_quantity", Decimal),
    ("best_ask_price", Decimal),
    ("best_ask_quantity", Decimal),
    ("received_at", Date),
];

const BOOK_SECONDS: Columns = &[
    ("symbol", Word),
    ("open_time", Date),
    ("close_time", Date),
    ("bid_open", Decimal),
    ("bid_high", Decimal),
    ("bid_low", Decimal),
    ("bid_close", Decimal),
    ("ask_open", Decimal),
    ("ask_high", Decimal),
    ("ask_low", Decimal),
    ("ask_close", Decimal),
    ("spread_sum", Decimal),
    ("mean_spread", Decimal),
    ("update_count", Long),
    ("first_update_id", Long),
    ("last_update_id", Long),
    ("version", Long),
];

const TICKERS: Columns = &[
    ("id", Word),
    ("stream", Word),
    ("event_type", Word),
    ("event_time", Date),
    ("symbol", Word),
    ("price_change", Decimal),
    ("price_change_percent", Decimal),
    ("weighted_avg_price", Decimal),
    ("first_trade_price", Decimal),
    ("last_price", Decimal),
    ("last_quantity", Decimal),
    ("best_bid_price", Decimal),
    ("best_bid_quantity", Decimal),
    ("best_ask_price", Decimal),
    ("best_ask_quantity", Decimal),
    ("open_price", Decimal),
    ("high_price", Decimal),
    ("low_price", Decimal),
    ("total_traded_base_asset_volume", Decimal),
    ("total_traded_quote_asset_volume", Decimal),
    ("statistics_open_time", Date),
    ("statistics_close_time", Date),
    ("first_trade_id", Long),
    ("last_trade_id", Long),
    ("total_number_of_trades", Long),
    ("received_at", Date),
];

const GAPS: Columns = &[
    ("symbol", Word),
    ("first_trade_id", Long),
    ("last_trade_id", Long),
    ("missing", Long),
    ("after_time", Date),
    ("before_time", Date),
    ("reason", Word),
    ("version", Long),
];

const ALERTS: Columns = &[
    ("symbol", Word),
    ("time", Date),
    ("direction", Word),
    ("window_ms", Long),
    ("threshold_percent", Decimal),
    ("reference_price", Decimal),
    ("price", Decimal),
    ("change_percent", Decimal),
];

const DEAD_LETTERS: Columns = &[
    ("topic", Word),
    ("partition", Long),
    ("offset", Long),
    ("symbol", Word),
    ("received_at", Date),
    ("reason", Word),
    ("payload", Text),
];

const DAILIES: Columns = &[
    ("symbol", Word),
    ("time", Date),
    ("fecha", Date),
    ("apertura", Decimal),
    ("maximo", Decimal),
    ("minimo", Decimal),
    ("cierre", Decimal),
    ("volumen", Long),
    ("fetched_at", Date),
    ("version", Long),
    ("@timestamp", Alias("time")),
];

const DAILY_CHANGES: Columns = &[
    ("symbol", Word),
    ("time", Date),
    ("fecha", Date),
    ("campo", Word),
    ("antes", Word),
    ("despues", Word),
    ("fetched_at", Date),
];

const TRANSACTIONS: Columns = &[
    ("id", Word),
    ("time", Date),
    ("timestamp", Word),
    ("accion", Word),
    ("tipo_transaccion", Word),
    ("cantidad", Long),
    ("precio_unitario", Decimal),
    ("total", Decimal),
    ("estado", Word),
    ("error", Word),
    ("extra", Object),
    ("received_at", Date),
    ("@timestamp", Alias("time")),
];

/// The columns of `table`, without the texts beside decimals.
pub(super) const fn columns(table: Table) -> Columns {
    match table {
        Table::Trades => TRADES,
        Table::Candles => CANDLES,
        Table::BookTickers => BOOK_TICKERS,
        Table::BookSeconds => BOOK_SECONDS,
        Table::Tickers => TICKERS,
        Table::Gaps => GAPS,
        Table::Alerts => ALERTS,
        Table::DeadLetters => DEAD_LETTERS,
        Table::Dailies => DAILIES,
        Table::DailyChanges => DAILY_CHANGES,
        Table::Transactions => TRANSACTIONS,
    }
}

/// Which column holds the row's own time: by it a row lies in its index, and expires.
pub(super) const fn time_column(table: Table) -> &'static str {
    match table {
        Table::Trades | Table::Alerts | Table::Dailies | Table::Transactions => "time",
        Table::Candles | Table::BookSeconds => "open_time",
        Table::BookTickers | Table::DeadLetters => "received_at",
        Table::Tickers => "event_time",
        Table::Gaps => "before_time",
        Table::DailyChanges => "fetched_at",
    }
}

/// The mapping of the indices of `table`. Dates have no `format`: Trino knows the default only.
pub(super) fn mapping(table: Table) -> Value {
    let word = json!({ "type": "keyword", "ignore_above": SEARCHABLE_CHARS });
    let mut properties = Map::new();
    for (name, kind) in columns(table) {
        let property = match kind {
            Word => word.clone(),
            Text => json!({ "type": "keyword", "index": false, "doc_values": false }),
            Date => json!({ "type": "date" }),
            Long => json!({ "type": "long" }),
            Flag => json!({ "type": "boolean" }),
            Object => json!({ "type": "object", "dynamic": true }),
            Alias(path) => json!({ "type": "alias", "path": path }),
            Decimal => {
                properties
                    .insert(format!("{name}_text"), json!({ "type": "keyword", "index": false }));
                json!({ "type": "double" })
            }
        };
        properties.insert((*name).to_owned(), property);
    }
    json!({
        "dynamic": "strict",
        "date_detection": false,
        "dynamic_templates": [{ "texts": { "match_mapping_type": "string", "mapping": word } }],
        "properties": properties,
        "_meta": { "fts_node": VERSION },
    })
}
