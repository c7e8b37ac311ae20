//! `scaleout`, `scalein`, `migrate` and `switchover` of a virtual service.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::verbs::path;
use super::{kinds, show};
use crate::api::{Api, Failure, failure};
use crate::args::Scale;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the first address of a service is called by custom.
const FIRST: &str = "1";

/// Asks for it, and waits for its end if that is wanted.
///
/// # Errors
/// The Controller refuses, with its reason; it failed, or took longer.
//= CLI-SCALE-01
pub fn run(api: &mut Api, action: &str, asked: &Scale) -> Result<(), Failure> {
    let service = api.one(kinds::find("virtualservice")?, &asked.name)?;
    let at = path(kinds::find("virtualservice")?, &service);
    let vip = match &asked.vip_id {
        Some(vip) => vip.clone(),
        None => only_vip(api, &at)?,
    };
    let mut content = json!({"vip_id": vip});
    for (end, engine) in [("to", &asked.to), ("from", &asked.from)] {
        let Some(engine) = engine else { continue };
        content[field(action, end)] = reference(api, engine)?;
    }
    api.ask("POST", &format!("{at}/{action}"), Some(&content))?;
    // It is done at once.
    if action == "switchover" {
        return Ok(());
    }
    let Some(wait) = asked.wait else {
        eprintln!("{action} of {} has begun: forebay {action} --wait follows the next one", asked.name);
        return Ok(());
    };
    until_done(api, &at, asked, &vip, wait)
}

/// The address of a service of which nobody says which one is meant: the only one that it has, or the first by custom, which is
/// refused with those that there are.
///
/// # Errors
/// The Controller does not say.
pub fn only_vip(api: &mut Api, at: &str) -> Result<String, Failure> {
    let runtime = api.get(&format!("{at}/runtime"))?;
    Ok(match runtime["vip_summary"].as_array().map_or(&[][..], Vec::as_slice) {
        [one] => one["vip_id"].as_str().unwrap_or(FIRST).to_owned(),
        _ => FIRST.to_owned(),
    })
}

/// What the API calls the engine at this end.
pub fn field(action: &str, end: &str) -> String {
    match action {
        "switchover" => "se_uuid".to_owned(),
        _ => format!("{end}_se_ref"),
    }
}

/// The engine of this name, as the API takes it.
///
/// # Errors
/// There is none.
pub fn reference(api: &mut Api, engine: &str) -> Result<Value, Failure> {
    let engine = api.one(kinds::find("serviceengine")?, engine)?;
    Ok(engine.get("uuid").cloned().unwrap_or(Value::Null))
}

fn until_done(api: &mut Api, at: &str, asked: &Scale, vip_id: &str, wait: Duration) -> Result<(), Failure> {
    let until = Instant::now() + wait;
    let mut said = String::new();
    loop {
        let runtime = api.get(&format!("{at}/runtime"))?;
        let vips = runtime["vip_summary"].as_array().cloned().unwrap_or_default();
        let vip = vips.into_iter().find(|vip| vip["vip_id"] == vip_id).unwrap_or_default();
        let goes_on = vip["scale_status"].is_object();
        let status = if goes_on { &vip["scale_status"] } else { &vip["last_scale_status"] };
        let state = status["state"].as_str().unwrap_or_default();
        if state != said {
            eprintln!("{}: {state} {}", asked.name, show::cell(&status["scale_se"]));
            state.clone_into(&mut said);
        }
        if !goes_on {
            return match state.ends_with("_SUCCESS") {
                true => Ok(()),
                false => Err(Failure::new(failure::Kind::Failed, show::cell(&status["reason"]))),
            };
        }
        if Instant::now() >= until {
            let what = format!("it is at {state} after {} s, and goes on", wait.as_secs());
            let next = format!("echo show virtualservice {} scaleoutstatus | forebay shell", asked.name);
            return Err(Failure::new(failure::Kind::Late, what).next(next));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
