//! Who may come in: TLS, a password, an API key, and what is said of those who may not.
//! `FTS_TEST_ELASTICSEARCH_SECURE=https://host:port` names a server, `…_USER`, `…_PASSWORD` and `…_CA`
//! who may come in.

use std::path::PathBuf;

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore, Secret};
use fts_core::port::store::{Store as _, StoreError};
use serde_json::{Value, json};

use crate::place::Indices;
use crate::rows::{batch, symbol};

const SERVER: &str = "FTS_TEST_ELASTICSEARCH_SECURE";

/// What the environment says of the server.
struct Secure {
    server: String,
    user: String,
    password: String,
    ca_file: PathBuf,
    prefix: String,
}

impl Secure {
    fn find() -> Option<Self> {
        let Ok(server) = std::env::var(SERVER) else {
            eprintln!("SKIPPED: {SERVER} does not name an Elasticsearch node with TLS and login");
            return None;
        };
        let of = |name: &str| std::env::var(format!("{SERVER}_{name}")).expect("its settings");
        let prefix = Indices::on(server.clone()).prefix;
        let (user, password, ca_file) = (of("USER"), of("PASSWORD"), of("CA").into());
        Some(Self { server, user, password, ca_file, prefix })
    }

    /// For whom nobody knows.
    fn config(&self) -> ElasticsearchConfig {
        ElasticsearchConfig {
            index_prefix: self.prefix.clone(),
            replicas: 0,
            ca_file: Some(self.ca_file.clone()),
            request_timeout_ms: 60_000,
            ..ElasticsearchConfig::new(vec![self.server.clone()])
        }
    }

    fn with_password(&self, password: &str) -> ElasticsearchConfig {
        ElasticsearchConfig {
            username: Some(self.user.clone()),
            password: Some(Secret::new(password.to_owned())),
            ..self.config()
        }
    }

    fn with_key(&self, key: &str) -> ElasticsearchConfig {
        ElasticsearchConfig { api_key: Some(Secret::new(key.to_owned())), ..self.config() }
    }

    /// A request of a client that is not the store's.
    async fn ask(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let authority = std::fs::read(&self.ca_file).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let client = reqwest::Client::builder().add_root_certificate(authority).build().unwrap();
        let request = client
            .request(method, format!("{}{path}", self.server))
            .basic_auth(&self.user, Some(&self.password))
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// An API key for our indices that may do that.
    async fn key(&self, cluster: &[&str], indices: &[&str]) -> String {
        let names = [format!("{}*", self.prefix)];
        let body = json!({ "name": self.prefix, "role_descriptors": { "fts": {
            "cluster": cluster,
            "indices": [{ "names": names, "privileges": indices }],
        } } });
        let made = self.ask(reqwest::Method::POST, "/_security/api_key", &body).await;
        made["encoded"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    async fn remove(&self) {
        let delete = reqwest::Method::DELETE;
        for index in ["trades-2024.08.09", "candles-2024.08"] {
            self.ask(delete.clone(), &format!("/{}{index}", self.prefix), &Value::Null).await;
        }
        let path = format!("/_index_template/{}fts-*", self.prefix);
        self.ask(delete, &path, &Value::Null).await;
    }
}

async fn check_works(config: ElasticsearchConfig, number: i64) {
    let store = ElasticsearchStore::new(config).unwrap();
    assert_eq!(store.put(&[batch(number)]).await, Ok(()));
    assert!(!store.trades(&symbol("BTCUSDT"), number * 10, 99).await.unwrap().is_empty());
}

async fn check_refused(config: ElasticsearchConfig, word: &str) {
    let shown = format!("{config:?}");
    let store = ElasticsearchStore::new(config).unwrap();
    let error = store.put(&[batch(0)]).await.unwrap_err();
    let StoreError::Refused(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains(word), "`{word}` is not in: {reason}");
    assert!(!reason.contains("wrong-one") && !shown.contains("wrong-one"), "{reason} {shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_password_comes_in_over_tls_and_nobody_else() {
    let Some(secure) = Secure::find() else { return };
    check_works(secure.with_password(&secure.password), 0).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", secure.password)).unwrap();
    let from_file = ElasticsearchConfig {
        username: Some(secure.user.clone()),
        password_file: Some(file.path().to_owned()),
        ..secure.config()
    };
    check_works(from_file, 1).await;

    check_refused(secure.with_password("wrong-one"), "correct the store's login").await;
    check_refused(secure.config(), "correct the store's login").await;
    let stranger = ElasticsearchConfig { ca_file: None, ..secure.with_password(&secure.password) };
    check_refused(stranger, "`ca_file`").await;
    let missing = ElasticsearchConfig {
        username: Some("fts".to_owned()),
        password_env: Some("FTS_TEST_NOBODY_SETS_THIS".to_owned()),
        ..secure.config()
    };
    check_refused(missing, "FTS_TEST_NOBODY_SETS_THIS").await;
    secure.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_enough_and_what_it_lacks_is_named() {
    let Some(secure) = Secure::find() else { return };
    check_refused(secure.with_key("d3Jvbmc6d3Jvbmctb25l"), "correct the store's login").await;
    // It cannot make the templates.
    let weak = secure.key(&["monitor"], &["read", "view_index_metadata"]).await;
    check_refused(secure.with_key(&weak), "grant it").await;
    let able = ["create_index", "index", "delete", "read", "view_index_metadata", "maintenance"];
    let strong = secure.key(&["manage_index_templates"], &able).await;
    check_works(secure.with_key(&strong), 0).await;
    // It may read, and not write.
    check_refused(secure.with_key(&weak), "grant it").await;
    secure.remove().await;
}
