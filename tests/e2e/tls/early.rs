//! Requests that come with their client's first message, from OpenSSL, and from who has heard them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use forebay_e2e::pki;
use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Options, Origin, bin, config, eventually, eventually_some, origin};

use crate::app;
use crate::resumption::key;

const PROFILE: &str = "[[tls_profile]]\nname = \"early\"\nearly_data = true\n";
const GET: &str = "GET /page HTTP/1.1\r\nHost: x\r\nEarly-Data: 0\r\nConnection: close\r\n\r\n";
const POST: &str = "POST /buy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

struct Scene {
    engine: Engine,
    origin: Origin,
    at: SocketAddr,
    text: String,
    lab: Lab,
}

impl Scene {
    fn new(keys: &str) -> Self {
        let lab = Lab::new();
        app(&lab);
        // One that does not want to be asked early for what is dear.
        let origin = Origin::answering(lab.address(), |head| {
            let is_early = head.contains("\r\nEarly-Data: 1\r\n");
            Some(match head.starts_with("GET /dear ") && is_early {
                true => b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n".to_vec(),
                false => origin::ok("hi"),
            })
        });
        let at = lab.address();
        let text = config::service_with("web", at, "certificates = [\"app\"]\ntls_profile = \"early\"")
            + &config::pool("web", "", &[origin.address])
            + &pki::section("app")
            + &config::profile("http2 = true")
            + PROFILE
            + keys;
        let engine = lab.engine_with(&text, Options { workers: 2, ..Options::default() });
        Scene { engine, origin, at, text, lab }
    }

    /// `openssl s_client`, with what is typed.
    fn client(&self, at: SocketAddr, words: &str, typed: &[u8]) -> Child {
        let mut child = Command::new(bin::foreign("openssl", "openssl"))
            .args(["s_client", "-connect", &at.to_string(), "-CAfile", "ca.pem", "-servername", "app.test"])
            .args(["-tls1_3", "-ign_eof"])
            .args(words.split_whitespace())
            .current_dir(self.lab.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        child.stdin.take().expect("piped").write_all(typed).expect("openssl reads");
        child
    }

    /// A whole connection by which a session is got: what it said.
    fn session(&self, words: &str) -> String {
        said(self.client(self.at, &format!("-sess_out session {words}"), GET.as_bytes()))
    }

    /// A client that goes on with the session and sends this early; nothing of it has come to the engine yet.
    fn heard(&self, early: &[u8], words: &str) -> Heard {
        std::fs::write(self.lab.folder().join("early"), early).expect("the folder");
        let between = TcpListener::bind(self.lab.address()).expect("a free address");
        let at = between.local_addr().expect("it is bound");
        let child =
            self.client(at, &format!("-sess_in session -sess_out session -early_data early {words}"), b"");
        let (client, _) = between.accept().expect("openssl comes");
        client.set_read_timeout(Some(secs(20))).expect("a timeout");
        let first = first_flight(&client);
        Heard { child, client, first }
    }

    fn early(&self, outcome: &str) -> f64 {
        self.engine.metric("forebay_tls_early_data_total", &[("outcome", outcome)])
    }

    #[track_caller]
    fn wait_for(&self, outcome: &str, count: f64) {
        eventually(outcome, secs(20), || self.early(outcome) >= count);
        assert_eq!(self.early(outcome), count, "{outcome}");
    }

    /// Heads of the requests that came to the server, when there are so many.
    #[track_caller]
    fn heads(&self, count: usize) -> Vec<String> {
        let heads = eventually_some("requests at the server", secs(20), || {
            Some(self.origin.heads()).filter(|heads| heads.len() >= count)
        });
        assert_eq!(heads.len(), count, "{heads:?}");
        heads
    }
}

/// A client whose first flight was heard, and is in our hands.
struct Heard {
    child: Child,
    client: TcpStream,
    first: Vec<u8>,
}

impl Heard {
    /// Sends what was heard; the rest of the client's is held back.
    fn send(&self, to: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(secs(20))).expect("a timeout");
        stream.write_all(&self.first).expect("it reads");
        stream
    }

    /// Lets everything through from now on; what the client said.
    fn go_on(self, engine: &TcpStream) -> String {
        let Heard { child, client, .. } = self;
        thread::scope(|scope| {
            let pump = |mut from: &TcpStream, mut to: &TcpStream| {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            };
            let client = &client;
            scope.spawn(move || pump(client, engine));
            pump(engine, client);
            let _ = client.shutdown(Shutdown::Both);
            let _ = engine.shutdown(Shutdown::Both);
        });
        said(child)
    }

