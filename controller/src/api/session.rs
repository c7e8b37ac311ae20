//! Coming in and going out.

use axum::http::Method;
use base64::Engine;
use serde_json::{Value, json as value};

use super::answer::{Answer, bad, empty, json};
use super::request::{Asked, items};
use super::{App, version};
use crate::accounts::Refused;
use crate::objects::{ADMIN, Denied, Tenant};
use crate::store::Store;
use crate::tokens;

/// The cookie that clients send the session by, under both of its names.
const COOKIES: [&str; 2] = ["sessionid", "avi-sessionid"];

/// Who asks, and as which tenant.
pub struct Who {
    /// The account.
    pub user: String,
    /// The tenant.
    pub tenant: Tenant,
}

/// `POST /login`: a form or JSON.
//= API-LOGIN-01
pub async fn login<S: Store>(app: &App<S>, asked: &Asked) -> Result<Answer, Answer> {
    let is_json = asked.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let (user, password, token) = if is_json || asked.content.first() == Some(&b'{') {
        let said = asked.object()?;
        let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
        (text("username"), text("password"), text("token"))
    } else {
        let said = std::str::from_utf8(&asked.content).ok().and_then(items);
        let said = said.ok_or_else(|| bad(400, "the form is not well-formed"))?;
        let text = |name: &str| said.iter().find(|(item, _)| item == name).map(|(_, value)| value.clone());
        (text("username"), text("password"), text("token"))
    };
    let user = user.ok_or_else(|| bad(400, "send username and password, or username and token"))?;
    match (password, token) {
        (_, Some(token)) => match tokens::is_good(&app.store, &user, &token).await {
            Ok(true) => {}
            Ok(false) => return Err(refused(Refused::Wrong)),
            Err(_) => return Err(refused(Refused::Unknown)),
        },
        (Some(password), None) => app.accounts.check(&app.store, &user, &password).await.map_err(refused)?,
        (None, None) => return Err(bad(400, "send username and password, or username and token")),
    }
    let (id, session) = app.accounts.open(&user).map_err(|text| bad(503, text))?;
    tracing::info!(event = "CONTROLLER_LOGIN", user, "a session is open");
    let said = value!({
        "version": version(),
        "session_cookie_name": COOKIES[1],
        "user": {"username": user, "is_superuser": true, "name": user},
        "tenants": [{"name": ADMIN, "uuid": ADMIN}],
    });
    let answer = COOKIES.iter().fold(json(200, &said), |answer, name| answer.cookie(name, &id, false));
    Ok(answer.cookie("csrftoken", &session.csrf, true))
}

/// `POST /logout`.
pub fn logout<S: Store>(app: &App<S>, asked: &Asked) -> Answer {
    for name in COOKIES {
        if let Some(id) = asked.cookie(name) {
            app.accounts.close(id);
        }
    }
    json(200, &value!({}))
}

/// Who asks; a write by a session has to show the token that no foreign page knows.
//= API-CSRF-01
pub async fn who<S: Store>(app: &App<S>, asked: &Asked) -> Result<Who, Answer> {
    if let Some(origin) = asked.header("origin")
        && origin.split_once("://").map(|(_, host)| host) != asked.header("host")
    {
        return Err(bad(403, "the request comes from a page of another origin"));
    }
    let user = match asked.header("authorization") {
        Some(line) => basic(app, line).await?,
        None => {
            let session =
                COOKIES.iter().filter_map(|name| asked.cookie(name)).find_map(|id| app.accounts.session(id));
            let session = session.ok_or_else(|| bad(401, "log in first: POST /login"))?;
            let is_write = !matches!(asked.method, Method::GET | Method::HEAD | Method::OPTIONS);
            if is_write && !asked.header("x-csrftoken").is_some_and(|token| session.is_shown(token)) {
                return Err(bad(
                    403,
                    "CSRF Failed: send the cookie csrftoken as the header X-CSRFToken as well",
                ));
            }
            session.user
        }
    };
    Ok(Who { user, tenant: tenant(app, asked)? })
}

/// The tenant of the header, by name or by uuid.
fn tenant<S: Store>(app: &App<S>, asked: &Asked) -> Result<Tenant, Answer> {
    let by_uuid = asked.header("x-avi-tenant-uuid").filter(|uuid| !uuid.is_empty());
    let name = asked.header("x-avi-tenant").filter(|name| !name.is_empty());
    let Some(wanted) = by_uuid.or(name) else { return Ok(Tenant::admin()) };
    if wanted == "*" {
        return Ok(Tenant { uuid: ADMIN.to_owned(), is_all: true });
    }
    let now = app.objects.now();
    let found = match by_uuid {
        Some(uuid) => now.get("tenant", uuid).cloned(),
        None => now.named("tenant", wanted).next().cloned(),
    };
    match found {
        Some(tenant) => Ok(Tenant { uuid: tenant.uuid.clone(), is_all: false }),
        None if wanted == ADMIN => Ok(Tenant::admin()),
        None => {
            let shown: String = wanted.chars().take(64).flat_map(char::escape_default).collect();
            Err(bad(403, &format!("Tenant '{shown}' does not exist!")))
        }
    }
}

async fn basic<S: Store>(app: &App<S>, line: &str) -> Result<String, Answer> {
    let wrong = || bad(401, "the credentials are not well-formed");
    let (scheme, content) = line.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(content.trim()).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    app.accounts.check(&app.store, user, password).await.map_err(refused)?;
    Ok(user.to_owned())
}

fn refused(refused: Refused) -> Answer {
    match refused {
        // One text for both: it must not tell which names there are.
        Refused::Wrong => bad(401, "Invalid credentials"),
        Refused::Locked => bad(403, "too many wrong passwords: try again in a minute"),
        Refused::Busy => bad(429, "too many log in at once: try again in a moment"),
        Refused::Unknown => bad(503, "the store cannot be read"),
    }
}

/// `/api/user-token`.
pub async fn tokens<S: Store>(
    app: &App<S>,
    asked: &Asked,
    who: &Who,
    uuid: Option<&str>,
) -> Result<Answer, Answer> {
    let failed = |refusal| Answer::from(Denied::Store(refusal));
    match (&asked.method, uuid) {
        (&Method::POST, None) => {
            let said = asked.object()?;
            // Clients send the number as a text.
            let hours = match said.get("hours") {
                None | Some(Value::Null) => None,
                Some(Value::Number(hours)) => hours.as_u64(),
                Some(Value::String(hours)) => hours.parse().ok(),
                Some(_) => return Err(bad(400, "hours: put a whole number there")),
            };
            let made = tokens::make(&app.store, &who.user, hours).await.map_err(failed)?;
            tracing::info!(event = "CONTROLLER_TOKEN", user = who.user, uuid = made.uuid, "a token was made");
            Ok(json(200, &value!({"token": made.token, "uuid": made.uuid, "expires_at": made.until})))
        }
        (&Method::GET, None) => {
            let list = tokens::list(&app.store, &who.user).await.map_err(failed)?;
            Ok(json(200, &value!({"count": list.len(), "results": list})))
        }
        (&Method::DELETE, Some(uuid)) => {
            match tokens::end(&app.store, &who.user, uuid).await.map_err(failed)? {
                true => Ok(empty(204)),
                false => Err(bad(404, "there is no such token")),
            }
        }
        (method, _) => Err(bad(405, &format!("Method '{method}' not allowed"))),
    }
}
