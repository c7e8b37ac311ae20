//! `forebay logs`: requests and connections of a virtual service, as its engines have told the Controller.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{kinds, show};
use crate::api::{Api, Failure, escaped, usage};
use crate::args::{Logs, Output};

/// Pause between two looks of `--follow`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far back each of them looks, in seconds: an engine tells of a request within a second, and clocks differ.
const FOLLOWED_S: u64 = 20;
/// Records of one look.
const FOLLOWED_MAX: usize = 1_000;

/// Prints them, the newest last.
///
/// # Errors
/// What the Controller says; a condition that makes no sense.
//= CLI-LOGS-01
pub fn run(api: &mut Api, asked: &Logs, output: Output) -> Result<(), Failure> {
    let service = api.one(kinds::find("virtualservice")?, &asked.name)?;
    let uuid = service.get("uuid").and_then(Value::as_str).unwrap_or_default();
    let mut path = format!("/api/analytics/logs?virtualservice={}&nf=true", escaped(uuid));
    if asked.significant {
        path = path.replace("&nf=true", "");
    }
    for text in &asked.filters {
        path.push_str(&format!("&filter={}", escaped(&condition(text)?)));
    }
    if let Some(field) = &asked.top {
        return top(api, &path, field, asked, output);
    }
    let mut told = Told::default();
    let first = format!("{path}&duration={}&page_size={}", asked.since.as_secs().max(1), asked.count);
    let answer = api.get(&first)?;
    told.tell(&answer, output);
    if let Some(back) = answer["searched_back_to"].as_str().filter(|_| answer["percent_remaining"] != 0.0) {
        let shown = answer["results"].as_array().map_or(0, Vec::len);
        if shown < asked.count as usize {
            eprintln!(
                "searched back to {back} in the time that a search has: narrow it by --filter, or by --since"
            );
        }
    }
    if !asked.follow {
        return Ok(());
    }
    // Until the user has seen enough, or the Controller cannot be asked any more.
    loop {
        std::thread::sleep(LOOK_EVERY);
        let next = format!("{path}&duration={FOLLOWED_S}&page_size={FOLLOWED_MAX}");
        told.tell(&api.get(&next)?, output);
    }
}

/// The most frequent values of a field.
fn top(api: &mut Api, path: &str, field: &str, asked: &Logs, output: Output) -> Result<(), Failure> {
    let seconds = asked.since.as_secs().max(1);
    let answer = api.get(&format!(
        "{path}&duration={seconds}&groupby={}&page_size={}&timeout=10",
        escaped(field),
        asked.count
    ))?;
    let groups = answer["results"].as_array().cloned().unwrap_or_default();
    if output == Output::Json {
        groups.iter().for_each(|group| println!("{group}"));
        return Ok(());
    }
    let mut rows = vec![vec!["COUNT".to_owned(), field.to_uppercase()]];
    rows.extend(groups.iter().map(|group| vec![show::cell(&group["count"]), show::cell(&group[field])]));
    print!("{}", show::columns(&rows));
    Ok(())
}

/// What was printed, so that nothing is printed twice.
#[derive(Default)]
struct Told(HashMap<String, Instant>);

impl Told {
    fn tell(&mut self, answer: &Value, output: Output) {
        let now = Instant::now();
        self.0.retain(|_, when| now.duration_since(*when) < Duration::from_secs(4 * FOLLOWED_S));
        let records = answer["results"].as_array().cloned().unwrap_or_default();
        for record in records.iter().rev() {
            let whole = record.to_string();
            let is_new = self.0.insert(whole.clone(), now).is_none();
            if is_new {
                match output {
                    Output::Json => println!("{whole}"),
                    _ => println!("{}", line(record)),
                }
            }
        }
    }
}