    /// The client is not needed any more.
    fn drop_client(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

/// All records up to the first one of early data.
fn first_flight(mut from: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let start = all.len();
        all.resize(start + 5, 0);
        from.read_exact(&mut all[start..]).expect("a record");
        let (kind, len) = (all[start], usize::from(u16::from_be_bytes([all[start + 3], all[start + 4]])));
        let body = all.len();
        all.resize(body + len, 0);
        from.read_exact(&mut all[body..]).expect("all of it");
        if kind == 23 {
            return all;
        }
    }
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Reads until the other side has ended.
fn drain(mut from: TcpStream) -> usize {
    let mut all = Vec::new();
    // A reset is an end as well.
    let _ = from.read_to_end(&mut all);
    all.len()
}

//= test TLS-EARLY-01
//= test TLS-EARLY-02
//= test TLS-EARLY-04
//= test TLS-EARLY-05
#[test]
fn a_request_that_changes_nothing_goes_on_at_once_and_says_that_it_came_early() {
    let scene = Scene::new("");
    let first = scene.session("");
    assert!(first.contains("Max Early Data: 16384"), "{first}");
    let client = scene.heard(GET.as_bytes(), "");
    let stream = client.send(scene.at);
    // Its handshake is not over: the end of it is in our hands.
    let head = scene.heads(2).remove(1);
    assert!(head.starts_with("GET /page ") && head.contains("\r\nEarly-Data: 1\r\n"), "{head}");
    assert_eq!(head.to_lowercase().matches("early-data").count(), 1, "{head}");
    assert!(scene.early("taken") == 1.0 && scene.early("forwarded") == 1.0);
    let answer = client.go_on(&stream);
    assert!(answer.contains("Early data was accepted") && answer.contains("HTTP/1.1 200"), "{answer}");
    // That connection brought the next session, and a server that wants to be asked later is heard.
    let client = scene.heard(GET.replace("/page", "/dear").as_bytes(), "");
    let stream = client.send(scene.at);
    assert!(scene.heads(3)[2].contains("\r\nEarly-Data: 1\r\n"));
    let answer = client.go_on(&stream);
    assert!(answer.contains("Early data was accepted") && answer.contains("HTTP/1.1 425"), "{answer}");
    // Once the handshake is over nobody can have heard it: then there is nothing to say.
    let late = said(scene.client(scene.at, "-sess_in session", GET.as_bytes()));
    assert!(late.contains("Reused, TLSv1.3") && late.contains("HTTP/1.1 200"), "{late}");
    assert!(scene.heads(4)[3].contains("\r\nEarly-Data: 0\r\n"), "what a client says of itself is its own");
    assert_eq!(scene.early("forwarded"), 2.0);
}

//= test TLS-EARLY-02
#[test]
fn a_request_that_may_change_something_waits_for_the_end_of_the_handshake() {
    let scene = Scene::new("");
    scene.session("");
    let client = scene.heard(POST.as_bytes(), "");
    let stream = client.send(scene.at);
    scene.wait_for("waited", 1.0);
    assert_eq!(scene.heads(1).len(), 1, "that of the first connection");
    let answer = client.go_on(&stream);
    assert!(answer.contains("Early data was accepted") && answer.contains("HTTP/1.1 200"), "{answer}");
    let head = scene.heads(2).remove(1);
    assert!(head.starts_with("POST /buy ") && !head.contains("Early-Data"), "{head}");
    // Whoever only heard it cannot end the handshake, and the request goes nowhere.
    let client = scene.heard(POST.as_bytes(), "");
    let stream = client.send(scene.at);
    scene.wait_for("waited", 2.0);
    stream.shutdown(Shutdown::Write).expect("it stands");
    scene.wait_for("unfinished", 1.0);
    drain(stream);
    client.drop_client();
    assert_eq!(scene.heads(2).len(), 2);
    let lines = scene
        .engine
        .log_lines(1, |line| line["request_state"].to_string().contains("TLS handshake did not come"));
    assert_eq!(lines.len(), 1);
}

//= test TLS-EARLY-03
#[test]
fn what_was_heard_is_not_served_twice_whoever_sends_it_and_wherever() {
    let scene = Scene::new("");
    scene.session("");
    let client = scene.heard(GET.as_bytes(), "");
    let stream = client.send(scene.at);
    scene.heads(2);
    let answer = client.first.clone();
    let gone = |count: f64| {
        let labels = [("why", "gone")];
        eventually("handshakes that ended", secs(20), || {
            scene.engine.metric("forebay_tls_handshake_failures_total", &labels) >= count
        });
    };
    let send = |bytes: &[u8]| {
        let mut again = TcpStream::connect(scene.at).expect("it listens");
        again.set_read_timeout(Some(secs(20))).expect("a timeout");
        again.write_all(bytes).expect("it reads");
        again
    };
    // Behind the client's own.
    let again = send(&answer);
    again.shutdown(Shutdown::Write).expect("it stands");
    assert!(drain(again) > 0, "a whole handshake is offered");
    gone(1.0);
    assert_eq!(scene.heads(2).len(), 2, "once");
    assert!(client.go_on(&stream).contains("HTTP/1.1 200"));

    // Before it, many at once, over both workers: one of them is heard.
    let client = scene.heard(GET.as_bytes(), "");
    let many: Vec<TcpStream> = (0..16).map(|_| send(&client.first)).collect();
    for stream in many {
        stream.shutdown(Shutdown::Write).expect("it stands");
        drain(stream);
    }
    gone(16.0);
    assert_eq!(scene.heads(3).len(), 3, "one of sixteen");
    assert!(scene.early("taken") == 2.0 && scene.early("forwarded") == 2.0);
    client.drop_client();
}

//= test TLS-EARLY-03
#[test]
fn another_process_takes_nothing_early_and_serves_the_client_all_the_same() {
    let keys = key("one", "A");
    let mut scene = Scene::new(&keys);
    scene.session("");
    // A reload changes nothing.
    scene
        .engine
        .load(&scene.text.replace("early_data = true", "early_data = true\nhandshake_timeout_ms = 9000"));
    let client = scene.heard(GET.as_bytes(), "");
    let stream = client.send(scene.at);
    assert!(client.go_on(&stream).contains("Early data was accepted"));
    // A process that takes over has the same keys, and none of the sessions.
    let _old = scene.engine.upgrade(&Options { workers: 2, ..Options::default() });
    let answer = said(scene.client(scene.at, "-sess_in session -early_data early", GET.as_bytes()));
    assert!(answer.contains("Early data was rejected") && answer.contains("HTTP/1.1 200"), "{answer}");
    assert_eq!(scene.early("taken"), 0.0);
    assert_eq!(scene.heads(3).len(), 3, "each once");
}

//= test TLS-EARLY-06
#[test]
fn a_handshake_that_never_ends_does_not_keep_its_connection() {
    let scene = Scene::new("");
    let short = scene.text.replace("early_data = true", "early_data = true\nhandshake_timeout_ms = 2000");
    scene.engine.load(&short);
    let kept = GET.replace("Connection: close\r\n", "");
    for (nth, (words, early)) in
        [("", kept.into_bytes()), ("-alpn h2", hello_and(&[request(1, GET_BY_PLACE)]))]
            .into_iter()
            .enumerate()
    {
        scene.session(words);
        let asked = scene.origin.heads().len();
        let client = scene.heard(&early, words);
        let stream = client.send(scene.at);
        scene.heads(asked + 1);
        let answered = Instant::now();
        let idle = || scene.engine.metric("forebay_timeouts_total", &[("kind", "idle")]);
        // By default it is idle for 30 s.
        eventually("it is closed", secs(15), || idle() > nth as f64);
        assert!(answered.elapsed() > secs(1), "{words}: as long as a handshake may take, not sooner");
        drain(stream);
        client.drop_client();
    }
}

/// Methods by their places in the table that everybody has.
const GET_BY_PLACE: u8 = 0x82;
const POST_BY_PLACE: u8 = 0x83;

/// A request over HTTP/2: the method, `https`, `/`, and a host `x`.
fn request(stream: u8, method: u8) -> Vec<u8> {
    frame(1, 5, stream, &[method, 0x87, 0x84, 0x41, 1, b'x'])
}

/// How a connection begins that speaks HTTP/2, and what follows.
fn hello_and(requests: &[Vec<u8>]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), requests.concat()].concat()
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("a small one");
    [&[0, 0, len, kind, flags, 0, 0, 0, stream], payload].concat()
}

