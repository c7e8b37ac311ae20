//! `/api/analytics/logs`: requests and connections of a service; events are next door.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_logs::{Cursor, Failure, Filter, Kind, Micros, Op, Search, Store as Kept, TopOf, stamp};
use forebay_model::kind;
use serde_json::{Map, Value, json as value};
use tokio::sync::Semaphore;

use super::answer::{Answer, bad, json, number};
use super::request::Asked;
use super::session::Who;
use super::{App, events};
use crate::access::Access;
use crate::cluster::Cluster;
use crate::objects::{Denied, Held, Query};
use crate::parts::{self, Groups, Missing, Place, Records};
use crate::store::Store;

/// Records of one answer at most: some megabyte.
const PAGE_MAX: usize = 1_000;
/// Where the client says nothing.
const PAGE: usize = 10;
/// Records that are put in another order than that of time: the newest ones that fit.
const SORTED_MAX: usize = 10_000;
/// The most conditions of one request.
const FILTERS_MAX: usize = 16;
/// The most values of one condition.
const VALUES_MAX: usize = 256;
/// Searches at once; others wait. Each takes a thread, and the disk.
const AT_ONCE: usize = 4;
/// How long one may take, in milliseconds: where the client says nothing, and at most.
const WITHIN_MS: (u64, u64) = (1_000, 30_000);
/// How far ahead of our clock records are kept.
const AHEAD: Micros = 3_600_000_000;

static TURN: Semaphore = Semaphore::const_new(AT_ONCE);

/// Answers for events (`type=2`, or where no service is named), and else for records of a service.
pub async fn list<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    let query = Query::new(&asked.query);
    let text = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let (sort, service) = match (text("type"), text("virtualservice")) {
        (Some("2"), _) | (None, None) => return events::list(app, asked, who).await,
        (Some("0" | "1"), None) => {
            return Err(bad(
                400,
                "virtualservice: name the service whose logs you look for, by its uuid or name",
            ));
        }
        (Some("0"), Some(service)) => (Some(Kind::Connection), service),
        (Some("1"), Some(service)) => (Some(Kind::Request), service),
        (None, Some(service)) => (None, service),
        (Some(_), _) => return Err(bad(400, "type: 0 are connections, 1 requests, 2 events")),
    };
    let held = service_of(app, who, service)?;
    let wanted = Wanted::read(asked, &query, &held, sort)?;
    let Some(kept) = app.logs.clone() else { return Err(bad(503, "this Controller keeps no logs")) };
    let _turn = TURN.acquire().await.map_err(|_| bad(503, "the Controller stops"))?;
    match wanted.answer(&app.cluster, kept).await {
        Ok(mut answer) => {
            go_on(asked, &mut answer);
            Ok(json(200, answer))
        }
        Err(Failure::Asked(why)) => Err(bad(400, &why)),
        Err(failure) => {
            tracing::error!(event = "CONTROLLER_LOG_UNREAD", %failure, "logs cannot be searched");
            Err(bad(500, "the logs cannot be read: see the Controller's own log"))
        }
    }
}

/// The service, as far as the user may read it.
//= LOG-SEE-01
fn service_of<S: Store>(app: &App<S>, who: &Who, text: &str) -> Result<Arc<Held>, Answer> {
    let kind = kind("virtualservice").ok_or_else(|| bad(404, "there are no services"))?;
    who.tenant.demand(kind.permission, Access::Read)?;
    match app.objects.get(kind, text, &who.tenant) {
        Err(Denied::Missing(kind)) => {
            let named = app.objects.now().named(kind.path, text).find(|held| who.tenant.sees(held)).cloned();
            named.ok_or_else(|| Answer::from(Denied::Missing(kind)))
        }
        other => Ok(other?),
    }
}

/// Puts the address of the next page in.
fn go_on(asked: &Asked, answer: &mut Value) {
    let Some(place) = answer["continue"].as_str().map(str::to_owned) else { return };
    let mut address = format!("{}/api/analytics/logs?", asked.base());
    for (name, value) in asked.query.iter().filter(|(name, _)| !matches!(name.as_str(), "page" | "continue"))
    {
        address.push_str(&format!("{}={}&", super::objects::escaped(name), super::objects::escaped(value)));
    }
    answer["next"] = Value::from(address + "continue=" + &place);
}

