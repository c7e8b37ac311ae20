//! The manifest beside the prebuilt component: what it is, and from what it was built.

use std::{fmt::Write, fs, path::PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{ARTEFACT, PREBUILT};

/// What the manifest says.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// SHA-256 of the artefact, in hexadecimal.
    pub artefact: String,
    /// Its size.
    pub bytes: usize,
    /// SHA-256 of everything that it was built from.
    pub sources: String,
    /// `rustc --version` of the compiler that built it.
    pub compiler: String,
}

/// Where the manifest is.
pub fn path() -> PathBuf {
    PathBuf::from(PREBUILT).join("MANIFEST")
}

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Manifest {
    /// The manifest of an artefact that was just built.
    pub fn of(artefact: &[u8], sources: String, compiler: String) -> Self {
        Self { artefact: sha256(artefact), bytes: artefact.len(), sources, compiler }
    }

    /// Reads the one that is kept.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(path()).with_context(|| path().display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix("= "))
                .map(str::to_owned)
                .with_context(|| format!("MANIFEST has no line `{name} = …`; run `cargo xtask wasm`"))
        };
        Ok(Self {
            artefact: field("sha256")?,
            bytes: field("bytes")?.parse().context("MANIFEST: bytes")?,
            sources: field("sources")?,
            compiler: field("compiler")?,
        })
    }

    /// The manifest as it is kept.
    pub fn text(&self) -> String {
        let Self { artefact, bytes, sources, compiler } = self;
        format!(
            "# Written by `cargo xtask wasm`, checked by `cargo xtask test`.\n\
             artefact = {ARTEFACT}\nsha256 = {artefact}\nbytes = {bytes}\nsources = {sources}\n\
             compiler = {compiler}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let manifest = Manifest::of(b"abc", "5".repeat(64), "rustc 1.0.0".to_owned());
        assert_eq!(manifest.artefact, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Manifest::parse(&manifest.text()).expect("it was just written"), manifest);
        assert!(Manifest::parse("sha256 = 1\n").is_err());
    }
}
