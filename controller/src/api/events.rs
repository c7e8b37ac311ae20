//! `/api/analytics/logs?type=2`: what has happened, as far as the user sees what it happened to.

use forebay_model::kind;
use serde_json::{Value, json as value};
use tokio::sync::Semaphore;

use super::App;
use super::answer::{Answer, bad, json, number};
use super::request::Asked;
use super::session::Who;
use crate::events::{self, Wanted};
use crate::objects::{Denied, Query, Tenant};
use crate::store::Store;

/// The most events of one answer, some 16 MB where each has all that an event can have. Who asks for more gets so many, and the
/// address of the next page.
const PAGE_MAX: usize = 1000;
/// Answers that are being made; others wait.
const AT_ONCE: usize = 2;
/// Events of one answer, where the client says nothing.
const PAGE: usize = 100;
/// The most filters of one request.
const FILTERS_MAX: usize = 16;

static TURN: Semaphore = Semaphore::const_new(AT_ONCE);

/// The newest first.
//= API-AUDIT-03
pub async fn list<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    if !who.tenant.hears_of_anything() {
        return Err(bad(403, "no role of yours reads anything that events could be about"));
    }
    let query = Query::new(&asked.query);
    if query.get("type").is_some_and(|sort| sort != "2") {
        return Err(bad(400, "type: there are events only, which are type=2"));
    }
    let number = |name: &str, or| number(name, query.get(name), or);
    let (size, page) = (number("page_size", PAGE)?.min(PAGE_MAX), number("page", 1)?);
    let filters = asked.query.iter().filter(|(name, _)| name == "filter");
    let filters: Vec<Filter> = filters.map(|(_, text)| Filter::read(text)).collect::<Result<_, _>>()?;
    if filters.len() > FILTERS_MAX {
        return Err(bad(400, &format!("filter: at most {FILTERS_MAX} of them")));
    }
    let between = between(&query)?;
    let wanted =
        |event: &Value| is_told(&who.tenant, event) && filters.iter().all(|filter| filter.fits(event));
    let _turn = TURN.acquire().await.map_err(|_| bad(503, "the Controller stops"))?;
    let [writes, sessions] = app.objects.events();
    let begin = (page - 1).saturating_mul(size);
    //= EVENT-LIST-01
    let (count, found) = events::page(
        &[writes, sessions, &app.placement.events, &app.standing.events],
        &app.store,
        &Wanted {
            between,
            is_oldest_first: query.get("orderby") == Some("report_timestamp"),
            fits: &wanted,
            skip: begin,
            most: size,
        },
    )
    .await
    .map_err(|refusal| Answer::from(Denied::Store(refusal)))?;
    let end = begin.saturating_add(size);
    let now = app.objects.now();
    let results: Vec<Value> = found
        .into_iter()
        .map(|mut event| {
            let tenant = event["tenant"].as_str().unwrap_or_default();
            let name = now.get("tenant", tenant).map_or(tenant, |held| &held.name).to_owned();
            event["tenant_name"] = Value::from(name);
            if let Some(fields) = event.as_object_mut() {
                fields.remove("labels");
            }
            event
        })
        .collect();
    let mut list = value!({"count": count, "results": results, "percent_remaining": 0});
    if end < count {
        let mut address = format!("{}/api/analytics/logs?", asked.base());
        for (name, value) in asked.query.iter().filter(|(name, _)| name != "page") {
            address.push_str(&format!(
                "{}={}&",
                super::objects::escaped(name),
                super::objects::escaped(value)
            ));
        }
        list["next"] = Value::from(address + &format!("page={}", page + 1));
    }
    Ok(json(200, list))
}

/// Who may not see an object hears of nothing that happened to it.
fn is_told(tenant: &Tenant, event: &Value) -> bool {
    let path = event["obj_type"].as_str().unwrap_or_default().to_lowercase();
    let labels: Vec<(String, Vec<String>)> =
        serde_json::from_value(event["labels"].clone()).unwrap_or_default();
    let whose = event["tenant"].as_str().unwrap_or_default();
    kind(&path).is_some_and(|kind| tenant.hears_of(kind, whose, &labels))
}

