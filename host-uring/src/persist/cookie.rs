//! Sealing and opening the persistence cookie.
//!
//! The value is `<key name>.<base64url(nonce, ciphertext, tag)>`: AES-256-GCM over the core's payload. Virtual
//! service, pool and cookie name are bound in as associated data, so that a cookie of one service does not open
//! for another, whatever it is renamed to. The first configured key seals, all of them open: a key is
//! rotated by putting a new one in front and taking the old one out when its cookies have expired.
//!
//! Nonces are 96 random bits of the library's generator, so engines that share a key need not agree on
//! anything: after 2^32 cookies of one key the chance that any two share a nonce is 2^-33. A busy group
//! (10,000 new clients a second) reaches that number in five days of nothing but new clients, so
//! keys of such groups are rotated weekly. Comparing tags in constant time is the library's.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forebay_core::id::{PoolId, VsId};
use forebay_core::persist::http_cookie::{PAYLOAD_MAX, Payload};
use forebay_snapshot::CookieKey;

use super::opened::{self, Mark};

const TAG_LEN: usize = 16;
/// Nonces drawn at once: one call of the generator costs three seals, its bytes next to nothing.
const NONCES_AT_ONCE: usize = 64;
const SEALED_MAX: usize = NONCE_LEN + PAYLOAD_MAX + TAG_LEN;
const TEXT_MAX: usize = SEALED_MAX.div_ceil(3) * 4;

/// What a cookie belongs to.
#[derive(Clone, Debug)]
pub struct Binding {
    bytes: Vec<u8>,
    mark: Mark,
    /// The names of the keys that its cookies are sealed and opened with; none: all.
    keys: Vec<String>,
}

impl Binding {
    /// The binding of the cookie called `name` of a service's pool.
    //= PERS-SEAL-03
    pub fn new(vs: VsId, pool: PoolId, name: &str) -> Self {
        let mut bytes = b"forebay persistence cookie 1\0".to_vec();
        bytes.extend_from_slice(&vs.0.to_le_bytes());
        bytes.extend_from_slice(&pool.0.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        Binding { bytes, mark: Mark::new(), keys: Vec::new() }
    }

    /// With these keys and no others, the one that seals first; none: all.
    //= PERS-SEAL-05
    pub fn by(mut self, keys: &[String]) -> Self {
        self.keys = keys.to_vec();
        self
    }
}

struct NamedKey {
    name: String,
    key: LessSafeKey,
}

/// Random numbers of one thread that no cookie has yet.
struct Nonces {
    drawn: [[u8; NONCE_LEN]; NONCES_AT_ONCE],
    left: usize,
}

thread_local! {
    static NONCES: RefCell<Nonces> =
        const { RefCell::new(Nonces { drawn: [[0; NONCE_LEN]; NONCES_AT_ONCE], left: 0 }) };
}

impl Nonces {
    /// Takes the next one, of which no other call gets a copy; `None` if the generator failed.
    fn next(&mut self) -> Option<[u8; NONCE_LEN]> {
        if self.left == 0 {
            rand::fill(self.drawn.as_flattened_mut()).ok()?;
            self.left = NONCES_AT_ONCE;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.drawn[self.left]))
    }
}

/// The keys of persistence cookies.
pub struct Sealer {
    keys: Vec<NamedKey>,
    /// Where each stands, by its name: an engine of ten thousand services has as many keys, and who sends a cookie says which
    /// of them it names.
    places: HashMap<Box<[u8]>, usize>,
    mark: Mark,
}

impl Sealer {
    /// Takes the keys, the sealing one first.
    pub fn new(keys: &[CookieKey]) -> Self {
        let places = keys.iter().enumerate().map(|(at, named)| (named.name.as_bytes().into(), at)).collect();
        let keys = keys
            .iter()
            .map(|named| NamedKey {
                name: named.name.clone(),
                key: LessSafeKey::new(
                    UnboundKey::new(&AES_256_GCM, named.key.expose())
                        .expect("the key has the 32 bytes that its type says"),
                ),
            })
            .collect();
        Sealer { keys, places, mark: Mark::new() }
    }

