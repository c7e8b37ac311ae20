//! Coming in: `login`, `logout`, and the session that every other command has.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::json;

use crate::api::login::{self, Login, Logins};
use crate::api::{Api, Failure, Kind, Link, usage};
use crate::args::{self, Common};
use crate::{objects, sys};

/// The session of a command.
///
/// # Errors
/// Nobody has logged in, or the Controller does not take it any more.
pub fn session(common: &Common) -> Result<Api, Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let controller = common.controller.clone().or_else(|| set("FOREBAY_CONTROLLER"));
    let tenant =
        common.tenant.clone().or_else(|| set("FOREBAY_TENANT")).unwrap_or_else(|| "admin".to_owned());
    let logins = Logins::read(&login::file()?)?;
    let (at, login) = logins.at(controller.as_deref())?;
    Api::open(at, login, &tenant)
}

/// Compares the fingerprint, trades the password for a token, and remembers both.
///
/// # Errors
/// It is another certificate, the password is wrong, or the file cannot be written.
//= CLI-LOGIN-01
pub fn login(options: &args::Login) -> Result<ExitCode, Failure> {
    let mut file = Logins::read(&login::file()?)?;
    let shown = Link::open(&options.at, None)?.shown;
    match &options.fingerprint {
        Some(wanted) if wanted.eq_ignore_ascii_case(&shown) => {}
        Some(_) => {
            return Err(Failure::new(
                Kind::Denied,
                format!("{} shows a certificate with another fingerprint: {shown}", options.at),
            ));
        }
        None => compare(&options.at, &shown, file.all.get(&options.at))?,
    }
    let password = password(options)?;
    // By now it may be somebody else: what was compared is what the password goes to.
    let link = Link::open(&options.at, Some(&shown))?;
    let credentials = json!({"username": options.user, "password": password});
    let mut api = Api::with(link, &options.at, &options.user, "admin", &credentials)?;
    let made = api.ask("POST", "/api/user-token", Some(&json!({"hours": options.hours})))?;
    api.close();
    let text = |name: &str| {
        let text = made.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        text.ok_or_else(|| Failure::new(Kind::Failed, "the Controller gave no token"))
    };
    let login = Login {
        user: options.user.clone(),
        token: text("token")?,
        token_uuid: text("uuid")?,
        fingerprint: shown,
    };
    file.current.clone_from(&options.at);
    file.all.insert(options.at.clone(), login);
    file.write(&login::file()?)?;
    eprintln!("you are {} at {} for {} hours", options.user, options.at, options.hours);
    Ok(ExitCode::SUCCESS)
}

/// Has a person compare the fingerprint, unless it is the one of last time.
fn compare(at: &str, shown: &str, before: Option<&Login>) -> Result<(), Failure> {
    if before.is_some_and(|before| before.fingerprint == shown) {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage(format!("the certificate of {at} is not known; its fingerprint is {shown}")).next(format!(
            "forebay login {at} --fingerprint {shown}   (after you have compared it with what the Controller printed)"
        )));
    }
    eprintln!("The certificate of {at} is not known. Its fingerprint is\n  {shown}");
    eprint!("Is it what the Controller printed at its start? (yes/no) ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::new(Kind::Denied, "nothing was sent")),
    }
}

/// The password: typed without being shown, or from standard input.
fn password(options: &args::Login) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::Failed, format!("the password: {error}"));
    let mut line = String::new();
    if options.password_stdin {
        std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    } else if std::io::stdin().is_terminal() {
        eprint!("Password of {}: ", options.user);
        let _ = std::io::stderr().flush();
        sys::unshown(|| std::io::stdin().lock().read_line(&mut line)).map_err(failed)?;
        eprintln!();
    } else {
        return Err(usage("there is no terminal to type the password at")
            .next(format!("forebay login {} --user {} --password-stdin < FILE", options.at, options.user)));
    }
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() { Err(usage("the password is empty")) } else { Ok(line.to_owned()) }
}

/// Deletes the token, at the Controller and here.
///
/// # Errors
/// There is no login; the Controller cannot be reached (it is forgotten here all the same).
pub fn logout(common: &Common) -> Result<ExitCode, Failure> {
    let path = login::file()?;
    let mut file = Logins::read(&path)?;
    let (at, login) = file.at(common.controller.as_deref())?;
    let (at, uuid) = (at.to_owned(), login.token_uuid.clone());
    let ended = session(&Common { output: common.output, controller: Some(at.clone()), tenant: None })
        .and_then(|mut api| {
            let ended = api.ask("DELETE", &format!("/api/user-token/{uuid}"), None);
            api.close();
            ended
        });
    file.all.remove(&at);
    if file.current == at {
        file.current = file.all.keys().next().cloned().unwrap_or_default();
    }
    file.write(&path)?;
    match ended {
        Ok(_) => {}
        Err(failure) => {
            eprintln!("the Controller did not hear of it: {}", objects::show::printable(&failure.what))
        }
    }
    eprintln!("you are not logged in at {at} any more");
    Ok(ExitCode::SUCCESS)
}
