//! What the engine counts, cut into stretches of time, until the Controller has it.
//!
//! Workers count as they always do; a task of the control thread looks at their counts every second. What is cut is sent, and
//! sent again on a new stream, until the Controller says that it has it; by the numbers of samples it takes each once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_wire::limits::{SAMPLES_OPEN, STRETCH_MS, TALLIES_MAX};
use forebay_wire::proto::{Sample, Sampling, Tally};
use tokio::sync::watch;

use super::tallies::{Tallies, Things, merge};
use crate::control::State;

/// How often is looked how much is open.
const LOOK: Duration = Duration::from_secs(1);
/// Stretches that wait to be sent: five minutes. Of more, the two that are longest ago become one.
const STRETCHES_MAX: usize = 60;
/// Tallies of all of them, some two hundred bytes each: else the two that are longest ago become one as well.
const WAITING_MAX: usize = 200_000;
/// What was not acknowledged for so long is sent again.
const AGAIN: Duration = Duration::from_secs(20);
/// How long the end of the process waits until the Controller has the last stretch.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks whether it has.
const FAREWELL_LOOK: Duration = Duration::from_millis(5);

/// What is counted, and what of it waits.
pub struct Metering {
    held: Mutex<Held>,
    /// Grows with each stretch that is cut.
    news: watch::Sender<u64>,
}

struct Held {
    process: u64,
    things: Things,
    /// When the stretch under way began, and when was looked last.
    began: Instant,
    looked: Instant,
    queue: Queue,
    /// The Controller's clock in milliseconds, and when it was heard.
    clock: Option<(u64, Instant)>,
}

/// Stretches and samples in their order.
#[derive(Default)]
struct Queue {
    cut: VecDeque<Stretch>,
    /// Sent, or to be sent again, and not acknowledged.
    open: VecDeque<(Sample, Instant)>,
    /// How many of them were sent on this stream.
    sent: usize,
    sent_at: Option<Instant>,
    /// The Controller keeps samples.
    is_wanted: bool,
    number: u64,
}

