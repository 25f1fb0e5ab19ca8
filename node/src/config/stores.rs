//! `[[stores]]`: which stores there are, what each takes, and how it is reached.
//!
//! What all kinds have in common stands in [`StoreEntry`]; what only one kind has, in its section,
//! a variant of [`StoreConfig`].

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use fts_adapters::elasticsearch::ElasticsearchConfig;
use fts_adapters::kafka::KafkaConfig;
use fts_adapters::scylla::ScyllaConfig;
use fts_core::row::Table;
use serde::Deserialize;
use toml::Value;

/// A store of the node. Valid.
#[derive(Debug, Clone)]
pub(crate) struct StoreEntry {
    /// What operators call it; checkpoints are kept under it.
    pub(crate) name: String,
    /// The tables that it takes.
    pub(crate) tables: Vec<Table>,
    /// How long rows are kept, in milliseconds, by table.
    pub(crate) retention: Vec<(Table, i64)>,
    /// How it is reached.
    pub(crate) config: StoreConfig,
}

/// The section of each kind of store.
#[derive(Debug, Clone)]
pub(crate) enum StoreConfig {
    /// `kind = "sqlite"`
    Sqlite(Sqlite),
    /// `kind = "scylla"`
    Scylla(Box<ScyllaConfig>),
    /// `kind = "kafka"`
    Kafka(Box<KafkaConfig>),
    /// `kind = "elasticsearch"`
    Elasticsearch(Box<ElasticsearchConfig>),
}

/// The kinds there are.
const KINDS: [&str; 4] = ["sqlite", "scylla", "kafka", "elasticsearch"];

impl StoreConfig {
    /// The section of `kind`, from what is left of it.
    fn read(kind: &str, section: toml::Table) -> anyhow::Result<Self> {
        match kind {
            "sqlite" => Ok(Self::Sqlite(section.try_into()?)),
            "scylla" => {
                let config: ScyllaConfig = section.try_into()?;
                config.check()?;
                Ok(Self::Scylla(Box::new(config)))
            }
            "kafka" => Ok(Self::Kafka(Box::new(super::log::results(section)?))),
            "elasticsearch" => {
                let config: ElasticsearchConfig = section.try_into()?;
                config.check()?;
                Ok(Self::Elasticsearch(Box::new(config)))
            }
            other => bail!("`kind` is \"{other}\": write one of {}", KINDS.join(", ")),
        }
    }
}

/// A SQLite file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sqlite {
    /// Where it is; without one, in the data directory.
    path: Option<PathBuf>,
}

impl Sqlite {
    /// The file, of a node with this data directory.
    pub(crate) fn path(&self, data_dir: &Path) -> PathBuf {
        self.path.clone().unwrap_or_else(|| data_dir.join("fts.sqlite"))
    }
}

/// The stores as `written`, of a node with this `data_dir`; `retention` is that of all of them.
pub(super) fn check(
    written: &[toml::Table],
    retention: &[(Table, i64)],
    data_dir: &Path,
) -> anyhow::Result<Vec<StoreEntry>> {
    ensure!(!written.is_empty(), "`stores` is empty: leave it out, or name one");
    let mut entries: Vec<StoreEntry> = Vec::new();
    for (index, section) in written.iter().enumerate() {
        let entry = entry(section.clone(), retention);
        let entry = entry.with_context(|| format!("in `stores`, number {}", index + 1))?;
        ensure!(
            entries.iter().all(|it| it.name != entry.name),
            "`stores` has two of the name {}: give each a `name`",
            entry.name
        );
        entries.push(entry);
    }
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::of(&entry.config, data_dir);
        let same = |it: &&StoreEntry| Place::of(&it.config, data_dir).is_also(&place);
        if let Some(other) = entries.iter().take(index).find(same) {
            bail!(
                "`stores`: {} and {} write to one place, {:?}: give one another `{}`, or leave it out",
                other.name,
                entry.name,
                place.name,
                place.key
            );
        }
    }
    Ok(entries)
}

/// Where the rows of a store are.
struct Place {
    /// Which key says so, beside the servers.
    key: &'static str,
    /// The servers; none for a file.
    servers: Vec<String>,
    /// What it is called there.
    name: String,
}

impl Place {
    fn of(config: &StoreConfig, data_dir: &Path) -> Self {
        let (key, servers, name) = match config {
            StoreConfig::Sqlite(it) => {
                let path = resolved(&it.path(data_dir));
                ("path", &[][..], path.to_string_lossy().into_owned())
            }
            StoreConfig::Scylla(it) => ("keyspace", &it.nodes[..], it.keyspace.clone()),
            StoreConfig::Kafka(it) => ("topic_prefix", &it.brokers[..], it.topic_prefix.clone()),
            StoreConfig::Elasticsearch(it) => {
                ("index_prefix", &it.nodes[..], it.index_prefix.clone())
            }
        };
        let plain = |server: &String| {
            let server = server.to_lowercase();
            let address = server.split_once("://").map_or(&*server, |(_, address)| address);
            address.trim_end_matches('/').to_owned()
        };
        Self { key, servers: servers.iter().map(plain).collect(), name }
    }

