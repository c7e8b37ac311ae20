//! What was read of the objects follows their changes, and is what a look at all of them gives.

use std::sync::mpsc;

use serde_json::json;

use super::tests::put;
use super::world::Reader;
use super::{Placement, seen};
use crate::engines::Engine;
use crate::objects::{Catalogue, Id};
use crate::store::Embedded;
use crate::store::suite::Folder;

/// Numbers by which objects are changed; the same seed has the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn change(random: &mut Random, objects: &mut Catalogue, revision: u64) {
    let kinds = [
        "virtualservice",
        "virtualservice",
        "vsvip",
        "pool",
        "network",
        "serviceenginegroup",
        "cloud",
        "ipaddrgroup",
    ];
    let kind = kinds[usize::try_from(random.below(8)).expect("small")];
    let uuid = format!("{kind}-{}", random.below(if kind == "virtualservice" { 9 } else { 4 }));
    if random.below(5) == 0 {
        objects.remove(&Id { kind, uuid });
        return;
    }
    let ip = json!({"addr": format!("10.0.0.{}", 1 + random.below(200)), "type": "V4"});
    let cloud = format!("/api/cloud/cloud-{}", random.below(2));
    let mut object = json!({"name": format!("n{}", random.below(5)), "cloud_ref": cloud});
    match kind {
        "vsvip" => {
            let network = format!("/api/network/network-{}", random.below(4));
            let networks = [json!([]), json!([{"network_ref": network}])];
            let networks = &networks[usize::try_from(random.below(2)).expect("small")];
            object["vip"] = json!([{"vip_id": "1", "ip_address": ip, "placement_networks": networks}]);
        }
        "pool" => {
            object["servers"] = json!([{"ip": ip, "port": 80}]);
            if random.below(2) == 0 {
                object["ipaddrgroup_ref"] =
                    json!(format!("/api/ipaddrgroup/ipaddrgroup-{}", random.below(4)));
            }
        }
        "ipaddrgroup" => object["addrs"] = json!([ip]),
        "network" => object["configured_subnets"] = json!([{"prefix": {"ip_addr": ip, "mask": 24}}]),
        "serviceenginegroup" => {
            object["max_vs_per_se"] = json!(random.below(9));
            // That of services which name none.
            if random.below(2) == 0 {
                object["name"] = json!("Default-Group");
            }
        }
        "virtualservice" => {
            object["vsvip_ref"] = json!(format!("/api/vsvip/vsvip-{}", random.below(4)));
            object["pool_ref"] = json!(format!("/api/pool/pool-{}", random.below(4)));
            object["enabled"] = json!(random.below(4) > 0);
            if random.below(3) == 0 {
                let group = format!("/api/serviceenginegroup/serviceenginegroup-{}", random.below(4));
                object["se_group_ref"] = json!(group);
            }
            if random.below(4) == 0 {
                let parent = format!("/api/virtualservice/virtualservice-{}", random.below(9));
                object["type"] = json!("VS_TYPE_VH_CHILD");
                object["vh_parent_vs_ref"] = json!(parent);
            }
        }
        _ => {}
    }
    put(objects, kind, &uuid, &object, revision);
}

//= test PLACE-READ-01
#[test]
fn what_is_read_of_changes_is_what_is_read_of_everything() {
    for seed in 0..40 {
        let (mut random, mut objects, mut reader) = (Random(seed), Catalogue::default(), Reader::default());
        for revision in 1..200 {
            change(&mut random, &mut objects, revision);
            // Several changes come together.
            if random.below(3) > 0 {
                let (followed, whole) = (reader.read(&objects), Reader::default().read(&objects));
                assert_eq!(followed, whole, "seed {seed}, change {revision}");
            }
        }
    }
}

//= test PLACE-ASIDE-01
#[tokio::test]
async fn a_look_is_taken_on_a_thread_of_its_own() {
    let folder = Folder::new("placement-aside");
    let store = Embedded::open(&folder.0.join("store")).expect("a store");
    let placement = Placement::open(&store).await.expect("empty");
    let objects = Catalogue::default();
    let (tell, told) = mpsc::channel();
    let look = move || {
        tell.send(std::thread::current().id()).expect("somebody waits");
        let now = std::time::Instant::now();
        vec![seen(&Engine::default(), now, now, Some)]
    };
    placement.step(&store, || placement.world(&objects), || look, 1).await.expect("written");
    assert_ne!(told.recv().expect("it was taken"), std::thread::current().id());
}
