//! Certificates, clouds, engines, accounts, alerts and the system, as clients send them.

mod documents;

use documents::{checked, documents, object, v4};
use forebay_model::{kind, shape};
use serde_json::{Value, json};

#[test]
fn every_kind_takes_what_its_clients_send_and_gives_it_back() {
    for (path, document) in documents() {
        let made = checked(path, &document).unwrap_or_else(|problems| panic!("{path}: {problems:#?}"));
        for (name, value) in object(&document) {
            // Nothing that was sent is lost or changed; messages may have grown defaults.
            let kept = made.get(&name).unwrap_or_else(|| panic!("{path}.{name} is gone"));
            assert!(covers(kept, &value), "{path}.{name}: {value} became {kept}");
        }
        assert_eq!(checked(path, &Value::Object(made.clone())).as_ref(), Ok(&made), "{path}");
    }
}

/// Says whether `whole` has all of `part`.
fn covers(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| covers(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| covers(whole, part))
        }
        _ => whole == part,
    }
}

/// Changes a document of a kind, and tells what is then said.
fn broken(path: &str, change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let (_, mut document) =
        documents().into_iter().find(|(kind, _)| *kind == path).unwrap_or_else(|| panic!("{path}"));
    change(&mut document);
    let problems = checked(path, &document).expect_err("a mistake");
    assert!(problems.iter().all(|problem| !problem.fix.is_empty()), "{path}: {problems:?}");
    problems.into_iter().map(|problem| (problem.path, problem.reason)).collect()
}

fn told(path: &str, change: impl FnOnce(&mut Value), wanted: &str, reason: &str) {
    let told = broken(path, change);
    assert_eq!(told, [(wanted.to_owned(), reason.to_owned())], "{path}");
}

#[test]
fn rules_of_certificates_and_accounts_name_the_place() {
    told(
        "sslprofile",
        |profile| profile["accepted_versions"][1] = json!({"type": "SSL_VERSION_TLS1_2"}),
        "accepted_versions[1].type",
        "accepted_versions[0] has the same",
    );
    told(
        "sslkeyandcertificate",
        |certificate| certificate["import_key_to_hsm"] = json!(true),
        "hardwaresecuritymodulegroup_ref",
        "it is missing, and the key is to go to a security module",
    );
    told(
        "sslkeyandcertificate",
        |certificate| certificate["key"] = json!("x".repeat(64 * 1024 + 1)),
        "key",
        "it has 65537 bytes",
    );
    told(
        "role",
        |role| role["privileges"][1]["resource"] = json!("PERMISSION_POOL"),
        "privileges[1].resource",
        "privileges[0] has the same",
    );
    told(
        "role",
        |role| role["privileges"][1]["resource"] = json!("PERMISSION_VSVIP"),
        "privileges[1].resource",
        "\"PERMISSION_VSVIP\" is not allowed",
    );
    told(
        "authprofile",
        |profile| profile["type"] = json!("AUTH_PROFILE_SAML"),
        "saml",
        "it is missing, and the type is AUTH_PROFILE_SAML",
    );
    told(
        "useraccountprofile",
        |profile| profile["max_login_failure_count"] = json!(2),
        "max_login_failure_count",
        "2 is not allowed",
    );
}

