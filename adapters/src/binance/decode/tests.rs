//! What decodes to what, over hand-written frames, recorded ones, and mutations of both.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::read::GzDecoder;
use fts_core::time::UnixNanos;
use proptest::prelude::*;

use super::*;

const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
const BOOK: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#;
const PAST: &str = r#"{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}"#;

fn record(source: Source, value: impl Into<Bytes>) -> Record {
    Record {
        key: Symbol::new("BTCUSDT").unwrap(),
        value: value.into(),
        received_at: UnixNanos(0),
        source,
        feed: 0,
    }
}

fn decode(topic: Topic, source: Source, text: &str) -> Result<Event, String> {
    BinanceDecode.decode(topic, &record(source, text.to_owned()))
}

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[track_caller]
fn check(topic: Topic, source: Source, text: &str, expected: &Event) {
    assert_eq!(decode(topic, source, text).as_ref(), Ok(expected), "{text}");
}

#[track_caller]
fn check_refused(topic: Topic, source: Source, text: &str, reason: &str) {
    let found = decode(topic, source, text).expect_err(text);
    assert!(found.contains(reason), "{text}\nfound: {found}\nexpected: {reason}");
}

fn the_trade() -> Event {
    Event::Trade(Trade {
        id: 3_735_683_259,
        time: 1_723_161_255_342,
        price: dec("61837.63"),
        quantity: dec("0.02"),
        buyer_is_maker: true,
    })
}

