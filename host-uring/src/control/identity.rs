//! Whom the engine becomes once it has the sockets that only a stronger one may have.
//!
//! Whatever is opened again while it runs (the access log, the admin socket, a monitor's command) is opened by who it has
//! become, at the start as later: what works once works always.

use std::ffi::{CStr, CString};
use std::io;

use anyhow::{anyhow, bail};
use forebay_snapshot::Engine;

/// Bytes for what the system keeps of one user or group: members of a large group are names, too.
const RECORD_BYTES: usize = 64 << 10;

/// A user with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: libc::uid_t,
    group: libc::gid_t,
    /// The user's name, by which further groups are found; `None`: a number that has none.
    name: Option<CString>,
}

impl Identity {
    /// The user's number.
    pub fn user(&self) -> u32 {
        self.user
    }
}

/// Looks up whom `[engine]` names; `None`: nobody.
///
/// # Errors
/// There is no such user or group, or only root could become it.
//= OBS-USER-01
pub fn wanted(engine: &Engine) -> anyhow::Result<Option<Identity>> {
    let Some(user) = &engine.user else { return Ok(None) };
    let known = by_name(user).or_else(|| user.parse().ok().and_then(by_number));
    let (number, group, name) = match (known, user.parse()) {
        (Some(known), _) => known,
        // A number without a name is one that containers like; its group must be named.
        (None, Ok(number)) if engine.group.is_some() => (number, number, None),
        _ => bail!(
            "engine.user: there is no user {user:?}; make it (useradd --system {user}) or name another one"
        ),
    };
    let group = match &engine.group {
        None => group,
        Some(named) => group_of(named).or_else(|| named.parse().ok()).ok_or_else(|| {
            anyhow!("engine.group: there is no group {named:?}; make it (groupadd --system {named}) or name another one")
        })?,
    };
    // SAFETY: the calls take nothing and cannot fail.
    let (now, now_group) = unsafe { (libc::geteuid(), libc::getegid()) };
    if now != 0 && (now, now_group) != (number, group) {
        bail!(
            "engine.user: only root can become {user:?}; start the engine as root, or as that user and without this key"
        );
    }
    Ok(Some(Identity { user: number, group, name }))
}

/// Becomes that user: its groups, no capability, and no program that is started can give one back.
///
/// To be called while there is no other thread.
///
/// # Errors
/// The system refuses; nothing may run then.
//= OBS-USER-01
pub fn become_one(wanted: &Identity) -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: system calls on plain numbers, and on a name that lives through them.
    unsafe {
        if libc::geteuid() == 0 {
            match &wanted.name {
                Some(name) => done(libc::initgroups(name.as_ptr(), wanted.group))?,
                None => done(libc::setgroups(0, std::ptr::null()))?,
            }
            done(libc::setresgid(wanted.group, wanted.group, wanted.group))?;
            // From root to another user: the kernel takes all capabilities with it.
            done(libc::setresuid(wanted.user, wanted.user, wanted.user))?;
        }
        done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // The change makes /proc/self root's, where our own counts are read; as if that user had started us.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
        if wanted.user != 0 && libc::setresuid(0, 0, 0) == 0 {
            return Err(io::Error::other("the rights of root could be had again"));
        }
    }
    Ok(())
}

type Known = (libc::uid_t, libc::gid_t, Option<CString>);

fn by_name(name: &str) -> Option<Known> {
    let name = CString::new(name).ok()?;
    user(|record, buffer, found| {
        // SAFETY: the pointers are to values and memory that live through the call, the length is the memory's.
        unsafe { libc::getpwnam_r(name.as_ptr(), record, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

fn by_number(number: libc::uid_t) -> Option<Known> {
    user(|record, buffer, found| {
        // SAFETY: as above.
        unsafe { libc::getpwuid_r(number, record, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

fn user(look: impl Fn(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int) -> Option<Known> {
    let mut buffer = vec![0; RECORD_BYTES];
    // SAFETY: all zeroes is a valid record: numbers and null pointers.
    let mut record: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    if look(&raw mut record, &mut buffer, &raw mut found) != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the record was filled; its name is a text in the buffer, which still lives.
    let name = unsafe { CStr::from_ptr(record.pw_name) }.to_owned();
    Some((record.pw_uid, record.pw_gid, Some(name)))
}

fn group_of(name: &str) -> Option<libc::gid_t> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0_u8; RECORD_BYTES];
    // SAFETY: all zeroes is a valid record.
    let mut record: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: the pointers are to values and memory that live through the call, the length is the memory's.
    let result = unsafe {
        let into = buffer.as_mut_ptr().cast();
        libc::getgrnam_r(name.as_ptr(), &raw mut record, into, buffer.len(), &raw mut found)
    };
    (result == 0 && !found.is_null()).then_some(record.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(user: &str, group: Option<&str>) -> Engine {
        Engine { user: Some(user.to_owned()), group: group.map(str::to_owned), ..Engine::default() }
    }

    //= test OBS-USER-01
    #[test]
    fn who_is_not_there_is_said_with_the_key() {
        let said = |user, group| wanted(&engine(user, group)).expect_err("nobody").to_string();
        assert!(said("no-such-user", None).starts_with("engine.user: there is no user \"no-such-user\""));
        assert!(said("4294967290", None).contains("there is no user"), "a number without a name and a group");
        assert!(said("root", Some("no-such-group")).starts_with("engine.group: there is no group"));
        assert_eq!(wanted(&Engine::default()).expect("nobody is wanted"), None);
    }
}
