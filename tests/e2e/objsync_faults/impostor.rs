//! Whoever has a member's certificate and address, and says what it wants.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};

use forebay_core::hash;
use forebay_core::id::{Endpoint, ServerId};
use forebay_core::table::{Class, EngineSlot, GroupMillis, KeyBytes, Version};
use forebay_e2e::bin;
use forebay_objsync::Entry;
use forebay_objsync::wire::{Frame, Head, Hello, Packer};

use crate::group::Group;

/// It.
pub struct Impostor(Child);

impl Impostor {
    /// In slot 0, which calls slot 1.
    pub fn calls(group: &Group) -> Self {
        Self::calls_at(group, SocketAddr::new(Group::address(1), group.port))
    }

    /// The same, by way of who listens there.
    pub fn calls_at(group: &Group, at: SocketAddr) -> Self {
        Self::calls_as(group, at, 0, "shop-se-0")
    }

    /// From the address of a slot, with a certificate that lies beside those of the engines.
    pub fn calls_as(group: &Group, at: SocketAddr, slot: usize, certificate: &str) -> Self {
        let mut command = Command::new(bin::foreign("openssl", "openssl"));
        let (to, from) = (at.to_string(), format!("{}:0", Group::address(slot)));
        command.args(["s_client", "-connect", &to, "-bind", &from, "-tls1_3", "-quiet", "-nocommands"]);
        command.args(["-cert", &format!("pki/{certificate}.pem"), "-key", &format!("pki/{certificate}.key")]);
        command
            .current_dir(group.lab.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("openssl starts"))
    }

    /// Ends it when the answer is dropped, whoever else holds it: nobody waits for it to listen.
    pub fn until(&self) -> End {
        End(self.0.id())
    }

    /// Tells the engine.
    pub fn says(&mut self, bytes: &[u8]) {
        // The engine may have ended the connection by now, which is what the test looks for.
        let _ = self.0.stdin.as_mut().expect("a pipe").write_all(bytes);
    }

    /// The engine has ended the connection.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

/// Ends an impostor that lives.
pub struct End(u32);

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: a system call without memory; the child is waited for only later, so its id is its own.
        unsafe { libc::kill(self.0 as libc::pid_t, libc::SIGKILL) };
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn slot(n: u8) -> EngineSlot {
    EngineSlot::new(n).expect("a slot")
}

/// The wall clock.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

/// What members show one another: made of the group's secret and name.
pub fn proof(group: &Group) -> u64 {
    let secret = std::fs::read(group.lab.folder().join("pki/shop.secret")).expect("the secret");
    let all = [secret.trim_ascii(), b"forebay group shop"].concat();
    let mut openssl = Command::new(bin::foreign("openssl", "openssl"));
    openssl.args(["dgst", "-sha256", "-binary"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().expect("openssl starts");
    openssl.stdin.take().expect("a pipe").write_all(&all).expect("openssl reads");
    let sum = openssl.wait_with_output().expect("openssl ends").stdout;
    u64::from_be_bytes(*sum.first_chunk().expect("32 bytes"))
}

/// What it says first.
pub fn hello(group: u64, clock_ms: u64, boot: u64) -> Vec<u8> {
    let clock = GroupMillis(clock_ms);
    Frame::Hello(Hello { protocol: 1, protocol_min: 1, features: 0, slot: slot(0), boot, group, clock })
        .encode()
}

/// What engines call the table of the service by address among themselves.
pub fn table_by_address() -> u64 {
    let name = forebay_snapshot::name_id("ip").to_le_bytes();
    hash::fixed64(&[name, name].concat())
}

/// What it says of a client.
#[derive(Clone, Copy)]
pub struct Statement {
    pub table: u64,
    pub client: IpAddr,
    pub server: u64,
    /// When it was made.
    pub stamp_ms: u64,
    /// Who has it open, one bit each.
    pub open: u64,
    /// How often it was moved on purpose.
    pub switches: u32,
}

impl Statement {
    /// Of a client, a table and a server that nobody knows.
    pub fn of_nobody(stamp_ms: u64) -> Self {
        let client = [192, 0, 2, 1].into();
        Self { table: 77, client, server: 5, stamp_ms, open: u64::MAX, switches: u32::MAX }
    }

    /// Of a client of the group's service by address, bound to one of its servers.
    pub fn of(group: &Group, client: IpAddr, server: usize, stamp_ms: u64, open: u64) -> Self {
        let table = table_by_address();
        let server = ServerId::of(Endpoint::from(group.servers[server].address)).0;
        Self { table, client, server, stamp_ms, open, switches: 0 }
    }
}

/// A frame with a change.
pub fn changes(number: u64, clock_ms: u64, said: &Statement) -> Vec<u8> {
    let mut packer = Packer::new(said.table);
    packer.push(Entry {
        key: KeyBytes::of_ip(said.client),
        server: said.server,
        class: Class::default(),
        version: Version {
            birth: (said.stamp_ms / 60_000) as u32,
            switches: said.switches,
            stamp: said.stamp_ms << 16,
            origin: slot(0),
        },
        tombstone: false,
        lasting: false,
        open: said.open,
        age_ms: 0,
    });
    Frame::Changes(Head { clock: GroupMillis(clock_ms), number, ack: 0 }, vec![packer.pack()]).encode()
}