/// Where an earlier answer stopped.
#[derive(Default)]
enum After {
    /// There was none.
    #[default]
    Nothing,
    /// One with records.
    Records(Cursor),
    /// One with values of a field.
    Groups(Place),
}

/// What a client asks for.
struct Wanted {
    search: Search,
    page: usize,
    size: usize,
    /// The field by which they are ordered, if it is not time, and whether the greatest comes first.
    order: Option<(String, bool)>,
    group: Option<String>,
    /// Where an earlier answer stopped.
    after: After,
    fields: Vec<String>,
    /// Nothing can fit.
    is_nothing: bool,
}

impl Wanted {
    fn read(asked: &Asked, query: &Query<'_>, service: &Held, sort: Option<Kind>) -> Result<Self, Answer> {
        let text = |name: &str| query.get(name).filter(|text| !text.is_empty());
        let number = |name: &str, or| number(name, query.get(name), or);
        let (size, page) = (number("page_size", PAGE)?.min(PAGE_MAX), number("page", 1)?);
        if page.saturating_mul(size) > SORTED_MAX {
            let why = format!(
                "page: at most {SORTED_MAX} records are counted off; go on by \"continue\" of the last answer"
            );
            return Err(bad(400, &why));
        }
        let mut filters = vec![Filter {
            field: "virtualservice".to_owned(),
            op: Op::Eq,
            values: vec![service.uuid.clone()],
        }];
        for (_, text) in asked.query.iter().filter(|(name, _)| name == "filter") {
            filters.push(filter(text)?);
        }
        if filters.len() > FILTERS_MAX + 1 {
            return Err(bad(400, &format!("filter: at most {FILTERS_MAX} of them")));
        }
        // As Avi has it: significant ones, unless others are asked for.
        let flag = |name: &str, or: bool| {
            text(name).map_or(or, |text| !text.eq_ignore_ascii_case("false") && text != "0")
        };
        let (significant, others) = (flag("adf", true), flag("nf", false));
        if significant != others {
            let values = vec![significant.to_string()];
            filters.push(Filter { field: "significant".to_owned(), op: Op::Eq, values });
        }
        let (from, to) = events::between(query)?;
        let ahead = now().saturating_add(AHEAD);
        let moment = |at: u64| Micros::try_from(at).unwrap_or(Micros::MAX);
        let order = match text("orderby") {
            None | Some("-report_timestamp") => None,
            Some(field) => {
                let is_down = field.starts_with('-');
                Some((field.trim_start_matches(['-', '+']).to_owned(), is_down))
            }
        };
        let within = match text("timeout").map(str::parse::<f64>) {
            None => WITHIN_MS.0,
            Some(Ok(seconds)) if seconds > 0.0 && seconds.is_finite() => {
                u64::try_from(Duration::from_secs_f64(seconds.min(3_600.0)).as_millis())
                    .unwrap_or(WITHIN_MS.1)
            }
            Some(_) => return Err(bad(400, "timeout: put seconds there")),
        };
        let group = text("groupby").map(str::to_owned);
        let after = match (text("continue"), &group) {
            (None, _) => Some(After::Nothing),
            (Some(text), None) => text.parse().ok().map(After::Records),
            (Some(text), Some(_)) => text.parse().ok().map(After::Groups),
        };
        let after = after.ok_or_else(|| bad(400, "continue: take it from an answer to the same question"))?;
        let limit = if order.is_some() { SORTED_MAX } else { page * size };
        Ok(Wanted {
            search: Search {
                kind: sort,
                filters,
                from: moment(from),
                to: moment(to).min(ahead),
                before: None,
                limit,
                within: Duration::from_millis(within.clamp(1, WITHIN_MS.1)),
            },
            page,
            size,
            order,
            group,
            after,
            fields: text("cols")
                .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
                .unwrap_or_default(),
            is_nothing: !significant && !others,
        })
    }

