//! A process that has read a private key leaves no image of its memory behind.

/// From now on neither a core dump is written nor may another process of the same user look into the memory. To be
/// called before the first byte of a key is read; what a program that is started gets is its own affair, but for the
/// length of core dumps.
///
/// Both, because a dump that is piped to a program has no limit, and one is no longer dumpable only until the process
/// changes its user. Failures cannot be: both only give up rights.
//= TLS-KEY-02
pub fn leave_no_image() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: system calls on plain numbers and on a valid rlimit that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) == 0 {
            limit.rlim_cur = 0;
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}
