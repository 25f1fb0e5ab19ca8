//! The links: one mutually authenticated, guarded TLS connection to each peer.
//!
//! Of two nodes, the one whose name sorts first dials, so that there is one connection and no contest. A
//! peer is dialled, with backoff, for as long as the membership names it; when it does not any more, its
//! link ends. Whoever connects has five seconds to show the cluster's key and a name, and no more than 64
//! may be about it at once: the 65th takes the place of the one that has been at it for longest. A member
//! needs milliseconds; a stranger, silent or not, is dropped, and holds up nobody.
//!
//! A link that ends says that something is wrong; that then nobody listens at the other end says that its
//! process is dead, long before its silence does. The membership is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::backoff::Backoff;
use fts_core::metrics::{LINK_CUTS_TOTAL, LINK_REFUSED_TOTAL, LINKS};
use fts_core::port::log::{Log, LogError};
use fts_core::port::store::Store;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls;

use super::calls::{self, CallError, Caller};
use super::gateway::{Gateway, Messages};
use super::gossip::Ended;
use super::guard::{Lane, Switch, guard};
use super::handshake::{self, DEADLINE, Refused};
use super::key::Secret;
use super::remote_log::RemoteLog;
use super::remote_store::RemoteStore;
use super::serve::Server;
use super::tls::Tls;

/// Strangers and members that are shaking hands at once; the next one takes the oldest one's place.
pub const HANDSHAKES_MAX: usize = 64;

/// How long to wait before dialling again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// A link that lived for so long was none that fails at once.
const STEADY: Duration = Duration::from_secs(5);
/// A process that dies may end its connections just before it stops to listen: so often it is looked.
const LOOKS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// What the links need.
pub struct LinksConfig {
    /// This node's name: unique in the cluster, 1 to 255 bytes.
    pub name: Arc<str>,
    /// The cluster's secret.
    pub secret: Secret,
    /// Where peers connect to.
    pub listener: TcpListener,
    /// The other nodes that are alive, and where they listen, as the membership knows it.
    pub peers: watch::Receiver<BTreeMap<Arc<str>, SocketAddr>>,
    /// Hears of peers whose process has ended.
    pub ended: mpsc::Sender<Ended>,
    /// Answers the messages of other nodes. Without, there is no `ractor_cluster` on the links: then calls
    /// on the log and the stores are all that passes.
    pub messages: Option<Arc<dyn Messages>>,
}

impl std::fmt::Debug for LinksConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LinksConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why there are no links.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// The name can't be said in a handshake.
    #[error("`{0}` is no name for a node: use 1 to 255 bytes")]
    Name(Arc<str>),
    /// The TLS library refuses the secret's key.
    #[error("cannot set up TLS with the cluster's secret: {0}")]
    Tls(#[from] rustls::Error),
    /// `ractor_cluster` does not start.
    #[error("cannot start the gateway: {0}")]
    Gateway(#[from] ractor::SpawnErr),
}

/// The links of this node. Clones are the same links; [`Links::stop`] ends them.
#[derive(Clone)]
pub struct Links(Arc<Shared>);

struct Shared {
    name: Arc<str>,
    tls: Tls,
    server: Arc<Server>,
    gateway: Option<Gateway>,
    links: Mutex<BTreeMap<Arc<str>, Link>>,
    up: watch::Sender<BTreeSet<Arc<str>>>,
    peers: watch::Receiver<BTreeMap<Arc<str>, SocketAddr>>,
    ended: mpsc::Sender<Ended>,
    next: AtomicU64,
    tasks: Mutex<Vec<Task>>,
}

struct Link {
    id: u64,
    switch: Switch,
    caller: Caller,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Links")
            .field("name", &self.0.name)
            .field("up", &*self.0.up.borrow())
            .finish()
    }
}

impl Links {
    /// Listens, and dials whom the membership names. Must be called within a runtime of tokio.
    ///
    /// # Errors
    /// Where the name is too long or TLS or the gateway can't be set up.
    pub async fn start(config: LinksConfig) -> Result<Self, LinksError> {
        let LinksConfig { name, secret, listener, peers, ended, messages } = config;
        if name.is_empty() || name.len() > handshake::NAME_BYTES_MAX {
            return Err(LinksError::Name(name));
        }
        let tls = Tls::new(&secret)?;
        let gateway = match messages {
            Some(messages) => Some(Gateway::start(&name, &secret, &tls, messages).await?),
            None => None,
        };
        let links = Self(Arc::new(Shared {
            name,
            tls,
            server: Arc::default(),
            gateway,
            links: Mutex::default(),
            up: watch::Sender::default(),
            peers: peers.clone(),
            ended,
            next: AtomicU64::new(0),
            tasks: Mutex::default(),
        }));
        metrics::gauge!(LINKS).set(0.0);
        let accepting = Task::spawn(links.clone().accept_all(listener));
        let dialling = Task::spawn(links.clone().dial_all(peers));
        links.tasks().extend([accepting, dialling]);
        Ok(links)
    }

