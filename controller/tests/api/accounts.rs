//! Users, passwords, and what is done at the machine.

use std::sync::Arc;

use forebay_controller::{backup, local};
use serde_json::{Value, json};

use crate::site::Site;

const NONE: Value = Value::Null;

//= test API-PASSWORD-01
//= test API-PASSWORD-02
#[tokio::test]
async fn users_come_in_and_a_new_password_ends_their_other_sessions() {
    let site = Site::new("accounts").await;
    let admin = site.admin().await;
    let access = json!([{"role_ref": "/api/role?name=Application-Admin", "all_tenants": true}]);
    let user = json!({"name": "ann", "username": "ann@site", "password": "first password", "access": access});
    let made = site.make(&admin, "/api/user", user).await;
    assert_eq!(made["password"], "<sensitive>", "{made}");
    let path = format!("/api/user/{}", made["uuid"].as_str().expect("a uuid"));
    let taken = site.ask(&admin, "POST", "/api/user", &json!({"name": "ann@site"})).await;
    assert_eq!(taken.status, 409, "the name to come in by: {}", taken.text);
    let short = site.ask(&admin, "POST", "/api/user", &json!({"name": "bob", "password": "short"})).await;
    assert_eq!((short.status, &short.json["problems"][0]["path"]), (400, &json!("password")));
    assert!(site.try_login("ann", "first password").await.is_err(), "her name is another one");

    let one = site.login("ann@site", "first password").await;
    let other = site.login("ann@site", "first password").await;
    let status = async |client| site.ask(client, "GET", "/api/pool", &NONE).await.status;
    assert_eq!((status(&one).await, site.ask(&one, "GET", "/api/user", &NONE).await.status), (200, 403));
    // What a client got it may send back without the password, which stays.
    let mut seen = site.ask(&admin, "GET", &path, &NONE).await.json;
    seen["full_name"] = json!("Ann");
    seen.as_object_mut().expect("an object").remove("password");
    let said = site.ask(&admin, "PUT", &path, &seen).await;
    assert_eq!((said.status, status(&one).await), (200, 200), "{}", said.text);

    let old_token = site.ask(&one, "POST", "/api/user-token", &json!({"hours": 1})).await.json;
    let change =
        |old: &str| json!({"old_password": old, "password": "second password", "full_name": "Ann B."});
    let said = site.ask(&one, "PUT", "/api/useraccount", &change("not that one")).await;
    assert_eq!(said.status, 403, "{}", said.text);
    let said = site.ask(&one, "PUT", "/api/useraccount", &change("first password")).await;
    assert_eq!((said.status, &said.json["full_name"]), (200, &json!("Ann B.")), "{}", said.text);
    assert_eq!((status(&one).await, status(&other).await), (200, 401), "her other session is over");
    assert!(site.try_login("ann@site", "first password").await.is_err());
    assert!(site.try_login("ann@site", "second password").await.is_ok());
    // By somebody who may: all sessions are over.
    let change = json!({"replace": {"password": "third password"}});
    assert_eq!(site.ask(&admin, "PATCH", &path, &change).await.status, 200);
    assert_eq!(status(&one).await, 401);

    // Switched off, and gone and made again: no session and no token.
    let one = site.login("ann@site", "third password").await;
    let with_token = async |token: &Value| {
        site.login_with(&json!({"username": "ann@site", "token": token["token"]}), "192.0.2.1").await.status
    };
    assert_eq!(with_token(&old_token).await, 401, "it ended with the password that it was made under");
    let mut tokens = Vec::new();
    let made = loop {
        let made = site.ask(&one, "POST", "/api/user-token", &json!({"hours": 1})).await;
        match made.status {
            200 if tokens.len() < 50 => tokens.push(made.json),
            _ => break made,
        }
    };
    // The one that has ended takes no place.
    assert_eq!((tokens.len(), made.status), (20, 400), "{}", made.text);
    let others = site.ask(&admin, "POST", "/api/user-token", &json!({"hours": 1})).await;
    assert_eq!(others.status, 200, "one user takes no other's: {}", others.text);
    let by_token = async || with_token(&tokens[0]).await;
    assert_eq!(by_token().await, 200);
    let off = json!({"replace": {"is_active": false}});
    assert_eq!(site.ask(&admin, "PATCH", &path, &off).await.status, 200);
    assert_eq!((status(&one).await, by_token().await), (401, 401));
    let no = site.login_from("192.0.2.1", "ann@site", "third password").await;
    assert_eq!((no.status, &no.json["error"]), (401, &json!("Invalid credentials")), "as a wrong password");
    assert_eq!(site.ask(&admin, "DELETE", &path, &NONE).await.status, 204);
    let again = json!({"name": "ann@site", "password": "fourth password", "access": access});
    site.make(&admin, "/api/user", again).await;
    assert_eq!(by_token().await, 401, "a token of her predecessor");
}

