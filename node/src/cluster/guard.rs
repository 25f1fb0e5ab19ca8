//! One byte stream between two nodes: two lanes, and the end of both when the peer is gone.
//!
//! ractor_cluster never notices a peer that is stopped or cut off, and then queues without bound. So all
//! that nodes say to one another runs through here: a heartbeat when there is nothing to send, a deadline
//! on what is to be received and on what is to be sent, and a switch that ends everything at once. The
//! lanes share a connection, and live and die together: messages of actors never wait behind more than a
//! chunk of bulk data.
//!
//! ```text
//! lane 1 | length 4, big-endian | so many bytes; none: a heartbeat
//! ```

use std::sync::Arc;
use std::time::Duration;

use fts_core::metrics::LINK_BYTES_TOTAL;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::watch;

/// How often an idle end says that it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(250);
/// A peer that is silent, or takes nothing, for so long is gone.
pub(super) const DEADLINE: Duration = Duration::from_millis(1_500);

/// Short enough that a slow line moves one within the deadline.
const CHUNK: usize = 64 * 1_024;
const BUFFER: usize = 256 * 1_024;
const HEAD: usize = 5;

const CONTROL: u8 = 0;
const CALLS: u8 = 1;

/// One lane: what came in to read, and what is to go out to write.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) read: DuplexStream,
    pub(super) write: DuplexStream,
    label: String,
}