    fn named(&self, name: &[u8]) -> Option<&NamedKey> {
        self.keys.get(*self.places.get(name)?)
    }

    /// Appends the sealed payload to `out`; `false`, and nothing appended, if no key is configured or the
    /// random generator failed.
    //= PERS-SEAL-01
    pub fn seal(&self, binding: &Binding, payload: &Payload, out: &mut Vec<u8>) -> bool {
        let chosen = match binding.keys.first() {
            Some(name) => self.named(name.as_bytes()),
            None => self.keys.first(),
        };
        let Some(sealing) = chosen else { return false };
        let Some(nonce) = NONCES.with_borrow_mut(Nonces::next) else { return false };
        let mut plain = [0; PAYLOAD_MAX];
        let len = payload.encode(&mut plain);
        let mut sealed = [0; SEALED_MAX];
        sealed[..NONCE_LEN].copy_from_slice(&nonce);
        let body = &mut sealed[NONCE_LEN..NONCE_LEN + len];
        body.copy_from_slice(&plain[..len]);
        let Ok(tag) = sealing.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(binding.bytes.as_slice()),
            body,
        ) else {
            return false;
        };
        let end = NONCE_LEN + len + TAG_LEN;
        sealed[NONCE_LEN + len..end].copy_from_slice(tag.as_ref());
        let mut text = [0; TEXT_MAX];
        let written = URL_SAFE_NO_PAD
            .encode_slice(&sealed[..end], &mut text)
            .expect("the text buffer holds the longest sealed payload");
        out.extend_from_slice(sealing.name.as_bytes());
        out.push(b'.');
        out.extend_from_slice(&text[..written]);
        true
    }

    /// Opens a cookie's value; `None` for whatever is not sealed by one of the keys for this very binding.
    //= PERS-SEAL-02
    pub fn open(&self, binding: &Binding, value: &[u8]) -> Option<Payload> {
        opened::known_or(self.mark, binding.mark, value, || self.open_sealed(binding, value))
    }

    fn open_sealed(&self, binding: &Binding, value: &[u8]) -> Option<Payload> {
        let dot = value.iter().rposition(|b| *b == b'.')?;
        let (name, text) = (&value[..dot], &value[dot + 1..]);
        if !binding.keys.is_empty() && !binding.keys.iter().any(|key| key.as_bytes() == name) {
            return None;
        }
        let named = self.named(name)?;
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut sealed = [0; TEXT_MAX];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut sealed).ok()?;
        let (nonce, body) = sealed[..len].split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = named.key.open_in_place(nonce, Aad::from(binding.bytes.as_slice()), body).ok()?;
        Payload::decode(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_core::id::Endpoint;
    use forebay_core::units::UnixSeconds;
    use forebay_snapshot::Secret;

    fn key(name: &str, byte: u8) -> CookieKey {
        CookieKey { name: name.to_owned(), key: Secret::new([byte; 32]) }
    }

    fn payload() -> Payload {
        Payload {
            vs: VsId(7),
            pool: PoolId(9),
            server: Endpoint { ip: "10.0.0.3".parse().expect("an address"), port: 8080 },
            issued: UnixSeconds(1_900_000_000),
        }
    }

    fn binding() -> Binding {
        Binding::new(VsId(7), PoolId(9), "STICKY")
    }

    fn sealed(sealer: &Sealer) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(sealer.seal(&binding(), &payload(), &mut out));
        out
    }

    //= test PERS-SEAL-05
    #[test]
    fn a_profile_with_keys_of_its_own_seals_by_the_first_and_opens_by_no_other() {
        let sealer = Sealer::new(&[key("k1", 1), key("k2", 2), key("k3", 3)]);
        let own = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            binding().by(&names)
        };
        let mut value = Vec::new();
        assert!(sealer.seal(&own(&["k2", "k3"]), &payload(), &mut value));
        assert!(value.starts_with(b"k2."));
        assert_eq!(sealer.open(&own(&["k3", "k2"]), &value), Some(payload()), "it opens for who has the key");
        assert_eq!(sealer.open(&own(&["k1", "k3"]), &value), None, "and for nobody else");
        assert_eq!(sealer.open(&binding(), &value), Some(payload()), "without keys of its own, all open");
        assert!(!sealer.seal(&own(&["gone"]), &payload(), &mut Vec::new()));
    }

    //= test PERS-SEAL-01
    #[test]
    fn a_sealed_cookie_opens_and_shows_nothing_of_the_server() {
        let sealer = Sealer::new(&[key("k1", 1)]);
        let value = sealed(&sealer);
        assert_eq!(sealer.open(&binding(), &value), Some(payload()));
        assert!(value.starts_with(b"k1."));
        assert_eq!(value.len(), 3 + 64);
        assert_ne!(value, sealed(&sealer), "every cookie has its own nonce");
    }

    //= test PERS-SEAL-01
    #[test]
    fn no_two_of_a_thousand_cookies_share_a_nonce_across_batches_and_threads() {
        let nonces = || (0..500).map(|_| NONCES.with_borrow_mut(Nonces::next).expect("random numbers"));
        let elsewhere = std::thread::spawn(move || nonces().collect::<Vec<_>>()).join().expect("a thread");
        let all: std::collections::BTreeSet<_> = nonces().chain(elsewhere).collect();
        assert_eq!(all.len(), 1000);
        assert!(!all.contains(&[0; NONCE_LEN]), "a nonce that was taken is gone");
    }

    //= test PERS-SEAL-02
    #[test]
    fn an_old_key_still_opens_and_a_removed_one_does_not() {
        let old = Sealer::new(&[key("k1", 1)]);
        let rotated = Sealer::new(&[key("k2", 2), key("k1", 1)]);
        let gone = Sealer::new(&[key("k2", 2)]);
        let value = sealed(&old);
        assert_eq!(rotated.open(&binding(), &value), Some(payload()));
        assert_eq!(gone.open(&binding(), &value), None);
        assert!(sealed(&rotated).starts_with(b"k2."));
        let renamed = [b"k2.".as_slice(), &value[3..]].concat();
        assert_eq!(rotated.open(&binding(), &renamed), None);
    }

    //= test PERS-SEAL-03
    #[test]
    fn a_cookie_of_another_service_pool_or_name_does_not_open() {
        let sealer = Sealer::new(&[key("k1", 1)]);
        let value = sealed(&sealer);
        assert_eq!(
            sealer.open(&binding(), &value),
            Some(payload()),
            "what is known now is known for this one only"
        );
        for foreign in [
            Binding::new(VsId(8), PoolId(9), "STICKY"),
            Binding::new(VsId(7), PoolId(8), "STICKY"),
            Binding::new(VsId(7), PoolId(9), "OTHER"),
        ] {
            assert_eq!(sealer.open(&foreign, &value), None);
        }
    }

    //= test PERS-SEAL-02
    #[test]
    fn no_forged_cookie_of_a_hundred_thousand_opens() {
        let sealer = Sealer::new(&[key("k1", 1)]);
        let value = sealed(&sealer);
        assert_eq!(sealer.open(&binding(), &value), Some(payload()));
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=%";
        for round in 0..100_000 {
            let mut forged = value.clone();
            match round % 4 {
                // One letter changed (the last one holds no unused bits: 48 bytes are 64 letters).
                0 => {
                    let at = 3 + random() % (forged.len() - 3);
                    let before = forged[at];
                    forged[at] = ALPHABET[random() % 64];
                    if forged[at] == before {
                        continue;
                    }
                }
                1 => forged.truncate(random() % forged.len()),
                2 => forged.push(ALPHABET[random() % ALPHABET.len()]),
                _ => {
                    let len = random() % 4096;
                    forged = (0..len).map(|_| ALPHABET[random() % ALPHABET.len()]).collect();
                    if round % 8 == 3 {
                        forged.splice(0..0, b"k1.".iter().copied());
                    }
                }
            }
            assert_eq!(sealer.open(&binding(), &forged), None, "{}", String::from_utf8_lossy(&forged));
        }
    }
}
