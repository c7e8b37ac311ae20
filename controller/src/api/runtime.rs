//! How things are now: virtual services, pools, engines and their groups.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_core::place::EngineState;
use forebay_model::Object;
use serde_json::{Value, json as value};

use super::App;
use super::look::Look;
use super::others::Reader;
use super::request::Asked;
use crate::engines::{Engine, Server};
use crate::objects::{self, Catalogue, Held, Id};
use crate::placement::{Action, Inputs, Phase, Seen, Status, Unit};
use crate::store::Store;

/// Milliseconds since 1970.
pub fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as the API has it.
fn moment(at: u64) -> Value {
    value!({"secs": at / 1000, "usecs": at % 1000 * 1000})
}

/// A state as the API has it.
pub(super) fn state(word: &str, reason: &[String], changed: u64) -> Value {
    let mut state = value!({"state": word});
    if !reason.is_empty() {
        state["reason"] = value!(reason);
    }
    if changed > 0 {
        state["last_changed_time"] = moment(changed);
    }
    state
}

/// How a scale-out, a scale-in or a migration stands.
pub fn scale_status<S: Store>(app: &App<S>, unit: &Unit, status: &Status) -> Value {
    let mut shown = value!({
        "state": status.state,
        "action": status.action.name(),
        "scale_se": app.engine_name(&status.engine),
        "num_se_requested": unit.wanted,
        "num_se_assigned": unit.staying().count(),
        "start_time_str": time(status.began),
    });
    if !status.reason.is_empty() {
        shown["reason"] = value!(status.reason);
    }
    if let Some(ended) = status.ended {
        shown["end_time_str"] = Value::from(time(ended));
        shown["action_success"] = Value::from(status.reason.is_empty());
    }
    shown
}

/// `2026-11-22 11:02:03`, in UTC.
pub fn time(at: u64) -> String {
    let (days, second) = (at / 86_400_000, at / 1000 % 86_400);
    // Days since the first of March of the year 0: leap days are at the ends of its years then.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month_of_year) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month_of_year <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month_of_year:02}-{date:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

fn address(engine: Option<&Engine>) -> Option<Value> {
    let ip = engine?.address?;
    Some(value!({"addr": ip.to_string(), "type": if ip.is_ipv4() { "V4" } else { "V6" }}))
}

fn doing(unit: &Unit, action: Action) -> bool {
    unit.work.as_ref().is_some_and(|work| work.action == action)
}

/// How a virtual service is: `/runtime`.
//= SCALE-API-02
pub fn of_service<S: Store>(app: &App<S>, asked: &Asked, held: &Held, seen: &[Seen]) -> Value {
    let known = app.placement.known();
    let look = Look::of(app, &known, &held.uuid, seen);
    let whole = look.whole();
    let none = Unit::default();
    let unit = look.unit.unwrap_or(&none);
    let engines: Vec<Value> = unit
        .members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            let (word, why) = look.on(member);
            let why: Vec<String> = Some(why).filter(|why| !why.is_empty()).into_iter().collect();
            let is_active = member.phase == Phase::Serving && (at == 0 || !look.is_legacy);
            let reference = app.engine_ref(asked, &member.engine);
            let mut shown = value!({
                "ref": reference,
                "url": reference,
                "uuid": member.engine,
                "name": app.engine_name(&member.engine),
                "primary": at == 0,
                "standby": look.is_legacy && at > 0,
                "connected": look.engine(member).is_some_and(|seen| seen.state == EngineState::Up),
                "active_on_se": is_active,
                "scaleout_in_progress": matches!(member.phase, Phase::Configuring | Phase::Completing | Phase::Opening),
                "se_ready_in_progress": matches!(member.phase, Phase::Completing | Phase::Opening),
                "scalein_in_progress": matches!(member.phase, Phase::Leaving { .. }),
                "oper_status": state(word, &why, member.since),
            });
            if let Some(ip) = address(app.engines.get(&member.engine).as_deref()) {
                shown["mgmt_ip"] = ip;
            }
            shown
        })
        .collect();
    let vips: Vec<Value> = look
        .wanted
        .map_or(&[][..], |wanted| &wanted.vip_ids)
        .iter()
        .map(|vip| {
            let mut shown = value!({
                "vip_id": vip,
                "oper_status": whole,
                "num_se_requested": unit.wanted,
                "num_se_assigned": unit.staying().count(),
                "percent_ses_up": look.percent_up(),
                "scaleout_in_progress": doing(unit, Action::ScaleOut),
                "scalein_in_progress": doing(unit, Action::ScaleIn),
                "migrate_in_progress": doing(unit, Action::Migrate),
                "service_engine": engines,
            });
            if unit.first > 0 {
                shown["first_se_assigned_time"] = moment(unit.first);
            }
            if let Some(status) = unit.status() {
                let name = if status.ended.is_none() { "scale_status" } else { "last_scale_status" };
                shown[name] = scale_status(app, unit, &status);
            }
            shown
        })
        .collect();
    value!({
        "oper_status": whole,
        "percent_ses_up": look.percent_up(),
        "one_plus_one_ha": look.is_legacy,
        "vip_summary": vips,
    })
}

