//! The application's session id: in the cookie, in the query, in the path.

use forebay_e2e::{Client, Scene, config, scene};

fn scene() -> Scene {
    let profile = config::persistence("p", "app_cookie", "cookie_name = \"JSESSIONID\"");
    Scene::new("algorithm = \"round_robin\"\npersistence = \"p\"", &profile)
}

/// A session: its id and its server.
fn log_in(scene: &Scene) -> (String, String) {
    let answer = scene.client().get_once("/login").unwrap();
    (answer.cookie("JSESSIONID").unwrap().to_owned(), answer.server().to_owned())
}

#[test]
fn a_session_id_is_found_in_cookie_query_and_path() {
    let scene = scene();
    for round in 0..6 {
        let (id, home) = log_in(&scene);
        let forms = [
            ("/".to_owned(), true),
            (format!("/?JSESSIONID={id}"), false),
            (format!("/x?a=b&JSESSIONID={id}&c=d"), false),
            (format!("/shop/cart;jsessionid={id}"), false),
            (format!("/shop/cart;jsessionid={id}?a=b"), false),
        ];
        for (target, in_cookie) in forms {
            for _ in 0..7 {
                let mut client = Client::new(scene.at);
                if in_cookie {
                    client = client.with_cookie("other", "1").with_cookie("JSESSIONID", &id);
                }
                let answer = client.get_once(&target).unwrap();
                assert_eq!(answer.server(), home, "round {round}, {target}");
            }
        }
    }
}

#[test]
fn an_unknown_session_id_is_no_reason_to_fail() {
    let scene = scene();
    let seen = (0..30).map(|n| {
        let mut client = Client::new(scene.at).with_cookie("JSESSIONID", &format!("nobody-{n}"));
        let answer = client.get_once("/").unwrap();
        assert_eq!(answer.status, 200);
        answer.server().to_owned()
    });
    assert_eq!(scene::tally(seen).len(), 3);
}

#[test]
fn a_session_id_of_odd_bytes_or_great_length_is_no_reason_to_fail() {
    let scene = scene();
    for odd in ["", "\"quoted\"", "a b", "\u{fc}ml\u{e4}ut", "%00%0d%0a", &"x".repeat(4000)] {
        let mut client = Client::new(scene.at).with_cookie("JSESSIONID", odd);
        let answer = client.get_once("/").unwrap();
        assert_eq!(answer.status, 200, "{odd:?}");
        assert_eq!(answer.fields("set-cookie").count(), 0, "nothing is reflected: {odd:?}");
    }
}
