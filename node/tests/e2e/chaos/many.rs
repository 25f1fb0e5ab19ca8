//! Two thousand symbols, each by two feeds, under the limits of the exchange. Told: how long until all
//! are listened to, and until trades of all are stored.

use std::time::{Duration, Instant};

use super::{Plan, Scene};
use crate::support::http;
use crate::support::until;

const SYMBOLS: u64 = 2_000;
/// Messages a second, all symbols together.
const RATE: u64 = 4_000;
/// No promise, but an end of waiting. The promise is five minutes.
const LONG: Duration = Duration::from_secs(900);

#[expect(clippy::disallowed_methods, reason = "a figure is a time by the clock of the machine")]
pub(super) fn measure() {
    let begun = Instant::now();
    let arguments = vec!["--limits".to_owned()];
    let plan = Plan { symbols: SYMBOLS, rate: RATE, arguments, network: None };
    let mut scene = Scene::without_kafka(plan);
    let store = scene.database(0);
    until("both feeds of all symbols on three nodes", LONG, || {
        let cluster = http::get_json(&scene.nodes[0].http, "/api/cluster")?;
        let nodes = cluster["nodes"].as_array()?;
        let live: Vec<_> = nodes.iter().filter(|it| it["state"] == "live").collect();
        let all = |feed: &str| live.iter().filter_map(|it| it[feed].as_u64()).sum::<u64>();
        let is_shared = all("feed_a") == SYMBOLS && all("feed_b") == SYMBOLS;
        let is_settled = live.len() == 3 && live.iter().all(|it| it["settled"] == true);
        (is_shared && is_settled).then_some(())
    });
    println!("many: {SYMBOLS} symbols x 2 feeds are listened to after {:.1?}", begun.elapsed());
    until("a trade of every symbol", LONG, || {
        let symbols = store.number("SELECT count(DISTINCT symbol) FROM candles");
        (symbols == i64::try_from(SYMBOLS).unwrap()).then_some(())
    });
    println!("many: candles of every symbol are stored after {:.1?}", begun.elapsed());
    until("a trade of every symbol", LONG, || {
        let symbols = store.number("SELECT count(DISTINCT symbol) FROM trades");
        (symbols == i64::try_from(SYMBOLS).unwrap()).then_some(())
    });
    println!("many: trades of every symbol are stored after {:.1?}", begun.elapsed());
    for node in &scene.nodes {
        let status = http::get_json(&node.http, "/api/status").expect("a status");
        println!(
            "many: {}: problems {}, warnings {}",
            node.name, status["problems"], status["warnings"]
        );
    }
    scene.end();
}
