//! A byte stream that notices when its other end is gone.
//!
//! ractor_cluster never notices a peer that is stopped or cut off, and then queues without bound. So each
//! of its streams runs through here: a heartbeat when there is nothing to send, a deadline on what
//! is to be received and on what is to be sent, and a switch that ends both ways at once.

use std::sync::Arc;
use std::time::Duration;

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::watch;

/// How often an idle end says that it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(250);
/// A peer that is silent, or takes nothing, for so long is gone.
pub(super) const DEADLINE: Duration = Duration::from_millis(1_500);

const BUFFER: usize = 256 * 1_024;
const HEAD: usize = 4;

/// The stream to hand to ractor_cluster.
#[derive(Debug)]
pub(super) struct Guarded {
    read: DuplexStream,
    write: DuplexStream,
    label: String,
}

impl ClusterBidiStream for Guarded {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (Box::new(self.read), Box::new(self.write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
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
pub(super) fn guard<S>(stream: S, label: String) -> (Guarded, Switch)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (from_peer, to_peer) = tokio::io::split(stream);
    let (read, in_end) = tokio::io::duplex(BUFFER);
    let (out_end, write) = tokio::io::duplex(BUFFER);
    let switch = Switch(Arc::new(watch::Sender::new(false)));
    let until_ended = |switch: Switch, work: futures_util::future::BoxFuture<'static, ()>| async move {
        tokio::select! {
            () = work => {}
            () = switch.ended() => {}
        }
        switch.end();
    };
    tokio::spawn(until_ended(switch.clone(), Box::pin(send(out_end, to_peer))));
    tokio::spawn(until_ended(switch.clone(), Box::pin(receive(from_peer, in_end))));
    (Guarded { read, write, label }, switch)
}

/// Chunks of up to 256 KiB, each behind its length; an empty one is a heartbeat.
async fn send<S: AsyncRead + AsyncWrite>(mut from: DuplexStream, mut to: WriteHalf<S>) {
    let mut buffer = vec![0; HEAD + BUFFER];
    loop {
        let Some((_, body)) = buffer.split_at_mut_checked(HEAD) else { return };
        let length = match tokio::time::timeout(HEARTBEAT, from.read(body)).await {
            Err(_) => 0,
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(length)) => length,
        };
        let Ok(head) = u32::try_from(length) else { return };
        let Some((place, _)) = buffer.split_first_chunk_mut::<HEAD>() else { return };
        *place = head.to_be_bytes();
        let Some(chunk) = buffer.get(..HEAD + length) else { return };
        let sent = async {
            to.write_all(chunk).await?;
            to.flush().await
        };
        if !matches!(tokio::time::timeout(DEADLINE, sent).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn receive<S: AsyncRead + AsyncWrite>(mut from: ReadHalf<S>, mut to: DuplexStream) {
    let mut buffer = vec![0; BUFFER];
    let mut head = [0; HEAD];
    loop {
        if !arrives(&mut from, &mut head).await {
            return;
        }
        let Ok(mut rest) = usize::try_from(u32::from_be_bytes(head)) else { return };
        while rest > 0 {
            let Some(part) = buffer.get_mut(..rest.min(BUFFER)) else { return };
            let read = tokio::time::timeout(DEADLINE, from.read(part)).await;
            let Ok(Ok(length @ 1..)) = read else { return };
            let Some(part) = buffer.get(..length) else { return };
            // Where the reader is slow, the peer's writes wait: that is the flow control.
            if to.write_all(part).await.is_err() {
                return;
            }
            rest -= length;
        }
    }
}

async fn arrives<S: AsyncRead + AsyncWrite>(from: &mut ReadHalf<S>, head: &mut [u8]) -> bool {
    matches!(tokio::time::timeout(DEADLINE, from.read_exact(head)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_pass_in_order_and_silence_keeps_it_open() {
        tokio::time::pause();
        let (one, other) = tokio::io::duplex(1_000);
        let ((one, _), (other, end)) = (guard(one, "1".into()), guard(other, "2".into()));
        let (_one_read, mut write) = Box::new(one).split();
        let (mut read, _other_write) = Box::new(other).split();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write
        });
        let mut received = vec![0; expected.len()];
        read.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        let _write = writing.await.unwrap();
        let silence = tokio::time::timeout(Duration::from_secs(60), end.ended()).await;
        assert!(silence.is_err(), "heartbeats keep it open");
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_gone() {
        tokio::time::pause();
        let (one, _silent) = tokio::io::duplex(1_000_000);
        let (guarded, end) = guard(one, "1".into());
        let (mut read, _write) = Box::new(guarded).split();
        tokio::time::timeout(2 * DEADLINE, end.ended()).await.unwrap();
        assert_eq!(read.read(&mut [0; 1]).await.unwrap(), 0, "the session's stream ends, too");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_gone() {
        tokio::time::pause();
        let (one, mut full) = tokio::io::duplex(8);
        let (guarded, end) = guard(one, "1".into());
        let talking = tokio::spawn(async move {
            while full.write_all(&[0; HEAD]).await.is_ok() {
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        let (_read, mut write) = Box::new(guarded).split();
        let blocked = async { while write.write_all(&[7; 1_000]).await.is_ok() {} };
        tokio::time::timeout(4 * DEADLINE, blocked).await.unwrap();
        end.ended().await;
        talking.abort();
    }
}
