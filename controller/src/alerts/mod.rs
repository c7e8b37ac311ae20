//! Alerts: what alert configurations ask for has happened.

mod gone;
mod outbox;
mod records;
mod rule;
mod syslog;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_metrics::{Key, Kind, Range, Tally};
use serde_json::{Value, json};

use crate::api::{App, clock, told_until};
use crate::events::{self, Wanted};
use crate::objects::Catalogue;
use crate::parts::Remote;
use crate::store::{Pages, Refusal, Step, Store};
use outbox::{Actions, Outbox};
use records::{Came, Watch};
use rule::{Asks, Rule, When};

/// Alerts that are kept: the eldest go first. A kilobyte each.
pub const ALERTS_MAX: usize = 1_000;
/// Where the store has them.
const PREFIX: &str = "alert/";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Events of one look; what is more comes with the next one.
const EVENTS_MAX: usize = 1_000;
/// Alerts of one look for events, and as many for metrics: what is more is raised by the next ones.
const RAISED_MAX: usize = 50;
/// Who comes to lead begins with what was written this long before, in microseconds: the one before it may not have looked.
const BEFORE: Moment = 60_000_000;
/// An event has its moment a little before it is in its row, in microseconds.
const MARGIN: Moment = 1_000_000;
/// An event that is not in the store so long after its moment is not waited for, in microseconds: who wrote it has given up.
const WRITTEN_WITHIN: Moment = 60_000_000;
/// Moments that are remembered for a rule that counts, and pairs of a rule and an object of which something is.
const REMEMBERED_MAX: usize = 65_536;

/// A moment in microseconds since 1970: no two alerts have the same.
type Moment = u64;

/// An event: its moment, what it is, and the object that it is about.
type EventOf = (Moment, String, String);

/// Alerts, and what has to be known to raise the next ones.
#[derive(Default)]
pub struct Alerts {
    state: Mutex<State>,
    /// Records that are asked for.
    pub watch: Watch,
    outbox: Outbox,
}

/// A rule and an object.
type Pair = (String, String);

#[derive(Default)]
struct State {
    held: BTreeMap<Moment, Arc<Value>>,
    /// When those were raised that were taken away a moment ago.
    gone: BTreeSet<Moment>,
    /// The moment of the last one, whether it is kept or told to others only.
    last: Moment,
    /// Up to which moment all events were looked at.
    seen: Moment,
    /// Events after that which were, with the rule by which they were.
    done: BTreeSet<(EventOf, String)>,
    /// When the last alert was raised, by rule and object, in seconds.
    raised: HashMap<(String, String), u64>,
    /// When it was as a rule asks for, in seconds.
    often: HashMap<(String, String), VecDeque<u64>>,
    /// Whether it was so at the last look.
    was: HashMap<(String, String), bool>,
}

/// Something that a rule asked for.
struct Found {
    uuid: String,
    name: String,
    kind: String,
    tenant: String,
    labels: Value,
    why: String,
    /// Of which event, if it is one.
    event: Option<EventOf>,
    /// How many times it was so since the last look.
    times: u64,
}

