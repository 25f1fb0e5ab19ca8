//! Decides what this node does: members and symbols → placement → share, with a handover between.
//!
//! Every node decides for itself, by the same pure function. Two that see different members do some
//! work twice, or for a moment not at all; what is stored is the same (docs/decisions/0008).

mod calm;
mod handover;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fts_core::metrics::{
    CLUSTER_FLAPPING, HANDOVERS_TOTAL, PLACEMENTS_TOTAL, SHARE_PARTITIONS, SHARE_SYMBOLS,
    UNOWNED_SHARDS,
};
use fts_core::placement::{Member, Placement, Shards, Share};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::calm::{Debounced, Flapping, QUIET, QUIET_CERTAIN};
use self::handover::{Handover, InForce, OVERDUE};
use super::gossip::{Gossip, Peer};
use super::registry::{BUCKETS, Registry};
use super::symbols::Symbols;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often the log is asked for changes of the symbols that nobody told.
const REFRESH: Duration = Duration::from_secs(5);

/// What a node says under the key `state`.
pub mod state {
    /// It is not ready for work.
    pub const JOINING: &str = "joining";
    /// It works.
    pub const LIVE: &str = "live";
    /// It takes no work any more.
    pub const LEAVING: &str = "leaving";
}

/// What there is to do beside the symbols, which come and go.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Parallel feeds of each symbol: 1 or 2.
    pub feeds: u8,
    /// Partitions of the log.
    pub partitions: u32,
    /// What exactly one node does.
    pub singletons: Vec<fts_core::placement::Singleton>,
}

/// The cluster as this node sees it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// All nodes, this one included.
    pub peers: Arc<Vec<Peer>>,
    /// Who does what.
    pub placement: Arc<Placement>,
    /// The symbols.
    pub registry: Arc<Registry>,
    /// Nodes that are given no work because they come and go.
    pub flapping: BTreeSet<Arc<str>>,
    /// Whether this node keeps work for somebody else.
    pub hands_over: bool,
    /// Whether this node is in the placement.
    takes_work: bool,
}

