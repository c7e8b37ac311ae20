//! What requests are matched by, in the rules of each kind of policy: one rule of each form in each of them, a request for
//! which it holds, and one for which it does not.

use std::net::IpAddr;

use forebay_e2e::{Answer, Lab, Request};
use serde_json::{Value, json};

use super::Scene;

/// A form of a match: the fields that it is of, how it stands in a rule, and what tells apart who it holds for.
struct Form {
    fields: &'static [&'static str],
    by: Value,
    hit: Sent,
    miss: Sent,
}

/// A request, and the number of the client's address.
struct Sent {
    request: Request,
    client: u32,
}

fn sent(target: &str, fields: &[&str]) -> Sent {
    let request =
        Request { fields: fields.iter().map(|field| (*field).to_owned()).collect(), ..Request::get(target) };
    Sent { request, client: 1 }
}

fn from(client: u32) -> Sent {
    Sent { client, ..sent("/", &[]) }
}

/// The policies, each with the fields' common beginning.
pub const POLICIES: [(&str, &str); 3] = [
    ("security", "http_security_policy.rules[].match."),
    ("request", "http_request_policy.rules[].match."),
    ("response", "http_response_policy.rules[].match."),
];

fn forms(lab: &Lab) -> Vec<Form> {
    let v4 = |ip: IpAddr| json!({"addr": ip.to_string(), "type": "V4"});
    let (one, two) = (lab.client_ip(1), lab.client_ip(2));
    let field = |fields: &'static [&'static str], by: Value, hit: &[&str], miss: &[&str]| Form {
        fields,
        by,
        hit: sent("/", hit),
        miss: sent("/", miss),
    };
    let target = |fields: &'static [&'static str], by: Value, hit: &str, miss: &str| Form {
        fields,
        by,
        hit: sent(hit, &[]),
        miss: sent(miss, &[]),
    };
    let mut all = Vec::new();
    for name in ["client_ip", "source_ip"] {
        let fields: &[&'static [&'static str]] = match name {
            "client_ip" => &[
                &["client_ip.match_criteria", "client_ip.addrs[].addr"],
                &["client_ip.ranges[].begin.addr", "client_ip.ranges[].end.addr"],
                &["client_ip.prefixes[].ip_addr.addr", "client_ip.prefixes[].mask"],
                &["client_ip.group_refs[]"],
            ],
            _ => &[
                &["source_ip.match_criteria", "source_ip.addrs[].addr"],
                &["source_ip.ranges[].begin.addr", "source_ip.ranges[].end.addr"],
                &["source_ip.prefixes[].ip_addr.addr", "source_ip.prefixes[].mask"],
                &["source_ip.group_refs[]"],
            ],
        };
        let ways = [
            (json!({"match_criteria": "IS_NOT_IN", "addrs": [v4(two)]}), 1, 2),
            (json!({"match_criteria": "IS_IN", "ranges": [{"begin": v4(one), "end": v4(one)}]}), 1, 2),
            // The second and the third client: without its mask a network is one address.
            (json!({"match_criteria": "IS_IN", "prefixes": [{"ip_addr": v4(two), "mask": 31}]}), 3, 1),
            (json!({"match_criteria": "IS_IN", "group_refs": ["/api/ipaddrgroup/ipaddrgroup-one"]}), 1, 2),
        ];
        for (fields, (way, hit, miss)) in fields.iter().copied().zip(ways) {
            all.push(Form { fields, by: json!({name: way}), hit: from(hit), miss: from(miss) });
        }
    }
    all.extend([
        target(
            &["query.match_criteria", "query.match_str[]"],
            json!({"query": {"match_criteria": "QUERY_MATCH_CONTAINS", "match_str": ["debug"]}}),
            "/?a=debug",
            "/?a=d",
        ),
        target(
            &["query.match_case"],
            json!({"query": {"match_criteria": "QUERY_MATCH_CONTAINS", "match_str": ["Loud"], "match_case": "SENSITIVE"}}),
            "/?a=Loud",
            "/?a=loud",
        ),
        target(
            &["query.string_group_refs[]"],
            json!({"query": {"match_criteria": "QUERY_MATCH_CONTAINS", "string_group_refs": ["/api/stringgroup/stringgroup-one"]}}),
            "/?from-the-group",
            "/?another",
        ),
        field(
            &["hdrs[].hdr", "hdrs[].match_criteria"],
            json!({"hdrs": [{"hdr": "X-There", "match_criteria": "HDR_EXISTS"}]}),
            &["x-there: 1"],
            &["x-their: 1"],
        ),
        field(
            &["hdrs[].value[]"],
            json!({"hdrs": [{"hdr": "X-A", "match_criteria": "HDR_ENDS_WITH", "value": ["end"]}]}),
            &["x-a: the end"],
            &["x-a: the ending"],
        ),
        field(
            &["hdrs[].match_case"],
            json!({"hdrs": [{"hdr": "X-A", "match_criteria": "HDR_EQUALS", "value": ["Yes"], "match_case": "SENSITIVE"}]}),
            &["x-a: Yes"],
            &["x-a: yes"],
        ),
        field(
            &["hdrs[].string_group_refs[]"],
            json!({"hdrs": [{"hdr": "X-A", "match_criteria": "HDR_EQUALS", "string_group_refs": ["/api/stringgroup/stringgroup-one"]}]}),
            &["x-a: from-the-group"],
            &["x-a: another"],
        ),
        field(
            &["cookie.name", "cookie.match_criteria"],
            json!({"cookie": {"name": "who", "match_criteria": "HDR_EXISTS"}}),
            &["Cookie: who=x"],
            &["Cookie: whose=x"],
        ),
        field(
            &["cookie.value"],
            json!({"cookie": {"name": "who", "match_criteria": "HDR_EQUALS", "value": "me"}}),
            &["Cookie: a=b; who=me"],
            &["Cookie: who=you"],
        ),
        field(
            &["cookie.match_case"],
            json!({"cookie": {"name": "who", "match_criteria": "HDR_EQUALS", "value": "Me", "match_case": "SENSITIVE"}}),
            &["Cookie: who=Me"],
            &["Cookie: who=me"],
        ),
        field(
            &["host_hdr.match_criteria", "host_hdr.value[]"],
            json!({"host_hdr": {"match_criteria": "HDR_BEGINS_WITH", "value": ["www."]}}),
            &["Host: www.a.example"],
            &["Host: a.example"],
        ),
    ]);
    all.push(Form {
        fields: &["method.methods[]"],
        by: json!({"method": {"match_criteria": "IS_IN", "methods": ["HTTP_METHOD_POST"]}}),
        hit: Sent { request: Request::post("/", "x"), client: 1 },
        miss: sent("/", &[]),
    });
    all
}

