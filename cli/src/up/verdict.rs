//! Whether every client stuck by the rules: judged from what the clients saw.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Stick;

/// One request as its client saw it. Times count from the start of the load.
pub struct Sample {
    /// When it was sent.
    pub sent: Duration,
    /// How long it took.
    pub took: Duration,
    /// The server that answered, or what went wrong.
    pub got: Result<String, String>,
}

/// All of one client's requests, in order.
pub struct History {
    /// What its service knows it by.
    pub stick: Stick,
    /// Whether it can be known again: servers that are not ours may never set the session cookie.
    pub known: bool,
    /// The requests.
    pub samples: Vec<Sample>,
}

/// The server that was stopped, and when: not before `from`, and surely by `to`.
pub struct Stopped {
    /// Its name.
    pub server: String,
    /// Just before the kill.
    pub from: Duration,
    /// Just after it was gone.
    pub to: Duration,
}

/// The judgement over all clients.
#[derive(Default)]
pub struct Verdict {
    /// Requests sent.
    pub requests: u64,
    /// Requests without a proper answer.
    pub errors: u64,
    /// The first few errors, for people.
    pub error_examples: Vec<String>,
    /// Changes of server that the rules do not allow.
    pub sticky_violations: u64,
    /// Sticky clients of the stopped server that moved, once, to another.
    pub moved_after_stop: u64,
    /// Requests per server before the stop, of the service without persistence.
    pub spread: BTreeMap<String, u64>,
    /// Time of each request, sorted.
    times: Vec<Duration>,
}

/// Errors shown to people.
const EXAMPLES_MAX: usize = 5;

impl Verdict {
    /// Judges. The rule: a sticky client has one server; only if that server was stopped may it have
    /// one other, from then on.
    pub fn of(histories: &[History], stopped: Option<&Stopped>) -> Self {
        let mut v = Self::default();
        for history in histories {
            v.count(history, stopped);
            if history.stick != Stick::None && history.known {
                v.judge(history, stopped);
            }
        }
        v.times.sort_unstable();
        v
    }

    fn count(&mut self, history: &History, stopped: Option<&Stopped>) {
        for sample in &history.samples {
            self.requests += 1;
            match &sample.got {
                Ok(server) => {
                    self.times.push(sample.took);
                    let before = stopped.is_none_or(|s| sample.sent + sample.took < s.from);
                    if history.stick == Stick::None && before {
                        *self.spread.entry(server.clone()).or_default() += 1;
                    }
                }
                Err(what) => {
                    self.errors += 1;
                    if self.error_examples.len() < EXAMPLES_MAX {
                        self.error_examples.push(format!("after {:.2} s: {what}", sample.sent.as_secs_f64()));
                    }
                }
            }
        }
    }

    fn judge(&mut self, history: &History, stopped: Option<&Stopped>) {
        let mut home: Option<&str> = None;
        let mut moved = false;
        for sample in &history.samples {
            let Ok(server) = &sample.got else { continue };
            if stopped.is_some_and(|s| s.server == *server && sample.sent > s.to) {
                // Nobody is there to answer: two servers bear one name, or an answer was mixed up.
                self.sticky_violations += 1;
            }
            match home {
                Some(h) if h == server => {}
                None => home = Some(server),
                Some(h) => {
                    let gone = stopped.is_some_and(|s| s.server == h && sample.sent + sample.took >= s.from);
                    if gone && !moved {
                        moved = true;
                        self.moved_after_stop += 1;
                    } else {
                        self.sticky_violations += 1;
                    }
                    home = Some(server);
                }
            }
        }
    }

    /// The time that `percent` of the requests stayed below, in milliseconds.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(0.0, |t| t.as_micros() as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(stick: Stick, servers: &str) -> History {
        let samples = servers.char_indices().map(|(i, c)| Sample {
            sent: Duration::from_secs(i as u64),
            took: Duration::from_millis(1),
            got: if c == '!' { Err("refused".into()) } else { Ok(c.to_string()) },
        });
        History { stick, known: true, samples: samples.collect() }
    }

    fn judged(servers: &str) -> (u64, u64, u64) {
        let stopped = Stopped {
            server: "b".into(),
            from: Duration::from_millis(2500),
            to: Duration::from_millis(2600),
        };
        let v = Verdict::of(&[history(Stick::Cookie, servers)], Some(&stopped));
        (v.errors, v.sticky_violations, v.moved_after_stop)
    }

    #[test]
    fn a_client_of_the_stopped_server_moves_once_and_then_sticks() {
        assert_eq!(judged("aaaaaa"), (0, 0, 0));
        assert_eq!(judged("bbbccc"), (0, 0, 1));
        assert_eq!(judged("bbbcca"), (0, 1, 1), "a second move");
        assert_eq!(judged("bbcccc"), (0, 1, 0), "a move before the stop");
        assert_eq!(judged("aaaccc"), (0, 1, 0), "a client of another server moved");
        assert_eq!(judged("bbbbbb"), (0, 3, 0), "a stopped server answers");
        assert_eq!(judged("bbb!cc"), (1, 0, 1), "a failed request counts as that");
    }

    #[test]
    fn the_spread_counts_only_what_came_before_the_stop() {
        let stopped =
            Stopped { server: "b".into(), from: Duration::from_secs(3), to: Duration::from_secs(3) };
        let v = Verdict::of(&[history(Stick::None, "abcac")], Some(&stopped));
        assert_eq!(v.spread.into_iter().map(|(s, n)| format!("{s}{n}")).collect::<String>(), "a1b1c1");
        assert_eq!(v.sticky_violations, 0);
    }

    #[test]
    fn percentiles_are_times_that_so_many_requests_stayed_below() {
        let sample = |ms| Sample {
            sent: Duration::ZERO,
            took: Duration::from_millis(ms),
            got: if ms < 1000 { Ok("a".into()) } else { Err("late".into()) },
        };
        // In no order, and with failed requests, whose times say nothing.
        let samples = (1..=100).rev().chain([5000; 7]).map(sample).collect();
        let v = Verdict::of(&[History { stick: Stick::None, known: true, samples }], None);
        assert_eq!([0, 50, 99, 100].map(|p| v.percentile_ms(p)), [1.0, 51.0, 100.0, 100.0]);
        assert_eq!(Verdict::of(&[], None).percentile_ms(99), 0.0);
    }
}
