//! Versions, cipher suites and groups, by the names that users of OpenSSL know them by.

use super::cx::Making;
use super::place::Held;
use super::table::Part;

/// Cipher suites of TLS 1.2, by the name of the list and that of the standard; the engine has no others.
const TLS12: &[(&str, &str)] = &[
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305-SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305-SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];
/// Those of TLS 1.3.
const TLS13: &[&str] = &["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
/// Groups for the exchange of keys, by each name that they have.
const GROUPS: &[(&str, &str)] = &[
    ("x25519mlkem768", "x25519mlkem768"),
    ("x25519", "x25519"),
    ("p-256", "secp256r1"),
    ("prime256v1", "secp256r1"),
    ("secp256r1", "secp256r1"),
    ("p-384", "secp384r1"),
    ("secp384r1", "secp384r1"),
];

/// Sets versions and cipher suites; says whether TLS 1.3 is spoken.
//= COMPILE-TLS-01
pub(super) fn versions(making: &mut Making, held: &Held, part: &mut Part) -> bool {
    let view = held.view();
    let named: Vec<&str> = view.entries("accepted_versions").map(|(_, one)| one.text("type")).collect();
    let (mut old, mut new) = (named.contains(&"SSL_VERSION_TLS1_2"), named.contains(&"SSL_VERSION_TLS1_3"));
    for (at, version) in named.iter().enumerate() {
        if !matches!(*version, "SSL_VERSION_TLS1_2" | "SSL_VERSION_TLS1_3") {
            let reason = format!("no engine speaks {version}: it is broken");
            making.idle(held, &format!("accepted_versions[{at}]"), reason, "name TLS 1.2 and TLS 1.3");
        }
    }
    if named.is_empty() {
        (old, new) = (true, true);
    } else if !old && !new {
        making.wrong(held, "accepted_versions", "no engine speaks any of them", "add SSL_VERSION_TLS1_2");
        return false;
    }
    part.set("min_version", if old { "1.2" } else { "1.3" });
    part.set("max_version", if new { "1.3" } else { "1.2" });
    let suites = suites(making, held, old, new);
    part.set_list("cipher_suites", suites);
    new
}

/// The cipher suites in the order of the profile; none: all that the engine has.
fn suites(making: &mut Making, held: &Held, old: bool, new: bool) -> Vec<&'static str> {
    let view = held.view();
    let mut chosen: Vec<&'static str> = Vec::new();
    let mut take = |name: &'static str| {
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    };
    // Names of the standard, which only some profiles have, stand for the whole list.
    let standard: Vec<&str> = view.texts("cipher_enums").collect();
    let older = view.text("accepted_ciphers");
    let newer = view.text("ciphersuites");
    let mut unknown = Vec::new();
    if standard.is_empty() {
        for name in newer.split(':').filter(|_| new) {
            match TLS13.iter().find(|known| **known == name) {
                Some(known) => take(known),
                None => unknown.push(name),
            }
        }
        for name in older.split(':').filter(|_| old) {
            match TLS12.iter().find(|(known, _)| *known == name) {
                Some((_, known)) => take(known),
                None => unknown.push(name),
            }
        }
    } else {
        for name in &standard {
            let known = TLS13.iter().filter(|_| new).find(|known| *known == name);
            let known = known
                .or_else(|| TLS12.iter().filter(|_| old).map(|(_, known)| known).find(|one| *one == name));
            match known {
                Some(known) => take(known),
                None => unknown.push(name),
            }
        }
    }
    let field = if standard.is_empty() { "accepted_ciphers" } else { "cipher_enums" };
    // What names classes of ciphers (AES) means all that there are of them.
    let classes =
        unknown.iter().all(|name| matches!(*name, "AES" | "3DES" | "RC4" | "HIGH" | "DEFAULT" | ""));
    if !classes {
        let reason = format!("no engine has {}", unknown.join(", "));
        making.idle(held, field, reason, "leave them out; those that are known are used");
    }
    let has = |chosen: &[&str], is_new: bool| chosen.iter().any(|name| TLS13.contains(name) == is_new);
    if new && !has(&chosen, true) {
        chosen.extend(TLS13);
    }
    if old && !has(&chosen, false) {
        let mut all: Vec<&'static str> = TLS12.iter().map(|(_, name)| *name).collect();
        all.dedup();
        chosen.extend(all);
    }
    chosen
}

/// Sets the groups for the exchange of keys.
pub(super) fn groups(making: &mut Making, held: &Held, part: &mut Part) {
    let text = held.view().text("ec_named_curve");
    if matches!(text, "" | "auto") {
        return;
    }
    let mut chosen = Vec::new();
    for name in text.split([':', ',']) {
        match GROUPS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim())) {
            Some((_, word)) if !chosen.contains(word) => chosen.push(*word),
            Some(_) => {}
            None => {
                let reason = "a group of it is none that an engine has";
                making.idle(held, "ec_named_curve", reason, "use X25519, P-256 and P-384, or auto");
            }
        }
    }
    part.set_list("groups", chosen);
}
