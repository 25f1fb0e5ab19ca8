//! The exchange's own errors: `{"code":…,"msg":…}` with their HTTP codes.

use axum::http::StatusCode;

/// An error as the exchange documents it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    code: i32,
    message: String,
}

impl ApiError {
    fn bad(code: i32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let message = serde_json::Value::from(self.message.as_str());
        format!("{{\"code\":{},\"msg\":{message}}}", self.code).into_bytes()
    }

    pub(crate) fn unknown() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Self::bad(-1000, "An unknown error occurred while processing the request.")
        }
    }

    /// One of the 5xx: the back end is slow, overloaded or broken.
    pub(crate) fn failure(status: u16) -> Self {
        let (code, message) = match status {
            503 => (
                -1008,
                "Server is currently overloaded with other requests. Please try again in a few \
                 minutes.",
            ),
            504 => (
                -1007,
                "Timeout waiting for response from backend server. Send status unknown; execution \
                 status unknown.",
            ),
            _ => return Self { status: status_of(status), ..Self::unknown() },
        };
        Self { status: status_of(status), ..Self::bad(code, message) }
    }

    pub(crate) fn too_much_weight(limit: u32) -> Self {
        let message = format!(
            "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. \
             Please use WebSocket Streams for live updates to avoid polling the API."
        );
        Self { status: StatusCode::TOO_MANY_REQUESTS, ..Self::bad(-1003, message) }
    }

    pub(crate) fn banned(until: i64) -> Self {
        let message = format!(
            "Way too much request weight used; IP banned until {until}. Please use WebSocket \
             Streams for live updates to avoid bans."
        );
        Self { status: StatusCode::IM_A_TEAPOT, ..Self::bad(-1003, message) }
    }

    pub(crate) fn illegal_characters(name: &str, range: &str) -> Self {
        let message =
            format!("Illegal characters found in parameter '{name}'; legal range is '{range}'.");
        Self::bad(-1100, message)
    }

    pub(crate) fn duplicate_parameters() -> Self {
        Self::bad(-1101, "Duplicate values for a parameter detected.")
    }

    pub(crate) fn mandatory(name: &str) -> Self {
        let message =
            format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed.");
        Self::bad(-1102, message)
    }

    pub(crate) fn unread(read: usize, sent: usize) -> Self {
        let message = format!(
            "Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
        );
        Self::bad(-1104, message)
    }

    pub(crate) fn empty(name: &str) -> Self {
        Self::bad(-1105, format!("Parameter '{name}' was empty."))
    }

    pub(crate) fn overflow(name: &str) -> Self {
        Self::bad(-1108, format!("Parameter '{name}' overflowed."))
    }

    pub(crate) fn interval() -> Self {
        Self::bad(-1120, "Invalid interval.")
    }

    pub(crate) fn symbol() -> Self {
        Self::bad(-1121, "Invalid symbol.")
    }

    pub(crate) fn combination() -> Self {
        Self::bad(-1128, "Combination of optional parameters invalid.")
    }

    pub(crate) fn invalid(name: &str) -> Self {
        Self::bad(-1130, format!("Data sent for parameter '{name}' is not valid."))
    }

    pub(crate) fn ticker_type() -> Self {
        Self::bad(-1139, "Invalid ticker type.")
    }

    pub(crate) fn duplicate_symbols() -> Self {
        Self::bad(-1151, "Symbol is present multiple times in the list.")
    }
}

fn status_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
