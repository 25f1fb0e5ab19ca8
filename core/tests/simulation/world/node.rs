//! A node: what it believes, what it listens to, and how it dies.

use std::collections::{BTreeMap, VecDeque};

use fts_core::market::{Event, Source, Symbol};
use fts_core::placement::{Member, Placement, Shards};

use crate::dice::Dice;
use crate::market::Happening;
use crate::rules::Broken;

use super::fold::Fold;
use super::{Message, World};

pub(super) struct Node {
    name: String,
    weight: u32,
    up: bool,
    /// Steps for which it does nothing, though its sockets fill.
    pub(super) paused: usize,
    /// How wrong its clock is, in milliseconds.
    skew: i64,
    /// What each ingestor has received and not yet appended.
    ingestors: BTreeMap<(Symbol, u8), VecDeque<Message>>,
    /// What REST answered and is not yet appended.
    pub(super) answers: VecDeque<Vec<Message>>,
    pub(super) folds: Vec<Fold>,
    /// How many trades each ingestor has heard.
    heard: BTreeMap<(Symbol, u8), i64>,
}

impl Node {
    pub(super) fn new(index: i64, dice: &mut Dice) -> Self {
        Self {
            name: format!("n{index}"),
            weight: dice.choose(&[(4, 100), (1, 50), (1, 300)]),
            up: true,
            paused: 0,
            skew: dice.within(-2_000, 2_000),
            ingestors: BTreeMap::new(),
            answers: VecDeque::new(),
            folds: Vec::new(),
            heard: BTreeMap::new(),
        }
    }

    /// As it would be seen by somebody who sees well.
    pub(super) fn member(&self) -> Member {
        Member { name: self.name.as_str().into(), weight: self.weight, live: self.up }
    }

    /// Whether it gets to do something at this step.
    pub(super) fn acts(&mut self) -> bool {
        if self.paused > 0 {
            self.paused -= 1;
            return false;
        }
        self.up
    }

    pub(super) fn hear(
        &mut self,
        happening: &Happening,
        loss: u64,
        broken: Option<Broken>,
        dice: &mut Dice,
    ) {
        for ((symbol, feed), queue) in &mut self.ingestors {
            if *symbol != happening.symbol || dice.chance(loss) {
                continue;
            }
            let mut event = Ok(happening.event.clone());
            if let Ok(Event::Trade(trade)) = &mut event
                && broken == Some(Broken::TradesAreNumberedByUs)
            {
                let heard = self.heard.entry((symbol.clone(), *feed)).or_insert(999);
                *heard += 1;
                trade.id = *heard;
            }
            if dice.chance(1) {
                event = Err("no json".to_owned());
            }
            let message = Message {
                topic: happening.topic,
                symbol: symbol.clone(),
                event,
                received_at: happening.at + self.skew + dice.within(1, 300),
                source: Source::Stream,
                feed: *feed,
            };
            if dice.chance(3) {
                queue.push_back(message.clone());
            }
            queue.push_back(message);
            // Now and then the exchange's own order is not that of its ids.
            if dice.chance(5) && queue.len() > 1 {
                let last = queue.len() - 1;
                queue.swap(last, last - 1);
            }
        }
    }
}

