//! Which symbol goes over which socket: what is open stays as it is, as far as it can.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fts_core::market::Symbol;

/// The symbols of the sockets of one feed, by the socket's number, once `wanted` is captured with at
/// most `per_socket` a socket. Symbols stay where they are; others go to places that are free, then
/// to sockets whose number is neither in use nor `taken`. A socket without a symbol is left out.
pub(super) fn assign(
    sockets: &BTreeMap<u32, Vec<Symbol>>,
    wanted: &[Symbol],
    per_socket: usize,
    taken: &BTreeSet<u32>,
) -> BTreeMap<u32, Vec<Symbol>> {
    let per_socket = per_socket.max(1);
    let keep: HashSet<&Symbol> = wanted.iter().collect();
    let had: HashSet<&Symbol> = sockets.values().flatten().collect();
    let mut fresh = wanted.iter().filter(|it| !had.contains(it)).cloned();
    let mut assigned = BTreeMap::new();
    for (number, symbols) in sockets {
        let mut symbols: Vec<_> = symbols.iter().filter(|it| keep.contains(it)).cloned().collect();
        let free = per_socket.saturating_sub(symbols.len());
        symbols.extend(fresh.by_ref().take(free));
        assigned.insert(*number, symbols);
    }
    let mut numbers = (0..).filter(|it| !sockets.contains_key(it) && !taken.contains(it));
    loop {
        let symbols: Vec<_> = fresh.by_ref().take(per_socket).collect();
        let Some(number) = numbers.next().filter(|_| !symbols.is_empty()) else { break };
        assigned.insert(number, symbols);
    }
    assigned.retain(|_, symbols| !symbols.is_empty());
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    type Text<'a> = &'a [(u32, &'a str)];

    fn symbols(text: &str) -> Vec<Symbol> {
        text.split_whitespace().map(|it| Symbol::new(it).unwrap()).collect()
    }

    #[track_caller]
    fn check(open: Text<'_>, wanted: &str, taken: &[u32], expected: Text<'_>) {
        let map = |text: Text<'_>| -> BTreeMap<u32, Vec<Symbol>> {
            text.iter().map(|(number, names)| (*number, symbols(names))).collect()
        };
        let taken = taken.iter().copied().collect();
        assert_eq!(assign(&map(open), &symbols(wanted), 2, &taken), map(expected), "{wanted}");
    }

    #[test]
    fn what_is_open_stays_and_only_what_changed_moves() {
        check(&[], "", &[], &[]);
        check(&[], "a b c", &[], &[(0, "a b"), (1, "c")]);
        check(&[(0, "a b"), (1, "c")], "a b c", &[], &[(0, "a b"), (1, "c")]);
        // Another order is no change.
        check(&[(0, "a b"), (1, "c")], "c b a", &[], &[(0, "a b"), (1, "c")]);
        // Free places first, then sockets.
        check(&[(0, "a b"), (1, "c")], "a b c d e", &[], &[(0, "a b"), (1, "c d"), (2, "e")]);
        // A socket that is left empty is closed, unless there is something for it.
        check(&[(0, "a b"), (1, "c")], "c", &[], &[(1, "c")]);
        check(&[(0, "a b"), (1, "c")], "c x y z", &[], &[(0, "x y"), (1, "c z")]);
        // The number of a socket that is still closing is not given again.
        check(&[(1, "c")], "c d e", &[0], &[(1, "c d"), (2, "e")]);
    }
}
