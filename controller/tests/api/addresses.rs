//! Addresses and ports: one tenant has an address, one virtual service a port of it.

use crate::site::{Client, Site};
use serde_json::{Value, json};

fn vip(address: &str) -> Value {
    let kind = if address.contains(':') { "V6" } else { "V4" };
    let name = if kind == "V6" { "ip6_address" } else { "ip_address" };
    json!([{"vip_id": "1", name: {"addr": address, "type": kind}}])
}

/// What is said to a write that is refused: its text.
async fn refused(site: &Site, client: &Client, method: &str, path: &str, content: Value) -> String {
    let said = site.ask(client, method, path, &content).await;
    assert_eq!(said.status, 400, "{method} {path} {content}: {}", said.text);
    said.json["error"].as_str().expect("a text").to_owned()
}

async fn changed(site: &Site, client: &Client, path: &str, content: Value) {
    let said = site.ask(client, "PATCH", path, &content).await;
    assert_eq!(said.status, 200, "{path} {content}: {}", said.text);
}

//= test PLACE-ADDRESS-01
#[tokio::test]
async fn an_address_belongs_to_one_tenant_and_a_port_of_it_to_one_service() {
    let site = Site::new("addresses").await;
    let admin = site.admin().await;
    for name in ["red", "blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    }
    let of = |name: &str| Client { tenant: Some(name.to_owned()), ..admin.clone() };
    let (red, blue) = (of("red"), of("blue"));
    site.make(&red, "/api/vsvip", json!({"uuid": "vip-red", "name": "hidden-vip", "vip": vip("10.9.9.9")}))
        .await;
    let web = json!({"uuid": "vs-red", "name": "hidden-web", "vsvip_ref": "/api/vsvip/vip-red",
        "services": [{"port": 80, "port_range_end": 90}]});
    site.make(&red, "/api/virtualservice", web).await;
    // Whatever uuid another tenant chooses, and however it writes the address.
    for address in ["10.9.9.9", "::ffff:10.9.9.9"] {
        let own = json!({"uuid": "0", "name": "v", "vip": vip(address)});
        let inline = json!({"uuid": "0", "name": "s", "services": [{"port": 8080}], "vip": vip(address)});
        for (path, content) in [("/api/vsvip", own), ("/api/virtualservice", inline)] {
            let why = refused(&site, &blue, "POST", path, content).await;
            assert!(
                why.contains("10.9.9.9 is an address of another tenant") && !why.contains("hidden"),
                "{why}"
            );
        }
    }
    site.make(&blue, "/api/vsvip", json!({"uuid": "vip-blue", "name": "v", "vip": vip("10.9.9.10")})).await;
    let moved = json!({"replace": {"vip": vip("10.9.9.9")}});
    refused(&site, &blue, "PATCH", "/api/vsvip/vip-blue", moved.clone()).await;
    // Engines know no VRFs: another one is no other network.
    site.make(&blue, "/api/vrfcontext", json!({"uuid": "vrf-blue", "name": "of-blue"})).await;
    let elsewhere =
        json!({"name": "there", "vip": vip("10.9.9.9"), "vrf_context_ref": "/api/vrfcontext/vrf-blue"});
    let why = refused(&site, &blue, "POST", "/api/vsvip", elsewhere).await;
    assert!(why.contains("engines know no VRFs yet"), "{why}");
    // Nobody has all of them.
    for address in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"] {
        let all = json!({"name": "all", "vip": vip(address)});
        let why = refused(&site, &blue, "POST", "/api/vsvip", all).await;
        assert!(why.contains("no address of a host"), "{why}");
    }

    // Within the tenant each port is one service's: of the same VsVip, of another one, of addresses of the service's own.
    let second = |ports: Value, with: Value| {
        let mut service = json!({"name": "second", "services": ports});
        for (name, value) in with.as_object().expect("an object") {
            service[name] = value.clone();
        }
        service
    };
    site.make(&red, "/api/vsvip", json!({"uuid": "vip-same", "name": "same", "vip": vip("10.9.9.9")})).await;
    for with in [
        json!({"vsvip_ref": "/api/vsvip/vip-red"}),
        json!({"vsvip_ref": "/api/vsvip/vip-same"}),
        json!({"vip": vip("10.9.9.9")}),
    ] {
        for ports in [json!([{"port": 90}]), json!([{"port": 1, "port_range_end": 1000}])] {
            let why = refused(&site, &red, "POST", "/api/virtualservice", second(ports, with.clone())).await;
            assert!(why.contains("in use by VirtualService hidden-web"), "{why}");
        }
    }
    let datagrams = json!({"vsvip_ref": "/api/vsvip/vip-red", "network_profile_ref": "/api/networkprofile?name=System-UDP-Fast-Path",
        "application_profile_ref": "/api/applicationprofile?name=System-L4-Application"});
    let datagrams = site.make(&red, "/api/virtualservice", second(json!([{"port": 80}]), datagrams)).await;
    let beside = json!({"name": "beside", "vsvip_ref": "/api/vsvip/vip-red", "services": [{"port": 91}]});
    let beside = site.make(&red, "/api/virtualservice", beside).await;
    let path = format!("/api/virtualservice/{}", beside["uuid"].as_str().expect("a uuid"));
    refused(&site, &red, "PATCH", &path, json!({"replace": {"services": [{"port": 85}]}})).await;
    changed(&site, &red, &path, json!({"replace": {"services": [{"port": 92}], "enabled": false}})).await;
    // A VsVip that goes where another one is takes its services along.
    let far = json!({"uuid": "vip-far", "name": "far", "vip": vip("10.9.9.30")});
    site.make(&red, "/api/vsvip", far).await;
    let there = json!({"name": "there", "vsvip_ref": "/api/vsvip/vip-far", "services": [{"port": 92}]});
    site.make(&red, "/api/virtualservice", there).await;
    let why = refused(&site, &red, "PATCH", "/api/vsvip/vip-far", moved.clone()).await;
    assert!(why.contains("port 92"), "{why}");
    // What is gone is free.
    for uuid in [&beside["uuid"], &datagrams["uuid"]] {
        let path = format!("/api/virtualservice/{}", uuid.as_str().expect("a uuid"));
        assert_eq!(site.ask(&red, "DELETE", &path, &Value::Null).await.status, 204);
    }
    changed(&site, &red, "/api/vsvip/vip-far", moved).await;
}

