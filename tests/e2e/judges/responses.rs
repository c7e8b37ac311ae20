//! Servers that attack: what they send beside or instead of an answer is cut, over HTTP/1.1 and HTTP/2 alike, and nobody
//! else ever gets it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::{Client, Lab, Options, Origin, Wire, bin, config, origin};

/// What a client may see of an attack.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    /// The answer `hi`, and nothing of what follows.
    Whole,
    /// 502.
    Refused,
    /// 502, or a part that cannot be taken for the whole.
    Cut,
}
use Want::{Cut, Refused, Whole};

const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An attack: its name, what may be seen of it, what the server sends.
type Attack = (&'static str, Want, String);

fn attacks() -> Vec<Attack> {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhi");
    let fields: String = (0..2_000).map(|n| format!("A{n}: b\r\n")).collect();
    vec![
        ("two answers at once", Whole, format!("{HI}{POISON}")),
        ("a thousand answers at once", Whole, HI.to_owned() + &POISON.repeat(1_000)),
        ("more than its length", Whole, format!("{HI}, and a hundred bytes of something else")),
        ("noise behind the end", Whole, format!("{HI}\0\u{1}\u{2}\r\n\r\n")),
        ("an answer behind the last chunk", Whole, format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n{POISON}")),
        ("a length and a coding", Refused, head("Content-Length: 2\r\nTransfer-Encoding: chunked")),
        ("a coding and a length", Refused, head("Transfer-Encoding: chunked\r\nContent-Length: 2")),
        ("two lengths", Refused, head("Content-Length: 2\r\nContent-Length: 30")),
        ("a list of lengths", Refused, head("Content-Length: 2, 30")),
        ("a negative length", Refused, head("Content-Length: -2")),
        ("a length with a sign", Refused, head("Content-Length: +2")),
        ("a length beyond all numbers", Refused, head("Content-Length: 99999999999999999999999")),
        ("a coding twice", Refused, head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("a coding that is not the last", Refused, head("Transfer-Encoding: chunked, gzip")),
        ("a folded field", Refused, head("A: b\r\n c: d\r\nContent-Length: 2")),
        ("a space before the colon", Refused, head("Content-Length : 2")),
        ("a field without a name", Refused, head(": b\r\nContent-Length: 2")),
        ("a name with a space", Refused, head("A b: c\r\nContent-Length: 2")),
        ("a name with a letter that is none", Refused, head("\u{c4}: c\r\nContent-Length: 2")),
        ("a line without a colon", Refused, head("just words\r\nContent-Length: 2")),
        ("a zero in a value", Refused, head("A: b\0c\r\nContent-Length: 2")),
        ("a lone CR in a value", Refused, head("A: b\rSet-Cookie: c\r\nContent-Length: 2")),
        (
            "101 that nobody asked for",
            Refused,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".into(),
        ),
        ("a status of four digits", Refused, "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi".into()),
        ("a status of 0", Refused, "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nhi".into()),
        ("another protocol", Refused, "SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
        ("HTTP/2 in words", Refused, "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".into()),
        ("2,000 fields", Refused, format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nhi")),
        (
            "a field of 200,000 bytes",
            Refused,
            head(&format!("A: {}\r\nContent-Length: 2", "b".repeat(200_000))),
        ),
        ("1xx without an end", Cut, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20_000)),
        ("less than its length", Cut, "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\npart".into()),
        ("chunks without an end", Cut, format!("{CHUNKED}4\r\npart\r\n")),
        ("a chunk whose size is no number", Cut, format!("{CHUNKED}4\r\npart\r\nzz\r\nhi\r\n0\r\n\r\n")),
        ("a chunk of a negative size", Cut, format!("{CHUNKED}4\r\npart\r\n-2\r\nhi\r\n0\r\n\r\n")),
        ("a chunk beyond all numbers", Cut, format!("{CHUNKED}4\r\npart\r\nfffffffffffffffff\r\nhi")),
        ("a chunk longer than its size", Cut, format!("{CHUNKED}2\r\npart\r\n0\r\n\r\n")),
        (
            "trailers of 200,000 bytes",
            Cut,
            format!("{CHUNKED}4\r\npart\r\n0\r\n{}", "A: b\r\n".repeat(33_000)),
        ),
    ]
}

/// A server that attacks at `/attack/N` and says to others whose answer they get; it ends each connection that it
/// attacked over, and counts requests that still came over one.
fn server(at: SocketAddr, again: &Arc<AtomicUsize>) -> Origin {
    let again = again.clone();
    let attacks = attacks();
    Origin::start(at, move |mut wire, _| {
        loop {
            let head = wire.head()?;
            let path = head.split(' ').nth(1).unwrap_or_default();
            let Some(number) = path.strip_prefix("/attack/") else {
                wire.send(origin::ok(path))?;
                continue;
            };
            wire.send(&attacks[number.parse::<usize>().expect("a number")].2)?;
            wire.finish();
            return came_again(wire, &again);
        }
    })
}

fn came_again(mut wire: Wire, again: &AtomicUsize) -> std::io::Result<()> {
    let head = wire.head()?;
    again.fetch_add(usize::from(!head.is_empty()), Ordering::SeqCst);
    Ok(())
}

/// Status and content, over one of the versions; `None`: it was cut.
fn get(at: SocketAddr, path: &str, is_second: bool, lab: &Lab) -> Option<(u16, Vec<u8>)> {
    if !is_second {
        let answer = Client::new(at).get_once(path).ok()?;
        return Some((answer.status, answer.body));
    }
    let mut command = Command::new(bin::foreign("curl", "curl"));
    command.args(["--silent", "--http2-prior-knowledge", "--max-time", "20", "--output", "content"]);
    command.args(["--write-out", "%{http_version} %{http_code}"]).arg(format!("http://{at}{path}"));
    let out = command.current_dir(lab.folder()).output().expect("curl starts");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.starts_with("2 ") || !out.status.success(), "{path}: {said}");
    let content = std::fs::read(lab.folder().join("content")).unwrap_or_default();
    out.status.success().then(|| (said[2..].parse().expect("a status"), content))
}

#[test]
fn what_a_server_sends_beside_its_answer_is_cut_and_nobody_else_gets_it() {
    let lab = Lab::new();
    let [at, behind] = lab.addresses();
    let again = Arc::new(AtomicUsize::new(0));
    let _server = server(behind, &again);
    // The server fails on purpose; that must not take it out of service.
    let text = config::service("web", at)
        + &config::pool("web", "passive_health_monitor = false", &[behind])
        + &config::profile("http2 = true");
    let _engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let mut bad = Vec::new();
    let all = attacks();
    for (number, (what, want, _)) in all.iter().enumerate() {
        for is_second in [false, true] {
            let saw = get(at, &format!("/attack/{number}"), is_second, &lab);
            let fits = match (want, &saw) {
                (Whole, Some((status, body))) => *status == 200 && body == b"hi",
                (Refused | Cut, Some((status, _))) => *status == 502,
                (Cut, None) => true,
                (Whole | Refused, None) => false,
            };
            if !fits {
                bad.push(format!("{what} (HTTP/2: {is_second}): {saw:?}, wanted {want:?}"));
            }
            for next in 0..2 {
                let own = format!("/own/{number}/{is_second}/{next}");
                let saw = get(at, &own, is_second, &lab);
                if saw != Some((200, own.clone().into_bytes())) {
                    bad.push(format!("after {what} the next one gets {saw:?} for {own}"));
                }
            }
        }
    }
    println!("{} attacks of a server, each over HTTP/1.1 and HTTP/2", all.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(again.load(Ordering::SeqCst), 0, "a connection that was attacked over got another request");
}
