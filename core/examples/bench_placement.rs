//! How long a placement takes, how even it is, and what a death moves.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fts_core::market::Symbol;
use fts_core::placement::{Member, Placement, Shards, Singleton};

/// A cluster of nodes that weigh the same, or 50, 100 and 200 by turns.
fn members(nodes: usize, even: bool) -> Vec<Member> {
    let weight = |index: usize| match index % 3 {
        0 if !even => 50,
        1 if !even => 200,
        _ => 100,
    };
    let member =
        |index| Member { name: format!("node-{index}").into(), weight: weight(index), live: true };
    (0..nodes).map(member).collect()
}

fn owners(placement: &Placement, shards: &Shards) -> Vec<[Option<Arc<str>>; 2]> {
    let owner = |symbol, feed| placement.owner(symbol, feed).cloned();
    shards.symbols.iter().map(|symbol| [owner(symbol, 0), owner(symbol, 1)]).collect()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
fn measure(nodes: usize, symbols: usize, even: bool) -> Result<(), fts_core::market::NotASymbol> {
    let symbols = (0..symbols).map(|index| Symbol::new(&format!("S{index}USDT")));
    let shards = Shards {
        symbols: symbols.collect::<Result<_, _>>()?,
        feeds: 2,
        partitions: 256,
        singletons: vec![Singleton::Batch, Singleton::Simulator],
    };
    let mut members = members(nodes, even);
    let started = Instant::now();
    let before = Placement::compute(&members, &shards);
    let took = started.elapsed();
    let weights: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let homes = owners(&before, &shards);
    let mut loads: BTreeMap<_, u64> = BTreeMap::new();
    for owner in homes.iter().flatten() {
        *loads.entry(owner.clone()).or_default() += 1;
    }
    let fullness = |member: &Member| {
        let load = loads.get(&Some(member.name.clone())).copied().unwrap_or(0);
        let mean = 2.0 * shards.symbols.len() as f64 * f64::from(member.weight) / weights as f64;
        load as f64 / mean
    };
    let fullest = members.iter().map(fullness).fold(0.0, f64::max);
    let mut joined = members.clone();
    joined.push(Member { name: "late".into(), weight: 100, live: true });
    let joined = owners(&Placement::compute(&joined, &shards), &shards);
    let differs = |other: &[[Option<Arc<str>>; 2]]| {
        homes.iter().flatten().zip(other.iter().flatten()).filter(|(old, new)| old != new).count()
    };
    let late: Option<Arc<str>> = Some("late".into());
    let gained = joined.iter().flatten().filter(|owner| **owner == late).count();
    let join_moves = differs(&joined);
    let Some(victim) = members.first_mut() else { return Ok(()) };
    victim.live = false;
    let dead = victim.name.clone();
    let started = Instant::now();
    let after = Placement::compute(&members, &shards);
    let after_death = started.elapsed();
    let after = owners(&after, &shards);
    let moved = differs(&after);
    let pairs = homes.iter().flatten().zip(after.iter().flatten());
    let needlessly = pairs.filter(|(old, new)| old != new && old.as_ref() != Some(&dead)).count();
    println!(
        "{nodes:>5} nodes of {} weight × {:>6} symbols × 2: {:>4} ms, {:>4} ms with one dead; \
         fullest {fullest:.3} × mean; a death moves {moved}, of others {needlessly}; \
         a join moves {join_moves}, {gained} of them to the newcomer",
        if even { "equal" } else { "mixed" },
        shards.symbols.len(),
        took.as_millis(),
        after_death.as_millis(),
    );
    Ok(())
}

fn main() -> Result<(), fts_core::market::NotASymbol> {
    measure(3, 50, true)?;
    measure(10, 2_000, true)?;
    measure(100, 10_000, true)?;
    measure(1_000, 100_000, true)?;
    measure(1_000, 100_000, false)
}