//= test CLUSTER-VIP-04
#[tokio::test]
async fn an_address_is_a_services_or_goes_with_the_controllers_lead() {
    let site = Site::new("virtual").await;
    let admin = site.admin().await;
    site.make(&admin, "/api/tenant", json!({"name": "red", "uuid": "tenant-red"})).await;
    let red = Client { tenant: Some("red".to_owned()), ..admin.clone() };
    for (who, name, address) in [(&admin, "four", "10.9.9.9"), (&red, "six", "2001:db8::9")] {
        site.make(who, "/api/vsvip", json!({"uuid": name, "name": name, "vip": vip(address)})).await;
    }
    let of = |field: &str, address: &str| {
        let kind = if address.contains(':') { "V6" } else { "V4" };
        json!({"replace": {field: {"addr": address, "type": kind}}})
    };
    for (field, address, whose) in [
        ("virtual_ip", "10.9.9.9", "VsVip four"),
        ("virtual_ip6", "2001:db8::9", "a service that you may not see"),
    ] {
        let why = refused(&site, &admin, "PATCH", "/api/cluster", of(field, address)).await;
        assert!(why.contains(&format!("{field}: {address} is an address of {whose}")), "{why}");
    }
    changed(&site, &admin, "/api/cluster", of("virtual_ip", "10.9.9.10")).await;
    changed(&site, &admin, "/api/cluster", of("virtual_ip", "10.9.9.11")).await;
    let own = json!({"name": "v", "vip": vip("10.9.9.11")});
    let why = refused(&site, &red, "POST", "/api/vsvip", own).await;
    assert!(why.contains("10.9.9.11 is the virtual address of the Controllers"), "{why}");
    let moved = json!({"replace": {"vip": vip("10.9.9.11")}});
    refused(&site, &admin, "PATCH", "/api/vsvip/four", moved).await;
    changed(&site, &admin, "/api/vsvip/four", json!({"replace": {"vip": vip("10.9.9.10")}})).await;
}

