//! The flows about stocks, as the demo runs them: the batch on schedule and on demand, the transactions,
//! the files that people know.

use std::path::Path;
use std::process::Command;

use crate::support::http;
use crate::support::process::{Process, free_port, node_binary};
use crate::support::store::{Store, integer, text};
use crate::support::{PATIENCE, stay_clear_of_midnight, until};

const STOCKS: i64 = 5;
/// Days in a compact answer.
const DAYS: i64 = 100;

#[test]
fn the_demo_has_daily_prices_and_transactions_once_each_over_restarts() {
    stay_clear_of_midnight();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = Store::new(data.join("fts.sqlite"));
    let (mut demo, address) = start(folder.path());
    until("the first batch", PATIENCE, || {
        demo.check_alive();
        (store.count("finanzas_batch") == STOCKS * DAYS).then_some(())
    });
    until("some transactions", PATIENCE, || {
        demo.check_alive();
        (store.count("transacciones_nrt") > 50).then_some(())
    });
    let batch = until("the batch's end", PATIENCE, || {
        http::get_json(&address, "/api/batch").filter(|it| it["running"] == false)
    });
    assert_eq!(batch["requests_used"], STOCKS);

    // On demand: by hand, for one symbol.
    let run = |more: &[&str]| {
        let mut command = Command::new(node_binary());
        command.current_dir(folder.path()).args(["batch", "run", "--http", &address]).args(more);
        command.output().unwrap()
    };
    let output = run(&["--symbol", "TSLA"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "TSLA  100 days\n");
    let output = run(&["--symbol", "T/SLA"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("symbol"));
    demo.kill();

    let (mut demo, address) = start(folder.path());
    let before = store.count("transacciones_nrt");
    until("more transactions", PATIENCE, || {
        demo.check_alive();
        (store.count("transacciones_nrt") > before + 20).then_some(())
    });
    let batch = until("the batch's state", PATIENCE, || {
        http::get_json(&address, "/api/batch").filter(|it| it["running"] == false)
    });
    assert_eq!(batch["requests_used"], STOCKS + 1, "what is done is not done again");
    demo.terminate();
    judge(&store, &data);
}

/// Every transaction that was said to be sent is a row, of the types that it shall have; the CSV has
/// the days.
fn judge(store: &Store, data: &Path) {
    assert_eq!(store.count("dead_letters"), 0);
    assert_eq!(store.count("finanzas_batch_changes"), 0, "nothing was restated");
    let rows = store.rows("SELECT * FROM transacciones_nrt");
    for row in &rows {
        let failed = text(row, "estado") == "FALLIDO";
        assert!(failed || text(row, "estado") == "EXITOSO", "{row:?}");
        assert!(["COMPRA", "VENTA"].contains(&text(row, "tipo_transaccion")), "{row:?}");
        assert!((1..=100).contains(&integer(row, "cantidad")), "{row:?}");
    }
    let lines = std::fs::read_to_string(data.join("logs_transacciones.log")).unwrap();
    let sent: Vec<&str> =
        lines.lines().filter(|line| line.contains("Transacción enviada")).collect();
    assert!(sent.len() > 50, "{}", sent.len());
    for line in sent {
        let event = line.split_once(": ").map(|it| it.1).unwrap();
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        let id = event["id"].as_str().unwrap();
        assert!(rows.iter().any(|row| text(row, "id") == id), "{id} is not stored");
    }
    let csv = std::fs::read_to_string(data.join("Datos_financieros.csv")).unwrap();
    assert!(csv.starts_with("fecha,apertura,cierre,volumen,symbol\n"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + usize::try_from(STOCKS * DAYS).unwrap());
    let log = std::fs::read_to_string(data.join("extraccion_finanzas.log")).unwrap();
    assert!(log.contains(" - INFO - extracción terminada: 5 símbolos, 500 días"), "{log}");
}

fn start(folder: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(node_binary());
    command.current_dir(folder).arg("demo").arg("--data-dir").arg(folder.join("data"));
    command.args(["--http", &address, "--set", "transactions.rate=20"]);
    let mut demo = Process::start("demo", folder, &mut command);
    demo.line("the page's address", |line| {
        line.contains(&format!("http://{address}")).then_some(())
    });
    (demo, address)
}
