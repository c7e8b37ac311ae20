//! Judges what several clients saw of registers: whether one register, asked one after another, could have answered so.

use std::collections::{HashMap, HashSet};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// This was to be written.
    Write(u64),
    /// This was read.
    Read(u64),
}

/// One thing that a client asked for. Times are of one clock.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub what: What,
    /// When it was asked for.
    pub invoked: u64,
    /// When the answer was there; `None`: there was none, and it may have been done, or may be done yet.
    pub returned: Option<u64>,
}

/// What became of one value: its write, and all that read it, take place with nothing else between them.
struct Stretch {
    /// Of these the first answer, and the last question.
    answered: u64,
    asked: u64,
}

/// Says whether there is an order of all that was answered, and of some of what was not, in which each takes place at one
/// moment between question and answer, and each reads what was written last; `first` is what was there before. No value may be
/// written twice. By Gibbons and Korach: then it is known what each has read, and two values cannot both be before each other.
pub fn is_as_of_one(ops: &[Op], first: u64) -> bool {
    // What was there before was written before all else.
    let mut written = HashMap::from([(first, (0, Stretch { answered: 0, asked: 0 }))]);
    for op in ops {
        if let What::Write(value) = op.what {
            // One without an answer may be done at any time, or never.
            let answered = op.returned.map_or(u64::MAX, |at| at + 1);
            let before = written.insert(value, (op.invoked + 1, Stretch { answered, asked: op.invoked + 1 }));
            assert!(before.is_none(), "{value} is written twice");
        }
    }
    for op in ops {
        let (What::Read(value), Some(returned)) = (op.what, op.returned) else { continue };
        // It was written, and that was not asked for later.
        let Some((begun, stretch)) = written.get_mut(&value) else { return false };
        if returned + 1 < *begun {
            return false;
        }
        stretch.answered = stretch.answered.min(returned + 1);
        stretch.asked = stretch.asked.max(op.invoked + 1);
    }
    let all: Vec<Stretch> = written.into_values().map(|(_, stretch)| stretch).collect();
    let is_before = |one: &Stretch, other: &Stretch| one.answered < other.asked;
    let is_torn = |(n, one): (usize, &Stretch)| {
        all[n + 1..].iter().any(|other| is_before(one, other) && is_before(other, one))
    };
    !all.iter().enumerate().any(is_torn)
}

/// The same, by trying all orders: by Wing and Gong, with what was tried already left out (Lowe). Where many writes have no answer it
/// takes for ever.
fn is_found_by_search(ops: &[Op], first: u64) -> bool {
    // Reads without an answer say nothing. Writes without one are tried last: mostly they were not done.
    let mut ops: Vec<Op> =
        ops.iter().copied().filter(|op| op.returned.is_some() || matches!(op.what, What::Write(_))).collect();
    ops.sort_by_key(|op| (op.returned.is_none(), op.invoked));
    let mut left = ops.iter().filter(|op| op.returned.is_some()).count();
    let mut done = vec![0_u64; ops.len().div_ceil(64)];
    let is_done = |done: &[u64], n: usize| done[n / 64] >> (n % 64) & 1 == 1;
    let mut tried: HashSet<(Vec<u64>, u64)> = HashSet::new();
    let mut path: Vec<(usize, u64)> = Vec::new();
    let (mut holds, mut from) = (first, 0);
    while left > 0 {
        // Nothing takes place that was asked for after an answer to something that has not taken place.
        let open = ops.iter().enumerate().filter(|(n, _)| !is_done(&done, *n));
        let until = open.filter_map(|(_, op)| op.returned).min().unwrap_or(u64::MAX);
        let next = (from..ops.len()).find(|&n| {
            let op = ops[n];
            let after = match op.what {
                What::Write(value) => value,
                What::Read(value) if value == holds => value,
                What::Read(_) => return false,
            };
            if is_done(&done, n) || op.invoked > until {
                return false;
            }
            done[n / 64] |= 1 << (n % 64);
            let is_new = tried.insert((done.clone(), after));
            if !is_new {
                done[n / 64] &= !(1 << (n % 64));
            }
            is_new
        });
        let (n, is_forward) = match (next, path.pop()) {
            (Some(n), last) => {
                path.extend(last);
                path.push((n, holds));
                (n, true)
            }
            (None, Some((n, before))) => {
                done[n / 64] &= !(1 << (n % 64));
                (holds, from) = (before, n + 1);
                (n, false)
            }
            (None, None) => return false,
        };
        if is_forward {
            from = 0;
            if let What::Write(value) = ops[n].what {
                holds = value;
            }
        }
        if ops[n].returned.is_some() {
            left = if is_forward { left - 1 } else { left + 1 };
        }
    }
    true
}

