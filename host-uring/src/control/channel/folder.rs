//! What an engine keeps of its Controller: who it is, and its last configuration.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use forebay_wire::limits::CONFIGURATION_BYTES_MAX;
use forebay_wire::proto::Untaken;
use forebay_wire::{Sections, between, change, digest, proto};
use prost::Message;
use toml::{Table, Value};

/// The file that says where Controllers are.
const CONTROLLERS: &str = "controllers";
/// Of how many is told: more than there can be.
const CONTROLLERS_MAX: usize = 16;

/// Host and port in plain letters.
fn is_place(text: &str) -> bool {
    text.len() <= 262
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A configuration as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Its number; 0: none came yet.
    pub version: u64,
    /// Its parts.
    pub sections: Sections,
    /// What the engine works by, where it could not take all of that.
    pub part: Option<InPart>,
}

/// A configuration without what the engine could not take of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InPart {
    /// Its parts.
    pub sections: Sections,
    /// The services that are not as they should be.
    pub untaken: Vec<Untaken>,
}

impl Kept {
    /// The sum over it.
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.sections)
    }

    /// The parts that the engine works by.
    pub fn works_by(&self) -> &Sections {
        self.part.as_ref().map_or(&self.sections, |part| &part.sections)
    }

    /// The services that are not as they should be.
    pub fn untaken(&self) -> &[Untaken] {
        self.part.as_ref().map_or(&[], |part| &part.untaken)
    }
}

/// The sum over what came and what could not be taken of it.
fn sum(came: &Sections, untaken: &[Untaken]) -> [u8; 32] {
    let mut all = came.clone();
    all.extend(untaken.iter().map(|one| {
        let text = format!("{} {} {}", one.is_left_out, one.may_mend, one.why.join("\0"));
        (format!("untaken {}", one.service), text)
    }));
    digest(&all)
}

/// Keys of a service that came later than software which may have to start by what is kept: without them it does what it did.
const LATER: [&str; 2] = ["hosts", "persistence_name"];

/// A section without what software of before could not start by; `None`: it has nothing of that.
fn older(key: &str, text: &str) -> Option<Table> {
    if key.starts_with("virtual_service/") {
        // Most have none, and need not be read.
        if !LATER.iter().any(|later| text.contains(later)) {
            return None;
        }
        let mut table: Table = text.parse().ok()?;
        let services = table.get_mut("virtual_service")?.as_array_mut()?;
        let mut has_some = false;
        for service in services.iter_mut().filter_map(Value::as_table_mut) {
            LATER.iter().for_each(|later| has_some |= service.remove(*later).is_some());
        }
        return has_some.then_some(table);
    }
    if key != "objsync/objsync" {
        return None;
    }
    let mut table: Table = text.parse().ok()?;
    let members = table.get_mut("objsync")?.get_mut("members")?.as_array_mut()?;
    let before = members.len();
    members.retain(|member| member.get("reads").and_then(Value::as_bool) != Some(true));
    (members.len() < before).then_some(table)
}

/// What older software could start by as well; what is left out for that goes to `newer` as it is.
fn for_older(sections: &Sections, newer: &mut Vec<proto::Section>) -> Sections {
    let one = |(key, text): (&String, &String)| {
        let Some(plain) = older(key, text).and_then(|table| toml::to_string(&table).ok()) else {
            return (key.clone(), text.clone());
        };
        let whole = proto::Section { key: key.clone(), text: text.clone() };
        if !newer.contains(&whole) {
            newer.push(whole);
        }
        (key.clone(), plain)
    };
    sections.iter().map(one).collect()
}

/// What stood there before [`for_older`].
fn as_it_was(mut sections: Sections, newer: &[proto::Section]) -> Sections {
    for proto::Section { key, text } in newer {
        if let Some(held) = sections.get_mut(key)
            && let (Some(plain), Ok(stands)) = (older(key, text), held.parse::<Table>())
            && plain == stands
        {
            held.clone_from(text);
        }
    }
    sections
}