impl Alerts {
    /// Those that the store has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &impl Store) -> Result<Self, Refusal> {
        let mut state = State { seen: (clock() * 1_000).saturating_sub(BEFORE), ..State::default() };
        let mut pages = Pages::of(store, PREFIX);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let moment = key.strip_prefix(PREFIX).and_then(|moment| moment.parse::<Moment>().ok());
                let alert: Option<Value> = serde_json::from_slice(&stored.value).ok();
                if let Some((moment, alert)) = moment.zip(alert) {
                    state.knows(moment, &alert);
                    state.held.insert(moment, Arc::new(alert));
                }
            }
        }
        state.read_gone(store).await?;
        Ok(Alerts { state: Mutex::new(state), ..Alerts::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic leaves half done is looked at again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment that no other alert has.
    fn next_moment(&self) -> Moment {
        let mut state = self.lock();
        let held = state.held.keys().next_back().copied().unwrap_or(0);
        state.last = (clock() * 1_000).max(held.max(state.last) + 1);
        state.last
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Arc<Value>> {
        self.lock().held.values().rev().cloned().collect()
    }

    /// Takes one away; `false`: there is none of this uuid.
    ///
    /// # Errors
    /// Those of the store: then it stays.
    pub async fn remove(&self, store: &impl Store, uuid: &str) -> Result<bool, Refusal> {
        let found =
            self.lock().held.iter().find(|(_, alert)| alert["uuid"] == uuid).map(|(moment, _)| *moment);
        let Some(moment) = found else { return Ok(false) };
        let step = self.lock().goes(Step::default().write(key(moment), None), moment);
        store.commit(step).await?;
        self.lock().held.remove(&moment);
        Ok(true)
    }
}

fn key(moment: Moment) -> String {
    format!("{PREFIX}{moment:020}")
}

/// Looks for ever.
pub async fn drive<S: Store + 'static>(app: Arc<App<S>>) {
    loop {
        if let Err(refusal) = look(&app, clock() / 1_000).await {
            tracing::warn!(event = "CONTROLLER_ALERTS_FAILED", %refusal, "alerts are not kept: what was found is found again");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks once: `now` is in seconds since 1970.
///
/// # Errors
/// Those of the store.
//= ALERT-RAISE-01
//= ALERT-EXPIRE-01
pub async fn look<S: Store>(app: &App<S>, now: u64) -> Result<(), Refusal> {
    look_from(app, now, clock() * 1_000).await
}

/// The same by a clock of events that says it is `begun`, in microseconds since 1970: what happens from there on is for the next
/// look, and what happened in the second before is looked at once more.
///
/// # Errors
/// Those of the store.
pub async fn look_from<S: Store>(app: &App<S>, now: u64, begun: u64) -> Result<(), Refusal> {
    expire(app, now).await?;
    let rules: Vec<Rule> = {
        let objects = app.objects.now();
        objects.all("alertconfig").filter_map(|held| Rule::read(held)).collect()
    };
    app.alerts.watch.ask(&rules);
    for_events(app, &rules, now, begun).await?;
    for_records(app, &rules, now).await?;
    for_metrics(app, &rules, now).await
}

/// Tells others of alerts, for ever.
pub async fn tell<S: Store>(app: Arc<App<S>>) {
    app.alerts.outbox.drive().await;
}

fn event_of(event: &Value) -> EventOf {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    (event["report_timestamp"].as_u64().unwrap_or(0), text("event_id"), text("obj_uuid"))
}

/// Raises alerts for what has happened: each event is looked at once, also one that was written late.
//= ALERT-ONCE-01
async fn for_events<S: Store>(app: &App<S>, rules: &[Rule], now: u64, begun: Moment) -> Result<(), Refusal> {
    let (seen, done) = {
        let state = app.alerts.lock();
        (state.seen, state.done.clone())
    };
    let [writes, sessions] = app.objects.events();
    let is_open =
        |rule: &Rule, event: &Value| done.is_empty() || !done.contains(&(event_of(event), rule.uuid.clone()));
    let is_asked = |event: &Value| rules.iter().any(|rule| rule.fits(event) && is_open(rule, event));
    let wanted = Wanted {
        between: (seen + 1, Moment::MAX),
        is_oldest_first: true,
        fits: &is_asked,
        skip: 0,
        most: EVENTS_MAX,
    };
    let all = [writes, sessions, &app.placement.events, &app.standing.events];
    let (count, happened, unwritten) = events::page_so_far(&all, &app.store, &wanted).await?;
    let mut upto = begun.saturating_sub(MARGIN);
    if let Some(unwritten) = unwritten.filter(|moment| moment.saturating_add(WRITTEN_WITHIN) > begun) {
        upto = upto.min(unwritten - 1);
    }
    if let Some((last, ..)) = happened.last().map(event_of).filter(|_| count > happened.len()) {
        // Others may have that moment that are not among them; what was done is known.
        upto = upto.min(last.saturating_sub(1));
    }
    let mut raised = 0;
    for event in &happened {
        let (moment, ..) = event_of(event);
        if raised >= RAISED_MAX {
            upto = upto.min(moment - 1);
            break;
        }
        for rule in rules.iter().filter(|rule| rule.fits(event) && is_open(rule, event)) {
            raised += usize::from(raise(app, rule, &of_event(event), now).await?);
            app.alerts.lock().done.insert((event_of(event), rule.uuid.clone()));
        }
    }
    let state = &mut *app.alerts.lock();
    state.seen = state.seen.max(upto);
    state.done = state.done.split_off(&((state.seen + 1, String::new(), String::new()), String::new()));
    Ok(())
}

/// Raises alerts for records that came since the last look.
//= ALERT-LOGS-01
async fn for_records<S: Store>(app: &App<S>, rules: &[Rule], now: u64) -> Result<(), Refusal> {
    let mut came: Vec<(Pair, Came)> = app.alerts.watch.take().into_iter().collect();
    came.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut raised, mut done) = (0, 0);
    let mut failed = Ok(());
    for ((uuid, service), came) in &came {
        if raised >= RAISED_MAX {
            break;
        }
        let found = of_records(&app.objects.now(), service, came);
        if let Some((rule, found)) = rules.iter().find(|rule| rule.uuid == *uuid).zip(found) {
            match raise(app, rule, &found, now).await {
                Ok(is_raised) => raised += usize::from(is_raised),
                Err(refusal) => {
                    failed = Err(refusal);
                    break;
                }
            }
        }
        done += 1;
    }
    app.alerts.watch.put_back(came.into_iter().skip(done).collect());
    failed
}

/// Records of a service, as far as there is one.
fn of_records(objects: &Catalogue, service: &str, came: &Came) -> Option<Found> {
    let held = objects.get("virtualservice", service)?;
    let more = match came.times {
        1 => String::new(),
        times => format!("{times} records, the first: "),
    };
    Some(Found {
        uuid: held.uuid.clone(),
        name: held.name.clone(),
        kind: "virtualservice".to_owned(),
        tenant: held.tenant.clone(),
        labels: json!(crate::access::labels(&held.object())),
        why: more + &came.why,
        event: None,
        times: came.times,
    })
}

async fn for_metrics<S: Store>(app: &App<S>, rules: &[Rule], now: u64) -> Result<(), Refusal> {
    let values = values(app, rules).await;
    let mut raised = 0;
    for rule in rules {
        let all = of_metrics(&app.objects.now(), rule, &values);
        for (pair, found) in all {
            let Some(found) = found else {
                app.alerts.lock().was.remove(&pair);
                continue;
            };
            let was = app.alerts.lock().was.contains_key(&pair);
            if raised >= RAISED_MAX || rule.when == When::Crossed && was {
                continue;
            }
            raised += usize::from(raise(app, rule, &found, now).await?);
            app.alerts.lock().was.insert(pair, true);
        }
    }
    Ok(())
}

/// Raises an alert for what was found, if one is due; it is noted when it is kept.
async fn raise<S: Store>(app: &App<S>, rule: &Rule, found: &Found, now: u64) -> Result<bool, Refusal> {
    if !app.alerts.lock().is_due(rule, found, now) {
        return Ok(false);
    }
    let nodes: Vec<IpAddr> = app.cluster.all().into_iter().map(|one| one.address).collect();
    let actions = Actions::of(&app.objects.now(), rule, &nodes);
    let mut alert = made(rule, found, &actions.level, now);
    let moment = app.alerts.next_moment();
    alert["uuid"] = Value::from(format!("alert-{moment:020}"));
    alert["timestamp"] = Value::from(moment);
    //= ALERT-SYSLOG-01
    if !actions.is_external
        && let Err(refusal) = keep(app, moment, &alert).await
    {
        app.alerts.lock().is_found_again(rule, found);
        return Err(refusal);
    }
    app.alerts.lock().was_raised(rule, found, now);
    if !actions.servers.is_empty() {
        let at = forebay_logs::stamp(i64::try_from(moment).unwrap_or(i64::MAX));
        app.alerts.outbox.put(&alert, actions.servers, &at);
    }
    Ok(true)
}

/// Takes away what is over.
async fn expire<S: Store>(app: &App<S>, now: u64) -> Result<(), Refusal> {
    let over: Vec<String> = {
        let state = app.alerts.lock();
        let is_over = |alert: &&Arc<Value>| alert["expiry_time"].as_u64().is_some_and(|end| end <= now);
        state
            .held
            .values()
            .filter(is_over)
            .filter_map(|alert| Some(alert["uuid"].as_str()?.to_owned()))
            .collect()
    };
    for uuid in over {
        app.alerts.remove(&app.store, &uuid).await?;
    }
    Ok(())
}

async fn keep<S: Store>(app: &App<S>, moment: Moment, alert: &Value) -> Result<(), Refusal> {
    let eldest = {
        let state = app.alerts.lock();
        state.held.keys().next().copied().filter(|_| state.held.len() >= ALERTS_MAX)
    };
    let mut step = Step::default().write(key(moment), Some(alert.to_string().into_bytes()));
    if let Some(eldest) = eldest {
        step = step.write(key(eldest), None);
    }
    app.store.commit(step).await?;
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    tracing::warn!(
        event = "CONTROLLER_ALERT",
        name = text("name"),
        object = text("obj_uuid"),
        level = text("level"),
        "{}",
        text("description")
    );
    let state = &mut *app.alerts.lock();
    if let Some(eldest) = eldest {
        state.held.remove(&eldest);
    }
    state.held.insert(moment, Arc::new(alert.clone()));
    Ok(())
}

impl State {
    /// Whether an alert is to be raised for what was found.
    //= ALERT-THROTTLE-01
    fn is_due(&mut self, rule: &Rule, found: &Found, now: u64) -> bool {
        let pair = (rule.uuid.clone(), found.uuid.clone());
        for known in [self.raised.len(), self.often.len()] {
            if known >= REMEMBERED_MAX {
                self.raised.retain(|_, at| now.saturating_sub(*at) < 86_400);
                self.often.clear();
            }
        }
        if let When::Often(times, within) = rule.when {
            let moments = self.often.entry(pair.clone()).or_default();
            moments.extend(std::iter::repeat_n(now, usize::try_from(found.times.min(times)).unwrap_or(1)));
            while moments.front().is_some_and(|at| now.saturating_sub(*at) >= within)
                || moments.len() > REMEMBERED_MAX
            {
                moments.pop_front();
            }
            if (moments.len() as u64) < times {
                return false;
            }
        }
        let is_quiet = self.raised.get(&pair).is_some_and(|at| now.saturating_sub(*at) < rule.throttle);
        if is_quiet {
            self.often.remove(&pair);
        }
        !is_quiet
    }

    /// The alert is kept.
    fn was_raised(&mut self, rule: &Rule, found: &Found, now: u64) {
        let pair = (rule.uuid.clone(), found.uuid.clone());
        self.often.remove(&pair);
        self.raised.insert(pair, now);
    }

    /// The alert could not be kept: what was found counts when it is found again.
    fn is_found_again(&mut self, rule: &Rule, found: &Found) {
        if let Some(moments) = self.often.get_mut(&(rule.uuid.clone(), found.uuid.clone())) {
            let When::Often(times, _) = rule.when else { return };
            let times = usize::try_from(found.times.min(times)).unwrap_or(usize::MAX);
            moments.truncate(moments.len().saturating_sub(times));
        }
    }
}

fn of_event(event: &Value) -> Found {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    Found {
        uuid: text("obj_uuid"),
        name: text("obj_name"),
        kind: text("obj_type").to_lowercase(),
        tenant: text("tenant"),
        labels: event["labels"].clone(),
        why: format!("{}: {}", text("event_id"), text("event_description")),
        event: Some(event_of(event)),
        times: 1,
    }
}

const KINDS: [(&str, Kind); 3] =
    [("virtualservice", Kind::Service), ("pool", Kind::Pool), ("serviceengine", Kind::Engine)];

/// The objects that a rule on metrics is about.
fn objects_of<'c>(
    objects: &'c Catalogue,
    rule: &Rule,
) -> Vec<(&'static str, Kind, &'c Arc<crate::objects::Held>)> {
    let mut all = Vec::new();
    for (path, of) in KINDS {
        if rule.kind.as_deref().is_some_and(|kind| kind != path) {
            continue;
        }
        let is_meant = |held: &&Arc<crate::objects::Held>| {
            rule.object.as_deref().is_none_or(|uuid| uuid == held.uuid)
                && (rule.tenant == crate::access::ADMIN || rule.tenant == held.tenant)
        };
        all.extend(objects.all(path).filter(is_meant).map(|held| (path, of, held)));
    }
    all
}

/// Values of all metrics that rules ask for, by metric, seconds and object.
type Values = HashMap<(&'static str, u64, Key), f64>;

async fn values<S: Store>(app: &App<S>, rules: &[Rule]) -> Values {
    let mut asked: BTreeMap<u64, Vec<(&'static forebay_metrics::Metric, Key)>> = BTreeMap::new();
    {
        let objects = app.objects.now();
        for rule in rules {
            let Asks::Metrics(conditions) = &rule.asks else { continue };
            for (_, of, held) in objects_of(&objects, rule) {
                for condition in conditions {
                    if let Some(key) = condition.key(of, &held.uuid) {
                        asked.entry(condition.seconds).or_default().push((condition.metric, key));
                    }
                }
            }
        }
    }
    let Some(series) = app.counted.series() else { return Values::new() };
    let mut all = Values::new();
    for (seconds, pairs) in asked {
        let slots = seconds.div_ceil(5);
        let range = Range::of(0, 0, told_until(), slots);
        let keys: BTreeSet<&Key> = pairs.iter().map(|(_, key)| key).collect();
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let remote = Remote { own: Arc::clone(series), cluster: &app.cluster };
        let totals = match remote.totals(keys.clone(), range).await {
            Ok((totals, _)) => totals,
            Err(failure) => {
                tracing::error!(event = "METRICS_NOT_READ", %failure, "series cannot be read");
                return Values::new();
            }
        };
        let totals: HashMap<&Key, &Tally> =
            keys.iter().zip(&totals).filter_map(|(key, tally)| Some((key, tally.as_ref()?))).collect();
        for (metric, key) in &pairs {
            let value = totals.get(key).and_then(|tally| metric.value(tally, slots * 5_000, 500));
            if let Some(value) = value {
                all.insert((metric.id, seconds, key.clone()), value);
            }
        }
    }
    all
}

/// The objects that a rule is about, and what was found of those of which the metrics are as it asks for.
fn of_metrics(objects: &Catalogue, rule: &Rule, values: &Values) -> Vec<(Pair, Option<Found>)> {
    let Asks::Metrics(conditions) = &rule.asks else { return Vec::new() };
    let mut all = Vec::new();
    for (path, of, held) in objects_of(objects, rule) {
        let value = |condition: &rule::OfMetric| {
            let key = condition.key(of, &held.uuid)?;
            values.get(&(condition.metric.id, condition.seconds, key)).copied()
        };
        let is_so = rule.holds(
            conditions.iter().map(|condition| value(condition).is_some_and(|value| condition.is_so(value))),
        );
        let pair = (rule.uuid.clone(), held.uuid.clone());
        if !is_so {
            all.push((pair, None));
            continue;
        }
        let told = conditions.iter().filter_map(|condition| Some((condition.metric.id, value(condition)?)));
        let told: Vec<String> = told.map(|(id, value)| format!("{id} is {value:.3}")).collect();
        let found = Found {
            uuid: held.uuid.clone(),
            name: held.name.clone(),
            kind: path.to_owned(),
            tenant: held.tenant.clone(),
            labels: json!(crate::access::labels(&held.object())),
            why: told.join(", "),
            event: None,
            times: 1,
        };
        all.push((pair, Some(found)));
    }
    all
}

fn made(rule: &Rule, found: &Found, level: &str, now: u64) -> Value {
    let event = |(moment, id, object): &EventOf| json!({"report_timestamp": moment, "event_id": id, "obj_uuid": object});
    let events: Vec<Value> = found.event.iter().map(event).collect();
    let summary = if rule.summary.is_empty() { &rule.name } else { &rule.summary };
    json!({
        "name": rule.name,
        "alert_config": rule.uuid,
        "alert_config_ref": format!("/api/alertconfig/{}", rule.uuid),
        "obj_uuid": found.uuid,
        "obj_name": found.name,
        "obj_type": found.kind.to_uppercase(),
        "tenant": found.tenant,
        "labels": found.labels,
        "level": level,
        "state": "ALERT_STATE_ON",
        "summary": summary,
        "description": format!("{summary}: {} {}: {}", found.kind, found.name, found.why),
        "reason": found.why,
        "events": events,
        "expiry_time": now.saturating_add(rule.expiry),
    })
}
