//! What the client and the servers say, as what the caller can do about it.

use std::error::Error as _;

use fts_core::port::store::StoreError;
use serde::Deserialize;

/// The longest message that is passed on: a server's may hold a whole document.
const MESSAGE_CHARS: usize = 600;
/// What is wrong with a document, whatever the state of the index. All other refusals may pass once
/// somebody does something: they cost no row.
const DOCUMENT_FAULTS: [&str; 7] = [
    "document_parsing_exception",
    "illegal_argument_exception",
    "json_parse_exception",
    "mapper_parsing_exception",
    "parsing_exception",
    "strict_dynamic_mapping_exception",
    "x_content_parse_exception",
];

/// What an answer that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server has too much to do: try again shortly.
    Busy(String),
    /// Try again, once whatever it is has passed.
    Unavailable(String),
    /// Whoever stands before the server has waited for it in vain: less at once may help.
    Late(String),
    /// Somebody has to do something.
    Refused(String),
    /// The body is larger than the server takes.
    TooLarge(String),
    /// Nobody can do anything: this document is not one that the index takes.
    Rejected(String),
}

impl From<Verdict> for StoreError {
    /// Of a request as a whole: no row is at fault that could be named.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Busy(reason) | Verdict::Unavailable(reason) | Verdict::Late(reason) => {
                unavailable(reason)
            }
            Verdict::Refused(reason) | Verdict::TooLarge(reason) | Verdict::Rejected(reason) => {
                refused(reason)
            }
        }
    }
}

/// What a server says is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Fault {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<Fault>>,
}

impl Fault {
    /// What the body of an answer says, whatever it is: proxies answer in HTML.
    pub(super) fn of_body(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Error {
            Fault(Fault),
            Text(String),
        }
        #[derive(Deserialize)]
        struct Body {
            error: Error,
        }
        match serde_json::from_slice::<Body>(body) {
            Ok(Body { error: Error::Fault(fault) }) => fault,
            Ok(Body { error: Error::Text(text) }) => Self::said(text),
            Err(_) => Self::said(String::from_utf8_lossy(body).into_owned()),
        }
    }

    fn said(text: String) -> Self {
        Self { reason: Some(text), ..Self::default() }
    }

    /// The server's words: what happened, and why.
    fn words(&self) -> String {
        let mut words = self.kind.clone();
        let mut last = "";
        let mut fault = Some(self);
        while let Some(it) = fault {
            if let Some(reason) = it.reason.as_deref().filter(|it| !it.is_empty() && *it != last) {
                if !words.is_empty() {
                    words.push_str(": ");
                }
                words.push_str(reason);
                last = reason;
            }
            fault = it.caused_by.as_deref();
        }
        words
    }
}

/// What an answer with this status means, for a document or for a request as a whole.
pub(super) fn judge(status: u16, fault: &Fault) -> Verdict {
    let words = fault.words();
    match (status, fault.kind.as_str()) {
        (_, "cluster_block_exception") => Verdict::Unavailable(format!(
            "an index or the cluster may not be written ({words}): is a disk full, or has somebody \
             blocked it?"
        )),
        (_, "validation_exception") if words.contains("maximum") => Verdict::Refused(format!(
            "the cluster has as many shards as it may ({words}): keep rows for a shorter time, or \
             raise cluster.max_shards_per_node"
        )),
        (_, "invalid_alias_name_exception" | "invalid_index_name_exception") => {
            Verdict::Refused(format!(
                "something is in the way of an index's name ({words}): remove or rename it, or set \
                 `index_prefix`"
            ))
        }
        (_, "index_not_found_exception") => Verdict::Refused(format!(
            "an index is missing and is not created ({words}): let action.auto_create_index allow it"
        )),
        (429, _) | (_, "es_rejected_execution_exception" | "circuit_breaking_exception") => {
            Verdict::Busy(format!("the cluster is overloaded ({words})"))
        }
        (401, _) => Verdict::Refused(format!(
            "wrong user, password or API key: correct the store's login (the server says: {words})"
        )),
        (403, _) => Verdict::Refused(format!("a permission is missing: grant it ({words})")),
        (413, _) => Verdict::TooLarge(format!(
            "the server takes no request that large: lower `bulk_bytes` ({words})"
        )),
        (408 | 504, _) => Verdict::Late(format!(
            "the cluster did not answer in time, says {status} ({words}): is it overloaded?"
        )),
        (404 | 405, _) => Verdict::Refused(format!(
            "the server does not know the request ({words}): is this Elasticsearch?"
        )),
        (400, "index_closed_exception") => {
            Verdict::Refused(format!("an index is closed: open it ({words})"))
        }
        (400, "illegal_argument_exception") if words.contains("pipeline with id") => {
            Verdict::Refused(format!(
                "an index's default_pipeline or final_pipeline is missing ({words}): create it, or \
                 remove the setting"
            ))
        }
        (400, kind) if DOCUMENT_FAULTS.contains(&kind) => Verdict::Rejected(words),
        (400..=499, _) => {
            Verdict::Refused(format!("the server refuses the request with {status} ({words})"))
        }
        _ => Verdict::Unavailable(format!("the server answers with {status} ({words})")),
    }
}

