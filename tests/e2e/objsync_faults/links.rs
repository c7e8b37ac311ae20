//! Links between engines that are cut, and engines that stand still.

use forebay_e2e::long_or;
use forebay_e2e::wait::{eventually, secs};

use crate::group::entries;
use crate::machines::Machines;

/// Clients that come to one engine, to the other one, and to both while they know nothing of one another.
const EACH: u32 = 20;

/// Binds new clients on both sides while the link is cut; the clients from `first` on, of which the last third came to
/// both.
fn write_apart(machines: &Machines, first: u32) -> std::ops::Range<u32> {
    for n in 0..EACH {
        machines.server(0, first + n);
        machines.server(1, first + EACH + n);
        machines.server((n % 2) as usize, first + 2 * EACH + n);
        machines.server(1 - (n % 2) as usize, first + 2 * EACH + n);
    }
    first..first + 3 * EACH
}

#[test]
fn what_both_sides_of_a_cut_link_have_written_is_one_table_when_it_is_whole_again() {
    let Some(machines) = Machines::start(2) else { return };
    let homes: Vec<String> = (0..EACH).map(|n| machines.server(0, n)).collect();
    eventually("both have them", secs(20), || machines.at(1, entries) == EACH as usize);
    for (from, to) in [(0, 1), (1, 0)] {
        machines.hosts.cut(from, to);
    }
    let apart = write_apart(&machines, 1_000);
    // Each serves on, alone, and finds out by itself that it is.
    for slot in [0, 1] {
        machines.wait_for_peer(slot, false);
        assert!((0..EACH).all(|n| machines.server(slot, n) == homes[n as usize]), "bound clients stay");
    }
    // Sleep: in the long form the cut is what the time is for.
    std::thread::sleep(secs(long_or(60, 0)));
    for (from, to) in [(0, 1), (1, 0)] {
        machines.hosts.heal(from, to);
    }
    for slot in [0, 1] {
        machines.wait_for_peer(slot, true);
    }
    machines.become_equal((0..EACH).chain(apart));
    assert!(
        (0..EACH).all(|n| machines.server(1, n) == homes[n as usize]),
        "and nobody bound before has moved"
    );
}

#[test]
fn a_link_that_is_cut_one_way_is_given_up_by_both_and_made_up_for() {
    let Some(machines) = Machines::start(2) else { return };
    for (from, to) in [(0, 1), (1, 0)] {
        machines.hosts.cut(from, to);
        let first = 1_000 * u32::from(from + 1);
        let apart = write_apart(&machines, first);
        machines.wait_for_peer(0, false);
        machines.wait_for_peer(1, false);
        machines.hosts.heal(from, to);
        machines.wait_for_peer(0, true);
        machines.wait_for_peer(1, true);
        machines.become_equal(apart);
    }
}

#[test]
fn an_engine_that_stood_still_has_what_it_missed_and_clients_stay_meanwhile() {
    let Some(machines) = Machines::start(2) else { return };
    let homes: Vec<String> = (0..EACH).map(|n| machines.server(0, n)).collect();
    eventually("both have them", secs(20), || machines.at(1, entries) == EACH as usize);
    machines.engines[1].process.signal(libc::SIGSTOP);
    machines.wait_for_peer(0, false);
    for n in 0..EACH {
        assert_eq!(machines.server(0, n), homes[n as usize]);
        machines.server(0, 1_000 + n);
    }
    machines.engines[1].process.signal(libc::SIGCONT);
    machines.wait_for_peer(0, true);
    machines.wait_for_peer(1, true);
    machines.become_equal((0..EACH).chain(1_000..1_000 + EACH));
    assert!((0..EACH).all(|n| machines.server(1, n) == homes[n as usize]));
}
