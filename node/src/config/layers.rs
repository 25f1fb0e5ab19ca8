//! File, environment and command line, laid over one another; each word checked where it stands.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use toml::{Table, Value};

use super::Overrides;
use super::written::Written;

const PREFIX: &str = "FTS__";
const DEFAULT_FILE: &str = "cluster.toml";

/// Everything that was written, in one table.
pub(super) fn merge(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Table> {
    let default = Path::new(DEFAULT_FILE);
    let path = overrides.file.as_deref().or_else(|| default.exists().then_some(default));
    let table = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))?;
            parse(&path.display().to_string(), &text)?
        }
        None => Table::new(),
    };
    apply(table, overrides, environment)
}

/// A file's table. Errors show the line.
pub(super) fn parse(name: &str, text: &str) -> anyhow::Result<Table> {
    let written: Result<Written, _> = toml::from_str(text);
    written.with_context(|| format!("in {name}"))?;
    toml::from_str(text).with_context(|| format!("in {name}"))
}

/// Environment and command line over the file's table.
pub(super) fn apply(
    mut table: Table,
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Table> {
    let mut variables: Vec<(String, String)> = environment
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        })
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    for (name, value) in variables {
        let key = name.trim_start_matches(PREFIX).to_lowercase().replace("__", ".");
        set(&mut table, &key, interpret(&value))
            .with_context(|| format!("in environment {name}"))?;
    }
    for pair in &overrides.set {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--set {pair}: write section.key=value");
        };
        set(&mut table, key.trim(), interpret(value.trim()))
            .with_context(|| format!("in --set {key}"))?;
    }
    if let Some(data_dir) = &overrides.data_dir {
        let data_dir = Value::String(data_dir.display().to_string());
        set(&mut table, "data_dir", data_dir).context("in --data-dir")?;
    }
    if let Some(http) = &overrides.http {
        set(&mut table, "http.listen", Value::String(http.clone())).context("in --http")?;
    }
    if let Some(listen) = &overrides.cluster_listen {
        set(&mut table, "cluster.listen", Value::String(listen.clone()))
            .context("in --cluster-listen")?;
    }
    if !overrides.join.is_empty() {
        let join = overrides.join.iter().cloned().map(Value::String).collect();
        set(&mut table, "cluster.join", Value::Array(join)).context("in --join")?;
    }
    Ok(table)
}

/// The table as what was written.
pub(super) fn read(table: Table) -> anyhow::Result<Written> {
    table.try_into().context("in the configuration")
}

/// Sets a key and sees whether the whole is still a configuration.
fn set(table: &mut Table, key: &str, value: Value) -> anyhow::Result<()> {
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().filter(|it| !it.is_empty()).ok_or_else(|| anyhow!("no key is named"))?;
    let mut place = &mut *table;
    for section in path {
        let entry = place.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        place = entry
            .as_table_mut()
            .with_context(|| format!("`{key}`: `{section}` is a value, not a section"))?;
    }
    place.insert(last.to_owned(), value);
    let checked: Result<Written, _> = table.clone().try_into();
    checked.map(drop).with_context(|| format!("`{key}` can't be set so"))
}

/// TOML where it is some, else text: `--set symbols=["A"]`, `--set name=here`.
fn interpret(text: &str) -> Value {
    let as_toml: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    as_toml
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
