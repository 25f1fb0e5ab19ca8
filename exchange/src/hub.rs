//! Who listens to what, and the bounded outbox of each connection.
//!
//! A frame is encoded straight into the outboxes of its subscribers; the connection's writer takes
//! all that has gathered there with one system call. The market never waits for a connection: one
//! that does not keep up is cut off. Only a tape played at `max` speed waits instead.

use crate::faults::lane::Lane;
use crate::ws::frame;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The index of a stream that the market has.
pub(crate) type StreamId = usize;

/// Above this a tape at `max` speed waits for the connection.
const ROOM_BYTES: usize = 1 << 20;

/// All streams of the market and their subscribers.
#[derive(Debug)]
pub(crate) struct Hub {
    names: Vec<String>,
    index: HashMap<String, StreamId>,
    lists: RwLock<Vec<Vec<Arc<Outbox>>>>,
    subscribed: watch::Sender<bool>,
}

impl Hub {
    /// A hub for streams of these names; all others are silent for ever.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self {
            index: names.iter().enumerate().map(|(id, name)| (name.clone(), id)).collect(),
            lists: RwLock::new(names.iter().map(|_| Vec::new()).collect()),
            names,
            subscribed: watch::Sender::new(false),
        }
    }

    /// The stream of this name, if the market has it.
    pub(crate) fn stream(&self, name: &str) -> Option<StreamId> {
        self.index.get(name).copied()
    }

    /// Adds a listener; does nothing if it is one already or the market has no such stream.
    pub(crate) fn subscribe(&self, name: &str, outbox: &Arc<Outbox>) {
        let Some(id) = self.stream(name) else { return };
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get_mut(id)
            && !list.iter().any(|known| Arc::ptr_eq(known, outbox))
        {
            list.push(Arc::clone(outbox));
        }
        drop(lists);
        self.subscribed.send_replace(true);
    }

    /// Removes a listener.
    pub(crate) fn unsubscribe(&self, name: &str, outbox: &Arc<Outbox>) {
        let Some(id) = self.stream(name) else { return };
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get_mut(id) {
            list.retain(|known| !Arc::ptr_eq(known, outbox));
        }
    }

    /// Waits until someone has subscribed to any stream that the market has.
    pub(crate) async fn first_subscription(&self) {
        let mut subscribed = self.subscribed.subscribe();
        // An error would mean that the sender is gone, and it is a field of `self`.
        let _ = subscribed.wait_for(|yes| *yes).await;
    }

    /// Cuts off every connection that listens to anything.
    pub(crate) fn cut_all(&self) {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.iter().flatten().for_each(|outbox| outbox.cut());
    }

    /// Starts a burst of frames.
    pub(crate) fn burst(&self) -> Burst<'_> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        Burst { names: &self.names, lists, woken: Vec::new() }
    }

    /// Waits until no outbox is too full to take more.
    pub(crate) async fn room(&self) {
        loop {
            let full = {
                let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
                lists.iter().flatten().find(|outbox| outbox.is_full()).map(Arc::clone)
            };
            match full {
                Some(outbox) => outbox.room.notified().await,
                None => return,
            }
        }
    }
}

/// Frames that go out together: connections wake up once, at its end.
#[derive(Debug)]
pub(crate) struct Burst<'a> {
    names: &'a [String],
    lists: RwLockReadGuard<'a, Vec<Vec<Arc<Outbox>>>>,
    woken: Vec<Arc<Outbox>>,
}

impl Burst<'_> {
    /// Whether anyone listens: if not, there is nothing to render.
    pub(crate) fn is_wanted(&self, stream: StreamId) -> bool {
        self.lists.get(stream).is_some_and(|list| !list.is_empty())
    }

    /// Sends a payload; connections in combined mode get it in its wrapper.
    pub(crate) fn send(&mut self, stream: StreamId, payload: &[u8]) {
        let name = self.names.get(stream).map_or("", String::as_str).as_bytes();
        for outbox in self.lists.get(stream).map(Vec::as_slice).unwrap_or_default() {
            let parts: &[&[u8]] = if outbox.is_combined() {
                &[b"{\"stream\":\"", name, b"\",\"data\":", payload, b"}"]
            } else {
                &[payload]
            };
            if outbox.push_market(parts) {
                self.woken.push(Arc::clone(outbox));
            }
        }
    }

    /// Sends a recorded frame as its bytes stand: all of it, or the payload that lies within it.
    pub(crate) fn send_recorded(&mut self, stream: StreamId, text: &[u8], payload: &[u8]) {
        for outbox in self.lists.get(stream).map(Vec::as_slice).unwrap_or_default() {
            let part = if outbox.is_combined() { text } else { payload };
            if outbox.push_market(&[part]) {
                self.woken.push(Arc::clone(outbox));
            }
        }
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        for outbox in &self.woken {
            outbox.wake.notify_one();
        }
    }
}

