//! The life of one WebSocket connection: a reader that answers and checks for signs of life, a
//! writer that empties the outbox.

use super::control::{self, Request};
use super::frame::{self, Decoder, Message};
use crate::faults::Board;
use crate::faults::lane::Lane;
use crate::faults::schedule::{Schedule, Trouble};
use crate::hub::{Hub, Outbox, Take};
use crate::limits::connections::{Attempts, ConnectionLimits, Pace};
use fts_core::time::Clock;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

/// What every connection shares.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: SocketLimits,
    /// How many streams and messages a connection may have; `None`: as many as it likes.
    pub(crate) connections: Option<ConnectionLimits>,
    /// The attempts to connect, by address.
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) board: Arc<Board>,
    /// Turns true when the exchange goes down.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What the exchange asks of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLimits {
    /// A ping is sent this often.
    pub ping_interval: Duration,
    /// Without the pong for this long the connection is closed with 1008.
    pub pong_timeout: Duration,
    /// A connection that has more bytes than this waiting to be written is cut off.
    pub outbox_bytes: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(60),
            outbox_bytes: 16 << 20,
        }
    }
}

/// After a close frame the peer has this long to answer.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4096;
const TOO_MANY_STREAMS: &str = "Too many streams";
const TOO_MANY_REQUESTS: &str = "Too many requests";
/// A written buffer that has grown beyond this is given back to the system.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Serves a connection until it ends. `streams`: what the URL subscribed to.
pub(crate) async fn serve<S>(service: Service, socket: S, combined: bool, streams: Vec<String>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let number = service.board.connection();
    let lane = Lane::new(&service.board, number);
    let outbox = Outbox::new(combined, service.limits.outbox_bytes, lane);
    let (reader, writer) = tokio::io::split(socket);
    let mut writing = tokio::spawn(write(writer, Arc::clone(&outbox)));
    let mut connection = Connection {
        hub: Arc::clone(&service.hub),
        outbox: Arc::clone(&outbox),
        subscribed: Vec::new(),
        streams_max: service.connections.map_or(usize::MAX, |it| it.streams),
        pings: VecDeque::new(),
        silent: false,
    };
    let mut schedule = Schedule::new(&service.board, number);
    let ended = match connection.subscribe(streams) {
        Err(ended) => ended,
        Ok(()) => tokio::select! {
            ended = connection.read(reader, &service, &mut schedule) => ended,
            _ = &mut writing => Ended::Gone,
        },
    };
    if matches!(ended, Ended::Closing(1008, TOO_MANY_STREAMS | TOO_MANY_REQUESTS)) {
        service.board.limited();
    }
    connection.unsubscribe_all();
    if let Ended::Closing(code, reason) = ended {
        outbox.close(code, reason);
        let _ = tokio::time::timeout(CLOSE_GRACE, &mut writing).await;
    }
    outbox.cut();
}

/// Why reading ended.
#[derive(Debug)]
enum Ended {
    /// Say goodbye with this code and reason.
    Closing(u16, &'static str),
    /// Nobody is there any more.
    Gone,
}

#[derive(Debug)]
struct Connection {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
    subscribed: Vec<String>,
    streams_max: usize,
    /// The connection is open and deaf, and its outbox loses every frame.
    silent: bool,
    /// Pings without their pong, oldest first.
    pings: VecDeque<(Vec<u8>, Instant)>,
}

impl Connection {
    async fn read<S>(
        &mut self,
        mut reader: ReadHalf<S>,
        service: &Service,
        schedule: &mut Schedule,
    ) -> Ended
    where
        S: AsyncRead + Send,
    {
        let limits = service.limits;
        let mut stopping = service.stopping.clone();
        let mut next_ping = Instant::now() + limits.ping_interval;
        let mut pace = service.connections.map(|limits| Pace::new(limits.messages_per_second));
        let mut decoder = Decoder::default();
        let mut pending = Vec::new();
        let mut chunk = vec![0_u8; READ_BYTES];
        loop {
            let overdue = self.pings.front().map(|(_, sent)| *sent + limits.pong_timeout);
            tokio::select! {
                read = reader.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => return Ended::Gone,
                    Ok(count) => pending.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                },
                () = tokio::time::sleep_until(overdue.unwrap_or(next_ping).min(next_ping)) => {
                    let now = Instant::now();
                    if self.silent {
                        self.pings.clear();
                        next_ping = now + limits.ping_interval;
                        continue;
                    }
                    if overdue.is_some_and(|overdue| overdue <= now) {
                        return Ended::Closing(1008, "Pong timeout");
                    }
                    if next_ping <= now {
                        let payload = service.clock.now().millis().to_string().into_bytes();
                        self.outbox.push(frame::PING, &payload);
                        self.pings.push_back((payload, now));
                        next_ping = now + limits.ping_interval;
                    }
                }
                trouble = schedule.next() => if let Some(ended) = self.meet(trouble, service) {
                    return ended;
                },
                _ = stopping.wait_for(|stopping| *stopping) => {
                    return Ended::Closing(1001, "");
                }
            }
            loop {
                match decoder.next(&mut pending) {
                    Ok(None) => break,
                    Ok(Some(_)) if self.silent => {}
                    Ok(Some(message)) => {
                        let counts = !matches!(message, Message::Close(_));
                        if counts && pace.as_mut().is_some_and(|it| !it.allow(Instant::now())) {
                            return Ended::Closing(1008, TOO_MANY_REQUESTS);
                        }
                        if let Some(ended) = self.hear(message) {
                            return ended;
                        }
                    }
                    Err(broken) => return Ended::Closing(broken.code, broken.reason),
                }
            }
        }
    }

