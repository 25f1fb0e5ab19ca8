//! `fts-node demo` runs from nothing, and goes on where it ended.

use std::path::Path;

use crate::support::http;
use crate::support::process::{Process, free_port, node_binary, program};
use crate::support::store::{Store, assert_same, integer, text};
use crate::support::{PATIENCE, until};

#[test]
fn the_demo_runs_from_nothing_and_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("data/fts.sqlite"));
    let (mut demo, address) = start(folder.path());
    until("some hundred trades in the store", PATIENCE, || {
        demo.check_alive();
        (store.count("trades") > 500).then_some(())
    });
    let symbol = symbols(&store).remove(0);
    for path in ["/", "/livez", "/readyz", "/metrics"] {
        let body = until(path, PATIENCE, || {
            demo.check_alive();
            let answer = http::get(&address, path)?;
            (answer.status == 200).then_some(answer.body)
        });
        assert!(!body.is_empty(), "{path}");
    }
    until("klines", PATIENCE, || {
        let path = format!("/api/v3/klines?symbol={symbol}&interval=1s");
        let klines = http::get_json(&address, &path)?;
        (!klines.as_array()?.is_empty()).then_some(())
    });
    // However far the first fill has come: the second start goes on with it.
    demo.terminate();
    let before = store.count("trades");

    let (mut demo, _) = start(folder.path());
    until("more trades in the store", PATIENCE, || {
        demo.check_alive();
        (store.count("trades") > before + 500).then_some(())
    });
    until_filled(&mut demo, &store);
    demo.terminate();
    contiguous(&store);
}

fn start(folder: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = program(node_binary());
    command.current_dir(folder).arg("demo").arg("--data-dir").arg(folder.join("data"));
    command.args(["--http", &address]);
    let mut demo = Process::start("demo", folder, &mut command);
    demo.line("the page's address", |line| {
        line.contains(&format!("http://{address}")).then_some(())
    });
    (demo, address)
}

/// Waits until the past that the node asked for has come in.
fn until_filled(demo: &mut Process, store: &Store) {
    until("every hole filled", PATIENCE, || {
        demo.check_alive();
        let holes = "SELECT count(*) FROM (SELECT symbol FROM trades GROUP BY symbol \
             HAVING count(*) <> max(trade_id) - min(trade_id) + 1)";
        (store.number(holes) == 0).then_some(())
    });
}

fn symbols(store: &Store) -> Vec<String> {
    let rows = store.rows("SELECT DISTINCT symbol FROM trades ORDER BY symbol");
    rows.iter().map(|row| text(row, "symbol").to_owned()).collect()
}

/// No trade is missing, none is there twice, and every candle but those at the ends is complete.
#[track_caller]
fn contiguous(store: &Store) {
    for row in store.rows(
        "SELECT symbol, count(*) AS n, count(DISTINCT trade_id) AS ids, \
         max(trade_id) - min(trade_id) + 1 AS span FROM trades GROUP BY symbol",
    ) {
        assert_eq!(integer(&row, "n"), integer(&row, "span"), "a hole: {row:?}");
        assert_eq!(integer(&row, "n"), integer(&row, "ids"), "a trade twice: {row:?}");
    }
    assert_same("gaps", &store.dump("gaps", &[]), &[]);
    let within = "SELECT symbol, open_time FROM candles AS it WHERE interval = '1s' \
         AND complete = 0 \
         AND open_time > (SELECT min(open_time) FROM candles \
             WHERE interval = '1s' AND symbol = it.symbol) \
         AND open_time < (SELECT max(open_time) FROM candles \
             WHERE interval = '1s' AND symbol = it.symbol)";
    let incomplete = store.rows(within);
    assert!(incomplete.is_empty(), "incomplete between complete ones: {incomplete:?}");
}
