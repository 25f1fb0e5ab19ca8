//! The market is the same whichever way one looks at it.

use std::time::Duration;

use fts_core::time::ManualClock;

use super::*;

const EPOCH: i64 = 1_700_000_040_000;

fn market(minutes: u64) -> Seeded {
    let clock = ManualClock::default();
    let now = u64::try_from(EPOCH).unwrap() + minutes * 60_000 + 30_500;
    clock.advance(Duration::from_millis(now));
    let config = SeededConfig {
        seed: 7,
        symbols: ["BTCUSDT", "ETHUSDT", "ALBECOUSDT"].map(str::to_owned).to_vec(),
        rate: 200.0,
        epoch_ms: Some(EPOCH),
    };
    Seeded::new(&config, Arc::new(clock)).unwrap()
}

#[test]
fn ids_are_contiguous_and_times_do_not_run_backwards() {
    let market = market(5);
    for symbol in 0..3 {
        let trades = market.all_trades(symbol);
        assert!(trades.len() > 20);
        for pair in trades.windows(2) {
            assert_eq!(pair[0].id + 1, pair[1].id);
            assert!(pair[0].time <= pair[1].time);
        }
        assert!(trades.iter().all(|trade| trade.time <= market.now()));
    }
}

#[test]
fn a_market_that_is_started_again_goes_on() {
    let (early, late) = (market(2), market(6));
    let (before, after) = (early.all_trades(0), late.all_trades(0));
    assert_eq!(before[..], after[..before.len()]);
}

#[test]
fn random_access_is_sequential_access() {
    let market = market(4);
    let all = market.all_trades(1);
    for (place, trade) in all.iter().enumerate().step_by(17) {
        let some = market.trades_from(1, trade.id, 30);
        assert_eq!(some[..], all[place..(place + 30).min(all.len())]);
        let before = market.trade_before(1, trade.time);
        assert_eq!(before, all.iter().rev().find(|it| it.time < trade.time).copied());
        let first = market.aggs_from(1, market.agg_at(1, trade.time), 1)[0].first_id;
        assert_eq!(Some(first), all.iter().find(|it| it.time >= trade.time).map(|it| it.id));
    }
    let last = market.trades_last(1, 10);
    assert_eq!(last[..], all[all.len() - 10..]);
}

#[test]
fn a_fold_is_the_trades_folded() {
    let market = market(130);
    let all = market.all_trades(0);
    for (from, to) in
        [(EPOCH, EPOCH + 60_000), (EPOCH - 9, EPOCH + 7_777_777), (EPOCH + 1, EPOCH + 5_000_003)]
    {
        let mut bar = None;
        for trade in all.iter().filter(|it| (from..to).contains(&it.time)) {
            Bar::join(&mut bar, &Bar::of(trade));
        }
        assert_eq!(market.fold(0, from, to), bar);
    }
}

#[test]
fn trades_happen_at_the_best_bid_or_ask() {
    let market = market(1);
    let minute = market.minute(0, 0).unwrap();
    let mut quote: Option<Quote> = None;
    for event in &minute.events {
        match event {
            Event::Quote(_, next) => {
                assert!(next.bid < next.ask);
                assert!(quote.is_none_or(|before| before.update_id < next.update_id));
                quote = Some(*next);
            }
            Event::Trade(trade) => {
                let quote = quote.unwrap();
                let expected = if trade.buyer_is_maker { quote.bid } else { quote.ask };
                assert_eq!(trade.price, expected);
            }
        }
    }
}

#[test]
fn there_are_as_many_messages_as_asked_for() {
    let market = market(1);
    let events: u64 = market.specs.iter().map(|spec| spec.trades + spec.quotes).sum();
    let per_second = events / 60 + market.specs.len() as u64;
    assert!((160..240).contains(&per_second), "{per_second} for 200");
}