    fn hear(&mut self, message: Message) -> Option<Ended> {
        match message {
            Message::Text(text) => {
                let reply = match control::parse(&text) {
                    Ok((request, id)) => match self.carry_out(request) {
                        Ok(result) => control::answer(&result, &id),
                        Err(ended) => return Some(ended),
                    },
                    Err(refusal) => refusal,
                };
                self.outbox.push(frame::TEXT, reply.as_bytes());
            }
            Message::Ping(payload) => self.outbox.push(frame::PONG, &payload),
            // One that answers no ping is allowed, and no sign of life.
            Message::Pong(payload) => {
                if let Some(answered) = self.pings.iter().position(|(sent, _)| *sent == payload) {
                    self.pings.drain(..=answered);
                }
            }
            Message::Close(code) => return Some(Ended::Closing(code.unwrap_or(1000), "")),
            Message::Binary => {}
        }
        None
    }

    /// What goes wrong on purpose.
    fn meet(&mut self, trouble: Trouble, service: &Service) -> Option<Ended> {
        match trouble {
            Trouble::Cut => return Some(Ended::Gone),
            Trouble::Silence | Trouble::Speech => {
                self.silent = trouble == Trouble::Silence;
                self.pings.clear();
                self.outbox.set_silent(self.silent);
            }
            Trouble::Announcement => {
                let now = service.clock.now().millis();
                let event = format!("{{\"e\":\"serverShutdown\",\"E\":{now}}}");
                let event = match self.outbox.is_combined() {
                    true => format!("{{\"stream\":\"!serverShutdown\",\"data\":{event}}}"),
                    false => event,
                };
                self.outbox.push(frame::TEXT, event.as_bytes());
            }
            Trouble::Goodbye => return Some(Ended::Closing(1001, "")),
        }
        None
    }

    /// Carries a request out; returns the result as JSON text.
    fn carry_out(&mut self, request: Request) -> Result<String, Ended> {
        match request {
            Request::Subscribe(names) => self.subscribe(names)?,
            Request::Unsubscribe(names) => {
                for name in &names {
                    self.hub.unsubscribe(name, &self.outbox);
                }
                self.subscribed.retain(|known| !names.contains(known));
            }
            Request::ListSubscriptions => {
                return Ok(serde_json::Value::from(self.subscribed.clone()).to_string());
            }
            Request::SetCombined(combined) => self.outbox.set_combined(combined),
            Request::GetCombined => return Ok(self.outbox.is_combined().to_string()),
        }
        Ok("null".to_owned())
    }

    fn subscribe(&mut self, names: Vec<String>) -> Result<(), Ended> {
        for name in names {
            if !self.subscribed.contains(&name) {
                if self.subscribed.len() >= self.streams_max {
                    return Err(Ended::Closing(1008, TOO_MANY_STREAMS));
                }
                self.hub.subscribe(&name, &self.outbox);
                self.subscribed.push(name);
            }
        }
        Ok(())
    }

    fn unsubscribe_all(&mut self) {
        for name in self.subscribed.drain(..) {
            self.hub.unsubscribe(&name, &self.outbox);
        }
    }
}

/// Writes whatever gathers in the outbox, until it is closed and empty, cut off, or the peer is gone.
async fn write<S>(mut socket: WriteHalf<S>, outbox: Arc<Outbox>)
where
    S: AsyncWrite + Send,
{
    let mut buffer = Vec::new();
    loop {
        match outbox.take(&mut buffer) {
            Take::Nothing => match outbox.next_due() {
                None => outbox.woken().await,
                Some(due) => tokio::select! {
                    () = outbox.woken() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            },
            Take::End => break,
            Take::Bytes => {
                tokio::select! {
                    written = socket.write_all(&buffer) => if written.is_err() { break },
                    () = outbox.cut_off() => break,
                }
                if buffer.capacity() > BUFFER_BYTES_KEPT {
                    buffer = Vec::new();
                }
            }
        }
    }
    let _ = tokio::time::timeout(CLOSE_GRACE, socket.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;
    use fts_core::time::ManualClock;

    #[test]
    fn a_pong_answers_its_ping_and_those_before_it_and_no_other() {
        let sent = |payload: &str| (payload.as_bytes().to_vec(), Instant::now());
        let board = Board::new(Faults::default(), Arc::new(ManualClock::default()));
        let mut connection = Connection {
            hub: Arc::new(Hub::new(Vec::new())),
            outbox: Outbox::new(false, 100, Lane::new(&board, 0)),
            subscribed: Vec::new(),
            streams_max: 1,
            silent: false,
            pings: ["1", "2", "3"].map(sent).into(),
        };
        for (pong, left) in [("", 3), ("9", 3), ("2", 1), ("2", 1), ("3", 0)] {
            assert!(connection.hear(Message::Pong(pong.as_bytes().to_vec())).is_none());
            assert_eq!(connection.pings.len(), left, "after {pong:?}");
        }
    }
}
