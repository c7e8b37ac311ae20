//! A browser with a page that chats over a WebSocket, through the engine.

use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Origin, Process, bin, config, eventually_some};

/// Sends the next line when the last one came back, and tells its server what it has seen.
const PAGE: &str = r#"<!doctype html>
<title>chat</title>
<h1>Lines that came back</h1>
<p id="said">none</p>
<script>
let said = 0, opened = 0, lost = 0;
const tell = () => fetch(`/told?opened=${opened}&lost=${lost}&said=${said}`);
const socket = new WebSocket(`ws://${location.host}/ws`);
const next = () => socket.send(`line ${said + 1}`);
socket.onopen = () => { opened += 1; next(); };
socket.onclose = () => { lost += 1; tell(); };
socket.onmessage = (event) => {
  said += 1;
  if (event.data !== `line ${said}`) { lost += 1; }
  document.getElementById("said").textContent = event.data;
  tell();
  setTimeout(next, 20);
};
</script>
"#;

/// How many lines came back, as the page told it last; every time its one socket was open.
fn said(pages: &Origin) -> u32 {
    let told = |head: &String| {
        let rest = head.strip_prefix("GET /told?")?;
        let query = rest.split(' ').next()?;
        let count = query.strip_prefix("opened=1&lost=0&said=");
        Some(count.unwrap_or_else(|| panic!("the page says {query}")).parse().expect("a number"))
    };
    pages.heads().iter().filter_map(told).max().unwrap_or(0)
}

#[test]
fn a_browser_keeps_its_websocket_while_the_configuration_changes() {
    let lab = Lab::new();
    let chats = lab.demos(["a", "b"]);
    let pages = Origin::answering(lab.address(), |head| {
        let (kind, body) =
            if head.starts_with("GET / ") { ("text/html", PAGE) } else { ("text/plain", "thanks") };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        Some((head + body).into_bytes())
    });
    let at = lab.address();
    let document = |algorithm: &str, servers: &[_]| {
        let rule = "[[virtual_service.rules]]\nname = \"chat\"\nwhen = { path = { equals = [\"/ws\"] } }\n\
                    then = [{ pool = \"chat\" }]\n";
        format!("[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\"]\npool = \"pages\"\n{rule}\n")
            + &config::pool("pages", "", &[pages.address])
            + &config::pool("chat", &format!("algorithm = \"{algorithm}\""), servers)
    };
    let engine = lab.engine(&document("least_connections", &[chats[0].address]));
    let mut command = Command::new(bin::foreign("chromium", "chromium"));
    // Its sandbox wants rights that a test has not; nothing else than this page is loaded.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--no-proxy-server", "--disable-background-networking"]);
    command.args(["--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", lab.folder().join("browser").display()));
    command.arg(format!("http://{at}/"));
    let mut browser = Process::start("chromium", command, lab.folder());
    let more_than = |what: &str, count: u32| {
        eventually_some(what, secs(60), || Some(said(&pages)).filter(|said| *said > count))
    };
    let before = more_than("the page chats", 5);
    engine.load(&document("round_robin", &[chats[0].address, chats[1].address]));
    let between = more_than("it chats on after a reload", before + 20);
    engine.write("a broken file");
    assert_eq!(engine.reload()["ok"], false);
    engine.load(&document("consistent_hash", &[chats[0].address]));
    more_than("and after two more", between + 20);
    assert!(browser.ended().is_none(), "it is still there: {}", browser.printed());
    browser.end(secs(20));
    let of_browser = engine.log_lines(20, |line| {
        line["user_agent"].as_str().is_some_and(|agent| agent.contains("Chrome"))
            && line["response_code"] == 200
    });
    assert!(of_browser.iter().any(|line| line["uri_path"] == "/"));
    let chat = engine.log_lines(1, |line| line["uri_path"] == "/ws").remove(0);
    assert_eq!((&chat["response_code"], &chat["pool_name"]), (&101.into(), &"chat".into()), "{chat}");
}
