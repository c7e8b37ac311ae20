//! What monitors by UDP, ping and command make of what they see.

use forebay_core::units::Now;
use forebay_health::{
    Attempt, End, Evaluator, Exit, External, Failure, Kind, Monitor, Outcome, Probe, ProbeState, Timing, Udp,
    Verdict,
    ping::{self, TOKEN_BYTES},
    probe::Due,
    verdict::command,
};

const S: u64 = 1_000_000;

fn udp(response: &str, maintenance: &str) -> Evaluator {
    let kind = Kind::Udp(Udp {
        request: b"are you there".to_vec(),
        response: response.into(),
        maintenance_response: maintenance.into(),
    });
    let mut evaluator = Evaluator::new(&kind).expect("datagrams are bytes");
    assert_eq!(evaluator.connected(), Verdict::NeedMore, "sending a datagram shows nothing");
    evaluator
}

//= test HM-UDP-01
#[test]
fn without_a_text_any_datagram_and_silence_pass_and_a_refusal_does_not() {
    assert_eq!(udp("", "").receive(b"whatever"), Verdict::Pass);
    assert_eq!(udp("", "").receive(b""), Verdict::Pass);
    assert_eq!(udp("", "").finish(End::TimedOut), Verdict::Pass);
    assert!(matches!(udp("", "").finish(End::Closed), Verdict::Fail(Failure::Closed(_))));
}

//= test HM-UDP-02
#[test]
fn a_text_is_sought_in_each_datagram_by_itself() {
    let mut probe = udp("pong", "");
    assert_eq!(probe.receive(b"something po"), Verdict::NeedMore);
    assert_eq!(probe.receive(b"ng else"), Verdict::NeedMore, "no text reaches over two datagrams");
    assert_eq!(probe.receive(b"a pong"), Verdict::Pass);
    let mut probe = udp("pong", "");
    assert!(matches!(probe.finish(End::TimedOut), Verdict::Fail(Failure::TimedOut(_))));
    probe.receive(b"ping");
    match probe.finish(End::TimedOut) {
        Verdict::Fail(Failure::NoMatch(seen)) => assert_eq!(seen.bytes(), b"ping"),
        other => panic!("{other:?}"),
    }
    let mut far = vec![b'x'; 2048];
    far.extend_from_slice(b"pong");
    assert_eq!(udp("pong", "").receive(&far), Verdict::NeedMore, "only the first 2 KB count");
}

//= test HM-UDP-03
#[test]
fn a_datagram_may_say_maintenance() {
    assert!(matches!(udp("", "soon").receive(b"back soon"), Verdict::Maintenance(_)));
    assert!(matches!(udp("back", "soon").receive(b"back soon"), Verdict::Maintenance(_)));
    assert_eq!(udp("back", "soon").receive(b"back"), Verdict::Pass);
}

const TOKEN: [u8; TOKEN_BYTES] = *b"0123456789abcdef";

//= test HM-PING-01
#[test]
fn an_echo_request_is_what_the_standard_says() {
    let packet = ping::request(false, 0x1234, TOKEN);
    assert_eq!(packet[..2], [8, 0]);
    assert_eq!(packet[4..8], [0x12, 0x34, 0, 1]);
    // The sum over a packet with a right checksum is all ones.
    let sum = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    assert_eq!(ping::request(true, 1, TOKEN)[..4], [128, 0, 0, 0]);
}

//= test HM-PING-01
#[test]
fn only_the_reply_with_its_own_token_answers_a_ping() {
    let reply = |kind: u8, token: [u8; TOKEN_BYTES]| {
        let mut packet = ping::request(false, 7, token);
        packet[0] = kind;
        packet.to_vec()
    };
    assert!(ping::is_reply(false, &reply(0, TOKEN), TOKEN));
    assert!(ping::is_reply(true, &reply(129, TOKEN), TOKEN));
    assert!(!ping::is_reply(false, &reply(8, TOKEN), TOKEN), "its own request, seen on loopback");
    assert!(!ping::is_reply(true, &reply(128, TOKEN), TOKEN));
    assert!(!ping::is_reply(false, &reply(3, TOKEN), TOKEN), "unreachable");
    assert!(!ping::is_reply(false, &reply(0, [0; TOKEN_BYTES]), TOKEN), "another's");
    // As a raw socket delivers it: behind an IPv4 header, here with four bytes of options.
    let mut raw = vec![0x46; 24];
    raw.extend(reply(0, TOKEN));
    assert!(ping::is_reply(false, &raw, TOKEN));
    for cut in 0..raw.len() {
        assert!(!ping::is_reply(false, &raw[..cut], TOKEN), "cut at {cut}");
    }
}