impl ClusterBidiStream for Lane {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (Box::new(self.read), Box::new(self.write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// Both lanes. Where one is dropped, both end. What comes in must be read without delay.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Messages of actors.
    pub(super) control: Lane,
    /// Calls and their data.
    pub(super) calls: Lane,
}

/// Ends a guarded stream, and tells when it has ended.
#[derive(Debug, Clone)]
pub(super) struct Switch(Arc<watch::Sender<bool>>);

impl Switch {
    pub(super) fn end(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn ended(&self) {
        // The sender is in `self`: it can't be gone.
        drop(self.0.subscribe().wait_for(|ended| *ended).await);
    }
}

/// Guards `stream`, which must be guarded at its other end, too.
pub(super) fn guard<S>(stream: S, label: &str) -> (Lanes, Switch)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (from_peer, to_peer) = tokio::io::split(stream);
    let (control, control_in, control_out) = lane(label);
    let (calls, calls_in, calls_out) = lane(label);
    let switch = Switch(Arc::new(watch::Sender::new(false)));
    let until_ended = |switch: Switch, work: futures_util::future::BoxFuture<'static, ()>| async move {
        tokio::select! {
            () = work => {}
            () = switch.ended() => {}
        }
        switch.end();
    };
    let sending = Box::pin(send(control_out, calls_out, to_peer));
    let receiving = Box::pin(receive(from_peer, control_in, calls_in));
    tokio::spawn(until_ended(switch.clone(), sending));
    tokio::spawn(until_ended(switch.clone(), receiving));
    (Lanes { control, calls }, switch)
}

/// A lane, and the other ends of what it reads and writes.
fn lane(label: &str) -> (Lane, DuplexStream, DuplexStream) {
    let (read, incoming) = tokio::io::duplex(BUFFER);
    let (outgoing, write) = tokio::io::duplex(BUFFER);
    (Lane { read, write, label: label.to_owned() }, incoming, outgoing)
}

async fn send<S: AsyncRead + AsyncWrite>(
    mut control: DuplexStream,
    mut calls: DuplexStream,
    mut to: WriteHalf<S>,
) {
    let sent_bytes = metrics::counter!(LINK_BYTES_TOTAL, "direction" => "sent");
    let (mut control_chunk, mut calls_chunk) = (vec![0; HEAD + CHUNK], vec![0; HEAD + CHUNK]);
    loop {
        let (Some((_, control_body)), Some((_, calls_body))) =
            (control_chunk.split_at_mut_checked(HEAD), calls_chunk.split_at_mut_checked(HEAD))
        else {
            return;
        };
        let (lane, read) = tokio::select! {
            biased;
            read = control.read(control_body) => (CONTROL, read),
            read = calls.read(calls_body) => (CALLS, read),
            () = tokio::time::sleep(HEARTBEAT) => {
                if !sends(&mut to, &[0; HEAD]).await {
                    return;
                }
                continue;
            }
        };
        let Ok(length @ 1..) = read else { return };
        let chunk = if lane == CONTROL { &mut control_chunk } else { &mut calls_chunk };
        let Ok(body_length) = u32::try_from(length) else { return };
        let Some(chunk) = chunk.get_mut(..HEAD + length) else { return };
        let Some((head, _)) = chunk.split_first_chunk_mut::<HEAD>() else { return };
        let [first, second, third, fourth] = body_length.to_be_bytes();
        *head = [lane, first, second, third, fourth];
        if !sends(&mut to, chunk).await {
            return;
        }
        sent_bytes.increment(u64::from(body_length));
    }
}

async fn sends<S: AsyncRead + AsyncWrite>(to: &mut WriteHalf<S>, chunk: &[u8]) -> bool {
    let sent = async {
        to.write_all(chunk).await?;
        to.flush().await
    };
    matches!(tokio::time::timeout(DEADLINE, sent).await, Ok(Ok(())))
}

async fn receive<S: AsyncRead + AsyncWrite>(
    mut from: ReadHalf<S>,
    mut control: DuplexStream,
    mut calls: DuplexStream,
) {
    let received_bytes = metrics::counter!(LINK_BYTES_TOTAL, "direction" => "received");
    let mut buffer = vec![0; CHUNK];
    let mut head = [0; HEAD];
    loop {
        if !arrives(&mut from, &mut head).await {
            return;
        }
        let [lane, first, second, third, fourth] = head;
        let length = u32::from_be_bytes([first, second, third, fourth]);
        let to = match lane {
            CONTROL => &mut control,
            CALLS => &mut calls,
            _ => return,
        };
        let Ok(mut rest) = usize::try_from(length) else { return };
        while rest > 0 {
            let Some(part) = buffer.get_mut(..rest.min(CHUNK)) else { return };
            let read = tokio::time::timeout(DEADLINE, from.read(part)).await;
            let Ok(Ok(length @ 1..)) = read else { return };
            let Some(part) = buffer.get(..length) else { return };
            if to.write_all(part).await.is_err() {
                return;
            }
            rest -= length;
        }
        received_bytes.increment(length.into());
    }
}

async fn arrives<S: AsyncRead + AsyncWrite>(from: &mut ReadHalf<S>, head: &mut [u8]) -> bool {
    matches!(tokio::time::timeout(DEADLINE, from.read_exact(head)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_of_both_lanes_pass_in_order_and_silence_keeps_it_open() {
        tokio::time::pause();
        let (one, other) = tokio::io::duplex(1_000);
        let ((one, _), (other, end)) = (guard(one, "1"), guard(other, "2"));
        let sent =
            |seed: u32| -> Vec<u8> { (seed..seed + 500_000).map(|n| n.to_le_bytes()[0]).collect() };
        let pass = |from: Lane, to: Lane, bytes: Vec<u8>| {
            let expected = bytes.clone();
            let writing = tokio::spawn(async move {
                let mut from = from;
                from.write.write_all(&bytes).await.unwrap();
                from
            });
            async move {
                let mut to = to;
                let mut received = vec![0; expected.len()];
                to.read.read_exact(&mut received).await.unwrap();
                assert!(received == expected);
                (writing.await.unwrap(), to)
            }
        };
        let _open = tokio::join!(
            pass(one.control, other.control, sent(1)),
            pass(one.calls, other.calls, sent(2))
        );
        let silence = tokio::time::timeout(Duration::from_secs(60), end.ended()).await;
        assert!(silence.is_err(), "heartbeats keep it open");
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_gone() {
        tokio::time::pause();
        let (one, _silent) = tokio::io::duplex(1_000_000);
        let (mut lanes, end) = guard(one, "1");
        tokio::time::timeout(2 * DEADLINE, end.ended()).await.unwrap();
        for lane in [&mut lanes.control, &mut lanes.calls] {
            assert_eq!(lane.read.read(&mut [0; 1]).await.unwrap(), 0, "both lanes end, too");
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_gone() {
        tokio::time::pause();
        let (one, mut full) = tokio::io::duplex(8);
        let (mut lanes, end) = guard(one, "1");
        let talking = tokio::spawn(async move {
            while full.write_all(&[0; HEAD]).await.is_ok() {
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        let blocked = async { while lanes.calls.write.write_all(&[7; 1_000]).await.is_ok() {} };
        tokio::time::timeout(4 * DEADLINE, blocked).await.unwrap();
        end.ended().await;
        talking.abort();
    }

    #[tokio::test]
    async fn a_lane_that_is_dropped_ends_the_other() {
        let (one, other) = tokio::io::duplex(1_000);
        let ((one, _), (mut other, end)) = (guard(one, "1"), guard(other, "2"));
        drop(one.control);
        tokio::time::timeout(10 * DEADLINE, end.ended()).await.unwrap();
        assert_eq!(other.calls.read.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
