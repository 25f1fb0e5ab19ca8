//! What the SQLite file is to others: its columns, its views, its locks, and what a kill leaves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Topic, Trade};
use fts_core::port::store::{Store, StoreError};
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, DailyChangeRow,
    DailyRow, DeadLetterRow, Extent, GapRow, Rows, Table, TickerRow, TradeRow, TransactionRow,
};
use fts_core::stock::{Daily, DailyChange, Transaction};
use rusqlite::{Connection, OpenFlags};

/// Where the helper processes of these tests find the file.
const PATH: &str = "FTS_TEST_SQLITE_PATH";
const MIDNIGHT: i64 = 1_723_161_600_000;

#[test]
fn tables_have_the_columns_that_dashboards_are_written_against() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let check = |table: &str, expected: &str| {
        let found = columns(&reader(&file(folder.path())), table);
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{table}");
    };
    check(
        "trades",
        "symbol trade_id time price quantity buyer_is_maker received_at source version",
    );
    check(
        "candles",
        "symbol interval open_time close_time open high low close volume quote_volume trade_count
         taker_buy_volume taker_buy_quote_volume first_trade_id last_trade_id complete version",
    );
    check(
        "binance_book_ticker_data",
        "id stream update_id symbol best_bid_price best_bid_quantity best_ask_price
         best_ask_quantity received_at version",
    );
    check(
        "book_ticker_1s",
        "symbol open_time close_time bid_open bid_high bid_low bid_close ask_open ask_high ask_low
         ask_close spread_sum mean_spread update_count first_update_id last_update_id version",
    );
    check(
        "binance_ticker_data",
        "id stream event_type event_time symbol price_change price_change_percent
         weighted_avg_price first_trade_price last_price last_quantity best_bid_price
         best_bid_quantity best_ask_price best_ask_quantity open_price high_price low_price
         total_traded_base_asset_volume total_traded_quote_asset_volume statistics_open_time
         statistics_close_time first_trade_id last_trade_id total_number_of_trades received_at
         version",
    );
    check(
        "gaps",
        "symbol first_trade_id last_trade_id missing after_time before_time reason version",
    );
    check(
        "alerts",
        "symbol time direction window_ms threshold_percent reference_price price change_percent
         version",
    );
    check("dead_letters", "topic partition offset symbol received_at reason payload version");
    check(
        "finanzas_batch",
        "symbol time fecha apertura maximo minimo cierre volumen fetched_at version",
    );
    check("finanzas_batch_changes", "symbol time fecha campo antes despues fetched_at version");
    check(
        "transacciones_nrt",
        "id time timestamp accion tipo_transaccion cantidad precio_unitario total estado error
         extra received_at version",
    );
}

#[tokio::test]
async fn views_have_a_real_beside_every_decimal() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(7))]).await.unwrap();
    let connection = reader(&file(folder.path()));
    for table in Table::ALL.map(Table::name) {
        let view = columns(&connection, &format!("v_{table}"));
        let (real, same): (Vec<_>, Vec<_>) = view.into_iter().partition(|it| it.ends_with("_real"));
        let expected = columns(&connection, table);
        assert_eq!(same, expected, "{table}");
        // A decimal is a number with a point.
        let is_decimal = |text: String| text.contains('.') && text.parse::<f64>().is_ok();
        let decimals: Vec<_> = expected
            .into_iter()
            .filter(|column| is_decimal(text(&connection, table, column)))
            .map(|column| format!("{column}_real"))
            .collect();
        assert_eq!(real, decimals, "{table}");
        for column in real {
            let sql = format!("SELECT typeof({column}) FROM v_{table}");
            let kind: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(kind, "real", "{table}.{column}");
        }
    }
    let high = "SELECT max(price_real) FROM v_trades";
    let high: f64 = connection.query_row(high, [], |row| row.get(0)).unwrap();
    assert!((high - 61_837.63).abs() < 1e-9, "{high}");
}

