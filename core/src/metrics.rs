//! The metrics: every name, with its unit and what it means. Dashboards and alert rules rest on them.
//!
//! Names are `fts_<noun>[_<unit>][_total]`, but for what every process has: those are called as
//! Prometheus' own libraries call them. Whoever counts takes the constant; the binary calls
//! [`describe`] once.

use metrics::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric: its public name and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The public name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// In what it counts.
    pub unit: Unit,
    /// What it says, and its labels.
    pub help: &'static str,
}

/// Connections to the exchange's streams that were opened.
pub const BINANCE_CONNECTS_TOTAL: &str = "fts_binance_connects_total";
/// Connections to the exchange's streams that ended or could not be opened.
pub const BINANCE_DISCONNECTS_TOTAL: &str = "fts_binance_disconnects_total";
/// Frames received.
pub const BINANCE_FRAMES_TOTAL: &str = "fts_binance_frames_total";
/// Bytes of those frames.
pub const BINANCE_BYTES_TOTAL: &str = "fts_binance_bytes_total";
/// Frames that name no stream that was asked for.
pub const BINANCE_UNROUTED_FRAMES_TOTAL: &str = "fts_binance_unrouted_frames_total";
/// Error messages of the exchange on its streams.
pub const BINANCE_STREAM_ERRORS_TOTAL: &str = "fts_binance_stream_errors_total";
/// REST requests.
pub const BINANCE_REST_REQUESTS_TOTAL: &str = "fts_binance_rest_requests_total";
/// Request weight used in the running minute.
pub const BINANCE_USED_WEIGHT: &str = "fts_binance_used_weight";
/// What this node may use of it.
pub const BINANCE_WEIGHT_PART: &str = "fts_binance_weight_part";
/// Time spent waiting for a turn.
pub const BINANCE_THROTTLE_WAIT_SECONDS: &str = "fts_binance_throttle_wait_seconds";

/// Rows made durable by a store.
pub const STORE_ROWS_TOTAL: &str = "fts_store_rows_total";
/// How long a store takes to make a batch durable.
pub const STORE_COMMIT_SECONDS: &str = "fts_store_commit_seconds";
/// The most bytes of rows in one request to a store: fewer than configured while it does not keep up.
pub const STORE_BODY_BYTES: &str = "fts_store_body_bytes";
/// Length of SQLite's write-ahead log.
pub const SQLITE_WAL_BYTES: &str = "fts_sqlite_wal_bytes";

/// Transactions whose record has another key than their stock.
pub const STRAY_TRANSACTIONS_TOTAL: &str = "fts_stray_transactions_total";
/// Records folded, by `store`: each store's aggregators fold for themselves.
pub const FOLD_RECORDS: &str = "fts_fold_records_total";
/// Records of the log that are not folded yet, by `store` and `partition`.
pub const FOLD_BACKLOG_RECORDS: &str = "fts_fold_backlog_records";
/// Rows that wait for the writer, by `store` and `partition`.
pub const FOLD_ROWS_WAITING: &str = "fts_fold_waiting_rows";
/// Size of the last checkpoint, by `store` and `partition`.
pub const CHECKPOINT_BYTES: &str = "fts_checkpoint_bytes";
/// Checkpoints saved.
pub const CHECKPOINTS_TOTAL: &str = "fts_checkpoints_total";
/// From receiving a record to having everything that follows from it in the store.
pub const STORED_LATENCY_SECONDS: &str = "fts_stored_latency_seconds";
/// Writes that the store could not take at once, by `store`.
pub const WRITER_RETRIES_TOTAL: &str = "fts_writer_retries_total";
/// Rows that the store rejected for good, by `store`.
pub const WRITER_REJECTED_TOTAL: &str = "fts_writer_rejected_rows_total";
/// Rows deleted by retention, by `table`.
pub const EXPIRED_ROWS_TOTAL: &str = "fts_expired_rows_total";
/// Trades fetched by REST and appended to the log.
pub const BACKFILLED_TRADES_TOTAL: &str = "fts_backfilled_trades_total";
/// Trade ids that the exchange proved not to have.
pub const LOST_TRADES_TOTAL: &str = "fts_lost_trades_total";
/// Trade ids known to be missing and not yet filled, by `partition`.
pub const MISSING_TRADES: &str = "fts_missing_trades";
/// Actors started anew after a failure, by `actor`.
pub const ACTOR_RESTARTS_TOTAL: &str = "fts_actor_restarts_total";

