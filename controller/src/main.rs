//! `forebay-controller`: serves the API over what its data folder has.

mod several;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use forebay_controller::cluster::Cluster;
use forebay_controller::reach::Trust;
use forebay_controller::sealed::Seal;
use forebay_controller::store::Embedded;
use forebay_controller::{alone, backup, cluster, local, logs, otlp};
use tokio::signal::unix::{SignalKind, signal};

/// The Controller: keeps the objects and serves the API by which they are managed.
#[derive(Parser)]
#[command(name = "forebay-controller", version)]
struct Arguments {
    /// Where it keeps its store, its certificate and its key; made if it is not there.
    #[arg(long, global = true, value_name = "FOLDER", default_value = "/var/lib/forebay/controller")]
    data_dir: PathBuf,
    /// Where the API listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Where engines are let in: TLS, by certificates and tokens of this Controller's own.
    //= CHAN-LISTEN-01
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8443")]
    listen_engines: SocketAddr,
    /// How often engines report, in seconds; the place of one that missed six is taken by others.
    //= CHAN-HEART-01
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    engine_heartbeat: u16,
    /// For how many hours requests and connections are kept that engines tell of.
    //= LOG-KEEP-03
    #[arg(long, value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=8784))]
    logs_hours: u32,
    /// How many MiB they may take; where there is no room left, the oldest records of whoever has most of it go.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(16..))]
    logs_mib: u32,
    /// Put each hour of them that is over there as a file of Parquet, which stays until somebody takes it away.
    #[arg(long, value_name = "FOLDER")]
    logs_export: Option<PathBuf>,
    /// Speak only these versions of the engines' protocol, as in 2-3; for tests.
    #[arg(long, value_name = "MIN-MAX", hide = true, conflicts_with = "store", value_parser = versions)]
    channel_protocol: Option<(u32, u32)>,
    /// Send metrics to a collector of OpenTelemetry there, by OTLP over HTTP: https://collector:4318.
    //= MET-OTLP-01
    #[arg(long, value_name = "ADDRESS")]
    otlp_metrics: Option<otlp::Collector>,
    /// How often, in seconds: a multiple of five, or the next one above.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=300))]
    otlp_seconds: u64,
    /// Send records of requests and connections to a collector of OpenTelemetry there: https://collector:4318.
    //= LOG-OTLP-01
    #[arg(long, value_name = "ADDRESS")]
    otlp_logs: Option<otlp::Collector>,
    /// A file with the authorities by whose word a collector is trusted (PEM); else those that this machine trusts.
    //= MET-OTLP-02
    #[arg(long, value_name = "FILE")]
    otlp_authorities: Option<PathBuf>,
    #[command(flatten)]
    several: several::Several,
    /// What to do instead of serving.
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    fn exported(&self) -> Result<Option<otlp::Exported>, String> {
        let trust = match &self.otlp_authorities {
            None => Trust::System,
            Some(file) => {
                let pem = std::fs::read_to_string(file);
                Trust::Authorities(
                    pem.map_err(|error| format!("--otlp-authorities {}: {error}", file.display()))?,
                )
            }
        };
        let ready = |name: &str, collector: &Option<otlp::Collector>| {
            let ready = collector.clone().map(|collector| collector.ready(name, &trust)).transpose();
            ready.map_err(|why| {
                format!("--otlp-{name}: {why}; name those whom to trust by --otlp-authorities")
            })
        };
        let (metrics, logs) = (ready("metrics", &self.otlp_metrics)?, ready("logs", &self.otlp_logs)?);
        let is_any = metrics.is_some() || logs.is_some();
        Ok(is_any.then_some(otlp::Exported { metrics, logs, every_s: self.otlp_seconds }))
    }
}

/// Who joins asks again for so long while nobody leads, or another one joins.
const JOINING: Duration = Duration::from_secs(60);

