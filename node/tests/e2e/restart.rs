//! What is on disk is not fetched again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand, SYMBOLS};
use crate::support::proxy::Proxy;
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};

#[test]
fn a_restart_fetches_what_was_missed_and_nothing_that_is_on_disk() {
    let Some(fixtures) = fixtures() else { return };
    let truth = Truth::read(&fixtures);
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let proxy = Proxy::start(&exchange.address);
    let command = NodeCommand::new(folder.path(), &exchange).with_rest(&proxy.address);
    let store = Store::new(command.database());

    let mut node = command.start();
    until("some thousand trades in the store", PATIENCE, || {
        node.check_alive();
        (store.count("trades") > 5_000).then_some(())
    });
    node.terminate();
    let known = newest(&store);
    proxy.take();

    for symbol in SYMBOLS {
        until("the exchange to go on without the node", PATIENCE, || {
            (exchange.newest_trade(symbol)? > known[symbol] + 1_000).then_some(())
        });
    }
    let mut node = command.start();
    await_trades(&mut node, &store, &truth);
    node.terminate();
    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    assert_same("gaps", &store.dump("gaps", &[]), &[]);
    let asked = proxy.take();
    for symbol in SYMBOLS {
        let from = |path: &&String| first_id(path, symbol).is_some_and(|id| id <= known[symbol]);
        let again: Vec<_> = asked.iter().filter(from).collect();
        assert!(again.is_empty(), "{symbol} was on disk to {}: {again:?}", known[symbol]);
        let missed = asked.iter().filter_map(|path| first_id(path, symbol)).min();
        assert_eq!(missed, Some(known[symbol] + 1), "the hole begins behind what is on disk");
    }

    // All is on disk: the node asks what the newest trade is, and leaves it at that.
    let known = newest(&store);
    let mut node = command.start();
    command.await_ready(&mut node);
    let mut seen = 0;
    until("the node to be silent for a second", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(1));
        let silent = proxy.count() > 0 && proxy.count() == seen;
        seen = proxy.count();
        silent.then_some(())
    });
    node.terminate();
    for path in proxy.take() {
        for symbol in SYMBOLS {
            let again = first_id(&path, symbol).is_some_and(|id| id <= known[symbol]);
            assert!(!again, "{symbol} is on disk to {}: {path}", known[symbol]);
        }
    }
}

/// The newest trade of each symbol up to which the store has all.
fn newest(store: &Store) -> BTreeMap<&'static str, i64> {
    let of = |symbol| {
        let query = |what| format!("SELECT {what} FROM trades WHERE symbol = '{symbol}'");
        let newest = store.number(&query("max(trade_id)"));
        let span = newest - store.number(&query("min(trade_id)")) + 1;
        assert_eq!(store.number(&query("count(*)")), span, "a hole in the trades of {symbol}");
        (symbol, newest)
    };
    SYMBOLS.map(of).into()
}

/// The first trade id that a request asks for.
fn first_id(path: &str, symbol: &str) -> Option<i64> {
    let (_, query) = path.split_once('?')?;
    let parameters: BTreeMap<_, _> = query.split('&').filter_map(|it| it.split_once('=')).collect();
    (parameters.get("symbol") == Some(&symbol))
        .then(|| parameters.get("fromId").map(|id| id.parse().unwrap()))?
}
