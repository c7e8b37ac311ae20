//! What was decided when the record was written: inputs and answers that stand in the repository, so that a
//! change of the generator or of the core cannot move both sides of a comparison together.
//!
//! `vectors.txt` holds whole scenarios, cut off behind the decision for which they were chosen; `digests.txt`
//! one line for each generated scenario. See `README.md`.
#![allow(dead_code)] // each test program uses its own part

use forebay_core::testing::{self, Outcome, Scenario};

/// As many inputs as the digests must cover.
pub const INPUTS_MIN: usize = 100_000;

const VECTORS: &str = include_str!("vectors.txt");
const DIGESTS: &str = include_str!("digests.txt");

/// A scenario and the answer to it.
pub struct Vector {
    /// What it shows, as its first line says.
    pub shows: String,
    /// The scenario as it travels to a component.
    pub input: Vec<u8>,
    /// The outcome as it comes back.
    pub answer: Vec<u8>,
    /// Each decision in words, for people.
    pub reasons: Vec<String>,
}

impl Vector {
    pub fn of(shows: String, scenario: &Scenario) -> Self {
        let outcome = testing::run(scenario);
        Self {
            shows,
            input: frame(scenario),
            answer: outcome.to_bytes(),
            reasons: outcome.decisions.iter().map(|d| d.reason.to_string()).collect(),
        }
    }

    pub fn scenario(&self) -> Scenario {
        postcard::from_bytes(&self.input).unwrap_or_else(|e| panic!("{}: {e}", self.shows))
    }

    pub fn text(&self) -> String {
        let mut text = format!("shows {}\ninput {}\n", self.shows, hex(&self.input));
        for reason in &self.reasons {
            text += &format!("reason {reason}\n");
        }
        text + &format!("answer {}\n", hex(&self.answer))
    }

    /// Where `answer` is not the recorded one, in words.
    pub fn difference(&self, answer: &[u8]) -> Option<String> {
        if answer == self.answer {
            return None;
        }
        let Ok(now) = postcard::from_bytes::<Outcome>(answer) else {
            return Some(format!("{}: the answer is no outcome", self.shows));
        };
        let recorded: Option<Outcome> = postcard::from_bytes(&self.answer).ok();
        let recorded = recorded.map_or(Vec::new(), |outcome| outcome.decisions);
        let at = now.decisions.iter().zip(&recorded).position(|(now, then)| now != then);
        let what = match at {
            Some(n) => format!(
                "answer {n}: recorded {:?} ({}), now {:?} ({})",
                recorded[n].verdict, self.reasons[n], now.decisions[n].verdict, now.decisions[n].reason
            ),
            None => "the number of answers, or the pool's state at the end".to_owned(),
        };
        Some(format!("{}: {what}", self.shows))
    }
}

/// The recorded vectors, in the order of the file.
pub fn vectors() -> Vec<Vector> {
    let mut out: Vec<Vector> = Vec::new();
    for (n, line) in VECTORS.lines().enumerate() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "shows" {
            let shows = rest.to_owned();
            out.push(Vector { shows, input: Vec::new(), answer: Vec::new(), reasons: Vec::new() });
            continue;
        }
        let last = out.last_mut().unwrap_or_else(|| panic!("line {}: nothing is shown yet", n + 1));
        match word {
            "input" => last.input = bytes(rest),
            "answer" => last.answer = bytes(rest),
            "reason" => last.reasons.push(rest.to_owned()),
            _ => panic!("line {}: {word}", n + 1),
        }
    }
    out
}

/// What is left of a generated scenario and its answer: eight bytes of each, and one of each decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    pub seed: u64,
    pub input: u64,
    pub answer: u64,
    /// One byte of each decision: by it the first that differs is named.
    pub decisions: Vec<u8>,
}

impl Digest {
    pub fn of(scenario: &Scenario, answer: &[u8]) -> Self {
        let decisions = postcard::from_bytes::<Outcome>(answer).map_or(Vec::new(), |o| o.decisions);
        let one = |d| postcard::to_allocvec(d).map_or(0, |bytes| fnv1a(&bytes).to_le_bytes()[0]);
        Self {
            seed: scenario.seed,
            input: fnv1a(&frame(scenario)),
            answer: fnv1a(answer),
            decisions: decisions.iter().map(one).collect(),
        }
    }

    pub fn text(&self) -> String {
        format!("{} {:016x} {:016x} {}\n", self.seed, self.input, self.answer, hex(&self.decisions))
    }

    /// Where `now` is not what was recorded, in words.
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self == now {
            return None;
        }
        // The generator plays its scenario: a decision that changes also changes the inputs behind it.
        let input = if self.input == now.input { "the input is the recorded one" } else { "another input" };
        let what = match self.decisions.iter().zip(&now.decisions).position(|(then, now)| then != now) {
            Some(n) => format!("answer {n} is the first that differs"),
            None if self.answer == now.answer => "all answers are equal".to_owned(),
            None => "the number of answers, or the pool's state at the end".to_owned(),
        };
        Some(format!("seed {}: {input}; {what}", self.seed))
    }
}

/// The recorded digests, by seed from 0.
pub fn digests() -> Vec<Digest> {
    DIGESTS.lines().map(|line| digest(line).unwrap_or_else(|| panic!("no digest: {line}"))).collect()
}

fn digest(line: &str) -> Option<Digest> {
    let mut words = line.split(' ');
    let seed = words.next()?.parse().ok()?;
    let input = u64::from_str_radix(words.next()?, 16).ok()?;
    let answer = u64::from_str_radix(words.next()?, 16).ok()?;
    Some(Digest { seed, input, answer, decisions: bytes(words.next()?) })
}

pub fn frame(scenario: &Scenario) -> Vec<u8> {
    postcard::to_allocvec(scenario).expect("scenarios serialise")
}

/// FNV-1a with 64 bits: not the core's own hash, which is among what is recorded.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |i| hex.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len())
        .step_by(2)
        .map(|i| pair(i).unwrap_or_else(|| panic!("no hexadecimal digits: {hex}")))
        .collect()
}
