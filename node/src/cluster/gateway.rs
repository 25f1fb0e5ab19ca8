//! The one actor of this node that others reach over `ractor_cluster`.
//!
//! Supervised by: a task of the links, which starts it anew, with backoff. Receives: questions of other
//! nodes, as bytes. Emits: answers, as bytes, from tasks of their own, so that no question waits for
//! another; beyond 64 at once they are turned away. Lost if it dies: the questions that were being answered;
//! those who asked see their deadline pass, and ask again.
//!
//! Why bulk data is not sent this way: docs/decisions/0007.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, pg};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{IncomingEncryptionMode, NodeServer, NodeServerMessage, RactorClusterMessage};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::calls::CallError;
use super::guard::Lane;
use super::key::Secret;
use super::tls::Tls;

/// A question or an answer can't be longer: it is no way for bulk data.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Questions that are answered at once.
const ANSWERING_MAX: usize = 64;
/// Questions that wait for answers of other nodes at once: `ractor_cluster` queues have no bound of theirs.
const ASKING_MAX: usize = 64;
/// How long the session of a link that has ended may take to be gone.
const OLD_SESSION: Duration = Duration::from_secs(2);
/// How long it stays away after a failure.
const RESTART: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// Begins an answer that is one.
const ANSWERED: u8 = 0;

/// Answers what other nodes ask.
#[async_trait]
pub trait Messages: Send + Sync + 'static {
    /// The answer. It is given up when the asker's patience is over; a panic is no answer.
    async fn answer(&self, question: Bytes) -> Bytes;
}

/// What `ractor_cluster` carries.
#[derive(RactorClusterMessage)]
enum Message {
    #[rpc]
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

#[derive(Clone)]
struct Answering {
    messages: Arc<dyn Messages>,
    places: Arc<Semaphore>,
    group: String,
}

impl Actor for Answering {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        pg::join(self.group.clone(), vec![myself.get_cell()]);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let Message::Ask(question, reply) = message;
        // Turned away: the port is dropped, and the asker's deadline tells it.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Ok(()) };
        let messages = Arc::clone(&self.messages);
        tokio::spawn(async move {
            let patience = reply.get_timeout().unwrap_or(Duration::from_secs(60));
            let answer = timeout(patience, messages.answer(question.into())).await;
            if let Ok(answer) = answer
                && answer.len() <= MESSAGE_BYTES_MAX
            {
                let message = [&[ANSWERED], &*answer].concat();
                // Fails where nobody waits any more.
                drop(reply.send(message));
            }
            drop(place);
        });
        Ok(())
    }
}

/// This node's end of `ractor_cluster`.
#[derive(Debug)]
pub(super) struct Gateway {
    server: ActorRef<NodeServerMessage>,
    current: Arc<Mutex<ActorRef<Message>>>,
    keeping: tokio::task::AbortHandle,
    asking: Semaphore,
}

impl Gateway {
    pub(super) async fn start(
        name: &str,
        secret: &Secret,
        tls: &Tls,
        messages: Arc<dyn Messages>,
    ) -> Result<Self, SpawnErr> {
        // It insists on a listener of its own. Nobody knows of this one, it is of this machine alone, and
        // it asks for the cluster's key like the other.
        let listener = IncomingEncryptionMode::Tls(tls.acceptor.clone());
        let mode = NodeConnectionMode::Isolated;
        let server = NodeServer::new(
            0,
            secret.cookie(),
            name.to_owned(),
            incarnation(),
            Some(listener),
            Some(mode),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (server, _) = Actor::spawn(None, server, ()).await?;
        let answering = Answering {
            messages,
            places: Arc::new(Semaphore::new(ANSWERING_MAX)),
            group: group(name),
        };
        let (first, mut running) = Actor::spawn(None, answering.clone(), ()).await?;
        let current = Arc::new(Mutex::new(first));
        let kept = Arc::clone(&current);
        let keeping = tokio::spawn(async move {
            loop {
                drop(running.await);
                sleep(RESTART).await;
                match Actor::spawn(None, answering.clone(), ()).await {
                    Ok((actor, again)) => {
                        *kept.lock().unwrap_or_else(PoisonError::into_inner) = actor;
                        running = again;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the gateway can't be started again");
                        return;
                    }
                }
            }
        });
        let keeping = keeping.abort_handle();
        Ok(Self { server, current, keeping, asking: Semaphore::new(ASKING_MAX) })
    }

    /// Gives the lane to `ractor_cluster`, once the session of an earlier link to this peer is gone.
    pub(super) async fn attach(&self, lane: Lane, peer: &str, is_server: bool) {
        let until = Instant::now() + OLD_SESSION;
        while Instant::now() < until && self.has_session(peer).await {
            sleep(POLL).await;
        }
        let stream = Box::new(lane);
        // Fails where it has been stopped: then the lane is dropped, and the link with it.
        drop(self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server }));
    }

    async fn has_session(&self, peer: &str) -> bool {
        let sessions = self.server.call(NodeServerMessage::GetSessions, Some(OLD_SESSION)).await;
        let Ok(CallResult::Success(sessions)) = sessions else { return false };
        sessions.into_values().any(|session| {
            let name = session.peer_name.as_ref().map_or("", |it| it.name.as_str());
            name.rsplit_once('@').is_some_and(|(name, _)| name == peer)
        })
    }

    pub(super) async fn ask(
        &self,
        peer: &str,
        question: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        if question.len() > MESSAGE_BYTES_MAX {
            return Err(CallError::Large(question.len()));
        }
        let asked = async {
            let _place = self.asking.acquire().await.map_err(|_| CallError::Down)?;
            // A link is up a little earlier than its session.
            let gateway = loop {
                match gateway_of(peer) {
                    Some(gateway) => break gateway,
                    None => sleep(POLL).await,
                }
            };
            let question = question.to_vec();
            let answer = gateway.call(|reply| Message::Ask(question, reply), Some(deadline)).await;
            match answer {
                Ok(CallResult::Success(answer)) => {
                    let answer = Bytes::from(answer);
                    match answer.first() {
                        Some(&ANSWERED) => Ok(answer.slice(1..)),
                        _ => Err(CallError::Cut),
                    }
                }
                Ok(CallResult::Timeout) => Err(CallError::Late(deadline)),
                Ok(CallResult::SenderError) | Err(_) => Err(CallError::Cut),
            }
        };
        timeout(deadline, asked).await.unwrap_or(Err(CallError::Late(deadline)))
    }

    pub(super) fn stop(&self) {
        self.keeping.abort();
        self.current.lock().unwrap_or_else(PoisonError::into_inner).stop(None);
        self.server.stop(None);
    }
}

/// The peer's gateway, by way of its newest session.
fn gateway_of(peer: &str) -> Option<ActorRef<Message>> {
    let newest = |id: ActorId| match id {
        ActorId::Remote { node_id, .. } => Some(node_id),
        ActorId::Local(_) => None,
    };
    let found = pg::get_members(&group(peer));
    let remote = found.into_iter().filter_map(|cell| Some((newest(cell.get_id())?, cell)));
    remote.max_by_key(|(session, _)| *session).map(|(_, cell)| cell.into())
}

fn group(name: &str) -> String {
    format!("fts.gateway.{name}")
}

/// Tells this process from an earlier one of the same name.
fn incarnation() -> String {
    let mut bytes = [0; 8];
    // Without chance, a process that starts again is taken for the one before, until that one's session ends.
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
