//! Superset on the store of a demo that writes, and on Cassandra and Elasticsearch through Trino: imports
//! the bundles, compares their charts with the tables, and draws the dashboards in a real Chromium.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::page;
use super::report::Tally;
use crate::{shell, stack};

/// Without what distinguishes those for Trino.
const DASHBOARDS: [&str; 2] = ["fts-market", "fts-stocks"];
const BY_TRINO: &str = "what Superset shows by Trino";
/// How long the charts on SQLite are asked while the node writes, minutes; `FTS_SUPERSET_MINUTES` may say more.
const MINUTES: &str = "0.25";

/// Checks the bundles in `superset/`.
pub(super) fn run() -> Result<Tally> {
    let mut tally = Tally::default();
    let stores = match stack::ensure(&["cassandra", "elasticsearch"]) {
        Ok(stores) => Some(stores),
        Err(missing) => {
            tally.add(skipped(BY_TRINO, missing)?);
            None
        }
    };
    // It fills its stores while what reads them starts.
    let demo = Demo::start(stores.as_ref())?;
    let (browser, superset) = match prepare() {
        Ok(ready) => ready,
        Err(missing) => return skipped("Superset", missing),
    };
    // It goes by what of the stack runs.
    let trino = match stores.as_ref().map(|_| stack::ensure(&["trino"])).transpose() {
        Ok(trino) => trino,
        Err(missing) => {
            tally.add(skipped(BY_TRINO, missing)?);
            None
        }
    };
    let folder = shell::root().join("superset");
    let python = stack::superset_python();
    shell::run(Command::new(&python).arg(folder.join("generate.py")).arg("--check"))?;
    let mut npm = Command::new("npm");
    npm.current_dir(folder.join("check"));
    shell::run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))?;

    let look = Look { folder, python, browser, superset: &superset };
    let minutes = std::env::var("FTS_SUPERSET_MINUTES").unwrap_or_else(|_| MINUTES.to_owned());
    look.compare(&demo, &["--minutes", &minutes], &mut tally)?;
    look.draw("", &mut tally)?;
    if let Some(trino) = &trino {
        let url = variable(trino, "FTS_TEST_TRINO")?.replace("binance_stream", &own());
        let source = ["--trino", &url, "--elasticsearch", "elasticsearch.default"];
        look.compare(&demo, &[&source[..], &["--index-prefix", &own()]].concat(), &mut tally)?;
        look.draw("-trino", &mut tally)?;
    }
    demo.is_undisturbed()?;
    tally.passed += 1;
    Ok(tally)
}

/// Keyspace and prefix of indices, in servers that others may use, too.
fn own() -> String {
    format!("superset_check_{}_", std::process::id())
}

fn prepare() -> Result<(String, stack::Ensured)> {
    Ok((page::prepare()?, stack::ensure(&["superset"])?))
}

/// Says loudly what was not looked at; fails where nobody reads that.
fn skipped(what: &str, missing: anyhow::Error) -> Result<Tally> {
    if shell::in_ci() {
        return Err(missing);
    }
    println!("SKIPPED: {what} was NOT looked at: {missing:#}");
    let reasons = vec![format!("{what}: {missing:#}")];
    Ok(Tally { skipped: 1, reasons, ..Tally::default() })
}

fn variable(server: &stack::Ensured, name: &str) -> Result<String> {
    let found = server.variables().iter().find(|it| it.0 == name);
    found.map(|it| it.1.clone()).with_context(|| format!("no server tells {name}"))
}

/// What looks at Superset.
struct Look<'a> {
    folder: PathBuf,
    python: PathBuf,
    browser: String,
    superset: &'a stack::Ensured,
}

impl Look<'_> {
    /// What Superset tells with what the demo's SQLite holds.
    fn compare(&self, demo: &Demo, arguments: &[&str], tally: &mut Tally) -> Result<()> {
        let mut check = Command::new(&self.python);
        check.arg(self.folder.join("check/check.py")).arg("--data-dir").arg(demo.data());
        listen(self.on_superset(check.args(arguments))?, tally)
    }

    /// Both dashboards of one end; the pictures lie in `target` afterwards.
    fn draw(&self, end: &str, tally: &mut Tally) -> Result<()> {
        for dashboard in DASHBOARDS {
            let mut draw = Command::new("node");
            draw.current_dir(self.folder.join("check")).arg("draw.mjs");
            draw.args(["--dashboard", &format!("{dashboard}{end}"), "--picture"]);
            draw.arg(shell::target().join(format!("{dashboard}{end}.jpg")));
            listen(self.on_superset(draw.env("CHROMIUM", &self.browser))?, tally)?;
        }
        Ok(())
    }

    fn on_superset<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        command.args(["--url", &variable(self.superset, "FTS_TEST_SUPERSET")?]);
        command.args(["--user", &variable(self.superset, "FTS_TEST_SUPERSET_USER")?]);
        Ok(command.env("SUPERSET_PASSWORD", variable(self.superset, "FTS_TEST_SUPERSET_PASSWORD")?))
    }
}

fn listen(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let failed = tally.failed;
    let success = shell::listen(command, |line| match line.split_whitespace().next() {
        Some("ok") => tally.passed += 1,
        Some("FAILED") => tally.failed += 1,
        _ => {}
    })?;
    if !success && tally.failed == failed {
        tally.failed += 1;
    }
    Ok(())
}

/// `fts-node demo`, ended and removed when dropped.
struct Demo {
    folder: PathBuf,
    child: Child,
}

impl Demo {
    /// With SQLite, and with Cassandra and Elasticsearch where they are there.
    fn start(stores: Option<&stack::Ensured>) -> Result<Self> {
        let folder = shell::target().join("superset-check");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let log = File::create(folder.join("log"))?;
        let mut command = shell::program(shell::release_binary("fts-node"));
        command.current_dir(&folder).args(["demo", "--http", "127.0.0.1:0", "--data-dir"]);
        // Alerts, too, are to be seen.
        command.arg(folder.join("data")).args(["--set", "alerts.threshold_percent=\"0.1\""]);
        if let Some(stores) = stores {
            let cassandra = variable(stores, "FTS_TEST_CASSANDRA")?;
            let own = own();
            let elasticsearch = variable(stores, "FTS_TEST_ELASTICSEARCH")?;
            command.arg("--set").arg(format!(
                "stores=[{{kind=\"sqlite\"}}, \
                 {{kind=\"scylla\", nodes=[\"{cassandra}\"], keyspace=\"{own}\", replication_factor=1}}, \
                 {{kind=\"elasticsearch\", nodes=[\"{elasticsearch}\"], index_prefix=\"{own}\", replicas=0}}]"
            ));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("the demo does not start")?;
        Ok(Self { folder, child })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// That nobody who read the store stood in the way of the node.
    fn is_undisturbed(&self) -> Result<()> {
        let said = fs::read_to_string(self.folder.join("log"))?;
        let complaint = |line: &&str| line.contains("locked") || line.contains("\"ERROR\"");
        match said.lines().find(complaint) {
            Some(line) => bail!("the demo was disturbed: {line}"),
            None => Ok(()),
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
