//! Batches that come again, because their answer was lost: each is written once.

use std::collections::{HashMap, VecDeque};

/// Processes of an engine that are remembered: one that serves, one that ends, and two that have just ended.
const PROCESSES_MAX: usize = 4;

/// Engines that are remembered. Of those that are forgotten the files still say what they have.
const ENGINES_MAX: usize = 4_096;

/// Who sent a batch, and which of its batches it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The engine.
    pub engine: String,
    /// Its process.
    pub process: u64,
    /// One more than that of the batch before it of this process.
    pub number: u64,
    /// The lowest number that the engine still keeps.
    pub oldest: u64,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    /// It is to be written.
    New,
    /// It was written before.
    Again,
    /// One before it is missing, which comes again: this one comes after it.
    TooSoon,
}

/// Up to which number all batches of a process are written, by engine.
#[derive(Default)]
pub(crate) struct Taken(HashMap<String, VecDeque<(u64, u64)>>);

impl Taken {
    //= LOG-ONCE-01
    pub(crate) fn judge(&self, sent: &Sent) -> Comes {
        let of =
            self.0.get(&sent.engine).and_then(|all| all.iter().find(|(process, _)| *process == sent.process));
        match of {
            Some((_, last)) if sent.number <= *last => Comes::Again,
            Some((_, last)) if sent.number == last.saturating_add(1) => Comes::New,
            _ if sent.number == sent.oldest => Comes::New,
            _ => Comes::TooSoon,
        }
    }

    /// It is written, or never will be.
    pub(crate) fn note(&mut self, sent: &Sent) {
        if self.0.len() >= ENGINES_MAX && !self.0.contains_key(&sent.engine) {
            self.0.clear();
        }
        let all = self.0.entry(sent.engine.clone()).or_default();
        match all.iter_mut().find(|(process, _)| *process == sent.process) {
            Some((_, last)) => *last = sent.number,
            None => {
                all.push_back((sent.process, sent.number));
                if all.len() > PROCESSES_MAX {
                    all.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(process: u64, number: u64, oldest: u64) -> Sent {
        Sent { engine: "e".to_owned(), process, number, oldest }
    }

    #[test]
    fn each_comes_in_its_order_and_once() {
        let mut taken = Taken::default();
        assert_eq!(taken.judge(&sent(1, 4, 3)), Comes::TooSoon, "the third one is still to come");
        assert_eq!(taken.judge(&sent(1, 3, 3)), Comes::New);
        taken.note(&sent(1, 3, 3));
        for (number, oldest, comes) in [
            (3, 3, Comes::Again),
            (2, 2, Comes::Again),
            (4, 3, Comes::New),
            (5, 4, Comes::TooSoon),
            (9, 9, Comes::New),
        ] {
            assert_eq!(taken.judge(&sent(1, number, oldest)), comes, "{number}");
        }
        assert_eq!(taken.judge(&sent(2, 1, 1)), Comes::New, "another process counts by itself");
        for process in 2..20 {
            taken.note(&sent(process, 1, 1));
        }
        assert_eq!(taken.0["e"].len(), PROCESSES_MAX);
        for engine in 0..2 * ENGINES_MAX {
            taken.note(&Sent { engine: format!("e{engine}"), ..sent(1, 1, 1) });
        }
        assert!(taken.0.len() <= ENGINES_MAX);
    }
}
