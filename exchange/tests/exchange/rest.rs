//! REST: shapes, errors, weights.

use crate::support::{api, get, seeded, tape, trade_line, write_tape};
use fts_exchange::{Exchange, Speed, Start};
use serde_json::json;

async fn three_trades() -> (Exchange, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let lines = [trade_line(7, 0), trade_line(8, 0), trade_line(9, 61)];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let book = r#"1700000000000000000 {"stream":"aaausdt@bookTicker","data":{"u":5,"s":"AAAUSDT","b":"2.40000000","B":"1.00000000","a":"2.50000000","A":"3.00000000"}}"#;
    let files =
        vec![write_tape(folder.path(), "a.gz", &lines), write_tape(folder.path(), "b.gz", &[book])];
    let exchange = Exchange::start(tape(files, Speed::Max, Start::Now)).await.unwrap();
    exchange.tape_ended().await;
    (exchange, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_as_documented() {
    let (exchange, _folder) = three_trades().await;
    let check = async |path: &str, expected: &str| {
        let answer = get(&exchange, &format!("/api/v3/{path}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{path}");
    };
    check("ping", "{}").await;
    check("time", r#"{"serverTime":1700000061002}"#).await;
    let trade = |id: u64, time: i64| {
        format!(
            "{{\"id\":{id},\"price\":\"2.50000000\",\"qty\":\"4.00000000\",\"quoteQty\":\"10.00000000\",\
             \"time\":{time},\"isBuyerMaker\":true,\"isBestMatch\":true}}"
        )
    };
    let (one, two) = (trade(8, 1_700_000_000_000), trade(9, 1_700_000_061_000));
    check("trades?symbol=AAAUSDT&limit=2", &format!("[{one},{two}]")).await;
    check("historicalTrades?symbol=AAAUSDT&fromId=8&limit=1", &format!("[{one}]")).await;
    check("historicalTrades?symbol=AAAUSDT&fromId=10", "[]").await;
    let first = r#"{"a":3000000000,"p":"2.50000000","q":"8.00000000","f":7,"l":8,"T":1700000000000,"m":true,"M":true}"#;
    let second = r#"{"a":3000000001,"p":"2.50000000","q":"4.00000000","f":9,"l":9,"T":1700000061000,"m":true,"M":true}"#;
    check("aggTrades?symbol=AAAUSDT", &format!("[{first},{second}]")).await;
    check("aggTrades?symbol=AAAUSDT&startTime=1700000000001", &format!("[{second}]")).await;
    check("aggTrades?symbol=AAAUSDT&endTime=1700000060999", &format!("[{first}]")).await;
    check("aggTrades?symbol=AAAUSDT&fromId=3000000001", &format!("[{second}]")).await;
    check("aggTrades?symbol=AAAUSDT&startTime=0&endTime=1", "[]").await;
    check("aggTrades?symbol=AAAUSDT&limit=1", &format!("[{second}]")).await;
    let book = r#"{"symbol":"AAAUSDT","bidPrice":"2.40000000","bidQty":"1.00000000","askPrice":"2.50000000","askQty":"3.00000000"}"#;
    check("ticker/bookTicker?symbol=AAAUSDT", book).await;
    check("ticker/bookTicker", &format!("[{book}]")).await;
    check("ticker/bookTicker?symbols=%5B%22AAAUSDT%22%5D", &format!("[{book}]")).await;
    let kline = r#"[[1700000040000,"2.50000000","2.50000000","2.50000000","2.50000000","4.00000000",1700000099999,"10.00000000",1,"0.00000000","0.00000000","0"]]"#;
    check("klines?symbol=AAAUSDT&interval=1m&limit=1", kline).await;
    check("klines?symbol=AAAUSDT&interval=1m&startTime=1700000040000", kline).await;
    check("klines?symbol=AAAUSDT&interval=1m&startTime=1700000040000000", kline).await;
    check("ticker/24hr?symbol=AAAUSDT", r#"{"symbol":"AAAUSDT","priceChange":"0.00000000","priceChangePercent":"0.000","weightedAvgPrice":"2.50000000","prevClosePrice":"0.00000000","lastPrice":"2.50000000","lastQty":"4.00000000","bidPrice":"2.40000000","bidQty":"1.00000000","askPrice":"2.50000000","askQty":"3.00000000","openPrice":"2.50000000","highPrice":"2.50000000","lowPrice":"2.50000000","volume":"12.00000000","quoteVolume":"30.00000000","openTime":1699913661002,"closeTime":1700000061002,"firstId":7,"lastId":9,"count":3}"#).await;
    check("ticker/24hr?symbols=%5B%22AAAUSDT%22%5D&type=MINI", r#"[{"symbol":"AAAUSDT","openPrice":"2.50000000","highPrice":"2.50000000","lowPrice":"2.50000000","lastPrice":"2.50000000","volume":"12.00000000","quoteVolume":"30.00000000","openTime":1699913661002,"closeTime":1700000061002,"firstId":7,"lastId":9,"count":3}]"#).await;
    let info = api(&exchange, "exchangeInfo?symbol=AAAUSDT").await;
    assert_eq!(
        info["rateLimits"][0],
        json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000})
    );
    let symbol = &info["symbols"][0];
    assert_eq!((&symbol["baseAsset"], &symbol["status"]), (&json!("AAA"), &json!("TRADING")));
    assert_eq!(symbol["filters"][0]["tickSize"], "0.10000000");
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_the_documented_ones() {
    let (exchange, _folder) = three_trades().await;
    let symbol_range = r"legal range is '^[\w\-._&&[^a-z]]{1,50}$'.";
    let number_range = "legal range is '^[0-9]{1,20}$'.";
    let mandatory = |name: &str| {
        (-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    };
    let illegal = |name: &str, range: &str| {
        (-1100, format!("Illegal characters found in parameter '{name}'; {range}"))
    };
    let plain = |code: i32, text: &str| (code, text.to_owned());
    let cases = [
        ("trades", mandatory("symbol")),
        ("trades?symbol=", mandatory("symbol")),
        ("trades?symbol=NOPEUSDT", plain(-1121, "Invalid symbol.")),
        ("trades?symbol=aaausdt", illegal("symbol", symbol_range)),
        ("trades?symbol=AAAUSDT&limit=x", illegal("limit", number_range)),
        ("trades?symbol=AAAUSDT&limit=-1", illegal("limit", number_range)),
        ("trades?symbol=AAAUSDT&limit=", plain(-1105, "Parameter 'limit' was empty.")),
        (
            "trades?symbol=AAAUSDT&limit=0",
            plain(-1130, "Data sent for parameter 'limit' is not valid."),
        ),
        (
            "trades?symbol=AAAUSDT&symbol=AAAUSDT",
            plain(-1101, "Duplicate values for a parameter detected."),
        ),
        (
            "trades?symbol=AAAUSDT&fromId=1",
            plain(
                -1104,
                "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
            ),
        ),
        (
            "historicalTrades?symbol=AAAUSDT&fromId=99999999999999999999",
            plain(-1108, "Parameter 'fromId' overflowed."),
        ),
        ("klines?symbol=AAAUSDT", mandatory("interval")),
        ("klines?symbol=AAAUSDT&interval=7m", plain(-1120, "Invalid interval.")),
        (
            "aggTrades?symbol=AAAUSDT&fromId=1&startTime=1",
            plain(-1128, "Combination of optional parameters invalid."),
        ),
        ("ticker/24hr?symbol=AAAUSDT&type=BIG", plain(-1139, "Invalid ticker type.")),
        (
            "ticker/24hr?symbols=%5B%22AAAUSDT%22,%22AAAUSDT%22%5D",
            plain(-1151, "Symbol is present multiple times in the list."),
        ),
        (
            "ticker/bookTicker?symbol=AAAUSDT&symbols=%5B%22AAAUSDT%22%5D",
            plain(-1128, "Combination of optional parameters invalid."),
        ),
    ];
    for (path, (code, message)) in cases {
        let answer = get(&exchange, &format!("/api/v3/{path}")).await;
        assert_eq!(answer.status, 400, "{path}");
        let message = json!(message);
        assert_eq!(answer.body, format!("{{\"code\":{code},\"msg\":{message}}}"), "{path}");
    }
    assert_eq!(get(&exchange, "/api/v3/nothing").await.status, 404);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_add_up_to_429_and_then_to_418() {
    let mut config = seeded(1, &["BTCUSDT", "ETHUSDT"], 10.0);
    // A minute may turn in between: then the sums start afresh, and the test with them.
    config.weight_limit = 240;
    let exchange = Exchange::start(config).await.unwrap();
    let weights = [
        ("ping", 1),
        ("time", 1),
        ("exchangeInfo", 20),
        ("trades?symbol=BTCUSDT", 25),
        ("historicalTrades?symbol=BTCUSDT", 25),
        ("aggTrades?symbol=BTCUSDT", 4),
        ("klines?symbol=BTCUSDT&interval=1m", 2),
        ("ticker/24hr?symbol=BTCUSDT", 2),
        ("ticker/24hr?symbols=%5B%22BTCUSDT%22%5D", 2),
        ("ticker/24hr", 80),
        ("ticker/bookTicker?symbol=BTCUSDT", 2),
        ("ticker/bookTicker", 4),
        ("trades?symbol=NOPEUSDT", 25),
    ];
    let mut sum = 0;
    for (path, weight) in weights {
        let answer = get(&exchange, &format!("/api/v3/{path}")).await;
        let used: u32 = answer.header("X-MBX-USED-WEIGHT-1M").unwrap().parse().unwrap();
        assert!(used == sum + weight || used == weight, "{path}: {used} after {sum}");
        sum = used;
    }
    let mut refused = 0;
    let banned = loop {
        let answer = get(&exchange, "/api/v3/ticker/24hr").await;
        match answer.status {
            // Another minute.
            200 => refused = 0,
            429 => {
                assert_eq!(
                    answer.body,
                    "{\"code\":-1003,\"msg\":\"Too much request weight used; current limit is 240 request weight per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.\"}"
                );
                let wait: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait));
                refused += 1;
            }
            _ => break answer,
        }
    };
    assert!(refused > 0);
    assert_eq!(banned.status, 418);
    assert!(banned.body.contains("Way too much request weight used; IP banned until "));
    assert!(banned.header("Retry-After").is_some());
    assert_eq!(get(&exchange, "/api/v3/ping").await.status, 418);
    exchange.stop().await;
}
