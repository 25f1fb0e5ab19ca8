//! Aggregators and backfills: copies of a partition's state, on any node, any number of them.

use fts_core::aggregate::{Aggregate, Checkpoint, Scope};
use fts_core::market::{Event, Source, Symbol, Topic};
use std::rc::Rc;

use crate::rules::Broken;

use super::{LOST, Message, Parcel, RULE, TOPICS, World};

/// A copy of the state of a partition, for one store.
pub(super) struct Fold {
    pub(super) partition: u32,
    pub(super) store: usize,
    /// Whether its node still believes that it owns the partition.
    pub(super) owned: bool,
    aggregate: Aggregate,
    positions: [u64; TOPICS.len()],
    sent: Vec<u64>,
    /// A checkpoint, and the batches that have to be stored before it is saved.
    candidate: Option<(Checkpoint, Vec<u64>)>,
}

impl World<'_> {
    /// A new copy, from whatever checkpoint there is.
    pub(super) fn open(&mut self, partition: u32, store: usize) -> Fold {
        let saved = self.checkpoints.get(&(partition, self.checkpoint_of(store)));
        self.tally.restores += u64::from(saved.is_some());
        let position = |topic| {
            let positions = saved.map(|it| it.positions.as_slice()).unwrap_or_default();
            positions.iter().find(|it| it.0 == topic).map_or(0, |it| it.1)
        };
        Fold {
            partition,
            store,
            owned: true,
            positions: TOPICS.map(position),
            aggregate: match saved {
                Some(saved) => Aggregate::restore(partition, RULE, saved),
                None => Aggregate::new(partition, RULE),
            },
            sent: Vec::new(),
            candidate: None,
        }
    }

    fn some_fold(&mut self, node: usize) -> Option<usize> {
        let count = self.nodes[node].folds.len();
        (count > 0).then(|| self.dice.below(count))
    }

    pub(super) fn absorb_some(&mut self, node: usize) {
        let Some(fold) = self.some_fold(node) else { return };
        let count = 1 + self.dice.below(30);
        self.absorb(node, fold, count);
    }

    /// Reads up to `count` records of each topic, in an order of topics that is its own.
    pub(super) fn absorb(&mut self, node: usize, fold: usize, count: usize) {
        let first = self.dice.below(TOPICS.len());
        let fold = &mut self.nodes[node].folds[fold];
        for turn in 0..TOPICS.len() {
            let at = (first + turn) % TOPICS.len();
            let topic = TOPICS[at];
            let entries = self.log.get(&(topic, fold.partition)).map(Vec::as_slice);
            let oldest = self.released.get(&(topic, fold.partition)).copied().unwrap_or(0);
            self.tally.expired += u64::from(fold.positions[at] < oldest);
            fold.positions[at] = fold.positions[at].max(oldest);
            let from = usize::try_from(fold.positions[at]).unwrap();
            for entry in entries.unwrap_or_default().iter().skip(from).take(count) {
                fold.aggregate.absorb(topic, &entry.stored, entry.event.clone());
                fold.positions[at] += 1;
            }
        }
    }

    pub(super) fn send_some(&mut self, node: usize) {
        let scope = if self.dice.chance(50) { Scope::Fast } else { Scope::All };
        if let Some(fold) = self.some_fold(node) {
            self.send(node, fold, scope);
        }
    }

    /// All rows, of zombies and of copies that stopped believing.
    pub(super) fn send_all(&mut self, node: usize) {
        for fold in 0..self.nodes[node].folds.len() {
            self.send(node, fold, Scope::All);
            let counts = self.nodes[node].folds[fold].aggregate.symbols();
            self.tally.repeats += counts.iter().map(|it| it.counts.duplicates).sum::<u64>();
        }
    }

    pub(super) fn send(&mut self, node: usize, fold: usize, scope: Scope) {
        let fold = &mut self.nodes[node].folds[fold];
        if !fold.aggregate.has_changes(scope) {
            return;
        }
        let rows = Rc::new(fold.aggregate.take_rows(scope));
        let (batch, store) = (self.batches, fold.store);
        self.batches += 1;
        fold.sent.push(batch);
        self.unacked.insert(batch);
        self.parcels.push(Parcel { batch, sender: node, store, rows });
    }

    pub(super) fn checkpoint_some(&mut self, node: usize) {
        if let Some(fold) = self.some_fold(node) {
            self.checkpoint(node, fold);
        }
    }

    /// Saves the checkpoint that was waiting, if it may be; else takes one.
    pub(super) fn checkpoint(&mut self, node: usize, fold: usize) {
        let waits = self.broken != Some(Broken::CheckpointsDoNotWait);
        if self.nodes[node].folds[fold].candidate.is_none() {
            self.send(node, fold, Scope::All);
            let fold = &mut self.nodes[node].folds[fold];
            let mut positions: Vec<_> = TOPICS.into_iter().zip(fold.positions).collect();
            if self.broken == Some(Broken::CheckpointsAreAhead) {
                positions.iter_mut().for_each(|it| it.1 += 1);
            }
            let mut checkpoint = fold.aggregate.checkpoint(positions);
            for symbol in &mut checkpoint.symbols {
                match self.broken {
                    Some(Broken::CheckpointsForgetIds) => symbol.ranges.clear(),
                    Some(Broken::CheckpointsForgetWindows) => symbol.windows.clear(),
                    _ => {}
                }
            }
            fold.candidate = Some((checkpoint, fold.sent.clone()));
            if waits {
                return;
            }
        }
        let fold = &mut self.nodes[node].folds[fold];
        let Some((checkpoint, needs)) = fold.candidate.take() else { return };
        if waits && needs.iter().any(|batch| self.unacked.contains(batch)) {
            fold.candidate = Some((checkpoint, needs));
            return;
        }
        fold.sent.retain(|batch| self.unacked.contains(batch));
        self.tally.checkpoints += 1;
        // Whoever saves last, however old what it knows: a zombie may go back.
        let (partition, store) = (fold.partition, fold.store);
        self.checkpoints.insert((partition, self.checkpoint_of(store)), checkpoint);
        if self.releases {
            self.release(partition);
        }
    }

    /// Under which store's name a checkpoint is kept.
    fn checkpoint_of(&self, store: usize) -> usize {
        if self.broken == Some(Broken::StoresShareCheckpoints) { 0 } else { store }
    }

    /// The log forgets what lies before the checkpoints of all stores.
    fn release(&mut self, partition: u32) {
        for topic in TOPICS {
            let position = |store| {
                let saved: &Checkpoint = self.checkpoints.get(&(partition, store))?;
                saved.positions.iter().find(|it| it.0 == topic).map(|it| it.1)
            };
            let lowest = (0..self.stores.len()).map(position).min().flatten();
            let released = self.released.entry((topic, partition)).or_default();
            *released = lowest.unwrap_or(0).max(*released);
        }
    }

    /// A backfill asks for a hole that it sees, or for what is newest.
    pub(super) fn ask(&mut self, node: usize) {
        let Some(fold) = self.some_fold(node) else { return };
        let states = self.nodes[node].folds[fold].aggregate.symbols();
        let answer = if states.is_empty() || self.dice.chance(20) {
            let symbol = self.dice.below(self.market.symbols.len());
            self.greeting(&self.market.symbols[symbol])
        } else {
            let state = &states[self.dice.below(states.len())];
            let holes: Vec<_> = state.coverage.holes().collect();
            let Some(hole) = holes.get(self.dice.below(holes.len())) else { return };
            self.fill(&state.symbol.clone(), *hole)
        };
        if self.broken != Some(Broken::HolesStay) {
            self.nodes[node].answers.push_back(answer);
        }
    }

    /// What REST says of a hole: its trades, then which ids it does not have.
    fn fill(&self, symbol: &Symbol, (first, last): (i64, i64)) -> Vec<Message> {
        let message = |source, event| Message {
            topic: Topic::Trade,
            symbol: symbol.clone(),
            event: Ok(event),
            received_at: self.now,
            source,
            feed: 0,
        };
        let mut trades = self.market.rest(symbol, self.now, first, last);
        if self.broken == Some(Broken::LossNeedsNoProof) {
            trades.clear();
        }
        let mut gaps = Vec::new();
        let mut next = first;
        for id in trades.iter().map(|it| it.id).chain([last + 1]) {
            if next < id {
                gaps.push(message(Source::Control, Event::Gap(next, id - 1, LOST.to_owned())));
            }
            next = id + 1;
        }
        let trades = trades.into_iter().map(|it| message(Source::Backfill, Event::Trade(it)));
        trades.chain(gaps).collect()
    }

    /// All that the owners on a node find missing.
    pub(super) fn all_answers(&self, node: usize) -> Vec<Message> {
        let mut answers = Vec::new();
        for fold in self.nodes[node].folds.iter().filter(|it| it.owned) {
            for symbol in &self.market.symbols {
                if symbol.partition(self.shards.partitions) != fold.partition {
                    continue;
                }
                let state = fold.aggregate.symbols().iter().find(|it| it.symbol == *symbol);
                let newest = self.market.newest(symbol, i64::MAX).map(|it| it.id);
                let behind = state
                    .is_none_or(|it| it.coverage.last() < newest || it.coverage.floor().is_none());
                if behind {
                    answers.extend(self.greeting(symbol));
                }
                for hole in state.into_iter().flat_map(|it| it.coverage.holes()) {
                    answers.extend(self.fill(symbol, hole));
                }
            }
        }
        answers
    }
}
