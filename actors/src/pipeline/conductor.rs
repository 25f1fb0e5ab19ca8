//! Starts and stops actors so that they do what the share says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fts_core::market::Symbol;
use fts_core::placement::{Share, Singleton};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::parts::{Folding, Parts, Socket};
use super::sockets::assign;
use super::stage::Stage;

/// Does it.
pub(super) struct Conductor {
    parts: Parts,
    shares: watch::Receiver<Arc<Share>>,
    settled: watch::Sender<Arc<Share>>,
    /// By feed.
    sockets: [BTreeMap<u32, Socket>; 2],
    partitions: BTreeMap<u32, Folding>,
    singletons: BTreeMap<Singleton, Stage>,
    /// What is ending, until it has: it is not started again before.
    leaving: BTreeSet<Piece>,
    ending: JoinSet<Piece>,
    /// Hears when the exchange has confirmed something.
    confirmed: Arc<Notify>,
    /// All symbols that the cluster captures, as of the last share.
    symbols: Arc<BTreeSet<Symbol>>,
}

/// What can be started and stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// By feed and number.
    Socket(u8, u32),
    Partition(u32),
    Singleton(Singleton),
}

impl Conductor {
    pub(super) fn new(
        parts: Parts,
        shares: watch::Receiver<Arc<Share>>,
        settled: watch::Sender<Arc<Share>>,
    ) -> Self {
        Self {
            parts,
            shares,
            settled,
            sockets: Default::default(),
            partitions: BTreeMap::new(),
            singletons: BTreeMap::new(),
            leaving: BTreeSet::new(),
            ending: JoinSet::new(),
            confirmed: Arc::default(),
            symbols: Arc::default(),
        }
    }

    /// Runs until told to stop; then ends everything.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut is_followed = true;
        loop {
            let share = Arc::clone(&self.shares.borrow_and_update());
            self.follow(&share);
            if self.is_in_force() && !Arc::ptr_eq(&share, &self.settled.borrow()) {
                self.settled.send_replace(share);
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                changed = self.shares.changed(), if is_followed => is_followed = changed.is_ok(),
                () = self.confirmed.notified() => {}
                Some(ended) = self.ending.join_next() => match ended {
                    Ok(piece) => self.gone(piece),
                    Err(error) => tracing::error!(%error, "an end was not awaited"),
                },
            }
        }
        self.end().await;
    }

    /// Starts what `share` has and does not run, stops what runs and it does not have.
    fn follow(&mut self, share: &Share) {
        if self.symbols != share.symbols {
            self.symbols = Arc::clone(&share.symbols);
            self.parts.want(&self.symbols);
        }
        let wanted: BTreeSet<u32> = share.partitions.iter().copied().collect();
        let surplus = |it: &u32| !wanted.contains(it);
        for number in self.partitions.keys().copied().filter(surplus).collect::<Vec<_>>() {
            if let Some(folding) = self.partitions.remove(&number) {
                self.end_in_order(Piece::Partition(number), folding.into());
            }
        }
        for number in wanted {
            let piece = Piece::Partition(number);
            if !self.partitions.contains_key(&number)
                && !self.leaving.contains(&piece)
                && let Some(folding) = self.parts.folding(number)
            {
                self.partitions.insert(number, folding);
            }
        }
        self.show(share);
        for (feed, symbols) in (0..).zip(&share.feeds) {
            self.follow_feed(feed, symbols);
        }
        let wanted: BTreeSet<Singleton> = share.singletons.iter().copied().collect();
        let surplus = |it: &Singleton| !wanted.contains(it);
        for which in self.singletons.keys().copied().filter(surplus).collect::<Vec<_>>() {
            if let Some(stage) = self.singletons.remove(&which) {
                self.end_in_order(Piece::Singleton(which), vec![stage]);
            }
        }
        for which in wanted {
            if !self.singletons.contains_key(&which)
                && !self.leaving.contains(&Piece::Singleton(which))
                && let Some(stage) = self.parts.singleton(which)
            {
                self.singletons.insert(which, stage);
            }
        }
    }

    fn follow_feed(&mut self, feed: u8, wanted: &[Symbol]) {
        let Some(sockets) = self.sockets.get_mut(usize::from(feed)) else { return };
        let open = sockets.iter().map(|(number, it)| (*number, it.subscription.wanted().to_vec()));
        let taken = self.leaving.iter().filter_map(|piece| match piece {
            Piece::Socket(of, number) if *of == feed => Some(*number),
            _ => None,
        });
        let per_socket = self.parts.settings.symbols_per_socket;
        let mut assigned = assign(&open.collect(), wanted, per_socket, &taken.collect());
        let mut closing = Vec::new();
        for (number, socket) in std::mem::take(sockets) {
            match assigned.remove(&number) {
                Some(symbols) => {
                    socket.subscription.change(&symbols);
                    sockets.insert(number, socket);
                }
                None => closing.push((number, socket)),
            }
        }
        for (number, symbols) in assigned {
            let socket = self.parts.socket(feed, number, symbols, &self.confirmed);
            sockets.insert(number, socket);
        }
        for (number, socket) in closing {
            self.end_in_order(Piece::Socket(feed, number), vec![socket.stage]);
        }
    }

    /// Shows the symbols that are captured, and folded here, before anything is known of them.
    fn show(&self, share: &Share) {
        let folded: BTreeSet<u32> = share.partitions.iter().copied().collect();
        let is_folded = |it: &&Symbol| folded.contains(&self.parts.partition(it));
        self.parts.view.update(|picture| {
            for symbol in share.symbols.iter().filter(is_folded) {
                picture.symbols.entry(symbol.clone()).or_default();
            }
        });
    }

    /// Whether everything is as the share says.
    fn is_in_force(&self) -> bool {
        let mut sockets = self.sockets.iter().flat_map(BTreeMap::values);
        self.leaving.is_empty() && sockets.all(|it| it.subscription.is_confirmed())
    }

    /// Ends the stages of `piece`, one after the other, beside everything else.
    fn end_in_order(&mut self, piece: Piece, stages: Vec<Stage>) {
        self.leaving.insert(piece);
        self.ending.spawn(async move {
            for stage in stages {
                stage.ended().await;
            }
            piece
        });
    }

    fn gone(&mut self, piece: Piece) {
        self.leaving.remove(&piece);
        match piece {
            Piece::Socket(feed, number) => self.parts.socket_gone(feed, number),
            Piece::Partition(number) => self.parts.folding_gone(number),
            Piece::Singleton(_) => {}
        }
    }

    /// Ends everything, from the sources downstream.
    async fn end(mut self) {
        let sockets = std::mem::take(&mut self.sockets).into_iter().flatten();
        let mut sources: Vec<Stage> = sockets.map(|(_, socket)| socket.stage).collect();
        sources.extend(std::mem::take(&mut self.singletons).into_values());
        let (mut fold, mut write) = (Vec::new(), Vec::new());
        for [first, second, third] in std::mem::take(&mut self.partitions).into_values() {
            sources.push(first);
            fold.push(second);
            write.push(third);
        }
        for stages in [sources, fold, write] {
            for stage in &stages {
                stage.stop();
            }
            let mut ending: JoinSet<()> = JoinSet::new();
            for stage in stages {
                ending.spawn(async move { stage.ended().await });
            }
            ending.join_all().await;
        }
        // What was leaving already has had its time, too.
        while self.ending.join_next().await.is_some() {}
    }
}
