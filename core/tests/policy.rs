//! HTTP rules: what matches, in what order, and what comes of it.

mod common;

use std::net::SocketAddr;

use common::*;
use forebay_core::id::{GroupId, PoolId};
use forebay_core::policy::{
    Action, AddressGroup, ClientMatch, Edit, End, EscapedSlashes, FieldMatch, Match, Names, On, Outcome,
    Part, Per, Policy, PolicyConfig, Rate, Redirect, Respond, Rewritten, Rule, State, StringGroup, TextMatch,
};
use forebay_core::units::{Now, Seconds};

const NAMES: Names<'static> = Names {
    pool: &|n| match n {
        "web" => Some(PoolId(1)),
        "api" => Some(PoolId(2)),
        _ => None,
    },
    group: &|n| (n == "all").then_some(GroupId(7)),
};

fn rule(when: Match, then: Vec<Action>) -> Rule {
    Rule { name: format!("{} actions", then.len()), enabled: true, when, then }
}

fn config(rules: Vec<Rule>) -> PolicyConfig {
    PolicyConfig {
        escaped_slashes: EscapedSlashes::Refuse,
        string_groups: vec![StringGroup {
            name: "files".into(),
            values: vec!["/a.css".into(), "/b.js".into()],
        }],
        address_groups: vec![AddressGroup {
            name: "office".into(),
            prefixes: vec!["10.0.0.0/30".parse().expect("a network")],
        }],
        rules,
    }
}

fn policy(rules: Vec<Rule>) -> (Policy, State) {
    let policy = Policy::new(&config(rules), &NAMES).expect("good rules");
    let state = policy.state(1);
    (policy, state)
}

/// Whether a rule with this condition applies to the request.
fn applies(when: Match, request: &Request) -> bool {
    let (policy, mut state) = policy(vec![rule(when, vec![Action::Close])]);
    policy.evaluate(&mut state, request, Now(0)).end == End::Close
}

fn is(v: &str) -> TextMatch {
    TextMatch { equals: vec![v.into()], ..TextMatch::default() }
}

fn begins(v: &str) -> TextMatch {
    TextMatch { begins_with: vec![v.into()], ..TextMatch::default() }
}

fn path(m: TextMatch) -> Match {
    Match { path: Some(m), ..Match::default() }
}

//= test POL-TEXT-01
#[test]
fn each_way_to_compare_a_text_holds_for_what_it_says() {
    let get = Request::get("/static/app.js");
    let lists = |f: fn(&mut TextMatch) -> &mut Vec<String>, v: &str| {
        let mut m = TextMatch::default();
        f(&mut m).push(v.into());
        m
    };
    for (m, holds) in [
        (is("/static/app.js"), true),
        (is("/static/App.js"), false),
        (begins("/static/"), true),
        (begins("/stat/"), false),
        (lists(|m| &mut m.ends_with, ".js"), true),
        (lists(|m| &mut m.ends_with, ".css"), false),
        (lists(|m| &mut m.contains, "ic/a"), true),
        (lists(|m| &mut m.contains, "ic/b"), false),
        (lists(|m| &mut m.glob, "/*/app.?s"), true),
        (lists(|m| &mut m.in_group, "files"), false),
    ] {
        assert_eq!(applies(path(m.clone()), &get), holds, "{m:?}");
        assert_eq!(applies(path(TextMatch { not: true, ..m.clone() }), &get), !holds, "not {m:?}");
    }
    assert!(applies(path(lists(|m| &mut m.in_group, "files")), &Request::get("/b.js")));
    let upper = TextMatch { ignore_case: true, ..is("/STATIC/App.js") };
    assert!(applies(path(upper), &get));
}

//= test POL-PATH-01
#[test]
fn a_disguised_path_does_not_pass_a_rule_that_protects_it() {
    for target in ["/admin/x", "/%61dmin/x", "/a/../admin/x", "/a/%2e%2e/admin/x", "//admin/x", "/./admin//x"]
    {
        assert!(applies(path(begins("/admin/")), &Request::get(target)), "{target}");
    }
    assert!(!applies(path(begins("/admin/")), &Request::get("/administrator/x")));
}