/// The bytes that wait to be written to one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    combined: AtomicBool,
    limit: usize,
    wake: Notify,
    room: Notify,
    cut: Notify,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    /// What goes wrong with market frames.
    lane: Lane,
    /// How many market frames there were, whatever became of them.
    frames: u64,
    /// Frames are lost: the connection is open, and nothing comes.
    silent: bool,
    /// No more frames; what is there is still written.
    closed: bool,
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Bytes to write.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// All is written, and nothing will follow.
    End,
}

impl Outbox {
    /// An outbox that holds at most `limit` bytes; market frames pass through `lane`.
    pub(crate) fn new(combined: bool, limit: usize, lane: Lane) -> Arc<Self> {
        let (bytes, frames) = (Vec::new(), 0);
        Arc::new(Self {
            state: Mutex::new(State { bytes, lane, frames, silent: false, closed: false }),
            combined: AtomicBool::new(combined),
            limit,
            wake: Notify::new(),
            room: Notify::new(),
            cut: Notify::new(),
        })
    }

    /// Whether frames come in the combined wrapper.
    pub(crate) fn is_combined(&self) -> bool {
        self.combined.load(Ordering::Relaxed)
    }

    /// Switches the combined wrapper on or off.
    pub(crate) fn set_combined(&self, combined: bool) {
        self.combined.store(combined, Ordering::Relaxed);
    }

    /// Queues a frame of the connection's own (an answer, a ping) and wakes the writer.
    pub(crate) fn push(&self, opcode: u8, payload: &[u8]) {
        let mut state = self.state();
        if !state.closed && !state.silent {
            frame::encode(&mut state.bytes, opcode, &[payload]);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Queues a close frame: what was queued before it is still written.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        self.push(frame::CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Drops what is queued and ends the connection.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.closed = true;
        state.bytes = Vec::new();
        state.lane.clear();
        drop(state);
        self.wake.notify_one();
        self.room.notify_one();
        self.cut.notify_one();
    }

    /// From here on frames are lost, or no longer. What was queued before is still written.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// When the lane has something to let go.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.state().lane.next_due()
    }

    /// Queues a market frame; `true` if the writer has to be woken. Too much of it: cut off.
    fn push_market(&self, parts: &[&[u8]]) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.closed {
            return false;
        }
        let number = state.frames;
        state.frames += 1;
        if state.silent {
            return false;
        }
        let was_empty = state.bytes.is_empty();
        if state.lane.is_idle() {
            frame::encode(&mut state.bytes, frame::TEXT, parts);
        } else {
            state.lane.push(number, parts, Instant::now(), &mut state.bytes);
        }
        if state.bytes.len() + state.lane.waiting() > self.limit {
            drop(guard);
            tracing::warn!(limit = self.limit, "a client does not keep up: disconnected");
            self.cut();
        }
        was_empty
    }

    fn is_full(&self) -> bool {
        let state = self.state();
        !state.closed && state.bytes.len() > ROOM_BYTES.min(self.limit / 2)
    }

    /// Exchanges the queued bytes for the (written) ones in `buffer`.
    pub(crate) fn take(&self, buffer: &mut Vec<u8>) -> Take {
        let mut guard = self.state();
        let state = &mut *guard;
        buffer.clear();
        if state.lane.waiting() > 0 {
            state.lane.release(Instant::now(), &mut state.bytes);
        }
        if state.bytes.is_empty() {
            return if state.closed { Take::End } else { Take::Nothing };
        }
        std::mem::swap(buffer, &mut state.bytes);
        drop(guard);
        self.room.notify_one();
        Take::Bytes
    }

    /// Waits until there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until the connection is cut off.
    pub(crate) async fn cut_off(&self) {
        self.cut.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