/// Transactions that the simulator made.
pub const SIMULATED_TRANSACTIONS_TOTAL: &str = "fts_simulated_transactions_total";
/// Requests to the provider of daily prices, by `result`.
pub const BATCH_REQUESTS_TOTAL: &str = "fts_batch_requests_total";
/// Requests to the provider of daily prices today.
pub const BATCH_REQUESTS_USED: &str = "fts_batch_used_requests";
/// Days of prices appended to the log.
pub const BATCH_DAYS_TOTAL: &str = "fts_batch_days_total";
/// Symbols without prices in the last batch.
pub const BATCH_FAILED_SYMBOLS: &str = "fts_batch_failed_symbols";
/// When the last batch ended, seconds since the epoch.
pub const BATCH_LAST_RUN_SECONDS: &str = "fts_batch_last_run_seconds";

/// Links to other nodes that are up.
pub const LINKS: &str = "fts_links";
/// Connections between nodes that became no link, by `end` and `reason`.
pub const LINK_REFUSED_TOTAL: &str = "fts_link_refused_total";
/// Links that ended.
pub const LINK_CUTS_TOTAL: &str = "fts_link_cuts_total";
/// Bytes between nodes, before TLS, by `direction`.
pub const LINK_BYTES_TOTAL: &str = "fts_link_bytes_total";
/// Calls to other nodes that were not answered, by `reason`.
pub const CALLS_FAILED_TOTAL: &str = "fts_calls_failed_total";
/// Calls of other nodes that were turned away, by `reason`.
pub const CALLS_REFUSED_TOTAL: &str = "fts_calls_refused_total";

/// Records made durable in the log.
pub const LOG_APPENDED_RECORDS_TOTAL: &str = "fts_log_appended_records_total";
/// Bytes written to the log.
pub const LOG_APPENDED_BYTES_TOTAL: &str = "fts_log_appended_bytes_total";
/// How long a group commit takes.
pub const LOG_COMMIT_SECONDS: &str = "fts_log_commit_seconds";
/// Bytes of the log on disk, as of the last segment's start.
pub const LOG_DISK_BYTES: &str = "fts_log_disk_bytes";
/// Segment files of the log, as of the last segment's start.
pub const LOG_SEGMENTS: &str = "fts_log_segments";
/// Bytes of torn, unacknowledged commits that were cut off at a start.
pub const LOG_TORN_BYTES_TOTAL: &str = "fts_log_torn_bytes_total";

/// Nodes of the cluster, by `state` (live, dead).
pub const CLUSTER_MEMBERS: &str = "fts_cluster_members";
/// Nodes to join that do not answer, while nobody else is known.
pub const GOSSIP_SILENT_SEEDS: &str = "fts_gossip_silent_seeds";
/// Datagrams of the gossip that were dropped, by `reason`.
pub const GOSSIP_REFUSED_TOTAL: &str = "fts_gossip_refused_total";
/// Symbols that this node captures, by `feed`.
pub const SHARE_SYMBOLS: &str = "fts_share_symbols";
/// Partitions that this node folds.
pub const SHARE_PARTITIONS: &str = "fts_share_partitions";
/// Placements computed that differ from the one before.
pub const PLACEMENTS_TOTAL: &str = "fts_placements_total";
/// Shards that were kept for their next owner and then let go, by `end` (settled, overdue).
pub const HANDOVERS_TOTAL: &str = "fts_handovers_total";
/// Nodes that are given no work because they come and go.
pub const CLUSTER_FLAPPING: &str = "fts_cluster_flapping";
/// When the list of symbols last changed, in seconds since the epoch; 0: never.
pub const REGISTRY_CHANGED_SECONDS: &str = "fts_registry_changed_seconds";
/// Bytes that wait on this node's disk for the log to come back.
pub const LOG_SPILL_BYTES: &str = "fts_log_spill_bytes";
/// Records that waited on this node's disk, or wait.
pub const LOG_SPILLED_RECORDS_TOTAL: &str = "fts_log_spilled_records_total";
/// Appends refused because as much waits as may.
pub const LOG_SPILL_REFUSALS_TOTAL: &str = "fts_log_spill_refusals_total";