    /// Whether both are one place. Clusters that have a server in common are one.
    fn is_also(&self, other: &Self) -> bool {
        (self.key, &self.name) == (other.key, &other.name)
            && (self.servers.is_empty() || self.servers.iter().any(|it| other.servers.contains(it)))
    }
}

/// The absolute path. Links are followed as far as it is there; of what is not, `..` goes by its name.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|it| Some((it, it.canonicalize().ok()?)));
    let Some((there, mut resolved)) = there else { return path };
    for part in path.strip_prefix(there).into_iter().flat_map(Path::components) {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(name) => resolved.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

fn entry(mut section: toml::Table, retention: &[(Table, i64)]) -> anyhow::Result<StoreEntry> {
    let Some(Value::String(kind)) = section.remove("kind") else {
        bail!("`kind` is missing: write one of {}", KINDS.join(", "));
    };
    let name = match section.remove("name") {
        None => kind.clone(),
        Some(Value::String(name)) => name,
        Some(other) => bail!("`name` is {other}: write text"),
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    ensure!(
        !name.is_empty() && name.len() <= 32 && name.chars().all(fits),
        "`name` is \"{name}\": write up to 32 of a-z, 0-9 and _"
    );
    let tables = match section.remove("tables") {
        None if kind == "elasticsearch" => ElasticsearchConfig::USUAL_TABLES.to_vec(),
        None => Table::ALL.to_vec(),
        Some(names) => tables(names)?,
    };
    let mut keep = retention.to_vec();
    for (name, keep_ms) in section.remove("retention").map(spans).transpose()?.into_iter().flatten()
    {
        keep.retain(|it| it.0 != name);
        if keep_ms > 0 {
            keep.push((name, keep_ms));
        }
    }
    keep.retain(|it| tables.contains(&it.0));
    let config = StoreConfig::read(&kind, section)?;
    Ok(StoreEntry { name, tables, retention: keep, config })
}

fn table(name: &str, place: &str) -> anyhow::Result<Table> {
    Table::from_name(name).with_context(|| {
        let names = Table::ALL.map(Table::name).join(", ");
        format!("`{place}` names {name}, which is no table: write some of {names}")
    })
}

fn tables(names: Value) -> anyhow::Result<Vec<Table>> {
    let names: Vec<String> = names.try_into().context("`tables` is not a list of names")?;
    ensure!(!names.is_empty(), "`tables` is empty: leave it out for the usual ones");
    let mut tables = Vec::new();
    for name in &names {
        let table = table(name, "tables")?;
        ensure!(!tables.contains(&table), "`tables` has {name} twice");
        tables.push(table);
    }
    Ok(tables)
}

fn spans(section: Value) -> anyhow::Result<Vec<(Table, i64)>> {
    let Value::Table(section) = section else {
        bail!("`retention` is {section}: write a section of milliseconds by table");
    };
    let mut spans = Vec::new();
    for (name, keep_ms) in section {
        let table = table(&name, "retention")?;
        let keep_ms = keep_ms.as_integer().filter(|it| *it >= 0);
        let keep_ms =
            keep_ms.with_context(|| format!("`retention.{name}`: write milliseconds, or 0"))?;
        spans.push((table, keep_ms));
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<StoreEntry>> {
        let mut written: toml::Table = toml::from_str(text)?;
        let stores: Vec<toml::Table> = written.remove("stores").unwrap().try_into()?;
        check(&stores, &[(Table::Trades, 5), (Table::Candles, 7)], Path::new("data"))
    }

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let error = format!("{:#}", read(text).expect_err("it must be refused"));
        for part in expected {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }

    #[test]
    fn a_store_takes_what_it_is_told_to_and_keeps_it_as_long() {
        let stores = read(
            "[[stores]]\nkind = \"sqlite\"\n\
             [[stores]]\nkind = \"sqlite\"\nname = \"small\"\npath = \"small.sqlite\"\n\
             tables = [\"candles\", \"alerts\"]\nretention = { candles = 60000, alerts = 0 }",
        )
        .unwrap();
        let [all, small] = &stores[..] else { panic!("{stores:?}") };
        assert_eq!((&*all.name, &*small.name), ("sqlite", "small"));
        assert_eq!(all.tables, Table::ALL);
        assert_eq!(all.retention, [(Table::Trades, 5), (Table::Candles, 7)]);
        assert_eq!(small.tables, [Table::Candles, Table::Alerts]);
        assert_eq!(small.retention, [(Table::Candles, 60_000)]);
    }

    #[test]
    fn a_scylla_store_has_its_own_keys() {
        let scylla = "[[stores]]\nkind = \"scylla\"\n";
        let stores = read(&format!("{scylla}nodes = [\"a:9042\"]\nconsistency = \"quorum\""));
        let stores = stores.unwrap();
        let StoreConfig::Scylla(config) = &stores[0].config else { panic!("{stores:?}") };
        assert_eq!(config.keyspace, "binance_stream");
        refused(scylla, &["number 1", "`nodes`", "host:port"]);
        refused(&format!("{scylla}nodes = [\"a:1\"]\npath = \"x\""), &["number 1", "path"]);
        let user = format!("{scylla}nodes = [\"a:1\"]\nusername = \"fts\"");
        refused(&user, &["number 1", "`password_file`"]);
    }

    #[test]
    fn an_elasticsearch_store_has_its_own_keys_and_takes_what_is_about_stocks() {
        let elastic = "[[stores]]\nkind = \"elasticsearch\"\n";
        let stores = read(&format!("{elastic}nodes = [\"https://a:9200\"]\nreplicas = 0")).unwrap();
        let StoreConfig::Elasticsearch(config) = &stores[0].config else { panic!("{stores:?}") };
        assert_eq!(config.replicas, 0);
        assert!(stores[0].tables.contains(&Table::Transactions));
        assert!(!stores[0].tables.contains(&Table::Trades));
        assert_eq!(stores[0].retention, []);
        let market = "nodes = [\"a:1\"]\ntables = [\"trades\"]";
        let stores = read(&format!("{elastic}{market}")).unwrap();
        assert_eq!(stores[0].tables, [Table::Trades]);
        assert_eq!(stores[0].retention, [(Table::Trades, 5)]);
        refused(elastic, &["number 1", "`nodes`", "https://host:port"]);
        refused(&format!("{elastic}nodes = [\"a:1\"]\npath = \"x\""), &["number 1", "path"]);
    }

    #[test]
    fn two_stores_do_not_write_to_one_place() {
        #[track_caller]
        fn check(kind: &str, one: &str, other: &str, key: Option<&str>) {
            let of = |name, keys| format!("[[stores]]\nkind = '{kind}'\nname = '{name}'\n{keys}\n");
            let text = of("a", one) + &of("b", other);
            match key {
                Some(key) => refused(&text, &["a and b", &format!("give one another `{key}`")]),
                None => assert_eq!(read(&text).unwrap().len(), 2),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let path = |path: &Path| format!("path = '{}'", path.display());
        let file = |one: &str, other: &str, key| check("sqlite", one, other, key);
        file("", &path(Path::new("data/fts.sqlite")), Some("path"));
        file("", &path(&here.join("data/fts.sqlite")), Some("path"));
        file("", &path(Path::new("fts.sqlite")), None);
        file("path = 'x/a'", "path = './x//a'", Some("path"));
        file("path = 'x/a'", "path = 'no-such-folder/../x/a'", Some("path"));
        file("path = 'x/a'", "path = 'x/b'", None);
        #[cfg(unix)]
        {
            let (real, link) = (folder.path().join("real"), folder.path().join("link"));
            std::fs::create_dir(&real).unwrap();
            std::os::unix::fs::symlink(&real, &link).unwrap();
            file(&path(&real.join("a")), &path(&link.join("a")), Some("path"));
        }
        let scylla = |one: &str, other: &str, key| check("scylla", one, other, key);
        let nodes = "nodes = ['a:9042', 'b:9042']";
        scylla(nodes, "nodes = ['B:9042', 'c:9042']", Some("keyspace"));
        scylla(nodes, "nodes = ['b:9042']\nkeyspace = 'other'", None);
        scylla(nodes, "nodes = ['c:9042']", None);
        let elastic = |one: &str, other: &str, key| check("elasticsearch", one, other, key);
        elastic("nodes = ['https://a:9200']", "nodes = ['a:9200/']", Some("index_prefix"));
        elastic("nodes = ['a:9200']", "nodes = ['a:9200']\nindex_prefix = 'x-'", None);
        let kafka = |one: &str, other: &str, key| check("kafka", one, other, key);
        kafka("brokers = ['a:9092']", "brokers = ['a:9092', 'b:9092']", Some("topic_prefix"));
        kafka("brokers = ['a:9092']", "brokers = ['a:9092']\ntopic_prefix = 'x.'", None);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        let second = "[[stores]]\nkind = \"sqlite\"\n[[stores]]\n";
        refused("stores = []", &["`stores` is empty"]);
        refused(&format!("{second}path = \"x\""), &["number 2", "`kind` is missing", "sqlite"]);
        refused(&format!("{second}kind = \"oracle\""), &["number 2", "\"oracle\"", "sqlite"]);
        refused(&format!("{second}kind = \"sqlite\""), &["two of the name sqlite"]);
        refused(
            &format!("{second}kind = \"sqlite\"\nname = \"b\""),
            &["sqlite and b", "give one another `path`"],
        );
        refused("[[stores]]\nkind = \"sqlite\"\npaht = \"x\"", &["number 1", "paht"]);
        refused("[[stores]]\nkind = \"sqlite\"\nname = \"a/b\"", &["a-z"]);
        refused("[[stores]]\nkind = \"sqlite\"\ntables = []", &["`tables` is empty"]);
        refused("[[stores]]\nkind = \"sqlite\"\ntables = [\"trade\"]", &["trade", "candles"]);
        refused("[[stores]]\nkind = \"sqlite\"\nretention = { trades = -1 }", &["trades"]);
    }
}
