//! What an operator watches: every expression of the dashboards and of the rules, on a live Prometheus
//! that scrapes live nodes. What fires on trouble is made to fire by that trouble.
//!
//! Rules are the deployed ones in small: minutes are seconds, and some amounts that no test reaches are
//! smaller ([`rules`]). Their real spans and amounts are proven by promtool, beside each rule.

mod client;
mod rules;
mod scene;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::client::{Prometheus, ask};
use self::scene::{Node, OTHERS, Scene, signal};
use super::report::Tally;
use crate::shell::{self, Stopwatch};
use crate::{debian, stack};

/// Expressions without data, and why that is so.
const NO_DATA: [(&str, &str); 1] = [(
    "sum by (instance, reason) (rate(fts_calls_refused_total{instance=~\".*\"}[10s]))",
    "only a node that has the cluster's secret and a defect could make calls that are refused",
)];

/// Alerts that do not fire here, and why.
const NOT_FIRED: [(&str, &str); 0] = [];

/// Changes the tables of an SQLite file.
const PYTHON: &str =
    "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=60).executescript(sys.argv[2])";
/// What makes SQLite refuse rows for good.
const TRIGGER: &str = "CREATE TRIGGER no BEFORE INSERT ON transacciones_nrt \
                       BEGIN SELECT RAISE(ABORT, 'no'); END";

