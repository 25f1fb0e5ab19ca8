//! How long the work of a node that is gone stands still. Told, never asserted: it depends on the machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fts_core::market::Symbol;
use serde_json::Value;

use super::network::End;
use super::scene::{FOUNDERS, KAFKA, Scene};
use super::truth::Judge;
use super::{patience, setting};
use crate::support::http;
use crate::support::store::{Store, integer, text};
use crate::support::until;

/// How a node goes.
#[derive(Clone, Copy)]
enum Going {
    Killed,
    Stopped,
    /// Nothing passes between it and anybody.
    Cut,
}

/// What was seen.
#[derive(Default)]
struct Figures {
    folded: Vec<Duration>,
    fed: Vec<Duration>,
}

/// Kills and stops a node, or cuts it off where there is a network, several times, and prints how long its symbols' candles stood still.
pub(super) fn measure(mut scene: Scene) {
    let stores = scene.stores();
    scene.await_settled();
    Judge::new(&scene.exchange, &stores).await_peace(patience());
    let goings = match scene.network {
        Some(_) => &[("cut off", Going::Cut)][..],
        None => &[("kill -9", Going::Killed), ("SIGSTOP", Going::Stopped)],
    };
    for (name, going) in goings {
        let mut figures = Figures::default();
        let before = backfilled(&stores);
        for _ in 0..setting("ROUNDS", 2) {
            // The node that is not asked for the store, and folds something.
            let victim = 1 + usize::from(owned(&scene, 1).0.is_empty());
            go(&mut scene, victim, *going, &stores, &mut figures);
            scene.await_settled();
            Judge::new(&scene.exchange, &stores).await_peace(patience());
        }
        let by_rest = backfilled(&stores) - before;
        println!("takeover: {name}, symbols whose partition it folded: {}", told(figures.folded));
        println!("takeover: {name}, symbols of which it had a feed only: {}", told(figures.fed));
        println!("takeover: {name}: {by_rest} trades came by backfill");
    }
    scene.end();
    Judge::new(&scene.exchange, &stores).everything_is_true();
}

#[expect(clippy::disallowed_methods, reason = "a figure is a time by the clock of the machine")]
fn go(scene: &mut Scene, victim: usize, going: Going, stores: &[Store], figures: &mut Figures) {
    let (folded, fed) = owned(scene, victim);
    let newest = newest(&scene.exchange);
    let gone = Instant::now();
    match going {
        Going::Killed => scene.nodes[victim].kill(),
        Going::Stopped => scene.nodes[victim].signal("STOP"),
        Going::Cut => {
            let network = scene.network.as_mut().expect("a network to cut");
            let others = (0..FOUNDERS).filter(|it| *it != victim).map(End::Host);
            for other in others.chain([KAFKA, End::Outside]) {
                network.cut(End::Host(victim), other);
            }
        }
    }
    let mut waiting = newest;
    until("a candle of every symbol with a trade after the node was gone", patience(), || {
        let rows = stores.iter().filter(|it| it.path().exists()).flat_map(|store| {
            store.rows(
                "SELECT symbol, max(last_trade_id) AS last FROM candles \
                 WHERE interval = '1s' AND open_time > \
                 (SELECT max(open_time) FROM candles WHERE interval = '1s') - 30000 \
                 GROUP BY symbol",
            )
        });
        for row in rows {
            let symbol = text(&row, "symbol");
            let last = integer(&row, "last");
            if waiting.get(symbol).is_some_and(|newest| last > *newest) {
                waiting.remove(symbol);
                if folded.iter().any(|it| it == symbol) {
                    figures.folded.push(gone.elapsed());
                } else if fed.iter().any(|it| it == symbol) {
                    figures.fed.push(gone.elapsed());
                }
            }
        }
        waiting.is_empty().then_some(())
    });
    match going {
        Going::Killed => scene.start(victim),
        Going::Stopped => scene.nodes[victim].signal("CONT"),
        Going::Cut => scene.network.as_mut().expect("a network to heal").heal(),
    }
}

/// The symbols that a node folds, and those that it only listens to.
fn owned(scene: &Scene, number: usize) -> (Vec<String>, Vec<String>) {
    let name = format!("node-{number}");
    let cluster = http::get_json(&scene.nodes[0].http, "/api/cluster").expect("a cluster");
    let nodes = cluster["nodes"].as_array().unwrap();
    let of = |node: &Value| node["owns_partitions"].as_array().unwrap().clone();
    let partitions = u32::try_from(nodes.iter().flat_map(of).count()).unwrap();
    let node = nodes.iter().find(|it| it["node"] == *name).expect("the node");
    let is_folded = |symbol: &String| {
        let partition = Symbol::new(symbol).unwrap().partition(partitions);
        of(node).iter().any(|it| it.as_u64() == Some(partition.into()))
    };
    let folded = newest(&scene.exchange).into_keys().filter(is_folded).collect();
    let fed = node["owns_symbols"].as_array().unwrap().iter();
    (folded, fed.map(|it| it.as_str().unwrap().to_owned()).collect())
}

fn newest(exchange: &str) -> BTreeMap<String, i64> {
    let status = http::get_json(exchange, "/truth/status").expect("the exchange's truth");
    let symbols = status["symbols"].as_array().unwrap().iter();
    let pair =
        |it: &Value| Some((it["symbol"].as_str()?.to_owned(), it["last_trade_id"].as_i64()?));
    symbols.filter_map(pair).collect()
}

fn backfilled(stores: &[Store]) -> i64 {
    let trades = "SELECT count(*) FROM trades WHERE source = 'backfill'";
    stores.iter().map(|it| it.number(trades)).sum()
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).or(times.last());
    match (at(50), at(99)) {
        (Some(middle), Some(worst)) => {
            format!("p50 {middle:.1?}, p99 {worst:.1?}, of {} times", times.len())
        }
        _ => "none".to_owned(),
    }
}
