//! An exchange that runs: started, asked for its address and its truth, stopped.

use crate::alpha_vantage::{self, AlphaVantageControl};
use crate::config::{Config, Source, StartError, TapeConfig};
use crate::control::Control;
use crate::faults::{Board, FaultControl};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::limits::connections::Attempts;
use crate::market::Market;
use crate::market::seeded::{self, Seeded};
use crate::market::tape::Tape;
use crate::market::tape::merge::survey;
use crate::market::tape::player::Player;
use crate::truth::Truth;
use crate::{config, rest, server, streams, ws};
use fts_core::time::{Clock, SystemClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long connections get to say goodbye.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// A running exchange. Dropping it stops it at once.
#[derive(Debug)]
pub struct Exchange {
    addr: SocketAddr,
    truth: Truth,
    faults: FaultControl,
    alpha_vantage: AlphaVantageControl,
    epoch_ms: Option<i64>,
    ended: watch::Receiver<Option<u64>>,
    stopping: watch::Sender<bool>,
    server: JoinHandle<()>,
    market: JoinHandle<()>,
}

impl Exchange {
    /// Starts an exchange; when this returns, it takes connections. A tape is read through once
    /// before, so that a damaged one is refused here.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock)).await
    }

    async fn start_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config.faults.check()?;
        let board = Board::new(config.faults, Arc::clone(&clock));
        let faults = FaultControl(Arc::clone(&board));
        let ended = watch::Sender::new(None);
        let ending = ended.subscribe();
        let Prepared { market, hub, epoch_ms, play } =
            prepare(config.source, &clock, ended).await?;
        let failed = |source| StartError::Listen { addr: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let stopping = watch::Sender::new(false);
        let rest = rest::Service {
            market: Arc::clone(&market),
            limits: Arc::new(Limits::new(config.weight_limit)),
            clock: Arc::clone(&clock),
            board: Arc::clone(&board),
        };
        let truth = Truth { market, epoch_ms };
        let control = Control { faults: faults.clone() };
        let alpha_vantage = alpha_vantage::Service::new(config.alpha_vantage, Arc::clone(&clock));
        let ws = ws::connection::Service {
            hub,
            clock,
            limits: config.socket,
            connections: config.connections,
            attempts: Arc::new(Attempts::default()),
            board,
            stopping: stopping.subscribe(),
        };
        Ok(Self {
            addr,
            truth: truth.clone(),
            faults,
            alpha_vantage: AlphaVantageControl(alpha_vantage.clone()),
            epoch_ms,
            ended: ending,
            server: tokio::spawn(server::serve(
                listener,
                server::Services { rest, ws, control, truth, alpha_vantage },
                stopping.subscribe(),
            )),
            market: tokio::spawn(play),
            stopping,
        })
    }

    /// The address that it listens on, for `ws://` and `http://`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What really happened so far.
    pub fn truth(&self) -> Truth {
        self.truth.clone()
    }

    /// What goes wrong on purpose, and the switches for it.
    pub fn faults(&self) -> FaultControl {
        self.faults.clone()
    }

    /// The switches of the simulated Alpha Vantage, which is at `http://<addr>/query`.
    pub fn alpha_vantage(&self) -> AlphaVantageControl {
        self.alpha_vantage.clone()
    }

    /// When a seeded market began, ms UTC: with it the same market can be started again. `None` for
    /// a tape.
    pub fn epoch_ms(&self) -> Option<i64> {
        self.epoch_ms
    }

    /// Waits until the tape was played to its end; returns how many frames. A seeded market never
    /// ends.
    pub async fn tape_ended(&self) -> u64 {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|frames| *frames) {
            Ok(Some(frames)) => frames,
            _ => std::future::pending().await,
        }
    }

    /// Closes every connection with 1001 and ends.
    pub async fn stop(mut self) {
        self.market.abort();
        self.stopping.send_replace(true);
        if tokio::time::timeout(STOP_GRACE, &mut self.server).await.is_err() {
            tracing::debug!("connections were still open when the exchange ended");
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        self.market.abort();
        self.server.abort();
    }
}

struct Prepared {
    market: Arc<dyn Market>,
    hub: Arc<Hub>,
    epoch_ms: Option<i64>,
    play: futures_util::future::BoxFuture<'static, ()>,
}

async fn prepare(
    source: Source,
    clock: &Arc<dyn Clock>,
    ended: watch::Sender<Option<u64>>,
) -> Result<Prepared, StartError> {
    match source {
        Source::Tape(config) => prepare_tape(config, ended).await,
        Source::Seeded(config) => prepare_seeded(config, false, clock).await,
        Source::Steady(config) => prepare_seeded(config, true, clock).await,
    }
}

async fn prepare_tape(
    TapeConfig { files, speed, start }: TapeConfig,
    ended: watch::Sender<Option<u64>>,
) -> Result<Prepared, StartError> {
    if let config::Speed::Times(times) = speed
        && !(times.is_finite() && times > 0.0)
    {
        let reason = "give a positive number, or max";
        return Err(StartError::Value { key: "speed", value: times.to_string(), reason });
    }
    let surveyed = files.clone();
    let contents = run_blocking(move || survey(&surveyed)).await?;
    tracing::info!(
        frames = contents.frames,
        streams = contents.streams.len(),
        "the tape is complete and readable"
    );
    let tape = Arc::new(Tape::new(&contents));
    let hub = Arc::new(Hub::new(contents.streams));
    let market: Arc<dyn Market> = tape.clone();
    let player = Player { files, speed, start, tape, hub: Arc::clone(&hub), ended };
    Ok(Prepared { market, hub, epoch_ms: None, play: Box::pin(player.play()) })
}

async fn prepare_seeded(
    config: config::SeededConfig,
    steady: bool,
    clock: &Arc<dyn Clock>,
) -> Result<Prepared, StartError> {
    let for_market = Arc::clone(clock);
    let market = run_blocking(move || Seeded::new(&config, steady, for_market)).await?;
    let market = Arc::new(market);
    let names = streams::names(market.symbols().iter().map(|symbol| symbol.name.as_str()));
    let hub = Arc::new(Hub::new(names));
    let epoch_ms = Some(market.epoch_ms());
    let live = seeded::live::run(Arc::clone(&market), Arc::clone(&hub));
    Ok(Prepared { market, hub, epoch_ms, play: Box::pin(live) })
}

/// Runs what takes long or reads files away from the runtime's threads.
async fn run_blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