/// Watches what there is to watch.
pub(super) fn run() -> Result<Tally> {
    let ready = || {
        debian::program("prometheus", "prometheus")?;
        stack::ensure(&["kafka"])
    };
    let servers = match ready() {
        Ok(servers) => servers,
        Err(missing) if shell::in_ci() => return Err(missing),
        Err(missing) => {
            println!("SKIPPED: dashboards and alerts were NOT watched: {missing:#}");
            let reasons = vec![format!("{missing:#}")];
            return Ok(Tally { skipped: 1, reasons, ..Tally::default() });
        }
    };
    let variable = |name: &str| {
        let found = servers.variables().iter().find(|it| it.0 == name);
        found.map(|it| it.1.clone()).with_context(|| format!("Kafka does not tell {name}"))
    };
    let (kafka, pid) = (variable("FTS_TEST_KAFKA")?, variable("FTS_TEST_KAFKA_PIDS")?);
    let folder = shell::target().join("watch");
    if folder.exists() {
        stack::sweep(&folder)?;
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Watch::start(folder, &kafka, pid)?.everything()
}

/// A Prometheus and what it watches.
struct Watch {
    folder: PathBuf,
    scene: Scene,
    prometheus: Prometheus,
    alerts: Vec<String>,
    recorded: Vec<String>,
    kafka_pid: String,
    since: Stopwatch,
    _process: stack::Process,
}

impl Watch {
    fn start(folder: PathBuf, kafka: &str, kafka_pid: String) -> Result<Self> {
        let mut scene = Scene::start(&folder, kafka)?;
        let port = stack::free_ports(1)?.first().copied().context("a port")?;
        stack::prometheus::configure(&folder, port)?;
        let file = folder.join("prometheus.yml");
        let mut text = fs::read_to_string(&file)?;
        for name in ["scrape_interval", "evaluation_interval"] {
            let deployed = format!("{name}: 15s");
            ensure!(text.contains(&deployed), "prometheus.yml does not say {deployed}");
            text = text.replace(&deployed, &format!("{name}: 1s"));
        }
        fs::write(&file, text.replace("refresh_interval: 30s", "refresh_interval: 1s"))?;
        let (alerts, recorded) = rules::shrink(&folder.join("rules"))?;
        let nodes = scene.nodes().map(|it| it.http.clone());
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        stack::prometheus::targets(&folder, &nodes)?;
        let process = stack::prometheus::serve(&folder, port)?;
        let since = Stopwatch::start();
        for node in scene.nodes() {
            node.start()?;
        }
        for node in scene.nodes() {
            node.await_live()?;
        }
        let prometheus = Prometheus { address: format!("127.0.0.1:{port}") };
        Ok(Self {
            folder,
            scene,
            prometheus,
            alerts,
            recorded,
            kafka_pid,
            since,
            _process: process,
        })
    }

    fn everything(mut self) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut note = |name: &str, outcome: Result<()>| match outcome {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                println!("FAILED: {name}: {error:#}");
                tally.failed += 1;
                tally.reasons.push(format!("{name}: {error:#}"));
            }
        };
        note("a good day", self.good_day());
        note("orders and intruders", self.orders());
        // What befalls Kafka is nothing to the cluster, and the other way round.
        let (prometheus, pid) = (&self.prometheus, &self.kafka_pid);
        let Scene { market, cluster: [first, _, third], nowhere, .. } = &mut self.scene;
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| {
                [
                    ("Kafka stands still", kafka_stands_still(prometheus, pid)),
                    ("Kafka stutters", kafka_stutters(prometheus, pid)),
                ]
            });
            note("a node dies and comes back", node_dies(prometheus, market, third));
            note("a node out of reach", node_out_of_reach(prometheus, third, nowhere));
            note("a node comes and goes", node_flaps(prometheus, third));
            note("the node that has the log stands still", owner_stands_still(prometheus, first));
            for (name, outcome) in kafka.join().into_iter().flatten() {
                note(name, outcome);
            }
        });
        note("late and garbled messages", self.late_messages());
        note("broken lines, no REST", self.broken_lines());
        note("what was odd from the start", self.odd_from_the_start());
        note("nobody is left", self.nobody_is_left());
        self.all_had_data(&mut tally)?;
        Ok(tally)
    }

    /// What is recorded for pages and rules has data as soon as there are nodes.
    fn good_day(&mut self) -> Result<()> {
        let nodes = self.scene.nodes();
        let ready = nodes.map(|it| format!("fts_ready{{instance=\"{}\"}} == 1", it.http));
        self.prometheus.await_data("all are ready", &ready)?;
        let shares = "count(fts_share_partitions > 0) >= 4 and sum(up{job=\"fts-node\"}) >= 5";
        self.prometheus.await_data("all work", &[shares.to_owned()])?;
        self.prometheus.await_data("all that is recorded", &self.recorded)
    }

    /// The batch with a good key and with a bad one, symbols that come and go, forged gossip, a
    /// table that somebody changed by hand, few files.
    fn orders(&mut self) -> Result<()> {
        let Scene { market, cluster: [first, ..], kafka, gossip, .. } = &self.scene;
        first.client(&["batch", "run", "--symbol", "TSLA"])?;
        let bad = r#"{"force": {"answer": "invalid_apikey", "times": 0}}"#;
        ask("POST", market, "/control/alpha-vantage", bad)?;
        let refused = first.client(&["batch", "run", "--symbol", "AAPL"]);
        ensure!(refused.is_err(), "the batch does not tell that its key is refused");
        let mut change = Command::new("python3");
        change.args(["-c", PYTHON]).arg(first.folder.join("data/fts.sqlite")).arg(TRIGGER);
        ensure!(change.status()?.success(), "cannot change the table");
        limit_files(kafka.id())?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let mut forged = [7_u8; 200];
        forged[0] = 1;
        socket.send_to(&forged, gossip)?;
        // Nor is this how nodes greet one another.
        drop(ask("GET", gossip, "/", ""));
        let mut orders = ["add", "remove"].iter().cycle();
        self.prometheus.make_fire(
            &[
                "BatchIncomplete",
                "BatchKeyRefused",
                "BatchLate",
                "PlacementRestless",
                "GossipForged",
                "RowsRejected",
                "FilesShort",
            ],
            || {
                let order = orders.next().copied().unwrap_or_default();
                first.client(&["symbols", order, OTHERS[0], OTHERS[1]])
            },
        )?;
        first.client(&["symbols", "add", OTHERS[0], OTHERS[1]])
    }

    fn late_messages(&mut self) -> Result<()> {
        self.scene.faults("delay=8s,malformed=0.02")?;
        let fired = self.prometheus.await_fired(&["ReceivedLate", "MessagesNotUnderstood"]);
        self.scene.faults("")?;
        fired
    }

    fn broken_lines(&mut self) -> Result<()> {
        self.scene.faults("disconnect=300ms,drop=0.2,rest_error=1")?;
        let alerts = ["StreamsTorn", "TradesMissing", "ExchangeUnavailable"];
        let fired = self.prometheus.await_fired(&alerts);
        self.scene.faults("drop=0.05,rest_429=0.5,rest_retry_after_s=2")?;
        let refused = self.prometheus.await_fired(&["ExchangeRefuses"]);
        // The one on Kafka may ask for next to nothing.
        self.scene.faults("drop=0.05")?;
        let throttled = self.prometheus.await_fired(&["ThrottledLong"]);
        self.scene.faults("")?;
        fired.and(refused).and(throttled)
    }

    /// A store that is down, a market with a hole, a part that cannot start, two clusters.
    fn odd_from_the_start(&self) -> Result<()> {
        let not = |it: &&String| *it != "NoNodes" && NOT_FIRED.iter().all(|(name, _)| *it != name);
        let all: Vec<&str> = self.alerts.iter().filter(not).map(String::as_str).collect();
        self.prometheus.await_fired_ever(&all)
    }

    fn nobody_is_left(&self) -> Result<()> {
        stack::prometheus::targets(&self.folder, &[])?;
        self.prometheus.await_fired(&["NoNodes"])
    }

    /// Everything that a dashboard shows had something to show.
    fn all_had_data(&self, tally: &mut Tally) -> Result<()> {
        let seconds = self.since.elapsed().as_secs() + 30;
        let recorded = self.recorded.iter().map(|it| ("recorded".to_owned(), it.clone()));
        for (place, expression) in rules::panels()?.into_iter().chain(recorded) {
            let excuse = NO_DATA.iter().find(|it| it.0 == expression);
            match (self.prometheus.had_data(&expression, seconds)?, excuse) {
                (true, None) => tally.passed += 1,
                (false, Some((_, why))) => println!("no data: {place}: {expression}: {why}"),
                (true, Some(_)) => {
                    let text = format!("{place}: it has data, take it off the list: {expression}");
                    println!("{text}");
                    tally.failed += 1;
                    tally.reasons.push(text);
                }
                (false, None) => {
                    let text = format!("{place}: never any data: {expression}");
                    println!("{text}");
                    tally.failed += 1;
                    tally.reasons.push(text);
                }
            }
        }
        for (alert, why) in NOT_FIRED {
            println!("not fired: {alert}: {why}");
        }
        Ok(())
    }
}

