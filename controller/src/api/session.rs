//! Coming in and going out.

use std::sync::Arc;

use axum::http::Method;
use base64::Engine;
use serde_json::{Value, json as value};

use super::answer::{Answer, bad, empty, json};
use super::request::{Asked, hours, items};
use super::{App, version};
use crate::access::Rights;
use crate::accounts::Refused;
use crate::events;
use crate::objects::{ADMIN, Denied, Held, Login, Tenant};
use crate::store::Store;
use crate::tokens;

/// The cookie that clients send the session by, under both of its names.
const COOKIES: [&str; 2] = ["sessionid", "avi-sessionid"];

/// Who asks, and as which tenant.
pub struct Who {
    /// The account.
    pub user: String,
    /// The tenant, and what the user may do.
    pub tenant: Tenant,
    /// The user's account.
    pub login: Login,
    /// What the session is known by; none where the request came with a password.
    pub session: Option<String>,
}

/// One text for a wrong name and a wrong password: it must not tell which names there are.
const WRONG: &str = "Invalid credentials";

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
    let login = match (password, token) {
        (_, Some(token)) => {
            let login = app.objects.login(&user).filter(|login| login.is_active);
            // A token has as many letters as nobody can guess: it needs neither a slow hash nor a count.
            match &login {
                Some(held) => match tokens::is_good(&app.store, held, &token).await {
                    Ok(true) => login,
                    Ok(false) => None,
                    Err(_) => return Err(bad(503, "the store cannot be read")),
                },
                None => None,
            }
            .ok_or_else(|| bad(401, WRONG))?
        }
        (Some(password), None) => by_password(app, asked, &user, &password).await?,
        (None, None) => return Err(bad(400, "send username and password, or username and token")),
    };
    let (id, session) = app.accounts.open(&user, &login).map_err(|text| bad(503, text))?;
    tracing::info!(event = "CONTROLLER_LOGIN", user, "a session is open");
    let rights = Rights::of(&app.objects.now(), &login.held, &user, asked.from);
    tell(app, "USER_LOGIN", &format!("{user} came in"), &rights, None).await;
    let tenants: Vec<Value> = {
        let now = app.objects.now();
        let held = now.all("tenant").filter(|tenant| rights.has_part_in(&tenant.uuid));
        held.map(|tenant| value!({"name": tenant.name, "uuid": tenant.uuid})).collect()
    };
    let said = value!({
        "version": version(),
        "session_cookie_name": COOKIES[1],
        "user": {"username": user, "is_superuser": rights.is_super(), "name": login.held.name},
        "tenants": tenants,
    });
    let answer = COOKIES.iter().fold(json(200, &said), |answer, name| answer.cookie(name, &id, false));
    Ok(answer.cookie("csrftoken", &session.csrf, true))
}

/// Looks at a password; a wrong one is an event.
async fn by_password<S: Store>(
    app: &App<S>,
    asked: &Asked,
    user: &str,
    password: &str,
) -> Result<Login, Answer> {
    let login = app.objects.login(user);
    let done = app.accounts.check(login.as_ref(), user, password, asked.from).await;
    if done == Err(Refused::Wrong(true)) {
        let by = Rights::nobody(user, asked.from);
        let text = format!("a wrong password for {user}");
        tell(app, "USER_LOGIN", &text, &by, Some(WRONG)).await;
    }
    done.map_err(refused)?;
    login.ok_or_else(|| bad(401, WRONG))
}

/// Keeps an event. That the store does not take it keeps nobody out: it may be full, and somebody has to come in and mend it.
async fn tell<S: Store>(app: &App<S>, id: &str, text: &str, by: &Rights, error: Option<&str>) {
    if let Err(refusal) = app.objects.tell(events::came(id, text, by, error)).await {
        tracing::error!(event = "CONTROLLER_STORE_FAILED", %refusal, "an event is not kept");
    }
}

/// `POST /logout`.
pub fn logout<S: Store>(app: &App<S>, asked: &Asked) -> Answer {
    for name in COOKIES {
        if let Some(id) = asked.cookie(name) {
            app.accounts.close(id);
        }
    }
    json(200, value!({}))
}

