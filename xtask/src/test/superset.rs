//! Superset on the store of a demo that writes: imports the bundle, compares its charts with the
//! tables, and draws both dashboards in a real Chromium.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::page;
use super::report::Tally;
use crate::{shell, stack};

const DASHBOARDS: [&str; 2] = ["fts-market", "fts-stocks"];

/// Checks the bundle in `superset/`.
pub(super) fn run() -> Result<Tally> {
    let ready = || Ok((page::prepare()?, stack::ensure(&["superset"])?));
    let (browser, server) = match ready() {
        Ok(ready) => ready,
        Err(missing) if shell::in_ci() => return Err(missing),
        Err(missing) => {
            let missing: anyhow::Error = missing;
            println!("SKIPPED: Superset was NOT looked at: {missing:#}");
            let reasons = vec![format!("{missing:#}")];
            return Ok(Tally { skipped: 1, reasons, ..Tally::default() });
        }
    };
    let variable = |name: &str| {
        let found = server.variables().iter().find(|it| it.0 == name);
        found.map(|it| it.1.clone()).with_context(|| format!("superset does not tell {name}"))
    };
    let (url, user) = (variable("FTS_TEST_SUPERSET")?, variable("FTS_TEST_SUPERSET_USER")?);
    let password = variable("FTS_TEST_SUPERSET_PASSWORD")?;

    let folder = shell::root().join("superset");
    let python = stack::superset_python();
    shell::run(Command::new(&python).arg(folder.join("generate.py")).arg("--check"))?;
    let mut npm = Command::new("npm");
    npm.current_dir(folder.join("check"));
    shell::run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))?;

    let demo = Demo::start()?;
    let mut tally = Tally::default();
    let mut check = Command::new(&python);
    check.arg(folder.join("check/check.py")).args(["--url", &url, "--user", &user]);
    check.arg("--data-dir").arg(demo.folder.join("data")).env("SUPERSET_PASSWORD", &password);
    listen(&mut check, &mut tally)?;
    for dashboard in DASHBOARDS {
        let mut draw = Command::new("node");
        draw.current_dir(folder.join("check")).arg("draw.mjs");
        draw.args(["--url", &url, "--user", &user, "--dashboard", dashboard, "--picture"]);
        draw.arg(shell::target().join(format!("{dashboard}.jpg")));
        draw.env("SUPERSET_PASSWORD", &password).env("CHROMIUM", &browser);
        listen(&mut draw, &mut tally)?;
    }
    let said = demo.said()?;
    if let Some(line) = said.lines().find(|it| it.contains("locked") || it.contains("\"ERROR\"")) {
        bail!("the demo was disturbed: {line}");
    }
    tally.passed += 1;
    Ok(tally)
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
    folder: std::path::PathBuf,
    child: Child,
}

impl Demo {
    fn start() -> Result<Self> {
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
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("the demo does not start")?;
        Ok(Self { folder, child })
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("log"))?)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