#[test]
fn rules_of_clouds_and_networks_name_the_place() {
    told(
        "cloud",
        |cloud| cloud["vtype"] = json!("CLOUD_NONE"),
        "linuxserver_configuration",
        "it says nothing for CLOUD_NONE",
    );
    told(
        "network",
        |network| {
            let range = &mut network["configured_subnets"][0]["static_ip_ranges"][0]["range"];
            range["end"] = v4("192.0.2.99");
        },
        "configured_subnets[0].static_ip_ranges[0].range.end",
        "the range ends before it begins",
    );
    told(
        "network",
        |network| {
            let range = &mut network["configured_subnets"][0]["static_ip_ranges"][0]["range"];
            range["end"] = v4("192.0.2.300");
        },
        "configured_subnets[0].static_ip_ranges[0].range.end.addr",
        "\"192.0.2.300\" is no address of type V4",
    );
    told(
        "vrfcontext",
        |vrf| {
            let route = vrf["static_routes"][0].clone();
            vrf["static_routes"] = json!([route.clone(), route]);
        },
        "static_routes[1].route_id",
        "static_routes[0] has the same",
    );
    told(
        "vrfcontext",
        |vrf| vrf["bgp_profile"]["peers"][0] = json!({"remote_as": 65_001}),
        "bgp_profile.peers[0]",
        "it has no address",
    );
    told(
        "vrfcontext",
        |vrf| vrf["bgp_profile"]["hold_time"] = json!(10),
        "bgp_profile.keepalive_interval",
        "10 s is not below hold_time, which is 10 s",
    );
    told(
        "vrfcontext",
        |vrf| vrf["bgp_profile"]["local_as"] = json!(0),
        "bgp_profile.local_as",
        "0 is not allowed",
    );
    told(
        "ipamdnsproviderprofile",
        |profile| profile["type"] = json!("IPAMDNS_TYPE_AWS_DNS"),
        "internal_profile",
        "it says nothing for IPAMDNS_TYPE_AWS_DNS",
    );
}

#[test]
fn rules_of_engines_and_the_system_name_the_place() {
    told(
        "serviceenginegroup",
        |group| group["max_scaleout_per_vs"] = json!(1),
        "min_scaleout_per_vs",
        "2 is above max_scaleout_per_vs, which is 1",
    );
    told(
        "serviceenginegroup",
        |group| group["num_dispatcher_cores"] = json!(3),
        "num_dispatcher_cores",
        "3 is not allowed",
    );
    told(
        "serverautoscalepolicy",
        |policy| policy["max_size"] = json!(0),
        "min_size",
        "1 is above max_size, which is 0",
    );
    told(
        "cluster",
        |cluster| cluster["nodes"][1]["ip"] = v4("192.0.2.11"),
        "nodes[1].ip",
        "nodes[0].ip is 192.0.2.11 as well",
    );
    told(
        "cluster",
        |cluster| cluster["virtual_ip"] = v4("192.0.2.12"),
        "nodes[1].ip",
        "virtual_ip is 192.0.2.12 as well",
    );
    told("cluster", |cluster| cluster["nodes"][0] = json!({"name": "a"}), "nodes[0]", "it has no address");
    told(
        "gslb",
        |gslb| gslb["leader_cluster_uuid"] = json!("cluster-2"),
        "leader_cluster_uuid",
        "it is the cluster of none of the sites",
    );
    told(
        "gslb",
        |gslb| gslb["third_party_sites"][0]["name"] = json!("east"),
        "third_party_sites[0].name",
        "sites[0] has the same",
    );
    told(
        "gslbservice",
        |service| {
            let group = service["groups"][0].clone();
            service["groups"] = json!([group.clone(), group]);
        },
        "groups[1].name",
        "groups[0] has the same",
    );
    told(
        "gslbservice",
        |service| service["groups"][0]["members"][0] = json!({"ratio": 2}),
        "groups[0].members[0]",
        "it has no address",
    );
}

#[test]
fn an_engine_group_has_the_defaults_of_the_documents_but_for_one_port() {
    let group = checked("serviceenginegroup", &json!({"name": "g"})).expect("good");
    for (name, value) in [
        ("max_se", json!(10)),
        ("ha_mode", json!("HA_MODE_SHARED")),
        ("se_deprovision_delay", json!(120)),
        ("use_objsync", json!(true)),
        ("objsync_port", json!(9001)),
        ("vs_scalein_timeout", json!(30)),
        ("se_tunnel_mode", json!(0)),
    ] {
        assert_eq!(group[name], value, "{name}");
    }
    assert!(group.get("se_mtu").is_none() && group.get("hypervisor").is_none());
}

