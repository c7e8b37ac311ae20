//! Sources to component: cargo, then the component encoder, then the checks that every artefact passes.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};

/// How the guest is compiled. Everything that decides the bytes stands here, not in the workspace's profiles, so
/// that a change for another crate does not change the component. Overflow wraps as in what is shipped.
pub const CONFIG: &[&str] = &[
    "profile.component.inherits=\"release\"",
    "profile.component.opt-level=3",
    "profile.component.lto=\"fat\"",
    "profile.component.codegen-units=1",
    "profile.component.panic=\"abort\"",
    "profile.component.debug=false",
    "profile.component.strip=true",
    "profile.component.debug-assertions=false",
    "profile.component.overflow-checks=false",
    "profile.component.incremental=false",
];

/// The package of the guest.
pub const GUEST: &str = "forebay-core-component";

/// The component is fetched by simulators and browsers and compiled at 2 ms a kilobyte.
const BYTES_MAX: usize = 320 << 10;

/// Builds the component with the given `cargo-wasm` and checks it.
//= COMP-BUILD-01
pub fn component(cargo: &Path) -> Result<Vec<u8>> {
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--profile", "component", "--package", GUEST]);
    command.args(["--target-dir", "target/component"]);
    for config in CONFIG {
        command.args(["--config", config]);
    }
    let status = command.status().with_context(|| cargo.display().to_string())?;
    if !status.success() {
        bail!("cargo could not build {GUEST} ({status})");
    }
    let module = Path::new("target/component/wasm32-unknown-unknown/component")
        .join(GUEST.replace('-', "_"))
        .with_extension("wasm");
    let module = fs::read(&module).with_context(|| module.display().to_string())?;
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .context("the module does not keep the contract in wit/core")?;
    judge(&bytes)?;
    Ok(bytes)
}

/// Fails unless the component is pure and small.
//= COMP-BUILD-04
pub fn judge(component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).context("decoding")? else {
        bail!("the artefact is an encoded interface, not a component");
    };
    let Some(world) = resolve.worlds.get(world) else { bail!("the component has no world") };
    if let Some(key) = world.imports.keys().next() {
        bail!("the component imports {}; the core is pure", resolve.name_world_key(key));
    }
    if component.len() > BYTES_MAX {
        bail!("the component has {} bytes, {BYTES_MAX} are the most", component.len());
    }
    Ok(())
}

/// The compiler that `cargo-wasm` uses, as it names itself.
pub fn compiler(cargo: &Path) -> Result<String> {
    let out =
        Command::new(cargo).arg("--rustc-version").output().with_context(|| cargo.display().to_string())?;
    if !out.status.success() || out.stdout.is_empty() {
        bail!("{} names no compiler; run xtask/toolchain/wasm-toolchain.sh anew", cargo.display());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
