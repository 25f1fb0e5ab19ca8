//! How many rows a second the Scylla store writes, beside a bare driver loop in the same run.
//!
//! `cargo run --release -p fts-adapters --example bench_scylla host:port [process id of the server]`
//!
//! The loop does what a good client does by hand: prepared statements, unlogged batches of 32 rows of
//! one partition, 256 requests under way, rows grouped and values made beforehand. The store gets
//! the rows as the aggregators hand them over, eight callers at once. Rounds alternate; read the
//! figures as ratios, as server and client share the machine.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore};
use fts_core::decimal::Decimal;
use fts_core::market::{Source, Symbol, Trade};
use fts_core::port::store::Store as _;
use fts_core::row::{Rows, TradeRow};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDecimal, CqlTimestamp};
use tokio::time::Instant;

/// 2024-08-09 00:00 UTC.
const START: i64 = 1_723_161_600_000;
const HOUR_MS: i64 = 3_600_000;
const ROUNDS: i64 = 5;
const ROWS: i64 = 200_000;
const SYMBOLS: i64 = 50;
const BATCH: usize = 32;
const CONCURRENCY: usize = 256;
/// What the store is handed at once, and by how many.
const PUT_ROWS: usize = 1_000;
const PUT_BATCHES: usize = 8;
const CALLERS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("name a server as host:port")?;
    let pid = std::env::args().nth(2);
    let keyspace = format!("bench_{}", std::process::id());
    let store = ScyllaStore::new(ScyllaConfig {
        keyspace: keyspace.clone(),
        replication_factor: 1,
        request_timeout_ms: 60_000,
        concurrency: CONCURRENCY,
        ..ScyllaConfig::new(vec![server.clone()])
    })?;
    store.connect().await?;
    let bare = Bare::new(&server, &keyspace).await?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (which, rates) in rates.iter_mut().enumerate() {
            // Each has symbols and times of its own; both write to the same table.
            let rows = rows(which, round);
            let (name, measured) = if which == 0 {
                let puts: Vec<Vec<Arc<Rows>>> = puts(rows);
                let before = Use::of(pid.as_deref());
                let began = Instant::now();
                stream::iter(puts)
                    .map(|batches| {
                        let store = &store;
                        async move { store.put(&batches).await }
                    })
                    .buffer_unordered(CALLERS)
                    .try_for_each(|()| std::future::ready(Ok(())))
                    .await?;
                ("store", before.until(pid.as_deref(), began))
            } else {
                let groups = groups(&rows);
                let before = Use::of(pid.as_deref());
                let began = Instant::now();
                bare.write(groups).await?;
                ("bare loop", before.until(pid.as_deref(), began))
            };
            // The first round warms the server up.
            if round > 0 {
                rates.push(ROWS as f64 / measured.seconds);
                println!("{round} {name}: {}", measured.say());
            }
        }
    }
    let [store_rate, bare_rate] = rates.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    println!(
        "median: store {:.1} k rows/s, bare loop {:.1} k rows/s: {:.0} %",
        store_rate / 1e3,
        bare_rate / 1e3,
        100.0 * store_rate / bare_rate
    );
    bare.session.query_unpaged(format!("DROP KEYSPACE \"{keyspace}\""), ()).await?;
    Ok(())
}

fn rows(which: usize, round: i64) -> Vec<TradeRow> {
    let symbols: Vec<Symbol> = (0..SYMBOLS)
        .map(|it| Symbol::new(&format!("{}{it}USDT", ["STORE", "BARE"][which])).unwrap())
        .collect();
    let row = |number: i64| {
        let id = round * ROWS + number;
        let trade = Trade {
            id,
            // All symbols at once, as a market does it.
            time: START + id * 5,
            price: Decimal(6_183_763_000_000 + i128::from(id % 1_000) * 1_000_000),
            quantity: Decimal(12_345 + i128::from(id % 1_000) * 100_000),
            buyer_is_maker: id % 2 == 0,
        };
        let symbol = symbols[usize::try_from(number * 7 % SYMBOLS).unwrap()].clone();
        TradeRow { symbol, trade, received_at: trade.time + 20, source: Source::Stream }
    };
    (0..ROWS).map(row).collect()
}

fn puts(rows: Vec<TradeRow>) -> Vec<Vec<Arc<Rows>>> {
    let batch = |trades: &[TradeRow]| Arc::new(Rows { trades: trades.to_vec(), ..Rows::default() });
    let batches: Vec<_> = rows.chunks(PUT_ROWS).map(batch).collect();
    batches.chunks(PUT_BATCHES).map(<[_]>::to_vec).collect()
}

