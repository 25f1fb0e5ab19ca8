//! The demo: a simulated exchange, which knows stocks too, and a node, in one process.
//!
//! The market is a pure function of its seed and its beginning; both are kept in the data directory,
//! so that a second start goes on with the same market, and fetches what it missed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fts_core::market::Symbol;
use fts_core::simulator::Simulator;
use fts_exchange::{Config, Exchange, SeededConfig, Source, realistic_symbols};
use serde::{Deserialize, Serialize};

use crate::config::{BatchConfig, NodeConfig};
use crate::run;

const SYMBOLS: usize = 8;
const RATE: f64 = 300.0;
const SEED: u64 = 20_240_808;
const STOCKS: [&str; 5] = ["TSLA", "AAPL", "AMZN", "GOOGL", "MSFT"];

/// What makes the market the same again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Market {
    seed: u64,
    epoch_ms: i64,
}

/// Runs the demo until a signal ends it. Without `data_dir`, what it stored goes with it.
pub(crate) async fn demo(mut config: NodeConfig, data_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let folder = match data_dir {
        Some(folder) => Folder { path: folder, is_ours: false },
        None => {
            let path = std::env::temp_dir().join(format!("fts-demo-{}", std::process::id()));
            Folder { path, is_ours: true }
        }
    };
    std::fs::create_dir_all(&folder.path)
        .with_context(|| format!("cannot create {}", folder.path.display()))?;
    let path = folder.path.join("demo.json");
    let known = read(&path)?;
    let symbols = realistic_symbols(SYMBOLS);
    let exchange = Exchange::start(Config::new(Source::Seeded(SeededConfig {
        seed: known.as_ref().map_or(SEED, |it| it.seed),
        symbols: symbols.clone(),
        rate: RATE,
        epoch_ms: known.as_ref().map(|it| it.epoch_ms),
    })))
    .await?;
    if let (None, Some(epoch_ms)) = (&known, exchange.epoch_ms()) {
        let text = serde_json::to_string(&Market { seed: SEED, epoch_ms })?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    config.data_dir.clone_from(&folder.path);
    config.stream_url = format!("ws://{}", exchange.addr());
    config.rest_url = format!("http://{}", exchange.addr());
    let schedule = config.batch_schedule()?;
    config.batch = Some(BatchConfig {
        symbols: STOCKS.iter().map(|it| Symbol::new(it)).collect::<Result<_, _>>()?,
        url: config.rest_url.clone(),
        key: "simulated".to_owned(),
        timeout: Duration::from_secs(10),
        schedule,
        requests_per_day: 25,
        apart: Duration::from_millis(1_100),
    });
    let rate = config.transactions_rate();
    config.simulator.get_or_insert(Simulator { seed: SEED, rate });
    config.symbols = symbols.iter().map(|it| Symbol::new(it)).collect::<Result<_, _>>()?;
    let ran = run::run(config).await;
    exchange.stop().await;
    ran
}

fn read(path: &Path) -> anyhow::Result<Option<Market>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let market = serde_json::from_str(&text).with_context(|| {
                format!("{} is no demo's: choose another --data-dir", path.display())
            })?;
            Ok(Some(market))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Where the demo keeps its data; removed at the end if nobody asked to keep it.
struct Folder {
    path: PathBuf,
    is_ours: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the demo's data");
        }
    }
}
