//! Retention: deletes old rows in small transactions.

use fts_core::interval::Interval;
use fts_core::port::store::retention_end;
use fts_core::row::Table;
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::schema::layout;

/// Rows deleted a transaction: the writer serves what waits in between.
const CHUNK: usize = 2_000;

/// One call of `Store::expire` under way.
pub(super) struct Sweep {
    table: Table,
    /// What is still to be searched: rows older than a bound, for candles interval by interval.
    parts: Vec<Part>,
    /// Rows deleted up to here.
    pub(super) deleted: u64,
}

struct Part {
    interval: Option<Interval>,
    before: i64,
}

impl Sweep {
    /// What is older than `keep_ms` before the newest row of `table`.
    pub(super) fn plan(connection: &Connection, table: Table, keep_ms: i64) -> Result<Self> {
        let sweep = |parts| Self { table, parts, deleted: 0 };
        let Some(newest) = newest(connection, table)? else {
            return Ok(sweep(Vec::new()));
        };
        let before = retention_end(newest).saturating_sub(keep_ms);
        Ok(sweep(match table {
            // A candle is as old as its end: the day's candle outlives the seconds it is made of.
            Table::Candles => Interval::ALL
                .map(|it| Part {
                    interval: Some(it),
                    before: before.saturating_sub(it.millis() - Interval::Second.millis()),
                })
                .into(),
            _ => vec![Part { interval: None, before }],
        }))
    }

    /// Deletes at most about [`CHUNK`] rows. True once there is nothing more to delete.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<bool> {
        let Some(part) = self.parts.last() else {
            return Ok(true);
        };
        let (deleted, finished) = match self.table {
            Table::Gaps | Table::DeadLetters => delete_by_key(connection, self.table, part.before)?,
            _ => delete_by_time(connection, self.table, part)?,
        };
        if finished {
            self.parts.pop();
        }
        self.deleted += u64::try_from(deleted).unwrap_or(0);
        Ok(self.parts.is_empty())
    }
}

fn newest(connection: &Connection, table: Table) -> Result<Option<i64>> {
    let (name, time) = (table.name(), layout(table).time);
    if table != Table::Candles {
        return connection
            .query_row(&format!("SELECT max({time}) FROM {name}"), [], |row| row.get(0));
    }
    let mut newest = None;
    for interval in Interval::ALL {
        let sql = format!("SELECT max({time}) FROM {name} WHERE interval = ?1");
        let found = connection
            .prepare_cached(&sql)?
            .query_row([interval.name()], |row| row.get::<_, Option<i64>>(0))?;
        newest = newest.max(found);
    }
    Ok(newest)
}

/// For keys that lead with time: a stretch of the table's left edge. Returns how many rows, and
/// whether that was all.
fn delete_by_time(connection: &Connection, table: Table, part: &Part) -> Result<(usize, bool)> {
    let (name, time) = (table.name(), layout(table).time);
    let (filter, interval) = match part.interval {
        Some(interval) => ("interval = ?2 AND ", interval.name()),
        None => ("?2 = '' AND ", ""),
    };
    let delete = |compare: &str, bound: i64| {
        connection
            .prepare_cached(&format!("DELETE FROM {name} WHERE {filter}{time} {compare} ?1"))?
            .execute(params![bound, interval])
    };
    let beyond = connection
        .prepare_cached(&format!(
            "SELECT {time} FROM {name} WHERE {filter}{time} < ?1 ORDER BY {time} LIMIT 1 OFFSET {CHUNK}"
        ))?
        .query_row(params![part.before, interval], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(beyond) = beyond else {
        return Ok((delete("<", part.before)?, true));
    };
    let deleted = match delete("<", beyond)? {
        // More rows than a chunk within one millisecond.
        0 => delete("<=", beyond)?,
        deleted => deleted,
    };
    Ok((deleted, false))
}

/// For the small tables whose keys say nothing of time.
fn delete_by_key(connection: &Connection, table: Table, before: i64) -> Result<(usize, bool)> {
    let (name, layout) = (table.name(), layout(table));
    let (key, time) = (layout.key, layout.time);
    let old = format!("SELECT {key} FROM {name} WHERE {time} < ?1 LIMIT {CHUNK}");
    let deleted = connection
        .prepare_cached(&format!("DELETE FROM {name} WHERE ({key}) IN ({old})"))?
        .execute([before])?;
    Ok((deleted, deleted < CHUNK))
}
