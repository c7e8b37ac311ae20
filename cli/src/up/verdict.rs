//! Whether every client stuck by the rules: judged from what the clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::client::Used;
use super::config::Stick;

/// One request as its client saw it. Times count from the start of the load.
pub struct Sample {
    /// When it was sent.
    pub sent: Duration,
    /// How long it took.
    pub took: Duration,
    /// The server that answered, or what went wrong.
    pub got: Result<String, Failed>,
    /// The connections that it needed.
    pub used: Used,
    /// When the connection that it was sent over was begun.
    pub connected: Duration,
}

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In words.
    pub why: String,
    /// Whether its connection broke off or could not be had, instead of an answer that is none.
    pub broke_off: bool,
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

/// The engine that was killed, and when: not before `from`, and its sockets were gone by `to`.
pub struct Killed {
    /// Its name.
    pub engine: String,
    /// Just before the kill.
    pub from: Duration,
    /// Just after its sockets were gone.
    pub to: Duration,
    /// The connections that the other engine has answered a request of: number of the client, and port at its end.
    pub elsewhere: BTreeSet<(usize, u16)>,
}

impl Killed {
    /// Whether a connection was cut by the kill, if it ended in `when`: it was begun before the engine's sockets were gone,
    /// ended after the kill, and was not the other engine's.
    fn cut(&self, client: usize, port: Option<u16>, connected: Duration, ended: Duration) -> bool {
        let elsewhere = port.is_some_and(|port| self.elsewhere.contains(&(client, port)));
        connected <= self.to && ended >= self.from && !elsewhere
    }
}

/// The judgement over all clients.
#[derive(Default)]
pub struct Verdict {
    /// Requests sent.
    pub requests: u64,
    /// Requests without a proper answer, other than those that were cut.
    pub errors: u64,
    /// Requests that were under way on the engine that was killed.
    pub cut: u64,
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
    /// one other, from then on. A request fails if it has no proper answer, unless it was under way on the engine that was
    /// killed.
    pub fn of(histories: &[History], stopped: Option<&Stopped>, killed: Option<&Killed>) -> Self {
        let mut v = Self::default();
        for (client, history) in histories.iter().enumerate() {
            v.count(client, history, stopped, killed);
            if history.stick != Stick::None && history.known {
                v.judge(history, stopped);
            }
        }
        v.times.sort_unstable();
        v
    }

    fn count(
        &mut self,
        client: usize,
        history: &History,
        stopped: Option<&Stopped>,
        killed: Option<&Killed>,
    ) {
        for sample in &history.samples {
            self.requests += 1;
            let ended = sample.sent + sample.took;
            let cut =
                |port, connected| killed.is_some_and(|killed| killed.cut(client, port, connected, ended));
            // Nobody but an engine that is killed may close a connection that was to be kept.
            if let Some(port) = sample.used.found_closed
                && !cut(Some(port), Duration::ZERO)
            {
                self.fail(sample, "a kept connection was closed");
                continue;
            }
            match &sample.got {
                Ok(server) => {
                    self.times.push(sample.took);
                    let before = stopped.is_none_or(|s| ended < s.from);
                    if history.stick == Stick::None && before {
                        *self.spread.entry(server.clone()).or_default() += 1;
                    }
                }
                Err(what) if what.broke_off && cut(sample.used.port, sample.connected) => self.cut += 1,
                Err(what) => self.fail(sample, &what.why),
            }
        }
    }

