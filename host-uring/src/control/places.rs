//! Places for a bounded number of clients, of which those that hold one for nothing go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::limits::{CONTROL_DISPLACE_MS, CONTROL_WRITE_S};

/// What a client's place is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Its request has not come.
    Silent = 0,
    /// Its answer is being made.
    Asked = 1,
    /// It takes its answer.
    Taking = 2,
    /// It has all of its answer and has not closed.
    Done = 3,
}

/// A client's own mark: where it stands, and since when.
#[derive(Clone, Debug)]
pub struct Mark(Arc<Standing>);

#[derive(Debug)]
struct Standing {
    begun: Instant,
    phase: AtomicU8,
    /// Milliseconds from `begun` to the last step forward.
    moved_ms: AtomicU64,
}

impl Mark {
    fn new() -> Self {
        Self(Arc::new(Standing {
            begun: Instant::now(),
            phase: AtomicU8::new(Phase::Silent as u8),
            moved_ms: AtomicU64::new(0),
        }))
    }

    fn moves(&self, phase: Phase) {
        self.0.moved_ms.store(self.0.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn is(&self, phase: Phase) -> bool {
        self.0.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// When it last came a step forward.
    fn moved(&self) -> Instant {
        self.0.begun + Duration::from_millis(self.0.moved_ms.load(Ordering::Relaxed))
    }

    /// It may send a request.
    pub fn waits(&self) {
        self.moves(Phase::Silent);
    }

    /// Its request has come.
    pub fn asked(&self) {
        self.moves(Phase::Asked);
    }

    /// It has its answer.
    pub fn done(&self) {
        self.moves(Phase::Done);
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// The connection's own; `TimedOut` if the client took nothing for [`CONTROL_WRITE_S`].
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> std::io::Result<()> {
        self.moves(Phase::Taking);
        while !bytes.is_empty() {
            let written =
                tokio::time::timeout(Duration::from_secs(CONTROL_WRITE_S), to.write(bytes)).await??;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            self.moves(Phase::Taking);
        }
        Ok(())
    }
}

/// The clients, the oldest first.
pub struct Places {
    taken: Vec<(JoinHandle<()>, Mark)>,
    max: usize,
}

impl Places {
    /// Room for `max` clients.
    pub fn new(max: usize) -> Self {
        Self { taken: Vec::with_capacity(max), max }
    }

    /// Sees to it that one more fits: whoever has its answer goes first, then who has not asked, then who takes nothing
    /// of its answer; of each kind the one that has stood for the longest time. `false` if all are being answered.
    //= OBS-WEB-04
    //= OBS-ADMIN-02
    pub fn make_room(&mut self) -> bool {
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.taken.len() < self.max {
            return true;
        }
        let now = Instant::now();
        let stuck = Duration::from_millis(CONTROL_DISPLACE_MS);
        let longest = |phase: Phase, at_least: Duration| {
            let those = self.taken.iter().enumerate().filter(|(_, (_, mark))| {
                mark.is(phase) && now.saturating_duration_since(mark.moved()) >= at_least
            });
            those.min_by_key(|(_, (_, mark))| mark.moved()).map(|(at, _)| at)
        };
        let goes = longest(Phase::Done, Duration::ZERO)
            .or_else(|| longest(Phase::Silent, Duration::ZERO))
            .or_else(|| longest(Phase::Taking, stuck));
        goes.is_some_and(|at| {
            self.taken.remove(at).0.abort();
            true
        })
    }

    /// Starts what a client is served by.
    pub fn take<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Mark) -> F) {
        let mark = Mark::new();
        self.taken.push((tokio::spawn(serve(mark.clone())), mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two looks.
    const LOOK_EVERY: Duration = Duration::from_millis(2);

    //= test OBS-WEB-04
    //= test OBS-ADMIN-02
    #[tokio::test]
    async fn who_holds_a_place_for_nothing_goes_first_and_who_is_being_answered_stays() {
        let mut places = Places::new(4);
        let mut marks = Vec::new();
        for _ in 0..4 {
            assert!(places.make_room());
            places.take(|mark| {
                marks.push(mark);
                std::future::pending()
            });
        }
        marks[0].asked();
        // The other end of this one takes nothing, and never will.
        let (mut near, _far) = tokio::io::duplex(16);
        let taker = marks[1].clone();
        let writing = tokio::spawn(async move { taker.write(&mut near, &[b'x'; 64]).await });
        while !marks[1].is(Phase::Taking) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        marks[3].done();
        let held =
            |places: &Places, mark: &Mark| places.taken.iter().any(|(_, m)| Arc::ptr_eq(&m.0, &mark.0));
        for (goes, what) in [(3, "has its answer"), (2, "has not asked")] {
            assert!(places.make_room());
            assert!(!held(&places, &marks[goes]), "it {what}");
            places.take(|mark| {
                mark.asked();
                std::future::pending()
            });
        }
        let until = Instant::now() + Duration::from_secs(5);
        while !places.make_room() {
            assert!(Instant::now() < until, "nobody goes");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert!(!held(&places, &marks[1]), "it takes nothing");
        assert!(held(&places, &marks[0]), "its answer is being made");
        places.take(|mark| {
            mark.asked();
            std::future::pending()
        });
        assert!(!places.make_room(), "all are being answered");
        let ended = writing.await.expect("no panic").expect_err("nobody took it");
        assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut, "and it is given up soon");
    }
}
