//! The alert rules and dashboards as this test needs them: rules in small, dashboards as a list.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell;

/// Minutes are seconds here, …
const SHRINK: u64 = 60;
/// … but no span of a rule is shorter than this, so that it holds a few scrapes.
const SPAN_MIN: u64 = 15;
/// Nor does an alert wait for less.
const FOR_MIN: u64 = 2;

/// Amounts that no test reaches, and counts within a span: the alert, what its rule says, what it says here.
const AMOUNTS: [(&str, &str, &str); 9] = [
    ("StreamsTorn", "> 20", "> 5"),
    ("PlacementRestless", "> 10", "> 3"),
    ("ActorRestarting", "> 3", "> 1"),
    ("MemoryHigh", "> 800 * 1024 * 1024", "> 8 * 1024 * 1024"),
    ("WalLong", "> 1024 * 1024 * 1024", "> 1024"),
    ("LogKept", "> 20 * 1024 * 1024 * 1024", "> 1024"),
    ("StoreBehind", "> 100000", "> 1000"),
    ("BatchLate", "> 4 * 86400", "> 1"),
    ("CheckpointStale", "> 600", "> 5"),
];

/// Makes the rules in `folder` quick: spans in seconds instead of minutes, and [`AMOUNTS`]. Answers
/// the names of all alerts and of all that is recorded.
pub(super) fn shrink(folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut alerts, mut recorded) = (Vec::new(), Vec::new());
    let mut amounts = 0;
    for file in shell::files(folder, ".yml")? {
        if file.to_string_lossy().ends_with(".test.yml") {
            continue;
        }
        let mut alert = String::new();
        let mut lines = Vec::new();
        for line in fs::read_to_string(&file)?.lines() {
            let (_, item) = line.split_once("- ").unwrap_or(("", ""));
            if let Some(name) = item.strip_prefix("alert: ") {
                name.clone_into(&mut alert);
                alerts.push(alert.clone());
            } else if let Some(name) = item.strip_prefix("record: ") {
                recorded.push(name.to_owned());
            }
            let mut line = shorter(line);
            if let Some((_, there, here)) = AMOUNTS.iter().find(|it| it.0 == alert)
                && line.contains(there)
            {
                line = line.replace(there, here);
                amounts += 1;
            }
            lines.push(line);
        }
        fs::write(&file, lines.join("\n") + "\n")?;
    }
    ensure!(amounts == AMOUNTS.len(), "an amount that a rule names has changed: see AMOUNTS");
    Ok((alerts, recorded))
}

/// A line of a rule with its spans in small. Others stay as they are.
fn shorter(line: &str) -> String {
    if let Some((indent, span)) = line.split_once("for: ")
        && indent.trim().is_empty()
        && let Some(seconds) = seconds(span)
    {
        return format!("{indent}for: {}s", (seconds / SHRINK).max(FOR_MIN));
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some((at, begin)) =
        ["[", "offset "].iter().filter_map(|it| Some((rest.find(it)?, it))).min()
    {
        let (before, after) = rest.split_at(at + begin.len());
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (span, after) = after.split_at(end);
        out.push_str(before);
        match seconds(span) {
            Some(seconds) => out.push_str(&format!("{}s", (seconds / SHRINK).max(SPAN_MIN))),
            None => out.push_str(span),
        }
        rest = after;
    }
    out + rest
}

/// `15m` in seconds.
fn seconds(span: &str) -> Option<u64> {
    let (number, unit) = span.split_at_checked(span.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * factor)
}

/// Every expression that a dashboard asks Prometheus, with the panel that does, as for all nodes and
/// stores and within a short time.
pub(super) fn panels() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for file in shell::files(&shell::root().join("grafana/dashboards"), ".json")? {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let title = dashboard.get("title").and_then(Value::as_str).context("without a title")?;
        let list = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        for panel in list(&dashboard, "panels") {
            let name = panel.get("title").and_then(Value::as_str).unwrap_or_default();
            for target in list(&panel, "targets") {
                let Some(asked) = target.get("expr").and_then(Value::as_str) else { continue };
                let asked = asked
                    .replace("$__rate_interval", "10s")
                    .replace("$node", ".*")
                    .replace("$store", ".*");
                ensure!(!asked.contains('$'), "{title}, {name}: an unknown variable in {asked}");
                found.push((format!("{title}, {name}"), asked));
            }
        }
    }
    ensure!(!found.is_empty(), "no dashboard asks Prometheus anything");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(shorter(line), expected);
    }

    #[test]
    fn spans_are_short_and_everything_else_stays() {
        check("        for: 10m", "        for: 10s");
        check("        for: 1m", "        for: 2s");
        check("  expr: rate(a{b=\"c[d]\"}[15m]) > 15", "  expr: rate(a{b=\"c[d]\"}[15s]) > 15");
        check("  (a unless a offset 1h) / sum(b[5m])", "  (a unless a offset 60s) / sum(b[15s])");
        check("  summary: 'look for: 10m'", "  summary: 'look for: 10m'");
    }

    #[test]
    fn every_dashboard_is_read() {
        let panels = panels().unwrap();
        assert!(panels.iter().any(|(_, it)| it == "fts_ready{instance=~\".*\"}"), "{panels:?}");
    }
}
