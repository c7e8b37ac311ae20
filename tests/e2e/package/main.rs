//! Packages, put into a folder as dpkg would put them into a machine, and taken out again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forebay_e2e::{Lab, bin, skip};

/// The packages, in the order of their files.
const NAMES: [&str; 3] = ["forebay-controller", "forebay-se", "forebay"];

fn done(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, said(&out.stdout), said(&out.stderr));
    out
}

/// Builds all packages of programs that are there, in a version.
fn packages(lab: &Lab, version: &str) -> Vec<PathBuf> {
    let out = lab.folder().join(format!("packages-{version}"));
    let programs = bin::path("forebay-se");
    let programs = programs.parent().expect("a folder");
    for name in NAMES {
        // As built as their sources are.
        bin::path(name);
    }
    let mut build = Command::new(bin::path("forebay-xtask"));
    build.args(["package", "--plain", "--version", version, "--from"]).arg(programs).arg("--out").arg(&out);
    done(&mut build);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&out).expect("packages").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert_eq!(files.len(), NAMES.len(), "{files:?}");
    files
}

/// A folder that dpkg takes for a machine.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(lab: &Lab) -> Self {
        let root = lab.folder().join("root");
        for folder in ["etc", "bin", "usr/lib/systemd/system", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(root.join(folder)).expect("room");
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(root.join(file), "").expect("room");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("room");
        fs::write(root.join("etc/group"), "root:x:0:\n").expect("room");
        // What the units need of a machine.
        fs::copy("/bin/kill", root.join("bin/kill")).expect("room");
        for target in ["sysinit", "basic", "shutdown", "multi-user", "network-online"] {
            let text = "[Unit]\nDescription=What a machine has\n";
            let file = format!("usr/lib/systemd/system/{target}.target");
            fs::write(root.join(file), text).expect("room");
        }
        Machine { root }
    }

    /// Packages that others depend on are not there: a folder needs none of them.
    fn dpkg(&self) -> Command {
        let mut dpkg = Command::new(bin::foreign("dpkg", "dpkg"));
        dpkg.arg(format!("--root={}", self.root.display()));
        dpkg.args(["--force-depends", "--force-script-chrootless", "--force-confold"]);
        dpkg.env("DEBIAN_FRONTEND", "noninteractive");
        dpkg
    }

    /// All files and folders but dpkg's own.
    fn all(&self) -> BTreeSet<PathBuf> {
        let (mut found, mut open) = (BTreeSet::new(), vec![self.root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let path = entry.path();
                if path.ends_with("var/lib/dpkg") {
                    continue;
                }
                if entry.file_type().expect("a kind").is_dir() {
                    open.push(path.clone());
                }
                found.insert(path.strip_prefix(&self.root).expect("within").to_owned());
            }
        }
        found
    }

    fn mode(&self, path: &str) -> u32 {
        let meta = fs::metadata(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        meta.permissions().mode() & 0o7777
    }

    fn group(&self, name: &str) -> u32 {
        let all = fs::read_to_string(self.root.join("etc/group")).expect("groups");
        let line = all.lines().find(|line| line.split(':').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no group {name}: {all}"));
        line.split(':').nth(2).expect("a number").parse().expect("a number")
    }
}

fn is_listed(file: &Path, name: &str) -> String {
    let list = done(Command::new(bin::foreign("dpkg-deb", "dpkg")).arg("--contents").arg(file));
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(text.contains(name), "{} has no {name}: {text}", file.display());
    text
}

//= test PACK-INSTALL-01
//= test PACK-SETTINGS-01
//= test PACK-PURGE-01
#[test]
fn packages_install_keep_their_owners_settings_and_leave_nothing() {
    // SAFETY: the call takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        skip("only root can give files to others, as dpkg does");
        return;
    }
    let lab = Lab::new();
    let first = packages(&lab, "1.0");
    for (file, name) in first.iter().zip(NAMES) {
        let text = is_listed(file, &format!("./usr/share/man/man1/{name}.1.gz"));
        is_listed(file, &format!("./usr/share/bash-completion/completions/{name}"));
        is_listed(file, &format!("./usr/share/doc/{name}/copyright"));
        assert!(text.lines().all(|line| line.contains(" root/root ")), "{text}");
    }
    let machine = Machine::new(&lab);
    let before = machine.all();
    done(machine.dpkg().arg("--install").args(&first));
    for name in NAMES {
        assert_eq!(machine.mode(&format!("usr/bin/{name}")), 0o755);
        let out = done(Command::new(machine.root.join("usr/bin").join(name)).arg("--version"));
        assert!(String::from_utf8_lossy(&out.stdout).starts_with(name), "{out:?}");
    }
    // Keys may stand in an engine's configuration.
    assert_eq!((machine.mode("etc/forebay"), machine.mode("etc/forebay/se.toml")), (0o750, 0o640));
    let own = fs::metadata(machine.root.join("etc/forebay/se.toml")).expect("it is there");
    assert_eq!((own.uid(), own.gid()), (0, machine.group("forebay")));
    let passwd = fs::read_to_string(machine.root.join("etc/passwd")).expect("users");
    for user in ["forebay", "forebay-controller"] {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user)).expect("a user");
        assert!(line.ends_with("/nologin"), "{line}");
    }
    let se = machine.root.join("usr/bin/forebay-se");
    done(Command::new(se).args(["check", "--config"]).arg(machine.root.join("etc/forebay/se.toml")));
    let units = ["forebay-se.service", "forebay-controller.service"];
    let mut verify = Command::new(bin::foreign("systemd-analyze", "systemd"));
    let root = format!("--root={}", machine.root.display());
    let said = done(verify.args(["verify", "--man=no", &root]).args(units));
    assert!(said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));

    // An upgrade leaves what its owner wrote.
    let settings = machine.root.join("etc/forebay/se.toml");
    let text = fs::read_to_string(&settings).expect("settings") + "# mine\n";
    fs::write(&settings, &text).expect("room");
    let second = packages(&lab, "2.0");
    done(machine.dpkg().arg("--install").args(&second));
    assert_eq!(fs::read_to_string(&settings).expect("settings"), text);
    assert_eq!(machine.mode("etc/forebay/se.toml"), 0o640);
    done(machine.dpkg().arg("--remove").args(NAMES));
    assert!(settings.exists() && !machine.root.join("usr/bin/forebay-se").exists());
    // What they would have written.
    for path in
        ["var/lib/forebay/controller/store", "var/lib/forebay/se/engine.key", "var/log/forebay/access.log"]
    {
        let file = machine.root.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("room");
        fs::write(file, "x").expect("room");
    }
    fs::create_dir_all(machine.root.join("etc/default")).expect("room");
    fs::write(machine.root.join("etc/default/forebay-se"), "").expect("room");
    done(machine.dpkg().arg("--purge").args(NAMES));
    let left: Vec<PathBuf> = machine.all().difference(&before).cloned().collect();
    // Users stay, as Debian has it: files elsewhere may be theirs. Folders of the system were not there before.
    let ours = |path: &&PathBuf| path.to_string_lossy().contains("forebay");
    assert!(!left.iter().any(|path| ours(&path)), "{left:?}");
}

//= test PACK-SAME-01
#[test]
fn the_same_programs_make_the_same_packages() {
    let lab = Lab::new();
    let first = packages(&lab, "1.0");
    let bytes: Vec<Vec<u8>> = first.iter().map(|file| fs::read(file).expect("a package")).collect();
    let again = packages(&lab, "1.0");
    for (file, bytes) in again.iter().zip(bytes) {
        assert!(fs::read(file).expect("a package") == bytes, "{}", file.display());
    }
}
