//! Series, as clients ask for them.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use forebay_controller::engines::Given;
use forebay_wire::proto::{Counted, Sample, Tally};
use forebay_wire::tally::{engine, server, service};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::site::{Client, Site};

const NONE: Value = Value::Null;
/// What is written is written within this, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

fn tally(of: Counted, name: &str, server: &str, sums: &[(usize, u64)], durations: &[(usize, u64)]) -> Tally {
    let dense = |pairs: &[(usize, u64)]| {
        let mut list = vec![0; pairs.iter().map(|(place, _)| place + 1).max().unwrap_or(0)];
        pairs.iter().for_each(|(place, count)| list[*place] = *count);
        list
    };
    let (name, server) = (name.to_owned(), server.to_owned());
    Tally { of: of.into(), name, server, sums: dense(sums), tops: vec![9], durations: dense(durations) }
}

/// An engine tells what it counted in five seconds that ended so long ago; it is there when this returns.
async fn tell(site: &Site, engine: &str, number: u64, age_ms: u64, tallies: Vec<Tally>) {
    let (upto, mut told) = watch::channel((0, 0));
    let sample = Sample { process: 7, number, oldest: number, age_ms, length_ms: 5_000, tallies };
    let engine = site.app.engines.get(engine).expect("it is known");
    site.app.counted.take(&site.app.objects.now(), &engine, sample, &upto);
    let written = tokio::time::timeout(PATIENCE, told.wait_for(|upto| *upto == (7, number))).await;
    written.expect("it is written in time").expect("the sender is here");
}

/// The engine is there, and is to have these sections.
pub fn give(site: &Site, engine: &str, keys: &[&str]) {
    site.app.engines.learn(&site.app.objects.now(), &site.app.members);
    let questions = tokio::sync::mpsc::channel(1).0;
    let number = site.app.engines.attach(engine, questions, std::time::Instant::now()).expect("it is there");
    let sections = Arc::new(keys.iter().map(|key| ((*key).to_owned(), String::new())).collect());
    let mut given = Given::default();
    given.give(&sections, std::iter::empty(), std::time::Instant::now());
    site.app.engines.note(engine, number, |engine| engine.given = Arc::new(given));
    site.app.engines.detach(engine, number);
}

fn uuid(object: &Value) -> String {
    object["uuid"].as_str().expect("a uuid").to_owned()
}

pub struct Stand {
    pub site: Site,
    pub admin: Client,
    pub vs: String,
    /// A service that the engine does not have.
    pub other: String,
    pub pool: String,
    pub se: String,
}

