//! Certificates and keys as they lie in files.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::ocsp;
use super::secret::{Bytes, Misfit, PrivateKey};
use super::x509::{self, Facts};
use crate::control::undumped::leave_no_image;
use crate::limits::{CERTIFICATE_CHAIN_MAX, CERTIFICATE_FILE_BYTES_MAX};

/// Bits of a file's mode that let everybody read or write it.
const EVERYBODY: u32 = 0o006;

/// What tells a file from what it was: size, time of the last change, inode.
pub(super) type Signature = (u64, i64, i64, u64);

/// A file that is not what it was when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    path: PathBuf,
    now: Option<Signature>,
}

/// Files that are not what they were, as they are now.
pub(super) fn changed(files: &[(PathBuf, Option<Signature>)]) -> impl Iterator<Item = Changed> {
    files.iter().filter_map(|(path, then)| {
        let now = signature(path).ok();
        (now != *then).then(|| Changed { path: path.clone(), now })
    })
}

/// A certificate with its key, as read from files.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// What the certificate says of itself.
    pub facts: Facts,
    /// The key is no RSA key: signing with it costs little.
    pub is_cheap: bool,
    /// The same with what its authority says of it.
    pub stapled: Option<Stapled>,
}

/// A certificate with its key and what its authority says of it.
#[derive(Clone, Debug)]
pub(super) struct Stapled {
    /// Chain, key and answer.
    pub key: Arc<CertifiedKey>,
    /// Seconds since 1970 until which the answer is good.
    pub until: i64,
}

impl Loaded {
    /// What a client is shown now: with what the authority says as long as that is good.
    //= TLS-OCSP-01
    pub fn shown(&self) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if unix_s() <= stapled.until => &stapled.key,
            _ => &self.key,
        }
    }

    /// Says that it is over, if it is: clients that look will not have it.
    pub fn over(&self, chain_file: &str) -> Option<String> {
        let since = unix_s() - self.facts.not_after;
        let days = since / 86_400;
        (since > 0)
            .then(|| format!("chain_file {chain_file}: the certificate expired {days} days ago; renew it"))
    }

    /// The same, if that keeps it from being used: who shows another one so far goes on with that. Else it is used as it is,
    /// and said: whoever talks to this engine now may not look, or not mind, and nobody talks to one that shows none.
    //= TLS-CHECK-05
    pub fn unfit(
        &self,
        name: &str,
        chain_file: &str,
        before: Option<&[Arc<CertifiedKey>]>,
    ) -> Option<String> {
        let why = self.over(chain_file)?;
        let is_own = |other: &Arc<CertifiedKey>| other.cert.first() == self.key.cert.first();
        if before.is_some_and(|before| !before.iter().any(is_own)) {
            return Some(why);
        }
        tracing::warn!(event = "CERTIFICATE_EXPIRED", certificate = name, why, "it is shown all the same");
        None
    }

    /// Reads what the authority says of it, from a file. An answer that is too old is told, and shown to nobody.
    ///
    /// # Errors
    /// Why it is no answer about this certificate, with the file and the remedy.
    //= TLS-OCSP-02
    pub fn staple(&mut self, file: &str) -> Result<(), String> {
        let said = |why: &str| format!("ocsp_file {file}: {why}");
        let (answer, _) = read(file, CERTIFICATE_FILE_BYTES_MAX).map_err(|why| said(&why))?;
        let until = ocsp::read(&answer, &self.key.cert[0]).map_err(said)?.unwrap_or(i64::MAX);
        if until < unix_s() {
            tracing::warn!(
                event = "OCSP_TOO_OLD",
                file,
                "what an authority says of a certificate should have been fetched anew by now; clients are shown the certificate without"
            );
        }
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(answer.to_vec());
        self.stapled = Some(Stapled { key: Arc::new(key), until });
        Ok(())
    }
}