//= test HM-EXTERNAL-01
#[test]
fn the_exit_status_decides_and_what_was_printed_is_shown_when_it_fails() {
    let mut run = command::Evaluator::default();
    assert_eq!(run.receive(b"disk full\n"), None);
    assert_eq!(run.exited(Exit::Status(0)), Verdict::Pass, "whatever it printed");
    let said = |exit| match run.exited(exit) {
        Verdict::Fail(failure) => failure.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(Exit::Status(3)), "the command ended with status 3 and printed \"disk full\\n\"");
    assert_eq!(said(Exit::Signal(11)), "the command was ended by signal 11 and printed \"disk full\\n\"");
    let silent = command::Evaluator::default().exited(Exit::NotStarted("No such file".to_owned()));
    assert!(
        matches!(silent, Verdict::Fail(failure) if failure.to_string().ends_with("No such file and printed nothing"))
    );
}

//= test HM-EXTERNAL-02
#[test]
fn a_command_that_hangs_has_failed() {
    let mut run = command::Evaluator::default();
    run.receive(b"connecting");
    match run.timed_out() {
        Verdict::Fail(Failure::TimedOut(seen)) => assert_eq!(seen.bytes(), b"connecting"),
        other => panic!("{other:?}"),
    }
}

//= test HM-EXTERNAL-04
#[test]
fn a_command_that_prints_without_end_is_ended() {
    let mut run = command::Evaluator::default();
    for n in 0..64 {
        assert_eq!(run.receive(&[b'x'; 1_024]), None, "{n} KiB");
    }
    let Some(Verdict::Fail(failure)) = run.receive(b"x") else { panic!("one byte more") };
    let text = failure.to_string();
    assert!(text.starts_with("the command printed more than 64 KiB") && text.len() < 200, "{text}");
}

#[test]
fn a_command_is_named_by_its_full_path() {
    let monitor = |command: &[&str]| Monitor {
        name: "m".to_owned(),
        kind: Kind::External(External { command: command.iter().map(|word| (*word).to_owned()).collect() }),
        timing: Timing::default(),
    };
    assert_eq!(monitor(&["/bin/true", "x"]).problems(), []);
    for command in [&[][..], &["true"], &["./true"]] {
        assert_eq!(monitor(command).problems().len(), 1, "{command:?}");
    }
}

/// The next attempt that is due, and when.
fn start(probe: &mut Probe) -> (Now, Attempt) {
    let at = probe.poll_timeout();
    match probe.handle_timeout(at) {
        Some(Due::Start(attempt)) => (at, attempt),
        other => panic!("{other:?}"),
    }
}

//= test HM-OWN-01
#[test]
fn a_probe_that_could_not_be_made_counts_as_neither() {
    let mut probe = Probe::new(Timing::default(), 1, Now(0));
    // New: tried again after a second, however often, and no verdict comes of it.
    for n in 0..30 {
        let (at, attempt) = start(&mut probe);
        assert_eq!(at, Now(n * S));
        assert!(probe.handle_result(at, attempt, &Outcome::NotMade));
        assert_eq!(probe.state(), ProbeState::Checking);
    }
    for _ in 0..2 {
        let (at, attempt) = start(&mut probe);
        probe.handle_result(at, attempt, &Outcome::Pass);
    }
    assert_eq!(probe.state(), ProbeState::Up);
    // Up: one failure, then shortages, then the second failure in a row.
    let closed = || Outcome::Fail(Failure::Closed(Default::default()));
    let (at, attempt) = start(&mut probe);
    probe.handle_result(at, attempt, &closed());
    let mut before = at;
    for _ in 0..10 {
        let (at, attempt) = start(&mut probe);
        assert!((9 * S..11 * S).contains(&(at.0 - before.0)), "by the interval: {}", at.0 - before.0);
        probe.handle_result(at, attempt, &Outcome::NotMade);
        assert_eq!(probe.state(), ProbeState::Up);
        before = at;
    }
    let (at, attempt) = start(&mut probe);
    probe.handle_result(at, attempt, &closed());
    assert_eq!(probe.state(), ProbeState::Down);
}
