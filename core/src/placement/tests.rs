//! Placement as properties (order, bounds, what moves), tables of the small cases, and paper size.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn member(name: &str, weight: u32, live: bool) -> Member {
    Member { name: name.into(), weight, live }
}

/// Members n0, n1, … that are alive.
fn alive(weights: &[u32]) -> Vec<Member> {
    let member = |(index, weight): (usize, &u32)| member(&format!("n{index}"), *weight, true);
    weights.iter().enumerate().map(member).collect()
}

fn shards(symbols: usize, feeds: u8, partitions: u32) -> Shards {
    let symbol = |index| Symbol::new(&format!("S{index}USDT")).unwrap();
    Shards {
        symbols: (0..symbols).map(symbol).collect(),
        feeds,
        partitions,
        singletons: vec![Singleton::Batch, Singleton::Simulator],
    }
}

/// Everything there is to do, by name, and who does it.
fn owners(placement: &Placement, shards: &Shards) -> BTreeMap<String, Option<Arc<str>>> {
    let mut owners = BTreeMap::new();
    for feed in 0..shards.feeds {
        for symbol in &shards.symbols {
            owners.insert(format!("feed {symbol} {feed}"), placement.owner(symbol, feed).cloned());
        }
    }
    for partition in 0..shards.partitions {
        let owner = placement.partition_owner(partition).cloned();
        owners.insert(format!("partition {partition}"), owner);
    }
    for singleton in &shards.singletons {
        let owner = placement.singleton_owner(*singleton).cloned();
        owners.insert(format!("singleton {}", singleton.name()), owner);
    }
    owners
}

fn feeds_of(placement: &Placement, name: &str) -> usize {
    placement.share(name).feeds.iter().map(Vec::len).sum()
}

/// How much of `all` a weight may have: so many percent of its mean, or its mean rounded up.
fn bound(all: usize, weight: u32, total: u64, percent: u64) -> usize {
    let share = all as u64 * u64::from(weight);
    usize::try_from(share.div_ceil(total).max(share * percent / (total * 100))).unwrap()
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(100_u32), 1 => Just(0), 2 => 50..200_u32, 1 => 1..5_000_u32]
}

fn roster() -> impl Strategy<Value = Vec<Member>> {
    let one = (weight(), prop::bool::weighted(0.7));
    prop::collection::vec(one, 0..12).prop_map(|list| {
        let member = |(index, (weight, live))| member(&format!("n{index}"), weight, live);
        list.into_iter().enumerate().map(member).collect()
    })
}

fn work() -> impl Strategy<Value = Shards> {
    (0..120_usize, 0..=2_u8, 0..24_u32)
        .prop_map(|(symbols, feeds, partitions)| shards(symbols, feeds, partitions))
}

