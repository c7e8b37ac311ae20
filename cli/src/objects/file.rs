//! Files of many objects: a list for each kind, as in `pool: [{name: web}]`, under the kind's path, its short name, or the
//! name that Avi's exports have (`Pool`).

use std::io::Read as _;

use serde_json::Value;

use super::kinds;
use super::order::{Wanted, ordered};
use super::plain::plain;
use super::yaml;
use crate::api::{Failure, Kind, usage};

/// The most bytes of a file: a hundred thousand objects have less.
const BYTES_MAX: u64 = 64 << 20;

/// The objects of these files (`-`: standard input), checked, each behind those that it refers to.
///
/// # Errors
/// All that is wrong with them, with file and line.
//= CLI-APPLY-01
pub fn read(files: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut all = Vec::new();
    let mut wrong = Vec::new();
    for file in files {
        let text = content(file)?;
        let documents =
            yaml::read(&text).map_err(|(line, reason)| usage(format!("{file}:{line}: {reason}")))?;
        for document in documents {
            let line = |path: &str| document.lines.get(path).copied().unwrap_or(1);
            let Value::Object(lists) = &document.value else {
                if !document.value.is_null() {
                    wrong.push(format!("{file}:{}: write a list for each kind, as in pool: […]", line("")));
                }
                continue;
            };
            for (key, list) in lists {
                let Some(kind) = kinds::of_key(key) else {
                    // Avi's exports say what they are.
                    if !matches!(key.as_str(), "META" | "meta") {
                        wrong.push(format!(
                            "{file}:{}: there is no kind of objects named \"{key}\"",
                            line(key)
                        ));
                    }
                    continue;
                };
                let single = [list.clone()];
                let entries = list.as_array().map_or(&single[..], Vec::as_slice);
                for (at, entry) in entries.iter().enumerate() {
                    let path = if list.is_array() { format!("{key}[{at}]") } else { key.clone() };
                    let place = format!("{file}:{}", line(&path));
                    let Value::Object(object) = entry else {
                        wrong.push(format!("{place}: {path}: an object belongs here"));
                        continue;
                    };
                    let mut object = object.clone();
                    plain(kind, &mut object);
                    match forebay_model::check(kind, &object) {
                        Err(problems) => wrong.extend(problems.iter().map(|problem| {
                            let whole = format!("{path}.{}", problem.path);
                            let line = document.lines.get(&whole).copied().unwrap_or_else(|| line(&path));
                            format!("{file}:{line}: {}: {}; {}", problem.path, problem.reason, problem.fix)
                        })),
                        Ok(_) => {
                            let name =
                                object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                            all.push(Wanted { kind, name, object, place });
                        }
                    }
                }
            }
        }
    }
    let mut seen = std::collections::BTreeMap::new();
    for wanted in &all {
        let cloud = wanted.object.get("cloud_ref").and_then(Value::as_str).unwrap_or_default();
        let tenant = wanted.object.get("tenant_ref").and_then(Value::as_str).unwrap_or_default();
        let key = (wanted.kind.path, wanted.name.as_str(), cloud, tenant);
        if let Some(first) = seen.insert(key, &wanted.place) {
            wrong.push(format!(
                "{}: {} \"{}\" stands at {first} already",
                wanted.place, wanted.kind.path, wanted.name
            ));
        }
    }
    if wrong.is_empty() { ordered(all) } else { Err(usage(wrong.join("\n"))) }
}

fn content(file: &str) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Kind::Failed, format!("{file}: {error}"));
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        let open = std::fs::File::open(file).map_err(|error| failed(&error))?;
        open.take(BYTES_MAX + 1).read_to_string(&mut text)
    };
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(failed(&format!("it is longer than {BYTES_MAX} bytes; split it")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CLI-APPLY-01
    #[test]
    fn all_mistakes_of_a_file_are_told_with_their_lines() {
        let file = std::env::temp_dir().join(format!("forebay-cli-file-{}.yaml", std::process::id()));
        let name = file.to_str().expect("a path").to_owned();
        std::fs::write(
            &file,
            "vs:\n- name: web\n  pool_ref: web\n  services: [{port: 80}]\nPool:\n- name: web\n  lb_algoritm: x\n  \
             default_server_port: 70000\npoool: []\n",
        )
        .expect("a file");
        let failure = read(std::slice::from_ref(&name)).expect_err("mistakes");
        for said in [":7: lb_algoritm: ", "lb_algorithm", ":8: default_server_port: ", ":9: ", "poool"] {
            assert!(failure.what.contains(said), "{said}: {failure}");
        }
        std::fs::write(
            &file,
            "vs:\n- {name: web, pool_ref: web, services: [{port: 80}]}\nPool: [{name: web}]\n",
        )
        .expect("a file");
        let all = read(&[name]).expect("objects");
        std::fs::remove_file(&file).expect("it goes");
        let order: Vec<&str> = all.iter().map(|wanted| wanted.kind.path).collect();
        assert_eq!(order, ["pool", "virtualservice"]);
        assert_eq!(all[1].object["pool_ref"], "/api/pool?name=web");
    }
}
