//! TLS, user, password and rights: `FTS_TEST_CASSANDRA_SECURE=host:port` names a server with TLS and
//! a password, `…_USER`, `…_PASSWORD` and `…_CA` how to get in.

use std::path::PathBuf;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore, Secret};
use fts_core::port::store::Store as _;
use fts_core::port::store::StoreError;
use fts_core::time::{Clock as _, SystemClock};

use crate::keyspace::PATIENCE_MS;
use crate::rows::{batch, symbol};

/// The way in; `None`, said loudly, where there is no such server.
fn secure() -> Option<ScyllaConfig> {
    let variable = |end: &str| std::env::var(format!("FTS_TEST_CASSANDRA_SECURE{end}"));
    let Ok(server) = variable("") else {
        eprintln!("SKIPPED: FTS_TEST_CASSANDRA_SECURE does not name a Cassandra with TLS");
        return None;
    };
    let text = |end: &str| variable(end).unwrap_or_else(|_| panic!("{end} is missing"));
    let millis = SystemClock.now().millis();
    Some(ScyllaConfig {
        keyspace: format!("fts_{millis}_{}", std::process::id()),
        replication_factor: 1,
        connect_timeout_ms: PATIENCE_MS,
        request_timeout_ms: PATIENCE_MS,
        username: Some(text("_USER")),
        password: Some(Secret::new(text("_PASSWORD"))),
        tls: true,
        ca_file: Some(PathBuf::from(text("_CA"))),
        ..ScyllaConfig::new(vec![server])
    })
}

/// Puts with a changed configuration; must fail, and say these words, and not the password.
#[track_caller]
fn check(
    config: &ScyllaConfig,
    change: impl FnOnce(&mut ScyllaConfig),
    words: &'static [&'static str],
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let mut config = config.clone();
    change(&mut config);
    async move {
        let store = ScyllaStore::new(config).unwrap();
        let error = store.put(&[batch(0)]).await.unwrap_err();
        let text = error.to_string();
        assert!(!matches!(error, StoreError::Rejected { .. }), "{place}: {text}");
        assert!(words.iter().all(|it| text.contains(it)), "{place}: {text}");
        assert!(!text.contains("hunter2"), "{place}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_a_password_it_works_and_what_is_wrong_is_named() {
    let Some(config) = secure() else { return };
    let wrong = || Some(Secret::new("hunter2".to_owned()));
    check(&config, |it| it.password = wrong(), &["wrong user or password"]).await;
    check(&config, |it| (it.username, it.password) = (None, None), &["`username`"]).await;
    check(&config, |it| it.ca_file = None, &["not trusted", "`ca_file`"]).await;
    check(&config, |it| (it.tls, it.ca_file) = (false, None), &["is `tls` as it wants"]).await;
    check(&config, |it| it.ca_file = Some("/nowhere/ca.pem".into()), &["/nowhere/ca.pem"]).await;
    let missing = |it: &mut ScyllaConfig| {
        it.password = None;
        it.password_file = Some("/nowhere/password".into());
    };
    check(&config, missing, &["/nowhere/password"]).await;

    let store = ScyllaStore::new(config.clone()).unwrap();
    store.put(&[batch(0)]).await.unwrap();
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 10);

    // Somebody who may log in, and nothing else.
    let admin = admin(&config).await;
    let role = format!("reader_{}", config.keyspace);
    let create = format!("CREATE ROLE {role} WITH PASSWORD = 'hunter2' AND LOGIN = true");
    admin.query_unpaged(create, ()).await.unwrap();
    let as_reader = |it: &mut ScyllaConfig| {
        it.username = Some(role.clone());
        it.password = wrong();
    };
    check(&config, as_reader, &["a permission is missing"]).await;
    admin.query_unpaged(format!("DROP ROLE {role}"), ()).await.unwrap();
    let drop = format!("DROP KEYSPACE \"{}\"", config.keyspace);
    admin.query_unpaged(drop, ()).await.unwrap();
}

async fn admin(config: &ScyllaConfig) -> scylla::client::session::Session {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
    let mut roots = RootCertStore::empty();
    let ca = config.ca_file.clone().unwrap();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = std::sync::Arc::new(crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let variable = |end: &str| std::env::var(format!("FTS_TEST_CASSANDRA_SECURE{end}")).unwrap();
    scylla::client::session_builder::SessionBuilder::new()
        .known_nodes(&config.nodes)
        .user(variable("_USER"), variable("_PASSWORD"))
        .tls_context(Some(std::sync::Arc::new(tls)))
        .build()
        .await
        .unwrap()
}
