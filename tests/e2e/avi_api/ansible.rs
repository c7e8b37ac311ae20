//! Ansible, with the modules for Avi that it came with. What they do stands beside this file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay_e2e::wait::secs;
use forebay_e2e::{Controller, Lab, Process, long_or, python};
use forebay_model::field::{Default, Field, Type};
use forebay_model::kind::Scope;
use forebay_model::{Kind, Object, example, kinds};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("avi_api/ansible")
}

/// An interpreter with Ansible's engine, and where the modules are.
fn ansible() -> (PathBuf, PathBuf) {
    let tmp = env!("CARGO_TARGET_TMPDIR");
    (python::interpreter(&folder(), tmp), python::sources(&folder(), tmp, PART).join("ansible-4.10.0"))
}

/// Of more than 300 MB.
const PART: &str = "ansible_collections/community/network/";

/// Half a minute of work: with other tests beside it, it has taken over two.
const LIMIT: Duration = secs(10 * 60);

/// Two values of a field, one that its user may write in a file each; `None`: it needs other objects.
fn variants(holds: &'static Type) -> Option<(Value, Value)> {
    match holds {
        Type::Text(_) => Some((json!("one"), json!("other"))),
        Type::Flag => Some((json!(true), json!(false))),
        // The special values stand first.
        Type::Int(allowed) => {
            allowed.last().filter(|(low, high)| low < high).map(|(low, _)| (json!(low), json!(low + 1)))
        }
        Type::Number => Some((json!(0.25), json!(0.5))),
        Type::Enum(names) => names.get(1).map(|second| (json!(names[0]), json!(second))),
        Type::Ref(_) => None,
        Type::List(list) => variants(list.of).map(|(one, other)| (json!([one]), json!([other]))),
        Type::Message(message) if message.name == "IpAddr" => {
            Some((json!({"addr": "192.0.2.1", "type": "V4"}), json!({"addr": "192.0.2.2", "type": "V4"})))
        }
        Type::Message(message) => {
            let (mut one, mut other) = (serde_json::Map::new(), serde_json::Map::new());
            for field in message.fields.iter().filter(|field| !field.is_read_only) {
                let is_simple = !matches!(field.holds, Type::Message(_) | Type::List(_)) && !field.is_secret;
                if field.is_required || is_simple && one.is_empty() {
                    let (first, second) = variants(&field.holds)?;
                    one.insert(field.name.to_owned(), first);
                    other.insert(field.name.to_owned(), second);
                }
            }
            (!one.is_empty()).then_some((Value::Object(one), Value::Object(other)))
        }
    }
}

/// Fields with two values each that a client may change; those that a kind's own rules say least about go first.
fn changes(kind: &'static Kind) -> Vec<Value> {
    let rank = |field: &Field| match &field.holds {
        _ if field.name == "description" => 0,
        Type::Flag => 1,
        Type::Int(_) | Type::Number => 2,
        Type::Text(_) => 3,
        Type::List(list) if matches!(list.of, Type::Text(_)) => 4,
        _ => 5,
    };
    let known = ["name", "uuid", "created_by", "tenant_ref"];
    let mut fields: Vec<&'static Field> = kind
        .all_fields()
        .filter(|field| !field.is_read_only && !field.is_secret && !known.contains(&field.name))
        .collect();
    fields.sort_by_key(|field| rank(field));
    let change = |field: &'static Field| {
        let (one, other) = variants(&field.holds)?;
        // What it has by default would be no change.
        let is_there = match field.default {
            Some(Default::Flag(held)) => one == held,
            Some(Default::Int(held)) => one == held,
            Some(Default::Text(held)) => one == held,
            Some(Default::Message) | None => false,
        };
        let (one, other) = if is_there { (other, one) } else { (one, other) };
        Some(json!([field.name, one, other]))
    };
    fields.into_iter().filter_map(change).collect()
}

/// The least of a kind, with something in each group of fields: modules leave out what is empty.
fn least(kind: &'static Kind) -> Object {
    let mut object = example::least(kind);
    for (name, value) in &mut object {
        let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
        if (is_empty(value) || value.as_array().is_some_and(|all| all.iter().all(is_empty)))
            && let Some((one, _)) = kind.field(name).and_then(|field| variants(&field.holds))
        {
            *value = one;
        }
    }
    object
}

//= test API-CLIENT-02
#[test]
fn the_modules_of_ansible_lead_each_kind_through_its_life() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let (_, made) = controller.admin().send("POST", "/api/user-token", &json!({"hours": 1}));
    let token = made["token"].as_str().expect("a token");
    let (python, collection) = ansible();
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &collection);
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    let said: serde_json::Map<String, Value> = kinds()
        .map(|kind| {
            let fields: Vec<&str> = kind.all_fields().map(|field| field.name).collect();
            let least = least(kind);
            let whole = forebay_model::check(kind, &least).expect("the least is enough");
            let said = json!({
                "least": least, "whole": whole, "changes": changes(kind), "fields": fields,
                "single": kind.scope == Scope::Single,
            });
            (kind.path.to_owned(), said)
        })
        .collect();
    let input = lab.folder().join("kinds.json");
    std::fs::write(&input, Value::Object(said).to_string()).expect("the lab's folder");
    command.args(["-W", "ignore"]).arg(folder().join("judge.py"));
    command.arg(controller.address.to_string()).arg(token).arg(long_or("long", "short")).arg(input);
    let mut judge = Process::start("judge", command, lab.folder());
    let status = judge.wait(LIMIT);
    assert!(status.success(), "the judge: {status}");
    let text = judge.printed();
    // Beside them stands what Python has to say.
    let cases: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let bad: Vec<String> = cases.iter().filter(|case| case["ok"] != true).map(Value::to_string).collect();
    println!("{} cases", cases.len());
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), cases.len(), bad.join("\n"));
    assert!(cases.len() > long_or(500, 380), "{} cases", cases.len());
}

//= test API-CLIENT-02
#[test]
fn a_playbook_makes_a_service_finds_it_and_takes_it_away() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let (python, collection) = ansible();
    let at = json!({"at": {
        "controller": controller.address.ip().to_string(), "port": controller.address.port(),
        "username": "admin", "password": controller.password, "api_version": "20.1.1",
    }});
    let home = lab.folder().join("ansible");
    let mut command = Command::new(python.with_file_name("ansible-playbook"));
    command.args(["--inventory", "localhost,", "--extra-vars"]).arg(at.to_string());
    command.arg("--extra-vars").arg(json!({"ansible_python_interpreter": python}).to_string());
    command.arg(folder().join("play.yml"));
    command.env("ANSIBLE_COLLECTIONS_PATH", &collection).env("ANSIBLE_HOME", &home);
    command.env("ANSIBLE_LOCALHOST_WARNING", "false").env("ANSIBLE_DEPRECATION_WARNINGS", "false");
    command.env("ANSIBLE_NOCOLOR", "1").env("LC_ALL", "C.UTF-8").env("HOME", &home);
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    let mut play = Process::start("play", command, lab.folder());
    let status = play.wait(LIMIT);
    let said = play.printed();
    assert!(status.success(), "{status}");
    assert!(said.contains("failed=0") && said.contains("ok=10"), "{said}");
    assert_eq!(controller.admin().get("/api/pool").1["count"], 0, "it is as it was before");
}