#[tokio::test]
async fn values_are_stored_as_the_columns_promise() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(7))]).await.unwrap();
    let connection = reader(&file(folder.path()));
    let check = |table: &str, column: &str, expected: &str| {
        assert_eq!(text(&connection, table, column), expected, "{table}.{column}");
    };
    check("trades", "price", "61837.63000000");
    check("trades", "buyer_is_maker", "1");
    check("trades", "source", "backfill");
    check("candles", "interval", "1m");
    check("candles", "close_time", "1723161659999");
    check("candles", "quote_volume", "123.4567890123456789");
    check("candles", "complete", "1");
    check("candles", "version", "7");
    check("binance_book_ticker_data", "id", "BTCUSDT-80000000007");
    check("binance_book_ticker_data", "stream", "btcusdt@bookTicker");
    check("book_ticker_1s", "close_time", "1723161600999");
    check("book_ticker_1s", "mean_spread", "0.33333333");
    check("book_ticker_1s", "version", "3");
    check("binance_ticker_data", "id", "BTCUSDT-1723161600007");
    check("binance_ticker_data", "stream", "btcusdt@ticker");
    check("binance_ticker_data", "event_type", "24hrTicker");
    check("binance_ticker_data", "price_change", "-15.50000000");
    check("gaps", "version", "6");
    check("alerts", "direction", "down");
    check("dead_letters", "topic", "binanceDeadLetter");
    check("finanzas_batch", "fecha", "2024-08-09");
    check("finanzas_batch", "cierre", "61837.63000000");
    check("finanzas_batch", "version", "1723161600007");
    check("finanzas_batch_changes", "despues", "2");
    check("transacciones_nrt", "error", "TIMEOUT");
}

