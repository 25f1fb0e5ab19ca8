//! How fast the SQLite store writes and reads, for 2 and for 500 symbols.
//!
//! `cargo run --release -p fts-adapters --example bench_sqlite [folder]`: the folder decides which
//! disk is measured. Read the figures as ratios; what else the machine does is in them.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Trade};
use fts_core::port::store::{End, Span, Store};
use fts_core::row::{
    BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, Extent, Rows, Table, TickerRow,
    TradeRow,
};
use tokio::time::{Instant, MissedTickBehavior};

/// 2024-08-09 00:00 UTC.
const START: i64 = 1_723_161_600_000;
/// Batches of a thousand rows, as fast as they are taken.
const FLOOD_BATCHES: usize = 1_500;
/// Then commits of 500 rows (of 2 symbols: fewer, as fewer windows change) at a steady pace.
const STEADY_COMMITS: usize = 2_000;
const STEADY_ROWS: usize = 500;
const STEADY_EVERY: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder =
        std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    for symbols in [2, 500] {
        let folder = tempfile::tempdir_in(&folder)?;
        run(&folder.path().join("fts.sqlite"), symbols).await?;
    }
    Ok(())
}

async fn run(path: &Path, symbols: usize) -> Result<(), Box<dyn std::error::Error>> {
    println!("== {symbols} symbols");
    let store = SqliteStore::open(SqliteConfig { path: path.to_owned() })?;
    let mut market = Market::new(symbols);

    // Made beforehand: the making is not measured.
    let batches: Vec<_> = (0..FLOOD_BATCHES).map(|_| Arc::new(market.rows(1_000))).collect();
    let rows: usize = batches.iter().map(|batch| batch.len()).sum();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut commits = Vec::new();
    for batch in &batches {
        commits.push(timed(store.put(std::slice::from_ref(batch))).await?.1);
    }
    report("flood, new rows", rows, began.elapsed(), cpu_seconds() - cpu, commits);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut commits = Vec::new();
    let recent = &batches[FLOOD_BATCHES - FLOOD_BATCHES / 5..];
    for batch in recent {
        commits.push(timed(store.put(std::slice::from_ref(batch))).await?.1);
    }
    let rows = recent.iter().map(|batch| batch.len()).sum();
    report("flood, the last fifth again", rows, began.elapsed(), cpu_seconds() - cpu, commits);
    drop(batches);

    let mut ticks = tokio::time::interval(STEADY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut cpu, mut commits, mut rows) = (Instant::now(), 0.0, Vec::new(), 0);
    for _ in 0..STEADY_COMMITS {
        let batch = Arc::new(market.rows(STEADY_ROWS));
        rows += batch.len();
        // From when it was due: a stall is felt by all that wait behind it.
        let due = ticks.tick().await;
        let before = cpu_seconds();
        store.put(&[batch]).await?;
        cpu += cpu_seconds() - before;
        commits.push(due.elapsed());
    }
    report("steady, a commit each 10 ms", rows, began.elapsed(), cpu, commits);

    reads(&store, &market).await?;
    let (deleted, took) = timed(store.expire(Table::BookTickers, 5_000)).await?;
    println!("expire {deleted} book rows: {took:?}");
    let bytes = std::fs::metadata(path)?.len();
    println!(
        "file {} MiB, log {} MiB",
        bytes >> 20,
        std::fs::metadata(path.with_extension("sqlite-wal"))?.len() >> 20
    );
    let began = Instant::now();
    drop(store);
    println!("close: {:?}", began.elapsed());
    Ok(())
}

async fn reads(store: &SqliteStore, market: &Market) -> Result<(), Box<dyn std::error::Error>> {
    let (busy, quiet) = (market.name(0), market.name(market.states.len() - 1));
    let absent = Symbol::new("NOBODY")?;
    let span = |limit| Span { from: i64::MIN, to: i64::MAX, limit, end: End::Newest };
    let last_id = market.states.first().map_or(0, |state| state.trade_id);
    for (what, symbol) in [("busy", &busy), ("quiet", &quiet), ("absent", &absent)] {
        for _ in 0..2 {
            let (candles, a) = timed(store.candles(symbol, Interval::Second, span(500))).await?;
            let (seconds, b) = timed(store.book_seconds(symbol, span(500))).await?;
            let (tickers, c) = timed(store.tickers(symbol, span(100))).await?;
            let (trades, d) = timed(store.trades(symbol, last_id - 1_000, 500)).await?;
            let (_, e) = timed(store.latest_book(symbol)).await?;
            println!(
                "{what}: {} 1s candles {a:?}, {} book seconds {b:?}, {} tickers {c:?}, {} trades {d:?}, book {e:?}",
                candles.len(),
                seconds.len(),
                tickers.len(),
                trades.len()
            );
        }
    }
    Ok(())
}

