//! A cluster as its schedule has it: a seed decides what happens next, to whom, and what is lost.

mod fold;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fts_core::aggregate::Checkpoint;
use fts_core::alert::AlertRule;
use fts_core::decimal::Decimal;
use fts_core::market::{Event, Source, Symbol, Topic};
use fts_core::placement::{Member, Shards};
use fts_core::port::log::{Record, Stored};
use fts_core::row::Rows;
use fts_core::time::UnixNanos;

use crate::dice::Dice;
use crate::market::{FIRST_ID, Market};
use crate::rules::Broken;
use crate::store::{Key, Row, Store};
use crate::truth::truth;

use self::node::Node;

pub(crate) const RULE: AlertRule =
    AlertRule { threshold_percent: Decimal::from_units(3), window_ms: 2_000 };
/// Why a gap is a gap.
pub(crate) const LOST: &str = "the exchange skipped it";
const TOPICS: [Topic; 3] = [Topic::Trade, Topic::BookTicker, Topic::Ticker];

/// The log: records by topic and partition, and what they say.
pub(crate) type Log = BTreeMap<(Topic, u32), Vec<Entry>>;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stored: Stored,
    pub(crate) event: Result<Event, String>,
}

/// Something to be appended.
#[derive(Debug, Clone)]
struct Message {
    topic: Topic,
    symbol: Symbol,
    event: Result<Event, String>,
    received_at: i64,
    source: Source,
    feed: u8,
}

/// Rows on their way to a store.
#[derive(Debug, Clone)]
struct Parcel {
    batch: u64,
    sender: usize,
    store: usize,
    rows: Rc<Rows>,
}

/// What happened, to be sure that the schedules are worth something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) schedules: u64,
    pub(crate) records: u64,
    pub(crate) repeats: u64,
    pub(crate) backfilled: u64,
    pub(crate) gaps: u64,
    pub(crate) crashes: u64,
    pub(crate) restores: u64,
    /// Steps at which two copies of a partition were at work for one store.
    pub(crate) two_at_once: u64,
    pub(crate) late_rows: u64,
    pub(crate) checkpoints: u64,
    /// How often a copy found that records were gone.
    pub(crate) expired: u64,
    pub(crate) alerts: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Market,
    Append,
    Absorb,
    Send,
    Arrive,
    Checkpoint,
    Ask,
    Answer,
    Look,
    Stop,
    Crash,
    Start,
    Pause,
}

pub(crate) struct World<'a> {
    dice: Dice,
    broken: Option<Broken>,
    tally: &'a mut Tally,
    market: Market,
    /// How much of it has happened.
    happened: usize,
    /// The exchange's time.
    now: i64,
    shards: Shards,
    log: Log,
    nodes: Vec<Node>,
    stores: [Store; 2],
    /// By partition and store.
    checkpoints: BTreeMap<(u32, usize), Checkpoint>,
    parcels: Vec<Parcel>,
    batches: u64,
    /// The batches that are not acknowledged.
    unacked: BTreeSet<u64>,
    /// Whether the log forgets what a saved checkpoint no longer needs. A zombie that then saves an
    /// older one makes its successor begin in what is gone.
    releases: bool,
    /// What the log has forgotten: offsets below.
    released: BTreeMap<(Topic, u32), u64>,
    /// How often a feed loses what happens, percent.
    loss: u64,
}