#[test]
fn a_trade_is_read_in_every_form_in_which_it_comes() {
    let check = |text: &str| check(Topic::Trade, Source::Stream, text, &the_trade());
    check(TRADE);
    // Older recordings name the orders; a Go encoder sorts the keys.
    check(&TRADE.replace(r#""T":"#, r#""b":28661530517,"a":28661530423,"T":"#));
    check(
        r#"{"data":{"E":1723161255343,"M":true,"T":1723161255342,"e":"trade","m":true,"p":"61837.63000000","q":"0.02000000","s":"BTCUSDT","t":3735683259},"stream":"btcusdt@trade"}"#,
    );
    // Microseconds.
    check(&TRADE.replace("1723161255342", "1723161255342999"));
    // Escapes and white space.
    check(&TRADE.replace(r#""BTCUSDT""#, r#""\u0042TCUSDT""#));
    check(&TRADE.replace(r#""0.02000000""#, r#" "0.0\u0032" "#));
    check(&TRADE.replace("0.02000000", "0.020000000000"));
}

#[test]
fn a_trade_that_breaks_a_rule_is_refused_with_the_field() {
    let check = |from: &str, to: &str, reason: &str| {
        let text = TRADE.replace(from, to);
        assert_ne!(text, TRADE);
        check_refused(Topic::Trade, Source::Stream, &text, reason);
    };
    check("61837.63000000", "abc", r#"field `p` is not a plain decimal number: "abc""#);
    check("61837.63000000", "1e5", "not a plain decimal number");
    check(r#""61837.63000000""#, "61837.63", "field `p` is not a text: 61837.63");
    check("61837.63000000", "0.00000000", "the price is not above zero");
    check("0.02000000", "-0.02000000", "the quantity is not above zero");
    check("0.02000000", "0.000000001", "field `q` is more than 8 fraction digits");
    check("0.02000000", "100000000000.0", "price × quantity is beyond 10^15");
    check(r#""0.02000000""#, r#""0.\ud800""#, "field `q` has an escape that means nothing");
    check("3735683259", "-1", "the trade id is negative");
    check("3735683259", r#""3735683259""#, "field `t` is not a whole number");
    check("3735683259", "3735683259.5", "field `t` is not a whole number");
    check("3735683259", "99999999999999999999", "field `t` is not a whole number");
    check(r#""t":3735683259,"#, "", "field `t` is missing");
    check(r#""t":3735683259,"#, r#""t":null,"#, "field `t` is missing");
    check(r#""t":3735683259,"#, r#""t":1,"t":2,"#, "duplicate field `t`");
    check("1723161255342", "-5", "field `T` is not a time");
    check("1723161255342", "1723161255342000000", "field `T` is not a time");
    check(r#""m":true"#, r#""m":1"#, "field `m` is neither true nor false");
    check(r#""BTCUSDT""#, r#""ETHUSDT""#, "field `s` is not the record's symbol BTCUSDT: ETHUSDT");
    check(r#""e":"trade""#, r#""e":"aggTrade""#, r#"field `e` is not "trade""#);
    check(r#""M":true}}"#, r#""M":tr"#, "cut short");
    check(r#""m":true"#, r#""m":yes"#, "not JSON");
    check(r#""data":"#, r#""date":"#, "missing field `data`");
    let long = "9".repeat(1_000);
    let text = TRADE.replace("61837.63000000", &long);
    assert!(decode(Topic::Trade, Source::Stream, &text).unwrap_err().len() < 400);
    check_refused(Topic::Trade, Source::Stream, "", "cut short");
    check_refused(Topic::Trade, Source::Stream, "[]", "invalid length");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let value = TRADE.replace("BTCUSDT", "BTC\u{0}SDT").into_bytes();
    let value: Vec<u8> =
        value.into_iter().map(|byte| if byte == 0 { 0xff } else { byte }).collect();
    let reason = BinanceDecode.decode(Topic::Trade, &record(Source::Stream, value)).unwrap_err();
    assert!(reason.contains("no text"), "{reason}");
}

#[test]
fn a_past_trade_is_read_from_rest() {
    let expected = Event::Trade(Trade {
        id: 28_457,
        time: 1_499_865_549_590,
        price: dec("4.000001"),
        quantity: dec("12"),
        buyer_is_maker: true,
    });
    check(Topic::Trade, Source::Backfill, PAST, &expected);
    let micros = PAST.replace("1499865549590", "1499865549590123");
    check(Topic::Trade, Source::Backfill, &micros, &expected);
    check_refused(Topic::Trade, Source::Backfill, TRADE, "field `id` is missing");
    let wrong = PAST.replace("4.00000100", "0");
    check_refused(Topic::Trade, Source::Backfill, &wrong, "the price is not above zero");
}

#[test]
fn a_best_bid_and_ask_is_read() {
    let expected = |ask: &str| {
        Event::Book(BookTicker {
            update_id: 50_093_239_212,
            bid_price: dec("61837.63"),
            bid_quantity: dec("3.78826"),
            ask_price: dec(ask),
            ask_quantity: dec("1.54698"),
        })
    };
    let check = |text: &str, ask| check(Topic::BookTicker, Source::Stream, text, &expected(ask));
    check(BOOK, "61837.64");
    // An empty side, and a bid above the ask.
    check(&BOOK.replace("61837.64000000", "0.00000000"), "0");
    check(&BOOK.replace("61837.64000000", "1000000000"), "1000000000");
    let negative = BOOK.replace("3.78826000", "-3.78826000");
    check_refused(Topic::BookTicker, Source::Stream, &negative, "negative");
    let crossed = BOOK.replace(r#","a":"61837.64000000""#, "");
    check_refused(Topic::BookTicker, Source::Stream, &crossed, "field `a` is missing");
}

#[test]
fn other_channels_are_kept_after_a_look_at_whose_they_are() {
    let agg = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":1,"p":"1"}}"#;
    check(Topic::AggTrade, Source::Stream, agg, &Event::Raw);
    let kline =
        r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":1}}}"#;
    check(Topic::Kline, Source::Stream, kline, &Event::Raw);
    check_refused(Topic::Kline, Source::Stream, agg, r#"field `e` is not "kline""#);
    let other = agg.replace("BTC", "ETH");
    check_refused(Topic::AggTrade, Source::Stream, &other, "field `s`");
    check_refused(Topic::AggTrade, Source::Stream, BOOK, "field `e` is missing");
    check_refused(Topic::AggTrade, Source::Stream, &agg.replace("}}", "}"), "cut short");
}

#[test]
fn what_is_not_the_exchanges_market_data_is_refused() {
    check_refused(Topic::Trade, Source::Control, TRADE, "control record");
    check_refused(Topic::DeadLetter, Source::Stream, TRADE, "names no stream");
    check_refused(Topic::Ticker, Source::Backfill, PAST, "only trades");
    check_refused(Topic::Ticker, Source::Stream, TRADE, r#"field `e` is not "24hrTicker""#);
}

/// The frames of a recording, or `None` where it is not at hand.
fn recording(name: &str) -> Option<Vec<String>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/binance");
    let path = PathBuf::from(folder).join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("SKIPPED: the recording {} is not at hand", path.display());
        return None;
    };
    let lines: Vec<String> = if name.ends_with(".gz") {
        BufReader::new(GzDecoder::new(file)).lines().collect::<Result<_, _>>().unwrap()
    } else {
        BufReader::new(file).lines().collect::<Result<_, _>>().unwrap()
    };
    // Tapes have the receive time before the frame.
    let frame = |line: String| match line.split_once(" {") {
        Some((_, rest)) if !line.starts_with('{') => format!("{{{rest}"),
        _ => line,
    };
    Some(lines.into_iter().map(frame).collect())
}

const TAPES: [&str; 4] = [
    "spot_btcusdt_20240808.gz",
    "spot_btcusdt_20240809.gz",
    "spot_ethusdt_20240808.gz",
    "spot_ethusdt_20240809.gz",
];

#[test]
fn every_recorded_trade_and_best_bid_and_ask_is_read_by_the_scanner_as_by_serde() {
    let (mut trades, mut books) = (0, 0);
    for name in TAPES {
        let Some(frames) = recording(name) else { return };
        let symbol = if name.contains("btc") { "BTCUSDT" } else { "ETHUSDT" };
        let mut next_id = None;
        for frame in frames {
            let topic = match &frame {
                it if it.contains("@trade\"") => Topic::Trade,
                it if it.contains("@bookTicker\"") => Topic::BookTicker,
                _ => continue,
            };
            let mut record = record(Source::Stream, frame);
            record.key = Symbol::new(symbol).unwrap();
            let key = symbol.as_bytes();
            let by_serde = BinanceDecode::decode_by_serde(topic, &record).unwrap();
            match by_serde {
                Event::Trade(trade) => {
                    assert_eq!(scan::trade(&record.value, key), Some(trade));
                    assert!(next_id.is_none_or(|next| next == trade.id), "{trade:?}");
                    next_id = Some(trade.id + 1);
                    trades += 1;
                }
                Event::Book(book) => {
                    assert_eq!(scan::book(&record.value, key), Some(book));
                    books += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((trades, books), (34_419, 131_932));
}

#[test]
fn every_frame_recorded_from_binance_us_is_read() {
    let Some(frames) = recording("binance_us_2023-11_bookticker_ticker.jsonl") else { return };
    let (mut books, mut tickers) = (0, 0);
    for frame in frames {
        let topic = if frame.contains("@ticker") { Topic::Ticker } else { Topic::BookTicker };
        match decode(topic, Source::Stream, &frame).unwrap() {
            Event::Book(book) => {
                assert!(book.bid_price <= book.ask_price);
                books += 1;
            }
            Event::Ticker(ticker) => {
                let Ticker { first_trade_id, last_trade_id, trade_count, .. } = *ticker;
                assert_eq!(trade_count, last_trade_id - first_trade_id + 1, "{frame}");
                assert!(ticker.low_price <= ticker.last_price);
                tickers += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((books, tickers), (8_148, 1_117));
}

/// Changes to a frame: where (as a fraction of its length), and what.
fn mutations() -> impl Strategy<Value = Vec<(f64, Change)>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"0123456789.-+eE\"\\,:{}[] tfn\x00\x7f\xc3\xff".to_vec()),
        1 => any::<u8>(),
    ];
    let change = prop_oneof![
        byte.clone().prop_map(Change::Replace),
        byte.prop_map(Change::Insert),
        (1..12_usize).prop_map(Change::Remove),
        (1..30_usize).prop_map(Change::Repeat),
    ];
    prop::collection::vec((0.0..1.0, change), 0..4)
}

#[derive(Debug, Clone)]
enum Change {
    Replace(u8),
    Insert(u8),
    Remove(usize),
    Repeat(usize),
}

fn mutate(frame: &str, changes: &[(f64, Change)]) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    for (place, change) in changes {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "any place will do"
        )]
        let at = (bytes.len() as f64 * place) as usize;
        match change {
            Change::Replace(byte) => bytes.iter_mut().skip(at).take(1).for_each(|it| *it = *byte),
            Change::Insert(byte) => bytes.insert(at, *byte),
            Change::Remove(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
            Change::Repeat(count) => {
                let part = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn frame(
    template: &'static str,
    numbers: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "[0-9]{1,20}",
        "[0-9]{1,17}\\.[0-9]{0,12}",
        "-?[0-9]{1,3}(\\.[0-9]{1,8})?",
        "1[0-9]{12,18}",
    ];
    prop::collection::vec(number, 0..=2).prop_flat_map(move |values| {
        let places = prop::collection::vec(prop::sample::select(numbers), values.len());
        places.prop_map(move |places| {
            let swap = |text: String, (place, value): (&str, &String)| text.replace(place, value);
            places.into_iter().zip(&values).fold(template.to_owned(), swap)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_reads_a_mutated_trade_as_serde_does(
        frame in frame(TRADE, &["61837.63000000", "0.02000000", "3735683259", "1723161255342"]),
        changes in mutations(),
    ) {
        let record = record(Source::Stream, mutate(&frame, &changes));
        let by_serde = BinanceDecode::decode_by_serde(Topic::Trade, &record);
        prop_assert_eq!(BinanceDecode.decode(Topic::Trade, &record), by_serde);
    }

    #[test]
    fn the_scanner_reads_a_mutated_best_bid_and_ask_as_serde_does(
        frame in frame(BOOK, &["61837.63000000", "3.78826000", "50093239212", "1.54698000"]),
        changes in mutations(),
    ) {
        let record = record(Source::Stream, mutate(&frame, &changes));
        let by_serde = BinanceDecode::decode_by_serde(Topic::BookTicker, &record);
        prop_assert_eq!(BinanceDecode.decode(Topic::BookTicker, &record), by_serde);
    }
}