    fn fail(&mut self, sample: &Sample, why: &str) {
        self.errors += 1;
        if self.error_examples.len() < EXAMPLES_MAX {
            self.error_examples.push(format!("after {:.2} s: {why}", sample.sent.as_secs_f64()));
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

    fn refused() -> Failed {
        Failed { why: "refused".into(), broke_off: true }
    }

    fn history(stick: Stick, servers: &str) -> History {
        let samples = servers.char_indices().map(|(i, c)| Sample {
            sent: Duration::from_secs(i as u64),
            took: Duration::from_millis(1),
            got: if c == '!' { Err(refused()) } else { Ok(c.to_string()) },
            used: Used { port: Some(1), ..Used::default() },
            connected: Duration::from_secs(i as u64),
        });
        History { stick, known: true, samples: samples.collect() }
    }

    fn judged(servers: &str) -> (u64, u64, u64) {
        let stopped = Stopped {
            server: "b".into(),
            from: Duration::from_millis(2500),
            to: Duration::from_millis(2600),
        };
        let v = Verdict::of(&[history(Stick::Cookie, servers)], Some(&stopped), None);
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
    fn only_what_was_under_way_on_the_engine_that_was_killed_was_cut() {
        let s = Duration::from_secs;
        let judged = |change: &dyn Fn(&mut Sample), elsewhere: &[(usize, u16)]| {
            let elsewhere = elsewhere.iter().copied().collect();
            let killed = Killed { engine: "se-2".into(), from: s(10), to: s(12), elsewhere };
            let used = Used { port: Some(7), ..Used::default() };
            let mut sample = Sample { sent: s(9), took: s(2), got: Err(refused()), used, connected: s(8) };
            change(&mut sample);
            let one = History { stick: Stick::Cookie, known: true, samples: vec![sample] };
            let v = Verdict::of(&[one], None, Some(&killed));
            (v.cut, v.errors)
        };
        assert_eq!(judged(&|_| (), &[]), (1, 0), "sent before the kill, broke off after it");
        assert_eq!(judged(&|_| (), &[(0, 8), (1, 7)]), (1, 0), "the other engine answered others");
        assert_eq!(judged(&|_| (), &[(0, 7)]), (0, 1), "it was on the other engine");
        assert_eq!(judged(&|one| one.took = s(0), &[]), (0, 1), "it broke off before the kill");
        assert_eq!(judged(&|one| (one.sent, one.connected) = (s(13), s(13)), &[]), (0, 1), "begun after it");
        assert_eq!(judged(&|one| (one.sent, one.connected) = (s(11), s(11)), &[]), (1, 0), "in its queue");
        let answered = Failed { why: "status 503".into(), broke_off: false };
        assert_eq!(judged(&|one| one.got = Err(answered.clone()), &[]), (0, 1), "that was an answer");
        let closed = |sent: u64| {
            move |one: &mut Sample| {
                (one.sent, one.got, one.used.found_closed) = (s(sent), Ok("a".into()), Some(6));
            }
        };
        assert_eq!(
            judged(&closed(13), &[]),
            (0, 0),
            "a kept one that went with the engine, and nothing failed"
        );
        assert_eq!(judged(&closed(13), &[(0, 6)]), (0, 1), "the other engine closed it");
        assert_eq!(judged(&closed(5), &[]), (0, 1), "closed before the kill");
    }

    #[test]
    fn the_spread_counts_only_what_came_before_the_stop() {
        let stopped =
            Stopped { server: "b".into(), from: Duration::from_secs(3), to: Duration::from_secs(3) };
        let v = Verdict::of(&[history(Stick::None, "abcac")], Some(&stopped), None);
        assert_eq!(v.spread.into_iter().map(|(s, n)| format!("{s}{n}")).collect::<String>(), "a1b1c1");
        assert_eq!(v.sticky_violations, 0);
    }

    #[test]
    fn percentiles_are_times_that_so_many_requests_stayed_below() {
        let sample = |ms| Sample {
            sent: Duration::ZERO,
            took: Duration::from_millis(ms),
            got: if ms < 1000 { Ok("a".into()) } else { Err(refused()) },
            used: Used::default(),
            connected: Duration::ZERO,
        };
        // In no order, and with failed requests, whose times say nothing.
        let samples = (1..=100).rev().chain([5000; 7]).map(sample).collect();
        let v = Verdict::of(&[History { stick: Stick::None, known: true, samples }], None, None);
        assert_eq!([0, 50, 99, 100].map(|p| v.percentile_ms(p)), [1.0, 51.0, 100.0, 100.0]);
        assert_eq!(Verdict::of(&[], None, None).percentile_ms(99), 0.0);
    }
}
