//! The objects of the first start.

use std::collections::BTreeSet;

use forebay_model::reference::Reference;
use forebay_model::{Kind, Object, builtin, check, kind, shape};
use serde_json::Value;

fn made() -> Vec<(&'static Kind, Object)> {
    builtin::objects()
        .into_iter()
        .map(|object| {
            let of = kind(object.kind).unwrap_or_else(|| panic!("{} is a kind", object.kind));
            let sent = object.document.as_object().expect("an object");
            let made = check(of, sent)
                .unwrap_or_else(|problems| panic!("{} {}: {problems:#?}", object.kind, object.name()));
            (of, made)
        })
        .collect()
}

#[test]
fn each_is_what_a_client_might_have_sent_and_stands_once() {
    let mut seen = BTreeSet::new();
    for (kind, object) in made() {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        assert!(seen.insert((kind.path, name.to_owned())), "{} {name} stands twice", kind.path);
        assert_eq!(check(kind, &object).as_ref(), Ok(&object), "{} {name}", kind.path);
    }
}

#[test]
fn the_names_that_clients_look_up_are_there() {
    for (kind, names) in [
        ("tenant", &["admin"][..]),
        ("cloud", &["Default-Cloud"]),
        ("serviceenginegroup", &["Default-Group"]),
        ("vrfcontext", &["global"]),
        (
            "applicationprofile",
            &[
                "System-HTTP",
                "System-Secure-HTTP",
                "System-L4-Application",
                "System-SSL-Application",
                "System-DNS",
            ],
        ),
        (
            "networkprofile",
            &["System-TCP-Proxy", "System-TCP-Fast-Path", "System-UDP-Fast-Path", "System-SCTP-Proxy"],
        ),
        (
            "healthmonitor",
            &["System-HTTP", "System-HTTPS", "System-TCP", "System-UDP", "System-Ping", "System-SCTP"],
        ),
        (
            "applicationpersistenceprofile",
            &[
                "System-Persistence-Client-IP",
                "System-Persistence-Http-Cookie",
                "System-Persistence-TLS",
                "System-Persistence-App-Cookie",
                "System-Persistence-Custom-Http-Header",
            ],
        ),
        ("sslprofile", &["System-Standard"]),
        ("analyticsprofile", &["System-Analytics-Profile"]),
        ("sslkeyandcertificate", &["System-Default-Cert"]),
        (
            "role",
            &[
                "System-Admin",
                "Tenant-Admin",
                "Application-Admin",
                "Application-Operator",
                "Security-Admin",
                "WAF-Admin",
            ],
        ),
        ("user", &["admin"]),
        ("cluster", &["cluster-0-1"]),
    ] {
        for name in names {
            assert!(builtin::is_built_in(kind, name), "{kind} {name}");
        }
    }
    assert!(!builtin::is_built_in("pool", "admin") && !builtin::is_built_in("tenant", "Admin"));
}

#[test]
fn a_reference_leads_to_one_that_stands_before() {
    let mut before: BTreeSet<(&str, String)> = BTreeSet::new();
    for (of, mut object) in made() {
        shape::references(of, &mut object, &mut |path, kind, text| {
            let name = match Reference::read(text, kind).expect("a reference") {
                Reference::Uuid(name) | Reference::Name(name) => name,
            };
            assert!(before.contains(&(kind, name)), "{} {path}: {text}", of.path);
        });
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        before.insert((of.path, name.to_owned()));
    }
}

#[test]
fn roles_grant_what_their_names_say_and_name_every_resource() {
    let access = |role: &str, resource: &str| -> String {
        let (_, role) = made()
            .into_iter()
            .find(|(kind, object)| kind.path == "role" && object["name"] == role)
            .expect("a role");
        let privileges = role["privileges"].as_array().cloned().expect("a list");
        let privilege =
            privileges.iter().find(|privilege| privilege["resource"] == resource).expect("every resource");
        privilege["type"].as_str().expect("a text").to_owned()
    };
    for (role, resource, wanted) in [
        ("System-Admin", "PERMISSION_SYSTEMCONFIGURATION", "WRITE_ACCESS"),
        ("Tenant-Admin", "PERMISSION_VIRTUALSERVICE", "WRITE_ACCESS"),
        ("Tenant-Admin", "PERMISSION_CLOUD", "READ_ACCESS"),
        ("Tenant-Admin", "PERMISSION_SYSTEMCONFIGURATION", "NO_ACCESS"),
        ("Application-Admin", "PERMISSION_POOL", "WRITE_ACCESS"),
        ("Application-Admin", "PERMISSION_SSLKEYANDCERTIFICATE", "READ_ACCESS"),
        ("Application-Admin", "PERMISSION_USER", "NO_ACCESS"),
        ("Security-Admin", "PERMISSION_SSLKEYANDCERTIFICATE", "WRITE_ACCESS"),
        ("Security-Admin", "PERMISSION_POOL", "READ_ACCESS"),
        ("WAF-Admin", "PERMISSION_WAFPOLICY", "WRITE_ACCESS"),
    ] {
        assert_eq!(access(role, resource), wanted, "{role} {resource}");
    }
    for (of, role) in made().into_iter().filter(|(kind, _)| kind.path == "role") {
        let privileges = role["privileges"].as_array().expect("a list");
        assert_eq!(
            privileges.len(),
            forebay_model::schema::PERMISSIONS.len(),
            "{} {}",
            of.path,
            role["name"]
        );
        let writes = privileges.iter().filter(|privilege| privilege["type"] == "WRITE_ACCESS").count();
        match role["name"].as_str() {
            Some("System-Admin") => assert_eq!(writes, privileges.len()),
            Some("Application-Operator") => assert_eq!(writes, 0),
            _ => assert!(writes > 0 && writes < privileges.len()),
        }
    }
}

#[test]
fn nobody_is_let_in_by_a_password_that_is_known_to_all() {
    for (kind, object) in made() {
        let mut shown = object.clone();
        shape::mask(kind, &mut shown);
        assert_eq!(shown, object, "{}: a secret stands in it", kind.path);
    }
}
