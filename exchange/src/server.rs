//! One port: streams under `/ws` and `/stream`, what really happened under `/truth`, the switches of
//! the simulation under `/control`, Alpha Vantage under `/query`; everything else is REST.

use crate::alpha_vantage::{self, AlphaVantageControl};
use crate::control::{self, Control};
use crate::truth::{self, Truth};
use crate::{rest, ws};
use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is served.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) rest: rest::Service,
    pub(crate) ws: ws::connection::Service,
    pub(crate) control: Control,
    pub(crate) truth: Truth,
    pub(crate) alpha_vantage: alpha_vantage::Service,
}

/// Serves until `stopping` turns true.
pub(crate) async fn serve(
    listener: TcpListener,
    Services { rest, ws, control, truth, alpha_vantage }: Services,
    mut stopping: watch::Receiver<bool>,
) {
    let upgrade = || get(ws::upgrade::upgrade);
    let streams = Router::new()
        .route("/stream", upgrade())
        .route("/ws", upgrade())
        .route("/ws/{*streams}", upgrade())
        .with_state(ws);
    let router = Router::new().fallback(get(rest::handle)).with_state(rest).merge(streams);
    let router = router.merge(control::routes(control)).merge(truth::http::routes(truth));
    let router = router
        .merge(alpha_vantage::control::routes(AlphaVantageControl(alpha_vantage.clone())))
        .merge(alpha_vantage::routes(alpha_vantage));
    // Small frames must not wait for an acknowledgement of the ones before them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "the server ended");
    }
}