fn kafka_stands_still(prometheus: &Prometheus, pid: &str) -> Result<()> {
    signal("STOP", pid)?;
    let fired = prometheus.await_fired(&["LogAway", "NodeNotReady", "LogSpillFull"]);
    signal("CONT", pid)?;
    fired
}

/// It takes records, but late; and then later still.
fn kafka_stutters(prometheus: &Prometheus, pid: &str) -> Result<()> {
    // How long it goes on for between two stops: too short for many commits that are quick; long enough to
    // read and store what waited. What comes while an append is under way is not even received: that is a
    // quarter of the time limit, and not late.
    for (alert, breath, still) in [("LogSlow", 100, 1_800), ("StoredLate", 1_000, 10_000)] {
        prometheus.make_fire(&[alert], || {
            signal("CONT", pid)?;
            std::thread::sleep(Duration::from_millis(breath));
            signal("STOP", pid)?;
            std::thread::sleep(Duration::from_millis(still));
            signal("CONT", pid)
        })?;
    }
    Ok(())
}

/// It comes back while the market lets nobody in, so that it cannot do its work.
fn node_dies(prometheus: &Prometheus, market: &str, node: &mut Node) -> Result<()> {
    node.kill();
    prometheus.await_fired(&["NodeDown", "MemberDead"])?;
    ask("POST", market, "/control/refuse?for=10m", "")?;
    node.start()?;
    let fired = prometheus.await_fired(&["HandoverOverdue", "ShardsUnowned"]);
    ask("POST", market, "/control/refuse?for=1ms", "")?;
    fired
}

/// It is heard of, and no TCP reaches it.
fn node_out_of_reach(prometheus: &Prometheus, node: &mut Node, nowhere: &str) -> Result<()> {
    node.kill();
    node.settings.push(format!("cluster.advertise={nowhere}"));
    node.start()?;
    let fired = prometheus.await_fired(&["LinksMissing"]);
    node.settings.pop();
    fired
}

fn node_flaps(prometheus: &Prometheus, node: &mut Node) -> Result<()> {
    let gone = "max(fts_cluster_members{state=\"live\"}) == 2".to_owned();
    let back = "max(fts_cluster_members{state=\"live\"}) == 3".to_owned();
    prometheus.make_fire(&["NodeFlapping"], || {
        node.kill();
        prometheus.await_data("it is gone", std::slice::from_ref(&gone))?;
        node.start()?;
        prometheus.await_data("it is back", std::slice::from_ref(&back))
    })
}

/// The others ask it in vain.
fn owner_stands_still(prometheus: &Prometheus, owner: &Node) -> Result<()> {
    let pid = owner.id().to_string();
    signal("STOP", &pid)?;
    let fired = prometheus.await_fired(&["CallsFailing"]);
    signal("CONT", &pid)?;
    fired
}

/// Leaves the process room for hardly any more files than it has.
fn limit_files(pid: u32) -> Result<()> {
    let open = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"))?.count();
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &pid.to_string(), &format!("--nofile={}:", open + 4)]);
    ensure!(limit.status()?.success(), "prlimit failed");
    Ok(())
}
