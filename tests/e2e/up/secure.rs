//! `forebay up` serves HTTPS and HTTP/2 with a certificate that it made itself.

use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, bin, eventually, pki};

use crate::running::start;

fn curl(arguments: &[&str]) -> String {
    let output = Command::new(bin::foreign("curl", "curl"))
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(arguments)
        .output()
        .expect("curl starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//= test TLS-SELF-01
#[test]
fn up_serves_https_and_http2_with_a_certificate_that_it_made_and_keeps() {
    let lab = Lab::new();
    let (mut process, ready) = start(&lab, "up", 28_580);
    let (url, chain) = (ready["https"].as_str().unwrap(), ready["certificate"].as_str().unwrap());
    for (forced, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let said = curl(&["--cacert", chain, forced, "--write-out", "%{http_version} %{http_code}", url]);
        assert!(said.contains("demo-") && said.ends_with(&format!("{version} 200")), "{said}");
    }
    // Its name is in it as well.
    let port = url.rsplit(':').next().unwrap();
    let named = format!("https://localhost:{port}/health");
    curl(&["--cacert", chain, "--resolve", &format!("localhost:{port}:127.0.0.1"), &named]);
    let key = std::fs::metadata(chain.replace(".pem", ".key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    // A browser shows the page, which names a demo server, over HTTP/2.
    let mut browser = Command::new(bin::foreign("chromium", "chromium"));
    // Its sandbox wants rights that a test has not; nothing else than this page is loaded.
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    browser.args(["--no-first-run", "--no-proxy-server", "--disable-background-networking"]);
    browser.args(["--disable-component-update", "--disable-sync", "--ignore-certificate-errors"]);
    browser.arg(format!("--user-data-dir={}", lab.folder().join("browser").display()));
    let shown = browser.args(["--dump-dom", &format!("{url}/")]).output().expect("chromium starts");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("demo-"), "{shown}");
    eventually("the log has its request, over HTTP/2", secs(10), || {
        let of = |engine: &str| lab.folder().join("up").join(engine).join("access.log");
        let log =
            ["se-1", "se-2"].map(|engine| std::fs::read_to_string(of(engine)).unwrap_or_default()).concat();
        log.lines().any(|line| line.contains("Chrome") && line.contains("\"http_version\":\"2.0\""))
    });
    let before = std::fs::read(chain).unwrap();
    assert!(process.end(secs(15)).success());
    let (mut process, ready) = start(&lab, "up", 28_580);
    assert_eq!(std::fs::read(ready["certificate"].as_str().unwrap()).unwrap(), before, "it is told once");
    // One that is over is no use, however young its file is.
    assert!(process.end(secs(15)).success());
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "over", "ca", pki::EC, "DNS:localhost,IP:127.0.0.1", -1);
    for kind in ["pem", "key"] {
        std::fs::copy(lab.folder().join(format!("over.{kind}")), chain.replace("pem", kind)).unwrap();
    }
    let over = ["pem", "key"].map(|kind| std::fs::read(chain.replace("pem", kind)).unwrap());
    let (_process, ready) = start(&lab, "up", 28_580);
    // Whoever has put it there may want it still.
    let kept = ["pem", "key"].map(|kind| std::fs::read(chain.replace("pem", kind) + ".old-1").unwrap());
    assert_eq!(kept, over);
    assert!(ready["notes"].to_string().contains("https.key.old-1"), "{ready}");
    let chain = ready["certificate"].as_str().unwrap();
    curl(&["--cacert", chain, ready["https"].as_str().unwrap()]);
    let left = std::process::Command::new(bin::path("forebay-se"))
        .args(["pki", "show", "--output", "json", chain])
        .output()
        .unwrap();
    let left: serde_json::Value = serde_json::from_slice(&left.stdout).unwrap();
    assert!(left[0]["seconds_left"].as_i64().unwrap() > 390 * 86_400, "{left}");
}
