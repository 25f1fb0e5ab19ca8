//! The recorded market on several nodes: what is stored is the tape, and the exchange's own klines.

use std::path::Path;

use rusqlite::Connection;

use super::patience;
use super::scene::Scene;
use super::truth::has_tables;
use crate::support::check::{every_candle_is_right, every_trade_is_stored_once};
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::until;
use crate::tape::{the_derived_bars_agree, the_exchanges_own_bars_agree};

/// The tables that are judged, and what is kept of the rows of all stores: SQLite takes the columns beside
/// a maximum from the row that has it.
const TABLES: [(&str, &str, &str); 4] = [
    ("trades", "*", "GROUP BY symbol, trade_id"),
    ("candles", "*, max(version) AS most", "GROUP BY symbol, interval, open_time"),
    ("gaps", "*", ""),
    ("dead_letters", "*", ""),
];

/// Does harm while the tape is played, and compares.
pub(super) fn endures(mut scene: Scene) {
    let fixtures = scene.fixtures.clone().expect("the tape is played");
    let truth = Truth::read(&fixtures);
    let expected = truth.candles();
    let incomplete = expected.values().filter(|it| it.complete == Some(false)).count();
    scene.suffer();
    scene.calm();

    let all = scene.folder().join("all.sqlite");
    let counts = [
        ("count(*) FROM trades", truth.trades.len()),
        ("count(*) FROM candles", expected.len()),
        ("count(*) FROM candles WHERE complete = 0", incomplete),
    ];
    until("the whole tape to be stored", patience(), || {
        let store = merged(&scene.stores(), &all);
        let has = |(what, count): &(&str, usize)| {
            store.number(&format!("SELECT {what}")) == i64::try_from(*count).unwrap()
        };
        counts.iter().all(has).then_some(())
    });
    scene.end();

    let store = merged(&scene.stores(), &all);
    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    the_derived_bars_agree(&store, &fixtures);
    the_exchanges_own_bars_agree(&store, &fixtures, &truth);
    for table in ["gaps", "dead_letters"] {
        assert_same(table, &store.dump(table, &[]), &[]);
    }
    println!(
        "chaos: the tape: {} trades, {} candles: 0 missing, 0 twice, 0 different; 24 bars are the \
         exchange's own",
        truth.trades.len(),
        expected.len()
    );
}

/// What the stores have together: of the rows with one key the one that knows most, as one store would
/// have it. Within a store a key is there once: it is the primary key.
fn merged(stores: &[Store], path: &Path) -> Store {
    drop(std::fs::remove_file(path));
    let connection = Connection::open(path).unwrap();
    let begun = stores.iter().filter(|it| has_tables(it));
    let names: Vec<String> = begun
        .enumerate()
        .map(|(at, store)| {
            let name = format!("store{at}");
            let file = format!("file:{}?mode=ro", store.path().display());
            connection.execute(&format!("ATTACH '{file}' AS {name}"), []).unwrap();
            name
        })
        .collect();
    for (table, columns, group) in TABLES {
        let each = names.iter().map(|name| format!("SELECT * FROM {name}.{table}"));
        let each = each.collect::<Vec<_>>().join(" UNION ALL ");
        let rows = format!("SELECT {columns} FROM ({each}) {group}");
        connection.execute(&format!("CREATE TABLE {table} AS {rows}"), []).unwrap();
    }
    Store::new(path.to_owned())
}
