//! The statements, prepared once a session, and what each table's rows look like.

use std::sync::OnceLock;
use std::time::Duration;

use fts_core::port::store::StoreError;
use fts_core::row::Table;
use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::Consistency as Level;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::errors;

/// The most rows that are sent together. Measured: more gives little more a second, and fewer
/// requests to spread over the cores of the server.
pub(super) const BATCH_ROWS: usize = 32;
/// Rows a page of a read.
const PAGE_ROWS: i32 = 2_000;
/// How long counting the rows of a partition may take.
const COUNT_TIMEOUT: Duration = Duration::from_secs(60);

/// How the rows of a table are laid out.
pub(super) struct Layout {
    /// The columns that are written, in the order in which [`super::rows`] writes them. A star
    /// stands for a decimal with its text beside it.
    columns: &'static str,
    /// The columns of the partition's key.
    partition: &'static str,
    /// The first clustering column: the row's own time.
    time: &'static str,
    /// A column that each row has and that is no part of its key: it tells the row's timestamp.
    witness: &'static str,
}

/// The layout of `table`.
pub(super) const fn layout(table: Table) -> Layout {
    match table {
        Table::Trades => Layout {
            columns: "symbol bucket time trade_id price* quantity* buyer_is_maker received_at source",
            partition: "symbol bucket",
            time: "time",
            witness: "price",
        },
        Table::Candles => Layout {
            columns: "symbol interval bucket open_time close_time open* high* low* close* volume* \
                      quote_volume* trade_count taker_buy_volume* taker_buy_quote_volume* \
                      first_trade_id last_trade_id complete version",
            partition: "symbol interval bucket",
            time: "open_time",
            witness: "close_time",
        },
        Table::BookTickers => Layout {
            columns: "symbol bucket received_at update_id id stream best_bid_price* \
                      best_bid_quantity* best_ask_price* best_ask_quantity*",
            partition: "symbol bucket",
            time: "received_at",
            witness: "best_bid_price",
        },
        Table::BookSeconds => Layout {
            columns: "symbol bucket open_time close_time bid_open* bid_high* bid_low* bid_close* \
                      ask_open* ask_high* ask_low* ask_close* spread_sum* mean_spread* \
                      update_count first_update_id last_update_id version",
            partition: "symbol bucket",
            time: "open_time",
            witness: "close_time",
        },
        Table::Tickers => Layout {
            columns: "symbol bucket event_time id stream event_type price_change* \
                      price_change_percent* weighted_avg_price* first_trade_price* last_price* \
                      last_quantity* best_bid_price* best_bid_quantity* best_ask_price* \
                      best_ask_quantity* open_price* high_price* low_price* \
                      total_traded_base_asset_volume* total_traded_quote_asset_volume* \
                      statistics_open_time statistics_close_time first_trade_id last_trade_id \
                      total_number_of_trades received_at",
            partition: "symbol bucket",
            time: "event_time",
            witness: "last_price",
        },
        Table::Gaps => Layout {
            columns: "bucket before_time symbol first_trade_id last_trade_id missing after_time \
                      reason version",
            partition: "bucket",
            time: "before_time",
            witness: "missing",
        },
        Table::Alerts => Layout {
            columns: "bucket time symbol direction window_ms threshold_percent* reference_price* \
                      price* change_percent*",
            partition: "bucket",
            time: "time",
            witness: "price",
        },
        Table::DeadLetters => Layout {
            columns: "topic partition bucket received_at offset symbol reason payload",
            partition: "topic partition bucket",
            time: "received_at",
            witness: "reason",
        },
        Table::Dailies => Layout {
            columns: "symbol bucket time fecha apertura* maximo* minimo* cierre* volumen \
                      fetched_at version",
            partition: "symbol bucket",
            time: "time",
            witness: "fecha",
        },
        Table::DailyChanges => Layout {
            columns: "symbol bucket fetched_at time campo fecha antes despues",
            partition: "symbol bucket",
            time: "fetched_at",
            witness: "fecha",
        },
        Table::Transactions => Layout {
            columns: "accion bucket time id timestamp tipo_transaccion cantidad precio_unitario* \
                      total* estado error extra received_at",
            partition: "accion bucket",
            time: "time",
            witness: "estado",
        },
    }
}