/// Who asks; a write by a session has to show the token that no foreign page knows.
//= API-CSRF-01
pub async fn who<S: Store>(app: &App<S>, asked: &Asked) -> Result<Who, Answer> {
    if let Some(origin) = asked.header("origin")
        && origin.split_once("://").map(|(_, host)| host) != asked.header("host")
    {
        return Err(bad(403, "the request comes from a page of another origin"));
    }
    let (user, login, session) = match asked.header("authorization") {
        Some(line) => {
            let (user, login) = basic(app, asked, line).await?;
            (user, login, None)
        }
        None => {
            let mut found = COOKIES.iter().filter_map(|name| asked.cookie(name));
            let found = found.find_map(|id| Some((id, app.accounts.session(id)?)));
            let (id, session) = found.ok_or_else(|| bad(401, "log in first: POST /login"))?;
            let is_write = !matches!(asked.method, Method::GET | Method::HEAD | Method::OPTIONS);
            if is_write && !asked.header("x-csrftoken").is_some_and(|token| session.is_shown(token)) {
                return Err(bad(
                    403,
                    "CSRF Failed: send the cookie csrftoken as the header X-CSRFToken as well",
                ));
            }
            let login = app.objects.login_by_uuid(&session.uuid);
            //= API-PASSWORD-02
            let Some(login) = login.filter(|login| login.is_active && login.mark == session.mark) else {
                app.accounts.close(id);
                return Err(bad(401, "the session is over: log in again"));
            };
            (session.user, login, Some(id.to_owned()))
        }
    };
    let rights = Rights::of(&app.objects.now(), &login.held, &user, asked.from);
    let tenant = tenant(app, asked, rights, &login.held)?;
    Ok(Who { user, tenant, login, session })
}

/// The tenant of the header, by name or by uuid; without one, the user's own. One in which the user has no role is answered
/// as one that there is not.
//= API-TENANT-02
fn tenant<S: Store>(app: &App<S>, asked: &Asked, rights: Rights, user: &Held) -> Result<Tenant, Answer> {
    let by_uuid = asked.header("x-avi-tenant-uuid").filter(|uuid| !uuid.is_empty());
    let name = asked.header("x-avi-tenant").filter(|name| !name.is_empty());
    let rights = Arc::new(rights);
    let tenant = |uuid: &str, is_all| Tenant { uuid: uuid.to_owned(), is_all, rights: rights.clone() };
    let wanted = by_uuid.or(name).filter(|wanted| *wanted != "*");
    let Some(wanted) = wanted else {
        let is_all = by_uuid.or(name).is_some();
        let object = user.object();
        let own =
            object.get("default_tenant_ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
        let own = own.filter(|own| rights.has_part_in(own));
        let own = own.or(Some(ADMIN).filter(|admin| rights.has_part_in(admin))).or(rights.first_tenant());
        return match own {
            Some(own) => Ok(tenant(own, is_all)),
            None => Err(bad(403, &format!("{} has no role in any tenant", rights.user))),
        };
    };
    let now = app.objects.now();
    let found = match by_uuid {
        Some(uuid) => now.get("tenant", uuid).cloned(),
        None => now.named("tenant", wanted).next().cloned(),
    };
    match found.filter(|found| rights.has_part_in(&found.uuid)) {
        Some(found) => Ok(tenant(&found.uuid, false)),
        None => {
            let shown: String = wanted.chars().take(64).flat_map(char::escape_default).collect();
            Err(bad(403, &format!("Tenant '{shown}' does not exist!")))
        }
    }
}

async fn basic<S: Store>(app: &App<S>, asked: &Asked, line: &str) -> Result<(String, Login), Answer> {
    let wrong = || bad(401, "the credentials are not well-formed");
    let (scheme, content) = line.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(content.trim()).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    let login = by_password(app, asked, user, password).await?;
    Ok((user.to_owned(), login))
}

/// What is said of a refusal.
pub fn refused(refused: Refused) -> Answer {
    match refused {
        Refused::Wrong(_) => bad(401, WRONG),
        Refused::Locked => bad(403, "too many wrong passwords: try again in a minute"),
        Refused::Busy => bad(429, "too many log in at once: try again in a moment"),
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
            let hours = hours(&said)?;
            let made = tokens::make(&app.store, &who.user, &who.login, hours).await.map_err(failed)?;
            tracing::info!(event = "CONTROLLER_TOKEN", user = who.user, uuid = made.uuid, "a token was made");
            Ok(json(200, value!({"token": made.secret, "uuid": made.uuid, "expires_at": made.until})))
        }
        (&Method::GET, None) => {
            let list = tokens::list(&app.store, &who.login.held.uuid).await.map_err(failed)?;
            Ok(json(200, value!({"count": list.len(), "results": list})))
        }
        (&Method::DELETE, Some(uuid)) => {
            match tokens::end(&app.store, &who.login.held.uuid, uuid).await.map_err(failed)? {
                true => Ok(empty(204)),
                false => Err(bad(404, "there is no such token")),
            }
        }
        (method, _) => Err(bad(405, &format!("Method '{method}' not allowed"))),
    }
}
