//! Programs written by others: curl, wrk, h2load, a WebSocket library and a browser as clients, nginx as a server.

mod browser;
mod nginx;

use std::process::{Command, Output};

use forebay_e2e::{Scene, bin, config};

fn scene() -> Scene {
    let sections = config::persistence("p", "http_cookie", "cookie_name = \"STICKY\"");
    Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &sections)
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{text}{}", String::from_utf8_lossy(&stderr));
    text
}

fn curl(scene: &Scene, arguments: &[&str]) -> String {
    let mut command = Command::new(bin::foreign("curl", "curl"));
    run(command
        .args(["--silent", "--show-error", "--fail", "--max-time", "20"])
        .args(arguments)
        .current_dir(scene.lab.folder()))
}

#[test]
fn curl_gets_posts_uploads_and_keeps_its_cookie() {
    let scene = scene();
    let base = format!("http://{}", scene.at);
    assert_eq!(curl(&scene, &[&format!("{base}/health")]), "ok\n");
    assert_eq!(curl(&scene, &["--http1.0", &format!("{base}/health")]), "ok\n");
    assert!(curl(&scene, &["--head", &format!("{base}/bytes?n=77")]).contains("Content-Length: 77"));
    let echo = curl(&scene, &["--data", "a=b", &format!("{base}/form")]);
    assert!(echo.contains("\"body_bytes\":3"), "{echo}");
    std::fs::write(scene.lab.folder().join("file"), vec![7; 3 << 20]).unwrap();
    let echo = curl(&scene, &["--upload-file", "file", &format!("{base}/put")]);
    assert!(echo.contains("\"body_bytes\":3145728"), "{echo}");
    let echo = curl(
        &scene,
        &["--upload-file", "file", "--header", "Transfer-Encoding: chunked", &format!("{base}/put")],
    );
    assert!(echo.contains("\"body_bytes\":3145728"), "{echo}");
    let big = curl(&scene, &[&format!("{base}/bytes?n=1000000&chunked=1")]);
    assert_eq!(big.len(), 1_000_000);

    let jar = [
        "--cookie",
        "jar",
        "--cookie-jar",
        "jar",
        "--write-out",
        "%header{x-demo-server}",
        "--output",
        "/dev/null",
    ];
    let url = format!("{base}/");
    let mut once = jar.to_vec();
    once.push(&url);
    let home = curl(&scene, &once);
    assert_eq!(home.len(), 1, "a server's name: {home}");
    for _ in 0..12 {
        assert_eq!(curl(&scene, &once), home);
    }
}

#[test]
fn wrk_finds_no_error() {
    let scene = scene();
    let mut command = Command::new(bin::foreign("wrk", "wrk"));
    let text = run(command.args(["-t2", "-c64", "-d3s", &format!("http://{}/health", scene.at)]));
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    let count: u64 =
        text.lines().find_map(|l| l.trim().split_once(" requests in")).unwrap().0.parse().unwrap();
    assert!(count > 500, "{text}");
}

#[test]
fn h2load_in_http_1_mode_finds_no_error() {
    let scene = scene();
    let mut command = Command::new(bin::foreign("h2load", "nghttp2-client"));
    let url = format!("http://{}/bytes?n=2000", scene.at);
    let text = run(command.args(["--h1", "-n5000", "-c32", "-t2", &url]));
    assert!(text.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
}

#[test]
fn a_websocket_client_of_others_talks_through_it() {
    let scene = scene();
    let script = r#"
import asyncio, sys, websockets
async def main(url):
    async with websockets.connect(url, max_size=None) as ws:
        for n in range(200):
            await ws.send(f"message {n}")
            assert await ws.recv() == f"message {n}"
        big = bytes(range(256)) * 4000
        await ws.send(big)
        assert await ws.recv() == big
        await ws.send(["in ", "three ", "fragments"])
        parts = [await ws.recv()]
        assert "".join(parts) == "in three fragments", parts
        pong = await ws.ping()
        await asyncio.wait_for(pong, 5)
    print("talked")
asyncio.run(main(sys.argv[1]))
"#;
    // The distribution's own interpreter: its library comes as a package.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|p| {
        Command::new(p).args(["-c", "import websockets"]).output().is_ok_and(|o| o.status.success())
    });
    let python = python.unwrap_or_else(|| {
        panic!("no websockets for Python: install it with `apt-get install python3-websockets`")
    });
    let text = run(Command::new(python).args(["-c", script, &format!("ws://{}/ws", scene.at)]));
    assert_eq!(text, "talked\n");
}
