//! The gossip's datagrams: sealed, and none longer than what every network carries in one piece.
//!
//! ```text
//! sealed: message 4 | part 1 | parts 1 | up to 1,152 bytes of the message
//! ```
//! A message of the gossip may have 64 kB. It is cut into parts, so that no datagram depends on the
//! network's own fragments. If one is lost, so is the message: the gossip says it again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use fts_core::metrics::GOSSIP_REFUSED_TOTAL;
use fts_core::time::Clock;
use tokio::net::UdpSocket;

use crate::cluster::key::Secret;
use crate::cluster::seal::{OVERHEAD, Opener, Sealer};

/// Bytes of a message that travel in one datagram: with all heads less than the 1,232 that IPv6 promises.
const PART: usize = 1_152;
const HEAD: usize = 6;
const DATAGRAM: usize = PART + HEAD + OVERHEAD;
/// Messages of which some parts are still to come; the oldest is given up for a further one.
const PARTIAL_MAX: usize = 64;

/// The way of the gossip's messages over a socket that is bound already.
pub(super) struct Sealed {
    socket: Mutex<Option<UdpSocket>>,
    secret: Secret,
    clock: Arc<dyn Clock>,
}

impl Sealed {
    pub(super) fn new(socket: UdpSocket, secret: Secret, clock: Arc<dyn Clock>) -> Self {
        Self { socket: Mutex::new(Some(socket)), secret, clock }
    }
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or_else(|| anyhow::anyhow!("the gossip's socket is in use"))?;
        Ok(Box::new(SealedSocket {
            socket,
            sealer: Sealer::new(&self.secret),
            opener: Opener::new(self.secret.clone()),
            clock: Arc::clone(&self.clock),
            sent: 0,
            partial: Partial::default(),
            message: Vec::new(),
            datagram: Vec::new(),
            received: Box::new([0; DATAGRAM + 1]),
        }))
    }
}

struct SealedSocket {
    socket: UdpSocket,
    sealer: Sealer,
    opener: Opener,
    clock: Arc<dyn Clock>,
    sent: u32,
    partial: Partial,
    message: Vec<u8>,
    datagram: Vec<u8>,
    received: Box<[u8; DATAGRAM + 1]>,
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.message.clear();
        message.serialize(&mut self.message);
        self.sent = self.sent.wrapping_add(1);
        for part in cut(self.sent, &self.message)? {
            self.sealer.seal(&part, self.clock.now(), &mut self.datagram);
            self.socket.send_to(&self.datagram, to).await?;
        }
        Ok(())
    }

    /// Cancel-safe: the one wait is for a datagram.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.received[..]).await {
                Ok(received) => received,
                Err(error) => {
                    // What a socket without a connection reports is about one datagram.
                    tracing::debug!(%error, "the gossip's socket");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let Some(datagram) = self.received.get_mut(..length) else { continue };
            let part = match self.opener.open(datagram, self.clock.now()) {
                Ok(part) => part,
                Err(refusal) => {
                    metrics::counter!(GOSSIP_REFUSED_TOTAL, "reason" => refusal.name())
                        .increment(1);
                    continue;
                }
            };
            let Some(message) = self.partial.take(from, part) else { continue };
            match ChitchatMessage::deserialize(&mut message.as_slice()) {
                Ok(message) => return Ok((from, message)),
                Err(error) => {
                    tracing::debug!(%from, %error, "a member gossips what none understands")
                }
            }
        }
    }
}

/// The parts of a message.
fn cut(number: u32, message: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let parts = u8::try_from(message.len().div_ceil(PART))?;
    let part = |(index, bytes): (u8, &[u8])| {
        let mut part = Vec::with_capacity(HEAD + bytes.len());
        part.extend_from_slice(&number.to_be_bytes());
        part.extend_from_slice(&[index, parts]);
        part.extend_from_slice(bytes);
        part
    };
    Ok((0..parts).zip(message.chunks(PART)).map(part).collect())
}

/// Messages that came in part.
#[derive(Default)]
struct Partial {
    messages: VecDeque<Gathering>,
}

struct Gathering {
    from: SocketAddr,
    number: u32,
    parts: Vec<Option<Vec<u8>>>,
}

impl Partial {
    /// Takes a part; the message, if it was the last one missing.
    fn take(&mut self, from: SocketAddr, part: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = part.split_first_chunk::<4>()?;
        let ([index, parts], bytes) = rest.split_first_chunk::<2>()?;
        let (number, index, parts) =
            (u32::from_be_bytes(*number), usize::from(*index), usize::from(*parts));
        if index >= parts {
            return None;
        }
        if parts == 1 {
            return Some(bytes.to_vec());
        }
        let is_it = |it: &Gathering| it.from == from && it.number == number;
        let place = self.messages.iter().position(is_it).unwrap_or_else(|| {
            if self.messages.len() >= PARTIAL_MAX {
                self.messages.pop_front();
            }
            self.messages.push_back(Gathering { from, number, parts: vec![None; parts] });
            self.messages.len() - 1
        });
        let gathering = self.messages.get_mut(place)?;
        *gathering.parts.get_mut(index)? = Some(bytes.to_vec());
        if gathering.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.messages.remove(place)?;
        Some(whole.parts.into_iter().flatten().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }

    #[track_caller]
    fn check(length: usize, parts: usize) {
        let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut cut = cut(7, &message).unwrap();
        assert_eq!(cut.len(), parts);
        assert!(cut.iter().all(|it| it.len() <= PART + HEAD));
        cut.reverse();
        let last = cut.pop().unwrap();
        let mut partial = Partial::default();
        assert!(cut.iter().all(|it| partial.take(from(), it).is_none()));
        assert_eq!(partial.take(from(), &last), Some(message));
        assert!(partial.messages.is_empty());
    }

    #[test]
    fn a_message_is_put_together_from_its_parts_in_any_order() {
        check(1, 1);
        check(PART, 1);
        check(PART + 1, 2);
        check(65_507, 57);
    }

    #[test]
    fn messages_that_stay_in_part_are_given_up() {
        let mut partial = Partial::default();
        for number in 0..1_000 {
            let parts = cut(number, &[1; 2 * PART]).unwrap();
            assert_eq!(partial.take(from(), &parts[0]), None);
        }
        assert_eq!(partial.messages.len(), PARTIAL_MAX);
        let parts = cut(999, &[1; 2 * PART]).unwrap();
        assert_eq!(partial.take(from(), &parts[1]), Some(vec![1; 2 * PART]));
        let parts = cut(0, &[1; 2 * PART]).unwrap();
        assert_eq!(partial.take(from(), &parts[1]), None, "it was given up");
    }

    #[test]
    fn a_part_that_can_not_be_is_dropped() {
        let mut partial = Partial::default();
        for part in [&[][..], &[0, 0, 0, 1], &[0, 0, 0, 1, 2, 2, 9], &[0, 0, 0, 1, 0, 0]] {
            assert_eq!(partial.take(from(), part), None);
        }
        assert!(partial.messages.is_empty());
    }
}
