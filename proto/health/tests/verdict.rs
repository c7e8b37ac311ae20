//! What a probe makes of the answers of real, old, odd and broken servers.

use forebay_health::{
    End, Evaluator, Excerpt, Failure, Http, Kind, Monitor, StatusSet, Tcp, Timing, Verdict, limits,
};
use proptest::prelude::*;

fn http(change: impl FnOnce(&mut Http)) -> Kind {
    let mut http = Http::default();
    change(&mut http);
    Kind::Http(http)
}

fn evaluator(kind: &Kind) -> Evaluator {
    Evaluator::new(kind).expect("a kind whose answer is bytes")
}

/// Feeds the whole answer, then the end.
fn judge(kind: &Kind, answer: &[u8], end: End) -> Verdict {
    let mut evaluator = evaluator(kind);
    match evaluator.connected() {
        Verdict::NeedMore => {}
        verdict => return verdict,
    }
    match evaluator.receive(answer) {
        Verdict::NeedMore => evaluator.finish(end),
        verdict => verdict,
    }
}

fn closed(kind: &Kind, answer: &str) -> Verdict {
    judge(kind, answer.as_bytes(), End::Closed)
}

//= test HM-HTTP-03
#[test]
fn any_version_and_line_end_of_the_last_thirty_years_passes() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\n\n",
        "HTTP/1.0 204\r\n\r\n",
        "HTTP/1.1 200\r\nServer: x\r\n\r\nbody",
        "HTTP/1.1  299  Odd  but  fine\r\n\r\n",
        "HTTP/2 200\n\n",
    ] {
        assert_eq!(closed(&http(|_| {}), answer), Verdict::Pass, "{answer:?}");
    }
}

//= test HM-HTTP-07
#[test]
fn a_server_that_closes_after_the_status_line_passes() {
    assert_eq!(closed(&http(|_| {}), "HTTP/1.0 200 OK"), Verdict::Pass);
    assert_eq!(closed(&http(|_| {}), "HTTP/1.0 200 OK\r\nServer: x"), Verdict::Pass);
}

//= test HM-HTTP-07
#[test]
fn a_head_that_never_ends_is_no_success() {
    let verdict = judge(&http(|_| {}), b"HTTP/1.0 200 OK\r\nServer: x", End::TimedOut);
    assert!(matches!(verdict, Verdict::Fail(Failure::TimedOut(_))), "{verdict:?}");
}

//= test HM-HTTP-03
#[test]
fn what_is_not_http_fails_with_what_was_seen() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc\r\n",
        "HTTP/1.1 99 x\r\n",
        "HTTP/1.1 2000 x\r\n",
        "HTTP/x 200\r\n",
        "HTTP\r\n",
    ] {
        match closed(&http(|_| {}), answer) {
            Verdict::Fail(Failure::NotHttp(seen)) => assert!(answer.as_bytes().starts_with(seen.bytes())),
            other => panic!("{answer:?}: {other:?}"),
        }
    }
}

