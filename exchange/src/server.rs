//! One port: streams under `/ws` and `/stream`, everything else is REST.

use crate::{rest, ws};
use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Serves until `stopping` turns true.
pub(crate) async fn serve(
    listener: TcpListener,
    rest: rest::Service,
    ws: ws::connection::Service,
    mut stopping: watch::Receiver<bool>,
) {
    let upgrade = || get(ws::upgrade::upgrade);
    let streams = Router::new()
        .route("/stream", upgrade())
        .route("/ws", upgrade())
        .route("/ws/{*streams}", upgrade())
        .with_state(ws);
    let router = Router::new().fallback(get(rest::handle)).with_state(rest).merge(streams);
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
