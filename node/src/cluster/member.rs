//! A node as a member of its cluster: its ports, its part in the placement, what it tells the others.
//! A node that is alone is a cluster of one, without gossip and links.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fts_actors::pipeline::{Ports, StorePort};
use fts_actors::view::View;
use fts_core::placement::Share;
use fts_core::port::log::{Log, LogError};
use fts_core::port::store::Store;
use fts_core::time::Clock;
use std::net::SocketAddr;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::controller::{Controller, Work, state};
use super::egress::Egress;
use super::gossip::Gossip;
use super::join::{self, Joined};
use super::links::{Links, LinksConfig};
use super::symbols::Symbols;
use crate::config::{NodeConfig, StoreConfig};
use crate::http::Nodes;
use crate::wiring;

/// How long one attempt to reach the node that has the log may take.
const REACH: Duration = Duration::from_secs(5);

/// A node that has its ports.
pub(crate) struct Member {
    /// Its configuration, with the cluster's.
    pub(crate) config: NodeConfig,
    /// Its ports.
    pub(crate) ports: Ports,
    name: Arc<str>,
    gossip: Option<Arc<Gossip>>,
    links: Option<Links>,
    egress: Egress,
}

impl Member {
    /// Comes into the cluster, if there is one, and opens the ports.
    pub(crate) async fn open(
        config: NodeConfig,
        http: SocketAddr,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let Some(cluster) = config.cluster.clone() else {
            let ports = wiring::open(&config).await?;
            let name = config.name.as_str().into();
            let egress = Egress::default();
            return Ok(Self { config, ports, name, gossip: None, links: None, egress });
        };
        let joined = join::join(config, &cluster, http, Arc::clone(clock)).await?;
        let Joined { name, gossip, listener, config, owner } = joined;
        let links = LinksConfig {
            name: Arc::clone(&name),
            secret: cluster.secret.clone(),
            listener,
            peers: join::addresses(gossip.peers()),
            ended: gossip.ended(),
            messages: None,
        };
        let links = Links::start(links).await?;
        let log = match &owner {
            Some(owner) => remote_log(&links, owner).await?,
            None => wiring::open_log(&config, clock).await?,
        };
        let stores = open_stores(&config, &links, owner.as_deref())?;
        if owner.is_none() && config.has_embedded_log() {
            let served = stores.iter().map(|it| Arc::clone(&it.store)).collect();
            links.serve(Some(Arc::clone(&log)), served);
        }
        if let Some(split) = config.split_stores() {
            tracing::warn!("{split}");
        }
        let egress = Egress::default();
        let ports = wiring::ports(&config, log, stores, Arc::clone(clock), &egress)?;
        Ok(Self { config, ports, name, gossip: Some(gossip), links: Some(links), egress })
    }

    /// Starts to decide what this node does.
    pub(crate) async fn control(&self) -> anyhow::Result<Control> {
        let Self { config, ports, name, gossip, links, egress } = self;
        let symbols = Symbols::load(
            config.symbols.clone(),
            Arc::clone(&ports.log),
            Arc::clone(&ports.history),
            Arc::clone(&ports.clock),
            Arc::clone(name),
        );
        let symbols = Arc::new(symbols.await.context("cannot read the list of symbols")?);
        let partitions = ports.log.partitions();
        let shards = config.shards(partitions);
        let work = Work { feeds: shards.feeds, partitions, singletons: shards.singletons };
        let weight = config.cluster.as_ref().map_or(100, |it| it.weight);
        let controller =
            Controller::start(Arc::clone(name), weight, gossip.clone(), Arc::clone(&symbols), work);
        if gossip.is_none() {
            // All of it is this node's, from the first moment on.
            let mut shares = controller.shares();
            drop(shares.wait_for(|share| !share.partitions.is_empty()).await);
        }
        let mine = config.egress().to_owned();
        let sharing = egress.follow(Arc::clone(name), mine, partitions, controller.scene());
        let nodes = Nodes::new(Arc::clone(name), weight, symbols, controller.scene(), partitions);
        Ok(Control {
            controller,
            sharing,
            nodes: Arc::new(nodes),
            gossip: gossip.clone(),
            links: links.clone(),
            interval: config.cluster.as_ref().map_or(Duration::ZERO, |it| it.gossip_interval),
            split_stores: config.split_stores(),
            has_seeds: config.cluster.as_ref().is_some_and(|it| !it.join.is_empty()),
        })
    }
}

