//! `/metrics`, as much of it as a benchmark reads.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The body of an answer with status 200.
pub(super) fn get(address: &str, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    // 1.0: no chunks, and the connection ends with the answer.
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.split_whitespace().nth(1) == Some("200"), "{path} answered {head}");
    Ok(body.to_owned())
}

/// What `/metrics` said at one moment.
#[derive(Debug, Default)]
pub(super) struct Scrape(String);

impl Scrape {
    /// Asks for it.
    pub(super) fn take(address: &str) -> Result<Self> {
        Ok(Self(get(address, "/metrics")?))
    }

    /// Asks several, and takes what they say as if one had said it.
    pub(super) fn take_all(addresses: &[String]) -> Result<Self> {
        let each = addresses.iter().map(|it| get(it, "/metrics"));
        Ok(Self(each.collect::<Result<Vec<_>>>()?.join("\n")))
    }

    /// The sum of a metric over all its labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// The labels and value of each series of that name.
    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = if rest.starts_with('{') {
                rest.rsplit_once("} ")?
            } else {
                ("", rest.strip_prefix(' ')?)
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }

    /// A histogram's buckets over all labels but `le`: upper bound and how many are at or below it.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut found: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in self.series(&format!("{name}_bucket")) {
            let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next());
            let Some(bound) = bound.and_then(|it| it.parse::<f64>().ok()) else { continue };
            match found.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => found.push((bound, count)),
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found
    }
}

/// The quantile of what a histogram took in between two scrapes, evenly spread within its bucket.
pub(super) fn quantile(before: &Scrape, after: &Scrape, name: &str, quantile: f64) -> Option<f64> {
    let earlier = before.buckets(name);
    let grown = after.buckets(name).into_iter().map(|(bound, count)| {
        let known = earlier.iter().find(|(it, _)| it.total_cmp(&bound).is_eq());
        (bound, count - known.map_or(0.0, |(_, count)| *count))
    });
    let grown: Vec<(f64, f64)> = grown.collect();
    let rank = grown.last()?.1 * quantile;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in grown {
        if count >= rank && count > below {
            // What lies beyond the last bound is at least that.
            let upper = if bound.is_finite() { bound } else { lower };
            return Some(lower + (upper - lower) * (rank - below) / (count - below));
        }
        (lower, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_what_came_between_two_scrapes() {
        let scrape = |counts: [u32; 3]| {
            let [a, b, c] = counts;
            Scrape(format!(
                "# HELP x y\nx_bucket{{p=\"0\",le=\"1\"}} {a}\nx_bucket{{p=\"0\",le=\"2\"}} {b}\n\
                 x_bucket{{p=\"0\",le=\"+Inf\"}} {c}\nx_bucket{{p=\"1\",le=\"2\"}} 0\nx_count 9\n"
            ))
        };
        let (before, after) = (scrape([5, 5, 5]), scrape([5, 105, 105]));
        assert_eq!(quantile(&before, &after, "x", 0.5), Some(1.5));
        assert_eq!(quantile(&before, &after, "x", 1.0), Some(2.0));
        assert_eq!(quantile(&before, &before, "x", 0.5), None);
        assert_eq!(after.sum("x_count").total_cmp(&9.0), std::cmp::Ordering::Equal);
    }
}
