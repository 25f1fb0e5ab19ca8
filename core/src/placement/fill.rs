//! The filling of members with shards, up to a bound for each.

use super::score;

/// How full of homes a member gets, in percent of its mean.
const HOME_PERCENT: u128 = 110;
/// How full of homes and orphans a live member gets, in percent of its mean.
const LIVE_PERCENT: u128 = 115;

/// A member with weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) hash: u64,
    pub(super) weight: u32,
    pub(super) live: bool,
}

/// How many members do a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copies {
    One,
    Two,
}

/// Who does a shard, by copy, as places in the list of nodes.
pub(super) type Owners = [Option<usize>; 2];

/// The owners of shards of one kind. Depends on the keys and nodes, not on the order of the keys.
pub(super) fn assign(keys: &[u64], copies: Copies, nodes: &[Node]) -> Vec<Owners> {
    let mut owners = vec![Owners::default(); keys.len()];
    // Whoever comes first finds room: an order that has to do with nothing is a fair one.
    let mut order: Vec<_> = keys.iter().copied().enumerate().collect();
    order.sort_unstable_by_key(|(shard, key)| (*key, *shard));
    let everybody: Vec<_> = nodes.iter().copied().enumerate().collect();
    Fill::new(everybody.clone(), keys.len(), copies, HOME_PERCENT).place(&order, &mut owners);
    if nodes.iter().all(|node| node.live) {
        return owners;
    }
    let live: Vec<_> = everybody.into_iter().filter(|(_, node)| node.live).collect();
    let mut fill = Fill::new(live, keys.len(), copies, LIVE_PERCENT);
    for owner in owners.iter_mut().flatten() {
        match *owner {
            Some(index) if nodes.get(index).is_some_and(|node| node.live) => fill.count(index),
            _ => *owner = None,
        }
    }
    fill.place(&order, &mut owners);
    owners
}

/// Members being filled.
#[derive(Debug)]
struct Fill {
    bins: Vec<Bin>,
    /// Those with room, by weight: among equals the draws compare as they are.
    open: Vec<(u32, Vec<Open>)>,
    copies: Copies,
    /// What this filling placed (shard and copy): it may be moved on.
    placed: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Bin {
    /// The place in the list of nodes.
    node: usize,
    weight: u32,
    load: usize,
    cap: usize,
}

/// A bin with room.
#[derive(Debug, Clone, Copy)]
struct Open {
    hash: u64,
    node: usize,
}

/// The best with room.
#[derive(Debug, Default)]
struct Best {
    first: Option<Drawn>,
    /// Two, because the best for the second copy may be taken by the first.
    second: [Option<Drawn>; 2],
}

#[derive(Debug, Clone, Copy)]
struct Drawn {
    draw: u32,
    weight: u32,
    node: usize,
}

impl Fill {
    fn new(nodes: Vec<(usize, Node)>, shards: usize, copies: Copies, percent: u128) -> Self {
        let weights: Vec<_> = nodes.iter().map(|(_, node)| node.weight).collect();
        let caps = caps(&weights, shards, copies, percent);
        let mut open: Vec<(u32, Vec<Open>)> = Vec::new();
        let mut by_weight = nodes.clone();
        by_weight.sort_by_key(|(index, node)| (node.weight, *index));
        for (index, node) in by_weight {
            let one = Open { hash: node.hash, node: index };
            match open.last_mut() {
                Some((weight, list)) if *weight == node.weight => list.push(one),
                _ => open.push((node.weight, vec![one])),
            }
        }
        let bins = nodes.into_iter().zip(caps);
        let bins =
            bins.map(|((node, it), cap)| Bin { node, weight: it.weight, load: 0, cap }).collect();
        Self { bins, open, copies, placed: Vec::new() }
    }

    /// Gives every copy that has no owner one.
    fn place(&mut self, order: &[(usize, u64)], owners: &mut [Owners]) {
        if self.bins.is_empty() {
            return;
        }
        // A lone member does both copies.
        let apart = self.bins.len() > 1;
        for (shard, key) in order {
            let Some([first, second]) = owners.get(*shard).copied() else { continue };
            let lacks_second = self.copies == Copies::Two && second.is_none();
            if first.is_some() && !lacks_second {
                continue;
            }
            let best = self.best(*key, first.or(second).filter(|_| apart));
            let mut owner = first;
            if first.is_none() {
                owner = self.take(best.first, (*shard, 0), second, owners);
            }
            if lacks_second {
                let free = |drawn: &Drawn| !apart || Some(drawn.node) != owner;
                let drawn = best.second.into_iter().flatten().find(free);
                self.take(drawn, (*shard, 1), owner, owners);
            }
        }
    }

