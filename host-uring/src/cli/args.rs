//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Runs a service engine, checks its configuration, and asks a running one.
#[derive(Debug, Parser)]
#[command(name = "forebay-se", version, about, long_about = None, after_help = AFTER)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 5 no permission, 6 time-out, 7 no engine reached.\n\
First steps: forebay-se check --config se.toml; forebay-se run --config se.toml; forebay-se status";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an engine until it is told to stop (SIGTERM or Ctrl-C: requests under way end first)
    Run {
        /// The configuration; with --controller: what the engine says for itself, `[engine]` alone.
        #[arg(long, value_name = "FILE", required_unless_present = "controller")]
        config: Option<PathBuf>,
        #[command(flatten)]
        led: Led,
        /// Take over from the engine that serves by this configuration, without refusing a client.
        #[arg(long)]
        take_over: bool,
        /// Let tests plant faults through the admin socket.
        #[arg(long, hide = true)]
        allow_faults: bool,
        /// Speak no later protocol of object sync than this one, as an earlier release: for tests of upgrades.
        #[arg(long, hide = true, value_name = "NUMBER", requires = "allow_faults")]
        objsync_protocol_max: Option<u16>,
    },
    /// Say all that is wrong with a configuration, each with line, reason and remedy
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a running engine: its services, pools and workers
    Status(Ask),
    /// Show the servers, each with its state and why
    Servers {
        /// Only those of this pool.
        #[arg(long)]
        pool: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Watch a running engine: rates, latencies and connections of services, pools and servers, with keys
    Top {
        /// Seconds between two looks.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval_s: u64,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show which server each client is bound to (entries of the persistence tables)
    Persistence {
        /// Only the entry of this client address.
        #[arg(long, value_name = "ADDRESS")]
        client: Option<String>,
        /// Only the entry of this application cookie.
        #[arg(long, value_name = "VALUE", conflicts_with = "client")]
        cookie: Option<String>,
        /// Only entries that lead to this server.
        #[arg(long, value_name = "ADDRESS[:PORT]")]
        server: Option<String>,
        /// Only entries of this pool.
        #[arg(long)]
        pool: Option<String>,
        /// Entries to show; the rest is counted.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        ask: Ask,
    },
    /// Say which server a request would get, and why; changes nothing
    Explain {
        /// What is asked for: http://host:port/path?query, or /path.
        url: String,
        /// The virtual service, if the address does not tell.
        #[arg(long)]
        service: Option<String>,
        /// The method.
        #[arg(long, default_value = "GET")]
        method: String,
        /// A header line, as in "Cookie: a=b"; may be repeated.
        #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
        headers: Vec<(String, String)>,
        /// The client's address.
        #[arg(long, default_value = "127.0.0.1")]
        client: IpAddr,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what engines share: the tables' sizes, a pool's entries, how far the other engines are
    Show {
        /// What.
        what: Shown,
        /// Only what fits, as in pool=web, client=192.0.2.1, cookie=abc or server=192.0.2.9:80; may be repeated.
        #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
        filter: Vec<(String, String)>,
        /// Entries to show; the rest is counted.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        ask: Ask,
    },
    /// Tables that engines share
    #[command(subcommand)]
    Objsync(Objsync),
    /// Copy between the Redises of engines that do not speak to one another (use_objsync = false), until told to stop
    Distribute {
        /// The group of engines.
        #[arg(long)]
        group: String,
        /// An engine's slot and its Redis, as in 0=/run/redis/redis.sock or 1=192.0.2.1:6379; may be given again.
        #[arg(long = "engine", required = true, value_name = "SLOT=REDIS", value_parser = redis_of)]
        engines: Vec<(u8, String)>,
        /// The password of all of them: the first line of a file that not everybody may read.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Load the configuration file again; a broken one changes nothing
    Reload(Ask),
    /// Start the program anew (the file may be another version by now), which takes over without refusing a client
    Upgrade(Ask),
    /// Take a server out gently: no new clients, what is under way ends within the pool's grace
    Drain(Decision),
    /// Let a server serve, whatever the configuration says
    Enable(Decision),
    /// Take a server out at once: what is under way there is cut
    Disable(Decision),
    /// Plant a fault in a running engine (tests only; needs run --allow-faults)
    #[command(hide = true)]
    Fault {
        /// The worker.
        worker: usize,
        /// Milliseconds to stand still; absent: panic.
        #[arg(long)]
        stall_ms: Option<u64>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Make a key and a certificate that it signs itself, to try HTTPS out
    Certificate {
        /// A host name or address that it is for; may be given again.
        #[arg(long, required = true)]
        name: Vec<String>,
        /// The file for the certificate, which must not be there yet.
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// The file for the key, which must not be there yet.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Make an authority of your own, and with it the certificates by which engines know each other
    #[command(subcommand)]
    Pki(Pki),
    /// Print a shell's completion script
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (or write one for each command to a folder)
    Man {
        /// Write all pages there.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// By whom an engine is led.
#[derive(Debug, ClapArgs)]
pub struct Led {
    /// The Controller that says what the engine serves; several, of which one leads: all of them, with commas between.
    #[arg(long, value_name = "HOST:PORT", requires = "state", value_delimiter = ',')]
    pub controller: Vec<String>,
    /// The folder in which the engine keeps who it is and its last configuration.
    #[arg(long, value_name = "FOLDER", requires = "controller")]
    pub state: Option<PathBuf>,
    /// A file with a token, by which an engine that is new becomes a member (POST /api/se-token).
    #[arg(long, value_name = "FILE", requires = "controller")]
    pub token_file: Option<PathBuf>,
    /// What the engine wants to be called, if it is new; absent: as its machine.
    #[arg(long, value_name = "NAME", requires = "controller")]
    pub name: Option<String>,
    /// Other engines of this machine serve the same addresses, and the kernel shares clients out among them.
    //= CHAN-SHARE-01
    #[arg(long, requires = "controller")]
    pub share_addresses: bool,
    /// Speak only these versions of the protocol, as in 2-3; for tests.
    #[arg(long, value_name = "MIN-MAX", hide = true, requires = "controller", value_parser = versions)]
    pub channel_protocol: Option<(u32, u32)>,
}

/// What is done with certificates of engines.
#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Make an authority: its certificate, ca.pem, and its key, ca.key, which no engine needs
    Init {
        /// The folder, which is made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// What the authority is called.
        #[arg(long, default_value = "Forebay engines")]
        name: String,
        /// Days that it is good for.
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make an engine's certificate and key, and the secret of its group if there is none yet
    Issue {
        /// The folder of the authority.
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// The group of engines that share their tables.
        #[arg(long)]
        group: String,
        /// The engine's place in its group, 0 to 63.
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..64))]
        slot: u8,
        /// An address of the engine, for other programs that look at it; may be given again.
        #[arg(long, value_name = "ADDRESS")]
        address: Vec<IpAddr>,
        /// Days that it is good for; never longer than its authority.
        #[arg(long, default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Print whose the certificates of files are, and until when they are good
    Show {
        /// The files (PEM).
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// How many keys each kind of table holds.
    Keyvalsummary,
    /// How far the other engines are with each kind of table.
    Keyvalsummaryobjsync,
    /// Pools and the entries of their clients, with the ages here and in the group.
    PoolInternal,
    /// How far the other engines are with each pool's table.
    PoolObjsync,
    /// The other engines: connections, lag, differences, bytes.
    ServiceengineObjsync,
}

/// What is done about shared tables.
#[derive(Debug, Subcommand)]
pub enum Objsync {
    /// Compare with every other engine now; exit code 0: all are equal, 1: something differs, 2: an engine cannot be
    /// compared with, or a table only in part, because entries had to go for want of room
    Verify(Ask),
}

/// What is decided about a server.
#[derive(Clone, Debug, ClapArgs)]
pub struct Decision {
    /// The server, like web/192.0.2.1:80; by a host name, all that it leads to now.
    #[arg(value_name = "POOL/SERVER")]
    pub server: String,
    /// Forget what was decided: as the configuration says.
    #[arg(long)]
    pub reset: bool,
    #[command(flatten)]
    pub ask: Ask,
}

/// How a running engine is asked.
#[derive(Clone, Debug, ClapArgs)]
pub struct Ask {
    /// The engine's admin socket; absent: the one in --config, else ./forebay-se.sock.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The engine's configuration, to find its admin socket.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 10)]
    pub timeout_s: u64,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: complete and stable.
    Json,
}

fn versions(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once('-').and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    pair.filter(|(min, max)| min <= max).ok_or_else(|| "write it like 2-3".to_owned())
}

fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name @ ("pool" | "client" | "cookie" | "server"), value)) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write it like pool=web; names are pool, client, cookie and server".to_owned()),
    }
}

fn redis_of(text: &str) -> Result<(u8, String), String> {
    let split = text.split_once('=').and_then(|(slot, redis)| Some((slot.parse().ok()?, redis.to_owned())));
    split
        .filter(|(slot, _)| *slot < 64)
        .ok_or_else(|| "write it like 0=127.0.0.1:6379, with a slot below 64".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it like \"Cookie: a=b\"".to_owned()),
    }
}
