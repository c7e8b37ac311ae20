//! Who may come in: passwords, and the sessions that they open.
//!
//! A password is kept as its argon2id hash. What a session or a token is known by is kept as a digest only: whoever reads
//! our memory or our disk has nothing to come in with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use argon2::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::store::{Refusal, Step, Store};

/// Memory of one check, KiB: 31 ms of one core, and two at once.
const HASH_KIB: u32 = 19 * 1024;
/// Checks at once: each has 19 MiB.
const HASHES_AT_ONCE: usize = 2;
/// Who waits for a check behind so many others is told to come back.
const HASHES_WAITING: usize = 32;
/// Wrong passwords in a row, after which a name waits.
const WRONG_MAX: u32 = 5;
/// How long it waits then.
const LOCKED: Duration = Duration::from_secs(60);
/// Names whose wrong passwords are counted; the eldest go first.
const WATCHED_MAX: usize = 10_000;
/// Open sessions; the one that was used longest ago goes first.
const SESSIONS_MAX: usize = 10_000;
/// A session that is not used so long is over.
pub const IDLE: Duration = Duration::from_secs(15 * 60);
/// The longest password that is looked at, bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The name, or the password.
    Wrong,
    /// Too many wrong passwords; try again later.
    Locked,
    /// Too many at once.
    Busy,
    /// The store did not tell.
    Unknown,
}

/// Accounts and sessions.
pub struct Accounts {
    hashing: Semaphore,
    /// Who waits for a check, and who is being checked.
    checking: AtomicUsize,
    wrong: Mutex<HashMap<String, (u32, Instant)>>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    /// What the password of a name that there is not is compared with, so that both take the same time.
    nobody: String,
}

/// Who has come in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account's name.
    pub user: String,
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
            checking: AtomicUsize::new(0),
            wrong: Mutex::default(),
            sessions: Mutex::default(),
            nobody: hash(&secret()?)?,
        })
    }

    /// Makes the account `admin` if there is none, and gives its password, which is known to nobody else.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn first(&self, store: &impl Store) -> Result<Option<String>, Refusal> {
        if store.get("account/admin").await?.is_some() {
            return Ok(None);
        }
        let unavailable = |what: &str| Refusal::Unavailable(what.to_owned());
        let password = secret().map_err(unavailable)?[..20].to_owned();
        let account = json!({"hash": hash(&password).map_err(unavailable)?, "is_superuser": true});
        let step = Step::default().demand("account/admin", None);
        store.commit(step.write("account/admin", Some(account.to_string().into_bytes()))).await?;
        Ok(Some(password))
    }

    /// Says whether this is the password of this account.
    ///
    /// # Errors
    /// It is not, or it is not looked at.
    //= API-LOGIN-02
    pub async fn check(&self, store: &impl Store, user: &str, password: &str) -> Result<(), Refused> {
        if user.len() > 128 || password.len() > PASSWORD_BYTES_MAX {
            return Err(Refused::Wrong);
        }
        if self.is_locked(user) {
            return Err(Refused::Locked);
        }
        let key = format!("account/{user}");
        let account = store.get(&key).await.map_err(|_| Refused::Unknown)?;
        let account = account.and_then(|stored| serde_json::from_slice::<Value>(&stored.value).ok());
        let hash = account.as_ref().and_then(|account| account.get("hash")?.as_str());
        let is_somebody = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        let Some(_place) = Place::take(&self.checking) else { return Err(Refused::Busy) };
        let Ok(_turn) = self.hashing.acquire().await else { return Err(Refused::Busy) };
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
        });
        let fits = fits.await.unwrap_or(false) && is_somebody;
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if fits {
            wrong.remove(user);
            return Ok(());
        }
        if wrong.len() >= WATCHED_MAX
            && let Some(eldest) =
                wrong.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone())
        {
            wrong.remove(&eldest);
        }
        let entry = wrong.entry(user.to_owned()).or_insert((0, Instant::now()));
        *entry = (entry.0 + 1, Instant::now());
        Err(Refused::Wrong)
    }

    fn is_locked(&self, user: &str) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.get(user) {
            Some((_, last)) if last.elapsed() >= LOCKED => {
                wrong.remove(user);
                false
            }
            Some((times, _)) => *times >= WRONG_MAX,
            None => false,
        }
    }

    /// Opens a session and gives what it is known by.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn open(&self, user: &str) -> Result<(String, Session), &'static str> {
        let (id, csrf) = (secret()?, secret()?);
        let session = Session { user: user.to_owned(), csrf, used: Instant::now() };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Ends a session.
    pub fn close(&self, id: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&known_by(id));
    }
}

/// A place among those that are checked or wait for it.
struct Place<'c>(&'c AtomicUsize);

impl<'c> Place<'c> {
    fn take(count: &'c AtomicUsize) -> Option<Self> {
        let place = Place(count);
        // Taken first, so that two cannot take the last one; given back by the drop.
        (count.fetch_add(1, Ordering::Relaxed) < HASHES_AT_ONCE + HASHES_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

fn hash(password: &str) -> Result<String, &'static str> {
    let mut salt = [0_u8; 16];
    rand::fill(&mut salt).map_err(|_| "the system gives no random numbers")?;
    let hash = hasher().hash_password_with_salt(password.as_bytes(), &salt);
    let hash: PasswordHash = hash.map_err(|_| "the password could not be hashed")?;
    Ok(hash.to_string())
}
