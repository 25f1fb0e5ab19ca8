//! Two thousand symbols, each by two feeds, under the limits of the exchange. Told: how long until all
//! are listened to, and until trades of all are stored.

use std::time::{Duration, Instant};

use super::scene::{Market, Plan, Scene};
use super::setting;
use super::truth::post;
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
    let market = Market::Seeded { symbols: SYMBOLS, rate: RATE };
    let plan = Plan { market, arguments, network: None };
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
    // Holes are to be closed although the record of most symbols has yet to begin.
    post(&scene.exchange, "POST", "/control/disconnect");
    let torn = Instant::now();
    for _ in 0..setting("MANY_LOOKS", 4) {
        std::thread::sleep(Duration::from_secs(15));
        if look(&scene, &store, begun.elapsed()) {
            println!("many: nothing is missing {:.1?} after all sockets were cut", torn.elapsed());
            break;
        }
    }
    for node in scene.running().into_iter().map(|it| &scene.nodes[it]) {
        let metrics = http::get(&node.http, "/metrics").expect("metrics").body;
        for line in String::from_utf8_lossy(&metrics).lines() {
            if line.starts_with("fts_binance_rest_requests")
                || line.starts_with("fts_binance_weight_part")
            {
                println!("many: {}: {line}", node.http);
            }
        }
    }
    scene.end();
}

/// Says how far the past of the symbols has come; whether it is all there.
fn look(scene: &Scene, store: &crate::support::store::Store, elapsed: Duration) -> bool {
    let status = http::get_json(&scene.nodes[0].http, "/api/status").expect("a status");
    let symbols = status["symbols"].as_array().unwrap();
    let past = "SELECT count(DISTINCT symbol) FROM trades WHERE source = 'backfill'";
    let begun = store.number(past);
    let sum = |key: &str| symbols.iter().filter_map(|it| it[key].as_i64()).sum::<i64>();
    let (missing, lost, backfilled) = (sum("missing"), sum("lost"), sum("backfilled"));
    println!(
        "many: after {elapsed:.1?}: {begun} of {} symbols have a past, {missing} trades are missing, {lost} \
         lost, {backfilled} came by backfill; problems {}, warnings {}",
        symbols.len(),
        status["problems"],
        status["warnings"]
    );
    begun == i64::try_from(SYMBOLS).unwrap() && missing == 0
}