//= test POL-PATH-03
//= test POL-PATH-04
#[test]
fn a_path_that_servers_read_differently_is_refused_before_any_rule_is_asked() {
    let end = |slashes, when: &Match, target: &str| {
        let rules = vec![rule(when.clone(), vec![Action::Close])];
        let config = PolicyConfig { escaped_slashes: slashes, ..config(rules) };
        let policy = Policy::new(&config, &NAMES).expect("good rules");
        let mut state = policy.state(1);
        match policy.evaluate(&mut state, &Request::get(target), Now(0)).end {
            End::Proceed => End::Proceed,
            End::Close => End::Close,
            End::PathAmbiguous => End::PathAmbiguous,
            other => panic!("{other:?}"),
        }
    };
    let (refuse, compare) = (EscapedSlashes::Refuse, EscapedSlashes::Compare);
    let denies = path(begins("/admin"));
    let permits = path(TextMatch { not: true, ..begins("/public/") });
    for target in
        ["/%2fadmin", "/public/..%2fadmin", "/public/..;/admin", "/public%5c..%5cadmin", "/public//../admin"]
    {
        assert_eq!(end(refuse, &denies, target), End::PathAmbiguous, "{target}");
        assert_eq!(end(refuse, &permits, target), End::PathAmbiguous, "{target}");
        let wide = [end(compare, &denies, target), end(compare, &permits, target)];
        assert!(wide.iter().all(|end| *end != End::Proceed), "{target}: {wide:?}");
    }
    for target in ["/admin;v=1/x", "/admin%3Bv=1"] {
        assert_eq!(end(refuse, &denies, target), End::Close, "{target}");
    }
    // A name with a slash in it passes if both readings of it do.
    assert_eq!(end(compare, &denies, "/projects/a%2Fb"), End::Proceed);
    assert_eq!(end(compare, &permits, "/public/a%2Fb"), End::Proceed);
    assert_eq!(end(compare, &denies, "/%2fadmin"), End::Close);
    // Nothing is refused for the sake of rules that compare no path.
    let other = Match { method: Some(vec!["POST".into()]), ..Match::default() };
    assert_eq!(end(refuse, &other, "/projects/a%2Fb"), End::Proceed);
}

//= test POL-CHECK-03
#[test]
fn a_path_condition_that_can_never_hold_is_refused() {
    let lists = |f: fn(&mut TextMatch) -> &mut Vec<String>, v: &str| {
        let mut m = TextMatch::default();
        f(&mut m).push(v.into());
        m
    };
    for (m, fix) in [
        (is("/%61dmin"), "write \"/admin\""),
        (begins("/a b"), "write \"/a%20b\""),
        (begins("/a;v=1"), "write \"/a\": parameters behind a ; are not compared"),
        (is("/a?b=c"), "a path has no query: put what follows the ? under when.query"),
        (lists(|m| &mut m.ends_with, "%2ejs"), "write \".js\""),
        (lists(|m| &mut m.contains, "//"), "write \"/\""),
        (lists(|m| &mut m.glob, "/?%2D*"), "write \"/?-*\""),
    ] {
        let problems = Policy::new(&config(vec![rule(path(m.clone()), vec![Action::Close])]), &NAMES);
        let problems = problems.expect_err("a condition that never holds");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].fix, fix, "{m:?}");
    }
    let mut grouped = config(vec![rule(path(lists(|m| &mut m.in_group, "files")), vec![Action::Close])]);
    grouped.string_groups[0].values.push("/c//d".into());
    let problems = Policy::new(&grouped, &NAMES).expect_err("a value that no path has");
    assert_eq!(problems[0].path, "rules[0].when.path.in_group");
    for good in [lists(|m| &mut m.glob, "/*/?.js"), lists(|m| &mut m.contains, "/@"), begins("/a%20b/")] {
        assert!(Policy::new(&config(vec![rule(path(good), vec![Action::Close])]), &NAMES).is_ok());
    }
}

