//! Refusals in the exchange's words: a code and a message.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fts_core::port::store::StoreError;
use serde::Serialize;

/// Why a request is refused, numbered as the exchange numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: i32,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    code: i32,
    msg: &'a str,
}

impl Refusal {
    /// A mistake of the caller's.
    fn caller(code: i32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(super) fn illegal_characters(parameter: &str, range: &str) -> Self {
        let message = format!(
            "Illegal characters found in parameter '{parameter}'; legal range is '{range}'."
        );
        Self::caller(-1100, message)
    }

    pub(super) fn duplicate_parameter() -> Self {
        Self::caller(-1101, "Duplicate values for a parameter detected.")
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!(
            "Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed."
        );
        Self::caller(-1102, message)
    }

    pub(super) fn unread(read: usize, sent: usize) -> Self {
        let message = format!(
            "Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
        );
        Self::caller(-1104, message)
    }

    pub(super) fn empty(parameter: &str) -> Self {
        Self::caller(-1105, format!("Parameter '{parameter}' was empty."))
    }

    pub(super) fn overflow(parameter: &str) -> Self {
        Self::caller(-1108, format!("Parameter '{parameter}' overflowed."))
    }

    pub(super) fn interval() -> Self {
        Self::caller(-1120, "Invalid interval.")
    }

    pub(super) fn symbol() -> Self {
        Self::caller(-1121, "Invalid symbol.")
    }

    pub(super) fn symbol_status() -> Self {
        Self::caller(-1122, "Invalid symbolStatus.")
    }

    pub(super) fn symbol_and_symbols() -> Self {
        let message = "Combination of optional parameters invalid. Recommendation: 'symbol' and \
                       'symbols' cannot both be sent.";
        Self::caller(-1128, message)
    }

    pub(super) fn invalid(parameter: &str) -> Self {
        Self::caller(-1130, format!("Data sent for parameter '{parameter}' is not valid."))
    }

    pub(super) fn ticker_type() -> Self {
        Self::caller(-1139, "Invalid ticker type.")
    }

    pub(super) fn duplicate_symbol() -> Self {
        Self::caller(-1151, "Symbol is present multiple times in the list.")
    }

    pub(super) fn time_unit() -> Self {
        let message = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.";
        Self::caller(-1194, message)
    }

    /// A mistake of the caller's, in the node's own words.
    pub(super) fn said(message: impl Into<String>) -> Self {
        Self::caller(-1000, message)
    }

    /// The node cannot answer yet, or not now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, code: -1000, message: message.into() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Body { code: self.code, msg: &self.message };
        (self.status, Json(body)).into_response()
    }
}
