//! By which names a node answers: those that nobody else can point at it.
//!
//! A page at `http://evil.example` whose name is pointed at the node's address is, to the browser, of
//! one origin with the node, and could read and change everything. What gives it away is the `Host`
//! that it asks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Ends of names that no public site has: those of a machine, of a local network, of Kubernetes.
const PRIVATE: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".svc.cluster.local"];

/// The names of one node.
#[derive(Debug)]
pub(super) struct Names {
    /// Whether only this machine reaches it.
    is_loopback: bool,
    /// Its own, and those that it was given. Lower case, without the dot of the root.
    own: Vec<String>,
    given: Vec<String>,
}

impl Names {
    /// Of the node that is called `name`, listens on `bound`, and may be called as `given` says, too.
    pub(super) fn new(bound: SocketAddr, name: &str, given: &[String]) -> Self {
        Self {
            is_loopback: bound.ip().is_loopback(),
            own: vec![canonical(name)],
            given: given.iter().map(|it| canonical(it)).collect(),
        }
    }

    /// Whether all that the request says of its host is a name of this node. Browsers always send a
    /// `Host`; what sends none is no browser.
    fn know(&self, headers: &HeaderMap) -> bool {
        headers.get_all(HOST).iter().all(|host| {
            let host = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            host.is_some_and(|it| self.has(it.host()))
        })
    }

    fn has(&self, host: &str) -> bool {
        let name = canonical(host);
        if self.given.contains(&name) {
            return true;
        }
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if self.is_loopback {
            return host.eq_ignore_ascii_case("localhost")
                || address.is_ok_and(|it| it.is_loopback());
        }
        // A name without a dot is looked up where the node is: on its machine, its network, its
        // Kubernetes namespace.
        address.is_ok()
            || !name.is_empty() && !name.contains('.')
            || PRIVATE.iter().any(|end| name.ends_with(end))
            || self.own.contains(&name)
    }
}

/// As names are compared: `Node.example.` is `node.example`.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Refuses what is asked of another host.
pub(super) async fn known(
    State(names): State<Arc<Names>>,
    request: Request,
    next: Next,
) -> Response {
    if names.know(request.headers()) {
        return next.run(request).await;
    }
    let text = if names.is_loopback {
        "this node listens on this machine only: ask for localhost, or list the host's name in \
         http.hosts of the node's configuration\n"
    } else {
        "this node is not known by that name: ask for its address, or list the host's name in \
         http.hosts of the node's configuration\n"
    };
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const GIVEN: &str = "Ticks.Example.org";

    fn names(bound: &str) -> Names {
        Names::new(bound.parse().unwrap(), "node-1.example.net", &[GIVEN.to_owned()])
    }

    #[track_caller]
    fn check(bound: &str, hosts: &[&str], expected: bool) {
        for host in hosts {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
            assert_eq!(names(bound).know(&headers), expected, "{host} at {bound}");
        }
    }

    const FOREIGN: [&str; 11] = [
        "evil.example",
        "evil.example:8080",
        "evil.example.:8080",
        "localhost.evil.example:8080",
        "127.0.0.1.evil.example",
        "fts-node-1.evil.example",
        "notlocal.example",
        "svc.example",
        "ticks.example.org.evil.example",
        "",
        "a b",
    ];

    #[test]
    fn only_names_of_this_machine_are_answered_on_loopback() {
        for bound in ["127.0.0.1:8080", "[::1]:8080"] {
            check(bound, &["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:80"], true);
            check(bound, &["127.9.9.9", "[::1]:8080"], true);
            check(bound, &FOREIGN, false);
            check(bound, &["192.168.1.5:8080", "fts-node-1", "a.localhost", "a.local"], false);
            check(bound, &["node-1.example.net", "0.0.0.0:8080"], false);
        }
    }

    #[test]
    fn only_names_that_nobody_else_can_point_here_are_answered_elsewhere() {
        for bound in ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080"] {
            check(bound, &["localhost:8080", "a.localhost", "127.0.0.1:8080", "[::1]"], true);
            check(bound, &["172.30.77.11:8080", "[fe80::1]:8080"], true);
            check(bound, &["fts-node-1:8080", "FTS-Node-1", "fts-node-1.:8080"], true);
            check(bound, &["fts-node-0.fts-node.default.svc.cluster.local:8080"], true);
            check(bound, &["fts-node.default.svc", "desk.local", "node.eu.internal:8080"], true);
            check(bound, &["node-1.example.net:8080", "NODE-1.example.net."], true);
            check(bound, &FOREIGN, false);
        }
    }

    #[test]
    fn names_that_were_given_are_answered_wherever_the_node_listens() {
        for bound in ["127.0.0.1:8080", "0.0.0.0:8080"] {
            check(bound, &["ticks.example.org", "TICKS.example.org.:443"], true);
            check(bound, &["example.org", "a.ticks.example.org"], false);
        }
    }

    #[test]
    fn one_foreign_host_among_several_is_enough_to_refuse() {
        let both = ["localhost", "evil.example"].map(|it| (HOST, HeaderValue::from_static(it)));
        let mut headers = HeaderMap::new();
        for (name, host) in both {
            headers.append(name, host);
        }
        assert!(!names("0.0.0.0:8080").know(&headers));
        assert!(names("0.0.0.0:8080").know(&HeaderMap::new()));
    }
}
