//! Tables over what is known, missing and lost.

use super::*;

/// A coverage that has seen trades `(id, time)` in this order.
fn seen(trades: &[(i64, i64)]) -> Coverage {
    let mut coverage = Coverage::default();
    for &(id, time) in trades {
        assert_eq!(coverage.absorb(id, time), Verdict::Fresh, "trade {id}");
    }
    coverage
}

#[track_caller]
fn check_holes(coverage: &Coverage, expected: &[(i64, i64)]) {
    assert_eq!(coverage.holes().collect::<Vec<_>>(), expected);
    let ranges = coverage.parts().0;
    for pair in ranges.windows(2) {
        assert!(pair[0].last + 1 < pair[1].first, "disjoint and not adjacent: {ranges:?}");
    }
}

#[test]
fn holes_are_what_lies_between() {
    check_holes(&seen(&[]), &[]);
    check_holes(&seen(&[(5, 0)]), &[]);
    check_holes(&seen(&[(5, 0), (6, 0), (7, 0)]), &[]);
    check_holes(&seen(&[(5, 0), (8, 0)]), &[(6, 7)]);
    check_holes(&seen(&[(8, 0), (5, 0)]), &[(6, 7)]);
    check_holes(&seen(&[(5, 0), (8, 0), (7, 0)]), &[(6, 6)]);
    check_holes(&seen(&[(5, 0), (8, 0), (7, 0), (6, 0)]), &[]);
    check_holes(&seen(&[(1, 0), (5, 0), (9, 0), (4, 0), (6, 0)]), &[(2, 3), (7, 8)]);
}

#[test]
fn a_floor_is_where_wanting_begins() {
    let mut coverage = seen(&[(5, 0)]);
    coverage.set_floor(2);
    check_holes(&coverage, &[(2, 4)]);
    coverage.set_floor(1);
    check_holes(&coverage, &[(2, 4)]);
    assert_eq!(coverage.absorb(3, 0), Verdict::Fresh);
    check_holes(&coverage, &[(2, 2), (4, 4)]);
    let mut above = seen(&[(1, 0), (9, 0)]);
    above.set_floor(9);
    check_holes(&above, &[]);
}

#[test]
fn a_trade_counts_once() {
    let mut coverage = seen(&[(5, 0), (6, 0), (9, 0)]);
    for id in [5, 6, 9] {
        assert_eq!(coverage.absorb(id, 0), Verdict::Duplicate);
    }
}

#[test]
fn ids_at_the_end_of_their_type_do_no_harm() {
    let mut coverage = seen(&[(i64::MAX, 0), (i64::MIN, 0), (0, 0)]);
    assert_eq!(coverage.absorb(i64::MAX, 0), Verdict::Duplicate);
    assert_eq!(coverage.absorb(i64::MAX - 1, 0), Verdict::Fresh);
}

#[test]
fn a_window_is_complete_from_the_trade_before_to_the_trade_after() {
    let mut coverage = seen(&[(1, 5), (2, 12), (3, 19)]);
    assert_eq!(coverage.judge(10, 20), Window::Open, "nothing at or after its end");
    assert_eq!(coverage.absorb(4, 20), Verdict::Fresh);
    assert_eq!(coverage.judge(10, 20), Window::Complete);
    assert_eq!(coverage.judge(0, 10), Window::Open, "nothing before it, and the floor is unknown");
    coverage.set_floor(1);
    assert_eq!(coverage.judge(0, 10), Window::Lost, "the record begins inside it");
    assert_eq!(coverage.judge(-10, 0), Window::Lost, "the record begins after it");
}

#[test]
fn the_first_trade_of_all_has_nothing_before_it() {
    let coverage = seen(&[(0, 5), (1, 12)]);
    assert_eq!(coverage.judge(0, 10), Window::Complete);
}

#[test]
fn a_hole_keeps_only_its_own_windows_open() {
    let coverage = seen(&[(1, 5), (2, 15), (5, 35), (6, 45), (7, 55)]);
    assert_eq!(coverage.judge(10, 20), Window::Open);
    assert_eq!(coverage.judge(20, 30), Window::Open);
    assert_eq!(coverage.judge(30, 40), Window::Open);
    assert_eq!(coverage.judge(40, 50), Window::Complete);
}

