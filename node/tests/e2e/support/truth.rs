//! What must come out, computed from what the exchange has by other means than the node's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::http;
use super::node::tapes;

/// The intervals that a node folds, and their milliseconds.
pub(crate) const INTERVALS: [(&str, i64); 6] = [
    ("1s", 1_000),
    ("1m", 60_000),
    ("5m", 300_000),
    ("15m", 900_000),
    ("1h", 3_600_000),
    ("1d", 86_400_000),
];

/// A plain decimal in units of 10⁻¹⁶: enough for a price times a quantity.
#[track_caller]
pub(crate) fn exact(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 16, "`{text}` is finer than the exchange's own digits");
    format!("{whole}{fraction:0<16}")
        .parse()
        .unwrap_or_else(|_| panic!("`{text}` is no plain decimal"))
}

/// A trade of the tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) time: i64,
    pub(crate) price: i128,
    pub(crate) quantity: i128,
    pub(crate) buyer_is_maker: bool,
}

/// What an exchange has, by symbol and id.
#[derive(Default)]
pub(crate) struct Truth {
    /// By symbol and trade id.
    pub(crate) trades: BTreeMap<(String, i64), Trade>,
    /// Bid price and quantity, ask price and quantity, by symbol and update id.
    pub(crate) books: BTreeMap<(String, i64), [i128; 4]>,
    /// Whether the trades begin where the exchange's do.
    begins_with_the_exchange: bool,
}

/// A candle as it must be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candle {
    pub(crate) open: i128,
    pub(crate) high: i128,
    pub(crate) low: i128,
    pub(crate) close: i128,
    pub(crate) volume: i128,
    pub(crate) quote_volume: i128,
    pub(crate) trade_count: i64,
    pub(crate) taker_buy_volume: i128,
    pub(crate) taker_buy_quote_volume: i128,
    pub(crate) first_trade_id: i64,
    pub(crate) last_trade_id: i64,
    /// `None` where it is not this judge's to say.
    pub(crate) complete: Option<bool>,
}

impl Truth {
    /// Reads the four tapes.
    pub(crate) fn read(fixtures: &Path) -> Self {
        let mut truth = Self { begins_with_the_exchange: true, ..Self::default() };
        for tape in tapes(fixtures) {
            let mut text = String::new();
            MultiGzDecoder::new(fs::File::open(tape).unwrap()).read_to_string(&mut text).unwrap();
            for line in text.lines() {
                let (_, json) = line.split_once(' ').unwrap();
                if json.contains("@trade\"") || json.contains("@bookTicker\"") {
                    truth.absorb(&serde_json::from_str(json).unwrap());
                }
            }
        }
        truth
    }

    /// Asks a running exchange for the trades of these spans of ids.
    pub(crate) fn ask(address: &str, spans: &[(String, i64, i64)]) -> Self {
        let mut truth = Self::default();
        for (symbol, first, last) in spans {
            let mut next = *first;
            while next <= *last {
                let query = format!("symbol={symbol}&fromId={next}&limit=1000");
                let path = format!("/api/v3/historicalTrades?{query}");
                let answer = http::get_json(address, &path).expect("an answer of the exchange");
                let trades = answer.as_array().unwrap();
                assert!(!trades.is_empty(), "the exchange has no trade {next} of {symbol}");
                for trade in trades {
                    let id = trade["id"].as_i64().unwrap();
                    next = id + 1;
                    if id <= *last {
                        truth.trades.insert((symbol.clone(), id), past(trade));
                    }
                }
            }
        }
        truth
    }

    fn absorb(&mut self, frame: &serde_json::Value) {
        let data = &frame["data"];
        let number = |key: &str| exact(data[key].as_str().unwrap());
        let symbol = data["s"].as_str().unwrap().to_owned();
        if let Some(id) = data["t"].as_i64() {
            let trade = Trade {
                time: data["T"].as_i64().unwrap(),
                price: number("p"),
                quantity: number("q"),
                buyer_is_maker: data["m"].as_bool().unwrap(),
            };
            self.trades.insert((symbol, id), trade);
        } else {
            let book = ["b", "B", "a", "A"].map(number);
            self.books.insert((symbol, data["u"].as_i64().unwrap()), book);
        }
    }

    /// The highest trade id of a symbol.
    pub(crate) fn last_trade_id(&self, symbol: &str) -> i64 {
        self.trades.keys().filter(|(of, _)| of == symbol).map(|(_, id)| *id).max().unwrap()
    }

    /// All candles, by symbol, interval and open time. The first and the last of each symbol and
    /// interval can't be proven complete: nothing is known of what was before and after the tape.
    pub(crate) fn candles(&self) -> BTreeMap<(String, &'static str, i64), Candle> {
        let mut candles = BTreeMap::new();
        let symbols: BTreeSet<&String> = self.trades.keys().map(|(symbol, _)| symbol).collect();
        for symbol in symbols {
            let span = (symbol.clone(), i64::MIN)..=(symbol.clone(), i64::MAX);
            let trades: Vec<_> = self.trades.range(span).map(|((_, id), t)| (*id, t)).collect();
            for (interval, millis) in INTERVALS {
                let window = |trade: &Trade| trade.time - trade.time.rem_euclid(millis);
                let ends = [trades[0].1, trades[trades.len() - 1].1].map(window);
                for bar in trades.chunk_by(|a, b| window(a.1) == window(b.1)) {
                    let open_time = window(bar[0].1);
                    let first = open_time == ends[0] && !self.begins_with_the_exchange;
                    let complete = (!first).then(|| !ends.contains(&open_time));
                    let candle = fold(bar, complete);
                    let before = candles.insert((symbol.clone(), interval, open_time), candle);
                    assert!(before.is_none(), "the tape's trades of one window lie apart");
                }
            }
        }
        candles
    }
}

fn fold(bar: &[(i64, &Trade)], complete: Option<bool>) -> Candle {
    let (first, last) = (&bar[0], &bar[bar.len() - 1]);
    let prices = || bar.iter().map(|(_, trade)| trade.price);
    let sum = |buy: bool, of: fn(&Trade) -> i128| -> i128 {
        let counted = bar.iter().filter(|(_, trade)| !buy || !trade.buyer_is_maker);
        counted.map(|(_, trade)| of(trade)).sum()
    };
    // Both have at most 8 fraction digits, so the product is exact in units of 10⁻¹⁶.
    let quote: fn(&Trade) -> i128 =
        |trade| (trade.price / 100_000_000) * (trade.quantity / 100_000_000);
    Candle {
        open: first.1.price,
        high: prices().max().unwrap(),
        low: prices().min().unwrap(),
        close: last.1.price,
        volume: sum(false, |trade| trade.quantity),
        quote_volume: sum(false, quote),
        trade_count: i64::try_from(bar.len()).unwrap(),
        taker_buy_volume: sum(true, |trade| trade.quantity),
        taker_buy_quote_volume: sum(true, quote),
        first_trade_id: first.0,
        last_trade_id: last.0,
        complete,
    }
}

/// A trade as REST has it.
fn past(trade: &serde_json::Value) -> Trade {
    Trade {
        time: trade["time"].as_i64().unwrap(),
        price: exact(trade["price"].as_str().unwrap()),
        quantity: exact(trade["qty"].as_str().unwrap()),
        buyer_is_maker: trade["isBuyerMaker"].as_bool().unwrap(),
    }
}

/// A fixture's CSV: each line by column.
pub(crate) fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        names.iter().zip(line.split(',')).map(|(n, v)| ((*n).to_owned(), v.to_owned())).collect()
    };
    lines.map(row).collect()
}
