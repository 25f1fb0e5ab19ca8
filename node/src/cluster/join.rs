//! How a node comes into its cluster: an address, a name, the gossip, and the cluster's configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fts_core::time::Clock;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::controller::state;
use super::egress;
use super::gossip::{Gossip, GossipConfig, Peer};
use crate::config::{ClusterConfig, NodeConfig};
use crate::http::nodes::About;

/// A free port for TCP may be taken for UDP: so many are tried.
const PORTS_MAX: usize = 20;
/// How long a node that is one of the nodes to join waits for the others before it goes on alone.
const FOUNDING: Duration = Duration::from_secs(3);
/// What the node that has the log says under the key `owns`.
const OWNS_LOG: &str = "log";

/// A node's place in its cluster.
pub(crate) struct Joined {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Who is there.
    pub(crate) gossip: Arc<Gossip>,
    /// Where the others connect to.
    pub(crate) listener: TcpListener,
    /// The configuration, with the cluster's.
    pub(crate) config: NodeConfig,
    /// The node that has the log and the stores, if that is another one.
    pub(crate) owner: Option<Arc<str>>,
}

/// Comes into the cluster that `cluster` names. Waits for as long as nobody answers.
///
/// # Errors
/// Where the address is taken, the name is, or the configuration contradicts the cluster's.
pub(crate) async fn join(
    mut config: NodeConfig,
    cluster: &ClusterConfig,
    http: SocketAddr,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Joined> {
    let (listener, socket) = bind(cluster.listen).await?;
    let bound = listener.local_addr()?;
    let advertise = cluster.advertise.unwrap_or(bound);
    if !config.has_name() {
        config.name = advertise.to_string();
    }
    let name: Arc<str> = config.name.as_str().into();
    let ours = [advertise.to_string(), bound.to_string()];
    let seeds: Vec<String> = cluster.join.iter().filter(|it| !ours.contains(it)).cloned().collect();
    let lists_itself = seeds.len() < cluster.join.len();
    // An embedded log must not begin twice: of a list only its first, or who has the log already.
    let begins_a_log = cluster.join.first().is_some_and(|it| ours.contains(it))
        || config.data_dir.join("log").exists();
    let may_found =
        seeds.is_empty() || lists_itself && (begins_a_log || !config.has_embedded_log());
    if cluster.secret.is_development() {
        tracing::warn!("the cluster has no secret: any process of this machine can join it");
    }
    let gossip = GossipConfig {
        name: Arc::clone(&name),
        generation: u64::try_from(clock.now().millis()).unwrap_or(0),
        advertise,
        seeds: seeds.clone(),
        interval: cluster.gossip_interval,
        silence: cluster.failure_timeout,
        secret: cluster.secret.clone(),
    };
    let gossip = Gossip::start(socket, gossip, clock).await?;
    gossip.publish("state", state::JOINING).await;
    gossip.publish(egress::KEY, config.egress()).await;
    tracing::info!(%name, %advertise, ?seeds, "in the gossip");

    let peers = gossip.peers();
    let found = if seeds.is_empty() {
        None
    } else if may_found {
        tokio::time::timeout(FOUNDING, find_config(peers.clone())).await.ok()
    } else {
        Some(find_config(peers.clone()).await)
    };
    let is_founder = found.is_none();
    if let Some((from, shared)) = found {
        tracing::info!(%from, "taking the cluster's configuration");
        config = config.adopt(&shared).with_context(|| format!("cannot join {from}"))?;
        config.own_data_dir();
    }
    let is_taken = |peers: &Arc<Vec<Peer>>| peers.iter().any(|it| it.name == name && it.has_rival);
    let mut watched = peers.clone();
    let free = watched.wait_for(|peers| !is_taken(peers));
    if tokio::time::timeout(cluster.failure_timeout + FOUNDING, free).await.is_err() {
        bail!("another node that lives is called {name}: give this one another `name`");
    }
    let owner = match (config.has_embedded_log(), is_founder) {
        (false, _) => None,
        (true, true) => {
            gossip.publish("owns", OWNS_LOG).await;
            None
        }
        (true, false) => Some(owner(&peers.borrow()).context(
            "the cluster's log is embedded in one node, and that node is not there: start it \
             first, or use `log.kind = \"kafka\"`, which survives any node",
        )?),
    };
    // The others can't dial "any address".
    let http = if http.ip().is_unspecified() {
        SocketAddr::new(advertise.ip(), http.port())
    } else {
        http
    };
    let shared = config.shared();
    let about = About {
        http,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: super::gossip::digest(&shared),
    };
    gossip.publish("node", &serde_json::to_string(&about)?).await;
    gossip.publish_at_length("config", &shared).await;
    Ok(Joined { name, gossip: Arc::new(gossip), listener, config, owner })
}

/// TCP and UDP on one port.
async fn bind(listen: SocketAddr) -> anyhow::Result<(TcpListener, UdpSocket)> {
    let mut tries = if listen.port() == 0 { PORTS_MAX } else { 1 };
    loop {
        tries -= 1;
        let bound = async {
            let listener = TcpListener::bind(listen).await?;
            let socket = UdpSocket::bind(listener.local_addr()?).await?;
            std::io::Result::Ok((listener, socket))
        };
        match bound.await {
            Ok(bound) => return Ok(bound),
            Err(_) if tries > 0 => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot listen on cluster.listen = {listen}: choose another")
                });
            }
        }
    }
}

/// Waits for a node that works and tells of the cluster's configuration.
async fn find_config(mut peers: watch::Receiver<Arc<Vec<Peer>>>) -> (Arc<str>, String) {
    loop {
        let told = peers.borrow_and_update().iter().find_map(|it| {
            let is_member = it.is_alive && !it.is_self && it.says("state") == state::LIVE;
            let shared = is_member.then(|| it.says_at_length("config")).flatten()?;
            Some((Arc::clone(&it.name), shared))
        });
        if let Some(told) = told {
            return told;
        }
        if peers.changed().await.is_err() {
            // Only a node that ends has no gossip.
            std::future::pending::<()>().await;
        }
    }
}

fn owner(peers: &[Peer]) -> Option<Arc<str>> {
    let owners = peers.iter().filter(|it| !it.is_self && it.says("owns") == OWNS_LOG);
    owners.max_by_key(|it| (it.is_alive, it.generation)).map(|it| Arc::clone(&it.name))
}

/// The other nodes that live, and where they listen.
pub(crate) fn addresses(
    mut peers: watch::Receiver<Arc<Vec<Peer>>>,
) -> watch::Receiver<BTreeMap<Arc<str>, SocketAddr>> {
    let (sender, addresses) = watch::channel(BTreeMap::new());
    tokio::spawn(async move {
        loop {
            let now: BTreeMap<_, _> = peers
                .borrow_and_update()
                .iter()
                .filter(|it| it.is_alive && !it.is_self)
                .map(|it| (Arc::clone(&it.name), it.address))
                .collect();
            sender.send_if_modified(|before| {
                let is_other = *before != now;
                *before = now;
                is_other
            });
            tokio::select! {
                changed = peers.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    addresses
}
