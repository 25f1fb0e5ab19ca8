//! Who is there, and what each node says of itself: chitchat over sealed datagrams.
//!
//! Every node publishes keys of its own, and sees those of all others. What is said here is about
//! liveness and convenience; no row depends on it.
//!
//! A node is told apart by its name and its generation (the time of its start): a node that comes back
//! is another incarnation of the same name, and only the youngest that lives counts.

mod silence;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState,
    spawn_chitchat,
};
use fts_core::metrics::{CLUSTER_MEMBERS, GOSSIP_SILENT_SEEDS};
use fts_core::time::Clock;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::silence::Silence;
use self::wire::Sealed;
use super::key::Secret;

/// Keeps clusters of other versions of this protocol out.
const CLUSTER_ID: &str = "fts-node 1";
/// How often it is judged who is alive.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is said that no seed answers.
const COMPLAIN: Duration = Duration::from_secs(5);
/// Longer values can't be published: chitchat writes their length in 16 bits.
const VALUE_MAX: usize = 60_000;
/// How much of a long text goes into one value.
const PART: usize = 16_000;
/// Ended processes that wait to be looked at; one more is noticed by its silence.
const ENDED_MAX: usize = 64;

/// How a node gossips.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// The node's name.
    pub name: Arc<str>,
    /// Greater than that of any earlier incarnation.
    pub generation: u64,
    /// Where the others reach it.
    pub advertise: SocketAddr,
    /// Nodes to join, as `host:port`; asked again and again for as long as nobody else is known.
    pub seeds: Vec<String>,
    /// How often it speaks.
    pub interval: Duration,
    /// After how much silence a node counts as dead.
    pub silence: Duration,
    /// The cluster's secret.
    pub secret: Secret,
}

/// A node, as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: Arc<str>,
    /// Which incarnation.
    pub generation: u64,
    /// Where it gossips and listens for links.
    pub address: SocketAddr,
    /// Whether it was heard of lately.
    pub is_alive: bool,
    /// Whether it is the node that looks.
    pub is_self: bool,
    /// Whether its process is known to have ended: not silence, but nobody listens where it did.
    pub has_ended: bool,
    /// Whether another incarnation of the same name lives.
    pub has_rival: bool,
    /// What it says of itself.
    pub says: BTreeMap<String, String>,
}

impl Peer {
    /// What it says under `key`; nothing is an empty text.
    pub fn says(&self, key: &str) -> &str {
        self.says.get(key).map_or("", String::as_str)
    }

    /// What it says in many parts under `key`, once all of them are there.
    pub fn says_at_length(&self, key: &str) -> Option<String> {
        let (parts, hash) = self.says(key).split_once(' ')?;
        let parts: usize = parts.parse().ok()?;
        let text: String = (0..parts).map(|part| self.says(&format!("{key}/{part}"))).collect();
        (hash == digest(&text)).then_some(text)
    }
}

/// A node's part in the gossip. Ends when dropped.
#[expect(missing_debug_implementations, reason = "chitchat's handle has nothing to show")]
pub struct Gossip {
    handle: ChitchatHandle,
    peers: watch::Receiver<Arc<Vec<Peer>>>,
    ended: mpsc::Sender<Ended>,
    watching: AbortHandle,
}

/// A process that has ended: the node's name, and where it listened.
pub type Ended = (Arc<str>, SocketAddr);

impl Drop for Gossip {
    fn drop(&mut self) {
        self.watching.abort();
        self.handle.abort();
    }
}

