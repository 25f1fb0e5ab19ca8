//! The node's place in a cluster: the section `[cluster]`, read and checked.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::written;
use crate::cluster::key::{SECRET_VARIABLE, Secret};

/// Where a node that only joins nodes of its own machine listens: on any free port.
const ANY_LOOPBACK: &str = "127.0.0.1:0";

/// A node's place in a cluster. Valid.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    /// Where it listens, for links (TCP) and gossip (UDP).
    pub(crate) listen: SocketAddr,
    /// What the others reach it by, where that is another address.
    pub(crate) advertise: Option<SocketAddr>,
    /// Nodes to join, as `host:port`.
    pub(crate) join: Vec<String>,
    /// Its share of the work, relative to the others'.
    pub(crate) weight: u32,
    /// How often it gossips.
    pub(crate) gossip_interval: Duration,
    /// After how much silence another node counts as dead.
    pub(crate) failure_timeout: Duration,
    /// The cluster's secret.
    pub(crate) secret: Secret,
}

/// The place in a cluster; `None` for a node that is alone.
pub(super) fn check(written: &written::Cluster) -> anyhow::Result<Option<ClusterConfig>> {
    let join = &written.join;
    if written.listen.is_empty() && join.is_empty() {
        return Ok(None);
    }
    for seed in join {
        let port = seed.rsplit_once(':').and_then(|(host, port)| {
            (!host.is_empty()).then_some(port)?.parse::<u16>().ok().filter(|port| *port > 0)
        });
        ensure!(
            port.is_some(),
            "`cluster.join` has \"{seed}\": write a host and a port, such as 10.0.0.7:7401"
        );
    }
    let is_local = |seed: &String| {
        seed.parse::<SocketAddr>().is_ok_and(|it| it.ip().is_loopback())
            || seed.starts_with("localhost:")
    };
    let listen = match written.listen.as_str() {
        "" if join.iter().all(is_local) => ANY_LOOPBACK,
        "" => bail!(
            "`cluster.join` names another machine and `cluster.listen` is empty: say where this \
             node listens for the others (--cluster-listen)"
        ),
        listen => listen,
    };
    let address = |key: &str, text: &str| -> anyhow::Result<SocketAddr> {
        text.parse().with_context(|| {
            format!(
                "`cluster.{key}` is \"{text}\": write an address and a port, such as 10.0.0.7:7401"
            )
        })
    };
    let listen = address("listen", listen)?;
    let advertise = match written.advertise.as_str() {
        "" => None,
        text => Some(address("advertise", text)?),
    };
    ensure!(
        advertise.is_some() || !listen.ip().is_unspecified(),
        "`cluster.listen` is {listen}, which no other node can dial: say in `cluster.advertise` \
         what they reach this one by"
    );
    ensure!(
        written.weight <= 10_000,
        "`cluster.weight` is {}: write 0 to 10000; 100 is usual",
        written.weight
    );
    ensure!(
        (50..=5_000).contains(&written.gossip_interval_ms),
        "`cluster.gossip_interval_ms` is {}: write 50 to 5000",
        written.gossip_interval_ms
    );
    ensure!(
        written.failure_timeout_ms >= 4 * written.gossip_interval_ms,
        "`cluster.failure_timeout_ms` is {}: it must be at least four times \
         `cluster.gossip_interval_ms`",
        written.failure_timeout_ms
    );
    let variable = std::env::var(SECRET_VARIABLE).ok();
    let file = (!written.secret_file.is_empty()).then(|| Path::new(&written.secret_file));
    let addresses: Vec<SocketAddr> = advertise.iter().copied().chain([listen]).collect();
    Ok(Some(ClusterConfig {
        listen,
        advertise,
        join: join.clone(),
        weight: written.weight,
        gossip_interval: Duration::from_millis(written.gossip_interval_ms),
        failure_timeout: Duration::from_millis(written.failure_timeout_ms),
        secret: Secret::find(variable.as_deref(), file, &addresses)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(listen: &str, join: &[&str]) -> written::Cluster {
        let join = join.iter().map(|it| (*it).to_owned()).collect();
        written::Cluster { listen: listen.to_owned(), join, ..written::Cluster::default() }
    }

    #[track_caller]
    fn refused(written: &written::Cluster, place: &str) {
        let text = format!("{:#}", check(written).expect_err("it must be refused"));
        assert!(text.contains(place), "`{place}` is not in: {text}");
    }

    #[test]
    fn a_node_is_alone_unless_it_listens_or_joins() {
        assert!(check(&written("", &[])).unwrap().is_none());
        let founder = check(&written("127.0.0.1:7401", &[])).unwrap().unwrap();
        assert!(founder.secret.is_development() && founder.join.is_empty());
        let joins = check(&written("", &["127.0.0.1:7401", "localhost:7402"])).unwrap().unwrap();
        assert_eq!(joins.listen.to_string(), ANY_LOOPBACK);
    }

    #[test]
    fn what_can_not_work_is_refused_with_its_place() {
        refused(&written("7401", &[]), "cluster.listen");
        refused(&written("", &["10.0.0.7:7401"]), "cluster.listen");
        refused(&written("", &["10.0.0.7"]), "cluster.join");
        refused(&written("127.0.0.1:1", &["x:0"]), "cluster.join");
        refused(&written("0.0.0.0:7401", &[]), "cluster.advertise");
        refused(&written("10.0.0.7:7401", &[]), SECRET_VARIABLE);
        let heavy = written::Cluster { weight: 10_001, ..written("127.0.0.1:1", &[]) };
        refused(&heavy, "cluster.weight");
        let hasty = written::Cluster { failure_timeout_ms: 700, ..written("127.0.0.1:1", &[]) };
        refused(&hasty, "cluster.failure_timeout_ms");
        let silent = written::Cluster { gossip_interval_ms: 0, ..written("127.0.0.1:1", &[]) };
        refused(&silent, "cluster.gossip_interval_ms");
    }
}
