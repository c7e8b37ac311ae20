//! Answers, and the texts of refusals that clients know.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use forebay_model::Problem;
use serde_json::{Value, json as value};

use crate::objects::Denied;
use crate::store::Refusal;

/// The most bytes of a list of fields in a header: what stands behind is counted.
const WARNED_BYTES_MAX: usize = 2048;

/// An answer to be.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    content: Option<Value>,
    /// Content that is no JSON, and of which type it is.
    page: Option<(String, &'static str)>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// What there is to say of an object that is taken as it stands.
#[derive(Debug, Default)]
pub struct Judged {
    /// Fields that were set and do nothing yet.
    pub fields: Vec<String>,
    /// What keeps a service off all engines.
    pub problems: Vec<Problem>,
    /// What engines do not do of a service that they have.
    pub idle: Vec<Problem>,
}

/// As they are told to people.
pub fn in_words(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// Content of an answer: what nobody else needs is not copied.
pub trait Content {
    /// Its own.
    fn owned(self) -> Value;
}

impl Content for Value {
    fn owned(self) -> Value {
        self
    }
}

impl Content for &Value {
    fn owned(self) -> Value {
        self.clone()
    }
}

/// With this content.
pub fn json(status: u16, content: impl Content) -> Answer {
    Answer { status, content: Some(content.owned()), page: None, fields: Vec::new() }
}

/// With nothing in it.
pub fn empty(status: u16) -> Answer {
    Answer { status, content: None, page: None, fields: Vec::new() }
}

/// With a text of this type.
pub fn text(status: u16, page: String, of: &'static str) -> Answer {
    Answer { status, content: None, page: Some((page, of)), fields: Vec::new() }
}

/// A refusal.
pub fn bad(status: u16, text: &str) -> Answer {
    json(status, value!({"error": text}))
}

/// A number from 1 on of a query, `or` another one where nothing is written.
///
/// # Errors
/// Something else is written.
pub fn number(name: &str, text: Option<&str>, or: usize) -> Result<usize, Answer> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(or) };
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.ok_or_else(|| bad(400, &format!("{name}: put a whole number from 1 there")))
}

impl Answer {
    /// What a refusal says.
    pub fn text(&self) -> &str {
        self.content.as_ref().and_then(|content| content["error"].as_str()).unwrap_or_default()
    }

    /// Sets a cookie.
    pub fn cookie(mut self, name: &str, content: &str, is_for_scripts: bool) -> Self {
        let hidden = if is_for_scripts { "" } else { "; HttpOnly" };
        let line = format!("{name}={content}; Path=/; Secure; SameSite=Strict{hidden}");
        // Of our own characters only.
        if let Ok(line) = HeaderValue::from_str(&line) {
            self.fields.push((SET_COOKIE, line));
        }
        self
    }

    /// As one of something that was tried only.
    //= API-DRY-01
    pub fn tried(mut self, is_so: bool) -> Self {
        if is_so {
            self.fields
                .push((HeaderName::from_static("x-forebay-dry-run"), HeaderValue::from_static("true")));
        }
        self
    }

    /// With what is to be said of a write, if there is anything.
    //= API-WARN-01
    //= API-WARN-02
    pub fn warned(mut self, judged: &Judged) -> Self {
        let texts = [
            listed("accepted, and nothing acts on it yet: ", ", ", &judged.fields),
            listed("no engine can carry it out: ", " | ", &in_words(&judged.problems)),
            listed("engines do without: ", " | ", &in_words(&judged.idle)),
        ];
        texts.into_iter().filter(|text| !text.is_empty()).for_each(|text| self.warn(&text));
        self
    }

    /// With this to be said, if there is anything.
    pub fn advised(mut self, text: Option<String>) -> Self {
        text.into_iter().for_each(|text| self.warn(&text));
        self
    }

