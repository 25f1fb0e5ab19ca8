//! The cluster as JSON, for the page, `fts-node status` and `fts-node symbols`; and what the other nodes
//! say of their symbols, so that any node's page shows them all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fts_actors::view::Picture;
use fts_core::market::Symbol;
use fts_core::placement::Singleton;
use fts_core::time::UnixNanos;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::refusal::Refusal;
use super::{App, forward};
use crate::cluster::controller::{Scene, epoch_text};
use crate::cluster::gossip::Peer;
use crate::cluster::symbols::{Symbols, SymbolsError};

/// What other nodes said is right for so long.
const FRESH: Duration = Duration::from_millis(900);

/// The cluster that a node belongs to; a node that is alone is one of one.
#[expect(missing_debug_implementations, reason = "chitchat's handle has nothing to show")]
pub struct Nodes {
    /// The node's name.
    pub me: Arc<str>,
    /// Its share of the work, relative to the others'.
    pub weight: u32,
    /// The symbols.
    pub symbols: Arc<Symbols>,
    /// Who is there and does what.
    pub scene: watch::Receiver<Arc<Scene>>,
    /// Partitions of the log.
    pub partitions: u32,
    /// What the others said last, and when.
    others: Mutex<(Option<Instant>, Arc<Vec<Value>>)>,
}

/// What a node says of itself under the key `node`, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// Where its page and API are.
    pub(crate) http: SocketAddr,
    /// Its program's.
    pub(crate) version: String,
    /// Tells whether its configuration is the others'.
    pub(crate) config: String,
}

/// What a node says of its work under the key `status`, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bits {
    /// Messages a second.
    rate: f64,
    /// The greatest of its symbols'.
    lag_ms: Option<i64>,
    /// Trade ids that are missing and not filled yet.
    missing: i64,
    /// Trade ids that the exchange does not have.
    lost: i64,
    /// Symbols of which nothing is missing, and all.
    complete: usize,
    followed: usize,
    /// Records in the log that are not folded yet.
    backlog: u64,
    /// How many things keep it from being ready.
    problems: usize,
}

impl Nodes {
    /// A node's view of the cluster.
    pub fn new(
        me: Arc<str>,
        weight: u32,
        symbols: Arc<Symbols>,
        scene: watch::Receiver<Arc<Scene>>,
        partitions: u32,
    ) -> Self {
        Self { me, weight, symbols, scene, partitions, others: Mutex::default() }
    }

    /// The node that folds `symbol`, if it is another one that lives.
    pub(super) fn owner(&self, symbol: &Symbol) -> Option<SocketAddr> {
        let scene = self.scene.borrow();
        let owner = scene.placement.partition_owner(symbol.partition(self.partitions))?;
        self.other(&scene, owner)
    }

    /// The node that runs the daily batch, likewise.
    pub(super) fn batch_runner(&self) -> Option<SocketAddr> {
        let scene = self.scene.borrow();
        self.other(&scene, scene.placement.singleton_owner(Singleton::Batch)?)
    }

    fn other(&self, scene: &Scene, name: &str) -> Option<SocketAddr> {
        let peer = scene.peers.iter().find(|it| *it.name == *name && it.is_alive)?;
        (peer.name != self.me).then(|| about(peer)).flatten().map(|it| it.http)
    }

    /// What this node says of its work.
    pub(crate) fn bits(&self, picture: &Picture) -> Bits {
        let scene = Arc::clone(&self.scene.borrow());
        let mut bits = Bits {
            backlog: picture.partitions.values().map(|it| it.backlog).sum(),
            problems: picture.problems.len(),
            ..Bits::default()
        };
        for (symbol, view) in &picture.symbols {
            if !self.is_ours(&scene, symbol) {
                continue;
            }
            let received = view.last_received_at.map(UnixNanos::millis);
            let lag = view.last_trade_time.zip(received).map(|(trade, received)| received - trade);
            bits.rate += view.rate;
            bits.lag_ms = bits.lag_ms.max(lag);
            bits.missing += view.missing;
            bits.lost += view.lost;
            bits.followed += 1;
            let is_complete = view.missing == 0
                && view.last_trade_id.is_some()
                && view.contiguous_trade_id == view.last_trade_id;
            bits.complete += usize::from(is_complete);
        }
        bits.rate = (bits.rate * 10.0).round() / 10.0;
        bits
    }

