//! Certificates by which engines know each other, judged by OpenSSL.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use forebay_e2e::{Lab, bin, pki};

/// Runs `forebay-se pki` in a folder: its exit code, and what it said.
fn run(folder: &Path, words: &str) -> (i32, String) {
    let mut command = Command::new(bin::path("forebay-se"));
    let done = command.arg("pki").args(words.split(' ')).current_dir(folder).output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.code().expect("it ended by itself"), said)
}

#[track_caller]
fn made(folder: &Path, words: &str) -> String {
    let (code, said) = run(folder, words);
    assert_eq!(code, 0, "{words}: {said}");
    said
}

#[track_caller]
fn refused(folder: &Path, words: &str, code: i32, why: &str) {
    let (found, said) = run(folder, words);
    assert!(found == code && said.contains(why), "{words}: {found}, {said}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

//= test PKI-INIT-01
//= test PKI-ISSUE-01
//= test PKI-SECRET-01
//= test PKI-SHOW-01
#[test]
fn engines_know_each_other_by_an_authority_of_their_own() {
    let lab = Lab::new();
    let folder = lab.folder();
    made(folder, "init --folder pki --days 100");
    made(
        folder,
        "issue --folder pki --group shop --slot 0 --address 127.0.0.2 --address 2001:db8::2 --days 10",
    );
    let secret = fs::read(folder.join("pki/shop.secret")).unwrap();
    made(folder, "issue --folder pki --group shop --slot 63");
    made(folder, "issue --folder pki --group other --slot 0");

    let at = |file: &str| folder.join("pki").join(file);
    assert_eq!(mode(&folder.join("pki")), 0o700);
    for file in ["ca.key", "shop-se-0.key", "shop-se-63.key", "shop.secret", "other.secret"] {
        assert_eq!(mode(&at(file)), 0o600, "{file}");
    }
    assert!(secret.len() == 65 && secret[..64].iter().all(u8::is_ascii_hexdigit) && secret[64] == b'\n');
    assert_eq!(fs::read(at("shop.secret")).unwrap(), secret, "a group has one secret");
    assert_ne!(fs::read(at("other.secret")).unwrap(), secret, "each group has its own");

    // Another program takes it for what it is, at both ends, by name and by address.
    let verify = |more: &str| {
        pki::openssl(&at(""), &format!("verify -x509_strict -CAfile ca.pem {more} shop-se-0.pem"))
    };
    for more in [
        "-purpose sslserver -verify_hostname se-0.shop.forebay.internal",
        "-purpose sslclient -verify_ip 127.0.0.2",
        "-verify_ip 2001:db8::2",
    ] {
        assert_eq!(verify(more), "shop-se-0.pem: OK\n", "{more}");
    }
    let mut other = Command::new(bin::foreign("openssl", "openssl"));
    other.args(["verify", "-CAfile", "ca.pem", "-verify_hostname", "se-0.other.forebay.internal"]);
    assert!(!other.arg("shop-se-0.pem").current_dir(at("")).status().unwrap().success());
    let key = pki::openssl(&at(""), "pkey -in shop-se-0.key -pubout");
    assert_eq!(key, pki::openssl(&at(""), "x509 -in shop-se-0.pem -noout -pubkey"));
    // Nothing outlives its authority; what is asked for beyond is cut.
    let ends = |file: &str| pki::openssl(&at(""), &format!("x509 -in {file} -noout -enddate"));
    assert_eq!(ends("shop-se-63.pem"), ends("ca.pem"));
    assert_ne!(ends("shop-se-0.pem"), ends("ca.pem"));
    // It signs engines, and no other authority.
    let text = pki::openssl(&at(""), "x509 -in ca.pem -noout -ext basicConstraints");
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");

    let shown = made(folder, "show --output json pki/ca.pem pki/shop-se-0.pem");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["is_authority"], true);
    assert_eq!((&shown[1]["group"], &shown[1]["slot"]), (&"shop".into(), &0.into()));
    assert_eq!(shown[1]["addresses"], serde_json::json!(["127.0.0.2", "2001:db8::2"]));
    let left_s = shown[1]["seconds_left"].as_i64().unwrap();
    assert!((10 * 86_400 - 600..=10 * 86_400).contains(&left_s), "{left_s}");
    let fingerprint = pki::openssl(&at(""), "x509 -in shop-se-0.pem -noout -fingerprint -sha256");
    let fingerprint = fingerprint.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(shown[1]["sha256"], fingerprint.as_str());
    let text = made(folder, "show pki/shop-se-63.pem");
    assert!(text.contains("engine 63 of group shop") && text.contains(" days left)"), "{text}");
}

//= test PKI-KEEP-01
#[test]
fn nothing_is_replaced_and_what_cannot_be_made_leaves_nothing_behind() {
    let lab = Lab::new();
    let folder = lab.folder();
    refused(folder, "issue --folder pki --group shop --slot 0", 3, "pki init");
    made(folder, "init --folder pki");
    made(folder, "issue --folder pki --group shop --slot 0");
    let all = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let files = fs::read_dir(folder.join("pki")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
        files.sort();
        files
    };
    let before = all();
    refused(folder, "init --folder pki", 1, "exists");
    refused(folder, "issue --folder pki --group shop --slot 0", 1, "exists");
    refused(folder, "issue --folder pki --group Shop --slot 1", 2, "a to z");
    refused(folder, "issue --folder pki --group shop --slot 64", 2, "0..64");
    refused(folder, "show pki/shop-se-0.key", 1, "no certificate");
    assert!(all() == before, "nothing was changed");

    // The half that could be made is not left where the other one could not.
    fs::write(folder.join("pki/shop-se-1.pem"), "mine").unwrap();
    refused(folder, "issue --folder pki --group shop --slot 1", 1, "shop-se-1.pem");
    assert!(!folder.join("pki/shop-se-1.key").exists());
    assert_eq!(fs::read(folder.join("pki/shop-se-1.pem")).unwrap(), b"mine");

    // An authority with the key of another one signs nothing.
    made(folder, "init --folder second --name second");
    fs::copy(folder.join("second/ca.key"), folder.join("pki/ca.key")).unwrap();
    refused(folder, "issue --folder pki --group shop --slot 2", 1, "another authority");
    // Nor does an engine.
    for (from, to) in [("shop-se-0.pem", "ca.pem"), ("shop-se-0.key", "ca.key")] {
        fs::copy(folder.join("pki").join(from), folder.join("second").join(to)).unwrap();
    }
    refused(folder, "issue --folder second --group shop --slot 3", 1, "no authority");
}
