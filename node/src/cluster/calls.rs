//! Calls over a link: many at once, each with a deadline, within a window.
//!
//! Both ends ask and answer. Who asks keeps to a window: so many calls, and so many bytes of them,
//! without an answer; the next one waits. Who answers has bounds of its own and turns away what is beyond
//! them, so that reading never stops and the link's heartbeats are never late. When the link ends, every
//! call on it fails at once. A call that nobody waits for any more is cancelled at the other end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use fts_core::metrics::{CALLS_FAILED_TOTAL, CALLS_REFUSED_TOTAL};
use fts_proto::gateway::{Answer, Body, Call, Envelope, Kind, Nothing, Reply, Request, failure};
use futures_util::future::BoxFuture;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::guard::Lane;

/// A message can't be longer.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;
/// Calls without an answer that one end has at the other; waits for records are not counted.
const WINDOW: usize = 64;
/// Bytes of those calls; a single longer one goes alone.
const WINDOW_BYTES: usize = 32 << 20;
/// Waits for records that one end has at the other.
const WAITS: usize = 1_024;
/// What one end answers at once for the other, with room for those that were cancelled.
const RUNNING_MAX: usize = 2 * (WINDOW + WAITS);
/// Bytes of the calls that one end answers at once for the other.
const RUNNING_BYTES_MAX: usize = 4 * WINDOW_BYTES + FRAME_BYTES_MAX;
/// Messages that wait to be sent.
const OUTGOING: usize = 16;

const HEAD: usize = 4;

/// Answers the calls of a peer.
pub(super) trait Answers: Send + Sync + 'static {
    fn answer(&self, call: Call) -> BoxFuture<'static, Answer>;
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no link.
    #[error("there is no link to it")]
    Down,
    /// The link ended before the answer came.
    #[error("the link to it ended")]
    Cut,
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The call is longer than a message may be.
    #[error("{0} bytes are more than one message can carry ({FRAME_BYTES_MAX}): send less at once")]
    Large(usize),
}

impl CallError {
    /// Counts it.
    pub(super) fn counted(self) -> Self {
        let reason = match self {
            Self::Down => "down",
            Self::Cut => "cut",
            Self::Late(_) => "late",
            Self::Large(_) => "large",
        };
        metrics::counter!(CALLS_FAILED_TOTAL, "reason" => reason).increment(1);
        self
    }
}

/// Asks the peer of one link.
#[derive(Clone)]
pub(super) struct Caller(Arc<Asking>);

struct Asking {
    outgoing: mpsc::Sender<Bytes>,
    /// Who waits for which answer; nothing once the link has ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: AtomicU64,
    window: Semaphore,
    window_bytes: Semaphore,
    waits: Semaphore,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Caller(…)")
    }
}

impl Caller {
    /// Asks, and waits for the answer until `deadline` has passed.
    pub(super) async fn call(&self, call: Call, deadline: Duration) -> Result<Answer, CallError> {
        let asked = timeout(deadline, self.ask(call)).await;
        asked.unwrap_or(Err(CallError::Late(deadline))).map_err(CallError::counted)
    }

    async fn ask(&self, call: Call) -> Result<Answer, CallError> {
        let asking = &*self.0;
        let is_wait = matches!(call, Call::Changed(_));
        let window = if is_wait { &asking.waits } else { &asking.window };
        let _place = window.acquire().await.map_err(|_| CallError::Cut)?;
        let id = asking.next.fetch_add(1, Ordering::Relaxed);
        let request = Body::Request(Request { call: Some(call) });
        let message = framed(Envelope { id, body: Some(request) })?;
        let size = u32::try_from(message.len().min(WINDOW_BYTES)).unwrap_or(u32::MAX);
        let _bytes = asking.window_bytes.acquire_many(size).await.map_err(|_| CallError::Cut)?;
        let (answer, answered) = oneshot::channel();
        asking.waiting().as_mut().ok_or(CallError::Cut)?.insert(id, answer);
        // From here on: whoever stops waiting says so.
        let _cancel = CancelOnDrop { asking, id };
        asking.outgoing.send(message).await.map_err(|_| CallError::Cut)?;
        answered.await.map_err(|_| CallError::Cut)
    }
}

impl Asking {
    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.window.close();
        self.window_bytes.close();
        self.waits.close();
        *self.waiting() = None;
    }
}

struct CancelOnDrop<'a> {
    asking: &'a Asking,
    id: u64,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let is_unanswered =
            self.asking.waiting().as_mut().is_some_and(|it| it.remove(&self.id).is_some());
        let cancel = Envelope { id: self.id, body: Some(Body::Cancel(Nothing {})) };
        if is_unanswered && let Ok(message) = framed(cancel) {
            // Where it finds no room, the call runs into its end over there.
            drop(self.asking.outgoing.try_send(message));
        }
    }
}

/// Speaks over `lane`; `answers` answers the peer. The future ends when the lane does, and must be run.
pub(super) fn open(
    lane: Lane,
    answers: Arc<dyn Answers>,
) -> (Caller, impl Future<Output = ()> + Send + 'static) {
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let asking = Arc::new(Asking {
        outgoing: outgoing.clone(),
        waiting: Mutex::new(Some(HashMap::new())),
        next: AtomicU64::new(1),
        window: Semaphore::new(WINDOW),
        window_bytes: Semaphore::new(WINDOW_BYTES),
        waits: Semaphore::new(WAITS),
    });
    let caller = Caller(Arc::clone(&asking));
    let running = Arc::new(Running::default());
    let (read, write) = (lane.read, lane.write);
    let speaking = async move {
        let ended = EndOnDrop { asking: Arc::clone(&asking), running: Arc::clone(&running) };
        tokio::select! {
            () = write_all(messages, write) => {}
            () = read_all(read, &asking, &running, &answers, &outgoing) => {}
        }
        drop(ended);
    };
    (caller, speaking)
}