//= test PLACE-ADDRESS-01
#[tokio::test]
async fn a_host_is_one_childs_of_its_parent() {
    let site = Site::new("children").await;
    let admin = site.admin().await;
    for name in ["one", "two"] {
        let parent = json!({"uuid": format!("parent-{name}"), "name": name, "type": "VS_TYPE_VH_PARENT"});
        site.make(&admin, "/api/virtualservice", parent).await;
    }
    let child = |uuid: &str, parent: &str, host: &str| {
        json!({"uuid": uuid, "name": uuid, "type": "VS_TYPE_VH_CHILD", "vh_domain_name": [host],
            "vh_parent_vs_ref": format!("/api/virtualservice/parent-{parent}")})
    };
    site.make(&admin, "/api/virtualservice", child("shop", "one", "shop.example")).await;
    let why = refused(&site, &admin, "POST", "/api/virtualservice", child("0", "one", "Shop.Example.")).await;
    assert!(why.contains("shop.example is chosen by VirtualService shop already"), "{why}");
    site.make(&admin, "/api/virtualservice", child("0", "two", "shop.example")).await;
    // The other way to name one; of a host several may have paths, each its own.
    let by = |uuid: &str, host: &str, path: Option<&str>| {
        let mut entry = json!({"host": host});
        if let Some(path) = path {
            entry["path"] = json!([{"match_criteria": "BEGINS_WITH", "match_str": [path]}]);
        }
        json!({"uuid": uuid, "name": uuid, "type": "VS_TYPE_VH_CHILD", "vh_type": "VS_TYPE_VH_ENHANCED", "vh_matches": [entry],
            "vh_parent_vs_ref": "/api/virtualservice/parent-one"})
    };
    let why = refused(&site, &admin, "POST", "/api/virtualservice", by("1", "SHOP.example", None)).await;
    assert!(why.contains("shop.example is chosen by VirtualService shop already"), "{why}");
    site.make(&admin, "/api/virtualservice", by("cart", "shop.example", Some("/cart"))).await;
    site.make(&admin, "/api/virtualservice", by("help", "shop.example", Some("/help"))).await;
    refused(&site, &admin, "POST", "/api/virtualservice", by("2", "shop.example", Some("/cart"))).await;
}

//= test PLACE-GROUP-01
#[tokio::test]
async fn services_that_share_addresses_name_one_group_of_engines() {
    let site = Site::new("one-group").await;
    let admin = site.admin().await;
    let group = site.make(&admin, "/api/serviceenginegroup", json!({"name": "other"})).await;
    site.make(&admin, "/api/vsvip", json!({"uuid": "vip-1", "name": "v", "vip": vip("10.9.9.9")})).await;
    for port in [80, 81] {
        let service = json!({"uuid": format!("vs-{port}"), "name": format!("vs-{port}"),
            "vsvip_ref": "/api/vsvip/vip-1", "services": [{"port": port}]});
        site.make(&admin, "/api/virtualservice", service).await;
    }
    let other = json!({"replace": {"se_group_ref": group["url"]}});
    let why = refused(&site, &admin, "PATCH", "/api/virtualservice/vs-81", other.clone()).await;
    assert!(why.contains("VirtualService vs-80 has the same addresses"), "{why}");
    let standard = json!({"replace": {"se_group_ref": "/api/serviceenginegroup?name=Default-Group"}});
    changed(&site, &admin, "/api/virtualservice/vs-81", standard).await;
    // Both move: one after the other, while they are off.
    let off = json!({"replace": {"enabled": false}});
    changed(&site, &admin, "/api/virtualservice/vs-80", off).await;
    changed(&site, &admin, "/api/virtualservice/vs-81", other.clone()).await;
    let on = json!({"replace": {"enabled": true}});
    refused(&site, &admin, "PATCH", "/api/virtualservice/vs-80", on.clone()).await;
    changed(&site, &admin, "/api/virtualservice/vs-80", other).await;
    changed(&site, &admin, "/api/virtualservice/vs-80", on).await;
}

//= test PLACE-GROUP-02
#[tokio::test]
async fn no_more_services_share_addresses_than_an_engine_may_have() {
    let site = Site::new("room").await;
    let admin = site.admin().await;
    site.make(&admin, "/api/vsvip", json!({"uuid": "vip-1", "name": "v", "vip": vip("10.9.9.9")})).await;
    let service = |port: usize| {
        json!({"uuid": format!("vs-{port}"), "name": format!("vs-{port}"), "vsvip_ref": "/api/vsvip/vip-1",
            "services": [{"port": port}]})
    };
    for port in 1..=10 {
        site.make(&admin, "/api/virtualservice", service(port)).await;
    }
    let why = refused(&site, &admin, "POST", "/api/virtualservice", service(11)).await;
    assert!(
        why.contains("10 virtual services have these addresses") && why.contains("Default-Group is 10"),
        "{why}"
    );
    // Who is there may be written again, and a child is none of them.
    changed(&site, &admin, "/api/virtualservice/vs-1", json!({"replace": {"type": "VS_TYPE_VH_PARENT"}}))
        .await;
    let child = json!({"name": "child", "type": "VS_TYPE_VH_CHILD", "vh_domain_name": ["a.example"],
        "vh_parent_vs_ref": "/api/virtualservice/vs-1"});
    site.make(&admin, "/api/virtualservice", child).await;
    let groups = site.ask(&admin, "GET", "/api/serviceenginegroup?name=Default-Group", &Value::Null).await;
    let group = groups.json["results"][0]["uuid"].as_str().expect("a group").to_owned();
    changed(
        &site,
        &admin,
        &format!("/api/serviceenginegroup/{group}"),
        json!({"replace": {"max_vs_per_se": 11}}),
    )
    .await;
    site.make(&admin, "/api/virtualservice", service(11)).await;
}
