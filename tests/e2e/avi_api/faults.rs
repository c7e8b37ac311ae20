//! A Controller that is killed, and one whose store is damaged.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab};
use serde_json::json;

//= test API-STORE-01
#[test]
fn a_controller_that_is_killed_under_writes_has_every_one_that_was_acknowledged() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let admin = controller.admin();
        let written = Arc::new(AtomicBool::new(false));
        let is_written = Arc::clone(&written);
        let writer = std::thread::spawn(move || {
            let mut good = Vec::new();
            for number in 0..10_000 {
                let name = format!("p-{round}-{number}");
                match admin.send("POST", "/api/pool", &json!({"name": name})) {
                    (201, _) => {
                        good.push(name);
                        is_written.store(true, Ordering::Relaxed);
                    }
                    (0, _) => return good,
                    (status, said) => panic!("{status}: {said}"),
                }
            }
            good
        });
        eventually("the first write", secs(60), || written.load(Ordering::Relaxed));
        // Sleep: the moment of the kill is what differs from round to round.
        std::thread::sleep(Duration::from_millis(90 * round));
        controller.process.kill();
        let good = writer.join().expect("a writer");
        assert!(!good.is_empty(), "nothing was written before it was killed");
        acknowledged.extend(good);
        controller.again(&lab);
        let admin = controller.admin();
        let mut held = BTreeSet::new();
        for page in 1.. {
            let (status, list) = admin.get(&format!("/api/pool?page_size=200&fields=name&page={page}"));
            assert_eq!(status, 200, "{list}");
            let names = list["results"].as_array().expect("a list").iter();
            held.extend(names.map(|pool| pool["name"].as_str().expect("a name").to_owned()));
            if list["next"].is_null() {
                break;
            }
        }
        let lost: Vec<_> = acknowledged.difference(&held).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
    println!("{} acknowledged writes over four kills, none lost", acknowledged.len());
    assert!(controller.process.end(secs(10)).success());
}

//= test API-SECRET-01
#[test]
fn no_secret_stands_in_the_store_or_in_the_log_and_masks_keep_it() {
    const KEY: &str = "-----BEGIN PRIVATE KEY----- very private";
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let admin = controller.admin();
    let sent = json!({"name": "c", "key": KEY, "certificate": {"certificate": "pem"}});
    let (status, made) = admin.send("POST", "/api/sslkeyandcertificate", &sent);
    assert_eq!((status, &made["key"]), (201, &json!("<sensitive>")), "{made}");
    let path = format!("/api/sslkeyandcertificate/{}", made["uuid"].as_str().expect("a uuid"));
    assert_eq!(admin.send("PUT", &path, &made).0, 200);
    assert_eq!(admin.send("PATCH", &path, &json!({"replace": {"name": "d"}})).0, 200);
    assert_eq!(admin.get(&path).1["key"], "<sensitive>");
    controller.process.kill();
    for entry in std::fs::read_dir(&controller.data).expect("a folder") {
        let file = entry.expect("an entry").path();
        // The socket that it was asked at is no file.
        if !file.is_file() {
            continue;
        }
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(12).any(|window| window == b"very private"), "{}", file.display());
    }
    assert!(!controller.said(&lab).contains("very private"));
}

//= test CTL-KEY-01
#[test]
fn a_controller_whose_key_is_gone_or_is_another_one_refuses_and_changes_nothing() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    controller.process.kill();
    let (store, key) = (controller.data.join("store.redb"), controller.data.join("store.key"));
    let own = std::fs::read(&key).expect("a key");
    let refuses = |arguments: &[&str], word: &str| {
        let out = std::process::Command::new(forebay_e2e::bin::path("forebay-controller"))
            .arg("--data-dir")
            .arg(&controller.data)
            .args(arguments)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
        assert!(!out.status.success() && said.contains(word) && !said.contains("password:"), "{said}");
    };
    let (serve, reset) = (["--listen", "127.0.0.1:0"], ["password", "reset", "--local"]);
    std::fs::remove_file(&key).expect("it is there");
    for arguments in [&serve[..], &reset] {
        refuses(arguments, "store.key is gone");
        assert!(!key.exists() && store.exists());
    }
    std::fs::write(&key, [1; 32]).expect("room");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("ours");
    for arguments in [&serve[..], &reset] {
        refuses(arguments, "store.key is not the one that sealed it");
    }
    std::fs::write(&key, own).expect("room");
    controller.again(&lab);
    assert_eq!(controller.admin().get("/api/pool").0, 200, "the password is what it was");
}

//= test API-STORE-02
#[test]
fn a_damaged_store_is_not_used_and_says_how_to_go_on() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    assert_eq!(controller.admin().send("POST", "/api/pool", &json!({"name": "p"})).0, 201);
    controller.process.kill();
    let file = controller.data.join("store.redb");
    let mut bytes = std::fs::read(&file).expect("a file");
    for at in (4096..bytes.len()).step_by(512) {
        bytes[at] ^= 0x55;
    }
    std::fs::write(&file, bytes).expect("room");
    let out = std::process::Command::new(forebay_e2e::bin::path("forebay-controller"))
        .arg("--data-dir")
        .arg(&controller.data)
        .args(["--listen", &controller.address.to_string()])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("forebay-controller restore FILE"), "{said}");
}