proptest! {
    #[test]
    fn the_order_of_what_is_listed_and_repetitions_change_nothing(
        (members, shuffled) in roster()
            .prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
        shards in work(),
        repeat in any::<bool>(),
    ) {
        let mut other = Shards { singletons: vec![Singleton::Simulator, Singleton::Batch], ..shards.clone() };
        other.symbols.reverse();
        let mut others = shuffled;
        if repeat {
            other.symbols.extend(shards.symbols.first().cloned());
            others.extend(members.last().cloned());
        }
        prop_assert_eq!(Placement::compute(&members, &shards), Placement::compute(&others, &other));
    }

    #[test]
    fn all_is_done_once_by_the_living_and_the_feeds_of_a_symbol_apart(
        members in roster(),
        shards in work(),
    ) {
        let placement = Placement::compute(&members, &shards);
        let able: Vec<_> = members.iter().filter(|it| it.live && it.weight > 0).collect();
        for (what, owner) in owners(&placement, &shards) {
            prop_assert_eq!(owner.is_some(), !able.is_empty(), "{}", what);
            prop_assert!(owner.is_none_or(|owner| able.iter().any(|it| it.name == owner)), "{}", what);
        }
        if able.len() > 1 && shards.feeds == 2 {
            for symbol in &shards.symbols {
                prop_assert_ne!(placement.owner(symbol, 0), placement.owner(symbol, 1));
            }
        }
        // The shares are the same thing, by member.
        let mut done = BTreeMap::new();
        for it in &members {
            let share = placement.share(&it.name);
            for (feed, symbols) in share.feeds.iter().enumerate() {
                prop_assert!(symbols.is_sorted());
                done.extend(symbols.iter().map(|symbol| (format!("feed {symbol} {feed}"), Some(it.name.clone()))));
            }
            prop_assert!(share.partitions.is_sorted());
            done.extend(share.partitions.iter().map(|index| (format!("partition {index}"), Some(it.name.clone()))));
            done.extend(share.singletons.iter().map(|one| (format!("singleton {}", one.name()), Some(it.name.clone()))));
        }
        if !able.is_empty() {
            prop_assert_eq!(done, owners(&placement, &shards));
        }
    }

    #[test]
    fn nobody_is_fuller_than_the_bounds(members in roster(), shards in work()) {
        let able: Vec<_> = members.iter().filter(|it| it.live && it.weight > 0).collect();
        let percent = if members.iter().all(|it| it.live || it.weight == 0) { 110 } else { 115 };
        let total: u64 = able.iter().map(|it| u64::from(it.weight)).sum();
        let placement = Placement::compute(&members, &shards);
        for it in &able {
            let partitions = placement.share(&it.name).partitions.len();
            let most = bound(shards.partitions as usize, it.weight, total, percent);
            prop_assert!(partitions <= most, "{}: {partitions} partitions of {most}", it.name);
            let feeds = feeds_of(&placement, &it.name);
            let symbols = shards.symbols.len();
            let most = bound(symbols * usize::from(shards.feeds), it.weight, total, percent);
            // A member that outweighs the others can't do both feeds: they do more than their mean.
            let outweighs = able.iter().any(|it| 2 * u64::from(it.weight) > total);
            let free = shards.feeds < 2 || !outweighs;
            // Orphans with nowhere else to go, because their other feed is where room is.
            let squeezed = usize::from(percent == 115 && shards.feeds == 2);
            prop_assert!(!free || feeds <= most + squeezed, "{}: {feeds} feeds of {most}", it.name);
            if able.len() > 1 {
                prop_assert!(feeds <= symbols, "{}: {feeds} feeds of {symbols} symbols", it.name);
            }
        }
    }

    #[test]
    fn what_is_at_home_stays_whoever_else_dies_or_comes_back(
        mut members in roster(),
        shards in work(),
    ) {
        let now = owners(&Placement::compute(&members, &shards), &shards);
        let dead: Vec<_> =
            members.iter().filter(|it| !it.live).map(|it| it.name.clone()).collect();
        members.iter_mut().for_each(|it| it.live = true);
        let home = owners(&Placement::compute(&members, &shards), &shards);
        for (what, owner) in &home {
            if owner.as_ref().is_some_and(|owner| !dead.contains(owner)) {
                prop_assert_eq!(owner, &now[what], "{}", what);
            }
        }
    }

    #[test]
    fn every_input_is_part_of_the_epoch(members in roster(), shards in work(), salt in 0..5_usize) {
        let (mut others, mut other) = (members.clone(), shards.clone());
        match (salt, others.first_mut()) {
            (0, Some(first)) => first.live = !first.live,
            (1, Some(first)) => first.weight += 1,
            (2, _) => other.symbols.push(Symbol::new("ANOTHER").unwrap()),
            (3, _) => other.partitions += 1,
            _ => other.feeds += 1,
        }
        let epoch = |members: &[Member], shards| Placement::compute(members, shards).epoch();
        prop_assert_ne!(epoch(&members, &shards), epoch(&others, &other));
        prop_assert_eq!(epoch(&members, &shards), epoch(&members, &shards));
    }
}