/// Shards that no live node has confirmed to do, as this node sees it, by `kind`.
pub const UNOWNED_SHARDS: &str = "fts_unowned_shards";
/// Whether the node is ready: what `/readyz` says.
pub const READY: &str = "fts_ready";
/// From a trade to receiving it over a stream.
pub const RECEIVED_LATENCY_SECONDS: &str = "fts_received_latency_seconds";
/// When the newest checkpoint was saved, or found to hold all that is folded.
pub const CHECKPOINT_SAVED_SECONDS: &str = "fts_checkpoint_saved_seconds";

/// CPU time that the process has used.
pub const PROCESS_CPU_SECONDS_TOTAL: &str = "process_cpu_seconds_total";
/// Memory of the process that is in RAM.
pub const PROCESS_RESIDENT_MEMORY_BYTES: &str = "process_resident_memory_bytes";
/// Addresses that the process has reserved.
pub const PROCESS_VIRTUAL_MEMORY_BYTES: &str = "process_virtual_memory_bytes";
/// Files, sockets and the like that are open.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
/// How many may be.
pub const PROCESS_MAX_FDS: &str = "process_max_fds";
/// Threads of the process.
pub const PROCESS_THREADS: &str = "process_threads";
/// When the process started.
pub const PROCESS_START_TIME_SECONDS: &str = "process_start_time_seconds";
/// Bytes that the process moved to and from disks.
pub const DISK_BYTES_TOTAL: &str = "fts_disk_bytes_total";

