//! Faults on purpose: what a connection sees goes wrong, what is true does not.
//!
//! Chance comes from a seed: the fate of a message depends on the seed, the number of its connection
//! and its own number on it, so that a run is repeated by its seed. Settings change while the
//! exchange runs; every connection follows at once.

pub(crate) mod lane;
pub(crate) mod schedule;
mod settings;

pub(crate) use self::settings::parse_time;
pub use self::settings::{FaultError, Faults};

use crate::market::seeded::noise::{hash, unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Connections that lag so many actions behind miss the oldest.
const ACTIONS_KEPT: usize = 16;

/// The switchboard of a running exchange's faults.
#[derive(Debug, Clone)]
pub struct FaultControl(pub(crate) Arc<Board>);

impl FaultControl {
    /// What is switched on.
    pub fn settings(&self) -> Faults {
        Faults::clone(&self.0.settings.borrow())
    }

    /// Switches over, for connections and requests alike.
    ///
    /// # Errors
    /// Settings that make no sense are refused, and nothing changes.
    pub fn set(&self, faults: Faults) -> Result<(), FaultError> {
        faults.check()?;
        self.0.set(faults);
        Ok(())
    }

    /// Cuts every connection off, without a goodbye.
    pub fn disconnect_all(&self) {
        self.0.act(Action::Disconnect);
    }

    /// Every connection stays open and falls silent: no frame, no answer, no ping. `None`: until the
    /// client gives up.
    pub fn stall_all(&self, lasts: Option<Duration>) {
        self.0.act(Action::Stall(lasts));
    }

    /// Answers attempts to connect to a stream with 503 for so long (zero: no longer).
    pub fn refuse_for(&self, lasts: Duration) {
        let until = self.0.clock.now().millis().saturating_add(millis(lasts));
        self.0.refuse_until.store(until, Ordering::Relaxed);
    }

    /// Sends `serverShutdown` to every connection, and closes them with 1001 after so long.
    pub fn shut_down_in(&self, after: Duration) {
        self.0.act(Action::Shutdown(after));
    }

    /// What has gone wrong so far.
    pub fn tally(&self) -> FaultTally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.0.counts;
        FaultTally {
            connections: read(&self.0.connections),
            dropped: read(&counts.dropped),
            duplicated: read(&counts.duplicated),
            reordered: read(&counts.reordered),
            malformed: read(&counts.malformed),
            disconnected: read(&counts.disconnected),
            stalled: read(&counts.stalled),
            refused: read(&counts.refused),
            limited: read(&counts.limited),
            rest_failed: read(&counts.rest_failed),
        }
    }
}

/// How often what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct FaultTally {
    /// WebSocket connections since the start.
    pub connections: u64,
    /// Messages never sent.
    pub dropped: u64,
    /// Messages sent twice.
    pub duplicated: u64,
    /// Messages sent after later ones.
    pub reordered: u64,
    /// Messages sent broken.
    pub malformed: u64,
    /// Connections cut off on purpose.
    pub disconnected: u64,
    /// Times that a connection fell silent.
    pub stalled: u64,
    /// Connection attempts refused on purpose.
    pub refused: u64,
    /// Connection attempts and connections refused by the limits of the exchange.
    pub limited: u64,
    /// Requests failed on purpose.
    pub rest_failed: u64,
}

/// What happens to all connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Disconnect,
    Stall(Option<Duration>),
    Shutdown(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) dropped: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) reordered: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) disconnected: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) rest_failed: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all connections and requests look at.
pub(crate) struct Board {
    settings: watch::Sender<Arc<Faults>>,
    /// Whether messages have to be looked at one by one.
    touches_messages: AtomicBool,
    /// Counts the changes of the settings.
    generation: AtomicU64,
    actions: broadcast::Sender<Action>,
    /// Connections are refused before this time, ms UTC.
    refuse_until: AtomicI64,
    connections: AtomicU64,
    requests: AtomicU64,
    pub(crate) counts: Counts,
    clock: Arc<dyn fts_core::time::Clock>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Board").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Board {
    /// A board with these settings, which were checked.
    pub(crate) fn new(faults: Faults, clock: Arc<dyn fts_core::time::Clock>) -> Arc<Self> {
        Arc::new(Self {
            touches_messages: AtomicBool::new(faults.touches_messages()),
            settings: watch::Sender::new(Arc::new(faults)),
            generation: AtomicU64::new(0),
            actions: broadcast::Sender::new(ACTIONS_KEPT),
            refuse_until: AtomicI64::new(0),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            counts: Counts::default(),
            clock,
        })
    }

    fn set(&self, faults: Faults) {
        self.touches_messages.store(faults.touches_messages(), Ordering::Relaxed);
        self.settings.send_replace(Arc::new(faults));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn act(&self, action: Action) {
        // Nobody is connected: nothing to be done.
        let _ = self.actions.send(action);
    }

    pub(crate) fn touches_messages(&self) -> bool {
        self.touches_messages.load(Ordering::Relaxed)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<Faults> {
        Arc::clone(&self.settings.borrow())
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Faults>> {
        self.settings.subscribe()
    }

    pub(crate) fn actions(&self) -> broadcast::Receiver<Action> {
        self.actions.subscribe()
    }

    /// The number of one more connection, from 0.
    pub(crate) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether an attempt to connect is refused: the seconds until connections are taken again.
    pub(crate) fn refuses(&self) -> Option<i64> {
        let left = self.refuse_until.load(Ordering::Relaxed) - self.clock.now().millis();
        (left > 0).then(|| {
            count(&self.counts.refused);
            (left + 999) / 1000
        })
    }

    /// Counts a connection, or an attempt at one, that the limits of the exchange ended.
    pub(crate) fn limited(&self) {
        count(&self.counts.limited);
    }

    /// What becomes of one more request.
    pub(crate) fn rest_fate(&self) -> RestFate {
        let faults = self.current();
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let chance = hash(hash(faults.seed, u64::MAX), request);
        let fate = faults.rest_fate(unit(chance), chance, self.clock.now().millis());
        if !matches!(fate, RestFate::Served { .. }) {
            count(&self.counts.rest_failed);
        }
        fate
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestFate {
    /// Answered, after this delay.
    Served { delay: Duration },
    /// This code of the 5xx.
    Error(u16),
    /// Answered after so long that nobody waits for it.
    Timeout(Duration),
    /// 429 or 418, with so many seconds to wait.
    Limited {
        banned: bool,
        retry_after: u32,
        /// Until when, ms UTC.
        until: i64,
    },
}

/// When it happens next to a connection, with this mean: exponential, as what has no memory is.
pub(crate) fn wait(seed: u64, connection: u64, number: u64, mean_ms: u64) -> Duration {
    const LONGEST: f64 = 10.0;
    let chance = unit(hash(hash(seed, connection), number));
    let factor = -(1.0 - chance).ln();
    Duration::from_millis(mean_ms).mul_f64(factor.clamp(0.0, LONGEST))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