//= test POL-PATH-02
#[test]
fn a_path_too_long_for_rules_is_refused_instead_of_passed() {
    let (policy, mut state) = policy(vec![rule(path(begins("/admin/")), vec![Action::Close])]);
    let long = Request::get(&format!("/{}", "a/".repeat(9_000)));
    assert_eq!(policy.evaluate(&mut state, &long, Now(0)).end, End::PathTooLong);
}

//= test POL-MATCH-01
#[test]
fn all_conditions_of_a_rule_must_hold() {
    let when = || Match {
        host: Some(TextMatch { glob: vec!["*.Example.com".into()], ..TextMatch::default() }),
        path: Some(begins("/api/")),
        method: Some(vec!["GET".into(), "HEAD".into()]),
        query: Some(TextMatch { contains: vec!["v=2".into()], ..TextMatch::default() }),
        header: vec![FieldMatch { name: "x-a".into(), value: Some(is("1")), absent: false }],
        cookie: vec![FieldMatch { name: "beta".into(), value: None, absent: false }],
        client: Some(ClientMatch { in_group: vec!["office".into()], ..ClientMatch::default() }),
    };
    let good = || Request::get("/api/x?v=2").with("x-a", "1").with("cookie", "a=b; beta=").from(2);
    assert!(applies(when(), &good()));
    assert!(applies(when(), &Request { host: b"WWW.EXAMPLE.COM.".to_vec(), ..good() }), "hosts have no case");
    for wrong in [
        Request { host: b"example.com".to_vec(), ..good() },
        Request { path: b"/ap/x".to_vec(), ..good() },
        Request { method: b"POST".to_vec(), ..good() },
        Request { query: None, ..good() },
        Request { fields: vec![("cookie".into(), b"beta=1".to_vec())], ..good() },
        Request { fields: vec![("x-a".into(), b"1".to_vec())], ..good() },
        good().from(4),
    ] {
        assert!(!applies(when(), &wrong));
    }
    assert!(applies(Match::default(), &Request::get("/")), "without conditions it matches everything");
    let both = || Match {
        header: ["x-a", "x-b"]
            .map(|name| FieldMatch { name: name.into(), value: Some(is("1")), absent: false })
            .to_vec(),
        cookie: ["a", "b"].map(|name| FieldMatch { name: name.into(), value: None, absent: false }).to_vec(),
        ..Match::default()
    };
    let with = |x_b: &str, cookies: &str| {
        Request::get("/").with("x-a", "1").with("x-b", x_b).with("cookie", cookies)
    };
    assert!(applies(both(), &with("1", "a=; b=")));
    assert!(!applies(both(), &with("2", "a=; b=")), "each field of several");
    assert!(!applies(both(), &with("1", "a=; c=")), "each cookie of several");
}

//= test POL-FIELD-01
#[test]
fn one_field_of_the_name_must_fit_and_with_not_none_may() {
    let field = |value: Option<TextMatch>, absent| Match {
        header: vec![FieldMatch { name: "x-a".into(), value, absent }],
        ..Match::default()
    };
    let two = Request::get("/").with("x-a", "1").with("x-a", "2");
    let none = Request::get("/");
    let not = |v: &str| TextMatch { not: true, ..is(v) };
    assert!(applies(field(Some(is("2")), false), &two));
    assert!(!applies(field(Some(is("3")), false), &two));
    assert!(!applies(field(Some(not("2")), false), &two));
    assert!(applies(field(Some(not("3")), false), &two));
    assert!(applies(field(None, false), &two) && !applies(field(None, false), &none));
    assert!(applies(field(None, true), &none) && !applies(field(None, true), &two));
}

