//! How a configuration gets to one engine: what it has, what it is to have, and what is on its way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::proto::{Applied, Part};
use forebay_wire::{Sections, between, digest, parts};
use tokio::sync::OwnedSemaphorePermit;

/// An engine says within this what has become of a configuration.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

/// A configuration with its sum.
#[derive(Clone, Debug)]
struct Known {
    sections: Arc<Sections>,
    digest: [u8; 32],
}

/// What is on its way.
#[derive(Debug)]
struct Flight {
    version: u64,
    to: Known,
    parts: VecDeque<Part>,
    /// All of it is here, not only what has changed: few of these are under way at once.
    is_whole: bool,
    /// Its place among those few.
    place: Option<OwnedSemaphorePermit>,
    /// When the last piece was sent.
    sent: Option<Instant>,
}

/// What came of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The engine works by this version.
    Applied(u64),
    /// It does not, and says why. It goes on with the one before.
    Refused(u64),
    /// It needs all of it.
    Again,
    /// It answers something that was not asked.
    Odd,
}

/// The configuration of one engine.
#[derive(Debug)]
pub struct Pushing {
    /// What the engine has; `None`: something that we do not know.
    has: Option<Known>,
    /// The number of that.
    has_version: u64,
    /// The last number that was used.
    version: u64,
    flight: Option<Flight>,
    /// What it did not take: it is not sent again before something else is to be sent.
    refused: Option<[u8; 32]>,
    told: [u8; 32],
}

impl Pushing {
    /// Of an engine that says that it has this.
    pub fn new(version: u64, told: &[u8]) -> Self {
        let told = told.try_into().unwrap_or_default();
        Pushing { has: None, has_version: version, version, flight: None, refused: None, told }
    }

