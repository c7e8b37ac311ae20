//! An order in which objects can be made: each behind those that it refers to.

use std::collections::BTreeMap;

use forebay_model::{Kind, Object, shape};

use super::plain::name_in;
use crate::api::{Failure, usage};

/// An object of a file.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its name; empty where its kind has none.
    pub name: String,
    /// All of it.
    pub object: Object,
    /// Where it stands, as in `web.yaml:12`.
    pub place: String,
}

/// Puts each object behind those that it refers to; otherwise the order stays.
///
/// # Errors
/// Some refer to each other in a circle.
//= CLI-APPLY-02
pub fn ordered(all: Vec<Wanted>) -> Result<Vec<Wanted>, Failure> {
    let at: BTreeMap<(&str, String), usize> =
        all.iter().enumerate().map(|(at, wanted)| ((wanted.kind.path, wanted.name.clone()), at)).collect();
    let needs: Vec<Vec<usize>> = all
        .iter()
        .enumerate()
        .map(|(own, wanted)| {
            let mut object = wanted.object.clone();
            let mut needs = Vec::new();
            shape::references(wanted.kind, &mut object, &mut |_, kind, text| {
                let name = name_in(kind, text);
                needs.extend(
                    name.and_then(|name| at.get(&(kind, name))).filter(|need| **need != own).copied(),
                );
            });
            needs
        })
        .collect();
    let mut states = vec![State::New; all.len()];
    let mut order = Vec::with_capacity(all.len());
    for start in 0..all.len() {
        // (object, how many of its needs have been looked at)
        let mut way = vec![(start, 0)];
        while let Some((own, looked)) = way.pop() {
            if states[own] == State::Done {
                continue;
            }
            states[own] = State::Open;
            match needs[own].get(looked) {
                None => {
                    states[own] = State::Done;
                    order.push(own);
                }
                Some(&need) => {
                    way.push((own, looked + 1));
                    match states[need] {
                        State::Done => {}
                        State::New => way.push((need, 0)),
                        State::Open => {
                            let (one, other) = (&all[own], &all[need]);
                            return Err(usage(format!(
                                "{}: {} {} and {} {} refer to each other in a circle: make one of them first without \
                                 the reference",
                                one.place, one.kind.path, one.name, other.kind.path, other.name
                            )));
                        }
                    }
                }
            }
        }
    }
    let mut slots: Vec<Option<Wanted>> = all.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| slots[at].take()).collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(kind: &str, object: serde_json::Value) -> Wanted {
        let object = object.as_object().expect("an object").clone();
        let kind = forebay_model::kind(kind).expect("a kind");
        Wanted {
            kind,
            name: object["name"].as_str().expect("a name").to_owned(),
            object,
            place: "f:1".to_owned(),
        }
    }

    //= test CLI-APPLY-02
    #[test]
    fn what_is_referred_to_comes_first() {
        let all = vec![
            wanted(
                "virtualservice",
                json!({"name": "v", "pool_ref": "/api/pool?name=p", "vsvip_ref": "/api/vsvip?name=i"}),
            ),
            wanted("poolgroup", json!({"name": "g", "members": [{"pool_ref": "/api/pool?name=p"}]})),
            wanted(
                "pool",
                json!({"name": "p", "health_monitor_refs": ["/api/healthmonitor?name=elsewhere"]}),
            ),
            wanted("vsvip", json!({"name": "i"})),
        ];
        let order: Vec<String> =
            ordered(all).expect("an order").into_iter().map(|wanted| wanted.name).collect();
        let place = |name: &str| order.iter().position(|made| made == name).expect("it is made");
        assert!(place("p") < place("v") && place("i") < place("v") && place("p") < place("g"), "{order:?}");
        assert_eq!(order.len(), 4);
        let circle = vec![
            wanted("network", json!({"name": "a", "vrf_context_ref": "/api/vrfcontext?name=b"})),
            wanted(
                "vrfcontext",
                json!({"name": "b", "bgp_profile": {"peers": [{"network_ref": "/api/network?name=a"}]}}),
            ),
        ];
        let failure = ordered(circle).expect_err("a circle");
        assert!(failure.what.contains("circle"), "{failure}");
    }
}