/// The same as the engines' list has it: `/runtime/detail`.
pub fn detail_of_service<S: Store>(app: &App<S>, asked: &Asked, held: &Held) -> Value {
    let known = app.placement.known();
    let none = Unit::default();
    let unit = known.of(&held.uuid).map_or(&none, |(unit, _)| unit);
    let list: Vec<Value> = unit
        .members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            let engine = app.engines.get(&member.engine);
            let mut shown = value!({
                "se_ref": app.engine_ref(asked, &member.engine),
                "is_primary": at == 0,
                "sec_idx": at,
                "scaleout_in_progress": matches!(member.phase, Phase::Configuring | Phase::Completing | Phase::Opening),
                "se_ready_in_progress": matches!(member.phase, Phase::Completing | Phase::Opening),
                "delete_in_progress": matches!(member.phase, Phase::Leaving { .. }),
                "active_on_se": member.phase == Phase::Serving,
            });
            if let Some(engine) = &engine {
                shown["vcpus"] = Value::from(engine.machine.cores);
                shown["memory"] = Value::from(engine.machine.memory_bytes >> 20);
            }
            if let Some(ip) = address(engine.as_deref()) {
                shown["mgmt_ip"] = ip;
            }
            shown
        })
        .collect();
    let fsm = match (unit.members.is_empty(), unit.work.is_some(), unit.serving()) {
        (true, ..) => "VS_FSM_AWAITING_SE_ASSIGNMENT",
        (_, true, _) | (_, _, 0) => "VS_FSM_ACTIVE_AWAITING_SE_TRANSITION",
        _ => "VS_FSM_ACTIVE",
    };
    let vips: Vec<Value> = super::scale::ids(app, held)
        .iter()
        .map(|vip| {
            let mut shown = value!({
                "vip_id": vip,
                "se_list": list,
                "num_additional_se": unit.factor,
                "fsm_state_name": fsm,
                "scaleout_in_progress": doing(unit, Action::ScaleOut),
                "scalein_in_progress": doing(unit, Action::ScaleIn),
                "migrate_in_progress": doing(unit, Action::Migrate),
                "last_changed_time": moment(unit.changed),
            });
            if let Some(status) = unit.status() {
                let name = if status.ended.is_none() { "scale_status" } else { "last_scale_status" };
                shown[name] = scale_status(app, unit, &status);
            }
            shown
        })
        .collect();
    value!({
        "uuid": held.uuid,
        "num_additional_se": unit.factor,
        "last_changed_time": moment(unit.changed),
        "vip_runtime": vips,
    })
}

/// What connected engines say of the servers of a pool, by address. Each of them keeps its servers in the order of their
/// pools, so only those of this one are looked at.
fn told_of<'e>(engines: &'e [Arc<Engine>], pool: &str) -> HashMap<&'e str, Vec<&'e Server>> {
    let mut found: HashMap<&str, Vec<&Server>> = HashMap::new();
    // A pool that is used in several ways is several ones of the engine's document: `pool-1` and `pool-1/tcp`, and the
    // character behind `/` is `0`.
    let range = (pool.to_owned(), String::new())..(format!("{pool}0"), String::new());
    let is_it =
        |name: &str| name.strip_prefix(pool).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    for engine in engines.iter().filter(|engine| engine.is_connected) {
        let bounds = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        for ((_, server), told) in engine.servers.range(bounds).filter(|((name, _), _)| is_it(name)) {
            found.entry(server).or_default().push(told);
        }
    }
    found
}

