//! The tables, brought to this program's version. Two nodes may do it at once.

use std::time::Duration;

use fts_core::port::store::StoreError;
use scylla::client::session::Session;
use scylla::statement::unprepared::Statement;

use super::config::ScyllaConfig;
use super::errors;

/// Step `n` leads from version `n` to `n + 1`. A step that was released is never edited. Each of
/// its statements may be run again.
const STEPS: &[&str] = &[include_str!("schema/1.cql")];
/// Which steps were applied.
const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    component text,
    version int,
    applied_at timestamp,
    PRIMARY KEY (component, version)
) WITH comment = 'Steps of the schema that were applied.';";
/// Whose steps.
const COMPONENT: &str = "fts-node";
/// How long one change of the schema may take: all nodes must agree on it.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates what is missing. Asks for no more rights than it needs: none where nothing is missing.
pub(super) async fn migrate(session: &Session, config: &ScyllaConfig) -> Result<(), StoreError> {
    let keyspace = &config.keyspace;
    let found = version(session, keyspace).await?;
    let known = STEPS.len();
    if found > known {
        return Err(errors::refused(format!(
            "keyspace {keyspace} has version {found} of the tables, this program knows up to \
             {known}: use a newer fts-node, or another keyspace"
        )));
    }
    if found == known {
        return Ok(());
    }
    tracing::info!(keyspace, found, known, "bringing the tables to this program's version");
    if !exists(
        session,
        "SELECT keyspace_name FROM system_schema.keyspaces \
                         WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?
    {
        run(session, &create_keyspace(config)).await?;
    }
    for statement in statements(VERSIONS, keyspace) {
        run(session, &statement).await?;
    }
    for (number, step) in STEPS.iter().enumerate().skip(found) {
        for statement in statements(step, keyspace) {
            run(session, &statement).await?;
        }
        let version = number + 1;
        let applied = format!(
            "INSERT INTO \"{keyspace}\".schema_versions (component, version, applied_at) \
             VALUES ('{COMPONENT}', {version}, toTimestamp(now()))"
        );
        run(session, &applied).await?;
    }
    Ok(())
}

fn create_keyspace(config: &ScyllaConfig) -> String {
    let (keyspace, copies) = (&config.keyspace, config.replication_factor);
    // `replication_factor` stands for every data centre there is.
    let place = config.datacenter.as_deref().unwrap_or("replication_factor");
    format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{place}': {copies}}}"
    )
}

/// The version of the tables; 0 where there are none.
async fn version(session: &Session, keyspace: &str) -> Result<usize, StoreError> {
    let there = exists(
        session,
        "SELECT table_name FROM system_schema.tables \
         WHERE keyspace_name = ? AND table_name = 'schema_versions'",
        (keyspace,),
    )
    .await?;
    if !there {
        return Ok(0);
    }
    let select = format!(
        "SELECT version FROM \"{keyspace}\".schema_versions WHERE component = '{COMPONENT}'"
    );
    let result = session.query_unpaged(select, ()).await;
    let rows = result.map_err(|error| errors::of_request(&error).error)?;
    let rows = rows.into_rows_result().map_err(errors::unavailable)?;
    let versions = rows.rows::<(i32,)>().map_err(errors::unavailable)?;
    let mut newest = 0;
    for version in versions {
        let (version,) = version.map_err(errors::unavailable)?;
        newest = newest.max(usize::try_from(version).unwrap_or(0));
    }
    Ok(newest)
}

async fn exists(session: &Session, cql: &str, key: (&str,)) -> Result<bool, StoreError> {
    let result = session.query_unpaged(cql, key).await;
    let rows = result.map_err(|error| errors::of_request(&error).error)?;
    Ok(rows.into_rows_result().map_err(errors::unavailable)?.rows_num() > 0)
}

/// Runs one statement; where it changes the schema, waits until all nodes agree on it.
async fn run(session: &Session, cql: &str) -> Result<(), StoreError> {
    let mut statement = Statement::new(cql);
    statement.set_request_timeout(Some(STEP_TIMEOUT));
    statement.set_is_idempotent(true);
    let result = session.query_unpaged(statement, ()).await;
    result.map(drop).map_err(|error| errors::of_request(&error).error)
}

/// A step's statements, for the tables of `keyspace`.
///
/// Each table gets an id that follows from its name. Of two nodes that create the same table at
/// once through different servers, Cassandra would give each table an id of its own, and then has
/// two tables of one name. (ScyllaDB puts changes of the schema in order, and needs none of this.)
fn statements(step: &str, keyspace: &str) -> Vec<String> {
    const CREATE: &str = "CREATE TABLE IF NOT EXISTS ";
    let lines = step.lines().filter(|line| !line.starts_with("--"));
    let text: Vec<&str> = lines.collect();
    let whole = text.join("\n");
    let parts = whole.split(";\n").map(|it| it.trim().trim_end_matches(';'));
    parts
        .filter(|it| !it.is_empty())
        .map(|statement| match statement.strip_prefix(CREATE) {
            Some(rest) => {
                let name = rest.split_whitespace().next().unwrap_or_default();
                let id = table_id(keyspace, name);
                let options = if rest.contains(") WITH ") { " AND" } else { " WITH" };
                format!("{CREATE}\"{keyspace}\".{rest}{options} id = {id}")
            }
            None => statement.to_owned(),
        })
        .collect()
}

/// A UUID that follows from the names (FNV-1a, twice).
fn table_id(keyspace: &str, table: &str) -> String {
    let half = |salt: &str| {
        let bytes = [salt, "fts-node", keyspace, table].into_iter().flat_map(|it| {
            // A byte that no name has keeps `a`, `bc` apart from `ab`, `c`.
            it.bytes().chain([0xff])
        });
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    // Version 8, variant 1: an id of somebody's own making.
    let high = half("high") & 0xffff_ffff_ffff_0fff | 0x8000;
    let low = half("low") & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_names_its_keyspace_and_its_id() {
        let all: Vec<String> = STEPS.iter().flat_map(|step| statements(step, "ks")).collect();
        assert_eq!(all.len(), fts_core::row::Table::ALL.len() + 2);
        for statement in &all {
            assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS \"ks\"."), "{statement}");
            assert_eq!(statement.matches(" id = ").count(), 1, "{statement}");
            assert!(!statement.contains(';') && !statement.contains("--"), "{statement}");
        }
    }

    #[test]
    fn ids_differ_by_keyspace_and_table_and_stay_the_same() {
        let ids = [
            table_id("ks", "trades"),
            table_id("ks", "candles"),
            table_id("k", "strades"),
            table_id("ks2", "trades"),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 36);
            assert!(!ids[..index].contains(id), "{id}");
        }
        assert_eq!(table_id("binance_stream", "trades"), "5fd47061-d160-8bd9-aa3e-8516700d59f5");
    }

    #[test]
    fn a_keyspace_is_replicated_in_one_data_centre_or_in_each() {
        let mut config = ScyllaConfig::new(vec!["a:1".to_owned()]);
        assert!(create_keyspace(&config).contains("'replication_factor': 3"));
        config.datacenter = Some("eu-1".to_owned());
        config.replication_factor = 2;
        assert!(create_keyspace(&config).contains("'eu-1': 2"));
    }
}
