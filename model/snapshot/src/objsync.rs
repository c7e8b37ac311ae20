//! How engines that share tables find and trust one another.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::Snapshot;
use crate::ignored::report;
use crate::read::{Reader, section, words};
use crate::rules;

/// The port where no cloud asks for another one.
const PORT: u16 = 9001;
/// The port in clouds whose machines use those from 4096 on for connections to servers.
const PORT_IN_CLOUD: u16 = 4001;
/// In Azure, ports from here on belong to connections to servers.
const AZURE_PORTS_END: u16 = 4096;

section! {
    /// How this engine shares its persistence tables with others.
    #[derive(Eq)]
    pub struct Objsync {
        /// Engines speak to one another; `false`: the older way, by a Redis beside each engine and a distributor (`forebay-se distribute`) that copies between these.
        use_objsync: bool = true;
        /// The engine's Redis where `use_objsync` is false: the path of its unix socket, or an address of the loopback network with the port, as in `127.0.0.1:6379`.
        redis_address: Option<String> = None, is rules::redis_if_given;
        /// The password of that Redis: the first line of a file that the engine's user may read and nobody else's may; absent: it wants none.
        redis_password_file: Option<String> = None, is rules::path_if_given;
        /// The engine's management address, on which it listens for the other members and from which it calls them; absent: the tables are shared with nobody.
        address: Option<IpAddr> = None;
        /// The port, of which `cloud` has something to say; absent: 9001, and 4001 where `cloud` is `azure`, `aws`, `gcp` or `openstack`.
        port: Option<u16> = None, in 1024..=65535;
        /// Where the engine runs.
        cloud: Cloud = Cloud::None;
        /// The group of engines whose tables are the same; it stands in their certificates: small letters, digits and `-`.
        group: String = "default".to_owned(), is rules::group;
        /// The engine's place in the group, another one for each engine; it stands in its certificate.
        slot: u8 = 0, in 0..=63;
        /// The engines of the group; the list may be the same on all of them.
        members: Vec<ObjsyncMember> = Vec::new();
        /// The certificate of the group's authority, a file in PEM form; a relative path counts from the configuration's folder.
        ca_file: Option<String> = None, is rules::path_if_given;
        /// The engine's certificate, which names `se-SLOT.GROUP.forebay.internal` (`forebay-se pki` makes it), a file in PEM form.
        certificate_file: Option<String> = None, is rules::path_if_given;
        /// The certificate's key, a file in PEM form that the engine's user may read and nobody else's may.
        key_file: Option<String> = None, is rules::path_if_given;
        /// What the group alone knows, from which sums and table keys are made: a file with a line of 64 hexadecimal digits, the same on all engines, that nobody else may read (`forebay-se pki` makes it).
        secret_file: Option<String> = None, is rules::path_if_given;
        /// The tables on disk, for the day when all members start anew at once: a file, `off` for none; a relative path counts from the configuration's folder.
        snapshot_file: String = "objsync.snapshot".to_owned(), is rules::path;
        /// Seconds between two snapshots.
        snapshot_interval_s: u16 = 60, in 5..=3600;
        /// The share of one core (percent) that comparing tables with the other members may take; changes are told whatever they cost.
        cpu_limit_percentage: u8 = 30, in 15..=80;
        /// Seconds from one comparison of the tables with another member to the next.
        reconcile_interval_s: u8 = 10, in 1..=120;
        /// Whether an answer that tells a client of a new entry waits until another member has that entry, for 20 ms at most.
        persistence_ack: PersistenceAck = PersistenceAck::Off;
    }

    /// An engine of the group.
    #[derive(Eq)]
    pub struct ObjsyncMember {
        /// Its place.
        slot: u8, in 0..=63;
        /// Its management address.
        address: IpAddr;
        /// Its port; absent: the same as this engine's.
        port: Option<u16> = None, in 1024..=65535;
        /// It only reads: the mirror that a Controller keeps. It has a slot that no engine has, calls from its address (under a Controller: from anywhere, known by its certificate), and is waited for by nobody.
        reads: bool = false;
    }
}

/// Another member, as an engine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its place.
    pub slot: u8,
    /// Where it listens; one that only reads calls from this address, and its port says nothing.
    pub address: SocketAddr,
    /// It only reads.
    pub reads: bool,
}