struct Stretch {
    end: Instant,
    length: Duration,
    tallies: Tallies,
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Metering {
    /// Counts from now on; until `metering` is dropped elsewhere.
    pub fn new() -> Arc<Self> {
        use std::hash::{BuildHasher, Hasher};
        let now = Instant::now();
        let held = Held {
            // Another one with each process; nothing depends on who could guess it. 0 is nobody's.
            process: std::hash::RandomState::new().build_hasher().finish().max(1),
            things: Things::new(),
            began: now,
            looked: now,
            queue: Queue::default(),
            clock: None,
        };
        Arc::new(Metering { held: Mutex::new(held), news: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Whole stretches only are put in and taken out.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks and cuts for as long as the process lives.
    pub async fn run(&self, state: &State) {
        loop {
            let pause = self.lock().pause(Instant::now());
            tokio::time::sleep(pause).await;
            let is_cut = self.lock().look(state, Instant::now(), false);
            if is_cut {
                self.news.send_modify(|news| *news += 1);
            }
        }
    }

    /// Tells of each stretch that is cut.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// A stream begins: nothing is sent on it until the Controller has said that it keeps samples.
    pub fn begin(&self) {
        let queue = &mut self.lock().queue;
        (queue.sent, queue.sent_at, queue.is_wanted) = (0, None, false);
    }

    /// The Controller keeps samples, and has some.
    pub fn heard(&self, said: &Sampling) {
        let mut held = self.lock();
        held.clock = Some((said.now_ms, Instant::now()));
        let number = if said.process == held.process { said.number } else { 0 };
        held.queue.acknowledge(number);
    }

    /// What is to be sent next, if anything is.
    pub fn next(&self) -> Option<Sample> {
        let mut held = self.lock();
        let process = held.process;
        held.queue.next(process, Instant::now())
    }

    /// Sends what was counted last, as far as the Controller is there.
    //= MET-SEND-03
    pub async fn farewell(&self, state: &State) {
        self.lock().look(state, Instant::now(), true);
        self.news.send_modify(|news| *news += 1);
        let until = Instant::now() + FAREWELL;
        while self.lock().queue.is_going() && Instant::now() < until {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
    }
}

impl Held {
    /// Until something is to be done: until the stretch ends, if that is sooner than the next look.
    fn pause(&self, now: Instant) -> Duration {
        let left = match self.clock {
            Some((clock, heard)) => {
                let clock = clock + ms(now.duration_since(heard));
                Duration::from_millis(STRETCH_MS - clock % STRETCH_MS)
            }
            None => (self.began + Duration::from_millis(STRETCH_MS)).saturating_duration_since(now),
        };
        left.min(LOOK).max(Duration::from_millis(1))
    }

    /// A stretch ends where the Controller's clock says so.
    fn is_due(&self, now: Instant) -> bool {
        match self.clock {
            Some((clock, heard)) => {
                // The clock as it was when the stretch began, which may be before it was heard.
                let at = |when: Instant| {
                    let since = ms(when.saturating_duration_since(heard));
                    (clock + since).saturating_sub(ms(heard.saturating_duration_since(when))) / STRETCH_MS
                };
                at(now) != at(self.began)
            }
            None => now.duration_since(self.began) >= Duration::from_millis(STRETCH_MS),
        }
    }

    /// Whether a stretch was cut.
    fn look(&mut self, state: &State, now: Instant, is_last: bool) -> bool {
        self.things.look(state, ms(now.duration_since(self.looked)));
        self.looked = now;
        if !is_last && !self.is_due(now) {
            return false;
        }
        let mut tallies = Tallies::new();
        self.things.cut(state, &mut tallies);
        let length = now.duration_since(std::mem::replace(&mut self.began, now));
        self.queue.put(Stretch { end: now, length, tallies });
        true
    }
}

impl Queue {
    //= MET-SEND-02
    fn put(&mut self, stretch: Stretch) {
        self.cut.push_back(stretch);
        let count = |queue: &Self| queue.cut.iter().map(|stretch| stretch.tallies.len()).sum::<usize>();
        while self.cut.len() > 2 && (self.cut.len() > STRETCHES_MAX || count(self) > WAITING_MAX) {
            let Some(first) = self.cut.pop_front() else { break };
            let Some(second) = self.cut.front_mut() else { break };
            second.length += first.length;
            for (name, tally) in &first.tallies {
                merge(&mut second.tallies, name, tally);
            }
        }
    }

    /// Nothing is told of those again.
    //= MET-SEND-01
    fn acknowledge(&mut self, number: u64) {
        self.is_wanted = true;
        while self.open.front().is_some_and(|(sample, _)| sample.number <= number) {
            self.open.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.sent_at = None;
        }
    }

    fn next(&mut self, process: u64, now: Instant) -> Option<Sample> {
        if !self.is_wanted {
            return None;
        }
        if self.sent > 0 && self.sent_at.is_some_and(|at| now.duration_since(at) >= AGAIN) {
            (self.sent, self.sent_at) = (0, None);
        }
        if self.sent == self.open.len() && self.open.len() < SAMPLES_OPEN {
            self.open_next(process);
        }
        let oldest = self.open.front()?.0.number;
        let (sample, end) = self.open.get(self.sent)?;
        let age_ms = ms(now.duration_since(*end));
        self.sent += 1;
        self.sent_at.get_or_insert(now);
        Some(Sample { oldest, age_ms, ..sample.clone() })
    }

    /// Makes samples of the next stretch.
    fn open_next(&mut self, process: u64) {
        let Some(stretch) = self.cut.pop_front() else { return };
        let tallies: Vec<Tally> = stretch.tallies.into_values().collect();
        for part in tallies.chunks(TALLIES_MAX) {
            self.number += 1;
            let sample = Sample {
                process,
                number: self.number,
                length_ms: ms(stretch.length),
                tallies: part.to_vec(),
                ..Sample::default()
            };
            self.open.push_back((sample, stretch.end));
        }
    }

    /// Something is on its way, or can be sent.
    fn is_going(&self) -> bool {
        self.is_wanted && !(self.open.is_empty() && self.cut.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use forebay_wire::proto::Tally;

    use super::super::tallies::Name;
    use super::*;

    fn stretch(count: u64) -> Stretch {
        let mut tallies = Tallies::new();
        merge(
            &mut tallies,
            &Name::of_engine(),
            &Tally { sums: vec![count], tops: vec![count], ..Tally::default() },
        );
        Stretch { end: Instant::now(), length: Duration::from_secs(5), tallies }
    }

    fn sums(queue: &Queue) -> Vec<u64> {
        queue.cut.iter().flat_map(|stretch| stretch.tallies.values()).map(|tally| tally.sums[0]).collect()
    }

    //= test MET-SEND-02
    #[test]
    fn while_the_controller_is_away_the_oldest_stretches_become_one_and_no_count_is_lost() {
        let mut queue = Queue::default();
        for count in 1..=100 {
            queue.put(stretch(count));
        }
        assert!(queue.next(7, Instant::now()).is_none(), "nobody has said that it keeps samples");
        let sums = sums(&queue);
        assert_eq!((sums.len(), sums.iter().sum::<u64>()), (STRETCHES_MAX, 5_050));
        assert_eq!(sums[1..], (42..=100).collect::<Vec<u64>>()[..]);
        let first = queue.cut.front().expect("one");
        assert_eq!(first.length, Duration::from_secs(5 * 41));
        assert_eq!(first.tallies.values().next().expect("one").tops, [41], "of what is open the most counts");
    }

    //= test MET-SEND-01
    //= test MET-SEND-04
    #[test]
    fn what_is_not_acknowledged_is_sent_again_as_it_was() {
        let mut queue = Queue::default();
        queue.put(stretch(1));
        queue.put(stretch(2));
        queue.acknowledge(0);
        let now = Instant::now();
        let sent = |queue: &mut Queue, now: Instant| {
            let mut all = Vec::new();
            while let Some(sample) = queue.next(7, now) {
                all.push((sample.number, sample.oldest, sample.tallies[0].sums[0]));
            }
            all
        };
        assert_eq!(sent(&mut queue, now), [(1, 1, 1), (2, 1, 2)]);
        queue.acknowledge(1);
        queue.put(stretch(3));
        assert_eq!(sent(&mut queue, now), [(3, 2, 3)]);
        // Another stream begins.
        (queue.sent, queue.is_wanted) = (0, false);
        assert!(queue.is_wanted || sent(&mut queue, now).is_empty());
        queue.acknowledge(0);
        assert_eq!(sent(&mut queue, now), [(2, 2, 2), (3, 2, 3)]);
        assert!(queue.is_going());
        assert_eq!(sent(&mut queue, now + AGAIN), [(2, 2, 2), (3, 2, 3)], "nothing was heard for long");
        queue.acknowledge(3);
        assert!(!queue.is_going());
    }
}