//= test POL-ORDER-01
//= test POL-ORDER-02
#[test]
fn rules_are_walked_in_order_the_first_pool_holds_and_an_end_ends_it() {
    let (policy, mut state) = policy(vec![
        rule(path(begins("/api/")), vec![Action::Pool("api".into())]),
        rule(
            Match::default(),
            vec![
                Action::Pool("web".into()),
                Action::Header(Edit::Add(On::Request, "x-b".into(), "1".into())),
            ],
        ),
        rule(
            path(is("/api/old")),
            vec![Action::Respond(Respond { status: 410, content_type: None, body: "gone".into() })],
        ),
        rule(Match::default(), vec![Action::Header(Edit::Remove(On::Response, "server".into()))]),
    ]);
    let mut ask = |target: &str| {
        let o = policy.evaluate(&mut state, &Request::get(target), Now(0));
        (o.pool, matches!(o.end, End::Respond(r) if r.status == 410), o.edits().count(), o.rules().count())
    };
    assert_eq!(ask("/api/x"), (Some(PoolId(2)), false, 2, 3));
    assert_eq!(ask("/x"), (Some(PoolId(1)), false, 2, 2));
    assert_eq!(ask("/api/old"), (Some(PoolId(2)), true, 1, 3));
}

//= test POL-ORDER-02
#[test]
fn a_disabled_rule_is_not_asked_and_a_group_can_be_chosen() {
    let off = Rule { enabled: false, ..rule(Match::default(), vec![Action::Close]) };
    let (policy, mut state) = policy(vec![
        off,
        rule(Match::default(), vec![Action::PoolGroup("all".into()), Action::Pool("web".into())]),
    ]);
    let o = policy.evaluate(&mut state, &Request::get("/"), Now(0));
    assert_eq!((o.end, o.group, o.pool), (End::Proceed, Some(GroupId(7)), None));
}

fn here() -> SocketAddr {
    "192.0.2.7:8080".parse().expect("an address")
}

//= test POL-REDIRECT-02
#[test]
fn a_redirect_of_a_request_without_host_leads_to_the_address_it_came_to() {
    let location = |scheme: Option<&str>, request: &Request, local: &str| {
        let r = Redirect {
            status: 302,
            scheme: scheme.map(Into::into),
            host: None,
            path: Some("/red".into()),
            keep_query: true,
        };
        let mut out = Vec::new();
        r.write_location(request, false, local.parse().expect("an address"), &mut out);
        String::from_utf8(out).expect("text")
    };
    let none = Request { host: Vec::new(), ..Request::get("/a") };
    assert_eq!(location(None, &none, "192.0.2.7:8080"), "http://192.0.2.7:8080/red");
    assert_eq!(location(Some("https"), &none, "192.0.2.7:8080"), "https://192.0.2.7/red");
    assert_eq!(location(Some("https"), &none, "[2001:db8::1]:80"), "https://[2001:db8::1]/red");
    let absolute = Request { host: b"other.example".to_vec(), ..Request::get("/a").with("host", "x:8080") };
    assert_eq!(location(None, &absolute, "192.0.2.7:8080"), "http://other.example/red");
}