/// A row as the driver's own types have it.
#[derive(scylla::SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct BareRow {
    symbol: String,
    bucket: CqlTimestamp,
    time: CqlTimestamp,
    trade_id: i64,
    price: CqlDecimal,
    price_text: String,
    quantity: CqlDecimal,
    quantity_text: String,
    buyer_is_maker: bool,
    received_at: CqlTimestamp,
    source: &'static str,
    timestamp: i64,
    ttl: i32,
}

fn groups(rows: &[TradeRow]) -> Vec<Vec<BareRow>> {
    let mut groups: BTreeMap<(String, i64), Vec<BareRow>> = BTreeMap::new();
    for row in rows {
        let trade = &row.trade;
        let bucket = trade.time - trade.time % HOUR_MS;
        let symbol = row.symbol.as_str().to_owned();
        let decimal = |value: Decimal| {
            CqlDecimal::from_signed_be_bytes_and_exponent(value.0.to_be_bytes().to_vec(), 8)
        };
        groups.entry((symbol.clone(), bucket)).or_default().push(BareRow {
            symbol,
            bucket: CqlTimestamp(bucket),
            time: CqlTimestamp(trade.time),
            trade_id: trade.id,
            price: decimal(trade.price),
            price_text: trade.price.to_string(),
            quantity: decimal(trade.quantity),
            quantity_text: trade.quantity.to_string(),
            buyer_is_maker: trade.buyer_is_maker,
            received_at: CqlTimestamp(row.received_at),
            source: row.source.name(),
            timestamp: trade.time * 1_000,
            ttl: 0,
        });
    }
    let mut batches = Vec::new();
    for group in groups.into_values() {
        let mut rows = group.into_iter().peekable();
        while rows.peek().is_some() {
            batches.push(rows.by_ref().take(BATCH).collect());
        }
    }
    batches
}

struct Bare {
    session: Session,
    insert: PreparedStatement,
}

impl Bare {
    async fn new(server: &str, keyspace: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let session = SessionBuilder::new().known_node(server).build().await?;
        let mut insert = session
            .prepare(format!(
                "INSERT INTO \"{keyspace}\".trades (symbol, bucket, time, trade_id, price, \
                 price_text, quantity, quantity_text, buyer_is_maker, received_at, source) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
            ))
            .await?;
        insert.set_consistency(Consistency::LocalQuorum);
        Ok(Self { session, insert })
    }

    async fn write(&self, groups: Vec<Vec<BareRow>>) -> Result<(), Box<dyn std::error::Error>> {
        stream::iter(groups)
            .map(async |group: Vec<BareRow>| {
                let one = || BatchStatement::PreparedStatement(self.insert.clone());
                let statements = std::iter::repeat_with(one).take(group.len()).collect();
                let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
                batch.set_consistency(Consistency::LocalQuorum);
                self.session.batch(&batch, &group).await.map(drop)
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        Ok(())
    }
}

/// What was used so far.
struct Use {
    client_cpu: f64,
    server_cpu: f64,
}

/// What a round took.
struct Measured {
    seconds: f64,
    client_cpu: f64,
    server_cpu: f64,
    client_mib: f64,
}

impl Use {
    fn of(server: Option<&str>) -> Self {
        Self { client_cpu: cpu_seconds("self"), server_cpu: server.map_or(0.0, cpu_seconds) }
    }

    fn until(self, server: Option<&str>, began: Instant) -> Measured {
        let seconds = began.elapsed().as_secs_f64();
        let now = Self::of(server);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok());
        Measured {
            seconds,
            client_cpu: now.client_cpu - self.client_cpu,
            server_cpu: now.server_cpu - self.server_cpu,
            client_mib: kib.unwrap_or(0.0) / 1024.0,
        }
    }
}

impl Measured {
    fn say(&self) -> String {
        let micros = |cpu: f64| cpu * 1e6 / ROWS as f64;
        format!(
            "{:.1} k rows/s, {:.1} µs of client CPU a row, {:.1} µs of the server's, client {:.0} MiB",
            ROWS as f64 / self.seconds / 1e3,
            micros(self.client_cpu),
            micros(self.server_cpu),
            self.client_mib
        )
    }
}

/// User and system time of a process; 0 where there is no /proc.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}
