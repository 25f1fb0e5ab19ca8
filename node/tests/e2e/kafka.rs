//! Kafka as the log: recorded minutes of the exchange go through a broker that is killed and that
//! stands still on the way, and the exchange's own klines come out.

use crate::support::broker::{Brokers, Place};
use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::process::Process;
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, http, until};

#[test]
fn the_tape_comes_through_a_broker_that_dies_and_one_that_stands_still() {
    let Some(fixtures) = fixtures() else { return };
    let Some(mut broker) = Brokers::start(1, Place::loopback()) else { return };
    let truth = Truth::read(&fixtures);
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let command = NodeCommand::new(folder.path(), &exchange)
        .with("log.kind=kafka".to_owned())
        .with(format!("log.kafka.brokers=[\"{}\"]", broker.addresses()[0]))
        .with("log.kafka.replication=1".to_owned())
        .with("log.kafka.min_insync=1".to_owned())
        .with("log.kafka.timeout_ms=4000".to_owned());
    let mut node = command.start();
    let store = Store::new(command.database());
    let trades = i64::try_from(truth.trades.len()).unwrap();
    let reach = |share: i64, node: &mut Process| {
        until("a part of the tape in SQLite", PATIENCE, || {
            node.check_alive();
            (store.count("trades") >= trades * share / 5).then_some(())
        });
    };
    // While it stands still, the node says so, and that records wait: so the tape must still be playing.
    reach(1, &mut node);
    broker.signal("STOP");
    until("the node to say that records wait", PATIENCE, || {
        node.check_alive();
        let answer = http::get(&command.http, "/readyz")?;
        (answer.status == 503
            && String::from_utf8_lossy(&answer.body).contains("wait on this node's disk"))
        .then_some(())
    });
    // What it took to its disk it has, whatever happens to it.
    node.kill();
    broker.signal("CONT");
    let mut node = command.start();

    reach(2, &mut node);
    broker.kill(0);
    broker.run();
    await_trades(&mut node, &store, &truth);
    command.await_ready(&mut node);
    node.terminate();
    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    for table in ["gaps", "dead_letters"] {
        assert_same(table, &store.dump(table, &[]), &[]);
    }
}
