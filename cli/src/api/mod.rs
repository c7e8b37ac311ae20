//! The Controller's API, as a user who has logged in speaks to it.

pub mod failure;
mod link;
pub mod login;
mod tls;

use forebay_model::Kind as ObjectKind;
use serde_json::{Map, Value, json};

pub use failure::{Failure, Kind, usage};
use link::Answer;
pub use link::Link;
use login::Login;

/// The version of the API whose objects we know.
const VERSION: &str = "30.2.1";
/// Objects of one page: the most that the API gives.
const PAGE: usize = 200;
/// The most pages of one list: a million objects.
const PAGES_MAX: usize = 5000;

/// A session with a Controller.
pub struct Api {
    link: Link,
    /// Where it is, as its user names it.
    pub at: String,
    /// Who we are.
    pub user: String,
    /// The tenant that requests are for.
    pub tenant: String,
    cookies: String,
    csrf: String,
}

impl Api {
    /// Opens a session by a token.
    ///
    /// # Errors
    /// The Controller cannot be reached, or the token is not good any more.
    pub fn open(at: &str, login: &Login, tenant: &str) -> Result<Self, Failure> {
        let link = Link::open(at, Some(&login.fingerprint))?;
        let credentials = json!({"username": login.user, "token": login.token});
        Self::with(link, at, &login.user, tenant, &credentials).map_err(|failure| match failure.kind {
            Kind::Denied => Failure::new(Kind::Denied, format!("your login at {at} has ended"))
                .next(format!("forebay login {at} --user {}", login.user)),
            _ => failure,
        })
    }

    /// Opens a session by these credentials.
    ///
    /// # Errors
    /// They are not good.
    pub fn with(
        mut link: Link,
        at: &str,
        user: &str,
        tenant: &str,
        credentials: &Value,
    ) -> Result<Self, Failure> {
        if tenant.is_empty() || tenant.len() > 256 || tenant.bytes().any(|byte| byte < b' ') {
            return Err(usage("the tenant's name is no name"));
        }
        let answer = link.ask("POST", "/login", &[], Some(credentials))?;
        if answer.status != 200 {
            return Err(refused(&answer, "login"));
        }
        let csrf = answer.cookies.iter().find(|(name, _)| name == "csrftoken");
        let csrf = csrf.map(|(_, value)| value.clone()).unwrap_or_default();
        let cookies: Vec<String> =
            answer.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(Api {
            link,
            at: at.to_owned(),
            user: user.to_owned(),
            tenant: tenant.to_owned(),
            cookies: cookies.join("; "),
            csrf,
        })
    }

    /// Sends a request; anything but success is a failure.
    ///
    /// # Errors
    /// What the Controller says, with the exit code that stands for it.
    pub fn ask(&mut self, method: &str, path: &str, content: Option<&Value>) -> Result<Value, Failure> {
        self.answer(method, path, content).map(|answer| answer.content)
    }

