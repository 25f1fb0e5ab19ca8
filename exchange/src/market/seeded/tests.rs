//! A seeded market is a function: random access finds what going through it finds.

use super::*;
use crate::interval::Interval;
use fts_core::decimal::Decimal;
use fts_core::time::ManualClock;
use std::time::Duration;

const EPOCH: i64 = 1_700_000_040_000;

fn clock(age: Duration) -> Arc<ManualClock> {
    let clock = ManualClock::default();
    clock.advance(Duration::from_millis(EPOCH.unsigned_abs()) + age);
    Arc::new(clock)
}

fn market(seed: u64, rate: f64, clock: Arc<ManualClock>) -> Seeded {
    let symbols = ["BTCUSDT", "ETHUSDT", "SHIBUSDT", "ETHBTC"].map(str::to_owned).to_vec();
    let config = SeededConfig { seed, symbols, rate, epoch_ms: Some(EPOCH) };
    Seeded::new(&config, false, clock).unwrap()
}

const AGE: Duration = Duration::from_millis(2 * 3_600_000 + 123_456);

#[test]
fn the_same_seed_is_the_same_market_and_another_seed_is_another() {
    let of = |seed| market(seed, 30.0, clock(AGE)).all_trades(0);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1)[..50], of(2)[..50]);
}

#[test]
fn ids_are_contiguous_and_prices_on_the_tick() {
    for rate in [0.1, 30.0] {
        let market = market(3, rate, clock(AGE));
        for (symbol, known) in market.symbols().iter().enumerate() {
            let trades = market.all_trades(symbol);
            assert!(!trades.is_empty());
            assert!(trades[0].id > 1 << 31);
            for pair in trades.windows(2) {
                assert_eq!(pair[1].id, pair[0].id + 1);
                assert!(pair[1].time >= pair[0].time);
            }
            for trade in &trades {
                assert_eq!(trade.price.0 % known.tick.0, 0, "{}", known.name);
                assert_eq!(trade.quantity.0 % known.step.0, 0, "{}", known.name);
                assert!(trade.price > Decimal::ZERO && trade.quantity > Decimal::ZERO);
                // Exact in 8 digits, as on the exchange.
                assert_eq!(trade.price.times(trade.quantity).0 % 100_000_000, 0);
                assert!((EPOCH..=market.now()).contains(&trade.time));
            }
        }
    }
}

#[test]
fn random_access_equals_going_through_it() {
    let market = market(3, 30.0, clock(AGE));
    for symbol in 0..4 {
        let all = market.all_trades(symbol);
        let (first, last) = (all[0].id, all[all.len() - 1].id);
        for start in (0..all.len()).step_by(all.len() / 40) {
            let found = market.trades_from(symbol, first + start as u64, 70);
            assert_eq!(found, all[start..all.len().min(start + 70)], "from trade {start}");
            let time = all[start].time;
            let before = all.iter().rev().find(|trade| trade.time < time).copied();
            assert_eq!(market.trade_before(symbol, time), before);
            let agg = market.aggs_from(symbol, market.agg_at(symbol, time), 1)[0];
            assert_eq!(agg.first_id, all.iter().find(|t| t.time >= time).unwrap().id);
        }
        assert_eq!(market.trades_from(symbol, 0, 3), all[..3]);
        assert_eq!(market.trades_from(symbol, last + 1, 3), []);
        assert_eq!(market.trades_last(symbol, 9), all[all.len() - 9..]);
        assert_eq!(market.begin(symbol), Some(all[0].time));
    }
}

#[test]
fn aggregate_trades_are_the_trades() {
    let market = market(4, 60.0, clock(AGE));
    let trades = market.all_trades(0);
    let mut aggs: Vec<AggTrade> = Vec::new();
    loop {
        let more = market.aggs_from(0, aggs.last().map_or(0, |agg| agg.id + 1), 1000);
        if more.is_empty() {
            break;
        }
        aggs.extend(more);
    }
    let mut rest = trades.as_slice();
    for agg in &aggs {
        let (own, others) = rest.split_at((agg.last_id - agg.first_id + 1) as usize);
        assert_eq!((own[0].id, own[own.len() - 1].id), (agg.first_id, agg.last_id));
        let same = |trade: &Trade| {
            (trade.price, trade.time, trade.buyer_is_maker)
                == (agg.price, agg.time, agg.buyer_is_maker)
        };
        assert!(own.iter().all(same));
        // Whoever derives aggregates from the trades finds the same ones.
        assert!(!others.first().is_some_and(same), "{agg:?}");
        let sum = own.iter().fold(Decimal::ZERO, |sum, trade| sum.plus(trade.quantity));
        assert_eq!(sum, agg.quantity);
        rest = others;
    }
    assert!(rest.is_empty());
    assert!(aggs.windows(2).all(|pair| pair[1].id == pair[0].id + 1));
    assert!(aggs.len() < trades.len() * 3 / 4 && aggs.len() > trades.len() / 2);
}

