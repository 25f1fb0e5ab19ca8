//! The stored result is the same, however often the node is killed on the way.

use std::time::Duration;

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand, SYMBOLS};
use crate::support::store::{Store, assert_same, integer, text};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};

/// What may differ between two runs: when and how a trade came in.
const BY_RUN: [&str; 3] = ["received_at", "source", "version"];

/// How long the tape plays at 20 times its speed.
pub(crate) const TAPE: Duration = Duration::from_millis(32_500);

/// `FTS_KILL_SEED` and `FTS_KILLS` choose other instants, and more of them.
#[test]
fn kill_9_at_random_instants_changes_nothing_that_is_stored() {
    let Some(fixtures) = fixtures() else { return };
    let truth = Truth::read(&fixtures);
    let (seed, kills) = (parameter("FTS_KILL_SEED", 1), parameter("FTS_KILLS", 30));
    println!("seed {seed}, {kills} kills");

    let calm_folder = tempfile::tempdir().unwrap();
    let calm_exchange = Exchange::play(&fixtures, calm_folder.path());
    let calm_command = NodeCommand::new(calm_folder.path(), &calm_exchange);
    let mut calm = calm_command.start();

    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let mut node = command.start();
    // The tape begins with the first subscriber: let there be one.
    until("the first trade of the tape", PATIENCE, || exchange.newest_trade(SYMBOLS[0]));
    for (at, pause) in pauses(seed, kills, TAPE).into_iter().enumerate() {
        std::thread::sleep(pause);
        println!("kill {} after {pause:?}", at + 1);
        node.kill();
        node = command.start();
    }

    let store = Store::new(command.database());
    await_trades(&mut node, &store, &truth);
    node.terminate();

    let calm_store = Store::new(calm_command.database());
    await_trades(&mut calm, &calm_store, &truth);
    calm.terminate();

    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    for table in ["trades", "candles"] {
        let (left, right) = (calm_store.dump(table, &BY_RUN), store.dump(table, &BY_RUN));
        assert_same(&format!("{table} without and with kills"), &left, &right);
    }
    assert_same("gaps", &store.dump("gaps", &[]), &[]);
    assert_same("dead letters", &store.dump("dead_letters", &[]), &[]);
}

/// Needs no recording: the exchange itself says afterwards which trades it made.
#[test]
fn kill_9_loses_nothing_of_a_market_made_up_from_a_seed() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let store = Store::new(command.database());
    let mut node = command.start();
    for _ in 0..6 {
        let before = store.count("trades");
        until("more trades in the store", PATIENCE, || {
            node.check_alive();
            (store.count("trades") > before + 200).then_some(())
        });
        node.kill();
        node = command.start();
    }
    let newest = SYMBOLS.map(|symbol| exchange.newest_trade(symbol).expect("a trade"));
    until("all that was traded meanwhile in the store", PATIENCE, || {
        node.check_alive();
        let has = |(symbol, id)| {
            // The newest trade is there before what was missed: both count.
            let all = "SELECT max(trade_id) * (count(*) = max(trade_id) - min(trade_id) + 1) \
                 FROM trades WHERE symbol =";
            store.number(&format!("{all} '{symbol}'")) >= id
        };
        SYMBOLS.into_iter().zip(newest).all(has).then_some(())
    });
    node.terminate();

    let spans = store.rows(
        "SELECT symbol, min(trade_id) AS first, max(trade_id) AS last FROM trades GROUP BY symbol",
    );
    let spans: Vec<_> = spans
        .iter()
        .map(|row| (text(row, "symbol").to_owned(), integer(row, "first"), integer(row, "last")))
        .collect();
    assert_eq!(spans.len(), SYMBOLS.len());
    let truth = Truth::ask(&exchange.address, &spans);
    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    assert_same("gaps", &store.dump("gaps", &[]), &[]);
    assert_same("dead letters", &store.dump("dead_letters", &[]), &[]);
}

/// A whole number from the environment.
pub(crate) fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, is `{text}`"))
    })
}

/// The pauses between `kills` instants drawn evenly from a stretch of time.
pub(crate) fn pauses(seed: u64, kills: u64, stretch: Duration) -> Vec<Duration> {
    let mut state = seed;
    let end = u64::try_from(stretch.as_millis()).unwrap();
    let mut instants: Vec<u64> = (0..kills).map(|_| split_mix(&mut state) % end).collect();
    instants.sort_unstable();
    let before = std::iter::once(0).chain(instants.iter().copied());
    before.zip(&instants).map(|(from, to)| Duration::from_millis(to - from)).collect()
}

/// `SplitMix64`: a good enough die that throws the same on every machine.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
