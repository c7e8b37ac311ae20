//! What was read of a private key is wiped before its memory is given back. An allocator looks at all that is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use forebay_host_uring::tls::{ClientFiles, ClientProfile, examine};

/// Looks for texts in memory that is given back.
struct Looks;

/// Bytes of each text that is looked for.
const LEN: usize = 24;
/// What is looked for: a piece of the file across the end of a line, and one of the key behind it.
static WANTED: [AtomicPtr<[u8; LEN]>; 2] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];
static FOUND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn look(at: *const u8, len: usize) {
    for (wanted, found) in WANTED.iter().zip(&FOUND) {
        // SAFETY: either null or a leaked text.
        let Some(wanted) = (unsafe { wanted.load(Ordering::Acquire).as_ref() }) else { continue };
        for from in 0..len.saturating_sub(LEN - 1) {
            // SAFETY: within the block; bytes that were never written are read one by one, and nothing rests on them.
            let is_it = (0..LEN).all(|n| unsafe { at.add(from + n).read_volatile() } == wanted[n]);
            found.fetch_add(usize::from(is_it), Ordering::AcqRel);
        }
    }
}

// SAFETY: the system's allocator does all; `look` only reads a block that is still whole.
unsafe impl GlobalAlloc for Looks {
    // SAFETY: the contract is the trait\'s; whoever calls keeps it.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the contract is the trait\'s; whoever calls keeps it.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        look(at, layout.size());
        // SAFETY: as the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Looks = Looks;

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
    let done = done.expect("openssl starts");
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
}

fn want(text: usize, bytes: &[u8]) {
    let bytes: [u8; LEN] = bytes.try_into().expect("so many");
    WANTED[text].store(Box::leak(Box::new(bytes)), Ordering::Release);
}

fn found() -> [usize; 2] {
    FOUND.each_ref().map(|found| found.swap(0, Ordering::AcqRel))
}

//= test TLS-KEY-03
#[test]
fn what_was_read_of_a_key_is_wiped_before_its_memory_is_given_back() {
    let folder = std::env::temp_dir().join(format!("forebay-wiped-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for kind in ["-newkey ec -pkeyopt ec_paramgen_curve:P-256", "-newkey rsa:2048"] {
        openssl(&folder, &format!("req -x509 {kind} -nodes -keyout a.key -out a.pem -days 2 -subj /CN=a"));
        openssl(&folder, "pkey -in a.key -outform DER -out a.der");
        openssl(&folder, &format!("req -x509 {kind} -nodes -keyout b.key -out b.pem -days 2 -subj /CN=b"));
        let (text, der) = (std::fs::read(folder.join("a.key")), std::fs::read(folder.join("a.der")));
        let (text, der) = (text.expect("a key"), der.expect("a key"));
        // Across the end of the first line of the key: what the library makes of the text has no ends of lines.
        let line = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).expect("two lines").0;
        want(0, &text[line - LEN / 2..line + LEN / 2]);
        // Within what is private: behind the modulus of a key of RSA, which is the certificate's as well.
        let private = if kind.contains("rsa") { 400 } else { 12 };
        want(1, &der[private..private + LEN]);
        drop((text, der));
        assert!(found().iter().all(|n| *n > 0), "what is given back is seen");
        let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let check = |chain: &str, key: &str| examine(&at(chain), &at(key), None).len();
        assert_eq!(check("a.pem", "a.key"), 0);
        assert_eq!(found(), [0, 0], "{kind}: a good key");
        assert_eq!(check("b.pem", "a.key"), 1);
        assert_eq!(found(), [0, 0], "{kind}: a key that is not the certificate's");
        assert_eq!(check("none.pem", "a.key"), 1);
        assert_eq!(found(), [0, 0], "{kind}: a key without a certificate");
        for (chain, is_good) in [("a.pem", true), ("b.pem", false)] {
            let own = Some((folder.join(chain), folder.join("a.key")));
            let profile = ClientProfile::new(ClientFiles { authorities: None, own });
            assert_eq!(profile.config().is_ok(), is_good);
            drop(profile);
            assert_eq!(found(), [0, 0], "{kind}: a monitor's, {chain}");
        }
        std::fs::copy(folder.join("a.key"), folder.join("o.key")).expect("the folder");
        std::fs::set_permissions(folder.join("o.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .expect("the folder");
        assert_eq!(check("a.pem", "o.key"), 1);
        assert_eq!(found(), [0, 0], "{kind}: a key that everybody may read");
    }
    std::fs::remove_dir_all(&folder).expect("the folder");
}
