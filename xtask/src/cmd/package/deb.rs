//! One package: its files in a folder, as dpkg-deb packs them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::contents::Pages;
use crate::tool::{process, tree};

/// The files of a package before they are packed; the folder goes with this value.
pub struct Staged {
    folder: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Staged {
    /// In a folder that is empty.
    pub fn new(folder: PathBuf) -> Result<Self> {
        let _ = fs::remove_dir_all(&folder);
        let staged = Staged { folder };
        staged.place("DEBIAN/control")?;
        Ok(staged)
    }

    /// The path of a file, whose folders are made.
    fn place(&self, at: &str) -> Result<PathBuf> {
        let file = self.folder.join(at);
        let above = file.parent().context("a path with a folder")?;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
        // The mode of a new folder is narrowed by whoever calls.
        for folder in above.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        Ok(file)
    }

    /// A file with this mode.
    pub fn file(&mut self, at: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let file = self.place(at)?;
        let mut to = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&file)?;
        to.write_all(bytes)?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(mode))?)
    }

    /// The program, without what only a debugger reads.
    pub fn program(&mut self, from: &Path, name: &str) -> Result<()> {
        let file = self.place(&format!("usr/bin/{name}"))?;
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "--remove-section=.comment", "-o"]).arg(&file).arg(from);
        process::run(&mut strip)?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
    }

    /// A file for dpkg itself.
    pub fn control(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.file(&format!("DEBIAN/{name}"), mode, bytes)
    }

    //= PACK-SETTINGS-01
    /// Names the files that are their owner's to change: an upgrade asks before it touches them.
    pub fn conffiles(&mut self, files: &[&str]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.control("conffiles", 0o644, (files.join("\n") + "\n").as_bytes())
    }

    /// A document of the package.
    pub fn document(&mut self, package: &str, name: &str, bytes: &[u8], is_packed: bool) -> Result<()> {
        let at = format!("usr/share/doc/{package}/{name}");
        match is_packed {
            true => self.file(&format!("{at}.gz"), 0o644, &packed(bytes)?),
            false => self.file(&at, 0o644, bytes),
        }
    }

    /// The manual pages that the program writes.
    pub fn pages(&mut self, program: &Path, pages: Pages) -> Result<()> {
        let name = program.file_name().and_then(|name| name.to_str()).context("a program's name")?;
        let mut all = Vec::new();
        match pages {
            Pages::One => {
                let text = process::output(Command::new(program).arg("man"))?;
                all.push((format!("{name}.1"), text.into_bytes()));
            }
            Pages::Each => {
                let folder = self.folder.join("DEBIAN/pages");
                fs::create_dir(&folder)?;
                process::output(Command::new(program).args(["man", "--folder"]).arg(&folder))?;
                for entry in fs::read_dir(&folder)? {
                    let entry = entry?;
                    let file = entry.file_name().into_string().ok().context("a page's name")?;
                    all.push((file, fs::read(entry.path())?));
                }
                fs::remove_dir_all(folder)?;
            }
        }
        for (file, text) in all {
            if text.is_empty() {
                bail!("the manual page {file} is empty");
            }
            self.file(&format!("usr/share/man/man1/{file}.gz"), 0o644, &packed(&text)?)?;
        }
        Ok(())
    }

    /// Writes what the package says of itself, and the sums of its files.
    pub fn describe(&mut self, fields: &str) -> Result<()> {
        let mut files = Vec::new();
        walk(&self.folder, &mut files)?;
        files.retain(|file| !file.starts_with(self.folder.join("DEBIAN")));
        files.sort();
        let mut bytes = 0;
        let mut sums = Command::new("md5sum");
        sums.current_dir(&self.folder).arg("--");
        for file in &files {
            bytes += fs::metadata(file)?.len();
            sums.arg(file.strip_prefix(&self.folder)?);
        }
        let sums = process::output(&mut sums)?;
        self.control("md5sums", 0o644, sums.as_bytes())?;
        let (front, description) = fields.split_once("Description:").context("a description")?;
        let text = format!("{front}Installed-Size: {}\nDescription:{description}", bytes.div_ceil(1024));
        self.control("control", 0o644, text.as_bytes())
    }

    /// Packs it.
    pub fn pack(self, file: &Path, is_plain: bool) -> Result<()> {
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", if is_plain { "-Znone" } else { "-Zxz" }, "--build"]);
        command.arg(&self.folder).arg(file).env("SOURCE_DATE_EPOCH", epoch()?).stdout(Stdio::null());
        process::run(&mut command)
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

/// As gzip packs it, without name and time: the same text is the same bytes.
fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip").arg("-9n").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut to = gzip.stdin.take().context("a pipe")?;
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || to.write_all(&bytes));
    let out = gzip.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("gzip was not written to"))??;
    if !out.status.success() {
        bail!("gzip failed: {}", out.status);
    }
    Ok(out.stdout)
}

