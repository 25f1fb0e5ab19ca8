//! What part of the exchange's limits is this node's. The exchange counts by IP address, so nodes that
//! leave by one address share what one may use: each takes the part that its work has of theirs.
//!
//! Safety does not rest on it: two nodes that see different members may overrun for a moment. Then the
//! exchange's own count holds them back, or its 429, which loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use fts_adapters::binance::Portion;
use fts_core::placement::Placement;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::controller::Scene;

/// What a node says of the address that it leaves by.
pub(crate) const KEY: &str = "egress";
/// What a shard counts, where each node counts one for what it asks without having any.
const SHARD: u32 = 4;

/// This node's parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Egress {
    /// Of the request weight: by the partitions whose holes it fills.
    pub(crate) weight: Portion,
    /// Of the attempts to connect: by the symbols it listens to.
    pub(crate) connects: Portion,
}

impl Egress {
    /// Follows the cluster until the handle is aborted. `mine`: by what address this node leaves.
    pub(crate) fn follow(
        &self,
        me: Arc<str>,
        mine: String,
        partitions: u32,
        mut scenes: watch::Receiver<Arc<Scene>>,
    ) -> AbortHandle {
        let egress = self.clone();
        let following = tokio::spawn(async move {
            let mut known: Option<(Arc<Placement>, BTreeSet<Arc<str>>)> = None;
            loop {
                let scene = Arc::clone(&scenes.borrow_and_update());
                let others = scene.peers.iter().filter(|it| !it.is_self && it.is_alive);
                let behind = others.filter(|it| it.says(KEY) == mine);
                let mut group: BTreeSet<Arc<str>> = behind.map(|it| Arc::clone(&it.name)).collect();
                group.insert(Arc::clone(&me));
                let is_same = known.as_ref().is_some_and(|(placement, with)| {
                    Arc::ptr_eq(placement, &scene.placement) && *with == group
                });
                if !is_same {
                    let placement = &scene.placement;
                    let (mine, all) =
                        part(&me, &group, (0..partitions).map(|it| placement.partition_owner(it)));
                    egress.weight.set(mine, all);
                    let symbols = scene.registry.symbols();
                    let feeds = symbols
                        .iter()
                        .flat_map(|symbol| [0, 1].map(|feed| placement.owner(symbol, feed)));
                    let (connects, of) = part(&me, &group, feeds);
                    egress.connects.set(connects, of);
                    tracing::debug!(mine, all, connects, of, nodes = group.len(), "limits shared");
                    known = Some((Arc::clone(placement), group));
                }
                if scenes.changed().await.is_err() {
                    return;
                }
            }
        });
        following.abort_handle()
    }
}

/// How much of the limits is `me`'s, and of how much, `group` being the nodes that share them and
/// `owners` those of all shards.
fn part<'a>(
    me: &str,
    group: &BTreeSet<Arc<str>>,
    owners: impl Iterator<Item = Option<&'a Arc<str>>>,
) -> (u32, u32) {
    let nodes = u32::try_from(group.len()).unwrap_or(u32::MAX);
    let (mut mine, mut all) = (1_u32, nodes.max(1));
    for owner in owners.flatten().filter(|it| group.contains(*it)) {
        all = all.saturating_add(SHARD);
        if **owner == *me {
            mine = mine.saturating_add(SHARD);
        }
    }
    (mine, all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> BTreeSet<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    #[track_caller]
    fn check(group: &str, owners: &str, expected: (u32, u32)) {
        let owners: Vec<Arc<str>> = owners.split_whitespace().map(Arc::from).collect();
        let found = part("a", &names(group), owners.iter().map(Some));
        assert_eq!(found, expected, "of {group} with {owners:?}");
    }

    #[test]
    fn a_part_follows_the_work_of_those_behind_the_same_address() {
        check("a", "", (1, 1));
        check("a", "a a a", (13, 13));
        check("a b c", "a b c", (5, 15));
        check("a b c", "a a b c", (9, 19));
        // A node without work may still ask for something.
        check("a b", "b b b b", (1, 18));
        // Whoever leaves by another address has a limit of its own.
        check("a b", "a b c c", (5, 10));
        check("a", "b c", (1, 1));
    }

    proptest! {
        #[test]
        fn nodes_that_see_the_same_never_take_more_than_all(
            nodes in 1..12_usize,
            owners in prop::collection::vec(0..12_usize, 0..60),
            limit in 1..10_000_u32,
        ) {
            let name = |number: usize| -> Arc<str> { format!("n{}", number % nodes).into() };
            let group: BTreeSet<_> = (0..nodes).map(name).collect();
            let owners: Vec<_> = owners.into_iter().map(name).collect();
            let of = |me: &Arc<str>| {
                let (mine, all) = part(me, &group, owners.iter().map(Some));
                let portion = Portion::default();
                portion.set(mine, all);
                portion.of(limit)
            };
            prop_assert!(group.iter().map(of).sum::<u32>() <= limit);
        }
    }
}