/// The moments that are asked for, microseconds since 1970: `start` and `end`, or so many seconds of `duration` before the end.
pub(super) fn between(query: &Query<'_>) -> Result<(u64, u64), Answer> {
    let moment = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match micros(text) {
            Some(moment) => Ok(Some(moment)),
            None => Err(bad(400, &format!("{name}: write it as 2026-01-31T23:59:59.000Z"))),
        },
    };
    let end = moment("end")?;
    let start = match (moment("start")?, query.get("duration").and_then(|text| text.parse::<u64>().ok())) {
        (Some(start), _) => start,
        (None, Some(seconds)) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
            end.unwrap_or(now).saturating_sub(seconds.saturating_mul(1_000_000))
        }
        (None, None) => 0,
    };
    Ok((start, end.unwrap_or(u64::MAX)))
}

/// Reads `2026-01-31T23:59:59`, with a fraction and `Z` or without, as UTC.
pub fn micros(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').or(text.strip_suffix("+00:00")).unwrap_or(text);
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_so = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_so
        || hour > 23
        || minute > 59
        || second > 60
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    // Days since 1970 by the rule that a year begins in March: the leap day is its last one then.
    let (shifted, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * from_march + 2) / 5 + day - 1;
    let days = days - 719_468;
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + digits.parse::<u64>().ok()?)
}

/// `eq(field,value)`, `ne(…)` or `co(…)`; the value may be a list in brackets, the field `all`. Case means nothing.
struct Filter {
    operation: Operation,
    field: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Equal,
    NotEqual,
    Contains,
}

impl Filter {
    fn read(text: &str) -> Result<Self, Answer> {
        let refusal = || bad(400, "filter: write eq(field,value), ne(field,value) or co(field,value)");
        let (operation, rest) = text.split_once('(').ok_or_else(refusal)?;
        let (field, value) =
            rest.strip_suffix(')').and_then(|rest| rest.split_once(',')).ok_or_else(refusal)?;
        let operation = match operation.trim() {
            "eq" => Operation::Equal,
            "ne" => Operation::NotEqual,
            "co" => Operation::Contains,
            _ => return Err(refusal()),
        };
        let value = value.trim();
        let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        let plain = |value: &str| value.trim().trim_matches('"').to_lowercase();
        let values = match inner {
            Some(inner) => inner.split(',').map(plain).collect(),
            None => vec![plain(value)],
        };
        Ok(Filter { operation, field: field.trim().to_owned(), values })
    }

    fn fits(&self, event: &Value) -> bool {
        let text = |value: &Value| match value {
            Value::String(text) => text.to_lowercase(),
            other => other.to_string().to_lowercase(),
        };
        let held = match self.field.as_str() {
            "all" => text(event),
            field => event.get(field).map(text).unwrap_or_default(),
        };
        let is_one = |with: &dyn Fn(&String) -> bool| self.values.iter().any(with);
        match self.operation {
            Operation::Equal => is_one(&|value| *value == held),
            Operation::NotEqual => !is_one(&|value| *value == held),
            Operation::Contains => is_one(&|value| held.contains(value.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-AUDIT-03
    #[test]
    fn filters_and_moments_are_read_as_clients_write_them() {
        let event = value!({"event_id": "CONFIG_CREATE", "obj_name": "web", "internal": "EVENT_EXTERNAL"});
        for (text, wanted) in [
            ("eq(event_id,[config_create,config_update])", true),
            ("eq(event_id,CONFIG_DELETE)", false),
            ("co(all,\"config_create\")", true),
            ("co(all,nothing)", false),
            ("ne(internal,EVENT_INTERNAL)", true),
            ("ne(internal,EVENT_EXTERNAL)", false),
        ] {
            assert_eq!(Filter::read(text).ok().map(|filter| filter.fits(&event)), Some(wanted), "{text}");
        }
        for text in ["", "eq", "eq(a)", "gt(a,1)", "eq(a,b"] {
            assert!(Filter::read(text).is_err(), "{text}");
        }
        assert_eq!(micros("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(micros("2000-02-29T12:00:00.5Z"), Some(951_825_600_500_000));
        assert_eq!(micros("2026-11-22T11:00:00"), Some(1_795_345_200_000_000));
        for text in ["", "2026", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.xZ"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