//= test TLS-EARLY-01
//= test TLS-EARLY-02
#[test]
fn each_stream_of_http2_goes_on_early_or_waits_by_its_own_request() {
    let scene = Scene::new("");
    scene.session("-alpn h2");
    let early = hello_and(&[request(1, POST_BY_PLACE), request(3, GET_BY_PLACE)]);
    let client = scene.heard(&early, "-alpn h2");
    let stream = client.send(scene.at);
    scene.wait_for("waited", 1.0);
    let head = scene.heads(1).remove(0);
    assert!(head.starts_with("GET / ") && head.to_lowercase().contains("\r\nearly-data: 1\r\n"), "{head}");
    let Heard { mut child, client, .. } = client;
    thread::scope(|scope| {
        let pump = |mut from: &TcpStream, mut to: &TcpStream| {
            let _ = std::io::copy(&mut from, &mut to);
        };
        let (client, stream) = (&client, &stream);
        scope.spawn(move || pump(client, stream));
        scope.spawn(move || pump(stream, client));
        let head = scene.heads(2).remove(1);
        assert!(head.starts_with("POST / ") && !head.to_lowercase().contains("early-data"), "{head}");
        let lines =
            scene.engine.log_lines(2, |line| line["http_version"] == "2.0" && line["response_code"] == 200);
        assert_eq!(lines.len(), 2);
        let _ = (client.shutdown(Shutdown::Both), stream.shutdown(Shutdown::Both));
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(scene.early("forwarded") == 1.0 && scene.early("unfinished") == 0.0);

    // A client that leaves in the middle takes what waits with it.
    scene.session("-alpn h2");
    let client = scene.heard(&early, "-alpn h2");
    let stream = client.send(scene.at);
    scene.wait_for("waited", 2.0);
    // The other one's request does not wait.
    scene.heads(3);
    drop(stream);
    scene.wait_for("unfinished", 1.0);
    scene.heads(3);
    client.drop_client();
}
