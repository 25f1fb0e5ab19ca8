//! The daily batch by real processes: it survives the node that runs it, within what the provider
//! allows the whole cluster, and the file that people know is whole at every instant.
//!
//! The provider is this test's own: it never refuses, counts, and answers as many as it is told to.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::broker::{Brokers, Place};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::process::{Process, free_port};
use crate::support::store::{Store, integer, text};
use crate::support::{PATIENCE, http, stay_clear_of_midnight, until};

/// What the real provider allows a day, and the node believes.
const PER_DAY: usize = 25;
/// More than a day allows.
const SYMBOLS: usize = 30;
/// Requests that are answered before the kill.
const FIRST: usize = 8;
/// Days that the provider tells of each symbol.
const DAYS: i64 = 3;

/// A provider that knows every symbol.
struct Provider {
    address: String,
    /// Who was asked for.
    asked: Arc<Mutex<Vec<String>>>,
    /// So many of them, from the first on, get an answer.
    answers: Arc<AtomicUsize>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let answers = Arc::<AtomicUsize>::default();
        let (log, gate) = (Arc::clone(&asked), Arc::clone(&answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, gate) = (Arc::clone(&log), Arc::clone(&gate));
                std::thread::spawn(move || drop(answer(stream, &log, &gate)));
            }
        });
        Self { address, asked, answers }
    }

    /// Answers the first `count` requests, those that have come among them.
    fn answer(&self, count: usize) {
        self.answers.store(count, Ordering::Relaxed);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers the requests of one connection.
fn answer(
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    answers: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let symbol = first.split_once("symbol=").map(|it| it.1);
        let symbol = symbol.and_then(|it| it.split(['&', ' ']).next()).unwrap_or_default();
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push(symbol.to_owned());
            asked.len()
        };
        while number > answers.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let days = (1..=DAYS).map(|day| {
            format!(
                r#""2026-05-{day:02}":{{"1. open":"10.5","2. high":"12","3. low":"9","4. close":"11.25","5. volume":"{day}"}}"#
            )
        });
        let days: Vec<_> = days.collect();
        let body = format!(
            r#"{{"Meta Data":{{"2. Symbol":"{symbol}"}},"Time Series (Daily)":{{{}}}}}"#,
            days.join(",")
        );
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// A node with the batch on, with its own folder in `folder`.
fn command(folder: &Path, exchange: &Exchange, provider: &Provider, name: &str) -> NodeCommand {
    let key = folder.join("key");
    std::fs::write(&key, "a-key").unwrap();
    let mut command = NodeCommand::new(folder, exchange);
    command.data_dir = folder.join(name);
    let symbols: Vec<String> = (0..SYMBOLS).map(|it| format!("ST{it}")).collect();
    [
        format!("name={name}"),
        "batch.enabled=true".to_owned(),
        format!("batch.url=http://{}", provider.address),
        format!("batch.key_file={}", key.display()),
        format!("batch.symbols={}", serde_json::to_string(&symbols).unwrap()),
        format!("batch.requests_per_day={PER_DAY}"),
        "batch.request_interval_ms=100".to_owned(),
        "batch.timeout_ms=200000".to_owned(),
    ]
    .into_iter()
    .fold(command, NodeCommand::with)
}

/// Three nodes, each with its process while it runs.
struct Cluster {
    nodes: Vec<(NodeCommand, Option<Process>)>,
}

impl Cluster {
    fn start(commands: Vec<NodeCommand>) -> Self {
        let nodes = commands.into_iter().map(|it| (it.clone(), Some(it.start()))).collect();
        let cluster = Self { nodes };
        cluster.await_settled();
        cluster
    }

    /// Waits until all that run see one another, and do their share.
    fn await_settled(&self) {
        let running = self.nodes.iter().filter(|it| it.1.is_some());
        let running: Vec<&str> = running.map(|it| it.0.http.as_str()).collect();
        until("the nodes to share the work", PATIENCE, || {
            running.iter().try_for_each(|http| {
                let cluster = http::get_json(http, "/api/cluster")?;
                let nodes = cluster["nodes"].as_array()?;
                let live: Vec<_> = nodes.iter().filter(|it| it["state"] == "live").collect();
                let is_settled = live.iter().all(|it| it["settled"] == true);
                (live.len() == running.len() && is_settled).then_some(())
            })
        });
    }

    /// What each node has said of the batch in the file of lines.
    fn lines(&self, number: usize) -> String {
        let path = self.nodes[number].0.data_dir.join("extraccion_finanzas.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// The batch as the node sees it, wherever it runs.
    fn batch(&self, number: usize) -> Option<Value> {
        http::get_json(&self.nodes[number].0.http, "/api/batch").filter(Value::is_object)
    }

    /// Waits until the provider's day is used up.
    fn await_end_of_day(&self, asked: usize) -> Value {
        until("the day to be used up", PATIENCE, || {
            self.batch(asked).filter(|it| it["requests_used"] == PER_DAY)
        })
    }
}

/// Kills the node that runs the batch in the middle of it: another goes on where it was, and the
/// cluster asks no more often than it may.
fn judge(provider: &Provider, mut cluster: Cluster) {
    let stores: Vec<Store> = cluster.nodes.iter().map(|it| Store::new(it.0.database())).collect();
    // While they found one another the batch may have moved, and asked each time.
    let in_vain = provider.asked().len();
    assert!(in_vain <= 5, "{in_vain} requests before there was an answer");
    provider.answer(in_vain + FIRST);
    let (runner, _) = until("a node to have some of the batch", PATIENCE, || {
        let found = (0..3).map(|it| (it, cluster.lines(it).matches("días extraídos").count()));
        found.max_by_key(|it| it.1).filter(|it| it.1 >= 3)
    });
    cluster.nodes[runner].1.take().unwrap().kill();
    let done_before = cluster.lines(runner).matches("días extraídos").count();
    println!("node {runner} was killed after {done_before} symbols");
    provider.answer(usize::MAX);
    if runner == 0 {
        // It may have the log.
        cluster.nodes[0].1 = Some(cluster.nodes[0].0.start());
    }
    let other = usize::from(runner == 0);
    cluster.await_end_of_day(other);

    // Back, it is told what was asked for without it.
    if cluster.nodes[runner].1.is_none() {
        cluster.nodes[runner].1 = Some(cluster.nodes[runner].0.start());
    }
    cluster.await_settled();
    let batch = cluster.await_end_of_day(runner);
    assert_eq!(batch["running"], true, "it waits for tomorrow: {batch}");
    let outcomes = batch["symbols"].as_object().unwrap();
    assert_eq!(outcomes.len(), SYMBOLS);
    let done: Vec<&String> =
        outcomes.iter().filter(|it| it.1["days"] == DAYS).map(|it| it.0).collect();

    // With Kafka each node has a store of its own, and a successor repeats what it is not sure of.
    let rows = || -> BTreeSet<_> { stores.iter().flat_map(rows).collect() };
    until("the rows of all symbols that were fetched", PATIENCE, || {
        let rows = rows();
        done.iter().all(|it| rows.iter().filter(|row| row.0 == **it).count() == 3).then_some(())
    });
    // The one that may have the log and the store goes last.
    for (_, process) in cluster.nodes.iter_mut().rev() {
        process.take().unwrap().terminate();
    }
    let asked = provider.asked();
    assert!(asked.len() <= PER_DAY, "{} requests: {asked:?}", asked.len());
    // And the one that was under way at the kill.
    assert!(done.len() + in_vain + 1 >= PER_DAY, "{done:?} of {asked:?}");
    assert_eq!(rows().len(), done.len() * 3, "each row once");
    for store in &stores {
        assert_eq!(store.count("finanzas_batch_changes"), 0);
        assert_eq!(store.count("dead_letters"), 0);
    }
    let mut once = asked.clone();
    once.sort();
    once.dedup();
    assert!(asked.len() - once.len() <= in_vain + 1, "asked for twice: {asked:?}");
}

/// Symbol, day and volume of each row; nothing where there is no table yet.
fn rows(store: &Store) -> Vec<(String, String, i64)> {
    if store.count("finanzas_batch") == 0 {
        return Vec::new();
    }
    let rows = store.rows("SELECT symbol, fecha, volumen FROM finanzas_batch");
    let cells = |row: &_| {
        (text(row, "symbol").to_owned(), text(row, "fecha").to_owned(), integer(row, "volumen"))
    };
    rows.iter().map(cells).collect()
}

#[test]
fn the_batch_survives_the_node_that_runs_it_and_asks_no_more_than_the_cluster_may() {
    stay_clear_of_midnight();
    let folder = tempfile::tempdir().unwrap();
    let (exchange, provider) = (Exchange::seeded(folder.path()), Provider::start());
    let address = format!("127.0.0.1:{}", free_port());
    let own = |name: &str| {
        command(folder.path(), &exchange, &provider, name)
            .with("cluster.gossip_interval_ms=100".to_owned())
    };
    let join = |name: &str| own(name).with(format!("cluster.join=[\"{address}\"]"));
    let founder = own("n0").with(format!("cluster.listen={address}"));
    judge(&provider, Cluster::start(vec![founder, join("n1"), join("n2")]));
}

#[test]
fn the_batch_survives_any_node_where_the_log_is_kafka() {
    let Some(brokers) = Brokers::start(1, Place::loopback()) else { return };
    stay_clear_of_midnight();
    let folder = tempfile::tempdir().unwrap();
    let (exchange, provider) = (Exchange::seeded(folder.path()), Provider::start());
    let listens: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    let commands = listens.iter().enumerate().map(|(number, listen)| {
        let brokers = serde_json::to_string(&brokers.addresses()).unwrap();
        [
            "log.kind=kafka".to_owned(),
            format!("log.kafka.brokers={brokers}"),
            "log.kafka.replication=1".to_owned(),
            "log.kafka.min_insync=1".to_owned(),
            "cluster.gossip_interval_ms=100".to_owned(),
            format!("cluster.listen={listen}"),
            format!("cluster.join={}", serde_json::to_string(&listens).unwrap()),
        ]
        .into_iter()
        .fold(
            command(folder.path(), &exchange, &provider, &format!("n{number}")),
            NodeCommand::with,
        )
    });
    judge(&provider, Cluster::start(commands.collect()));
}

/// Rows that lie in the file from before: so many that writing it takes a while.
const OLD_ROWS: usize = 200_000;
const FEW: usize = 6;
const HEADER: &str = "fecha,apertura,cierre,volumen,symbol\n";

/// The file is the old one, or the new one with the days of one more symbol, or of some.
#[track_caller]
fn whole(path: &Path, old: &str) -> bool {
    let found = std::fs::read_to_string(path).unwrap();
    if found == old {
        return false;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (found, old) = (lines(&found), lines(old));
    let (added, days) = (found.len() - old.len(), usize::try_from(DAYS).unwrap());
    assert!(added > 0 && added % days == 0, "{} lines of {}", found.len(), old.len());
    assert!(found.iter().all(|line| line.split(',').count() == 5), "a line is torn");
    // All of the old lines, in their order.
    let mut rest = found.iter();
    assert!(old.iter().all(|line| rest.any(|it| it == line)), "a line is missing");
    true
}

#[test]
fn whenever_the_node_is_killed_the_csv_is_the_old_one_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (exchange, provider) = (Exchange::seeded(folder.path()), Provider::start());
    let command = command(folder.path(), &exchange, &provider, "n0");
    provider.answer(usize::MAX);
    let few: Vec<String> = (0..FEW).map(|it| format!("ST{it}")).collect();
    let few = serde_json::to_string(&few).unwrap();
    let command = command.with(format!("batch.symbols={few}"));
    std::fs::create_dir(&command.data_dir).unwrap();
    let path: PathBuf = command.data_dir.join("Datos_financieros.csv");
    let partial = command.data_dir.join("Datos_financieros.csv.partial");
    let rows = (0..OLD_ROWS).map(|it| format!("2020-01-01,1,2,3,A{it:06}\n"));
    std::fs::write(&path, HEADER.to_owned() + &rows.collect::<String>()).unwrap();

    let mut cut = 0;
    for pause in [0, 5, 20, 60] {
        let old = std::fs::read_to_string(&path).unwrap();
        let mut node = command.start();
        // While it is being written something is beside it, or it is not as long as it was.
        let begun = || partial.exists() || std::fs::metadata(&path).unwrap().len() != old_len(&old);
        for turn in 0.. {
            if begun() {
                break;
            }
            if turn % 1_000 == 0 {
                node.check_alive();
            }
            assert!(turn < 600_000, "nothing is written");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(pause));
        node.kill();
        let is_new = whole(&path, &old);
        println!(
            "killed {pause} ms after the begin: the {} file",
            ["old", "new"][usize::from(is_new)]
        );
        cut += usize::from(!is_new);
        // What was left of it is in nobody's way.
    }
    // How long it takes to write is the machine's affair.
    println!("killed in the middle {cut} times");
    let mut node = command.start();
    let all = |text: &str| (0..FEW).all(|it| text.matches(&format!(",ST{it}\n")).count() == 3);
    until("all symbols", PATIENCE, || {
        node.check_alive();
        std::fs::read_to_string(&path).is_ok_and(|it| all(&it)).then_some(())
    });
    let found = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found.lines().count(), 1 + OLD_ROWS + FEW * 3);
    node.terminate();
    assert!(!partial.exists());
}

fn old_len(old: &str) -> u64 {
    u64::try_from(old.len()).unwrap()
}
