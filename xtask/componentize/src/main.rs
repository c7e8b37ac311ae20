//! Builds the core component and checks that the prebuilt one is current.
//!
//! `forebay-componentize build CARGO_WASM` rebuilds `wasm/prebuilt/forebay-core.wasm` and its manifest;
//! `forebay-componentize check CARGO_WASM` fails if they are not what the sources say. Started by
//! `cargo xtask wasm`, from the root of the workspace.

mod build;
mod manifest;
mod sources;

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use manifest::Manifest;

/// Where the artefact and its manifest are kept.
const PREBUILT: &str = "wasm/prebuilt";

/// Where the compiler is pinned.
const PIN: &str = "rust-toolchain.toml";

/// The artefact's name in [`PREBUILT`].
const ARTEFACT: &str = "forebay-core.wasm";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["build", cargo] => rebuild(Path::new(cargo)),
        ["check", cargo] => check(Path::new(cargo)),
        _ => {
            eprintln!("usage: forebay-componentize build|check CARGO_WASM");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("componentize: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn rebuild(cargo: &Path) -> Result<()> {
    let bytes = build::component(cargo)?;
    let manifest = Manifest::of(&bytes, sources::digest(cargo)?, build::compiler(cargo)?);
    fs::create_dir_all(PREBUILT).context(PREBUILT)?;
    fs::write(Path::new(PREBUILT).join(ARTEFACT), &bytes).context(ARTEFACT)?;
    fs::write(manifest::path(), manifest.text()).context("MANIFEST")?;
    println!("componentize: {PREBUILT}/{ARTEFACT}, {} bytes, by {}", bytes.len(), manifest.compiler);
    Ok(())
}

fn check(cargo: &Path) -> Result<()> {
    let kept = Manifest::read()?;
    let artefact = Path::new(PREBUILT).join(ARTEFACT);
    let bytes = fs::read(&artefact).with_context(|| artefact.display().to_string())?;
    build::judge(&bytes)?;
    pinned(&kept, &fs::read_to_string(PIN).context(PIN)?)?;
    current(&kept, &bytes, &sources::digest(cargo)?)?;
    let compiler = build::compiler(cargo)?;
    if same(&kept, &bytes, &compiler, &build::component(cargo)?)? {
        println!("componentize: rebuilt byte for byte, {} bytes", bytes.len());
    } else {
        println!("componentize: bytes not compared: built by {}, this is {compiler}", kept.compiler);
    }
    Ok(())
}

/// Fails unless the pinned compiler built the artefact: only its bytes can be compared in every clone.
//= COMP-BUILD-03
fn pinned(kept: &Manifest, pin: &str) -> Result<()> {
    let channel = pin.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let channel = channel.with_context(|| format!("{PIN} names no channel"))?;
    if !kept.compiler.starts_with(&format!("rustc {channel} ")) {
        bail!(
            "{PREBUILT}/{ARTEFACT} was built by {}, not by the pinned {channel}; run `cargo xtask wasm` where \
             rustup can add the target",
            kept.compiler
        );
    }
    Ok(())
}

/// Fails unless the artefact is what the manifest says, and was built from these sources.
//= COMP-BUILD-02
fn current(kept: &Manifest, artefact: &[u8], sources: &str) -> Result<()> {
    if manifest::sha256(artefact) != kept.artefact {
        bail!("{PREBUILT}/{ARTEFACT} is not what its MANIFEST says; run `cargo xtask wasm`");
    }
    if sources != kept.sources {
        bail!("the sources of the core component changed since it was built; run `cargo xtask wasm`");
    }
    Ok(())
}

/// Returns whether the rebuilt component could be compared; fails if it differs.
//= COMP-BUILD-03
fn same(kept: &Manifest, artefact: &[u8], compiler: &str, rebuilt: &[u8]) -> Result<bool> {
    if compiler != kept.compiler {
        return Ok(false);
    }
    if rebuilt != artefact {
        bail!(
            "the rebuilt component differs from the prebuilt one ({} against {}); run `cargo xtask wasm`, and if \
             it differs again, look for a path or a time in the build",
            manifest::sha256(rebuilt),
            kept.artefact
        );
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (Manifest, &'static [u8]) {
        (Manifest::of(b"component", "sources".to_owned(), "rustc 1".to_owned()), b"component")
    }

    //= test COMP-BUILD-02
    #[test]
    fn changed_sources_or_a_changed_artefact_are_stale() {
        let (kept, artefact) = kept();
        assert!(current(&kept, artefact, "sources").is_ok());
        assert!(current(&kept, artefact, "other sources").is_err());
        assert!(current(&kept, b"another component", "sources").is_err());
    }

    //= test COMP-BUILD-03
    #[test]
    fn a_rebuild_by_the_same_compiler_must_be_the_same_bytes() {
        let (kept, artefact) = kept();
        assert!(matches!(same(&kept, artefact, "rustc 1", artefact), Ok(true)));
        assert!(same(&kept, artefact, "rustc 1", b"another").is_err());
        assert!(matches!(same(&kept, artefact, "rustc 2", b"another"), Ok(false)));
    }

    //= test COMP-BUILD-03
    #[test]
    fn the_kept_component_must_come_from_the_pinned_compiler() {
        let built_by = |compiler: &str| Manifest::of(b"component", String::new(), compiler.to_owned());
        let pin = "[toolchain]\nchannel = \"1.95.0\"\n";
        assert!(pinned(&built_by("rustc 1.95.0 (59807616e 2026-04-14)"), pin).is_ok());
        assert!(pinned(&built_by("rustc 1.96.0 (ac68faa20 2026-05-25)"), pin).is_err());
        assert!(pinned(&built_by("rustc 1.95.0 (59807616e 2026-04-14)"), "[toolchain]\n").is_err());
    }

    //= test COMP-BUILD-01
    //= test COMP-BUILD-04
    #[test]
    fn the_prebuilt_component_is_pure_small_and_names_no_machine() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PREBUILT);
        let bytes = fs::read(folder.join(ARTEFACT)).expect("it is checked in");
        build::judge(&bytes).expect("pure and small");
        let text = String::from_utf8_lossy(&bytes);
        // The user's own folder, and what any cargo and any workspace leave in a build without remapping.
        let home = env::var("HOME").unwrap_or_default();
        for path in [home.as_str(), "registry/src", "/target/", env!("CARGO_MANIFEST_DIR")] {
            assert!(path.len() < 2 || !text.contains(path), "it holds the path {path}");
        }
    }
}
