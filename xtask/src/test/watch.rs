//! What an operator watches: every expression of the dashboards and of the rules, on a live Prometheus
//! that scrapes live nodes. What fires on trouble is made to fire by that trouble.
//!
//! Rules are the deployed ones in small: minutes are seconds, and six amounts that no test reaches are
//! smaller ([`rules`]). Their real spans and amounts are proven by promtool, beside each rule.

mod client;
mod rules;
mod scene;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use self::client::{Prometheus, ask};
use self::scene::{OTHERS, Scene, signal};
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
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Watch::start(folder, &kafka, pid)?.everything()
}

/// Trouble of one kind, and what fires then.
type Step = (&'static str, fn(&mut Watch) -> Result<()>);

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
        for node in scene.nodes() {
            node.start()?;
        }
        for node in scene.nodes() {
            node.await_live()?;
        }
        let prometheus = Prometheus { address: format!("127.0.0.1:{port}") };
        let since = Stopwatch::start();
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
        let steps: [Step; 9] = [
            ("a good day", Self::good_day),
            ("orders and intruders", Self::orders),
            ("Kafka stands still", Self::kafka_stands_still),
            ("late and garbled messages", Self::late_messages),
            ("broken lines, no REST", Self::broken_lines),
            ("a node dies and comes back", Self::node_dies),
            ("the node that has the log stands still", Self::owner_stands_still),
            ("what was odd from the start", Self::odd_from_the_start),
            ("nobody is left", Self::nobody_is_left),
        ];
        for (name, step) in steps {
            println!("--- {name}");
            match step(&mut self) {
                Ok(()) => tally.passed += 1,
                Err(error) => {
                    println!("{name}: {error:#}");
                    tally.failed += 1;
                    tally.reasons.push(format!("{name}: {error:#}"));
                }
            }
        }
        self.all_had_data(&mut tally)?;
        Ok(tally)
    }

    /// What is recorded for pages and rules has data as soon as there are nodes.
    fn good_day(&mut self) -> Result<()> {
        let ready =
            self.scene.nodes().map(|it| format!("fts_ready{{instance=\"{}\"}} == 1", it.http));
        self.prometheus.await_data("all are ready", &ready)?;
        let shares = "count(fts_share_partitions > 0) >= 4 and sum(up{job=\"fts-node\"}) >= 5";
        self.prometheus.await_data("all work", &[shares.to_owned()])?;
        self.prometheus.await_data("all that is recorded", &self.recorded)
    }

    /// The batch with a good key and with a bad one, symbols that come and go, forged gossip, a
    /// table that somebody changed by hand, few files.
    fn orders(&mut self) -> Result<()> {
        let Scene { market, cluster, kafka, gossip, .. } = &self.scene;
        let [first, ..] = cluster;
        ensure!(first.client(&["batch", "run", "--symbol", "TSLA"]), "the batch does not run");
        let bad = r#"{"force": {"answer": "invalid_apikey", "times": 0}}"#;
        ask("POST", market, "/control/alpha-vantage", bad)?;
        // It tells that it failed.
        first.client(&["batch", "run", "--symbol", "AAPL"]);
        for round in 0..20 {
            let what = if round % 2 == 0 { "add" } else { "remove" };
            first.client(&["symbols", what, OTHERS[0], OTHERS[1]]);
        }
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let mut forged = [7_u8; 200];
        forged[0] = 1;
        socket.send_to(&forged, gossip)?;
        // Nor is this how nodes greet one another.
        drop(ask("GET", gossip, "/", ""));
        let trigger = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=60).executescript(\
             'CREATE TRIGGER no BEFORE INSERT ON transacciones_nrt BEGIN SELECT RAISE(ABORT, 1); END')";
        let mut change = Command::new("python3");
        change.args(["-c", trigger]).arg(first.folder.join("data/fts.sqlite"));
        ensure!(change.status()?.success(), "cannot change the table");
        limit_files(kafka.id())?;
        self.prometheus.await_fired(
            "alerts",
            &[
                "BatchIncomplete",
                "BatchKeyRefused",
                "BatchLate",
                "PlacementRestless",
                "GossipForged",
                "RowsRejected",
                "FilesShort",
            ],
        )
    }

    fn kafka_stands_still(&mut self) -> Result<()> {
        signal("STOP", &self.kafka_pid)?;
        let fired =
            self.prometheus.await_fired("alerts", &["LogAway", "NodeNotReady", "LogSpillFull"]);
        signal("CONT", &self.kafka_pid)?;
        fired?;
        self.prometheus.await_fired("alerts", &["LogSlow", "StoredLate"])
    }

    fn late_messages(&mut self) -> Result<()> {
        self.scene.faults("delay=8s,malformed=0.02")?;
        let alerts = ["ReceivedLate", "MessagesNotUnderstood"];
        let fired = self.prometheus.await_fired("alerts", &alerts);
        self.scene.faults("")?;
        fired
    }

    fn broken_lines(&mut self) -> Result<()> {
        self.scene.faults("disconnect=300ms,drop=0.2,rest_error=1")?;
        let alerts = ["StreamsTorn", "TradesMissing", "ExchangeUnavailable"];
        let fired = self.prometheus.await_fired("alerts", &alerts);
        self.scene.faults("drop=0.05,rest_429=0.5,rest_retry_after_s=2")?;
        let refused = self.prometheus.await_fired("alerts", &["ExchangeRefuses"]);
        self.scene.faults("")?;
        fired.and(refused)?;
        // The one on Kafka may ask for next to nothing.
        self.prometheus.await_fired("alerts", &["ThrottledLong"])
    }

    /// It comes back where no TCP reaches it, and while the market lets nobody in; and dies again.
    fn node_dies(&mut self) -> Result<()> {
        let Scene { market, cluster: [_, _, third], nowhere, .. } = &mut self.scene;
        third.kill();
        self.prometheus.await_fired("alerts", &["NodeDown", "MemberDead"])?;
        ask("POST", market, "/control/refuse?for=25s", "")?;
        third.settings.push(format!("cluster.advertise={nowhere}"));
        third.start()?;
        self.prometheus
            .await_fired("alerts", &["LinksMissing", "HandoverOverdue", "ShardsUnowned"])?;
        third.kill();
        self.prometheus.await_fired("alerts", &["NodeFlapping"])
    }

    /// The others ask it in vain.
    fn owner_stands_still(&mut self) -> Result<()> {
        let pid = self.scene.cluster[0].id().to_string();
        signal("STOP", &pid)?;
        let fired = self.prometheus.await_fired("alerts", &["CallsFailing"]);
        signal("CONT", &pid)?;
        fired
    }

    /// A store that is down, a market with a hole, a part that cannot start, two clusters.
    fn odd_from_the_start(&mut self) -> Result<()> {
        let not = |it: &&String| *it != "NoNodes" && NOT_FIRED.iter().all(|(name, _)| *it != name);
        let all: Vec<&str> = self.alerts.iter().filter(not).map(String::as_str).collect();
        self.prometheus.await_fired("all other alerts", &all)
    }

    fn nobody_is_left(&mut self) -> Result<()> {
        stack::prometheus::targets(&self.folder, &[])?;
        self.prometheus.await_fired("alerts", &["NoNodes"])
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

/// Leaves the process room for hardly any more files than it has.
fn limit_files(pid: u32) -> Result<()> {
    let open = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"))?.count();
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &pid.to_string(), &format!("--nofile={}:", open + 4)]);
    ensure!(limit.status()?.success(), "prlimit failed");
    Ok(())
}
