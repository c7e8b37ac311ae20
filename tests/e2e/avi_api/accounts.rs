//! Users, passwords, backups: with a Controller that runs, and with one that does not.

use std::path::Path;
use std::process::{Command, Output};

use forebay_e2e::controller::Curl;
use forebay_e2e::wait::secs;
use forebay_e2e::{Controller, Lab, bin};
use serde_json::{Value, json};

/// The program at the Controller's folder.
fn at_machine(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(bin::path("forebay-controller"));
    command.arg("--data-dir").arg(data).args(arguments).env("FOREBAY_PASSPHRASE", "a passphrase for tests");
    command.output().expect("it starts")
}

fn word(out: &Output, front: &str) -> String {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    let line = text.lines().find_map(|line| line.strip_prefix(front));
    line.unwrap_or_else(|| panic!("{text}{errors}")).split(' ').next().expect("a word").to_owned()
}

/// A session that keeps its cookies in a file.
fn session(lab: &Lab, controller: &Controller, jar: &str, user: &str, password: &str) -> (u16, Curl) {
    let jar = lab.folder().join(jar);
    let jar = jar.to_str().expect("a path");
    let client = controller.nobody().with(&["--cookie-jar", jar, "--cookie", jar]);
    let (status, _) = client.send("POST", "/login", &json!({"username": user, "password": password}));
    let text = std::fs::read_to_string(jar).unwrap_or_default();
    let token = text.lines().find_map(|line| line.split_once("csrftoken\t")).map_or("", |(_, token)| token);
    (status, client.with(&["--header", &format!("X-CSRFToken: {token}")]))
}

//= test API-PASSWORD-01
//= test API-PASSWORD-02
//= test CTL-RESET-01
#[test]
fn users_come_in_change_their_passwords_and_are_let_in_again_at_the_machine() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let admin = controller.admin();
    let access = json!([{"role_ref": "/api/role?name=Application-Admin", "all_tenants": true}]);
    let user = json!({"name": "ann", "username": "ann@site", "password": "first password", "access": access});
    let (status, made) = admin.send("POST", "/api/user", &user);
    assert_eq!((status, &made["password"]), (201, &json!("<sensitive>")), "{made}");
    assert_eq!(
        admin.send("POST", "/api/user", &json!({"name": "ann@site"})).0,
        409,
        "the name to come in by"
    );
    let short = json!({"name": "bob", "password": "short"});
    let (status, said) = admin.send("POST", "/api/user", &short);
    assert!(status == 400 && said["problems"][0]["path"] == "password", "{said}");

    let (status, one) = session(&lab, &controller, "one", "ann@site", "first password");
    assert_eq!(status, 200);
    let basic = controller.nobody().with(&["--user", "ann@site:first password"]);
    assert_eq!((one.get("/api/pool").0, basic.get("/api/pool").0), (200, 200));
    assert_eq!(one.get("/api/user").0, 403, "a role without users");
    // What a client got it may send back, and the password stays.
    let path = format!("/api/user/{}", made["uuid"].as_str().expect("a uuid"));
    let mut seen = admin.get(&path).1;
    seen["full_name"] = json!("Ann");
    seen.as_object_mut().expect("an object").remove("password");
    assert_eq!(admin.send("PUT", &path, &seen).0, 200);
    assert_eq!(one.get("/api/pool").0, 200);

    let (_, token) = basic.send("POST", "/api/user-token", &json!({"hours": 1}));
    let change =
        |old: &str| json!({"old_password": old, "password": "second password", "full_name": "Ann B."});
    assert_eq!(basic.send("PUT", "/api/useraccount", &change("not that")).0, 403);
    let (_, other) = session(&lab, &controller, "other", "ann@site", "first password");
    assert_eq!(other.get("/api/pool").0, 200);
    let (status, said) = one.send("PUT", "/api/useraccount", &change("first password"));
    assert_eq!((status, &said["full_name"]), (200, &json!("Ann B.")), "{said}");
    assert_eq!(one.get("/api/useraccount").0, 200, "who changed it stays");
    assert_eq!(other.get("/api/pool").0, 401, "her other sessions do not");
    assert_eq!(basic.get("/api/pool").0, 401, "nor does the old password");
    assert_eq!(session(&lab, &controller, "later", "ann@site", "second password").0, 200);

    // Switched off: no session, no token.
    let come = |token: &Value| {
        controller
            .nobody()
            .send("POST", "/login", &json!({"username": "ann@site", "token": token["token"]}))
            .0
    };
    assert_eq!(come(&token), 401, "tokens end with the password they were got by");
    let (_, token) = one.send("POST", "/api/user-token", &json!({"hours": 1}));
    assert_eq!(come(&token), 200);
    assert_eq!(admin.send("PATCH", &path, &json!({"replace": {"is_active": false}})).0, 200);
    assert_eq!((one.get("/api/pool").0, come(&token)), (401, 401));
    assert_eq!(session(&lab, &controller, "later", "ann@site", "second password").0, 401);

    // At the machine: while it runs, and while it does not.
    let (_, root) = session(&lab, &controller, "root", "admin", &controller.password);
    assert_eq!(root.get("/api/pool").0, 200);
    let out = at_machine(&controller.data, &["password", "reset"]);
    assert!(!out.status.success(), "not without --local");
    let second = word(&at_machine(&controller.data, &["password", "reset", "--local"]), "password: ");
    assert_eq!(
        (root.get("/api/pool").0, admin.get("/api/pool").0),
        (401, 401),
        "sessions and the old password"
    );
    let with = |password: &str| controller.nobody().with(&["--user", &format!("admin:{password}")]);
    assert_eq!(with(&second).get("/api/pool").0, 200);
    assert!(controller.process.end(secs(10)).success());
    let third = word(&at_machine(&controller.data, &["password", "reset", "--local"]), "password: ");
    controller.again(&lab);
    let with = |password: &str| controller.nobody().with(&["--user", &format!("admin:{password}")]);
    assert_eq!((with(&second).get("/api/pool").0, with(&third).get("/api/pool").0), (401, 200));
    let (_, events) = with(&third).get("/api/analytics/logs?type=2&filter=eq(obj_type,USER)&page_size=1000");
    let text = events.to_string();
    assert!(
        text.contains("a wrong password for ann@site") && text.contains("\"client_ip\":\"127.0.0.1\""),
        "{text}"
    );
    for secret in ["first password", "second password", &second, &third, "argon2"] {
        assert!(!text.contains(secret), "{secret} stands in the events");
    }
}

