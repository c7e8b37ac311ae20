//! Certificates for tests, made by OpenSSL.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bin;

/// What makes a key on the P-256 curve.
pub const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
/// What makes a key of RSA.
pub const RSA: &str = "-newkey rsa:2048";

/// Runs `openssl` in a folder; `words` are parted by blanks.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn openssl(folder: &Path, words: &str) -> String {
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    let done = command.args(words.split(' ')).current_dir(folder).output().expect("openssl starts");
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// An authority: `NAME.pem` and `NAME.key`.
pub fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!("req -x509 {EC} -nodes -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"),
    );
}

/// A certificate with a key of `kind`, signed by an authority, good for so many days from now and for `names`
/// (`DNS:a.test,IP:192.0.2.1`); its subject is its own name. `NAME.pem` and `NAME.key`, which nobody else may read.
pub fn certificate(folder: &Path, name: &str, authority: &str, kind: &str, names: &str, days: i32) {
    signed(folder, name, authority, kind, &format!("subjectAltName={names}"), days);
}

/// A certificate with any extensions, a line of an OpenSSL configuration each.
pub fn signed(folder: &Path, name: &str, authority: &str, kind: &str, extensions: &str, days: i32) {
    openssl(folder, &format!("req {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    std::fs::write(folder.join(format!("{name}.ext")), format!("{extensions}\n")).expect("the folder");
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days {days} \
             -extfile {name}.ext -out {name}.pem"
        ),
    );
}

/// An authority below another one, whose certificate is good for all of theirs.
pub fn below(folder: &Path, name: &str, authority: &str) {
    signed(folder, name, authority, EC, "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign", 2);
}

/// A certificate that nobody vouches for but itself.
pub fn self_signed(folder: &Path, name: &str) {
    openssl(folder, &format!("req {EC} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    std::fs::write(folder.join(format!("{name}.ext")), "basicConstraints=critical,CA:FALSE\n")
        .expect("the folder");
    let words =
        format!("x509 -req -in {name}.csr -signkey {name}.key -days 2 -extfile {name}.ext -out {name}.pem");
    openssl(folder, &words);
}

/// What an authority has revoked, as `AUTHORITY.crl`: these certificates, and whatever it has revoked before; the next
/// list is there in so many hours from now.
pub fn revoke(folder: &Path, authority: &str, names: &[&str], hours: i64) {
    let at = |file: &str| folder.join(format!("{authority}.{file}"));
    if !at("index").exists() {
        std::fs::write(at("index"), "").expect("the folder");
        let text = format!(
            "[ca]\ndefault_ca = here\n[here]\ndatabase = {authority}.index\ndefault_md = sha256\n\
             crlnumber = {authority}.number\ncrl_extensions = second\n[second]\nauthorityKeyIdentifier = keyid\n"
        );
        std::fs::write(at("number"), "01\n").expect("the folder");
        std::fs::write(at("cnf"), text).expect("the folder");
    }
    let ca = format!("ca -config {authority}.cnf -cert {authority}.pem -keyfile {authority}.key");
    for name in names {
        openssl(folder, &format!("{ca} -revoke {name}.pem"));
    }
    // Made two days ago, so that a list which is over by now had its time.
    let from = stamp(-48);
    let until = stamp(hours);
    openssl(
        folder,
        &format!("{ca} -gencrl -crl_lastupdate {from} -crl_nextupdate {until} -out {authority}.crl"),
    );
}

/// A moment so many hours from now, as OpenSSL takes it.
fn stamp(hours: i64) -> String {
    let moment = format!("{hours:+} hours");
    let done =
        Command::new("date").args(["-u", "-d", &moment, "+%Y%m%d%H%M%SZ"]).output().expect("date starts");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// The section of a certificate whose files have its name.
pub fn section(name: &str) -> String {
    format!("[[certificate]]\nname = \"{name}\"\nchain_file = \"{name}.pem\"\nkey_file = \"{name}.key\"\n")
}

/// The subject of the certificate that is shown at an address; empty: none is.
///
/// # Panics
/// If openssl is not there.
pub fn shown(at: SocketAddr) -> String {
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command.args(["s_client", "-connect", &at.to_string()]).stdin(Stdio::null());
    let done = command.output().expect("openssl starts");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
}
