//! Adds and removes symbols for the whole cluster, durably.
//!
//! A change counts once the log keeps it. Every node that hears of one by gossip writes what it knows
//! as well, so that of two changes at once neither is lost for good.

use std::sync::Arc;
use std::time::Duration;

use fts_core::market::Symbol;
use fts_core::metrics::REGISTRY_CHANGED_SECONDS;
use fts_core::port::history::{History, HistoryError};
use fts_core::port::log::{Log, LogError};
use fts_core::time::Clock;
use tokio::sync::watch;

use super::registry::{CHECKPOINT, Full, Registry};

/// How long to leave a log alone that is out of reach.
const RETRY: Duration = Duration::from_secs(1);

/// The cluster's symbols, as this node knows them.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Symbols {
    registry: watch::Sender<Arc<Registry>>,
    /// One change at a time: it is read, changed and written.
    changing: tokio::sync::Mutex<()>,
    log: Arc<dyn Log>,
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    node: Arc<str>,
}

/// Why a symbol was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The exchange does not have it.
    #[error("the exchange does not list {0}: nothing was added")]
    Unlisted(Symbol),
    /// It has never been added.
    #[error("{0} is not captured: nothing was removed")]
    Unknown(Symbol),
    /// The exchange did not say whether it has it.
    #[error("cannot ask the exchange for {0}: {1}")]
    Exchange(Symbol, HistoryError),
    /// The log does not take it.
    #[error("nothing was changed: {0}")]
    Log(#[from] LogError),
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// The last one can't go.
    #[error("{0} is the last symbol: a node without any has nothing to do")]
    Last(Symbol),
}

impl Symbols {
    /// The configured symbols with all changes that the log keeps. Waits for a log that is out of reach.
    ///
    /// # Errors
    /// Where the log is broken.
    pub async fn load(
        configured: Vec<Symbol>,
        log: Arc<dyn Log>,
        history: Arc<dyn History>,
        clock: Arc<dyn Clock>,
        node: Arc<str>,
    ) -> Result<Self, LogError> {
        let this = Self {
            registry: watch::Sender::new(Arc::new(Registry::new(configured))),
            changing: tokio::sync::Mutex::default(),
            log,
            history,
            clock,
            node,
        };
        let kept = loop {
            match this.log.load_checkpoint(CHECKPOINT).await {
                Err(LogError::Unavailable(reason)) => {
                    tracing::warn!(reason, "cannot read the list of symbols; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                kept => break kept?,
            }
        };
        if let Some(kept) = kept {
            this.take(&String::from_utf8_lossy(&kept));
        }
        Ok(this)
    }

    /// The newest list.
    pub fn watch(&self) -> watch::Receiver<Arc<Registry>> {
        self.registry.subscribe()
    }

    /// What is to be captured.
    pub fn current(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.borrow())
    }

    /// Adds (`is_present`) or removes a symbol. `Ok(false)` if it was so before.
    ///
    /// # Errors
    /// Where it is not known to the exchange, or the change can't be kept: then nothing is changed.
    pub async fn set(&self, symbol: &Symbol, is_present: bool) -> Result<bool, SymbolsError> {
        let _turn = self.changing.lock().await;
        if self.current().has(symbol) == is_present {
            return if is_present { Ok(false) } else { Err(SymbolsError::Unknown(symbol.clone())) };
        }
        if is_present {
            let unlisted = self.history.unlisted(std::slice::from_ref(symbol)).await;
            let unlisted =
                unlisted.map_err(|error| SymbolsError::Exchange(symbol.clone(), error))?;
            if !unlisted.is_empty() {
                return Err(SymbolsError::Unlisted(symbol.clone()));
            }
        } else if self.current().symbols().len() == 1 {
            return Err(SymbolsError::Last(symbol.clone()));
        }
        let mut changed = Registry::clone(&self.current());
        changed.set(symbol.clone(), is_present, self.now_ms(), Arc::clone(&self.node))?;
        self.keep(&changed).await?;
        self.take(&changed.encode());
        tracing::info!(%symbol, is_present, "the list of symbols was changed");
        Ok(true)
    }

    /// Takes what another node knows; tells whether it was news.
    pub fn take(&self, text: &str) -> bool {
        let is_news = self.registry.send_if_modified(|registry| {
            let mut merged = Registry::clone(registry);
            let is_news = merged.merge(text, self.now_ms());
            if is_news {
                *registry = Arc::new(merged);
            }
            is_news
        });
        if is_news {
            let seconds = u32::try_from(self.current().changed_at_ms() / 1_000).unwrap_or(u32::MAX);
            metrics::gauge!(REGISTRY_CHANGED_SECONDS).set(f64::from(seconds));
        }
        is_news
    }

    /// Takes what the log keeps: a node may have died after its change was kept and before it was told.
    pub async fn refresh(&self) {
        match self.log.load_checkpoint(CHECKPOINT).await {
            Ok(kept) => drop(self.take(&String::from_utf8_lossy(&kept.unwrap_or_default()))),
            Err(error) => tracing::debug!(%error, "cannot look for changes of the symbols"),
        }
    }

    /// Writes what this node knows into the log, where that is news.
    ///
    /// # Errors
    /// Where the log does not take it.
    pub async fn save(&self) -> Result<(), LogError> {
        let _turn = self.changing.lock().await;
        self.keep(&self.current()).await
    }

    async fn keep(&self, known: &Registry) -> Result<(), LogError> {
        let kept = self.log.load_checkpoint(CHECKPOINT).await?.unwrap_or_default();
        let mut both = Registry::default();
        both.merge(&String::from_utf8_lossy(&kept), self.now_ms());
        if both.merge(&known.encode(), self.now_ms()) {
            self.log.save_checkpoint(CHECKPOINT, both.encode().into()).await?;
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().millis()).unwrap_or(0)
    }
}
