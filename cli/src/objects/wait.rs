//! Waiting until a service is up.

use std::time::{Duration, Instant};

use forebay_model::Kind;
use serde_json::Value;

use super::verbs::path;
use crate::api::{Api, Failure, failure};

/// Pause between two looks at a service's state.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits until a virtual service is up, or switched off as it should be, and says each state on the way; other kinds have
/// nothing to wait for.
///
/// # Errors
/// It took longer; the Controller has no state of it.
//= CLI-WAIT-01
pub fn until_up(
    api: &mut Api,
    kind: &'static Kind,
    name: &str,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let Some(wait) = wait else { return Ok(()) };
    if kind.path != "virtualservice" {
        return Ok(());
    }
    let object = api.one(kind, name)?;
    let is_on = object.get("enabled").and_then(Value::as_bool).unwrap_or(true);
    let wanted = if is_on { "OPER_UP" } else { "OPER_DISABLED" };
    let path = format!("{}/runtime", path(kind, &object));
    let until = Instant::now() + wait;
    let mut last = String::new();
    loop {
        let state = api.get(&path)?;
        let state = state.get("oper_status").unwrap_or(&Value::Null);
        let said = state.get("state").and_then(Value::as_str).unwrap_or("OPER_UNKNOWN").to_owned();
        let reason = state.get("reason").map_or_else(String::new, super::show::cell);
        if said != last {
            eprintln!("{name}: {said} {}", super::show::printable(&reason));
            last.clone_from(&said);
        }
        // What it was before may be told a moment longer.
        if said == wanted {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                failure::Kind::Late,
                format!("{name} was not up within {} s: it is {said}. {reason}", wait.as_secs()),
            )
            .next(format!("echo show virtualservice {name} runtime | forebay shell")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