impl<'a> World<'a> {
    /// Plays the schedule of that seed; says what is wrong at its end.
    pub(crate) fn run(
        seed: u64,
        broken: Option<Broken>,
        tally: &'a mut Tally,
    ) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        let market = Market::seeded(&mut dice);
        let shards = Shards {
            symbols: market.symbols.clone(),
            feeds: u8::try_from(dice.within(1, 2)).unwrap(),
            partitions: u32::try_from(dice.within(1, 3)).unwrap(),
            singletons: Vec::new(),
        };
        let nodes = (0..dice.within(1, 5)).map(|index| Node::new(index, &mut dice)).collect();
        let (releases, loss) = (dice.chance(33), dice.next() % 40);
        let now = market.happenings[0].at;
        let mut world = Self {
            dice,
            broken,
            tally,
            market,
            happened: 0,
            now,
            shards,
            log: Log::new(),
            nodes,
            stores: Default::default(),
            checkpoints: BTreeMap::new(),
            parcels: Vec::new(),
            batches: 0,
            unacked: BTreeSet::new(),
            releases,
            released: BTreeMap::new(),
            loss,
        };
        world.tally.schedules += 1;
        world.play();
        world.finish()?;
        world.judge()
    }

    fn play(&mut self) {
        for node in 0..self.nodes.len() {
            self.look(node);
        }
        let mut left = self.market.happenings.len() * 6;
        while left > 0 {
            left -= 1;
            let step = self.dice.choose(&[
                (30, Step::Market),
                (25, Step::Append),
                (25, Step::Absorb),
                (8, Step::Send),
                (14, Step::Arrive),
                (5, Step::Checkpoint),
                (5, Step::Ask),
                (6, Step::Answer),
                (3, Step::Look),
                (1, Step::Stop),
                (1, Step::Crash),
                (2, Step::Start),
                (1, Step::Pause),
            ]);
            let node = self.dice.below(self.nodes.len());
            self.step(step, node);
            self.count_copies();
        }
    }

    fn step(&mut self, step: Step, node: usize) {
        match step {
            Step::Market => return self.happen(),
            Step::Arrive => return self.arrive(),
            Step::Start => return self.start(node),
            _ => {}
        }
        if !self.nodes[node].acts() {
            return;
        }
        match step {
            Step::Append => self.append_some(node),
            Step::Absorb => self.absorb_some(node),
            Step::Send => self.send_some(node),
            Step::Checkpoint => self.checkpoint_some(node),
            Step::Ask => self.ask(node),
            Step::Answer => self.answer(node),
            Step::Look => self.look(node),
            Step::Stop => self.stop_a_zombie(node),
            Step::Crash => self.crash(node),
            Step::Pause => self.nodes[node].paused = self.dice.below(200),
            Step::Market | Step::Arrive | Step::Start => {}
        }
    }

    /// Something happens at the exchange, and whoever listens hears of it. Or not.
    fn happen(&mut self) {
        for _ in 0..=self.dice.below(3) {
            let Some(happening) = self.market.happenings.get(self.happened) else { return };
            self.happened += 1;
            self.now = happening.at;
            for node in &mut self.nodes {
                node.hear(happening, self.loss, self.broken, &mut self.dice);
            }
        }
    }

    fn append(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let mut partition = message.symbol.partition(self.shards.partitions);
            if self.broken == Some(Broken::FeedsHaveTheirOwnPartitions) {
                partition = (partition + u32::from(message.feed)) % self.shards.partitions;
            }
            let list = self.log.entry((message.topic, partition)).or_default();
            let record = Record {
                key: message.symbol,
                value: bytes::Bytes::new(),
                received_at: UnixNanos::from_millis(message.received_at),
                source: message.source,
                feed: message.feed,
            };
            let stored = Stored { offset: list.len() as u64, record };
            list.push(Entry { stored, event: message.event });
        }
    }

    /// Some rows get where they go: in any order, some of them again later.
    fn arrive(&mut self) {
        if self.parcels.is_empty() {
            return;
        }
        let index = self.dice.below(self.parcels.len());
        let stays = self.dice.chance(10);
        let parcel =
            if stays { self.parcels[index].clone() } else { self.parcels.swap_remove(index) };
        self.stores[parcel.store].put(&parcel.rows, self.broken);
        self.unacked.remove(&parcel.batch);
    }

    /// Everybody is heard at last: the market is over, all nodes are up and see each other.
    fn finish(&mut self) -> Result<(), String> {
        while self.happened < self.market.happenings.len() {
            self.happen();
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].paused = 0;
            self.start(node);
            self.append_all(node);
        }
        let everybody: Vec<Member> = self.nodes.iter().map(Node::member).collect();
        for node in 0..self.nodes.len() {
            self.agree(node, &everybody, &self.shards.clone());
        }
        let mut rounds = 0;
        while !self.catch_up() {
            rounds += 1;
            if rounds > 100 {
                return Err("holes are left".to_owned());
            }
        }
        // Zombies too say their last word.
        for node in 0..self.nodes.len() {
            self.send_all(node);
        }
        while !self.parcels.is_empty() {
            self.arrive();
        }
        Ok(())
    }

    /// Owners absorb what there is and fill what is missing; whether that was all.
    fn catch_up(&mut self) -> bool {
        let mut missing = Vec::new();
        for node in 0..self.nodes.len() {
            for fold in 0..self.nodes[node].folds.len() {
                self.absorb(node, fold, usize::MAX);
            }
            missing.extend(self.all_answers(node));
        }
        if self.broken == Some(Broken::HolesStay) {
            missing.clear();
        }
        let done = missing.is_empty();
        self.append(missing);
        done
    }

    fn judge(&mut self) -> Result<(), String> {
        let truth = truth(&self.market, &self.log);
        for (index, store) in self.stores.iter().enumerate() {
            self.tally.late_rows += store.late;
            let keys = store.rows.keys().chain(truth.keys()).filter(|key| self.is_promised(key));
            let wrong = keys.filter(|key| {
                let (stored, truth) = (store.rows.get(*key), truth.get(*key));
                stored != truth && !(self.releases && Self::is_as_good(stored, truth))
            });
            if let Some(key) = wrong.min() {
                let (stored, truth) = (store.rows.get(key), truth.get(key));
                return Err(format!(
                    "store {index}, {key:?}:\n  stored {stored:?}\n  truth  {truth:?}"
                ));
            }
            // A broken rule has to show in what is stored.
            let strict = self.broken.is_none() && !self.releases;
            if let Some(contradiction) = store.contradiction.as_ref().filter(|_| strict) {
                return Err(format!("store {index} was told\n        {contradiction}"));
            }
        }
        let count = |table| truth.keys().filter(|key| key.0 == table).count() as u64;
        self.tally.gaps += count("gaps");
        self.tally.alerts += count("alerts");
        self.tally.records += self.log.values().map(|list| list.len() as u64).sum::<u64>();
        let entries = self.log.values().flatten();
        let backfilled = entries.filter(|it| it.stored.record.source == Source::Backfill);
        self.tally.backfilled += backfilled.count() as u64;
        Ok(())
    }

    /// What the exchange can't be asked for again is promised only while the log has it.
    fn is_promised(&self, key: &Key) -> bool {
        !self.releases || matches!(key.0, "trades" | "candles" | "alerts" | "gaps")
    }

    /// Whether a row is what the log's forgetting excuses: what is asked for again is received again,
    /// and a gap beside records that are gone may be on record as wider in time than it is.
    fn is_as_good(stored: Option<&Row>, truth: Option<&Row>) -> bool {
        match (stored, truth) {
            (Some(Row::Trade(stored)), Some(Row::Trade(truth))) => stored.trade == truth.trade,
            (Some(Row::Gap(stored)), Some(Row::Gap(truth))) => stored.missing == truth.missing,
            _ => false,
        }
    }

    fn count_copies(&mut self) {
        let folds = |partition| {
            let all = self.nodes.iter().flat_map(|node| &node.folds);
            all.filter(|fold| fold.partition == partition && fold.store == 0).count()
        };
        let twice = (0..self.shards.partitions).any(|partition| folds(partition) > 1);
        self.tally.two_at_once += u64::from(twice);
    }

    /// What an ingestor says first of all.
    fn connected(&self, symbol: &Symbol) -> Message {
        Message {
            topic: Topic::Trade,
            symbol: symbol.clone(),
            event: Ok(Event::Connected),
            received_at: self.now,
            source: Source::Control,
            feed: 0,
        }
    }

    /// What a backfill asks first of all: where the record begins, and what is newest.
    fn greeting(&self, symbol: &Symbol) -> Vec<Message> {
        let floor = Message {
            topic: Topic::Trade,
            symbol: symbol.clone(),
            event: Ok(Event::Floor(FIRST_ID)),
            received_at: self.now,
            source: Source::Control,
            feed: 0,
        };
        let newest = self.market.newest(symbol, self.now).map(|trade| Message {
            event: Ok(Event::Trade(trade)),
            source: Source::Backfill,
            ..floor.clone()
        });
        [floor].into_iter().chain(newest).collect()
    }
}