/// Why there is no answer, as far as it matters for what is sent next.
#[derive(Debug)]
pub(super) enum Silence {
    /// The request was too much for the time it had, or for whoever it passes by: the connection was
    /// there, and the answer was not, or not whole. Less at once may help.
    Late(StoreError),
    /// Nobody is there, or nobody who may be asked: what is sent makes no difference.
    Away(StoreError),
}

impl From<Silence> for StoreError {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Late(error) | Silence::Away(error) => error,
        }
    }
}

/// There is no answer.
pub(super) fn of_transport(error: &elasticsearch::Error, timeout_ms: u64) -> Silence {
    // The innermost cause says most; the outermost holds the address only.
    let (mut cause, mut words) = (error.source(), error.to_string());
    let (mut is_tls, mut is_connecting) = (false, false);
    while let Some(inner) = cause {
        if let Some(fault) = inner.downcast_ref::<std::io::Error>() {
            is_tls |= fault.get_ref().is_some_and(|it| it.is::<tokio_rustls::rustls::Error>());
        }
        is_tls |= inner.is::<tokio_rustls::rustls::Error>();
        is_connecting |= inner.downcast_ref().is_some_and(reqwest::Error::is_connect);
        words = inner.to_string();
        cause = inner.source();
    }
    if is_tls || words.contains("certificate") {
        return Silence::Away(refused(format!(
            "TLS fails ({words}): is `ca_file` the authority of the server's certificate, does the \
             certificate name the address, and does the server speak TLS on this port?"
        )));
    }
    let kind = if is_connecting { Silence::Away } else { Silence::Late };
    if error.is_timeout() {
        return kind(timed_out(timeout_ms));
    }
    kind(unavailable(format!("no answer ({words}): is the server up, and the address right?")))
}

/// Nothing came in time.
pub(super) fn timed_out(timeout_ms: u64) -> StoreError {
    unavailable(format!(
        "no answer within {timeout_ms} ms: the cluster hangs or is overloaded; is a machine out of \
         memory or its disk stuck?"
    ))
}

/// Trying again helps, once whatever it is has passed.
pub(super) fn unavailable(message: impl ToString) -> StoreError {
    StoreError::Unavailable(shortened(message.to_string()))
}

/// Somebody has to do something.
pub(super) fn refused(message: impl ToString) -> StoreError {
    StoreError::Refused(shortened(message.to_string()))
}

