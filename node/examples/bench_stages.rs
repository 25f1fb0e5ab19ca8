//! What each stage costs alone: parse, arbitrate and fold, append. The store has its own benchmark
//! (`bench_sqlite` of the adapters).
//!
//! `cargo run --release -p fts-node --example bench_stages [folder]`: the folder decides which disk
//! the log is measured on. The messages are those of a seeded market of 500 symbols, received over
//! loopback beforehand. Read the figures as ratios; what else the machine does is in them.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fts_adapters::binance::{BinanceDecode, BinanceFeed, FeedConfig};
use fts_adapters::journal::{Journal, JournalConfig};
use fts_core::aggregate::{Aggregate, Scope};
use fts_core::alert::AlertRule;
use fts_core::decimal::Decimal;
use fts_core::market::{Event, Source, Symbol, Topic};
use fts_core::port::decode::Decode;
use fts_core::port::feed::Feed;
use fts_core::port::log::{Append, Log, Record, Stored};
use fts_core::time::{Clock, SystemClock};
use fts_exchange::{Config, Exchange, SeededConfig, realistic_symbols};
use tokio::time::Instant;

const SYMBOLS: usize = 500;
const MESSAGES: usize = 200_000;
/// Faster than life, so that it is over soon; the mix of the messages is the same.
const RATE: f64 = 40_000.0;
const ROUNDS: usize = 5;
/// Messages between two batches of rows: 5 ms of 20,000 a second.
const FLUSH_EVERY: usize = 100;
/// Batches between two of all rows: 250 ms.
const ALL_EVERY: usize = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let tape = receive().await?;
    let bytes: usize = tape.iter().map(|it| it.record.value.len()).sum();
    println!(
        "{} messages of {SYMBOLS} symbols, {} bytes each; the best of {ROUNDS} rounds",
        tape.len(),
        bytes / tape.len()
    );
    println!("| stage | ns a message |\n|---|--:|");
    for topic in [None, Some(Topic::Trade), Some(Topic::BookTicker), Some(Topic::Ticker)] {
        parse(&tape, topic);
    }
    fold(&tape);
    for size in [1, 10, 100, 1_000] {
        append(&folder, &tape, size).await?;
    }
    Ok(())
}

/// Frames as the node receives them.
async fn receive() -> anyhow::Result<Vec<Append>> {
    let names = realistic_symbols(SYMBOLS);
    let symbols: Vec<Symbol> =
        names.iter().map(|name| Symbol::new(name)).collect::<Result<_, _>>()?;
    let exchange = Exchange::start(Config::new(fts_exchange::Source::Seeded(SeededConfig {
        seed: 1,
        symbols: names,
        rate: RATE,
        epoch_ms: None,
    })))
    .await?;
    let url = format!("ws://{}", exchange.addr());
    let feed = BinanceFeed::new(FeedConfig::new(url, Arc::new(SystemClock)))?;
    let (sender, mut frames) = tokio::sync::mpsc::channel(1_024);
    for symbols in symbols.chunks(50) {
        let mut connection = feed.connect(symbols).await?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Ok(frames) = connection.next(1_024).await {
                if sender.send(frames).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut tape = Vec::with_capacity(MESSAGES);
    while tape.len() < MESSAGES {
        let Some(frames) = frames.recv().await else { anyhow::bail!("the exchange ended") };
        tape.extend(frames.into_iter().map(|frame| Append {
            topic: frame.topic,
            partition: 0,
            record: Record {
                key: frame.symbol,
                value: frame.value,
                received_at: frame.received_at,
                source: Source::Stream,
                feed: 0,
            },
        }));
    }
    Ok(tape)
}

fn parse(tape: &[Append], topic: Option<Topic>) {
    let wanted: Vec<&Append> =
        tape.iter().filter(|it| topic.is_none_or(|topic| topic == it.topic)).collect();
    let name = topic.map_or("all", Topic::name);
    let share = 100 * wanted.len() / tape.len().max(1);
    best(&format!("parse {name} ({share} % of the messages)"), wanted.len(), || {
        for it in &wanted {
            black_box(BinanceDecode.decode(it.topic, &it.record).is_ok());
        }
    });
    best(&format!("parse {name}, by serde_json alone"), wanted.len(), || {
        for it in &wanted {
            black_box(BinanceDecode::decode_by_serde(it.topic, &it.record).is_ok());
        }
    });
}

fn fold(tape: &[Append]) {
    let rule = AlertRule { threshold_percent: Decimal::from_units(100_000_000), window_ms: 60_000 };
    let stored: Vec<(Topic, Stored, Event)> = (0..)
        .zip(tape)
        .filter_map(|(offset, it)| {
            let event = BinanceDecode.decode(it.topic, &it.record).ok()?;
            Some((it.topic, Stored { offset, record: it.record.clone() }, event))
        })
        .collect();
    let (mut rows, mut batches) = (0, 0);
    let mut folded = None;
    best("arbitrate and fold, rows made", tape.len(), || {
        let mut aggregate = Aggregate::new(0, rule);
        (rows, batches) = (0, 0);
        for part in stored.chunks(FLUSH_EVERY) {
            for (topic, stored, event) in part {
                aggregate.absorb(*topic, stored, Ok(event.clone()));
            }
            batches += 1;
            let scope = if batches % ALL_EVERY == 0 { Scope::All } else { Scope::Fast };
            rows += black_box(aggregate.take_rows(scope)).len();
        }
        folded = Some(aggregate);
    });
    println!("| … rows made of 100 messages | {} |", 100 * rows / tape.len());
    if let Some(mut aggregate) = folded {
        best("arbitrate alone: every message a repeat", tape.len(), || {
            for (topic, stored, event) in &stored {
                aggregate.absorb(*topic, stored, Ok(event.clone()));
            }
            black_box(aggregate.take_rows(Scope::All));
        });
    }
}

async fn append(folder: &std::path::Path, tape: &[Append], size: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (journal, _) = Journal::open(JournalConfig {
        dir: folder.path().to_owned(),
        partitions: 1,
        segment_bytes: 64 << 20,
        retention_ms: 0,
        retention_bytes: u64::MAX,
        tail_bytes: 32 << 20,
        clock,
    })?;
    let count = (size * 1_000).min(tape.len());
    let batches: Vec<Vec<Append>> =
        tape.iter().take(count).cloned().collect::<Vec<_>>().chunks(size).map(Into::into).collect();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut waits = Vec::new();
    for batch in batches {
        let began = Instant::now();
        journal.append(batch).await?;
        waits.push(began.elapsed());
    }
    let (took, cpu) = (began.elapsed(), cpu_seconds() - cpu);
    waits.sort_unstable();
    let at = |share: usize| {
        waits.get(waits.len() * share / 100).copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3
    };
    let each = |seconds: f64| seconds * 1e9 / count as f64;
    println!(
        "| append, {size} at once: CPU (of {:.0} in all; ms a commit p50 {:.2}, p99 {:.2}) | {:.0} |",
        each(took.as_secs_f64()),
        at(50),
        at(99),
        each(cpu)
    );
    Ok(())
}

fn best(what: &str, count: usize, mut work: impl FnMut()) {
    let mut shortest = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work();
        shortest = shortest.min(began.elapsed());
    }
    println!("| {what} | {:.0} |", shortest.as_secs_f64() * 1e9 / count.max(1) as f64);
}

/// User and system time of this process; 0 where there is no /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}
