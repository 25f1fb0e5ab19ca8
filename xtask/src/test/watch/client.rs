//! Questions to Prometheus, and orders to the simulated exchange.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::shell::Stopwatch;

/// How long anything may take that is waited for: machines differ.
const PATIENCE: Duration = Duration::from_secs(600);
const ANSWER: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(300);

/// Asks `address` and answers the body.
pub(super) fn ask(method: &str, address: &str, path: &str, body: &str) -> Result<String> {
    let asked = || -> Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or("");
        ensure!(status.starts_with('2'), "{status}: {body}");
        Ok(body.to_owned())
    };
    asked().with_context(|| format!("{method} http://{address}{path}"))
}

/// Prometheus.
pub(super) struct Prometheus {
    pub(super) address: String,
}

impl Prometheus {
    /// Whether this has had data at any moment of the last `seconds`.
    pub(super) fn had_data(&self, expression: &str, seconds: u64) -> Result<bool> {
        let end = ask("GET", &self.address, "/api/v1/query?query=time()", "")?;
        let end: Value = serde_json::from_str(&end)?;
        let end = end.pointer("/data/result/0").and_then(Value::as_f64).context("no time")?;
        let from = end - f64::from(u32::try_from(seconds)?);
        let body = format!("query={}&start={from}&end={end}&step=1", encoded(expression));
        let answer = ask("POST", &self.address, "/api/v1/query_range", &body)?;
        let answer: Value = serde_json::from_str(&answer)?;
        let series = answer.pointer("/data/result").and_then(Value::as_array);
        Ok(series.is_some_and(|it| !it.is_empty()))
    }

    /// Whether this has data at this moment.
    pub(super) fn has_data(&self, expression: &str) -> Result<bool> {
        let body = format!("query={}", encoded(expression));
        let answer = ask("POST", &self.address, "/api/v1/query", &body)?;
        let answer: Value = serde_json::from_str(&answer)?;
        let series = answer.pointer("/data/result").and_then(Value::as_array);
        Ok(series.is_some_and(|it| !it.is_empty()))
    }

    /// Waits until each of these has data.
    pub(super) fn await_data(&self, what: &str, expressions: &[String]) -> Result<()> {
        wait(what, || {
            let mut open = Vec::new();
            for expression in expressions {
                if !self.has_data(expression)? {
                    open.push(expression.clone());
                }
            }
            Ok(open)
        })
    }

    /// Waits until each of these alerts has fired while it was waited for.
    pub(super) fn await_fired(&self, alerts: &[&str]) -> Result<()> {
        self.make_fire(alerts, || Ok(()))
    }

    /// Makes trouble, again and again, until each of these alerts has fired meanwhile.
    pub(super) fn make_fire(
        &self,
        alerts: &[&str],
        mut trouble: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        wait(&alerts.join(", "), || {
            trouble()?;
            self.not_fired(alerts, watch.elapsed().as_secs().max(1))
        })
    }

    /// Waits until each of these alerts has fired at any time.
    pub(super) fn await_fired_ever(&self, alerts: &[&str]) -> Result<()> {
        wait("all alerts", || self.not_fired(alerts, 3_600))
    }

    /// Which of these alerts have not fired for the last `seconds`.
    fn not_fired(&self, alerts: &[&str], seconds: u64) -> Result<Vec<String>> {
        let mut open = Vec::new();
        for alert in alerts {
            let fired = format!(
                "count_over_time(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}[{seconds}s])"
            );
            if !self.has_data(&fired)? {
                open.push((*alert).to_owned());
            }
        }
        Ok(open)
    }
}

/// Waits until nothing is open any more, and tells what was.
pub(super) fn wait(what: &str, mut open: impl FnMut() -> Result<Vec<String>>) -> Result<()> {
    let watch = Stopwatch::start();
    let mut last = Vec::new();
    loop {
        // What does not answer now may the next time.
        let left = open();
        if let Ok(left) = &left
            && left.is_empty()
        {
            let last = if last.is_empty() { String::new() } else { last.join(", ") + " last" };
            println!("{what}: after {:.1} s {last}", watch.elapsed().as_secs_f64());
            return Ok(());
        }
        if watch.elapsed() > PATIENCE {
            bail!("{}: not within {PATIENCE:?}", left?.join(", "));
        }
        last = left.unwrap_or(last);
        std::thread::sleep(POLL);
    }
}

/// As a form has it.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