//= test HM-LOG-01
#[test]
fn a_failure_quotes_what_was_seen_on_one_bounded_line() {
    let shown = Failure::NotHttp(Excerpt::of(b"\x15\x03\"\n")).to_string();
    assert_eq!(shown, r#"not an HTTP answer: "\x15\x03\"\n""#);
    assert_eq!(Excerpt::of(&[b'x'; 5_000]).bytes().len(), limits::EXCERPT_BYTES);
    let refused = Failure::Connect("connection refused".to_owned()).to_string();
    assert_eq!(refused, "no connection: connection refused");
}

//= test HM-HTTP-04
#[test]
fn only_expected_statuses_pass() {
    let some = |_: &mut Http| {};
    for (kind, status, pass) in [
        (http(some), 200, true),
        (http(some), 302, false),
        (http(some), 500, false),
        (http(|h| h.expect = StatusSet::class(3)), 302, true),
        (http(|h| h.expect = StatusSet::class(3)), 200, false),
        (http(|h| h.expect = StatusSet::class(2).with_code(404)), 404, true),
        (http(|h| h.expect = StatusSet::class(2).with_code(404)), 403, false),
        (http(|h| h.expect = StatusSet::any()), 599, true),
    ] {
        let verdict = closed(&kind, &format!("HTTP/1.1 {status} x\r\n\r\n"));
        match verdict {
            Verdict::Pass => assert!(pass, "{status} passed"),
            Verdict::Fail(Failure::Status(seen, _)) => assert!(!pass && seen == status, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

//= test HM-HTTP-05
#[test]
fn the_text_is_found_in_header_and_body_but_only_in_the_first_2_kb() {
    let kind = http(|h| h.response = b"alive".to_vec());
    assert_eq!(closed(&kind, "HTTP/1.1 200 OK\r\nX-State: alive\r\n\r\n"), Verdict::Pass);
    assert_eq!(closed(&kind, "HTTP/1.1 200 OK\r\n\r\nstill alive"), Verdict::Pass);
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let at = |offset: usize| format!("{head}{}alive", "x".repeat(offset - head.len()));
    assert_eq!(closed(&kind, &at(limits::WINDOW_BYTES - 5)), Verdict::Pass);
    let verdict = closed(&kind, &at(limits::WINDOW_BYTES - 4));
    assert!(matches!(verdict, Verdict::Fail(Failure::NoMatch(_))), "{verdict:?}");
}

//= test HM-HTTP-05
#[test]
fn a_kept_connection_is_judged_when_the_answer_is_complete() {
    let kind = http(|h| h.response = b"alive".to_vec());
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndead",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndead\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let verdict = evaluator(&kind).receive(answer.as_bytes());
        assert!(matches!(verdict, Verdict::Fail(Failure::NoMatch(_))), "{answer:?}: {verdict:?}");
    }
    let open = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ndead";
    assert_eq!(evaluator(&kind).receive(open.as_bytes()), Verdict::NeedMore);
}

//= test HM-HTTP-05
#[test]
fn what_follows_a_complete_answer_is_not_judged_with_it() {
    let alive = http(|h| h.response = b"alive".to_vec());
    let soon = http(|h| h.maintenance_response = b"back soon".to_vec());
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndead\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ndead\r\n0\r\nX-Sum: 1\r\n\r\n",
    ] {
        let with = |text: &str| evaluator(&alive).receive(format!("{answer}{text}").as_bytes());
        assert!(matches!(with("alive"), Verdict::Fail(Failure::NoMatch(_))), "{answer:?}");
        let late = evaluator(&soon).receive(format!("{answer}back soon").as_bytes());
        assert_eq!(late, Verdict::Pass, "{answer:?}");
    }
    // Data that looks like the last chunk is data.
    let inner = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\n0\r\n\r\n\r\nA\r\nhello";
    assert_eq!(evaluator(&alive).receive(inner.as_bytes()), Verdict::NeedMore);
    let whole = format!("{inner}alive\r\n0\r\n\r\n");
    assert_eq!(evaluator(&alive).receive(whole.as_bytes()), Verdict::Pass);
    assert_eq!(
        closed(&alive, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk: alive"),
        Verdict::Pass
    );
}

//= test HM-HTTP-06
#[test]
fn interim_answers_are_skipped_and_bounded() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(closed(&http(|_| {}), &format!("HTTP/1.1 100 Continue\r\n\r\n{early}{ok}")), Verdict::Pass);
    let verdict = closed(&http(|_| {}), &format!("{}{ok}", early.repeat(9)));
    assert!(matches!(verdict, Verdict::Fail(Failure::NotHttp(_))), "{verdict:?}");
    assert_eq!(closed(&http(|h| h.expect = StatusSet::class(1)), early), Verdict::Pass);
    let switched = closed(&http(|_| {}), "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert!(matches!(switched, Verdict::Fail(Failure::Status(101, _))), "{switched:?}");
}

//= test HM-MAINT-01
#[test]
fn a_maintenance_code_or_text_wins_over_every_other_judgement() {
    let code = http(|h| h.maintenance_codes = vec![503]);
    assert!(matches!(closed(&code, "HTTP/1.1 503 x\r\n\r\n"), Verdict::Maintenance(_)));
    assert!(matches!(closed(&code, "HTTP/1.1 502 x\r\n\r\n"), Verdict::Fail(Failure::Status(502, _))));
    let text = http(|h| h.maintenance_response = b"back soon".to_vec());
    assert!(matches!(closed(&text, "HTTP/1.1 200 OK\r\n\r\nback soon"), Verdict::Maintenance(_)));
    assert!(matches!(closed(&text, "HTTP/1.1 500 x\r\n\r\nback soon"), Verdict::Maintenance(_)));
    assert!(matches!(closed(&text, "HTTP/1.1 500 x\r\n\r\nbroken"), Verdict::Fail(Failure::Status(500, _))));
    assert_eq!(closed(&text, "HTTP/1.1 200 OK\r\n\r\nfine"), Verdict::Pass);
    let both = http(|h| {
        h.response = b"fine".to_vec();
        h.maintenance_response = b"back soon".to_vec();
    });
    assert!(matches!(closed(&both, "HTTP/1.1 200 OK\r\n\r\nfine, but back soon"), Verdict::Maintenance(_)));
    assert_eq!(closed(&both, "HTTP/1.1 200 OK\r\n\r\nfine"), Verdict::Pass);
}

//= test HM-TCP-01
#[test]
fn a_tcp_monitor_without_texts_passes_by_connecting() {
    assert_eq!(evaluator(&Kind::Tcp(Tcp::default())).connected(), Verdict::Pass);
}

//= test HM-TCP-02
#[test]
fn a_tcp_monitor_with_texts_judges_what_it_reads() {
    let kind = Kind::Tcp(Tcp {
        request: b"ping\n".to_vec(),
        response: b"pong".to_vec(),
        maintenance_response: b"closing".to_vec(),
    });
    assert_eq!(judge(&kind, b"pong", End::Closed), Verdict::Pass);
    assert_eq!(judge(&kind, b"pong", End::TimedOut), Verdict::Pass);
    assert!(matches!(judge(&kind, b"pong closing", End::Closed), Verdict::Maintenance(_)));
    assert!(matches!(judge(&kind, b"what?", End::Closed), Verdict::Fail(Failure::NoMatch(_))));
    assert!(matches!(judge(&kind, b"po", End::TimedOut), Verdict::Fail(Failure::TimedOut(_))));
    assert!(matches!(judge(&kind, b"", End::Closed), Verdict::Fail(Failure::Closed(_))));
}

//= test HM-HTTP-01
#[test]
fn a_request_line_alone_becomes_a_complete_request() {
    let sent = |text: &str, exact| {
        let http = Http { request: text.to_owned(), exact, ..Http::default() };
        String::from_utf8(http.request_bytes("192.0.2.1:80")).expect("text in, text out")
    };
    assert_eq!(
        sent("GET / HTTP/1.0", false),
        "GET / HTTP/1.0\r\nHost: 192.0.2.1:80\r\nUser-Agent: forebay-health\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        sent("GET /h\nhost: a.example\nX-A: b\n\n", false),
        "GET /h HTTP/1.0\r\nhost: a.example\r\nX-A: b\r\nUser-Agent: forebay-health\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(sent("GET / HTTP/1.0\n\n", true), "GET / HTTP/1.0\n\n");
}

//= test HM-TIME-01
#[test]
fn the_defaults_are_right_and_out_of_range_values_are_all_named() {
    let mut monitor =
        Monitor { name: "m".to_owned(), kind: Kind::Http(Http::default()), timing: Timing::default() };
    assert_eq!(monitor.problems(), []);
    let t = monitor.timing;
    assert_eq!((t.send_interval_s, t.receive_timeout_s, t.failed_checks, t.successful_checks), (10, 4, 2, 2));
    monitor.timing = Timing {
        send_interval_s: 0,
        receive_timeout_s: 2401,
        failed_checks: 0,
        successful_checks: 51,
        quick_start: true,
    };
    monitor.kind = http(|h| {
        h.request = " ".to_owned();
        h.expect = StatusSet::none();
        h.response = vec![b'x'; 513];
        h.maintenance_codes = vec![503, 504, 99, 502, 501];
    });
    let fields: Vec<_> = monitor.problems().into_iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        [
            "send_interval_s",
            "receive_timeout_s",
            "failed_checks",
            "successful_checks",
            "receive_timeout_s",
            "response",
            "request",
            "expect",
            "maintenance_codes",
            "maintenance_codes"
        ]
    );
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.0 503 No\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        // The rest of a head in one: left to chance, hardly an answer would end before its last byte.
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"5\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"alive".to_vec()),
        Just(b"back soon".to_vec()),
        Just(vec![b'x'; 700]),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn any_monitor() -> impl Strategy<Value = Kind> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(tcp, code, response, maintenance)| {
            let response = if response { b"alive".to_vec() } else { Vec::new() };
            let maintenance_response = if maintenance { b"back soon".to_vec() } else { Vec::new() };
            if tcp {
                Kind::Tcp(Tcp { request: Vec::new(), response, maintenance_response })
            } else {
                http(|h| {
                    h.response = response;
                    h.maintenance_response = maintenance_response;
                    h.maintenance_codes = if code { vec![503] } else { Vec::new() };
                })
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    //= test HM-HTTP-02
    #[test]
    fn the_judgement_does_not_depend_on_how_the_answer_is_cut(
        kind in any_monitor(),
        parts in prop::collection::vec(fragment(), 0..8),
        cuts in prop::collection::vec(1_usize..40, 1..6),
        timed_out in any::<bool>(),
    ) {
        let answer = parts.concat();
        let end = if timed_out { End::TimedOut } else { End::Closed };
        let whole = judge(&kind, &answer, end);
        let mut evaluator = evaluator(&kind);
        let mut pieces = evaluator.connected();
        let mut rest = answer.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() || pieces != Verdict::NeedMore {
                break;
            }
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces = evaluator.receive(piece);
            rest = later;
        }
        if pieces == Verdict::NeedMore {
            pieces = evaluator.finish(end);
        }
        prop_assert_ne!(&whole, &Verdict::NeedMore);
        // Excerpts show what had arrived, which depends on the cut; the judgement must not.
        prop_assert_eq!(kind_of(&whole), kind_of(&pieces));
    }
}

fn kind_of(verdict: &Verdict) -> (u8, u16) {
    match verdict {
        Verdict::NeedMore => (0, 0),
        Verdict::Pass => (1, 0),
        Verdict::Maintenance(_) => (2, 0),
        Verdict::Fail(Failure::Connect(_)) => (3, 0),
        Verdict::Fail(Failure::TimedOut(_)) => (4, 0),
        Verdict::Fail(Failure::Closed(_)) => (5, 0),
        Verdict::Fail(Failure::NotHttp(_)) => (6, 0),
        Verdict::Fail(Failure::Status(status, _)) => (7, *status),
        Verdict::Fail(Failure::NoMatch(_)) => (8, 0),
        Verdict::Fail(Failure::Unreachable(_) | Failure::Tls(_)) => (9, 0),
        Verdict::Fail(Failure::Command(..)) => (10, 0),
        Verdict::Fail(Failure::Grpc(_)) => (11, 0),
    }
}