#[tokio::test]
async fn a_row_that_cannot_be_held_takes_only_its_own_put_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut wrong = one_of_each(1);
    wrong.dead_letters[0].offset = u64::MAX;
    let (good, refused, other) = tokio::join!(
        async { store.put(&[Arc::new(one_of_each(2))]).await },
        async { store.put(&[Arc::new(one_of_each(3)), Arc::new(wrong)]).await },
        async { store.put(&[Arc::new(one_of_each(4))]).await },
    );
    assert_eq!((good, other), (Ok(()), Ok(())));
    let Err(StoreError::Rejected { table, reason }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(table, "dead_letters");
    assert!(reason.starts_with("binanceDeadLetter 3/18446744073709551615: "), "{reason}");
    assert_eq!(trade_ids(&file(folder.path())), [2, 4], "nothing of the refused put is there");
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_nothing_of_the_batch_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let other = Connection::open(file(folder.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.put(&[Arc::new(one_of_each(1))]).await;
    let Err(StoreError::Unavailable(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("another process holds the file's write lock"), "{reason}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(trade_ids(&file(folder.path())), [0_i64; 0]);
    store.put(&[Arc::new(one_of_each(1))]).await.unwrap();
    assert_eq!(trade_ids(&file(folder.path())), [1]);
}

#[test]
fn a_file_that_is_not_ours_to_write_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: PathBuf, expected: &str| {
        let error = SqliteStore::open(SqliteConfig { path: path.clone() }).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    };
    check(folder.path().join("missing/fts.sqlite"), "see that the folder exists");

    let newer = folder.path().join("newer.sqlite");
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check(newer, "version 99 of the tables");

    let other = folder.path().join("other.sqlite");
    std::fs::write(&other, "no database at all, but longer than a header".repeat(100)).unwrap();
    check(other, "the file is damaged");
}

#[tokio::test]
async fn a_closed_file_keeps_what_readers_without_write_permission_need() {
    // Whichever connection is the last to close: a reading one, or the writer's.
    for read in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.put(&[Arc::new(one_of_each(1))]).await.unwrap();
        if read {
            assert!(store.latest_book(&btc()).await.unwrap().is_some());
        }
        drop(store);
        let shm = folder.path().join("fts.sqlite-shm");
        assert!(shm.exists(), "read before: {read}");
        let wal = std::fs::metadata(folder.path().join("fts.sqlite-wal")).unwrap();
        assert_eq!(wal.len(), 0, "all of it is in the file");
        assert_eq!(trade_ids(&file(folder.path())), [1]);
    }
}

#[tokio::test]
async fn another_process_reads_while_this_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(0))]).await.unwrap();
    let mut readers: Vec<_> =
        (0..2).map(|_| helper("reading_process", folder.path()).spawn().unwrap()).collect();
    let mut number = 0;
    let mut running = true;
    while running {
        // As many rows as to move the log into the file many times over.
        let batch = (0..200).map(|_| {
            number += 1;
            Arc::new(one_of_each(number))
        });
        store.put(&batch.collect::<Vec<_>>()).await.unwrap();
        running = readers.iter_mut().any(|reader| reader.try_wait().unwrap().is_none());
    }
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "a helper: run by another_process_reads_while_this_one_writes"]
fn reading_process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let mut seen = 0;
    for _ in 0..300 {
        // A new connection each time: that is when locks are in the way, if ever.
        let connection = reader(Path::new(&path));
        let (count, last): (i64, i64) = connection
            .query_row("SELECT count(*), max(trade_id) FROM trades", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(count, last + 1, "a reader sees whole commits");
        assert!(last >= seen, "and never goes back");
        seen = last;
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = -1;
    for lines in [1, 40, 7, 150, 400, 90] {
        let mut writer = helper("writing_process", folder.path()).spawn().unwrap();
        let output = BufReader::new(writer.stdout.take().unwrap());
        let numbers = output.lines().map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("acknowledged ").and_then(|number| number.parse::<i64>().ok())
        });
        let last = numbers.take(lines).last().unwrap();
        assert!(last > acknowledged);
        acknowledged = last;
        // SIGKILL.
        writer.kill().unwrap();
        writer.wait().unwrap();

        let ids = trade_ids(&file(folder.path()));
        assert_eq!(ids, (0..ids.len() as i64).collect::<Vec<_>>(), "no hole");
        assert!(ids.len() as i64 > 10 * acknowledged + 9, "{} rows, {last} batches", ids.len());
        assert_eq!(ids.len() % 10, 0, "whole batches only");
    }
    let check = "PRAGMA integrity_check";
    let sound: String =
        reader(&file(folder.path())).query_row(check, [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
#[ignore = "a helper: run by what_was_acknowledged_is_there_after_a_kill"]
async fn writing_process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let path = PathBuf::from(path);
    let store = SqliteStore::open(SqliteConfig { path: path.clone() }).unwrap();
    let first = trade_ids(&path).last().map_or(0, |id| id / 10 + 1);
    for number in first.. {
        let batch: Vec<_> = (0..10).map(|it| Arc::new(one_of_each(10 * number + it))).collect();
        store.put(&batch).await.unwrap();
        // Straight to the pipe: what the harness captures does not arrive before the end.
        use std::io::Write;
        writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
    }
}

#[tokio::test]
async fn a_sweep_lets_puts_through_and_counts_what_it_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let batches: Vec<_> = (0..25_000).map(|number| Arc::new(one_of_each(number))).collect();
    store.put(&batches).await.unwrap();
    let puts = async {
        for number in 25_000..25_020 {
            store.put(&[Arc::new(one_of_each(number))]).await.unwrap();
        }
    };
    let (swept, ()) = tokio::join!(store.expire(Table::Trades, 999), puts);
    // The newest row is that of the moment at which the sweep was asked for, or a little later.
    let swept = swept.unwrap();
    assert!((24_000..24_020).contains(&swept), "{swept}");
    let kept = i64::try_from(swept).unwrap()..25_020;
    assert_eq!(trade_ids(&file(folder.path())), kept.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_candle_grows_old_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let at = |interval, open_time| {
        let mut rows = one_of_each(0);
        rows.candles[0].interval = interval;
        rows.candles[0].candle.open_time = open_time;
        Arc::new(Rows { candles: rows.candles, ..Rows::default() })
    };
    let noon = MIDNIGHT + 43_200_000;
    let batches = [
        at(Interval::Day, MIDNIGHT),
        at(Interval::Hour, noon - 3_600_000),
        at(Interval::Second, noon - 2_000),
        at(Interval::Second, noon),
    ];
    store.put(&batches).await.unwrap();
    assert_eq!(store.expire(Table::Candles, 1_000).await, Ok(1), "the older second alone");
    assert_eq!(store.expire(Table::Candles, 0).await, Ok(1), "and the hour that has ended");
}

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig { path: file(folder) }).expect("a fresh folder can be used")
}

fn file(folder: &Path) -> PathBuf {
    folder.join("fts.sqlite")
}

/// As a dashboard opens the file: read-only, and waiting for nobody.
fn reader(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.expect("the file can be opened");
    connection.busy_timeout(std::time::Duration::ZERO).expect("a timeout can be set");
    connection
}

/// Another process that runs one of the ignored tests above.
fn helper(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(PATH, file(folder));
    command.stdout(Stdio::piped());
    command
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_xinfo(?1)").expect("valid");
    let names = statement.query_map([table], |row| row.get(0)).expect("valid");
    names.collect::<Result<_, _>>().expect("names are texts")
}

