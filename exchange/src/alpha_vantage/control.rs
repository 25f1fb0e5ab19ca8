//! The switches of the simulated Alpha Vantage, as values and under `/control/alpha-vantage`.

use super::Service;
use super::answer::{Answer, parse_dollars};
use super::history::Split;
use crate::control::{answer as respond, refused};
use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;

/// Decrees of each kind that are kept at most.
const DECREES_MAX: usize = 1_000;

/// An answer that is given instead of the right one. Such a request counts for no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// Which.
    pub answer: Answer,
    /// To whoever asks for this symbol; `None`: to everybody.
    #[serde(default)]
    pub symbol: Option<String>,
    /// So many times; 0: until the switches are reset.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Daily prices that are told differently from here on. Either one day, or a share of all days.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restatement {
    /// Whose.
    pub symbol: String,
    /// Which day.
    pub date: Option<Date>,
    /// Its first price, in dollars with 4 digits at most.
    pub open: Option<String>,
    /// Its highest price.
    pub high: Option<String>,
    /// Its lowest price.
    pub low: Option<String>,
    /// Its last price.
    pub close: Option<String>,
    /// Its shares traded.
    pub volume: Option<i64>,
    /// Instead of a day: the share of all days whose highest price changes by a tenth of a cent.
    pub share: Option<f64>,
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

/// How much a key has asked for.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) day: Date,
    pub(super) requests: u32,
    pub(super) last: Option<Instant>,
}

impl Usage {
    pub(super) fn on(day: Date) -> Self {
        Self { day, requests: 0, last: None }
    }
}

/// What was switched, and what was used.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) today: Option<DateTime>,
    pub(super) forced: VecDeque<Forced>,
    pub(super) restated: Vec<Restatement>,
    pub(super) splits: Vec<Split>,
    pub(super) usage: HashMap<String, Usage>,
}

impl State {
    /// The answer that is forced upon this request, if one is.
    pub(super) fn take_forced(&mut self, symbol: &str) -> Option<Answer> {
        let concerns = |forced: &Forced| forced.symbol.as_deref().is_none_or(|it| it == symbol);
        let position = self.forced.iter().position(concerns)?;
        let forced = self.forced.get_mut(position)?;
        let answer = forced.answer;
        match forced.times {
            0 => {}
            1 => {
                self.forced.remove(position);
            }
            more => forced.times = more - 1,
        }
        Some(answer)
    }
}

/// The switchboard of the simulated Alpha Vantage.
#[derive(Debug, Clone)]
pub struct AlphaVantageControl(pub(crate) Service);

impl AlphaVantageControl {
    /// Stops the clock at a time of New York, or lets it go.
    pub fn set_today(&self, today: Option<DateTime>) {
        self.0.state().today = today;
    }

    /// Forces an answer, after those forced before it.
    ///
    /// # Errors
    /// Too many are waiting.
    pub fn force(&self, forced: Forced) -> Result<(), SettingError> {
        let forced = Forced { symbol: forced.symbol.map(|it| it.to_uppercase()), ..forced };
        let mut state = self.0.state();
        room(state.forced.len())?;
        state.forced.push_back(forced);
        Ok(())
    }

    /// Tells prices differently from here on.
    ///
    /// # Errors
    /// Neither a day nor a share, a price that is none, or too many.
    pub fn restate(&self, restatement: Restatement) -> Result<(), SettingError> {
        let Restatement { open, high, low, close, .. } = &restatement;
        for price in [open, high, low, close].into_iter().flatten() {
            if parse_dollars(price).is_none() {
                let advice = "give dollars such as 252.1790";
                return Err(SettingError(format!("{price:?} is no price: {advice}")));
            }
        }
        match (restatement.date, restatement.share) {
            (Some(_), None) => {}
            (None, Some(share)) if (0.0..=1.0).contains(&share) => {}
            _ => {
                let advice = "give a restatement either a date, or a share between 0 and 1";
                return Err(SettingError(advice.to_owned()));
            }
        }
        let symbol = restatement.symbol.to_uppercase();
        let mut state = self.0.state();
        room(state.restated.len())?;
        state.restated.push(Restatement { symbol, ..restatement });
        Ok(())
    }