    /// The peers with a link that is up.
    pub fn peers_up(&self) -> watch::Receiver<BTreeSet<Arc<str>>> {
        self.0.up.subscribe()
    }

    /// Serves this log and these stores, by their names, to the other nodes, in place of what was served.
    pub fn serve(&self, log: Option<Arc<dyn Log>>, stores: Vec<Arc<dyn Store>>) {
        self.0.server.serve(log, stores);
    }

    /// The log that `peer` serves. Waits until there is a link and a log, for `deadline` at most.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where there is none by then.
    pub async fn remote_log(&self, peer: &str, deadline: Duration) -> Result<RemoteLog, LogError> {
        RemoteLog::open(self.clone(), peer.into(), deadline).await
    }

    /// The store of this name that `peer` serves. Whether it does is seen when it is used.
    pub fn remote_store(&self, peer: &str, name: &'static str) -> RemoteStore {
        RemoteStore::new(self.clone(), peer.into(), name)
    }

    /// Asks `peer`'s [`Messages`], over `ractor_cluster`, and waits for the answer.
    ///
    /// # Errors
    /// Where there is no link or no answer in time, or the question is too long.
    pub async fn ask(
        &self,
        peer: &str,
        question: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let Some(gateway) = self.0.gateway.as_ref().filter(|_| self.caller(peer).is_ok()) else {
            return Err(CallError::Down.counted());
        };
        gateway.ask(peer, question, deadline).await.map_err(CallError::counted)
    }

    /// Ends all links, and listens and dials no more.
    pub fn stop(&self) {
        self.tasks().clear();
        for link in self.links().values() {
            link.switch.end();
        }
        if let Some(gateway) = &self.0.gateway {
            gateway.stop();
        }
    }

    /// Cuts the link to `peer`, as if the line had failed. It is dialled again.
    pub fn cut(&self, peer: &str) {
        if let Some(link) = self.links().get(peer) {
            link.switch.end();
        }
    }

