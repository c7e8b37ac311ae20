//! By what Controllers know one another, and their members of etcd: certificates of an authority of their own.
//!
//! Its key is derived from `store.key`, which all nodes share and nobody else has: whoever can open the secrets of the
//! store is a Controller. Nothing of it stands in etcd.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::files::write_private;
use crate::sealed::Seal;

/// The name of every Controller in its certificate, whatever its address.
pub const NAME: &str = "controllers.forebay.internal";
/// Certificates are good from so long ago on: clocks differ.
const EARLIER: Duration = Duration::from_secs(3600);
/// Certificates are made anew at each start; a process that runs longer than this is none we know of.
const LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// This node as others know it.
pub struct Identity {
    authority: CertificateDer<'static>,
    authority_pem: String,
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// Files in PEM form: the authority's certificate, our own, its key.
#[derive(Clone)]
pub struct Files {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// Our own.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Identity {
    /// That of the node at this address.
    ///
    /// # Errors
    /// The system gives no random numbers.
    //= CLUSTER-TLS-01
    pub fn new(seal: &Seal, address: IpAddr) -> Result<Self, String> {
        let told = |error: rcgen::Error| error.to_string();
        let seed = seal.derived("authority of the Controllers 1");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| format!("no key of the Controllers: {error}"))?
            .to_pkcs8()
            .map_err(|error| format!("no key of the Controllers: {error}"))?;
        let pair = KeyPair::try_from(pair.as_ref()).map_err(told)?;
        let (from, to) = (SystemTime::now() - EARLIER, SystemTime::now() + LIFE);
        let mut authority = CertificateParams::default();
        authority.distinguished_name = named("Forebay Controllers");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (authority.not_before, authority.not_after) = (from.into(), to.into());
        let made = authority.self_signed(&pair).map_err(told)?;
        let issuer = Issuer::new(authority, pair);
        // A member calls itself by way of loopback.
        let names =
            vec![NAME.to_owned(), address.to_string(), "127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut node = CertificateParams::new(names).map_err(told)?;
        node.distinguished_name = named("controller");
        node.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        node.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        node.use_authority_key_identifier_extension = true;
        (node.not_before, node.not_after) = (from.into(), to.into());
        let key = KeyPair::generate().map_err(told)?;
        let own = node.signed_by(&key, &issuer).map_err(told)?;
        Ok(Identity {
            authority: made.der().clone(),
            authority_pem: made.pem(),
            certificate: own.der().clone(),
            pem: own.pem(),
            key,
        })
    }

    /// Writes it for programs that read files, in the place of what an earlier start wrote.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, folder: &Path) -> Result<Files, String> {
        let files = Files {
            authority: folder.join("controllers.crt"),
            certificate: folder.join("node.crt"),
            key: folder.join("node.key"),
        };
        let parts = [
            (&files.authority, self.authority_pem.as_str()),
            (&files.certificate, self.pem.as_str()),
            (&files.key, &self.key.serialize_pem()),
        ];
        for (file, content) in parts {
            let _ = std::fs::remove_file(file);
            write_private(file, content.as_bytes())
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(files)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).map_err(|error| error.to_string())?;
        Ok(Arc::new(roots))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        PrivateKeyDer::try_from(self.key.serialize_der()).map_err(str::to_owned)
    }

    /// For calls by other Controllers: nobody else gets through the handshake.
    ///
    /// # Errors
    /// The library does not take it.
    pub fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let judge = WebPkiClientVerifier::builder_with_provider(self.roots()?, Arc::clone(&provider));
        let judge = judge.build().map_err(|error| error.to_string())?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(judge)
            .with_single_cert(vec![self.certificate.clone()], self.key()?)
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// For calls to another Controller.
    ///
    /// # Errors
    /// The library does not take it.
    pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key()?)
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::store::suite::Folder;

    /// A handshake within memory, and a byte each way.
    fn meet(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<(), rustls::Error> {
        let name = NAME.try_into().expect("a name");
        let mut client = ClientConnection::new(client, name)?;
        let mut server = ServerConnection::new(server)?;
        for _ in 0..10 {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).expect("memory");
            server.read_tls(&mut there.as_slice()).expect("memory");
            server.process_new_packets()?;
            server.write_tls(&mut back).expect("memory");
            client.read_tls(&mut back.as_slice()).expect("memory");
            client.process_new_packets()?;
        }
        client.writer().write_all(b"x").expect("memory");
        let mut there = Vec::new();
        client.write_tls(&mut there).expect("memory");
        server.read_tls(&mut there.as_slice()).expect("memory");
        server.process_new_packets()?;
        let mut said = [0];
        server.reader().read_exact(&mut said).expect("what was said");
        Ok(())
    }

    //= test CLUSTER-TLS-01
    #[test]
    fn who_has_the_key_of_the_store_is_a_controller_and_nobody_else_is() {
        let folder = Folder::new("identity");
        let seal = |name: &str| Seal::open(&folder.0.join(name)).expect("a key");
        let node = |name: &str, at: &str| Identity::new(&seal(name), at.parse().expect("one")).expect("made");
        let (one, other) = (node("key", "192.0.2.1"), node("key", "192.0.2.2"));
        let foreign = node("other", "192.0.2.1");
        let (client, server) =
            (|of: &Identity| of.client().expect("one"), |of: &Identity| of.server().expect("one"));
        meet(client(&one), server(&other)).expect("both have the key");
        meet(client(&foreign), server(&one)).expect_err("a client without it, which trusts others");
        // Clients that take this server for theirs, so that it is the server that has to refuse them.
        let trusting = |certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(one.roots().expect("its authority"));
            let mut config = match certificate {
                Some((shown, key)) => config.with_client_auth_cert(vec![shown], key).expect("they fit"),
                None => config.with_no_client_auth(),
            };
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        };
        let theirs = |of: &Identity| (of.certificate.clone(), of.key().expect("a key"));
        meet(trusting(Some(theirs(&other))), server(&one)).expect("who has the key");
        meet(trusting(None), server(&one)).expect_err("who shows nothing");
        meet(trusting(Some(theirs(&foreign))), server(&one)).expect_err("who shows a foreign certificate");
        let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).expect("made");
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        meet(trusting(Some((own.cert.der().clone(), key))), server(&one)).expect_err("who signs for itself");
        meet(client(&one), server(&foreign)).expect_err("a server without it");
        let files = one.write(&folder.0).expect("written");
        let files = other.write(&folder.0).map(|_| files).expect("written over");
        forebay_etcd::Tls::of_files(&files.authority, &files.certificate, &files.key)
            .expect("they belong together");
    }
}
