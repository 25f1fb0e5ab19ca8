//! Nodes are killed, stopped, cut off and replaced, Kafka dies, the exchange is unreliable; and afterwards
//! what is stored is what the exchange says that happened, row by row and column by column.
//!
//! `cargo xtask chaos` chooses another or a harder run; `FTS_CHAOS_…`:
//!
//! | | |
//! |---|---|
//! | `SEED` | of what happens when |
//! | `ROUNDS` | of harm in each scene; what is not set covers each kind of harm once |
//! | `SYMBOLS`, `RATE` | of the seeded market, and its messages a second |
//! | `STOP_S` | how long a stopped node stands still and a cut lasts, seconds; Kafka is away for twice as long |
//! | `BROKERS` | of Kafka: 1, or 3 (three copies, two in sync are enough) |
//! | `SPEED` | of the recorded market: so many times as fast |
//! | `PATIENCE_S` | how long to wait for what must come, seconds |
//! | `KEEP` | 1: what processes wrote stays where it is |

mod harm;
mod many;
mod network;
mod quotes;
mod scene;
mod takeover;
mod tape;
mod truth;

use std::time::Duration;

use self::scene::{Plan, Scene, network};

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(format!("FTS_CHAOS_{name}")).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("FTS_CHAOS_{name} is {text:?}: write a number"))
    })
}

/// Everything takes longer on a machine that does other things, too.
fn patience() -> Duration {
    Duration::from_secs(setting("PATIENCE_S", 180))
}

/// Throws dice; the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

#[test]
fn without_kafka_whatever_dies_what_is_stored_is_the_truth() {
    let mut scene = Scene::without_kafka(Plan::usual());
    scene.suffer();
    scene.await_peace();
    scene.end();
    scene.everything_is_true();
}

#[test]
fn without_kafka_whoever_is_cut_off_what_is_stored_is_the_truth() {
    let Some(network) = network() else { return };
    let mut scene = Scene::without_kafka(Plan { network: Some(network), ..Plan::usual() });
    scene.tear();
    scene.await_peace();
    scene.end();
    scene.everything_is_true();
}

#[test]
fn without_kafka_the_recorded_market_comes_out_as_the_exchanges_own_klines() {
    let Some(plan) = Plan::recorded() else { return };
    tape::endures(Scene::without_kafka(plan));
}

#[test]
fn with_kafka_whatever_dies_what_is_stored_is_the_truth() {
    let Some(mut scene) = Scene::with_kafka(Plan::usual()) else { return };
    scene.suffer();
    scene.await_peace();
    scene.end();
    scene.everything_is_true();
}

#[test]
fn with_kafka_whoever_is_cut_off_what_is_stored_is_the_truth() {
    let Some(network) = network() else { return };
    let plan = Plan { network: Some(network), ..Plan::usual() };
    let Some(mut scene) = Scene::with_kafka(plan) else { return };
    scene.tear();
    scene.await_peace();
    scene.end();
    scene.everything_is_true();
}

#[test]
fn with_kafka_a_rolling_restart_leaves_no_hole_in_the_best_bids_and_asks() {
    let Some(mut scene) = Scene::with_kafka(Plan::calm()) else { return };
    quotes::survive_a_rolling_restart(&mut scene);
    scene.await_peace();
    scene.end();
    scene.everything_is_true();
}

#[test]
fn with_kafka_the_recorded_market_comes_out_as_the_exchanges_own_klines() {
    let Some(plan) = Plan::recorded() else { return };
    let Some(scene) = Scene::with_kafka(plan) else { return };
    tape::endures(scene);
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn takeover_figure() {
    takeover::measure(Scene::without_kafka(Plan::calm()));
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn takeover_figure_with_kafka() {
    let Some(scene) = Scene::with_kafka(Plan::calm()) else { return };
    takeover::measure(scene);
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn takeover_figure_of_who_is_cut_off() {
    let Some(network) = network() else { return };
    takeover::measure(Scene::without_kafka(Plan { network: Some(network), ..Plan::calm() }));
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn takeover_figure_of_who_is_cut_off_with_kafka() {
    let Some(network) = network() else { return };
    let plan = Plan { network: Some(network), ..Plan::calm() };
    let Some(scene) = Scene::with_kafka(plan) else { return };
    takeover::measure(scene);
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn two_thousand_symbols_figure() {
    many::measure();
}
