//! What a path asks of the user's roles, before anything behind it is looked at.
//!
//! A path that nobody has said anything about is for administrators: whoever adds one has it closed.

use axum::http::Method;
use forebay_model::{Kind, kind};

use super::App;
use super::answer::{Answer, bad};
use super::request::Asked;
use super::session::Who;
use crate::access::Access;
use crate::store::Store;

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// To have come in: what is behind it looks itself, or tells nothing of anybody.
    Nothing,
    /// A role that goes so far for this kind, and the object to be seen, if there is a uuid.
    Kind(&'static str, Option<String>, bool),
    /// A role for the Controller itself.
    Controller,
    /// There is nothing at it.
    Unknown,
}

/// What the steps of a path ask for.
pub fn need(steps: &[&str]) -> Need {
    match steps {
        ["logout"]
        | ["api", "initial-data" | "openapi.json" | "useraccount" | "user-token"]
        | ["api", "cluster", "version" | "runtime"]
        | ["api", "user-token", _]
        | ["api", "alert"]
        | ["api", "alert", _]
        | ["api", "analytics", "logs" | "metric_id"]
        | ["api", "analytics", "metrics" | "healthscore" | "prometheus-metrics", ..] => Need::Nothing,
        // It opens everything.
        ["api", "cluster", "token"] => Need::Controller,
        ["api", path, rest @ ..] => {
            let known = |path: &str| kind(path).map(|kind| kind.path);
            match known(path).or_else(|| known(path.strip_suffix("-inventory")?)) {
                Some(path) => {
                    let uuid = rest.first().map(|uuid| (*uuid).to_owned());
                    Need::Kind(path, uuid, rest.len() > 1)
                }
                None => Need::Controller,
            }
        }
        _ => Need::Unknown,
    }
}

/// Lets a request pass, or says what is missing.
//= API-ROLE-01
pub fn pass<S: Store>(app: &App<S>, who: &Who, method: &Method, steps: &[&str]) -> Result<(), Answer> {
    let access = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Access::Read,
        _ => Access::Write,
    };
    match need(steps) {
        Need::Nothing | Need::Unknown => Ok(()),
        Need::Controller => Ok(who.tenant.demand_system("PERMISSION_CONTROLLER", access)?),
        Need::Kind(path, uuid, is_within) => {
            let Some(kind) = kind(path) else { return Ok(()) };
            if let (true, Some(uuid)) = (is_within, uuid) {
                return within(app, who, kind, &uuid, access);
            }
            Ok(who.tenant.demand(kind.permission, access)?)
        }
    }
}

/// Objects can be tried, and nothing else: who asks for it elsewhere must not have it done.
//= API-DRY-01
pub fn is_tried(asked: &Asked, steps: &[&str]) -> Result<(), Answer> {
    let is_read = matches!(asked.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_object = matches!(steps, ["api", path] | ["api", path, _] if kind(path).is_some());
    match is_read || is_object || !asked.is_dry_run()? {
        true => Ok(()),
        false => Err(bad(400, "dry_run: only writes of objects can be tried; nothing was done")),
    }
}

/// What stands below an object, and what is done with it: as with the object itself. Who maintains services and pools may
/// do as much with them.
fn within<S: Store>(
    app: &App<S>,
    who: &Who,
    kind: &'static Kind,
    uuid: &str,
    access: Access,
) -> Result<(), Answer> {
    who.tenant.demand(kind.permission, Access::Read)?;
    let held = app.objects.get(kind, uuid, &who.tenant)?;
    if access == Access::Read {
        return Ok(());
    }
    if who.tenant.maintains(&held) {
        return Ok(());
    }
    Ok(who.tenant.demand_write(Some(&held), Some(&held))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-ROLE-01
    #[test]
    fn a_path_that_nobody_has_said_anything_about_is_for_administrators() {
        for kind in forebay_model::kinds() {
            let uuid = format!("{}-1", kind.path);
            assert_eq!(need(&["api", kind.path]), Need::Kind(kind.path, None, false));
            assert_eq!(need(&["api", kind.path, &uuid]), Need::Kind(kind.path, Some(uuid.clone()), false));
            assert_eq!(need(&["api", kind.path, &uuid, "runtime"]), Need::Kind(kind.path, Some(uuid), true));
            let inventory = format!("{}-inventory", kind.path);
            assert_eq!(need(&["api", &inventory]), Need::Kind(kind.path, None, false));
        }
        for path in ["configuration", "se-token", "macro", "x-inventory", "analytics", "user-token-of-others"]
        {
            assert_eq!(need(&["api", path]), Need::Controller, "{path}");
            assert_eq!(need(&["api", path, "x", "y"]), Need::Controller, "{path}");
        }
        assert_eq!(need(&["somewhere"]), Need::Unknown);
    }
}
