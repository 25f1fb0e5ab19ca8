//! What a node does, and what it still does until its next owner does it.
//!
//! A shard that moves has two owners for a while, which is harmless, and never none, which would be
//! a hole in the best bid and ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fts_core::market::Symbol;
use fts_core::placement::{Placement, Share, Singleton};

/// A next owner that has not settled by then is not waited for any longer.
pub(super) const OVERDUE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shard {
    Feed(u8, Symbol),
    Partition(u32),
    Singleton(Singleton),
}

/// How a shard that was kept was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ended {
    /// Shards whose next owner has settled.
    pub(super) settled: u64,
    /// Shards whose next owner took too long.
    pub(super) overdue: u64,
}

/// What this node runs, and until when at most what it shall hand over.
#[derive(Debug, Default)]
pub(super) struct Handover {
    running: BTreeSet<Shard>,
    kept: BTreeMap<Shard, Duration>,
}

impl Handover {
    /// What to run at `now` (since the start), `target` being this node's share of `placement`.
    /// `has_settled` tells whether a node runs its whole share of this placement.
    pub(super) fn plan(
        &mut self,
        now: Duration,
        target: &Share,
        placement: &Placement,
        has_settled: impl Fn(&str) -> bool,
    ) -> (Share, Ended) {
        let wanted = shards(target);
        let mut ended = Ended::default();
        let mut kept = BTreeMap::new();
        for shard in self.running.difference(&wanted) {
            // Work that nobody shall do has no next owner: it just ends.
            let Some(owner) = owner(placement, shard) else { continue };
            let until = self.kept.get(shard).copied().unwrap_or(now + OVERDUE);
            if has_settled(owner) {
                ended.settled += 1;
            } else if now >= until {
                ended.overdue += 1;
            } else {
                kept.insert(shard.clone(), until);
            }
        }
        self.running = wanted.into_iter().chain(kept.keys().cloned()).collect();
        self.kept = kept;
        let share = Share { symbols: Arc::clone(&target.symbols), ..share(&self.running) };
        (share, ended)
    }

    /// Whether anything is kept for somebody else.
    pub(super) fn is_done(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What this node does and goes on doing: what it is ending does not count, be it asked for again.
#[derive(Debug, Default)]
pub(super) struct InForce {
    settled: Arc<Share>,
    sound: BTreeSet<Shard>,
}

impl InForce {
    /// All of `settled` is done; `asked` was asked for last. Whether that is news.
    pub(super) fn settle(&mut self, settled: &Arc<Share>, asked: &Arc<Share>) -> bool {
        if Arc::ptr_eq(settled, &self.settled) {
            return false;
        }
        self.settled = Arc::clone(settled);
        self.sound = shards(settled);
        if !Arc::ptr_eq(settled, asked) {
            self.ask(asked);
        }
        true
    }

    /// Something else is asked for.
    pub(super) fn ask(&mut self, asked: &Share) {
        let asked = shards(asked);
        self.sound.retain(|shard| asked.contains(shard));
    }

    /// Whether all of `target` is done.
    pub(super) fn includes(&self, target: &Share) -> bool {
        shards(target).is_subset(&self.sound)
    }
}

fn shards(share: &Share) -> BTreeSet<Shard> {
    let [a, b] = &share.feeds;
    let feeds = a.iter().map(|it| (0, it)).chain(b.iter().map(|it| (1, it)));
    feeds
        .map(|(feed, symbol)| Shard::Feed(feed, symbol.clone()))
        .chain(share.partitions.iter().map(|it| Shard::Partition(*it)))
        .chain(share.singletons.iter().map(|it| Shard::Singleton(*it)))
        .collect()
}

fn share(shards: &BTreeSet<Shard>) -> Share {
    let mut share = Share::default();
    for shard in shards {
        let [a, b] = &mut share.feeds;
        match shard {
            Shard::Feed(0, symbol) => a.push(symbol.clone()),
            Shard::Feed(_, symbol) => b.push(symbol.clone()),
            Shard::Partition(number) => share.partitions.push(*number),
            Shard::Singleton(singleton) => share.singletons.push(*singleton),
        }
    }
    share
}

fn owner<'a>(placement: &'a Placement, shard: &Shard) -> Option<&'a str> {
    match shard {
        Shard::Feed(feed, symbol) => placement.owner(symbol, *feed),
        Shard::Partition(number) => placement.partition_owner(*number),
        Shard::Singleton(singleton) => placement.singleton_owner(*singleton),
    }
    .map(|name| &**name)
}

