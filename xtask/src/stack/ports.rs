//! Ports for servers: free ones, or fixed ones.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

use super::PORTS_EACH;

/// So many ports: free ones, or from `base` on those of the server at `place` in the list.
pub(super) fn choose(count: usize, base: Option<u16>, place: usize) -> Result<Vec<u16>> {
    let Some(base) = base else { return free(count) };
    let first = u16::try_from(place)
        .ok()
        .and_then(|place| base.checked_add(place.checked_mul(PORTS_EACH)?))
        .context("--base-port is too high")?;
    (0..count)
        .map(|at| {
            let port = u16::try_from(at).ok().and_then(|at| first.checked_add(at));
            let port = port.context("--base-port is too high")?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .with_context(|| format!("port {port} is taken: choose another --base-port"))?;
            Ok(port)
        })
        .collect()
}

/// Ports that nobody listens on. All are held until the last is found, so that they differ.
fn free(count: usize) -> Result<Vec<u16>> {
    let held: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    held?.iter().map(|it| Ok(it.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let mut ports = choose(20, None, 0).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn every_server_has_ports_of_its_own_behind_the_base() {
        assert!(super::super::SERVICES.iter().all(|it| it.ports() <= usize::from(PORTS_EACH)));
        assert!(choose(1, Some(u16::MAX), 1).is_err());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(choose(1, Some(taken.local_addr().unwrap().port()), 0).is_err());
    }
}
