//! Reading back: by search, page by page, until there is enough.

use fts_core::port::store::{End, Span, StoreError};
use fts_core::row::Table;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::ElasticsearchStore;
use super::client::Client;
use super::columns::time_column;
use super::document::{Fields, Read};
use super::errors;
use super::index::{alias, storable};

/// Documents that are asked for at once: as many as servers give.
const PAGE: usize = 10_000;

/// What is looked for.
pub(super) struct Search {
    pub(super) table: Table,
    filter: Vec<Value>,
    sort: Vec<Value>,
    limit: usize,
}

/// Whether the smaller or the greater values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Up,
    Down,
}

impl Search {
    /// A table's rows; in which order must be said.
    pub(super) fn of(table: Table, limit: usize) -> Self {
        Self { table, filter: Vec::new(), sort: Vec::new(), limit }
    }

    /// Those in whose `column` this stands.
    pub(super) fn with(mut self, column: &str, value: &str) -> Self {
        self.filter.push(json!({ "term": { column: value } }));
        self
    }

    /// Those whose `column` is no less.
    pub(super) fn from(mut self, column: &str, value: i64) -> Self {
        self.filter.push(json!({ "range": { column: { "gte": value } } }));
        self
    }

    /// Those of a span of time, from the end that is wanted on.
    pub(super) fn span(mut self, span: Span) -> Self {
        let time = time_column(self.table);
        let mut range = Map::new();
        // A time that no row can have is no bound.
        if storable(span.from) {
            range.insert("gte".to_owned(), span.from.into());
        }
        if storable(span.to) {
            range.insert("lte".to_owned(), span.to.into());
        }
        if !range.is_empty() {
            range.insert("format".to_owned(), "epoch_millis".into());
            self.filter.push(json!({ "range": { time: range } }));
        }
        if span.from > span.to {
            self.limit = 0;
        }
        self.by(time, if span.end == End::Oldest { Order::Up } else { Order::Down })
    }

    /// In this order, after the one there is.
    pub(super) fn by(mut self, column: &str, order: Order) -> Self {
        let order = if order == Order::Up { "asc" } else { "desc" };
        self.sort.push(json!({ column: { "order": order } }));
        self
    }
}

/// A page of what was found.
#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow, default)]
    hits: Hits<'a>,
    #[serde(rename = "_shards")]
    shards: Shards<'a>,
    timed_out: bool,
}

#[derive(Default, Deserialize)]
struct Hits<'a> {
    #[serde(borrow, default)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(borrow, rename = "_source")]
    source: &'a RawValue,
    #[serde(borrow, default)]
    sort: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Shards<'a> {
    failed: u64,
    #[serde(borrow, default)]
    failures: Option<&'a RawValue>,
}

impl ElasticsearchStore {
    /// The rows that a search finds, those included that this process has written just before.
    pub(super) async fn search<T>(
        &self,
        client: &Client,
        search: Search,
        read: fn(&Fields<'_>) -> Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        if search.limit == 0 || !self.config.tables.contains(&search.table) {
            return Ok(rows);
        }
        let alias = alias(&self.config.index_prefix, search.table);
        self.fresh.refresh(client, search.table, &alias).await?;
        let mut after: Option<Box<RawValue>> = None;
        while rows.len() < search.limit {
            let size = PAGE.min(search.limit - rows.len());
            let mut body = json!({
                "query": { "bool": { "filter": search.filter } },
                "sort": search.sort,
                "size": size,
                "track_total_hits": false,
            });
            if let (Some(after), Some(body)) = (&after, body.as_object_mut()) {
                let after = serde_json::from_str(after.get()).unwrap_or_default();
                body.insert("search_after".to_owned(), after);
            }
            let answer = ask(client, &alias, &body).await?;
            let found: Found<'_> = serde_json::from_slice(&answer)
                .map_err(|error| errors::refused(format!("an answer makes no sense ({error})")))?;
            if found.shards.failed > 0 || found.timed_out {
                let why = found.shards.failures.map_or("it timed out", RawValue::get);
                return Err(errors::unavailable(format!("a search is not whole: {why}")));
            }
            for hit in &found.hits.hits {
                let row = Fields::of(hit.source).and_then(|fields| read(&fields));
                rows.push(row.map_err(|error| errors::refused(format!("in {alias}, {error}")))?);
            }
            after = found.hits.hits.last().and_then(|it| it.sort).map(ToOwned::to_owned);
            if found.hits.hits.len() < size || after.is_none() {
                break;
            }
        }
        Ok(rows)
    }
}

/// The answer to a search; an index that does not exist yet has nothing.
pub(super) async fn ask(
    client: &Client,
    index: &str,
    body: &Value,
) -> Result<bytes::Bytes, StoreError> {
    let query = [("ignore_unavailable", "true"), ("allow_no_indices", "true")];
    let answer = client.post_json(&format!("/{index}/_search"), &query, body).await?;
    Ok(answer.success()?.body)
}