#[test]
fn an_address_is_one_wherever_it_stands() {
    for (path, at) in [
        ("hardwaresecuritymodulegroup", "/hsm/rfs"),
        ("cloud", "/linuxserver_configuration/hosts/0"),
        ("vrfcontext", "/static_routes/0"),
        ("ipamdnsproviderprofile", "/infoblox_profile"),
        ("serviceenginegroup", "/iptables/0/rules/0"),
        ("serviceengine", "/mgmt_vnic"),
        ("systemconfiguration", "/dns_configuration/server_list/0"),
        ("cluster", "/nodes/0"),
        ("gslb", "/sites/0/ip_addresses/0"),
        ("gslbservice", "/groups/0/members/0"),
    ] {
        let (_, mut document) = documents().into_iter().find(|(kind, _)| *kind == path).expect("a kind");
        let wrong = v4("10.0.0.256");
        match path {
            "hardwaresecuritymodulegroup" => document["hsm"]["rfs"] = json!({"ip": wrong}),
            "ipamdnsproviderprofile" => {
                document = json!({"name": "i", "type": "IPAMDNS_TYPE_INFOBLOX",
                    "infoblox_profile": {"username": "u", "password": "p", "ip_address": wrong}});
            }
            "serviceenginegroup" => {
                document["iptables"] = json!([{"chain": "c", "table": "t",
                    "rules": [{"action": "DNAT", "dnat_ip": wrong}]}]);
            }
            "serviceengine" => document["mgmt_vnic"] = json!({"mac_address": "m", "tepless_ip": wrong}),
            "cloud" => document.pointer_mut(at).expect(at)["host_ip"] = wrong,
            "vrfcontext" => document.pointer_mut(at).expect(at)["next_hop"] = wrong,
            "cluster" | "gslbservice" => document.pointer_mut(at).expect(at)["ip"] = wrong,
            _ => *document.pointer_mut(at).expect(at) = wrong,
        }
        let problems = checked(path, &document).expect_err(path);
        assert_eq!(problems.len(), 1, "{path}: {problems:?}");
        let front = at.trim_start_matches('/').replace("/0", "[0]").replace('/', ".");
        assert!(problems[0].path.starts_with(&front) && problems[0].path.ends_with(".addr"), "{problems:?}");
        assert_eq!(problems[0].reason, "\"10.0.0.256\" is no address of type V4", "{path}");
    }
}

/// What must never be seen again once it was sent.
const SECRETS: [(&str, &str); 14] = [
    ("sslkeyandcertificate", "/key"),
    ("sslkeyandcertificate", "/key_passphrase"),
    ("user", "/password"),
    ("authprofile", "/ldap/settings/password"),
    ("cloudconnectoruser", "/private_key"),
    ("cloudconnectoruser", "/azure_serviceprincipal/authentication_token"),
    ("vrfcontext", "/bgp_profile/peers/0/md5_secret"),
    ("systemconfiguration", "/email_configuration/auth_password"),
    ("gslb", "/sites/0/password"),
    ("backupconfiguration", "/backup_passphrase"),
    ("cluster", "/nodes/0/password"),
    ("hardwaresecuritymodulegroup", "/hsm/sluna/server/0/partition_passwd"),
    ("controllerproperties", "/portal_token"),
    ("ipamdnsproviderprofile", "/infoblox_profile/password"),
];

#[test]
fn secrets_are_masked_and_come_back() {
    for (path, at) in SECRETS {
        let (_, mut document) = documents().into_iter().find(|(kind, _)| *kind == path).expect("a kind");
        if path == "ipamdnsproviderprofile" {
            document = json!({"name": "i", "type": "IPAMDNS_TYPE_INFOBLOX",
                              "infoblox_profile": {"username": "u", "password": "p"}});
        }
        let (holder, name) = at.rsplit_once('/').expect("a path");
        document.pointer_mut(holder).expect(at)[name] = json!("top secret");
        let kind = kind(path).expect("a kind");
        let old = checked(path, &document).expect("good");
        let mut shown = old.clone();
        shape::mask(kind, &mut shown);
        let shown_value = Value::Object(shown.clone());
        assert_eq!(shown_value.pointer(at), Some(&json!(shape::MASK)), "{path}{at}");
        assert!(!shown_value.to_string().contains("top secret"), "{path}{at}");
        let mut again = checked(path, &shown_value).expect("what was shown may be sent back");
        shape::keep_secrets(kind, &mut again, &old);
        assert_eq!(again, old, "{path}{at}");
    }
}
