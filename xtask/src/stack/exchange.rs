//! The simulated exchange: a market made up from a seed, and daily prices of stocks.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, get};
use super::{Service, Site, Started};
use crate::shell;

/// What the market has; the nodes capture all of it.
pub(super) const SYMBOLS: [&str; 10] = [
    "BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT",
    "TRXUSDT", "AVAXUSDT",
];
/// Messages a second.
const RATE: u32 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

/// One process.
pub(super) struct Exchange;

impl Service for Exchange {
    fn name(&self) -> &'static str {
        "exchange"
    }

    fn ports(&self) -> usize {
        1
    }

    fn fetch(&self, _: &Site) -> Result<()> {
        shell::build_release()
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let port = ports.first().copied().context("a port")?;
        let mut command = shell::program(shell::release_binary("fts-exchange"));
        command.current_dir(&site.run).args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--seed", "1", "--rate", &RATE.to_string()]);
        command.args(["--symbols", &SYMBOLS.join(",")]);
        let mut process = Process::start("market", &mut command, &site.run.join("log"))?;
        process
            .wait(PATIENCE, |_| get(port, "/api/v3/ping").is_some_and(|it| it.contains(" 200 ")))?;
        let variables = vec![("FTS_TEST_EXCHANGE".to_owned(), format!("127.0.0.1:{port}"))];
        Ok(Started { processes: vec![process], variables })
    }
}
