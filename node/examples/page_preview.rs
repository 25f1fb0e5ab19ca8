//! Shows the page over an invented market, without a node behind it: for work on the page.
//!
//! `cargo run -p fts-node --example page_preview -- [address] [symbols]`

#[path = "../tests/http/memory.rs"]
mod memory;

use std::sync::Arc;
use std::time::Duration;

use fts_actors::view::{FeedView, PartitionView, View};
use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::Store;
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, Candle, CandleRow, Extent, GapRow, Rows, TickerRow,
};
use fts_core::time::{Clock, SystemClock, UnixNanos};
use fts_node::http::{self, Web};

const HISTORY_MS: i64 = 3 * 3_600_000;
const STEP_MS: i64 = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let symbols: usize = arguments.next().map_or(Ok(12), |text| text.parse())?;

    let (view, store) = (Arc::new(View::default()), Arc::new(memory::MemoryStore::default()));
    let mut markets: Vec<Market> = (0..symbols).map(Market::new).collect();
    let now = SystemClock.now().millis();
    let mut time = now - HISTORY_MS;
    while time < now {
        let step = if now - time > 900_000 { 2_000 } else { 1_000 };
        store.put(&[Arc::new(step_all(&mut markets, &view, time))]).await?;
        time += step;
    }
    paint(&view, &markets);
    store.put(&[Arc::new(incidents(&markets, now))]).await?;

    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let web = Web {
        view: Arc::clone(&view),
        store: Arc::clone(&store) as Arc<dyn Store>,
        metrics: Arc::new(|| "# the preview measures nothing\n".to_owned()),
        clock: Arc::new(SystemClock),
        node: "preview".to_owned(),
        hosts: Vec::new(),
        nodes: None,
        started_at: UnixNanos::from_millis(now),
        batch: None,
        shutdown,
    };
    let market = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        for tick in 1_u64.. {
            ticks.tick().await;
            let rows = step_all(&mut markets, &view, SystemClock.now().millis());
            if store.put(&[Arc::new(rows)]).await.is_err() {
                break;
            }
            if tick % 5 == 0 {
                view.tick(1.0);
            }
        }
    };
    let listener = tokio::net::TcpListener::bind(&address).await?;
    tokio::select! {
        served = http::serve(listener, web) => served?,
        () = market => {}
        _ = tokio::signal::ctrl_c() => drop(stop.send(true)),
    }
    Ok(())
}

/// One symbol's random walk.
struct Market {
    symbol: Symbol,
    chance: u64,
    price: Decimal,
    tick: i128,
    liquidity: u64,
    next_id: i64,
    candles: [Option<CandleRow>; Interval::ALL.len()],
    broken: bool,
    opened_at: i64,
}

impl Market {
    fn new(index: usize) -> Self {
        const KNOWN: [(&str, i64, i128); 12] = [
            ("BTCUSDT", 6_183_763, 1_000_000),
            ("ETHUSDT", 343_210, 1_000_000),
            ("SOLUSDT", 14_873, 1_000_000),
            ("BNBUSDT", 58_240, 10_000_000),
            ("XRPUSDT", 52, 10_000),
            ("DOGEUSDT", 12, 1_000),
            ("ADAUSDT", 38, 10_000),
            ("LINKUSDT", 1_404, 1_000_000),
            ("AVAXUSDT", 2_671, 1_000_000),
            ("DOTUSDT", 602, 100_000),
            ("LTCUSDT", 7_211, 1_000_000),
            ("ATOMUSDT", 811, 100_000),
        ];
        let known = KNOWN.get(index).copied();
        let name = known.map_or_else(|| format!("SYM{index:03}USDT"), |it| it.0.to_owned());
        let (cents, tick) = known.map_or((1_000, 100_000), |it| (it.1, it.2));
        Self {
            symbol: Symbol::new(&name).expect("the names are letters and digits"),
            chance: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1),
            price: Decimal(i128::from(cents) * 1_000_000),
            tick,
            liquidity: 96 / (index as u64 + 1),
            next_id: 1_000_000 * (index as i64 + 1),
            candles: [const { None }; Interval::ALL.len()],
            broken: index == 3,
            opened_at: 0,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33) % sides
    }

    fn trade(&mut self, time: i64, rows: &mut Rows) {
        let reach = (self.price.0 / 2_500 / self.tick).max(2);
        let steps = i128::from(self.roll(u64::try_from(reach * 2 + 1).unwrap_or(3))) - reach;
        self.price = Decimal((self.price.0 + steps * self.tick).max(self.tick));
        let quantity = Decimal(i128::from(self.roll(2_000_000_000) + 1_000));
        let taker_buys = self.roll(2) == 0;
        let (id, price, quote) = (self.next_id, self.price, self.price.times(quantity));
        self.next_id += 1;
        for (slot, interval) in self.candles.iter_mut().zip(Interval::ALL) {
            let open_time = interval.floor(time);
            if let Some(done) = slot.take_if(|row| row.candle.open_time < open_time) {
                let hole = self.broken && done.candle.first_trade_id % 17 < 3;
                rows.candles.push(CandleRow { complete: !hole, ..done });
            }
            let row = slot.get_or_insert_with(|| CandleRow {
                symbol: self.symbol.clone(),
                interval,
                candle: opened(open_time, price, id),
                complete: false,
            });
            let it = &mut row.candle;
            (it.high, it.low) = (it.high.max(price), it.low.min(price));
            (it.close, it.last_trade_id) = (price, id);
            it.volume = it.volume.plus(quantity);
            it.quote_volume = it.quote_volume.plus(quote);
            it.trade_count += 1;
            if taker_buys {
                it.taker_buy_volume = it.taker_buy_volume.plus(quantity);
                it.taker_buy_quote_volume = it.taker_buy_quote_volume.plus(quote);
            }
        }
    }

    fn book(&self) -> BookTicker {
        BookTicker {
            update_id: self.next_id,
            bid_price: self.price,
            bid_quantity: Decimal::from_units(3),
            ask_price: self.price.plus(Decimal(self.tick)),
            ask_quantity: Decimal::from_units(2),
        }
    }

    fn ticker(&self, time: i64) -> Ticker {
        let (book, zero) = (self.book(), Decimal::ZERO);
        Ticker {
            event_time: time,
            price_change: zero,
            price_change_percent: Decimal(self.price.0 % 300_000_000 - 120_000_000),
            weighted_avg_price: self.price,
            first_trade_price: self.price,
            last_price: self.price,
            last_quantity: Decimal::from_units(1),
            best_bid_price: book.bid_price,
            best_bid_quantity: book.bid_quantity,
            best_ask_price: book.ask_price,
            best_ask_quantity: book.ask_quantity,
            open_price: self.price,
            high_price: self.price,
            low_price: self.price,
            base_volume: zero,
            quote_volume: zero,
            open_time: time - 86_400_000,
            close_time: time,
            first_trade_id: 1,
            last_trade_id: self.next_id - 1,
            trade_count: self.next_id % 1_000_000,
        }
    }
}