/// The calls of the peer that are being answered.
struct Running {
    tasks: Mutex<HashMap<u64, AbortHandle>>,
    bytes: Arc<Semaphore>,
}

impl Default for Running {
    fn default() -> Self {
        let bytes = Arc::new(Semaphore::new(RUNNING_BYTES_MAX));
        Self { tasks: Mutex::default(), bytes }
    }
}

impl Running {
    fn tasks(&self) -> MutexGuard<'_, HashMap<u64, AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct EndOnDrop {
    asking: Arc<Asking>,
    running: Arc<Running>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.asking.end();
        for (_, task) in self.running.tasks().drain() {
            task.abort();
        }
    }
}

async fn write_all(mut messages: mpsc::Receiver<Bytes>, mut to: DuplexStream) {
    while let Some(message) = messages.recv().await {
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn read_all(
    mut from: DuplexStream,
    asking: &Asking,
    running: &Arc<Running>,
    answers: &Arc<dyn Answers>,
    outgoing: &mpsc::Sender<Bytes>,
) {
    let mut buffer = BytesMut::new();
    loop {
        let Some(frame) = frame(&mut from, &mut buffer).await else { return };
        let size = frame.len();
        let Ok(Envelope { id, body: Some(body) }) = Envelope::decode(frame) else {
            metrics::counter!(CALLS_REFUSED_TOTAL, "reason" => "malformed").increment(1);
            return;
        };
        match body {
            Body::Request(request) => run(running, answers, outgoing, id, request, size),
            Body::Reply(Reply { answer }) => {
                let waiting = asking.waiting().as_mut().and_then(|it| it.remove(&id));
                // Without: it came too late, and nobody waits for it any more.
                if let (Some(waiting), Some(answer)) = (waiting, answer) {
                    drop(waiting.send(answer));
                }
            }
            Body::Cancel(Nothing {}) => {
                if let Some(task) = running.tasks().remove(&id) {
                    task.abort();
                }
            }
        }
    }
}

/// The next message; `None` where the lane ends or the message is too long.
async fn frame(from: &mut DuplexStream, buffer: &mut BytesMut) -> Option<Bytes> {
    loop {
        if let Some((head, _)) = buffer.split_first_chunk::<HEAD>() {
            let length = usize::try_from(u32::from_be_bytes(*head)).ok()?;
            if length > FRAME_BYTES_MAX {
                metrics::counter!(CALLS_REFUSED_TOTAL, "reason" => "malformed").increment(1);
                return None;
            }
            if buffer.len() >= HEAD + length {
                buffer.advance(HEAD);
                return Some(buffer.split_to(length).freeze());
            }
        }
        // Grows with what arrives, not with what is announced.
        buffer.reserve(64 << 10);
        if from.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn run(
    running: &Arc<Running>,
    answers: &Arc<dyn Answers>,
    outgoing: &mpsc::Sender<Bytes>,
    id: u64,
    request: Request,
    size: usize,
) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let bytes = Arc::clone(&running.bytes).try_acquire_many_owned(size);
    let mut tasks = running.tasks();
    let (Ok(bytes), true) = (bytes, tasks.len() < RUNNING_MAX) else {
        metrics::counter!(CALLS_REFUSED_TOTAL, "reason" => "busy").increment(1);
        let busy = Answer::Failure(failure(Kind::Unavailable, "it has too much to do"));
        // Where not even this finds room, the asker's deadline tells it.
        drop(reply(id, busy).map(|message| outgoing.try_send(message)));
        return;
    };
    let answer = request.call.map(|call| answers.answer(call));
    let (outgoing, ended) = (outgoing.clone(), Arc::clone(running));
    let task = tokio::spawn(async move {
        let answer = match answer {
            Some(answer) => answer.await,
            None => Answer::Failure(failure(
                Kind::Unavailable,
                "it does not know this call: upgrade it",
            )),
        };
        drop(bytes);
        if let Some(message) = reply(id, answer) {
            // Fails where the link has ended: then nobody waits.
            drop(outgoing.send(message).await);
        }
        ended.tasks().remove(&id);
    });
    tasks.insert(id, task.abort_handle());
}

fn reply(id: u64, answer: Answer) -> Option<Bytes> {
    let body = |answer| Some(Body::Reply(Reply { answer: Some(answer) }));
    framed(Envelope { id, body: body(answer) })
        .or_else(|error| {
            let text = format!("the answer is too long: {error}");
            framed(Envelope { id, body: body(Answer::Failure(failure(Kind::Unavailable, text))) })
        })
        .ok()
}

fn framed(message: Envelope) -> Result<Bytes, CallError> {
    let length = message.encoded_len();
    let head = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX);
    let head = head.ok_or(CallError::Large(length))?;
    let mut bytes = BytesMut::with_capacity(HEAD + length);
    bytes.extend_from_slice(&head.to_be_bytes());
    message.encode(&mut bytes).map_err(|_| CallError::Large(length))?;
    Ok(bytes.freeze())
}