/// At most so much of a message as an operator reads.
pub(super) fn shortened(mut message: String) -> String {
    if let Some((cut, _)) = message.char_indices().nth(MESSAGE_CHARS) {
        message.truncate(cut);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: fn(String) -> Verdict, word: &str) {
        let found = judge(status, &Fault::of_body(body.as_bytes()));
        let (Verdict::Busy(text)
        | Verdict::Unavailable(text)
        | Verdict::Late(text)
        | Verdict::Refused(text)
        | Verdict::TooLarge(text)
        | Verdict::Rejected(text)) = found.clone();
        assert_eq!(found, expected(text.clone()));
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }

    /// As servers of version 8 word them.
    #[test]
    fn what_a_server_says_is_what_to_do() {
        let fault = |kind: &str, reason: &str| {
            format!(r#"{{"error":{{"type":"{kind}","reason":"{reason}"}},"status":0}}"#)
        };
        let check_kind = |status, kind: &str, reason: &str, expected, word: &str| {
            check(status, &fault(kind, reason), expected, word);
        };
        check_kind(
            401,
            "security_exception",
            "unable to authenticate user [elastic] for REST request [/_bulk]",
            Verdict::Refused,
            "correct the store's login",
        );
        check_kind(
            403,
            "security_exception",
            "action [indices:admin/create] is unauthorized for user [fts]",
            Verdict::Refused,
            "grant it",
        );
        check_kind(
            403,
            "cluster_block_exception",
            "index [a] blocked by: [FORBIDDEN/8/index write (api)];",
            Verdict::Unavailable,
            "blocked",
        );
        check_kind(
            429,
            "cluster_block_exception",
            "[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]",
            Verdict::Unavailable,
            "is a disk full",
        );
        let busy = "rejected execution of coordinating operation";
        check_kind(429, "es_rejected_execution_exception", busy, Verdict::Busy, "overloaded");
        check_kind(429, "circuit_breaking_exception", "Data too large", Verdict::Busy, "large");
        check_kind(
            400,
            "validation_exception",
            "this action would add [2] shards, but this cluster currently has [1000]/[1000] \
             maximum normal shards open",
            Verdict::Refused,
            "keep rows for a shorter time",
        );
        check_kind(
            400,
            "invalid_alias_name_exception",
            "an index exists with the same name as the alias",
            Verdict::Refused,
            "`index_prefix`",
        );
        check_kind(400, "index_closed_exception", "closed", Verdict::Refused, "open it");
        check_kind(400, "snapshot_in_progress_exception", "x", Verdict::Refused, "snapshot");
        check_kind(400, "", "", Verdict::Refused, "400");
        check_kind(
            400,
            "illegal_argument_exception",
            "pipeline with id [fts] does not exist",
            Verdict::Refused,
            "default_pipeline",
        );
        check_kind(503, "master_not_discovered_exception", "", Verdict::Unavailable, "503");
        check_kind(413, "", "", Verdict::TooLarge, "`bulk_bytes`");
        check_kind(404, "", "no handler", Verdict::Refused, "is this Elasticsearch");
        check(502, "<html>Bad Gateway</html>", Verdict::Unavailable, "Bad Gateway");
        check(429, "", Verdict::Busy, "overloaded");
        check(504, "<html>Gateway Time-out</html>", Verdict::Late, "Time-out");
        check(405, r#"{"error":"Incorrect method"}"#, Verdict::Refused, "Incorrect method");
    }

    #[test]
    fn a_document_is_rejected_with_the_reason_and_its_cause() {
        let body = r#"{"error":{"type":"document_parsing_exception",
            "reason":"[1:20] failed to parse field [extra.hora] of type [long]",
            "caused_by":{"type":"illegal_argument_exception","reason":"For input string: \"x\""}}}"#;
        check(400, body, Verdict::Rejected, "field [extra.hora] of type [long]: For input string");
    }

    #[test]
    fn only_what_is_wrong_with_a_document_rejects_it() {
        for kind in DOCUMENT_FAULTS {
            let body = format!(r#"{{"error":{{"type":"{kind}","reason":"x"}}}}"#);
            check(400, &body, Verdict::Rejected, kind);
            check(500, &body, Verdict::Unavailable, kind);
        }
        let immense = r#"{"error":{"type":"illegal_argument_exception","reason":"Document contains at least one immense term in field=\"extra.nota\""}}"#;
        check(400, immense, Verdict::Rejected, "immense term");
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        assert_eq!(shortened("ñ".repeat(700)), "ñ".repeat(600));
    }
}
