//! Control messages: what a client may ask for over the socket, and the documented answers.

use serde::Deserialize;
use serde_json::Value;

/// A request that is understood.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Listen to these streams.
    Subscribe(Vec<String>),
    /// Stop listening to these.
    Unsubscribe(Vec<String>),
    /// Name what is listened to.
    ListSubscriptions,
    /// Switch the combined wrapper on or off.
    SetCombined(bool),
    /// Tell whether the combined wrapper is on.
    GetCombined,
}

/// The `id` of a request, to be repeated in the answer: JSON text.
pub(crate) type RequestId = String;

#[derive(Deserialize)]
struct Raw {
    method: Method,
    #[serde(default)]
    params: Vec<Value>,
    #[serde(default)]
    id: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Method {
    Subscribe,
    Unsubscribe,
    ListSubscriptions,
    SetProperty,
    GetProperty,
}

const STRING_ID_CHARS_MAX: usize = 36;
const TOO_MANY: &str = "Invalid request: too many parameters";
const NO_NAME: &str = "Invalid request: property name must be a string";

/// Reads a request; `Err` is the answer that says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<(Request, RequestId), String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            refusal(2, &format!("Invalid request: {error}"))
        } else {
            refusal(3, &format!("Invalid JSON: {error}"))
        }
    })?;
    let id = request_id(&raw.id)?;
    let request = match raw.method {
        Method::Subscribe => Request::Subscribe(names(raw.params)?),
        Method::Unsubscribe => Request::Unsubscribe(names(raw.params)?),
        Method::ListSubscriptions => match raw.params.as_slice() {
            [] => Request::ListSubscriptions,
            _ => return Err(refusal(2, TOO_MANY)),
        },
        Method::SetProperty => match raw.params.as_slice() {
            [Value::String(name), value] => {
                known_property(name, &id)?;
                match value {
                    Value::Bool(combined) => Request::SetCombined(*combined),
                    _ => return Err(refusal(1, "Invalid value type: expected Boolean")),
                }
            }
            [Value::String(name)] => {
                known_property(name, &id)?;
                return Err(refusal(1, "Invalid value type: expected Boolean"));
            }
            [_, _, _, ..] => return Err(refusal(2, TOO_MANY)),
            _ => return Err(refusal(2, NO_NAME)),
        },
        Method::GetProperty => match raw.params.as_slice() {
            [Value::String(name)] => {
                known_property(name, &id)?;
                Request::GetCombined
            }
            [_, _, ..] => return Err(refusal(2, TOO_MANY)),
            _ => return Err(refusal(2, NO_NAME)),
        },
    };
    Ok((request, id))
}

/// The answer to a request that was carried out; `result` is JSON text.
pub(crate) fn answer(result: &str, id: &RequestId) -> String {
    format!("{{\"result\":{result},\"id\":{id}}}")
}

/// An integer of 64 bits, up to 36 alphanumeric characters, or null.
fn request_id(id: &Value) -> Result<RequestId, String> {
    let fits = match id {
        Value::Null => true,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::String(text) => {
            text.len() <= STRING_ID_CHARS_MAX
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        }
        _ => false,
    };
    if fits {
        Ok(id.to_string())
    } else {
        Err(refusal(2, "Invalid request: request ID must be an unsigned integer"))
    }
}

fn names(params: Vec<Value>) -> Result<Vec<String>, String> {
    params
        .into_iter()
        .map(|param| match param {
            Value::String(name) => Ok(name),
            other => {
                let message = format!("Invalid request: stream name must be a string, not {other}");
                Err(refusal(2, &message))
            }
        })
        .collect()
}

fn known_property(name: &str, id: &RequestId) -> Result<(), String> {
    if name == "combined" {
        Ok(())
    } else {
        Err(format!("{{\"code\":0,\"msg\":\"Unknown property\",\"id\":{id}}}"))
    }
}

fn refusal(code: u8, message: &str) -> String {
    format!("{{\"code\":{code},\"msg\":{}}}", Value::from(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Request, id: &str) {
        assert_eq!(parse(text), Ok((expected, id.to_owned())), "{text}");
    }

    #[track_caller]
    fn refuse(text: &str, expected: &str) {
        assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn requests_are_read() {
        let streams = || vec!["btcusdt@trade".to_owned(), "x@y".to_owned()];
        check(
            r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","x@y"],"id":1}"#,
            Request::Subscribe(streams()),
            "1",
        );
        check(
            r#"{"id":"aZ09","method":"UNSUBSCRIBE","params":["btcusdt@trade","x@y"]}"#,
            Request::Unsubscribe(streams()),
            "\"aZ09\"",
        );
        check(r#"{"method":"LIST_SUBSCRIPTIONS","id":-3}"#, Request::ListSubscriptions, "-3");
        let set = r#"{"method":"SET_PROPERTY","params":["combined",true],"id":null}"#;
        check(set, Request::SetCombined(true), "null");
        check(r#"{"method":"GET_PROPERTY","params":["combined"]}"#, Request::GetCombined, "null");
    }

    #[test]
    fn refusals_are_the_documented_ones() {
        refuse(
            r#"{"method":"GET_PROPERTY","params":["x"],"id":7}"#,
            r#"{"code":0,"msg":"Unknown property","id":7}"#,
        );
        let boolean = r#"{"code":1,"msg":"Invalid value type: expected Boolean"}"#;
        refuse(r#"{"method":"SET_PROPERTY","params":["combined",1],"id":7}"#, boolean);
        refuse(r#"{"method":"SET_PROPERTY","params":["combined"],"id":7}"#, boolean);
        let name = r#"{"code":2,"msg":"Invalid request: property name must be a string"}"#;
        refuse(r#"{"method":"SET_PROPERTY","params":[1,true],"id":7}"#, name);
        refuse(r#"{"method":"GET_PROPERTY","params":[],"id":7}"#, name);
        let id = r#"{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}"#;
        refuse(r#"{"method":"LIST_SUBSCRIPTIONS","id":1.5}"#, id);
        refuse(r#"{"method":"LIST_SUBSCRIPTIONS","id":{}}"#, id);
        let long = format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":"{}"}}"#, "a".repeat(37));
        refuse(&long, id);
        refuse(
            r#"{"method":"SUBSCRIBEX","id":1}"#,
            "{\"code\":2,\"msg\":\"Invalid request: unknown variant `SUBSCRIBEX`, expected one of \
             `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` \
             at line 1 column 22\"}",
        );
        let many = r#"{"code":2,"msg":"Invalid request: too many parameters"}"#;
        refuse(r#"{"method":"GET_PROPERTY","params":["combined",1],"id":7}"#, many);
        refuse(r#"{"method":"SET_PROPERTY","params":["combined",true,1],"id":7}"#, many);
        refuse(r#"{"method":"LIST_SUBSCRIPTIONS","params":[1],"id":7}"#, many);
        refuse(
            r#"{"params":["btcusdt@trade"],"id":1}"#,
            r#"{"code":2,"msg":"Invalid request: missing field `method` at line 1 column 35"}"#,
        );
        refuse("x", r#"{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}"#);
    }
}