async fn timed<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<(T, Duration), E> {
    let began = Instant::now();
    Ok((work.await?, began.elapsed()))
}

fn report(what: &str, rows: usize, took: Duration, cpu: f64, mut commits: Vec<Duration>) {
    commits.sort_unstable();
    let at = |share: f64| {
        let index = (commits.len() as f64 * share) as usize;
        commits.get(index.min(commits.len() - 1)).map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    println!(
        "{what}: {:.0} k rows/s, {:.2} µs of CPU a row, commit ms p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.2}",
        rows as f64 / took.as_secs_f64() / 1e3,
        cpu * 1e6 / rows as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// User and system time of this process; 0 where there is no /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A market whose symbols differ in liquidity as real ones do: the n-th has a share of 1/n.
struct Market {
    states: Vec<State>,
    shares: Vec<f64>,
    time: i64,
    chance: u64,
}

struct State {
    symbol: Symbol,
    trade_id: i64,
    update_id: i64,
    price: i128,
    candles: Vec<CandleRow>,
    second: BookSecond,
}

impl Market {
    fn new(symbols: usize) -> Self {
        let states = (0..symbols).map(State::new).collect();
        let mut sum = 0.0;
        let shares = (0..symbols)
            .map(|rank| {
                sum += 1.0 / (rank + 1) as f64;
                sum
            })
            .collect();
        Self { states, shares, time: START, chance: 42 }
    }

    fn name(&self, rank: usize) -> Symbol {
        self.states[rank].symbol.clone()
    }

    /// About `count` rows: what the aggregator of a node flushes after 20 ms of the market.
    fn rows(&mut self, count: usize) -> Rows {
        let mut rows = Rows::default();
        self.time += count as i64 / 50;
        let mut traded = std::collections::BTreeSet::new();
        let mut quoted = std::collections::BTreeSet::new();
        for _ in 0..count / 5 {
            let rank = self.pick();
            rows.trades.push(self.states[rank].trade(self.time));
            traded.insert(rank);
        }
        for _ in 0..count / 2 {
            let rank = self.pick();
            rows.book_tickers.push(self.states[rank].book(self.time));
            quoted.insert(rank);
        }
        for _ in 0..count / 60 {
            let rank = self.pick();
            rows.tickers.push(self.states[rank].ticker(self.time));
        }
        // Windows that changed: each once a flush.
        for rank in traded {
            let room = (count / 5).saturating_sub(rows.candles.len());
            rows.candles.extend(self.states[rank].candles.iter().take(room).cloned());
        }
        for rank in quoted {
            if rows.book_seconds.len() < count / 12 {
                let state = &self.states[rank];
                rows.book_seconds
                    .push(BookSecondRow { symbol: state.symbol.clone(), second: state.second });
            }
        }
        rows
    }

    fn pick(&mut self) -> usize {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let point =
            (self.chance >> 11) as f64 / (1_u64 << 53) as f64 * self.shares[self.shares.len() - 1];
        self.shares.partition_point(|share| *share < point).min(self.states.len() - 1)
    }
}

impl State {
    fn new(rank: usize) -> Self {
        let zero = Extent {
            open: Decimal::ZERO,
            high: Decimal::ZERO,
            low: Decimal::ZERO,
            close: Decimal::ZERO,
        };
        Self {
            symbol: Symbol::new(&format!("COIN{rank}USDT")).expect("letters and digits"),
            trade_id: 3_000_000_000 + rank as i64 * 7,
            update_id: 80_000_000_000 + rank as i64 * 13,
            price: 6_183_763_000_000 / (rank as i128 + 1),
            candles: Vec::new(),
            second: BookSecond {
                open_time: 0,
                bid: zero,
                ask: zero,
                spread_sum: Decimal::ZERO,
                update_count: 0,
                first_update_id: 0,
                last_update_id: 0,
            },
        }
    }

    fn trade(&mut self, time: i64) -> TradeRow {
        self.trade_id += 1;
        self.price += (self.trade_id % 7 - 3) as i128 * 1_000_000;
        let (price, quantity) =
            (Decimal(self.price), Decimal(12_345 + (self.trade_id % 1_000) as i128 * 100_000));
        let trade = Trade {
            id: self.trade_id,
            time,
            price,
            quantity,
            buyer_is_maker: self.trade_id % 2 == 0,
        };
        for (place, interval) in Interval::ALL.into_iter().enumerate() {
            let open_time = interval.floor(time);
            let fresh = || CandleRow {
                symbol: self.symbol.clone(),
                interval,
                candle: Candle {
                    open_time,
                    open: price,
                    high: price,
                    low: price,
                    close: price,
                    volume: Decimal::ZERO,
                    quote_volume: Notional::ZERO,
                    trade_count: 0,
                    taker_buy_volume: Decimal::ZERO,
                    taker_buy_quote_volume: Notional::ZERO,
                    first_trade_id: trade.id,
                    last_trade_id: trade.id,
                },
                complete: false,
            };
            if self.candles.len() <= place {
                self.candles.push(fresh());
            } else if self.candles[place].candle.open_time != open_time {
                self.candles[place] = fresh();
            }
            let candle = &mut self.candles[place].candle;
            candle.high = candle.high.max(price);
            candle.low = candle.low.min(price);
            candle.close = price;
            candle.volume = candle.volume.plus(quantity);
            candle.quote_volume = candle.quote_volume.plus(price.times(quantity));
            candle.trade_count += 1;
            candle.last_trade_id = trade.id;
        }
        TradeRow {
            symbol: self.symbol.clone(),
            trade,
            received_at: time + 20,
            source: Source::Stream,
        }
    }

    fn book(&mut self, time: i64) -> BookTickerRow {
        self.update_id += 3;
        let book = BookTicker {
            update_id: self.update_id,
            bid_price: Decimal(self.price - 500_000),
            bid_quantity: Decimal(1_234_500_000 + self.update_id as i128 % 1_000_000),
            ask_price: Decimal(self.price + 500_000),
            ask_quantity: Decimal(234_500_000 + self.update_id as i128 % 1_000_000),
        };
        let open_time = Interval::Second.floor(time);
        let extent = |price| Extent { open: price, high: price, low: price, close: price };
        if self.second.open_time != open_time {
            self.second = BookSecond {
                open_time,
                bid: extent(book.bid_price),
                ask: extent(book.ask_price),
                spread_sum: Decimal::ZERO,
                update_count: 0,
                first_update_id: book.update_id,
                last_update_id: book.update_id,
            };
        }
        self.second.bid.close = book.bid_price;
        self.second.ask.close = book.ask_price;
        self.second.spread_sum = self.second.spread_sum.plus(Decimal(1_000_000));
        self.second.update_count += 1;
        self.second.last_update_id = book.update_id;
        BookTickerRow { symbol: self.symbol.clone(), book, received_at: time }
    }

    fn ticker(&self, time: i64) -> TickerRow {
        let price = Decimal(self.price);
        let ticker = Ticker {
            event_time: time,
            price_change: price,
            price_change_percent: Decimal(-2_500_000),
            weighted_avg_price: price,
            first_trade_price: price,
            last_price: price,
            last_quantity: Decimal(100_000),
            best_bid_price: price,
            best_bid_quantity: Decimal(300_000_000),
            best_ask_price: price,
            best_ask_quantity: Decimal(400_000_000),
            open_price: price,
            high_price: price,
            low_price: price,
            base_volume: Decimal(1_234_567_891_000),
            quote_volume: Decimal(75_308_641_351_000_000),
            open_time: time - 86_400_000,
            close_time: time,
            first_trade_id: self.trade_id - 1_000_000,
            last_trade_id: self.trade_id,
            trade_count: 1_000_001,
        };
        TickerRow { symbol: self.symbol.clone(), ticker: Box::new(ticker), received_at: time }
    }
}
