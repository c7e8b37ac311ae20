//! Every short history of one key on two engines: whatever happens in whatever order, they end equal.

mod bench;

use bench::{Bench, MS, SECOND};
use forebay_core::table::WriteKind;
use forebay_objsync::Bounds;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A client comes, and is bound if it is not.
    Come(u8),
    /// Its last connection on an engine closes, and the engine tells it.
    Leave(u8),
    /// Its server is down: it is moved.
    Move(u8),
    Remove(u8),
    /// The connection is lost, or comes back.
    Cut,
    /// The second engine ends and starts with nothing.
    Crash,
}

const STEPS: [Step; 10] = [
    Step::Come(0),
    Step::Come(1),
    Step::Leave(0),
    Step::Leave(1),
    Step::Move(0),
    Step::Move(1),
    Step::Remove(0),
    Step::Remove(1),
    Step::Cut,
    Step::Crash,
];

struct History {
    bench: Bench,
    /// Connections of the client on each engine.
    open: [u32; 2],
    connected: bool,
}

impl History {
    fn step(&mut self, step: Step) {
        let b = &mut self.bench;
        match step {
            Step::Come(on) => {
                b.bind(on, 1, u64::from(on));
                b.open(on, 1);
                self.open[usize::from(on)] += 1;
            }
            Step::Leave(on) => {
                if self.open[usize::from(on)] > 0 {
                    self.open[usize::from(on)] -= 1;
                    b.close(on, 1);
                    b.changed(on, 1, None);
                }
            }
            Step::Move(on) if b.server(on, 1).is_some() => {
                b.put(on, 1, u64::from(on) + 2, WriteKind::Move);
                b.changed(on, 1, None);
            }
            Step::Move(_) => {}
            Step::Remove(on) => b.remove(on, 1),
            Step::Cut if self.connected => {
                b.cut(0, 1);
                self.connected = false;
            }
            Step::Cut => self.connect(),
            Step::Crash => {
                if self.connected {
                    b.cut(0, 1);
                }
                b.start(1, 2, Bounds::default());
                (self.open[1], self.connected) = (0, false);
                // It writes nothing before it has heard of the other.
                self.connect();
                self.bench.pass(400 * MS);
            }
        }
        // Some of it arrives before the next step, some later.
        self.bench.pass(MS + MS / 2);
    }

    fn connect(&mut self) {
        self.bench.connect(0, 1);
        self.connected = true;
    }

    fn is_equal(&mut self) -> Result<(), String> {
        if !self.connected {
            self.connect();
        }
        self.bench.pass(SECOND);
        let open = (0..2).filter(|n| self.open[*n] > 0).fold(0u64, |bits, n| bits | 1 << n);
        let [a, b] = [0, 1].map(|on| self.bench.view(on, 1).map(|view| view.record));
        let same = match (&a, &b) {
            (Some(a), Some(b)) => {
                let server = |r: &forebay_core::table::Record| (!r.tombstone).then_some(r.server);
                (a.version, a.tombstone, server(a)) == (b.version, b.tombstone, server(b))
                    && (a.open, b.open) == (open, open)
                    && a.age_ms.abs_diff(b.age_ms) < 1_500
            }
            (None, None) => open == 0,
            _ => false,
        };
        if same { Ok(()) } else { Err(format!("open {open:b}: {a:?}\n{b:?}")) }
    }
}

//= test SYNC-SIM-01
#[test]
fn every_short_history_of_a_key_ends_with_the_same_on_both() {
    let length = if std::env::var_os("FOREBAY_LONG").is_some() { 5 } else { 3 };
    let mut histories = 0;
    for number in 0..STEPS.len().pow(length) {
        let step = |n: u32| STEPS[number / STEPS.len().pow(n) % STEPS.len()];
        let mut history = History { bench: Bench::connected(2), open: [0; 2], connected: true };
        (0..length).for_each(|n| history.step(step(n)));
        if let Err(what) = history.is_equal() {
            panic!("{:?}: {what}", (0..length).map(step).collect::<Vec<_>>());
        }
        histories += 1;
    }
    assert_eq!(histories, 10usize.pow(length));
}