/// A write of this value, from one moment to another; 0: no answer.
fn w(value: u64, invoked: u64, returned: u64) -> Op {
    Op { what: What::Write(value), invoked, returned: Some(returned).filter(|at| *at > 0) }
}

fn r(value: u64, invoked: u64, returned: u64) -> Op {
    Op { what: What::Read(value), invoked, returned: Some(returned).filter(|at| *at > 0) }
}

#[test]
fn histories_that_one_register_has_are_told_from_those_that_it_has_not() {
    let good: [(&str, &[Op]); 7] = [
        ("nothing", &[]),
        ("one after another", &[r(0, 1, 2), w(1, 3, 4), r(1, 5, 6), w(2, 7, 8), r(2, 9, 10)]),
        ("a read beside a write sees it or not", &[w(1, 1, 9), r(0, 2, 3), r(1, 4, 5), r(1, 10, 11)]),
        ("two writes at once, in either order", &[w(1, 1, 5), w(2, 2, 6), r(2, 7, 8), r(2, 9, 10)]),
        ("the other order", &[w(1, 1, 5), w(2, 2, 6), r(1, 7, 8)]),
        ("a write without an answer that was not done", &[w(1, 1, 0), r(0, 2, 3), r(0, 4, 5)]),
        ("one that is done late", &[w(1, 1, 0), w(2, 2, 3), r(2, 4, 5), r(1, 6, 7), r(1, 8, 9)]),
    ];
    for (name, ops) in good {
        assert!(is_as_of_one(ops, 0), "{name}");
    }
    let bad: [(&str, &[Op]); 8] = [
        ("an acknowledged write is lost", &[w(1, 1, 2), r(0, 3, 4)]),
        ("a reader sees what is over", &[w(1, 1, 2), w(2, 3, 4), r(1, 5, 6)]),
        ("of two readers the later one sees the older value", &[w(1, 1, 9), r(1, 2, 3), r(0, 4, 5)]),
        ("nobody has written that", &[w(1, 1, 2), r(7, 3, 4)]),
        ("it is read before it is asked for", &[r(1, 1, 2), w(1, 3, 4)]),
        (
            "a write without an answer is done twice",
            &[w(1, 1, 0), w(2, 2, 3), r(1, 4, 5), w(3, 6, 7), r(1, 8, 9)],
        ),
        ("it comes and goes", &[w(1, 1, 0), r(1, 2, 3), r(0, 4, 5)]),
        (
            "two readers disagree in which order two writes came",
            &[w(1, 1, 9), w(2, 1, 9), r(1, 2, 3), r(2, 4, 5), r(1, 6, 7), r(2, 10, 11)],
        ),
    ];
    for (name, ops) in bad {
        assert!(!is_as_of_one(ops, 0), "{name}");
    }
    // A long one with writes that nobody answered is judged at once, and so is one in which many of them were done late; one stale
    // read at its end is found.
    for unanswered in [6, 400] {
        let mut long: Vec<Op> = (0..400)
            .flat_map(|n| [w(1000 + n, 10 * n + 1, 10 * n + 5), r(1000 + n, 10 * n + 6, 10 * n + 9)])
            .collect();
        long.extend((0..unanswered).map(|n| w(5000 + n, 7 * n, 0)));
        assert!(is_as_of_one(&long, 0));
        long.extend((0..unanswered).map(|n| r(5000 + n, 4010 + 10 * n, 4019 + 10 * n)));
        assert!(is_as_of_one(&long, 0));
        long.push(r(1000, 9001, 9002));
        assert!(!is_as_of_one(&long, 0));
    }
}

#[test]
fn whoever_knows_what_was_read_judges_as_one_does_who_tries_all_orders() {
    let (mut seed, mut judged) = (0x9e37_79b9_7f4a_7c15_u64, [0, 0]);
    let mut next = |most: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % most
    };
    for _ in 0..20_000 {
        let count = 1 + next(7);
        let ops: Vec<Op> = (1..=count)
            .map(|n| {
                let invoked = 1 + next(12);
                let returned = invoked + next(6);
                match next(5) {
                    0 => w(n, invoked, 0),
                    1 | 2 => w(n, invoked, returned),
                    _ => r(next(count + 1), invoked, returned),
                }
            })
            .collect();
        let is_one = is_as_of_one(&ops, 0);
        assert_eq!(is_one, is_found_by_search(&ops, 0), "{ops:?}");
        judged[usize::from(is_one)] += 1;
    }
    assert!(judged.iter().all(|count| *count > 1_000), "nothing is told apart: {judged:?}");
}
