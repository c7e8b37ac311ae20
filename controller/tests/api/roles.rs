//! Who may do what, over every kind, every role of the first start, and every path.

use std::time::Instant;

use crate::site::{Client, Site, belongs_to_a_tenant, hidden};
use forebay_controller::engines::{Interface, Members};
use forebay_model::kind::Scope;
use forebay_model::schema::PERMISSIONS;
use forebay_model::{builtin, kinds};
use serde_json::{Value, json};

const NONE: Value = Value::Null;

//= test API-ROLE-01
#[tokio::test]
async fn what_no_role_grants_is_denied_for_every_kind_role_and_method() {
    let site = Site::new("table").await;
    let admin = site.admin().await;
    let mut cases = 0;
    let mut granted = 0;
    for role in builtin::objects().into_iter().filter(|object| object.kind == "role") {
        let name = role.name().to_owned();
        let access = json!([{"role_ref": format!("/api/role?name={name}"), "all_tenants": true}]);
        site.user(&admin, &name, access).await;
        let client = site.login(&name, &format!("password-{name}")).await;
        for kind in kinds() {
            let privileges = role.document["privileges"].as_array().expect("a list");
            let held = privileges.iter().find(|held| held["resource"] == kind.permission);
            let held = held.map_or("NO_ACCESS", |held| held["type"].as_str().expect("a name"));
            let one = match kind.scope {
                Scope::Single => format!("/api/{}", kind.path),
                _ => format!("/api/{}/{}-none", kind.path, kind.path),
            };
            let all = format!("/api/{}", kind.path);
            for (method, path, content) in [
                ("GET", &all, NONE),
                ("GET", &one, NONE),
                ("POST", &all, json!({"no": "field"})),
                ("PUT", &one, json!({"no": "field"})),
                ("PATCH", &one, json!({"no": {}})),
                ("DELETE", &one, NONE),
            ] {
                let said = site.ask(&client, method, path, &content).await;
                let is_granted = held == "WRITE_ACCESS" || held == "READ_ACCESS" && method == "GET";
                let is_denied = said.status == 403 && said.text.contains(kind.permission);
                assert_eq!(is_denied, !is_granted, "{name} {method} {path}: {} {}", said.status, said.text);
                cases += 1;
                granted += usize::from(is_granted);
            }
        }
        let said = site.ask(&client, "GET", "/api/se-token", &NONE).await;
        assert_eq!(said.status == 403, name != "System-Admin", "{name}: {}", said.text);
    }
    assert!(cases > 1500 && granted > 300 && granted < cases, "{cases} cases, {granted} granted");
    println!("{cases} cases, {granted} granted");
}

/// A role that grants everything there is.
async fn everything(site: &Site, admin: &Client, name: &str, with: Value) -> Value {
    let privileges: Vec<Value> =
        PERMISSIONS.iter().map(|resource| json!({"resource": resource, "type": "WRITE_ACCESS"})).collect();
    let mut role = json!({"name": name, "privileges": privileges});
    role.as_object_mut().expect("an object").extend(with.as_object().cloned().unwrap_or_default());
    site.make(admin, "/api/role", role).await
}

fn is_silent(said: &crate::site::Said, what: &str) {
    assert!(!said.text.contains("hidden-") && !said.text.contains("of-blue"), "{what}: {}", said.text);
}

