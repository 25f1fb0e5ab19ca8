//! What is done to a scene, in an order that follows from the seed.

use std::time::Duration;

use super::network::{Cuts, End};
use super::scene::{FOUNDERS, KAFKA, Scene};
use super::{Dice, patience, setting};
use crate::support::http;
use crate::support::until;

/// What happens beside the kills.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// A node stands still, and then goes on as if it had not.
    Stop,
    /// All nodes are restarted, one after the other.
    Roll,
    /// A broker dies.
    KillBroker,
    /// There is no Kafka at all for twice as long as a stopped node stands still.
    StopBrokers,
}

/// What there is to do to nodes, and to them and Kafka.
const HARMS: [Harm; 2] = [Harm::Stop, Harm::Roll];
const HARMS_KAFKA: [Harm; 4] = [Harm::StopBrokers, Harm::Stop, Harm::KillBroker, Harm::Roll];

/// How long something lasts that is done to a node.
fn pause() -> Duration {
    Duration::from_secs(setting("STOP_S", 5))
}

impl Scene {
    /// Rounds of a kill and something else each, the exchange being unreliable all the time; in the middle
    /// a node joins and another one leaves for good.
    pub(super) fn suffer(&mut self) {
        let harms = if self.brokers.is_some() { &HARMS_KAFKA[..] } else { &HARMS[..] };
        // Each kind once; what the recorded market adds is the exchange's own word.
        let usual = if self.fixtures.is_some() { 2 } else { harms.len() as u64 };
        let (seed, rounds) = (setting("SEED", 1), setting("ROUNDS", usual));
        println!("chaos: FTS_CHAOS_SEED={seed} FTS_CHAOS_ROUNDS={rounds}");
        let mut dice = Dice(seed);
        // Every kind as often as every other, and not always in one order.
        let mut deck = Vec::new();
        self.await_settled();
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(1_000 + dice.below(4_000)));
            self.kill(round % 2 == 1, &mut dice);
            if deck.is_empty() {
                deck = harms.to_vec();
            }
            let at = usize::try_from(dice.below(deck.len() as u64)).unwrap();
            let harm = deck.swap_remove(at);
            self.harm(harm, &mut dice);
            if round == rounds / 2 {
                self.change_members(&mut dice);
            }
        }
    }

    /// Kills one node, or two at once, and starts them again.
    pub(super) fn kill(&mut self, two: bool, dice: &mut Dice) {
        let running = self.running();
        let at = usize::try_from(dice.below(running.len() as u64)).unwrap();
        let victims: Vec<usize> =
            running.iter().cycle().skip(at).take(1 + usize::from(two)).copied().collect();
        println!("chaos: kill {victims:?}");
        victims.iter().for_each(|it| self.nodes[*it].kill());
        std::thread::sleep(Duration::from_millis(dice.below(3_000)));
        victims.iter().for_each(|it| self.start(*it));
    }

    fn harm(&mut self, harm: Harm, dice: &mut Dice) {
        match harm {
            Harm::Stop => {
                let victim = self.any(dice);
                println!("chaos: stop {victim}");
                self.nodes[victim].signal("STOP");
                std::thread::sleep(pause());
                self.nodes[victim].signal("CONT");
            }
            Harm::Roll => self.roll(),
            Harm::KillBroker => {
                let brokers = self.brokers.as_mut().expect("brokers to harm");
                let victim = usize::try_from(dice.below(brokers.count() as u64)).unwrap();
                println!("chaos: kill broker {victim}");
                brokers.kill(victim);
                std::thread::sleep(pause());
                brokers.run();
            }
            Harm::StopBrokers => self.stop_brokers(dice.below(2) == 0),
        }
    }

    /// Restarts all nodes, each once the others are whole again.
    pub(super) fn roll(&mut self) {
        println!("chaos: restart all, one after the other");
        self.await_settled();
        for number in self.running() {
            self.nodes[number].terminate();
            self.start(number);
            self.await_settled();
        }
    }

    /// No Kafka for a while: killed, or standing still. The nodes say so and keep what comes on their disks.
    fn stop_brokers(&mut self, are_killed: bool) {
        println!("chaos: {} all brokers", if are_killed { "kill" } else { "stop" });
        self.await_settled();
        let brokers = self.brokers.as_mut().expect("brokers to harm");
        if are_killed {
            brokers.kill_all();
        } else {
            brokers.signal("STOP");
        }
        // The recorded market is of few symbols, and ends: nodes may have nothing that waits.
        if self.fixtures.is_none() {
            self.await_waiting(&self.running(), true);
        }
        std::thread::sleep(2 * pause());
        let brokers = self.brokers.as_mut().expect("brokers to heal");
        if are_killed {
            brokers.run();
        } else {
            brokers.signal("CONT");
        }
        self.await_waiting(&self.running(), false);
    }

    /// Waits until all of these nodes say that records wait on their disks, or that none do.
    fn await_waiting(&self, nodes: &[usize], expected: bool) {
        for number in nodes {
            let what = format!("node {number} to say whether records wait: {expected}");
            until(&what, patience(), || {
                (self.nodes[*number].says_that_records_wait()? == expected).then_some(())
            });
        }
    }

    /// A node joins, and another one leaves for good; each time the others share the work anew.
    fn change_members(&mut self, dice: &mut Dice) {
        self.await_settled();
        println!("chaos: node {FOUNDERS} joins");
        self.start(FOUNDERS);
        self.await_settled();
        std::thread::sleep(Duration::from_millis(dice.below(3_000)));
        // Without Kafka the first has the log.
        let stays = usize::from(self.brokers.is_none());
        let leaving = *dice.pick(&self.running()[stays..FOUNDERS]);
        println!("chaos: node {leaving} leaves for good");
        self.nodes[leaving].terminate();
        self.await_settled();
    }

    /// Cuts the network here and there, for a while each.
    pub(super) fn tear(&mut self) {
        let (seed, rounds) = (setting("SEED", 1), setting("ROUNDS", 2));
        println!("chaos: FTS_CHAOS_SEED={seed} FTS_CHAOS_ROUNDS={rounds}");
        let mut dice = Dice(seed);
        self.await_settled();
        for _ in 0..rounds.div_ceil(10) {
            for (what, cuts, witness) in self.cuts(&mut dice) {
                self.cut(what, &cuts, witness);
                if setting("ROUNDS", 2) > 2 {
                    self.kill(dice.below(2) == 1, &mut dice);
                    self.await_settled();
                }
            }
        }
    }

    /// What is cut, between whom, and what must be noticed meanwhile.
    fn cuts(&self, dice: &mut Dice) -> Vec<(&'static str, Cuts, Noticed)> {
        use End::{Host, Outside};

        let victim = |dice: &mut Dice, from: usize| {
            let one = from + usize::try_from(dice.below((FOUNDERS - from) as u64)).unwrap();
            let others: Vec<usize> = (0..FOUNDERS).filter(|it| *it != one).collect();
            (one, others)
        };
        let all = |one: usize, others: &[usize]| -> Cuts {
            others.iter().map(|other| (Host(one), Host(*other))).collect()
        };
        if self.brokers.is_some() {
            let (one, others) = victim(dice, 0);
            let from_nodes =
                ("a node from the nodes", all(one, &others), Noticed::Death(vec![one, others[0]]));
            let (one, _) = victim(dice, 0);
            let from_kafka = ("a node from Kafka", vec![(Host(one), KAFKA)], Noticed::Waiting(one));
            let (one, others) = victim(dice, 0);
            let mut ends = all(one, &others);
            ends.extend([(Host(one), KAFKA), (Host(one), Outside)]);
            let from_all = ("a node from everything", ends, Noticed::Death(others));
            return vec![from_nodes, from_kafka, from_all];
        }
        let (one, others) = victim(dice, 1);
        let from_nodes =
            ("a node from the nodes", all(one, &others), Noticed::Death(vec![one, others[0]]));
        let (one, _) = victim(dice, 1);
        let from_log =
            ("a node from the log's owner", vec![(Host(one), Host(0))], Noticed::Nothing);
        let (one, others) = victim(dice, 1);
        let mut ends = all(one, &others);
        ends.push((Host(one), Outside));
        let from_all = ("a node from everything", ends, Noticed::Death(others));
        let owner =
            ("the log's owner from the nodes", all(0, &[1, 2]), Noticed::Death(vec![0, 1, 2]));
        vec![from_nodes, from_log, from_all, owner]
    }

    fn cut(&mut self, what: &str, cuts: &Cuts, noticed: Noticed) {
        println!("chaos: cut {what}: {cuts:?}");
        let network = self.network.as_mut().expect("a network to cut");
        for (from, to) in cuts {
            network.cut(*from, *to);
        }
        let mut waiting = None;
        match noticed {
            Noticed::Nothing => {}
            Noticed::Death(witnesses) => {
                for witness in witnesses {
                    until(&format!("node {witness} to notice"), patience(), || {
                        let cluster = http::get_json(&self.nodes[witness].http, "/api/cluster")?;
                        let nodes = cluster["nodes"].as_array()?;
                        nodes.iter().any(|it| it["state"] == "dead").then_some(())
                    });
                }
            }
            Noticed::Waiting(node) => {
                self.await_waiting(&[node], true);
                waiting = Some(node);
            }
        }
        std::thread::sleep(pause());
        self.network.as_mut().expect("a network to heal").heal();
        self.await_settled();
        self.await_waiting(waiting.as_slice(), false);
    }
}

/// What must be seen of a cut before the time of it counts.
enum Noticed {
    /// These nodes say that another one is dead.
    Death(Vec<usize>),
    /// The node says that records wait on its disk.
    Waiting(usize),
    Nothing,
}
