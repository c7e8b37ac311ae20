//! What engines share, in the forms for people.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use forebay_host_uring::control::admin::Request;
use forebay_host_uring::control::answers::Filter;
use forebay_host_uring::control::objsync::What;
use serde_json::Value;

use super::args::{Ask, Output, Shown};
use super::show::{list, text};
use super::table::Table;
use super::{Failure, ask, exit};

/// Something differs.
const DIFFERS: u8 = 1;
/// Not all could be compared.
const IN_PART: u8 = 2;
/// An engine compares for so long before it gives a member up.
const VERIFY_S: u64 = 40;

/// `forebay-se show`
pub fn show(what: Shown, filters: Vec<(String, String)>, limit: usize, asked: &Ask) -> Result<(), Failure> {
    let mut filter = Filter { limit: Some(limit), ..Filter::default() };
    for (name, value) in filters {
        let place = match name.as_str() {
            "pool" => &mut filter.pool,
            "client" => &mut filter.client,
            "cookie" => &mut filter.cookie,
            _ => &mut filter.server,
        };
        *place = Some(value);
    }
    let (what, form): (What, fn(&Value) -> String) = match what {
        Shown::Keyvalsummary => (What::Keyvalsummary, keyvalsummary),
        Shown::Keyvalsummaryobjsync => {
            (What::Keyvalsummaryobjsync, |data| progress(&data["keyvalsummaryobjsync"], "keyType"))
        }
        Shown::PoolInternal => (What::PoolInternal, pool_internal),
        Shown::PoolObjsync => (What::PoolObjsync, |data| progress(&data["pool_objsync"], "pooluuid")),
        Shown::ServiceengineObjsync => (What::ServiceengineObjsync, members),
    };
    ask::show(asked, &Request::Show { what, filter }, form)
}

/// `forebay-se objsync verify`
//= OBS-SYNC-02
pub fn verify(asked: &Ask) -> Result<ExitCode, Failure> {
    let socket = ask::socket(asked)?;
    let patience = Duration::from_secs(asked.timeout_s.max(VERIFY_S));
    let data = ask::exchange(&socket, &Request::ObjsyncVerify {}, patience)?;
    match asked.output {
        Output::Json => println!("{data}"),
        Output::Table => print!("{}", verdict(&data)),
    }
    Ok(ExitCode::from(match data["result"].as_str() {
        Some("equal") => 0,
        Some("differs") => DIFFERS,
        Some(_) => IN_PART,
        None => exit::FAILED,
    }))
}

fn verdict(data: &Value) -> String {
    let mut out = String::new();
    for peer in list(&data["peers"]) {
        // Writing to a text cannot fail, here and below.
        let _ = writeln!(out, "{}: {}", text(&peer["seuuid"]), text(&peer["state"]));
        for how in list(&peer["tables_differ"]) {
            let _ = writeln!(out, "  {}", text(how));
        }
        for table in list(&peer["tables"]) {
            let buckets: Vec<String> = list(&table["buckets"]).iter().map(text).collect();
            let _ = writeln!(
                out,
                "  pool {} of service {}: {} cells differ, in buckets {}; {} cells here and {} there have lost entries for want of room",
                text(&table["pool"]),
                text(&table["virtual_service"]),
                table["cells_differ"],
                if buckets.is_empty() { "-".to_owned() } else { buckets.join(", ") },
                table["cells_partial_here"],
                table["cells_partial_there"],
            );
        }
    }
    let nobody = "nobody to compare with: objsync.members lists no other engine";
    let result = text(&data["result"]);
    let _ = writeln!(out, "{}", if result == "alone" { nobody } else { &result });
    out
}

fn keyvalsummary(data: &Value) -> String {
    let mut table = Table::new(&["SE", "KIND", "KEYS"]);
    for row in list(&data["keyvalsummary"]) {
        table.row(vec![text(&row["se_uuid"]), text(&row["kv_type"]), text(&row["num_keyval_objs"])]);
    }
    table.render()
}

/// One row for each table and engine that has it.
fn progress(rows: &Value, name: &str) -> String {
    let mut table = Table::new(&["TABLE", "CHANGED BY", "CHANGES", "KNOWN TO", "UP TO"]);
    for row in list(rows) {
        for version in list(&row["hubVersions"]) {
            for other in list(&row["subStats"]) {
                let theirs = list(&other["versions"]).iter().find(|one| one[name] == version[name]);
                table.row(vec![
                    text(&version[name]),
                    text(&row["hubuuid"]),
                    text(&version["version"]),
                    text(&other["seuuid"]),
                    theirs.map_or("-".to_owned(), |one| text(&one["version"])),
                ]);
            }
        }
    }
    table.render()
}

fn pool_internal(data: &Value) -> String {
    let mut table = Table::new(&[
        "POOL", "CLIENT", "SERVER", "OPEN", "ENGINES", "AGE HERE", "AGE", "ENDS IN", "TIME-OUT",
    ]);
    let seconds = |value: &Value| value.as_f64().map_or("-".to_owned(), |s| format!("{s:.1}s"));
    for pool in list(&data["pool_internal"]) {
        for entry in list(&pool["persistence_entry"]) {
            table.row(vec![
                text(&pool["pool"]),
                text(&entry["client_ip"]),
                text(&entry["server_key"]),
                text(&entry["in_progress_cnt"]),
                text(&entry["ref_count"]),
                seconds(&entry["local_age"]),
                seconds(&entry["global_age"]),
                seconds(&entry["global_eol"]),
                seconds(&entry["global_timeout"]),
            ]);
        }
    }
    let mut out = table.render();
    let _ = writeln!(out, "{} entries match", data["matching"]);
    out
}

fn by_redis(data: &Value) -> String {
    let mut table =
        Table::new(&["REDIS", "CONNECTED", "WAITING", "TOLD", "APPLIED", "LOST", "OTHERS", "TROUBLE"]);
    let others: Vec<String> = list(&data["others"]).iter().map(text).collect();
    table.row(vec![
        text(&data["redis"]),
        text(&data["redis_connected"]),
        text(&data["waiting"]),
        text(&data["entries"]["told"]),
        text(&data["entries"]["applied"]),
        text(&data["lost"]),
        others.join(" "),
        text(&data["trouble"]),
    ]);
    table.render()
}

fn members(data: &Value) -> String {
    let out = format!(
        "{}: {}\n\n",
        text(&data["se_uuid"]),
        match (&data["joined"], &data["complete"]) {
            (Value::Bool(true), Value::Bool(true)) => "its tables were complete when it began to serve",
            (Value::Bool(true), _) => "it serves, and not every member was heard of in time",
            _ => "it waits for its tables",
        }
    );
    if data["use_objsync"] == false {
        return out + &by_redis(data);
    }
    let mut table = Table::new(&[
        "SE",
        "ADDRESS",
        "CONNECTED",
        "IN SYNC",
        "LAG",
        "LAG MS",
        "CELLS DIFFER",
        "PROVEN MS AGO",
        "IN",
        "OUT",
        "REPAIRED",
        "TROUBLE",
    ]);
    for peer in list(&data["peers"]) {
        table.row(vec![
            text(&peer["seuuid"]),
            text(&peer["address"]),
            text(&peer["connected"]),
            text(&peer["synced"]),
            text(&peer["lag_entries"]),
            text(&peer["lag_ms"]),
            text(&peer["cells_differ"]),
            text(&peer["proven_ms_ago"]),
            text(&peer["bytes_in"]),
            text(&peer["bytes_out"]),
            text(&peer["repaired"]),
            text(&peer["trouble"]),
        ]);
    }
    out + &table.render()
}
