//! What the end-to-end tests stand on.

pub(crate) mod broker;
pub(crate) mod check;
pub(crate) mod dump;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod servers;
pub(crate) mod store;
pub(crate) mod truth;

use std::path::PathBuf;
use std::time::Duration;

use fts_core::time::{Clock as _, SystemClock};

/// How long a test waits for what must come. The tape lasts 33 s at 20 times its speed; a loaded
/// machine with two cores needs longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The day's count of requests begins anew at midnight: not in the middle of a test.
pub(crate) fn stay_clear_of_midnight() {
    while SystemClock.now().millis() % 86_400_000 > 86_100_000 {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Looks until `poll` has an answer.
///
/// # Panics
/// If there is none for `patience`.
#[track_caller]
pub(crate) fn until<T>(what: &str, patience: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    // Counts looks, not time: a machine that stood still has not run out of patience.
    for _ in 0..patience.as_millis() / POLL.as_millis() {
        if let Some(answer) = poll() {
            return answer;
        }
        std::thread::sleep(POLL);
    }
    panic!("waited {patience:?} in vain for {what}");
}

/// The recorded tapes; `None`, and a loud line, where they are not at hand.
pub(crate) fn fixtures() -> Option<PathBuf> {
    let folder =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/binance"));
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no recorded tapes at {}", folder.display());
    None
}
