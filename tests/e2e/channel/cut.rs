//! A Controller that ends amid the pieces of a configuration.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use forebay_e2e::client::Client;
use forebay_e2e::led::{Led, Options, seen, token};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Origin};
use serde_json::{Value, json};

/// Nothing is held back.
const OPEN: i64 = i64::MAX;

/// What stands between an engine and its Controller, and passes on so many bytes to the engine, and then nothing.
struct Relay {
    at: SocketAddr,
    left: Arc<AtomicI64>,
}

impl Relay {
    fn new(lab: &Lab, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(lab.address()).expect("a port");
        let relay =
            Relay { at: listener.local_addr().expect("an address"), left: Arc::new(AtomicI64::new(OPEN)) };
        let left = Arc::clone(&relay.left);
        std::thread::spawn(move || {
            for engine in listener.incoming().flatten() {
                // A Controller that is away refuses, and so do we.
                let Ok(controller) = TcpStream::connect(to) else { continue };
                let ends =
                    [engine.try_clone(), controller.try_clone()].map(|end| end.expect("a second handle"));
                std::thread::spawn(move || {
                    pass(ends[0].try_clone().expect("one more"), ends[1].try_clone().expect("one more"), None)
                });
                let left = Arc::clone(&left);
                std::thread::spawn(move || pass(controller, engine, Some(&left)));
            }
        });
        relay
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: Option<&AtomicI64>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let room = match left {
            Some(left) if left.load(Ordering::SeqCst) != OPEN => {
                left.fetch_sub(i64::try_from(count).expect("few"), Ordering::SeqCst)
            }
            _ => OPEN,
        };
        let count = count.min(usize::try_from(room.max(0)).unwrap_or(usize::MAX));
        if count > 0 && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Pools of the service: with their pages two pieces, of half a megabyte each.
const POOLS: usize = 14;
/// Bytes of a page.
const PAGE: usize = 60_000;

/// A pool, and what its clients would be told if nobody could serve them.
fn pool(number: usize, server: SocketAddr, page: usize) -> Value {
    json!({
        "name": format!("p{number}"),
        "servers": [{"ip": {"addr": server.ip().to_string(), "type": "V4"}, "port": server.port()}],
        "fail_action": {
            "type": "FAIL_ACTION_HTTP_LOCAL_RSP",
            "local_rsp": {"file": {"content_type": "text/plain", "file_content": "x".repeat(page)}},
        },
    })
}

//= test CHAN-CONFIG-01
//= test CHAN-CONFIG-02
#[test]
fn of_a_configuration_whose_controller_is_killed_amid_its_pieces_nothing_is_used_and_the_next_one_sends_all()
{
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let relay = Relay::new(&lab, controller.engines);
    let mut engine = Led::start(&lab, relay.at, &token(&controller), &Options::default());
    engine.joins(&controller);
    let uuid = engine.uuid();
    let origin = lab.address();
    let _origin = Origin::fixed(origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let vip = lab.address();
    let admin = controller.admin();
    let make = |path: &str, object: Value| {
        let (status, made) = admin.send("POST", &format!("/api/{path}"), &object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    };
    let ip = json!({"addr": vip.ip().to_string(), "type": "V4"});
    let pools: Vec<String> = (0..POOLS).map(|number| make("pool", pool(number, origin, 10))).collect();
    let members: Vec<Value> =
        pools.iter().map(|pool| json!({"pool_ref": format!("/api/pool/{pool}")})).collect();
    let group = make("poolgroup", json!({"name": "g", "members": members}));
    let addresses = make("vsvip", json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": ip}]}));
    make(
        "virtualservice",
        json!({
            "name": "s",
            "vsvip_ref": format!("/api/vsvip/{addresses}"),
            "pool_group_ref": format!("/api/poolgroup/{group}"),
            "services": [{"port": vip.port()}],
        }),
    );
    let serves = || Client::new(vip).get_once("/").is_ok_and(|answer| answer.status == 200);
    eventually("the service serves", secs(20), serves);
    let current = || seen(&controller, &uuid)["configuration"]["current"] == true;
    eventually("all of it is there", secs(20), current);
    // The engine hears nothing while all pools change, so that one push has all of it.
    relay.left.store(0, Ordering::SeqCst);
    for (number, uuid) in pools.iter().enumerate() {
        let (status, said) = admin.send("PUT", &format!("/api/pool/{uuid}"), &pool(number, origin, PAGE));
        assert_eq!(status, 200, "{said}");
    }
    let loaded = engine.said("CONFIG_LOADED");
    controller.process.kill();
    engine.says("CONTROLLER_LOST");
    // The second piece is cut.
    relay.left.store(600 << 10, Ordering::SeqCst);
    controller.again(&lab);
    eventually("the pieces are cut", secs(40), || relay.left.load(Ordering::SeqCst) < 0);
    controller.process.kill();
    relay.left.store(OPEN, Ordering::SeqCst);
    assert!(serves(), "by what it had");
    assert_eq!(engine.said("CONFIG_LOADED"), loaded, "nothing of it is used");
    controller.again(&lab);
    eventually("all of it is loaded", secs(60), || engine.said("CONFIG_LOADED") > loaded);
    eventually("the Controller knows it", secs(20), || {
        let seen = seen(&controller, &uuid);
        seen["up"] == true && seen["configuration"]["current"] == true
    });
    assert!(serves());
}
