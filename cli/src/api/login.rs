//! What is remembered of a login: where, who, the Controller's fingerprint, and a token; never a password.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::{Failure, Kind};

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: String,
    /// What lets them in.
    pub token: String,
    /// What the token is deleted by.
    pub token_uuid: String,
    /// The Controller's certificate.
    pub fingerprint: String,
}

/// Every login of this user of the machine.
#[derive(Debug, Default)]
pub struct Logins {
    /// The one that is meant where none is named.
    pub current: String,
    /// By the Controllers' addresses.
    pub all: BTreeMap<String, Login>,
}

/// The file that holds them.
///
/// # Errors
/// There is no home.
pub fn file() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::new(Kind::Failed, "neither XDG_CONFIG_HOME nor HOME names a folder to remember logins in")
    })?;
    Ok(config.join("forebay/logins.json"))
}

impl Logins {
    /// Those of the file; none if there is none.
    ///
    /// # Errors
    /// It cannot be read, makes no sense, or others may read it.
    //= CLI-LOGIN-02
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let failed = |what: String| Failure::new(Kind::Failed, format!("{}: {what}", file.display()));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mode = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(format!("others may read it (mode {:o}), and it holds tokens", mode & 0o777))
                .next(format!("chmod 600 {}", file.display())));
        }
        let no_sense =
            || failed("this is no file of logins".to_owned()).next(format!("rm {}", file.display()));
        let value: Value = serde_json::from_str(&text).map_err(|_| no_sense())?;
        let current = value["current"].as_str().ok_or_else(no_sense)?.to_owned();
        let mut all = BTreeMap::new();
        for (at, held) in value["logins"].as_object().ok_or_else(no_sense)? {
            let text = |name: &str| held[name].as_str().map(str::to_owned).ok_or_else(no_sense);
            let login = Login {
                user: text("user")?,
                token: text("token")?,
                token_uuid: text("token_uuid")?,
                fingerprint: text("fingerprint")?,
            };
            all.insert(at.clone(), login);
        }
        Ok(Logins { current, all })
    }

    /// Keeps them, for their user alone.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let all: serde_json::Map<String, Value> = self
            .all
            .iter()
            .map(|(at, login)| {
                let held = json!({
                    "user": login.user, "token": login.token, "token_uuid": login.token_uuid,
                    "fingerprint": login.fingerprint,
                });
                (at.clone(), held)
            })
            .collect();
        let text = json!({"current": self.current, "logins": all}).to_string();
        let written = || -> std::io::Result<()> {
            if let Some(folder) = file.parent() {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let new = file.with_extension(format!("new-{}", std::process::id()));
            let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            let done = out.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&new, file));
            if done.is_err() {
                let _ = std::fs::remove_file(&new);
            }
            done
        };
        written().map_err(|error| Failure::new(Kind::Failed, format!("{}: {error}", file.display())))
    }

    /// The login at this Controller, or the one used last.
    ///
    /// # Errors
    /// There is none.
    pub fn at(&self, controller: Option<&str>) -> Result<(&str, &Login), Failure> {
        let at = controller.unwrap_or(&self.current);
        if at.is_empty() {
            return Err(Failure::new(Kind::Denied, "you are not logged in at any Controller")
                .next("forebay login HOST:PORT"));
        }
        self.all.get_key_value(at).map(|(at, login)| (at.as_str(), login)).ok_or_else(|| {
            Failure::new(Kind::Denied, format!("you are not logged in at {at}"))
                .next(format!("forebay login {at}"))
        })
    }
}