/// What tells `path` from what it was.
///
/// # Errors
/// It is not there, or no ordinary file.
pub(super) fn signature(path: &Path) -> io::Result<Signature> {
    let meta = path.metadata()?;
    if !meta.is_file() {
        // A pipe would be waited for until somebody writes.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    Ok((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

/// Reads a certificate with its key.
///
/// # Errors
/// Why it cannot be used, with the file and the remedy.
//= TLS-CHECK-02
pub(super) fn load(chain_file: &str, key_file: &str) -> Result<Loaded, Vec<String>> {
    match (chain(chain_file), key(key_file)) {
        (Ok((chain, facts)), Ok(key)) => {
            pair(chain, facts, key, (chain_file, key_file)).map_err(|why| vec![why])
        }
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

/// What a file holds that everybody may see, a certificate.
///
/// # Errors
/// Why it cannot be read, with the remedy.
pub fn read_public(file: &str) -> Result<Bytes, String> {
    read(file, CERTIFICATE_FILE_BYTES_MAX).map(|(bytes, _)| bytes)
}

/// What a file holds that nobody else may see; no image of the process is left from then on.
///
/// # Errors
/// Why it cannot be read or is not private, with the remedy.
//= TLS-KEY-01
pub fn read_private(file: &str) -> Result<Bytes, String> {
    leave_no_image();
    let (bytes, mode) = read(file, CERTIFICATE_FILE_BYTES_MAX)?;
    if mode & EVERYBODY != 0 {
        return Err(format!("everybody may read or write it (mode {mode:04o}); run chmod o= on it"));
    }
    Ok(bytes)
}

/// Says that a certificate is over.
pub fn examine_time(chain_file: &str, key_file: &str) -> Option<String> {
    load(chain_file, key_file).ok()?.over(chain_file)
}

/// What is wrong with a certificate, its key, or what its authority says of it: which setting names the file, and why,
/// with the remedy.
pub fn examine(chain_file: &str, key_file: &str, ocsp_file: Option<&str>) -> Vec<(&'static str, String)> {
    let loaded = load(chain_file, key_file).and_then(|mut loaded| match ocsp_file {
        Some(file) => loaded.staple(file).map_err(|why| vec![why]),
        None => Ok(()),
    });
    let keys = ["chain_file", "key_file", "ocsp_file"];
    let of = |why: String| Some((keys.into_iter().find(|key| why.starts_with(key))?, why));
    loaded.err().into_iter().flatten().filter_map(of).collect()
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    facts: Facts,
    key: PrivateKey,
    (chain_file, key_file): (&str, &str),
) -> Result<Loaded, String> {
    let key = key.certifies(chain).map_err(|why| match why {
        Misfit::Kind => format!(
            "key_file {key_file}: the key is of a kind that is not used; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
        ),
        Misfit::Other => format!(
            "key_file {key_file}: it is not the key of the certificate in {chain_file}; name the key that the certificate was made for"
        ),
        Misfit::Certificate(why) => format!("chain_file {chain_file}: its certificate cannot be used: {why}"),
    })?;
    let is_cheap = key.key.algorithm() != SignatureAlgorithm::RSA;
    Ok(Loaded { key: Arc::new(key), facts, is_cheap, stapled: None })
}

fn chain(file: &str) -> Result<(Vec<CertificateDer<'static>>, Facts), String> {
    let said = |why: String| format!("chain_file {file}: {why}");
    let (bytes, _) = read(file, CERTIFICATE_FILE_BYTES_MAX).map_err(&said)?;
    let mut chain = Vec::new();
    for (n, part) in CertificateDer::pem_slice_iter(&bytes).enumerate() {
        chain.push(part.map_err(|error| said(format!("part {} is no PEM: {error:?}", n + 1)))?);
    }
    if chain.is_empty() {
        return Err(said(
            "it holds no certificate; write one that begins with -----BEGIN CERTIFICATE-----".to_owned(),
        ));
    }
    if chain.len() > CERTIFICATE_CHAIN_MAX {
        let got = chain.len();
        return Err(said(format!(
            "it holds {got} certificates, at most {CERTIFICATE_CHAIN_MAX} are sent to clients; leave out those that do not lead from the first one to a root"
        )));
    }
    let facts = x509::facts(&chain[0]).ok_or_else(|| said("its first part is no certificate".to_owned()))?;
    let now = unix_s();
    if now < facts.not_before {
        return Err(said("the certificate is not valid yet; look at the machine's clock".to_owned()));
    }
    Ok((chain, facts))
}

//= TLS-KEY-01
//= TLS-KEY-03
fn key(file: &str) -> Result<PrivateKey, String> {
    leave_no_image();
    let said = |why: &str| format!("key_file {file}: {why}");
    let (bytes, mode) = read(file, CERTIFICATE_FILE_BYTES_MAX).map_err(|why| said(&why))?;
    if mode & EVERYBODY != 0 {
        return Err(said(&format!("everybody may read or write it (mode {mode:04o}); run chmod o= on it")));
    }
    PrivateKey::of(&bytes).ok_or_else(|| {
        said("it holds no private key without a password; write one that begins with -----BEGIN PRIVATE KEY-----")
    })
}

/// Seconds since 1970.
pub(super) fn unix_s() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// What a file of at most `bytes_max` holds, and its mode. It is wiped, as it may be a key.
pub(super) fn read(path: &str, bytes_max: u64) -> Result<(Bytes, u32), String> {
    let at = Path::new(path);
    let size = signature(at).map_err(|error| remedy(&error))?.0;
    let mut file = File::open(at).map_err(|error| remedy(&error))?;
    let mode = file.metadata().map_err(|error| error.to_string())?.mode() & 0o7777;
    // All of it at once: a buffer that grows would leave parts of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(bytes_max)).unwrap_or(0) + 1));
    let got = (&mut file).take(bytes_max + 1).read_to_end(&mut bytes);
    got.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok((bytes, mode))
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; write its path from the configuration's folder on".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the engine's user may not read it; give it to that user or to a group that it is in (chgrp, chmod 640)".to_owned()
        }
        _ => error.to_string(),
    }
}
