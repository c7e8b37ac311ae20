//! A client that goes away while it is answered.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use forebay_controller::api::{self, Peer};
use serde_json::{Value, json};

use crate::site::Site;

/// How often the client stays a little longer: somewhere in it the store has taken the write and memory has not.
const MOMENTS: u32 = 40;

//= test API-WRITE-01
#[tokio::test]
async fn what_was_begun_is_carried_through_when_the_client_goes_away() {
    let site = Site::new("gone").await;
    let admin = site.admin().await;
    for nth in 0..MOMENTS {
        let mut request = Request::builder()
            .method("POST")
            .uri("/api/pool")
            .header("host", "controller.test")
            .header("cookie", format!("sessionid={}", admin.cookie))
            .header("x-csrftoken", &admin.csrf)
            .body(Body::from(json!({"name": format!("p{nth}")}).to_string()))
            .expect("a request");
        request.extensions_mut().insert(Peer("192.0.2.1".parse().expect("an address")));
        let serving = tokio::spawn(api::serve(site.app.clone(), request));
        // Sleep: the moment at which the client goes is what this is about.
        tokio::time::sleep(Duration::from_micros(u64::from(nth) * 50)).await;
        serving.abort();
        let _ = serving.await;
    }
    // Each that was begun stands in memory as in the store: it is shown, and whoever changes it knows its state.
    let until = Instant::now() + Duration::from_secs(20);
    let mut shown = 0;
    for nth in 0..MOMENTS {
        let path = format!("/api/pool?name=p{nth}");
        let mut found = Value::Null;
        while found.is_null() && Instant::now() < until {
            found = site.ask(&admin, "GET", &path, &Value::Null).await.json["results"][0].clone();
            let again = site.ask(&admin, "POST", "/api/pool", &json!({"name": format!("p{nth}")})).await;
            assert!(matches!(again.status, 201 | 409), "{}", again.text);
        }
        assert!(!found.is_null(), "p{nth} has a name that nobody may take, and nobody sees it");
        let path = format!("/api/pool/{}", found["uuid"].as_str().expect("a uuid"));
        let changed = site.ask(&admin, "PATCH", &path, &json!({"replace": {"description": "seen"}})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        shown += 1;
    }
    assert_eq!(shown, MOMENTS);
}
