//! `fts-exchange`: a simulated Binance, from a recording or from a seed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fts_exchange::{
    Config, Exchange, SeededConfig, Source, Speed, Start, TapeConfig, WEIGHT_LIMIT,
    realistic_symbols,
};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Binance: streams and REST on one port, from a recording or from a seed.
#[derive(Debug, Parser)]
#[command(name = "fts-exchange", version)]
struct Cli {
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// A recording to play: gzip, a line a frame, `<receive time, ns> <json>`. Several are one market.
    #[arg(long, value_name = "FILE")]
    tape: Vec<PathBuf>,
    /// How fast a recording is played: a number of times, or max.
    #[arg(long, default_value = "1", requires = "tape", value_parser = speed)]
    speed: Speed,
    /// When a recording begins: with the first subscriber (250 ms later, so that others can join
    /// it), or now.
    #[arg(long, default_value = "first", requires = "tape", value_parser = start)]
    start: Start,
    /// What a made-up market grows from.
    #[arg(long, default_value_t = 1, conflicts_with = "tape")]
    seed: u64,
    /// Names separated by commas, the most liquid first; or how many.
    #[arg(long, default_value = "BTCUSDT,ETHUSDT", conflicts_with = "tape")]
    symbols: String,
    /// Messages a second of all symbols together.
    #[arg(long, default_value_t = 100.0, conflicts_with = "tape")]
    rate: f64,
    /// When the market began, ms UTC, a whole minute; 15 minutes ago if not given.
    #[arg(long, conflicts_with = "tape")]
    epoch_ms: Option<i64>,
    /// Request weight that an address may use in a minute.
    #[arg(long, default_value_t = WEIGHT_LIMIT)]
    weight_limit: u32,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0);
    times.map(Speed::Times).ok_or_else(|| "give a positive number, or max".to_owned())
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "first" => Ok(Start::First),
        "now" => Ok(Start::Now),
        _ => Err("give first or now".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            tracing::error!("{error}");
            ExitCode::from(code)
        }
    }
}

#[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
async fn run(cli: Cli) -> Result<(), (u8, String)> {
    let failed = |error: std::io::Error| (1, error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let source = if cli.tape.is_empty() {
        let symbols = match cli.symbols.parse::<usize>() {
            Ok(count) => realistic_symbols(count),
            Err(_) => cli.symbols.split(',').map(|name| name.trim().to_uppercase()).collect(),
        };
        let (seed, rate, epoch_ms) = (cli.seed, cli.rate, cli.epoch_ms);
        Source::Seeded(SeededConfig { seed, symbols, rate, epoch_ms })
    } else {
        Source::Tape(TapeConfig { files: cli.tape, speed: cli.speed, start: cli.start })
    };
    let is_tape = matches!(source, Source::Tape(_));
    let config =
        Config { listen: cli.listen, weight_limit: cli.weight_limit, ..Config::new(source) };
    let exchange = Exchange::start(config)
        .await
        .map_err(|error| (if error.is_bad_input() { 2 } else { 1 }, error.to_string()))?;
    let addr = exchange.addr();
    println!("listening on ws://{addr} and http://{addr}");
    let mut has_ended = !is_tape;
    loop {
        tokio::select! {
            frames = exchange.tape_ended(), if !has_ended => {
                has_ended = true;
                tracing::info!(frames, "the tape has ended; REST and pings go on");
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    exchange.stop().await;
    Ok(())
}
