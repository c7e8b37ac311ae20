//! Who may come in: passwords, and the sessions that they open.
//!
//! A password is kept as its argon2id hash. What a session or a token is known by is kept as a digest only: whoever reads
//! our memory or our disk has nothing to come in with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use argon2::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;

use crate::attempts::{Attempts, Source};
use crate::objects::Login;

/// Memory of one check, KiB: 31 ms of one core, and two at once.
const HASH_KIB: u32 = 19 * 1024;
/// Checks at once: each has 19 MiB.
const HASHES_AT_ONCE: usize = 2;
/// Who waits for a check behind so many others is told to come back.
const HASHES_WAITING: usize = 32;
/// Of these, from one address.
const HASHES_OF_ONE: usize = 8;
/// Wrong passwords that are told of in a minute.
const TOLD_MAX: u32 = 10;
/// Beside the first one of a name and an address in a row, this one is told of: the one that locks.
const TOLD_AGAIN: u32 = 5;
/// Open sessions; the one that was used longest ago goes first.
const SESSIONS_MAX: usize = 10_000;
/// Of these, of one user: nobody pushes out the others.
const SESSIONS_OF_ONE: usize = 100;
/// A session that is not used so long is over.
pub const IDLE: Duration = Duration::from_secs(15 * 60);
/// The longest password that is looked at, bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The name, or the password; and whether it is an event that is kept.
    Wrong(bool),
    /// Too many wrong passwords; try again later.
    Locked,
    /// Too many at once.
    Busy,
}

/// Accounts and sessions.
pub struct Accounts {
    hashing: Semaphore,
    /// Who waits for a check, and who is being checked.
    checking: Mutex<HashMap<Source, usize>>,
    attempts: Attempts,
    /// Wrong passwords that were told of since then.
    told: Mutex<(u32, Instant)>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    /// What the password of a name that there is not is compared with, so that both take the same time.
    nobody: String,
}

/// Who has come in.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the user came in as.
    pub user: String,
    /// The uuid of the user.
    pub uuid: String,
    /// The user's password when the session was opened: a new one ends it.
    pub mark: [u8; 32],
    /// What writes have to show beside the cookie.
    pub csrf: String,
    used: Instant,
}

impl Accounts {
    /// With nobody in.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Self, &'static str> {
        Ok(Accounts {
            hashing: Semaphore::new(HASHES_AT_ONCE),
            checking: Mutex::default(),
            attempts: Attempts::default(),
            told: Mutex::new((0, Instant::now())),
            sessions: Mutex::default(),
            nobody: hash(&secret()?)?,
        })
    }

    /// Says whether this is the password of the user who comes in by this name, if there is one.
    ///
    /// # Errors
    /// It is not, or it is not looked at.
    //= API-LOGIN-02
    pub async fn check(
        &self,
        login: Option<&Login>,
        name: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let source = Source::from(from);
        if name.len() > 128 || password.len() > PASSWORD_BYTES_MAX {
            return Err(Refused::Wrong(false));
        }
        if !self.attempts.may_try(source, name, Instant::now()) {
            return Err(Refused::Locked);
        }
        let hash = login.filter(|login| login.is_active).and_then(|login| login.hash.as_ref());
        let is_somebody = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        let Some(_place) = Place::take(&self.checking, source) else { return Err(Refused::Busy) };
        let Ok(_turn) = self.hashing.acquire().await else { return Err(Refused::Busy) };
        // Others of this name and address may have been wrong while it waited.
        if !self.attempts.may_try(source, name, Instant::now()) {
            return Err(Refused::Locked);
        }
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
        });
        if fits.await.unwrap_or(false) && is_somebody {
            self.attempts.right(source, name, Instant::now());
            return Ok(());
        }
        let times = self.attempts.wrong(source, name, Instant::now());
        Err(Refused::Wrong(matches!(times, 1 | TOLD_AGAIN) && self.is_worth_telling()))
    }

    /// Says whether one more wrong password is told of: who has many addresses would fill the disk with them.
    fn is_worth_telling(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.1.elapsed() >= Duration::from_secs(60) {
            *told = (0, Instant::now());
        }
        told.0 += 1;
        told.0 <= TOLD_MAX
    }

    /// Opens a session and gives what it is known by.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn open(&self, user: &str, login: &Login) -> Result<(String, Session), &'static str> {
        let (id, csrf) = (secret()?, secret()?);
        let (uuid, mark) = (login.held.uuid.clone(), login.mark);
        let session = Session { user: user.to_owned(), uuid, mark, csrf, used: Instant::now() };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let own = || sessions.iter().filter(|(_, held)| held.uuid == session.uuid);
        if own().count() >= SESSIONS_OF_ONE
            && let Some(eldest) = own().min_by_key(|(_, held)| held.used).map(|(id, _)| *id)
        {
            sessions.remove(&eldest);
        }
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.used.elapsed() < IDLE);
            let eldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
            if sessions.len() >= SESSIONS_MAX
                && let Some(eldest) = eldest
            {
                sessions.remove(&eldest);
            }
        }
        sessions.insert(known_by(&id), session.clone());
        Ok((id, session))
    }

    /// The session that is known by this, if it is open; it is used by that.
    pub fn session(&self, id: &str) -> Option<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = known_by(id);
        let session = sessions.get_mut(&key)?;
        if session.used.elapsed() >= IDLE {
            sessions.remove(&key);
            return None;
        }
        session.used = Instant::now();
        Some(session.clone())
    }

    /// Lets a session go on with a new password of its user.
    pub fn renew(&self, id: &str, login: &Login) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) =
            sessions.get_mut(&known_by(id)).filter(|session| session.uuid == login.held.uuid)
        {
            session.mark = login.mark;
        }
    }

    /// Ends a session.
    pub fn close(&self, id: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&known_by(id));
    }
}

/// A place among those that are checked or wait for it.
struct Place<'c>(&'c Mutex<HashMap<Source, usize>>, Source);

impl<'c> Place<'c> {
    fn take(taken: &'c Mutex<HashMap<Source, usize>>, source: Source) -> Option<Self> {
        let mut held = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (held.values().sum::<usize>(), held.get(&source).copied().unwrap_or(0));
        if all >= HASHES_AT_ONCE + HASHES_WAITING || own >= HASHES_OF_ONE {
            return None;
        }
        held.insert(source, own + 1);
        Some(Place(taken, source))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.1) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.remove(&self.1)),
        }
    }
}

impl Session {
    /// Says whether a write shows what it has to.
    pub fn is_shown(&self, token: &str) -> bool {
        verify_slices_are_equal(token.as_bytes(), self.csrf.as_bytes()).is_ok()
    }
}

fn known_by(id: &str) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
    sum
}

/// 32 characters that nobody can guess.
///
/// # Errors
/// The system gives no random numbers.
pub fn secret() -> Result<String, &'static str> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_| "the system gives no random numbers")?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn hasher() -> Argon2<'static> {
    // The parameters are constants that the library takes.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(HASH_KIB, 2, 1, None).unwrap_or_default())
}

/// The hash by which a password is kept.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn hash(password: &str) -> Result<String, &'static str> {
    let mut salt = [0_u8; 16];
    rand::fill(&mut salt).map_err(|_| "the system gives no random numbers")?;
    let hash = hasher().hash_password_with_salt(password.as_bytes(), &salt);
    let hash: PasswordHash = hash.map_err(|_| "the password could not be hashed")?;
    Ok(hash.to_string())
}