//= test POL-CHECK-04
#[test]
fn what_no_message_can_carry_is_refused_instead_of_answered_with_500() {
    let redirect = |host: Option<&str>, path: Option<&str>| {
        Action::Redirect(Redirect {
            status: 302,
            scheme: None,
            host: host.map(Into::into),
            path: path.map(Into::into),
            keep_query: true,
        })
    };
    let respond =
        |status, body: &str| Action::Respond(Respond { status, content_type: None, body: body.into() });
    let set = |on, name: &str, value: &str| Action::Header(Edit::Set(on, name.into(), value.into()));
    for (action, at) in [
        (Action::SetQuery("a b".into()), ""),
        (Action::SetQuery("x HTTP/1.1#\u{e9}".into()), ""),
        (Action::SetPath("/a\"<b>#frag".into()), ""),
        (Action::ReplacePrefix("/a".into(), "/b c".into()), ""),
        (redirect(Some("a b/c?d@e"), None), ".host"),
        (redirect(None, Some("/a b")), ".path"),
        (redirect(None, Some("/app#/x")), ".path"),
        (respond(204, "body"), ".body"),
        (respond(304, "body"), ".body"),
        (set(On::Request, "x-a", " 1"), ""),
        (set(On::Response, "host", "x"), ""),
        (set(On::Response, "keep-alive", "x"), ""),
    ] {
        let problems = Policy::new(&config(vec![rule(Match::default(), vec![action.clone()])]), &NAMES);
        let paths: Vec<String> = problems.err().into_iter().flatten().map(|problem| problem.path).collect();
        assert_eq!(paths, [format!("rules[0].then[0]{at}")], "{action:?}");
    }
    let method = Match { method: Some(vec!["GET".into(), "B AD".into()]), ..Match::default() };
    assert!(Policy::new(&config(vec![rule(method, vec![Action::Close])]), &NAMES).is_err());
    for good in [
        Action::SetQuery("a=b&c[]={d}".into()),
        Action::SetPath("/a%20b;v=1".into()),
        redirect(Some("[2001:db8::1]:8443"), Some("/a")),
        respond(204, ""),
        set(On::Request, "x-a", "\u{e9}"),
    ] {
        assert!(Policy::new(&config(vec![rule(Match::default(), vec![good])]), &NAMES).is_ok());
    }
}

//= test POL-ORDER-01
#[test]
fn the_rule_that_ends_a_request_is_known() {
    let mut rules: Vec<Rule> =
        (0..70).map(|n| rule(path(begins(&format!("/{n}/"))), vec![Action::Pool("web".into())])).collect();
    rules.push(Rule { name: "end".into(), ..rule(path(begins("/69/x")), vec![Action::Close]) });
    let (policy, mut state) = policy(rules);
    let ended = |state: &mut State, target: &str| {
        policy.evaluate(state, &Request::get(target), Now(0)).ended_by().and_then(|at| policy.name_of(at))
    };
    assert_eq!(ended(&mut state, "/69/x"), Some("end"));
    assert_eq!(ended(&mut state, "/69/y"), None);
}

//= test POL-REDIRECT-01
#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    let location = |r: Redirect, tls| {
        let (policy, mut state) = policy(vec![rule(Match::default(), vec![Action::Redirect(r)])]);
        let request = Request::get("/a?b=c").with("host", "www.example.com:8080");
        let outcome = policy.evaluate(&mut state, &request, Now(0));
        let mut out = Vec::new();
        match outcome.end {
            End::Redirect(r) => r.write_location(&request, tls, here(), &mut out),
            other => panic!("{other:?}"),
        }
        String::from_utf8(out).expect("text")
    };
    let plain = Redirect { status: 302, scheme: None, host: None, path: None, keep_query: true };
    assert_eq!(location(plain.clone(), false), "http://www.example.com:8080/a?b=c");
    assert_eq!(
        location(Redirect { scheme: Some("https".into()), ..plain.clone() }, false),
        "https://www.example.com/a?b=c",
        "the port belongs to the old scheme"
    );
    let moved =
        Redirect { host: Some("new.example".into()), path: Some("/z".into()), keep_query: false, ..plain };
    assert_eq!(location(moved, true), "https://new.example/z");
}

fn rewritten(outcome: &Outcome<'_>, request: &Request) -> Option<String> {
    let mut out = Vec::new();
    match outcome.rewrite(request, &mut out) {
        Rewritten::Yes => Some(String::from_utf8(out).expect("text")),
        Rewritten::No => None,
    }
}