fn text(connection: &Connection, table: &str, column: &str) -> String {
    let sql = format!("SELECT CAST({column} AS TEXT) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).expect("one row that is not null")
}

fn trade_ids(path: &Path) -> Vec<i64> {
    let connection = reader(path);
    let mut statement =
        connection.prepare("SELECT trade_id FROM trades ORDER BY trade_id").expect("valid");
    let ids = statement.query_map([], |row| row.get(0)).expect("valid");
    ids.collect::<Result<_, _>>().expect("ids are integers")
}

fn btc() -> Symbol {
    Symbol::new("BTCUSDT").expect("a symbol")
}

/// A row of each table whose keys follow from `number`.
fn one_of_each(number: i64) -> Rows {
    let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
    let price = decimal("61837.63");
    let extent = Extent { open: price, high: price, low: price, close: price };
    let time = MIDNIGHT + number;
    Rows {
        trades: vec![TradeRow {
            symbol: btc(),
            trade: Trade {
                id: number,
                time,
                price,
                quantity: decimal("0.1"),
                buyer_is_maker: true,
            },
            received_at: time + 5,
            source: Source::Backfill,
        }],
        candles: vec![CandleRow {
            symbol: btc(),
            interval: Interval::Minute,
            candle: Candle {
                open_time: Interval::Minute.floor(time),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: decimal("0.3"),
                quote_volume: Notional(1_234_567_890_123_456_789),
                trade_count: 3,
                taker_buy_volume: decimal("0.1"),
                taker_buy_quote_volume: Notional(17),
                first_trade_id: 1,
                last_trade_id: 3,
            },
            complete: true,
        }],
        book_tickers: vec![BookTickerRow {
            symbol: btc(),
            book: BookTicker {
                update_id: 80_000_000_000 + number,
                bid_price: price,
                bid_quantity: price,
                ask_price: price,
                ask_quantity: price,
            },
            received_at: time,
        }],
        book_seconds: vec![BookSecondRow {
            symbol: btc(),
            second: BookSecond {
                open_time: Interval::Second.floor(time),
                bid: extent,
                ask: extent,
                spread_sum: Decimal::from_units(1),
                update_count: 3,
                first_update_id: 1,
                last_update_id: 3,
            },
        }],
        tickers: vec![TickerRow {
            symbol: btc(),
            ticker: Box::new(Ticker {
                event_time: time,
                price_change: decimal("-15.5"),
                price_change_percent: decimal("-0.025"),
                weighted_avg_price: price,
                first_trade_price: price,
                last_price: price,
                last_quantity: price,
                best_bid_price: price,
                best_bid_quantity: price,
                best_ask_price: price,
                best_ask_quantity: price,
                open_price: price,
                high_price: price,
                low_price: price,
                base_volume: price,
                quote_volume: price,
                open_time: time - 86_400_000,
                close_time: time,
                first_trade_id: 1,
                last_trade_id: 9,
                trade_count: 9,
            }),
            received_at: time,
        }],
        gaps: vec![GapRow {
            symbol: btc(),
            first_trade_id: 1 + 10 * number,
            last_trade_id: 10 + 10 * number,
            missing: 4,
            after_time: Some(time),
            before_time: time + 1,
            reason: "not to be had".to_owned(),
        }],
        alerts: vec![AlertRow {
            symbol: btc(),
            time,
            up: false,
            window_ms: 60_000,
            threshold_percent: decimal("1"),
            reference_price: price,
            price,
            change_percent: decimal("-1.5"),
        }],
        dead_letters: vec![DeadLetterRow {
            topic: Topic::DeadLetter,
            partition: 3,
            offset: number.unsigned_abs(),
            symbol: btc(),
            received_at: time,
            reason: "not understood".to_owned(),
            payload: "{}".to_owned(),
        }],
        dailies: vec![DailyRow {
            symbol: btc(),
            daily: Daily {
                date: jiff::civil::date(2024, 8, 9),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: number,
                fetched_at: time,
            },
        }],
        daily_changes: vec![DailyChangeRow {
            symbol: btc(),
            change: DailyChange {
                date: jiff::civil::date(2024, 8, 8),
                column: "cierre",
                before: "1".to_owned(),
                after: "2".to_owned(),
                fetched_at: time,
            },
        }],
        transactions: vec![TransactionRow {
            id: number.to_string(),
            transaction: Transaction {
                id: None,
                time,
                timestamp: "2024-08-09 00:00:00".to_owned(),
                stock: btc(),
                kind: "VENTA".to_owned(),
                quantity: 3,
                unit_price: price,
                total: price,
                state: "FALLIDO".to_owned(),
                error: Some("TIMEOUT".to_owned()),
                extra: "{}".to_owned(),
            },
            received_at: time,
        }],
    }
}
