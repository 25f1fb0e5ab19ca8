//! What happens at the exchange, and what its REST answers.

use std::collections::BTreeMap;

use fts_core::decimal::Decimal;
use fts_core::market::{BookTicker, Event, Symbol, Ticker, Topic, Trade};

use crate::dice::Dice;

/// The first trade id of every symbol.
pub(crate) const FIRST_ID: i64 = 1_000;

#[derive(Debug)]
pub(crate) struct Happening {
    pub(crate) at: i64,
    pub(crate) symbol: Symbol,
    pub(crate) topic: Topic,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) symbols: Vec<Symbol>,
    /// In the order of time.
    pub(crate) happenings: Vec<Happening>,
    /// By symbol, by id. Ids that are not there, the exchange has lost.
    pub(crate) trades: BTreeMap<Symbol, Vec<Trade>>,
}

impl Market {
    pub(crate) fn seeded(dice: &mut Dice) -> Self {
        let mut market =
            Self { symbols: Vec::new(), happenings: Vec::new(), trades: BTreeMap::new() };
        for index in 0..dice.within(1, 4) {
            let symbol = Symbol::new(&format!("S{index}USDT")).unwrap();
            market.list(&symbol, dice);
            market.symbols.push(symbol);
        }
        // Stable: what happens to one symbol at one time keeps its order.
        market.happenings.sort_by_key(|it| it.at);
        market
    }

    fn list(&mut self, symbol: &Symbol, dice: &mut Dice) {
        let mut at = 1_723_161_255_000 + dice.within(0, 5_000);
        let loses = dice.chance(30);
        let (mut id, mut update_id, mut tickers) = (FIRST_ID, dice.within(1, 1_000_000), 0);
        let mut trades = Vec::new();
        let count = dice.within(20, 90);
        for index in 0..count {
            at += match dice.below(8) {
                0..4 => dice.within(0, 40),
                4..7 => dice.within(100, 1_500),
                _ => dice.within(20_000, 400_000),
            };
            let mut happen = |topic, event| {
                self.happenings.push(Happening { at, symbol: symbol.clone(), topic, event });
            };
            let trade = Trade {
                id,
                time: at,
                price: Decimal::from_units(dice.within(90, 110)),
                quantity: Decimal(i128::from(dice.within(1, 9))),
                buyer_is_maker: dice.chance(50),
            };
            trades.push(trade);
            happen(Topic::Trade, Event::Trade(trade));
            for _ in 0..dice.below(3) {
                update_id += dice.within(1, 4);
                happen(Topic::BookTicker, Event::Book(book(update_id, dice)));
            }
            // As many as are told apart however late one of them comes.
            if dice.chance(10) && tickers < 60 {
                tickers += 1;
                happen(Topic::Ticker, Event::Ticker(Box::new(ticker(at + tickers))));
            }
            id += 1;
            // Not before the first trade and not after the last: there is no hole to see.
            if loses && index + 2 < count && dice.chance(6) {
                id += dice.within(1, 3);
            }
        }
        self.trades.insert(symbol.clone(), trades);
    }

    /// What the exchange knows by `now` of the ids from `first` to `last`.
    pub(crate) fn rest(&self, symbol: &Symbol, now: i64, first: i64, last: i64) -> Vec<Trade> {
        let wanted = |it: &&Trade| it.time <= now && (first..=last).contains(&it.id);
        self.trades[symbol].iter().filter(wanted).copied().collect()
    }

    /// Its newest trade by `now`.
    pub(crate) fn newest(&self, symbol: &Symbol, now: i64) -> Option<Trade> {
        self.trades[symbol].iter().rfind(|it| it.time <= now).copied()
    }
}

fn book(update_id: i64, dice: &mut Dice) -> BookTicker {
    let bid = dice.within(90, 110);
    BookTicker {
        update_id,
        bid_price: Decimal::from_units(bid),
        bid_quantity: Decimal::from_units(dice.within(1, 9)),
        ask_price: Decimal::from_units(bid + dice.within(1, 3)),
        ask_quantity: Decimal::from_units(dice.within(1, 9)),
    }
}

fn ticker(event_time: i64) -> Ticker {
    let one = Decimal::from_units(event_time % 1_000);
    Ticker {
        event_time,
        price_change: one,
        price_change_percent: one,
        weighted_avg_price: one,
        first_trade_price: one,
        last_price: one,
        last_quantity: one,
        best_bid_price: one,
        best_bid_quantity: one,
        best_ask_price: one,
        best_ask_quantity: one,
        open_price: one,
        high_price: one,
        low_price: one,
        base_volume: one,
        quote_volume: one,
        open_time: event_time - 86_400_000,
        close_time: event_time,
        first_trade_id: 1,
        last_trade_id: 2,
        trade_count: 2,
    }
}