/// What is done with a Controller's folder, at the machine itself.
#[derive(Subcommand)]
enum Command {
    /// Passwords of users.
    Password {
        /// What to do with them.
        #[command(subcommand)]
        what: Password,
    },
    /// Write all that the Controller has into one file, sealed by a passphrase; it may be running.
    Backup(Sealed),
    /// Read a backup into a folder that has no store.
    Restore(Sealed),
    /// Print a shell's completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff).
    Man,
    /// Join other Controllers: get the key that they share, for a token that is good once (POST /api/cluster/token).
    Join {
        /// Where they let engines in; one of them leads.
        #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
        controller: Vec<String>,
        /// A file with the token.
        #[arg(long, value_name = "FILE")]
        token_file: PathBuf,
        /// What this Controller is called; the token may say so.
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
    },
    /// Hold addresses that standard input names, and give them back when it ends: started by a Controller beside itself.
    #[command(hide = true)]
    HoldAddress,
    /// End a lease in etcd when standard input ends: started by a Controller beside itself.
    #[command(hide = true)]
    ReleaseLease {
        /// Members of etcd.
        endpoints: String,
        /// Whom to trust there, what to show, and its key.
        #[arg(num_args = 3)]
        files: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Password {
    /// Give a user a new password and print it; sessions and tokens of the user end. The Controller may be running.
    Reset {
        /// By the files of the store: who may write them may do so.
        #[arg(long, required = true)]
        local: bool,
        /// Whose.
        #[arg(long, default_value = "admin", value_name = "NAME")]
        user: String,
    },
}

/// A sealed file.
#[derive(Args)]
struct Sealed {
    /// The backup.
    file: PathBuf,
    /// A file with the passphrase; without it FOREBAY_PASSPHRASE is taken, or it is asked for.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

fn versions(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once('-').and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    pair.filter(|(min, max)| min <= max).ok_or_else(|| "write it like 2-3".to_owned())
}

/// In how many parts the system's allocator keeps memory. Left to itself it has eight for each processor, of which each keeps what
/// looks at ten thousand services took once.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Begins anew with few of them: the allocator reads that at the start alone. Where that cannot be, it goes on as it is.
fn with_few_arenas() {
    if std::env::var_os(ARENAS.0).is_some() {
        return;
    }
    let mut all = std::env::args_os();
    let name = all.next().unwrap_or_else(|| "forebay-controller".into());
    let failed = match std::env::current_exe() {
        Ok(own) => std::process::Command::new(own).arg0(name).args(all).env(ARENAS.0, ARENAS.1).exec(),
        Err(error) => error,
    };
    eprintln!("forebay-controller: more memory may be used than is needed: it does not begin anew: {failed}");
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.command.is_none() {
        with_few_arenas();
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).json().init();
    // One thread answers; passwords and the disk have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    let done = match &arguments.command {
        // Before there is any other thread, which would keep rights that are given up.
        None => {
            let address = cluster::Address::start();
            runtime.block_on(run(&arguments, address))
        }
        Some(command) => runtime.block_on(local(&arguments.data_dir, command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("forebay-controller: {text}");
    ExitCode::FAILURE
}

async fn local(folder: &Path, command: &Command) -> Result<(), String> {
    match command {
        Command::Join { controller, token_file, name } => {
            make(folder)?;
            cluster::join(folder, controller, token_file, (name, JOINING)).await?;
            let further = match cluster::Kept::read(folder)? {
                Some(_) => "start it with this folder",
                None => "start it with --store etcd, --nodes and --node",
            };
            println!("{}: it has the key; {further}", folder.display());
        }
        Command::HoldAddress => cluster::hold_address().await?,
        Command::ReleaseLease { endpoints, files } => {
            let files = match &files[..] {
                [authority, certificate, key] => Some(cluster::Files {
                    authority: authority.clone(),
                    certificate: certificate.clone(),
                    key: key.clone(),
                }),
                _ => None,
            };
            cluster::release(endpoints, files).await?;
        }
        Command::Password { what: Password::Reset { user, .. } } => {
            let password = local::reset_password(folder, user).await?;
            println!("user: {user}");
            println!("password: {password} (shown this once)");
        }
        Command::Backup(Sealed { file, passphrase_file }) => {
            let passphrase = backup::passphrase(passphrase_file.as_ref())?;
            let counted = local::back_up(folder, file, &passphrase).await?;
            println!("{}: {} entries and {} files", file.display(), counted.entries, counted.files);
        }
        Command::Restore(Sealed { file, passphrase_file }) => {
            let passphrase = backup::passphrase(passphrase_file.as_ref())?;
            make(folder)?;
            let instead = "restore into an empty folder, for a Controller with --store embedded";
            local::is_kept_here(folder, instead)?;
            let counted = backup::read(file, folder, &passphrase).await?;
            println!("{}: {} entries and {} files", folder.display(), counted.entries, counted.files);
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "forebay-controller", &mut std::io::stdout());
        }
        Command::Man => {
            let page = clap_mangen::Man::new(Arguments::command());
            page.render(&mut std::io::stdout()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Makes the folder, for the Controller alone.
fn make(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("{}: {error}; name another folder by --data-dir", folder.display()))
}

async fn run(arguments: &Arguments, address: cluster::Address) -> Result<(), String> {
    let folder = &arguments.data_dir;
    make(folder)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let heartbeat = Duration::from_secs(arguments.engine_heartbeat.into());
    let engines = (arguments.listen_engines, heartbeat);
    let logs = logs::Settings {
        folder: folder.join(logs::FOLDER),
        hours: arguments.logs_hours,
        bytes: u64::from(arguments.logs_mib) << 20,
        export: arguments.logs_export.clone(),
    };
    if let Some(settings) =
        arguments.several.settings(folder, arguments.listen, engines, &logs, arguments.exported()?)?
    {
        return cluster::run(settings, address, Box::pin(stop)).await;
    }
    let instead =
        "say --store etcd and the rest; where the objects are to be those of store.redb, remove the file";
    local::is_kept_here(folder, instead)?;
    // The key first: a store without one has lost it, however far a first start came.
    let seal = Seal::of_store(&folder.join(backup::STORE), &folder.join(backup::KEY))?;
    let store = Embedded::open(&folder.join(backup::STORE)).map_err(|refusal| refusal.to_string())?;
    let (told, becomes) = tokio::sync::watch::channel(false);
    let grow = arguments.several.grow(folder, arguments.listen, told)?;
    let cluster = Cluster::that_grows(arguments.listen.ip(), grow);
    let settings = alone::Settings {
        folder: folder.clone(),
        listen: arguments.listen,
        listen_engines: arguments.listen_engines,
        heartbeat,
        logs,
        otlp: arguments.exported()?,
        speaks: arguments.channel_protocol.unwrap_or(forebay_wire::PROTOCOL),
    };
    match alone::run(settings, store, seal, cluster, becomes, Box::pin(stop)).await? {
        alone::End::Stopped => Ok(()),
        alone::End::BecomesOneOfSeveral => Err(anew(address)),
    }
}

/// Begins again in this process, with nothing left of what it was: the folder says otherwise now. Says why it could not.
fn anew(address: cluster::Address) -> String {
    let mut arguments = std::env::args_os();
    let first = arguments.next().unwrap_or_default();
    // The file of the program may have been replaced since.
    let own = std::env::current_exe().ok().filter(|own| own.exists());
    let program = own.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut command = std::process::Command::new(program);
    command.arg0(first).args(arguments);
    address.hand_over(&mut command);
    let error = command.exec();
    format!("it does not start anew: {error}; start it again")
}
