//! Files of a group are judged before an engine starts with them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use forebay_e2e::{bin, pki};

use crate::group::{Group, pki as issue};

//= test SYNC-FILES-01
#[test]
fn a_certificate_of_another_slot_and_a_secret_that_is_none_are_found_by_check() {
    let group = Group::new(2);
    let folder = group.lab.folder();
    issue(&group.lab, &["issue", "--folder", "pki", "--group", "other", "--slot", "0"]);
    let none = folder.join("pki/none.secret");
    std::fs::write(&none, "0123\n").expect("the folder");
    std::fs::set_permissions(&none, Permissions::from_mode(0o600)).expect("its owner may");
    let check = |text: String| {
        let file = folder.join("checked.toml");
        std::fs::write(&file, format!("version = 1\n{text}")).expect("the folder");
        let mut command = Command::new(bin::path("forebay-se"));
        let done = command.args(["check", "--config"]).arg(&file).output().expect("forebay-se starts");
        (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let right = group.config(0);
    assert!(check(right.clone()).0, "{}", check(right.clone()).1);
    pki::authority(folder, "other-ca");
    std::fs::copy(folder.join("pki/ca.pem"), folder.join("shop-ca.pem")).expect("the authority");
    std::fs::copy(folder.join("pki/ca.key"), folder.join("shop-ca.key")).expect("the authority");
    let name = "DNS:se-0.shop.forebay.internal";
    for (made, by, days) in [("foreign", "other-ca", 2), ("expired", "shop-ca", -1)] {
        pki::certificate(folder, made, by, pki::EC, name, days);
        std::fs::set_permissions(folder.join(format!("{made}.key")), Permissions::from_mode(0o600))
            .expect("its owner may");
    }
    let with = |text: String, made: &str| text.replace("pki/shop-se-0.", &format!("{made}."));
    for (made, said) in [("expired", "it has expired"), ("foreign", "objsync.ca_file did not sign it")] {
        let (passed, told) = check(with(right.clone(), made));
        assert!(!passed && told.contains(said), "{made}: {told}");
    }
    for (from, to, said) in [
        ("shop-se-0.pem", "shop-se-1.pem", "it does not name se-0.shop.forebay.internal"),
        ("pki/shop-se-0.pem", "pki/other-se-0.pem", "it does not name se-0.shop.forebay.internal"),
        ("shop-se-0.key", "shop-se-1.key", "it is not the certificate's"),
        ("pki/ca.pem", "pki/shop-se-1.key", "it holds no certificate"),
        ("shop.secret", "none.secret", "it is no line of 64 hexadecimal digits"),
        ("shop.secret", "gone.secret", "there is no such file"),
    ] {
        let (passed, told) = check(right.replace(from, to));
        assert!(!passed && told.contains(said), "{to}: {told}");
    }
}
