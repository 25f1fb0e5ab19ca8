//! The life of a node: up, until a signal or a failure ends it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fts_actors::pipeline::{Pipeline, Settings};
use fts_actors::view::View;
use fts_core::time::{Clock, SystemClock};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::cluster::member::Member;
use crate::config::NodeConfig;
use crate::flows::Flows;
use crate::http::{self, Web};
use crate::{cli, telemetry};

/// How often rates are computed.
const TICK: Duration = Duration::from_secs(1);

const AT_ONCE: &str = "ended at once, at the second signal: what is not stored yet is on the log, and is \
                       stored at the next start";

/// Runs a node until SIGTERM or SIGINT, or until its tree gives up.
pub(crate) async fn run(config: NodeConfig) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let metrics = telemetry::count()?;
    let listen = config.http_listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on http.listen = {listen}: choose another"))?;
    let address = listener.local_addr()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let member = tokio::select! {
        member = Member::open(config, address, &clock) => member?,
        // It may have waited for a cluster that is not there.
        _ = signals.next() => return Ok(()),
    };
    let Member { config, ports, .. } = &member;
    let ports = ports.clone();
    let log = Arc::clone(&ports.log);
    let view = Arc::new(View::default());
    let (stop_http, shutdown) = watch::channel(false);
    let (rendered, shown) = (Arc::clone(&metrics), Arc::clone(&view));
    let flows = Flows::new(config, &ports.log, &clock, &view)?;
    let controller = tokio::select! {
        controller = member.control() => controller?,
        // It may wait for a log that is gone again.
        _ = signals.next() => return Ok(()),
    };
    let web = Web {
        view: Arc::clone(&view),
        store: Arc::clone(ports.store().context("no store is configured")?),
        metrics: Arc::new(move || telemetry::render(&rendered, &shown)),
        clock: Arc::clone(&clock),
        node: config.name.clone(),
        hosts: config.http_hosts.clone(),
        nodes: Some(Arc::clone(&controller.nodes)),
        started_at: clock.now(),
        batch: flows.ask,
        shutdown,
    };
    warn_of_unlisted(&ports, &view, &config.symbols);
    let settings = Settings { singletons: flows.jobs, ..config.settings() };
    let mut pipeline = Pipeline::start(ports, settings, Arc::clone(&view), controller.shares())
        .await
        .map_err(|error| anyhow::anyhow!("cannot start: {error}"))?;
    let mut serving = tokio::spawn(http::serve(listener, web));
    controller.go_live();
    cli::say(&format!("listening on http://{}/", cli::reachable(address)));

    let mut settled = pipeline.settled();
    let mut tick = tokio::time::interval(TICK);
    let mut leaving: Option<BoxFuture<'_, ()>> = None;
    let ended = loop {
        tokio::select! {
            _ = tick.tick() => {
                view.tick(TICK.as_secs_f64());
                view.problem("spill", log.trouble());
                controller.report(&view).await;
                metrics.run_upkeep();
            }
            Ok(()) = settled.changed() => {
                let share = Arc::clone(&settled.borrow_and_update());
                controller.settled(share);
            }
            name = signals.next() => {
                if leaving.is_some() {
                    bail!(AT_ONCE);
                }
                tracing::info!(signal = name, "ending");
                view.problem("node", Some("it is shutting down".to_owned()));
                leaving = Some(Box::pin(controller.leave()));
            }
            () = async {
                match &mut leaving {
                    Some(leaving) => leaving.await,
                    None => std::future::pending().await,
                }
            } => break Ok(()),
            why = pipeline.failed() => break Err(format!("an actor keeps failing: {why}")),
            _ = &mut serving => break Err("the HTTP server ended".to_owned()),
        }
    };
    drop(leaving);
    view.problem("node", Some("it is shutting down".to_owned()));
    tokio::select! {
        () = pipeline.shut_down() => {}
        _ = signals.next() => bail!(AT_ONCE),
    }
    controller.end().await;
    stop_http.send_replace(true);
    if !serving.is_finished() {
        drop(serving.await);
    }
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