    /// Has the Controller judge a write, all of it, and not do it: what it would answer.
    ///
    /// # Errors
    /// What the Controller says of the write; it knows no dry runs.
    //= CLI-DRY-01
    pub fn try_out(&mut self, method: &str, path: &str, content: Option<&Value>) -> Result<Value, Failure> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let answer = self.answer(method, &format!("{path}{mark}dry_run=true"), content)?;
        match answer.is_tried {
            true => Ok(answer.content),
            false => Err(Failure::new(
                Kind::Failed,
                format!("{method} {path}: this Controller knows no dry runs, and has done it"),
            )),
        }
    }

    fn answer(&mut self, method: &str, path: &str, content: Option<&Value>) -> Result<Answer, Failure> {
        let headers = [
            ("Cookie", self.cookies.as_str()),
            ("X-CSRFToken", self.csrf.as_str()),
            ("X-Avi-Version", VERSION),
            ("X-Avi-Tenant", self.tenant.as_str()),
        ];
        let answer = self.link.ask(method, path, &headers, content)?;
        //= CLI-WARN-01
        for warning in &answer.warnings {
            eprintln!("warning: {}", crate::objects::show::printable(warning));
        }
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err(refused(&answer, path)),
        }
    }

    /// What there is at a path.
    ///
    /// # Errors
    /// See [`Api::ask`].
    pub fn get(&mut self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, None)
    }

    /// Every object of a kind that fits these items of a query (escaped already), with names behind references.
    ///
    /// # Errors
    /// See [`Api::ask`].
    pub fn all(&mut self, kind: &ObjectKind, query: &str) -> Result<Vec<Map<String, Value>>, Failure> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let path = format!("/api/{}?include_name=true&page_size={PAGE}&page={page}&{query}", kind.path);
            let mut answer = self.get(&path)?;
            let Some(Value::Array(results)) = answer.get_mut("results").map(Value::take) else {
                // Of some kinds there is one object, which stands there itself.
                return Ok(answer.as_object().cloned().into_iter().collect());
            };
            all.extend(results.into_iter().filter_map(|object| match object {
                Value::Object(object) => Some(object),
                _ => None,
            }));
            if answer.get("next").is_none_or(Value::is_null) {
                break;
            }
        }
        Ok(all)
    }

    /// The object of this name, if there is one; the tenant's own before one of all tenants.
    ///
    /// # Errors
    /// See [`Api::ask`]; there are several.
    pub fn named(
        &mut self,
        kind: &'static ObjectKind,
        name: &str,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        if kind.scope == forebay_model::kind::Scope::Single {
            return Ok(self.all(kind, "")?.into_iter().next());
        }
        let mut found = self.all(kind, &format!("name={}", escaped(name)))?;
        if found.is_empty() && is_uuid_of(kind, name) {
            found = self.all(kind, &format!("uuid={}", escaped(name)))?;
        }
        if found.len() > 1 {
            let own = format!("#{}", self.tenant);
            found.retain(|object| {
                object.get("tenant_ref").and_then(Value::as_str).is_none_or(|text| text.ends_with(&own))
            });
        }
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop()),
            many => Err(Failure::new(
                Kind::Conflict,
                format!("there are {many} objects of kind {} named \"{name}\"", kind.path),
            )
            .next(format!(
                "forebay {} list --where name={name} --output json   (then use the uuid)",
                kind.path
            ))),
        }
    }

    /// The object of this name.
    ///
    /// # Errors
    /// There is none; see [`Api::named`].
    pub fn one(&mut self, kind: &'static ObjectKind, name: &str) -> Result<Map<String, Value>, Failure> {
        self.named(kind, name)?.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("there is no {} named \"{name}\" in the tenant {}", kind.path, self.tenant),
            )
            .next(format!("forebay {} list", kind.path))
        })
    }

    /// Ends the session. A session that is not ended ends by itself, so a failure is none.
    pub fn close(mut self) {
        let _ = self.ask("POST", "/logout", None);
    }
}

/// Says whether a name has the form of a uuid that the Controller gives.
pub fn is_uuid_of(kind: &ObjectKind, name: &str) -> bool {
    let digits = name.strip_prefix(kind.path).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| {
        digits.len() == 36 && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    })
}

/// A text as a value of a query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn refused(answer: &Answer, path: &str) -> Failure {
    let text = answer.content.get("error").or(answer.content.get("detail")).and_then(Value::as_str);
    let text =
        text.map_or_else(|| format!("{path}: the Controller answered {}", answer.status), str::to_owned);
    let (kind, next) = match answer.status {
        400 | 413 => (Kind::Usage, ""),
        404 => (Kind::NotFound, ""),
        409 => (Kind::Conflict, ""),
        412 => (Kind::Conflict, "look at it again, and repeat the command"),
        403 if text.contains("referred by") => (Kind::Conflict, "change or delete those first"),
        401 | 403 => (Kind::Denied, ""),
        408 | 429 => (Kind::Late, "repeat the command in a minute"),
        503 => (Kind::Unreachable, "repeat the command in a minute"),
        _ => (Kind::Failed, ""),
    };
    Failure::new(kind, text).next(next)
}
