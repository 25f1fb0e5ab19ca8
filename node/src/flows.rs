//! The flows about stocks: the daily batch and the transactions, put together from the
//! configuration.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use fts_actors::batch::{self, Allowance, Batch};
use fts_actors::simulator::Simulation;
use fts_actors::view::View;
use fts_actors::worker::Job;
use fts_adapters::alpha_vantage::{AlphaVantage, AlphaVantageConfig};
use fts_adapters::binance::BinanceDecode;
use fts_adapters::daily_csv::DailyCsv;
use fts_adapters::line_log::FileLineLog;
use fts_adapters::mapping::Mapping;
use fts_core::market::{Event, Topic};
use fts_core::placement::Singleton;
use fts_core::port::decode::Decode;
use fts_core::port::log::{Log, Record};
use fts_core::time::Clock;
use tokio::sync::{Mutex, mpsc};

use crate::config::NodeConfig;

/// A file of lines is moved away before it is longer than this, and as many older ones are kept.
const LINES_BYTES_MAX: u64 = 16 << 20;
const LINES_FILES_MAX: u32 = 4;

/// What the flows need of a node, and what it needs of them.
#[derive(Clone)]
pub(crate) struct Flows {
    /// The jobs, by what they are called in the placement.
    pub(crate) jobs: HashMap<Singleton, Arc<dyn Job>>,
    /// Asks the batch to run at once; `None` where it is off.
    pub(crate) ask: Option<mpsc::Sender<batch::Request>>,
}

impl Flows {
    /// The flows that are on.
    pub(crate) fn new(
        config: &NodeConfig,
        log: &Arc<dyn Log>,
        clock: &Arc<dyn Clock>,
        view: &Arc<View>,
    ) -> anyhow::Result<Self> {
        let lines = |name: &str| lines(&config.data_dir, name);
        let mut flows = Self { jobs: HashMap::new(), ask: None };
        if config.batch.is_some() || config.simulator.is_some() {
            // A node whose log and stores are elsewhere has no other use for it.
            std::fs::create_dir_all(&config.data_dir)
                .with_context(|| format!("cannot make data_dir {}", config.data_dir.display()))?;
        }
        if let Some(batch) = &config.batch {
            let prices = AlphaVantage::new(AlphaVantageConfig {
                url: batch.url.clone(),
                key: batch.key.clone(),
                timeout: batch.timeout,
                clock: Arc::clone(clock),
            });
            let (ask, requests) = mpsc::channel(1);
            let job = Batch {
                node: config.name.as_str().into(),
                symbols: batch.symbols.clone(),
                prices: Arc::new(prices.context("in `batch.url`")?),
                allowance: Allowance { per_day: batch.requests_per_day, apart: batch.apart },
                schedule: Arc::new(batch.schedule.clone()),
                log: Arc::clone(log),
                report: Arc::new(DailyCsv::new(config.data_dir.join("Datos_financieros.csv"))),
                lines: Arc::new(lines("extraccion_finanzas.log")),
                clock: Arc::clone(clock),
                view: Arc::clone(view),
                requests: Arc::new(Mutex::new(requests)),
            };
            flows.jobs.insert(Singleton::Batch, Arc::new(job));
            flows.ask = Some(ask);
        }
        if let Some(simulator) = config.simulator {
            let job = Simulation {
                simulator,
                log: Arc::clone(log),
                lines: Arc::new(lines("logs_transacciones.log")),
                clock: Arc::clone(clock),
            };
            flows.jobs.insert(Singleton::Simulator, Arc::new(job));
        }
        Ok(flows)
    }
}

fn lines(folder: &Path, name: &str) -> FileLineLog {
    FileLineLog::new(folder.join(name), LINES_BYTES_MAX, LINES_FILES_MAX)
}

/// Understands everything that lies in the log, whoever wrote it.
pub(crate) struct Decoders {
    /// For transactions.
    pub(crate) mapping: Mapping,
}

impl Decode for Decoders {
    fn decode(&self, topic: Topic, record: &Record) -> Result<Event, String> {
        match topic {
            Topic::Daily => fts_proto::daily::decode(&record.key, &record.value),
            Topic::Transactions => self.mapping.decode(topic, record),
            _ => BinanceDecode.decode(topic, record),
        }
    }
}
