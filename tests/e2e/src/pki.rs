//! Certificates for tests, made by OpenSSL.

use std::path::Path;
use std::process::Command;

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
    openssl(folder, &format!("req {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    std::fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName={names}\n"))
        .expect("the folder");
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days {days} \
             -extfile {name}.ext -out {name}.pem"
        ),
    );
}

/// The section of a certificate whose files have its name.
pub fn section(name: &str) -> String {
    format!("[[certificate]]\nname = \"{name}\"\nchain_file = \"{name}.pem\"\nkey_file = \"{name}.key\"\n")
}
