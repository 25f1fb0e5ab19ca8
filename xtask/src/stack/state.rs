//! What was started, on record: `target/stack/state.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::process::Record;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) entries: Vec<Entry>,
}

/// A server that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) service: String,
    pub(super) ports: Vec<u16>,
    pub(super) processes: Vec<Record>,
    pub(super) variables: Vec<(String, String)>,
}

impl Entry {
    /// Whether all of it runs.
    pub(super) fn is_whole(&self) -> bool {
        self.processes.iter().all(Record::is_alive)
    }
}

impl State {
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("state.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path)?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is no JSON: remove it", path.display()))?;
        let entries = list(&value, "entries").filter_map(entry).collect();
        Ok(Self { entries })
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let entries: Vec<Value> = self.entries.iter().map(shown).collect();
        let text = serde_json::to_string_pretty(&json!({ "entries": entries }))?;
        let beside = folder.join("state.json.tmp");
        fs::write(&beside, text)?;
        fs::rename(&beside, folder.join("state.json"))?;
        Ok(())
    }
}

fn shown(entry: &Entry) -> Value {
    let process = |it: &Record| json!({ "label": it.label, "pid": it.pid, "started": it.started });
    let processes: Vec<Value> = entry.processes.iter().map(process).collect();
    json!({
        "service": entry.service, "ports": entry.ports, "processes": processes,
        "variables": entry.variables,
    })
}

fn entry(value: &Value) -> Option<Entry> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let process = |it: &Value| {
        Some(Record {
            label: text(it.get("label")?)?,
            pid: it.get("pid")?.as_u64()?.try_into().ok()?,
            started: it.get("started")?.as_u64(),
        })
    };
    Some(Entry {
        service: text(value.get("service")?)?,
        ports: list(value, "ports").filter_map(|it| it.as_u64()?.try_into().ok()).collect(),
        processes: list(value, "processes").filter_map(process).collect(),
        variables: list(value, "variables")
            .filter_map(|pair| Some((text(pair.get(0)?)?, text(pair.get(1)?)?)))
            .collect(),
    })
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let process = Record { label: "1".to_owned(), pid: 7, started: Some(8) };
        let entry = Entry {
            service: "kafka".to_owned(),
            ports: vec![1, 2],
            processes: vec![process],
            variables: vec![("A".to_owned(), "b".to_owned())],
        };
        let folder = std::env::temp_dir().join(format!("fts-xtask-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(State::load(&folder).unwrap(), State::default());
        let state = State { entries: vec![entry] };
        state.save(&folder).unwrap();
        assert_eq!(State::load(&folder).unwrap(), state);
        fs::remove_dir_all(&folder).unwrap();
    }
}
