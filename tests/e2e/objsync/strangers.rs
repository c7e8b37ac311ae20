//! Nobody but members is let in.

use std::fs::Permissions;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, bin, pki, system};

use crate::group::{Group, entries, pki as issue, ready};

fn refused(engine: &Engine, reason: &str) -> f64 {
    engine.metric("forebay_objsync_refused_total", &[("reason", reason)])
}

/// What comes of a handshake that OpenSSL's client begins from an address: nothing is ever read after it.
fn knocks(group: &Group, from: IpAddr, to: SocketAddr, certificate: &str) {
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    let to = to.to_string();
    command.args(["s_client", "-connect", &to, "-bind", &format!("{from}:0"), "-tls1_3"]);
    if !certificate.is_empty() {
        command.args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")]);
    }
    command.current_dir(group.lab.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("openssl starts");
}

//= test SYNC-DOOR-01
//= test SYNC-TLS-01
#[test]
fn strangers_are_refused_and_counted_and_the_members_go_on() {
    let group = Group::new(2);
    let engines = group.start();
    let folder = group.lab.folder();
    // The engine in slot 1 is called by slot 0, from that one's address.
    let (to, member) = (SocketAddr::new(Group::address(1), group.port), Group::address(0));
    pki::authority(folder, "other-ca");
    let name = "DNS:se-0.shop.forebay.internal";
    pki::certificate(folder, "foreign", "other-ca", pki::EC, name, 2);
    issue(&group.lab, &["issue", "--folder", "pki", "--group", "other", "--slot", "0"]);
    std::fs::copy(folder.join("pki/ca.pem"), folder.join("shop-ca.pem")).expect("the authority");
    std::fs::copy(folder.join("pki/ca.key"), folder.join("shop-ca.key")).expect("the authority");
    pki::certificate(folder, "expired", "shop-ca", pki::EC, name, -1);
    for (n, certificate) in ["", "foreign", "pki/other-se-0", "expired"].iter().enumerate() {
        knocks(&group, member, to, certificate);
        eventually("it is counted", secs(10), || refused(&engines[1], "handshake") as usize == n + 1);
    }
    // Whoever is no member is dropped before a byte is read.
    for n in 1..=5 {
        let stranger = SocketAddr::new(group.lab.client_ip(n), 0);
        let mut tcp = system::connect_from(stranger, to).expect("the system accepts");
        tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let mut byte = [0];
        assert!(!matches!(tcp.read(&mut byte), Ok(1..)), "nothing is said to it");
        eventually("it is counted", secs(10), || refused(&engines[1], "address") as u32 == n);
    }
    assert!(engines[1].process.printed().contains("OBJSYNC_REFUSED"));
    let home = group.by_address(0, 77);
    eventually("the members share on", secs(10), || entries(&engines[1]) == 1);
    assert_eq!(group.by_address(1, 77), home);
}

//= test SYNC-DOOR-02
#[test]
fn an_address_may_try_ten_times_a_second() {
    let group = Group::new(2);
    let engines = group.start();
    let (to, member) = (SocketAddr::new(Group::address(1), group.port), Group::address(0));
    let mut tries: Vec<TcpStream> = Vec::new();
    // On a busy machine a burst may take its time.
    eventually("more than ten came within a second", secs(60), || {
        let one = |_| system::connect_from(SocketAddr::new(member, 0), to).expect("the system accepts");
        tries.extend((0..40).map(one));
        refused(&engines[1], "rate") >= 1.0
    });
    let all = tries.len();
    drop(tries);
    eventually("the others end", secs(10), || {
        (refused(&engines[1], "rate") + refused(&engines[1], "handshake")) as usize == all
    });
    assert_eq!(engines[1].metric("forebay_objsync_peer_connected", &[]), 1.0, "the member stays");
}

//= test SYNC-SECRET-01
//= test SYNC-DIAL-01
#[test]
fn who_has_another_secret_is_no_member_and_each_side_says_so_once() {
    let group = Group::new(2);
    let other = group.lab.folder().join("pki/other.secret");
    let write = |text: String| {
        std::fs::write(&other, text + "\n").expect("the folder");
        std::fs::set_permissions(&other, Permissions::from_mode(0o600)).expect("its owner may");
    };
    write("5a".repeat(32));
    let config = group.config(1).replace("shop.secret", "other.secret");
    let engines = [group.spawn(0), Engine::spawn(&group.lab, &config, &Options::default())];
    for engine in &engines {
        eventually("it says why", secs(20), || {
            engine.process.printed().contains("its group or its objsync.secret_file is another one")
        });
        ready(engine);
        assert_eq!(engine.metric("forebay_objsync_peer_connected", &[]), 0.0);
        let printed = engine.process.printed();
        assert!(!printed.contains("SE_OBJSYNC_PEER_UP"), "nobody was connected: {printed}");
    }
    // Two more calls, and each reason was told once: whichever end is first says why, and the other one may see that first.
    let calls = || engines[0].metric("forebay_objsync_peer_sent_bytes_total", &[]);
    for _ in 0..2 {
        let before = calls();
        eventually("it calls again", secs(20), || calls() > before);
    }
    for engine in &engines {
        let printed = engine.process.printed();
        let told: Vec<&str> = printed.lines().filter(|line| line.contains("OBJSYNC_UNREACHED")).collect();
        let reasons: Vec<&str> =
            told.iter().filter_map(|line| line.split("cannot be reached: ").nth(1)).collect();
        let unique: std::collections::BTreeSet<&&str> = reasons.iter().collect();
        assert!(!reasons.is_empty() && unique.len() == reasons.len(), "a reason is told once: {printed}");
    }
    // Another one in the same file is another one as well.
    write("5b".repeat(32));
    let changed = config.replace("cookie_name = \"JSESSIONID\"", "cookie_name = \"OTHER\"");
    engines[1].write(&changed);
    let answer = engines[1].reload();
    assert!(answer.to_string().contains("it holds another secret than at the start"), "{answer}");
}