fn opened(open_time: i64, price: Decimal, id: i64) -> Candle {
    Candle {
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
        first_trade_id: id,
        last_trade_id: id,
    }
}

/// Moves every market on to `time`, and says what is to be stored.
fn step_all(markets: &mut [Market], view: &View, time: i64) -> Rows {
    let mut rows = Rows::default();
    for market in markets {
        let trades = market.roll(market.liquidity.min(12) + 2);
        for _ in 0..trades {
            market.trade(time - STEP_MS / 4, &mut rows);
        }
        // The day's candle is stored while it grows: what is read begins with its day.
        rows.candles.extend(market.candles.last().cloned().flatten());
        let (book, second) = (market.book(), Interval::Second.floor(time));
        if second > market.opened_at {
            market.opened_at = second;
            let flat = |price| Extent { open: price, high: price, low: price, close: price };
            rows.book_seconds.push(BookSecondRow {
                symbol: market.symbol.clone(),
                second: BookSecond {
                    open_time: second,
                    bid: flat(book.bid_price),
                    ask: flat(book.ask_price),
                    spread_sum: Decimal(market.tick),
                    update_count: 1,
                    first_update_id: book.update_id,
                    last_update_id: book.update_id,
                },
            });
            rows.tickers.push(TickerRow {
                symbol: market.symbol.clone(),
                ticker: Box::new(market.ticker(time)),
                received_at: time,
            });
        }
        let last = market.next_id - 1;
        view.update_symbol(&market.symbol.clone(), |it| {
            it.messages += trades * 3 + 1;
            it.trades += trades;
            it.last_trade_time = Some(time - STEP_MS / 4);
            it.last_received_at = Some(UnixNanos::from_millis(time));
            it.first_trade_id = it.first_trade_id.or(Some(last));
            (it.last_trade_id, it.contiguous_trade_id) = (Some(last), Some(last));
            if market.broken {
                it.missing = 12;
                it.contiguous_trade_id = Some(last - 400);
            }
            it.candles = market.candles.clone();
            it.book = Some(book);
            it.ticker = Some(Box::new(market.ticker(time)));
        });
    }
    rows
}

/// Feeds, partitions and a symbol that has not traded.
fn paint(view: &View, markets: &[Market]) {
    view.update(|picture| {
        for symbol in picture.symbols.values_mut() {
            symbol.messages = 0;
        }
        picture.symbols.entry(Symbol::new("NEWUSDT").expect("letters")).or_default();
        let error = Some("the connection was reset by the exchange".to_owned());
        for (name, connected, last_error) in [("A-0", true, None), ("B-0", false, error)] {
            let connects = 1 + u64::from(!connected);
            let feed = FeedView { symbols: markets.len(), connected, connects, last_error };
            picture.feeds.insert(name.to_owned(), feed);
        }
        for partition in 0..4 {
            let at = Some(SystemClock.now());
            picture.partitions.insert(partition, PartitionView { backlog: 0, checkpoint_at: at });
        }
    });
}

fn incidents(markets: &[Market], now: i64) -> Rows {
    let mut rows = Rows::default();
    for (at, market) in markets.iter().take(5).enumerate() {
        let back = 400_000 * (5 - at as i64);
        let reference_price = Decimal(market.price.0 / 1_000 * 993);
        rows.alerts.push(AlertRow {
            symbol: market.symbol.clone(),
            time: Interval::Second.floor(now - back),
            up: at % 2 == 0,
            window_ms: 60_000,
            threshold_percent: Decimal(50_000_000),
            reference_price,
            price: market.price,
            change_percent: Decimal(if at % 2 == 0 { 70_493_454 } else { -70_493_454 }),
        });
    }
    if let Some(market) = markets.get(3) {
        rows.gaps.push(GapRow {
            symbol: market.symbol.clone(),
            first_trade_id: market.next_id - 400,
            last_trade_id: market.next_id - 389,
            missing: 12,
            after_time: Some(now - 900_000),
            before_time: now - 880_000,
            reason: "the exchange does not have these trades".to_owned(),
        });
    }
    rows
}
