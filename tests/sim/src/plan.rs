//! What goes wrong in a run, and when: all of it from the seed.

use crate::rng::Rng;

/// Microseconds of a second.
pub const SECOND: u64 = 1_000_000;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These engines (one bit a slot) and the others do not hear one another.
    Partition(u64),
    /// The first is not heard by the second.
    OneWay(u8, u8),
    /// All that goes between two takes this many microseconds longer.
    Slow(u8, u8, u64),
    /// A process stands still.
    Pause(u8),
    /// A process ends; when the fault is over it starts again, with or without what it knew.
    Crash(u8, bool),
    /// The connection between two is lost again and again.
    Loss(u8, u8),
    /// The wall clock of a machine jumps by so many milliseconds, and stays there.
    Jump(u8, i64),
    /// An engine is taken out of the group for good; another one gets its slot as soon as it may.
    Replace(u8),
}

/// A fault from its beginning to its end, in microseconds.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// From when.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many engines.
    pub engines: u8,
    /// Clients.
    pub keys: u64,
    /// Microseconds between two things that clients do, on average.
    pub every: u64,
    /// When clients stop and everything is healed.
    pub end: u64,
    /// Bounds of queues: keys, bytes.
    pub bounds: (usize, usize),
    /// Whether comparisons read as little at once as they can.
    pub slices: bool,
    /// Of a hundred frames so many come twice.
    pub twice: u64,
    /// Entries for which each engine has room.
    pub entries: u64,
    /// Milliseconds by which wall clocks are wrong, at most.
    pub wall_off: u64,
    /// Engines, one bit a slot, that speak the protocol before the newest one until they start anew: an upgrade.
    pub old: u64,
    /// Microseconds between two values that are written, on average; 0: none is.
    pub values: u64,
    /// Whether there is an engine besides that only reads.
    pub reader: bool,
    /// Whether all engines end at once, and must have back what the one that only reads had then.
    pub lost: bool,
    /// What goes wrong.
    pub faults: Vec<Planned>,
}

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let mut plan = Self::before(seed);
        let mut rng = Rng::new(seed ^ 3 << 60);
        let from = plan.end / 6 + rng.below(plan.end / 3);
        let fault = Fault::Replace(rng.below(u64::from(plan.engines)) as u8);
        if rng.percent(30) {
            plan.faults.push(Planned { fault, from, until: from });
        }
        if rng.percent(30) {
            plan.reader = true;
            let reader = plan.engines;
            let other = rng.below(u64::from(plan.engines)) as u8;
            let fault = match rng.below(4) {
                0 => Fault::Crash(reader, rng.percent(50)),
                1 => Fault::Pause(reader),
                2 => Fault::Loss(other, reader),
                _ => Fault::OneWay(reader, other),
            };
            let from = plan.end / 6 + rng.below(plan.end / 3);
            let until = (from + rng.between(1, 90) * SECOND).min(plan.end);
            plan.faults.push(Planned { fault, from, until });
        }
        if rng.percent(50) {
            plan.values = rng.between(50, 1_000) * 1_000;
        }
        plan.slices = rng.percent(30);
        plan
    }

    /// The run of a seed as it was in earlier releases: what seeds mean that broke a promise then.
    pub fn before(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let engines = match rng.below(100) {
            0..30 => 2,
            30..60 => 3,
            60..80 => 4,
            80..97 => rng.between(5, 8),
            _ => rng.between(9, 16),
        } as u8;
        let end = rng.between(60, 300) * SECOND;
        let count = rng.between(0, 9);
        let mut plan = Self {
            engines,
            keys: rng.between(4, 30),
            every: rng.between(20, 400) * 1_000,
            end,
            bounds: match rng.below(3) {
                0 => (rng.between(2, 8) as usize, rng.between(100, 1_000) as usize),
                _ => (10_000, 1 << 16),
            },
            slices: false,
            twice: rng.below(3) * 5,
            entries: if rng.percent(2) { 20_000 } else { 120 },
            wall_off: if rng.percent(50) { 600_000 } else { 1_000 },
            old: 0,
            values: 0,
            reader: false,
            lost: false,
            faults: Vec::new(),
        };
        for _ in 0..count {
            // Most begin in the same third of the run, so that they overlap.
            let from = end / 6 + rng.below(end / 3);
            let until = (from + rng.between(1, 90) * SECOND).min(end);
            let fault = plan.fault(&mut rng);
            plan.faults.push(Planned { fault, from, until });
        }
        if rng.percent(50) {
            plan.old = rng.below(1 << engines);
        }
        plan
    }

    /// A run in which all engines end within three seconds, most with nothing left, and come back to one that only reads.
    pub fn lost(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 5 << 60);
        let mut plan = Self { old: 0, reader: true, lost: true, ..Self::before(seed) };
        plan.engines = plan.engines.min(4);
        let at = plan.end / 3 + rng.below(plan.end / 3);
        let ends = |engine| Planned {
            fault: Fault::Crash(engine, rng.percent(30)),
            from: at + rng.below(3 * SECOND),
            until: (at + rng.between(4, 25) * SECOND).min(plan.end),
        };
        plan.faults = (0..plan.engines).map(ends).collect();
        if rng.percent(50) {
            plan.values = rng.between(50, 1_000) * 1_000;
        }
        plan
    }

    /// Many engines, each of which serves two clients a second, and nothing that fails but one partition.
    pub fn crowd(engines: u8) -> Self {
        let half = (1 << (engines / 2)) - 1;
        let parted = Planned { fault: Fault::Partition(half), from: 10 * SECOND, until: 16 * SECOND };
        Self {
            engines,
            keys: 4 * u64::from(engines),
            every: SECOND / 2 / u64::from(engines),
            end: 20 * SECOND,
            bounds: (10_000, 1 << 16),
            slices: false,
            twice: 0,
            entries: 1_000,
            wall_off: 600_000,
            old: 0,
            values: 0,
            reader: false,
            lost: false,
            faults: vec![parted],
        }
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let n = u64::from(self.engines);
        let a = rng.below(n) as u8;
        let b = ((u64::from(a) + rng.between(1, n - 1)) % n) as u8;
        match rng.below(13) {
            12 => {
                // Most a little, some by hours.
                let most = if rng.percent(70) { 600_000 } else { 8_000_000 };
                Fault::Jump(a, rng.between(0, 2 * most) as i64 - most as i64)
            }
            0..3 => Fault::Partition(rng.between(1, (1 << n) - 2)),
            3..5 => Fault::OneWay(a, b),
            5 => Fault::Slow(a, b, rng.between(50, 1_500) * 1_000),
            6..8 => Fault::Pause(a),
            8..10 => Fault::Crash(a, rng.percent(50)),
            _ => Fault::Loss(a, b),
        }
    }

    /// How many processes there are.
    pub fn processes(&self) -> u8 {
        self.engines + u8::from(self.reader)
    }

    /// How many faults there are at once, at most.
    pub fn overlapping(&self) -> usize {
        let at = |moment: u64| self.faults.iter().filter(|f| f.from <= moment && moment < f.until).count();
        self.faults.iter().map(|f| at(f.from)).max().unwrap_or(0)
    }
}