//= test POL-REWRITE-01
#[test]
fn paths_and_queries_are_rewritten_in_the_order_of_the_rules() {
    let ask = |actions: Vec<Action>, target: &str| {
        let (policy, mut state) = policy(vec![rule(Match::default(), actions)]);
        let request = Request::get(target);
        let outcome = policy.evaluate(&mut state, &request, Now(0));
        rewritten(&outcome, &request)
    };
    let prefix = || Action::ReplacePrefix("/api".into(), "/v2".into());
    assert_eq!(ask(vec![Action::Pool("web".into())], "/a"), None);
    assert_eq!(ask(vec![prefix()], "/api/x?q=1").as_deref(), Some("/v2/x?q=1"));
    assert_eq!(
        ask(vec![prefix()], "/%61pi/x").as_deref(),
        Some("/v2/x"),
        "what was compared is what is replaced"
    );
    assert_eq!(ask(vec![prefix(), Action::SetQuery("a=b".into())], "/api?q=1").as_deref(), Some("/v2?a=b"));
    assert_eq!(
        ask(vec![Action::SetPath("/z".into()), Action::SetQuery(String::new())], "/a?b").as_deref(),
        Some("/z")
    );
}

//= test POL-RATE-03
#[test]
fn what_exceeds_a_rate_gets_the_rules_answer_and_only_where_the_rule_applies() {
    let rate = |per, status| Action::RateLimit(Rate { count: 2, period_ms: 1_000, burst: 0, per, status });
    let (policy, mut state) = policy(vec![
        rule(path(begins("/login")), vec![rate(Per::Client, 429)]),
        rule(path(begins("/all")), vec![rate(Per::Rule, 0)]),
    ]);
    let mut ask =
        |target: &str, c, now| policy.evaluate(&mut state, &Request::get(target).from(c), Now(now)).end;
    assert_eq!(
        [ask("/login", 1, 0), ask("/login", 1, 0), ask("/login", 1, 0)],
        [End::Proceed, End::Proceed, End::RateLimited(429)]
    );
    assert_eq!(ask("/login", 2, 0), End::Proceed, "another client");
    assert_eq!(ask("/", 1, 0), End::Proceed, "another path");
    assert_eq!(ask("/login", 1, 500_000), End::Proceed, "half a second later one more");
    assert_eq!(
        [ask("/all", 1, 0), ask("/all", 2, 0), ask("/all", 3, 0)],
        [End::Proceed, End::Proceed, End::RateLimited(0)]
    );
}

//= test POL-RATE-02
#[test]
fn when_a_set_of_buckets_is_full_the_client_seen_longest_ago_is_forgotten() {
    use forebay_core::hash::{fixed64, reduce};
    use forebay_core::limits::{RATE_BUCKETS, RATE_WAYS};
    let set = |c: u32| {
        let tag = fixed64(&forebay_core::id::ip_bytes(client(c).ip));
        reduce(tag, (RATE_BUCKETS / RATE_WAYS) as u32)
    };
    let one_set: Vec<u32> = (1..).filter(|c| set(*c) == set(1)).take(RATE_WAYS + 1).collect();
    let rate = Rate { count: 1, period_ms: 60_000, burst: 0, per: Per::Client, status: 429 };
    let (policy, mut state) = policy(vec![rule(Match::default(), vec![Action::RateLimit(rate)])]);
    let mut now = 0;
    let mut passes = |c: u32| {
        now += 1;
        policy.evaluate(&mut state, &Request::get("/").from(c), Now(now)).end == End::Proceed
    };
    let (late, first) = one_set.split_last().expect("five clients");
    assert!(first.iter().all(|c| passes(*c)), "each has used its one request");
    assert!(!passes(first[0]), "and the first was seen again");
    assert!(passes(*late), "a fifth client takes a bucket");
    assert!(first.iter().filter(|c| **c != first[1]).all(|c| !passes(*c)), "three still have theirs");
    assert!(passes(first[1]), "the one seen longest ago begins anew");
}

