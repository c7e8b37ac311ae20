//! Which failed requests another server may get.
//!
//! One sentence decides: a request is sent again only if it cannot have been executed, or if executing it
//! twice does no harm.

/// How a server failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Failure {
    /// No connection: refused, reset or not established in time.
    Connect,
    /// The connection ended before any byte of a response.
    Closed,
    /// No response head in time.
    Timeout,
    /// The response is not HTTP that we accept.
    BadResponse,
    /// A complete response head with this status.
    Status(u16),
}

/// How much of the request has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Sent {
    /// Not one byte: the server cannot know of it.
    Nothing,
    /// At least one byte.
    Something,
}

/// One failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// What went wrong.
    pub failure: Failure,
    /// How much of the request has left.
    pub sent: Sent,
    /// [`is_idempotent`] of its method.
    pub idempotent: bool,
    /// The body can be sent again: there is none, or all that was read is still held.
    pub body_held: bool,
    /// A byte of a final response has gone to the client.
    pub answered: bool,
    /// The connection had served another request before: servers close such connections at any moment.
    pub reused: bool,
    /// Attempts of this request so far, this one included; 1 or more.
    pub attempts: u8,
}

/// What the pool allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct RetryConfig {
    /// How often a request may be sent again, 0 to 20; 4 by default.
    pub retries_max: u8,
    /// Also send requests again that are not idempotent, although a server may have executed them.
    pub retry_nonidempotent: bool,
    /// Responses that count as failures.
    pub statuses: Statuses,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { retries_max: 4, retry_nonidempotent: false, statuses: Statuses::NONE }
    }
}

/// A set of statuses 400 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Statuses([u64; 4]);

impl Statuses {
    /// No status.
    pub const NONE: Self = Self([0; 4]);

    /// Adds a status; those outside of 400 to 599 are not failures and are ignored.
    #[must_use]
    pub fn with(mut self, status: u16) -> Self {
        if let Some(bit) = Self::bit(status) {
            self.0[usize::from(bit / 64)] |= 1 << (bit % 64);
        }
        self
    }

    /// True if the status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        Self::bit(status).is_some_and(|bit| self.0[usize::from(bit / 64)] >> (bit % 64) & 1 == 1)
    }

    fn bit(status: u16) -> Option<u16> {
        (400..600).contains(&status).then(|| status - 400)
    }
}

/// Whether and where to send the request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Retry {
    /// To the same server over a new connection: only the kept connection was stale.
    SameServer,
    /// To another server: decide again with this one among
    /// [`Input::tried`](crate::Input::tried).
    OtherServer,
    /// Not at all.
    No(WhyNot),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WhyNot {
    /// The client has part of a response.
    Answered,
    /// All retries are used.
    Exhausted,
    /// The server may have executed it, and twice is not once.
    MayHaveRun,
    /// Part of the body is gone.
    BodyGone,
    /// The time for a response is over; another server would get none.
    OutOfTime,
    /// The status is an answer, not a failure.
    FinalStatus,
}

/// True for methods that have the same effect once or twice (RFC 9110, 9.2.2).
//= LB-RETRY-01
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// Says whether a failed attempt may be repeated.
//= LB-RETRY-02
//= LB-RETRY-03
//= LB-RETRY-04
pub fn may_retry(config: &RetryConfig, attempt: &Attempt) -> Retry {
    if matches!(attempt.failure, Failure::Status(status) if !config.statuses.contains(status)) {
        return Retry::No(WhyNot::FinalStatus);
    }
    if attempt.answered {
        return Retry::No(WhyNot::Answered);
    }
    if attempt.failure == Failure::Timeout {
        return Retry::No(WhyNot::OutOfTime);
    }
    if attempt.attempts > config.retries_max {
        return Retry::No(WhyNot::Exhausted);
    }
    let untouched = attempt.failure == Failure::Connect || attempt.sent == Sent::Nothing;
    if !untouched {
        if !attempt.body_held {
            return Retry::No(WhyNot::BodyGone);
        }
        if !attempt.idempotent && !config.retry_nonidempotent {
            return Retry::No(WhyNot::MayHaveRun);
        }
    }
    if attempt.reused && attempt.failure == Failure::Closed { Retry::SameServer } else { Retry::OtherServer }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Attempt = Attempt {
        failure: Failure::Closed,
        sent: Sent::Something,
        idempotent: true,
        body_held: true,
        answered: false,
        reused: false,
        attempts: 1,
    };

    //= test LB-RETRY-02
    #[test]
    fn a_request_that_may_have_run_is_repeated_only_if_idempotent() {
        let config = RetryConfig::default();
        assert_eq!(may_retry(&config, &SENT), Retry::OtherServer);
        let post = Attempt { idempotent: false, ..SENT };
        assert_eq!(may_retry(&config, &post), Retry::No(WhyNot::MayHaveRun));
        assert_eq!(may_retry(&config, &Attempt { sent: Sent::Nothing, ..post }), Retry::OtherServer);
        assert_eq!(may_retry(&config, &Attempt { failure: Failure::Connect, ..post }), Retry::OtherServer);
        let forced = RetryConfig { retry_nonidempotent: true, ..config };
        assert_eq!(may_retry(&forced, &post), Retry::OtherServer);
    }

    //= test LB-RETRY-03
    #[test]
    fn nothing_is_repeated_after_an_answer_a_lost_body_a_timeout_or_too_often() {
        let config = RetryConfig::default();
        let no = |a: Attempt| match may_retry(&config, &a) {
            Retry::No(why) => Some(why),
            _ => None,
        };
        assert_eq!(no(Attempt { answered: true, ..SENT }), Some(WhyNot::Answered));
        assert_eq!(no(Attempt { body_held: false, ..SENT }), Some(WhyNot::BodyGone));
        assert_eq!(no(Attempt { failure: Failure::Timeout, ..SENT }), Some(WhyNot::OutOfTime));
        assert_eq!(no(Attempt { attempts: 4, ..SENT }), None);
        assert_eq!(no(Attempt { attempts: 5, ..SENT }), Some(WhyNot::Exhausted));
    }

    //= test LB-RETRY-04
    #[test]
    fn a_stale_kept_connection_is_tried_anew_at_the_same_server() {
        let config = RetryConfig::default();
        assert_eq!(may_retry(&config, &Attempt { reused: true, ..SENT }), Retry::SameServer);
        assert_eq!(
            may_retry(&config, &Attempt { reused: true, failure: Failure::BadResponse, ..SENT }),
            Retry::OtherServer
        );
    }

    //= test LB-RETRY-04
    #[test]
    fn only_listed_statuses_are_failures() {
        let config = RetryConfig { statuses: Statuses::NONE.with(503).with(200), ..RetryConfig::default() };
        let with = |s| may_retry(&config, &Attempt { failure: Failure::Status(s), ..SENT });
        assert_eq!(with(503), Retry::OtherServer);
        assert_eq!(with(502), Retry::No(WhyNot::FinalStatus));
        assert_eq!(with(200), Retry::No(WhyNot::FinalStatus));
    }

    //= test LB-RETRY-01
    #[test]
    fn unknown_and_lower_case_methods_are_not_idempotent() {
        assert!(is_idempotent(b"GET") && is_idempotent(b"DELETE"));
        assert!(
            !is_idempotent(b"get")
                && !is_idempotent(b"POST")
                && !is_idempotent(b"PATCH")
                && !is_idempotent(b"")
        );
    }
}