/// Every metric there is.
pub const ALL: &[Metric] = &[
    counter(SIMULATED_TRANSACTIONS_TOTAL, Unit::Count, "transactions that the simulator made"),
    counter(
        BATCH_REQUESTS_TOTAL,
        Unit::Count,
        "requests for daily prices, by `result` (ok, burst, day_is_over, key, refused, unavailable)",
    ),
    gauge(BATCH_REQUESTS_USED, Unit::Count, "requests for daily prices today (UTC)"),
    counter(BATCH_DAYS_TOTAL, Unit::Count, "days of prices appended to the log"),
    gauge(BATCH_FAILED_SYMBOLS, Unit::Count, "symbols without prices in the last batch"),
    gauge(BATCH_LAST_RUN_SECONDS, Unit::Seconds, "when the last batch ended, since the epoch"),
    gauge(CLUSTER_MEMBERS, Unit::Count, "nodes of the cluster, by `state` (live, dead)"),
    gauge(
        GOSSIP_SILENT_SEEDS,
        Unit::Count,
        "nodes to join that do not answer, while nobody else is known",
    ),
    counter(
        GOSSIP_REFUSED_TOTAL,
        Unit::Count,
        "datagrams of the gossip dropped, by `reason` (malformed, unauthentic, repeated, untimely)",
    ),
    gauge(SHARE_SYMBOLS, Unit::Count, "symbols that this node captures, by `feed` (A, B)"),
    gauge(SHARE_PARTITIONS, Unit::Count, "partitions that this node folds"),
    counter(PLACEMENTS_TOTAL, Unit::Count, "placements computed that differ from the one before"),
    counter(
        HANDOVERS_TOTAL,
        Unit::Count,
        "shards kept for their next owner and then let go, by `end` (settled, overdue)",
    ),
    gauge(
        CLUSTER_FLAPPING,
        Unit::Count,
        "nodes that this one would give no work because they come and go",
    ),
    gauge(
        REGISTRY_CHANGED_SECONDS,
        Unit::Seconds,
        "when the list of symbols last changed, since the epoch; 0: never",
    ),
    counter(LOG_APPENDED_RECORDS_TOTAL, Unit::Count, "records made durable in the log"),
    counter(LOG_APPENDED_BYTES_TOTAL, Unit::Bytes, "bytes written to the log"),
    histogram(LOG_COMMIT_SECONDS, Unit::Seconds, "how long a group commit takes"),
    gauge(LOG_DISK_BYTES, Unit::Bytes, "bytes of the log on disk, as of the last segment's start"),
    gauge(LOG_SEGMENTS, Unit::Count, "segment files of the log, as of the last segment's start"),
    counter(
        LOG_TORN_BYTES_TOTAL,
        Unit::Bytes,
        "bytes of torn, unacknowledged commits that were cut off at a start",
    ),
    gauge(LOG_SPILL_BYTES, Unit::Bytes, "bytes that wait on this node's disk for the log"),
    counter(
        LOG_SPILLED_RECORDS_TOTAL,
        Unit::Count,
        "records that went to this node's disk because the log was away or slow",
    ),
    counter(
        LOG_SPILL_REFUSALS_TOTAL,
        Unit::Count,
        "appends refused because as much waits for the log as may",
    ),
    counter(
        STRAY_TRANSACTIONS_TOTAL,
        Unit::Count,
        "transactions whose record has another key than their stock: abrupt price changes among them may go unnoticed",
    ),
    counter(FOLD_RECORDS, Unit::Count, "records folded, by `store`"),
    gauge(
        FOLD_BACKLOG_RECORDS,
        Unit::Count,
        "records of the log that are not folded yet, by `store` and `partition`",
    ),
    gauge(
        FOLD_ROWS_WAITING,
        Unit::Count,
        "rows that wait for the writer, by `store` and `partition`",
    ),
    gauge(CHECKPOINT_BYTES, Unit::Bytes, "size of the last checkpoint, by `store` and `partition`"),
    counter(CHECKPOINTS_TOTAL, Unit::Count, "checkpoints saved, by `store`"),
    histogram(
        STORED_LATENCY_SECONDS,
        Unit::Seconds,
        "from receiving a record to having everything that follows from it in the store, by `store`",
    ),
    counter(
        WRITER_RETRIES_TOTAL,
        Unit::Count,
        "writes that the store could not take at once, by `store`",
    ),
    counter(
        WRITER_REJECTED_TOTAL,
        Unit::Count,
        "rows that the store rejected for good, by `store`",
    ),
    counter(EXPIRED_ROWS_TOTAL, Unit::Count, "rows deleted by retention, by `store` and `table`"),
    counter(BACKFILLED_TRADES_TOTAL, Unit::Count, "trades fetched by REST and appended to the log"),
    counter(LOST_TRADES_TOTAL, Unit::Count, "trade ids that the exchange proved not to have"),
    gauge(
        MISSING_TRADES,
        Unit::Count,
        "trade ids known to be missing and not yet filled, by `partition`",
    ),
    gauge(LINKS, Unit::Count, "links to other nodes that are up"),
    counter(
        LINK_REFUSED_TOTAL,
        Unit::Count,
        "connections between nodes that became no link, by `end` (accepted, dialled) and `reason` \
         (busy, late, connect, tls, version, name, closed)",
    ),
    counter(LINK_CUTS_TOTAL, Unit::Count, "links that ended"),
    counter(
        LINK_BYTES_TOTAL,
        Unit::Bytes,
        "bytes between nodes before TLS, by `direction` (sent, received)",
    ),
    counter(
        CALLS_FAILED_TOTAL,
        Unit::Count,
        "calls to other nodes that were not answered, by `reason` (down, cut, late, large)",
    ),
    counter(
        CALLS_REFUSED_TOTAL,
        Unit::Count,
        "calls of other nodes that were turned away, by `reason` (busy, malformed)",
    ),
    counter(ACTOR_RESTARTS_TOTAL, Unit::Count, "actors started anew after a failure, by `actor`"),
    counter(BINANCE_CONNECTS_TOTAL, Unit::Count, "stream connections opened"),
    counter(
        BINANCE_DISCONNECTS_TOTAL,
        Unit::Count,
        "stream connections that ended or could not be opened, by `reason`",
    ),
    counter(BINANCE_FRAMES_TOTAL, Unit::Count, "frames received over streams"),
    counter(BINANCE_BYTES_TOTAL, Unit::Bytes, "bytes of the frames received over streams"),
    counter(
        BINANCE_UNROUTED_FRAMES_TOTAL,
        Unit::Count,
        "frames that name no stream that was asked for",
    ),
    counter(
        BINANCE_STREAM_ERRORS_TOTAL,
        Unit::Count,
        "error messages of the exchange on open streams",
    ),
    counter(
        BINANCE_REST_REQUESTS_TOTAL,
        Unit::Count,
        "REST requests, by `endpoint` and `result` (ok, refused, limited, unavailable)",
    ),
    gauge(
        BINANCE_USED_WEIGHT,
        Unit::Count,
        "request weight used in the running minute, by the exchange's count where it tells",
    ),
    gauge(
        BINANCE_WEIGHT_PART,
        Unit::Count,
        "request weight that this node may use in a minute: its part of what its address may",
    ),
    histogram(
        BINANCE_THROTTLE_WAIT_SECONDS,
        Unit::Seconds,
        "waits for a turn under the exchange's limits, by `limit` (connects, weight)",
    ),
    counter(STORE_ROWS_TOTAL, Unit::Count, "rows made durable, by `store` (its kind) and `table`"),
    histogram(
        STORE_COMMIT_SECONDS,
        Unit::Seconds,
        "how long a store takes to make a batch durable, by `store` (its kind)",
    ),
    gauge(
        STORE_BODY_BYTES,
        Unit::Bytes,
        "most bytes of rows in one request, by `store` (its kind): below bulk_bytes while the server is slow",
    ),
    gauge(
        SQLITE_WAL_BYTES,
        Unit::Bytes,
        "length of SQLite's write-ahead log; it starts over once it is moved into the file",
    ),
    gauge(
        UNOWNED_SHARDS,
        Unit::Count,
        "shards that no live node has confirmed to do, as this node sees it, by `kind` (feed, \
         partition, singleton)",
    ),
    gauge(READY, Unit::Count, "1 if the node is ready, else 0: what /readyz says"),
    histogram(
        RECEIVED_LATENCY_SECONDS,
        Unit::Seconds,
        "from a trade, by the exchange's clock, to receiving it over a stream, by this machine's; 0 \
         where it seems to come from the future",
    ),
    gauge(
        CHECKPOINT_SAVED_SECONDS,
        Unit::Seconds,
        "when a checkpoint was last saved, or found to hold all that is folded, or when folding \
         began, since the epoch, by `store` and `partition`; 0: not here any more",
    ),
    counter(PROCESS_CPU_SECONDS_TOTAL, Unit::Seconds, "CPU time used, user and system"),
    gauge(PROCESS_RESIDENT_MEMORY_BYTES, Unit::Bytes, "memory of the process that is in RAM"),
    gauge(PROCESS_VIRTUAL_MEMORY_BYTES, Unit::Bytes, "addresses that the process has reserved"),
    gauge(PROCESS_OPEN_FDS, Unit::Count, "files, sockets and the like that are open"),
    gauge(PROCESS_MAX_FDS, Unit::Count, "how many files, sockets and the like may be open"),
    gauge(PROCESS_THREADS, Unit::Count, "threads of the process"),
    gauge(PROCESS_START_TIME_SECONDS, Unit::Seconds, "when the process started, since the epoch"),
    counter(
        DISK_BYTES_TOTAL,
        Unit::Bytes,
        "bytes that the process moved to and from disks, by `direction` (read, written)",
    ),
];

const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, help }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, help }
}

const fn histogram(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit, help }
}

/// Tells the installed recorder what every metric means.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_what_they_count() {
        for (position, metric) in ALL.iter().enumerate() {
            let Metric { name, kind, .. } = metric;
            assert!(name.starts_with("fts_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(!ALL[..position].iter().any(|other| other.name == *name), "{name} is twice");
        }
    }
}