/// A service with a pool of one server, and an engine that has told of two stretches with one missing between them.
pub async fn stand(name: &str) -> Stand {
    let site = Site::new(name).await;
    site.app.counted.keep(forebay_controller::counted::open(&site.folder).expect("room"));
    let admin = site.admin().await;
    let group = "/api/serviceenginegroup?name=Default-Group";
    let se =
        uuid(&site.make(&admin, "/api/serviceengine", json!({"name": "se", "se_group_ref": group})).await);
    let servers = json!([{"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80}]);
    let pool = uuid(&site.make(&admin, "/api/pool", json!({"name": "p", "servers": servers})).await);
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.0.0.9", "type": "V4"}}]);
    let vsvip = uuid(&site.make(&admin, "/api/vsvip", json!({"name": "v", "vip": vip})).await);
    let vs = json!({"name": "s", "vsvip_ref": vsvip, "pool_ref": pool, "services": [{"port": 80}]});
    let vs = uuid(&site.make(&admin, "/api/virtualservice", vs).await);
    let other = json!({"name": "other", "vsvip_ref": vsvip, "pool_ref": pool, "services": [{"port": 81}]});
    let other = uuid(&site.make(&admin, "/api/virtualservice", other).await);
    give(&site, &se, &[&format!("virtual_service/{vs}"), &format!("pool/{pool}")]);
    let counted = |answers: u64| {
        vec![
            tally(Counted::Engine, "", "", &[(engine::CPU_MS, 500), (engine::CORE_MS, 10_000)], &[]),
            tally(
                Counted::Service,
                &vs,
                "",
                &[
                    (service::RESPONSES + 1, answers),
                    (service::RESPONSES + 4, answers / 10),
                    (service::DURATION_US, answers * 40_000),
                ],
                &[(8, answers)],
            ),
            // The pool in two ways of use, which are one pool.
            tally(Counted::Pool, &pool, "", &[(server::RESPONSES + 1, answers)], &[]),
            tally(Counted::Pool, &format!("{pool}/tcp"), "", &[(server::RESPONSES + 1, 1)], &[]),
            tally(Counted::Server, &pool, "10.0.0.1:80", &[(server::RESPONSES + 1, answers)], &[]),
            tally(Counted::Service, "virtualservice-none", "", &[(service::RESPONSES + 1, 1_000_000)], &[]),
            // What this engine does not have, and a server that is none.
            tally(Counted::Service, &other, "", &[(service::RESPONSES + 1, 1_000_000)], &[]),
            tally(Counted::Server, &pool, "made up", &[(server::RESPONSES + 1, 1_000_000)], &[]),
        ]
    };
    tell(&site, &se, 1, 20_000, counted(100)).await;
    tell(&site, &se, 2, 10_000, counted(50)).await;
    Stand { site, admin, vs, other, pool, se }
}

//= test MET-API-01
//= test MET-GAP-01
//= test MET-NAME-01
#[tokio::test]
async fn series_have_the_shape_that_clients_know_with_gaps_and_statistics() {
    let Stand { site, admin, vs, pool, se, .. } = stand("metrics").await;
    let get =
        async |path: &str| site.ask(&admin, "GET", &format!("/api/analytics/metrics/{path}"), &NONE).await;
    let said = get(&format!("virtualservice/{vs}/?metric_id=l7_client.sum_total_responses,l7_client.pct_response_errors&step=5&limit=12")).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let said = said.json;
    assert_eq!(said["entity_uuid"], vs);
    assert_eq!(said["metric_entity"], "VSERVER_METRICS_ENTITY");
    assert_eq!((&said["step"], &said["limit"]), (&json!(5), &json!(12)));
    let header = &said["series"][0]["header"];
    assert_eq!(header["name"], "l7_client.sum_total_responses");
    assert_eq!((&header["units"], &header["entity_uuid"]), (&json!("METRIC_COUNT"), &json!(vs)));
    assert_eq!(
        header["statistics"],
        json!({"min": 55.0, "max": 110.0, "mean": 82.5, "sum": 165.0, "num_samples": 2})
    );
    let data = said["series"][0]["data"].as_array().expect("points");
    assert_eq!(data.len(), 12, "{data:?}");
    let place = data.iter().position(|point| point["value"] == 110.0).expect("the first one");
    assert_eq!(data[place + 1]["is_null"], true, "nobody told anything: {data:?}");
    assert_eq!(data[place + 2]["value"], 55.0);
    assert!(data[place].get("is_null").is_none());
    let moment = data[place]["timestamp"].as_str().expect("a moment");
    assert!(moment.len() == 25 && moment.ends_with("+00:00") && &moment[10..11] == "T", "{moment}");
    assert_eq!(said["series"][1]["header"]["units"], "PERCENT");
    let said = get(&format!(
        "virtualservice/{vs}?metric_id=l7_client.avg_complete_responses&step=5&pad_missing_data=false"
    ))
    .await
    .json;
    let data = said["series"][0]["data"].as_array().expect("points");
    assert_eq!(
        data.iter().map(|point| point["value"].clone()).collect::<Vec<_>>(),
        [json!(22.0), json!(11.0)]
    );
    // A part of the hour under way, which may have begun between the two.
    let said = get(&format!("virtualservice/{vs}?metric_id=l7_server.sum_total_responses&step=3600&limit=2"))
        .await
        .json;
    assert_eq!(said["series"][0]["header"]["statistics"]["sum"], 152.0);
    for (path, metric, sum) in [
        (format!("pool/{pool}"), "l7_server.sum_total_responses", 152.0),
        (format!("pool/{pool}?server=10.0.0.1:80"), "l7_server.sum_total_responses", 150.0),
        (format!("pool/{pool}?server=10.0.0.2:80"), "l7_server.sum_total_responses", 0.0),
        (format!("virtualservice/{vs}?serviceengine_uuid={se}"), "l7_client.sum_total_responses", 165.0),
        (format!("virtualservice/{vs}?serviceengine_uuid=other"), "l7_client.sum_total_responses", 0.0),
        (format!("virtualservice/{vs}?stop=2020-01-01T00:00:00"), "l7_client.sum_total_responses", 0.0),
        (format!("serviceengine/{se}"), "se_stats.avg_cpu_usage", 10.0),
    ] {
        let end = if path.contains('?') { '&' } else { '?' };
        let said = get(&format!("{path}{end}metric_id={metric}&step=5&limit=20")).await;
        assert_eq!(said.json["series"][0]["header"]["statistics"]["sum"], sum, "{path}: {}", said.text);
    }
    for (path, wanted) in [
        (format!("virtualservice/{vs}?metric_id=l7_client.avg_complete_response"), "avg_complete_responses"),
        (format!("virtualservice/{vs}?metric_id=se_stats.avg_cpu_usage"), "no metric of a virtual service"),
        (format!("virtualservice/{vs}"), "metric_id"),
        (format!("virtualservice/{vs}?metric_id=l7_client.apdexr&step=7"), "step"),
        (format!("virtualservice/{vs}?metric_id=l7_client.apdexr&limit=0"), "limit"),
        (format!("virtualservice/{vs}?metric_id=l7_client.apdexr&step=31536000&limit=1000"), "limit"),
        (format!("virtualservice/{vs}?metric_id=l7_client.apdexr&start=yesterday"), "start"),
    ] {
        let said = get(&path).await;
        assert!(said.status == 400 && said.text.contains(wanted), "{path}: {}", said.text);
    }
    let list = site.ask(&admin, "GET", "/api/analytics/metric_id", &NONE).await.json;
    assert!(list["results"].as_array().is_some_and(|all| all.len() > 50), "{list}");
    assert_eq!(site.ask(&admin, "DELETE", "/api/analytics/metric_id", &NONE).await.status, 405);
}

//= test MET-APDEX-01
#[tokio::test]
async fn apdex_is_by_the_analytics_profile_of_the_service() {
    let Stand { site, admin, vs, pool, se, .. } = stand("metrics-apdex").await;
    let path = format!(
        "/api/analytics/metrics/virtualservice/{vs}?metric_id=l7_client.apdexr&step=5&pad_missing_data=0"
    );
    let value =
        async || site.ask(&admin, "GET", &path, &NONE).await.json["series"][0]["data"][0]["value"].clone();
    assert_eq!(value().await, 1.0, "25 to 50 ms");
    // Nobody is satisfied, all tolerate it.
    let profile = json!({"name": "strict", "apdex_response_threshold": 20});
    let profile = site.make(&admin, "/api/analyticsprofile", profile).await;
    let change = json!({"replace": {"analytics_profile_ref": profile["url"]}});
    let at = format!("/api/virtualservice/{vs}");
    let said = site.ask(&admin, "PATCH", &at, &change).await;
    // Who sets it is not told that nothing acts on it.
    let is_of_it = |warning: &String| warning.contains("analytics_profile_ref");
    assert!(said.status == 200 && !said.warnings.iter().any(is_of_it), "{:?}", said.warnings);
    assert_eq!(value().await, 0.5);
    // A pool's own counts before that of its service.
    let sums = [(server::RESPONSES + 1, 10)];
    tell(&site, &se, 3, 15_000, vec![tally(Counted::Pool, &pool, "", &sums, &[(8, 10)])]).await;
    let path =
        format!("/api/analytics/metrics/pool/{pool}?metric_id=l7_server.apdexr&step=5&pad_missing_data=0");
    let of_pool =
        async || site.ask(&admin, "GET", &path, &NONE).await.json["series"][0]["data"][0]["value"].clone();
    assert_eq!(of_pool().await, 1.0);
    let own = json!({"name": "own", "apdex_server_response_threshold": 20});
    let own = site.make(&admin, "/api/analyticsprofile", own).await;
    let change = json!({"replace": {"analytics_profile_ref": own["url"]}});
    let said = site.ask(&admin, "PATCH", &format!("/api/pool/{pool}"), &change).await;
    assert!(said.status == 200 && !said.warnings.iter().any(is_of_it), "{:?}", said.warnings);
    assert_eq!(of_pool().await, 0.5);
    let at = format!("/api/analyticsprofile/{}", uuid(&profile));
    let said = site.ask(&admin, "PATCH", &at, &json!({"replace": {"apdex_response_threshold": 4}})).await;
    assert_eq!((said.status, value().await), (200, json!(0.0)), "{}", said.text);
}

//= test MET-API-02
#[tokio::test]
async fn series_are_seen_by_who_sees_the_object() {
    let Stand { site, admin, vs, pool, .. } = stand("metrics-roles").await;
    site.make(&admin, "/api/tenant", json!({"name": "other"})).await;
    let role = "/api/role?name=Tenant-Admin";
    site.user(&admin, "olga", json!([{"tenant_ref": "/api/tenant?name=other", "role_ref": role}])).await;
    let mut olga = site.login("olga", "password-olga").await;
    olga.tenant = Some("other".to_owned());
    let metric = "metric_id=l7_client.sum_total_responses&step=5&limit=20";
    let path = format!("/api/analytics/metrics/virtualservice/{vs}?{metric}");
    assert_eq!(site.ask(&olga, "GET", &path, &NONE).await.status, 404);
    assert_eq!(site.ask(&admin, "GET", &path, &NONE).await.status, 200);
    let one = |id: &str, uuid: &str, metric: &str| json!({"id": id, "entity_uuid": uuid, "metric_id": metric, "step": 5, "limit": 20});
    let requests = json!({"metric_requests": [
        one("a", &vs, "l7_client.sum_total_responses"),
        one("b", &pool, "l7_server.sum_total_responses"),
        one("c", "virtualservice-none", "l7_client.sum_total_responses"),
    ]});
    let collection = "/api/analytics/metrics/collection";
    let said = site.ask(&olga, "POST", collection, &requests).await;
    assert_eq!((said.status, &said.json["series"]), (200, &json!({"a": [], "b": [], "c": []})));
    let warnings = &said.json["warnings"];
    assert!(
        warnings["a"].is_string() && warnings["a"] == warnings["c"],
        "not seen is as not there: {warnings}"
    );
    let said = site.ask(&admin, "POST", collection, &requests).await.json;
    assert_eq!(said["series"]["a"][0]["header"]["statistics"]["sum"], 165.0, "{said}");
    assert_eq!(said["series"]["b"][0]["header"]["statistics"]["sum"], 152.0, "{said}");
    assert_eq!(said["series"]["c"], json!([]));
    assert_eq!(site.ask(&admin, "POST", collection, &json!({})).await.status, 400);
}

//= test MET-GIVEN-01
//= test MET-ROOM-01
#[tokio::test]
async fn an_engine_tells_of_what_it_has_alone() {
    let Stand { site, admin, vs, other, pool, se } = stand("metrics-given").await;
    let sum = async |uuid: &str| {
        let path = format!(
            "/api/analytics/metrics/virtualservice/{uuid}?metric_id=l7_client.sum_total_responses&step=5&limit=20"
        );
        site.ask(&admin, "GET", &path, &NONE).await.json["series"][0]["header"]["statistics"]["sum"].clone()
    };
    assert_eq!((sum(&vs).await, sum(&other).await), (json!(165.0), json!(0.0)));
    let series = site.app.counted.series().expect("kept");
    let servers = series.known(forebay_metrics::Kind::Server).expect("readable");
    assert_eq!(servers, [forebay_metrics::Key::server(&pool, "10.0.0.1:80")]);
    // Where it is not known what an engine has, nothing is acknowledged.
    let mut engine = (*site.app.engines.get(&se).expect("known")).clone();
    engine.given = Arc::default();
    let (upto, told) = watch::channel((0, 0));
    let sample =
        Sample { process: 7, number: 3, oldest: 3, age_ms: 0, length_ms: 5_000, tallies: Vec::new() };
    site.app.counted.take(&site.app.objects.now(), &engine, sample, &upto);
    series.flush();
    assert_eq!(*told.borrow(), (0, 0));
}

//= test MET-BOUND-01
#[tokio::test]
async fn an_answer_has_so_many_values_and_names_a_metric_once() {
    let Stand { site, admin, vs, .. } = stand("metrics-bound").await;
    let collection = async |metrics: &str, requests: usize| {
        let one = |id: usize| json!({"id": id.to_string(), "entity_uuid": vs, "metric_id": metrics, "step": 5, "limit": 1_000});
        let requests = json!({"metric_requests": (0..requests).map(one).collect::<Vec<_>>()});
        site.ask(&admin, "POST", "/api/analytics/metrics/collection", &requests).await
    };
    let twice = vec!["l7_client.sum_errors"; 200].join(",");
    let said = collection(&twice, 1).await;
    assert_eq!(said.json["series"]["0"].as_array().map(Vec::len), Some(1), "status {}", said.status);
    // 20 requests of 1,000 points: as many slots as there may be, and one metric too many.
    let six = "l7_client.sum_errors,l7_client.apdexr,l7_client.avg_resp_1xx,l7_client.avg_resp_2xx,l7_client.avg_resp_3xx,l7_client.avg_resp_4xx";
    let said = collection(six, 20).await;
    assert!(said.status == 400 && said.text.contains("fewer points or metrics"), "{:.200}", said.text);
}

//= test MET-WARN-01
#[tokio::test]
async fn a_metric_that_nobody_counts_yet_and_an_error_are_told_of_their_request_alone() {
    let Stand { site, admin, vs, .. } = stand("metrics-warn").await;
    let one = |id: &str, metric: &str| json!({"id": id, "entity_uuid": vs, "metric_id": metric, "step": 5, "limit": 20});
    let requests = json!({"metric_requests": [
        one("a", "l7_client.sum_total_responses,healthscore.health_score_value"),
        one("b", "l7_client.sum_total_respons"),
        one("c", "l7_client.sum_total_responses"),
    ]});
    let said = site.ask(&admin, "POST", "/api/analytics/metrics/collection", &requests).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let (series, warnings) = (&said.json["series"], &said.json["warnings"]);
    assert_eq!(series["a"][0]["header"]["statistics"]["sum"], 165.0, "{series}");
    assert_eq!(series["a"][1]["header"]["name"], "healthscore.health_score_value", "{series}");
    assert_eq!(series["a"][1]["data"], json!([]), "{series}");
    assert!(warnings["a"].as_str().is_some_and(|text| text.contains("health_score_value")), "{warnings}");
    assert!(warnings["b"].as_str().is_some_and(|text| text.contains("did you mean")), "{warnings}");
    assert_eq!((&series["b"], warnings.get("c")), (&json!([]), None));
    assert_eq!(series["c"][0]["header"]["statistics"]["sum"], 165.0, "{series}");
    for id in ["healthscore.health_score_value"] {
        let path = format!("/api/analytics/metrics/virtualservice/{vs}?metric_id={id}");
        let said = site.ask(&admin, "GET", &path, &NONE).await;
        assert_eq!(
            (said.status, &said.json["series"][0]["header"]["name"]),
            (200, &json!(id)),
            "{}",
            said.text
        );
        assert!(said.json["warning"].as_str().is_some_and(|text| text.contains(id)), "{}", said.text);
    }
}

//= test MET-HEALTH-01
//= test MET-HEALTH-02
//= test MET-INVENTORY-01
#[tokio::test]
async fn the_score_follows_from_answers_and_resources_and_says_why() {
    let Stand { site, admin, vs, se, .. } = stand("metrics-health").await;
    let score = async |of: &str| {
        let said = site.ask(&admin, "GET", &format!("/api/analytics/healthscore/{of}"), &NONE).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json["series"][0]["data"][0].clone()
    };
    let down = score(&format!("virtualservice/{vs}")).await;
    assert_eq!((&down["value"], &down["reason"]), (&json!(0), &json!(["it is not up"])), "{down}");
    // The engine comes, and has too little of its processor.
    site.app.engines.learn(&site.app.objects.now(), &site.app.members);
    let questions = tokio::sync::mpsc::channel(1).0;
    site.app.engines.attach(&se, questions, std::time::Instant::now()).expect("it is there");
    let up = score(&format!("serviceengine/{se}")).await;
    assert_eq!(up["value"], 100, "{up}");
    let busy = [(engine::CPU_MS, 201_400), (engine::CORE_MS, 200_000)];
    tell(&site, &se, 3, 10_000, vec![tally(Counted::Engine, "", "", &busy, &[])]).await;
    let busy = score(&format!("serviceengine/{se}")).await;
    assert_eq!((&busy["value"], &busy["resources_penalty"]["value"]), (&json!(85), &json!(15)), "{busy}");
    assert!(busy["reason"][0].as_str().is_some_and(|why| why.contains("92 % of its processor")), "{busy}");
    let inventory = site.ask(&admin, "GET", "/api/serviceengine-inventory", &NONE).await.json;
    let entry = &inventory["results"][0];
    assert_eq!(entry["health_score"]["health_score"], 85, "{entry}");
    assert!(
        entry["metrics"]["se_stats.avg_cpu_usage"]["data"]["value"].as_f64().is_some_and(|cpu| cpu > 80.0),
        "{entry}"
    );
    let inventory = site.ask(&admin, "GET", "/api/virtualservice-inventory?name=s", &NONE).await.json;
    // 165 answers in a minute.
    let answers = &inventory["results"][0]["metrics"]["l7_client.avg_complete_responses"]["data"]["value"];
    assert_eq!(answers, 2.75, "{inventory}");
    for (path, status) in [("virtualservice/none", 404), ("tenant/admin", 404), ("pool", 404)] {
        let said = site.ask(&admin, "GET", &format!("/api/analytics/healthscore/{path}"), &NONE).await;
        assert_eq!(said.status, status, "{path}");
    }
}

//= test MET-PROM-01
#[tokio::test]
async fn prometheus_reads_the_last_minute_of_what_the_user_sees() {
    let Stand { site, admin, vs, .. } = stand("metrics-prometheus").await;
    let page = async |who: &Client, rest: &str| {
        site.ask(who, "GET", &format!("/api/analytics/prometheus-metrics/{rest}"), &NONE).await
    };
    let said = page(&admin, "virtualservice/?metric_id=l7_client.sum_total_responses,l7_server.apdexr").await;
    let line = format!(
        "avi_l7_client_sum_total_responses{{name=\"s\",uuid=\"{vs}\",tenant=\"admin\",entity_type=\"virtualservice\",units=\"METRIC_COUNT\"}} 165\n"
    );
    assert!(said.status == 200 && said.text.contains(&line), "{}", said.text);
    assert!(said.text.contains("# TYPE avi_l7_client_sum_total_responses gauge\n"), "{}", said.text);
    assert!(!said.text.contains("apdexr"), "it is a metric of pools: {}", said.text);
    assert!(page(&admin, "serviceengine").await.text.contains("avi_se_stats_avg_cpu_usage{name=\"se\""));
    for rest in ["virtualservice?entity_name=other", "virtualservice?tenant=other"] {
        let said = page(&admin, rest).await;
        assert!(said.status == 200 && !said.text.contains('{'), "{}", said.text);
    }
    site.make(&admin, "/api/tenant", json!({"name": "other"})).await;
    let access = json!([{"tenant_ref": "/api/tenant?name=other", "role_ref": "/api/role?name=Tenant-Admin"}]);
    site.user(&admin, "olga", access).await;
    let mut olga = site.login("olga", "password-olga").await;
    olga.tenant = Some("other".to_owned());
    for rest in ["virtualservice", "virtualservice?tenant=admin", "virtualservice?tenant=admin,other"] {
        let said = page(&olga, rest).await;
        assert!(!said.text.contains(&vs), "{rest}: {}", said.text);
    }
    assert_eq!(page(&admin, "virtualservice?metric_id=nothing").await.status, 400);
    assert_eq!(page(&admin, "tenant").await.status, 404);
}

//= test MET-HEALTH-03
//= test MET-HEALTH-04
#[tokio::test]
async fn what_is_unusual_or_unsafe_is_taken_off_the_score_and_said() {
    let Stand { site, admin, se, .. } = stand("metrics-penalties").await;
    let signed = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
    let mut over = rcgen::CertificateParams::new(vec!["b.test".to_owned()]).expect("a name");
    over.not_after = rcgen::date_time_ymd(2020, 1, 1);
    over.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let over_key = rcgen::KeyPair::generate().expect("a key");
    let over = over.self_signed(&over_key).expect("signed").pem();
    let mut services = Vec::new();
    for (name, pair) in [
        ("own", Some((signed.cert.pem(), signed.signing_key.serialize_pem()))),
        ("over", Some((over, over_key.serialize_pem()))),
        ("clear", None),
    ] {
        let address = format!("10.0.0.{}", 20 + services.len());
        let vip = json!([{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]);
        let vsvip = uuid(&site.make(&admin, "/api/vsvip", json!({"name": name, "vip": vip})).await);
        // Without servers, of which none is up here.
        let mut vs = json!({"name": name, "vsvip_ref": vsvip, "services": [{"port": 80}]});
        if let Some((pem, key)) = pair {
            let certificate = json!({"name": name, "certificate": {"certificate": pem}, "key": key});
            let made = site.make(&admin, "/api/sslkeyandcertificate", certificate).await;
            vs["ssl_key_and_certificate_refs"] = json!([made["url"]]);
            vs["services"] = json!([{"port": 443, "enable_ssl": true}]);
        }
        services.push(uuid(&site.make(&admin, "/api/virtualservice", vs).await));
    }
    let keys: Vec<String> = services.iter().map(|vs| format!("virtual_service/{vs}")).collect();
    give(&site, &se, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    // The engine serves them.
    site.app.engines.learn(&site.app.objects.now(), &site.app.members);
    let questions = tokio::sync::mpsc::channel(1).0;
    let number = site.app.engines.attach(&se, questions, std::time::Instant::now()).expect("it is there");
    for _ in 0..8 {
        site.app.place().await.expect("written");
        let has = site.app.placement.known().on(&se);
        site.app.engines.note(&se, number, |engine| {
            engine.has_tables = true;
            let addresses = vec![("10.0.0.1".parse().expect("an address"), 24)];
            let interface =
                forebay_controller::engines::Interface { addresses, is_up: true, ..Default::default() };
            engine.machine.interfaces = vec![interface];
            let told = |accepts| forebay_controller::engines::Service {
                is_up: true,
                is_listening: accepts,
                connections: 0,
            };
            engine.services = has.into_iter().map(|one| (one.vs, told(one.accepts))).collect();
        });
    }
    let score = async |of: &str| {
        let said =
            site.ask(&admin, "GET", &format!("/api/analytics/healthscore/virtualservice/{of}"), &NONE).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json["series"][0]["data"][0].clone()
    };
    let own = score(&services[0]).await;
    let why = |score: &Value| score["reason"].to_string();
    assert_eq!((&own["security_penalty"]["value"], &own["value"]), (&json!(20), &json!(80)), "{own}");
    assert!(why(&own).contains("the certificate own is signed by itself"), "{own}");
    assert_eq!(own["anomaly_penalty"]["value"], 0, "{own}");
    let gone = score(&services[1]).await;
    assert_eq!(gone["security_penalty"]["value"], 100, "{gone}");
    assert!(why(&gone).contains("the certificate over is over"), "{gone}");
    assert_eq!(gone["value"], 0);
    // What a profile says is the most.
    let gentle = json!({"name": "gentle", "hs_max_security_penalty": 7});
    let gentle = uuid(&site.make(&admin, "/api/analyticsprofile", gentle).await);
    let change = json!({"replace": {"analytics_profile_ref": gentle}});
    let at = format!("/api/virtualservice/{}", services[1]);
    assert_eq!(site.ask(&admin, "PATCH", &at, &change).await.status, 200);
    assert_eq!(score(&services[1]).await["security_penalty"]["value"], 7);
    // Ten requests a second in each five minutes, and a thousand in the last ones: as well in those under way, which may be over
    // when it is asked.
    let step = 300_000;
    let now = u64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("a number");
    let under_way = (now - 80_000) / step;
    let slots = (under_way - 12..=under_way).map(|slot| (slot, slot * step + step / 2));
    for (number, (slot, at)) in (3..).zip(slots.filter(|(_, at)| *at < now)) {
        let requests = if slot + 1 >= under_way { 300_000 } else { 3_000 };
        let sums = [(service::REQUESTS, requests)];
        let tallies = vec![
            tally(Counted::Engine, "", "", &[(engine::CORE_MS, 10_000)], &[]),
            tally(Counted::Service, &services[2], "", &sums, &[]),
        ];
        tell(&site, &se, number, now - at, tallies).await;
    }
    let odd = score(&services[2]).await;
    assert_eq!(odd["anomaly_penalty"]["value"], 5, "{odd}");
    assert_eq!(odd["value"], 95, "{odd}");
    assert!(why(&odd).contains("unusual: 1000.0 requests a second in the last five minutes"), "{odd}");
}
