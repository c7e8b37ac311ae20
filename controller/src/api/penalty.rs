//! What is taken off a score for what is unusual and for what is unsafe.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use forebay_metrics::{Ask, Key, Metric, Range, STEPS, Tally, find};
use forebay_model::Object;
use serde_json::Value;

use super::certificate::About;
use crate::objects::{Catalogue, Held, Tenant};
use crate::parts::{Read, Remote};
use crate::store::Revision;

/// What may be unusual of a service, in words, with the least that counts: below it a factor of two is nothing.
const WATCHED: [(&str, &str, f64); 3] = [
    ("l7_client.avg_total_requests", "requests a second", 1.0),
    ("l7_client.avg_client_txn_latency", "milliseconds a request", 5.0),
    ("l4_client.avg_bandwidth", "bits a second", 10_000.0),
];
/// The slots of five minutes that are compared with the one behind them: two hours.
const SLOTS: u64 = 24;
/// Of fewer slots with something in them nothing is known.
const SLOTS_MIN: usize = 6;
/// A slot is looked at so long after its end, in milliseconds: engines have told of it, and it is rolled up.
const SETTLED_MS: u64 = 60_000;
/// Services and certificates of which it is remembered, some hundred bytes each.
const KEPT_MAX: usize = 20_000;
/// Whole marks of safety: penalties are the share of them that is missing.
const MARKS: f64 = 5.0;
/// A day in seconds.
const DAY: i64 = 86_400;

/// What was worked out of services and of certificates, for as long as it stays the same.
#[derive(Debug, Default)]
pub struct Remembered {
    /// What is unusual of a service, of the slot before this one.
    services: Mutex<HashMap<String, (u64, Vec<String>)>>,
    certificates: Mutex<HashMap<String, (Revision, Option<About>)>>,
}

impl Remembered {
    /// What is unusual of these services, in words: of the last five minutes that are over. That is read once for each such
    /// stretch, for all of them that are not known at once.
    ///
    /// # Errors
    /// The series cannot be read.
    pub async fn unusual(
        &self,
        series: Remote<'_>,
        keys: Vec<Key>,
        stop: u64,
    ) -> Read<HashMap<Key, Vec<String>>> {
        let step = STEPS[1].0;
        let end = stop.saturating_sub(SETTLED_MS) / step;
        let lock = || self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut asks, mut missing) = (HashMap::new(), Vec::new(), Vec::new());
        let range = Range { level: 1, first: end.saturating_sub(SLOTS + 1), end };
        {
            let known = lock();
            for key in keys {
                match known.get(&key.uuid).filter(|(slot, _)| *slot == end) {
                    Some((_, words)) => drop(found.insert(key, words.clone())),
                    None => {
                        asks.push(Ask { keys: vec![key.clone()], engine: None, range });
                        missing.push(key);
                    }
                }
            }
        }
        if missing.is_empty() {
            return Ok((found, Vec::new()));
        }
        let (read, away) = series.read(asks).await?;
        let mut known = lock();
        if known.len() + missing.len() > KEPT_MAX {
            known.clear();
        }
        for (key, slots) in missing.into_iter().zip(read) {
            let words = unusual(&slots, step);
            // What was worked out without a part is worked out again.
            if away.is_empty() {
                known.insert(key.uuid.clone(), (end, words.clone()));
            }
            found.insert(key, words);
        }
        Ok((found, away))
    }

    /// What a certificate says, which is read once for each version of it.
    fn about(&self, held: &Held) -> Option<About> {
        let lock = || self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, about)) = lock().get(&held.uuid).filter(|(revision, _)| *revision == held.revision) {
            return *about;
        }
        let object = held.object();
        let pem = object.get("certificate").and_then(|part| part.get("certificate")).and_then(Value::as_str);
        let about = pem.and_then(|pem| About::read(pem.as_bytes()));
        let mut known = lock();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(held.uuid.clone(), (held.revision, about));
        about
    }
}

