//! Live events for the page (`/api/live`): the node's state and all best prices once a second, the
//! chosen symbol's candle as it changes.
//!
//! A client that reads slowly gets fewer events, never older ones: nothing is queued for it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use fts_actors::view::{Picture, SymbolView};
use fts_core::interval::Interval;
use fts_core::market::Symbol;
use fts_core::row::CandleRow;
use fts_core::time::UnixNanos;
use futures_util::stream;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::MissedTickBehavior;

use super::params::Params;
use super::refusal::Refusal;
use super::status::Status;
use super::{App, candles, history, stopped};

/// The state of all, once a second.
const BEAT: Duration = Duration::from_secs(1);
/// At most five candles a second.
const CANDLE: Duration = Duration::from_millis(200);
/// Best prices are sent of so many symbols, the busiest, and of the chosen one.
const BOOKS_MAX: usize = 60;
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// What every client is sent once a second, made once.
pub(super) struct Beat {
    status: String,
    book: String,
    /// The chosen symbol's best prices are taken from here, if the busiest don't include it.
    others: BTreeMap<Symbol, Best>,
}

/// `[epoch milliseconds, bid, ask]`
#[derive(Serialize)]
struct Best(i64, String, String);

impl Beat {
    fn of(app: &App, picture: &Picture, others: &[Value]) -> Self {
        let mut busiest: Vec<(&Symbol, &SymbolView)> = picture.symbols.iter().collect();
        busiest.sort_by(|(_, a), (_, b)| b.rate.total_cmp(&a.rate));
        let best = |(symbol, view): &(&Symbol, &SymbolView)| {
            let book = view.book?;
            let time = view.last_received_at.map(UnixNanos::millis)?;
            let best = Best(time, book.bid_price.to_string(), book.ask_price.to_string());
            Some(((*symbol).clone(), best))
        };
        let (first, rest) = busiest.split_at(BOOKS_MAX.min(busiest.len()));
        let first: BTreeMap<Symbol, Best> = first.iter().filter_map(best).collect();
        Self {
            status: json(&Status::of(app, picture, others)),
            book: books(first.iter()),
            others: rest.iter().filter_map(best).collect(),
        }
    }
}

/// Beats for as long as it is polled. Without clients it does nothing.
pub(super) async fn beat(app: &App) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.beat.receiver_count() > 0 {
            let beat = Beat::of(app, &app.web.view.picture(), &others(app).await);
            app.beat.send_replace(Some(Arc::new(beat)));
        }
    }
}

/// What the other nodes say of the symbols that they fold.
async fn others(app: &App) -> Arc<Vec<Value>> {
    match &app.web.nodes {
        Some(nodes) => nodes.others().await,
        None => Arc::default(),
    }
}

/// `GET /api/live?symbol=S&interval=1m`: server-sent events `status`, `book` and `candle`.
pub(super) async fn live(
    State(app): State<Arc<App>>,
    mut params: Params,
) -> Result<Response, Refusal> {
    let chosen = match params.optional("symbol")? {
        None => None,
        Some(symbol) => {
            let symbol = Symbol::new(&symbol).map_err(|_| Refusal::symbol())?;
            Some((symbol, params.interval()?))
        }
    };
    params.finish()?;
    let Ok(slot) = Arc::clone(&app.live).try_acquire_owned() else {
        return Err(Refusal::unavailable("Too many live clients; try again later."));
    };
    let others = others(&app).await;
    let client = Client::new(app, chosen, slot, &others);
    let events = stream::unfold(client, async |mut client| {
        client.next().await.map(|event| (Ok::<_, Infallible>(event), client))
    });
    Ok(Sse::new(events).into_response())
}

struct Client {
    app: Arc<App>,
    beat: watch::Receiver<Option<Arc<Beat>>>,
    shutdown: watch::Receiver<bool>,
    candles: tokio::time::Interval,
    chosen: Option<(Symbol, Interval)>,
    sent: Option<CandleRow>,
    /// At most what one beat makes.
    ready: VecDeque<Event>,
    _slot: OwnedSemaphorePermit,
}

impl Client {
    fn new(
        app: Arc<App>,
        chosen: Option<(Symbol, Interval)>,
        slot: OwnedSemaphorePermit,
        others: &[Value],
    ) -> Self {
        let mut beat = app.beat.subscribe();
        beat.mark_unchanged();
        let mut candles = tokio::time::interval(CANDLE);
        candles.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut client = Self {
            beat,
            shutdown: app.web.shutdown.clone(),
            candles,
            chosen,
            sent: None,
            ready: VecDeque::new(),
            _slot: slot,
            app,
        };
        let first = Beat::of(&client.app, &client.app.web.view.picture(), others);
        client.ready.push_back(Event::default().retry(RETRY).event("hello").data("{}"));
        client.take(&first);
        client
    }

    /// The next event; `None` once the node shuts down.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.shutdown) => return None,
                beat = self.beat.changed() => {
                    beat.ok()?;
                    let beat = self.beat.borrow_and_update().clone();
                    if let Some(beat) = beat {
                        self.take(&beat);
                    }
                }
                _ = self.candles.tick() => self.take_candle(),
            }
        }
    }

    fn take(&mut self, beat: &Beat) {
        self.ready.push_back(Event::default().event("status").data(&beat.status));
        self.ready.push_back(Event::default().event("book").data(&beat.book));
        let chosen = self.chosen.as_ref();
        if let Some(entry) = chosen.and_then(|(symbol, _)| beat.others.get_key_value(symbol)) {
            self.ready.push_back(Event::default().event("book").data(books([entry].into_iter())));
        }
    }

    fn take_candle(&mut self) {
        let Some((symbol, interval)) = &self.chosen else { return };
        let candle = candles::live(&self.app, symbol, *interval);
        if let Some(row) = &candle
            && candle != self.sent
        {
            self.ready
                .push_back(Event::default().event("candle").data(json(&history::candle(row))));
            self.sent = candle;
        }
    }
}

fn books<'a>(entries: impl Iterator<Item = (&'a Symbol, &'a Best)>) -> String {
    json(&entries.map(|(symbol, best)| (symbol.as_str(), best)).collect::<BTreeMap<_, _>>())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