impl Gossip {
    /// Starts to gossip over `socket`.
    ///
    /// # Errors
    /// Where the socket is broken.
    pub async fn start(
        socket: UdpSocket,
        config: GossipConfig,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let listen_addr = socket.local_addr()?;
        let id = ChitchatId::new(Arc::clone(&config.name), config.generation, config.advertise);
        let chitchat = ChitchatConfig {
            chitchat_id: id,
            cluster_id: CLUSTER_ID.to_owned(),
            gossip_interval: config.interval,
            listen_addr,
            seed_nodes: config.seeds.clone(),
            // It only decides with whom to speak; who is alive is judged by `silence`.
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: 16.0,
                sampling_window_size: 100,
                max_interval: Duration::from_secs(2),
                initial_interval: Duration::from_millis(500),
                dead_node_grace_period: Duration::from_secs(24 * 3_600),
            },
            marked_for_deletion_grace_period: Duration::from_secs(3_600),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let transport = Sealed::new(socket, config.secret.clone(), clock);
        let handle = spawn_chitchat(chitchat, Vec::new(), &transport).await?;
        let (sender, peers) = watch::channel(Arc::default());
        let (ended, buried) = mpsc::channel(ENDED_MAX);
        let watching = tokio::spawn(watch_peers(handle.chitchat(), config, sender, buried));
        Ok(Self { handle, peers, ended, watching: watching.abort_handle() })
    }

    /// Takes note of processes that have ended. It need not be right: a node that lives after all is heard
    /// of again.
    pub fn ended(&self) -> mpsc::Sender<Ended> {
        self.ended.clone()
    }

    /// All nodes, by name, this one included; of a name the youngest incarnation that lives.
    pub fn peers(&self) -> watch::Receiver<Arc<Vec<Peer>>> {
        self.peers.clone()
    }

    /// Tells the others. A value that is too long for the gossip is not told.
    pub async fn publish(&self, key: &str, value: &str) {
        if value.len() > VALUE_MAX {
            tracing::error!(key, bytes = value.len(), "too long to be told to the other nodes");
            return;
        }
        self.handle.with_chitchat(|it| it.self_node_state().set(key, value)).await;
    }

    /// Tells the others what is too long for one value; [`Peer::says_at_length`] puts it together.
    pub async fn publish_at_length(&self, key: &str, text: &str) {
        let mut rest = text;
        let mut parts = 0;
        while !rest.is_empty() {
            let end = (0..=PART.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at));
            let (part, others) = rest.split_at(end.unwrap_or(0));
            self.publish(&format!("{key}/{parts}"), part).await;
            (rest, parts) = (others, parts + 1);
        }
        self.publish(key, &format!("{parts} {}", digest(text))).await;
    }

    /// Says `state` as the last word, and ends once the others have had time to hear it.
    pub async fn end(&self, state: &str, interval: Duration) {
        self.publish("state", state).await;
        tokio::time::sleep(2 * interval).await;
    }
}

type Inner = Arc<tokio::sync::Mutex<Chitchat>>;

