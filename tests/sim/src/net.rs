//! The network between the engines: connections that keep order, until they end.

use std::collections::BTreeMap;

/// A connection between two engines.
#[derive(Debug, Default)]
pub struct Pipe {
    /// Its number; another one after each loss.
    pub id: u64,
    /// Latest arrival, each way: nothing overtakes.
    last: [u64; 2],
    /// What could not go, each way, with the place in the order.
    stalled: [Vec<Vec<u8>>; 2],
}

/// All that lies between the engines.
#[derive(Debug, Default)]
pub struct Net {
    /// Connections, by lower and higher slot.
    pub pipes: BTreeMap<(u8, u8), Pipe>,
    /// How many faults keep the first from being heard by the second.
    blocked: BTreeMap<(u8, u8), u32>,
    /// Additional microseconds between two.
    slow: BTreeMap<(u8, u8), u64>,
    next: u64,
}

/// The key of a pair.
pub fn pair(a: u8, b: u8) -> (u8, u8) {
    (a.min(b), a.max(b))
}

impl Net {
    /// Whether `to` hears `from`.
    pub fn hears(&self, from: u8, to: u8) -> bool {
        self.blocked.get(&(from, to)).is_none_or(|n| *n == 0)
    }

    /// From now on `to` does not hear `from`, or one reason less that it does not.
    pub fn block(&mut self, from: u8, to: u8, on: bool) {
        let n = self.blocked.entry((from, to)).or_default();
        *n = if on { *n + 1 } else { *n - 1 };
    }

    /// From now on it takes so much longer.
    pub fn slow(&mut self, a: u8, b: u8, by: u64) {
        self.slow.insert(pair(a, b), by);
    }

    /// Whether two are connected and hear each other without delay.
    pub fn is_quick(&self, a: u8, b: u8) -> bool {
        let slow = self.slow.get(&pair(a, b)).copied().unwrap_or(0);
        self.id(a, b).is_some() && self.hears(a, b) && self.hears(b, a) && slow == 0
    }

    /// A new connection; its number.
    pub fn connect(&mut self, a: u8, b: u8) -> u64 {
        self.next += 1;
        self.pipes.insert(pair(a, b), Pipe { id: self.next, ..Pipe::default() });
        self.next
    }

    /// The number of the connection between two, if there is one.
    pub fn id(&self, a: u8, b: u8) -> Option<u64> {
        self.pipes.get(&pair(a, b)).map(|pipe| pipe.id)
    }

    /// When what is sent now arrives; `None` if it waits for the way to be free.
    pub fn send(&mut self, from: u8, to: u8, bytes: &[u8], at: u64, takes: u64) -> Option<u64> {
        let free = self.hears(from, to);
        let more = self.slow.get(&pair(from, to)).copied().unwrap_or(0);
        let pipe = self.pipes.get_mut(&pair(from, to))?;
        let way = usize::from(from > to);
        if !free || !pipe.stalled[way].is_empty() {
            pipe.stalled[way].push(bytes.to_vec());
            return None;
        }
        pipe.last[way] = (at + takes + more).max(pipe.last[way] + 1);
        Some(pipe.last[way])
    }

    /// What waited for the way to be free, if it is.
    pub fn freed(&mut self, from: u8, to: u8) -> Vec<Vec<u8>> {
        if !self.hears(from, to) {
            return Vec::new();
        }
        let pipe = self.pipes.get_mut(&pair(from, to));
        pipe.map(|pipe| std::mem::take(&mut pipe.stalled[usize::from(from > to)])).unwrap_or_default()
    }
}
