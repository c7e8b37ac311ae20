//! Lists that may only be so long: the longest is taken, and one more is a problem that says both numbers.

use forebay_snapshot::{check, limits};

/// `n` items, made by number and separated.
fn items(n: usize, item: impl Fn(usize) -> String, separator: &str) -> String {
    (0..n).map(item).collect::<Vec<_>>().join(separator)
}

/// 32 bytes in base64, another for each `n` up to 25.
fn key(n: usize) -> String {
    format!("{}AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", char::from(b'A' + n as u8))
}

/// A document with so many items of one list.
type Document = fn(usize) -> String;

/// What each list is called, how long it may be, and a document with so many items.
const LISTS: &[(&str, usize, Document)] = &[
    ("pool[0].server", limits::POOL_SERVERS_MAX, |n| {
        let server = |i| format!("{{ address = \"10.1.{}.{}\" }}", i / 250, i % 250 + 1);
        document("", &items(n, server, ", "), "")
    }),
    ("pool[0].health_monitors", limits::POOL_MONITORS_MAX, |n| {
        let names = items(n, |i| format!("\"m{i}\""), ", ");
        let monitors = items(n, |i| format!("[[health_monitor]]\nname = \"m{i}\"\ntype = \"tcp\"\n"), "");
        document("", ONE, &format!("health_monitors = [{names}]\n{monitors}"))
    }),
    ("virtual_service[0].listen", limits::LISTEN_MAX, |n| {
        let more = items(n - 1, |i| format!("\"127.0.0.1:{}\"", 9_000 + i), ", ");
        document(&more, ONE, "")
    }),
    ("pool_group[0].member", limits::GROUP_MEMBERS_MAX, |n| {
        let members = items(n, |i| format!("{{ pool = \"p{i}\" }}"), ", ");
        let pools = items(n, |i| format!("[[pool]]\nname = \"p{i}\"\nserver = [{ONE}]\n"), "");
        let service =
            "[[virtual_service]]\nname = \"of-group\"\nlisten = [\"127.0.0.1:8081\"]\npool_group = \"g\"\n";
        let group = format!("[[pool_group]]\nname = \"g\"\nmember = [{members}]\n");
        document("", ONE, &format!("{service}{group}{pools}"))
    }),
    ("persistence[0].cookie_keys", limits::COOKIE_KEYS_MAX, |n| {
        let keys = items(n, |i| format!("[[cookie_key]]\nname = \"k{i}\"\nkey = \"{}\"\n", key(i)), "");
        let names = items(n, |i| format!("\"k{i}\""), ", ");
        let profile = format!(
            "persistence = \"c\"\n[[persistence]]\nname = \"c\"\ntype = \"http_cookie\"\ncookie_keys = [{names}]\n"
        );
        document("", ONE, &format!("{profile}{keys}"))
    }),
    ("health_monitor[0].maintenance_codes", limits::MAINTENANCE_CODES_MAX, |n| {
        let codes = items(n, |i| (500 + i).to_string(), ", ");
        let monitor =
            format!("[[health_monitor]]\nname = \"h\"\ntype = \"http\"\nmaintenance_codes = [{codes}]\n");
        document("", ONE, &format!("health_monitors = [\"h\"]\n{monitor}"))
    }),
];

const ONE: &str = "{ address = \"192.0.2.1\" }";

/// A service that also listens on `more`, before a pool of `servers`, and then `rest`.
fn document(more: &str, servers: &str, rest: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\", {more}]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nserver = [{servers}]\n{rest}"
    )
}

//= test CFG-CHECK-01
#[test]
fn the_longest_list_is_taken_and_one_more_is_said() {
    for (path, most, of) in LISTS {
        if let Err(problems) = check(&of(*most)) {
            panic!("{path}, {most} items: {}", problems.iter().map(|p| format!("{p}\n")).collect::<String>());
        }
        let problems = check(&of(most + 1)).expect_err("one too many");
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{path}: {said:?}");
        assert!(said[0].contains(&format!("{path}: {} ", most + 1)), "{path}: {said:?}");
        assert!(said[0].contains(&format!("at most {most} are taken")), "{path}: {said:?}");
    }
}