    /// The best of those with room but `not` that one.
    fn best(&self, key: u64, not: Option<usize>) -> Best {
        let mut best = Best::default();
        for (weight, list) in &self.open {
            let weight = *weight;
            let mut among = Best::default();
            let (mut first, mut next) = (None, None);
            for open in list {
                let (a, b) = score::draw(key, open.hash);
                // Nothing drawn yet is below every draw.
                if (Some(a) > first || Some(b) > next) && Some(open.node) != not {
                    if Some(a) > first {
                        first = Some(a);
                        among.first = Some(Drawn { draw: a, weight, node: open.node });
                    }
                    among.second_choice(Drawn { draw: b, weight, node: open.node });
                    next = among.second[1].map(|drawn| drawn.draw);
                }
            }
            best.first = better(best.first, among.first);
            among.second.into_iter().flatten().for_each(|drawn| best.second_choice(drawn));
        }
        best
    }

    /// Makes the one drawn the owner of a copy, or whoever can be if nobody has room.
    fn take(
        &mut self,
        drawn: Option<Drawn>,
        (shard, copy): (usize, usize),
        other: Option<usize>,
        owners: &mut [Owners],
    ) -> Option<usize> {
        let node = match drawn {
            Some(drawn) => {
                self.count(drawn.node);
                drawn.node
            }
            None => self.swap(other, owners).or_else(|| self.overflow(other))?,
        };
        if let Some(owner) = owners.get_mut(shard).and_then(|owners| owners.get_mut(copy)) {
            *owner = Some(node);
        }
        self.placed.push((shard, copy));
        Some(node)
    }

    /// Room is left only where the other copy is: what was placed elsewhere moves there, and leaves
    /// its place. Among homes there always is such a thing, as no member may hold more shards than
    /// there are.
    fn swap(&mut self, full_but: Option<usize>, owners: &mut [Owners]) -> Option<usize> {
        let there = full_but?;
        self.bin(there).filter(|bin| bin.load < bin.cap)?;
        let (shard, copy) = self.placed.iter().copied().rev().find(|(shard, _)| {
            owners.get(*shard).is_some_and(|owners| !owners.contains(&Some(there)))
        })?;
        let left = owners.get_mut(shard)?.get_mut(copy)?.replace(there)?;
        self.count(there);
        Some(left)
    }

    /// Nobody but the owner of the other copy has room: the emptiest of the rest takes it anyway.
    fn overflow(&mut self, other: Option<usize>) -> Option<usize> {
        let relative = |bin: &Bin| (bin.load as u128, u128::from(bin.weight));
        let emptiest = self.bins.iter().filter(|bin| Some(bin.node) != other).min_by(|a, b| {
            let ((a_load, a_weight), (b_load, b_weight)) = (relative(a), relative(b));
            (a_load * b_weight).cmp(&(b_load * a_weight))
        })?;
        let node = emptiest.node;
        self.count(node);
        Some(node)
    }

    fn bin(&mut self, node: usize) -> Option<&mut Bin> {
        let index = self.bins.binary_search_by_key(&node, |bin| bin.node).ok()?;
        self.bins.get_mut(index)
    }

    /// One more for this node.
    fn count(&mut self, node: usize) {
        let Some(bin) = self.bin(node) else { return };
        bin.load += 1;
        if bin.load >= bin.cap {
            let weight = bin.weight;
            if let Ok(index) = self.open.binary_search_by_key(&weight, |(weight, _)| *weight)
                && let Some((_, list)) = self.open.get_mut(index)
            {
                list.retain(|open| open.node != node);
            }
        }
    }
}

impl Best {
    fn second_choice(&mut self, drawn: Drawn) {
        let [best, next] = &mut self.second;
        if best.is_none_or(|best| drawn.beats(best)) {
            *next = best.replace(drawn);
        } else {
            *next = better(*next, Some(drawn));
        }
    }
}

impl Drawn {
    fn beats(self, other: Self) -> bool {
        score::beats((self.draw, self.weight), (other.draw, other.weight))
    }
}

fn better(one: Option<Drawn>, other: Option<Drawn>) -> Option<Drawn> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.beats(one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// How many copies each may hold: `percent` of its mean, rounded down, but at least its mean,
/// rounded up. Two copies of a shard lie apart: a member that outweighs all others together can do
/// one of each shard at most, and the others share the rest.
fn caps(weights: &[u32], shards: usize, copies: Copies, percent: u128) -> Vec<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let heaviest = weights.iter().max().map_or(0, |weight| u128::from(*weight));
    let shards = shards as u128;
    let apart = copies == Copies::Two && weights.len() > 1;
    let cap = |weight: &u32| {
        let weight = u128::from(*weight);
        let (share, of) = match copies {
            Copies::One => (shards, total),
            Copies::Two if !apart || 2 * heaviest <= total => (2 * shards, total),
            Copies::Two if weight == heaviest => (shards, weight),
            Copies::Two => (shards, total - heaviest),
        };
        let of = of.max(1);
        let cap = (share * weight).div_ceil(of).max(share * weight * percent / (of * 100));
        let most = if apart { shards } else { u128::MAX };
        usize::try_from(cap.min(most)).unwrap_or(usize::MAX)
    };
    weights.iter().map(cap).collect()
}
