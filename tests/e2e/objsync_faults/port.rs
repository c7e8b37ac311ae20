//! What comes to the port of object sync: a flood of strangers, and a member that makes no sense.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_core::table::{Class, EngineSlot, GroupMillis, KeyBytes, Version};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, bin, long_or, system};
use forebay_objsync::Entry;
use forebay_objsync::wire::{Frame, Head, Hello, Packer};

use crate::group::{Group, entries, ready, synced};
use crate::machines::verified;

#[test]
fn a_thousand_strangers_a_second_cost_less_than_a_twentieth_of_a_core() {
    const RATE: u32 = 1_000;
    let group = Group::new(2);
    let engines = group.start();
    let to = SocketAddr::new(Group::address(1), group.port);
    let cpu = || engines[1].metric("process_cpu_seconds_total", &[]);
    let seconds = long_or(20, 4);
    let idle_before = cpu();
    // Sleep: the same time without strangers is what they are compared with.
    std::thread::sleep(Duration::from_secs(seconds));
    let (before, began) = (cpu(), Instant::now());
    let idle = before - idle_before;
    let mut came = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = (began.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while came < due {
            let from = SocketAddr::new(group.lab.client_ip(came % 5_000), 0);
            drop(system::connect_from(from, to).expect("the system accepts"));
            came += 1;
        }
        std::thread::yield_now();
    }
    let took = began.elapsed().as_secs_f64();
    eventually("all were refused", secs(20), || {
        engines[1].metric("forebay_objsync_refused_total", &[("reason", "address")]) as u32 == came
    });
    let share = (cpu() - before - idle) / took;
    println!("{came} strangers in {took:.1} s: {:.1} % of a core", share * 100.0);
    // Of a machine that is too slow for so many, the share for each counts.
    let allowed = 0.05 * (f64::from(came) / took / f64::from(RATE)).min(1.0);
    assert!(share < allowed.max(0.02), "{share} of a core for {came} in {took} s");
    let home = group.by_address(0, 7);
    eventually("the members share on", secs(10), || entries(&engines[1]) == 1);
    assert_eq!(group.by_address(1, 7), home);
}

/// Whoever has a member's certificate and address, and says what it wants.
struct Impostor(Child);

impl Impostor {
    /// In slot 0, which calls slot 1.
    fn calls(group: &Group) -> Self {
        let mut command = Command::new(bin::foreign("openssl", "openssl"));
        let to = SocketAddr::new(Group::address(1), group.port).to_string();
        let from = format!("{}:0", Group::address(0));
        command.args(["s_client", "-connect", &to, "-bind", &from, "-tls1_3", "-quiet", "-nocommands"]);
        command.args(["-cert", "pki/shop-se-0.pem", "-key", "pki/shop-se-0.key"]);
        command
            .current_dir(group.lab.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("openssl starts"))
    }

    fn says(&mut self, bytes: &[u8]) {
        // The engine may have ended the connection by now, which is what the test looks for.
        let _ = self.0.stdin.as_mut().expect("a pipe").write_all(bytes);
    }

    /// The engine has ended the connection.
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).expect("a slot")
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