    /// Asks `peer` for calls on its log and stores.
    pub(super) fn caller(&self, peer: &str) -> Result<Caller, CallError> {
        self.links().get(peer).map(|link| link.caller.clone()).ok_or(CallError::Down)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept_all(self, listener: TcpListener) {
        let mut shaking: VecDeque<oneshot::Sender<()>> = VecDeque::new();
        let mut links = JoinSet::new();
        loop {
            while links.try_join_next().is_some() {}
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: they come back.
                    tracing::warn!(%error, "cannot accept a connection of a node");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            shaking.retain(|place| !place.is_closed());
            if shaking.len() >= HANDSHAKES_MAX {
                shaking.pop_front();
            }
            let (place, taken) = oneshot::channel();
            shaking.push_back(place);
            let this = self.clone();
            links.spawn(async move {
                let (tls, name) = (&this.0.tls, &this.0.name);
                let shaken = tokio::select! {
                    shaken = timeout(DEADLINE, handshake::accept(tls, name, stream)) => {
                        shaken.unwrap_or(Err(Refused::Late))
                    }
                    _ = taken => Err(Refused::Busy),
                };
                match shaken {
                    Ok((peer, stream)) => {
                        this.run(Arc::clone(&peer), stream, true).await;
                        this.look_after(peer).await;
                    }
                    Err(reason) => {
                        refused("accepted", reason);
                        tracing::info!(%from, %reason, "a connection is no link");
                    }
                }
            });
        }
    }

    async fn dial_all(self, mut peers: watch::Receiver<BTreeMap<Arc<str>, SocketAddr>>) {
        let mut listed: BTreeMap<Arc<str>, SocketAddr> = BTreeMap::new();
        let mut dialling: BTreeMap<Arc<str>, Task> = BTreeMap::new();
        loop {
            let known = peers.borrow_and_update().clone();
            for (peer, address) in &listed {
                if known.get(peer) != Some(address) {
                    dialling.remove(peer);
                    self.cut(peer);
                }
            }
            for (peer, address) in &known {
                if **peer > *self.0.name && !dialling.contains_key(peer) {
                    let task = Task::spawn(self.clone().dial(Arc::clone(peer), *address));
                    dialling.insert(Arc::clone(peer), task);
                }
            }
            listed = known;
            if peers.changed().await.is_err() {
                // Nobody will say anything else: stay with these.
                return std::future::pending().await;
            }
        }
    }

    async fn dial(self, peer: Arc<str>, address: SocketAddr) {
        let mut backoff = BACKOFF;
        let mut was_linked = false;
        loop {
            let (tls, name) = (&self.0.tls, &self.0.name);
            let dialled = handshake::dial(tls, name, &peer, address);
            let shaken = timeout(DEADLINE, dialled).await;
            match shaken.unwrap_or(Err(Refused::Late)) {
                Ok(stream) => {
                    let begun = Instant::now();
                    self.run(Arc::clone(&peer), stream, false).await;
                    was_linked = true;
                    if begun.elapsed() > STEADY {
                        backoff.reset();
                        continue;
                    }
                }
                Err(reason) => {
                    if reason == Refused::Nobody && std::mem::take(&mut was_linked) {
                        self.has_ended(&peer, address);
                    }
                    refused("dialled", reason);
                    tracing::debug!(%peer, %address, %reason, "a node can't be linked");
                }
            }
            tokio::time::sleep(backoff.next(chance())).await;
        }
    }

    /// The link to `peer`, who dials, has ended: is anybody there who could dial again?
    async fn look_after(&self, peer: Arc<str>) {
        let address = self.0.peers.borrow().get(&peer).copied();
        let Some(address) = address else { return };
        for _ in 0..LOOKS {
            if self.caller(&peer).is_ok() {
                return;
            }
            if let Ok(Err(Refused::Nobody)) = timeout(DEADLINE, handshake::reach(address)).await {
                return self.has_ended(&peer, address);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn has_ended(&self, peer: &Arc<str>, address: SocketAddr) {
        // With a full queue, its silence tells.
        let _ = self.0.ended.try_send((Arc::clone(peer), address));
    }

    /// Until the link ends.
    async fn run(&self, peer: Arc<str>, stream: TlsStream<TcpStream>, is_server: bool) {
        let (lanes, switch) = guard(stream, &peer);
        let answers = Arc::clone(&self.0.server) as Arc<dyn calls::Answers>;
        let (caller, speaking) = calls::open(lanes.calls, answers);
        let _listed = self.list(Arc::clone(&peer), switch.clone(), caller);
        tracing::info!(%peer, "linked");
        let messages = async {
            match &self.0.gateway {
                Some(gateway) => gateway.attach(lanes.control, &peer, is_server).await,
                None => nobody_listens(lanes.control).await,
            }
        };
        tokio::select! {
            () = speaking => {}
            () = switch.ended() => {}
            () = async { tokio::join!(messages, std::future::pending::<()>()); } => {}
        }
        tracing::info!(%peer, "the link ended");
    }

    /// Lists the link, in place of an older one to this peer: who dials has no other.
    fn list(&self, peer: Arc<str>, switch: Switch, caller: Caller) -> Listed {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let link = Link { id, switch: switch.clone(), caller };
        let mut links = self.links();
        if let Some(older) = links.insert(Arc::clone(&peer), link) {
            older.switch.end();
        }
        self.tell(&links);
        Listed { links: self.clone(), peer, id, switch }
    }

    fn tell(&self, links: &BTreeMap<Arc<str>, Link>) {
        metrics::gauge!(LINKS).set(f64::from(u32::try_from(links.len()).unwrap_or(u32::MAX)));
        self.0.up.send_replace(links.keys().cloned().collect());
    }
}

/// Takes the link off the list, and ends it.
struct Listed {
    links: Links,
    peer: Arc<str>,
    id: u64,
    switch: Switch,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.switch.end();
        metrics::counter!(LINK_CUTS_TOTAL).increment(1);
        let mut links = self.links.links();
        if links.get(&self.peer).is_some_and(|link| link.id == self.id) {
            links.remove(&self.peer);
            self.links.tell(&links);
        }
    }
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn nobody_listens(mut lane: Lane) {
    let mut buffer = [0; 1_024];
    while lane.read.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

fn refused(end: &'static str, reason: Refused) {
    metrics::counter!(LINK_REFUSED_TOTAL, "end" => end, "reason" => reason.name()).increment(1);
}

fn chance() -> u32 {
    let mut bytes = [0; 4];
    // Without chance, everybody waits for the shortest time: worse, but no error.
    let _ = SystemRandom::new().fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
