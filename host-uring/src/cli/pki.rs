//! An authority of one's own, and certificates by which engines that share their tables know each other.

use std::fs::DirBuilder;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_host_uring::tls::{self, Certificate};
use forebay_snapshot::{group_problem, member_name, member_of};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::args::{Output, Pki};
use super::certificate::new_files;
use super::{Failure, exit};

/// The certificate of the authority, in its folder.
const CA_FILE: &str = "ca.pem";
/// Its key.
const CA_KEY_FILE: &str = "ca.key";
/// How long before now a certificate begins: other clocks may be behind.
const EARLIER: Duration = Duration::from_secs(3_600);
/// Bytes of a group's secret: as many as the strongest key that is made of it.
const SECRET_BYTES: usize = 32;
/// The largest file that is read, in bytes: a thousand certificates.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Does one thing with certificates of engines.
pub fn run(what: Pki) -> Result<(), Failure> {
    match what {
        Pki::Init { folder, name, days } => init(&folder, &name, days),
        Pki::Issue { folder, group, slot, address, days } => issue(&folder, &group, slot, &address, days),
        Pki::Show { files, output } => {
            let shown = files.iter().map(|file| show(file)).collect::<Result<Vec<_>, _>>()?;
            let text = match output {
                Output::Json => format!("{}\n", Value::from(shown.concat())),
                Output::Table => shown.concat().iter().map(told).collect(),
            };
            match std::io::stdout().write_all(text.as_bytes()) {
                // Whoever reads has read enough (`| head`).
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                other => Ok(other?),
            }
        }
    }
}

fn unmade(error: rcgen::Error) -> Failure {
    Failure::new(exit::FAILED, format!("no certificate could be made: {error}"), "try again")
}

/// What an authority says of itself: the issuer of all that it signs.
fn authority(name: &str) -> CertificateParams {
    let mut told = CertificateParams::default();
    told.distinguished_name = DistinguishedName::new();
    told.distinguished_name.push(DnType::CommonName, name);
    // It signs certificates of engines, never those of other authorities.
    told.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    told.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    told
}

/// Makes an authority.
//= PKI-INIT-01
fn init(folder: &Path, name: &str, days: u32) -> Result<(), Failure> {
    let is_text = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if !is_text || name.chars().count() > 64 {
        let fix = "give it 1 to 64 characters, such as \"Engines of the shop\"";
        return Err(Failure::new(exit::USAGE, format!("--name {name:?}: no name of an authority"), fix));
    }
    let pair = KeyPair::generate().map_err(unmade)?;
    let mut told = authority(name);
    let begin = SystemTime::now() - EARLIER;
    (told.not_before, told.not_after) = (begin.into(), (begin + good(days)).into());
    let certificate = told.self_signed(&pair).map_err(unmade)?.pem();
    let key = Zeroizing::new(pair.serialize_pem());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::new(exit::FAILED, format!("{}: {error}", folder.display()), "name a folder of your own")
    })?;
    let (ca, ca_key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    new_files(&[(&ca_key, &key, 0o600), (&ca, &certificate, 0o644)])?;
    println!("{}: the authority, for every engine", ca.display());
    println!("{}: its key; whoever has it can be an engine: no engine needs it", ca_key.display());
    Ok(())
}

/// From the moment that is an hour ago to so many days from now.
fn good(days: u32) -> Duration {
    EARLIER + Duration::from_secs(u64::from(days) * 86_400)
}

/// Makes an engine's certificate.
//= PKI-ISSUE-01
fn issue(folder: &Path, group: &str, slot: u8, addresses: &[IpAddr], days: u32) -> Result<(), Failure> {
    if let Some(why) = group_problem(group) {
        let fix = "write it like web-1, as in objsync.group of the engine's configuration";
        return Err(Failure::new(exit::USAGE, format!("--group {group:?}: {why}"), fix));
    }
    let (ca_file, ca_key_file) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    let ca = one(read(&ca_file)?.as_bytes(), &ca_file)?;
    let not_ours = |path: &Path, why: &str| {
        let fix = "make an authority in a folder of its own: forebay-se pki init --folder FOLDER";
        Failure::new(exit::FAILED, format!("{}: {why}", path.display()), fix)
    };
    // Issued certificates name their issuer letter by letter, so it must be one whose whole name is known.
    let name = ca.common_name.filter(|_| ca.is_plainly_named && ca.is_authority);
    let name = name.ok_or_else(|| not_ours(&ca_file, "no authority that was made here"))?;
    let ca_key = KeyPair::from_pem(&read(&ca_key_file)?)
        .map_err(|_| not_ours(&ca_key_file, "no private key that can be used"))?;
    if ca_key.public_key_raw() != ca.public_key {
        return Err(not_ours(&ca_key_file, "it is the key of another authority than ca.pem beside it"));
    }
    let until = UNIX_EPOCH + Duration::from_secs(u64::try_from(ca.not_after_s).unwrap_or(0));
    let begin = SystemTime::now() - EARLIER;
    if until <= SystemTime::now() {
        return Err(not_ours(&ca_file, "this authority is over"));
    }

    let is_key_called = ca.key_id.is_some();
    let mut issuer = authority(&name);
    issuer.key_identifier_method = KeyIdMethod::PreSpecified(ca.key_id.unwrap_or_default());
    let issuer = Issuer::new(issuer, &ca_key);
    let member = member_name(group, slot);
    let names: Vec<String> =
        std::iter::once(member.clone()).chain(addresses.iter().map(IpAddr::to_string)).collect();
    let mut told = CertificateParams::new(names).map_err(unmade)?;
    told.distinguished_name = DistinguishedName::new();
    // What people see; a common name has no more than 64 characters, so it cannot be the whole name.
    told.distinguished_name.push(DnType::CommonName, format!("se-{slot}.{group}"));
    told.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Each engine calls some of its peers and is called by the others.
    told.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    told.use_authority_key_identifier_extension = is_key_called;
    (told.not_before, told.not_after) = (begin.into(), (begin + good(days)).min(until).into());
    let pair = KeyPair::generate().map_err(unmade)?;
    let certificate = told.signed_by(&pair, &issuer).map_err(unmade)?.pem();
    let key = Zeroizing::new(pair.serialize_pem());

    let (chain_file, key_file) =
        (folder.join(format!("{group}-se-{slot}.pem")), folder.join(format!("{group}-se-{slot}.key")));
    let secret_file = folder.join(format!("{group}.secret"));
    new_files(&[(&key_file, &key, 0o600), (&chain_file, &certificate, 0o644)])?;
    // All engines of a group have one secret, so the first certificate of the group brings it.
    if !secret_file.exists() {
        new_files(&[(&secret_file, &secret()?, 0o600)])?;
    }
    println!("{}: the certificate of {member}", chain_file.display());
    println!("{}: its key, for this engine alone", key_file.display());
    println!("{}: the secret of group {group}, for each of its engines", secret_file.display());
    Ok(())
}

