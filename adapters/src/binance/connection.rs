//! An open connection: takes frames off the socket in bursts, answers pings, and knows when the
//! connection is dead, or due to be replaced.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::{Symbol, Topic};
use fts_core::metrics::{
    BINANCE_BYTES_TOTAL, BINANCE_DISCONNECTS_TOTAL, BINANCE_FRAMES_TOTAL,
    BINANCE_STREAM_ERRORS_TOTAL, BINANCE_UNROUTED_FRAMES_TOTAL,
};
use fts_core::port::feed::{Connection, FeedError, Frame};
use fts_core::time::{Clock, UnixNanos};
use futures_util::{SinkExt, StreamExt};
use metrics::Counter;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::change::{Changes, Request};
use super::net::Socket;
use super::route::{Routes, Said};

/// Between two requests: with pongs, the exchange takes 5 messages a second.
const REQUESTS_APART: Duration = Duration::from_millis(300);
/// Streams that one connection may carry.
pub(super) const STREAMS_MAX: usize = 1_024;
/// Bytes of frames that are kept while later streams are still being subscribed.
const EARLY_BYTES_MAX: usize = 64 << 20;

/// When a connection ends without the exchange's doing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// Silent for so long, it is dead.
    pub(super) silence: Duration,
    /// So old, it asks to be replaced.
    pub(super) age: Duration,
}

/// A connection and the streams that it carries.
pub(super) struct Streams {
    socket: WebSocketStream<Socket>,
    routes: Routes,
    clock: Arc<dyn Clock>,
    lifetime: Lifetime,
    /// Of the last frame of any kind.
    heard: Instant,
    /// When to ask to be replaced; `None` once it was asked.
    old_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// Whether the socket owes the exchange a pong or the answer to its farewell.
    owes: bool,
    /// What is told once the frames before it are delivered.
    after: Option<FeedError>,
    /// Frames that came while later streams were being subscribed.
    early: VecDeque<Frame>,
    changes: Changes,
    requests: i64,
    asked_at: Option<Instant>,
    /// The exchange's answer to the last request.
    answer: Option<Result<(), String>>,
    meters: Meters,
}

/// Looked up once a connection: a look-up costs as much as a frame.
struct Meters {
    frames: Counter,
    bytes: Counter,
    unrouted: Counter,
    errors: Counter,
}

