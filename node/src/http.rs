//! The HTTP side of a node: the page, the exchange-shaped API, probes and metrics.
//!
//! Reads the [`View`] for what is live and the [`Store`] for what was; changes neither. Nothing is
//! lost with it. Every queue, answer and number of live clients has a bound.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use fts_actors::view::View;
use fts_core::market::Symbol;
use fts_core::port::store::Store;
use fts_core::time::{Clock, UnixNanos};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use self::host::Names;
pub use self::nodes::Nodes;

mod candles;
mod exchange;
mod forward;
mod history;
mod host;
mod live;
pub(crate) mod nodes;
mod page;
mod params;
mod reach;
mod refusal;
mod status;
mod stocks;

/// At most so many clients follow the live events at once; further ones are told to come later.
pub const LIVE_CLIENTS_MAX: usize = 64;
/// At most so many requests read the store at once; further ones wait.
const QUERIES_MAX: usize = 32;
/// How long answers under way may take once the node shuts down.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the HTTP side shows, and where it has it from.
#[derive(Clone)]
pub struct Web {
    /// The live state.
    pub view: Arc<View>,
    /// The history.
    pub store: Arc<dyn Store>,
    /// The metrics, in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Tells how stale things are.
    pub clock: Arc<dyn Clock>,
    /// The node's name.
    pub node: String,
    /// Names that it may be asked by, as for a proxy in front of it.
    pub hosts: Vec<String>,
    /// The cluster that it belongs to.
    pub nodes: Option<Arc<Nodes>>,
    /// When the node started.
    pub started_at: UnixNanos,
    /// Asks the daily batch to run at once; `None` where it is off.
    pub batch: Option<mpsc::Sender<Vec<Symbol>>>,
    /// Turns true (or closes) when the node shuts down.
    pub shutdown: watch::Receiver<bool>,
}

impl fmt::Debug for Web {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Web").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Serves on `listener` until `web.shutdown` turns true; then ends within two seconds, live
/// connections at once.
///
/// It answers only requests whose `Host` is an address or a name that nobody else can point here, or one of
/// `web.hosts`; bound to a loopback address, only of those that name a loopback host: a page of
/// another site whose name was pointed here cannot read it.
///
/// # Errors
/// Where the listener has no address, or fails for good.
pub async fn serve(listener: TcpListener, web: Web) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let mut shutdown = web.shutdown.clone();
    let app = Arc::new(App::new(web));
    let graceful = {
        let mut shutdown = shutdown.clone();
        async move { stopped(&mut shutdown).await }
    };
    let server = axum::serve(listener, router(Arc::clone(&app), address));
    tokio::select! {
        served = server.with_graceful_shutdown(graceful).into_future() => served,
        () = live::beat(&app) => Ok(()),
        () = async {
            stopped(&mut shutdown).await;
            tokio::time::sleep(FAREWELL).await;
        } => Ok(()),
    }
}

/// What all handlers share.
struct App {
    web: Web,
    beat: watch::Sender<Option<Arc<live::Beat>>>,
    live: Arc<Semaphore>,
    queries: Semaphore,
}

impl App {
    fn new(web: Web) -> Self {
        Self {
            web,
            beat: watch::channel(None).0,
            live: Arc::new(Semaphore::new(LIVE_CLIENTS_MAX)),
            queries: Semaphore::new(QUERIES_MAX),
        }
    }

    /// Whether the node, or the cluster that it belongs to, follows `symbol`.
    fn follows(&self, symbol: &Symbol) -> bool {
        match &self.web.nodes {
            Some(nodes) => nodes.symbols.current().has(symbol),
            None => self.web.view.symbol(symbol).is_some(),
        }
    }
}

/// Returns once the node shuts down.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // A closed channel: whoever could have said so is gone.
    drop(shutdown.wait_for(|stop| *stop).await);
}

fn router(app: Arc<App>, address: SocketAddr) -> Router {
    let names = Arc::new(Names::new(address, &app.web.node, &app.web.hosts));
    let store = Router::new()
        .route("/api/v3/klines", get(exchange::klines))
        .route("/api/v3/ticker/24hr", get(exchange::ticker_24hr))
        .route("/api/v3/ticker/bookTicker", get(exchange::book_ticker))
        .route("/api/candles", get(history::candles))
        .route("/api/book", get(history::book))
        .route("/api/trade-counts", get(history::trade_counts))
        .route("/api/alerts", get(history::alerts))
        .route("/api/gaps", get(history::gaps))
        .route("/api/finanzas_batch", get(stocks::dailies))
        .route("/api/transacciones", get(stocks::transactions))
        .route("/api/transacciones/resumen", get(stocks::summary))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), in_turn));
    let commands = Router::new()
        .route("/api/batch/run", post(stocks::run_batch))
        .layer(middleware::from_fn(from_here));
    page::routes(Router::new())
        .merge(store)
        .merge(commands)
        .route("/api/batch", get(stocks::batch))
        .route("/api/v3/ping", get(exchange::ping))
        .route("/api/v3/time", get(exchange::time))
        .route("/api/status", get(status::status))
        .route("/api/cluster", get(nodes::cluster))
        .route("/api/symbols", get(nodes::symbols))
        .route("/api/symbols/{symbol}", put(nodes::add).delete(nodes::remove))
        .route("/api/live", get(live::live))
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(nothing_here)
        .method_not_allowed_fallback(read_only)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), forward::to_owner))
        .layer(middleware::from_fn(with_headers))
        .layer(middleware::from_fn_with_state(names, host::known))
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, (app.web.metrics)()).into_response()
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let picture = app.web.view.picture();
    let lines = |what: &BTreeMap<String, String>| -> String {
        what.iter().map(|(part, problem)| format!("{part}: {problem}\n")).collect()
    };
    let warnings = lines(&picture.warnings);
    if picture.problems.is_empty() {
        return format!("ready\n{warnings}").into_response();
    }
    let problems = lines(&picture.problems);
    (StatusCode::SERVICE_UNAVAILABLE, format!("{problems}{warnings}")).into_response()
}

async fn nothing_here() -> Response {
    let text = "nothing is here; the page is at /, the API at /api/v3/klines, /api/v3/ticker/24hr \
                and /api/v3/ticker/bookTicker, the rest at /api/status, /metrics, /livez and \
                /readyz\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn read_only() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "this node does not do that\n").into_response()
}

/// Waits until few enough requests read the store.
async fn in_turn(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Ok(_turn) = app.queries.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    next.run(request).await
}

async fn with_headers(request: Request, next: Next) -> Response {
    const SECURITY: [(HeaderName, &str); 4] = [
        (
            HeaderName::from_static("content-security-policy"),
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What changes something is not done for a page of another site: browsers say where it is from.
async fn from_here(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign = match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), ..) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin), Some(host)) => origin.split_once("://").is_none_or(|it| it.1 != host),
        (None, Some(_), None) => true,
        (None, None, _) => false,
    };
    if is_foreign {
        return (StatusCode::FORBIDDEN, "not for a page of another site\n").into_response();
    }
    next.run(request).await
}