fn newer_sum(newer: &[proto::Section]) -> [u8; 32] {
    let each = newer.iter().enumerate();
    digest(&each.map(|(nth, one)| (format!("{nth} {}", one.key), one.text.clone())).collect())
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// At this path.
    pub fn new(path: PathBuf) -> Self {
        Folder { path }
    }

    /// Makes it if it is not there; nobody else may look into it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.with_context(|| {
            format!("--state: {} cannot be made; name a folder that you may write to", self.path.display())
        })
    }

    /// The document by which the engine runs.
    pub fn document(&self) -> PathBuf {
        self.path.join("se.toml")
    }

    /// The document that is being tried.
    pub fn tried(&self) -> PathBuf {
        self.path.join("se.next.toml")
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.path.join("authority.pem")
    }

    /// The engine's certificate and its key.
    pub fn own(&self) -> (PathBuf, PathBuf) {
        (self.path.join("engine.pem"), self.path.join("engine.key"))
    }

    /// What the engines of its group share.
    pub fn secret(&self) -> PathBuf {
        self.path.join("group.secret")
    }

    /// The engine has a certificate.
    pub fn is_member(&self) -> bool {
        self.own().0.exists()
    }

    /// The configuration that came last; `None`: none came yet.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    //= CHAN-KEEP-01
    pub fn kept(&self) -> anyhow::Result<Option<Kept>> {
        let path = self.configuration();
        let shown = path.display();
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(2 * CONFIGURATION_BYTES_MAX as u64).read_to_end(&mut bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
        .with_context(|| format!("--state: {shown} cannot be read"))?;
        let kept = proto::Kept::decode(bytes.as_slice()).ok().map(|kept| {
            let sections: Sections =
                kept.sections.into_iter().map(|section| (section.key, section.text)).collect();
            let newer = kept.newer;
            let is_whole = kept.version > 0
                && digest(&sections) == *kept.digest
                && (newer.is_empty() || newer_sum(&newer) == *kept.newer_sum);
            let version = kept.version;
            match kept.untaken {
                None => (Kept { version, sections: as_it_was(sections, &newer), part: None }, is_whole),
                Some(by) => {
                    let came = change(&sections, by);
                    let is_whole = is_whole && sum(&came, &kept.services) == *kept.sum;
                    let sections = as_it_was(sections, &newer);
                    let part = Some(InPart { sections, untaken: kept.services });
                    (Kept { version, sections: as_it_was(came, &newer), part }, is_whole)
                }
            }
        });
        match kept {
            Some((kept, true)) => Ok(Some(kept)),
            _ => bail!(
                "--state: {shown} is not what was written there; remove it, and the Controller sends all of it again"
            ),
        }
    }

    /// Keeps a configuration: the file holds the one before, or all of this one, whatever happens. What the engine works by
    /// stands first, without members that only read: software that knows nothing of the rest starts by it as well.
    ///
    /// # Errors
    /// It cannot be written.
    //= CHAN-KEEP-01
    //= CHAN-KEEP-02
    pub fn keep(&self, kept: &Kept) -> io::Result<()> {
        let section =
            |(key, text): (&String, &String)| proto::Section { key: key.clone(), text: text.clone() };
        let mut newer = Vec::new();
        let works_by = for_older(kept.works_by(), &mut newer);
        let came = kept.part.as_ref().map(|part| (for_older(&kept.sections, &mut newer), &part.untaken));
        let message = proto::Kept {
            version: kept.version,
            digest: digest(&works_by).to_vec(),
            sections: works_by.iter().map(section).collect(),
            untaken: came.as_ref().map(|(came, _)| between(&works_by, came)),
            services: kept.untaken().to_vec(),
            sum: came.as_ref().map(|(came, untaken)| sum(came, untaken).to_vec()).unwrap_or_default(),
            newer_sum: if newer.is_empty() { Vec::new() } else { newer_sum(&newer).to_vec() },
            newer,
        };
        self.write(&self.configuration(), &message.encode_to_vec())
    }

    /// Writes a file whole or not at all, for this user's eyes only, and does not return before it is on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let fresh = PathBuf::from(name);
        // What a dead process left half-way.
        let _ = std::fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        self.sync()
    }

    /// The names in it are on the disk.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Where the Controller was reached last, and where it said that there are others.
    pub fn controllers(&self) -> (Option<String>, Vec<String>) {
        let text = std::fs::read_to_string(self.path.join(CONTROLLERS)).unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        (lines.next(), lines.take(CONTROLLERS_MAX).collect())
    }

    /// Keeps that, if it is new.
    ///
    /// # Errors
    /// It cannot be written.
    //= CHAN-SEVERAL-01
    pub fn keep_controllers(&self, last: &str, told: &[String]) -> io::Result<()> {
        let told: Vec<String> =
            told.iter().filter(|at| is_place(at)).take(CONTROLLERS_MAX).cloned().collect();
        if self.controllers() == (Some(last.to_owned()), told.clone()) {
            return Ok(());
        }
        let text: String = std::iter::once(last).chain(told.iter().map(String::as_str)).fold(
            String::new(),
            |mut text, at| {
                text.push_str(at);
                text.push('\n');
                text
            },
        );
        self.write(&self.path.join(CONTROLLERS), text.as_bytes())
    }

    fn configuration(&self) -> PathBuf {
        self.path.join("configuration")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CHAN-SEVERAL-01
    #[test]
    fn the_controller_that_was_there_last_is_called_first_and_each_once() {
        let path = std::env::temp_dir().join(format!("forebay-several-{}", std::process::id()));
        let folder = Folder::new(path.clone());
        folder.make().expect("room");
        let named = vec!["a:1".to_owned(), "b:1".to_owned()];
        let settings = super::super::Settings::new(named, path.clone(), super::super::Local::default());
        assert_eq!(settings.controllers(), ["a:1", "b:1"]);
        let told = ["b:1", "c:1", "no place", "d:port", ":1"].map(str::to_owned);
        folder.keep_controllers("b:1", &told).expect("room");
        assert_eq!(settings.controllers(), ["b:1", "a:1", "c:1"]);
        // One that is alone tells of none.
        folder.keep_controllers("a:1", &[]).expect("room");
        assert_eq!(settings.controllers(), ["a:1", "b:1"]);
        std::fs::remove_dir_all(path).expect("ours");
    }

    //= test CHAN-KEEP-02
    #[test]
    fn what_is_kept_is_such_that_older_software_starts_by_it() {
        let path = std::env::temp_dir().join(format!("forebay-kept-older-{}", std::process::id()));
        let folder = Folder::new(path.clone());
        folder.make().expect("room");
        let engine = r#"{ slot = 2, address = "192.0.2.2", port = 4001 }"#;
        let mirror = r#"{ slot = 63, address = "192.0.2.1", reads = true }"#;
        let service = "[[virtual_service]]\nname = \"v/tls\"\npersistence_name = \"v\"\n\
                       [[virtual_service.hosts]]\nnames = [\"a.test\"]\n";
        let of = |members: &str, pool: &str| {
            let objsync = format!("[objsync]\nslot = 1\nmembers = [{members}]\n");
            Sections::from([
                ("objsync/objsync".to_owned(), objsync),
                (format!("pool/{pool}"), "[[pool]]\n".to_owned()),
                ("virtual_service/v".to_owned(), service.to_owned()),
            ])
        };
        let with = |pool: &str| of(&format!("{engine}, {mirror}"), pool);
        let part = InPart { sections: with("old"), untaken: Vec::new() };
        for part in [None, Some(part)] {
            let kept = Kept { version: 1, sections: with("new"), part };
            folder.keep(&kept).expect("room");
            assert_eq!(folder.kept().expect("it is whole"), Some(kept.clone()), "it is as it was");
            // As software before this reads it: the sections, and what leads from them to what came, each by its sum.
            let bytes = std::fs::read(folder.configuration()).expect("it is there");
            let read = proto::Kept::decode(bytes.as_slice()).expect("ours");
            let sections: Sections =
                read.sections.into_iter().map(|section| (section.key, section.text)).collect();
            assert_eq!(digest(&sections).as_slice(), read.digest);
            if let Some(by) = read.untaken {
                assert_eq!(sum(&change(&sections, by), &read.services).as_slice(), read.sum);
            }
            let table: Table = sections["objsync/objsync"].parse().expect("TOML");
            let [only] = &table["objsync"]["members"].as_array().expect("a list")[..] else {
                panic!("{table}")
            };
            assert_eq!(only["slot"].as_integer(), Some(2), "the mirror is beside: {table}");
            assert_eq!(sections["virtual_service/v"].trim(), "[[virtual_service]]\nname = \"v/tls\"");
        }
        // Nothing is beside where there is none.
        let mut sections = of(engine, "p");
        sections.remove("virtual_service/v");
        folder.keep(&Kept { version: 2, sections, part: None }).expect("room");
        let bytes = std::fs::read(folder.configuration()).expect("it is there");
        assert!(proto::Kept::decode(bytes.as_slice()).expect("ours").newer.is_empty());
        std::fs::remove_dir_all(path).expect("ours");
    }

    //= test CHAN-KEEP-01
    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("forebay-kept-{}", std::process::id()));
        let folder = Folder::new(path.clone());
        folder.make().expect("room");
        assert_eq!(folder.kept().expect("nothing is there"), None);
        let sections = Sections::from([("pool/p".to_owned(), "[[pool]]\n".to_owned())]);
        for version in 1..3 {
            let kept = Kept { version, sections: sections.clone(), part: None };
            folder.keep(&kept).expect("room");
            assert_eq!(folder.kept().expect("it is whole"), Some(kept));
        }
        // A process died while it wrote the next one.
        let file = folder.configuration();
        std::fs::write(path.join("configuration.new"), "half").expect("room");
        assert_eq!(folder.kept().expect("it is whole").map(|kept| kept.version), Some(2));
        folder
            .keep(&Kept { version: 3, sections: sections.clone(), part: None })
            .expect("what was left is in nobody's way");
        let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Of one that was taken in part both are known, and older software finds what the engine works by.
        let part = Sections::from([("pool/o".to_owned(), "[[pool]]\n".to_owned())]);
        let untaken = vec![Untaken { service: "s".to_owned(), is_left_out: true, ..Untaken::default() }];
        let kept = Kept { version: 4, sections, part: Some(InPart { sections: part.clone(), untaken }) };
        folder.keep(&kept).expect("room");
        let found = folder.kept().expect("it is whole").expect("it is there");
        assert_eq!((found.works_by(), &found), (&part, &kept));
        let mut bytes = std::fs::read(&file).expect("it is there");
        let read = proto::Kept::decode(bytes.as_slice()).expect("ours");
        assert_eq!((read.sections[0].key.as_str(), read.digest), ("pool/o", digest(&part).to_vec()));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).expect("room");
        assert!(folder.kept().expect_err("it is damaged").to_string().contains("remove it"));
        std::fs::remove_dir_all(path).expect("ours");
    }
}
