//! What runs the project elsewhere: compose, Prometheus' rules, Grafana's dashboards, Kubernetes, each
//! by the tool or the types of its own maker; the configurations in them by the node itself.
//!
//! Where a tool is not there and can't be fetched, that is said loudly; in CI it is a failure.

mod containers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::page;
use super::report::Tally;
use crate::debian;
use crate::shell::{self, files};

/// A check, where its program comes from, and what it does with it.
type Check = (&'static str, fn() -> Result<PathBuf>, fn(&Path) -> Result<()>);

const CHECKS: [Check; 7] = [
    ("configurations", node, configurations),
    ("alert rules", promtool, rules),
    ("alert routes", amtool, routes),
    ("dashboards", promtool, dashboards),
    ("compose", go, compose),
    ("kubernetes", go, kubernetes),
    ("containers and units", go, containers::check),
];

/// What the configurations expect of their environment; no secret of anybody.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("FTS__CLUSTER__LISTEN", "0.0.0.0:7401"),
    ("FTS__CLUSTER__ADVERTISE", "192.0.2.1:7401"),
    ("FTS_CLUSTER_SECRET", "0123456789abcdef0123456789abcdef"),
    ("FTS_KAFKA_PASSWORD", "kafka"),
    ("FTS_SCYLLA_PASSWORD", "scylla"),
    ("FTS_ELASTICSEARCH_PASSWORD", "elastic"),
];

/// Checks all of them.
pub(super) fn run() -> Result<Tally> {
    let mut tally = Tally::default();
    for (name, program, check) in CHECKS {
        println!("--- {name}");
        let program = match program() {
            Ok(program) => program,
            Err(missing) if shell::in_ci() => return Err(missing),
            Err(missing) => {
                println!("SKIPPED: {name} were NOT checked: {missing:#}");
                tally.skipped += 1;
                tally.reasons.push(format!("{missing:#}"));
                continue;
            }
        };
        match check(&program) {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                println!("{name}: {error:#}");
                tally.failed += 1;
                tally.reasons.push(format!("{name}: {error:#}"));
            }
        }
    }
    Ok(tally)
}

/// The configurations that compose and Kubernetes hand to the node.
fn configurations(node: &Path) -> Result<()> {
    let scratch = scratch("configurations")?;
    let compose = shell::root().join("deploy/compose/cluster.toml");
    let map = fs::read_to_string(shell::root().join("deploy/kubernetes/configmap.yaml"))?;
    let (_, inner) = map.split_once("cluster.toml: |\n").context("no cluster.toml in it")?;
    let inner: Vec<&str> = inner.lines().map(|it| it.trim_start_matches("    ")).collect();
    let kubernetes = scratch.join("kubernetes.toml");
    fs::write(&kubernetes, inner.join("\n"))?;
    for file in [compose, kubernetes] {
        let mut check = shell::program(node);
        check.current_dir(&scratch).envs(ENVIRONMENT).arg("--config").arg(&file);
        shell::run(check.args(["config", "check"]))?;
    }
    Ok(())
}

fn rules(promtool: &Path) -> Result<()> {
    let folder = shell::root().join("deploy/prometheus");
    let tests = files(&folder.join("rules"), ".test.yml")?;
    ensure!(!tests.is_empty(), "no tests of rules in {}", folder.display());
    shell::run(Command::new(promtool).current_dir(&folder).args([
        "check",
        "config",
        "prometheus.yml",
    ]))?;
    shell::run(Command::new(promtool).args(["test", "rules"]).args(tests))
}

fn routes(amtool: &Path) -> Result<()> {
    let file = shell::root().join("deploy/alertmanager/alertmanager.yml");
    shell::run(Command::new(amtool).arg("check-config").arg(file))
}

fn dashboards(promtool: &Path) -> Result<()> {
    let folder = shell::root().join("deploy/check");
    page::need_npm()?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    shell::run(&mut npm)?;
    let mut check = Command::new("node");
    check.current_dir(&folder).arg("dashboards.mjs").env("PROMTOOL", promtool);
    shell::run(check.args(files(&shell::root().join("grafana/dashboards"), ".json")?))
}

/// As somebody who starts has it: the files, and what `deploy/env` wrote beside them, once.
fn compose(go: &Path) -> Result<()> {
    let file = composed()?;
    let folder = file.parent().context("a folder")?;
    let written = fs::read_to_string(folder.join(".env"))?;
    let again = Command::new(folder.join("deploy/env")).output()?;
    ensure!(!again.status.success(), "deploy/env does not refuse to run again");
    ensure!(fs::read_to_string(folder.join(".env"))? == written, "deploy/env changed .env");
    checker(go, "./compose", &[file], Path::new(""))
}

/// The compose file in a folder of its own, with the secrets that it asks for.
fn composed() -> Result<PathBuf> {
    let scratch = scratch("compose")?;
    fs::create_dir_all(scratch.join("deploy/compose"))?;
    for file in ["docker-compose.yml", "deploy/env", "deploy/compose/cluster.toml"] {
        fs::copy(shell::root().join(file), scratch.join(file))?;
    }
    shell::run(&mut Command::new(scratch.join("deploy/env")))?;
    Ok(scratch.join("docker-compose.yml"))
}

fn kubernetes(go: &Path) -> Result<()> {
    let files = files(&shell::root().join("deploy/kubernetes"), ".yaml")?;
    checker(go, "./manifests", &files, Path::new(""))
}

/// Runs a program of deploy/check; it writes the containers that it finds to `told`, if that is a path.
fn checker(go: &Path, program: &str, files: &[PathBuf], told: &Path) -> Result<()> {
    let mut command = Command::new(go);
    command.current_dir(shell::root().join("deploy/check")).env("CONTAINERS", told);
    shell::run(command.args(["run", "-mod=readonly", program]).args(files))
}

fn node() -> Result<PathBuf> {
    Ok(shell::release_binary("fts-node"))
}

fn go() -> Result<PathBuf> {
    let found = shell::which("go").context("`go` is not installed: 1.26 or newer is needed")?;
    Ok(PathBuf::from(found))
}

fn promtool() -> Result<PathBuf> {
    debian::program("promtool", "prometheus")
}

fn amtool() -> Result<PathBuf> {
    debian::program("amtool", "prometheus-alertmanager")
}

/// An empty folder.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = shell::target().join("deploy-check").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
