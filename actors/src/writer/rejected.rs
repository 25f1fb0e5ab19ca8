//! Rows that a store can't hold: found among the others by halving, and kept as dead letters.

use std::sync::Arc;

use fts_core::market::{Symbol, Topic};
use fts_core::row::{DeadLetterRow, Rows, Table};
use serde_json::Value;

/// Columns of a row that say when it was, the best first.
const TIMES: [&str; 7] =
    ["received_at", "fetched_at", "event_time", "before_time", "open_time", "time", "timestamp"];
/// The last time that every store can hold: the end of the year 9998.
const TIME_MAX: i64 = 253_370_764_799_999;

/// Two halves of the rows of `table`, the first with all rows of other tables; `None` where there are
/// not two.
pub(super) fn halves(batches: &[Arc<Rows>], table: Table) -> Option<[Vec<Arc<Rows>>; 2]> {
    let count: usize = batches.iter().map(|rows| rows.count(table)).sum();
    if count < 2 {
        return None;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut left = count / 2;
    for rows in batches {
        let kept = rows.count(table).min(left);
        left -= kept;
        let mut rows = Rows::clone(rows);
        let rest = rows.split_off(table, kept);
        first.push(Arc::new(rows));
        if !rest.is_empty() {
            second.push(Arc::new(rest));
        }
    }
    Some([first, second])
}

/// The only row of `table`, as a dead letter; `None` where it is one already, or there is none.
///
/// It has no place in the log: its partition is the writer's, and in place of the offset stands a
/// number that follows from store, table and key, so that the same row makes the same letter again.
pub(super) fn letter(
    batches: &[Arc<Rows>],
    table: Table,
    partition: u32,
    store: &str,
    reason: &str,
) -> Option<DeadLetterRow> {
    if table == Table::DeadLetters {
        return None;
    }
    let rows = batches.iter().find(|rows| rows.count(table) > 0)?;
    let only = Rows::clone(rows).split_off(table, 0);
    let (_, key, json) = fts_proto::rows::each(&only).next()?;
    let payload = String::from_utf8_lossy(&json).into_owned();
    let columns: Value = serde_json::from_str(&payload).unwrap_or_default();
    let name = columns.get("symbol").or_else(|| columns.get("accion")).and_then(Value::as_str);
    let received_at = TIMES.iter().find_map(|it| columns.get(*it)?.as_i64()).unwrap_or(0);
    Some(DeadLetterRow {
        topic: Topic::DeadLetter,
        partition,
        offset: number([store, table.name(), &key]),
        symbol: name.and_then(|it| Symbol::new(it).ok()).or_else(|| Symbol::new("-").ok())?,
        received_at: received_at.clamp(0, TIME_MAX),
        reason: format!("store {store} rejected a row of {}: {reason}", table.name()),
        payload,
    })
}

/// FNV-1a, in the upper half of what an offset may be: no log has as many records.
fn number(parts: [&str; 3]) -> u64 {
    let bytes = parts.iter().flat_map(|it| it.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash >> 2 | 1 << 62
}

#[cfg(test)]
mod tests {
    use super::*;
    use fts_core::row::GapRow;

    fn gap(id: i64) -> GapRow {
        GapRow {
            symbol: Symbol::new("BTCUSDT").unwrap(),
            first_trade_id: id,
            last_trade_id: id,
            missing: 1,
            after_time: None,
            before_time: 1_723_161_600_000 + id,
            reason: "unknown".to_owned(),
        }
    }

    fn batch(ids: std::ops::Range<i64>) -> Arc<Rows> {
        Arc::new(Rows { gaps: ids.map(gap).collect(), ..Rows::default() })
    }

    #[test]
    fn halves_have_each_row_once_in_its_order() {
        let batches = [batch(0..3), batch(3..3), batch(3..4), batch(4..7)];
        let [first, second] = halves(&batches, Table::Gaps).unwrap();
        let ids = |batches: &[Arc<Rows>]| {
            batches.iter().flat_map(|it| &it.gaps).map(|it| it.first_trade_id).collect::<Vec<_>>()
        };
        assert_eq!((ids(&first), ids(&second)), (vec![0, 1, 2], vec![3, 4, 5, 6]));
        assert_eq!(halves(&[batch(0..1)], Table::Gaps), None);
        assert_eq!(halves(&batches, Table::Trades), None);
    }

    #[test]
    fn a_row_becomes_the_same_letter_each_time_and_a_letter_none() {
        let of = |id: i64| letter(&[batch(id..id + 1)], Table::Gaps, 3, "elastic", "no").unwrap();
        let found = of(7);
        assert_eq!(found, of(7));
        assert_ne!(found.offset, of(8).offset);
        assert!(i64::try_from(found.offset).is_ok_and(|it| it >= 1 << 62));
        assert_eq!(found.received_at, 1_723_161_600_007);
        assert_eq!((found.symbol.as_str(), found.partition), ("BTCUSDT", 3));
        assert_eq!(found.reason, "store elastic rejected a row of gaps: no");
        assert!(found.payload.contains("\"first_trade_id\":7"), "{}", found.payload);
        let letters = Rows { dead_letters: vec![found], ..Rows::default() };
        assert_eq!(letter(&[Arc::new(letters)], Table::DeadLetters, 0, "elastic", "no"), None);
    }
}