//= test API-LOGIN-02
#[tokio::test]
async fn a_stranger_who_tries_passwords_does_not_keep_the_administrator_out() {
    let site = Site::new("stranger").await;
    let mut seen = Vec::new();
    for number in 0..20 {
        seen.push(site.login_from("198.51.100.7", "admin", &format!("wrong {number}")).await.status);
    }
    assert_eq!(seen.iter().filter(|status| **status == 401).count(), 5, "{seen:?}");
    assert_eq!(site.login_from("198.51.100.7", "admin", &site.password).await.status, 403, "it waits");
    assert_eq!(site.login_from("192.0.2.9", "admin", &site.password).await.status, 200);
}

//= test CTL-RESET-01
//= test CTL-BACKUP-01
#[tokio::test]
async fn at_the_machine_passwords_are_reset_and_backups_made_while_it_runs_and_while_it_does_not() {
    const WORDS: &str = "a passphrase for tests";
    let site = Site::new("machine").await;
    let (app, folder) = (site.app.clone(), site.folder.clone());
    std::fs::write(folder.join("copy-of-one-that-was-killed.redb"), "x").expect("room");
    let socket = tokio::spawn(local::serve(folder.clone(), move || Ok(Arc::clone(&app))));
    while !folder.join(local::SOCKET).exists() {
        assert!(!socket.is_finished(), "the socket could not be made");
        tokio::task::yield_now().await;
    }
    let admin = site.admin().await;
    site.make(&admin, "/api/pool", json!({"name": "p"})).await;
    let token = site.ask(&admin, "POST", "/api/user-token", &json!({"hours": 1})).await.json;
    let second = local::reset_password(&folder, "admin").await.expect("a password");
    assert_eq!(site.ask(&admin, "GET", "/api/pool", &NONE).await.status, 401, "sessions are over");
    assert!(site.try_login("admin", &site.password).await.is_err());
    assert!(site.try_login("admin", &second).await.is_ok());
    let said = site.login_with(&json!({"username": "admin", "token": token["token"]}), "192.0.2.1").await;
    assert_eq!(said.status, 401, "and so are tokens");
    let refusal = local::reset_password(&folder, "nobody").await.expect_err("there is none");
    assert!(refusal.contains("no user nobody"), "{refusal}");
    let file = folder.join("backup");
    let counted = local::back_up(&folder, &file, WORDS).await.expect("a backup");
    assert!(counted.entries > 50 && counted.files == 1, "{counted:?}");
    let left = std::fs::read_dir(&folder).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with("copy-")), "{left:?}");

    // Nobody runs over what was restored elsewhere.
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("room");
    assert_eq!(backup::read(&file, &elsewhere, WORDS).await, Ok(counted));
    let third = local::reset_password(&elsewhere, "admin").await.expect("a password");
    assert_ne!(third, second);
    let again = local::back_up(&elsewhere, &folder.join("again"), WORDS).await.expect("a backup");
    assert!(again.entries >= counted.entries, "{again:?}: the reset is an event");
    socket.abort();
}