    /// Whether this node folds `symbol`; also if nobody does.
    pub(super) fn owns(&self, symbol: &Symbol) -> bool {
        self.is_ours(&self.scene.borrow(), symbol)
    }

    fn is_ours(&self, scene: &Scene, symbol: &Symbol) -> bool {
        let owner = scene.placement.partition_owner(symbol.partition(self.partitions));
        scene.registry.has(symbol) && owner.is_none_or(|owner| *owner == self.me)
    }

    /// What the other nodes say of the symbols that they fold, at most a second old.
    pub(super) async fn others(&self) -> Arc<Vec<Value>> {
        let mut known = self.others.lock().await;
        if known.0.is_none_or(|at| at.elapsed() >= FRESH) {
            let asked = self.ask().await;
            *known = (Some(Instant::now()), Arc::new(asked));
        }
        Arc::clone(&known.1)
    }

    async fn ask(&self) -> Vec<Value> {
        let scene = Arc::clone(&self.scene.borrow());
        let others = scene.peers.iter().filter(|it| it.is_alive && it.name != self.me);
        let asks = others.filter_map(|it| Some((Arc::clone(&it.name), about(it)?.http))).map(
            async |(name, http)| match forward::get_json(http, "/api/status").await {
                Ok(status) => (name, status),
                Err(error) => {
                    tracing::debug!(node = %name, %error, "it does not tell of its symbols");
                    (name, Value::Null)
                }
            },
        );
        let mut rows = Vec::new();
        for (name, status) in join_all(asks).await {
            let symbols = status.get("symbols").and_then(Value::as_array).into_iter().flatten();
            rows.extend(
                symbols
                    .filter(|row| {
                        let symbol = row.get("symbol").and_then(Value::as_str);
                        symbol.and_then(|it| Symbol::new(it).ok()).is_some_and(|symbol| {
                            let owner =
                                scene.placement.partition_owner(symbol.partition(self.partitions));
                            owner.is_some_and(|owner| *owner == name)
                        })
                    })
                    .cloned(),
            );
        }
        rows
    }
}

fn about(peer: &Peer) -> Option<About> {
    serde_json::from_str(peer.says("node")).ok()
}

/// `GET /api/cluster`
pub(super) async fn cluster(State(app): State<Arc<App>>) -> Response {
    let Some(nodes) = &app.web.nodes else {
        return Json(Cluster::default()).into_response();
    };
    let scene = Arc::clone(&nodes.scene.borrow());
    let mut rows: Vec<Node> = scene.peers.iter().map(|it| Node::of(it, &scene)).collect();
    if rows.is_empty() {
        let bits = nodes.bits(&app.web.view.picture());
        let mut alone = Node { node: nodes.me.to_string(), state: "live", ..Node::default() };
        alone.weight = Some(nodes.weight);
        alone.version = Some(env!("CARGO_PKG_VERSION").to_owned());
        alone.add(&scene, Some(bits));
        rows.push(alone);
    }
    let symbols = scene.registry.symbols().len();
    let epoch = epoch_text(&scene.placement);
    Json(Cluster { node: nodes.me.to_string(), epoch, symbols, nodes: rows }).into_response()
}

/// The cluster, as one of its nodes sees it.
#[derive(Debug, Default, Serialize)]
struct Cluster {
    node: String,
    /// Nodes with the same one agree on who does what.
    epoch: String,
    symbols: usize,
    nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Default, Serialize)]