/// The moment of the commit that is packed, seconds since 1970; what stands in `SOURCE_DATE_EPOCH` goes before.
fn epoch() -> Result<String> {
    if let Ok(said) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(said);
    }
    let mut git = Command::new("git");
    let said = process::output(git.args(["log", "-1", "--format=%ct"]).current_dir(tree::root()))?;
    Ok(said.trim().to_owned())
}

/// That moment as a changelog has it.
pub fn day() -> Result<String> {
    let mut date = Command::new("date");
    let said = process::output(date.args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", epoch()?)))?;
    Ok(said.trim().to_owned())
}

/// The packages of the libraries that a program is linked with, as far as it is linked with those that every program of ours
/// is; another one is an error, as nobody would install it.
pub fn libraries(program: &Path) -> Result<String> {
    let mut read = Command::new("readelf");
    let said = process::output(read.args(["--wide", "--dynamic", "--version-info"]).arg(program))?;
    let (mut glibc, mut gcc) = ((0, 0), false);
    for line in said.lines().filter(|line| line.contains("(NEEDED)")) {
        let library = line.rsplit('[').next().unwrap_or_default().trim_end_matches(']');
        match library {
            "libgcc_s.so.1" => gcc = true,
            "libc.so.6"
            | "libm.so.6"
            | "libpthread.so.0"
            | "libdl.so.2"
            | "librt.so.1"
            | "ld-linux-x86-64.so.2"
            | "ld-linux-aarch64.so.1" => {}
            other => bail!(
                "it is linked with {other}, and no package is named for that in xtask/src/cmd/package/deb.rs"
            ),
        }
    }
    for (_, rest) in said.match_indices("GLIBC_").map(|(at, word)| (at, &said[at + word.len()..])) {
        let number: String = rest.chars().take_while(|char| char.is_ascii_digit() || *char == '.').collect();
        let mut parts = number.split('.').filter_map(|part| part.parse::<u32>().ok());
        if let (Some(major), Some(minor)) = (parts.next(), parts.next()) {
            glibc = glibc.max((major, minor));
        }
    }
    if glibc == (0, 0) {
        bail!("{} says no version of the C library", program.display());
    }
    let libc = format!("libc6 (>= {}.{})", glibc.0, glibc.1);
    Ok(if gcc { format!("{libc}, libgcc-s1") } else { libc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_ours_needs_the_c_library_that_it_was_linked_with() {
        let own = std::env::current_exe().expect("a path");
        let needs = libraries(&own).expect("it is read");
        assert!(needs.starts_with("libc6 (>= 2."), "{needs}");
    }

    #[test]
    fn the_same_text_is_packed_as_the_same_bytes() {
        let text = "line\n".repeat(10_000);
        assert_eq!(packed(text.as_bytes()).expect("packed"), packed(text.as_bytes()).expect("packed"));
        assert!(packed(text.as_bytes()).expect("packed").len() < 1000);
    }
}
