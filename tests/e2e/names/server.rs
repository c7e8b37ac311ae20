//! Name servers: dnsmasq, and one of our own that also answers what no sound one would.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Process, bin, eventually};

/// A dnsmasq whose names stand in a file.
pub struct Dnsmasq {
    /// Where it answers.
    pub at: SocketAddr,
    file: std::path::PathBuf,
    /// Its process.
    pub process: Process,
}

impl Dnsmasq {
    /// With these names, each with its addresses, good for one second.
    pub fn start(lab: &Lab, at: SocketAddr, names: &[(&str, &[Ipv4Addr])]) -> Self {
        let file = lab.folder().join("names");
        write(&file, names);
        let mut command = Command::new(bin::foreign("dnsmasq", "dnsmasq-base"));
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--bind-interfaces", "--local-ttl=1", "--log-facility=-", "--pid-file="]);
        command.arg(format!("--port={}", at.port())).arg(format!("--listen-address={}", at.ip()));
        command.arg(format!("--addn-hosts={}", file.display()));
        // What it would become has no right to read the lab's folder everywhere.
        command.arg(format!("--user={}", if is_root() { "root" } else { "" }));
        let process = Process::start("dnsmasq", command, lab.folder());
        let this = Self { at, file, process };
        eventually("dnsmasq answers", secs(10), || answers(at));
        this
    }

    /// Gives the names other addresses.
    pub fn set(&self, names: &[(&str, &[Ipv4Addr])]) {
        write(&self.file, names);
        self.process.signal(libc::SIGHUP);
    }
}

fn is_root() -> bool {
    // SAFETY: a system call without memory.
    unsafe { libc::geteuid() == 0 }
}

fn write(file: &std::path::Path, names: &[(&str, &[Ipv4Addr])]) {
    let line = |name: &str, ip: &Ipv4Addr| format!("{ip} {name}\n");
    let text: String =
        names.iter().flat_map(|(name, ips)| ips.iter().map(move |ip| line(name, ip))).collect();
    std::fs::write(file, text).expect("the lab's folder");
}

/// Whether somebody answers a question there, whatever he says.
fn answers(at: SocketAddr) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(ms(200))).expect("a time-out above zero");
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04none\x00\x00\x01\x00\x01";
    socket.send_to(question, at).is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

/// What the own name server says of every name, asked for an IPv4 address; of IPv6 it says that there is none, unless
/// there is.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These addresses, with this TTL.
    Addresses(Vec<Ipv4Addr>, u32),
    /// One of each family, for a second.
    Both(Ipv4Addr, Ipv6Addr),
    /// An error: 2 is SERVFAIL, 3 NXDOMAIN.
    Code(u8),
    /// That there are no addresses.
    Empty,
    /// Bytes that mean nothing.
    Garbage,
    /// An address, to another question.
    WrongId(Ipv4Addr),
    /// An address, of which the last bytes are missing.
    Cut(Ipv4Addr),
    /// That the name is an alias of itself.
    Loop,
    /// Nothing.
    Silence,
}

/// A name server that answers by UDP as a test wants.
pub struct NameServer {
    /// Where it answers.
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    reply: Arc<Mutex<Reply>>,
    /// What it says of single names.
    of: Arc<Mutex<BTreeMap<String, Reply>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// That says this.
    pub fn start(at: SocketAddr, reply: Reply) -> Self {
        let socket = UdpSocket::bind(at).expect("a free port");
        // So long the end may take.
        socket.set_read_timeout(Some(ms(50))).expect("a time-out above zero");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let reply = Arc::new(Mutex::new(reply));
        let of = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (names, says, stopped) = (Arc::clone(&asked), Arc::clone(&reply), Arc::clone(&stop));
        let single = Arc::clone(&of);
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut question) else { continue };
                let question = &question[..len];
                let Some((name, end)) = name_of(question) else { continue };
                let is_v4 = question.get(end..end + 2) == Some(&[0, 1]);
                let of_name = single.lock().expect("no holder panics").get(&name).cloned();
                if is_v4 {
                    names.lock().expect("no holder panics").push(name);
                }
                let reply = of_name.unwrap_or_else(|| says.lock().expect("no holder panics").clone());
                if let Some(bytes) = answer(question, end + 4, is_v4, &reply) {
                    let _ = socket.send_to(&bytes, from);
                }
            }
        });
        Self { at, asked, reply, of, stop, thread: Some(thread) }
    }

    /// Says this from now on.
    pub fn say(&self, reply: Reply) {
        *self.reply.lock().expect("no holder panics") = reply;
    }

    /// Says this of one name from now on; `None`: what it says of all.
    pub fn say_of(&self, name: &str, reply: Option<Reply>) {
        let mut of = self.of.lock().expect("no holder panics");
        match reply {
            Some(reply) => of.insert(name.to_owned(), reply),
            None => of.remove(name),
        };
    }

    /// How often it was asked for the IPv4 addresses of a name.
    pub fn asked(&self, name: &str) -> usize {
        self.asked.lock().expect("no holder panics").iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The name that is asked for, and where it ends.
fn name_of(question: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + len)?).to_lowercase());
        at += len;
    }
}

/// An answer to a question that ends at `end`.
fn answer(question: &[u8], end: usize, is_v4: bool, reply: &Reply) -> Option<Vec<u8>> {
    let head = |count: u16, code: u8| {
        let mut out = question.get(..2)?.to_vec();
        out.extend([0x81, 0x80 | code, 0, 1]);
        out.extend(count.to_be_bytes());
        out.extend([0; 4]);
        out.extend(question.get(12..end)?);
        Some(out)
    };
    let with = |addresses: &[Ipv4Addr], ttl: u32| {
        let mut out = head(u16::try_from(addresses.len()).ok()?, 0)?;
        for address in addresses {
            // The name of the question, A, IN.
            out.extend([0xc0, 12, 0, 1, 0, 1]);
            out.extend(ttl.to_be_bytes());
            out.extend([0, 4]);
            out.extend(address.octets());
        }
        Some(out)
    };
    match reply {
        Reply::Silence => None,
        Reply::Garbage => Some(b"no name server says this, whatever it was asked".to_vec()),
        Reply::Code(code) => head(0, *code),
        Reply::Loop => {
            let mut out = head(1, 0)?;
            // The name of the question, CNAME, IN, an hour, and the same name.
            out.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 14, 16, 0, 2, 0xc0, 12]);
            Some(out)
        }
        Reply::Both(_, address) if !is_v4 => {
            let mut out = head(1, 0)?;
            // The name of the question, AAAA, IN, a second.
            out.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 1, 0, 16]);
            out.extend(address.octets());
            Some(out)
        }
        _ if !is_v4 => head(0, 0),
        Reply::Both(address, _) => with(&[*address], 1),
        Reply::Empty => head(0, 0),
        Reply::Addresses(addresses, ttl) => with(addresses, *ttl),
        Reply::WrongId(address) => {
            let mut out = with(&[*address], 60)?;
            out[0] ^= 0xff;
            Some(out)
        }
        Reply::Cut(address) => {
            let mut out = with(&[*address], 60)?;
            out.truncate(out.len() - 3);
            Some(out)
        }
    }
}
