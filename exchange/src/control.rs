//! The switches of the simulation over HTTP, under `/control`. No exchange has them: they are for
//! tests, and for whoever wants to see what a client makes of a bad day.

use crate::faults::{FaultControl, Faults, parse_time};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the exchange is gone, or silent, if nobody says.
const DEFAULT_S: u64 = 10;

/// What can be switched.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) faults: FaultControl,
}

pub(crate) fn routes(control: Control) -> Router {
    Router::new()
        .route("/control/faults", get(faults).post(set_faults).delete(clear_faults))
        .route("/control/disconnect", post(disconnect))
        .route("/control/stall", post(stall))
        .route("/control/refuse", post(refuse))
        .route("/control/shutdown", post(shutdown))
        .with_state(control)
}

/// The settings, and how often what has happened.
async fn faults(State(control): State<Control>) -> Response {
    describe(&control)
}

/// Changes the settings that the body names: a JSON object, or the line that `--faults` takes.
async fn set_faults(State(control): State<Control>, body: String) -> Response {
    let settings = control.faults.settings();
    let changed = if body.trim_start().starts_with('{') {
        match serde_json::from_str(&body) {
            Ok(changes) => settings.with(changes),
            Err(error) => return refused(&error.to_string()),
        }
    } else {
        settings.with_line(&body)
    };
    match changed.and_then(|faults| control.faults.set(faults)) {
        Ok(()) => describe(&control),
        Err(error) => refused(&error.to_string()),
    }
}

/// Nothing goes wrong any more; the seed stays.
async fn clear_faults(State(control): State<Control>) -> Response {
    let faults = Faults { seed: control.faults.settings().seed, ..Faults::default() };
    match control.faults.set(faults) {
        Ok(()) => describe(&control),
        Err(error) => refused(&error.to_string()),
    }
}

/// How long something lasts: `?for=30s`.
#[derive(Deserialize)]
struct Lasting {
    r#for: Option<String>,
}

impl Lasting {
    fn read(&self) -> Result<Option<Duration>, &'static str> {
        let Some(text) = self.r#for.as_deref() else { return Ok(None) };
        let time = parse_time(text).map(Duration::from_millis);
        time.map(Some).ok_or("give ?for= a time such as 250ms, 30s or 5m")
    }
}

async fn disconnect(State(control): State<Control>) -> Response {
    control.faults.disconnect_all();
    describe(&control)
}

async fn stall(State(control): State<Control>, Query(lasting): Query<Lasting>) -> Response {
    match lasting.read() {
        Ok(lasts) => control.faults.stall_all(lasts),
        Err(reason) => return refused(reason),
    }
    describe(&control)
}

async fn refuse(State(control): State<Control>, Query(lasting): Query<Lasting>) -> Response {
    match lasting.read() {
        Ok(lasts) => control.faults.refuse_for(lasts.unwrap_or(Duration::from_secs(DEFAULT_S))),
        Err(reason) => return refused(reason),
    }
    describe(&control)
}

async fn shutdown(State(control): State<Control>, Query(lasting): Query<Lasting>) -> Response {
    match lasting.read() {
        Ok(after) => control.faults.shut_down_in(after.unwrap_or(Duration::from_secs(DEFAULT_S))),
        Err(reason) => return refused(reason),
    }
    describe(&control)
}

fn describe(control: &Control) -> Response {
    answer(
        StatusCode::OK,
        &json!({ "faults": control.faults.settings(), "tally": control.faults.tally() }),
    )
}

pub(crate) fn refused(reason: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({ "error": reason }))
}

pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, format!("{body}\n")).into_response()
}
