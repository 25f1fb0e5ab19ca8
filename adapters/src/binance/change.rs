//! Changes of an open connection's streams: requests that wait for their turn, and their answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fts_core::market::Symbol;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Channel;

/// Names in one request; more are known to fail silently.
const NAMES_MAX: usize = 200;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Whether it subscribes, or else unsubscribes.
    pub(super) adds: bool,
    /// Of whom.
    pub(super) symbols: Vec<Symbol>,
    /// Which streams.
    pub(super) names: Vec<String>,
}

impl Request {
    /// What the exchange calls it.
    pub(super) fn method(&self) -> &'static str {
        if self.adds { "SUBSCRIBE" } else { "UNSUBSCRIBE" }
    }

    /// The requests for all `channels` of `symbols`; all streams of a symbol go into one.
    pub(super) fn of(adds: bool, symbols: &[Symbol], channels: &[Channel]) -> Vec<Self> {
        let a_request = (NAMES_MAX / channels.len().max(1)).max(1);
        let request = |symbols: &[Symbol]| Self {
            adds,
            symbols: symbols.to_vec(),
            names: symbols
                .iter()
                .flat_map(|symbol| channels.iter().map(move |channel| channel.stream(symbol)))
                .collect(),
        };
        symbols.chunks(a_request).map(request).collect()
    }
}

/// The requests of a connection, one at a time.
#[derive(Debug)]
pub(super) struct Changes {
    /// What to ask of every symbol.
    pub(super) channels: Vec<Channel>,
    /// How long an answer may take.
    pub(super) patience: Duration,
    /// What is still to be asked.
    pub(super) waiting: VecDeque<Request>,
    /// What was asked, and until when it has to be answered.
    pub(super) asked: Option<(Request, Instant)>,
    /// Whether the request may not be on its way yet.
    pub(super) is_unsent: bool,
    timer: Pin<Box<Sleep>>,
}

impl Changes {
    pub(super) fn new(channels: Vec<Channel>, patience: Duration) -> Self {
        Self {
            channels,
            patience,
            waiting: VecDeque::new(),
            asked: None,
            is_unsent: false,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Whether nothing is left to be asked or answered.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_none()
    }

    /// Streams that are asked for and not yet routed, less those that will go.
    pub(super) fn pending(&self) -> (usize, usize) {
        let names = |adds| {
            let ours = self.waiting.iter().filter(move |it| it.adds == adds);
            ours.map(|it| it.names.len()).sum::<usize>()
        };
        let asked = self.asked.as_ref().filter(|(it, _)| !it.adds);
        (names(true), names(false) + asked.map_or(0, |(it, _)| it.names.len()))
    }

    /// Waits until `at`.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.timer.deadline() != at {
            self.timer.as_mut().reset(at);
        }
        self.timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_no_more_streams_than_the_exchange_takes() {
        let symbols: Vec<_> =
            (0..150).map(|number| Symbol::new(&format!("S{number}")).unwrap()).collect();
        let requests = Request::of(true, &symbols, &[Channel::TRADE, Channel::BOOK_TICKER]);
        let sizes: Vec<_> = requests.iter().map(|it| (it.symbols.len(), it.names.len())).collect();
        assert_eq!(sizes, [(100, 200), (50, 100)]);
        assert_eq!(requests[0].names[..2], ["s0@trade", "s0@bookTicker"]);
        assert_eq!(Request::of(false, &[], &[Channel::TRADE]), []);
    }
}