/// A server of a pool, as the engines that have it see it.
struct Judged<'o> {
    object: &'o Value,
    port: u64,
    is_enabled: bool,
    is_up: bool,
    word: &'static str,
    why: String,
}

/// Gives what is made of the servers of a pool.
fn servers<T>(
    app: &App<impl Store>,
    now: &Catalogue,
    held: &Held,
    object: &Object,
    each: impl Fn(Judged<'_>) -> T,
) -> Vec<T> {
    let port = objects::port(object);
    let engines = app.engines.all();
    let told_of = told_of(&engines, &held.uuid);
    let all = objects::servers(now, object);
    let judged = all.iter().map(|server| {
        let ip = server["ip"]["addr"].as_str().unwrap_or_default();
        let port = server["port"].as_u64().filter(|port| *port > 0).unwrap_or(port);
        let at = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        let told = told_of.get(at.as_str()).map_or(&[][..], Vec::as_slice);
        let is_enabled = server["enabled"] != false;
        let is_up = told.iter().any(|told| told.state == "up");
        let (word, why) = match (is_enabled, is_up, told.first()) {
            (false, ..) => ("OPER_DISABLED", "it is disabled".to_owned()),
            (_, true, _) => ("OPER_UP", String::new()),
            (_, _, Some(told)) if told.state == "checking" => ("OPER_UNKNOWN", told.why.clone()),
            (_, _, Some(told)) => ("OPER_DOWN", told.why.clone()),
            (_, _, None) => ("OPER_UNUSED", "no engine has told of it".to_owned()),
        };
        each(Judged { object: server, port, is_enabled, is_up, word, why })
    });
    judged.collect()
}

/// How a pool is: `/runtime`.
//= SCALE-API-02
pub fn of_pool<S: Store>(app: &App<S>, now: &Catalogue, held: &Held) -> Value {
    let object = held.object();
    let found = servers(app, now, held, &object, |one| (one.is_enabled, one.is_up, one.word));
    let count = found.len();
    let enabled = found.iter().filter(|(is_enabled, ..)| *is_enabled).count();
    let up = found.iter().filter(|(is_enabled, is_up, _)| *is_enabled && *is_up).count();
    let unused = found.iter().all(|(_, _, word)| *word == "OPER_UNUSED");
    let (word, why) = match (object.get("enabled") == Some(&Value::Bool(false)), count, up) {
        (true, ..) => ("OPER_DISABLED", vec!["it is disabled".to_owned()]),
        (_, 0, _) => ("OPER_DOWN", vec!["it has no servers".to_owned()]),
        (_, _, 0) if unused => ("OPER_UNUSED", vec!["no engine has told of it".to_owned()]),
        (_, _, 0) => ("OPER_DOWN", vec!["no server of it can be used".to_owned()]),
        _ => ("OPER_UP", Vec::new()),
    };
    let percent = |of: usize| (up * 100).checked_div(of).unwrap_or(0);
    value!({
        "oper_status": state(word, &why, 0),
        "num_servers": count,
        "num_servers_enabled": enabled,
        "num_servers_up": up,
        "percent_servers_up_total": percent(count),
        "percent_servers_up_enabled": percent(enabled),
    })
}

/// The servers of a pool: `/runtime/server`.
pub fn servers_of_pool<S: Store>(app: &App<S>, now: &Catalogue, held: &Held) -> Value {
    let found = servers(app, now, held, &held.object(), |one| {
        let why: Vec<String> = Some(one.why).filter(|why| !why.is_empty()).into_iter().collect();
        value!({
            "ip_addr": one.object["ip"], "port": one.port, "hostname": one.object["hostname"],
            "oper_status": state(one.word, &why, 0),
        })
    });
    value!({"count": found.len(), "results": found})
}

/// How an engine is: `/runtime`.
//= SCALE-API-02
//= CHAN-SEEN-02
pub fn of_engine<S: Store>(app: &App<S>, reader: &Reader<'_>, held: &Held, seen: &[Seen]) -> Value {
    let engine = app.engines.get(&held.uuid);
    let seen = seen.iter().find(|seen| seen.uuid == held.uuid);
    let none = || vec!["it is not connected".to_owned()];
    let (word, why) = match (seen, &engine) {
        (Some(_), Some(engine)) if engine.enable_state == "SE_STATE_DISABLED" => {
            ("OPER_DISABLED", vec!["it is disabled".to_owned()])
        }
        (Some(seen), Some(engine)) if seen.state == EngineState::Up => {
            ("OPER_UP", reader.reason(app, engine, &seen.problems))
        }
        (Some(_), Some(engine)) if engine.slot.is_none() => {
            ("OPER_CREATING", vec!["it has not joined yet".to_owned()])
        }
        (Some(seen), _) if seen.state == EngineState::Silent => ("OPER_PARTITIONED", none()),
        _ => ("OPER_DOWN", none()),
    };
    let is_up = seen.is_some_and(|seen| seen.state == EngineState::Up);
    let mut shown = value!({
        "oper_status": state(word, &why, 0),
        "se_connected": is_up,
        "version": engine.as_ref().map(|engine| engine.software.clone()).unwrap_or_default(),
    });
    if let Some(since) = engine.and_then(|engine| engine.since).filter(|_| is_up) {
        let ago = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        shown["online_since"] = Value::from(time(clock().saturating_sub(ago)));
    }
    shown
}

/// How a group of engines is: `/runtime`.
pub fn of_group<S: Store>(app: &App<S>, held: &Held, seen: &[Seen]) -> Value {
    let known = app.placement.known();
    let own = || seen.iter().filter(|seen| seen.group == held.uuid);
    let services: usize = known.world.of_group(&held.uuid).map(|(_, wanted)| wanted.services.len()).sum();
    let wanted = known.world.groups.get(&held.uuid).map(|settings| {
        Inputs::new(&held.uuid, settings, &known.world, &known.units, seen, clock()).plan().1
    });
    value!({
        "num_se": own().count(),
        "num_se_up": own().filter(|seen| seen.state == EngineState::Up).count(),
        "num_se_wanted": wanted,
        "num_vs": services,
    })
}

/// The virtual services that an engine has.
pub fn on_engine<S: Store>(app: &App<S>, uuid: &str) -> Vec<Id> {
    let all = app.placement.known().on(uuid);
    all.into_iter().map(|assigned| Id { kind: "virtualservice", uuid: assigned.vs }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{time, told_of};
    use crate::engines::{Engine, Server};

    //= test SCALE-API-02
    #[test]
    fn of_the_servers_that_engines_tell_of_only_a_pools_own_are_looked_at() {
        let told = |state: &str| Server { state: state.to_owned(), ..Server::default() };
        let engine = |number: usize| {
            let pools = ["pool-1", "pool-1-x", "pool-1/tcp", "pool-1/tcp/h2", "pool-10", "pool-2", "pool-0"];
            let servers = pools.iter().flat_map(|pool| {
                (0..100).map(move |at| ((pool.to_string(), format!("10.0.0.{at}:80")), *pool))
            });
            let servers: BTreeMap<_, _> = servers.map(|(key, pool)| (key, told(pool))).collect();
            Arc::new(Engine { is_connected: number != 3, servers, ..Engine::default() })
        };
        let engines: Vec<_> = (0..4).map(engine).collect();
        let found = told_of(&engines, "pool-1");
        assert_eq!(found.len(), 100);
        for told in found.values() {
            let mut states: Vec<&str> = told.iter().map(|told| told.state.as_str()).collect();
            states.sort_unstable();
            // Three engines, three uses of the pool: what is looked at is what is told of it, and nothing else.
            assert_eq!(
                states,
                [
                    "pool-1",
                    "pool-1",
                    "pool-1",
                    "pool-1/tcp",
                    "pool-1/tcp",
                    "pool-1/tcp",
                    "pool-1/tcp/h2",
                    "pool-1/tcp/h2",
                    "pool-1/tcp/h2"
                ]
            );
        }
    }

    #[test]
    fn a_moment_is_told_as_its_date() {
        for (at, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_709_251_199_999, "2024-02-29 23:59:59"),
            (1_709_251_200_000, "2024-03-01 00:00:00"),
            (4_107_542_399_000, "2100-02-28 23:59:59"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(time(at), text);
        }
    }
}
