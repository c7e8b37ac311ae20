//! A Controller whose disk takes nothing more.

use std::path::PathBuf;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, bin};
use serde_json::{Value, json};

/// What starts a program with a small file system of its own at `folder`.
fn on_a_small_disk(folder: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o size=16m tmpfs {folder} && exec \"$@\"");
    let unshare = bin::foreign("unshare", "util-linux").to_string_lossy().into_owned();
    [unshare.as_str(), "--mount", "--map-root-user", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// The names of all pools.
fn pools(controller: &Controller) -> Vec<String> {
    let (status, list) = controller.admin().get("/api/pool?page_size=200&fields=name");
    assert_eq!(status, 200, "{list}");
    let names = list["results"].as_array().expect("a list").iter();
    names.map(|pool| pool["name"].as_str().expect("a name").to_owned()).collect()
}

//= test API-STORE-04
#[test]
fn a_full_disk_costs_the_writes_of_that_time_and_no_start() {
    let lab = Lab::new();
    let folder = lab.folder().join("controller");
    std::fs::create_dir(&folder).expect("the lab's folder");
    let under = on_a_small_disk(&folder.display().to_string());
    let controller = Controller::start_under(&lab, &under, &[]);
    let admin = controller.admin();
    let pid = controller.process.pid();
    let inside = PathBuf::from(format!("/proc/{pid}/root{}", folder.display()));
    let mut acknowledged = Vec::new();
    // Large enough to fill a store that has pages to spare.
    let servers: Vec<Value> = (1..=200)
        .map(
            |n| json!({"ip": {"addr": format!("192.0.2.{n}"), "type": "V4"}, "description": "d".repeat(200)}),
        )
        .collect();
    let mut write = |name: String| -> (u16, Value) {
        let pool = json!({"name": name, "servers": servers});
        let (status, said) = admin.send("POST", "/api/pool", &pool);
        if status == 201 {
            acknowledged.push(name);
        }
        (status, said)
    };
    let made = write("before".to_owned());
    assert_eq!(made.0, 201, "{made:?}");
    // Others fill the disk to its last byte, again and again.
    for round in 0..3 {
        let filler = inside.join("filler");
        let mut file = std::fs::File::create(&filler).expect("the disk is there");
        while std::io::Write::write(&mut file, &[7; 4096]).is_ok_and(|written| written > 0) {}
        // What is open takes its room even when it has no name any more.
        drop(file);
        let mut refused = None;
        for n in 0..100 {
            let (status, said) = write(format!("p-{round}-{n}"));
            match status {
                201 => {}
                503 => {
                    refused = Some(said);
                    break;
                }
                other => panic!("{other}: {said}"),
            }
        }
        let refused = refused.expect("a disk that is full refuses at last").to_string();
        assert!(refused.contains("store.redb") && refused.contains("make room"), "{refused}");
        // Nothing is written by one that is refused, and reading goes on.
        for n in 0..3 {
            assert_eq!(write(format!("none-{round}-{n}")).0, 503);
            assert!(pools(&controller).contains(&"before".to_owned()));
        }
        std::fs::remove_file(&filler).expect("it is there");
        let mut n = 0;
        eventually("writing goes on", secs(10), || {
            n += 1;
            write(format!("after-{round}-{n}")).0 == 201
        });
    }
    let mut held = pools(&controller);
    held.sort();
    acknowledged.sort();
    assert_eq!(held, acknowledged, "what was acknowledged, and nothing else");
    // What is on the disk is that as well: it is what another process begins with.
    let copy = Lab::new();
    let data = copy.folder().join("controller");
    std::fs::create_dir(&data).expect("the lab's folder");
    let mut second = Controller::start(&copy);
    second.process.kill();
    for name in ["store.redb", "store.key"] {
        std::fs::copy(inside.join(name), data.join(name)).expect("a file of the Controller");
    }
    second.password.clone_from(&controller.password);
    second.again(&copy);
    let mut begun = pools(&second);
    begun.sort();
    assert_eq!(begun, acknowledged);
}
