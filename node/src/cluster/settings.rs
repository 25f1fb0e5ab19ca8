//! What all nodes of a cluster must have alike, and how a node that joins comes by it.
//!
//! Alike is everything but what `LOCAL` names and what is secret: symbols, topics, partitions, rules,
//! stores. A node that joins takes it from the cluster; what was written for it (in its file, its
//! environment, its flags) may repeat the cluster's word, and not contradict it.

use anyhow::bail;
use toml::{Table, Value};

/// Keys and sections that are a node's own.
const LOCAL: &[&str] = &[
    "name",
    "data_dir",
    "http",
    "cluster",
    "telemetry",
    "binance.connections_per_5min",
    "binance.weight_per_minute",
    "binance.egress",
    "binance.read_timeout_ms",
    "binance.connect_timeout_ms",
    "binance.rest_timeout_ms",
    "ingest.symbols_per_socket",
    "ingest.backoff_min_ms",
    "ingest.backoff_max_ms",
    "log.segment_bytes",
    "log.retention_ms",
    "log.retention_bytes",
    "log.tail_bytes",
    "log.kafka.spill_bytes",
];
/// A key whose last word contains one of these is secret, or the name of a file of this machine.
const SECRET: &[&str] = &["password", "secret", "token", "api_key", "_file", "username"];

/// What of a configuration (all of it, with its defaults) all nodes must have alike.
pub fn shared(all: &Table) -> Table {
    without_local(all, "")
}

/// The configuration of a node that joins: what was written for it, and the cluster's.
///
/// # Errors
/// Names every key that was written otherwise than the cluster has it, with both values.
pub fn adopt(written: &Table, cluster: &Table) -> anyhow::Result<Table> {
    let mut contradictions = Vec::new();
    compare(&without_local(written, ""), cluster, "", &mut contradictions);
    if !contradictions.is_empty() {
        bail!(
            "this node's configuration contradicts the cluster's: {}. Take the keys out of this \
             node's configuration, or write what the cluster has",
            contradictions.join("; ")
        );
    }
    let mut adopted = cluster.clone();
    overlay(&mut adopted, written);
    Ok(adopted)
}

fn without_local(table: &Table, place: &str) -> Table {
    let mut kept = Table::new();
    for (key, value) in table {
        let path = join(place, key);
        if LOCAL.contains(&path.as_str()) || SECRET.iter().any(|word| key.contains(word)) {
            continue;
        }
        let value = match value {
            Value::Table(inner) => Value::Table(without_local(inner, &path)),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| match item {
                        Value::Table(inner) => Value::Table(without_local(inner, &path)),
                        other => other.clone(),
                    })
                    .collect(),
            ),
            other => other.clone(),
        };
        kept.insert(key.clone(), value);
    }
    kept
}

fn compare(written: &Table, cluster: &Table, place: &str, found: &mut Vec<String>) {
    for (key, value) in written {
        let path = join(place, key);
        match (value, cluster.get(key)) {
            (Value::Table(written), Some(Value::Table(cluster))) => {
                compare(written, cluster, &path, found);
            }
            (value, Some(theirs)) if alike(value, theirs) => {}
            (value, Some(theirs)) => {
                found.push(format!(
                    "`{path}` is {} here and {} there",
                    short(value),
                    short(theirs)
                ));
            }
            // A section that the cluster does not know, such as one of a later version.
            (_, None) => {}
        }
    }
}

/// What `written` has goes before; tables are laid over one another.
fn overlay(under: &mut Table, written: &Table) {
    for (key, value) in written {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(written)) => overlay(under, written),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

/// Lists of texts are alike in any order: symbols, channels, addresses.
fn alike(one: &Value, other: &Value) -> bool {
    let texts = |value: &Value| -> Option<Vec<String>> {
        let mut texts: Vec<String> = value
            .as_array()?
            .iter()
            .map(|item| item.as_str().map(str::to_lowercase))
            .collect::<Option<_>>()?;
        texts.sort();
        Some(texts)
    };
    one == other || texts(one).is_some_and(|ours| texts(other) == Some(ours))
}

fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain(['…']).collect()
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    const CLUSTER: &str = "symbols = ['A', 'B']\n[ingest]\nfeeds = 2\n[log]\nkind = 'kafka'\npartitions = 8\n\
                           [[stores]]\nkind = 'scylla'\nnodes = ['x:1']";

    #[track_caller]
    fn check(written: &str, expected: &str) {
        match adopt(&table(written), &table(CLUSTER)) {
            Ok(adopted) => {
                let all = table(&format!("{adopted}"));
                for (key, value) in table(expected) {
                    assert_eq!(all.get(&key), Some(&value), "{key}");
                }
            }
            Err(error) => {
                let text = error.to_string();
                for part in expected.split(" … ") {
                    assert!(text.contains(part), "`{part}` is not in: {text}");
                }
            }
        }
    }

    #[test]
    fn what_was_not_written_is_the_cluster_s() {
        check("", CLUSTER);
        check("name = 'n'\n[http]\nlisten = ':1'", "name = 'n'\n[http]\nlisten = ':1'");
        check("[log]\ntail_bytes = 5", "[log]\ntail_bytes = 5\nkind = 'kafka'\npartitions = 8");
        check("symbols = ['b', 'A']", "[ingest]\nfeeds = 2");
        check("[ingest]\nfeeds = 2", CLUSTER);
    }

    #[test]
    fn a_secret_is_a_node_s_own() {
        check(
            "[log]\nsasl_password = 'x'",
            "[log]\nsasl_password = 'x'\nkind = 'kafka'\npartitions = 8",
        );
        check(
            "[[stores]]\nkind = 'scylla'\nnodes = ['x:1']\npassword = 'x'",
            "[[stores]]\nkind = 'scylla'\nnodes = ['x:1']\npassword = 'x'",
        );
        let all =
            table("[log]\nsasl_password = 'x'\nkind = 'a'\n[[stores]]\nkind = 'b'\npassword = 'y'");
        assert_eq!(shared(&all), table("[log]\nkind = 'a'\n[[stores]]\nkind = 'b'"));
    }

    #[test]
    fn contradictions_are_named_with_both_values() {
        check("[ingest]\nfeeds = 1", "`ingest.feeds` is 1 here and 2 there");
        check("symbols = ['A']", "`symbols` is [\"A\"] here and [\"A\", \"B\"] there");
        check(
            "[log]\nkind = 'embedded'\npartitions = 4",
            "`log.kind` is \"embedded\" here and \"kafka\" there … `log.partitions` is 4 here and 8 there",
        );
        check("[[stores]]\nkind = 'sqlite'", "`stores` is");
    }
}
