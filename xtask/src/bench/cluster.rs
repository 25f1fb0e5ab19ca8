//! Exchange to stored candle by way of three nodes and three brokers, with one feed and with two; beside
//! it, before and after, a bare producer and consumer on the same brokers.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::process::{self, Process};
use super::prometheus::{self, Scrape};
use super::{Arguments, BACKFILLED, BYTES, FRAMES, LATENCY, ROWS, WARM_UP, listed};
use crate::shell::{self, Stopwatch};
use crate::stack;

const NODES: usize = 3;
/// Four a node, as docs/kafka.md advises.
const PARTITIONS: u32 = 12;
const COPIES: u16 = 3;
/// Messages of the bare loop.
const REFERENCE: u32 = 1_000_000;

/// Records that the log has confirmed.
const APPENDED: &str = "fts_log_appended_records_total";
/// Records that were folded.
const FOLDED: &str = "fts_fold_records_total";
/// Records that wait for it.
const BACKLOG: &str = "fts_fold_backlog_records";
/// What was on a disk because Kafka was too slow.
const SPILLED: &str = "fts_log_spilled_records_total";

/// Brokers that run.
struct Kafka {
    addresses: String,
    pids: Vec<u32>,
}

/// A column of the table.
struct Column(Vec<(&'static str, String)>);

/// Measures one feed, then two, for `seconds` each, and prints a table.
pub(super) fn run(arguments: &Arguments, seconds: u64) -> Result<()> {
    let packages = ["--package", "fts-node", "--package", "fts-exchange"];
    shell::run(shell::cargo().args(["build", "--locked", "--release", "--bins"]).args(packages))?;
    let servers = stack::ensure(&["kafka3"])?;
    let variable = |wanted: &str| {
        let found = servers.variables().iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone()).with_context(|| format!("the stack has no {wanted}"))
    };
    let pids = variable("FTS_TEST_KAFKA3_PIDS")?;
    let pids = pids.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let kafka = Kafka { addresses: variable("FTS_TEST_KAFKA3")?, pids };
    let folder = shell::target().join("bench-cluster");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let (seed, symbols, rate) = (arguments.seed, arguments.symbols, arguments.rate);
    println!(
        "\n=== cluster: {NODES} nodes, {} brokers, {symbols} symbols, {rate} messages/s, seed {seed}, {seconds} s",
        kafka.pids.len()
    );
    println!("load: {}", load()?);
    let before = reference(&kafka)?;
    let one = measure(arguments, seconds, &kafka, 1, &folder.join("one"))?;
    let two = measure(arguments, seconds, &kafka, 2, &folder.join("two"))?;
    let after = reference(&kafka)?;
    println!("\n| what | feeds = 1 | feeds = 2 |\n|---|--:|--:|");
    for ((what, one), (_, two)) in one.0.iter().zip(&two.0) {
        println!("| {what} | {one} | {two} |");
    }
    println!("\n| a bare producer and consumer | before | after |\n|---|--:|--:|");
    for ((what, before), (_, after)) in before.0.iter().zip(&after.0) {
        println!("| {what} | {before} | {after} |");
    }
    println!("load: {}", load()?);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Three nodes that follow one exchange for a while.
fn measure(
    arguments: &Arguments,
    seconds: u64,
    kafka: &Kafka,
    feeds: u8,
    folder: &Path,
) -> Result<Column> {
    fs::create_dir_all(folder)?;
    let (seed, symbols, rate) = (arguments.seed, arguments.symbols, arguments.rate);
    let mut command = shell::program(shell::release_binary("fts-exchange"));
    command.args(["--listen", "127.0.0.1:0", "--steady", "--seed", &seed.to_string()]);
    command.args(["--symbols", &symbols.to_string(), "--rate", &rate.to_string()]);
    let mut exchange = Process::start("exchange", folder, &mut command)?;
    let address = exchange.until("the exchange's address", Duration::from_secs(60), |printed| {
        let (_, rest) = printed.split_once("listening on ws://")?;
        Some(rest.split_whitespace().next()?.to_owned())
    })?;
    let (mut nodes, pages) = start_nodes(arguments, kafka, feeds, folder, &address)?;
    for (node, page) in nodes.iter_mut().zip(&pages) {
        node.until("the node to be ready", Duration::from_secs(180), |_| {
            prometheus::get(page, "/readyz").ok()
        })?;
    }
    std::thread::sleep(WARM_UP);

    let watch = Stopwatch::start();
    let before = Scrape::take_all(&pages)?;
    let cpu = |nodes: &[Process]| -> Result<[f64; 3]> {
        let nodes = nodes.iter().map(Process::cpu_seconds).sum::<Result<f64>>()?;
        let brokers = kafka.pids.iter().map(|it| process::cpu_seconds(*it)).sum::<Result<f64>>()?;
        Ok([nodes, brokers, exchange.cpu_seconds()?])
    };
    let cpu_before = cpu(&nodes)?;
    let mut peak = 0.0_f64;
    while watch.elapsed() < Duration::from_secs(seconds) {
        for node in &nodes {
            peak = peak.max(node.rss_mib()?);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let after = Scrape::take_all(&pages)?;
    let elapsed = watch.elapsed().as_secs_f64();
    let cpu = cpu(&nodes)?;
    let [of_nodes, of_brokers, of_exchange] =
        std::array::from_fn(|at| cpu.get(at).unwrap_or(&0.0) - cpu_before.get(at).unwrap_or(&0.0));
    let grown = |name: &str| after.sum(name) - before.sum(name);
    let frames = grown(FRAMES);
    ensure!(frames > 0.0, "the nodes received nothing: see {}", folder.display());
    let latency = |quantile| {
        let found = prometheus::quantile(&before, &after, LATENCY, quantile);
        found.map_or_else(|| "not measured".to_owned(), |it| format!("{:.1} ms", it * 1e3))
    };
    // What the market said, however many heard it.
    let millions = frames / f64::from(feeds) / 1e6;
    let per_second = |count: f64| format!("{:.0}", count / elapsed);
    let per_million = |seconds: f64| format!("{:.1}", seconds / millions);
    let column = vec![
        ("messages of the market a second", per_second(millions * 1e6)),
        ("– received by all nodes a second", per_second(frames)),
        ("– bytes each", format!("{:.0}", grown(BYTES) / frames)),
        ("records into Kafka a second, confirmed", per_second(grown(APPENDED))),
        ("records out of Kafka and folded a second", per_second(grown(FOLDED))),
        ("records behind, at the beginning", format!("{:.0}", before.sum(BACKLOG))),
        ("records behind, at the end", format!("{:.0}", after.sum(BACKLOG))),
        ("rows stored a second (candles, trades, best prices)", per_second(grown(ROWS))),
        ("receive to stored, p50", latency(0.5)),
        ("receive to stored, p99", latency(0.99)),
        ("trades by REST", format!("{:.0}", grown(BACKFILLED))),
        ("records that waited on a node's disk", format!("{:.0}", grown(SPILLED))),
        ("CPU-seconds a million messages of the market: three nodes", per_million(of_nodes)),
        ("– three brokers", per_million(of_brokers)),
        ("– the exchange", per_million(of_exchange)),
        ("peak RSS of a node", format!("{peak:.0} MiB")),
    ];
    for node in nodes {
        node.end()?;
    }
    Ok(Column(column))
}

fn start_nodes(
    arguments: &Arguments,
    kafka: &Kafka,
    feeds: u8,
    folder: &Path,
    exchange: &str,
) -> Result<(Vec<Process>, Vec<String>)> {
    let symbols = serde_json::to_string(&listed(exchange)?)?;
    let free = || -> Result<String> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(format!("127.0.0.1:{port}"))
    };
    let listens = (0..NODES).map(|_| free()).collect::<Result<Vec<_>>>()?;
    let brokers: Vec<&str> = kafka.addresses.split(',').collect();
    let (mut nodes, mut pages) = (Vec::new(), Vec::new());
    for (number, listen) in listens.iter().enumerate() {
        let (name, page) = (format!("node-{number}"), free()?);
        let mut command = shell::program(shell::release_binary("fts-node"));
        command.current_dir(folder).arg("run").arg("--data-dir").arg(folder.join(&name));
        command.env("FTS_CLUSTER_SECRET", "a secret of this measurement alone");
        command.args(["--http", &page]);
        let settings = [
            format!("name={name}"),
            format!("binance.stream_url=ws://{exchange}"),
            format!("binance.rest_url=http://{exchange}"),
            format!("symbols={symbols}"),
            format!("ingest.feeds={feeds}"),
            // A steady stream is measured, not the filling of a past of millions of trades.
            "backfill.first_sight_trades_max=0".to_owned(),
            "log.kind=kafka".to_owned(),
            format!("log.partitions={PARTITIONS}"),
            format!("log.kafka.brokers={}", serde_json::to_string(&brokers)?),
            format!("log.kafka.replication={COPIES}"),
            "log.kafka.min_insync=2".to_owned(),
            format!("log.kafka.topic_prefix=bench{}-{feeds}-", std::process::id()),
            format!("cluster.listen={listen}"),
            // All are told of all: whoever is first goes on alone until the others are there.
            format!("cluster.join={}", serde_json::to_string(&listens)?),
        ];
        for setting in settings.iter().chain(&arguments.set) {
            command.args(["--set", setting]);
        }
        nodes.push(Process::start(&name, folder, &mut command)?);
        pages.push(page);
    }
    Ok((nodes, pages))
}

/// A bare producer and a bare consumer of librdkafka, as fast as they can.
fn reference(kafka: &Kafka) -> Result<Column> {
    let cpu = || kafka.pids.iter().map(|it| process::cpu_seconds(*it)).sum::<Result<f64>>();
    let mut cargo = shell::cargo();
    cargo.args(["build", "--quiet", "--locked", "--release", "--package", "fts-adapters"]);
    shell::run(cargo.args(["--example", "reference_kafka"]))?;
    let program: PathBuf = shell::release_binary("examples").join("reference_kafka");
    let before = cpu()?;
    let mut command = shell::program(program);
    command.args([&kafka.addresses, &REFERENCE.to_string(), &COPIES.to_string()]);
    let printed = shell::ask(&mut command).context("the bare loop failed")?;
    let brokers = cpu()? - before;
    let value = |wanted: &str| {
        let found = printed.lines().find_map(|it| it.strip_prefix(wanted)?.strip_prefix(' '));
        found.map(str::to_owned).with_context(|| format!("no {wanted} in {printed:?}"))
    };
    Ok(Column(vec![
        ("messages a second, in and out", value("messages_per_second")?),
        ("CPU-seconds a million: the client", value("client_cpu_seconds_per_million")?),
        (
            "CPU-seconds a million: three brokers",
            format!("{:.1}", brokers / (f64::from(REFERENCE) / 1e6)),
        ),
    ]))
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