/// The log of `owner`; waits for it.
async fn remote_log(links: &Links, owner: &str) -> anyhow::Result<Arc<dyn Log>> {
    loop {
        match links.remote_log(owner, REACH).await {
            Ok(log) => return Ok(Arc::new(log)),
            Err(LogError::Unavailable(reason)) => {
                tracing::warn!(
                    owner,
                    reason,
                    "the node that has the log does not serve it; asking on"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The stores; a file of SQLite is where the log is.
fn open_stores(
    config: &NodeConfig,
    links: &Links,
    owner: Option<&str>,
) -> anyhow::Result<Vec<StorePort>> {
    let Some(owner) = owner else { return wiring::open_stores(config) };
    let mut stores = Vec::new();
    for entry in &config.stores {
        if !matches!(entry.config, StoreConfig::Sqlite(_)) {
            stores.push(wiring::open_store(config, entry)?);
            continue;
        }
        let store: Arc<dyn Store> = Arc::new(links.remote_store(owner, "sqlite"));
        stores.push(StorePort {
            name: entry.name.as_str().into(),
            store,
            tables: entry.tables.clone(),
            // The node that has the file deletes what is old.
            retention: Vec::new(),
        });
    }
    Ok(stores)
}

/// A node's part in its cluster, while it runs.
pub(crate) struct Control {
    controller: Controller,
    sharing: AbortHandle,
    /// The cluster, for its page and API.
    pub(crate) nodes: Arc<Nodes>,
    gossip: Option<Arc<Gossip>>,
    links: Option<Links>,
    interval: Duration,
    has_seeds: bool,
    split_stores: Option<String>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.sharing.abort();
    }
}

impl Control {
    /// What this node shall do.
    pub(crate) fn shares(&self) -> watch::Receiver<Arc<Share>> {
        self.controller.shares()
    }

    /// Takes note that all of `share` is being done.
    pub(crate) fn settled(&self, share: Arc<Share>) {
        self.controller.settled(share);
    }

    /// Takes work from here on.
    pub(crate) fn go_live(&self) {
        self.controller.go_live();
    }

    /// Tells the others how this node's work goes, and the operator what is odd about the cluster.
    pub(crate) async fn report(&self, view: &View) {
        let Some(gossip) = &self.gossip else { return };
        let bits = self.nodes.bits(&view.picture());
        gossip.publish("status", &serde_json::to_string(&bits).unwrap_or_default()).await;
        warn(view, "stores", self.split_stores.clone());
        let peers = Arc::clone(&gossip.peers().borrow());
        let others = || peers.iter().filter(|it| it.is_alive && !it.is_self);
        let is_lonely = self.has_seeds && others().next().is_none();
        let lonely = "no other node answers: working as if alone";
        warn(view, "cluster", is_lonely.then(|| lonely.to_owned()));
        let is_double = peers.iter().any(|it| it.has_rival && *it.name == *self.nodes.me);
        let double =
            format!("another node that lives is called {}: stop one of them", self.nodes.me);
        view.problem("name", is_double.then_some(double));
        let ours = peers.iter().find(|it| it.is_self).map_or("", |it| it.says("config"));
        let odd: Vec<&str> = others()
            .filter(|it| it.says("state") == state::LIVE && it.says("config") != ours)
            .map(|it| &*it.name)
            .collect();
        let odd = (!odd.is_empty())
            .then(|| format!("of another configuration than this node: {}", odd.join(", ")));
        warn(view, "configuration", odd);
    }

    /// Hands all work over.
    pub(crate) async fn leave(&self) {
        self.controller.leave().await;
    }

    /// Takes leave of the others.
    pub(crate) async fn end(&self) {
        if let Some(gossip) = &self.gossip {
            gossip.end(state::LEAVING, self.interval).await;
        }
        if let Some(links) = &self.links {
            links.stop();
        }
    }
}

/// Says (or takes back) what is odd and keeps no node from being ready.
fn warn(view: &View, part: &str, what: Option<String>) {
    view.update(|picture| match what {
        Some(what) => drop(picture.warnings.insert(part.to_owned(), what)),
        None => drop(picture.warnings.remove(part)),
    });
}