    fn warn(&mut self, text: &str) {
        // Names may have any letters, and a header has those of ASCII.
        let plain: String =
            text.chars().map(|char| if matches!(char, ' '..='~') { char } else { '?' }).collect();
        if let Ok(value) = HeaderValue::from_str(&plain) {
            self.fields.push((HeaderName::from_static("x-forebay-warning"), value));
        }
    }

    /// As it goes out.
    pub fn finish(self) -> Response<Body> {
        let (body, of) = match (self.page, self.content) {
            (Some((page, of)), _) => (Body::from(page), of),
            (None, Some(content)) => (Body::from(content.to_string()), "application/json"),
            (None, None) => (Body::empty(), "application/json"),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        if self.status != 204 {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(of));
        }
        if self.status == 401 {
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"forebay\""));
        }
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in self.fields {
            fields.append(name, value);
        }
        response
    }
}

/// What a header says of these, as far as it has room.
fn listed(front: &str, between: &str, items: &[String]) -> String {
    let mut text = String::new();
    for (n, item) in items.iter().enumerate() {
        if text.len() + item.len() > WARNED_BYTES_MAX {
            text.push_str(&format!("{between}and {} more", items.len() - n));
            break;
        }
        text.push_str(if n == 0 { front } else { between });
        text.push_str(item);
    }
    text
}

//= API-ERROR-01
impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wrong(problems) => {
                let text: Vec<String> = problems
                    .iter()
                    .map(|problem| problem.to_string().trim_start_matches(": ").to_owned())
                    .collect();
                let list: Vec<Value> = problems
                    .iter()
                    .map(|problem| value!({"path": problem.path, "reason": problem.reason, "fix": problem.fix}))
                    .collect();
                json(400, value!({"error": text.join("\n"), "problems": list}))
            }
            Denied::Bad(text) => bad(400, &text),
            Denied::Missing(kind) => bad(404, &format!("{} object not found!", kind.name)),
            Denied::Taken(text) => bad(409, &text),
            Denied::InUse(text) | Denied::Forbidden(text) => bad(403, &text),
            Denied::Stale(kind) => bad(
                412,
                &format!("Need to reload object data {}: it has changed since it was read", kind.name),
            ),
            // Clients take 503 for a Controller that is starting, wait, and try again.
            Denied::Store(refusal @ (Refusal::Unavailable(_) | Refusal::Damaged(_))) => {
                tracing::error!(event = "CONTROLLER_STORE_FAILED", %refusal, "a write did not happen");
                bad(503, &refusal.to_string())
            }
            //= CLUSTER-ANY-02
            Denied::Store(refusal @ Refusal::Unknown(_)) => {
                tracing::error!(event = "CONTROLLER_WRITE_UNKNOWN", %refusal, "what became of a write is not known");
                bad(504, &refusal.to_string())
            }
            Denied::Store(refusal) => bad(400, &refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-WARN-02
    #[test]
    fn a_warning_has_room_for_some_and_counts_the_others() {
        let told = |fields: Vec<String>, problems: &[Problem]| -> Vec<String> {
            let judged = Judged { fields, problems: problems.to_vec(), idle: Vec::new() };
            let answer = empty(200).warned(&judged).finish();
            let fields = answer.headers().get_all("x-forebay-warning");
            fields.iter().map(|value| value.to_str().expect("plain text").to_owned()).collect()
        };
        assert!(told(Vec::new(), &[]).is_empty());
        let problem = Problem {
            line: None,
            path: "virtualservice \"\u{e4}\": services".to_owned(),
            reason: "it has no port".to_owned(),
            fix: "name one".to_owned(),
        };
        assert_eq!(
            told(vec!["weight".to_owned(), "services[0].x".to_owned()], &[problem]),
            [
                "accepted, and nothing acts on it yet: weight, services[0].x",
                "no engine can carry it out: virtualservice \"?\": services: it has no port; name one"
            ]
        );
        let many = told((0..400).map(|n| format!("field{n:05}")).collect(), &[]).remove(0);
        assert!(many.ends_with(" more") && many.len() < WARNED_BYTES_MAX + 100, "{many}");
    }
}
