//! Who does what: a pure function of the members of the cluster and of what there is to do.

use std::sync::Arc;

use crate::market::Symbol;

/// A node, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name, unique in the cluster and the same after a restart.
    pub name: Arc<str>,
    /// Its share of the work, relative to the others'; 100 is usual, 0 takes no work.
    pub weight: u32,
    /// Whether it is believed to be alive.
    pub live: bool,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shards {
    /// The symbols to capture.
    pub symbols: Vec<Symbol>,
    /// Parallel feeds of each symbol: 1 or 2.
    pub feeds: u8,
    /// Partitions of the log to fold.
    pub partitions: u32,
    /// What exactly one node does.
    pub singletons: Vec<Singleton>,
}

/// Work that is done once in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Singleton {
    /// The daily batch of stock prices.
    Batch,
    /// The simulator of transactions.
    Simulator,
}

impl Singleton {
    /// What operators call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Simulator => "simulator",
        }
    }
}

/// What one node does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// The symbols that it captures, by feed (A, B), in order.
    pub feeds: [Vec<Symbol>; 2],
    /// The partitions that it folds (and fills the holes of), rising.
    pub partitions: Vec<u32>,
    /// What only it does.
    pub singletons: Vec<Singleton>,
}

impl Share {
    /// The share of a node that does everything by itself.
    pub fn whole(shards: &Shards) -> Self {
        let feed = |feed: u8| if feed < shards.feeds { shards.symbols.clone() } else { Vec::new() };
        Self {
            feeds: [feed(0), feed(1)],
            partitions: (0..shards.partitions).collect(),
            singletons: shards.singletons.clone(),
        }
    }
}
