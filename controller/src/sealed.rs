//! Secrets as the store has them: sealed, by a key that is not in the store.
//!
//! AES-256-GCM with a random nonce for each; which object and which field it is goes into the seal, so that a secret that is
//! moved elsewhere does not open there.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::files::write_private;

/// The key of the seals.
pub struct Seal {
    key: LessSafeKey,
    /// What other keys are derived with.
    root: hmac::Key,
    bytes: [u8; 32],
}

impl Seal {
    /// The key of a store, from `file`; made where there is no store yet.
    ///
    /// # Errors
    /// The store is there and its key is not; or the key cannot be read or made, or is none.
    //= CTL-KEY-01
    pub fn of_store(store: &Path, file: &Path) -> Result<Self, String> {
        if store.exists() && !file.exists() {
            return Err(format!(
                "{} is gone: without it no secret of {} opens, and no password; put it back from where it was moved, \
                 or move the store away as well and read a backup (forebay-controller restore FILE), or begin empty",
                file.display(),
                store.display()
            ));
        }
        Self::open(file)
    }

    /// The key in `file`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be read or made, or is no key.
    pub fn open(file: &Path) -> Result<Self, String> {
        let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", file.display());
        if !file.exists() {
            let mut bytes = [0_u8; 32];
            rand::fill(&mut bytes).map_err(|_| failed(&"the system gives no random numbers"))?;
            write_private(file, &bytes).map_err(|error: io::Error| failed(&error))?;
        }
        let bytes = std::fs::read(file).map_err(|error| failed(&error))?;
        // It is copied by hand, and opens every secret.
        //= CTL-KEY-02
        let mode = std::fs::metadata(file).map_err(|error| failed(&error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(
                &"others than its owner may read it, and it opens every secret: chmod 600 it",
            ));
        }
        Self::of_bytes(&bytes).ok_or_else(|| failed(&"this is no key: 32 bytes are"))
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).ok()?;
        // A key for one thing alone: what seals does not derive.
        let root = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), b"forebay derived keys 1");
        let root = hmac::Key::new(hmac::HMAC_SHA256, root.as_ref());
        Some(Seal { key: LessSafeKey::new(key), root, bytes: bytes.try_into().ok()? })
    }

    /// The key itself, for another Controller of the same store.
    pub(crate) fn shared(&self) -> [u8; 32] {
        self.bytes
    }

    /// A key for a purpose: the same for the same purpose as long as the key of the seals is the same, and no help to find
    /// another one.
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(&hmac::sign(&self.root, purpose.as_bytes()).as_ref()[..32]);
        key
    }

    /// The key that a passphrase makes: for what goes elsewhere.
    ///
    /// # Errors
    /// The salt is too short, or memory is.
    pub fn of_passphrase(passphrase: &str, salt: &[u8]) -> Result<Self, String> {
        let key = crate::backup::key(passphrase, salt)?;
        Self::of_bytes(&key).ok_or_else(|| "no key".to_owned())
    }

    /// Seals a secret of an object.
    ///
    /// # Errors
    /// The system gives no random numbers.
    //= API-SECRET-01
    pub fn seal(&self, uuid: &str, field: &str, value: &Value) -> Result<Value, &'static str> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| "the system gives no random numbers")?;
        let mut bytes = value.to_string().into_bytes();
        let whose = Aad::from(format!("{uuid}\0{field}"));
        let sealed =
            self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), whose, &mut bytes);
        sealed.map_err(|_| "a secret could not be sealed")?;
        Ok(json!({"sealed": STANDARD_NO_PAD.encode([&nonce[..], &bytes].concat())}))
    }

    /// Opens what was sealed for this field of this object; `None` if it was not.
    pub fn unseal(&self, uuid: &str, field: &str, sealed: &Value) -> Option<Value> {
        let mut bytes = STANDARD_NO_PAD.decode(sealed.get("sealed")?.as_str()?).ok()?;
        let (nonce, rest) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let whose = Aad::from(format!("{uuid}\0{field}"));
        let open = self.key.open_in_place(nonce, whose, rest).ok()?;
        serde_json::from_slice(open).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::Folder;

    //= test CTL-KEY-01
    #[test]
    fn a_store_without_its_key_gets_no_other_one() {
        let folder = Folder::new("no-key");
        let (store, file) = (folder.0.join("store.redb"), folder.0.join("store.key"));
        Seal::of_store(&store, &file).expect("made for a first start");
        std::fs::write(&store, "a store").expect("room");
        Seal::of_store(&store, &file).expect("it is there");
        std::fs::remove_file(&file).expect("it is there");
        let text = Seal::of_store(&store, &file).err().expect("gone");
        assert!(text.contains("put it back") && text.contains("restore FILE") && !file.exists(), "{text}");
    }

    //= test API-SECRET-01
    #[test]
    fn a_secret_opens_for_its_own_field_of_its_own_object_and_for_nobody_else() {
        let folder = Folder::new("seal");
        let file = folder.0.join("key");
        let seal = Seal::open(&file).expect("made");
        let secret = json!("a private key");
        let sealed = seal.seal("a", "key", &secret).expect("sealed");
        assert!(!sealed.to_string().contains("private"));
        assert_ne!(seal.seal("a", "key", &secret).expect("sealed"), sealed, "no nonce comes twice");
        assert_eq!(Seal::open(&file).expect("there").unseal("a", "key", &sealed), Some(secret));
        assert_eq!(seal.unseal("b", "key", &sealed), None);
        assert_eq!(seal.unseal("a", "other", &sealed), None);
        assert_eq!(Seal::open(&folder.0.join("other")).expect("made").unseal("a", "key", &sealed), None);
        for bad in
            [json!("a private key"), json!({"sealed": ""}), json!({"sealed": "!"}), json!({"sealed": "AAAA"})]
        {
            assert_eq!(seal.unseal("a", "key", &bad), None, "{bad}");
        }
        std::fs::write(&file, "short").expect("room");
        assert!(Seal::open(&file).err().expect("no key").contains("32 bytes"));
    }

    //= test CTL-KEY-02
    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        let folder = Folder::new("open-key");
        let file = folder.0.join("key");
        Seal::open(&file).expect("made");
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
            let text = Seal::open(&file).err().expect("others may read it");
            assert!(text.contains("chmod 600"), "{text}");
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("ours");
        Seal::open(&file).expect("it is its owner's alone");
    }
}