/// Runs until dropped.
#[expect(missing_debug_implementations, reason = "chitchat's handle has nothing to show")]
pub struct Controller {
    gossip: Option<Arc<Gossip>>,
    shares: watch::Receiver<Arc<Share>>,
    scene: watch::Receiver<Arc<Scene>>,
    settled: watch::Sender<Arc<Share>>,
    state: watch::Sender<&'static str>,
    running: AbortHandle,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Controller {
    /// Starts to decide for the node `me`. Without gossip it is alone.
    pub fn start(
        me: Arc<str>,
        weight: u32,
        gossip: Option<Arc<Gossip>>,
        symbols: Arc<Symbols>,
        work: Work,
    ) -> Self {
        let (share_sender, shares) = watch::channel(Arc::default());
        let registry = symbols.watch();
        let nothing = Placement::compute(&[], &Shards::default());
        let (scene_sender, scene) = watch::channel(Arc::new(Scene {
            peers: Arc::default(),
            placement: Arc::new(nothing),
            registry: Arc::clone(&registry.borrow()),
            flapping: BTreeSet::new(),
            hands_over: false,
            takes_work: false,
        }));
        let (settled, settled_receiver) = watch::channel(Arc::default());
        // A node that is alone waits for nobody.
        let is_alone = gossip.is_none();
        let first = if is_alone { state::LIVE } else { state::JOINING };
        let (state, state_receiver) = watch::channel(first);
        let myself = Member { name: Arc::clone(&me), weight, live: true };
        let decider = Decider {
            me,
            weight,
            work,
            symbols,
            registry,
            settled: settled_receiver,
            state: state_receiver,
            shares: share_sender,
            scene: scene_sender,
            started: Instant::now(),
            heard: BTreeMap::new(),
            flapping: Flapping::default(),
            members: Debounced::new(if is_alone { vec![myself] } else { Vec::new() }),
            placed: None,
            handover: Handover::default(),
            target: Arc::default(),
            in_force: InForce::default(),
            refreshed: Duration::ZERO,
            confirmed: None,
            told: Told::default(),
        };
        let running = tokio::spawn(decider.run(gossip.clone())).abort_handle();
        Self { gossip, shares, scene, settled, state, running }
    }

    /// What this node shall do.
    pub fn shares(&self) -> watch::Receiver<Arc<Share>> {
        self.shares.clone()
    }

    /// The cluster as this node sees it.
    pub fn scene(&self) -> watch::Receiver<Arc<Scene>> {
        self.scene.clone()
    }

    /// Takes note that all of `share` is being done.
    pub fn settled(&self, share: Arc<Share>) {
        self.settled.send_replace(share);
    }

    /// Takes work from here on.
    pub fn go_live(&self) {
        self.state.send_replace(state::LIVE);
    }

    /// Tells the others, if there are any.
    pub async fn publish(&self, key: &str, value: &str) {
        if let Some(gossip) = &self.gossip {
            gossip.publish(key, value).await;
        }
    }

    /// Hands all work over: returns once the others do it, or are overdue.
    pub async fn leave(&self) {
        self.state.send_replace(state::LEAVING);
        if self.gossip.is_none() {
            return;
        }
        let mut scene = self.scene.clone();
        let done = scene.wait_for(|scene| !scene.takes_work && !scene.hands_over);
        if tokio::time::timeout(OVERDUE + Duration::from_secs(2), done).await.is_err() {
            tracing::warn!("the other nodes did not take over in time; leaving all the same");
        }
    }
}

/// What was told to the others last.
#[derive(Default)]
struct Told {
    state: &'static str,
    settled: String,
    flapping: String,
    registry: Option<Arc<Registry>>,
}

struct Decider {
    me: Arc<str>,
    weight: u32,
    work: Work,
    symbols: Arc<Symbols>,
    registry: watch::Receiver<Arc<Registry>>,
    settled: watch::Receiver<Arc<Share>>,
    state: watch::Receiver<&'static str>,
    shares: watch::Sender<Arc<Share>>,
    scene: watch::Sender<Arc<Scene>>,
    started: Instant,
    /// What was heard of the symbols, by node and bucket.
    heard: BTreeMap<(Arc<str>, u32), String>,
    flapping: Flapping,
    members: Debounced<Vec<Member>>,
    /// What the placement was computed from.
    placed: Option<(Vec<Member>, Arc<Registry>)>,
    handover: Handover,
    /// When the log was last asked for the symbols.
    refreshed: Duration,
    target: Arc<Share>,
    /// What this node does in fact, as of the last look.
    in_force: InForce,
    /// Who has confirmed its share of which placement.
    confirmed: Option<(u64, BTreeSet<Arc<str>>)>,
    told: Told,
}

impl Decider {
    async fn run(mut self, gossip: Option<Arc<Gossip>>) {
        let (_alone, alone) = watch::channel(Arc::default());
        let mut peers = gossip.as_ref().map_or(alone, |it| it.peers());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.members.due().map(|due| self.started + due);
            // A closed channel is one of a node that shuts down: the ticks go on until it is gone.
            tokio::select! {
                _ = ticks.tick() => {}
                () = tokio::time::sleep_until(due.unwrap_or(self.started)), if due.is_some() => {}
                Ok(()) = peers.changed() => {}
                Ok(()) = self.registry.changed() => {}
                Ok(()) = self.settled.changed() => {}
                Ok(()) = self.state.changed() => {}
            }
            let seen = Arc::clone(&peers.borrow_and_update());
            self.listen(&seen);
            self.decide(&seen);
            if let Some(gossip) = &gossip {
                self.tell(gossip).await;
            }
        }
    }

    /// Takes what the others know of the symbols.
    fn listen(&mut self, peers: &[Peer]) {
        let mut is_news = false;
        for peer in peers.iter().filter(|it| !it.is_self) {
            for number in 0..BUCKETS {
                let text = peer.says(&bucket_key(number));
                let heard = self.heard.entry((Arc::clone(&peer.name), number)).or_default();
                if heard != text {
                    text.clone_into(heard);
                    is_news |= self.symbols.take(text);
                }
            }
        }
        self.heard.retain(|(name, _), _| peers.iter().any(|it| it.name == *name));
        if is_news {
            let symbols = Arc::clone(&self.symbols);
            tokio::spawn(async move {
                if let Err(error) = symbols.save().await {
                    tracing::warn!(%error, "cannot keep the list of symbols here; another node has it");
                }
            });
        }
    }

