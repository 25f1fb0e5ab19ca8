//! A network of its own for every node, and cuts between them that nobody is told of: what is sent just
//! does not arrive.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::process::program;

/// Nobody has this address: what is sent to it is lost without a word.
const NOWHERE: &str = "02:00:00:00:00:01";

/// How many networks there may be at a time: in a range that is set aside for tests (RFC 2544).
const NETWORKS: u32 = 250;

/// Hosts at a bridge, each in a namespace of its own. Removed when dropped.
pub(super) struct Network {
    number: u32,
    hosts: usize,
    cuts: BTreeSet<(End, End)>,
}

/// What can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Where the exchange is.
    Outside,
    /// A host, by its number.
    Host(usize),
}

/// Between whom nothing passes.
pub(super) type Cuts = Vec<(End, End)>;

impl Network {
    /// So many hosts; `None`, and a loud line, where this process may not make namespaces.
    pub(super) fn new(hosts: usize) -> Option<Self> {
        let first = std::process::id() % NETWORKS;
        let mut reason = String::new();
        for number in (first..NETWORKS).chain(0..first) {
            // Only one test can make the bridge, and only what that one made is it to remove.
            let made = ip(&format!("link add {} type bridge", bridge(number))).and_then(|()| {
                let network = Self { number, hosts, cuts: BTreeSet::new() };
                network.make().map(|()| network)
            });
            match made {
                Ok(network) => return Some(network),
                Err(error) => reason = error,
            }
            if !reason.contains("File exists") {
                break;
            }
        }
        println!("SKIPPED: no network namespaces here (run as root): {reason}");
        None
    }

    fn make(&self) -> Result<(), String> {
        let bridge = bridge(self.number);
        ip(&format!("addr add {}/24 dev {bridge}", self.address(End::Outside)))?;
        ip(&format!("link set {bridge} up"))?;
        for host in 0..self.hosts {
            let (space, plug) = (self.space(host), self.plug(host));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {plug} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {plug} master {bridge} up"))?;
            ip(&format!("-n {space} addr add {}/24 dev eth0", self.address(End::Host(host))))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(())
    }

    /// The address of an end.
    pub(super) fn address(&self, end: End) -> String {
        let last = match end {
            End::Outside => 1,
            End::Host(number) => 10 + number,
        };
        format!("198.18.{}.{last}", self.number)
    }

    /// A program that runs at a host.
    pub(super) fn program(&self, host: usize, path: &Path) -> Command {
        let [ip, before @ ..] = self.before(host);
        let mut command = program(ip);
        command.args(before).arg(path);
        command
    }

    /// The words before those of a command that runs at a host.
    pub(super) fn before(&self, host: usize) -> [String; 4] {
        ["ip".to_owned(), "netns".to_owned(), "exec".to_owned(), self.space(host)]
    }

    /// From here on nothing passes between the two.
    pub(super) fn cut(&mut self, one: End, other: End) {
        for (from, to) in [(one, other), (other, one)] {
            if self.cuts.insert((from, to)) {
                let (at, device) = self.seen_from(from);
                let address = self.address(to);
                let lost = format!("neigh replace {address} lladdr {NOWHERE} dev {device}");
                ip(&format!("{at}{lost} nud permanent")).expect("a cut");
            }
        }
    }

    /// Everything passes again.
    pub(super) fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cuts) {
            let (at, device) = self.seen_from(from);
            ip(&format!("{at}neigh del {} dev {device}", self.address(to))).expect("it heals");
        }
    }

    /// How `ip` is told to work there, and by what device it sees the others.
    fn seen_from(&self, end: End) -> (String, String) {
        match end {
            End::Outside => (String::new(), bridge(self.number)),
            End::Host(number) => (format!("-n {} ", self.space(number)), "eth0".to_owned()),
        }
    }

    fn space(&self, host: usize) -> String {
        format!("fts{}-{host}", self.number)
    }

    fn plug(&self, host: usize) -> String {
        format!("ftsv{}-{host}", self.number)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was never made can't be removed: that is no error here.
        for host in 0..self.hosts {
            drop(ip(&format!("link del {}", self.plug(host))));
            drop(ip(&format!("netns del {}", self.space(host))));
        }
        drop(ip(&format!("link del {}", bridge(self.number))));
    }
}

fn bridge(number: u32) -> String {
    format!("ftsb{number}")
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