/// Forms of a match on the path, which the others need to be kept apart: fields, match, a path for which it holds, one for
/// which it does not.
fn paths() -> [(&'static [&'static str], Value, &'static str, &'static str); 4] {
    [
        (
            &["path.match_criteria", "path.match_str[]"],
            json!({"match_criteria": "ENDS_WITH", "match_str": [".php"]}),
            "/x.php",
            "/x.phpx",
        ),
        (
            &["path.match_case"],
            json!({"match_criteria": "EQUALS", "match_str": ["/Loud"], "match_case": "SENSITIVE"}),
            "/Loud",
            "/loud",
        ),
        (
            &["path.string_group_refs[]"],
            json!({"match_criteria": "CONTAINS", "string_group_refs": ["/api/stringgroup/stringgroup-one"]}),
            "/x/from-the-group/",
            "/x/another/",
        ),
        // What a rule of all ports and protocols would do is seen at the ports behind these.
        (
            &["path.match_str[]"],
            json!({"match_criteria": "BEGINS_WITH", "match_str": ["/begins/"]}),
            "/begins/x",
            "/begin",
        ),
    ]
}

/// What a rule that holds does, by policy.
fn done(policy: &str) -> Value {
    match policy {
        "security" => json!({"action": {"action": "HTTP_SECURITY_ACTION_SEND_RESPONSE",
            "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403"}}),
        "request" => json!({"switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL",
            "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_404"}}),
        _ => {
            json!({"hdr_action": [{"action": "HTTP_ADD_HDR", "hdr": {"name": "X-Held", "value": {"val": "yes"}}}]})
        }
    }
}