    fn decide(&mut self, peers: &Arc<Vec<Peer>>) {
        let now = self.started.elapsed();
        if now.saturating_sub(self.refreshed) >= REFRESH {
            self.refreshed = now;
            let symbols = Arc::clone(&self.symbols);
            tokio::spawn(async move { symbols.refresh().await });
        }
        let nodes = peers.iter().map(|it| (&it.name, it.is_alive));
        let mut flapping = self.flapping.look(now, nodes);
        metrics::gauge!(CLUSTER_FLAPPING).set(count(flapping.len()));
        self.told.flapping = flapping.iter().map(|it| &**it).collect::<Vec<_>>().join("\n");
        // One node's word is enough, or each would place the work differently.
        for peer in peers.iter().filter(|it| it.is_alive && !it.is_self) {
            flapping.extend(peer.says("flapping").lines().map(Arc::from));
        }
        let seen = self.seen(peers, &flapping);
        let is_certain = is_certain(self.members.believed(), &seen, peers);
        let quiet = if is_certain { QUIET_CERTAIN } else { QUIET };
        let members = self.members.offer(now, seen, quiet).clone();
        let registry = Arc::clone(&self.registry.borrow_and_update());
        let scene = Arc::clone(&self.scene.borrow());
        // Most looks find nothing: placing thousands of symbols each time would be most of the work.
        let is_moved = self
            .placed
            .as_ref()
            .is_none_or(|(placed, with)| *placed != members || !Arc::ptr_eq(with, &registry));
        let placement = if is_moved {
            self.placed = Some((members.clone(), Arc::clone(&registry)));
            Arc::new(self.place(&members, &registry))
        } else {
            Arc::clone(&scene.placement)
        };
        let epoch = epoch_text(&placement);
        let settled = Arc::clone(&self.settled.borrow_and_update());
        let asked = Arc::clone(&self.shares.borrow());
        if self.in_force.settle(&settled, &asked) || is_moved {
            let is_settled = self.in_force.includes(&self.target);
            self.told.settled = if is_settled { epoch.clone() } else { String::new() };
        }
        if is_moved || !self.handover.is_done() {
            self.hand_over(now, peers, &placement, &epoch);
        }
        self.count_unowned(peers, &placement, &epoch);
        let hands_over = !self.handover.is_done();
        let takes_work = members.iter().any(|it| it.live && it.name == self.me);
        let is_same = !is_moved
            && Arc::ptr_eq(&scene.peers, peers)
            && Arc::ptr_eq(&scene.registry, &registry)
            && scene.hands_over == hands_over
            && scene.takes_work == takes_work
            && scene.flapping == flapping;
        if !is_same {
            let peers = Arc::clone(peers);
            let scene = Scene { peers, placement, registry, flapping, hands_over, takes_work };
            self.scene.send_replace(Arc::new(scene));
        }
    }

    fn place(&mut self, members: &[Member], registry: &Registry) -> Placement {
        let shards = Shards {
            symbols: registry.symbols(),
            feeds: self.work.feeds,
            partitions: self.work.partitions,
            singletons: self.work.singletons.clone(),
        };
        let placement = Placement::compute(members, &shards);
        metrics::counter!(PLACEMENTS_TOTAL).increment(1);
        let live = members.iter().filter(|it| it.live).count();
        let epoch = epoch_text(&placement);
        tracing::info!(epoch, live, symbols = shards.symbols.len(), "the work is placed anew");
        self.target = Arc::new(placement.share(&self.me));
        placement
    }

