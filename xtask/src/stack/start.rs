//! Servers started side by side, each as soon as what it follows is up.

use std::fs;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Result, bail, ensure};

use super::process::Process;
use super::state::{Entry, State};
use super::{Service, Started, find, folder, ports, site};
use crate::shell::Stopwatch;

/// These, and all that they need, in an order in which nothing comes before what it needs.
pub(super) fn with_needs(names: &[&str]) -> Result<Vec<&'static dyn Service>> {
    let mut found: Vec<&'static dyn Service> = Vec::new();
    for name in names {
        let (_, service) = find(name)?;
        for needed in with_needs(service.needs())?.into_iter().chain([service]) {
            if found.iter().all(|it| it.name() != needed.name()) {
                found.push(needed);
            }
        }
    }
    Ok(found)
}

/// How far the start has come.
struct Progress {
    state: State,
    up: Vec<&'static str>,
    failed: Vec<(&'static str, String)>,
}

/// Starts them all and puts each on record as soon as it serves; answers their names.
pub(super) fn all(
    wanted: &[&'static dyn Service],
    state: State,
    base_port: Option<u16>,
) -> Result<Vec<&'static str>> {
    let progress = Mutex::new(Progress { state, up: Vec::new(), failed: Vec::new() });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for service in wanted {
            scope.spawn(|| {
                let outcome = wait(*service, wanted, &progress, &changed)
                    .and_then(|()| start(*service, base_port));
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                match outcome.and_then(|entry| {
                    progress.state.entries.push(entry);
                    progress.state.save(&folder())
                }) {
                    Ok(()) => {
                        progress.up.push(service.name());
                        if wanted.len() > 1 {
                            println!("{} of {} are up", progress.up.len(), wanted.len());
                        }
                    }
                    Err(error) => {
                        println!("{}: {error:#}", service.name());
                        progress.failed.push((service.name(), format!("{error:#}")));
                    }
                }
                changed.notify_all();
            });
        }
    });
    let Progress { up, failed, .. } = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed: Vec<_> = failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(up)
}

/// Waits for what it follows, as far as that is to start.
fn wait(
    service: &dyn Service,
    wanted: &[&'static dyn Service],
    progress: &Mutex<Progress>,
    changed: &Condvar,
) -> Result<()> {
    let before: Vec<_> = service
        .follows()
        .iter()
        .filter(|name| wanted.iter().any(|it| it.name() == **name))
        .copied()
        .collect();
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some((name, _)) = progress.failed.iter().find(|it| before.contains(&it.0)) {
            bail!("not started, as {name} did not come up");
        }
        if before.iter().all(|name| progress.up.contains(name)) {
            return Ok(());
        }
        progress = changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
    }
}

fn start(service: &dyn Service, base_port: Option<u16>) -> Result<Entry> {
    let site = site(service);
    super::remove(&site.run)?;
    fs::create_dir_all(&site.run)?;
    let (place, _) = find(service.name())?;
    let ports = ports::choose(service.ports(), base_port, place)?;
    println!("{}: starting", service.name());
    let watch = Stopwatch::start();
    let Started { processes, variables } = service.start(&site, &ports)?;
    let seconds = watch.elapsed().as_secs_f64();
    let place = variables.first().map_or("", |it| it.1.as_str());
    println!("{}: up after {seconds:.1} s at {place}", service.name());
    let processes = processes.into_iter().map(Process::keep).collect();
    Ok(Entry { service: service.name().to_owned(), ports, processes, variables })
}

#[cfg(test)]
mod tests {
    use super::super::{SERVICES, TOGETHER};
    use super::*;

    fn names(services: &[&'static dyn Service]) -> Vec<&'static str> {
        services.iter().map(|it| it.name()).collect()
    }

    #[test]
    fn what_a_server_needs_comes_with_it_and_before_it() {
        let found = names(&with_needs(&["prometheus", "kafka"]).unwrap());
        let at = |name: &str| found.iter().position(|it| *it == name).unwrap();
        assert!(at("kafka") < at("nodes") && at("nodes") < at("prometheus"));
        assert_eq!(found.iter().filter(|it| **it == "kafka").count(), 1);
        assert!(with_needs(&["kafkaesque"]).is_err());
    }

    #[test]
    fn all_together_is_complete_and_nothing_waits_for_what_waits_for_it() {
        assert_eq!(with_needs(&TOGETHER).unwrap().len(), TOGETHER.len());
        for service in SERVICES {
            let needs = names(&with_needs(service.follows()).unwrap());
            assert!(!needs.contains(&service.name()), "{} waits for itself", service.name());
        }
    }
}