/// A group's secret as text, a line.
//= PKI-SECRET-01
fn secret() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut())
        .map_err(|_| Failure::new(exit::FAILED, "the system gives no random numbers", "try again"))?;
    let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_BYTES + 1));
    for byte in *bytes {
        text.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or('0')));
    }
    text.push('\n');
    Ok(text)
}

fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    use std::io::{ErrorKind, Read};
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        let (code, fix) = match error.kind() {
            ErrorKind::NotFound => (exit::NOT_FOUND, "an authority is made by forebay-se pki init"),
            ErrorKind::PermissionDenied => (exit::NO_PERMISSION, "run it as the owner of the file"),
            _ => (exit::FAILED, "name a PEM file"),
        };
        Failure::new(code, format!("{}: {error}", path.display()), fix)
    })?;
    Ok(text)
}

/// The first certificate of a text.
fn one(pem: &[u8], path: &Path) -> Result<Certificate, Failure> {
    all(pem, path).map(|mut all| all.swap_remove(0))
}

fn all(pem: &[u8], path: &Path) -> Result<Vec<Certificate>, Failure> {
    tls::certificates(pem).map_err(|why| {
        Failure::new(exit::FAILED, format!("{}: {why}", path.display()), "name a PEM file with certificates")
    })
}

/// What the certificates of a file say.
//= PKI-SHOW-01
fn show(file: &Path) -> Result<Vec<Value>, Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let found = all(read(file)?.as_bytes(), file)?;
    let of = |certificate: &Certificate| {
        let member = certificate.hosts.iter().find_map(|name| member_of(name));
        let who = &certificate.identity;
        json!({
            "file": file.display().to_string(),
            "subject": &*who.subject,
            "issuer": &*who.issuer,
            "is_authority": certificate.is_authority,
            "group": member.map(|(group, _)| group),
            "slot": member.map(|(_, slot)| slot),
            "names": certificate.hosts,
            "addresses": certificate.addresses,
            "serial": &*who.serial,
            "sha256": &*who.fingerprint,
            "not_before": &*who.not_before,
            "not_after": &*who.not_after,
            "seconds_left": certificate.not_after_s - now_s,
        })
    };
    Ok(found.iter().map(of).collect())
}

/// One of them for people.
fn told(certificate: &Value) -> String {
    let text = |key: &str| certificate[key].as_str().unwrap_or("");
    let list = |key: &str| {
        let all = certificate[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(" ")
    };
    let whose = match (certificate["group"].as_str(), certificate["slot"].as_u64()) {
        (Some(group), Some(slot)) => format!("engine {slot} of group {group}"),
        _ if certificate["is_authority"] == true => "an authority".to_owned(),
        _ => "neither an engine nor an authority".to_owned(),
    };
    let left_s = certificate["seconds_left"].as_i64().unwrap_or(0);
    let left = if left_s <= 0 { "OVER".to_owned() } else { format!("{} days left", left_s / 86_400) };
    let mut lines = format!("{}: {whose}\n", text("file"));
    let rows = [
        ("subject", text("subject").to_owned()),
        ("issuer", text("issuer").to_owned()),
        ("names", list("names")),
        ("addresses", list("addresses")),
        ("from", text("not_before").to_owned()),
        ("until", format!("{} ({left})", text("not_after"))),
        ("serial", text("serial").to_owned()),
        ("sha256", text("sha256").to_owned()),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        lines.push_str(&format!("  {name:<10}{value}\n"));
    }
    lines
}
