//! `[batch]` and `[transactions]`: the flows about stocks.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fts_adapters::cron::CronSchedule;
use fts_adapters::mapping::Mapping;
use fts_core::market::Symbol;
use fts_core::simulator::Simulator;

use super::written::{Batch, Transactions};

/// The environment variable that holds the provider's key.
pub(super) const KEY_VARIABLE: &str = "FTS_BATCH_KEY";
/// A simulator makes at most so many transactions a second.
const RATE_MAX: u32 = 100_000;

/// The daily batch. Valid.
#[derive(Clone)]
pub struct BatchConfig {
    /// Whose prices.
    pub symbols: Vec<Symbol>,
    /// The provider's address.
    pub url: String,
    /// The provider's key. Never printed.
    pub key: String,
    /// How long a request may take.
    pub timeout: Duration,
    /// When it is due.
    pub schedule: CronSchedule,
    /// Requests a day.
    pub requests_per_day: u32,
    /// The least time between two requests.
    pub apart: Duration,
}

impl std::fmt::Debug for BatchConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("BatchConfig")
            .field("symbols", &self.symbols)
            .field("url", &self.url)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

/// The batch as `written`; `None` where it is off. `key` is the environment's.
pub(super) fn batch(written: &Batch, key: Option<String>) -> anyhow::Result<Option<BatchConfig>> {
    let symbols: Vec<Symbol> = written
        .symbols
        .iter()
        .map(|text| Symbol::new(text).context("in `batch.symbols`"))
        .collect::<Result<_, _>>()?;
    let schedule = schedule(written)?;
    for (name, value) in [
        ("batch.requests_per_day", u64::from(written.requests_per_day)),
        ("batch.timeout_ms", written.timeout_ms),
    ] {
        ensure!(value > 0, "`{name}` is 0: nothing could ever be asked for");
    }
    if !written.enabled {
        return Ok(None);
    }
    ensure!(!symbols.is_empty(), "`batch.symbols` is empty: name at least one, such as TSLA");
    let key = match (key, &written.key_file) {
        (Some(key), _) => key,
        (None, Some(path)) => read_key(path)?,
        (None, None) => anyhow::bail!(
            "`batch.enabled` is true and there is no key for {}: set {KEY_VARIABLE} or \
             `batch.key_file`",
            written.url
        ),
    };
    Ok(Some(BatchConfig {
        symbols,
        url: written.url.clone(),
        key: key.trim().to_owned(),
        timeout: Duration::from_millis(written.timeout_ms),
        schedule,
        requests_per_day: written.requests_per_day,
        apart: Duration::from_millis(written.request_interval_ms),
    }))
}

/// When the batch is due.
pub(super) fn schedule(written: &Batch) -> anyhow::Result<CronSchedule> {
    CronSchedule::new(&written.schedule, &written.zone)
        .context("in `batch.schedule` and `batch.zone`")
}

fn read_key(path: &PathBuf) -> anyhow::Result<String> {
    let key = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `batch.key_file` {}", path.display()))?;
    ensure!(!key.trim().is_empty(), "`batch.key_file` {} is empty", path.display());
    Ok(key)
}

/// The simulator of transactions as `written`; `None` where it is off.
pub(super) fn simulator(written: &Transactions) -> anyhow::Result<Option<Simulator>> {
    ensure!(
        (1..=RATE_MAX).contains(&written.rate),
        "`transactions.rate` is {}: write 1 to {RATE_MAX} a second",
        written.rate
    );
    Ok(written.simulate.then_some(Simulator { seed: written.seed, rate: written.rate }))
}

/// How whatever lies on the topic of transactions is understood.
pub(super) fn mapping(written: &Transactions) -> anyhow::Result<Mapping> {
    Mapping::new(written.rules.clone()).context("in `transactions.rules`")
}