/// A record in one line: when, who, what, what came of it, how long, by which server, and why it deserves a look.
fn line(record: &Value) -> String {
    let text = |name: &str| record.get(name).map(show::cell).filter(|text| !text.is_empty());
    let or = |name: &str| text(name).unwrap_or_else(|| "-".to_owned());
    let mut words = vec![or("report_timestamp"), or("client_ip")];
    match record.get("response_code") {
        Some(code) => {
            let query = text("uri_query").map_or(String::new(), |query| format!("?{query}"));
            words.push(or("method"));
            words.push(format!("{}{}{query}", text("host").unwrap_or_default(), or("uri_path")));
            words.push(show::cell(code));
        }
        None => {
            words.push(or("protocol"));
            words.push(format!("{} bytes in, {} out", or("rx_bytes"), or("tx_bytes")));
        }
    }
    words.push(format!("{} ms", or("total_time")));
    words.push(match text("server_ip") {
        Some(ip) => format!("{ip}:{}", or("server_dest_port")),
        None => "no server".to_owned(),
    });
    let why = text("significance").or_else(|| {
        let is_odd = record.get("significant") == Some(&Value::Bool(true));
        text("connection_state").filter(|_| is_odd)
    });
    words.extend(why.map(|why| format!("! {why}")));
    show::printable(&words.join("  ")).replace('\n', "\u{fffd}")
}

/// A condition as it is typed (`response_code>=500`, `uri_path~cart`), or as the API takes it.
fn condition(text: &str) -> Result<String, Failure> {
    if text.ends_with(')') && text.split_once('(').is_some_and(|(op, _)| op.len() == 2) {
        return Ok(text.to_owned());
    }
    let name = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (field, rest) = text.split_at(name);
    // Longer signs first.
    let signs = [
        ("!=", "ne"),
        (">=", "ge"),
        ("<=", "le"),
        ("=", "eq"),
        (">", "gt"),
        ("<", "lt"),
        ("~", "co"),
        ("^", "sw"),
    ];
    let found = signs.iter().find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)));
    match found {
        Some((op, value)) if !field.is_empty() => {
            let is_list = value.contains(',') && matches!(op, "eq" | "ne");
            Ok(if is_list { format!("{op}({field},[{value}])") } else { format!("{op}({field},{value})") })
        }
        _ => Err(usage(format!(
            "--filter {text}: write FIELD=VALUE, or != > >= < <= ~ (contains) ^ (begins with), as in response_code>=500"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    //= test CLI-LOGS-01
    #[test]
    fn conditions_are_typed_in_short() {
        let read = |text: &str| condition(text).ok();
        for (text, wanted) in [
            ("response_code>=500", "ge(response_code,500)"),
            ("response_code=502,503", "eq(response_code,[502,503])"),
            ("method!=GET", "ne(method,GET)"),
            ("uri_path~cart", "co(uri_path,cart)"),
            ("uri_path^/a=b", "sw(uri_path,/a=b)"),
            ("client_ip=10.0.0.0/8", "eq(client_ip,10.0.0.0/8)"),
            ("co(all,x)", "co(all,x)"),
        ] {
            assert_eq!(read(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", "response_code", "=5", "a b=1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    //= test CLI-LOGS-01
    #[test]
    fn a_record_is_one_line_without_what_a_terminal_would_act_on() {
        let record = json!({
            "report_timestamp": "2026-11-22T13:48:22Z", "client_ip": "10.1.2.3", "method": "GET", "host": "a.test",
            "uri_path": "/x\u{1b}[2J\ny", "uri_query": "q=1", "response_code": 503, "total_time": 1.5, "significant": true,
            "server_ip": "10.0.0.1", "server_dest_port": 80, "significance": ["the client got a 5xx"],
        });
        let wanted = "2026-11-22T13:48:22Z  10.1.2.3  GET  a.test/x\u{fffd}[2J\u{fffd}y?q=1  503  1.5 ms  10.0.0.1:80  ! the client got a 5xx";
        assert_eq!(line(&record), wanted);
        let record = json!({"protocol": "tcp", "rx_bytes": 1, "tx_bytes": 2, "connection_state": "complete"});
        assert_eq!(line(&record), "-  -  tcp  1 bytes in, 2 out  - ms  no server");
    }
}
