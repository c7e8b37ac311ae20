//! `/api/useraccount`: one's own account, which needs no role.

use axum::http::Method;
use forebay_model::Object;
use serde_json::{Value, json as value};

use super::App;
use super::answer::{Answer, bad, json};
use super::request::Asked;
use super::session::{Who, refused};
use crate::accounts::Refused;
use crate::objects::{Look, Query, shown};
use crate::store::Store;

/// What a user may change of the own account.
const OWN: &[&str] = &["full_name", "email"];

/// Shows it, or changes the password and the address.
//= API-PASSWORD-02
pub async fn own<S: Store>(app: &App<S>, asked: &Asked, who: &Who) -> Result<Answer, Answer> {
    let user = &who.login.held;
    let held = match asked.method {
        Method::GET => user.clone(),
        Method::PUT | Method::POST => {
            let said = asked.object()?;
            let mut change: Object = said
                .iter()
                .filter(|(name, _)| OWN.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            let text = |name: &str| said.get(name).and_then(Value::as_str);
            if let Some(password) = text("password") {
                let old = text("old_password")
                    .ok_or_else(|| bad(400, "old_password: put the password there that is used now"))?;
                // Counted as at the door: a session that was left open is no place to try passwords from.
                let done = app.accounts.check(Some(&who.login), &who.user, old, asked.from).await;
                done.map_err(|refusal| match refusal {
                    // Clients take 401 for a session that is over.
                    Refused::Wrong(_) => bad(403, "old_password: it is not the password of this user"),
                    other => refused(other),
                })?;
                change.insert("password".to_owned(), Value::from(password));
            }
            if change.is_empty() {
                return Err(bad(400, "send old_password and password, full_name or email"));
            }
            let change = value!({"replace": change}).as_object().cloned().unwrap_or_default();
            let held = app.objects.patch(user.kind, &user.uuid, &change, &who.tenant.raised()).await?;
            if let (Some(session), Some(login)) = (&who.session, app.objects.login_by_uuid(&user.uuid)) {
                app.accounts.renew(session, &login);
            }
            tracing::info!(
                event = "CONTROLLER_ACCOUNT",
                user = who.user,
                "a user has changed the own account"
            );
            held
        }
        _ => return Err(bad(405, &format!("Method '{}' not allowed", asked.method))),
    };
    let look = Look::of(&Query::new(&asked.query), asked.base(), &who.tenant);
    Ok(json(200, Value::Object(shown(&app.objects.now(), &held, &look))))
}
