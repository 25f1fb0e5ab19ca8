//! Logs and metrics.

mod process;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::Context as _;
use fts_actors::view::View;
use fts_core::metrics;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// From a millisecond to a minute: fine where the goals lie.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Logs to standard error: for people on a terminal, as JSON otherwise.
pub(crate) fn log(filter: &str) {
    let filter = EnvFilter::new(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second node in one process (the tests) shares the first one's logs.
    let set = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    drop(set);
}

/// Starts to count; the handle renders what was counted.
pub(crate) fn count() -> anyhow::Result<Arc<PrometheusHandle>> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot set up the metrics")?;
    metrics::describe();
    Ok(Arc::new(handle))
}

/// What was counted, and how the node and its process are at this moment.
pub(crate) fn render(handle: &PrometheusHandle, view: &View) -> String {
    let is_ready = view.update(|picture| picture.problems.is_empty());
    ::metrics::gauge!(metrics::READY).set(f64::from(u8::from(is_ready)));
    let mut text = handle.render();
    process::render(&mut text);
    text
}