    /// What the engine works by, if that is known.
    pub fn works_by(&self) -> Option<&Arc<Sections>> {
        self.has.as_ref().map(|has| &has.sections)
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    /// The engine is to work by this; `false`: it does already, or has refused to.
    //= CHAN-CONFIG-01
    pub fn aim(&mut self, wanted: &Arc<Sections>) -> bool {
        if self.has.as_ref().is_some_and(|has| Arc::ptr_eq(&has.sections, wanted)) {
            return false;
        }
        let to = Known { sections: Arc::clone(wanted), digest: digest(wanted) };
        if self.has.is_none() && self.version > 0 && to.digest == self.told {
            // It has kept it over our start, or over its own.
            self.has = Some(to);
            return false;
        }
        if let Some(has) = &mut self.has
            && has.digest == to.digest
        {
            has.sections = to.sections;
            return false;
        }
        if self.refused == Some(to.digest) {
            return false;
        }
        let from = self.has.as_ref();
        let none = Sections::new();
        let change = between(from.map_or(&none, |has| &has.sections), &to.sections);
        let version = self.version + 1;
        let parts = parts(&change, version, from.map_or(0, |_| self.has_version), to.digest).into();
        let is_whole = from.is_none();
        self.flight = Some(Flight { version, to, parts, is_whole, place: None, sent: None });
        true
    }

    /// It waits for a place among the whole ones.
    pub fn wants_place(&self) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|flight| flight.is_whole && flight.place.is_none() && flight.sent.is_none())
    }

    /// It has its place.
    pub fn has_place(&mut self, place: OwnedSemaphorePermit) {
        if let Some(flight) = &mut self.flight {
            flight.place = Some(place);
        }
    }

    /// A piece can be sent.
    pub fn can_send(&self) -> bool {
        !self.wants_place() && self.flight.as_ref().is_some_and(|flight| !flight.parts.is_empty())
    }

    /// The next piece; with the last one goes the version that it makes whole.
    pub fn next(&mut self, now: Instant) -> Option<(Part, Option<u64>)> {
        let flight = self.flight.as_mut()?;
        let part = flight.parts.pop_front()?;
        if !flight.parts.is_empty() {
            return Some((part, None));
        }
        flight.sent = Some(now);
        Some((part, Some(flight.version)))
    }

    /// When the engine should have said what has become of it.
    pub fn due(&self) -> Option<Instant> {
        Some(self.flight.as_ref()?.sent? + ANSWERED_WITHIN)
    }

    /// What the engine says.
    pub fn answered(&mut self, answer: &Applied) -> Outcome {
        let is_asked = self
            .flight
            .as_ref()
            .is_some_and(|flight| flight.sent.is_some() && flight.version == answer.version);
        let Some(flight) = self.flight.take_if(|_| is_asked) else { return Outcome::Odd };
        // A number is used once, whatever came of it.
        self.version = flight.version;
        if answer.applied {
            self.refused = None;
            (self.has, self.has_version) = (Some(flight.to), self.version);
            return Outcome::Applied(self.version);
        }
        if answer.needs_all && !flight.is_whole {
            self.has = None;
            self.told = [0; 32];
            return Outcome::Again;
        }
        self.refused = Some(flight.to.digest);
        Outcome::Refused(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Arc<Sections> {
        Arc::new(Sections::from([
            ("pool/p".to_owned(), text.to_owned()),
            ("engine/engine".to_owned(), String::new()),
        ]))
    }

    fn sent(pushing: &mut Pushing) -> Part {
        let (part, last) = pushing.next(Instant::now()).expect("a piece");
        assert!(last.is_some(), "it is short");
        part
    }

    fn answer(version: u64, applied: bool) -> Applied {
        Applied { version, applied, ..Default::default() }
    }

    //= test CHAN-CONFIG-01
    #[test]
    fn an_engine_that_has_it_already_is_sent_nothing() {
        let wanted = some("a");
        let mut pushing = Pushing::new(9, &digest(&wanted));
        assert!(!pushing.aim(&wanted) && pushing.is_idle());
        assert!(pushing.aim(&some("b")), "but what has changed since it is");
        assert!(!pushing.wants_place(), "which is no whole one");
        let part = sent(&mut pushing);
        assert_eq!((part.version, part.from), (10, 9));
        let other = Pushing::new(0, &digest(&wanted)).aim(&wanted);
        assert!(other, "version 0 is none, whatever its sum");
    }

    //= test CHAN-CONFIG-01
    #[test]
    fn all_of_it_goes_first_and_then_what_changes() {
        let mut pushing = Pushing::new(3, &[7; 32]);
        assert!(pushing.aim(&some("a")) && pushing.wants_place() && !pushing.can_send());
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        pushing.has_place(places.clone().try_acquire_owned().expect("a place"));
        assert_eq!(sent(&mut pushing).from, 0);
        assert_eq!(places.available_permits(), 0, "it has its place until it is answered");
        assert_eq!(pushing.answered(&answer(3, true)), Outcome::Odd);
        assert_eq!(pushing.answered(&answer(4, true)), Outcome::Applied(4));
        assert_eq!(places.available_permits(), 1);
        assert!(!pushing.aim(&some("a")), "the same again");
        assert!(pushing.aim(&some("b")));
        let part = sent(&mut pushing);
        assert_eq!((part.version, part.from, part.content.len() < 30), (5, 4, true));
        assert!(pushing.due().is_some());
    }

    //= test CHAN-CONFIG-03
    #[test]
    fn what_an_engine_refuses_is_not_sent_again_before_it_is_another() {
        let mut pushing = Pushing::new(1, &digest(&some("a")));
        assert!(!pushing.aim(&some("a")));
        assert!(pushing.aim(&some("bad")));
        sent(&mut pushing);
        assert_eq!(pushing.answered(&answer(2, false)), Outcome::Refused(2));
        assert!(!pushing.aim(&some("bad")));
        assert!(pushing.aim(&some("good")));
        let part = sent(&mut pushing);
        assert_eq!(
            (part.version, part.from),
            (3, 1),
            "no number comes twice, and it builds on what the engine has"
        );
        let needs = Applied { needs_all: true, ..answer(3, false) };
        assert_eq!(pushing.answered(&needs), Outcome::Again);
        assert!(pushing.aim(&some("good")) && pushing.wants_place(), "all of it");
    }
}