//= test POL-PERSIST-01
#[test]
fn a_rule_binds_or_hashes_by_a_part_of_the_request() {
    let (policy, mut state) = policy(vec![rule(
        Match::default(),
        vec![
            Action::Pool("api".into()),
            Action::Persist(Part::Query("user".into()), 60),
            Action::HashBy(Part::Cookie("tenant".into())),
        ],
    )]);
    let request = Request::get("/?x=1&user=u7").with("cookie", "a=b; tenant=t9");
    let outcome = policy.evaluate(&mut state, &request, Now(0));
    let persist = outcome.persist(&request).expect("there is a user");
    assert_eq!(
        (persist.key, persist.lifetime, persist.pool),
        (&b"u7"[..], Some(Seconds(60)), Some(PoolId(2)))
    );
    assert_eq!(outcome.hash_key(&request), Some(&b"t9"[..]));
    let without = Request::get("/?user=");
    let outcome = policy.evaluate(&mut state, &without, Now(0));
    assert!(outcome.persist(&without).is_none() && outcome.hash_key(&without).is_none());
}

//= test POL-CHECK-01
#[test]
fn all_problems_of_rules_are_said_at_once_with_path_and_remedy() {
    let bad = vec![
        rule(Match::default(), vec![]),
        rule(Match::default(), vec![Action::Pool("none".into()), Action::PoolGroup("none".into())]),
        rule(path(is("/a/../b")), vec![Action::Close]),
        rule(path(TextMatch::default()), vec![Action::SetPath("a b".into())]),
        rule(path(TextMatch { in_group: vec!["none".into()], ..is("/") }), vec![Action::Close]),
        rule(
            Match {
                header: vec![FieldMatch { name: "X-A".into(), value: None, absent: false }],
                client: Some(ClientMatch { in_group: vec!["none".into()], ..ClientMatch::default() }),
                ..Match::default()
            },
            vec![
                Action::Header(Edit::Set(On::Request, "content-length".into(), "1".into())),
                Action::Header(Edit::Set(On::Request, "x-a".into(), "1\r\nx-b: 2".into())),
                Action::RateLimit(Rate { count: 0, period_ms: 1, burst: 0, per: Per::Rule, status: 200 }),
                Action::Redirect(Redirect {
                    status: 200,
                    scheme: Some("ftp".into()),
                    host: None,
                    path: None,
                    keep_query: true,
                }),
            ],
        ),
    ];
    let problems = Policy::new(&config(bad), &NAMES).expect_err("bad rules");
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    for want in [
        "rules[0].then",
        "rules[1].then[0]",
        "rules[1].then[1]",
        "rules[2].when.path.equals",
        "rules[3].when.path",
        "rules[3].then[0]",
        "rules[4].when.path.in_group",
        "rules[5].when.header[0].name",
        "rules[5].when.client.in_group",
        "rules[5].then[0]",
        "rules[5].then[1]",
        "rules[5].then[2]",
        "rules[5].then[2].status",
        "rules[5].then[3].status",
        "rules[5].then[3].scheme",
    ] {
        assert_eq!(paths.iter().filter(|p| **p == want).count(), 1, "{want} in {paths:?}");
    }
    assert_eq!(paths.len(), 15, "{paths:?}");
    assert!(problems.iter().any(|p| p.fix == "write \"/b\""));
}

//= test POL-CHECK-02
#[cfg(feature = "serde")]
#[test]
fn rules_are_read_from_their_written_form_and_unknown_fields_are_refused() {
    let text = r#"{
        "rules": [{
            "name": "api",
            "when": { "path": { "begins_with": ["/api/"] }, "client": { "within": ["10.0.0.0/8"] } },
            "then": [{ "pool": "api" }, { "rate_limit": { "count": 5, "period_ms": 1000, "per": "client" } }, "close"]
        }]
    }"#;
    let read: PolicyConfig = serde_json::from_str(text).expect("a good document");
    assert!(read.rules[0].enabled && read.rules[0].then.len() == 3);
    assert!(matches!(&read.rules[0].then[1], Action::RateLimit(r) if r.status == 429));
    for bad in [text.replace("begins_with", "begin_with"), text.replace("10.0.0.0/8", "10.0.0.0/33")] {
        assert!(serde_json::from_str::<PolicyConfig>(&bad).is_err());
    }
}