//= test CTL-BACKUP-01
//= test CTL-BACKUP-02
//= test API-AUDIT-02
#[test]
fn a_backup_of_a_controller_that_is_being_written_to_is_restored_elsewhere() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let admin = controller.admin();
    let secret = json!({"name": "c", "key": "-----BEGIN PRIVATE KEY----- very private", "certificate": {"certificate": "pem"}});
    assert_eq!(admin.send("POST", "/api/sslkeyandcertificate", &secret).0, 201);
    let writing = admin.clone();
    let writer = std::thread::spawn(move || {
        (0..60)
            .filter(|number| {
                writing.send("POST", "/api/pool", &json!({"name": format!("p{number}")})).0 == 201
            })
            .count()
    });
    let file = lab.folder().join("backup");
    let name = file.to_str().expect("a path");
    let out = at_machine(&controller.data, &["backup", name]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let later = at_machine(&controller.data, &["backup", name]);
    assert!(String::from_utf8_lossy(&later.stderr).contains("overwrites nothing"));
    assert_eq!(writer.join().expect("a writer"), 60);
    let bytes = std::fs::read(&file).expect("a file");
    for secret in [&b"very private"[..], b"object/", b"argon2id"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "it can be read");
    }
    let left: Vec<_> = std::fs::read_dir(&controller.data)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("copy-")), "{left:?}");
    controller.process.kill();
    let refused = at_machine(&controller.data, &["restore", name]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("overwrites no store"));

    controller.data = lab.folder().join("elsewhere");
    let out = at_machine(&controller.data, &["restore", name]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    controller.again(&lab);
    let admin = controller.admin();
    // Each pool has its event and each event its pool: what was copied was of one moment.
    let (status, pools) = admin.get("/api/pool?page_size=200&fields=name");
    assert_eq!(status, 200, "the password is the old one: {pools}");
    let (_, events) = admin.get("/api/analytics/logs?type=2&filter=eq(obj_type,POOL)&page_size=1000");
    assert_eq!(events["count"], pools["count"], "{events}");
    let out = at_machine(&controller.data, &["backup", lab.folder().join("again").to_str().expect("a path")]);
    assert!(out.status.success(), "secrets open with the key that came along");
    assert_eq!(admin.send("POST", "/api/sslkeyandcertificate", &secret).0, 409);
}