    //= LOG-SEVERAL-01
    //= LOG-SEVERAL-03
    async fn answer(mut self, cluster: &Cluster, own: Arc<Kept>) -> Result<Value, Failure> {
        let mut answer = value!({"count": 0, "results": [], "percent_remaining": 0.0});
        let own_eldest = own.eldest();
        let mut search = self.search.clone();
        if self.group.is_some() {
            search.limit = self.page * self.size;
        }
        let wanted = parts::Wanted { search, own };
        let (eldest, stopped) = match (self.group.take(), std::mem::take(&mut self.after)) {
            _ if self.is_nothing => (own_eldest, None),
            (Some(field), after) => {
                let after = if let After::Groups(place) = after { Some(place) } else { None };
                let groups = wanted.groups(cluster, field.clone(), after).await?;
                self.groups(groups, &field, &mut answer)
            }
            (None, after) => {
                let after = if let After::Records(cursor) = after { Some(cursor) } else { None };
                let records = wanted.records(cluster, after).await?;
                // Up to ten thousand are read and put in order, away from the thread that answers.
                let made = tokio::task::spawn_blocking(move || {
                    let told = self.records(records, &mut answer);
                    (self, answer, told)
                });
                let made = made
                    .await
                    .map_err(|panic| Failure::System("logs".into(), std::io::Error::other(panic)))?;
                let told;
                (self, answer, told) = made;
                told
            }
        };
        let to = self.search.to.min(now());
        let from = self.search.from.max(eldest.unwrap_or(self.search.to));
        (answer["start"], answer["end"]) = (stamp(from.min(to)).into(), stamp(to).into());
        //= LOG-FIND-02
        if let Some(stopped) = stopped {
            let (left, all) = ((stopped - from).max(0), (to - from).max(1));
            // Of a share nobody needs more than three digits, and what is left is not nothing.
            let thousandth = (left.saturating_mul(1_000) / all).clamp(1, 1_000);
            answer["percent_remaining"] =
                Value::from(i32::try_from(thousandth).map_or(0.1, f64::from) / 10.0);
            answer["searched_back_to"] = stamp(stopped).into();
        }
        Ok(answer)
    }

    /// Records; gives the eldest hour of all nodes, and where time was up.
    //= LOG-SEE-02
    fn records(&self, records: Records, answer: &mut Value) -> (Option<Micros>, Option<Micros>) {
        let Records { found, damaged, eldest, missing } = records;
        let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
        let mut shown: Vec<Map<String, Value>> = found.lines.iter().map(|line| read(&line.text)).collect();
        if let Some((field, is_down)) = &self.order {
            shown.sort_by(|a, b| compare(a.get(field), b.get(field)));
            if *is_down {
                shown.reverse();
            }
            answer["sorted"] = (shown.len() as u64).into();
        }
        let begin = ((self.page - 1) * self.size).min(shown.len());
        let end = (begin + self.size).min(shown.len());
        let page = shown.drain(begin..end).map(|record| self.cut(record)).collect::<Vec<_>>();
        answer["results"] = page.into();
        answer["count"] = found.count.into();
        answer["count_is_complete"] = (found.counted.is_none() && missing.is_empty()).into();
        if let Some(next) = found.next {
            answer["continue"] = next.to_string().into();
        }
        tell_damage(answer, damaged);
        tell_missing(answer, &missing);
        (eldest, found.counted)
    }

    /// The most frequent values of a field; the same.
    //= LOG-FIND-03
    fn groups(&self, groups: Groups, field: &str, answer: &mut Value) -> (Option<Micros>, Option<Micros>) {
        let Groups { top, next, eldest, missing } = groups;
        let shown = |of: TopOf| value!({field: of.value, "count": of.count});
        let groups: Vec<Value> =
            top.values.into_iter().skip((self.page - 1) * self.size).map(shown).collect();
        answer["count"] = groups.len().into();
        answer["results"] = groups.into();
        answer["records"] = top.records.into();
        answer["others"] = top.others.into();
        if let Some(next) = next {
            answer["continue"] = next.to_string().into();
        }
        tell_damage(answer, top.damaged);
        tell_missing(answer, &missing);
        (eldest, top.next.map(|next| next.at))
    }

    /// Only what was asked for.
    fn cut(&self, mut record: Map<String, Value>) -> Value {
        if !self.fields.is_empty() {
            record.retain(|name, _| self.fields.contains(name));
        }
        Value::Object(record)
    }
}

fn tell_damage(answer: &mut Value, damaged: u32) {
    if damaged > 0 {
        answer["damaged_hours"] = damaged.into();
    }
}

/// Whose part is missing, in words.
//= LOG-SEVERAL-03
pub fn tell_missing(answer: &mut Value, missing: &[Missing]) {
    if !missing.is_empty() {
        answer["missing"] = missing.iter().map(Missing::to_string).collect::<Vec<_>>().into();
    }
}

