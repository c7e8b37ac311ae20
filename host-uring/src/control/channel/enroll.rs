//! The engine becomes a member, and its certificate is renewed in time.

use std::path::Path;

use anyhow::{Context, bail};
use forebay_wire::Token;
use forebay_wire::limits::{PATIENCE, TOKEN_BYTES_MAX};
use forebay_wire::proto::{Enrolled, Enrollment, Renewal};
use rcgen::{KeyPair, PublicKeyData};
use zeroize::Zeroizing;

use super::link::{Link, Trouble};
use super::{Calling, Settings, machine};
use crate::tls;

/// A certificate is renewed when it is not good for so much longer, seconds: a third of what it was made for.
const RENEW_S: u64 = 132 * 86_400;

/// For the token in a file, a certificate. While the Controller is not there it is waited for.
//= CHAN-ENROLL-01
pub async fn join(settings: &Settings, token: Option<&Path>) -> anyhow::Result<()> {
    let folder = &settings.folder;
    let Some(file) = token else {
        bail!(
            "--token-file: this engine is no member yet; a token is made by POST /api/se-token, and is good once: write it \
             into a file and name that"
        );
    };
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("--token-file: {shown} cannot be read"))?;
    if text.len() > TOKEN_BYTES_MAX {
        bail!("--token-file: {shown} has more than {TOKEN_BYTES_MAX} bytes");
    }
    let token = Token::read(&text).map_err(|problem| anyhow::anyhow!("--token-file: {shown}: {problem}"))?;
    let unwritten = || format!("--state: the folder of {} cannot be written", folder.authority().display());
    folder.write(&folder.authority(), pem(&token.authority).as_bytes()).with_context(unwritten)?;
    // A key that was made before is good: its owner may ask again for what it has missed.
    let pair = match std::fs::read_to_string(folder.own().1).ok().and_then(|pem| KeyPair::from_pem(&pem).ok())
    {
        Some(pair) => pair,
        None => {
            let pair = KeyPair::generate().context("no key can be made")?;
            let pem = Zeroizing::new(pair.serialize_pem());
            folder.write(&folder.own().1, pem.as_bytes()).with_context(unwritten)?;
            pair
        }
    };
    let asked = Enrollment {
        secret: token.secret.clone(),
        public_key: pair.der_bytes().to_vec(),
        name: settings.name.clone(),
        machine: Some(machine::look()),
    };
    let mut calls = Calling::new(settings);
    let enrolled = loop {
        match ask(settings, asked.clone()).await {
            Ok(enrolled) => break enrolled,
            Err(Trouble::Refused(why)) => bail!("the Controller at {} refuses: {why}", settings.called()),
            Err(trouble) => calls.wait(&trouble).await,
        }
    };
    keep(settings, &enrolled).with_context(unwritten)?;
    tracing::info!(
        event = "SE_ENROLLED",
        engine = enrolled.engine,
        controller = settings.called(),
        "this engine is a member"
    );
    Ok(())
}

async fn ask(settings: &Settings, asked: Enrollment) -> Result<Enrolled, Trouble> {
    let mut link = Link::call(settings, None).await?;
    let answer = tokio::time::timeout(PATIENCE, link.client.enroll(asked)).await;
    Ok(answer.map_err(|_| Trouble::Lost("the Controller does not answer".to_owned()))??.into_inner())
}

/// Writes what a member has; the certificate last, as it says that the rest is there.
fn keep(settings: &Settings, enrolled: &Enrolled) -> std::io::Result<()> {
    let folder = &settings.folder;
    let secret = Zeroizing::new(format!("{}\n", enrolled.group_secret));
    folder.write(&folder.secret(), secret.as_bytes())?;
    folder.write(&folder.authority(), enrolled.authority.as_bytes())?;
    folder.write(&folder.own().0, enrolled.certificate.as_bytes())
}

/// Renews the certificate if it is time to; `true`: it is another one now.
//= CHAN-ENROLL-03
pub async fn renew(settings: &Settings, link: &mut Link) -> Result<bool, Trouble> {
    let folder = &settings.folder;
    let is_due = std::fs::read(folder.own().0)
        .ok()
        .and_then(|pem| Some(tls::certificates(&pem).ok()?.first()?.not_after_s))
        .is_some_and(|until| u64::try_from(until).unwrap_or(0) < crate::health::unix_s() + RENEW_S);
    if !is_due {
        return Ok(false);
    }
    // Its key stays: the certificate and the key in two files always fit.
    let pair = std::fs::read_to_string(folder.own().1).ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
    let pair =
        pair.ok_or_else(|| Trouble::Refused("engine.key in the folder of --state is no key".to_owned()))?;
    let renewal = Renewal { public_key: pair.der_bytes().to_vec() };
    let answer = tokio::time::timeout(PATIENCE, link.client.renew(renewal)).await;
    let enrolled =
        answer.map_err(|_| Trouble::Lost("the Controller does not answer".to_owned()))??.into_inner();
    let kept = keep(settings, &enrolled);
    kept.map_err(|error| Trouble::Lost(format!("the new certificate cannot be written: {error}")))?;
    tracing::info!(event = "SE_RENEWED", engine = enrolled.engine, "this engine has a new certificate");
    Ok(true)
}

/// A certificate in PEM form.
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