words! {
    /// Where an engine runs, as far as its ports depend on that.
    pub enum Cloud {
        /// On machines of one's own.
        None = "none",
        /// VMware vCenter.
        Vmware = "vmware",
        /// NSX-T.
        Nsxt = "nsxt",
        /// Azure.
        Azure = "azure",
        /// Amazon Web Services.
        Aws = "aws",
        /// Google Cloud.
        Gcp = "gcp",
        /// OpenStack.
        Openstack = "openstack",
    }
}

words! {
    /// What an answer waits for that tells a client of a new entry.
    pub enum PersistenceAck {
        /// For nothing.
        Off = "off",
        /// For one other member that has the entry.
        Peer = "peer",
    }
}

impl Objsync {
    /// Whether the tables are shared with anybody.
    pub fn is_on(&self) -> bool {
        self.address.is_some() || self.is_legacy()
    }

    /// Whether they are shared by way of a Redis.
    pub fn is_legacy(&self) -> bool {
        !self.use_objsync
    }

    /// The port on which this engine listens.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.cloud {
            Cloud::Azure | Cloud::Aws | Cloud::Gcp | Cloud::Openstack => PORT_IN_CLOUD,
            Cloud::None | Cloud::Vmware | Cloud::Nsxt => PORT,
        })
    }

    /// Where this engine listens for others, if they speak to one another.
    pub fn listen(&self) -> Option<SocketAddr> {
        if self.is_legacy() {
            return None;
        }
        Some(SocketAddr::new(self.address?, self.port()))
    }

    /// The other members.
    pub fn others(&self) -> impl Iterator<Item = Other> + '_ {
        let others = self.members.iter().filter(|member| member.slot != self.slot);
        others.map(|member| {
            let address = SocketAddr::new(member.address, member.port.unwrap_or_else(|| self.port()));
            Other { slot: member.slot, address, reads: member.reads }
        })
    }
}

pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let objsync = &snapshot.objsync;
    if !objsync.is_on() {
        //= CFG-IGNORED-02
        if *objsync != Objsync::default() && !reader.is_bad_within("objsync") {
            let reason = "without objsync.address the tables are shared with nobody";
            report(
                reader,
                "objsync",
                reason,
                "add address = \"...\", the management address, or remove the section",
            );
        }
        return;
    }
    if snapshot.engine.table_secret.is_some() {
        let reason = "the tables' secret is made from objsync.secret_file";
        report(reader, "engine.table_secret", reason, "remove it");
    }
    if objsync.is_legacy() {
        return by_redis(reader, objsync);
    }
    for (key, is_set) in of_redis(objsync) {
        if is_set {
            let reason = "engines that speak to one another need no Redis";
            report(reader, &format!("objsync.{key}"), reason, "remove it, or set use_objsync = false");
        }
    }
    port_of_cloud(reader, objsync);
    let needed = [
        ("ca_file", &objsync.ca_file),
        ("certificate_file", &objsync.certificate_file),
        ("key_file", &objsync.key_file),
        ("secret_file", &objsync.secret_file),
    ];
    for (key, file) in needed {
        if file.is_none() {
            let fix = format!("add {key} = \"...\"");
            report(reader, &format!("objsync.{key}"), "engines share tables only with whom they know", &fix);
        }
    }
    if objsync.address.is_some_and(|address| address.is_unspecified()) {
        let reason =
            "it is every address of the machine: members know an engine by the one from which it calls";
        report(reader, "objsync.address", reason, "write the management address");
    }
    members(reader, objsync);
}

