//! Index templates and mappings, brought to this program's version. Two nodes may do it at once:
//! each step may be run again.

use std::collections::BTreeMap;

use fts_core::port::store::StoreError;
use fts_core::row::Table;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::columns::{VERSION, mapping};
use super::config::ElasticsearchConfig;
use super::errors;
use super::index::{Index, Period, alias, pattern, period};

/// Above the templates that servers bring with them.
const PRIORITY: u32 = 500;

/// Creates what is missing. Asks for no more rights than it needs: none to change anything where
/// nothing is missing.
pub(super) async fn migrate(
    client: &Client,
    config: &ElasticsearchConfig,
) -> Result<(), StoreError> {
    // First what is there: an index in the way of an alias forbids its template.
    let mut outdated = Vec::new();
    for (index, version) in indices(client, config).await? {
        let table = config.tables.iter().find(|table| match period(**table) {
            Period::Ever => alias(&config.index_prefix, **table) == index,
            Period::Day | Period::Month => {
                Index::named(&config.index_prefix, **table, &index).is_some()
            }
        });
        match (table, version) {
            (Some(_), Some(VERSION)) => {}
            (Some(_), Some(version)) if version > VERSION => return Err(too_new(&index, version)),
            (Some(table), Some(_)) => outdated.push((index, *table)),
            (_, _) => {
                return Err(errors::refused(format!(
                    "{index} exists, and is not an index of this program: remove or rename it, or \
                     set `index_prefix`"
                )));
            }
        }
    }
    let found = templates(client, config).await?;
    for table in &config.tables {
        let name = template_name(config, *table);
        match found.get(&name) {
            Some(it) if it.version > VERSION => return Err(too_new(&name, it.version)),
            Some(it) if it.version == VERSION && it.settings == sizes(config) => {}
            _ => {
                tracing::info!(template = name, version = VERSION, "writing an index template");
                let path = format!("/_index_template/{name}");
                client.put_json(&path, &template(config, *table)).await?.success()?;
            }
        }
    }
    for (index, table) in outdated {
        tracing::info!(index, version = VERSION, "bringing an index up to date");
        client.put_json(&format!("/{index}/_mapping"), &mapping(table)).await?.success()?;
    }
    Ok(())
}

fn too_new(what: &str, version: u64) -> StoreError {
    errors::refused(format!(
        "{what} has version {version}, this program knows up to {VERSION}: use a newer fts-node, or \
         another `index_prefix`"
    ))
}

fn template_name(config: &ElasticsearchConfig, table: Table) -> String {
    format!("{}fts-{}", config.index_prefix, table.name())
}

/// Numbers as servers give them back.
fn sizes(config: &ElasticsearchConfig) -> (String, String) {
    (config.shards.to_string(), config.replicas.to_string())
}

fn template(config: &ElasticsearchConfig, table: Table) -> Value {
    let prefix = &config.index_prefix;
    let (shards, replicas) = sizes(config);
    let aliases = match period(table) {
        Period::Ever => json!({}),
        Period::Day | Period::Month => json!({ alias(prefix, table): {} }),
    };
    json!({
        "index_patterns": [pattern(prefix, table)],
        "priority": PRIORITY,
        "version": VERSION,
        "template": {
            "settings": { "index": {
                "number_of_shards": shards,
                "number_of_replicas": replicas,
            } },
            "mappings": mapping(table),
            "aliases": aliases,
        },
    })
}

/// A template that is there.
struct Template {
    version: u64,
    settings: (String, String),
}

async fn templates(
    client: &Client,
    config: &ElasticsearchConfig,
) -> Result<BTreeMap<String, Template>, StoreError> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
        index_template: Value,
    }
    #[derive(Deserialize)]
    struct Found {
        #[serde(default)]
        index_templates: Vec<Named>,
    }
    let path = format!("/_index_template/{}fts-*", config.index_prefix);
    let answer = client.get(&path, &[]).await?;
    if answer.is_missing() {
        return Ok(BTreeMap::new());
    }
    let found: Found = answer.success()?.json()?;
    let read = |it: Named| {
        let size = |name: &str| {
            let path = format!("/template/settings/index/{name}");
            it.index_template.pointer(&path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let version = it.index_template.get("version").and_then(Value::as_u64).unwrap_or(0);
        let settings = (size("number_of_shards"), size("number_of_replicas"));
        (it.name.clone(), Template { version, settings })
    };
    Ok(found.index_templates.into_iter().map(read).collect())
}

/// The indices that have a name of ours, or its beginning, and the version of each; `None` for one
/// that is not of this program's making.
async fn indices(
    client: &Client,
    config: &ElasticsearchConfig,
) -> Result<Vec<(String, Option<u64>)>, StoreError> {
    if config.tables.is_empty() {
        return Ok(Vec::new());
    }
    // By the name, too: an index in the way of an alias has it.
    let mut names = Vec::new();
    for table in &config.tables {
        names.push(alias(&config.index_prefix, *table));
        if period(*table) != Period::Ever {
            names.push(pattern(&config.index_prefix, *table));
        }
    }
    let query = [("ignore_unavailable", "true"), ("allow_no_indices", "true")];
    let answer = client.get(&format!("/{}/_mapping", names.join(",")), &query).await?;
    if answer.is_missing() {
        return Ok(Vec::new());
    }
    let found: BTreeMap<String, Value> = answer.success()?.json()?;
    let version = |it: &Value| it.pointer("/mappings/_meta/fts_node").and_then(Value::as_u64);
    Ok(found.into_iter().map(|(name, it)| (name, version(&it))).collect())
}