async fn watch_peers(
    chitchat: Inner,
    config: GossipConfig,
    peers: watch::Sender<Arc<Vec<Peer>>>,
    mut ended: mpsc::Receiver<Ended>,
) {
    let started = Instant::now();
    let mut silence = Silence::new(config.silence);
    let mut complained = Duration::ZERO;
    let mut shown = Vec::new();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            _ = ticks.tick() => None,
            ended = ended.recv() => ended,
        };
        let now = started.elapsed();
        let seen = {
            let chitchat = chitchat.lock().await;
            let me = chitchat.self_chitchat_id();
            let states = chitchat.node_states();
            if let Some((name, address)) = &ended {
                tracing::info!(node = %name, %address, "its process has ended: nobody listens there");
                let is_it = |id: &&ChitchatId| {
                    id.node_id == *name && id.gossip_advertise_addr == *address && *id != me
                };
                states.keys().filter(is_it).for_each(|id| silence.bury(now, id));
            }
            let heartbeats =
                states.iter().map(|(id, state)| (id.clone(), u64::from(state.heartbeat())));
            let mut verdicts = silence.look(now, heartbeats);
            for (id, is_alive) in &mut verdicts {
                *is_alive |= id == me;
            }
            let rivals: BTreeSet<_> = rivals(&verdicts);
            let chosen = youngest(verdicts);
            // Most looks find nothing: copying every key each time would be most of the work.
            let signature: Vec<_> = chosen
                .iter()
                .map(|(id, is_alive)| {
                    let version = states.get(id).map_or(0, NodeState::max_version);
                    let flags = (*is_alive, silence.is_buried(id), rivals.contains(&id.node_id));
                    (id.clone(), flags, version)
                })
                .collect();
            if signature == shown {
                None
            } else {
                let seen: Vec<Peer> = chosen
                    .iter()
                    .filter_map(|(id, is_alive)| {
                        let mut peer = peer(id, states.get(id)?, *is_alive);
                        peer.is_self = id == me;
                        peer.has_ended = silence.is_buried(id);
                        peer.has_rival = rivals.contains(&id.node_id);
                        Some(peer)
                    })
                    .collect();
                shown = signature;
                Some(seen)
            }
        };
        if let Some(seen) = seen {
            count(&seen);
            tell_changes(&peers.borrow(), &seen);
            peers.send_replace(Arc::new(seen));
        }
        let alone = peers.borrow().iter().all(|it| it.is_self || !it.is_alive);
        if alone && !config.seeds.is_empty() && now.saturating_sub(complained) >= COMPLAIN {
            complained = now;
            tracing::warn!(seeds = ?config.seeds, "no node to join answers; asking on");
        }
        let silent = if alone { config.seeds.len() } else { 0 };
        metrics::gauge!(GOSSIP_SILENT_SEEDS).set(f64::from(u32::try_from(silent).unwrap_or(0)));
    }
}

/// Of each name the incarnation that counts: one that lives before a dead one, then the youngest.
fn youngest(verdicts: Vec<(ChitchatId, bool)>) -> Vec<(ChitchatId, bool)> {
    let mut chosen: BTreeMap<Arc<str>, (ChitchatId, bool)> = BTreeMap::new();
    for (id, is_alive) in verdicts {
        let rank = |id: &ChitchatId, is_alive| (is_alive, id.generation_id);
        match chosen.get(&id.node_id) {
            Some((other, other_alive)) if rank(other, *other_alive) >= rank(&id, is_alive) => {}
            _ => drop(chosen.insert(Arc::clone(&id.node_id), (id, is_alive))),
        }
    }
    chosen.into_values().collect()
}

/// The names that more than one living node bears.
fn rivals(verdicts: &[(ChitchatId, bool)]) -> BTreeSet<Arc<str>> {
    let mut living = BTreeSet::new();
    let alive = verdicts.iter().filter(|(_, is_alive)| *is_alive);
    alive
        .filter(|(id, _)| !living.insert(Arc::clone(&id.node_id)))
        .map(|(id, _)| Arc::clone(&id.node_id))
        .collect()
}

/// Tells whether a text is whole.
pub(crate) fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn peer(id: &ChitchatId, state: &NodeState, is_alive: bool) -> Peer {
    Peer {
        name: Arc::clone(&id.node_id),
        generation: id.generation_id,
        address: id.gossip_advertise_addr,
        is_alive,
        is_self: false,
        has_ended: false,
        has_rival: false,
        says: state.key_values().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}

/// Says who has come and who has gone.
fn tell_changes(before: &[Peer], after: &[Peer]) {
    for peer in after.iter().filter(|it| !it.is_self) {
        let was_alive = before.iter().any(|it| it.name == peer.name && it.is_alive);
        match (was_alive, peer.is_alive) {
            (false, true) => tracing::info!(node = %peer.name, "a node is there"),
            (true, false) => {
                tracing::info!(node = %peer.name, ended = peer.has_ended, "a node is gone");
            }
            _ => {}
        }
    }
}

fn count(peers: &[Peer]) {
    for (state, is_alive) in [("live", true), ("dead", false)] {
        let members = peers.iter().filter(|it| it.is_alive == is_alive).count();
        let members = f64::from(u32::try_from(members).unwrap_or(u32::MAX));
        metrics::gauge!(CLUSTER_MEMBERS, "state" => state).set(members);
    }
}

#[cfg(test)]
mod tests;
