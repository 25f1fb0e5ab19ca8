//! Somebody who listens to the exchange beside the nodes: what he hears of best bids and asks, they must
//! have. Nobody can ask for them afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fts_adapters::binance::{BinanceFeed, Channel, FeedConfig};
use fts_core::market::Symbol;
use fts_core::port::feed::Feed as _;
use fts_core::time::SystemClock;

use super::patience;
use super::scene::Scene;
use crate::support::store::{integer, text};
use crate::support::until;

/// How often he looks whether he shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Changes of the best bid or ask, by symbol and update id.
type Changes = BTreeSet<(String, i64)>;

/// He listens until he is asked what he heard.
struct Listener {
    heard: Arc<Mutex<Changes>>,
    is_over: Arc<AtomicBool>,
    listening: JoinHandle<()>,
}

impl Listener {
    fn start(exchange: &str, symbols: Vec<Symbol>) -> Self {
        let heard = Arc::<Mutex<Changes>>::default();
        let is_over = Arc::<AtomicBool>::default();
        let mut config = FeedConfig::new(format!("ws://{exchange}"), Arc::new(SystemClock));
        config.channels = vec![Channel::BOOK_TICKER];
        let feed = BinanceFeed::new(config).unwrap();
        let listening = std::thread::spawn({
            let (heard, is_over) = (Arc::clone(&heard), Arc::clone(&is_over));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let mut connection = feed.connect(&symbols).await.expect("streams");
                    while !is_over.load(Ordering::Relaxed) {
                        let frames = tokio::time::timeout(LOOK, connection.next(1_024)).await;
                        let Ok(frames) = frames else { continue };
                        let mut heard = heard.lock().unwrap();
                        for frame in frames.expect("the exchange does nothing wrong here") {
                            let said: serde_json::Value =
                                serde_json::from_slice(&frame.value).unwrap();
                            let id = said["data"]["u"].as_i64().expect("an update id");
                            heard.insert((frame.symbol.as_str().to_owned(), id));
                        }
                    }
                });
            }
        });
        Self { heard, is_over, listening }
    }

    fn await_all(&self, symbols: usize) {
        until("a change of every symbol's best price", patience(), || {
            let heard = self.heard.lock().unwrap();
            let of = heard.iter().map(|it| &it.0).collect::<BTreeSet<_>>();
            (of.len() == symbols).then_some(())
        });
    }

    fn end(self) -> Changes {
        self.is_over.store(true, Ordering::Relaxed);
        self.listening.join().expect("he heard everything");
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

/// Restarts all nodes, one after the other: whatever changed meanwhile is stored.
pub(super) fn survive_a_rolling_restart(scene: &mut Scene) {
    scene.await_settled();
    let symbols: Vec<Symbol> = scene.names().iter().map(|it| Symbol::new(it).unwrap()).collect();
    let listener = Listener::start(&scene.exchange, symbols.clone());
    listener.await_all(symbols.len());
    scene.roll();
    let mut missing = listener.end();
    let heard = missing.len();
    let stores = scene.stores();
    until(&format!("{heard} changes of best bids and asks to be stored"), patience(), || {
        for store in stores.iter().filter(|it| super::truth::has_tables(it)) {
            for row in store.rows("SELECT symbol, update_id FROM binance_book_ticker_data") {
                missing.remove(&(text(&row, "symbol").to_owned(), integer(&row, "update_id")));
            }
        }
        println!("chaos: of {heard} changes of best bids and asks {} are missing", missing.len());
        missing.is_empty().then_some(())
    });
}
