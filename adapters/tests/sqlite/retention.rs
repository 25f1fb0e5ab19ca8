//! Rows that have grown old.

use std::sync::Arc;

use fts_core::interval::Interval;
use fts_core::port::store::Store as _;
use fts_core::row::{Rows, Table};

use crate::rows::{MIDNIGHT, one_of_each};
use crate::{file, open, trade_ids};

#[tokio::test]
async fn a_sweep_lets_puts_through_and_counts_what_it_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let batches: Vec<_> = (0..25_000).map(|number| Arc::new(one_of_each(number))).collect();
    store.put(&batches).await.unwrap();
    let puts = async {
        for number in 25_000..25_020 {
            store.put(&[Arc::new(one_of_each(number))]).await.unwrap();
        }
    };
    let (swept, ()) = tokio::join!(store.expire(Table::Trades, 999), puts);
    // The newest row is that of the moment at which the sweep was asked for, or a little later.
    let swept = swept.unwrap();
    assert!((24_000..24_020).contains(&swept), "{swept}");
    let kept = i64::try_from(swept).unwrap()..25_020;
    assert_eq!(trade_ids(&file(folder.path())), kept.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_candle_grows_old_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let at = |interval, open_time| {
        let mut rows = one_of_each(0);
        rows.candles[0].interval = interval;
        rows.candles[0].candle.open_time = open_time;
        Arc::new(Rows { candles: rows.candles, ..Rows::default() })
    };
    let noon = MIDNIGHT + 43_200_000;
    let batches = [
        at(Interval::Day, MIDNIGHT),
        at(Interval::Hour, noon - 3_600_000),
        at(Interval::Second, noon - 2_000),
        at(Interval::Second, noon),
    ];
    store.put(&batches).await.unwrap();
    assert_eq!(store.expire(Table::Candles, 1_000).await, Ok(1), "the older second alone");
    assert_eq!(store.expire(Table::Candles, 0).await, Ok(1), "and the hour that has ended");
}