#[cfg(test)]
mod tests {
    use fts_core::placement::{Member, Shards};

    use super::*;

    fn placement(names: &[&str]) -> Placement {
        let member = |name: &&str| Member { name: (*name).into(), weight: 100, live: true };
        let symbols = (0..40).map(|n| Symbol::new(&format!("S{n}")).unwrap()).collect();
        let shards =
            Shards { symbols, feeds: 2, partitions: 8, singletons: vec![Singleton::Batch] };
        Placement::compute(&names.iter().map(member).collect::<Vec<_>>(), &shards)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_is_being_ended_is_not_done_though_it_is_asked_for_again() {
        let [more, less] = [&["a"][..], &["a", "b"]].map(|it| Arc::new(placement(it).share("a")));
        let mut it = InForce::default();
        assert!(it.settle(&more, &more) && !it.settle(&more, &more));
        assert!(it.includes(&more) && it.includes(&less));
        it.ask(&less);
        assert!(it.includes(&less), "what stays goes on");
        it.ask(&more);
        assert!(!it.includes(&more), "it was ended meanwhile, and begins anew");
        // A word that comes late does not know of it.
        let late = Arc::new((*more).clone());
        assert!(it.settle(&late, &less));
        assert!(!it.includes(&more) && it.includes(&less));
        assert!(it.settle(&more, &more));
        assert!(it.includes(&more));
    }

    #[test]
    fn what_moves_is_kept_until_its_next_owner_has_settled() {
        let (alone, both) = (placement(&["a"]), placement(&["a", "b"]));
        let mut handover = Handover::default();
        let (all, _) = handover.plan(seconds(0), &alone.share("a"), &alone, |_| false);
        assert_eq!(all, alone.share("a"));
        let target = both.share("a");
        let (kept, ended) = handover.plan(seconds(1), &target, &both, |_| false);
        assert_eq!((&kept, ended), (&all, Ended::default()));
        assert!(!handover.is_done());
        let (share, ended) = handover.plan(seconds(2), &target, &both, |name| name == "b");
        assert_eq!(share, target);
        assert!(ended.settled > 0 && ended.overdue == 0 && handover.is_done());
    }

    #[test]
    fn a_next_owner_that_does_not_settle_is_not_waited_for_for_ever() {
        let (alone, both) = (placement(&["a"]), placement(&["a", "b"]));
        let mut handover = Handover::default();
        handover.plan(seconds(0), &alone.share("a"), &alone, |_| false);
        let target = both.share("a");
        for at in 10..18 {
            handover.plan(seconds(at), &target, &both, |_| false);
            assert!(!handover.is_done(), "at {at} s");
        }
        let (share, ended) = handover.plan(seconds(18), &target, &both, |_| false);
        assert_eq!(share, target);
        assert!(ended.overdue > 0 && ended.settled == 0);
    }

    #[test]
    fn a_node_that_leaves_goes_on_until_the_others_have_all_of_it() {
        let (all, left) = (placement(&["a", "b", "c"]), placement(&["b", "c"]));
        let mut handover = Handover::default();
        let (mine, _) = handover.plan(seconds(0), &all.share("a"), &all, |_| true);
        let nothing = left.share("a");
        assert_eq!(shards(&nothing), BTreeSet::new());
        assert_eq!(handover.plan(seconds(1), &nothing, &left, |_| false).0, mine);
        let (some, _) = handover.plan(seconds(2), &nothing, &left, |name| name == "b");
        assert!(some != mine && some != nothing, "what c shall do is kept");
        assert_eq!(handover.plan(seconds(3), &nothing, &left, |_| true).0, nothing);
        assert!(handover.is_done());
    }

    #[test]
    fn what_nobody_shall_do_ends_at_once() {
        let before = placement(&["a"]);
        let mut handover = Handover::default();
        handover.plan(seconds(0), &before.share("a"), &before, |_| false);
        let nobody = placement(&[]);
        let (share, _) = handover.plan(seconds(1), &Share::default(), &nobody, |_| false);
        assert_eq!(share, Share::default());
        assert!(handover.is_done());
    }
}