impl World<'_> {
    /// An ingestor appends; or does not; or does, is not told, and will again.
    pub(super) fn append_some(&mut self, node: usize) {
        let count = 1 + self.dice.below(12);
        let (kept, told) = (self.dice.chance(90), self.dice.chance(90));
        let which = self.dice.below(self.nodes[node].ingestors.len());
        let Some(queue) = self.nodes[node].ingestors.values_mut().nth(which) else { return };
        let batch: Vec<_> = queue.iter().take(count).cloned().collect();
        if kept && told {
            queue.drain(..batch.len());
        }
        if kept {
            self.append(batch);
        }
    }

    pub(super) fn append_all(&mut self, node: usize) {
        let queues: Vec<_> =
            self.nodes[node].ingestors.values_mut().flat_map(std::mem::take).collect();
        self.append(queues);
        let answers: Vec<_> = self.nodes[node].answers.drain(..).flatten().collect();
        self.append(answers);
    }

    /// An answer of REST is appended, or the first part of it before the connection broke.
    pub(super) fn answer(&mut self, node: usize) {
        let Some(mut answer) = self.nodes[node].answers.pop_front() else { return };
        if self.dice.chance(20) {
            answer.truncate(self.dice.below(answer.len()));
        }
        if self.dice.chance(10) {
            self.nodes[node].answers.push_back(answer.clone());
        }
        self.append(answer);
    }

    /// The node looks at the cluster, and sees what it sees.
    pub(super) fn look(&mut self, node: usize) {
        let mut members: Vec<_> = self.nodes.iter().map(Node::member).collect();
        for member in &mut members {
            if self.dice.chance(25) {
                member.live = self.dice.chance(50);
            }
        }
        members.retain(|_| !self.dice.chance(8));
        let mut shards = self.shards.clone();
        shards.symbols.retain(|_| !self.dice.chance(4));
        self.agree(node, &members, &shards);
    }

    /// The node does what it believes to be its share.
    pub(super) fn agree(&mut self, node: usize, members: &[Member], shards: &Shards) {
        let share = Placement::compute(members, shards).share(&self.nodes[node].name);
        let mut ingestors = std::mem::take(&mut self.nodes[node].ingestors);
        let wanted: Vec<_> = (0..)
            .zip(&share.feeds)
            .flat_map(|(feed, symbols)| symbols.iter().map(move |it| (it.clone(), feed)))
            .collect();
        let ended: Vec<_> = ingestors.keys().filter(|it| !wanted.contains(it)).cloned().collect();
        for key in ended {
            let rest = ingestors.remove(&key).unwrap_or_default();
            if self.dice.chance(70) {
                self.append(rest);
            }
        }
        for key in wanted {
            if !ingestors.contains_key(&key) {
                let word = self.connected(&key.0);
                self.append(vec![word]);
            }
            ingestors.entry(key).or_default();
        }
        self.nodes[node].ingestors = ingestors;

        for fold in (0..self.nodes[node].folds.len()).rev() {
            let it = &self.nodes[node].folds[fold];
            if !it.owned || share.partitions.contains(&it.partition) {
                continue;
            }
            match self.dice.below(3) {
                // Hands over as it should, though the checkpoint may have to wait in vain.
                0 => {
                    self.checkpoint(node, fold);
                    self.checkpoint(node, fold);
                    self.nodes[node].folds.remove(fold);
                }
                1 => drop(self.nodes[node].folds.remove(fold)),
                // Goes on as if nothing had happened.
                _ => self.nodes[node].folds[fold].owned = false,
            }
        }
        for partition in share.partitions {
            for store in 0..self.stores.len() {
                let is_it = |it: &Fold| it.owned && (it.partition, it.store) == (partition, store);
                if !self.nodes[node].folds.iter().any(is_it) {
                    let fold = self.open(partition, store);
                    self.nodes[node].folds.push(fold);
                }
            }
        }
    }

    pub(super) fn stop_a_zombie(&mut self, node: usize) {
        let folds = &mut self.nodes[node].folds;
        if let Some(index) = folds.iter().position(|it| !it.owned) {
            folds.remove(index);
        }
    }

    /// The node is gone, with all it had. Of what it had sent, some arrives after its death.
    pub(super) fn crash(&mut self, node: usize) {
        self.tally.crashes += 1;
        let dead = &mut self.nodes[node];
        dead.up = false;
        dead.ingestors.clear();
        dead.answers.clear();
        dead.folds.clear();
        let dice = &mut self.dice;
        self.parcels.retain(|it| it.sender != node || dice.chance(50));
    }

    pub(super) fn start(&mut self, node: usize) {
        if !self.nodes[node].up {
            self.nodes[node].up = true;
            self.look(node);
        }
    }
}
