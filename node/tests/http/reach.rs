//! What is read of a symbol that is not known, that has just been added, or that nobody follows any
//! longer: never more than there can be of it.

use fts_core::time::Clock as _;

use super::*;

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// Reads `path`; what the store was asked for besides candles of a day.
async fn reads(node: &Node, path: &str) -> (Answer, Vec<(&'static str, i64, i64)>) {
    *node.store.reads.lock().unwrap() = Some(Vec::new());
    let answer = node.get(path).await;
    let reads = node.store.reads.lock().unwrap().take().unwrap();
    let reads = reads.into_iter().filter(|(what, _)| *what != Interval::Day.name());
    (answer, reads.map(|(what, span)| (what, span.from, span.to)).collect())
}

const PATHS: [&str; 6] = [
    "/api/v3/klines?interval=1s&symbol=",
    "/api/v3/klines?interval=1s&startTime=0&symbol=",
    "/api/v3/ticker/24hr?symbol=",
    "/api/candles?interval=1s&symbol=",
    "/api/book?limit=600&symbol=",
    "/api/trade-counts?symbol=",
];

#[tokio::test]
async fn of_a_symbol_that_is_not_known_nothing_is_read() {
    let node = Node::start().await;
    for path in
        PATHS.into_iter().chain(["/api/book?from=0&symbol=", "/api/trade-counts?from=0&symbol="])
    {
        let (answer, reads) = reads(&node, &format!("{path}NOSUCH")).await;
        assert_eq!(reads, [], "{path}");
        if path.starts_with("/api/v3/") {
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(-1121)), "{path}");
            assert_eq!(answer.json()["msg"], "Invalid symbol.", "{path}");
        } else {
            assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{path}");
        }
    }
}

#[tokio::test]
async fn of_a_symbol_that_was_just_added_no_more_is_read_than_there_can_be() {
    let node = Node::start().await;
    let now = SystemClock.now().millis();
    // Nothing came of NEWUSDT yet; SOONUSDT has traded for some seconds.
    let soon = symbol("SOONUSDT");
    node.view.update(|it| it.symbols.insert(soon.clone(), SymbolView::default()));
    let today = Interval::Day.floor(now);
    let mut rows = Rows::default();
    rows.candles.push(candle(&soon, Interval::Day, today, (1, 2)));
    for at in [today, today + 1_000] {
        rows.candles.push(candle(&soon, Interval::Second, at, (at, at)));
        rows.book_seconds.push(book_second(&soon, at));
        rows.tickers.push(ticker_row(&soon, at, 1));
    }
    node.store.put(&[Arc::new(rows)]).await.unwrap();
    for path in PATHS {
        for (name, least, count) in [("NEWUSDT", now - HOUR, 0), ("SOONUSDT", today - HOUR, 2)] {
            let (answer, reads) = reads(&node, &format!("{path}{name}")).await;
            for (what, from, to) in reads {
                assert!(from >= least && from <= to, "{path}{name}: {what} from {from} to {to}");
            }
            if path.contains("24hr") {
                assert_eq!(answer.status, if count == 0 { 503 } else { 200 }, "{path}{name}");
                continue;
            }
            assert_eq!(answer.status, 200, "{path}{name}: {answer:?}");
            let list = answer.json().as_array().unwrap().len();
            // Between two candles whose trades do not join nothing is made up.
            assert_eq!(list, count, "{path}{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_symbol_that_nobody_follows_is_known_by_its_rows_and_searched_where_they_are() {
    let node = Node::start().await;
    let gone = symbol("GONEUSDT");
    let mut rows = Rows::default();
    for day in [START, START + 2 * DAY] {
        rows.candles.push(candle(&gone, Interval::Day, day, (day, day)));
        rows.candles.push(candle(&gone, Interval::Second, day, (day, day)));
        rows.book_seconds.push(book_second(&gone, day));
        rows.tickers.push(ticker_row(&gone, day, 1));
    }
    node.store.put(&[Arc::new(rows)]).await.unwrap();
    for path in PATHS {
        let (answer, reads) = reads(&node, &format!("{path}GONEUSDT")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(!reads.is_empty(), "{path}");
        for (what, from, to) in reads {
            let is_within = from >= START - HOUR && to <= START + 3 * DAY + HOUR;
            assert!(is_within, "{path}: {what} from {from} to {to}");
        }
        if let Some(list) = answer.json().as_array() {
            let expected = if path.contains("trade-counts") { 1 } else { 2 };
            assert_eq!(list.len(), expected, "{path}: {answer:?}");
        }
    }
    let from = format!("/api/v3/klines?symbol=GONEUSDT&interval=1m&startTime={}", START + 9 * DAY);
    assert_eq!(node.list(&from).await, [json!(null); 0], "it is known, and had nothing then");
}