/// How a connection ended: a word for metrics, and what to tell.
type End = (&'static str, String);

impl Streams {
    pub(super) fn new(
        socket: WebSocketStream<Socket>,
        routes: Routes,
        clock: Arc<dyn Clock>,
        lifetime: Lifetime,
        changes: Changes,
    ) -> Self {
        let now = Instant::now();
        Self {
            socket,
            routes,
            clock,
            lifetime,
            heard: now,
            old_at: now.checked_add(lifetime.age),
            timer: Box::pin(sleep_until(now)),
            owes: false,
            after: None,
            early: VecDeque::new(),
            changes,
            requests: 0,
            asked_at: None,
            answer: None,
            meters: Meters {
                frames: metrics::counter!(BINANCE_FRAMES_TOTAL),
                bytes: metrics::counter!(BINANCE_BYTES_TOTAL),
                unrouted: metrics::counter!(BINANCE_UNROUTED_FRAMES_TOTAL),
                errors: metrics::counter!(BINANCE_STREAM_ERRORS_TOTAL),
            },
        }
    }

    /// Subscribes `names` too, and waits for the exchange's answer.
    pub(super) async fn subscribe(
        &mut self,
        names: &[String],
        patience: Duration,
    ) -> Result<(), FeedError> {
        if let Some(asked_at) = self.asked_at {
            tokio::time::sleep_until(asked_at + REQUESTS_APART).await;
        }
        self.requests += 1;
        let request = serde_json::json!({
            "method": "SUBSCRIBE", "params": names, "id": self.requests,
        });
        self.answer = None;
        self.asked_at = Some(Instant::now());
        let answered = timeout(patience, async {
            let sent = self.socket.send(Message::text(request.to_string())).await;
            sent.map_err(|error| disconnected(&ended(&error)))?;
            self.await_answer().await
        });
        match answered.await {
            Ok(answer) => answer,
            Err(_) => {
                let text = "the exchange did not answer a subscription in time".to_owned();
                Err(disconnected(&("timeout", text)))
            }
        }
    }

    async fn await_answer(&mut self) -> Result<(), FeedError> {
        let mut bytes: usize = self.early.iter().map(|frame| frame.value.len()).sum();
        let answer = loop {
            if let Some(answer) = self.answer.take() {
                break answer;
            }
            let frames = poll_fn(|cx| self.poll_frames(cx, usize::MAX)).await?;
            bytes += frames.iter().map(|frame| frame.value.len()).sum::<usize>();
            self.early.extend(frames);
            if bytes > EARLY_BYTES_MAX {
                let text = "too much data came before all streams were subscribed".to_owned();
                return Err(disconnected(&("overrun", text)));
            }
        };
        answer.map_err(|text| {
            let text = format!("the exchange refused a subscription: {text}");
            disconnected(&("refused", text))
        })
    }

    /// Carries changes on as far as that goes without waiting.
    fn poll_changes(&mut self, cx: &mut Context<'_>) -> Result<(), FeedError> {
        loop {
            if self.changes.is_unsent {
                match self.socket.poll_flush_unpin(cx) {
                    Poll::Ready(Ok(())) => self.changes.is_unsent = false,
                    Poll::Ready(Err(error)) => return Err(disconnected(&ended(&error))),
                    Poll::Pending => {}
                }
            }
            if let Some((request, until)) = self.changes.asked.take() {
                match self.answer.take() {
                    Some(Ok(())) if request.adds => {}
                    Some(Ok(())) => {
                        for symbol in &request.symbols {
                            self.routes.remove(symbol);
                        }
                    }
                    Some(Err(text)) => {
                        let text = format!("the exchange refused a change of streams: {text}");
                        return Err(disconnected(&("refused", text)));
                    }
                    None if self.changes.poll_until(cx, until).is_ready() => {
                        let text = "the exchange did not answer a change of streams in time";
                        return Err(disconnected(&("timeout", text.to_owned())));
                    }
                    None => {
                        self.changes.asked = Some((request, until));
                        return Ok(());
                    }
                }
            }
            if self.changes.waiting.is_empty() {
                return Ok(());
            }
            if let Some(asked_at) = self.asked_at
                && self.changes.poll_until(cx, asked_at + REQUESTS_APART).is_pending()
            {
                return Ok(());
            }
            match self.socket.poll_ready_unpin(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(disconnected(&ended(&error))),
                Poll::Pending => return Ok(()),
            }
            let Some(request) = self.changes.waiting.pop_front() else { return Ok(()) };
            self.ask(request)?;
        }
    }

    /// Hands a request to the socket.
    fn ask(&mut self, request: Request) -> Result<(), FeedError> {
        if request.adds {
            // Its frames may come before the answer.
            for symbol in &request.symbols {
                self.routes.add(symbol, &self.changes.channels);
            }
        }
        self.requests += 1;
        let text = serde_json::json!({
            "method": request.method(), "params": request.names, "id": self.requests,
        });
        self.answer = None;
        let now = Instant::now();
        self.asked_at = Some(now);
        let sent = self.socket.start_send_unpin(Message::text(text.to_string()));
        sent.map_err(|error| disconnected(&ended(&error)))?;
        self.changes.is_unsent = true;
        self.changes.asked = Some((request, now + self.changes.patience));
        Ok(())
    }

    /// Takes what is there, up to `max` frames; waits only while there is neither a frame nor an
    /// answer nor the end.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Vec<Frame>, FeedError>> {
        let mut frames = Vec::new();
        // One time for all that is there already: asking for it costs as much as routing a frame.
        let mut received_at = None;
        let answered = self.answer.is_some();
        let (mut heard, mut idle, mut bytes) = (false, false, 0);
        while frames.len() < max && self.after.is_none() {
            let Poll::Ready(message) = self.socket.poll_next_unpin(cx) else {
                idle = true;
                break;
            };
            heard = true;
            let at = *received_at.get_or_insert_with(|| self.clock.now());
            match message {
                Some(Ok(Message::Text(text))) => {
                    bytes += text.len();
                    frames.extend(self.take_text(text, at));
                }
                Some(Ok(Message::Binary(value))) => {
                    bytes += value.len();
                    frames.push(self.unrouted(value, at));
                }
                Some(Ok(Message::Ping(_))) => self.owes = true,
                Some(Ok(Message::Close(farewell))) => {
                    self.owes = true;
                    let why = farewell.map_or_else(String::new, |it| {
                        format!(": {} {}", u16::from(it.code), it.reason)
                    });
                    let text = format!("the exchange closed the connection{}", why.trim_end());
                    self.after = Some(disconnected(&("closed", text)));
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => self.after = Some(disconnected(&ended(&error))),
                None => self.after = Some(disconnected(&ended(&WsError::ConnectionClosed))),
            }
        }
        if !frames.is_empty() {
            self.meters.frames.increment(frames.len() as u64);
            self.meters.bytes.increment(bytes as u64);
        }
        // Reading sends what is owed, but only at the next read.
        if self.owes && (idle || self.socket.poll_flush_unpin(cx).is_ready()) {
            self.owes = false;
        }
        let now = Instant::now();
        if heard {
            self.heard = now;
        }
        if self.after.is_none() && self.old_at.is_some_and(|at| at <= now) {
            self.old_at = None;
            self.after = Some(FeedError::Rollover);
        }
        if !frames.is_empty() || self.answer.is_some() != answered {
            return Poll::Ready(Ok(frames));
        }
        match self.after.take() {
            Some(end) => Poll::Ready(Err(end)),
            None => self.poll_silence(cx, now),
        }
    }

    /// Waits with the timer for the connection to be dead or old. The timer is moved only when it
    /// fires, not by every frame.
    fn poll_silence<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Result<T, FeedError>> {
        let dead_at = self.heard + self.lifetime.silence;
        if dead_at <= now {
            let text = format!(
                "nothing came for {} s, not even a ping: the connection is dead",
                self.lifetime.silence.as_secs_f64()
            );
            return Poll::Ready(Err(disconnected(&("silent", text))));
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let next = self.old_at.map_or(dead_at, |old_at| old_at.min(dead_at));
            if next <= Instant::now() {
                // Due within this very call: come back and find it so.
                cx.waker().wake_by_ref();
                break;
            }
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    fn take_text(&mut self, text: Utf8Bytes, at: UnixNanos) -> Option<Frame> {
        match self.routes.read(&text) {
            Said::Data(topic, symbol) => Some(frame(topic, symbol, text.into(), at)),
            Said::Unknown => Some(self.unrouted(text.into(), at)),
            Said::Done(id) => {
                self.settle(id, Ok(()));
                None
            }
            Said::Refused(id) => {
                self.meters.errors.increment(1);
                tracing::warn!(answer = %text, "the exchange refused a request");
                self.settle(id, Err(text.to_string()));
                None
            }
            Said::Shutdown => {
                tracing::info!("the exchange announces that it closes this connection");
                self.old_at = None;
                self.after = Some(FeedError::Rollover);
                None
            }
        }
    }

    /// Keeps the answer to the last request. Some refusals name no request.
    fn settle(&mut self, id: Option<i64>, answer: Result<(), String>) {
        if id.is_none_or(|id| id == self.requests) && self.requests > 0 {
            self.answer = Some(answer);
        }
    }

    fn unrouted(&self, value: Bytes, at: UnixNanos) -> Frame {
        self.meters.unrouted.increment(1);
        frame(Topic::DeadLetter, self.routes.first().clone(), value, at)
    }
}

fn frame(topic: Topic, symbol: Symbol, value: Bytes, received_at: UnixNanos) -> Frame {
    Frame { topic, symbol, value, received_at }
}

#[async_trait]
impl Connection for Streams {
    async fn next(&mut self, max: usize) -> Result<Vec<Frame>, FeedError> {
        let max = max.max(1);
        if !self.early.is_empty() {
            let count = self.early.len().min(max);
            return Ok(self.early.drain(..count).collect());
        }
        loop {
            // Nothing is kept between two polls, so nothing is lost when this is dropped.
            let was_settled = self.changes.is_settled();
            let frames = poll_fn(|cx| {
                if !was_settled {
                    if let Err(error) = self.poll_changes(cx) {
                        return Poll::Ready(Err(error));
                    }
                    if self.changes.is_settled() {
                        return Poll::Ready(Ok(Vec::new()));
                    }
                }
                self.poll_frames(cx, max)
            });
            let frames = frames.await?;
            if !frames.is_empty() || self.changes.is_settled() != was_settled {
                return Ok(frames);
            }
        }
    }

    fn change(&mut self, add: &[Symbol], remove: &[Symbol]) -> bool {
        let channels = &self.changes.channels;
        let requests = [(false, remove), (true, add)];
        let requests = requests.into_iter().flat_map(|(adds, of)| Request::of(adds, of, channels));
        let requests: Vec<_> = requests.collect();
        let (coming, going) = self.changes.pending();
        let ours = |adds| {
            let names = requests.iter().filter(move |it| it.adds == adds);
            names.map(|it| it.names.len()).sum::<usize>()
        };
        let after = (self.routes.len() + coming + ours(true)).saturating_sub(going + ours(false));
        if after > STREAMS_MAX {
            return false;
        }
        self.changes.waiting.extend(requests);
        true
    }

    fn is_settled(&self) -> bool {
        self.changes.is_settled()
    }
}

fn disconnected((class, text): &End) -> FeedError {
    metrics::counter!(BINANCE_DISCONNECTS_TOTAL, "reason" => *class).increment(1);
    FeedError::Disconnected(text.clone())
}

fn ended(error: &WsError) -> End {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            ("lost", "the exchange dropped the connection without a word".to_owned())
        }
        WsError::Io(error) => ("lost", format!("the connection broke: {error}")),
        other => ("protocol", format!("the exchange broke the WebSocket protocol: {other}")),
    }
}
