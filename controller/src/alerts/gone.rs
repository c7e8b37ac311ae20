//! Alerts that were taken away a moment ago: who comes to lead looks at that time again, and raises none of them a second time.

use serde_json::{Value, json};

use super::{BEFORE, Moment, State, clock, event_of};
use crate::store::{Pages, Refusal, Step, Store};

/// Where the store has what is to be known of them.
const PREFIX: &str = "alert-gone/";
/// So long it is kept, in microseconds: twice the time at which who comes to lead looks again.
const KEPT: Moment = 2 * BEFORE;
/// What is over goes with one step, as far as it fits beside the rest.
const OVER_MAX: usize = 100;

fn key(moment: Moment) -> String {
    format!("{PREFIX}{moment:020}")
}

fn is_over(moment: Moment) -> bool {
    moment.saturating_add(KEPT) < clock() * 1_000
}

impl State {
    /// The step by which an alert goes, and what is known of it meanwhile.
    //= ALERT-ONCE-01
    pub(super) fn goes(&mut self, mut step: Step, moment: Moment) -> Step {
        let over: Vec<Moment> =
            self.gone.iter().copied().filter(|gone| is_over(*gone)).take(OVER_MAX).collect();
        for gone in over {
            self.gone.remove(&gone);
            step = step.write(key(gone), None);
        }
        if let Some(alert) = self.held.get(&moment).filter(|_| !is_over(moment)) {
            let known =
                ["alert_config", "obj_uuid", "events"].map(|name| (name.to_owned(), alert[name].clone()));
            let known: serde_json::Map<String, Value> = known.into_iter().collect();
            self.gone.insert(moment);
            step = step.write(key(moment), Some(json!(known).to_string().into_bytes()));
        }
        step
    }

    /// An alert counts as raised, whether it is there yet or not.
    pub(super) fn knows(&mut self, moment: Moment, alert: &Value) {
        let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
        if let Some(event) = alert["events"].get(0) {
            self.done.insert((event_of(event), text("alert_config")));
        }
        let raised = self.raised.entry((text("alert_config"), text("obj_uuid"))).or_default();
        *raised = (*raised).max(moment / 1_000_000);
    }

    /// What is known of those that have gone.
    pub(super) async fn read_gone(&mut self, store: &impl Store) -> Result<(), Refusal> {
        let mut pages = Pages::of(store, PREFIX);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let Some(moment) = key.strip_prefix(PREFIX).and_then(|moment| moment.parse().ok()) else {
                    continue;
                };
                self.gone.insert(moment);
                if let Ok(alert) = serde_json::from_slice::<Value>(&stored.value) {
                    self.knows(moment, &alert);
                }
            }
        }
        Ok(())
    }
}