struct Node {
    node: String,
    address: Option<SocketAddr>,
    http: Option<SocketAddr>,
    /// joining, live, leaving; left and dead if it is not there.
    state: &'static str,
    /// When it started, epoch milliseconds.
    started_at: Option<u64>,
    weight: Option<u32>,
    version: Option<String>,
    /// Tells whether its configuration is the others'.
    config: Option<String>,
    /// Whether it does all that it shall.
    settled: bool,
    /// Whether it is given no work because it comes and goes.
    flapping: bool,
    /// Symbols that it captures as feed A, and as B.
    feed_a: usize,
    feed_b: usize,
    /// Partitions that it folds.
    partitions: usize,
    owns_partitions: Vec<u32>,
    owns_symbols: Vec<String>,
    rate: Option<f64>,
    lag_ms: Option<i64>,
    missing: Option<i64>,
    lost: Option<i64>,
    /// Symbols of which nothing is missing, of all that it folds: `7/8`.
    complete: Option<String>,
    backlog: Option<u64>,
    problems: Option<usize>,
}

impl Node {
    fn of(peer: &Peer, scene: &Scene) -> Self {
        let about = about(peer);
        let state = match (peer.is_alive, peer.says("state")) {
            (true, "live") => "live",
            (true, "leaving") => "leaving",
            (true, _) => "joining",
            (false, "leaving") => "left",
            (false, _) => "dead",
        };
        let mut node = Self {
            node: peer.name.to_string(),
            address: Some(peer.address),
            http: about.as_ref().map(|it| it.http),
            state,
            started_at: Some(peer.generation),
            weight: peer.says("weight").parse().ok(),
            version: about.as_ref().map(|it| it.version.clone()),
            config: about.map(|it| it.config),
            settled: peer.says("settled") == epoch_text(&scene.placement),
            flapping: scene.flapping.contains(&peer.name),
            ..Self::default()
        };
        let bits = peer.is_alive.then(|| serde_json::from_str(peer.says("status")).ok()).flatten();
        node.add(scene, bits);
        node
    }

    fn add(&mut self, scene: &Scene, bits: Option<Bits>) {
        let share = scene.placement.share(&self.node);
        let [a, b] = &share.feeds;
        (self.feed_a, self.feed_b) = (a.len(), b.len());
        let mut symbols: Vec<String> = a.iter().chain(b).map(ToString::to_string).collect();
        symbols.sort();
        symbols.dedup();
        self.owns_symbols = symbols;
        self.partitions = share.partitions.len();
        self.owns_partitions = share.partitions;
        if let Some(bits) = bits {
            self.rate = Some(bits.rate);
            self.lag_ms = bits.lag_ms;
            self.missing = Some(bits.missing);
            self.lost = Some(bits.lost);
            self.complete = Some(format!("{}/{}", bits.complete, bits.followed));
            self.backlog = Some(bits.backlog);
            self.problems = Some(bits.problems);
        }
    }
}

/// `GET /api/symbols`
pub(super) async fn symbols(State(app): State<Arc<App>>) -> Response {
    let registry = app.web.nodes.as_ref().map(|it| it.symbols.current()).unwrap_or_default();
    let symbols: Vec<String> = registry.symbols().iter().map(ToString::to_string).collect();
    let changed_at = Value::from(registry.changed_at_ms());
    let body: BTreeMap<&str, Value> =
        BTreeMap::from([("symbols", symbols.into()), ("changed_at", changed_at)]);
    Json(body).into_response()
}

/// `PUT /api/symbols/SOLUSDT`. Not `POST`: a page of another site can make a browser send one.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
) -> Result<Response, Refusal> {
    change(&app, &symbol, true).await
}

/// `DELETE /api/symbols/SOLUSDT`
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
) -> Result<Response, Refusal> {
    change(&app, &symbol, false).await
}

async fn change(app: &App, symbol: &str, is_present: bool) -> Result<Response, Refusal> {
    let Some(nodes) = &app.web.nodes else {
        return Err(Refusal::unavailable("This node has no list of symbols."));
    };
    let symbol = Symbol::new(symbol).map_err(|error| Refusal::said(error.to_string()))?;
    let changed = nodes.symbols.set(&symbol, is_present).await.map_err(|error| match error {
        SymbolsError::Exchange(..) | SymbolsError::Log(_) => {
            Refusal::unavailable(error.to_string())
        }
        _ => Refusal::said(error.to_string()),
    })?;
    let body = BTreeMap::from([("changed", changed)]);
    Ok((StatusCode::OK, Json(body)).into_response())
}
