//! Inserted cookies that are not what we gave: ignored, replaced, never followed, never an error.

use forebay_e2e::scene::tally;
use forebay_e2e::{Client, Lab, Scene, config};

const NAME: &str = "STICKY";

fn scene() -> Scene {
    let profile = config::persistence("p", "http_cookie", &format!("cookie_name = \"{NAME}\""));
    Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile)
}

/// A cookie as the service gives it, and the server that it names.
fn given(at: std::net::SocketAddr) -> (String, String) {
    let answer = Client::new(at).get_once("/").unwrap();
    (answer.cookie(NAME).expect("a new client is given a cookie").to_owned(), answer.server().to_owned())
}

/// Sends a cookie; expects an ordinary answer with a fresh cookie. Returns the server.
#[track_caller]
fn ignored(at: std::net::SocketAddr, value: &str) -> String {
    let answer = Client::new(at).with_cookie(NAME, value).get_once("/").unwrap();
    assert_eq!(answer.status, 200, "{value}");
    let fresh = answer.cookie(NAME).unwrap_or_else(|| panic!("no new cookie in place of {value}"));
    assert_ne!(fresh, value);
    answer.server().to_owned()
}

#[test]
fn a_true_cookie_is_followed_and_not_given_again() {
    let scene = scene();
    let (value, server) = given(scene.at);
    for _ in 0..10 {
        let answer = Client::new(scene.at).with_cookie(NAME, &value).get_once("/").unwrap();
        assert_eq!(answer.server(), server);
        assert_eq!(answer.cookie(NAME), None, "the client has it already");
    }
}

#[test]
fn the_cookie_does_not_go_to_the_server() {
    let scene = scene();
    let (value, _) = given(scene.at);
    let echo =
        Client::new(scene.at).with_cookie("mine", "1").with_cookie(NAME, &value).get("/").unwrap().json();
    let headers = echo["headers"].to_string();
    assert!(headers.contains("mine=1"), "{headers}");
    assert!(!headers.contains(NAME), "{headers}");
}

#[test]
fn no_server_address_can_be_read_in_the_cookie() {
    let scene = scene();
    let mut values = Vec::new();
    for _ in 0..9 {
        let (value, _) = given(scene.at);
        for server in &scene.servers {
            let port = server.address.port();
            assert!(!value.contains(&port.to_string()), "{value}");
            assert!(!value.contains(&format!("{port:x}")), "{value}");
        }
        values.push(value);
    }
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 9, "the same server never looks the same twice");
}

#[test]
fn a_truncated_cookie_is_ignored_at_every_length() {
    let scene = scene();
    let (value, _) = given(scene.at);
    for length in 0..value.len() {
        ignored(scene.at, &value[..length]);
    }
    ignored(scene.at, &format!("{value}A"));
}

#[test]
fn a_cookie_with_one_changed_character_is_ignored() {
    let scene = scene();
    let (value, _) = given(scene.at);
    for at in 0..value.len() {
        let mut bytes = value.clone().into_bytes();
        // The last character of base64 may hold unused bits: any change of it must be refused as well.
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        ignored(scene.at, &String::from_utf8(bytes).unwrap());
    }
}

#[test]
fn random_and_huge_cookies_are_ignored() {
    let scene = scene();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let set = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    let mut seen = Vec::new();
    for n in 0..300 {
        let length = if n % 100 == 99 { 4096 } else { 1 + n % 120 };
        let value: String = (0..length)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                set[(state >> 33) as usize % set.len()] as char
            })
            .collect();
        seen.push(ignored(scene.at, &value));
    }
    assert_eq!(tally(seen).len(), 3, "the algorithm decides");
}

#[test]
fn a_cookie_of_another_service_of_the_same_key_is_ignored() {
    let lab = Lab::new();
    let servers = lab.demos(["a", "b", "c"]);
    let addresses = [servers[0].address, servers[1].address, servers[2].address];
    let [one, two] = lab.addresses();
    let keys = "algorithm = \"round_robin\"\npersistence = \"p\"";
    let text = config::COOKIE_KEY.to_owned()
        + &config::service("one", one)
        + &config::service("two", two)
        + &config::pool("one", keys, &addresses)
        + &config::pool("two", keys, &addresses)
        + &config::persistence("p", "http_cookie", &format!("cookie_name = \"{NAME}\""));
    let _engine = lab.engine(&text);
    for _ in 0..6 {
        let (value, _) = given(one);
        ignored(two, &value);
    }
    let (value, server) = given(two);
    assert_eq!(Client::new(two).with_cookie(NAME, &value).get_once("/").unwrap().server(), server);
}

#[test]
fn a_cookie_that_names_no_member_of_the_pool_is_ignored() {
    // Two engines with one key and equal names: the second one's pool lacks the first one's servers.
    let first = scene();
    let second = scene();
    for _ in 0..6 {
        let (value, _) = given(first.at);
        ignored(second.at, &value);
    }
}

#[test]
fn an_old_key_still_opens_and_the_new_one_seals() {
    let lab = Lab::new();
    let servers = lab.demos(["a", "b", "c"]);
    let addresses = [servers[0].address, servers[1].address, servers[2].address];
    let at = lab.address();
    let keys = "algorithm = \"round_robin\"\npersistence = \"p\"";
    let rest = config::service("web", at)
        + &config::pool("web", keys, &addresses)
        + &config::persistence("p", "http_cookie", &format!("cookie_name = \"{NAME}\""));
    let new_key = "[[cookie_key]]\nname = \"k2\"\nkey = \"IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=\"\n";
    let mut before = lab.engine(&format!("{}{rest}", config::COOKIE_KEY));
    let (old, server) = given(at);
    before.process.end(forebay_e2e::wait::secs(40));
    let mut both = lab.engine(&format!("{new_key}{}{rest}", config::COOKIE_KEY));
    let answer = Client::new(at).with_cookie(NAME, &old).get_once("/").unwrap();
    assert_eq!(answer.server(), server, "the old key still opens");
    let (fresh, server) = given(at);
    both.process.end(forebay_e2e::wait::secs(40));
    let _after = lab.engine(&format!("{new_key}{rest}"));
    let answer = Client::new(at).with_cookie(NAME, &fresh).get_once("/").unwrap();
    assert_eq!(answer.server(), server, "the new key seals");
    ignored(at, &old);
}

#[test]
fn the_cookie_has_the_attributes_of_its_profile() {
    let profile = config::persistence(
        "p",
        "http_cookie",
        "cookie_name = \"STICKY\"\nhttp_only = true\npersistent_cookie = true\ntimeout_min = 30\nalways_send_cookie = true",
    );
    let scene = Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile);
    let mut client = scene.client();
    for _ in 0..2 {
        let answer = client.get("/").unwrap();
        let set = answer.fields("set-cookie").next().expect("always sent").to_ascii_lowercase();
        for part in ["httponly", "path=/", "max-age=1800"] {
            assert!(set.contains(part), "{part}: {set}");
        }
        assert!(!set.contains("secure"), "not on clear HTTP: {set}");
    }
}