/// What members show one another: made of the group's secret and name.
fn proof(group: &Group) -> u64 {
    let secret = std::fs::read(group.lab.folder().join("pki/shop.secret")).expect("the secret");
    let all = [secret.trim_ascii(), b"forebay group shop"].concat();
    let mut openssl = Command::new(bin::foreign("openssl", "openssl"));
    openssl.args(["dgst", "-sha256", "-binary"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().expect("openssl starts");
    openssl.stdin.take().expect("a pipe").write_all(&all).expect("openssl reads");
    let sum = openssl.wait_with_output().expect("openssl ends").stdout;
    u64::from_be_bytes(*sum.first_chunk().expect("32 bytes"))
}

fn hello(group: u64, clock_ms: u64, boot: u64) -> Vec<u8> {
    let clock = GroupMillis(clock_ms);
    Frame::Hello(Hello { protocol: 1, protocol_min: 1, features: 0, slot: slot(0), boot, group, clock })
        .encode()
}

/// An entry that this engine may have made, stamped then.
fn changes(number: u64, stamp_ms: u64) -> Vec<u8> {
    let mut packer = Packer::new(77);
    packer.push(Entry {
        key: KeyBytes::of_ip([192, 0, 2, 1].into()),
        server: 5,
        class: Class::default(),
        version: Version {
            birth: (stamp_ms / 60_000) as u32,
            switches: u32::MAX,
            stamp: stamp_ms << 16,
            origin: slot(0),
        },
        tombstone: false,
        lasting: false,
        open: u64::MAX,
        age_ms: 0,
    });
    Frame::Changes(Head { clock: GroupMillis(stamp_ms), number, ack: 0 }, vec![packer.pack()]).encode()
}

fn connected(engine: &Engine) -> bool {
    engine.metric("forebay_objsync_peer_connected", &[("slot", "0")]) == 1.0
}

#[test]
fn a_member_that_makes_no_sense_is_cut_off_and_leaves_no_harm() {
    let group = Group::new(2);
    let mut engines = group.start();
    let homes: Vec<String> = (0..20).map(|n| group.by_address(0, n)).collect();
    eventually("both have them", secs(10), || entries(&engines[1]) == 20);
    engines[0].process.kill();
    eventually("it is alone", secs(20), || !connected(&engines[1]));
    let (now, proof) = (now_ms(), proof(&group));
    let hello = |clock_ms, boot| hello(proof, clock_ms, boot);
    let day = now + 86_400_000;
    let long: Vec<u8> = vec![255, 255, 255, 255, 3, 0, 1, 2, 3];
    let noise: Vec<u8> = (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let nested = [vec![7, 0, 0, 0, 3], vec![255; 6]].concat();
    let said: [(&str, Vec<u8>); 7] = [
        ("a length of 4 GiB", [hello(now, 11), long].concat()),
        ("noise", noise),
        ("a list of 2^40 entries", [hello(now, 12), nested].concat()),
        ("frames before its name", changes(1, now)),
        (
            "a frame twice and a gap",
            [hello(now, 13), changes(1, now), changes(1, now), changes(9, now)].concat(),
        ),
        ("an acknowledgement of nothing", {
            let head = Head { clock: GroupMillis(now), number: 0, ack: u64::MAX };
            [hello(now, 14), Frame::Ack(head).encode()].concat()
        }),
        ("a clock beyond all time", hello(u64::MAX, 15)),
    ];
    for (what, bytes) in said {
        let mut member = Impostor::calls(&group);
        member.says(&bytes);
        eventually(&format!("{what}: it is cut off"), secs(20), || member.has_ended());
        eventually(&format!("{what}: and counts as gone"), secs(20), || !connected(&engines[1]));
        assert!(engines[1].process.ended().is_none(), "{what}");
    }
    // A clock a day ahead is one word against another: nobody follows it, and an event says so.
    let mut member = Impostor::calls(&group);
    member.says(&[hello(day, 16), changes(1, day)].concat());
    eventually("the event tells", secs(20), || engines[1].process.printed().contains("OBJSYNC_CLOCK_AHEAD"));
    drop(member);
    // The true one comes back, and all is as it was.
    eventually("the impostor is gone", secs(20), || !connected(&engines[1]));
    engines[0] = group.spawn(0);
    ready(&engines[0]);
    engines.iter().for_each(|engine| synced(engine, 1));
    for engine in &engines {
        eventually("nothing differs", secs(30), || verified(engine));
    }
    for slot in [0, 1] {
        let kept = (0..20).filter(|n| group.by_address(slot, *n) == homes[*n as usize]).count();
        assert_eq!(kept, 20, "at engine {slot}");
    }
    let home = group.by_address(1, 500);
    eventually("new clients are shared", secs(10), || entries(&engines[0]) == 21);
    assert_eq!(group.by_address(0, 500), home);
}
