//! The three laws of ARCHITECTURE.md as a simulation: nodes with any view of the cluster, feeds that lose,
//! repeat and delay, crashes at any instant, zombies, rows that arrive late, twice and in any order.
//! At the end every store holds the truth, which is computed by another path.
//!
//! The real parts: `Aggregate`, `Coverage`, `Placement`, checkpoints, versions. The simulated ones:
//! exchange, log, stores, and the steps that ingestors, aggregators, backfills and writers take.
//!
//! - `FTS_SIMULATION_ROUNDS=100000 cargo test --release -p fts-core --test simulation` tries more;
//! - `FTS_SIMULATION_SEED=17 …` replays one schedule (with rounds: begins with that one).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod dice;
mod market;
mod rules;
mod store;
mod truth;
mod world;

use rules::Broken;
use world::{Tally, World};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: give it a number")))
}

#[test]
fn every_store_ends_equal_to_the_truth_whatever_happens() {
    let first = number("FTS_SIMULATION_SEED");
    let rounds = number("FTS_SIMULATION_ROUNDS").unwrap_or(if first.is_some() { 1 } else { 400 });
    let first = first.unwrap_or(0);
    let mut tally = Tally::default();
    for seed in first..first + rounds {
        if let Err(reason) = World::run(seed, None, &mut tally) {
            panic!(
                "seed {seed}: {reason}\n  to replay it: \
                 FTS_SIMULATION_SEED={seed} cargo test -p fts-core --test simulation every_store"
            );
        }
    }
    println!("{rounds} schedules from seed {first}: {tally:?}");
}

#[test]
fn the_schedules_hold_what_they_are_for() {
    let mut tally = Tally::default();
    for seed in 0..100 {
        World::run(seed, None, &mut tally).unwrap();
    }
    let Tally { schedules, records, repeats, backfilled, gaps, .. } = tally;
    assert_eq!(schedules, 100);
    assert!(records > 10_000 && repeats > 1_000 && backfilled > 100 && gaps > 10, "{tally:?}");
    let Tally { crashes, restores, two_at_once, late_rows, .. } = tally;
    assert!(crashes > 100 && restores > 100 && two_at_once > 1_000, "{tally:?}");
    let Tally { checkpoints, expired, alerts, .. } = tally;
    assert!(late_rows > 1_000 && checkpoints > 100 && expired > 10 && alerts > 10, "{tally:?}");
}

#[test]
fn a_seed_is_a_schedule() {
    let play = || {
        let mut tally = Tally::default();
        World::run(7, None, &mut tally).unwrap();
        tally
    };
    assert_eq!(play(), play());
}

#[test]
fn the_simulation_notices_when_a_rule_is_broken() {
    const TRIES: u64 = 300;
    for broken in Broken::ALL {
        let fails = |seed: &u64| World::run(*seed, Some(broken), &mut Tally::default()).is_err();
        let first = (0..TRIES).find(fails);
        println!("{broken:?}: noticed at seed {first:?}");
        assert!(first.is_some(), "{broken:?} went unnoticed in {TRIES} schedules");
    }
}
