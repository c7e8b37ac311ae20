//! A key, and a certificate that it signs itself: to try HTTPS out, where nobody has given one yet.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use zeroize::Zeroizing;

use super::{Failure, exit};

/// How long it is good: browsers take no longer ones.
const GOOD: Duration = Duration::from_secs(397 * 86_400);
/// How long before now it begins: other clocks may be behind.
const EARLIER: Duration = Duration::from_secs(3_600);

/// The key and the certificate, both in PEM. `names` are host names and addresses, at least one.
fn make(names: &[String]) -> Result<(Zeroizing<String>, String), Error> {
    let pair = KeyPair::generate()?;
    let mut told = CertificateParams::new(names)?;
    told.distinguished_name = DistinguishedName::new();
    told.distinguished_name.push(DnType::CommonName, names.first().map_or("", |name| name));
    told.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    told.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let begin = SystemTime::now() - EARLIER;
    (told.not_before, told.not_after) = (begin.into(), (begin + GOOD).into());
    let certificate = told.self_signed(&pair)?;
    Ok((Zeroizing::new(pair.serialize_pem()), certificate.pem()))
}

/// Makes both files; the key's can be read by its owner only.
//= TLS-SELF-01
pub fn write(names: &[String], chain: &Path, key: &Path) -> Result<(), Failure> {
    let unfit = |name: &&String| {
        let is_text = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-*:_".contains(&byte));
        name.is_empty() || name.len() > 253 || !is_text
    };
    if let Some(name) = names.iter().find(unfit) {
        let fix = "write a host name, such as www.example.com, or an IP address";
        return Err(Failure::new(
            exit::USAGE,
            format!("--name {name}: neither a host name nor an address"),
            fix,
        ));
    }
    let made = make(names).map_err(|error| {
        Failure::new(
            exit::FAILED,
            format!("no certificate could be made: {error}"),
            "try again, or with other names",
        )
    })?;
    new_files(&[(key, made.0.as_str(), 0o600), (chain, made.1.as_str(), 0o644)])
}

/// Writes all of them (path, text, mode) or none; replaces no file.
//= PKI-KEEP-01
pub(super) fn new_files(files: &[(&Path, &str, u32)]) -> Result<(), Failure> {
    for (n, (path, text, mode)) in files.iter().enumerate() {
        let new = OpenOptions::new().write(true).create_new(true).mode(*mode).open(path);
        let is_made = new.is_ok();
        let written = new.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        if let Err(error) = written {
            // Half of a pair is of no use, and would be in the way of the next attempt.
            for (made, ..) in &files[..n + usize::from(is_made)] {
                let _ = std::fs::remove_file(made);
            }
            let fix = "name files that are not there yet, in a folder that you may write to";
            return Err(Failure::new(exit::FAILED, format!("{}: {error}", path.display()), fix));
        }
    }
    Ok(())
}