    fn hand_over(&mut self, now: Duration, peers: &[Peer], placement: &Placement, epoch: &str) {
        let has_settled = |name: &str| {
            peers.iter().any(|it| *it.name == *name && it.is_alive && it.says("settled") == epoch)
        };
        let (share, ended) = self.handover.plan(now, &self.target, placement, has_settled);
        for (end, shards) in [("settled", ended.settled), ("overdue", ended.overdue)] {
            if shards > 0 {
                metrics::counter!(HANDOVERS_TOTAL, "end" => end).increment(shards);
            }
        }
        self.shares.send_if_modified(|before| {
            let is_other = **before != share;
            if is_other {
                let [a, b] = &share.feeds;
                for (feed, symbols) in [("A", a), ("B", b)] {
                    metrics::gauge!(SHARE_SYMBOLS, "feed" => feed).set(count(symbols.len()));
                }
                metrics::gauge!(SHARE_PARTITIONS).set(count(share.partitions.len()));
                self.in_force.ask(&share);
                *before = Arc::new(share);
            }
            is_other
        });
    }

    /// Counts the shards whose owner has not said that it does them. One that is kept meanwhile by its
    /// owner of before is among them: that lasts seconds.
    fn count_unowned(&mut self, peers: &[Peer], placement: &Placement, epoch: &str) {
        let others = peers.iter().filter(|it| it.is_alive && it.name != self.me);
        let mut confirmed: BTreeSet<Arc<str>> = others
            .filter(|it| it.says("settled") == epoch)
            .map(|it| Arc::clone(&it.name))
            .collect();
        if self.told.settled == epoch {
            confirmed.insert(Arc::clone(&self.me));
        }
        let confirmed = Some((placement.epoch(), confirmed));
        if self.confirmed == confirmed {
            return;
        }
        let names = confirmed.as_ref().map(|it| &it.1);
        let unowned = placement.unowned(|name| names.is_some_and(|it| it.contains(name)));
        for (kind, shards) in [
            ("feed", unowned.feeds),
            ("partition", unowned.partitions),
            ("singleton", unowned.singletons),
        ] {
            metrics::gauge!(UNOWNED_SHARDS, "kind" => kind).set(count(shards));
        }
        self.confirmed = confirmed;
    }

    /// The members as they look now.
    fn seen(&self, peers: &[Peer], flapping: &BTreeSet<Arc<str>>) -> Vec<Member> {
        let is_live = *self.state.borrow() == state::LIVE;
        let me = Member { name: Arc::clone(&self.me), weight: self.weight, live: is_live };
        let others = peers.iter().filter(|it| it.name != self.me).filter_map(|it| {
            let weight = it.says("weight").parse().ok()?;
            let live = it.is_alive && it.says("state") == state::LIVE;
            Some(Member { name: Arc::clone(&it.name), weight, live })
        });
        let mut members: Vec<Member> = others.chain([me]).collect();
        // If all come and go, better they than none.
        if members.iter().any(|it| it.live && it.weight > 0 && !flapping.contains(&it.name)) {
            for member in &mut members {
                member.live &= !flapping.contains(&member.name);
            }
        }
        members.sort();
        members
    }

    /// Tells the others what has changed.
    async fn tell(&mut self, gossip: &Gossip) {
        let state = *self.state.borrow_and_update();
        if self.told.state != state {
            gossip.publish("weight", &self.weight.to_string()).await;
            gossip.publish("state", state).await;
            self.told.state = state;
        }
        // chitchat keeps still about values that are as they were.
        gossip.publish("settled", &self.told.settled).await;
        gossip.publish("flapping", &self.told.flapping).await;
        let registry = Arc::clone(&self.registry.borrow());
        if self.told.registry.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &registry)) {
            for number in 0..BUCKETS {
                gossip.publish(&bucket_key(number), &registry.bucket(number)).await;
            }
            self.told.registry = Some(registry);
        }
    }
}

/// Whether nothing has changed but that nodes are dead whose processes have ended.
fn is_certain(before: &[Member], after: &[Member], peers: &[Peer]) -> bool {
    let has_ended = |name: &str| peers.iter().any(|it| *it.name == *name && it.has_ended);
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            let is_dead = Member { live: false, ..before.clone() } == *after;
            before == after || (is_dead && has_ended(&after.name))
        })
}

/// A placement's hash, as nodes tell it each other.
pub fn epoch_text(placement: &Placement) -> String {
    format!("{:016x}", placement.epoch())
}

fn bucket_key(number: u32) -> String {
    format!("symbols/{number}")
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