//= test API-TENANT-01
//= test API-TENANT-02
#[tokio::test]
async fn the_objects_of_another_tenant_are_not_there_by_any_path() {
    let site = Site::new("tenants").await;
    let admin = site.admin().await;
    for name in ["red", "of-blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    }
    let role = everything(&site, &admin, "everything", NONE).await;
    let access = json!([{"role_ref": role["url"], "tenant_ref": "/api/tenant/tenant-red"}]);
    site.user(&admin, "red-user", access).await;
    let access = json!([{"role_ref": role["url"], "tenant_ref": "/api/tenant/tenant-of-blue"}]);
    site.user(&admin, "user-of-blue", access).await;
    let blue = Client { tenant: Some("of-blue".to_owned()), ..admin.clone() };
    let made = site.one_of_each(&blue).await;
    assert!(made.len() > 40, "{made:?}");

    let red = site.login("red-user", "password-red-user").await;
    let star = Client { tenant: Some("*".to_owned()), ..red.clone() };
    for path in made.iter().copied() {
        for client in [&red, &star] {
            for query in [
                "".to_owned(),
                "?page_size=200&include_name=true".to_owned(),
                format!("?name=hidden-{path}"),
                format!("?uuid={path}-1"),
                format!("?uuid.in={path}-1"),
                "?name.contains=dden".to_owned(),
                "?search=dden".to_owned(),
                "?cloud_ref.name=hidden-cloud".to_owned(),
            ] {
                let said = site.ask(client, "GET", &format!("/api/{path}{query}"), &NONE).await;
                assert_eq!(said.status, 200, "{path}{query}: {}", said.text);
                is_silent(&said, &format!("{path}{query}"));
            }
            for other in &made {
                let said = site
                    .ask(client, "GET", &format!("/api/{path}?referred_by={other}:{other}-1"), &NONE)
                    .await;
                assert_eq!(said.json["count"], 0, "{path} referred by {other}: {}", said.text);
            }
            for (method, content) in [
                ("GET", NONE),
                ("PUT", Value::Object(hidden(path))),
                ("PATCH", json!({"replace": {"description": "x"}})),
                ("DELETE", NONE),
            ] {
                let said = site.ask(client, method, &format!("/api/{path}/{path}-1"), &content).await;
                assert_eq!(said.status, 404, "{method} {path}: {}", said.text);
                let none = site.ask(client, method, &format!("/api/{path}/{path}-none"), &content).await;
                assert_eq!(said.text, none.text, "as of one that there is not");
            }
            for below in ["runtime", "runtime/detail", "placement", "scaleoutstatus"] {
                let said = site.ask(client, "GET", &format!("/api/{path}/{path}-1/{below}"), &NONE).await;
                assert_eq!(said.status, 404, "{path} {below}: {}", said.text);
            }
            for below in ["scaleout", "scalein", "migrate", "switchover", "retryplacement"] {
                let said = site
                    .ask(client, "POST", &format!("/api/{path}/{path}-1/{below}"), &json!({"vip_id": "1"}))
                    .await;
                assert_eq!(said.status, 404, "{path} {below}: {}", said.text);
            }
            let said = site.ask(client, "GET", &format!("/api/{path}-inventory?page_size=200"), &NONE).await;
            is_silent(&said, &format!("{path}-inventory"));
        }
    }
    for kind in kinds().filter(|kind| belongs_to_a_tenant(kind)) {
        // By uuid: what the least object of a kind refers to is the other tenant's.
        let mut object = hidden(kind.path);
        let refers = Value::Object(object.clone()).to_string().matches("/api/").count();
        object.remove("uuid");
        let is_named = kind.field("name").is_some();
        if is_named {
            object.insert("name".to_owned(), json!("mine"));
        }
        let own = Value::Object(object.clone());
        let said = site.ask(&red, "POST", &format!("/api/{}", kind.path), &own).await;
        assert_eq!(said.status, if refers > 0 { 400 } else { 201 }, "{}: {}", kind.path, said.text);
        // By name.
        let by_name = own.to_string().replace("-1\"", "\"");
        let by_name = kinds().fold(by_name, |text, target| {
            text.replace(
                &format!("/api/{0}/{0}\"", target.path),
                &format!("/api/{0}?name=hidden-{0}\"", target.path),
            )
        });
        if refers > 0 {
            let content = serde_json::from_str(&by_name).expect("an object");
            let said = site.ask(&red, "POST", &format!("/api/{}", kind.path), &content).await;
            assert_eq!(said.status, 400, "{}: {}", kind.path, said.text);
        }
        // Into the other tenant.
        object.insert("tenant_ref".to_owned(), json!("/api/tenant/tenant-of-blue"));
        if is_named {
            object.insert("name".to_owned(), json!("theirs"));
        }
        let said = site.ask(&red, "POST", &format!("/api/{}", kind.path), &Value::Object(object)).await;
        assert_eq!(said.status, 400, "{}: {}", kind.path, said.text);
    }
    let named = |name: &str| Client { tenant: Some(name.to_owned()), ..red.clone() };
    let by_uuid = Client { uuid: Some("tenant-of-blue".to_owned()), ..red.clone() };
    for (client, name) in
        [(named("of-blue"), "of-blue"), (by_uuid, "tenant-of-blue"), (named("admin"), "admin")]
    {
        let said = site.ask(&client, "GET", "/api/pool", &NONE).await;
        let none = site.ask(&named("nobody"), "GET", "/api/pool", &NONE).await;
        assert_eq!(
            (said.status, said.text.replace(name, "nobody")),
            (403, none.text),
            "as one that there is not"
        );
    }
    for path in [
        "/api/tenant",
        "/api/user",
        "/api/role",
        "/api/useraccount",
        "/api/analytics/logs?type=2&page_size=1000",
    ] {
        for client in [&red, &star] {
            let said = site.ask(client, "GET", path, &NONE).await;
            assert_eq!(said.status, 200, "{path}: {}", said.text);
            is_silent(&said, path);
        }
    }
    for path in ["/api/tenant/tenant-of-blue", "/api/configuration/export"] {
        let said = site.ask(&red, "GET", path, &NONE).await;
        assert!(matches!(said.status, 403 | 404), "{path}: {}", said.text);
        is_silent(&said, path);
    }
    // Nothing of all this has changed anything, and who may does see all of it.
    for path in made {
        let said = site.ask(&blue, "GET", &format!("/api/{path}/{path}-1"), &NONE).await;
        assert!(said.status == 200 && said.json["description"].is_null(), "{path}: {}", said.text);
    }
}

//= test API-ROLE-02
//= test API-ROLE-03
#[tokio::test]
async fn labels_and_subresources_narrow_what_users_see_and_write() {
    let site = Site::new("labels").await;
    let admin = site.admin().await;
    let filters = json!([{"match_label": {"key": "team", "values": ["red"]}}]);
    let role =
        everything(&site, &admin, "red-team", json!({"filters": filters, "allow_unlabelled_access": false}))
            .await;
    let access = json!([{"role_ref": role["url"], "tenant_ref": "/api/tenant/admin"}]);
    site.user(&admin, "ruby", access).await;
    let red = json!([{"key": "team", "values": ["red"]}]);
    let blue = json!([{"key": "team", "values": ["blue"]}]);
    let own = site.make(&admin, "/api/pool", json!({"name": "own", "markers": red})).await;
    let other = site.make(&admin, "/api/pool", json!({"name": "hidden-pool", "markers": blue})).await;
    site.make(&admin, "/api/pool", json!({"name": "hidden-bare"})).await;
    let group = json!({"name": "group", "markers": red, "members": [{"pool_ref": own["url"]}, {"pool_ref": other["url"]}]});
    let group = site.make(&admin, "/api/poolgroup", group).await;

    let ruby = site.login("ruby", "password-ruby").await;
    let at = |object: &Value, kind: &str| format!("/api/{kind}/{}", object["uuid"].as_str().expect("a uuid"));
    let said = site.ask(&ruby, "GET", "/api/pool", &NONE).await;
    assert_eq!(
        (&said.json["count"], &said.json["results"][0]["name"]),
        (&json!(1), &json!("own")),
        "{}",
        said.text
    );
    assert_eq!(site.ask(&ruby, "GET", &at(&other, "pool"), &NONE).await.status, 404);
    let said = site.ask(&ruby, "GET", &(at(&group, "poolgroup") + "?include_name=true"), &NONE).await;
    assert!(said.text.contains("#own"), "{}", said.text);
    is_silent(&said, "the name of what is not seen");
    // What stood in an object stays in it, seen or not; it cannot be put into another one.
    let said = site.ask(&ruby, "PUT", &at(&group, "poolgroup"), &said.json).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let copy = json!({"name": "copy", "markers": red, "members": [{"pool_ref": other["url"]}]});
    assert_eq!(site.ask(&ruby, "POST", "/api/poolgroup", &copy).await.status, 400);
    for (name, markers, wanted) in [("a", &red, 201), ("b", &blue, 403), ("c", &NONE, 403)] {
        let said = site.ask(&ruby, "POST", "/api/pool", &json!({"name": name, "markers": markers})).await;
        assert_eq!(said.status, wanted, "{name}: {}", said.text);
    }
    let away = json!({"replace": {"markers": blue}});
    assert_eq!(
        site.ask(&ruby, "PATCH", &at(&own, "pool"), &away).await.status,
        403,
        "not out of sight either"
    );
    let said = site.ask(&ruby, "DELETE", &at(&own, "pool"), &NONE).await;
    assert!(said.status == 403 && said.text.contains("PoolGroup group"), "{}", said.text);
    let said = site.ask(&ruby, "GET", "/api/analytics/logs?type=2&page_size=1000", &NONE).await;
    is_silent(&said, "events");
    assert!(said.text.contains("\"obj_name\":\"own\""), "{}", said.text);

    let privileges = json!([
        {"resource": "PERMISSION_POOL", "type": "WRITE_ACCESS", "subresource": {"subresources": ["SUBRESOURCE_POOL_ENABLED"]}},
    ]);
    let role = site.make(&admin, "/api/role", json!({"name": "switch", "privileges": privileges})).await;
    site.user(&admin, "sven", json!([{"role_ref": role["url"], "tenant_ref": "/api/tenant/admin"}])).await;
    let sven = site.login("sven", "password-sven").await;
    for (change, wanted) in [(json!({"enabled": false}), 200), (json!({"default_server_port": 81}), 403)] {
        let said = site.ask(&sven, "PATCH", &at(&own, "pool"), &json!({"replace": change})).await;
        assert_eq!(said.status, wanted, "{change}: {}", said.text);
    }
    assert_eq!(site.ask(&sven, "POST", "/api/pool", &json!({"name": "more"})).await.status, 403);
}

//= test API-ROLE-04
#[tokio::test]
async fn nobody_grants_what_they_lack() {
    let site = Site::new("grant").await;
    let admin = site.admin().await;
    for name in ["red", "blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    }
    let role = |name: &str| json!(format!("/api/role?name={name}"));
    let red = json!("/api/tenant/tenant-red");
    let blue = json!("/api/tenant/tenant-blue");
    let boss = json!([{"role_ref": role("Tenant-Admin"), "tenant_ref": red}]);
    site.user(&admin, "boss", boss.clone()).await;
    let boss_in = site.login("boss", "password-boss").await;
    let try_user = async |name: &str, with: Value| {
        let mut user = json!({"name": name, "username": name, "password": "long enough"});
        user.as_object_mut().expect("an object").extend(with.as_object().cloned().expect("an object"));
        site.ask(&boss_in, "POST", "/api/user", &user).await
    };
    for (number, (with, wanted)) in [
        (json!({"access": [{"role_ref": role("Application-Admin"), "tenant_ref": red}]}), 201),
        (json!({"access": boss}), 201),
        (json!({"access": []}), 201),
        (json!({"is_superuser": true}), 403),
        (json!({"access": [{"role_ref": role("System-Admin"), "tenant_ref": red}]}), 403),
        (json!({"access": [{"role_ref": role("Application-Admin"), "all_tenants": true}]}), 403),
        (
            json!({"access": [{"role_ref": role("Application-Admin"), "tenant_ref": "/api/tenant/admin"}]}),
            403,
        ),
        (json!({"access": [{"role_ref": role("Application-Admin"), "tenant_ref": blue}]}), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let said = try_user(&format!("u{number}"), with.clone()).await;
        assert_eq!(said.status, wanted, "{with}: {}", said.text);
    }
    // Roles of one's own.
    for (privileges, wanted) in [
        (json!([{"resource": "PERMISSION_POOL", "type": "WRITE_ACCESS"}]), 201),
        (json!([{"resource": "PERMISSION_CLOUD", "type": "WRITE_ACCESS"}]), 403),
    ] {
        let said =
            site.ask(&boss_in, "POST", "/api/role", &json!({"name": "r", "privileges": privileges})).await;
        assert_eq!(said.status, wanted, "{privileges}: {}", said.text);
    }
    // Others' accounts: neither changed nor taken over by a new password.
    let root = site.ask(&admin, "GET", "/api/user?name=admin", &NONE).await;
    let root = format!("/api/user/{}", root.json["results"][0]["uuid"].as_str().expect("a uuid"));
    let change = json!({"replace": {"password": "mine from now on"}});
    assert_eq!(site.ask(&boss_in, "PATCH", &root, &change).await.status, 404);
    let mighty = json!([{"role_ref": role("System-Admin"), "all_tenants": true}, {"role_ref": role("Application-Operator"), "tenant_ref": red}]);
    let red_admin = Client { tenant: Some("red".to_owned()), ..admin.clone() };
    let mighty = site.user(&red_admin, "mighty", mighty).await;
    let mighty = format!("/api/user/{}", mighty["uuid"].as_str().expect("a uuid"));
    assert_eq!(site.ask(&boss_in, "GET", &mighty, &NONE).await.status, 200, "a user of this tenant");
    for (method, content) in [("PATCH", &change), ("DELETE", &NONE)] {
        let said = site.ask(&boss_in, method, &mighty, content).await;
        assert!(
            said.status == 403 && said.text.contains("nobody grants"),
            "{method}: {} {}",
            said.status,
            said.text
        );
    }
    // The way back in stays.
    for change in [json!({"is_active": false}), json!({"is_superuser": false}), json!({"name": "other"})] {
        let said = site.ask(&admin, "PATCH", &root, &json!({"replace": change})).await;
        assert_eq!(said.status, 403, "{change}: {}", said.text);
    }
}

/// A role of these privileges.
async fn role(site: &Site, admin: &Client, name: &str, privileges: &[(&str, &str)], with: Value) -> Value {
    let privileges: Vec<Value> = privileges
        .iter()
        .map(|(resource, access)| json!({"resource": resource, "type": format!("{access}_ACCESS")}))
        .collect();
    let mut role = json!({"name": name, "privileges": privileges});
    role.as_object_mut().expect("an object").extend(with.as_object().cloned().unwrap_or_default());
    site.make(admin, "/api/role", role).await
}

//= test API-ROLE-05
#[tokio::test]
async fn maintenance_is_done_in_the_services_own_tenant_and_under_the_roles_labels() {
    let site = Site::new("maintenance").await;
    let admin = site.admin().await;
    for name in ["red", "blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    }
    let read = ("PERMISSION_VIRTUALSERVICE", "READ");
    let keep = ("PERMISSION_VIRTUALSERVICE_MAINTENANCE", "WRITE");
    let reader = role(&site, &admin, "reader", &[read], NONE).await;
    let keeper = role(&site, &admin, "keeper", &[read, keep], NONE).await;
    let filters = json!({"filters": [{"match_label": {"key": "team", "values": ["red"]}}], "allow_unlabelled_access": false});
    let of_team = role(&site, &admin, "of-team", &[read, keep], filters).await;
    let named = |name: &str| Client { tenant: Some(name.to_owned()), ..admin.clone() };
    let mut services = Vec::new();
    for (tenant, team) in [("red", "red"), ("red", "blue"), ("blue", "blue")] {
        let markers = json!([{"key": "team", "values": [team]}]);
        let vip = json!([{"vip_id": "1", "ip_address": {"addr": format!("10.0.0.{}", services.len() + 1), "type": "V4"}}]);
        let name = format!("{tenant}-{team}");
        let vip = site.make(&named(tenant), "/api/vsvip", json!({"name": name, "vip": vip})).await;
        let service =
            json!({"name": name, "vsvip_ref": vip["url"], "services": [{"port": 80}], "markers": markers});
        let made = site.make(&named(tenant), "/api/virtualservice", service).await;
        services.push(made["uuid"].as_str().expect("a uuid").to_owned());
    }
    let in_tenant = |role: &Value, tenant: &str| json!({"role_ref": role["url"], "tenant_ref": format!("/api/tenant/tenant-{tenant}")});
    for (user, access) in [
        ("both", json!([in_tenant(&reader, "red"), in_tenant(&keeper, "blue")])),
        ("team", json!([in_tenant(&reader, "red"), in_tenant(&of_team, "red")])),
    ] {
        let content = json!({"name": user, "username": user, "password": format!("password-{user}"),
            "access": access, "default_tenant_ref": "/api/tenant/tenant-red"});
        site.make(&admin, "/api/user", content).await;
    }
    // Who may is told that there is no engine to do it with.
    let (may, may_not) = (400, 403);
    for (user, tenant, wanted) in [
        ("both", "red", [may_not, may_not, 404]),
        ("both", "*", [may_not, may_not, may]),
        ("both", "blue", [404, 404, may]),
        ("team", "red", [may, may_not, 404]),
        ("team", "*", [may, may_not, 404]),
    ] {
        let client = site.login(user, &format!("password-{user}")).await;
        let client = Client { tenant: Some(tenant.to_owned()), ..client };
        for (service, wanted) in services.iter().zip(wanted) {
            for what in ["scaleout", "scalein", "migrate", "switchover"] {
                let path = format!("/api/virtualservice/{service}/{what}");
                let said = site.ask(&client, "POST", &path, &json!({"vip_id": "1"})).await;
                assert_eq!(said.status, wanted, "{user} as {tenant}: {path}: {}", said.text);
            }
        }
    }
}

//= test SCALE-API-03
#[tokio::test]
async fn an_inventory_names_nothing_that_its_reader_may_not_see() {
    let site = Site::new("inventories").await;
    let admin = site.admin().await;
    let engine = json!({"name": "se", "se_group_ref": "/api/serviceenginegroup?name=Default-Group"});
    let engine = site.make(&admin, "/api/serviceengine", engine).await;
    let engine = engine["uuid"].as_str().expect("a uuid");
    site.app.engines.learn(&site.app.objects.now(), &Members::default());
    let stream = tokio::sync::mpsc::channel(1).0;
    let number = site.app.engines.attach(engine, stream, Instant::now()).expect("it is there");
    site.app.engines.note(engine, number, |engine| {
        let addresses = vec![("10.0.0.1".parse().expect("an address"), 24)];
        engine.machine.interfaces = vec![Interface { addresses, is_up: true, ..Interface::default() }];
        engine.has_tables = true;
    });
    site.make(&admin, "/api/tenant", json!({"name": "red", "uuid": "tenant-red"})).await;
    let red = Client { tenant: Some("red".to_owned()), ..admin.clone() };
    let pool = site.make(&red, "/api/pool", json!({"name": "pool"})).await;
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.0.0.9", "type": "V4"}}]);
    let vip = site.make(&red, "/api/vsvip", json!({"name": "hidden-vip", "vip": vip})).await;
    let service = json!({"name": "hidden-service", "vsvip_ref": vip["url"], "pool_ref": pool["url"], "services": [{"port": 80}], "markers": [{"key": "team", "values": ["red"]}]});
    let service = site.make(&red, "/api/virtualservice", service).await;
    let service = service["uuid"].as_str().expect("a uuid");
    site.app.place().await.expect("written");

    let pools = role(&site, &admin, "pools", &[("PERMISSION_POOL", "READ")], NONE).await;
    // VsVips have the permission of services: labels keep them apart.
    let of_team = json!({"filters": [{"match_label": {"key": "team", "values": ["red"]}}], "allow_unlabelled_access": false});
    let services = role(&site, &admin, "services", &[("PERMISSION_VIRTUALSERVICE", "READ")], of_team).await;
    let engines = role(&site, &admin, "engines", &[("PERMISSION_SERVICEENGINE", "READ")], NONE).await;
    let all = everything(&site, &admin, "all", NONE).await;
    for (user, role, tenant) in [
        ("of-pools", &pools, "red"),
        ("of-services", &services, "red"),
        ("of-engines", &engines, "red"),
        ("of-admin", &all, "admin"),
        ("of-red", &all, "red"),
    ] {
        let tenant = if tenant == "red" { "tenant-red" } else { tenant };
        let access = json!([{"role_ref": role["url"], "tenant_ref": format!("/api/tenant/{tenant}")}]);
        site.user(&admin, user, access).await;
    }
    let asked = async |user: &str, kind: &str| {
        let client = site.login(user, &format!("password-{user}")).await;
        let path = format!("/api/{kind}-inventory?include_name=true");
        let said = site.ask(&client, "GET", &path, &NONE).await;
        assert!(said.status == 200 && said.json["count"] == 1, "{user} {kind}: {}", said.text);
        said
    };
    for (user, kind) in [("of-pools", "pool"), ("of-engines", "serviceengine"), ("of-admin", "serviceengine")]
    {
        let said = asked(user, kind).await;
        assert!(!said.text.contains(service), "{user} {kind}: {}", said.text);
        is_silent(&said, user);
    }
    let said = asked("of-services", "virtualservice").await;
    assert!(!said.text.contains("10.0.0.9") && !said.text.contains("hidden-vip"), "{}", said.text);
    assert_eq!(said.json["results"][0]["pools"], json!([]), "{}", said.text);
    // Who may see it does.
    for (kind, wanted) in
        [("pool", "#hidden-service"), ("serviceengine", "#hidden-service"), ("virtualservice", "10.0.0.9")]
    {
        let said = asked("of-red", kind).await;
        assert!(said.text.contains(wanted), "{kind}: {}", said.text);
    }
}