/// The public name of a price change's direction.
pub(super) const fn direction(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// A table's statements. Each takes the partition's key first, except `insert`.
pub(super) struct OfTable {
    /// All columns, the timestamp, the time to live.
    pub(super) insert: PreparedStatement,
    /// From and to (both inclusive), limit: oldest first.
    pub(super) oldest: PreparedStatement,
    /// Likewise, newest first.
    pub(super) newest: PreparedStatement,
    /// The time of the newest row.
    pub(super) newest_time: PreparedStatement,
    /// How many rows are older than a time, and the greatest of their timestamps.
    pub(super) count: PreparedStatement,
    /// Timestamp (before the key); deletes what is older than a time (after it).
    pub(super) cut: PreparedStatement,
    /// Timestamp (before the key); deletes the partition.
    pub(super) drop: PreparedStatement,
    /// By number of rows.
    batches: Vec<OnceLock<Batch>>,
}

impl OfTable {
    /// As many inserts as there are `rows`, to be sent together.
    pub(super) fn batch(&self, rows: usize) -> Option<&Batch> {
        Some(self.batches.get(rows)?.get_or_init(|| {
            let one = || BatchStatement::PreparedStatement(self.insert.clone());
            let statements = std::iter::repeat_with(one).take(rows).collect();
            // Unlogged: the rows are of one partition, and writing them is one mutation anyway.
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_is_idempotent(true);
            batch
        }))
    }
}

/// All statements.
pub(super) struct Statements {
    tables: Vec<OfTable>,
    /// Partition's key: the newest trade's id.
    pub(super) newest_trade: PreparedStatement,
    /// Partition's key, time: time and id of the first trade from then on.
    pub(super) trade_from: PreparedStatement,
    /// Table, series.
    pub(super) add_series: PreparedStatement,
    /// Table: its series.
    pub(super) series: PreparedStatement,
    /// Table, series, bucket.
    pub(super) add_bucket: PreparedStatement,
    /// Table, series, bucket.
    pub(super) drop_bucket: PreparedStatement,
    /// Table, series, from and to (both inclusive), limit: buckets, oldest first.
    pub(super) oldest_buckets: PreparedStatement,
    /// Likewise, newest first.
    pub(super) newest_buckets: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, StoreError> {
        let tables = Table::ALL.map(|table| of_table(session, keyspace, table));
        let tables = try_join_all(tables).await?;
        let of = |cql: &str| {
            let cql = cql.replace("{ks}", keyspace);
            async move { prepare(session, &cql).await }
        };
        let buckets = |order: &str| {
            of(&format!(
                "SELECT bucket FROM \"{{ks}}\".buckets WHERE table_name = ? AND series = ? \
                 AND bucket >= ? AND bucket <= ? ORDER BY bucket {order} LIMIT ?"
            ))
        };
        Ok(Self {
            tables,
            newest_trade: of("SELECT trade_id FROM \"{ks}\".trades \
                              WHERE symbol = ? AND bucket = ? LIMIT 1")
            .await?,
            trade_from: of("SELECT time, trade_id FROM \"{ks}\".trades \
                            WHERE symbol = ? AND bucket = ? AND time >= ? \
                            ORDER BY time ASC LIMIT 1")
            .await?,
            add_series: of("INSERT INTO \"{ks}\".series (table_name, series) VALUES (?, ?)")
                .await?,
            series: of("SELECT series FROM \"{ks}\".series WHERE table_name = ?").await?,
            add_bucket: of("INSERT INTO \"{ks}\".buckets (table_name, series, bucket) \
                            VALUES (?, ?, ?)")
            .await?,
            drop_bucket: of("DELETE FROM \"{ks}\".buckets \
                             WHERE table_name = ? AND series = ? AND bucket = ?")
            .await?,
            oldest_buckets: buckets("ASC").await?,
            newest_buckets: buckets("DESC").await?,
        })
    }

    #[expect(clippy::indexing_slicing, reason = "one for each table, in the order of Table::ALL")]
    pub(super) fn of(&self, table: Table) -> &OfTable {
        &self.tables[Table::ALL.iter().position(|it| *it == table).unwrap_or_default()]
    }
}

async fn of_table(session: &Session, keyspace: &str, table: Table) -> Result<OfTable, StoreError> {
    let layout = layout(table);
    let name = format!("\"{keyspace}\".{}", table.name());
    let (time, witness) = (layout.time, layout.witness);
    let columns = written(&layout);
    let places = vec!["?"; columns.len()].join(", ");
    let key: Vec<String> =
        layout.partition.split_whitespace().map(|column| format!("{column} = ?")).collect();
    let (key, read) = (key.join(" AND "), read(&layout).join(", "));
    let span = |order: &str| {
        format!(
            "SELECT {read} FROM {name} WHERE {key} AND {time} >= ? AND {time} <= ?{order} LIMIT ?"
        )
    };
    let insert = format!(
        "INSERT INTO {name} ({}) VALUES ({places}) USING TIMESTAMP ? AND TTL ?",
        columns.join(", ")
    );
    let mut count = prepare(
        session,
        &format!(
            "SELECT COUNT(*), MAX(WRITETIME({witness})) FROM {name} WHERE {key} AND {time} < ?"
        ),
    )
    .await?;
    // Reads a whole partition.
    count.set_request_timeout(Some(COUNT_TIMEOUT));
    let insert = prepare(session, &insert).await?;
    // Else any server would be asked, which passes it on: right, and twice the work.
    debug_assert!(
        insert.is_token_aware(),
        "the driver can tell which servers keep a row of {name}"
    );
    Ok(OfTable {
        insert,
        oldest: prepare(session, &span(&format!(" ORDER BY {time} ASC"))).await?,
        newest: prepare(session, &span("")).await?,
        newest_time: prepare(session, &format!("SELECT {time} FROM {name} WHERE {key} LIMIT 1"))
            .await?,
        count,
        cut: prepare(
            session,
            &format!("DELETE FROM {name} USING TIMESTAMP ? WHERE {key} AND {time} < ?"),
        )
        .await?,
        drop: prepare(session, &format!("DELETE FROM {name} USING TIMESTAMP ? WHERE {key}"))
            .await?,
        batches: (0..=BATCH_ROWS).map(|_| OnceLock::new()).collect(),
    })
}

async fn prepare(session: &Session, cql: &str) -> Result<PreparedStatement, StoreError> {
    let mut statement = session.prepare(cql).await.map_err(|error| errors::of_prepare(&error))?;
    // Every write carries its own timestamp and its whole row: twice is as good as once.
    statement.set_is_idempotent(true);
    statement.set_page_size(PAGE_ROWS);
    let level = session.get_default_execution_profile_handle().to_profile().get_consistency();
    if level == Level::EachQuorum && cql.starts_with("SELECT") {
        // ScyllaDB reads at no quorum of each data centre.
        statement.set_consistency(Level::LocalQuorum);
    }
    Ok(statement)
}

/// The columns that an insert names.
fn written(layout: &Layout) -> Vec<String> {
    let columns = layout.columns.split_whitespace();
    columns
        .flat_map(|column| match column.strip_suffix('*') {
            Some(decimal) => vec![decimal.to_owned(), format!("{decimal}_text")],
            None => vec![column.to_owned()],
        })
        .collect()
}

/// The columns that are read back: not the texts, and not what the question already says.
fn read(layout: &Layout) -> Vec<&'static str> {
    let columns = layout.columns.split_whitespace().map(|it| it.trim_end_matches('*'));
    columns
        .filter(|column| !layout.partition.split_whitespace().any(|key| key == *column))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_schema_is_written_in_its_order() {
        let schema = include_str!("schema/1.cql");
        for table in Table::ALL {
            let start = format!("CREATE TABLE IF NOT EXISTS {} (\n", table.name());
            let (_, rest) = schema.split_once(&start).unwrap();
            let (columns, _) = rest.split_once("    PRIMARY KEY").unwrap();
            let names: Vec<_> =
                columns.lines().filter_map(|line| line.split_whitespace().next()).collect();
            assert_eq!(written(&layout(table)), names, "{table:?}");
        }
    }

    #[test]
    fn what_the_question_says_is_not_read_back_nor_is_a_text() {
        let read = read(&layout(Table::Candles));
        assert_eq!(read.first(), Some(&"open_time"));
        assert!(!read.contains(&"open_text") && !read.contains(&"bucket"));
    }
}
