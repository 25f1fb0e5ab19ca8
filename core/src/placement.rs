//! Who does what: a pure function of the members of the cluster and of what there is to do.
//!
//! Weighted rendezvous hashing with bounded loads, in two layers:
//! 1. Every shard has a *home* among all members with weight, alive or not: the best score of those
//!    with room. Nobody's homes exceed 1.10 × its weighted mean.
//! 2. The shards of dead members (*orphans*) go to live members with room, up to 1.15 × the mean of
//!    the live. Nothing else moves, and when the member comes back its shards go home.
//!
//! Both bounds are rounded so that small counts come out even: the mean rounded up is always
//! allowed. Feeds A and B of a symbol never share a member while two are alive; where that leaves
//! no room for an orphan, this wins over the bound.
//!
//! Nodes that see different members may do work twice or, for a while, not at all. They never store
//! a wrong row: docs/safety.md.

mod fill;
mod score;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::market::Symbol;

use self::fill::{Copies, Node, Owners};
use self::score::Digest;

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
    /// All symbols that the cluster captures, whoever does: of what it folds, it fills the holes of
    /// these only.
    pub symbols: Arc<BTreeSet<Symbol>>,
}

impl Share {
    /// The share of a node that does everything by itself.
    pub fn whole(shards: &Shards) -> Self {
        let feed = |feed: u8| if feed < shards.feeds { shards.symbols.clone() } else { Vec::new() };
        Self {
            feeds: [feed(0), feed(1)],
            partitions: (0..shards.partitions).collect(),
            singletons: shards.singletons.clone(),
            symbols: Arc::new(shards.symbols.iter().cloned().collect()),
        }
    }
}

/// Shards that nobody does, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unowned {
    /// A symbol on a feed.
    pub feeds: usize,
    /// Partitions of the log.
    pub partitions: usize,
    /// What is done once.
    pub singletons: usize,
}

/// Who does what. The same on every node that sees the same members and shards, in whatever order
/// it lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The members with weight, by name.
    names: Vec<Arc<str>>,
    symbols: Vec<Symbol>,
    /// The same, for the shares.
    wanted: Arc<BTreeSet<Symbol>>,
    /// Feeds of each symbol: 0, 1 or 2.
    copies: usize,
    feeds: Vec<Owners>,
    partitions: Vec<Owners>,
    singletons: Vec<Singleton>,
    singleton_owners: Vec<Owners>,
    epoch: u64,
}