/// The sets of policies and the services that have them are added.
pub fn add(lab: &Lab, objects: &mut Value) -> Vec<(&'static str, Value)> {
    objects["stringgroup"] = json!({"stringgroup-one": {"kv": [{"key": "from-the-group"}]}});
    objects["ipaddrgroup"] =
        json!({"ipaddrgroup-one": {"addrs": [{"addr": lab.client_ip(1).to_string(), "type": "V4"}]}});
    let mut services = Vec::new();
    for (policy, _) in POLICIES {
        let mut rules = Vec::new();
        let mut rule = |by: Value| {
            let mut rule = json!({"index": rules.len() + 1, "name": "r", "enable": true, "match": by});
            rule.as_object_mut().expect("a rule").extend(done(policy).as_object().expect("fields").clone());
            rules.push(rule);
        };
        for (at, form) in forms(lab).into_iter().enumerate() {
            let mut by = form.by;
            by["path"] = json!({"match_criteria": "BEGINS_WITH", "match_str": [format!("/m{at}/")]});
            rule(by);
        }
        for (_, by, ..) in paths() {
            rule(json!({"path": by}));
        }
        let mut off = json!({"index": rules.len() + 1, "name": "off", "enable": false,
            "match": {"path": {"match_criteria": "BEGINS_WITH", "match_str": ["/disabled/"]}}});
        off.as_object_mut().expect("a rule").extend(done(policy).as_object().expect("fields").clone());
        rules.push(off);
        let uuid = format!("httppolicyset-{policy}");
        objects["httppolicyset"][&uuid] = json!({format!("http_{policy}_policy"): {"rules": rules}});
        let door = match policy {
            "security" => "by-security",
            "request" => "by-request",
            _ => "by-response",
        };
        services.push((
            door,
            json!({"pool_ref": "/api/pool/pool-plain",
            "http_policies": [{"index": 1, "http_policy_set_ref": format!("/api/httppolicyset/{uuid}")}]}),
        ));
    }
    services
}

/// The fields that are shown.
pub fn fields() -> Vec<String> {
    let forms =
        forms(&Lab::new()).into_iter().map(|form| form.fields).chain(paths().map(|(fields, ..)| fields));
    let mut own: Vec<&str> = forms.flatten().copied().collect();
    own.sort_unstable();
    own.dedup();
    let mut all = Vec::new();
    for (_, at) in POLICIES {
        all.extend(own.iter().map(|field| format!("{at}{field}")));
        all.push(at.replace("match.", "enable"));
    }
    all
}

/// Sends what each form is for and not for, to the service of each policy.
pub fn seen(scene: &Scene) -> Vec<String> {
    let mut wrong = Vec::new();
    for (policy, _) in POLICIES {
        let door = format!("by-{policy}");
        let holds = |sent: Sent| {
            let mut client = scene.client(&door).from(scene.lab.client_ip(sent.client));
            is_done(policy, &client.send(&sent.request).expect("an answer"))
        };
        for (at, form) in forms(&scene.lab).into_iter().enumerate() {
            let named = |mut sent: Sent| {
                sent.request.target = sent.request.target.replacen('/', &format!("/m{at}/"), 1);
                sent
            };
            let (hit, miss) = (holds(named(form.hit)), holds(named(form.miss)));
            if !hit || miss {
                wrong.push(format!("{policy} {:?}: {hit} {miss}", form.fields));
            }
        }
        for (fields, _, hit, miss) in paths() {
            let (hit, miss) = (holds(sent(hit, &[])), holds(sent(miss, &[])));
            if !hit || miss {
                wrong.push(format!("{policy} {fields:?}: {hit} {miss}"));
            }
        }
        if holds(sent("/disabled/x", &[])) {
            wrong.push(format!("{policy}: a rule that is off"));
        }
    }
    wrong
}

fn is_done(policy: &str, answer: &Answer) -> bool {
    match policy {
        "security" => answer.status == 403,
        "request" => answer.status == 404,
        _ => answer.field("x-held") == Some("yes"),
    }
}
