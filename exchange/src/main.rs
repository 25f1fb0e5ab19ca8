//! `fts-exchange`: a simulated Binance on one port, from a tape or from a seed.

use anyhow::Context as _;
use clap::Parser;
use fts_exchange::{
    AlphaVantageConfig, Config, ConnectionLimits, Exchange, Faults, SeededConfig, Source, Speed,
    Start, StartError, TapeConfig, WEIGHT_LIMIT, parse_today, realistic_symbols,
};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What was given is wrong.
const BAD_INPUT: u8 = 2;

/// What shapes a seeded market, and makes no sense with a tape.
const SEEDED: [&str; 5] = ["seed", "symbols", "rate", "steady", "epoch_ms"];

const EXAMPLES: &str = "\
Faults, on one line: drop, duplicate, reorder, malformed, rest_error, rest_timeout, rest_429, rest_418
are shares (0.001); disconnect, stall, stall_for, delay, jitter, rest_delay, rest_timeout_after are
times (250ms, 30s, 5m); reorder_window, rest_retry_after_s and seed are numbers.

Beside /ws, /stream and /api/v3 there are, on the same port:
  /query                                  Alpha Vantage: TIME_SERIES_DAILY, GLOBAL_QUOTE
  /truth/status|trades|candles|alerts     what really happened, page by page
  /control/faults                         GET, POST (the same line), DELETE
  /control/disconnect|stall|refuse|shutdown   POST, ?for=30s
  /control/alpha-vantage                  GET, POST, DELETE

Examples:
  fts-exchange --seed 1 --symbols 50 --rate 5000 --limits
  fts-exchange --tape day.gz --speed 20
  fts-exchange --faults disconnect=30s,drop=0.001,duplicate=0.001,reorder=0.001,seed=7
  curl -X POST localhost:9443/control/faults -d 'delay=20ms,jitter=5ms'
  curl 'localhost:9443/truth/candles?symbol=BTCUSDT&interval=1m'
  curl 'localhost:9443/query?function=TIME_SERIES_DAILY&symbol=TSLA&apikey=any'";

/// A simulated Binance: streams and REST on one port, from a recorded tape or a seeded market; and
/// Alpha Vantage's daily prices.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Play this recording (gzip; lines `<receive time in ns> <json>`); repeat it for several files,
    /// which become one market.
    #[arg(long, value_name = "FILE", conflicts_with_all = SEEDED)]
    tape: Vec<PathBuf>,
    /// Play so many times as fast as recorded, or `max`: as fast as the subscribers take it [1].
    #[arg(long, value_name = "N|max", requires = "tape", conflicts_with_all = SEEDED, value_parser = speed)]
    speed: Option<Speed>,
    /// Begin with the `first` subscriber (250 ms after it, so that others can join), or `now` [first].
    #[arg(long, value_name = "now|first", requires = "tape", conflicts_with_all = SEEDED, value_parser = start)]
    start: Option<Start>,
    /// Make a market up from this seed [1].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Its symbols: a list such as BTCUSDT,ETHUSDT, or how many [10].
    #[arg(long, value_name = "LIST|COUNT")]
    symbols: Option<String>,
    /// Its messages a second over all symbols: trades, book tickers and tickers [500].
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Every second is as busy as any other, and as busy as `--rate` says. Without it there are bursts
    /// and quiet minutes: trades and book tickers add up over each hour, tickers about so.
    #[arg(long)]
    steady: bool,
    /// When it began, ms UTC, a whole minute; nothing is older [15 minutes ago].
    #[arg(long, value_name = "MS")]
    epoch_ms: Option<i64>,
    /// Request weight that an address may use in a minute.
    #[arg(long, value_name = "N", default_value_t = WEIGHT_LIMIT)]
    weight_limit: u32,
    /// Limit connections as the real exchange does: 1,024 streams each (else closed with 1008), 300
    /// attempts in 5 minutes from an address (else 429), 5 messages a second (else closed with 1008).
    #[arg(long)]
    limits: bool,
    /// What goes wrong on purpose, seeded: `disconnect=30s,drop=0.001,duplicate=0.001,…` (the list is below).
    #[arg(long, value_name = "LIST", default_value = "")]
    faults: Faults,
    /// Stop the clock of the simulated Alpha Vantage at this day's evening, or at this time of New
    /// York: 2026-05-15, 2026-05-15T11:30:00.
    #[arg(long, value_name = "DATE", value_parser = parse_today)]
    av_today: Option<jiff::civil::DateTime>,
    /// What its prices grow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    av_seed: u64,
    /// Everybody has paid for it: `outputsize=full` is answered.
    #[arg(long)]
    av_premium: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let start = error.downcast_ref::<StartError>();
            match start.is_some_and(StartError::is_bad_input) {
                true => ExitCode::from(BAD_INPUT),
                false => ExitCode::FAILURE,
            }
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let starting = Exchange::start(arguments.config());
    let exchange = tokio::select! {
        started = starting => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let addr = exchange.addr();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on ws://{addr} and http://{addr}")
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")?;
    tokio::select! {
        () = announce_end(&exchange) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    exchange.stop().await;
    Ok(())
}

/// Says when the tape has ended; never returns: REST and pings go on.
async fn announce_end(exchange: &Exchange) {
    let frames = exchange.tape_ended().await;
    eprintln!("the tape has ended: {frames} frames were played");
    std::future::pending().await
}

impl Arguments {
    fn config(self) -> Config {
        let source = if self.tape.is_empty() {
            let market = SeededConfig {
                seed: self.seed.unwrap_or(1),
                symbols: symbols(self.symbols.as_deref().unwrap_or("10")),
                rate: self.rate.unwrap_or(500.0),
                epoch_ms: self.epoch_ms,
            };
            match self.steady {
                true => Source::Steady(market),
                false => Source::Seeded(market),
            }
        } else {
            Source::Tape(TapeConfig {
                files: self.tape,
                speed: self.speed.unwrap_or(Speed::Times(1.0)),
                start: self.start.unwrap_or(Start::First),
            })
        };
        Config {
            listen: self.listen,
            weight_limit: self.weight_limit,
            connections: self.limits.then(ConnectionLimits::default),
            faults: self.faults,
            alpha_vantage: AlphaVantageConfig {
                seed: self.av_seed,
                today: self.av_today,
                premium: self.av_premium,
                ..AlphaVantageConfig::default()
            },
            ..Config::new(source)
        }
    }
}

/// A count, or names with commas between them.
fn symbols(text: &str) -> Vec<String> {
    match text.parse::<u16>() {
        Ok(count) => realistic_symbols(usize::from(count)),
        Err(_) => text.split(',').map(|name| name.trim().to_owned()).collect(),
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("give a positive number such as 1 or 20, or max".to_owned()),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        "first" => Ok(Start::First),
        _ => Err("give now or first".to_owned()),
    }
}
