//! The life of a node: up, until a signal or a failure ends it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fts_actors::pipeline::{Pipeline, Settings};
use fts_actors::view::View;
use fts_core::placement::Share;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::NodeConfig;
use crate::flows::Flows;
use crate::http::{self, Web};
use crate::{cli, telemetry, wiring};

/// How often rates are computed.
const TICK: Duration = Duration::from_secs(1);

/// Runs a node until SIGTERM or SIGINT, or until its tree gives up.
pub(crate) async fn run(config: NodeConfig) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let metrics = telemetry::count()?;
    let listen = config.http_listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on http.listen = {listen}: choose another"))?;
    let address = listener.local_addr()?;
    let ports = wiring::open(&config).await?;
    let log = Arc::clone(&ports.log);
    let view = Arc::new(View::default());
    let (stop_http, shutdown) = watch::channel(false);
    let rendered = Arc::clone(&metrics);
    let flows = Flows::new(&config, &ports.log, &ports.clock, &view)?;
    let web = Web {
        view: Arc::clone(&view),
        store: Arc::clone(ports.store().context("no store is configured")?),
        metrics: Arc::new(move || rendered.render()),
        clock: Arc::clone(&ports.clock),
        node: config.name.clone(),
        started_at: ports.clock.now(),
        batch: flows.ask,
        shutdown,
    };
    warn_of_unlisted(&ports, &view, &config.symbols);
    // A node alone does everything.
    let share = Share::whole(&config.shards(ports.log.partitions()));
    let (_, shares) = watch::channel(Arc::new(share));
    let settings = Settings { singletons: flows.jobs, ..config.settings() };
    let mut pipeline = Pipeline::start(ports, settings, Arc::clone(&view), shares)
        .await
        .map_err(|error| anyhow::anyhow!("cannot start: {error}"))?;
    let mut serving = tokio::spawn(http::serve(listener, web));
    cli::say(&format!("listening on http://{}/", cli::reachable(address)));

    let mut tick = tokio::time::interval(TICK);
    let ended = loop {
        tokio::select! {
            _ = tick.tick() => {
                view.tick(TICK.as_secs_f64());
                view.problem("spill", log.trouble());
                metrics.run_upkeep();
            }
            name = signals.next() => {
                tracing::info!(signal = name, "ending");
                break Ok(());
            }
            why = pipeline.failed() => break Err(format!("an actor keeps failing: {why}")),
            _ = &mut serving => break Err("the HTTP server ended".to_owned()),
        }
    };
    view.problem("node", Some("it is shutting down".to_owned()));
    tokio::select! {
        () = pipeline.shut_down() => {}
        name = signals.next() => bail!(
            "ended at once, at the second signal ({name}): what is not stored yet is on the log, and \
             is stored at the next start"
        ),
    }
    stop_http.send_replace(true);
    drop(serving.await);
    match ended {
        Ok(()) => Ok(()),
        Err(why) => bail!(why),
    }
}

/// Asks, beside everything else, whether the exchange knows the symbols.
fn warn_of_unlisted(
    ports: &fts_actors::pipeline::Ports,
    view: &Arc<View>,
    symbols: &[fts_core::market::Symbol],
) {
    let (history, view, symbols) = (Arc::clone(&ports.history), Arc::clone(view), symbols.to_vec());
    tokio::spawn(async move {
        match history.unlisted(&symbols).await {
            Ok(unlisted) if unlisted.is_empty() => {}
            Ok(unlisted) => {
                let names: Vec<_> = unlisted.iter().map(|symbol| symbol.as_str()).collect();
                let problem = format!("the exchange does not list {}", names.join(", "));
                tracing::error!(problem, "take them out of `symbols`");
                view.problem("symbols", Some(problem));
            }
            Err(error) => tracing::warn!(%error, "cannot check the symbols"),
        }
    });
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
