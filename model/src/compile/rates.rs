//! Limits of rates, as rules of the engine.

use toml::Value;

use super::cx::Making;
use super::place::Held;
use super::table::Part;
use super::view::View;

/// The most requests of a limit.
const COUNT_MAX: i64 = 1_000_000;
/// The longest period, milliseconds: a day.
const PERIOD_MS_MAX: i64 = 86_400_000;

/// The action that lets only so many requests pass in so many seconds; `status` 0 closes the connection.
pub(super) fn limit(count: i64, period_s: i64, burst: i64, per_client: bool, status: i64) -> Value {
    let mut part = Part::default();
    part.set("count", count.clamp(1, COUNT_MAX));
    part.set("period_ms", period_s.saturating_mul(1000).clamp(1, PERIOD_MS_MAX));
    part.set("burst", burst.clamp(0, COUNT_MAX));
    part.set("per", if per_client { "client" } else { "rule" });
    part.set("status", status);
    Part::default().with("rate_limit", part).into()
}

/// The status that an action above the limit stands for; 0: the connection is closed; `None`: nothing is done.
pub(super) fn status(making: &mut Making, held: &Held, path: &str, action: View<'_>) -> Option<i64> {
    match action.text("type") {
        "RL_ACTION_NONE" => None,
        "RL_ACTION_LOCAL_RSP" => {
            if action.part("file").has("file_content") {
                let reason = "an answer above a limit has no content";
                making.idle(held, &format!("{path}.file"), reason, "leave it out");
            }
            let status = super::actions::status(action.text("status_code")).filter(|status| *status >= 400);
            Some(status.unwrap_or(429))
        }
        "RL_ACTION_REDIRECT" => {
            let reason = "nobody is sent elsewhere above a limit: 429 is answered";
            making.idle(held, &format!("{path}.type"), reason, "use RL_ACTION_LOCAL_RSP");
            Some(429)
        }
        _ => Some(0),
    }
}

/// A rate profile as an action; `None`: it limits nothing.
pub(super) fn profile(
    making: &mut Making,
    held: &Held,
    path: &str,
    by: View<'_>,
    per_client: bool,
) -> Option<Value> {
    let limiter = by.some_part("rate_limiter")?;
    let status = status(making, held, &format!("{path}.action"), by.part("action"))?;
    let number = |name: &str| limiter.int(name).unwrap_or(0);
    Some(limit(number("count"), number("period"), number("burst_sz"), per_client, status))
}

/// The limits of a service as a whole, and those of its application profile.
pub(super) fn of_service(making: &mut Making, held: &Held, application: &Held) -> Vec<Value> {
    let mut rules = Vec::new();
    let mut rule = |name: &str, then: Option<Value>| {
        if let Some(then) = then {
            let mut part = Part::named(name);
            part.set_list("then", [then]);
            rules.push(Value::from(part));
        }
    };
    let field = "requests_rate_limit";
    if let Some(by) = held.view().some_part(field) {
        rule("limit/service", profile(making, held, field, by, false));
    }
    let of_client = "client_ip_requests_rate_limit";
    let rates = application.view().part("dos_rl_profile").part("rl_profile");
    if let Some(by) = rates.some_part(of_client) {
        let path = format!("dos_rl_profile.rl_profile.{of_client}");
        rule("limit/client", profile(making, application, &path, by, true));
    }
    let a_second = application.view().part("http_profile").int("max_rps_cip").filter(|count| *count != 0);
    rule("limit/client-rps", a_second.map(|count| limit(count, 1, 0, true, 429)));
    rules
}
