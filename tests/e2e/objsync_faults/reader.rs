//! Who may only read, and says what it wants.

use std::net::{IpAddr, SocketAddr};

use forebay_core::table::{EngineSlot, GroupMillis};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Options, pki};
use forebay_objsync::wire::{Frame, Hello};

use crate::group::{Group, entries, ready};
use crate::impostor::{Impostor, Statement, changes, now_ms, proof};

/// Whose address it has, among those that a group may have.
const FROM: usize = 5;

fn hello(proof: u64, slot: u8, features: u64) -> Vec<u8> {
    let slot = EngineSlot::new(slot).expect("a slot");
    let clock = GroupMillis(now_ms());
    Frame::Hello(Hello { protocol: 3, protocol_min: 1, features, slot, boot: 7, group: proof, clock })
        .encode()
}

/// Entries beside the frames of engines, as who was asked gives them.
fn gift(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + frame.len()).expect("it is short");
    [&length.to_le_bytes()[..], &[203], frame].concat()
}

//= test SYNC-READER-01
//= test SYNC-MIRROR-01
#[test]
fn the_certificate_of_one_that_only_reads_writes_nothing() {
    let group = Group::new(1);
    let folder = group.lab.folder().join("pki");
    pki::certificate(&folder, "reader", "ca", pki::EC, "DNS:reader-63.shop.forebay.internal", 2);
    let section = group.section(0, &[(0, group.port)], group.port).replace(
        "members = [",
        &format!("members = [{{ slot = 63, address = \"{}\", reads = true }}, ", Group::address(FROM)),
    );
    let engine = Engine::spawn(&group.lab, &group.config_with(0, &section), &Options::default());
    ready(&engine);
    let home = group.by_address(0, 7);
    let (now, proof) = (now_ms(), proof(&group));
    let up = || engine.metric("forebay_objsync_peer_connected", &[("slot", "63")]) == 1.0;
    let at = SocketAddr::new(Group::address(0), group.port);
    let client: IpAddr = group.lab.client_ip(7);
    let other = (0..4).find(|n| group.servers[*n].name != home).expect("there are four");
    // It would win: it is an hour's third older than what the engine has.
    let said = Statement::of(&group, client, other, now - 1_200_000, 0);
    let new = Statement::of(&group, [192, 0, 2, 9].into(), other, now, 0);
    let write = [changes(1, now, &said), changes(2, now, &new)].concat();
    let gifts = [gift(&changes(0, now, &said)), gift(&changes(0, now, &new))].concat();

    // As what it is: it is let in, and out when it says anything.
    for (what, bytes) in [("changes", &write), ("entries that nobody has asked for", &gifts)] {
        let mut reader = Impostor::calls_as(&group, at, FROM, "reader");
        reader.says(&hello(proof, 63, Hello::READS));
        eventually(&format!("{what}: it is connected"), secs(10), up);
        reader.says(bytes);
        eventually(&format!("{what}: it is cut off"), secs(10), || reader.has_ended());
    }
    // As a member, and as an engine in another place.
    for (what, bytes) in [("a member", hello(proof, 63, 0)), ("an engine", hello(proof, 0, 0))] {
        let mut reader = Impostor::calls_as(&group, at, FROM, "reader");
        reader.says(&[&bytes[..], &write].concat());
        eventually(&format!("{what}: it is cut off"), secs(10), || reader.has_ended());
    }
    assert_eq!((group.by_address(0, 7), entries(&engine)), (home, 1));
    // The engine's own certificate is not that of one that reads.
    let mut engines = Impostor::calls_as(&group, at, FROM, "shop-se-0");
    eventually("it is cut off", secs(10), || engines.has_ended());
    assert!(engine.metric("forebay_objsync_refused_total", &[("reason", "handshake")]) >= 1.0);
}