/// What is missing comes first, then numbers, then texts.
fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a_number, b_number) => {
            let rank = |value: Option<&Value>, number: Option<f64>| match (value, number) {
                (None, _) => (0, String::new()),
                (_, Some(_)) => (1, String::new()),
                (Some(Value::String(text)), _) => (2, text.clone()),
                (Some(other), _) => (2, other.to_string()),
            };
            rank(a, a_number).cmp(&rank(b, b_number))
        }
    }
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// Conditions as alert configurations have them: those of searches, one behind the other with `&` between them, each with or without
/// `filter=` before it.
pub fn filters(text: &str) -> Result<Vec<Filter>, String> {
    let parts = text.split('&').map(str::trim).map(|part| part.strip_prefix("filter=").unwrap_or(part));
    let all: Vec<Filter> = parts
        .filter(|part| !part.is_empty())
        .map(|part| filter(part).map_err(|answer| answer.text().to_owned()))
        .collect::<Result<_, _>>()?;
    match all.len() {
        1..=FILTERS_MAX => Ok(all),
        _ => Err(format!(
            "write 1 to {FILTERS_MAX} conditions, as in ge(response_code,500)&sw(uri_path,/shop)"
        )),
    }
}

/// `eq(field,value)` and its like; the value may be a list in brackets, and in quotes.
fn filter(text: &str) -> Result<Filter, Answer> {
    let refusal = || {
        bad(
            400,
            "filter: write op(field,value); op is eq, ne, co (contains), sw (begins with), gt, ge, lt or le, and eq and ne take \
             a list: eq(response_code,[502,503])",
        )
    };
    let (op, rest) = text.split_once('(').ok_or_else(refusal)?;
    let (field, value) = rest.strip_suffix(')').and_then(|rest| rest.split_once(',')).ok_or_else(refusal)?;
    let op = match op.trim() {
        "eq" => Op::Eq,
        "ne" => Op::Ne,
        "co" => Op::Contains,
        "sw" => Op::StartsWith,
        "gt" => Op::Gt,
        "ge" => Op::Ge,
        "lt" => Op::Lt,
        "le" => Op::Le,
        _ => return Err(refusal()),
    };
    let plain = |value: &str| {
        let value = value.trim();
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inner.unwrap_or(value).to_owned()
    };
    let inner = value.trim().strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    let values: Vec<String> = match inner {
        Some(list) => list.split(',').map(plain).collect(),
        None => vec![plain(value)],
    };
    if values.len() > VALUES_MAX {
        return Err(bad(400, &format!("filter: at most {VALUES_MAX} values")));
    }
    let filter = Filter { field: field.trim().to_owned(), op, values };
    filter.check().map_err(|why| bad(400, &why))?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_clients_write_them() {
        let read = |text: &str| filter(text).ok().map(|filter| (filter.field, filter.op, filter.values));
        let list = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            read("eq(response_code,[502, 503])"),
            Some(("response_code".into(), Op::Eq, list(&["502", "503"])))
        );
        assert_eq!(read("co(all,\"a, b\")"), Some(("all".into(), Op::Contains, list(&["a, b"]))));
        assert_eq!(
            read("eq(client_ip,10.0.0.0/8)"),
            Some(("client_ip".into(), Op::Eq, list(&["10.0.0.0/8"])))
        );
        for text in ["", "eq", "eq(a)", "zz(a,1)", "eq(a,b", "eq(response_code,x)", "gt(total_time,[1,2])"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    //= test ALERT-LOGS-01
    #[test]
    fn conditions_of_alerts_are_those_of_searches() {
        let read =
            |text: &str| filters(text).map(|all| all.into_iter().map(|one| one.field).collect::<Vec<_>>());
        assert_eq!(
            read("ge(response_code,500)&filter=sw(uri_path,/a)").expect("two"),
            ["response_code", "uri_path"]
        );
        for text in ["", "&", "response_code > 500", "ge(response_code,many)", &["eq(a,1)"; 17].join("&")] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_has_numbers_by_size_and_what_is_missing_at_one_end() {
        let mut all = [value!({"t": 10}), value!({"t": 9.5}), value!({}), value!({"t": "a"})];
        all.sort_by(|a, b| compare(a.get("t"), b.get("t")));
        assert_eq!(all, [value!({}), value!({"t": 9.5}), value!({"t": 10}), value!({"t": "a"})]);
    }
}