impl Placement {
    /// Decides. Members without weight get nothing; if no member with weight is alive, nobody does.
    /// Of two members with one name the heavier counts; symbols named twice count once.
    ///
    /// Costs about a nanosecond or two a symbol and member.
    pub fn compute(members: &[Member], shards: &Shards) -> Self {
        let mut members = members.to_vec();
        members.sort();
        members.dedup_by(|later, earlier| {
            let same = later.name == earlier.name;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let mut symbols = shards.symbols.clone();
        symbols.sort();
        symbols.dedup();
        let mut singletons = shards.singletons.clone();
        singletons.sort();
        singletons.dedup();
        let epoch = epoch(&members, &symbols, shards, &singletons);

        members.retain(|member| member.weight > 0);
        let node = |member: &Member| Node {
            hash: Digest::of(b"member", member.name.as_bytes()),
            weight: member.weight,
            live: member.live,
        };
        let nodes: Vec<_> = members.iter().map(node).collect();
        let keys = |kind: &'static [u8], names: &mut dyn Iterator<Item = String>| -> Vec<u64> {
            names.map(|name| Digest::of(kind, name.as_bytes())).collect()
        };
        let symbol_keys = keys(b"symbol", &mut symbols.iter().map(ToString::to_string));
        let partition_keys =
            keys(b"partition", &mut (0..shards.partitions).map(|index| index.to_string()));
        let singleton_keys =
            keys(b"singleton", &mut singletons.iter().map(|it| it.name().to_owned()));
        let feeds = match shards.feeds {
            0 => vec![Owners::default(); symbols.len()],
            1 => fill::assign(&symbol_keys, Copies::One, &nodes),
            _ => fill::assign(&symbol_keys, Copies::Two, &nodes),
        };
        Self {
            names: members.into_iter().map(|member| member.name).collect(),
            wanted: Arc::new(symbols.iter().cloned().collect()),
            symbols,
            copies: usize::from(shards.feeds.min(2)),
            feeds,
            partitions: fill::assign(&partition_keys, Copies::One, &nodes),
            singletons,
            singleton_owners: fill::assign(&singleton_keys, Copies::One, &nodes),
            epoch,
        }
    }

    /// What the member of that name does: no work if there is none, or it has no weight.
    pub fn share(&self, name: &str) -> Share {
        let mut share = Share { symbols: Arc::clone(&self.wanted), ..Share::default() };
        let Ok(me) = self.names.binary_search_by(|other| other.as_ref().cmp(name)) else {
            return share;
        };
        let [a, b] = &mut share.feeds;
        for (symbol, owners) in self.symbols.iter().zip(&self.feeds) {
            for (list, owner) in [&mut *a, &mut *b].into_iter().zip(owners) {
                if *owner == Some(me) {
                    list.push(symbol.clone());
                }
            }
        }
        let mine = |(_, owners): &(u32, &Owners)| owners.first() == Some(&Some(me));
        share.partitions =
            (0..).zip(&self.partitions).filter(mine).map(|(partition, _)| partition).collect();
        let singletons = self.singletons.iter().zip(&self.singleton_owners);
        share.singletons = singletons
            .filter(|(_, owners)| owners.first() == Some(&Some(me)))
            .map(|(singleton, _)| *singleton)
            .collect();
        share
    }

    /// Who captures `symbol` for `feed` (0 is A, 1 is B).
    pub fn owner(&self, symbol: &Symbol, feed: u8) -> Option<&Arc<str>> {
        let index = self.symbols.binary_search(symbol).ok()?;
        self.name(*self.feeds.get(index)?.get(usize::from(feed))?)
    }

    /// Who folds a partition of the log, and fills its holes.
    pub fn partition_owner(&self, partition: u32) -> Option<&Arc<str>> {
        let [owner, _] = self.partitions.get(usize::try_from(partition).ok()?)?;
        self.name(*owner)
    }

    /// Who does what is done once.
    pub fn singleton_owner(&self, singleton: Singleton) -> Option<&Arc<str>> {
        let index = self.singletons.binary_search(&singleton).ok()?;
        let [owner, _] = self.singleton_owners.get(index)?;
        self.name(*owner)
    }

    /// How many shards nobody does, where `does` tells of whom it is known that they do their share.
    pub fn unowned(&self, does: impl Fn(&str) -> bool) -> Unowned {
        let done: Vec<bool> = self.names.iter().map(|name| does(name)).collect();
        let is_open = |owner: &Option<usize>| {
            !owner.and_then(|index| done.get(index).copied()).unwrap_or(false)
        };
        let first = |owners: &&Owners| owners.first().is_none_or(is_open);
        let feeds = self.feeds.iter().flat_map(|owners| owners.iter().take(self.copies));
        Unowned {
            feeds: feeds.filter(|owner| is_open(owner)).count(),
            partitions: self.partitions.iter().filter(first).count(),
            singletons: self.singleton_owners.iter().filter(first).count(),
        }
    }

    /// A hash of what this was computed from: nodes with equal epochs agree.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn name(&self, index: Option<usize>) -> Option<&Arc<str>> {
        self.names.get(index?)
    }
}

fn epoch(members: &[Member], symbols: &[Symbol], shards: &Shards, singletons: &[Singleton]) -> u64 {
    let mut digest = Digest::new(b"epoch");
    for member in members {
        digest.text(member.name.as_bytes());
        digest.number(u64::from(member.weight) << 1 | u64::from(member.live));
    }
    digest.text(b"symbols");
    symbols.iter().for_each(|symbol| digest.text(symbol.as_str().as_bytes()));
    digest.text(b"the rest");
    digest.number(u64::from(shards.feeds));
    digest.number(u64::from(shards.partitions));
    singletons.iter().for_each(|singleton| digest.text(singleton.name().as_bytes()));
    digest.finish()
}

#[cfg(test)]
mod tests;