#[test]
fn a_declared_gap_spoils_every_window_it_may_touch() {
    let mut coverage = seen(&[(1, 5), (2, 15), (5, 35), (6, 45), (7, 55)]);
    assert_eq!(coverage.declare_gap(0, 100, "gone"), [0]);
    check_holes(&coverage, &[]);
    let gap = coverage.gap(0).unwrap();
    assert_eq!((gap.first, gap.last, gap.after_time, gap.before_time), (3, 4, Some(15), 35));
    assert_eq!(coverage.judge(10, 20), Window::Lost);
    assert_eq!(coverage.judge(20, 30), Window::Lost);
    assert_eq!(coverage.judge(30, 40), Window::Lost);
    assert_eq!(coverage.judge(40, 50), Window::Complete);
    assert_eq!(coverage.declare_gap(3, 4, "again"), [0_usize; 0]);
}

#[test]
fn a_part_of_a_hole_can_be_lost() {
    let mut coverage = seen(&[(1, 10), (9, 90)]);
    assert_eq!(coverage.declare_gap(2, 4, "gone").len(), 1);
    check_holes(&coverage, &[(5, 8)]);
    assert_eq!(coverage.declare_gap(7, 7, "gone").len(), 1);
    check_holes(&coverage, &[(5, 6), (8, 8)]);
    for id in [5, 6, 8] {
        assert_eq!(coverage.absorb(id, 10 * id), Verdict::Fresh);
    }
    check_holes(&coverage, &[]);
}

#[test]
fn a_gap_amid_what_is_missing_says_nothing_of_the_time_between() {
    let mut coverage = seen(&[(1, 5), (9, 95), (10, 105)]);
    coverage.set_floor(1);
    // From 2 to 8 is missing; 4 and 5 are lost, whenever they were.
    assert_eq!(coverage.declare_gap(4, 5, "gone"), [0]);
    for open in [0, 10, 30, 50, 80, 90] {
        assert_eq!(coverage.judge(open, open + 10), Window::Open, "{open}: trades are to come");
    }
    assert_eq!(coverage.latest_time(), Some(105));
    for (id, time) in [(2, 15), (6, 62), (8, 85), (3, 35), (7, 75)] {
        assert_eq!(coverage.absorb(id, time), Verdict::Fresh);
    }
    check_holes(&coverage, &[]);
    assert_eq!(coverage.judge(20, 30), Window::Complete, "before the gap");
    for open in [30, 40, 50, 60] {
        assert_eq!(coverage.judge(open, open + 10), Window::Lost, "{open}: the gap touches it");
    }
    assert_eq!(coverage.judge(70, 80), Window::Complete, "after the gap");
}

#[test]
fn a_gap_at_the_floor_is_not_where_the_trades_begin() {
    let mut coverage = seen(&[(9, 95), (10, 105)]);
    coverage.set_floor(1);
    assert_eq!(coverage.declare_gap(1, 2, "gone"), [0]);
    assert_eq!(coverage.judge(50, 60), Window::Open, "3 to 8 are to come");
}

#[test]
fn a_gap_at_the_bottom_raises_the_beginning() {
    let mut coverage = seen(&[(5, 50)]);
    coverage.set_floor(3);
    assert_eq!(coverage.declare_gap(3, 4, "gone"), [0]);
    assert_eq!(coverage.gap(0).unwrap().after_time, None);
    check_holes(&coverage, &[]);
}

#[test]
fn nothing_is_declared_above_the_newest_trade() {
    let mut coverage = seen(&[(5, 50)]);
    assert_eq!(coverage.declare_gap(6, 9, "gone"), [0_usize; 0]);
}

#[test]
fn what_comes_after_all_is_kept_once() {
    let mut coverage = seen(&[(1, 5), (5, 35)]);
    coverage.declare_gap(2, 4, "gone");
    assert_eq!(coverage.absorb(3, 20), Verdict::Recovered(0));
    assert_eq!(coverage.absorb(3, 20), Verdict::Duplicate);
    assert_eq!(coverage.gap(0).unwrap().missing(), 2);
    assert_eq!(coverage.absorb(1, 20), Verdict::Duplicate);
}