    /// Splits a stock.
    ///
    /// # Errors
    /// A ratio below 2, or too many.
    pub fn split(&self, split: Split) -> Result<(), SettingError> {
        if split.ratio < 2 {
            return Err(SettingError("give a split a ratio of 2 or more".to_owned()));
        }
        let mut state = self.0.state();
        room(state.splits.len())?;
        state.splits.push(Split { symbol: split.symbol.to_uppercase(), ..split });
        Ok(())
    }

    /// Everything as at the start; the requests of all keys are forgotten too.
    pub fn reset(&self) {
        *self.0.state() = State { today: self.0.config.today, ..State::default() };
    }

    /// How many requests the key has made on this day of New York.
    pub fn requests_today(&self, key: &str) -> u32 {
        let state = self.0.state();
        let today = self.0.now(&state).date();
        state.usage.get(key).filter(|usage| usage.day == today).map_or(0, |usage| usage.requests)
    }
}

fn room(count: usize) -> Result<(), SettingError> {
    match count < DECREES_MAX {
        true => Ok(()),
        false => Err(SettingError("there are 1000 already: reset them".to_owned())),
    }
}

pub(crate) fn routes(control: AlphaVantageControl) -> Router {
    Router::new()
        .route("/control/alpha-vantage", get(read).post(change).delete(clear))
        .with_state(control)
}

/// What can be asked for at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// A day (its evening), a time, or `"now"`.
    today: Option<String>,
    force: Option<Forced>,
    restate: Option<Restatement>,
    split: Option<Split>,
}

/// `2026-05-15` (the evening of that day) or `2026-05-15T11:30:00`, by the clocks of New York.
///
/// # Errors
/// It is neither.
pub fn parse_today(text: &str) -> Result<DateTime, SettingError> {
    const EVENING: i8 = 18;
    let day = text.parse::<Date>().map(|day| day.at(EVENING, 0, 0, 0));
    let is_day = !text.contains(['T', ' ', ':']);
    if is_day { day } else { text.parse() }.map_err(|_| {
        let advice = "give a day such as 2026-05-15, or a time such as 2026-05-15T11:30:00";
        SettingError(format!("{text:?} is no day: {advice}"))
    })
}

async fn read(extract::State(control): extract::State<AlphaVantageControl>) -> Response {
    describe(&control)
}

async fn change(
    extract::State(control): extract::State<AlphaVantageControl>,
    body: String,
) -> Response {
    let changes: Changes = match serde_json::from_str(&body) {
        Ok(changes) => changes,
        Err(error) => return refused(&error.to_string()),
    };
    match apply(&control, changes) {
        Ok(()) => describe(&control),
        Err(error) => refused(&error.to_string()),
    }
}

fn apply(control: &AlphaVantageControl, changes: Changes) -> Result<(), SettingError> {
    let Changes { today, force, restate, split } = changes;
    match today.as_deref() {
        None => {}
        Some("now") => control.set_today(None),
        Some(today) => control.set_today(Some(parse_today(today)?)),
    }
    force.map_or(Ok(()), |forced| control.force(forced))?;
    restate.map_or(Ok(()), |restatement| control.restate(restatement))?;
    split.map_or(Ok(()), |split| control.split(split))
}

async fn clear(extract::State(control): extract::State<AlphaVantageControl>) -> Response {
    control.reset();
    describe(&control)
}

fn describe(control: &AlphaVantageControl) -> Response {
    let state = control.0.state();
    let now = control.0.now(&state);
    let today = now.date();
    let usage = state.usage.iter().filter(|(_, usage)| usage.day == today);
    let requests: HashMap<&String, u32> = usage.map(|(key, it)| (key, it.requests)).collect();
    let body = json!({
        "now": now.to_string(),
        "forced": state.forced,
        "restated": state.restated,
        "splits": state.splits,
        "requests_today": requests,
    });
    respond(StatusCode::OK, &body)
}