/// How many feeds, partitions and singletons each member has: `(a, b, partitions, singletons)`.
#[track_caller]
fn check_small(members: &[Member], symbols: usize, feeds: u8, expected: &[[usize; 4]]) {
    let placement = Placement::compute(members, &shards(symbols, feeds, 6));
    let mut found: Vec<_> = members
        .iter()
        .map(|it| placement.share(&it.name))
        .map(|it| [it.feeds[0].len(), it.feeds[1].len(), it.partitions.len(), it.singletons.len()])
        .collect();
    // Which of them has what is chance; how much is not.
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn one_node_does_everything() {
    check_small(&alive(&[100]), 5, 2, &[[5, 5, 6, 2]]);
    check_small(&alive(&[100]), 5, 1, &[[5, 0, 6, 2]]);
    check_small(&alive(&[100]), 0, 2, &[[0, 0, 6, 2]]);
    let shards = shards(5, 2, 6);
    let share = Placement::compute(&alive(&[7]), &shards).share("n0");
    assert_eq!(share, Share::whole(&shards));
}

#[test]
fn nobody_does_anything_where_nobody_can() {
    check_small(&[], 5, 2, &[]);
    check_small(&alive(&[0, 0]), 5, 2, &[[0; 4], [0; 4]]);
    check_small(&[member("dead", 100, false), member("idle", 0, true)], 5, 2, &[[0; 4], [0; 4]]);
    let share = Placement::compute(&[], &shards(1, 2, 1)).share("stranger");
    let nothing = Share { symbols: Arc::clone(&share.symbols), ..Share::default() };
    assert_eq!(share, nothing);
}

#[test]
fn two_nodes_share_evenly() {
    let totals = |members: &[Member], symbols| {
        let placement = Placement::compute(members, &shards(symbols, 2, 6));
        members.iter().map(|it| feeds_of(&placement, &it.name)).collect::<Vec<_>>()
    };
    for symbols in [1, 2, 3, 50, 1_000] {
        assert_eq!(totals(&alive(&[100, 100]), symbols), [symbols, symbols]);
        // Apart, whatever they weigh.
        assert_eq!(totals(&alive(&[100, 300]), symbols), [symbols, symbols]);
    }
    let placement = Placement::compute(&alive(&[100, 100]), &shards(0, 2, 6));
    for name in ["n0", "n1"] {
        let share = placement.share(name);
        assert_eq!((share.partitions.len(), share.singletons.len()), (3, 1), "{name}");
    }
}

#[test]
fn three_nodes_share_evenly_and_the_rest_takes_over() {
    let mut members = alive(&[100, 100, 100]);
    let shards = shards(30, 2, 6);
    let loads = |members: &[Member]| {
        let placement = Placement::compute(members, &shards);
        let mut loads: Vec<_> = members.iter().map(|it| feeds_of(&placement, &it.name)).collect();
        loads.sort_unstable();
        loads
    };
    assert!(loads(&members).iter().all(|load| (16..=22).contains(load)), "{:?}", loads(&members));
    members[1].live = false;
    assert_eq!(loads(&members), [0, 30, 30]);
    members[2].live = false;
    assert_eq!(loads(&members), [0, 0, 60]);
}

#[test]
fn the_last_shard_finds_room_where_it_may_go_whatever_the_names() {
    let shards = shards(3, 2, 0);
    for salt in 0..200 {
        let members: Vec<_> =
            (0..3).map(|index| member(&format!("{salt}-{index}"), 100, true)).collect();
        let placement = Placement::compute(&members, &shards);
        for it in &members {
            assert_eq!(feeds_of(&placement, &it.name), 2, "{}", it.name);
        }
    }
}

#[test]
fn a_heavier_node_does_more() {
    let placement = Placement::compute(&alive(&[100, 100, 200]), &shards(4_000, 1, 0));
    for (name, mean) in [("n0", 1_000), ("n1", 1_000), ("n2", 2_000)] {
        let load = feeds_of(&placement, name);
        assert!(load.abs_diff(mean) <= mean / 10, "{name}: {load}");
    }
}

/// Of 2,000 symbols × 2 on 20 nodes: how many feeds move, for every one that has to.
#[track_caller]
fn check_movement(before: &[Member], after: &[Member], has_to: usize) {
    let shards = shards(2_000, 2, 0);
    let owners = |members: &[Member]| owners(&Placement::compute(members, &shards), &shards);
    let (before, after) = (owners(before), owners(after));
    let moved = before.iter().filter(|(what, owner)| after[*what] != **owner).count();
    assert!(moved >= has_to * 8 / 10 && moved <= has_to * 2, "{moved} moved, {has_to} have to");
}

#[test]
fn little_moves_that_need_not() {
    let twenty = alive(&[100; 20]);
    let twenty_one = alive(&[100; 21]);
    check_movement(&twenty, &twenty_one, 4_000 / 21);
    check_movement(&twenty_one, &twenty, 4_000 / 21);
    let mut heavier = twenty.clone();
    heavier[3].weight = 200;
    check_movement(&twenty, &heavier, 2 * 4_000 / 21 - 200);
    check_movement(&heavier, &twenty, 2 * 4_000 / 21 - 200);
    let mut dead = twenty.clone();
    dead[3].live = false;
    let own = feeds_of(&Placement::compute(&twenty, &shards(2_000, 2, 0)), "n3");
    check_movement(&twenty, &dead, own);
    // A second death may push aside a few of the first one's orphans.
    let mut two = dead.clone();
    two[9].live = false;
    let own = feeds_of(&Placement::compute(&dead, &shards(2_000, 2, 0)), "n9");
    check_movement(&dead, &two, own);
}

#[test]
fn a_thousand_nodes_share_a_hundred_thousand_symbols() {
    let mut members = alive(&[100; 1_000]);
    let shards = shards(100_000, 2, 1_000);
    let before = Placement::compute(&members, &shards);
    let mut loads = BTreeMap::new();
    for symbol in &shards.symbols {
        for feed in [0, 1] {
            *loads.entry(before.owner(symbol, feed).unwrap()).or_insert(0_u64) += 1;
        }
    }
    assert!(loads.values().all(|load| *load <= 230), "{:?}", loads.values().max());
    members[500].live = false;
    let dead = members[500].name.clone();
    let after = Placement::compute(&members, &shards);
    let mut moved = 0;
    for symbol in &shards.symbols {
        for feed in [0, 1] {
            let (old, new) = (before.owner(symbol, feed), after.owner(symbol, feed));
            assert!(old == new || old == Some(&dead), "{symbol} {feed}");
            moved += u64::from(old != new);
        }
    }
    assert_eq!(moved, loads[&dead]);
}

#[test]
fn whoever_folds_knows_all_symbols_that_are_wanted() {
    let shards = shards(20, 2, 4);
    let wanted: BTreeSet<Symbol> = shards.symbols.iter().cloned().collect();
    assert_eq!(*Share::whole(&shards).symbols, wanted);
    let placement = Placement::compute(&alive(&[100, 100, 0]), &shards);
    for name in ["n0", "n1", "n2", "stranger"] {
        assert_eq!(*placement.share(name).symbols, wanted, "{name}");
    }
}

#[track_caller]
fn unowned(members: &[Member], does: &[&str], feeds: usize, partitions: usize, once: usize) {
    let placement = Placement::compute(members, &shards(10, 2, 6));
    let expected = Unowned { feeds, partitions, singletons: once };
    assert_eq!(placement.unowned(|name| does.contains(&name)), expected, "{does:?}");
}

#[test]
fn what_nobody_has_confirmed_is_unowned() {
    let two = alive(&[100, 100]);
    unowned(&two, &["n0", "n1"], 0, 0, 0);
    unowned(&two, &[], 20, 6, 2);
    // Whoever it is has half of it.
    let placement = Placement::compute(&two, &shards(10, 2, 6));
    let of = placement.share("n1");
    unowned(&two, &["n0"], feeds_of(&placement, "n1"), of.partitions.len(), of.singletons.len());
    unowned(&alive(&[100]), &["n0"], 0, 0, 0);
    let dead = [member("n0", 100, true), member("n1", 100, false)];
    unowned(&dead, &["n0"], 0, 0, 0);
    unowned(&dead, &["n1"], 20, 6, 2);
    unowned(&alive(&[0]), &["n0"], 20, 6, 2);
    unowned(&[], &[], 20, 6, 2);
}

#[test]
fn one_feed_is_all_there_is_to_own() {
    let placement = Placement::compute(&alive(&[100]), &shards(10, 1, 6));
    assert_eq!(placement.unowned(|_| true), Unowned::default());
}
