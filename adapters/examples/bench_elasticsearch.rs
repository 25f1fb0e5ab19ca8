//! How many rows a second the Elasticsearch store writes, beside a bare `_bulk` loop in the same run.
//!
//! `cargo run --release -p fts-adapters --example bench_elasticsearch http://host:port [process id of the
//! server]`
//!
//! The loop posts bodies that were made beforehand, as large as the store's, as many at once as the
//! store does, and looks at nothing but `errors`. The store gets the rows as the aggregators hand
//! them over, eight callers at once. Rounds alternate; read the figures as ratios, as server and
//! client share the machine.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fmt::Write as _;
use std::sync::Arc;

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore};
use fts_core::decimal::Decimal;
use fts_core::market::Symbol;
use fts_core::port::store::Store as _;
use fts_core::row::{Rows, TransactionRow};
use fts_core::stock::{Transaction, written_time};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

/// 2024-08-09 00:00 UTC.
const START: i64 = 1_723_161_600_000;
const ROUNDS: i64 = 5;
const ROWS: i64 = 50_000;
const STOCKS: [&str; 5] = ["AAPL", "TSLA", "AMZN", "GOOGL", "MSFT"];
const CONCURRENCY: usize = 4;
const BULK_BYTES: usize = 1_024 * 1_024;
/// What the store is handed at once, and by how many.
const PUT_ROWS: usize = 1_000;
const PUT_BATCHES: usize = 4;
const CALLERS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("name a server as http://host:port")?;
    let pid = std::env::args().nth(2);
    let prefix = format!("bench-{}-", std::process::id());
    let store = ElasticsearchStore::new(ElasticsearchConfig {
        index_prefix: prefix.clone(),
        replicas: 0,
        request_timeout_ms: 120_000,
        concurrency: CONCURRENCY,
        bulk_bytes: BULK_BYTES,
        ..ElasticsearchConfig::new(vec![server.clone()])
    })?;
    store.connect().await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (which, rates) in rates.iter_mut().enumerate() {
            // Each has ids of its own; both write to the same index.
            let rows = rows(which, round);
            let (name, measured) = if which == 0 {
                let puts = puts(rows);
                let before = Use::of(pid.as_deref());
                stream::iter(puts)
                    .map(|batches| {
                        let store = &store;
                        async move { store.put(&batches).await }
                    })
                    .buffer_unordered(CALLERS)
                    .try_for_each(|()| std::future::ready(Ok(())))
                    .await?;
                ("store", before.until(pid.as_deref()))
            } else {
                let bodies = bodies(&prefix, &rows);
                let before = Use::of(pid.as_deref());
                stream::iter(bodies)
                    .map(|body| post(&http, &server, body))
                    .buffer_unordered(CONCURRENCY)
                    .try_for_each(|()| std::future::ready(Ok(())))
                    .await?;
                ("bare loop", before.until(pid.as_deref()))
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
    for path in [format!("{prefix}transacciones_nrt-2024.08"), format!("_index_template/{prefix}*")]
    {
        http.delete(format!("{server}/{path}")).send().await?;
    }
    Ok(())
}

fn rows(which: usize, round: i64) -> Vec<TransactionRow> {
    let row = |number: i64| {
        let serial = round * ROWS + number;
        let time = START + serial * 5;
        let unit_price = Decimal(21_627_000_000 + i128::from(serial % 1_000) * 1_000_000);
        TransactionRow {
            id: format!("{}-{serial}", ["store", "bare"][which]),
            transaction: Transaction {
                id: None,
                time,
                timestamp: written_time(time),
                stock: Symbol::new(STOCKS[usize::try_from(serial % 5).unwrap()]).unwrap(),
                kind: ["COMPRA", "VENTA"][usize::try_from(serial % 2).unwrap()].to_owned(),
                quantity: 1 + serial % 100,
                unit_price,
                total: Decimal(unit_price.0 * (1 + i128::from(serial % 100))),
                state: "EXITOSO".to_owned(),
                error: None,
                extra: "{\"hora\":10}".to_owned(),
            },
            received_at: time + 20,
        }
    };
    (0..ROWS).map(row).collect()
}

fn puts(rows: Vec<TransactionRow>) -> Vec<Vec<Arc<Rows>>> {
    let batch =
        |rows: &[TransactionRow]| Arc::new(Rows { transactions: rows.to_vec(), ..Rows::default() });
    let batches: Vec<_> = rows.chunks(PUT_ROWS).map(batch).collect();
    batches.chunks(PUT_BATCHES).map(<[_]>::to_vec).collect()
}

/// The same documents as the store's, by way of `serde_json`.
fn bodies(prefix: &str, rows: &[TransactionRow]) -> Vec<String> {
    let mut bodies = vec![String::new()];
    for row in rows {
        let it = &row.transaction;
        let (price, total) = (it.unit_price.to_string(), it.total.to_string());
        let iso = |time: i64| format!("{}Z", written_time(time).replace(' ', "T"));
        let number = |text: &str| text.parse::<f64>().unwrap();
        let document = serde_json::json!({
            "id": row.id, "time": iso(it.time), "timestamp": it.timestamp,
            "accion": it.stock.as_str(), "tipo_transaccion": it.kind, "cantidad": it.quantity,
            "precio_unitario": number(&price), "precio_unitario_text": price,
            "total": number(&total), "total_text": total, "estado": it.state, "error": it.error,
            "extra": { "hora": 10 }, "received_at": iso(row.received_at),
        });
        let action = serde_json::json!({ "index": {
            "_index": format!("{prefix}transacciones_nrt-2024.08"),
            "_id": format!("{}:{}", row.id, it.time), "version": 0, "version_type": "external_gte",
        } });
        if bodies.last().unwrap().len() > BULK_BYTES {
            bodies.push(String::new());
        }
        writeln!(bodies.last_mut().unwrap(), "{action}\n{document}").unwrap();
    }
    bodies
}

async fn post(http: &reqwest::Client, server: &str, body: String) -> Result<(), String> {
    let request = http
        .post(format!("{server}/_bulk?filter_path=errors"))
        .header("content-type", "application/x-ndjson")
        .body(body);
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    let text = answer.map_err(|error| error.to_string())?.text().await;
    let text = text.map_err(|error| error.to_string())?;
    if text.contains("\"errors\":false") { Ok(()) } else { Err(text) }
}

/// CPU that was used, in ticks of 10 ms, and when.
struct Use {
    at: Instant,
    client: u64,
    server: u64,
}

struct Measured {
    seconds: f64,
    client_us: f64,
    server_us: f64,
    rss_mib: u64,
}

impl Use {
    fn of(pid: Option<&str>) -> Self {
        Self { at: Instant::now(), client: ticks("self"), server: pid.map_or(0, ticks) }
    }

    fn until(&self, pid: Option<&str>) -> Measured {
        let now = Self::of(pid);
        let micros = |from: u64, to: u64| (to - from) as f64 * 10_000.0 / ROWS as f64;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        Measured {
            seconds: (now.at - self.at).as_secs_f64(),
            client_us: micros(self.client, now.client),
            server_us: micros(self.server, now.server),
            rss_mib: rss.unwrap_or(0) / 1_024,
        }
    }
}

impl Measured {
    fn say(&self) -> String {
        format!(
            "{:.1} k rows/s, CPU a row: client {:.1} µs, server {:.0} µs; RSS of the client {} MiB",
            ROWS as f64 / self.seconds / 1e3,
            self.client_us,
            self.server_us,
            self.rss_mib
        )
    }
}

/// User and system time of a process.
fn ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |it| it.1);
    let fields: Vec<u64> = rest.split(' ').map(|it| it.parse().unwrap_or(0)).collect();
    fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)
}