/// What is unusual of the last one of these slots beside those before it: beyond three deviations, and off by more than half.
/// Slots of which nobody told anything do not count.
//= MET-HEALTH-03
fn unusual(slots: &[Option<Tally>], step: u64) -> Vec<String> {
    let Some((Some(last), before)) = slots.split_last() else { return Vec::new() };
    let of = |(id, words, least): (&str, &str, f64)| {
        let metric: &Metric = find(id)?;
        let now = metric.value(last, step, 0)?;
        let values: Vec<f64> =
            before.iter().flatten().filter_map(|tally| metric.value(tally, step, 0)).collect();
        // Of what has hardly ever happened nothing is known.
        if values.iter().filter(|value| **value > 0.0).count() < SLOTS_MIN {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let far = (now - mean).abs();
        let is_unusual = far > 3.0 * deviation && far > mean / 2.0 && far > least;
        is_unusual.then(|| {
            format!("unusual: {now:.1} {words} in the last five minutes, {mean:.1} in the two hours before")
        })
    };
    WATCHED.into_iter().filter_map(of).collect()
}

/// A number of the analytics profile of a service.
fn number(profile: Option<&Object>, name: &str, or: f64) -> f64 {
    profile.and_then(|profile| profile.get(name)?.as_f64()).filter(|number| number.is_finite()).unwrap_or(or)
}

fn profile(now: &Catalogue, held: &Held) -> Option<Object> {
    let id = held.refers.iter().find(|id| id.kind == "analyticsprofile")?;
    Some(now.get(id.kind, &id.uuid)?.object())
}

/// What is taken off for so many unusual things: half of the most for each.
//= MET-HEALTH-03
pub fn anomaly(now: &Catalogue, held: &Held, unusual: usize) -> f64 {
    if unusual == 0 {
        return 0.0;
    }
    let most = number(profile(now, held).as_ref(), "hs_max_anomaly_penalty", 10.0);
    (most / 2.0 * unusual as f64).min(most)
}

/// The most that is taken off for what an engine has too little of.
pub fn resources_max(now: &Catalogue, held: &Held, or: f64) -> f64 {
    number(profile(now, held).as_ref(), "hs_max_resources_penalty", or)
}

/// What is taken off for what is unsafe of a service that speaks TLS, with why: `seconds` are those since 1970. Certificates are
/// named to those who see them.
//= MET-HEALTH-04
pub fn security(
    remembered: &Remembered,
    now: &Catalogue,
    held: &Held,
    tenant: &Tenant,
    seconds: i64,
    why: &mut Vec<String>,
) -> f64 {
    let certificates = held.refers.iter().filter(|id| id.kind == "sslkeyandcertificate");
    let mut certificates = certificates.filter_map(|id| now.get(id.kind, &id.uuid)).peekable();
    if certificates.peek().is_none() || !speaks_tls(&held.object()) {
        return 0.0;
    }
    let profile = profile(now, held);
    let of = |name: &str, or: f64| number(profile.as_ref(), name, or);
    let mut worst = MARKS;
    for certificate in certificates {
        let Some(about) = remembered.about(certificate) else { continue };
        let left = about.not_after - seconds;
        let name = match tenant.sees(certificate) {
            true => format!("the certificate {}", certificate.name),
            false => "a certificate".to_owned(),
        };
        let mut marks = match left {
            left if left <= 0 => {
                why.push(format!("{name} is over"));
                of("hs_security_certscore_expired", 0.0)
            }
            left if left <= 30 * DAY => {
                why.push(format!("{name} is over in {} days", left / DAY));
                match left <= 7 * DAY {
                    true => of("hs_security_certscore_le07d", 2.0),
                    false => of("hs_security_certscore_le30d", 4.0),
                }
            }
            _ => of("hs_security_certscore_gt30d", MARKS),
        };
        let penalty = of("hs_security_selfsignedcert_penalty", 1.0);
        if about.is_self_signed && penalty > 0.0 {
            why.push(format!("{name} is signed by itself"));
            marks -= penalty;
        }
        worst = worst.min(marks);
    }
    let penalty = (MARKS - worst.clamp(0.0, MARKS)) / MARKS * 100.0;
    penalty.min(of("hs_max_security_penalty", 100.0)).max(0.0)
}

fn speaks_tls(service: &Object) -> bool {
    let ports = service.get("services").and_then(Value::as_array);
    ports.is_some_and(|ports| ports.iter().any(|port| port["enable_ssl"] == true))
}

#[cfg(test)]
mod tests {
    use forebay_wire::tally::service;

    use super::*;

    fn tally(requests: u64, bytes: u64) -> Option<Tally> {
        let mut sums = vec![0; service::COUNT];
        (sums[service::REQUESTS], sums[service::RX_BYTES]) = (requests, bytes);
        Some(Tally { sums, ..Tally::default() })
    }

    //= test MET-HEALTH-03
    #[test]
    fn what_is_far_from_what_it_was_is_unusual_and_what_varies_is_not() {
        let step = STEPS[1].0;
        let before = |of: &dyn Fn(u64) -> u64, count: u64| -> Vec<_> {
            (0..count).map(|nth| tally(of(nth), 1_000_000)).collect()
        };
        let found = |before: &[Option<Tally>], last: Option<Tally>| {
            let slots: Vec<_> = before.iter().cloned().chain([last]).collect();
            unusual(&slots, step)
        };
        let even = before(&|nth| 3_000 + nth % 3, 24);
        assert!(found(&even, tally(3_000, 1_000_000)).is_empty());
        let many = found(&even, tally(15_000, 1_000_000));
        assert!(many.len() == 1 && many[0].contains("50.0 requests a second in"), "{many:?}");
        assert!(many[0].contains("10.0 in the two hours before"), "{many:?}");
        assert_eq!(found(&even, tally(300, 1_000_000)).len(), 1, "so few are unusual as well");
        assert_eq!(found(&even, Some(Tally::default())).len(), 2, "and that nothing happens");
        assert!(found(&even, None).is_empty(), "nobody has told anything");
        assert_eq!(found(&even, tally(15_000, 100_000_000)).len(), 2);
        let odd = before(&|nth| if nth % 2 == 0 { 300 } else { 30_000 }, 24);
        assert!(found(&odd, tally(15_000, 1_000_000)).is_empty());
        // What comes once in a while, and not at all in between, has always done so.
        let rare = before(&|nth| if nth % 3 == 0 { 3_000 } else { 0 }, 24);
        assert!(found(&rare, tally(3_000, 1_000_000)).is_empty());
        assert!(found(&rare, tally(0, 1_000_000)).is_empty());
        let new = before(&|_| 3_000, 5);
        assert!(found(&new, tally(30_000, 1_000_000)).is_empty(), "nothing is known yet");
    }
}
