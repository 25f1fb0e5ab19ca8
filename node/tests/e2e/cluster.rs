//! Three nodes are one: each may die or leave, and what is stored is what the exchange has.

use std::time::Duration;

use serde_json::Value;

use crate::support::check::every_trade_is_stored_once;
use crate::support::http;
use crate::support::node::{Exchange, NodeCommand, SYMBOLS};
use crate::support::process::{Process, free_port};
use crate::support::store::{Store, assert_same, integer, text};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, until};

/// The cluster as the node at `http` sees it.
fn cluster(http: &str) -> Option<Value> {
    http::get_json(http, "/api/cluster")
}

/// Waits until the node at `http` sees exactly `live` nodes that have all of the work, and do it.
#[track_caller]
fn await_settled(http: &str, live: usize) -> Value {
    until(&format!("{live} nodes that share the work"), PATIENCE, || {
        let cluster = cluster(http)?;
        let nodes = cluster["nodes"].as_array()?.iter().filter(|it| it["state"] == "live");
        let nodes: Vec<_> = nodes.collect();
        let captured = |feed: &str| nodes.iter().filter_map(|it| it[feed].as_u64()).sum::<u64>();
        let all = u64::try_from(SYMBOLS.len()).unwrap();
        let is_shared = captured("feed_a") == all && captured("feed_b") == all;
        let is_settled = nodes.len() == live && nodes.iter().all(|it| it["settled"] == true);
        (is_shared && is_settled).then(|| cluster.clone())
    })
}

/// Waits until the store of the cluster has trades of all `symbols` that are newer than what the
/// exchange has now, without a hole.
#[track_caller]
fn await_progress(store: &Store, exchange: &Exchange, symbols: &[&str]) {
    for symbol in symbols {
        let newest = until("a trade", PATIENCE, || exchange.newest_trade(symbol));
        until(&format!("every trade of {symbol} up to {newest}"), PATIENCE, || {
            let all = "SELECT max(trade_id) * (count(*) = max(trade_id) - min(trade_id) + 1) \
                       FROM trades WHERE symbol =";
            (store.number(&format!("{all} '{symbol}'")) > newest).then_some(())
        });
    }
}

#[test]
fn nodes_come_and_go_and_every_trade_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let address = format!("127.0.0.1:{}", free_port());
    let command = |name: &str| {
        let mut command = NodeCommand::new(folder.path(), &exchange);
        command.data_dir = folder.path().join(name);
        let quick = "cluster.gossip_interval_ms=100".to_owned();
        command.with(format!("name={name}")).with("ingest.feeds=2".to_owned()).with(quick)
    };
    let join = |name: &str| command(name).with(format!("cluster.join=[\"{address}\"]"));
    let first = command("first").with(format!("cluster.listen={address}"));
    let (second, third) = (join("second"), join("third"));
    let store = Store::new(first.database());

    let founder = first.start();
    let doomed = second.start();
    let leaving = third.start();
    await_settled(&first.http, 3);
    let seen = await_settled(&third.http, 3);
    let nodes = seen["nodes"].as_array().unwrap();
    for node in nodes {
        let [a, b] = ["feed_a", "feed_b"].map(|feed| node[feed].as_u64().unwrap());
        assert_eq!(u64::try_from(node["owns_symbols"].as_array().unwrap().len()).unwrap(), a + b);
    }
    await_progress(&store, &exchange, &SYMBOLS);

    doomed.kill();
    await_settled(&first.http, 2);
    await_progress(&store, &exchange, &SYMBOLS);
    let doomed = second.start();
    await_settled(&first.http, 3);
    await_progress(&store, &exchange, &SYMBOLS);

    leaving.terminate();
    await_settled(&first.http, 2);
    await_progress(&store, &exchange, &SYMBOLS);

    // A node that knows no symbol by itself answers for all of them.
    for node in [&first.http, &second.http] {
        until("a node that tells of all symbols", PATIENCE, || {
            let status = http::get_json(node, "/api/status")?;
            let names = status["symbols"].as_array()?.iter().map(|it| it["symbol"].clone());
            let mut names: Vec<Value> = names.collect();
            names.sort_by_key(ToString::to_string);
            (names == SYMBOLS.map(Value::from)).then_some(())
        });
    }
    doomed.terminate();
    founder.terminate();

    let spans = store.rows(
        "SELECT symbol, min(trade_id) AS first, max(trade_id) AS last FROM trades GROUP BY symbol",
    );
    let spans: Vec<_> = spans
        .iter()
        .map(|row| (text(row, "symbol").to_owned(), integer(row, "first"), integer(row, "last")))
        .collect();
    assert_eq!(spans.len(), SYMBOLS.len());
    every_trade_is_stored_once(&store, &Truth::ask(&exchange.address, &spans));
    assert_same("gaps", &store.dump("gaps", &[]), &[]);
    assert_same("dead letters", &store.dump("dead_letters", &[]), &[]);
}

#[test]
fn a_node_that_contradicts_the_cluster_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let address = format!("127.0.0.1:{}", free_port());
    let first = NodeCommand::new(folder.path(), &exchange)
        .with("name=first".to_owned())
        .with(format!("cluster.listen={address}"));
    let mut founder = first.start();
    first.await_ready(&mut founder);
    let mut other = NodeCommand::new(folder.path(), &exchange)
        .with("name=other".to_owned())
        .with("ingest.feeds=2".to_owned())
        .with(format!("cluster.join=[\"{address}\"]"));
    other.data_dir = folder.path().join("other");
    let refused: Process = other.start();
    until("the refusal", Duration::from_secs(60), || {
        refused.printed().contains("`ingest.feeds` is 2 here and 1 there").then_some(())
    });
    founder.terminate();
}