#[test]
fn trades_happen_at_the_best_bid_or_ask() {
    let market = market(5, 400.0, clock(AGE));
    let line = &market.lines[0];
    let (mut last_id, mut checked) = (0, 0);
    for minute in 0..10 {
        let plan = line.activity.minute(minute);
        for second in 0..SECONDS_PER_MINUTE {
            let second = line.second(&plan, second);
            let quotes: Vec<_> =
                (0..second.updates).map(|n| (second.update_time(n), second.quote(n))).collect();
            assert!(quotes.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            for (_, quote) in &quotes {
                assert!(quote.update_id > last_id && quote.bid < quote.ask);
                last_id = quote.update_id;
            }
            second.takes(|take| {
                let current = quotes.iter().rev().find(|(time, _)| *time <= take.agg.time);
                let quote = current.expect("a trade before any book").1;
                let (price, depth) = match take.agg.buyer_is_maker {
                    true => (quote.bid, quote.bid_quantity),
                    false => (quote.ask, quote.ask_quantity),
                };
                assert_eq!(take.agg.price, price);
                assert!(take.agg.quantity <= depth || take.trades.len() > 5);
                checked += 1;
            });
        }
    }
    assert!(checked > 10_000, "{checked}");
}

#[test]
fn candles_of_any_range_are_their_trades() {
    let market = market(6, 30.0, clock(AGE));
    for symbol in 0..4 {
        let all = market.all_trades(symbol);
        let ranges = [
            (EPOCH - 5_000_000, market.now() + 5_000_000),
            (EPOCH + 17, EPOCH + 17),
            (EPOCH + 61_234, EPOCH + 61_334),
            (EPOCH + 61_234, EPOCH + 3_700_123),
            (market.now() - 1_000, market.now() + 1),
            (EPOCH + 60_000, EPOCH + 3_660_000),
            (EPOCH + 61_000, EPOCH + 119_000),
        ];
        // Twice: what is cached is what was computed.
        for (from, to) in ranges.into_iter().chain(ranges) {
            let own = all.iter().filter(|trade| (from..to).contains(&trade.time));
            let expected = own.map(Bar::of).reduce(|bar, next| bar.then(&next));
            assert_eq!(market.fold(symbol, from, to), expected, "{from}..{to}");
        }
    }
    let truth = crate::truth::Truth { market: Arc::new(market), epoch_ms: None };
    let candles = truth.candles("BTCUSDT", Interval::parse("5m").unwrap());
    assert!(candles.len() > 24);
    for candle in candles {
        let bar = truth.market.fold(0, candle.open_time, candle.open_time + 300_000).unwrap();
        assert_eq!(
            (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades),
            (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trade_count)
        );
    }
}

#[test]
fn time_only_adds_and_a_restart_goes_on() {
    let time = clock(AGE);
    let running = market(7, 30.0, time.clone());
    let before = running.all_trades(1);
    let (quote, bar) = (running.quote(1).unwrap(), running.fold(1, 0, i64::MAX).unwrap());
    assert!(before.iter().all(|trade| trade.time <= running.now()));
    time.advance(Duration::from_secs(600));
    let after = running.all_trades(1);
    assert!(after.len() > before.len());
    assert_eq!(after[..before.len()], before);
    let restarted = market(7, 30.0, clock(AGE + Duration::from_secs(600)));
    assert_eq!(restarted.all_trades(1), after);
    assert!(restarted.quote(1).unwrap().update_id > quote.update_id);
    let whole = restarted.fold(1, 0, i64::MAX).unwrap();
    assert_eq!((whole.first_id, whole.trades), (bar.first_id, after.len() as u64));
}

#[test]
fn nothing_is_older_than_the_epoch() {
    let market = market(8, 30.0, clock(Duration::ZERO));
    for symbol in 0..4 {
        assert!(market.all_trades(symbol).iter().all(|trade| trade.time == EPOCH));
        assert_eq!(market.fold(symbol, 0, EPOCH), None);
        assert_eq!(market.trade_before(symbol, EPOCH), None);
        assert!(market.aggs_from(symbol, 0, 10).len() <= 1);
    }
}

#[test]
fn rates_add_up_to_what_was_asked_for() {
    for (total, symbols) in [(500.0, 10), (20_000.0, 500), (500.0, 500)] {
        let shares = rates(total, symbols, false);
        let messages: f64 = shares.iter().map(|rate| rate + rate / (rate + 1.0)).sum();
        assert!((messages / total - 1.0).abs() < 0.01, "{messages} of {total}");
        assert!(shares.windows(2).all(|pair| pair[0] > pair[1]));
    }
    let market = market(9, 400.0, clock(Duration::from_secs(7_200)));
    let counts: Vec<_> =
        (0..4).map(|symbol| market.counts_before(symbol, EPOCH + 7_200_000)).collect();
    let (trades, updates) =
        counts.iter().fold((0, 0), |(t, u), counts| (t + counts.trades, u + counts.updates));
    let rate = (trades + updates) as f64 / 7_200.0;
    assert!((390.0..401.0).contains(&rate), "{rate}");
    let ratio = updates as f64 / trades as f64;
    assert!((2.4..2.6).contains(&ratio), "{ratio}");
}
