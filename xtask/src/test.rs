//! `cargo xtask test`: one command that proves the project.

mod deploy;
mod page;
mod report;
mod superset;
mod watch;

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::report::{Report, Tally};
use crate::{shell, stack};

/// Integration tests that need a real server, and which; they skip themselves, loudly, without it.
const SERVER_TESTS: [(&str, &[&str]); 4] = [
    ("kafka", &["kafka"]),
    ("spill", &["kafka"]),
    ("scylla", &["cassandra", "cassandra-secure"]),
    ("elasticsearch", &["elasticsearch", "elasticsearch-secure"]),
];

/// End-to-end tests that need them, too.
const SERVER_E2E: [&str; 6] =
    ["kafka::", "elastic::", "stores::", "foreign::", "batch::", "chaos::with_kafka"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these parts; all of them if none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Seed of the kill test's instants.
    #[arg(long)]
    seed: Option<u64>,
    /// How often the kill test kills.
    #[arg(long)]
    kills: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct KillArguments {
    /// Seed of the instants.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often to kill.
    #[arg(long, default_value_t = 30)]
    kills: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChaosArguments {
    /// Seed of what happens when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often harm is done in each scene: each time a kill of one node or of two, and something else.
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// Symbols of the simulated market.
    #[arg(long, default_value_t = 50)]
    symbols: u64,
    /// Its messages a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// How long a stopped node stands still, or a cut lasts, seconds; Kafka is away for twice as long.
    #[arg(long, default_value_t = 30)]
    stop_seconds: u64,
    /// Kafka's brokers.
    #[arg(long, default_value_t = 3)]
    brokers: u64,
    /// The recorded market is played so many times as fast as it was.
    #[arg(long, default_value_t = 2)]
    speed: u64,
    /// Only the scenes with this in their names, such as without_kafka or cut_off.
    #[arg(default_value = "")]
    scenes: String,
    /// With the development profile's binaries: the release build takes minutes.
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every test that needs no other process, in every crate.
    Unit,
    /// Every adapter's tests against the real server: Kafka, Cassandra, Elasticsearch.
    Servers,
    /// The examples in the documentation, and the documentation without a warning.
    Docs,
    /// The command line refuses what is wrong, with the place.
    Cli,
    /// What users try wrongly, and what goes wrong around them, is answered with what to do.
    Mistakes,
    /// Recorded minutes in, the exchange's own klines out.
    Tape,
    /// The same with the node killed at random instants.
    Kill,
    /// Nothing that is on disk is fetched again.
    Restart,
    /// The demo from nothing, and again.
    Demo,
    /// Daily prices and transactions, as the demo has them.
    Stocks,
    /// Several nodes are one.
    Cluster,
    /// Nodes are killed and stopped, and what is stored is the truth.
    Chaos,
    /// Compose, alert rules, dashboards and manifests, by their makers' own tools.
    Deploy,
    /// Dashboards and alert rules on a live Prometheus, with all the trouble that they are for.
    Prometheus,
    /// The demo's page in a real browser.
    Page,
    /// Superset on the demo's store, and on Cassandra and Elasticsearch through Trino: its charts show what
    /// is stored, and are drawn.
    Superset,
}

/// Runs the parts; answers whether all passed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let all = arguments.parts.is_empty();
    let wanted = |part: &Part| all || arguments.parts.contains(part);
    let parts: Vec<Part> = Part::value_variants().iter().copied().filter(wanted).collect();
    let instants = Instants { seed: arguments.seed, kills: arguments.kills };

    let mut report = Report::default();
    let built = !parts.iter().any(Part::needs_release)
        || report.run("release build", || shell::build_release().map(|()| Tally::default()));
    for part in parts {
        let name = part.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned());
        if part.needs_release() && !built {
            report.fail(&name, "the release build failed");
        } else {
            report.run(&name, || part.run(&instants));
        }
    }
    Ok(report.finish())
}

/// The kill test alone.
pub(crate) fn kill(arguments: &KillArguments) -> Result<bool> {
    let (seed, kills) = (Some(arguments.seed), Some(arguments.kills));
    run(&Arguments { parts: vec![Part::Kill], seed, kills })
}

/// The whole matrix of harm, with and without Kafka, once for this seed.
pub(crate) fn chaos(arguments: &ChaosArguments) -> Result<bool> {
    if arguments.dev {
        shell::run(shell::cargo().args(["build", "--locked", "--workspace", "--bins"]))?;
    } else {
        shell::build_release()?;
    }
    // A pattern for the brokers that the scenes start, kill and stop.
    let servers = stack::ensure(&["kafka"])?;
    let mut command =
        e2e(&[if arguments.scenes.is_empty() { "chaos::" } else { &arguments.scenes }]);
    command.args(["--test-threads", "1"]);
    if arguments.dev {
        let built = shell::target().join("debug");
        command.env("FTS_NODE_BIN", built.join("fts-node"));
        command.env("FTS_EXCHANGE_BIN", built.join("fts-exchange"));
    }
    command.envs(servers.variables().iter().map(|(name, value)| (name, value)));
    for (name, value) in [
        ("SEED", arguments.seed),
        ("ROUNDS", arguments.rounds),
        ("SYMBOLS", arguments.symbols),
        ("RATE", arguments.rate),
        ("STOP_S", arguments.stop_seconds),
        ("BROKERS", arguments.brokers),
        ("SPEED", arguments.speed),
        ("PATIENCE_S", CHAOS_PATIENCE_S),
    ] {
        command.env(format!("FTS_CHAOS_{name}"), value.to_string());
    }
    let mut report = Report::default();
    report.run("chaos", || tests(&mut command));
    Ok(report.finish())
}