/// Settings of the engine's Redis, and whether they are there.
fn of_redis(objsync: &Objsync) -> [(&'static str, bool); 2] {
    [
        ("redis_address", objsync.redis_address.is_some()),
        ("redis_password_file", objsync.redis_password_file.is_some()),
    ]
}

//= CFG-OBJSYNC-03
fn by_redis(reader: &mut Reader, objsync: &Objsync) {
    let needed = [("redis_address", &objsync.redis_address), ("secret_file", &objsync.secret_file)];
    for (key, value) in needed {
        if value.is_none() && !reader.is_bad(&format!("objsync.{key}")) {
            let reason = "tables that are shared by way of a Redis need it";
            report(reader, &format!("objsync.{key}"), reason, &format!("add {key} = \"...\""));
        }
    }
    let plain = Objsync::default();
    let idle = [
        ("address", objsync.address != plain.address),
        ("port", objsync.port != plain.port),
        ("cloud", objsync.cloud != plain.cloud),
        ("members", objsync.members != plain.members),
        ("ca_file", objsync.ca_file != plain.ca_file),
        ("certificate_file", objsync.certificate_file != plain.certificate_file),
        ("key_file", objsync.key_file != plain.key_file),
        ("snapshot_file", objsync.snapshot_file != plain.snapshot_file),
        ("snapshot_interval_s", objsync.snapshot_interval_s != plain.snapshot_interval_s),
        ("cpu_limit_percentage", objsync.cpu_limit_percentage != plain.cpu_limit_percentage),
        ("reconcile_interval_s", objsync.reconcile_interval_s != plain.reconcile_interval_s),
        ("persistence_ack", objsync.persistence_ack != plain.persistence_ack),
    ];
    for (key, is_set) in idle {
        if is_set && !reader.is_bad_within(&format!("objsync.{key}")) {
            let reason = "it does nothing where use_objsync is false: engines do not speak to one another";
            report(reader, &format!("objsync.{key}"), reason, "remove it");
        }
    }
}

/// In Azure the ports from 4096 on belong to connections to servers, which come from the same network card.
//= CFG-OBJSYNC-01
fn port_of_cloud(reader: &mut Reader, objsync: &Objsync) {
    let port = objsync.port();
    if objsync.cloud == Cloud::Azure && port >= AZURE_PORTS_END && !reader.is_bad("objsync.port") {
        let (reason, fix) = beyond_azure(port);
        report(reader, "objsync.port", &reason, &fix);
    }
}

/// Why a port cannot be used in Azure, and what to do.
fn beyond_azure(port: u16) -> (String, String) {
    let reason = format!(
        "{port} is not below {AZURE_PORTS_END}: in Azure the ports from {AZURE_PORTS_END} on are those of connections to servers"
    );
    (reason, format!("set port = {PORT_IN_CLOUD} (1024..4095), or remove it"))
}

//= CFG-OBJSYNC-02
fn members(reader: &mut Reader, objsync: &Objsync) {
    let (mut slots, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (n, member) in objsync.members.iter().enumerate() {
        let at = format!("objsync.members[{n}]");
        if reader.is_bad_within(&at) {
            continue;
        }
        if !slots.insert(member.slot) {
            let reason = format!("slot {} stands in the list already", member.slot);
            report(reader, &format!("{at}.slot"), &reason, "give each engine a slot of its own");
        }
        let port = member.port.unwrap_or_else(|| objsync.port());
        if !member.reads && !places.insert((member.address, port)) {
            let reason = format!("{}:{port} stands in the list already", member.address);
            report(
                reader,
                &format!("{at}.address"),
                &reason,
                "give each engine an address or a port of its own",
            );
        }
        if member.address.is_unspecified() {
            let reason = "it is nobody's address";
            report(reader, &format!("{at}.address"), reason, "write the engine's management address");
        }
        let is_own = member.port.is_some_and(|port| port >= AZURE_PORTS_END);
        if objsync.cloud == Cloud::Azure && is_own {
            let (reason, fix) = beyond_azure(port);
            report(reader, &format!("{at}.port"), &reason, &fix);
        }
        if member.reads {
            if member.slot == objsync.slot {
                let reason =
                    format!("slot {} is this engine's, and an engine does more than read", member.slot);
                report(reader, &at, &reason, "give who only reads a slot that no engine has");
            }
            continue;
        }
        let here = Some(SocketAddr::new(member.address, port)) == objsync.listen();
        if member.slot == objsync.slot && !here {
            let reason = format!("slot {} is this engine's, and its address is another one", member.slot);
            report(reader, &at, &reason, "correct objsync.slot, or the address and port here");
        }
        if member.slot != objsync.slot && here {
            let reason = format!("the address is this engine's, and its slot is {}", objsync.slot);
            report(reader, &at, &reason, "correct objsync.slot, or the slot here");
        }
        if member.address.is_ipv4() != objsync.address.is_some_and(|address| address.is_ipv4()) {
            let reason = "the address is of another family than objsync.address, from which it is called";
            report(reader, &format!("{at}.address"), reason, "use addresses of one family");
        }
    }
}
