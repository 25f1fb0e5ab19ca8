//! Logs and metrics.

mod process;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use fts_actors::view::View;
use fts_core::metrics;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// From a millisecond to a minute: fine where the goals lie.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Whether `telemetry.filter` says what is logged.
pub(crate) fn check_filter(filter: &str) -> anyhow::Result<()> {
    let advice = "write one of off, error, warn, info, debug, trace, and others for parts of the \
                  program behind it, without spaces: info,fts_node=debug";
    for word in filter.split(',').filter(|it| !it.is_empty() && !it.contains(['=', '['])) {
        // It would be the name of a part of the program, of which all is logged, and of others nothing.
        ensure!(
            word.parse::<LevelFilter>().is_ok(),
            "`telemetry.filter` is \"{filter}\", of which `{word}` is no level: {advice}"
        );
    }
    EnvFilter::try_new(filter)
        .with_context(|| format!("`telemetry.filter` is \"{filter}\": {advice}"))?;
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_log_nothing_by_mistake_is_refused() {
        for filter in [
            "info",
            "INFO",
            "off",
            "",
            "warn,fts_node=debug",
            "info,fts_node::http=off",
            "info,[write]=trace",
        ] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for (filter, words) in [
            ("inof", "`inof` is no level"),
            ("info,fts_node", "`fts_node` is no level"),
            ("warn, debug", "` debug`"),
            ("fts_node=debgu", "fts_node=debgu"),
            ("info;debug", "info;debug"),
        ] {
            let error = format!("{:#}", check_filter(filter).expect_err(filter));
            assert!(error.contains("`telemetry.filter`") && error.contains(words), "{error}");
            assert!(error.contains("info,fts_node=debug"), "{error}");
        }
    }
}