/// How long a scene of the whole matrix waits for what must come, seconds: nodes, brokers and exchange share
/// the machine, and a node may have minutes of everything to fetch.
const CHAOS_PATIENCE_S: u64 = 900;

/// When and how often the kill test kills.
struct Instants {
    seed: Option<u64>,
    kills: Option<u64>,
}

impl Part {
    /// Whether the part runs the binaries that users run.
    fn needs_release(&self) -> bool {
        !matches!(self, Self::Unit | Self::Docs)
    }

    fn run(self, instants: &Instants) -> Result<Tally> {
        match self {
            Self::Unit => unit(),
            Self::Servers => servers(),
            Self::Docs => docs(),
            Self::Cli => end_to_end("cli::", instants),
            Self::Mistakes => end_to_end("mistakes::", instants),
            Self::Tape => end_to_end("tape::", instants),
            Self::Kill => end_to_end("kill::", instants),
            Self::Restart => end_to_end("restart::", instants),
            Self::Demo => end_to_end("demo::", instants),
            Self::Stocks => end_to_end("stocks::", instants),
            Self::Cluster => end_to_end("cluster::", instants),
            Self::Chaos => tests(&mut e2e(&["chaos::without", "chaos::truth", "support::"])),
            Self::Deploy => deploy::run(),
            Self::Prometheus => watch::run(),
            Self::Page => page::run(),
            Self::Superset => superset::run(),
        }
    }
}

/// Every test of every crate but the end-to-end ones, which run against the release binaries.
fn unit() -> Result<Tally> {
    let mut command = shell::cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for name in integration_tests()? {
        if SERVER_TESTS.iter().all(|it| it.0 != name) {
            command.args(["--test", &name]);
        }
    }
    tests(command.args(["--", "--show-output"]))
}

/// The tests of [`SERVER_TESTS`], each with the servers it needs.
fn servers() -> Result<Tally> {
    let names = integration_tests()?;
    let wanted = |it: &&(&str, &[&str])| names.iter().any(|name| name == it.0);
    let wanted: Vec<_> = SERVER_TESTS.iter().filter(wanted).collect();
    let mut services: Vec<&str> = wanted.iter().flat_map(|it| it.1).copied().collect();
    services.dedup();
    let servers = match stack::ensure(&services) {
        Ok(servers) => Some(servers),
        Err(missing) if shell::in_ci() => return Err(missing),
        Err(missing) => {
            println!("the servers are not there, and what needs them is skipped: {missing:#}");
            None
        }
    };
    let mut command = shell::cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    for (name, _) in wanted {
        command.args(["--test", name]);
    }
    if let Some(servers) = &servers {
        command.envs(servers.variables().iter().map(|(name, value)| (name, value)));
    }
    let mut tally = tests(command.args(["--", "--show-output"]))?;
    let variables = servers.as_ref().map_or(&[][..], stack::Ensured::variables);
    let mut command = e2e(&SERVER_E2E);
    tally.add(tests(command.envs(variables.iter().map(|(name, value)| (name, value))))?);
    Ok(tally)
}

fn docs() -> Result<Tally> {
    let mut tally =
        tests(shell::cargo().args(["test", "--locked", "--workspace", "--no-fail-fast", "--doc"]))?;
    let mut rustdoc = shell::cargo();
    rustdoc.args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    shell::run(rustdoc.env("RUSTDOCFLAGS", "-D warnings"))?;
    tally.passed += 1;
    Ok(tally)
}

/// The end-to-end tests of these names, against the release binaries.
fn e2e(filters: &[&str]) -> Command {
    let mut command = shell::cargo();
    // The whole workspace, so that what `unit` built is not built again with fewer features.
    command.args(["test", "--locked", "--workspace", "--test", "e2e"]);
    command.arg("--").args(filters).arg("--nocapture");
    command.env("FTS_NODE_BIN", shell::release_binary("fts-node"));
    command.env("FTS_EXCHANGE_BIN", shell::release_binary("fts-exchange"));
    command
}

fn end_to_end(filter: &str, instants: &Instants) -> Result<Tally> {
    let mut command = e2e(&[filter]);
    for (name, value) in [("FTS_KILL_SEED", instants.seed), ("FTS_KILLS", instants.kills)] {
        if let Some(value) = value {
            command.env(name, value.to_string());
        }
    }
    tests(&mut command)
}

/// Runs tests and counts them.
fn tests(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let success = shell::listen(command, |line| tally.heed(line))?;
    if !success && tally.failed == 0 {
        // It did not build, or a test binary died.
        tally.failed = 1;
    }
    if tally.passed + tally.failed + tally.skipped == 0
        && !command.get_args().any(|it| it == "--doc")
    {
        anyhow::bail!("no test ran: is a filter out of date?");
    }
    Ok(tally)
}

/// The names of all integration tests but the end-to-end ones.
fn integration_tests() -> Result<Vec<String>> {
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let text = shell::ask(shell::cargo().args(arguments)).context("cargo metadata failed")?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let list = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(|it| it.as_array()).cloned().unwrap_or_default()
    };
    let mut names: Vec<String> = list(&metadata, "packages")
        .iter()
        .flat_map(|package| list(package, "targets"))
        .filter(|target| list(target, "kind").iter().any(|kind| kind == "test"))
        .filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()))
        .filter(|name| name != "e2e")
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_to_end_test_is_part_of_the_whole() {
        let main = std::fs::read_to_string(shell::root().join("node/tests/e2e/main.rs")).unwrap();
        let here = std::fs::read_to_string(shell::root().join("xtask/src/test.rs")).unwrap();
        let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        for module in modules.filter(|it| *it != "support") {
            assert!(here.contains(&format!("\"{module}::")), "no part runs `{module}`");
        }
    }
}
