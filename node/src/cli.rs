//! The command line: what a user types, and the exit code that comes back.
//!
//! 0: done. 1: it ran and failed. 2: what was asked for can't be; nothing was started.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fts_adapters::journal;

use crate::config::{self, Overrides};
use crate::{batch, client, demo, run, status, symbols, telemetry};

/// Captures exchange data, proves that nothing is missing, aggregates and stores it.
#[derive(Debug, Parser)]
#[command(name = "fts-node", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration; ./cluster.toml if there is one, else the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, such as --set ingest.feeds=2; may be given again.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the log and the store are kept; as --set data_dir=…
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address of the page and the API; as --set http.listen=…
    #[arg(long, global = true, value_name = "ADDR")]
    http: Option<String>,
    /// Where to listen for the other nodes of a cluster; as --set cluster.listen=…
    #[arg(long, global = true, value_name = "ADDR")]
    cluster_listen: Option<String>,
    /// A node to join; may be given again: any that is alive will do. As --set cluster.join=[…]
    #[arg(long, global = true, value_name = "ADDR")]
    join: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Captures from the exchange that is configured. The default.
    Run,
    /// Captures from a simulated exchange in the same process; nothing to configure. Keeps its data only with --data-dir.
    Demo,
    /// Shows what a running node, and the cluster that it belongs to, is doing.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Which node to ask, such as http://127.0.0.1:8080; the one of --http if left out.
        #[arg(long, value_name = "URL")]
        node: Option<String>,
    },
    /// Lists, adds or removes symbols of a running node, or of the whole cluster that it belongs to.
    Symbols {
        #[command(subcommand)]
        what: SymbolsCommand,
        /// Which node to ask, such as http://127.0.0.1:8080; the one of --http if left out.
        #[arg(long, global = true, value_name = "URL")]
        node: Option<String>,
    },
    /// The daily batch of stock prices.
    Batch {
        #[command(subcommand)]
        what: BatchCommand,
    },
    /// Looks at the embedded log of --data-dir while no node runs on it.
    Log {
        #[command(subcommand)]
        what: LogCommand,
    },
    /// Looks at the configuration; starts nothing.
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
}

/// What to do with the symbols.
#[derive(Debug, Subcommand)]
pub(crate) enum SymbolsCommand {
    /// Shows what is captured.
    List,
    /// Captures these, too, from here on.
    Add {
        /// As the exchange writes them, such as SOLUSDT.
        #[arg(required = true)]
        symbols: Vec<String>,
    },
    /// Captures these no longer; what is stored stays.
    Remove {
        /// As the exchange writes them.
        #[arg(required = true)]
        symbols: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    /// Runs it at once, on the running node (of --http), and waits for its end.
    Run {
        /// For this symbol only.
        #[arg(long)]
        symbol: Option<String>,
        /// Which node to ask, such as http://127.0.0.1:8080; the one of --http if left out.
        #[arg(long, value_name = "URL")]
        node: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Reads all of it and tells what is damaged, and where; changes nothing. Exit code 1: damaged.
    Check,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tells whether a node could start with it.
    Check,
    /// Prints all of it, defaults and overrides included.
    Dump,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let overrides = Overrides {
        file: cli.config,
        set: cli.set,
        data_dir: cli.data_dir.clone(),
        http: cli.http,
        cluster_listen: cli.cluster_listen,
        join: cli.join,
    };
    let command = cli.command.unwrap_or(Command::Run);
    let asks = matches!(
        command,
        Command::Status { .. }
            | Command::Symbols { .. }
            | Command::Batch { .. }
            | Command::Log { .. }
    );
    let load = if asks { config::load_to_ask } else { config::load };
    let config = match load(&overrides) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let done = match command {
        Command::Config { what: ConfigCommand::Check } => {
            say("the configuration is valid");
            return ExitCode::SUCCESS;
        }
        Command::Config { what: ConfigCommand::Dump } => {
            say(config.dump().trim_end());
            return ExitCode::SUCCESS;
        }
        Command::Log { what: LogCommand::Check } => check_log(&config.data_dir.join("log")),
        Command::Status { json, node } => client::address(node.as_deref(), config.http_listen)
            .and_then(|it| status::show(it, json)),
        Command::Symbols { what, node } => client::address(node.as_deref(), config.http_listen)
            .and_then(|it| symbols::run(it, &what)),
        Command::Batch { what: BatchCommand::Run { symbol, node } } => {
            client::address(node.as_deref(), config.http_listen)
                .and_then(|it| batch::run(it, symbol.as_deref()))
        }
        Command::Run => {
            telemetry::log(&config.log_filter);
            runtime().and_then(|it| it.block_on(run::run(config)))
        }
        Command::Demo => {
            telemetry::log(&config.log_filter);
            runtime().and_then(|it| it.block_on(demo::demo(config, cli.data_dir)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn check_log(dir: &Path) -> anyhow::Result<()> {
    let found = journal::check(dir)?;
    for finding in &found.findings {
        say(&finding.to_string());
    }
    let (segments, records) = (found.segments, found.records);
    say(&format!("{records} records in {segments} segments of {} are whole", dir.display()));
    anyhow::ensure!(
        !found.is_damaged(),
        "the log is damaged: restore the files from a copy, or move {} away and start again (the \
         store keeps its rows, candles under way are filled back, older trades that were only on \
         the log are gone)",
        dir.display()
    );
    Ok(())
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    complain(error);
    ExitCode::from(2)
}

/// Prints a line for whoever, or whatever, started the program. Where nobody reads any more, as after
/// `fts-node … | head`, nothing is printed, and what was asked for is done all the same.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&anyhow::Error::new(error).context("cannot print the answer"));
        }
        _ => {}
    }
}

#[expect(clippy::print_stderr, reason = "logs may be off, or not there yet")]
fn complain(error: &anyhow::Error) {
    eprintln!("fts-node: {error:#}");
}

/// An address to connect to, for one that may say "any".
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    }
}
